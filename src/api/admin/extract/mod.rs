//! From a request of the administration to typed values.

mod admin;
mod body;
mod field;
mod guest;
mod page;
mod params;

pub(in crate::api) use admin::Admin;
#[allow(unused_imports, reason = "for resources of one application")]
pub(in crate::api) use admin::ForApp;
pub(in crate::api) use body::{JsonBody, PatchBody};
pub(in crate::api) use field::Field;
pub(in crate::api) use guest::Guest;
#[allow(unused_imports, reason = "for searches")]
pub(in crate::api) use page::CursorPath;
pub(in crate::api) use page::Page;
pub(in crate::api) use params::Params;
