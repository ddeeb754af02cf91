//! The quality block of one face.

use std::ops::{Index, IndexMut};

use super::{Measure, Verdict};

/// The measures of one face. `None`: no model or method for a measure is installed, so it is absent from the reply; a
/// number is never made up.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Quality([Option<Verdict>; Measure::COUNT]);

impl Index<Measure> for Quality {
    type Output = Option<Verdict>;

    fn index(&self, measure: Measure) -> &Option<Verdict> {
        &self.0[measure as usize]
    }
}

impl IndexMut<Measure> for Quality {
    fn index_mut(&mut self, measure: Measure) -> &mut Option<Verdict> {
        &mut self.0[measure as usize]
    }
}

impl FromIterator<(Measure, Verdict)> for Quality {
    fn from_iter<I: IntoIterator<Item = (Measure, Verdict)>>(verdicts: I) -> Self {
        let mut quality = Self::default();
        for (measure, verdict) in verdicts {
            quality[measure] = Some(verdict);
        }
        quality
    }
}

/// Age, gender and race as estimated by a model. `None`: no model is installed, or the application
/// has switched attributes off.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Demography {
    /// Age in whole years.
    pub age: Option<u32>,
    /// `male` or `female`.
    pub gender: Option<&'static str>,
    /// One of the contract's vocabulary.
    pub race: Option<&'static str>,
}
