//! From a request of the administration to typed values.

mod admin;
mod body;
mod field;
mod guest;
mod params;

pub(in crate::api) use crate::api::extract::{CursorPath, Page};
pub(in crate::api) use admin::Admin;
pub(in crate::api) use admin::ForApp;
pub(in crate::api) use body::{JsonBody, PatchBody};
pub(in crate::api) use field::{Field, object};
pub(in crate::api) use guest::Guest;
pub(in crate::api) use params::Params;
