//! Rules of enrollment: which photos are good enough, and which look like a mix-up.

use std::fmt;
use std::str::FromStr;

use super::Cosine;

/// What happens when an enrollment looks like a mix-up: a photo that does not match the other samples of its
/// template, or a face that is enrolled already under another id. Its text form is that of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Guard {
    /// Nothing is compared.
    #[default]
    Off,
    /// It is enrolled, and the reply or report carries a warning.
    Warn,
    /// It is not enrolled.
    Refuse,
}

impl Guard {
    /// The text form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Warn => "warn",
            Self::Refuse => "refuse",
        }
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Guard {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = [Self::Off, Self::Warn, Self::Refuse];
        known.into_iter().find(|guard| guard.as_str() == text).ok_or("must be off, warn or refuse")
    }
}

/// The rules of one application for what is enrolled. The default refuses nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct EnrollRules {
    /// What happens to a likely mix-up.
    pub guard: Guard,
    /// Minimum quality (`crfiqa`, 0 to 1) of a photo to be enrolled.
    pub min_quality: Option<f64>,
    /// How much the application may store.
    pub quota: Quota,
    /// Whether an enrollment needs a reference to a consent.
    pub require_consent: bool,
}

/// The most that one application may store. `None`: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// Templates.
    pub templates: Option<u64>,
    /// Samples of all templates together.
    pub samples: Option<u64>,
}

impl Quota {
    /// Whether anything is limited.
    pub fn is_set(self) -> bool {
        self.templates.is_some() || self.samples.is_some()
    }
}

/// The false match rate at a cosine, as measured for one embedding model.
///
/// Between measured points the logarithm of the rate is linear in the cosine. Beyond them it continues with the slope
/// of the nearest two points: a rate far below the smallest measured one is an estimate.
#[derive(Debug, Clone, PartialEq)]
pub struct FalseMatchCurve(Vec<Point>);

#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    log_rate: f64,
    cosine: f64,
}

/// Why points are not a curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a false match curve needs two or more points whose rates fall and whose cosines rise, all between 0 and 1")]
pub struct CurveError;

impl FalseMatchCurve {
    /// Highest cutoff. Two photos of one person rarely reach it, two copies of a photo always do.
    pub const MAX_CUTOFF: f64 = 0.95;

    /// Share of honest enrollments that may be reported because another person's template looks alike: 1 %.
    pub const FALSE_ALARMS: f64 = 0.01;

    /// False match rate at which two samples count as of one person: 1 in 1000. On LFW 0.15 % of the pairs of photos
    /// of one person are below that cosine.
    pub const SAMPLE_RATE: f64 = 1e-3;

    /// A curve through (rate, cosine) points, highest rate first.
    ///
    /// # Errors
    /// [`CurveError`].
    pub fn new(points: &[(f64, f64)]) -> Result<Self, CurveError> {
        let inside = |value: f64| value > 0.0 && value < 1.0;
        let sound = points.len() >= 2
            && points.iter().all(|&(rate, cosine)| inside(rate) && inside(cosine))
            && points.windows(2).all(|pair| pair[0].0 > pair[1].0 && pair[0].1 < pair[1].1);
        let points = points.iter().map(|&(rate, cosine)| Point { log_rate: rate.log10(), cosine });
        if sound { Ok(Self(points.collect())) } else { Err(CurveError) }
    }

    /// The two points that a value is between, or is nearest to.
    fn around(&self, before: impl Fn(&Point) -> bool) -> (Point, Point) {
        let at = self.0.iter().position(|point| !before(point)).unwrap_or(self.0.len());
        let at = at.clamp(1, self.0.len() - 1);
        (self.0[at - 1], self.0[at])
    }

    /// The share of comparisons of different people that reach a cosine.
    pub fn rate(&self, cosine: Cosine) -> f64 {
        let cosine = f64::from(cosine.get());
        let (a, b) = self.around(|point| point.cosine < cosine);
        let slope = (b.log_rate - a.log_rate) / (b.cosine - a.cosine);
        10f64.powf(a.log_rate + slope * (cosine - a.cosine)).min(1.0)
    }

    /// The same, if the cosine is between measured points: beyond them a rate is only an estimate.
    pub fn measured_rate(&self, cosine: Cosine) -> Option<f64> {
        let measured = self.0.first()?.cosine..=self.0.last()?.cosine;
        // A cosine is stored with less precision than the points.
        let at = f64::from(cosine.get());
        let is_measured =
            measured.contains(&at) || [measured.start(), measured.end()].iter().any(|edge| (*edge - at).abs() < 1e-6);
        is_measured.then(|| self.rate(cosine))
    }

    /// The cosine that a share of the comparisons of different people reaches.
    pub fn cutoff(&self, rate: f64) -> Cosine {
        let log_rate = rate.max(f64::MIN_POSITIVE).log10();
        let (a, b) = self.around(|point| point.log_rate > log_rate);
        let slope = (b.cosine - a.cosine) / (b.log_rate - a.log_rate);
        let cosine = a.cosine + slope * (log_rate - a.log_rate);
        Cosine::clamped(cosine.clamp(0.0, Self::MAX_CUTOFF) as f32)
    }

    /// The cosine from which a face counts as already enrolled under another id, given the number of comparisons
    /// (templates times photos of this person). One comparison in 100 000 of different people reaches
    /// the operating point, so with a fixed limit a tenth of 10 000 honest people would be reported; this limit rises
    /// with the gallery, and reports at most [`Self::FALSE_ALARMS`] of them whatever its size. It is never below that of
    /// [`Self::SAMPLE_RATE`], where hardly a photo of the same person is missed.
    pub fn enrolled_elsewhere(&self, comparisons: usize) -> Cosine {
        self.cutoff((Self::FALSE_ALARMS / comparisons.max(1) as f64).min(Self::SAMPLE_RATE))
    }

    /// The cosine from which two of this many photos count as of one person. Among very many photos some strangers
    /// match by chance: the rate falls with their number, so that a photo matches at most 0.1 strangers on average.
    pub fn same_person(&self, photos: usize) -> Cosine {
        self.cutoff((0.1 / photos.max(1) as f64).min(Self::SAMPLE_RATE))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn curve() -> FalseMatchCurve {
        FalseMatchCurve::new(&[(1e-3, 0.372), (1e-4, 0.434), (1e-5, 0.505), (1e-6, 0.632)]).unwrap()
    }

    #[test]
    fn measured_points_are_on_the_curve() {
        for (rate, cosine) in [(1e-3, 0.372), (1e-4, 0.434), (1e-5, 0.505), (1e-6, 0.632)] {
            assert!((f64::from(curve().cutoff(rate).get()) - cosine).abs() < 1e-6);
            assert!((curve().rate(Cosine::clamped(cosine as f32)).log10() - f64::log10(rate)).abs() < 1e-4);
        }
    }

    #[test]
    fn between_points_the_logarithm_is_linear() {
        let middle = curve().cutoff(10f64.powf(-3.5));
        assert!((middle.get() - 0.403).abs() < 1e-6);
    }

    #[test]
    fn beyond_the_points_the_slope_goes_on_up_to_the_highest_cutoff() {
        assert!((curve().cutoff(1e-7).get() - 0.759).abs() < 1e-6);
        assert_eq!(curve().cutoff(1e-30).get(), FalseMatchCurve::MAX_CUTOFF as f32);
        assert_eq!(curve().cutoff(0.0).get(), FalseMatchCurve::MAX_CUTOFF as f32);
        assert!((curve().cutoff(1e-2).get() - 0.310).abs() < 1e-6);
        assert_eq!(curve().rate(Cosine::clamped(-1.0)), 1.0);
    }

    #[test]
    fn a_rate_is_measured_between_the_points_only() {
        let measured = |cosine: f32| curve().measured_rate(Cosine::clamped(cosine));
        assert_eq!(measured(0.371), None);
        assert_eq!(measured(0.64), None);
        assert!(measured(0.372).is_some() && measured(0.632).is_some());
        assert!((measured(0.505).unwrap().log10() + 5.0).abs() < 1e-4);
    }

    #[test]
    fn the_limit_rises_with_the_gallery_and_stops_one_in_a_hundred() {
        assert_eq!(curve().enrolled_elsewhere(1), curve().cutoff(FalseMatchCurve::SAMPLE_RATE));
        for templates in [10, 100, 1_000, 10_000] {
            let limit = curve().enrolled_elsewhere(templates);
            let stopped = 1.0 - (1.0 - curve().rate(limit)).powi(templates as i32);
            assert!((0.009..0.0101).contains(&stopped), "{templates}: {stopped}");
        }
        // What a fixed limit at the operating point would do.
        let fixed = 1.0 - (1.0 - curve().rate(Cosine::clamped(0.505))).powi(10_000);
        assert!((0.09..0.11).contains(&fixed));
    }

    #[test]
    fn of_many_photos_few_strangers_match() {
        assert_eq!(curve().same_person(2), curve().cutoff(1e-3));
        assert_eq!(curve().same_person(1_000), curve().cutoff(1e-4));
    }

    #[test]
    fn what_is_no_curve_is_refused() {
        for points in [
            &[][..],
            &[(1e-3, 0.4)],
            &[(1e-3, 0.4), (1e-4, 0.3)],
            &[(1e-4, 0.4), (1e-3, 0.5)],
            &[(1e-3, 0.4), (f64::NAN, 0.5)],
        ] {
            assert_eq!(FalseMatchCurve::new(points), Err(CurveError), "{points:?}");
        }
    }

    #[test]
    fn a_guard_is_read_as_it_is_written() {
        for guard in [Guard::Off, Guard::Warn, Guard::Refuse] {
            assert_eq!(guard.to_string().parse(), Ok(guard));
        }
        assert!("on".parse::<Guard>().is_err());
    }

    proptest! {
        #[test]
        fn a_lower_rate_never_has_a_lower_cutoff(a in 1e-12f64..1.0, b in 1e-12f64..1.0) {
            let (low, high) = if a <= b { (a, b) } else { (b, a) };
            prop_assert!(curve().cutoff(low) >= curve().cutoff(high));
        }
    }
}
