//! Numbers as the vendor writes them.

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::domain::Similarity;

// No doc comment: it would be the description of every number in the document of the API.
// A finite number. Whole numbers are written as integers: `1`, not `1.0`.
#[derive(Debug, Clone, Copy, PartialEq, JsonSchema)]
#[schemars(inline)]
pub(super) struct Number(f64);

impl Number {
    /// `None` for what JSON cannot say.
    pub(super) fn finite(value: f64) -> Option<Self> {
        value.is_finite().then_some(Self(value))
    }
}

/// A calibration gives finite numbers only.
impl From<Similarity> for Number {
    fn from(similarity: Similarity) -> Self {
        Self(similarity.get())
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// Up to here every whole number has a double of its own.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if self.0.fract() == 0.0 && self.0.abs() <= EXACT {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(value: f64) -> String {
        serde_json::to_string(&Number(value)).unwrap()
    }

    #[test]
    fn whole_numbers_are_integers() {
        assert_eq!(json(1.0), "1");
        assert_eq!(json(-0.0), "0");
        assert_eq!(json(-3.0), "-3");
        assert_eq!(json(0.75), "0.75");
    }

    #[test]
    fn what_json_cannot_say_is_no_number() {
        assert_eq!(Number::finite(f64::NAN), None);
        assert_eq!(Number::finite(f64::INFINITY), None);
    }

    proptest! {
        #[test]
        fn a_number_is_read_back_as_it_was(value in any::<f64>().prop_filter("finite", |v| v.is_finite())) {
            prop_assert_eq!(json(value).parse::<f64>().unwrap(), value);
        }
    }
}
