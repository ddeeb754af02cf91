//! Engines on threads of their own.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Analyze, AnalyzeError, EmbeddingSender, Engine, EngineConfig, LoadError, ModelPack};
use crate::compute::{Pool, PoolConfig, WorkError};
use crate::domain::{Analysis, AnalysisRequest, Check, FalseMatchCurve, ModelTag};
use crate::image::Photo;

/// What a worker does with a photo. It belongs to one thread, and is made again after a panic.
pub type Worker = Box<dyn FnMut(&Photo, AnalysisRequest, EmbeddingSender) -> Result<Analysis, AnalyzeError>>;

/// Worker threads with one [`Engine`] each, behind one bounded queue that is fair between tenants.
pub struct EnginePool {
    pool: Pool<Worker>,
    pack: Arc<ModelPack>,
    model: ModelTag,
}

impl fmt::Debug for EnginePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnginePool").field("pool", &self.pool).field("model", &self.model).finish()
    }
}

impl EnginePool {
    /// Starts the workers and waits until each has loaded its models and checked itself.
    ///
    /// # Errors
    /// The first worker's [`LoadError`].
    pub fn start(config: EngineConfig, pool: PoolConfig) -> Result<Self, LoadError> {
        Self::start_with(Arc::clone(&config.pack), pool, move || {
            let mut engine = Engine::load(&config)?;
            engine.self_check()?;
            Ok(Box::new(move |photo, request, sender| engine.analyze_with_sender(photo, request, sender)))
        })
    }

    /// Starts workers that `worker` makes, each on its own thread.
    ///
    /// # Errors
    /// The first one's [`LoadError`].
    pub fn start_with(
        pack: Arc<ModelPack>,
        pool: PoolConfig,
        worker: impl Fn() -> Result<Worker, LoadError> + Send + Sync + 'static,
    ) -> Result<Self, LoadError> {
        let model = pack.embedding_model();
        let pool = Pool::start(pool, move |_| worker())?;
        Ok(Self { pool, pack, model })
    }

    /// Photos waiting for a worker.
    pub fn waiting(&self) -> usize {
        self.pool.waiting()
    }

    /// Number of workers asked for.
    pub fn size(&self) -> usize {
        self.pool.size()
    }

    /// Finishes the queued work, then stops the workers.
    pub fn stop(&self) {
        self.pool.stop();
    }
}

#[async_trait]
impl Analyze for EnginePool {
    async fn analyze_with_sender(
        &self,
        photo: Photo,
        request: AnalysisRequest,
        sender: EmbeddingSender,
    ) -> Result<Analysis, AnalyzeError> {
        let work = self.pool.submit_for(request.tenant.number(), move |worker, waited| {
            let mut analysis = worker(&photo, request, sender)?;
            analysis.timings.queue = waited;
            Ok(analysis)
        });
        work.result().await.unwrap_or_else(|error| {
            Err(match error {
                WorkError::Busy | WorkError::Expired => AnalyzeError::Busy,
                WorkError::Panicked | WorkError::Stopped => AnalyzeError::failed(error),
            })
        })
    }

    fn offers(&self, check: Check) -> bool {
        self.pack.offers(check)
    }

    fn embedding_model(&self) -> &ModelTag {
        &self.model
    }

    fn false_matches(&self) -> &FalseMatchCurve {
        self.pack.false_matches()
    }

    fn is_ready(&self) -> bool {
        self.pool.is_ready()
    }
}
