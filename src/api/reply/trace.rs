//! The trace of an identification: its steps in order, each with what was measured, by which limit it was judged, and what a
//! person can do.

use std::borrow::Cow;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::number::Number;
use crate::domain::{Analysis, Check, FineLimits, Limit, Measure};
use crate::service::Decision;

/// A step.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TraceStep")]
#[serde(rename_all = "camelCase")]
pub(super) struct TraceStep {
    /// `wait` for a free worker, `decode`, `detect`, `embed`, `assess` (the measures that follow); a measure or a check by
    /// its name; `yaw` and `pitch` in degrees; `search`; `decide`.
    step: &'static str,
    /// How long it took. The gallery is searched while the face is assessed.
    #[serde(skip_serializing_if = "Option::is_none")]
    milliseconds: Option<f64>,
    /// What was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Number>,
    /// By which limit it was judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<LimitReply>,
    /// The verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    fine: Option<bool>,
    /// What a person can do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<Cow<'static, str>>,
}

/// Where a value is fine: at least, at most, or below a number.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TraceLimit")]
#[serde(rename_all = "camelCase")]
struct LimitReply {
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_most: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    below: Option<Number>,
}

impl From<Limit> for LimitReply {
    fn from(limit: Limit) -> Self {
        let (at_least, at_most, below) = match limit {
            Limit::AtLeast(least) => (Some(least), None, None),
            Limit::Below(limit) => (None, None, Some(limit)),
            Limit::Within(least, most) => (Some(least), Some(most), None),
        };
        let [at_least, at_most, below] = [at_least, at_most, below].map(|number| number.and_then(Number::finite));
        Self { at_least, at_most, below }
    }
}

impl TraceStep {
    fn new(step: &'static str) -> Self {
        Self { step, milliseconds: None, value: None, limit: None, fine: None, advice: None }
    }

    fn timed(step: &'static str, took: Duration) -> Self {
        Self { milliseconds: Some(took.as_secs_f64() * 1000.0), ..Self::new(step) }
    }

    fn judged(step: &'static str, value: f64, limit: Limit, advice: &'static str) -> Self {
        let fine = limit.judge(value).fine;
        Self {
            value: Number::finite(value),
            limit: Some(limit.into()),
            fine: Some(fine),
            advice: (!fine).then_some(Cow::Borrowed(advice)),
            ..Self::new(step)
        }
    }

    /// The steps of an identification.
    pub(super) fn all(analysis: &Analysis, decision: &Decision, limits: &FineLimits) -> Vec<Self> {
        let similarity = decision.matched.map(|(_, similarity)| similarity);
        let timings = &analysis.timings;
        let mut steps = vec![
            Self::timed("wait", timings.queue),
            Self::timed("decode", timings.decode),
            Self { value: Number::finite(analysis.detection_score.into()), ..Self::timed("detect", timings.detect) },
            Self::timed("embed", timings.embed),
            Self::timed("assess", timings.assess),
        ];
        for measure in Measure::NEWER_LAYOUT {
            let Some(verdict) = analysis.quality[measure] else { continue };
            let advice = advice(measure, verdict.score);
            steps.push(Self::judged(measure.row().newer_name, verdict.score, limits.measure(measure), advice));
        }
        for (check, verdict) in [(Check::Liveness, analysis.liveness), (Check::Deepfake, analysis.deepfake)] {
            let Some(verdict) = verdict else { continue };
            steps.push(Self::judged(check.name(), verdict.score, limits.check(check), check_advice(check)));
        }
        steps.push(Self::turned("yaw", analysis.pose.yaw, ["left", "right"]));
        steps.push(Self::turned("pitch", analysis.pose.pitch, ["up", "down"]));
        steps.push(Self::timed("search", decision.searched));
        steps.push(Self {
            value: similarity.map(Number::from),
            limit: Some(Limit::AtLeast(decision.threshold).into()),
            fine: Some(similarity.is_some()),
            ..Self::new("decide")
        });
        steps
    }

    /// An angle, with the way back for one that is too large. It has no limit: the network copes with turned faces.
    fn turned(step: &'static str, degrees: f64, [above, below]: [&str; 2]) -> Self {
        let way = if degrees > 0.0 { above } else { below };
        let advice = || format!("turn the face {:.0} degrees {way}, as the photo shows it", degrees.abs()).into();
        Self {
            value: Number::finite(degrees),
            advice: (degrees.abs() > STRAIGHT_DEGREES).then(advice),
            ..Self::new(step)
        }
    }
}

/// Up to here nothing is advised about an angle. The console's camera has the same number.
const STRAIGHT_DEGREES: f64 = 20.0;

/// What to do about a measure that is not fine. `console/messages/en.js` says the same at more length.
fn advice(measure: Measure, value: f64) -> &'static str {
    match measure {
        Measure::Uniformity => "turn so that the light comes from the front",
        Measure::Exposure if value < 0.5 => "more light on the face",
        Measure::Exposure => "less light on the face",
        Measure::Contrast => "more light on the face, or a plainer background",
        Measure::Flare => "keep lamps and windows behind the camera",
        Measure::Blur => "hold still, and clean the lens",
        Measure::Occlusion => "take off what covers the face",
        Measure::Macroblocks => "send the original file, less compressed",
        Measure::Emotion => "look relaxed",
        Measure::RightEyeClosed | Measure::LeftEyeClosed => "open both eyes",
        Measure::Crfiqa => "take the photo from the front, sharp and well lit",
        Measure::Distortion => "keep more distance to the lens",
    }
}

fn check_advice(check: Check) -> &'static str {
    match check {
        Check::Liveness => "take the photo of the person, not of a picture or a screen",
        Check::Deepfake => "send the photo as the camera made it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(step: &TraceStep) -> serde_json::Value {
        serde_json::to_value(step).unwrap()
    }

    #[test]
    fn a_limit_is_shown_with_its_direction() {
        let limit = |limit: Limit| serde_json::to_value(LimitReply::from(limit)).unwrap();
        assert_eq!(limit(Limit::AtLeast(0.25)), serde_json::json!({ "atLeast": 0.25 }));
        assert_eq!(limit(Limit::Below(0.25)), serde_json::json!({ "below": 0.25 }));
        assert_eq!(limit(Limit::Within(0.25, 1.0)), serde_json::json!({ "atLeast": 0.25, "atMost": 1 }));
    }

    #[test]
    fn advice_is_given_where_a_value_is_not_fine() {
        let limit = Limit::Within(0.25, 0.75);
        let dark = TraceStep::judged("exposure", 0.1, limit, advice(Measure::Exposure, 0.1));
        assert_eq!((&shown(&dark)["fine"], &shown(&dark)["advice"]), (&false.into(), &"more light on the face".into()));
        let good = TraceStep::judged("exposure", 0.5, limit, advice(Measure::Exposure, 0.5));
        assert_eq!((&shown(&good)["fine"], shown(&good).get("advice")), (&true.into(), None));
    }

    #[test]
    fn the_way_back_is_named() {
        // Above zero the nose points to the right of the picture, and the face looks down.
        let advice = |step, degrees, ways| shown(&TraceStep::turned(step, degrees, ways))["advice"].clone();
        assert_eq!(advice("yaw", 30.4, ["left", "right"]), "turn the face 30 degrees left, as the photo shows it");
        assert_eq!(advice("yaw", -30.4, ["left", "right"]), "turn the face 30 degrees right, as the photo shows it");
        assert_eq!(advice("pitch", 25.0, ["up", "down"]), "turn the face 25 degrees up, as the photo shows it");
        assert_eq!(advice("yaw", 19.0, ["left", "right"]), serde_json::Value::Null);
    }
}
