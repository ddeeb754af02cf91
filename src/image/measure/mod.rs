//! Quality measures computed by formulas, without a model.
//!
//! Uniformity, exposure and contrast follow ISO/IEC 29794-5 as its reference implementation OFIQ
//! computes them. OFIQ places its regions by a dense landmark model, this module by five landmarks
//! (each function documents how). Blur follows Crete et al. 2007 and macroblocks Wang, Sheikh and Bovik
//! 2002; both raw values become a defect score in [0, 1] by a logistic function.

mod blocks;
mod blur;
mod light;

use super::{AlignedFace, UprightImage};
use crate::domain::{BoundingBox, Landmarks, Measure};

pub use blocks::blockiness;
pub use blur::crete_roffet;
use light::{contrast, exposure, face_histogram, uniformity};

/// The computed measures of one face, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ComputedMeasures([(Measure, Option<f64>); 5]);

impl ComputedMeasures {
    /// The value of a measure; `None` when no formula computes it, or the photo does not show enough of the face.
    pub fn get(&self, measure: Measure) -> Option<f64> {
        self.0.iter().find(|(computed, _)| *computed == measure)?.1
    }
}

/// Measures one face.
pub fn measure(
    image: &UprightImage,
    face: &BoundingBox,
    landmarks: &Landmarks,
    aligned: &AlignedFace,
) -> ComputedMeasures {
    let histogram = face_histogram(aligned);
    ComputedMeasures([
        (Measure::Uniformity, uniformity(image, landmarks)),
        (Measure::Exposure, Some(exposure(&histogram))),
        (Measure::Contrast, Some(contrast(&histogram))),
        (Measure::Blur, Some(logistic(crete_roffet(aligned), BLUR))),
        (Measure::Macroblocks, Some(logistic(blockiness(image, face), BLOCKS))),
    ])
}

/// A logistic function: where it is 0.5, and its slope there.
#[derive(Debug, Clone, Copy)]
struct Curve {
    middle: f64,
    slope: f64,
}

/// One half where recognition begins to suffer: at a Gaussian blur of 4 % of the eye distance the
/// median face has a raw value of 0.63 (at 6 %: 0.72, where FNMR has risen sixfold). Flagged at one
/// half: 0.3 % of LFW, 47 % at 4 %, 99 % at 6 % (docs/quality.md).
const BLUR: Curve = Curve { middle: 0.63, slope: 40.0 };

/// One half between JPEG qualities 20 (median raw value 0.84) and 10 (1.26), where FNMR has about
/// quadrupled. Flagged at one half: none of LFW, 21 % at quality 20, 95 % at 10 (docs/quality.md).
const BLOCKS: Curve = Curve { middle: 0.95, slope: 10.0 };

fn logistic(raw: f64, curve: Curve) -> f64 {
    1.0 / (1.0 + (curve.slope * (curve.middle - raw)).exp())
}

/// Luma (ITU-R BT.601) of gamma-encoded RGB: 0 to 255.
fn luma([r, g, b]: [u8; 3]) -> f32 {
    0.299 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b)
}
