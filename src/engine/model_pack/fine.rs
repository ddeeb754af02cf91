//! Where each measure counts as fine.

use serde::Deserialize;

use crate::domain::Limit;

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
