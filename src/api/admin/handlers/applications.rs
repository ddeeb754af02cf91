//! `applications`: list, read, create, change, delete.

use std::borrow::Cow;
use std::time::Duration;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use super::application_body::ChangeApplication;
use super::changes::event;
use super::faults::Faults;
use super::keys::KeyView;
use crate::api::admin::extract::{Admin, Field, ForApp, JsonBody, Page, PatchBody};
use crate::api::admin::{Answer, BASE, Reply};
use crate::api::extract::Query;
use crate::api::outcome::Outcome;
use crate::api::{ApiError, ApiState, Forbidden};
use crate::domain::{AppId, Clock, rfc3339};
use crate::service::{Credentials, Error};
use crate::store::{AppChange, AppRecord};

/// A rule in force, and where it comes from.
#[derive(Serialize)]
struct Policy<T> {
    value: T,
    /// `application`: its own. `server`: the setting of the server.
    source: &'static str,
}

impl<T: JsonSchema> JsonSchema for Policy<T> {
    fn schema_name() -> Cow<'static, str> {
        match &*T::schema_name() {
            "boolean" => "FlagPolicy".into(),
            "double" => "NumberPolicy".into(),
            "string" => "TextPolicy".into(),
            "uint32" => "CountPolicy".into(),
            "Nullable_double" => "OptionalNumberPolicy".into(),
            "Nullable_uint64" => "OptionalCountPolicy".into(),
            other => format!("{other}Policy").into(),
        }
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        json_schema!({
            "type": "object",
            "description": "A rule in force, and where it comes from.",
            "properties": {
                "value": value,
                "source": {
                    "type": "string",
                    "description": "`application`: its own. `server`: the setting of the server.",
                },
            },
            "required": ["value", "source"],
        })
    }
}

impl<T> Policy<T> {
    /// A rule that only applications have.
    fn own(value: T) -> Self {
        Self { value, source: "application" }
    }

    /// The application's own value, or the server's.
    fn or_server(own: Option<T>, server: T) -> Self {
        own.map_or(Self { value: server, source: "server" }, Self::own)
    }
}

/// How much of the server an application may use.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct LimitsView {
    /// Requests per second on each node; 0: no limit.
    per_second: Policy<f64>,
    /// Requests that may come at once.
    burst: Policy<u32>,
    /// The share of the memory for uploads and of the connections to the database, above 0 and at most 1.
    share: Policy<f64>,
}

/// How much an application may store; null: no limit.
#[derive(Serialize, JsonSchema)]
struct QuotasView {
    templates: Policy<Option<u64>>,
    samples: Policy<Option<u64>>,
}

/// An application.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ApplicationView {
    app_id: String,
    name: String,
    /// `active` or `suspended`.
    state: &'static str,
    created_at: String,
    /// Raised by every change of the application or its keys; `ETag` is `"r<revision>"`.
    revision: u64,
    /// People in the index of the node that answers.
    templates: usize,
    /// Their samples.
    samples: usize,
    /// The similarity from which a face matches, 0 to 1.
    threshold: Policy<f64>,
    /// How often a person who is not enrolled is matched, by the pack's false match rate at the threshold and the number of
    /// samples; null for an empty gallery, and where the rate at the threshold was not measured.
    expected_fpir: Option<f64>,
    limits: LimitsView,
    quotas: QuotasView,
    /// How long people are kept after their enrollment; null: for ever.
    retention_seconds: Policy<Option<u64>>,
    /// Whether age, gender and race are reported.
    attributes: Policy<bool>,
    /// What happens to a likely mix-up: `off`, `warn` or `refuse`.
    guard: Policy<&'static str>,
    /// The least quality (crfiqa) of an enrolled photo, 0 to 1; null: any.
    min_quality: Policy<Option<f64>>,
    /// Whether crops of enrolled faces are kept.
    keep_crops: Policy<bool>,
    /// How long probes without a match are held for review; null: none is held.
    keep_probes_seconds: Policy<Option<u64>>,
    /// Whether names, external ids, groups and metadata are searched, in an index in memory.
    name_search: Policy<bool>,
    /// The bytes of that index.
    search_index_bytes: usize,
    /// Whether an enrollment needs `consentReference`.
    require_consent: Policy<bool>,
}

impl ApplicationView {
    fn new(api: &ApiState, app: &AppRecord) -> Self {
        let size = api.service().feed().size(&app.id);
        let server = api.service().policy();
        let config = api.config();
        let threshold = Policy::or_server(app.threshold, server.threshold);
        Self {
            app_id: app.id.as_str().to_owned(),
            name: app.name.clone(),
            state: app.state.as_str(),
            created_at: rfc3339(app.created_at),
            revision: app.settings_revision,
            templates: size.templates,
            samples: size.samples,
            expected_fpir: api.service().expected_fpir(threshold.value, size.vectors).filter(|_| size.vectors > 0),
            threshold,
            limits: LimitsView {
                per_second: Policy::or_server(app.limits.per_second, config.requests_per_second),
                burst: Policy::or_server(app.limits.burst, config.burst),
                share: Policy::or_server(app.limits.share, config.app_share),
            },
            quotas: QuotasView {
                templates: Policy::own(app.rules.quota.templates),
                samples: Policy::own(app.rules.quota.samples),
            },
            retention_seconds: Policy::own(app.retention.map(|period| period.as_secs())),
            attributes: Policy::own(app.attributes),
            guard: Policy::own(app.rules.guard.as_str()),
            min_quality: Policy::own(app.rules.min_quality),
            keep_crops: Policy::own(app.keep_crops),
            keep_probes_seconds: Policy::own(app.keep_probes.map(|keep| keep.as_secs())),
            name_search: Policy::own(app.name_search),
            search_index_bytes: api.service().replicator().people_index_bytes(&app.id),
            require_consent: Policy::own(app.rules.require_consent),
        }
    }
}

/// One application.
#[derive(Serialize, JsonSchema)]
pub(in crate::api) struct OneApplication {
    application: ApplicationView,
}

/// A page of applications, in byte order of their ids.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ApplicationPage {
    applications: Vec<ApplicationView>,
    /// The cursor of the next page; null on the last one.
    next_cursor: Option<String>,
}

/// A new application with its first key.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct CreatedApplication {
    application: ApplicationView,
    key: KeyView,
    /// The secret of the key. It is shown once.
    app_key: String,
}

/// What was deleted, or would be.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct DeletedApplication {
    /// Whether nothing was deleted: the request was a dry run.
    dry_run: bool,
    /// Whether the application is gone. Its keys have ended in any case. If not, its people are still being erased, for as
    /// long as this node runs; a repeated request continues.
    complete: bool,
    /// People that were erased with their samples, or would be. Each has a receipt in the journal.
    templates: usize,
}

/// How long a deletion is waited for.
const DELETE_WAIT: Duration = Duration::from_secs(20);

/// The revision that `If-Match` names.
pub(in crate::api) struct IfMatch(pub(in crate::api) Option<u64>);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else { return Ok(Self(None)) };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self(None));
        }
        let revision =
            text.strip_prefix("\"r").and_then(|rest| rest.strip_suffix('"')).and_then(|rest| rest.parse().ok());
        revision
            .map(|revision| Self(Some(revision)))
            .ok_or_else(|| ApiError::bad_request("If-Match must be \"r<revision>\""))
    }
}

/// `"r<revision>"`.
fn etag(revision: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"r{revision}\"")).unwrap_or(HeaderValue::from_static("\"r0\""))
}

fn known(api: &ApiState, id: &AppId) -> Result<AppRecord, ApiError> {
    api.service().applications().known(id).ok_or_else(|| ApiError::no_such("application"))
}

pub(in crate::api) async fn list(State(api): State<ApiState>, admin: Admin, page: Page) -> Answer {
    let after: Option<String> = page.after(&api, &())?;
    let mut all = api.service().applications().all_known();
    all.retain(|app| {
        let is_later = after.as_ref().is_none_or(|after| app.id.as_str() > after.as_str());
        is_later && admin.signed_in.may_see(&app.id)
    });
    all.sort_by(|a, b| a.id.cmp(&b.id));
    let has_more = all.len() > page.limit;
    all.truncate(page.limit);
    let last = all.last().filter(|_| has_more);
    let reply = ApplicationPage {
        next_cursor: last.map(|last| page.next(&api, &(), last.id.as_str())).transpose()?,
        applications: all.iter().map(|app| ApplicationView::new(&api, app)).collect(),
    };
    Ok(admin.audit.succeeded("listed", Outcome::result(&reply)).into())
}

fn one(api: &ApiState, admin: &Admin, id: &AppId, outcome: &str) -> Answer {
    let app = known(api, id)?;
    let reply = Outcome::result(&OneApplication { application: ApplicationView::new(api, &app) });
    let reply = Reply::from(admin.audit.succeeded(outcome, reply));
    Ok(reply.header(header::ETAG, etag(app.settings_revision)))
}

pub(in crate::api) async fn read(State(api): State<ApiState>, app: ForApp) -> Answer {
    one(&api, &app.admin, &app.caller.app, "read")
}

pub(in crate::api) async fn create(
    State(api): State<ApiState>,
    admin: Admin,
    JsonBody(body): JsonBody<ChangeApplication>,
) -> Answer {
    let mut faults = Faults::default();
    if matches!(body.name, Field::Keep) {
        faults.push("name", "is missing");
    }
    let credentials = Credentials::random()?;
    let id = credentials.app_id.clone();
    let blank = AppRecord::new(id.clone(), "", Clock::system().now());
    let (change, fields) = body.change(&blank, &mut faults);
    faults.end()?;
    let made = blank.with(&change);
    let event = event(&admin, &id, "application create", &made.name).changing(&fields);
    let made = api.service().applications().create_record(made, &credentials, &admin.actor(), Some(&event)).await?;
    admin.audit.app(&id);
    let key = made.keys.first().ok_or_else(|| Error::Internal("a new application has no key".into()))?;
    let reply = Outcome::result(&CreatedApplication {
        application: ApplicationView::new(&api, &made),
        key: KeyView::new(key, made.created_at),
        app_key: credentials.app_key.clone(),
    });
    let reply = Reply::created(admin.audit.succeeded("created", reply), &format!("{BASE}/applications/{id}"));
    Ok(reply.header(header::ETAG, etag(made.settings_revision)))
}

pub(in crate::api) async fn change(
    State(api): State<ApiState>,
    app: ForApp,
    IfMatch(if_revision): IfMatch,
    PatchBody(body): PatchBody<ChangeApplication>,
) -> Answer {
    let id = &app.caller.app;
    let mut faults = Faults::default();
    let (change, fields) = body.change(&known(&api, id)?, &mut faults);
    faults.end()?;
    if change.may_erase != Some(0) && !app.signed_in.is_fresh {
        return Err(Forbidden::NotFresh.into());
    }
    app.audit.changed(fields.iter().copied());
    let event = event(&app, id, "application change", "changed").changing(&fields);
    let change = AppChange { if_revision, ..change };
    let changed = api.service().applications().change(id, &change, Some(&event)).await?;
    changed.map_err(Error::from)?;
    one(&api, &app.admin, id, "changed")
}

pub(in crate::api) async fn remove(State(api): State<ApiState>, app: ForApp, query: Query) -> Answer {
    let id = &app.caller.app;
    let record = known(&api, id)?;
    let is_dry = query.flag("dryRun")?;
    if !is_dry && query.text("confirmName") != Some(record.name.trim()) {
        return Err(ApiError::NameDiffers);
    }
    let templates = api.service().count_templates(&app.caller).await?;
    if is_dry {
        let reply = DeletedApplication { dry_run: true, complete: false, templates };
        return Ok(app.audit.succeeded("counted", Outcome::result(&reply)).into());
    }
    // It goes on when the client leaves, and when it takes long.
    let (service, caller) = (api.service().clone(), app.caller.clone());
    let event = event(&app, id, "application delete", &format!("templates: {templates}"));
    let deletion = tokio::spawn(async move { service.delete_application(&caller, &event).await });
    let reply = match tokio::time::timeout(DELETE_WAIT, deletion).await {
        Ok(ended) => {
            let deleted = ended.map_err(|error| Error::Internal(error.into()))??;
            let templates = deleted.ok_or_else(|| ApiError::no_such("application"))?;
            DeletedApplication { dry_run: false, complete: true, templates }
        }
        Err(_) => DeletedApplication { dry_run: false, complete: false, templates },
    };
    Ok(app.audit.succeeded("deleted", Outcome::result(&reply)).into())
}
