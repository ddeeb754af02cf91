//! The server: built from the settings, run until it is stopped.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum_server::Handle;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::background::{Background, Reloaded, spawn_supervised};
use super::certificate::Tls;
use super::data_lock::{DataLock, JournalOwner};
use super::listener::Listener;
use super::machine::RunningServer;
use super::outbox_relay::OutboxRelay;
use super::stopping::{THREADS_TIMEOUT, blocking_within};
use super::{
    StartError, calibration, credentials, journal_dir, licences, model_pack, open_store, shape, start_engine,
    start_matcher, tls,
};
use crate::api::{AdminConfig, ApiConfig, ApiState, ForwardedHeader, Limiters, REFUSAL_LOG_WINDOW, System};
use crate::compute::{FairLimiter, FairSlots, FileWork, MemoryBudget};
use crate::domain::{Actor, Clock, ClockTrust};
use crate::engine::{EnginePool, ModelPack};
use crate::gallery::MemoryMatcher;
use crate::journal::{Archive, Journal, JournalConfig, JournalKey};
use crate::service::{Bootstrap, Credentials, Jobs, Policy, Service, SnapshotConfig};
use crate::settings::{AdminListen, ClientFrom, Settings};
use crate::store::{HintStore, KeyStore, OpenMode, OutboxEvent, Scrubber, Store};
use crate::telemetry::{MeasuredAnalyze, MeasuredMatcher, Metrics, SAMPLE_INTERVAL};

/// The file in the data folder with the token of the first owner.
const ADMIN_TOKEN_FILE: &str = "admin.token";

/// Checks of models and listings of backups at once.
const MAX_FILE_WORK: usize = 2;

/// What the first run created.
#[derive(Debug)]
pub struct FirstRun {
    /// The first application's credentials.
    pub credentials: Credentials,
    /// The file that holds them, for its owner only.
    pub file: PathBuf,
    /// The first owner of the administration, and the file with its token; `None` when an administrator existed.
    pub bootstrap: Option<(Bootstrap, PathBuf)>,
}

/// A server that is bound to its addresses.
pub struct App {
    settings: Arc<Settings>,
    listeners: Vec<Listener>,
    tls: Option<Tls>,
    state: ApiState,
    metrics: Arc<Metrics>,
    limiters: Limiters,
    service: Service,
    scrubber: Arc<dyn Scrubber>,
    hints: Arc<dyn HintStore>,
    keys: Arc<dyn KeyStore>,
    reload_request: Arc<Notify>,
    reload_asked: Arc<Notify>,
    engine: Arc<EnginePool>,
    matcher: Arc<MemoryMatcher>,
    relay: Arc<OutboxRelay>,
    /// Held while the server runs.
    _data_lock: DataLock,
    first_run: Option<FirstRun>,
}

impl App {
    /// Opens the database, loads the models and binds the addresses. Galleries are loaded by [`App::run`]; until then
    /// `/readyz` answers 503.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn build(settings: Settings) -> Result<Self, StartError> {
        let pack = model_pack(&settings)?;
        let tls = tls(&settings)?;
        let data_lock = DataLock::acquire(&settings.data)?;
        let store = open_store(&settings, OpenMode::Create).await?;
        let engine = start_engine(&settings)?;
        let matcher = Arc::new(start_matcher(&settings));
        let metrics = Arc::new(Metrics::new());
        let scrubber = Arc::clone(&store.scrubber);
        let hints = Arc::clone(&store.hints);
        let keys = Arc::clone(&store.keys);
        let service = Service::new(
            Arc::new(MeasuredAnalyze::new(engine.clone(), Arc::clone(&metrics))),
            Arc::new(MeasuredMatcher::new(matcher.clone(), Arc::clone(&metrics))),
            matcher.clone(),
            store.clone(),
            snapshots(&settings),
            policy(&settings, &pack)?,
            Clock::system(),
        );
        service.applications().refresh().await?;
        service.administrators().refresh().await?;
        service.observe_clock().await?;
        let clock_trust = service.applications().store_clock().trust();
        let journal = journal(&settings, &store, &pack, data_lock.node_id, clock_trust).await?;
        let relay =
            Arc::new(OutboxRelay::new(journal.clone(), store.outbox.clone(), data_lock.node_id, metrics.clone()));
        let first_run = first_run(&settings, &service, &relay).await?;

        let limiters = limiters(&settings);
        let state = ApiState::new(
            service.clone(),
            limiters.clone(),
            Arc::clone(&metrics),
            api_config(&settings),
            &licences(&pack)?,
            journal,
        );
        let settings = Arc::new(settings);
        let reload_asked = Arc::new(Notify::new());
        let machine = RunningServer {
            settings: Arc::clone(&settings),
            store: store.clone(),
            service: service.clone(),
            reload: Arc::clone(&reload_asked),
            files: FileWork::new(MAX_FILE_WORK),
        };
        state.attach(System::new(
            Arc::new(machine),
            Some(Arc::new(Archive::new(journal_dir(&settings), JournalKey::new(store.journal_key.clone())))),
            Jobs::new(Clock::system()),
            data_lock.node_id,
            Clock::system().now(),
            pack.version(),
        ));
        let listeners = Listener::all(&settings, &metrics)?;
        Ok(Self {
            settings,
            listeners,
            tls,
            state,
            metrics,
            limiters,
            service,
            scrubber,
            hints,
            keys,
            reload_request: Arc::new(Notify::new()),
            reload_asked,
            engine,
            matcher,
            relay,
            _data_lock: data_lock,
            first_run,
        })
    }

    /// What this run created; `None` when it is not the first.
    pub fn first_run(&self) -> Option<&FirstRun> {
        self.first_run.as_ref()
    }

    /// The URL of the API.
    pub fn url(&self) -> Option<String> {
        self.listeners.first().map(|listener| self.url_of(listener))
    }

    /// The URL of the administration; `None` where it is not served.
    pub fn administration_url(&self) -> Option<String> {
        self.listeners.iter().find(|listener| listener.has_administration()).map(|listener| self.url_of(listener))
    }

    fn url_of(&self, listener: &Listener) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", listener.address())
    }

    /// Makes the running server read its certificate and its sealing keys again.
    pub fn reload_request(&self) -> Arc<Notify> {
        Arc::clone(&self.reload_request)
    }

    /// Notified when an administrator asks for what SIGHUP does.
    pub fn reload_asked(&self) -> Arc<Notify> {
        Arc::clone(&self.reload_asked)
    }

    /// Serves until `stop` is ready. Then it is not ready, but serves for the time that `stop` returned, and after that
    /// it finishes the admitted requests.
    ///
    /// # Errors
    /// When a listener fails.
    pub async fn run(self, stop: impl Future<Output = Duration>) -> Result<(), StartError> {
        let handle = Handle::new();
        let reloaded =
            Reloaded { tls: self.tls.clone(), keys: self.keys, request: self.reload_request, metrics: self.metrics };
        let background =
            Background::start(&self.settings, &self.service, &self.relay, &self.scrubber, &self.hints, reloaded);
        let mut serving = JoinSet::new();
        for listener in self.listeners {
            serving.spawn(listener.serve(
                self.state.clone(),
                self.tls.as_ref().map(|tls| tls.config.clone()),
                handle.clone(),
            ));
        }
        let state = self.state.clone();
        let refusal_log = tokio::spawn(async move {
            loop {
                tokio::time::sleep(REFUSAL_LOG_WINDOW).await;
                state.report_refusals(false);
            }
        });
        let sampler = spawn_supervised("figures", self.state.clone(), sample_figures);
        let stop = async {
            let drain = stop.await;
            self.state.begin_drain();
            tokio::time::sleep(drain).await;
        };
        let outcome = tokio::select! {
            Some(failed) = serving.join_next() => vec![failed],
            () = stop => {
                // Requests in flight finish; new photos are refused with 503.
                self.limiters.photos.close();
                handle.graceful_shutdown(Some(Duration::from_secs(self.settings.server.shutdown_s)));
                let mut ended = vec![];
                while let Some(one) = serving.join_next().await {
                    ended.push(one);
                }
                ended
            }
        };
        refusal_log.abort();
        sampler.abort();
        self.state.report_refusals(true);
        tokio::join!(background.stop(&self.service, &*self.scrubber), self.relay.stop());
        let (engine, matcher) = (self.engine, self.matcher);
        let threads = move || {
            engine.stop();
            matcher.stop();
        };
        let close = tokio::time::timeout(THREADS_TIMEOUT, self.scrubber.close());
        let (threads, closed) = tokio::join!(blocking_within(THREADS_TIMEOUT, threads), close);
        if threads.is_none() {
            tracing::warn!("a photo or a search takes long; the server ends without it");
        }
        if !matches!(closed, Ok(Ok(()))) {
            tracing::warn!("the write-ahead log is not written into the database file; keep both files together");
        }
        outcome.into_iter().try_for_each(|ended| {
            ended.map_err(std::io::Error::other).and_then(|served| served).map_err(StartError::Serve)
        })
    }
}

/// Samples the figures just after each multiple of the interval, for as long as the server runs.
async fn sample_figures(state: ApiState) {
    loop {
        state.sample_figures();
        let since_epoch = Clock::system().now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let interval = SAMPLE_INTERVAL.as_nanos();
        let wait = interval - since_epoch.as_nanos() % interval;
        tokio::time::sleep(Duration::from_nanos(u64::try_from(wait).unwrap_or_default())).await;
    }
}

/// The journal, if it is enabled.
async fn journal(
    settings: &Settings,
    store: &Store,
    pack: &ModelPack,
    node: Uuid,
    clock_trust: &ClockTrust,
) -> Result<Option<Arc<Journal>>, StartError> {
    if !settings.journal.enabled {
        return Ok(None);
    }
    let dir = journal_dir(settings);
    let owner = JournalOwner::read(&dir)?;
    owner.check(&dir, store.database_id)?;
    let known = store.outbox.journal_positions().await?.into_iter().find(|known| known.node == node);
    let config = JournalConfig {
        dir: dir.clone(),
        key: JournalKey::new(store.journal_key.clone()),
        models: pack.version(),
        keep_days: settings.journal.keep_days,
        known: known.map(|known| known.position),
        clock: Clock::system(),
        clock_trust: clock_trust.clone(),
    };
    let journal = Journal::open(config)?;
    owner.record(&dir, store.database_id)?;
    Ok(Some(Arc::new(journal)))
}

/// The configuration of snapshots, if they are enabled.
fn snapshots(settings: &Settings) -> Option<SnapshotConfig> {
    let config = SnapshotConfig { dir: settings.data.join("snapshots"), min_templates: settings.snapshots.templates };
    (settings.snapshots.every_s > 0).then_some(config)
}

fn policy(settings: &Settings, pack: &ModelPack) -> Result<Policy, StartError> {
    Ok(Policy {
        calibration: calibration(settings, pack.operating_point())?,
        threshold: settings.matching.threshold,
        limits: pack.fine,
        refuse_failed_checks: settings.policy.refuse_failed_checks,
        attributes: settings.policy.attributes,
        max_candidates: settings.matching.max_candidates,
        max_stale: settings.max_stale(),
    })
}

fn limiters(settings: &Settings) -> Limiters {
    Limiters {
        photos: FairLimiter::new(settings.limits.max_in_flight),
        store: FairLimiter::new(settings.limits.store),
        store_slots: FairSlots::new(
            settings.database.connections as usize,
            settings.limits.app_share,
            settings.database_timeout(),
        ),
        uploads: MemoryBudget::new(settings.limits.upload_bytes, settings.limits.app_share),
    }
}

fn api_config(settings: &Settings) -> ApiConfig {
    ApiConfig {
        shape: shape(settings),
        max_body_bytes: settings.limits.body_bytes,
        body_timeout: Duration::from_secs(settings.server.body_timeout_s),
        body_idle_timeout: Duration::from_secs(settings.server.body_idle_s),
        formats: settings.photo.formats,
        cors_origins: settings.server.cors_origins.clone(),
        hsts_s: settings.tls_files().and(Some(settings.tls.hsts_s)).filter(|seconds| *seconds > 0),
        retry_after_s: settings.limits.retry_after_s,
        requests_per_second: settings.limits.app_per_s,
        burst: settings.limits.app_burst,
        app_share: settings.limits.app_share,
        trusted_proxies: settings.server.trusted_proxies.clone(),
        forwarded_header: match settings.server.client_from {
            ClientFrom::XForwardedFor => Some(ForwardedHeader::XForwardedFor),
            ClientFrom::Forwarded => Some(ForwardedHeader::Forwarded),
            ClientFrom::ProxyProtocol => None,
        },
        connections: settings.server.connections,
        peer_share: settings.server.peer_share,
        unauthenticated_per_second: settings.limits.unauthenticated_per_s,
        admin: AdminConfig {
            is_tls: settings.tls_files().is_some(),
            plain_http: settings.admin.plain_http,
            hosts: settings.admin.hosts.clone(),
            listen: match settings.admin.listen {
                AdminListen::Off => None,
                AdminListen::Default => Some(AdminListen::DEFAULT.ip()),
                AdminListen::At(address) => Some(address.ip()),
                AdminListen::Api => Some(settings.listen.ip()),
            },
        },
        ..ApiConfig::default()
    }
}

/// In a database without applications, creates one and writes its credentials to a file that only the owner of the data
/// folder can read. No credentials are built in, and no file of another application is replaced.
///
/// The file is on disk before the application exists: after an interruption there is no application with a lost key.
async fn first_run(
    settings: &Settings,
    service: &Service,
    relay: &OutboxRelay,
) -> Result<Option<FirstRun>, StartError> {
    if !service.applications().list().await?.is_empty() {
        return Ok(None);
    }
    let credentials = Credentials::random()?;
    let file = credentials::path_for(&settings.data, &credentials);
    let unusable = |source| StartError::Data { path: file.clone(), source };
    credentials::write(&file, &credentials).map_err(unusable)?;
    if !service.applications().create_first("first", &credentials).await? {
        // Another node has created the application and has its credentials.
        std::fs::remove_file(&file).map_err(unusable)?;
        return Ok(None);
    }
    relay
        .enqueue(
            &OutboxEvent::new(Clock::system().now(), "app create", Some(&credentials.app_id), "first run")
                .by(Actor::Server),
        )
        .await?;
    let bootstrap = bootstrap(settings, service).await?;
    Ok(Some(FirstRun { credentials, file, bootstrap }))
}

/// Makes the first owner and writes its token to a file that only the owner of the data folder can read. Only at the first
/// run: where applications exist, `semblance admin token` makes one.
async fn bootstrap(settings: &Settings, service: &Service) -> Result<Option<(Bootstrap, PathBuf)>, StartError> {
    let Some(bootstrap) = service.administrators().bootstrap().await? else { return Ok(None) };
    let file = settings.data.join(ADMIN_TOKEN_FILE);
    let written = credentials::write_private(&file, format!("{}\n", bootstrap.token).as_bytes());
    written.map_err(|source| StartError::Data { path: file.clone(), source })?;
    Ok(Some((bootstrap, file)))
}
