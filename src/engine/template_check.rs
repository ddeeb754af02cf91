//! Finds stored templates that look like those of turned faces, half faces or no face.
//!
//! Templates that an earlier version made of turned photos or of animals match each other. An embedding alone shows
//! little of this, and the pack's network errs (see [`TemplateCheckRates`]), so the check only lists templates.

use super::model_pack::{ModelPack, TemplateCheckRates, TemplateCheckSpec};
use super::runtime::{Model, Runtime};
use super::{InferenceError, LoadError};
use crate::domain::{Embedding, EmbeddingError};

/// The output of the network: 1 for a template of an upright, whole face, 0 for any other.
const OUTPUT: &str = "sound";

/// The network that judges embeddings.
#[derive(Debug)]
pub struct TemplateCheck {
    model: Model,
    spec: TemplateCheckSpec,
}

/// Why an embedding could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum TemplateCheckError {
    /// The embedding is of another model.
    #[error(transparent)]
    Embedding(#[from] EmbeddingError),
    /// The network did not run.
    #[error(transparent)]
    Inference(#[from] InferenceError),
}

impl TemplateCheck {
    /// Loads the pack's network and compares its output with `golden.toml`. `None` when the pack has none.
    ///
    /// # Errors
    /// When it does not load, or its shape differs from the pack.
    pub fn load(pack: &ModelPack) -> Result<Option<Self>, LoadError> {
        let Some(mut check) = Self::load_with(&Runtime::load(&pack.runtime()?)?, pack)? else {
            return Ok(None);
        };
        let failed = |message| LoadError::Model { model: check.spec.model.clone(), message };
        let computed = check.model.golden_output().map_err(|error| failed(error.message))?;
        pack.golden().compare(&check.spec.model, &computed).map_err(failed)?;
        Ok(Some(check))
    }

    pub(super) fn load_with(runtime: &Runtime, pack: &ModelPack) -> Result<Option<Self>, LoadError> {
        let Some(spec) = pack.template_check.clone() else { return Ok(None) };
        let model = runtime.model(&spec.model, &pack.bytes(&spec.model)?)?;
        let wrong = |message: String| LoadError::Model { model: spec.model.clone(), message };
        let dimension = pack.embedder.dimension;
        if !model.inputs().map(|(_, shape)| shape).eq([[1, dimension].as_slice()]) {
            return Err(wrong(format!("its input is not one embedding of {dimension} numbers")));
        }
        if !model.has_output(OUTPUT) {
            return Err(wrong(format!("it has no output {OUTPUT}")));
        }
        Ok(Some(Self { model, spec }))
    }

    /// The model, for its self-check.
    pub(super) fn model(&mut self) -> &mut Model {
        &mut self.model
    }

    /// Its error rates.
    pub fn rates(&self) -> TemplateCheckRates {
        self.spec.rates
    }

    /// Whether an embedding looks like that of an upright, whole face.
    ///
    /// # Errors
    /// [`TemplateCheckError::Embedding`] for an embedding of another model, [`TemplateCheckError::Inference`] when the
    /// network does not run.
    pub fn is_sound(&mut self, embedding: &Embedding) -> Result<bool, TemplateCheckError> {
        let numbers: usize = self.model.inputs().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        if embedding.model().as_str() != self.spec.tag || embedding.values().len() != numbers {
            return Err(EmbeddingError::DifferentModels.into());
        }
        let mut sound = None;
        self.model.run(&[embedding.values()], |name, numbers| {
            if let (OUTPUT, &[number]) = (name, numbers) {
                sound = Some(number);
            }
        })?;
        match sound.filter(|sound| sound.is_finite()) {
            Some(sound) => Ok(sound >= self.spec.min_sound),
            None => Err(self.model.wrong(format!("{OUTPUT} is not one number")).into()),
        }
    }
}
