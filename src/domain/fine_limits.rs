//! Where each measure counts as fine.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Check, Limit, Measure};

/// One limit per measure and per check. The pack has the values and where they come from; the settings may have
/// others.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "BTreeMap<String, Limit>")]
pub struct FineLimits {
    measures: [Limit; Measure::COUNT],
    checks: [Limit; Check::ALL.len()],
}

impl FineLimits {
    /// The limit of a measure.
    pub fn measure(&self, measure: Measure) -> Limit {
        self.measures[measure as usize]
    }

    /// The limit of a check.
    pub fn check(&self, check: Check) -> Limit {
        self.checks[check as usize]
    }

    /// Sets the number, or the two numbers with a comma between them, of the limit of one measure or check. Whether
    /// high or low is good stays as the pack has it.
    ///
    /// # Errors
    /// A sentence, when there is no such measure or the text is not a limit of its kind.
    pub fn set(&mut self, name: &str, numbers: &str) -> Result<(), String> {
        let measure = Measure::from_name(name).map(|measure| &mut self.measures[measure as usize]);
        let check = Check::from_name(name).map(|check| &mut self.checks[check as usize]);
        let limit = measure.or(check).ok_or_else(|| format!("there is no measure {name:?}"))?;
        *limit = limit.with(numbers)?;
        Ok(())
    }
}

impl TryFrom<BTreeMap<String, Limit>> for FineLimits {
    type Error = String;

    fn try_from(mut limits: BTreeMap<String, Limit>) -> Result<Self, String> {
        let mut take = |name: &str| limits.remove(name).ok_or_else(|| format!("missing field `{name}`"));
        let mut fine =
            Self { measures: [Limit::AtLeast(1.0); Measure::COUNT], checks: [Limit::AtLeast(1.0); Check::ALL.len()] };
        for measure in Measure::ALL {
            fine.measures[measure as usize] = take(measure.name())?;
        }
        for check in Check::ALL {
            fine.checks[check as usize] = take(check.name())?;
        }
        match limits.first_key_value() {
            Some((unknown, _)) => Err(format!("unknown field `{unknown}`")),
            None => Ok(fine),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::FineWhen;

    fn shipped() -> BTreeMap<String, Limit> {
        let pack: toml::Table = include_str!("../../models/pack.toml").parse().unwrap();
        pack["fine"].clone().try_into().unwrap()
    }

    #[test]
    fn the_shipped_pack_and_the_table_agree_on_what_is_good() {
        let fine = FineLimits::try_from(shipped()).unwrap();
        for measure in Measure::ALL {
            let when = match fine.measure(measure) {
                Limit::AtLeast(_) => FineWhen::AtLeast,
                Limit::Below(_) => FineWhen::Below,
                Limit::Within(..) => FineWhen::Within,
            };
            assert_eq!(when, measure.row().fine, "{measure:?}");
        }
    }

    #[test]
    fn every_measure_has_one_limit() {
        let mut less = shipped();
        less.remove("blur");
        assert_eq!(FineLimits::try_from(less).unwrap_err(), "missing field `blur`");
        let mut more = shipped();
        more.insert("beauty".to_owned(), Limit::AtLeast(0.5));
        assert_eq!(FineLimits::try_from(more).unwrap_err(), "unknown field `beauty`");
    }

    #[test]
    fn a_limit_is_set_by_name() {
        let mut fine = FineLimits::try_from(shipped()).unwrap();
        fine.set("blur", "0.25").unwrap();
        fine.set("deepfake", "0.5").unwrap();
        assert_eq!(fine.measure(Measure::Blur), Limit::Below(0.25));
        assert_eq!(fine.check(Check::Deepfake), Limit::AtLeast(0.5));
        assert!(fine.set("beauty", "0.5").is_err());
    }
}
