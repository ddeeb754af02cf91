//! Opens the rows of samples on threads of their own, so that decryption does not hold up the async runtime.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::executor::DbRow;
use crate::compute::{Pool, PoolConfig, Submit, WorkError};
use crate::domain::{AppId, ModelTag, SampleId, TemplateId, TenantKey};
use crate::gallery::{IndexedTemplate, Sample};
use crate::store::error::StoreError;
use crate::store::keyring::Keyring;
use crate::store::record::{SampleFault, UnreadableSample};
use crate::store::seal::{SampleRef, SealError};

/// Threads that open samples: those of one page are opened while the database reads the next rows.
const THREADS: usize = 2;

/// Rows that are opened at a time.
const BATCH_ROWS: usize = 256;

/// The most batches that wait. Every page is bounded, and so is the number of connections that read one.
const MAX_BATCHES: usize = 8192;

/// The longest wait of a batch. The call that waits for it has a shorter time limit.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// Opens samples with the keys of this process.
pub(in crate::store) struct Opener {
    keys: Arc<Keyring>,
    pool: Pool<()>,
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opener(..)")
    }
}

impl Opener {
    pub(in crate::store) fn new(keys: Arc<Keyring>) -> Self {
        let config = PoolConfig { name: "open", threads: THREADS, queue: MAX_BATCHES, deadline: MAX_WAIT };
        let pool = match Pool::start(config, |_| Ok::<_, std::convert::Infallible>(())) {
            Ok(pool) => pool,
            Err(never) => match never {},
        };
        Self { keys, pool }
    }

    /// Opens what one query reads.
    pub(super) fn read(&self, app: &AppId, model: &ModelTag) -> Reading<'_> {
        Reading { opener: self, app: app.clone(), model: model.clone(), rows: Vec::new(), batches: Vec::new() }
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        self.pool.stop();
    }
}

/// The rows of one query, which are opened in batches while the database reads on.
pub(super) struct Reading<'a> {
    opener: &'a Opener,
    app: AppId,
    model: ModelTag,
    rows: Vec<DbRow>,
    batches: Vec<Submit<Result<Vec<OpenedRow>, StoreError>>>,
}

/// A row with its sample opened.
struct OpenedRow {
    template: TemplateId,
    /// `None` when the row has no sample of the model.
    sample: Option<Result<Sample, SampleFault>>,
    cursor: RowCursor,
}

/// The place of a row among those of its template; `None` for a template without samples.
pub(super) type RowCursor = Option<(i64, Vec<u8>)>;

/// The samples of a query by template, in the order of the rows.
#[derive(Default)]
pub(super) struct Opened {
    /// Every template of the rows, also those without a sample that can be opened.
    pub(super) templates: Vec<IndexedTemplate>,
    /// The samples that cannot be opened.
    pub(super) unreadable: Vec<UnreadableSample>,
    /// The number of rows.
    pub(super) rows: usize,
    /// The place of the last row.
    pub(super) last: RowCursor,
}

impl Reading<'_> {
    /// Takes the next row, with the columns `template_id`, `created_at`, `sample_id`, `sealed` and `data_key`. The last
    /// four are NULL when the template has no sample; `sealed` is NULL when the sample is of another model. The rows of
    /// a template follow each other.
    pub(super) fn push(&mut self, row: DbRow) {
        self.rows.push(row);
        if self.rows.len() >= BATCH_ROWS {
            self.submit();
        }
    }

    fn submit(&mut self) {
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return;
        }
        let keys = Arc::clone(&self.opener.keys);
        let app = self.app.clone();
        let model = self.model.clone();
        let open = move |(): &mut (), _: Duration| rows.iter().map(|row| open_row(&keys, &app, &model, row)).collect();
        self.batches.push(self.opener.pool.submit_for(TenantKey::new(&self.app).number(), open));
    }

    /// Waits until all rows are opened.
    pub(super) async fn finish(mut self) -> Result<Opened, StoreError> {
        self.submit();
        let mut opened = Opened::default();
        for batch in self.batches {
            for row in batch.result().await.map_err(work_error)?? {
                opened.push(row);
            }
        }
        Ok(opened)
    }
}

impl Opened {
    fn push(&mut self, row: OpenedRow) {
        self.rows += 1;
        self.last = row.cursor;
        if self.templates.last().is_none_or(|last| last.id != row.template) {
            self.templates.push(IndexedTemplate { id: row.template, samples: Vec::new() });
        }
        let Some(last) = self.templates.last_mut() else { return };
        match row.sample {
            Some(Ok(sample)) => last.samples.push(sample),
            Some(Err(fault)) => self.unreadable.push(UnreadableSample { template: last.id.clone(), fault }),
            None => {}
        }
    }

    /// Removes the last template.
    pub(super) fn drop_last(&mut self) {
        let Some(last) = self.templates.pop() else { return };
        self.unreadable.retain(|sample| sample.template != last.id);
    }

    /// Adds more rows of the last template, which were read later.
    pub(super) fn extend_last(&mut self, rest: Self) {
        let Some(last) = self.templates.last_mut() else { return };
        last.samples.extend(rest.templates.into_iter().flat_map(|template| template.samples));
        self.unreadable.extend(rest.unreadable);
    }
}

fn open_row(keys: &Keyring, app: &AppId, model: &ModelTag, row: &DbRow) -> Result<OpenedRow, StoreError> {
    let template = row.template_id("template_id")?;
    let Some(sample_id) = row.get::<Option<&[u8]>>("sample_id")? else {
        return Ok(OpenedRow { template, sample: None, cursor: None });
    };
    let cursor = Some((row.get("created_at")?, sample_id.to_owned()));
    let Some(sealed) = row.get::<Option<&[u8]>>("sealed")? else {
        return Ok(OpenedRow { template, sample: None, cursor });
    };
    let data_key: Option<&[u8]> = row.get("data_key")?;
    let sample = match Uuid::from_slice(sample_id).map(SampleId) {
        Ok(id) => {
            let sample = SampleRef { app, template: &template, sample: id, model };
            let opened = keys.open(&sample, sealed, data_key);
            opened.map(|embedding| Sample { id, embedding }).map_err(|error| sample_fault(id, error))
        }
        Err(_) => Err(SampleFault::Damaged("a sample id".to_owned())),
    };
    Ok(OpenedRow { template, sample: Some(sample), cursor })
}

fn sample_fault(id: SampleId, error: SealError) -> SampleFault {
    match error {
        SealError::OtherKey(key) => SampleFault::KeyMissing(key),
        error => SampleFault::Damaged(format!("sample {id} is {error}")),
    }
}

fn work_error(error: WorkError) -> StoreError {
    match error {
        WorkError::Busy | WorkError::Expired | WorkError::Stopped => StoreError::Unavailable(Box::new(error)),
        WorkError::Panicked => StoreError::Failed(Box::new(error)),
    }
}
