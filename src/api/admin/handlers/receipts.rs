//! `receipts`: the signed lines of erasures, and the key that verifies them.

use std::time::Duration;

use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::journal_lines::{Filter, JournalLine, archive, page, parse_line, search_archive, visible_apps};
use crate::api::admin::Answer;
use crate::api::admin::extract::{Admin, CursorPath, JsonBody, Params};
use crate::api::admin::schema::Time;
use crate::api::machine::System;
use crate::api::outcome::Outcome;
use crate::api::{ApiError, ApiState};
use crate::domain::stopwatch;
use crate::journal::{ReceiptKey, Selection, check_receipt};
use crate::service::{Error, SystemError};

/// How long one receipt is searched for.
const MAX_RECEIPT_SEARCH: Duration = Duration::from_secs(10);

/// The most lines whose receipts are checked in one request.
const MAX_CHECKED_LINES: usize = 1000;

/// Which receipts are searched.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::api) struct SearchReceipts {
    /// From this time on (RFC 3339, UTC); absent: from the first line on.
    #[schemars(with = "Option<Time>")]
    #[serde(default)]
    from: Option<String>,
    /// Up to and including this time.
    #[schemars(with = "Option<Time>")]
    #[serde(default)]
    to: Option<String>,
    /// Of this application.
    #[schemars(length(min = 1, max = 256))]
    #[serde(default)]
    app_id: Option<String>,
    /// Of this person.
    #[schemars(length(min = 1, max = 256))]
    #[serde(default)]
    template_id: Option<String>,
    /// Of this request.
    #[schemars(length(min = 1, max = 256))]
    #[serde(default)]
    transaction_id: Option<String>,
    /// Of this erasure.
    #[schemars(length(min = 1, max = 256))]
    #[serde(default)]
    erasure_id: Option<String>,
    /// The most receipts, 1 to 1000; 100 when it is absent.
    #[schemars(range(min = 1, max = 1000))]
    #[serde(default)]
    limit: Option<usize>,
    /// The `nextCursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

/// A receipt: a line that anyone with the public key can verify.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Receipt {
    /// `signed`, or `pending`: the erasure is done, and its line follows within a poll.
    state: &'static str,
    erasure_id: String,
    /// The node whose journal has the line; null while it is pending.
    node_id: Option<String>,
    /// The signed line, unchanged; null while it is pending.
    line: Option<String>,
    /// What the line says.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<JournalLine>,
}

/// A part of the receipts that are found, newest first.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ReceiptPage {
    receipts: Vec<Receipt>,
    next_cursor: Option<String>,
    complete: bool,
    scanned_to: Option<String>,
}

/// The key that verifies receipts.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ReceiptKeyView {
    /// `Ed25519`.
    algorithm: &'static str,
    /// 64 hex digits.
    public_key: String,
}

/// Receipts to be checked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::api) struct CheckReceipts {
    /// 1 to 1000 lines.
    #[schemars(length(min = 1, max = 1000))]
    lines: Vec<String>,
    /// The key, 64 hex digits; absent: that of this database.
    #[schemars(regex(pattern = r"^[0-9a-fA-F]{64}$"))]
    #[serde(default)]
    public_key: Option<String>,
}

/// The verdict on a receipt.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Verdict {
    /// The place of the line in the request, from 0.
    index: usize,
    valid: bool,
    /// Why it is not valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

/// The verdicts on receipts.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Verdicts {
    /// Whether all are valid.
    all_valid: bool,
    verdicts: Vec<Verdict>,
}

impl Receipt {
    fn signed(system: &System, line: String) -> Self {
        let content = parse_line(&line);
        let erasure_id = content.as_ref().and_then(|content| content.event_id.clone()).unwrap_or_default();
        Self { state: "signed", erasure_id, node_id: Some(system.node.to_string()), line: Some(line), content }
    }
}

pub(in crate::api) async fn search(
    State(api): State<ApiState>,
    admin: Admin,
    path: CursorPath,
    JsonBody(body): JsonBody<SearchReceipts>,
) -> Answer {
    let filter = Filter {
        from: body.from,
        to: body.to,
        operation: None,
        outcome: None,
        app_id: body.app_id,
        template_id: body.template_id,
        actor: None,
        key_id: None,
        transaction_id: body.transaction_id,
        erasure_id: body.erasure_id,
        receipts: true,
    };
    let (found, next_cursor) = page(&api, &admin, &filter, path, (body.limit, body.cursor), None).await?;
    let system = api.system()?;
    let reply = ReceiptPage {
        receipts: found.lines.into_iter().map(|line| Receipt::signed(system, line)).collect(),
        complete: next_cursor.is_none(),
        next_cursor,
        scanned_to: found.scanned_to,
    };
    Ok(admin.audit.succeeded("searched", Outcome::result(&reply)).into())
}

pub(in crate::api) async fn read(State(api): State<ApiState>, admin: Admin, params: Params) -> Answer {
    let id: Uuid = params.id("erasureId").map_err(|_| ApiError::no_such("receipt"))?;
    let system = api.system()?;
    let event = Some(id.to_string());
    let selection =
        Selection { event, receipts: true, apps: visible_apps(&api, &admin).await?, ..Selection::default() };
    // Before the files: an event that is not pending any more has its line.
    let is_pending = selection.apps.is_none() && api.service().is_event_pending(id).await?;
    let started = stopwatch();
    let mut place = None;
    let reply = loop {
        let found = search_archive(system, selection.clone(), 1, place.take()).await?;
        if let Some(line) = found.lines.into_iter().next() {
            break Receipt::signed(system, line);
        }
        place = found.next;
        if place.is_none() {
            if !is_pending {
                return Err(ApiError::no_such("receipt"));
            }
            let erasure_id = id.to_string();
            break Receipt { state: "pending", erasure_id, node_id: None, line: None, content: None };
        }
        if started.elapsed() > MAX_RECEIPT_SEARCH {
            return Err(Error::from(SystemError::SearchTooLong).into());
        }
    };
    Ok(admin.audit.succeeded("read", Outcome::result(&reply)).into())
}

fn own_receipt_key(system: &System) -> Result<ReceiptKey, ApiError> {
    archive(system)?.receipt_key().ok_or_else(|| ApiError::no_such("receipt key"))
}

pub(in crate::api) async fn key(State(api): State<ApiState>, admin: Admin) -> Answer {
    let public_key = own_receipt_key(api.system()?)?.to_string();
    let reply = ReceiptKeyView { algorithm: "Ed25519", public_key };
    Ok(admin.audit.succeeded("read", Outcome::result(&reply)).into())
}

pub(in crate::api) async fn check(
    State(api): State<ApiState>,
    admin: Admin,
    JsonBody(body): JsonBody<CheckReceipts>,
) -> Answer {
    if body.lines.is_empty() || body.lines.len() > MAX_CHECKED_LINES {
        return Err(ApiError::field("lines", format!("must have 1 to {MAX_CHECKED_LINES} lines")));
    }
    let key = match &body.public_key {
        Some(text) => text.parse().map_err(|_| ApiError::field("publicKey", "must be 64 hex digits"))?,
        None => own_receipt_key(api.system()?)?,
    };
    let verdict = |(index, line): (usize, &String)| {
        let fault = check_receipt(&key, line.trim()).err();
        Verdict { index, valid: fault.is_none(), fault: fault.map(|fault| fault.to_string()) }
    };
    let verdicts: Vec<Verdict> = body.lines.iter().enumerate().map(verdict).collect();
    let reply = Verdicts { all_valid: verdicts.iter().all(|verdict| verdict.valid), verdicts };
    Ok(admin.audit.succeeded("checked", Outcome::result(&reply)).into())
}
