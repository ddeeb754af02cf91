//! A limit on the time that a caller waits for the database.
//!
//! Postgres ends a statement that takes too long, but a server or a network that has gone silent ends
//! nothing. So every call has a limit here, too; what is given up counts as not available. A write that was
//! given up may have happened all the same, as with a connection that breaks before the answer; who follows
//! the revisions sees it then.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use uuid::Uuid;

use super::{
    AppRecord, AppStore, Changes, Claim, ErasureReason, GalleryPosition, InsertError, Key, KeyHash, NodePosition,
    OnConflict, OutboxEvent, OutboxStore, SnapshotId, SnapshotStore, Store, StoreError, TemplatePage, TemplateRecord,
    TemplateStore,
};
use crate::domain::{AppId, Guard, ModelTag, Revision, TemplateId};
use crate::gallery::{IndexedTemplate, Sample};

/// A call may wait for a connection and then for a few statements, each of which has the limit of the
/// settings.
const STATEMENTS: u32 = 2;
/// So much longer than others may calls take that read or write thousands of rows.
const BULK: u32 = 10;

struct Limited<T: ?Sized> {
    inner: Arc<T>,
    limit: Duration,
}

/// The same stores, with limits. What clears away, or seals anew, is not waited for by a client and has none.
pub(super) fn limited(store: Store, timeout: Duration) -> Store {
    let limit = timeout * STATEMENTS;
    Store {
        apps: Arc::new(Limited { inner: store.apps, limit }),
        templates: Arc::new(Limited { inner: store.templates, limit }),
        snapshots: Arc::new(Limited { inner: store.snapshots, limit }),
        outbox: Arc::new(Limited { inner: store.outbox, limit }),
        ..store
    }
}

async fn within<T, E: From<StoreError>>(limit: Duration, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|late| Err(StoreError::Unavailable(Box::new(late)).into()))
}

#[async_trait]
impl AppStore for Limited<dyn AppStore> {
    async fn create(&self, app: &AppRecord) -> Result<bool, StoreError> {
        within(self.limit, self.inner.create(app)).await
    }

    async fn create_first(&self, app: &AppRecord) -> Result<bool, StoreError> {
        within(self.limit, self.inner.create_first(app)).await
    }

    async fn list(&self) -> Result<Vec<AppRecord>, StoreError> {
        within(self.limit, self.inner.list()).await
    }

    async fn set_key(&self, id: &AppId, key: KeyHash, former_until: Option<SystemTime>) -> Result<bool, StoreError> {
        within(self.limit, self.inner.set_key(id, key, former_until)).await
    }

    async fn set_retention(&self, id: &AppId, retention: Option<Duration>) -> Result<bool, StoreError> {
        within(self.limit, self.inner.set_retention(id, retention)).await
    }

    async fn set_attributes(&self, id: &AppId, reported: bool) -> Result<bool, StoreError> {
        within(self.limit, self.inner.set_attributes(id, reported)).await
    }

    async fn set_guard(&self, id: &AppId, guard: Guard) -> Result<bool, StoreError> {
        within(self.limit, self.inner.set_guard(id, guard)).await
    }

    async fn set_min_quality(&self, id: &AppId, least: Option<f64>) -> Result<bool, StoreError> {
        within(self.limit, self.inner.set_min_quality(id, least)).await
    }

    async fn delete(&self, id: &AppId) -> Result<bool, StoreError> {
        within(self.limit * BULK, self.inner.delete(id)).await
    }
}

#[async_trait]
impl TemplateStore for Limited<dyn TemplateStore> {
    async fn insert(
        &self,
        app: &AppId,
        template: &TemplateId,
        sample: &Sample,
        on_conflict: OnConflict,
    ) -> Result<Revision, InsertError> {
        within(self.limit, self.inner.insert(app, template, sample, on_conflict)).await
    }

    async fn insert_all(
        &self,
        app: &AppId,
        templates: &[IndexedTemplate],
        on_conflict: OnConflict,
    ) -> Result<Vec<Option<Revision>>, StoreError> {
        within(self.limit * BULK, self.inner.insert_all(app, templates, on_conflict)).await
    }

    async fn count(&self, app: &AppId) -> Result<usize, StoreError> {
        within(self.limit, self.inner.count(app)).await
    }

    async fn add_sample(
        &self,
        app: &AppId,
        template: &TemplateId,
        sample: &Sample,
    ) -> Result<Option<Revision>, StoreError> {
        within(self.limit, self.inner.add_sample(app, template, sample)).await
    }

    async fn remove(
        &self,
        app: &AppId,
        template: &TemplateId,
        reason: ErasureReason,
    ) -> Result<Option<Revision>, StoreError> {
        within(self.limit, self.inner.remove(app, template, reason)).await
    }

    async fn remove_older(
        &self,
        app: &AppId,
        than: SystemTime,
        limit: usize,
        reason: ErasureReason,
    ) -> Result<Vec<(TemplateId, Revision)>, StoreError> {
        within(self.limit * BULK, self.inner.remove_older(app, than, limit, reason)).await
    }

    async fn get(&self, app: &AppId, template: &TemplateId) -> Result<Option<TemplateRecord>, StoreError> {
        within(self.limit, self.inner.get(app, template)).await
    }

    async fn samples(&self, app: &AppId, model: &ModelTag, template: &TemplateId) -> Result<Vec<Sample>, StoreError> {
        within(self.limit, self.inner.samples(app, model, template)).await
    }

    async fn page(
        &self,
        app: &AppId,
        after: Option<&TemplateId>,
        limit: usize,
    ) -> Result<Vec<TemplateRecord>, StoreError> {
        within(self.limit, self.inner.page(app, after, limit)).await
    }

    async fn load(
        &self,
        app: &AppId,
        model: &ModelTag,
        after: Option<&TemplateId>,
        limit: usize,
    ) -> Result<TemplatePage, StoreError> {
        within(self.limit * BULK, self.inner.load(app, model, after, limit)).await
    }

    async fn changes(
        &self,
        app: &AppId,
        model: &ModelTag,
        after: GalleryPosition,
        limit: usize,
    ) -> Result<Changes, StoreError> {
        within(self.limit * BULK, self.inner.changes(app, model, after, limit)).await
    }

    async fn revisions(&self) -> Result<Vec<(AppId, GalleryPosition)>, StoreError> {
        within(self.limit, self.inner.revisions()).await
    }
}

#[async_trait]
impl SnapshotStore for Limited<dyn SnapshotStore> {
    async fn register(&self, app: &AppId, id: SnapshotId) -> Result<(Key, Revision), StoreError> {
        within(self.limit, self.inner.register(app, id)).await
    }

    async fn key(&self, app: &AppId, id: SnapshotId) -> Result<Option<Key>, StoreError> {
        within(self.limit, self.inner.key(app, id)).await
    }

    async fn discard(&self, app: &AppId, id: SnapshotId) -> Result<(), StoreError> {
        within(self.limit, self.inner.discard(app, id)).await
    }
}

#[async_trait]
impl OutboxStore for Limited<dyn OutboxStore> {
    fn register_node(&self, node: Uuid) {
        self.inner.register_node(node);
    }

    async fn enqueue(&self, event: &OutboxEvent) -> Result<(), StoreError> {
        within(self.limit, self.inner.enqueue(event)).await
    }

    async fn claim(&self, node: Uuid, lease: Duration, limit: usize) -> Result<Claim, StoreError> {
        within(self.limit * BULK, self.inner.claim(node, lease, limit)).await
    }

    async fn ack(&self, claim: Uuid) -> Result<(), StoreError> {
        within(self.limit * BULK, self.inner.ack(claim)).await
    }

    async fn expire(&self, before: SystemTime) -> Result<u64, StoreError> {
        within(self.limit * BULK, self.inner.expire(before)).await
    }

    async fn journal_positions(&self) -> Result<Vec<NodePosition>, StoreError> {
        within(self.limit, self.inner.journal_positions()).await
    }

    async fn record_position(&self, position: &NodePosition) -> Result<(), StoreError> {
        within(self.limit, self.inner.record_position(position)).await
    }
}
