//! How much an application may store: samples of a template, and quotas.
//!
//! Limits are checked in the transaction that writes, under the lock of the gallery's row, so two nodes cannot exceed
//! one together. Counting a large gallery takes long, so the row keeps the count, with the revision that it belongs to.
//! Once counted, each write updates it. A write that does not (of an older version) raises the revision, so the count no
//! longer applies, and is counted again when it is next needed.

use super::executor::DbRow;
use super::row;
use crate::store::error::StoreError;

/// The size of a gallery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) templates: u64,
    pub(super) samples: u64,
}

/// The count of an application's row, if it is of this revision.
pub(super) fn stored_count(row: &DbRow, revision: i64) -> Result<Option<Counted>, StoreError> {
    if row.get::<Option<i64>>("counted_revision")? != Some(revision) {
        return Ok(None);
    }
    let templates: Option<i64> = row.get("counted_templates")?;
    let samples: Option<i64> = row.get("counted_samples")?;
    Ok(templates
        .zip(samples)
        .map(|(templates, samples)| Counted { templates: row::number(templates), samples: row::number(samples) }))
}
