//! What the commands of applications read from their arguments.

use std::fmt;
use std::time::{Duration, SystemTime};

use clap::ValueEnum;

use crate::domain::{Clock, RequestLimits, Scopes, application_name, parse_rfc3339};
use crate::service::KEEP_PROBES;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Switch {
    On,
    Off,
}

/// How long templates are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Retention {
    Off,
    For(Duration),
}

/// How long probes are held for review.
pub(super) fn probe_time(text: &str) -> Result<Retention, String> {
    let period: Retention = retention(text)?;
    match period {
        Retention::For(time) if !KEEP_PROBES.contains(&time) => {
            Err(format!("'{text}' is neither `off` nor a time from 60s to 90d"))
        }
        Retention::Off | Retention::For(_) => Ok(period),
    }
}

/// The least quality of a photo that is enrolled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::cli) struct MinQuality(pub(super) Option<f64>);

pub(super) fn min_quality(text: &str) -> Result<MinQuality, String> {
    if text == "off" {
        return Ok(MinQuality(None));
    }
    let number = text.parse().ok().filter(|number| *number > 0.0 && *number <= 1.0);
    number
        .map(|number| MinQuality(Some(number)))
        .ok_or_else(|| format!("'{text}' is neither `off` nor a number above 0 and up to 1, such as 0.57"))
}

/// The most that an application may store; `None`: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct Maximum(pub(super) Option<u64>);

impl fmt::Display for Maximum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(max) => max.fmt(f),
            None => f.write_str("none"),
        }
    }
}

pub(super) fn maximum(text: &str) -> Result<Maximum, String> {
    match text {
        "none" => Ok(Maximum(None)),
        text => text
            .parse()
            .map(|max| Maximum(Some(max)))
            .map_err(|_| format!("'{text}' is neither `none` nor a whole number, such as 10000")),
    }
}

/// A value of an application's own; `None`: the server's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::cli) struct Own<T>(pub(super) Option<T>);

impl<T: fmt::Display> fmt::Display for Own<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(own) => own.fmt(f),
            None => f.write_str("default"),
        }
    }
}

fn own<T: std::str::FromStr>(text: &str, is_valid: impl Fn(&T) -> bool, what: &str) -> Result<Own<T>, String> {
    if text == "default" {
        return Ok(Own(None));
    }
    let number = text.parse().ok().filter(is_valid);
    number.map(|number| Own(Some(number))).ok_or_else(|| format!("'{text}' is neither `default` nor {what}"))
}

pub(super) fn threshold(text: &str) -> Result<Own<f64>, String> {
    own(text, |number| (0.0..=1.0).contains(number), "a similarity from 0 to 1, such as 0.8")
}

pub(super) fn per_second(text: &str) -> Result<Own<f64>, String> {
    own(text, |rate| RequestLimits::is_rate(*rate), "a rate from 0.000001 to 1000000, or 0 for no limit")
}

pub(super) fn burst(text: &str) -> Result<Own<u32>, String> {
    own(text, |burst| *burst > 0, "a whole number of at least 1, such as 20")
}

pub(super) fn share(text: &str) -> Result<Own<f64>, String> {
    own(text, |share| RequestLimits::is_share(*share), "a share above 0 and at most 1, such as 0.5")
}

/// The longest period: some ten million years, which the database can still add to a time.
const LONGEST_PERIOD: Duration = Duration::from_secs(u32::MAX as u64 * 86_400);

/// A duration in whole seconds, with its unit.
pub(super) fn period(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .ok()
        .filter(|period| period.subsec_nanos() == 0 && *period <= LONGEST_PERIOD)
        .ok_or_else(|| format!("'{text}' is not a duration such as 90s, 45m, 12h or 7d"))
}

pub(super) fn retention(text: &str) -> Result<Retention, String> {
    match text {
        "off" => Ok(Retention::Off),
        text => match period(text)? {
            Duration::ZERO => Err("must be at least 1 second".to_owned()),
            period => Ok(Retention::For(period)),
        },
    }
}

/// A time in the future: after a duration, or in RFC 3339.
pub(super) fn expiry(text: &str) -> Result<SystemTime, String> {
    let now = Clock::system().now();
    let time =
        parse_rfc3339(text).or_else(|| humantime::parse_duration(text).ok().and_then(|wait| now.checked_add(wait)));
    time.filter(|time| *time > now).ok_or_else(|| {
        format!("'{text}' is neither a duration such as 90d nor a time in the future such as 2027-01-31T00:00:00Z")
    })
}

pub(super) fn scopes(text: &str) -> Result<Scopes, String> {
    text.parse().map_err(|error| format!("'{text}' {error}"))
}

/// The name of an application or a key.
pub(super) fn name(text: &str) -> Result<String, String> {
    application_name(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_an_application_are_numbers_or_the_default() {
        assert_eq!(threshold("0.8"), Ok(Own(Some(0.8))));
        assert_eq!(threshold("default"), Ok(Own(None)));
        assert_eq!(per_second("0"), Ok(Own(Some(0.0))));
        assert_eq!(burst("20").unwrap().to_string(), "20");
        assert_eq!(share("default").unwrap().to_string(), "default");
        assert!(["", "1.1", "-0.1", "NaN", "off"].into_iter().all(|text| threshold(text).is_err()));
        assert!(["-1", "inf", "NaN", "1e9"].into_iter().all(|text| per_second(text).is_err()));
        assert!(["0", "-1", "1.5"].into_iter().all(|text| burst(text).is_err()));
        assert!(["0", "1.01", "NaN"].into_iter().all(|text| share(text).is_err()));
    }

    #[test]
    fn an_expiry_is_in_the_future() {
        let now = Clock::system().now();
        assert!(expiry("90d").unwrap() > now);
        assert!(expiry("2999-01-31T00:00:00Z").unwrap() > now);
        assert!(["", "0s", "2020-01-31T00:00:00Z", "soon"].into_iter().all(|text| expiry(text).is_err()));
    }

    #[test]
    fn a_name_is_short_and_visible() {
        assert_eq!(name("  gate "), Ok("gate".to_owned()));
        assert!(["", " ", "a\nb", &"x".repeat(201)].into_iter().all(|text| name(text).is_err()));
    }
}
