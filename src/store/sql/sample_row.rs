//! The row of a sample: what it holds, opened and sealed.

use std::time::SystemTime;

use zeroize::Zeroizing;

use super::executor::DbRow;
use super::row;
use crate::domain::{AppId, ModelTag, TemplateId};
use crate::gallery::Sample;
use crate::store::error::StoreError;
use crate::store::keyring::Keyring;
use crate::store::record::EnrolledSample;
use crate::store::seal::SampleRef;

/// Everything that the row of a sample and the row of its crop hold, opened.
pub(super) struct SampleRow {
    pub(super) sample: Sample,
    pub(super) created_at: i64,
    pub(super) enrolled_by: Option<String>,
    pub(super) quality: Option<f64>,
    pub(super) quality_fine: Option<i64>,
    pub(super) crop: Option<Zeroizing<Vec<u8>>>,
}

/// Reads the samples of a template ($1, $2), with their crops, for [`SampleRow::open`].
pub(super) const SELECT_ROWS: &str = "
    SELECT s.sample_id, s.created_at, s.model, s.sealed, s.data_key, s.enrolled_by, s.quality, s.quality_fine,
           c.sealed AS crop
    FROM samples s
    LEFT JOIN crops c ON c.app_id = s.app_id AND c.template_id = s.template_id AND c.created_at = s.created_at
        AND c.sample_id = s.sample_id
    WHERE s.app_id = $1 AND s.template_id = $2
    ORDER BY s.created_at, s.sample_id";

impl SampleRow {
    /// Of a new sample.
    pub(super) fn new(new: &EnrolledSample, created_at: SystemTime) -> Self {
        Self {
            sample: new.sample.clone(),
            created_at: row::millis(created_at),
            enrolled_by: Some(new.enrolled_by.to_string()),
            quality: new.quality.map(|quality| quality.score),
            quality_fine: new.quality.map(|quality| i64::from(quality.fine)),
            crop: new.crop.as_ref().map(|crop| Zeroizing::new(crop.jpeg().to_vec())),
        }
    }

    /// Opens a row of [`SELECT_ROWS`]. It must be readable: what cannot be opened cannot be sealed for another template.
    pub(super) fn open(keys: &Keyring, app: &AppId, template: &TemplateId, row: &DbRow) -> Result<Self, StoreError> {
        let id = row.sample_id("sample_id")?;
        let model = ModelTag::new(row.get("model")?);
        let of = SampleRef { app, template, sample: id, model: &model };
        let data_key: Option<&[u8]> = row.get("data_key")?;
        let crop: Option<&[u8]> = row.get("crop")?;
        let crop = match (crop, data_key) {
            (Some(crop), Some(data_key)) => Some(keys.open_crop(&of.data_key_aad(), crop, data_key)?),
            (Some(_), None) => return Err(row::corrupt("data_key")),
            (None, _) => None,
        };
        let embedding = keys.open(&of, row.get("sealed")?, data_key)?;
        Ok(Self {
            sample: Sample { id, embedding },
            created_at: row.get("created_at")?,
            enrolled_by: row.get("enrolled_by")?,
            quality: row.get("quality")?,
            quality_fine: row.get("quality_fine")?,
            crop,
        })
    }
}
