//! `journal`: search, status, verify.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::jobs::JobView;
use super::journal_lines::{Filter, JournalLine, archive, file_error, page, parse_line};
use crate::api::admin::extract::{Admin, CursorPath, JsonBody};
use crate::api::admin::schema::Time;
use crate::api::admin::{Answer, BASE, Reply};
use crate::api::machine::System;
use crate::api::outcome::Outcome;
use crate::api::{ApiError, ApiState};
use crate::domain::{Clock, rfc3339};
use crate::journal::EndLine;
use crate::service::{Error, SystemError};

/// The period of a search that names no beginning.
const DEFAULT_PERIOD: Duration = Duration::from_secs(86_400);

macro_rules! filtered_body {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, rename_all = "camelCase")]
        pub(in crate::api) struct $name {
            /// From this time on (RFC 3339, UTC).
            #[schemars(with = "Option<Time>")]
            #[serde(default)]
            from: Option<String>,
            /// Up to and including this time.
            #[schemars(with = "Option<Time>")]
            #[serde(default)]
            to: Option<String>,
            /// A part of the operation, such as `identify`.
            #[schemars(length(min = 1, max = 256))]
            #[serde(default)]
            operation: Option<String>,
            /// The outcome; `failed`: every failure; `near`: identifications without a match whose best candidate came near.
            #[schemars(length(min = 1, max = 256))]
            #[serde(default)]
            outcome: Option<String>,
            /// Of this application.
            #[schemars(length(min = 1, max = 256))]
            #[serde(default)]
            app_id: Option<String>,
            /// Of this person.
            #[schemars(length(min = 1, max = 256))]
            #[serde(default)]
            template_id: Option<String>,
            /// Who did it: a kind (`key`, `admin`, `command`, `server`), an id, or `kind:id`.
            #[schemars(length(min = 1, max = 256))]
            #[serde(default)]
            actor: Option<String>,
            /// Of this application key.
            #[schemars(length(min = 1, max = 256))]
            #[serde(default)]
            key_id: Option<String>,
            /// Of this request.
            #[schemars(length(min = 1, max = 256))]
            #[serde(default)]
            transaction_id: Option<String>,
            $($(#[$field_doc])* #[serde(default)] pub(super) $field: $kind,)*
        }

        impl $name {
            pub(super) fn filter(&self) -> Filter {
                Filter {
                    from: self.from.clone(),
                    to: self.to.clone(),
                    operation: self.operation.clone(),
                    outcome: self.outcome.clone(),
                    app_id: self.app_id.clone(),
                    template_id: self.template_id.clone(),
                    actor: self.actor.clone(),
                    key_id: self.key_id.clone(),
                    transaction_id: self.transaction_id.clone(),
                    erasure_id: None,
                    receipts: false,
                }
            }
        }
    };
}

filtered_body! {
    /// Which lines are searched. Without `from`: those of the last 24 hours.
    SearchJournal {
        /// The most lines, 1 to 1000; 100 when it is absent.
        #[schemars(range(min = 1, max = 1000))]
        limit: Option<usize>,
        /// The `nextCursor` of the page before.
        cursor: Option<String>,
    }
}

filtered_body! {
    /// Which lines are exported. Without `from`: from the first line on.
    ExportJournal {
        /// `ndjson` (the lines as they are, so that they still verify) or `csv`; absent: `ndjson`.
        #[schemars(extend("enum" = ["ndjson", "csv", null]))]
        format: Option<String>,
    }
}

/// The journal of one node.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct NodeCoverage {
    node_id: String,
    /// Whether its lines are on this node, where they are searched.
    here: bool,
    /// The last line that it has reported to the database.
    last_line: u64,
    /// When it reported the line.
    reported_at: String,
}

/// A part of what a search finds, newest first.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct JournalPage {
    node_id: String,
    lines: Vec<JournalLine>,
    /// Where to continue; null when the search is complete. A page may be short, or empty, though more follows.
    next_cursor: Option<String>,
    /// Whether everything was searched.
    complete: bool,
    /// The time of the oldest line that was read for this page.
    scanned_to: Option<String>,
    /// Lines that cannot be read; `journal/verify` names the first.
    damaged: u64,
    /// The journals of all nodes.
    coverage: Vec<NodeCoverage>,
}

/// A line at an end of the journal.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct EndView {
    n: u64,
    time: String,
}

/// The last verification since the start of the server.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct VerificationView {
    /// When it ended.
    at: String,
    /// Whether every line follows the one before it, and none is missing.
    ok: bool,
    /// Lines that were checked.
    lines: u64,
    /// The number of the last of them.
    verified_to: u64,
    /// Receipts of erasures among them.
    receipts: u64,
    /// The first fault.
    fault: Option<String>,
}

/// The journal of this node.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct JournalStatus {
    node_id: String,
    /// Whether this node writes a journal.
    enabled: bool,
    first: Option<EndView>,
    last: Option<EndView>,
    /// Files, one a day.
    files: usize,
    bytes: u64,
    /// Lines that are not on disk yet.
    lines_waiting: usize,
    /// Lines since the start that were lost.
    lines_lost: u64,
    /// Events of the database that no journal has recorded yet.
    events_waiting: u64,
    /// When the oldest of them happened.
    oldest_event_at: Option<String>,
    /// The number of the last line that was verified since the start; null before the first verification, and after one
    /// that found a fault.
    verified_to: Option<u64>,
    /// When.
    verified_at: Option<String>,
    verification: Option<VerificationView>,
    coverage: Vec<NodeCoverage>,
}

async fn coverage(api: &ApiState, system: &System) -> Result<Vec<NodeCoverage>, ApiError> {
    let positions = api.service().journal_positions().await?;
    Ok(positions
        .into_iter()
        .map(|known| NodeCoverage {
            node_id: known.node.to_string(),
            here: known.node == system.node,
            last_line: known.position.line,
            reported_at: rfc3339(known.reported_at),
        })
        .collect())
}

pub(in crate::api) async fn search(
    State(api): State<ApiState>,
    admin: Admin,
    path: CursorPath,
    JsonBody(body): JsonBody<SearchJournal>,
) -> Answer {
    let default_from = Clock::system().now().checked_sub(DEFAULT_PERIOD);
    let asked = (body.limit, body.cursor.clone());
    let (found, next_cursor) = page(&api, &admin, &body.filter(), path, asked, default_from).await?;
    let system = api.system()?;
    let reply = JournalPage {
        node_id: system.node.to_string(),
        lines: found.lines.iter().filter_map(|line| parse_line(line)).collect(),
        complete: next_cursor.is_none(),
        next_cursor,
        scanned_to: found.scanned_to,
        damaged: found.damaged,
        coverage: coverage(&api, system).await?,
    };
    Ok(admin.audit.succeeded("searched", Outcome::result(&reply)).into())
}

pub(in crate::api) async fn status(State(api): State<ApiState>, admin: Admin) -> Answer {
    let system = api.system()?;
    let extent = match &system.archive {
        None => Default::default(),
        Some(archive) => {
            let archive = Arc::clone(archive);
            system
                .journal_files
                .run(move || archive.extent())
                .await
                .map_err(file_error)?
                .map_err(|error| Error::Internal(error.into()))?
        }
    };
    let backlog = api.journal_backlog();
    let events = api.service().outbox_backlog().await?;
    let verification = system.archive.as_ref().and_then(|archive| archive.verification());
    let verified = verification.as_ref().and_then(|last| Some((last.outcome.as_ref().ok()?.last, last.at)));
    let end = |line: EndLine| EndView { n: line.number, time: line.time };
    let reply = JournalStatus {
        node_id: system.node.to_string(),
        enabled: api.has_journal(),
        first: extent.first.map(end),
        last: extent.last.map(end),
        files: extent.files,
        bytes: extent.bytes,
        lines_waiting: backlog.waiting,
        lines_lost: backlog.lost,
        events_waiting: events.events,
        oldest_event_at: events.oldest.map(rfc3339),
        verified_to: verified.map(|(line, _)| line),
        verified_at: verified.map(|(_, at)| rfc3339(at)),
        verification: verification.map(|last| {
            let report = last.outcome.as_ref().ok();
            VerificationView {
                at: rfc3339(last.at),
                ok: report.is_some(),
                lines: report.map_or(0, |report| report.lines),
                verified_to: report.map_or(0, |report| report.last),
                receipts: report.map_or(0, |report| report.receipts),
                fault: last.outcome.err(),
            }
        }),
        coverage: coverage(&api, system).await?,
    };
    Ok(admin.audit.succeeded("read", Outcome::result(&reply)).into())
}

/// Begins a job whose result is a `VerificationView`.
pub(in crate::api) async fn verify(State(api): State<ApiState>, admin: Admin) -> Answer {
    let system = api.system()?;
    let archive = archive(system)?;
    // Read before the files: lines may be added meanwhile.
    let positions = api.service().journal_positions().await?;
    let known = positions.into_iter().find(|known| known.node == system.node).map(|known| known.position);
    let files = system.job_files.clone();
    let job = system.jobs.start("journalVerify", admin.actor(), |progress| async move {
        let total = archive.extent().map_err(|error| error.to_string())?;
        let count = total.first.zip(total.last).map_or(0, |(first, last)| last.number.saturating_sub(first.number) + 1);
        progress.total.store(count, std::sync::atomic::Ordering::Relaxed);
        let work = move || archive.verify(known.as_ref(), &progress.done, || Clock::system().now());
        let done = files.run(work).await.map_err(|error| error.to_string())?;
        let report = done.outcome.clone().unwrap_or_default();
        Ok(json!({
            "at": rfc3339(done.at), "ok": done.outcome.is_ok(), "lines": report.lines, "verifiedTo": report.last,
            "receipts": report.receipts, "fault": done.outcome.err(),
        }))
    });
    let job = job.map_err(|refusal| Error::from(SystemError::from(refusal)))?;
    let path = format!("{BASE}/jobs/{}", job.id);
    let reply = Outcome::result(&JobView::new(&job, system));
    Ok(Reply::accepted(admin.audit.succeeded("started", reply), &path))
}
