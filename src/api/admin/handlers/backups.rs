//! `backups`: sealed files in the folder `backup.dir` of this node.

use std::sync::Arc;

use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::jobs::JobView;
use crate::api::admin::extract::{Admin, Params};
use crate::api::admin::{Answer, BASE, Reply};
use crate::api::machine::{BackupView, System};
use crate::api::outcome::Outcome;
use crate::api::{ApiError, ApiState};
use crate::service::{Error, JobRecord, JobRefusal, SystemError};

/// The backups of this node, newest first.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct BackupList {
    /// Whether `backup.dir` is set: without it there are no backups here.
    is_configured: bool,
    backups: Vec<BackupView>,
}

fn failed(text: String) -> ApiError {
    Error::Internal(text.into()).into()
}

fn require_folder(system: &System) -> Result<(), ApiError> {
    if system.machine.has_backups() { Ok(()) } else { Err(Error::from(SystemError::BackupsOff).into()) }
}

fn accepted(admin: &Admin, system: &System, job: Result<JobRecord, JobRefusal>) -> Answer {
    let job = job.map_err(|refusal| Error::from(SystemError::from(refusal)))?;
    let reply = Outcome::result(&JobView::new(&job, system));
    Ok(Reply::accepted(admin.audit.succeeded("started", reply), &format!("{BASE}/jobs/{}", job.id)))
}

pub(in crate::api) async fn list(State(api): State<ApiState>, admin: Admin) -> Answer {
    let system = api.system()?;
    let is_configured = system.machine.has_backups();
    let backups = if is_configured { system.machine.backups().await.map_err(failed)? } else { Vec::new() };
    Ok(admin.audit.succeeded("listed", Outcome::result(&BackupList { is_configured, backups })).into())
}

/// Begins a job whose result is the backup.
pub(in crate::api) async fn create(State(api): State<ApiState>, admin: Admin) -> Answer {
    let system = api.system()?;
    require_folder(system)?;
    let machine = Arc::clone(&system.machine);
    let work = async move { Ok(json!(machine.back_up().await?)) };
    accepted(&admin, system, system.jobs.start("backup", admin.actor(), |_| work))
}

/// Begins a job that restores a backup into a database that is deleted afterwards.
pub(in crate::api) async fn test(State(api): State<ApiState>, admin: Admin, params: Params) -> Answer {
    let id = backup_id(&params)?;
    let system = api.system()?;
    require_folder(system)?;
    let known = system.machine.backups().await.map_err(failed)?;
    if known.iter().all(|backup| backup.backup_id != id.to_string()) {
        return Err(ApiError::no_such("backup"));
    }
    let machine = Arc::clone(&system.machine);
    let work = async move {
        let rows = machine.try_backup(id).await?.ok_or_else(|| "the backup was deleted meanwhile".to_owned())?;
        Ok(json!({ "backupId": id, "rows": rows }))
    };
    accepted(&admin, system, system.jobs.start("backupTest", admin.actor(), |_| work))
}

pub(in crate::api) async fn remove(State(api): State<ApiState>, admin: Admin, params: Params) -> Answer {
    let id = backup_id(&params)?;
    let system = api.system()?;
    require_folder(system)?;
    if !system.machine.remove_backup(id).await.map_err(failed)? {
        return Err(ApiError::no_such("backup"));
    }
    Ok(admin.audit.succeeded("removed", Outcome::Done).into())
}

fn backup_id(params: &Params) -> Result<Uuid, ApiError> {
    params.id("backupId").map_err(|_| ApiError::no_such("backup"))
}
