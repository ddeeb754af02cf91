//! Whether identify can be served.

use schemars::JsonSchema;
use serde::Serialize;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Readiness {
    pub(in crate::api) ready: bool,
    /// Why not; empty when ready.
    pub(in crate::api) reasons: Vec<&'static str>,
    /// What an operator has to look at, although identify is served; absent when there is nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::api) notes: Vec<String>,
    /// Templates loaded so far, while galleries are being loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api) loaded: Option<usize>,
    /// Templates to load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api) templates: Option<usize>,
    /// A loaded server identifies without its store for a while (database.max_stale_s), so this is no part of readiness.
    pub(in crate::api) store_reachable: bool,
    /// Whether the database can be written. No part of readiness, except for `?for=write`.
    pub(in crate::api) writable: bool,
    /// Why it cannot be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api) write_fault: Option<&'static str>,
}
