//! The use cases. No HTTP, no SQL, no tensors: only the three seams and the rules between them.
//!
//! One file per use case. [`Service`] is a plain struct of trait objects; a dynamic call costs nothing compared with a
//! model run.

mod admin_error;
mod administrators;
mod applications;
mod credentials;
mod decision;
mod enroll;
mod error;
mod export_person;
mod guard;
mod health;
mod idempotency;
mod identify;
mod inspect;
mod jobs;
mod key_uses;
mod loader;
pub mod people;
mod replica;
mod replicator;
mod retention;
mod review;
mod review_error;
mod samples;
mod snapshots;
mod store_clock;
mod system;
mod system_error;
mod templates;
mod verify;
mod writability;

use std::sync::Arc;
use std::time::Duration;

pub use admin_error::AdminError;
pub use administrators::{
    AdministratorPatch, Administrators, BOOTSTRAP_LIFE, Bootstrap, Credential, FRESH, NewAdministrator, NewSession,
    NewToken, SignInFrom, SignedIn, Via, idle_end, session_end,
};
pub use applications::{Applications, Caller, CallerKey, Refused};
pub use credentials::{Credentials, NewKey, hash_key};
pub use decision::{ComparisonDecision, Decision, ThresholdSource};
pub use enroll::{EnrollOptions, Enrolled, Enrollment, NewSample, Render};
pub use error::{Error, Suspicion};
pub use export_person::{NearProbe, PersonExport, SampleExport};
pub use health::{Health, HealthFinding, HealthState};
pub use idempotency::{EnrollmentRequest, Once};
pub use identify::{Candidate, Examined, Identified, IdentifyOptions, Match};
pub use jobs::{JobProgress, JobRecord, JobRefusal, JobState, Jobs};
pub use loader::Loading;
pub use people::{PeoplePage, PeopleQuery, PeopleSort, PersonChange};
pub use replicator::Replicator;
pub use review::{Decided, KEEP_PROBES, ReviewDecision, ReviewItem, ReviewPage};
pub use review_error::ReviewRefusal;
pub use samples::MergePreview;
pub use snapshots::SnapshotConfig;
pub use store_clock::{ClockDoubt, MAX_OFFSET, StoreClock};
pub use system_error::SystemError;
pub use verify::{Probe, Verified, VerifiedTemplate};
pub use writability::Writability;

use crate::domain::{
    Analysis, AnalysisRequest, Calibration, Check, Checks, Clock, Cosine, Embedding, FineLimits, PhotoOptions,
    Similarity, TenantKey,
};
use crate::engine::{Analyze, AnalyzeError};
use crate::gallery::{Matcher, MatcherFeed, Ranked};
use crate::image::Photo;
use crate::store::{CursorKey, ErasureReason, OutboxEvent, PoolUsage, Store};
use idempotency::InFlight;
use replicator::Callers;
use retention::Holds;
use review::WaitingProbes;
use snapshots::Snapshots;

/// The rules that the operator sets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// How cosines become similarities.
    pub calibration: Calibration,
    /// The similarity from which `identify` returns a match, and `verify` the same person.
    pub threshold: f64,
    /// Where measures and checks are fine, as the engine judges them.
    pub limits: FineLimits,
    /// Whether a photo that fails a requested check is refused at enrollment.
    pub refuse_failed_checks: bool,
    /// Whether age, gender and race are reported to the applications that have them enabled.
    pub attributes: bool,
    /// The most candidates that one request may ask for.
    pub max_candidates: usize,
    /// The longest time since keys or a gallery were read from the database in which they are used; `None`: no limit.
    pub max_stale: Option<Duration>,
}

/// Everything a use case needs.
#[derive(Clone)]
pub struct Service {
    analyze: Arc<dyn Analyze>,
    matcher: Arc<dyn Matcher>,
    feed: Arc<dyn MatcherFeed>,
    store: Store,
    replicator: Arc<Replicator>,
    applications: Arc<Applications>,
    administrators: Arc<Administrators>,
    writability: Arc<Writability>,
    policy: Policy,
    holds: Arc<Holds>,
    in_flight: Arc<InFlight>,
    waiting_probes: Arc<WaitingProbes>,
}

impl Service {
    /// Puts the use cases on top of the seams.
    pub fn new(
        analyze: Arc<dyn Analyze>,
        matcher: Arc<dyn Matcher>,
        feed: Arc<dyn MatcherFeed>,
        store: Store,
        snapshots: Option<SnapshotConfig>,
        policy: Policy,
        clock: Clock,
    ) -> Self {
        let model = analyze.embedding_model().clone();
        let snapshots =
            snapshots.map(|config| Snapshots::new(config, store.snapshots.clone(), Arc::clone(&feed), model.clone()));
        let applications = Arc::new(Applications::new(&store, clock.clone()));
        let administrators = Arc::new(Administrators::new(store.administrators.clone(), clock.clone()));
        let replicator = Replicator::new(
            store.clone(),
            Arc::clone(&feed),
            Callers { applications: Arc::clone(&applications), administrators: Arc::clone(&administrators) },
            model,
            clock,
            snapshots,
            policy.max_stale,
        );
        let writability = Arc::new(Writability::new(Arc::clone(&store.probe)));
        Self {
            writability,
            analyze,
            matcher,
            feed,
            store,
            replicator: Arc::new(replicator),
            applications,
            administrators,
            policy,
            holds: Arc::default(),
            in_flight: Arc::default(),
            waiting_probes: Arc::default(),
        }
    }

    /// Whether the database can be written.
    pub fn writability(&self) -> &Arc<Writability> {
        &self.writability
    }

    /// The applications and their credentials.
    pub fn applications(&self) -> &Arc<Applications> {
        &self.applications
    }

    /// The administrators, their tokens and sessions.
    pub fn administrators(&self) -> &Arc<Administrators> {
        &self.administrators
    }

    /// The key that seals the cursors of pages.
    pub fn cursor_key(&self) -> &CursorKey {
        &self.store.cursor_key
    }

    /// Keeps the galleries equal to the store.
    pub fn replicator(&self) -> &Arc<Replicator> {
        &self.replicator
    }

    /// The write side of the index, for its sizes.
    pub fn feed(&self) -> &Arc<dyn MatcherFeed> {
        &self.feed
    }

    /// The rules in force.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// The similarity from which a caller gets a match: that of the request, or of its application, or of the server.
    pub fn threshold(&self, caller: &Caller, requested: Option<f64>) -> f64 {
        self.sourced_threshold(caller, requested).0
    }

    /// The number of templates of the application for which someone acts.
    ///
    /// # Errors
    /// Store failures.
    pub async fn count_templates(&self, caller: &Caller) -> Result<usize, Error> {
        Ok(self.store.templates.count(&caller.app).await?)
    }

    /// Deletes an application with its gallery, on behalf of someone. Returns the number of erased templates; `None` when
    /// it does not exist.
    ///
    /// # Errors
    /// As [`Applications::delete`].
    pub async fn delete_application(&self, caller: &Caller, event: &OutboxEvent) -> Result<Option<usize>, Error> {
        let reason = ErasureReason { transaction: Some(caller.transaction), ..ErasureReason::APPLICATION };
        let reason = reason.by(caller.actor.clone());
        self.applications.delete_for(&caller.app, &*self.store.templates, &reason, Some(event)).await
    }

    /// Whether identify can be served: workers warm, galleries loaded, the database read recently enough.
    pub fn is_ready(&self) -> bool {
        self.is_engine_ready() && self.replicator.is_loaded() && !self.replicator.is_stale()
    }

    /// Whether the workers of the engine are warm.
    pub fn is_engine_ready(&self) -> bool {
        self.analyze.is_ready()
    }

    /// Refuses a request while the keys in memory may have been revoked for too long.
    ///
    /// # Errors
    /// [`Error::Stale`] when the last successful poll is longer ago than [`Policy::max_stale`].
    pub fn require_fresh_keys(&self) -> Result<(), Error> {
        if self.replicator.is_stale() { Err(Error::Stale) } else { Ok(()) }
    }

    /// How busy the connections to the database are.
    pub fn pool_usage(&self) -> PoolUsage {
        self.store.pool.pool_usage()
    }

    /// Searches the gallery of a caller, if it follows the store closely enough.
    async fn search(&self, caller: &Caller, probe: &Embedding, limit: usize) -> Result<Ranked, Error> {
        if self.replicator.is_gallery_stale(&caller.app) {
            return Err(Error::Stale);
        }
        Ok(self.matcher.top_k(&caller.app, probe, limit).await?)
    }

    /// Whether the model for a check is installed.
    pub fn offers(&self, check: Check) -> bool {
        self.analyze.offers(check)
    }

    /// Refuses a request whose checks have no model, before any work is done for it.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] for the first check without a model.
    pub fn require(&self, checks: Checks) -> Result<(), Error> {
        match checks.asked().find(|&check| !self.offers(check)) {
            Some(check) => Err(Error::NotInstalled(check)),
            None => Ok(()),
        }
    }

    fn analysis_request(&self, caller: &Caller, options: PhotoOptions, embedding: bool) -> AnalysisRequest {
        let PhotoOptions { checks, subject } = options;
        let attributes = self.policy.attributes && caller.attributes;
        let tenant = TenantKey::new(&caller.app);
        AnalysisRequest { embedding, quality: true, checks, attributes, crop: false, subject, tenant }
    }

    async fn analyze(
        &self,
        caller: &Caller,
        photo: Photo,
        options: PhotoOptions,
        embedding: bool,
    ) -> Result<Analysis, Error> {
        Ok(self.analyze.analyze(photo, self.analysis_request(caller, options, embedding)).await?)
    }

    /// An analysis with its embedding.
    async fn analyze_for_matching(
        &self,
        caller: &Caller,
        photo: Photo,
        options: PhotoOptions,
    ) -> Result<(Analysis, Embedding), Error> {
        let analysis = self.analyze(caller, photo, options, true).await?;
        let embedding = embedding(&analysis)?;
        Ok((analysis, embedding))
    }

    fn similarity(&self, cosine: Cosine) -> Similarity {
        self.policy.calibration.similarity(cosine)
    }
}

/// The embedding of an analysis that was to have one.
fn embedding(analysis: &Analysis) -> Result<Embedding, Error> {
    analysis.embedding.clone().ok_or_else(|| Error::internal("the engine returned no embedding"))
}

impl From<AnalyzeError> for Error {
    fn from(error: AnalyzeError) -> Self {
        match error {
            AnalyzeError::Fault(fault) => Self::Photo(fault),
            AnalyzeError::Busy => Self::Busy,
            AnalyzeError::NotInstalled(check) => Self::NotInstalled(check),
            AnalyzeError::Failed(source) => Self::Internal(source),
        }
    }
}
