//! Repeats database calls while the database is unavailable for a short time: an import takes long.

use std::time::Duration;

use super::super::output::errln;
use crate::domain::AppId;
use crate::gallery::IndexedTemplate;
use crate::store::{OnConflict, Refusal, Store, StoreError};

/// Pauses between attempts.
const RETRY_PAUSES: [Duration; 6] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
    Duration::from_secs(32),
];

/// Repeats a call while the database is unavailable, for about a minute at most. For calls that may happen twice.
pub(super) async fn repeat<T, F: Future<Output = Result<T, StoreError>>>(
    call: impl Fn() -> F,
) -> Result<T, StoreError> {
    for pause in RETRY_PAUSES {
        match call().await {
            Err(StoreError::Unavailable(error)) => wait(&*error, pause).await,
            done => return done,
        }
    }
    call().await
}

/// Writes templates, in one transaction unless it is repeated. Returns for each why it was refused; `None`: it was
/// written.
pub(super) async fn write(
    store: &Store,
    app: &AppId,
    templates: &[IndexedTemplate],
    on_conflict: OnConflict,
) -> Result<Vec<Option<Refusal>>, StoreError> {
    let mut refused = vec![None; templates.len()];
    let mut open: Vec<usize> = (0..templates.len()).collect();
    let mut pauses = RETRY_PAUSES.iter();
    while !open.is_empty() {
        let batch: Vec<IndexedTemplate> = open.iter().filter_map(|at| templates.get(*at).cloned()).collect();
        match store.templates.insert_all(app, &batch, on_conflict.clone()).await {
            Ok(revisions) => {
                for (at, revision) in open.iter().zip(revisions) {
                    refused[*at] = revision.err();
                }
                break;
            }
            Err(StoreError::Unavailable(error)) => {
                let Some(pause) = pauses.next() else { return Err(StoreError::Unavailable(error)) };
                wait(&*error, *pause).await;
                // The failed write may have been committed.
                let mut still_open = Vec::with_capacity(open.len());
                for (at, template) in open.iter().zip(&batch) {
                    if !is_written(store, app, template).await? {
                        still_open.push(*at);
                    }
                }
                open = still_open;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(refused)
}

async fn is_written(store: &Store, app: &AppId, template: &IndexedTemplate) -> Result<bool, StoreError> {
    let record = repeat(|| store.templates.get(app, &template.id)).await?;
    let stored = record.map(|record| record.samples).unwrap_or_default();
    Ok(template.samples.iter().all(|sample| stored.iter().any(|known| known.id == sample.id)))
}

async fn wait(error: &(dyn std::error::Error + Send + Sync), pause: Duration) {
    errln!("the database is not available ({error}); the next attempt is in {} s", pause.as_secs());
    tokio::time::sleep(pause).await;
}
