//! A row of the table.

use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodRouter, delete, get, patch, post};

use super::{Access, AdminRouteInfo, BASE, Operation};
use crate::api::ApiState;
use crate::api::audit::Lines;

/// One route: who may call it, its handler, and how the document describes it.
pub(in crate::api) struct AdminRoute {
    pub(super) method: Method,
    /// Below [`BASE`].
    pub(super) path: &'static str,
    pub(super) access: Access,
    pub(super) handler: MethodRouter<ApiState>,
    pub(super) operation: Operation,
    pub(super) lines: Lines,
}

macro_rules! constructors {
    ($($name:ident $method:ident)*) => { $(
        pub(in crate::api) fn $name<T: 'static>(
            path: &'static str,
            access: Access,
            handler: impl Handler<T, ApiState>,
            operation: Operation,
        ) -> Self {
            Self { method: Method::$method, path, access, handler: $name(handler), operation, lines: Lines::Each }
        }
    )* };
}

impl AdminRoute {
    constructors! {
        get GET
        post POST
        patch PATCH
        delete DELETE
    }

    /// The same, with other lines in the journal than one for each request.
    pub(in crate::api) fn lines(self, lines: Lines) -> Self {
        Self { lines, ..self }
    }

    /// What tests and documents need of it.
    pub(super) fn info(&self) -> AdminRouteInfo {
        AdminRouteInfo {
            method: self.method.clone(),
            path: format!("{BASE}{}", self.path),
            operation: self.operation.id,
            roles: self.access.roles(),
            is_changing: self.access.is_changing(),
            is_fresh: self.access.is_fresh(),
        }
    }
}
