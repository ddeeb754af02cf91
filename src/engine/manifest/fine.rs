//! Where each measure counts as fine.

use serde::Deserialize;

use crate::domain::Threshold;

/// One limit per measure. The pack has the values and where they come from; a configuration may set
/// others.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are the measures of `domain::Quality` and the two checks")]
pub struct FineLimits {
    pub uniformity: Limit,
    pub exposure: Limit,
    pub contrast: Limit,
    pub flare: Limit,
    pub blur: Limit,
    pub occlusion: Limit,
    pub macroblocks: Limit,
    pub emotion: Limit,
    pub right_eye_closed: Limit,
    pub left_eye_closed: Limit,
    pub crfiqa: Limit,
    pub distortion: Limit,
    pub liveness: Limit,
    pub deepfake: Limit,
}

impl FineLimits {
    /// Sets the number, or the two numbers with a comma between them, of one measure's limit. Whether
    /// high or low is good stays as the pack has it.
    ///
    /// # Errors
    /// A sentence, when there is no such measure or the text is not a limit of its kind.
    pub fn set(&mut self, measure: &str, numbers: &str) -> Result<(), String> {
        let slot = match measure {
            "uniformity" => &mut self.uniformity,
            "exposure" => &mut self.exposure,
            "contrast" => &mut self.contrast,
            "flare" => &mut self.flare,
            "blur" => &mut self.blur,
            "occlusion" => &mut self.occlusion,
            "macroblocks" => &mut self.macroblocks,
            "emotion" => &mut self.emotion,
            "right_eye_closed" => &mut self.right_eye_closed,
            "left_eye_closed" => &mut self.left_eye_closed,
            "crfiqa" => &mut self.crfiqa,
            "distortion" => &mut self.distortion,
            "liveness" => &mut self.liveness,
            "deepfake" => &mut self.deepfake,
            _ => return Err(format!("there is no measure {measure:?}")),
        };
        *slot = slot.with(numbers)?;
        Ok(())
    }
}

/// A [`Threshold`] as the pack writes it.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// High is good.
    AtLeast(f64),
    /// Low is good.
    Below(f64),
    /// A band is good.
    Within(f64, f64),
}

impl Limit {
    /// The same kind of limit at another place.
    fn with(self, numbers: &str) -> Result<Self, String> {
        let parsed: Result<Vec<f64>, _> = numbers.split(',').map(|number| number.trim().parse::<f64>()).collect();
        let parsed = parsed.ok().filter(|all| all.iter().all(|number| (0.0..=1.0).contains(number)));
        match (self, parsed.as_deref()) {
            (Self::AtLeast(_), Some(&[limit])) => Ok(Self::AtLeast(limit)),
            (Self::Below(_), Some(&[limit])) => Ok(Self::Below(limit)),
            (Self::Within(..), Some(&[low, high])) if low <= high => Ok(Self::Within(low, high)),
            (Self::Within(..), _) => Err("must be two numbers from 0 to 1, such as 0.2,0.8".to_owned()),
            _ => Err("must be a number from 0 to 1".to_owned()),
        }
    }
}

impl From<Limit> for Threshold {
    fn from(limit: Limit) -> Self {
        match limit {
            Limit::AtLeast(v) => Self::AtLeast(v),
            Limit::Below(v) => Self::Below(v),
            Limit::Within(low, high) => Self::Within(low, high),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_moves_but_keeps_its_kind() {
        assert_eq!(Limit::Below(0.5).with("0.25"), Ok(Limit::Below(0.25)));
        assert_eq!(Limit::AtLeast(0.5).with(" 1 "), Ok(Limit::AtLeast(1.0)));
        assert_eq!(Limit::Within(0.2, 0.8).with("0.1, 0.9"), Ok(Limit::Within(0.1, 0.9)));
        for (limit, text) in [
            (Limit::Below(0.5), ""),
            (Limit::Below(0.5), "x"),
            (Limit::Below(0.5), "1.1"),
            (Limit::Below(0.5), "NaN"),
            (Limit::Below(0.5), "0.1,0.2"),
            (Limit::Within(0.2, 0.8), "0.3"),
            (Limit::Within(0.2, 0.8), "0.9,0.1"),
        ] {
            assert!(limit.with(text).is_err(), "{limit:?} {text:?}");
        }
    }
}
