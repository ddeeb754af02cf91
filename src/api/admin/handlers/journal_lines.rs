//! Lines of the journal as the administration selects, pages and shows them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::admin::extract::{Admin, CursorPath};
use crate::api::machine::System;
use crate::api::{ApiError, ApiState};
use crate::compute::FileWorkError;
use crate::domain::{Role, parse_rfc3339, rfc3339};
use crate::journal::{Archive, SearchBudget, SearchPage, SearchPlace, Selection};
use crate::service::{Error, SystemError};

/// The most characters of a condition.
const MAX_TEXT_CHARS: usize = 256;

/// The conditions of a request, as its cursors are bound to them.
#[derive(Clone, Serialize)]
pub(super) struct Filter {
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    pub(super) operation: Option<String>,
    pub(super) outcome: Option<String>,
    pub(super) app_id: Option<String>,
    pub(super) template_id: Option<String>,
    pub(super) actor: Option<String>,
    pub(super) key_id: Option<String>,
    pub(super) transaction_id: Option<String>,
    pub(super) erasure_id: Option<String>,
    pub(super) receipts: bool,
}

impl Filter {
    /// The selection, within what an administrator may see.
    pub(super) async fn selection(&self, api: &ApiState, admin: &Admin) -> Result<Selection, ApiError> {
        let texts = [
            ("operation", &self.operation),
            ("outcome", &self.outcome),
            ("appId", &self.app_id),
            ("templateId", &self.template_id),
            ("actor", &self.actor),
            ("keyId", &self.key_id),
            ("transactionId", &self.transaction_id),
            ("erasureId", &self.erasure_id),
        ];
        for (field, text) in texts {
            if text.as_ref().is_some_and(|text| text.is_empty() || text.chars().count() > MAX_TEXT_CHARS) {
                return Err(ApiError::field(field, format!("must have 1 to {MAX_TEXT_CHARS} characters")));
            }
        }
        let time = |field: &str, text: &Option<String>| match text.as_deref().map(parse_rfc3339) {
            None => Ok(String::new()),
            Some(Some(time)) => Ok(rfc3339(time)),
            Some(None) => Err(ApiError::field(field, "must be a time such as 2026-11-23T09:30:00Z")),
        };
        Ok(Selection {
            from: time("from", &self.from)?,
            to: time("to", &self.to)?,
            operation: self.operation.clone(),
            outcome: self.outcome.clone(),
            app: self.app_id.clone(),
            apps: visible_apps(api, admin).await?,
            template: self.template_id.clone(),
            actor: self.actor.clone(),
            key: self.key_id.clone(),
            transaction: self.transaction_id.clone(),
            event: self.erasure_id.clone(),
            receipts: self.receipts,
        })
    }
}

/// The applications whose lines an administrator may see; `None`: all lines. An operator does not see lines that concern
/// no application, such as sign-ins.
pub(super) async fn visible_apps(api: &ApiState, admin: &Admin) -> Result<Option<BTreeSet<String>>, ApiError> {
    let listed = admin.signed_in.administrator.applications.as_ref();
    Ok(match (admin.signed_in.role(), listed) {
        (Role::Owner, _) | (Role::Auditor, None) => None,
        (_, Some(apps)) => Some(apps.iter().map(|app| app.as_str().to_owned()).collect()),
        (Role::Operator, None) => {
            let apps = api.service().applications().list().await?;
            Some(apps.into_iter().map(|app| app.id.as_str().to_owned()).collect())
        }
    })
}

/// Who did something.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(in crate::api) struct LineActor {
    /// `key`, `admin`, `command` or `server`.
    kind: String,
    /// Of an administrator, its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

/// A candidate below the threshold.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct LineNear {
    template_id: String,
    similarity: f64,
}

/// A line of the journal.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct JournalLine {
    /// The number of the line in the journal of this node.
    n: u64,
    /// When the operation ended.
    time: String,
    /// The id of the event, such as an erasure.
    #[serde(default, rename(deserialize = "id"), skip_serializing_if = "Option::is_none")]
    pub(super) event_id: Option<String>,
    /// The request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    transaction_id: Option<String>,
    /// The address of the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actor: Option<LineActor>,
    /// The application.
    #[serde(default, rename(deserialize = "app"), skip_serializing_if = "Option::is_none")]
    app_id: Option<String>,
    /// Method and route, `erasure`, or a command.
    operation: String,
    /// HTTP status; 0 when it is not a request.
    status: u16,
    /// The result code; 0 for a success.
    code: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    /// Why a photo was not decoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    template_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sample_id: Option<String>,
    /// Of an identification without a match: the best candidate, if it came near the threshold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    near: Option<LineNear>,
    /// The application key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    /// The names of the fields that changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    changed: Vec<String>,
    /// The revision of the gallery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    similarity: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    threshold: Option<f64>,
    /// The model pack.
    models: String,
    /// How long the request took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ms: Option<f64>,
    /// Whether the line is a signed receipt.
    #[serde(default, rename(deserialize = "receipt"), deserialize_with = "is_there")]
    has_receipt: bool,
}

fn is_there<'de, D: serde::Deserializer<'de>>(member: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(member).map(|_| true)
}

/// Where a page of a search ended, sealed in its cursor.
#[derive(Serialize, Deserialize)]
struct PageKey {
    day: String,
    offset: u64,
    /// The beginning of the period, which the first page may have chosen.
    from: String,
}

pub(super) fn archive(system: &System) -> Result<Arc<Archive>, ApiError> {
    system.archive.clone().ok_or_else(|| ApiError::no_such("journal"))
}

/// An error of work on files.
pub(super) fn file_error(error: FileWorkError) -> ApiError {
    match error {
        FileWorkError::Busy => Error::from(SystemError::JournalBusy).into(),
        error @ FileWorkError::Panicked(_) => Error::Internal(error.into()).into(),
    }
}

pub(super) async fn search_archive(
    system: &System,
    selection: Selection,
    limit: usize,
    place: Option<SearchPlace>,
) -> Result<SearchPage, ApiError> {
    let archive = archive(system)?;
    let work = move || archive.search(&selection, limit, place.as_ref(), SearchBudget::default());
    let found = system.journal_files.run(work).await.map_err(file_error)?;
    found.map_err(|error| Error::Internal(error.into()).into())
}

/// One page of a search: the lines, and the cursor of the next page.
pub(super) async fn page(
    api: &ApiState,
    admin: &Admin,
    filter: &Filter,
    path: CursorPath,
    (limit, cursor): (Option<usize>, Option<String>),
    default_from: Option<SystemTime>,
) -> Result<(SearchPage, Option<String>), ApiError> {
    let system = api.system()?;
    let mut selection = filter.selection(api, admin).await?;
    let requested = path.page(limit, cursor)?;
    let after: Option<PageKey> = requested.after(api, filter)?;
    if let Some(key) = &after {
        selection.from.clone_from(&key.from);
    } else if selection.from.is_empty()
        && let Some(from) = default_from
    {
        selection.from = rfc3339(from);
    }
    let from = selection.from.clone();
    let place = after.map(|key| SearchPlace { day: key.day, offset: key.offset });
    let found = search_archive(system, selection, requested.limit, place).await?;
    let next = found.next.clone().map(|place| PageKey { day: place.day, offset: place.offset, from });
    let next = next.map(|key| requested.next(api, filter, key)).transpose()?;
    Ok((found, next))
}

pub(super) fn parse_line(line: &str) -> Option<JournalLine> {
    serde_json::from_str(line).ok()
}
