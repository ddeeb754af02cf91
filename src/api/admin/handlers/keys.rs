//! `applications/{appId}/keys`: list, add, rotate, change, end.

use std::time::{Duration, SystemTime};

use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::changes::event;
use super::faults::Faults;
use crate::api::admin::extract::{Field, ForApp, JsonBody, Params, PatchBody};
use crate::api::admin::schema::{KeyScopes, KeyState, Name, Time};
use crate::api::admin::{Answer, BASE, Reply};
use crate::api::outcome::Outcome;
use crate::api::{ApiError, ApiState};
use crate::domain::{AppKeyId, AppKeyState, Clock, KeySwitch, Scope, Scopes, application_name, parse_rfc3339, rfc3339};
use crate::service::{Credentials, Error, NewKey};
use crate::store::{AppKeyChange, AppKeyRecord, OutboxEvent, Replaced};

/// The overlap of a rotation without one in seconds: a day.
const DEFAULT_OVERLAP_S: u64 = 86_400;

/// The longest overlap in seconds: a year.
const MAX_OVERLAP_S: u64 = 366 * 86_400;

/// A key. The secret itself is shown once, when it is made.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct KeyView {
    key_id: String,
    name: String,
    /// Some of `identify`, `enroll`, `read`, `delete`.
    scopes: Vec<&'static str>,
    /// `active`, `ending` (until `endsAt`), `suspended` or `ended`.
    state: &'static str,
    /// The last characters of the secret; null for a key of a version before.
    hint: Option<String>,
    created_at: String,
    /// Who made it: `administrator:<id>`, `command` or `server`; null for a key of a version before.
    created_by: Option<String>,
    /// To the minute; null: never, or by a version before.
    last_used_at: Option<String>,
    /// The end of its overlap with the key that replaces it.
    ends_at: Option<String>,
    /// Until when it is accepted; null: without limit.
    expires_at: Option<String>,
}

impl KeyView {
    pub(super) fn new(key: &AppKeyRecord, now: SystemTime) -> Self {
        Self {
            key_id: key.id.to_string(),
            name: key.name.clone(),
            scopes: key.scopes.iter().map(Scope::as_str).collect(),
            state: key.state(now).as_str(),
            hint: key.hint.clone(),
            created_at: rfc3339(key.created_at),
            created_by: key.created_by.clone(),
            last_used_at: key.last_used_at.map(rfc3339),
            ends_at: key.ends_at.map(rfc3339),
            expires_at: key.expires_at.map(rfc3339),
        }
    }
}

/// The keys of an application, newest first, those in force before those that ended.
#[derive(Serialize, JsonSchema)]
pub(in crate::api) struct KeyList {
    keys: Vec<KeyView>,
}

/// One key.
#[derive(Serialize, JsonSchema)]
pub(in crate::api) struct OneKey {
    key: KeyView,
}

/// A new key.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct CreatedKey {
    key: KeyView,
    /// The secret. It is shown once.
    app_key: String,
    /// The key that it replaces, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced: Option<KeyView>,
}

/// A key to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::api) struct CreateKey {
    /// Where the key is used.
    #[schemars(with = "Name")]
    name: String,
    /// Absent or null: all.
    #[schemars(with = "Option<KeyScopes>")]
    #[serde(default)]
    scopes: Option<Vec<String>>,
    /// Until when it is accepted, in the future; absent or null: without limit.
    #[schemars(with = "Option<Time>")]
    #[serde(default)]
    expires_at: Option<String>,
}

/// How a key is replaced.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::api) struct RotateKey {
    /// How long the old key stays valid, at most 366 days; 0 for a key that has leaked; absent: 86400.
    #[schemars(range(max = 31_622_400))]
    #[serde(default)]
    overlap_seconds: Option<u64>,
}

/// What changes of a key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::api) struct ChangeKey {
    /// Not null.
    #[schemars(with = "Name")]
    #[serde(default)]
    name: Field<String>,
    /// null: active. DELETE ends a key.
    #[schemars(with = "Field<KeyState>")]
    #[serde(default)]
    state: Field<String>,
    /// null: all.
    #[schemars(with = "Field<KeyScopes>")]
    #[serde(default)]
    scopes: Field<Vec<String>>,
    /// When it ends; a time that is over ends it at once; null: it does not end.
    #[schemars(with = "Field<Time>")]
    #[serde(default)]
    ends_at: Field<String>,
    /// In the future; null: without limit.
    #[schemars(with = "Field<Time>")]
    #[serde(default)]
    expires_at: Field<String>,
}

impl Faults {
    fn scopes(&mut self, names: &[String]) -> Option<Scopes> {
        let scopes = names.iter().map(|name| name.parse::<Scope>()).collect::<Result<Scopes, _>>();
        let scopes = self.check("scopes", scopes)?;
        self.accept("scopes", !scopes.is_empty(), "must have at least one").then_some(scopes)
    }

    fn time(&mut self, field: &str, text: &str) -> Option<SystemTime> {
        self.check(field, parse_rfc3339(text).ok_or("must be a time in RFC 3339 and UTC"))
    }

    /// A time that is not over.
    fn expiry(&mut self, text: &str) -> Option<SystemTime> {
        let time = self.time("expiresAt", text)?;
        self.accept("expiresAt", time > Clock::system().now(), "must be in the future").then_some(time)
    }
}

fn now(api: &ApiState) -> SystemTime {
    api.service().applications().store_clock().now()
}

fn created(app: &ForApp, made: CreatedKey, outcome: &str) -> Reply {
    let path = format!("{BASE}/applications/{}/keys/{}", app.caller.app, made.key.key_id);
    Reply::created(app.audit.succeeded(outcome, Outcome::result(&made)), &path)
}

pub(in crate::api) async fn list(State(api): State<ApiState>, app: ForApp) -> Answer {
    let now = now(&api);
    let mut keys =
        api.service().applications().keys(&app.caller.app).ok_or_else(|| ApiError::no_such("application"))?;
    keys.sort_by_key(|key| (key.state(now) == AppKeyState::Ended, std::cmp::Reverse((key.created_at, key.id))));
    let reply = KeyList { keys: keys.iter().map(|key| KeyView::new(key, now)).collect() };
    Ok(app.audit.succeeded("listed", Outcome::result(&reply)).into())
}

pub(in crate::api) async fn add(
    State(api): State<ApiState>,
    app: ForApp,
    JsonBody(body): JsonBody<CreateKey>,
) -> Answer {
    let mut faults = Faults::default();
    let name = faults.check("name", application_name(&body.name));
    let scopes = body.scopes.map_or(Some(Scopes::ALL), |names| faults.scopes(&names));
    let expires_at = body.expires_at.map(|text| faults.expiry(&text));
    faults.end()?;
    let (Some(name), Some(scopes)) = (name, scopes) else {
        return Err(ApiError::bad_request("name or scopes are missing"));
    };
    let new = NewKey { name, scopes, expires_at: expires_at.flatten() };
    let credentials = Credentials::for_app(app.caller.app.clone())?;
    app.audit.key(&credentials.key_id.to_string());
    let event = event(&app, &app.caller.app, "application key add", &format!("scopes: {scopes}"));
    let event = event.of_key(credentials.key_id);
    let added = api.service().applications().add_key(&credentials, &new, &app.actor(), Some(&event)).await?;
    let key = KeyView::new(&added.map_err(Error::from)?, now(&api));
    Ok(created(&app, CreatedKey { key, app_key: credentials.app_key, replaced: None }, "created"))
}

pub(in crate::api) async fn rotate(
    State(api): State<ApiState>,
    app: ForApp,
    params: Params,
    JsonBody(body): JsonBody<RotateKey>,
) -> Answer {
    let old: AppKeyId = params.id("keyId").map_err(|_| ApiError::no_such("key"))?;
    let seconds = body.overlap_seconds.unwrap_or(DEFAULT_OVERLAP_S);
    let mut faults = Faults::default();
    faults.accept("overlapSeconds", seconds <= MAX_OVERLAP_S, "must be at most 366 days");
    faults.end()?;
    let credentials = Credentials::for_app(app.caller.app.clone())?;
    app.audit.key(&old.to_string());
    let detail = format!("replaced by {}, overlap: {seconds} s", credentials.key_id);
    let event = event(&app, &app.caller.app, "application key rotate", &detail).of_key(old);
    let overlap = Duration::from_secs(seconds);
    let applications = api.service().applications();
    let actor = app.actor();
    let rotated = applications.replace_key(&credentials, Replaced::Key(old), overlap, &actor, Some(&event)).await?;
    let rotated = rotated.map_err(Error::from)?;
    let now = now(&api);
    let made = CreatedKey {
        key: KeyView::new(&rotated.key, now),
        app_key: credentials.app_key,
        replaced: Some(KeyView::new(&rotated.replaced, now)),
    };
    Ok(created(&app, made, "rotated"))
}

pub(in crate::api) async fn change(
    State(api): State<ApiState>,
    app: ForApp,
    params: Params,
    PatchBody(body): PatchBody<ChangeKey>,
) -> Answer {
    let key: AppKeyId = params.id("keyId").map_err(|_| ApiError::no_such("key"))?;
    let mut faults = Faults::default();
    let mut change = AppKeyChange::default();
    let mut fields = Vec::new();
    match body.name {
        Field::Keep => {}
        Field::Clear => faults.push("name", "must not be null"),
        Field::Set(name) => {
            fields.push("name");
            change.name = faults.check("name", application_name(&name));
        }
    }
    if let Some(state) = body.state.or_null() {
        fields.push("state");
        change.switch = match state.as_deref() {
            None | Some("active") => Some(KeySwitch::Active),
            Some("suspended") => Some(KeySwitch::Suspended),
            Some(_) => faults.check("state", Err("must be active or suspended")),
        };
    }
    if let Some(scopes) = body.scopes.or_null() {
        fields.push("scopes");
        change.scopes = scopes.map_or(Some(Scopes::ALL), |names| faults.scopes(&names));
    }
    if let Some(ends_at) = body.ends_at.or_null() {
        fields.push("endsAt");
        change.ends_at = Some(ends_at.and_then(|text| faults.time("endsAt", &text)));
    }
    if let Some(expires_at) = body.expires_at.or_null() {
        fields.push("expiresAt");
        change.expires_at = Some(expires_at.and_then(|text| faults.expiry(&text)));
    }
    faults.end()?;
    app.audit.key(&key.to_string());
    app.audit.changed(fields.iter().copied());
    let event = event(&app, &app.caller.app, "application key change", "changed").of_key(key).changing(&fields);
    set(&api, &app, key, &change, &event, "changed").await
}

pub(in crate::api) async fn end(State(api): State<ApiState>, app: ForApp, params: Params) -> Answer {
    let key: AppKeyId = params.id("keyId").map_err(|_| ApiError::no_such("key"))?;
    app.audit.key(&key.to_string());
    let change = AppKeyChange { switch: Some(KeySwitch::Ended), ..AppKeyChange::default() };
    let event = event(&app, &app.caller.app, "application key end", "ended").of_key(key);
    set(&api, &app, key, &change, &event, "ended").await
}

async fn set(
    api: &ApiState,
    app: &ForApp,
    key: AppKeyId,
    change: &AppKeyChange,
    event: &OutboxEvent,
    outcome: &str,
) -> Answer {
    let changed = api.service().applications().change_key(&app.caller.app, key, change, Some(event)).await?;
    let reply = OneKey { key: KeyView::new(&changed.map_err(Error::from)?, now(api)) };
    Ok(app.audit.succeeded(outcome, Outcome::result(&reply)).into())
}
