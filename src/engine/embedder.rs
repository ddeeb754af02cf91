//! From an aligned face to an embedding.

use super::model_pack::{EmbedderSpec, ModelPack};
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
    feature_map: Vec<f32>,
}

impl Embedder {
    /// Loads the pack's embedding model.
    ///
    /// # Errors
    /// When it does not load, or has other inputs and outputs than the pack says.
    pub(super) fn load(runtime: &Runtime, pack: &ModelPack) -> Result<Self, LoadError> {
        let spec = pack.embedder.clone();
        let wrong = |message: String| LoadError::Model { model: spec.model.clone(), message };
        let model = runtime.model(&spec.model, &pack.bytes(&spec.model)?)?;
        if !model.takes_picture(spec.input.size) {
            return Err(wrong(format!("its input is not one image of {0} x {0} pixels", spec.input.size)));
        }
        if let Some(missing) = [&spec.output, &spec.feature_map].into_iter().find(|name| !model.has_output(name)) {
            return Err(wrong(format!("it has no output {missing}")));
        }
        Ok(Self { model, tag: pack.embedding_model(), planes: Vec::new(), feature_map: Vec::new(), spec })
    }

    /// The model, for its self-check.
    pub(super) fn model(&mut self) -> &mut Model {
        &mut self.model
    }

    /// Takes the feature map of the last embedding.
    pub(super) fn take_feature_map(&mut self) -> Vec<f32> {
        std::mem::take(&mut self.feature_map)
    }

    /// The embedding of a face, of unit length.
    ///
    /// # Errors
    /// When the run fails, or the output does not have the pack's dimension.
    pub(super) fn embed(&mut self, face: &AlignedFace) -> Result<Embedding, InferenceError> {
        planar(face.rgb(), &self.spec.input.layout(), &mut self.planes);
        let spec = &self.spec;
        let feature_map = &mut self.feature_map;
        let mut raw = Vec::with_capacity(spec.dimension);
        self.model.run(&[&self.planes], |name, numbers| {
            if name == spec.output {
                raw.extend_from_slice(numbers);
            } else if name == spec.feature_map {
                feature_map.clear();
                feature_map.extend_from_slice(numbers);
            }
        })?;
        if raw.len() != self.spec.dimension {
            return Err(self.model.wrong(format!("{} numbers instead of {}", raw.len(), self.spec.dimension)));
        }
        Embedding::new(&raw, self.tag.clone()).map_err(|error| self.model.wrong(error.to_string()))
    }
}
