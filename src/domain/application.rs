//! What an operator sets for one application.

use std::fmt;
use std::str::FromStr;

use super::IdError;
use super::administrator::administrator_name;

/// Reads the name of an application or of a key: trimmed, 1 to 200 characters, none of them a control character.
///
/// # Errors
/// [`IdError`].
pub fn application_name(text: &str) -> Result<String, IdError> {
    administrator_name(text)
}

/// Whether an application is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AppState {
    /// Its keys are accepted.
    #[default]
    Active,
    /// All its keys are refused. Its gallery is kept, and administrators can still change it.
    Suspended,
}

impl AppState {
    /// The text form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }
}

impl fmt::Display for AppState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AppState {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = [Self::Active, Self::Suspended];
        known.into_iter().find(|state| state.as_str() == text).ok_or("must be active or suspended")
    }
}

/// How much of the server an application may use. `None`: as much as the server's settings say.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RequestLimits {
    /// Requests per second on each node, instead of `limits.app_per_s`; 0: no limit.
    pub per_second: Option<f64>,
    /// Requests that may come at once, instead of `limits.app_burst`; at least 1.
    pub burst: Option<u32>,
    /// The share of the memory for uploads and of the connections to the database, instead of `limits.app_share`; above
    /// 0 and at most 1.
    pub share: Option<f64>,
}

impl RequestLimits {
    /// The highest rate. A higher one would limit nothing.
    pub const MAX_PER_SECOND: f64 = 1e6;

    /// Whether a rate can be set: 0 (no limit), or up to [`Self::MAX_PER_SECOND`] and not below one request in 11 days.
    pub fn is_rate(per_second: f64) -> bool {
        per_second == 0.0 || (1e-6..=Self::MAX_PER_SECOND).contains(&per_second)
    }

    /// Whether a share can be set: above 0, at most 1.
    pub fn is_share(share: f64) -> bool {
        share > 0.0 && share <= 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_as_it_is_written() {
        for state in [AppState::Active, AppState::Suspended] {
            assert_eq!(state.to_string().parse(), Ok(state));
        }
        assert!("off".parse::<AppState>().is_err());
    }

    #[test]
    fn limits_are_numbers_that_limit() {
        assert!([0.0, 1e-6, 0.5, 1e6].into_iter().all(RequestLimits::is_rate));
        assert!([-1.0, 1e-7, 1e7, f64::NAN, f64::INFINITY].into_iter().all(|rate| !RequestLimits::is_rate(rate)));
        assert!([1e-9, 0.5, 1.0].into_iter().all(RequestLimits::is_share));
        assert!([0.0, -0.5, 1.01, f64::NAN].into_iter().all(|share| !RequestLimits::is_share(share)));
    }
}
