//! `administrators`: list, read, create, change, delete, invite.

use std::time::UNIX_EPOCH;

use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::faults::Faults;
use super::tokens::TokenView;
use crate::api::admin::extract::{Admin, Field, JsonBody, Page, Params, PatchBody};
use crate::api::admin::schema::{AdministratorRole, AdministratorState, Name};
use crate::api::admin::{Answer, BASE, Reply};
use crate::api::outcome::Outcome;
use crate::api::{ApiError, ApiState};
use crate::domain::{AdministratorId, AppId, Role, administrator_name, rfc3339};
use crate::service::{AdministratorPatch, NewAdministrator};
use crate::store::AdministratorRecord;

/// The most applications in a list.
const MAX_APPLICATIONS: usize = 1000;

/// An administrator about itself.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Me {
    admin_id: String,
    name: String,
    /// `owner`, `operator` or `auditor`.
    role: &'static str,
    /// The ids of the applications that it may see; null: all of them.
    applications: Option<Vec<String>>,
    /// Whether it may change people.
    may_change: bool,
    /// `active` or `disabled`.
    state: &'static str,
    /// Whether a first run or a recovery made it, and no person has taken it over yet.
    bootstrap: bool,
}

impl Me {
    pub(super) fn new(record: &AdministratorRecord) -> Self {
        let ids = |ids: &Vec<AppId>| ids.iter().map(|id| id.as_str().to_owned()).collect();
        Self {
            admin_id: record.id.as_str().to_owned(),
            name: record.name.clone(),
            role: record.role.as_str(),
            applications: record.applications.as_ref().filter(|_| record.role != Role::Owner).map(ids),
            may_change: match record.role {
                Role::Owner => true,
                Role::Operator => record.may_change,
                Role::Auditor => false,
            },
            state: if record.is_active { "active" } else { "disabled" },
            bootstrap: record.is_bootstrap,
        }
    }
}

/// An administrator as an owner sees it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct AdministratorView {
    #[serde(flatten)]
    me: Me,
    created_at: String,
    /// When it last made a session.
    last_sign_in_at: Option<String>,
    tokens: Vec<TokenView>,
}

impl AdministratorView {
    fn new(api: &ApiState, record: &AdministratorRecord) -> Self {
        let tokens = api.service().administrators().tokens(&record.id);
        Self {
            me: Me::new(record),
            created_at: rfc3339(record.created_at),
            last_sign_in_at: record.last_sign_in_at.map(rfc3339),
            tokens: tokens.iter().map(TokenView::new).collect(),
        }
    }
}

/// A page of administrators, oldest first.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct AdministratorPage {
    administrators: Vec<AdministratorView>,
    /// The cursor of the next page; null on the last one.
    next_cursor: Option<String>,
}

/// An administrator to be created.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::api) struct CreateAdministrator {
    /// No other administrator has the name.
    #[schemars(with = "Name")]
    name: String,
    #[schemars(with = "AdministratorRole")]
    role: String,
    /// The ids of the applications that it may see; null or absent: all of them.
    #[schemars(length(max = 1000))]
    #[serde(default)]
    applications: Option<Vec<String>>,
    /// Whether an operator may change people; absent: yes.
    #[serde(default = "yes")]
    may_change: bool,
}

fn yes() -> bool {
    true
}

/// What changes of an administrator.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::api) struct ChangeAdministrator {
    /// Not null.
    #[schemars(with = "Name")]
    #[serde(default)]
    name: Field<String>,
    /// Not null.
    #[schemars(with = "AdministratorRole")]
    #[serde(default)]
    role: Field<String>,
    /// null: all of them.
    #[serde(default)]
    applications: Field<Vec<String>>,
    /// null: yes.
    #[serde(default)]
    may_change: Field<bool>,
    /// null: active.
    #[schemars(with = "Field<AdministratorState>")]
    #[serde(default)]
    state: Field<String>,
}

/// A one-time code.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Invitation {
    /// Shown once. It makes one session, also as `/console#code=...`.
    code: String,
    expires_at: String,
}

fn name(faults: &mut Faults, text: &str) -> Option<String> {
    faults.check("name", administrator_name(text))
}

fn role(faults: &mut Faults, text: &str) -> Option<Role> {
    faults.check("role", text.parse())
}

/// The applications of a list: of the installation, each once.
fn applications(faults: &mut Faults, api: &ApiState, ids: &[String]) -> Option<Vec<AppId>> {
    let known = |id: &String| {
        let app = id.parse::<AppId>().map_err(|_| "must be ids of applications")?;
        api.service().applications().exists(&app).then_some(app).ok_or("names an application that does not exist")
    };
    let listed = if ids.len() > MAX_APPLICATIONS {
        Err("must have at most 1000 ids")
    } else {
        ids.iter().map(known).collect::<Result<Vec<_>, _>>()
    };
    let mut listed = faults.check("applications", listed)?;
    listed.sort();
    listed.dedup();
    Some(listed)
}

pub(in crate::api) async fn list(State(api): State<ApiState>, admin: Admin, page: Page) -> Answer {
    let after: Option<(u64, String)> = page.after(&api, &())?;
    let key = |record: &AdministratorRecord| {
        let since = record.created_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        (u64::try_from(since.as_millis()).unwrap_or(u64::MAX), record.id.as_str().to_owned())
    };
    let mut all = api.service().administrators().list();
    all.retain(|record| after.as_ref().is_none_or(|after| key(record) > *after));
    let has_more = all.len() > page.limit;
    all.truncate(page.limit);
    let last = all.last().filter(|_| has_more);
    let reply = AdministratorPage {
        next_cursor: last.map(|last| page.next(&api, &(), key(last))).transpose()?,
        administrators: all.iter().map(|record| AdministratorView::new(&api, record)).collect(),
    };
    Ok(admin.audit.succeeded("listed", Outcome::result(&reply)).into())
}

pub(in crate::api) async fn read(State(api): State<ApiState>, admin: Admin, params: Params) -> Answer {
    let record = api.service().administrators().get(&params.id("adminId")?)?;
    let reply = AdministratorView::new(&api, &record);
    Ok(admin.audit.succeeded("read", Outcome::result(&reply)).into())
}

pub(in crate::api) async fn create(
    State(api): State<ApiState>,
    admin: Admin,
    JsonBody(body): JsonBody<CreateAdministrator>,
) -> Answer {
    let mut faults = Faults::default();
    let name = name(&mut faults, &body.name);
    let role = role(&mut faults, &body.role);
    let applications = body.applications.map(|ids| applications(&mut faults, &api, &ids));
    faults.end()?;
    let (Some(name), Some(role)) = (name, role) else { return Err(ApiError::bad_request("name or role is missing")) };
    let new = NewAdministrator { name, role, applications: applications.flatten(), may_change: body.may_change };
    let record = api.service().administrators().create(new, admin.actor(), admin.transaction).await?;
    let reply = Outcome::result(&AdministratorView::new(&api, &record));
    Ok(Reply::created(admin.audit.succeeded("created", reply), &format!("{BASE}/administrators/{}", record.id)))
}

pub(in crate::api) async fn change(
    State(api): State<ApiState>,
    admin: Admin,
    params: Params,
    PatchBody(body): PatchBody<ChangeAdministrator>,
) -> Answer {
    let id: AdministratorId = params.id("adminId")?;
    let mut faults = Faults::default();
    let mut patch = AdministratorPatch::default();
    match body.name {
        Field::Keep => {}
        Field::Clear => faults.push("name", "must not be null"),
        Field::Set(text) => patch.name = name(&mut faults, &text),
    }
    match body.role {
        Field::Keep => {}
        Field::Clear => faults.push("role", "must not be null"),
        Field::Set(text) => patch.role = role(&mut faults, &text),
    }
    patch.applications = match body.applications.or_null() {
        None => None,
        Some(None) => Some(None),
        Some(Some(ids)) => applications(&mut faults, &api, &ids).map(Some),
    };
    patch.may_change = body.may_change.or_null().map(|may_change| may_change.unwrap_or(true));
    patch.is_active = match body.state.or_null().map(Option::unwrap_or_default).as_deref() {
        None => None,
        Some("" | "active") => Some(true),
        Some("disabled") => Some(false),
        Some(_) => faults.check("state", Err("must be active or disabled")),
    };
    faults.end()?;
    let record = api.service().administrators().change(&id, patch, admin.actor(), admin.transaction).await?;
    let reply = Outcome::result(&AdministratorView::new(&api, &record));
    Ok(admin.audit.succeeded("changed", reply).into())
}

pub(in crate::api) async fn remove(State(api): State<ApiState>, admin: Admin, params: Params) -> Answer {
    let id: AdministratorId = params.id("adminId")?;
    api.service().administrators().delete(&id, admin.actor(), admin.transaction).await?;
    Ok(admin.audit.succeeded("deleted", Outcome::Done).into())
}

pub(in crate::api) async fn invite(State(api): State<ApiState>, admin: Admin, params: Params) -> Answer {
    let id: AdministratorId = params.id("adminId")?;
    let administrators = api.service().administrators();
    let (code, expires_at) = administrators.invite(&id, admin.actor(), Some(admin.transaction)).await?;
    let reply = Outcome::result(&Invitation { code, expires_at: rfc3339(expires_at) });
    Ok(Reply::created(admin.audit.succeeded("invited", reply), &format!("{BASE}/administrators/{id}")))
}
