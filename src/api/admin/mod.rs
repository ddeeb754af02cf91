//! The administration API, `/api/admin/v1`.
//!
//! # A route
//!
//! [`table()`] lists every route: method, path, [`Access`], handler and [`Operation`]. The access rule is an argument of the
//! row, so a route without one does not compile, and it is enforced by a layer around that row alone: what a request may do
//! depends on the route that matched, never on the text of its path. To add a resource, write a file in `handlers/` with
//! its replies, and add its rows to the table:
//!
//! ```ignore
//! AdminRoute::get("/applications/{appId}/groups", Access::OPERATOR, groups::list, Operation::new("listGroups", "..."))
//!     .lines(Lines::Counted),
//! AdminRoute::post("/applications/{appId}/people", Access::OPERATOR.changing(), people::create, ...),
//! AdminRoute::delete("/tokens/{tokenId}", Access::ANY.fresh(), tokens::end, ...),
//! ```
//!
//! An owner may do all that others may. [`Access::changing`] excludes operators with `mayChange: false`; a POST that only
//! reads (a search, `identify`) does without it. [`Access::fresh`] is for keys, tokens and administrators. Where only the
//! handler can decide (an owner, or an administrator about itself), it returns [`Forbidden`](super::Forbidden).
//!
//! # A handler
//!
//! It takes, in this order: `State<ApiState>`; [`extract::Admin`] (who is signed in) or [`extract::ForApp`] (the same, with
//! the application of the path as a [`Caller`](crate::service::Caller), 404 where the administrator may not see it);
//! [`extract::Params`] for other ids in the path; `Query`; [`extract::Page`] for a list; and last the body:
//! [`extract::JsonBody`] for POST, [`extract::PatchBody`] for PATCH with members of type [`extract::Field`]. Both refuse
//! unknown members and name the field at fault. It calls one use case of `service` and returns an
//! [`Answer`]: `Ok(audit.succeeded("changed", Outcome::result(&reply)).into())`, or [`Reply::created`] with the
//! path of what it made. What the journal is to name beside actor and application, it notes in `admin.audit`.
//!
//! # Errors
//!
//! A typed error of the service has its status, `reason` and `details` in the table of `api/error.rs`.
//! [`ApiError::field`](super::ApiError::field) is for a field that cannot be used, [`ApiError::no_such`](super::ApiError::no_such)
//! for what does not exist or may not be seen.
//!
//! # A list
//!
//! `page.after::<Key>(api, &filter)?` is the key after which the page begins, `page.next(api, &filter, &last)?` the cursor of
//! the next one. `filter` is everything that decides which items are listed, and in which order: a cursor is valid with
//! the same filter and path only. Where `limit` and `cursor` come in a body, [`extract::CursorPath`] makes the page.

mod access;
mod document;
mod extract;
mod gate;
mod handlers;
mod operation;
mod reply;
mod route;
mod schema;
mod server_table;
mod statuses;
mod table;
mod table_people;
mod table_review;
mod transport;

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::middleware::from_fn_with_state;
use axum::routing::MethodRouter;
use axum::{Extension, Router};

use super::ApiState;
pub(super) use access::Access;
use gate::{Gate, gate};
use handlers::openapi::AdminDocument;
pub(super) use operation::Operation;
pub(super) use reply::{Answer, Reply};
pub(super) use route::AdminRoute;
use server_table::server_rows;
use table::table;

/// The path of every route begins with it.
pub(super) const BASE: &str = "/api/admin/v1";

/// What tests and documents need of a row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminRouteInfo {
    /// The method.
    pub method: axum::http::Method,
    /// The whole path, with `{parameters}`.
    pub path: String,
    /// The name of the operation.
    pub operation: &'static str,
    /// The roles that may call it; empty: no credentials are needed.
    pub roles: &'static [&'static str],
    /// Whether an operator who may not change anything is refused.
    pub is_changing: bool,
    /// Whether a fresh session is needed.
    pub is_fresh: bool,
}

/// The table, and its rows about the server itself.
fn all_rows() -> Vec<AdminRoute> {
    table().into_iter().chain(server_rows()).collect()
}

/// Every route of the administration API.
pub fn admin_routes() -> Vec<AdminRouteInfo> {
    all_rows().iter().map(AdminRoute::info).collect()
}

/// The OpenAPI document of the administration API.
pub fn admin_openapi() -> Bytes {
    document::document(&all_rows()).to_string().into()
}

/// The routes of the administration API, each behind its access rule.
pub(super) fn routes(api: &ApiState) -> Router<ApiState> {
    let mut methods: BTreeMap<String, MethodRouter<ApiState>> = BTreeMap::new();
    for route in all_rows() {
        let guarded = Gate { api: api.clone(), access: route.access, lines: route.lines };
        let handler = route.handler.route_layer(from_fn_with_state(guarded, gate));
        let path = format!("{BASE}{}", route.path);
        let others = methods.remove(&path).unwrap_or_default();
        methods.insert(path, others.merge(handler));
    }
    let router = methods.into_iter().fold(Router::new(), |router, (path, methods)| {
        router.route(&path, methods.fallback(super::handlers::ops::other_method))
    });
    router.layer(Extension(AdminDocument(admin_openapi())))
}
