//! The functions that the fuzz targets call are those of the short run in `make test`.

#[allow(dead_code, unused_imports, reason = "the targets use a part of it")]
#[path = "../../tests/it/support/mod.rs"]
mod support;

#[path = "../../tests/it/fuzz/targets.rs"]
pub mod targets;
