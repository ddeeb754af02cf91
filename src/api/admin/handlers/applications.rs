//! `applications`: list, read, create, change, delete.

use std::time::Duration;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::faults::Faults;
use super::keys::KeyView;
use crate::api::admin::extract::{Admin, Field, ForApp, JsonBody, Page, PatchBody};
use crate::api::admin::{Answer, BASE, Reply};
use crate::api::extract::Query;
use crate::api::outcome::Outcome;
use crate::api::{ApiError, ApiState, Forbidden};
use crate::domain::{AppId, AppState, Clock, Guard, RequestLimits, application_name, rfc3339};
use crate::service::{Credentials, Error};
use crate::store::{AppChange, AppRecord, OutboxEvent};

/// A rule in force, and where it comes from.
#[derive(Serialize, JsonSchema)]
struct Policy<T> {
    value: T,
    /// `application`: its own. `server`: the setting of the server.
    source: &'static str,
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
            expected_fpir: api.service().expected_fpir(threshold.value, size.samples).filter(|_| size.samples > 0),
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

/// Limits of a body.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::api) struct LimitsBody {
    /// Requests per second on each node, 0: no limit; null: the server's.
    #[serde(default)]
    per_second: Field<f64>,
    /// At least 1; null: the server's.
    #[serde(default)]
    burst: Field<u32>,
    /// Above 0 and at most 1; null: the server's.
    #[serde(default)]
    share: Field<f64>,
}

/// Quotas of a body.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct QuotasBody {
    /// null: no limit.
    #[serde(default)]
    templates: Field<u64>,
    /// null: no limit.
    #[serde(default)]
    samples: Field<u64>,
}

/// The rules of a body. A member that is not there stays.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::api) struct ChangeApplication {
    /// 1 to 200 characters.
    #[serde(default)]
    name: Field<String>,
    /// `active` or `suspended`; null: active.
    #[serde(default)]
    state: Field<String>,
    /// 0 to 1; null: the server's.
    #[serde(default)]
    threshold: Field<f64>,
    /// null: the server's.
    #[serde(default)]
    limits: Field<LimitsBody>,
    /// null: no limits.
    #[serde(default)]
    quotas: Field<QuotasBody>,
    /// At least 1; null: for ever.
    #[serde(default)]
    retention_seconds: Field<u64>,
    /// null: yes.
    #[serde(default)]
    attributes: Field<bool>,
    /// `off`, `warn` or `refuse`; null: off.
    #[serde(default)]
    guard: Field<String>,
    /// Above 0 and at most 1; null: any quality.
    #[serde(default)]
    min_quality: Field<f64>,
    /// null: no. Crops that were kept before are erased within a minute when it is switched off.
    #[serde(default)]
    keep_crops: Field<bool>,
    /// null: yes.
    #[serde(default)]
    name_search: Field<bool>,
    /// null: no.
    #[serde(default)]
    require_consent: Field<bool>,
    /// The number of people that a shorter `retentionSeconds` may erase: the `details.count` of `wouldErase`.
    #[serde(default)]
    confirm_erases: Option<u64>,
}

/// The longest retention: some ten million years, which the database can still add to a time.
const MAX_RETENTION_S: u64 = u32::MAX as u64 * 86_400;

impl ChangeApplication {
    /// The change, and the names of the fields that change.
    fn change(self, known: &AppRecord, faults: &mut Faults) -> (AppChange, Vec<&'static str>) {
        let mut change = AppChange { may_erase: Some(self.confirm_erases.unwrap_or(0)), ..AppChange::default() };
        let mut fields = Vec::new();
        match self.name {
            Field::Keep => {}
            Field::Clear => faults.push("name", "must not be null"),
            Field::Set(name) => {
                fields.push("name");
                change.name = faults.check("name", application_name(&name));
            }
        }
        if let Some(state) = self.state.or_null() {
            fields.push("state");
            change.state = state.map_or(Some(AppState::Active), |state| faults.check("state", state.parse()));
        }
        if let Some(threshold) = self.threshold.or_null() {
            fields.push("threshold");
            let is_valid = threshold.is_none_or(|threshold| (0.0..=1.0).contains(&threshold));
            change.threshold =
                faults.accept("threshold", is_valid, "must be a number from 0 to 1").then_some(threshold);
        }
        if let Some(limits) = self.limits.or_null() {
            fields.push("limits");
            change.limits = Some(limits.map_or(RequestLimits::default(), |limits| limits.apply(known.limits, faults)));
        }
        if let Some(quotas) = self.quotas.or_null() {
            fields.push("quotas");
            let all = QuotasBody { templates: Field::Clear, samples: Field::Clear };
            let QuotasBody { templates, samples } = quotas.unwrap_or(all);
            (change.max_templates, change.max_samples) = (templates.or_null(), samples.or_null());
        }
        if let Some(seconds) = self.retention_seconds.or_null() {
            fields.push("retentionSeconds");
            let is_valid = seconds.is_none_or(|seconds| (1..=MAX_RETENTION_S).contains(&seconds));
            if faults.accept("retentionSeconds", is_valid, "must be a number of seconds, at least 1") {
                change.retention = Some(seconds.map(Duration::from_secs));
            }
        }
        if let Some(reported) = self.attributes.or_null() {
            fields.push("attributes");
            change.attributes = Some(reported.unwrap_or(true));
        }
        if let Some(keep) = self.keep_crops.or_null() {
            fields.push("keepCrops");
            change.keep_crops = Some(keep.unwrap_or(false));
        }
        if let Some(searched) = self.name_search.or_null() {
            fields.push("nameSearch");
            change.name_search = Some(searched.unwrap_or(true));
        }
        if let Some(required) = self.require_consent.or_null() {
            fields.push("requireConsent");
            change.require_consent = Some(required.unwrap_or(false));
        }
        if let Some(guard) = self.guard.or_null() {
            fields.push("guard");
            change.guard = guard.map_or(Some(Guard::Off), |guard| faults.check("guard", guard.parse()));
        }
        if let Some(least) = self.min_quality.or_null() {
            fields.push("minQuality");
            let is_valid = least.is_none_or(|least| least > 0.0 && least <= 1.0);
            change.min_quality =
                faults.accept("minQuality", is_valid, "must be a number above 0 and at most 1").then_some(least);
        }
        (change, fields)
    }
}

impl LimitsBody {
    fn apply(self, known: RequestLimits, faults: &mut Faults) -> RequestLimits {
        let per_second = self.per_second.or_null().unwrap_or(known.per_second);
        let burst = self.burst.or_null().unwrap_or(known.burst);
        let share = self.share.or_null().unwrap_or(known.share);
        let rate = "must be 0 (no limit), or a number from 0.000001 to 1000000";
        faults.accept("limits.perSecond", per_second.is_none_or(RequestLimits::is_rate), rate);
        faults.accept("limits.burst", burst != Some(0), "must be at least 1");
        faults.accept(
            "limits.share",
            share.is_none_or(RequestLimits::is_share),
            "must be a number above 0 and at most 1",
        );
        RequestLimits { per_second, burst, share }
    }
}

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

/// The event of a change by an administrator.
pub(super) fn event(admin: &Admin, app: &AppId, operation: &str, detail: &str) -> OutboxEvent {
    OutboxEvent::new(Clock::system().now(), operation, Some(app), detail).by(admin.actor()).within(admin.transaction)
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
