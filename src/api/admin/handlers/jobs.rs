//! `jobs`: work that takes longer than a request. A job lives on the node that began it, and ends with its process.

use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::api::admin::Answer;
use crate::api::admin::extract::{Admin, Params};
use crate::api::machine::System;
use crate::api::outcome::Outcome;
use crate::api::{ApiError, ApiState};
use crate::domain::{Role, rfc3339};
use crate::service::{JobRecord, JobState};

/// A job.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct JobView {
    job_id: String,
    /// `journalVerify`, `modelsCheck`, `backup` or `backupTest`.
    kind: &'static str,
    /// `running`, `done` or `failed`.
    state: &'static str,
    /// The node that it runs on.
    node_id: String,
    /// Who began it, such as `administrator:ID`.
    created_by: String,
    created_at: String,
    /// null while it runs.
    ended_at: Option<String>,
    /// How much is done, in the unit of its kind.
    done: u64,
    /// How much there is to do; null when that is not known.
    total: Option<u64>,
    /// What it found; null unless it is done.
    result: Option<JobResult>,
    /// Why it failed; null unless it failed.
    failure: Option<String>,
}

/// What a job found: an object that depends on its kind.
#[derive(Serialize)]
#[serde(transparent)]
pub(in crate::api) struct JobResult(Value);

impl JsonSchema for JobResult {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "JobResult".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "object", "description": "What a job found, by its kind." })
    }
}

impl JobView {
    pub(super) fn new(job: &JobRecord, system: &System) -> Self {
        Self {
            job_id: job.id.to_string(),
            kind: job.kind,
            state: match job.state {
                JobState::Running => "running",
                JobState::Done => "done",
                JobState::Failed => "failed",
            },
            node_id: system.node.to_string(),
            created_by: job.created_by.to_string(),
            created_at: rfc3339(job.created_at),
            ended_at: job.ended_at.map(rfc3339),
            done: job.done,
            total: (job.total > 0).then_some(job.total),
            result: job.result.clone().map(JobResult),
            failure: job.failure.clone(),
        }
    }
}

/// The jobs of this node, newest first.
#[derive(Serialize, JsonSchema)]
pub(in crate::api) struct JobList {
    jobs: Vec<JobView>,
}

/// Owners see every job, others their own.
fn may_see(admin: &Admin, job: &JobRecord) -> bool {
    admin.signed_in.role() == Role::Owner || job.created_by == admin.actor()
}

pub(in crate::api) async fn list(State(api): State<ApiState>, admin: Admin) -> Answer {
    let system = api.system()?;
    let jobs = system.jobs.list();
    let jobs = jobs.iter().filter(|job| may_see(&admin, job)).map(|job| JobView::new(job, system)).collect();
    Ok(admin.audit.succeeded("listed", Outcome::result(&JobList { jobs })).into())
}

pub(in crate::api) async fn read(State(api): State<ApiState>, admin: Admin, params: Params) -> Answer {
    let id: Uuid = params.id("jobId").map_err(|_| ApiError::no_such("job"))?;
    let system = api.system()?;
    let job = system.jobs.get(id).filter(|job| may_see(&admin, job)).ok_or_else(|| ApiError::no_such("job"))?;
    Ok(admin.audit.succeeded("read", Outcome::result(&JobView::new(&job, system))).into())
}
