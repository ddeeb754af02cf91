//! The seams with a stopwatch in front of them, so that no code around or behind them needs one.

use std::sync::Arc;

use async_trait::async_trait;

use super::Metrics;
use crate::domain::{Analysis, AnalysisRequest, AppId, Check, Embedding, FalseMatchCurve, ModelTag, stopwatch};
use crate::engine::{Analyze, AnalyzeError, EmbeddingSender};
use crate::gallery::{MatchError, Matcher, Ranked};
use crate::image::Photo;

/// An engine whose stages are measured.
pub struct MeasuredAnalyze {
    inner: Arc<dyn Analyze>,
    metrics: Arc<Metrics>,
}

impl MeasuredAnalyze {
    /// Puts the stopwatch in front of an engine.
    pub fn new(inner: Arc<dyn Analyze>, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }
}

#[async_trait]
impl Analyze for MeasuredAnalyze {
    async fn analyze_with_sender(
        &self,
        photo: Photo,
        request: AnalysisRequest,
        sender: EmbeddingSender,
    ) -> Result<Analysis, AnalyzeError> {
        let outcome = self.inner.analyze_with_sender(photo, request, sender).await;
        if let Ok(analysis) = &outcome {
            self.metrics.analysis(&analysis.timings);
        }
        outcome
    }

    fn offers(&self, check: Check) -> bool {
        self.inner.offers(check)
    }

    fn embedding_model(&self) -> &ModelTag {
        self.inner.embedding_model()
    }

    fn false_matches(&self) -> &FalseMatchCurve {
        self.inner.false_matches()
    }

    fn is_ready(&self) -> bool {
        self.inner.is_ready()
    }
}

/// A matcher whose searches are measured.
pub struct MeasuredMatcher {
    inner: Arc<dyn Matcher>,
    metrics: Arc<Metrics>,
}

impl MeasuredMatcher {
    /// Puts the stopwatch in front of a matcher.
    pub fn new(inner: Arc<dyn Matcher>, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }
}

#[async_trait]
impl Matcher for MeasuredMatcher {
    async fn top_k(&self, app: &AppId, probe: &Embedding, limit: usize) -> Result<Ranked, MatchError> {
        let started = stopwatch();
        let outcome = self.inner.top_k(app, probe, limit).await;
        if outcome.is_ok() {
            self.metrics.search(started.elapsed());
        }
        outcome
    }
}
