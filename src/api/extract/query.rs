//! Query parameters. Unknown ones are ignored; of a repeated one the last counts.

use std::convert::Infallible;
use std::ops::RangeInclusive;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::template_id::parse_template_id;
use crate::api::ApiError;
use crate::domain::{Checks, PhotoOptions, Subject, TemplateId};

/// The query of a request, decoded and in order.
#[derive(Debug, Default)]
pub(in crate::api) struct Query(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

impl Query {
    fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// A parameter, trimmed; empty is absent.
    pub(in crate::api) fn text(&self, name: &str) -> Option<&str> {
        let last = self.0.iter().rev().find(|(key, _)| key == name);
        last.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    }

    /// All values of a parameter, trimmed; empty ones are absent.
    pub(in crate::api) fn all(&self, name: &str) -> Vec<String> {
        let values = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.trim());
        values.filter(|value| !value.is_empty()).map(str::to_owned).collect()
    }

    /// A switch, off when absent. A value that is neither on nor off is refused: a typing error read
    /// as "off" would silently skip a security check.
    pub(in crate::api) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        let Some(value) = self.text(name) else { return Ok(false) };
        let is = |words: [&str; 4]| words.iter().any(|word| value.eq_ignore_ascii_case(word));
        if is(["true", "1", "yes", "on"]) {
            Ok(true)
        } else if is(["false", "0", "no", "off"]) {
            Ok(false)
        } else {
            Err(ApiError::bad_request(format!("{name} must be true or false")))
        }
    }

    /// The checks that a caller may request beside the work of an endpoint.
    pub(in crate::api) fn checks(&self) -> Result<Checks, ApiError> {
        Ok(Checks { liveness: self.flag("check_liveness")?, deepfake: self.flag("check_deepfake")? })
    }

    /// Which face of a photo is meant; the only one when absent.
    pub(in crate::api) fn subject(&self) -> Result<Subject, ApiError> {
        let subject = self.text("faces").map(str::parse).transpose();
        Ok(subject.map_err(|message| ApiError::bad_request(format!("faces {message}")))?.unwrap_or_default())
    }

    /// Whose face, and the checks beside the work of an endpoint.
    pub(in crate::api) fn photo_options(&self) -> Result<PhotoOptions, ApiError> {
        Ok(PhotoOptions { subject: self.subject()?, checks: self.checks()? })
    }

    /// A template id; `None` when absent.
    pub(in crate::api) fn template_id(&self, name: &str) -> Result<Option<TemplateId>, ApiError> {
        self.text(name).map(|id| parse_template_id(name, id)).transpose()
    }

    /// A number from 0 to 1.
    pub(in crate::api) fn fraction(&self, name: &str) -> Result<Option<f64>, ApiError> {
        let Some(value) = self.text(name) else { return Ok(None) };
        match value.parse::<f64>() {
            Ok(number) if (0.0..=1.0).contains(&number) => Ok(Some(number)),
            Ok(_) | Err(_) => Err(ApiError::bad_request(format!("{name} must be a number from 0 to 1"))),
        }
    }

    /// A whole number within a range.
    pub(in crate::api) fn count(&self, name: &str, range: RangeInclusive<usize>) -> Result<Option<usize>, ApiError> {
        let Some(value) = self.text(name) else { return Ok(None) };
        match value.parse::<usize>() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            Ok(_) | Err(_) => {
                let least = range.start();
                let most = range.end();
                Err(ApiError::bad_request(format!("{name} must be a whole number from {least} to {most}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_read_generously_but_never_guessed() {
        for (query, expected) in [
            ("", Some(false)),
            ("f", Some(false)),
            ("f=", Some(false)),
            ("f=TRUE", Some(true)),
            ("f=1", Some(true)),
            ("f=Yes", Some(true)),
            ("f=on", Some(true)),
            ("f=+true%20", Some(true)),
            ("f=false", Some(false)),
            ("f=0", Some(false)),
            ("f=No", Some(false)),
            ("f=OFF", Some(false)),
            ("f=false&f=true", Some(true)),
            ("f=junk&f=false", Some(false)),
            ("g=junk", Some(false)),
            ("f=junk", None),
            ("f=2", None),
            ("f=truе", None), // a Cyrillic letter
        ] {
            assert_eq!(Query::parse(query).flag("f").ok(), expected, "{query}");
        }
    }

    #[test]
    fn a_fraction_is_a_number_from_0_to_1() {
        let read = |query: &str| Query::parse(query).fraction("t").ok();
        assert_eq!(read("t=0"), Some(Some(0.0)));
        assert_eq!(read("t=0.75"), Some(Some(0.75)));
        assert_eq!(read("t=1"), Some(Some(1.0)));
        assert_eq!(read("t="), Some(None));
        for junk in ["t=NaN", "t=nan", "t=inf", "t=-0.1", "t=1.01", "t=x", "t=0,5"] {
            assert_eq!(read(junk), None, "{junk}");
        }
    }

    #[test]
    fn a_count_stays_in_its_range() {
        let read = |query: &str| Query::parse(query).count("n", 1..=10).ok();
        assert_eq!(read("n=10"), Some(Some(10)));
        assert_eq!(read(""), Some(None));
        for junk in ["n=0", "n=11", "n=-1", "n=1.5", "n=99999999999999999999"] {
            assert_eq!(read(junk), None, "{junk}");
        }
    }
}
