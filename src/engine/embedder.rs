//! From an aligned face to an embedding.

use super::manifest::{EmbedderSpec, Manifest};
use super::runtime::{Model, Runtime};
use super::{InferenceError, LoadError};
use crate::domain::{Embedding, ModelTag};
use crate::image::AlignedFace;
use crate::image::tensor::planar;

/// A face recognition network: one aligned face in, one vector out.
#[derive(Debug)]
pub(super) struct Embedder {
    model: Model,
    spec: EmbedderSpec,
    tag: ModelTag,
    planes: Vec<f32>,
}

impl Embedder {
    /// Loads the pack's embedding model.
    ///
    /// # Errors
    /// When it does not load.
    pub(super) fn load(runtime: &Runtime, manifest: &Manifest) -> Result<Self, LoadError> {
        let spec = manifest.embedder.clone();
        let side = spec.input.size as usize;
        let model = runtime.model(&spec.model, &manifest.bytes(&spec.model)?, [1, 3, side, side])?;
        Ok(Self { model, spec, tag: manifest.embedding_model(), planes: Vec::new() })
    }

    /// The embedding of a face, of unit length.
    ///
    /// # Errors
    /// When the run fails, or the output is no vector of the pack's dimension.
    pub(super) fn embed(&mut self, face: &AlignedFace) -> Result<Embedding, InferenceError> {
        planar(face.rgb(), &self.spec.input.layout(), &mut self.planes);
        let mut raw = Vec::with_capacity(self.spec.dimension);
        self.model.run(&self.planes, |_, numbers| raw.extend_from_slice(numbers))?;
        if raw.len() != self.spec.dimension {
            return Err(self.model.wrong(format!("{} numbers instead of {}", raw.len(), self.spec.dimension)));
        }
        Embedding::new(&raw, self.tag.clone()).map_err(|error| self.model.wrong(error.to_string()))
    }
}
