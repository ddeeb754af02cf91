//! The face engine: from a photo to an [`Analysis`].
//!
//! One seam, [`Analyze`]. Behind it `Engine` is a plain synchronous value that owns every ONNX
//! session and belongs to one thread; `EnginePool` puts one on each worker thread.

mod chooser;
mod collectors;
mod detection;
mod digest;
mod embedder;
mod error;
mod face_detector;
mod heads;
mod model_pack;
mod pipeline;
mod pool;
mod runtime;
mod telemetry_lock;
mod template_check;
mod yunet;

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::domain::{Analysis, AnalysisRequest, Check, Embedding, FalseMatchCurve, ModelTag, PhotoFault};
use crate::image::Photo;

pub use crate::image::DecodeLimits;
pub use digest::Sha256Digest;
pub use error::{InferenceError, LoadError};
pub use model_pack::{ModelFile, ModelPack, RuntimeComponent, RuntimeProvenance, TemplateCheckRates};
pub use pipeline::{Engine, EngineConfig};
pub use pool::{EnginePool, Worker};
pub use template_check::{TemplateCheck, TemplateCheckError};

/// Why a photo has no analysis.
#[derive(Debug, thiserror::Error)]
pub enum AnalyzeError {
    /// The photo is at fault.
    #[error(transparent)]
    Fault(#[from] PhotoFault),
    /// Too much work is waiting.
    #[error("the engine is busy")]
    Busy,
    /// The model for a requested check is not installed.
    #[error("no model for {0:?} is installed")]
    NotInstalled(Check),
    /// The engine failed; the caller is not at fault.
    #[error("the engine failed: {0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl AnalyzeError {
    fn failed(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Failed(Box::new(source))
    }
}

/// Sends the embedding of a photo as soon as it is computed, while the rest of the analysis goes on.
#[derive(Debug, Default)]
pub struct EmbeddingSender(Option<oneshot::Sender<Embedding>>);

impl EmbeddingSender {
    /// A sender and its receiver. Nothing is sent when the photo has no embedding, or none was requested.
    pub fn channel() -> (Self, oneshot::Receiver<Embedding>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Some(sender)), receiver)
    }

    /// Sends an embedding, if there is a receiver.
    pub fn send(self, embedding: &Embedding) {
        if let Some(sender) = self.0 {
            let _ = sender.send(embedding.clone());
        }
    }
}

/// Analyses photos.
#[async_trait]
pub trait Analyze: Send + Sync {
    /// Analyses one photo. Dropping the future cancels the work if it has not started. A requested embedding is also
    /// sent as soon as it is computed.
    async fn analyze_with_sender(
        &self,
        photo: Photo,
        request: AnalysisRequest,
        sender: EmbeddingSender,
    ) -> Result<Analysis, AnalyzeError>;

    /// Analyses one photo without sending its embedding early.
    async fn analyze(&self, photo: Photo, request: AnalysisRequest) -> Result<Analysis, AnalyzeError> {
        self.analyze_with_sender(photo, request, EmbeddingSender::default()).await
    }

    /// Whether the model for a check is installed.
    fn offers(&self, check: Check) -> bool;

    /// The model that makes the embeddings.
    fn embedding_model(&self) -> &ModelTag;

    /// How often embeddings of different people are alike.
    fn false_matches(&self) -> &FalseMatchCurve;

    /// Whether every worker is warm and working.
    fn is_ready(&self) -> bool;
}
