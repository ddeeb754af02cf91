//! The server under test.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use semblance::api::{AdminConfig, ApiConfig, ApiState, Limiters, MetricsOn, Routes, router};
use semblance::compute::{FairLimiter, FairSlots, MemoryBudget, Ticket};
use semblance::domain::{Calibration, Clock};
use semblance::engine::Analyze;
use semblance::service::{Credentials, Policy, Service};
use semblance::store::{CursorKey, Store};
use semblance::telemetry::{MeasuredAnalyze, MeasuredMatcher, Metrics};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::administrators::MemoryAdministrators;
use super::index::PlainIndex;
use super::store::MemoryStore;
use super::{Answer, Call, Form, ScriptedEngine, shipped_limits};

/// What a test wants to be different.
pub struct Setup {
    pub config: ApiConfig,
    pub policy: Policy,
    /// Photos that wait or are analyzed.
    pub photos: usize,
    /// Requests that wait for the store.
    pub store: usize,
    /// Bytes of bodies.
    pub upload_bytes: usize,
    /// The share of them for one application.
    pub share: f64,
    /// Whether the first poll of the store has happened.
    pub loaded: bool,
    pub clock: Clock,
    /// What the listener serves.
    pub routes: Routes,
}

impl Default for Setup {
    fn default() -> Self {
        let policy = Policy {
            calibration: Calibration::calibrated(0.499).unwrap(),
            threshold: 0.75,
            limits: shipped_limits(),
            refuse_failed_checks: false,
            attributes: true,
            max_candidates: 5,
            max_stale: Some(Duration::from_secs(900)),
        };
        Self {
            // The router without a listener knows no peer.
            config: ApiConfig { admin: plain_http(), ..ApiConfig::default() },
            policy,
            photos: 8,
            store: 64,
            upload_bytes: 320 * 1024 * 1024,
            share: 1.0,
            loaded: true,
            clock: Clock::system(),
            routes: Routes { metrics: MetricsOn::ByApplication, ..Routes::ALL },
        }
    }
}

/// The administration may be used without TLS.
pub fn plain_http() -> AdminConfig {
    AdminConfig { plain_http: true, ..AdminConfig::default() }
}

/// The server without a socket: what answers, and what is behind it.
pub struct Parts {
    pub router: Router,
    pub app: Credentials,
    pub engine: Arc<ScriptedEngine>,
    pub store: Arc<MemoryStore>,
    pub administrators: Arc<MemoryAdministrators>,
    pub service: Service,
    pub limiters: Limiters,
}

impl Parts {
    pub async fn with(setup: Setup) -> Self {
        let engine = ScriptedEngine::new();
        Self::around(engine.clone(), engine, setup).await
    }

    /// With something around the scripted engine.
    pub async fn around(engine: Arc<ScriptedEngine>, outer: Arc<dyn Analyze>, setup: Setup) -> Self {
        let metrics = Arc::new(Metrics::new());
        let (store, index) = (Arc::new(MemoryStore::default()), Arc::new(PlainIndex::default()));
        let administrators = Arc::new(MemoryAdministrators::default());
        let service = Service::new(
            Arc::new(MeasuredAnalyze::new(outer, Arc::clone(&metrics))),
            Arc::new(MeasuredMatcher::new(index.clone(), Arc::clone(&metrics))),
            index,
            Store {
                apps: store.clone(),
                administrators: administrators.clone(),
                app_keys: store.clone(),
                templates: store.clone(),
                samples: store.clone(),
                people: store.clone(),
                review: store.clone(),
                idempotency: store.clone(),
                snapshots: store.clone(),
                scrubber: store.clone(),
                outbox: store.clone(),
                retention: store.clone(),
                probe: store.clone(),
                pool: store.clone(),
                keys: store.clone(),
                hints: store.clone(),
                backup: store.clone(),
                database_id: Default::default(),
                journal_key: Default::default(),
                cursor_key: Arc::new(CursorKey::random().unwrap()),
            },
            None,
            setup.policy,
            setup.clock,
        );
        let app = service.applications().create("test").await.unwrap();
        if setup.loaded {
            service.replicator().poll().await.unwrap();
        }
        let limiters = Limiters {
            photos: FairLimiter::new(setup.photos),
            store: FairLimiter::new(setup.store),
            // More than any test keeps waiting.
            store_slots: FairSlots::new(1024, 1.0, Duration::from_secs(60)),
            uploads: MemoryBudget::new(setup.upload_bytes, setup.share),
        };
        let licences = serde_json::json!({"models": [{"name": "scripted", "licence": "none"}]});
        let state = ApiState::new(service.clone(), limiters.clone(), metrics, setup.config, &licences, None);
        Self { router: router(state, setup.routes), app, engine, store, administrators, service, limiters }
    }
}

/// A server on a port of its own. Ends with the test.
pub struct Server {
    pub addr: SocketAddr,
    pub app: Credentials,
    pub engine: Arc<ScriptedEngine>,
    pub store: Arc<MemoryStore>,
    pub administrators: Arc<MemoryAdministrators>,
    pub service: Service,
    pub limiters: Limiters,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub async fn with(setup: Setup) -> Self {
        Self::serving(Parts::with(setup).await).await
    }

    pub async fn serving(parts: Parts) -> Self {
        let Parts { router, app, engine, store, administrators, service, limiters } = parts;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { addr, app, engine, store, administrators, service, limiters, task }
    }

    /// Counts a photo of the first application as one that waits.
    pub fn occupy(&self) -> Ticket {
        self.limiters.photos.enter(self.app.app_id.as_str())
    }

    /// A request with right credentials.
    pub fn call(&self, method: &str, target: &str) -> Call {
        let call =
            Call { addr: self.addr, method: method.into(), target: target.into(), headers: vec![], body: vec![] };
        call.header("APP-ID", self.app.app_id.as_str()).header("APP-KEY", &self.app.app_key)
    }

    /// A POST to an endpoint of the API.
    pub fn post(&self, endpoint: &str) -> Call {
        self.call("POST", &format!("/api/v1.0/{endpoint}"))
    }

    /// A GET of an endpoint of the API.
    pub async fn get(&self, endpoint: &str) -> Answer {
        self.call("GET", &format!("/api/v1.0/{endpoint}")).send().await
    }

    /// Posts one photo.
    pub async fn send_photo(&self, endpoint: &str, photo: &[u8]) -> Answer {
        self.post(endpoint).form(&Form::new().photo(photo)).send().await
    }

    /// Enrols a photo under an id.
    pub async fn enroll(&self, id: &str, photo: &[u8]) -> Answer {
        let answer = self.post("add").form(&Form::new().photo(photo).text("templateId", id)).send().await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
