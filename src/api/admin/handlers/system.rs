//! `system`, `nodes`, `models`, `store`, `settings`: what the server is made of, and what an owner does with it.

use std::sync::Arc;

use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::jobs::JobView;
use crate::api::ApiState;
use crate::api::admin::extract::{Admin, ForApp, JsonBody};
use crate::api::admin::{Answer, BASE, Reply};
use crate::api::extract::Query;
use crate::api::machine::{CheckView, SettingView};
use crate::api::outcome::Outcome;
use crate::domain::{Clock, rfc3339};
use crate::service::{Error, SystemError};

/// The disk with the data folder.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Disk {
    free_bytes: u64,
    total_bytes: u64,
}

/// This server.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct SystemView {
    version: &'static str,
    node_id: String,
    started_at: String,
    uptime_seconds: u64,
    /// Whether identify is served.
    ready: bool,
    /// Whether the database can be written.
    writable: bool,
    model_pack: String,
    processor: &'static str,
    cores: usize,
    /// null where the system does not report it.
    disk: Option<Disk>,
    /// When the TLS certificate in force ends; null without TLS.
    certificate_ends_at: Option<String>,
    /// Whether expiry is paused because the clock is not trusted.
    expiry_paused: bool,
    /// How far the clock of this node is ahead of the database's.
    clock_offset_ms: i64,
}

/// A node, as its journal makes it known.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct NodeView {
    node_id: String,
    /// Whether it is the node that answers. Only of this one the members after `lastSeenAt` are known.
    here: bool,
    /// When it last reported how far its journal reaches; null: never.
    last_seen_at: Option<String>,
    version: Option<&'static str>,
    ready: Option<bool>,
    writable: Option<bool>,
    clock_offset_ms: Option<i64>,
    model_pack: Option<String>,
}

/// All nodes that have written a journal, and this one.
#[derive(Serialize, JsonSchema)]
pub(in crate::api) struct NodeList {
    nodes: Vec<NodeView>,
}

/// Any object, of the model pack.
#[derive(Serialize)]
#[serde(transparent)]
pub(in crate::api) struct Described(Value);

impl JsonSchema for Described {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Described".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "object", "description": "Role, title, license, digest and origin." })
    }
}

/// The models.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Models {
    /// The name of the pack.
    pack: String,
    /// Each with its role, title, license, SHA-256, origin and measured figures.
    models: Vec<Described>,
    /// ONNX Runtime and its components.
    runtime: Option<Described>,
    /// `passed`: each model computed its golden outputs when the server started; `loading`: not yet.
    golden_state: &'static str,
    golden_checked_at: String,
}

/// A sealing key.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct SealingKey {
    key_name: String,
    /// Whether new data is sealed under it.
    in_force: bool,
    /// Whether this node has it.
    given: bool,
    /// Data keys that are sealed under it.
    sealed: u64,
}

/// People of an application with a sample that cannot be read.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct UnreadableView {
    app_id: String,
    people: usize,
}

/// Connections to the database.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Pool {
    in_use: usize,
    capacity: usize,
    /// Calls that wait for a connection.
    waiting: usize,
}

/// The database.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct StoreView {
    /// `sqlite` or `postgres`.
    kind: &'static str,
    /// Bytes of its files; null where it is on a server.
    bytes: Option<u64>,
    /// Whether it answered the last poll.
    reachable: bool,
    /// Seconds since keys and revisions were last read from it.
    staleness_seconds: f64,
    writable: bool,
    /// Why it cannot be written; null when it can.
    write_fault: Option<&'static str>,
    pool: Pool,
    unreadable: Vec<UnreadableView>,
    /// Only with `sealingKeys=true`, because it reads the row of every sample; otherwise null.
    sealing_keys: Option<Vec<SealingKey>>,
}

/// The settings in force, in the order of the reference.
#[derive(Serialize, JsonSchema)]
pub(in crate::api) struct SettingList {
    settings: Vec<SettingView>,
}

/// The outcome of the checks.
#[derive(Serialize, JsonSchema)]
pub(in crate::api) struct Doctor {
    /// Whether no check failed.
    ok: bool,
    checks: Vec<CheckView>,
}

/// A confirmation that held people are erased.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::api) struct ConfirmExpiry {
    /// How many people are held, as `overview` says.
    count: u64,
}

pub(in crate::api) async fn system(State(api): State<ApiState>, admin: Admin) -> Answer {
    let system = api.system()?;
    let service = api.service();
    let clock = service.applications().store_clock();
    let uptime = Clock::system().now().duration_since(system.started_at).unwrap_or_default();
    let reply = SystemView {
        version: env!("CARGO_PKG_VERSION"),
        node_id: system.node.to_string(),
        started_at: rfc3339(system.started_at),
        uptime_seconds: uptime.as_secs(),
        ready: service.is_ready() && !api.is_stopping(),
        writable: service.writability().fault().is_none(),
        model_pack: system.model_pack.clone(),
        processor: std::env::consts::ARCH,
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        disk: system.machine.disk().map(|(free_bytes, total_bytes)| Disk { free_bytes, total_bytes }),
        certificate_ends_at: api.metrics().certificate_end().map(rfc3339),
        expiry_paused: clock.doubt().is_some(),
        clock_offset_ms: clock.offset_ms(),
    };
    Ok(admin.audit.succeeded("read", Outcome::result(&reply)).into())
}

pub(in crate::api) async fn nodes(State(api): State<ApiState>, admin: Admin) -> Answer {
    let system = api.system()?;
    let service = api.service();
    let positions = service.journal_positions().await?;
    let seen = |node| positions.iter().find(|known| known.node == node).map(|known| rfc3339(known.reported_at));
    let own = NodeView {
        node_id: system.node.to_string(),
        here: true,
        last_seen_at: seen(system.node),
        version: Some(env!("CARGO_PKG_VERSION")),
        ready: Some(service.is_ready() && !api.is_stopping()),
        writable: Some(service.writability().fault().is_none()),
        clock_offset_ms: Some(service.applications().store_clock().offset_ms()),
        model_pack: Some(system.model_pack.clone()),
    };
    let others = positions.iter().filter(|known| known.node != system.node).map(|known| NodeView {
        node_id: known.node.to_string(),
        here: false,
        last_seen_at: Some(rfc3339(known.reported_at)),
        version: None,
        ready: None,
        writable: None,
        clock_offset_ms: None,
        model_pack: None,
    });
    let reply = NodeList { nodes: std::iter::once(own).chain(others).collect() };
    Ok(admin.audit.succeeded("listed", Outcome::result(&reply)).into())
}

pub(in crate::api) async fn models(State(api): State<ApiState>, admin: Admin) -> Answer {
    let system = api.system()?;
    let mut licences: Value = serde_json::from_slice(&api.licences()).map_err(|error| Error::Internal(error.into()))?;
    let models = licences["models"].take();
    let runtime = licences["runtime"].take();
    let reply = Models {
        pack: licences["pack"].as_str().unwrap_or_default().to_owned(),
        models: models.as_array().cloned().unwrap_or_default().into_iter().map(Described).collect(),
        runtime: runtime.is_object().then_some(Described(runtime)),
        golden_state: if api.service().is_engine_ready() { "passed" } else { "loading" },
        golden_checked_at: rfc3339(system.started_at),
    };
    Ok(admin.audit.succeeded("read", Outcome::result(&reply)).into())
}

/// Begins a job that loads every model once more.
pub(in crate::api) async fn check_models(State(api): State<ApiState>, admin: Admin) -> Answer {
    let system = api.system()?;
    let machine = Arc::clone(&system.machine);
    let work = async move {
        let fault = machine.check_models().await.err();
        Ok(json!({ "ok": fault.is_none(), "fault": fault }))
    };
    let job = system.jobs.start("modelsCheck", admin.actor(), |_| work);
    let job = job.map_err(|refusal| Error::from(SystemError::from(refusal)))?;
    let path = format!("{BASE}/jobs/{}", job.id);
    let reply = Outcome::result(&JobView::new(&job, system));
    Ok(Reply::accepted(admin.audit.succeeded("started", reply), &path))
}

pub(in crate::api) async fn store(State(api): State<ApiState>, admin: Admin, query: Query) -> Answer {
    let system = api.system()?;
    let service = api.service();
    let pool = service.pool_usage();
    let fault = service.writability().fault();
    let sealing_keys = if query.flag("sealingKeys")? {
        let status = service.key_status().await?;
        let unknown = status.in_use.iter().map(|(id, _)| *id).filter(|id| !status.given.contains(id));
        let all = status.given.iter().copied().chain(unknown);
        let sealed = |id| status.in_use.iter().find(|(key, _)| *key == id).map_or(0, |(_, count)| *count);
        let view = |id| SealingKey {
            key_name: format!("{id}"),
            in_force: id == status.active,
            given: status.given.contains(&id),
            sealed: sealed(id),
        };
        Some(all.map(view).collect())
    } else {
        None
    };
    let unreadable = service.replicator().unreadable();
    let reply = StoreView {
        kind: system.machine.database_kind(),
        bytes: system.machine.database_bytes(),
        reachable: service.replicator().is_store_reachable(),
        staleness_seconds: service.replicator().staleness().as_secs_f64(),
        writable: fault.is_none(),
        write_fault: fault,
        pool: Pool { in_use: pool.in_use, capacity: pool.capacity, waiting: pool.waiting },
        unreadable: unreadable
            .into_iter()
            .map(|(app, people)| UnreadableView { app_id: app.as_str().to_owned(), people })
            .collect(),
        sealing_keys,
    };
    Ok(admin.audit.succeeded("read", Outcome::result(&reply)).into())
}

pub(in crate::api) async fn settings(State(api): State<ApiState>, admin: Admin) -> Answer {
    let reply = SettingList { settings: api.system()?.machine.settings() };
    Ok(admin.audit.succeeded("read", Outcome::result(&reply)).into())
}

pub(in crate::api) async fn doctor(State(api): State<ApiState>, admin: Admin) -> Answer {
    let checks = api.system()?.machine.doctor().await;
    let reply = Doctor { ok: checks.iter().all(|check| check.ok), checks };
    Ok(admin.audit.succeeded("checked", Outcome::result(&reply)).into())
}

/// Reads certificate, sealing keys and log level again, as SIGHUP does. The log says what was read.
pub(in crate::api) async fn reload(State(api): State<ApiState>, admin: Admin) -> Answer {
    api.system()?.machine.reload();
    Ok(admin.audit.succeeded("requested", Outcome::Done).into())
}

pub(in crate::api) async fn resume_expiry(State(api): State<ApiState>, admin: Admin) -> Answer {
    api.service().resume_expiry().await?;
    Ok(admin.audit.succeeded("confirmed", Outcome::Done).into())
}

pub(in crate::api) async fn confirm_expiry(
    State(api): State<ApiState>,
    admin: ForApp,
    JsonBody(body): JsonBody<ConfirmExpiry>,
) -> Answer {
    api.service().confirm_expiry(&admin.caller.app, body.count).await?;
    Ok(admin.audit.succeeded("confirmed", Outcome::Done).into())
}
