//! A store in memory, whose time does not pass, and the options with which tests open real ones.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::review::MemoryProbes;
use async_trait::async_trait;
use semblance::domain::{
    AppId, AppKeyId, Clock, Details, DetailsPatch, FaceCrop, IdempotencyKey, ModelTag, Revision, SampleId, TemplateId,
};
use semblance::gallery::{Change, IndexedTemplate, Sample};
use semblance::store::application::KeySet;
use semblance::store::backup::{BackupError, BackupSink, BackupStore, RecordSource, RowCounts};
use semblance::store::{
    AppChange, AppKeyChange, AppKeyRecord, AppKeyRefusal, AppKeyStore, AppRecord, AppRefusal, AppStore, ChangeError,
    ChangeRefusal, ChangedBy, Changes, Claim, ClockReading, DatabaseConfig, DatedTemplate, EnrolledSample,
    EnrollmentReply, EraseError, ErasedPerson, ErasureReason, Executed, Expired, GalleryPosition, HintStore, Hold,
    IdempotencyStore, InsertError, KeptReply, Key, KeyId, KeySource, KeyStatus, KeyStore, KeyUse, LimitReached,
    ListEntry, ListFilter, ListQuery, Merge, Merged, NewTemplate, NodePosition, NotedPage, NotedPerson, OnConflict,
    OpenMode, OpenOptions, OutboxBacklog, OutboxEvent, OutboxStore, PeopleStore, PersonRecord, PoolGauge, PoolUsage,
    Refusal, Replaced, Replacement, Resealed, RetentionRecord, RetentionStore, Rotated, SampleCursor, SampleMove,
    SampleRecord, SampleStore, Scrubber, SnapshotId, SnapshotStore, StoreError, TemplateList, TemplatePage,
    TemplateRecord, TemplateStore, UpdateError, WriteProbe,
};
use tokio::sync::RwLock;
use uuid::Uuid;

#[derive(Default)]
struct Gallery {
    revision: Revision,
    templates: BTreeMap<TemplateId, Vec<EnrolledSample>>,
    changes: Vec<TemplateId>,
    replies: HashMap<IdempotencyKey, KeptReply>,
    details: HashMap<TemplateId, Details>,
    /// The revision of each template's last change.
    revisions: HashMap<TemplateId, Revision>,
}

impl Gallery {
    fn changed(&mut self, template: &TemplateId) -> Revision {
        self.changes.push(template.clone());
        self.revision = self.revision.next();
        self.revisions.insert(template.clone(), self.revision);
        self.revision
    }

    fn put(
        &mut self,
        id: &TemplateId,
        samples: Vec<EnrolledSample>,
        on_conflict: OnConflict,
    ) -> Result<Revision, Refusal> {
        match (on_conflict, self.templates.get_mut(id)) {
            (OnConflict::Refuse, Some(_)) => return Err(Refusal::Exists),
            (OnConflict::Extend, Some(known)) => known.extend(samples),
            (_, Some(known)) => {
                *known = samples;
                self.details.remove(id);
            }
            (_, None) => drop(self.templates.insert(id.clone(), samples)),
        }
        Ok(self.changed(id))
    }

    /// A reply ends with its template.
    fn kept(&self, key: &IdempotencyKey) -> Option<KeptReply> {
        self.replies.get(key).filter(|kept| self.templates.contains_key(&kept.template)).cloned()
    }

    fn keep(&mut self, key: &IdempotencyKey, template: &TemplateId, revision: Revision, reply: &EnrollmentReply) {
        let kept = KeptReply { template: template.clone(), revision, reply: reply.clone() };
        self.replies.insert(key.clone(), kept);
    }

    fn indexed(&self, id: &TemplateId) -> IndexedTemplate {
        IndexedTemplate { id: id.clone(), samples: self.samples(id) }
    }

    fn samples(&self, id: &TemplateId) -> Vec<Sample> {
        self.templates.get(id).into_iter().flatten().map(|enrolled| enrolled.sample.clone()).collect()
    }

    /// Both templates of a change.
    fn both(&self, from: &TemplateId, to: &TemplateId) -> Result<(), ChangeRefusal> {
        if from == to {
            return Err(ChangeRefusal::SameTemplate);
        }
        if !self.templates.contains_key(from) {
            return Err(ChangeRefusal::NoTemplate);
        }
        if self.templates.contains_key(to) { Ok(()) } else { Err(ChangeRefusal::NoTarget) }
    }

    /// The replies of a template follow it.
    fn moved(&mut self, from: &TemplateId, to: &TemplateId) -> Revision {
        for kept in self.replies.values_mut().filter(|kept| kept.template == *from) {
            kept.template = to.clone();
        }
        self.changed(from);
        self.changed(to)
    }
}

#[derive(Default)]
struct State {
    apps: Vec<AppRecord>,
    galleries: HashMap<AppId, Gallery>,
}

#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    /// The database cannot be reached.
    pub down: AtomicBool,
    /// Lists and inserts wait while a test holds this.
    pub gate: RwLock<()>,
    /// The number of lists that have begun.
    pub lists: AtomicUsize,
    /// The application whose gallery never finishes loading.
    pub slow: Mutex<Option<AppId>>,
    /// Applications cannot be listed; everything else works.
    pub unlisted: AtomicBool,
    /// Probes that are held for review.
    pub probes: MemoryProbes,
}

fn moment() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_758_635_011_114)
}

fn record(id: &TemplateId, samples: &[EnrolledSample]) -> TemplateRecord {
    let samples = samples
        .iter()
        .map(|enrolled| SampleRecord {
            id: enrolled.sample.id,
            model: enrolled.sample.embedding.model().clone(),
            created_at: moment(),
            enrolled_by: Some(enrolled.enrolled_by.to_string()),
            quality: enrolled.quality,
            has_crop: enrolled.crop.is_some(),
        })
        .collect();
    TemplateRecord { id: id.clone(), created_at: moment(), samples }
}

impl MemoryStore {
    fn state<T>(&self, work: impl FnOnce(&mut State) -> T) -> Result<T, StoreError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("the secret address refused the connection".into()));
        }
        Ok(work(&mut self.state.lock().unwrap()))
    }

    fn gallery<T>(&self, app: &AppId, work: impl FnOnce(&mut Gallery) -> T) -> Result<T, StoreError> {
        self.state(|state| state.galleries.get_mut(app).map(work))?.ok_or(StoreError::NoSuchApp)
    }
}

#[async_trait]
impl AppStore for MemoryStore {
    async fn create_recorded(&self, app: &AppRecord, _: Option<&OutboxEvent>) -> Result<bool, StoreError> {
        self.state(|state| {
            state.apps.push(app.clone());
            state.galleries.insert(app.id.clone(), Gallery::default()).is_none()
        })
    }

    async fn create_first(&self, app: &AppRecord) -> Result<bool, StoreError> {
        if self.state(|state| !state.apps.is_empty())? {
            return Ok(false);
        }
        self.create(app).await
    }

    async fn list(&self) -> Result<Vec<AppRecord>, StoreError> {
        if self.unlisted.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("the connection broke".into()));
        }
        self.state(|state| state.apps.clone())
    }

    async fn change(
        &self,
        id: &AppId,
        change: &AppChange,
        _: Option<&OutboxEvent>,
    ) -> Result<Result<u64, AppRefusal>, StoreError> {
        self.state(|state| {
            let app = state.apps.iter_mut().find(|app| app.id == *id).ok_or(AppRefusal::NoSuchApp)?;
            if change.if_revision.is_some_and(|expected| expected != app.settings_revision) {
                return Err(AppRefusal::Changed(app.settings_revision));
            }
            *app = AppRecord { settings_revision: app.settings_revision + 1, ..app.clone().with(change) };
            Ok(app.settings_revision)
        })
    }

    async fn delete(&self, id: &AppId) -> Result<bool, StoreError> {
        self.state(|state| {
            state.apps.retain(|app| app.id != *id);
            state.galleries.remove(id).is_some()
        })
    }
}

impl MemoryStore {
    /// The last use of the first key of an application, as stored.
    pub fn last_use(&self, id: &AppId) -> Option<SystemTime> {
        let state = self.state.lock().unwrap();
        state.apps.iter().find(|app| app.id == *id)?.keys.first()?.last_used_at
    }

    fn change_keys<T>(
        &self,
        id: &AppId,
        change: impl FnOnce(&mut KeySet) -> Result<T, AppKeyRefusal>,
    ) -> Result<Result<T, AppKeyRefusal>, StoreError> {
        self.state(|state| {
            let app = state.apps.iter_mut().find(|app| app.id == *id).ok_or(AppKeyRefusal::NoSuchApp)?;
            let mut keys = KeySet { keys: app.keys.clone(), now: SystemTime::now() };
            let changed = change(&mut keys)?;
            app.keys = keys.keys;
            app.settings_revision += 1;
            Ok(changed)
        })
    }
}

#[async_trait]
impl AppKeyStore for MemoryStore {
    async fn add_key(
        &self,
        app: &AppId,
        key: &AppKeyRecord,
        _: Option<&OutboxEvent>,
    ) -> Result<Result<AppKeyRecord, AppKeyRefusal>, StoreError> {
        self.change_keys(app, |keys| keys.add(key))
    }

    async fn replace_key(
        &self,
        app: &AppId,
        replaced: Replaced,
        replacement: &Replacement,
        overlap: Duration,
        _: Option<&OutboxEvent>,
    ) -> Result<Result<Rotated, AppKeyRefusal>, StoreError> {
        self.change_keys(app, |keys| keys.replace(replaced, replacement, overlap))
    }

    async fn change_key(
        &self,
        app: &AppId,
        key: AppKeyId,
        change: &AppKeyChange,
        _: Option<&OutboxEvent>,
    ) -> Result<Result<AppKeyRecord, AppKeyRefusal>, StoreError> {
        self.change_keys(app, |keys| keys.change(key, change))
    }

    async fn end_keys(&self, app: &AppId, _: Option<&OutboxEvent>) -> Result<bool, StoreError> {
        Ok(self
            .change_keys(app, |keys| {
                keys.end_all();
                Ok(())
            })?
            .is_ok())
    }

    async fn record_key_uses(&self, uses: &[KeyUse]) -> Result<(), StoreError> {
        self.state(|state| {
            for KeyUse { app, key, at } in uses {
                let app = state.apps.iter_mut().find(|known| known.id == *app);
                let key = app.and_then(|app| app.keys.iter_mut().find(|known| known.id == *key));
                if let Some(key) = key {
                    key.last_used_at = key.last_used_at.max(Some(*at));
                }
            }
        })
    }
}

#[async_trait]
impl TemplateStore for MemoryStore {
    async fn insert(
        &self,
        app: &AppId,
        template: &TemplateId,
        sample: &EnrolledSample,
        on_conflict: OnConflict,
    ) -> Result<Revision, InsertError> {
        let _open = self.gate.read().await;
        self.gallery(app, |gallery| {
            let samples = vec![sample.clone()];
            Ok(gallery.put(template, samples, on_conflict)?)
        })?
    }

    async fn insert_all(
        &self,
        app: &AppId,
        templates: &[IndexedTemplate],
        on_conflict: OnConflict,
    ) -> Result<Vec<Result<Revision, Refusal>>, StoreError> {
        self.gallery(app, |gallery| {
            let insert = |template: &IndexedTemplate| {
                let samples = template.samples.iter().cloned().map(EnrolledSample::by_command);
                gallery.put(&template.id, samples.collect(), on_conflict.clone())
            };
            templates.iter().map(insert).collect()
        })
    }

    /// Time does not pass: it keeps no times.
    async fn insert_dated(
        &self,
        app: &AppId,
        templates: &[DatedTemplate],
        on_conflict: OnConflict,
    ) -> Result<Vec<Result<Revision, Refusal>>, StoreError> {
        let templates: Vec<_> = templates.iter().map(|dated| dated.template.clone()).collect();
        self.insert_all(app, &templates, on_conflict).await
    }

    async fn samples(&self, app: &AppId, _: &ModelTag, template: &TemplateId) -> Result<Vec<Sample>, StoreError> {
        self.gallery(app, |gallery| gallery.samples(template))
    }

    async fn count(&self, app: &AppId) -> Result<usize, StoreError> {
        self.gallery(app, |gallery| gallery.templates.len())
    }

    async fn add_sample(
        &self,
        app: &AppId,
        template: &TemplateId,
        sample: &EnrolledSample,
    ) -> Result<Option<Revision>, InsertError> {
        let added = self.gallery(app, |gallery| {
            gallery.templates.get_mut(template)?.push(sample.clone());
            Some(gallery.changed(template))
        });
        Ok(added?)
    }

    async fn remove(
        &self,
        app: &AppId,
        template: &TemplateId,
        _: ErasureReason,
    ) -> Result<Option<Revision>, StoreError> {
        self.gallery(app, |gallery| {
            gallery.templates.remove(template)?;
            gallery.details.remove(template);
            Some(gallery.changed(template))
        })
    }

    /// Time does not pass: all templates are equally old.
    async fn remove_older(
        &self,
        app: &AppId,
        than: SystemTime,
        limit: usize,
        _: ErasureReason,
    ) -> Result<Vec<(TemplateId, Revision)>, StoreError> {
        self.gallery(app, |gallery| {
            let old: Vec<TemplateId> = gallery.templates.keys().take(limit).cloned().collect();
            let old = old.into_iter().filter(|_| moment() < than);
            old.map(|id| {
                gallery.templates.remove(&id);
                gallery.details.remove(&id);
                let revision = gallery.changed(&id);
                (id, revision)
            })
            .collect()
        })
    }

    async fn get(&self, app: &AppId, template: &TemplateId) -> Result<Option<TemplateRecord>, StoreError> {
        self.gallery(app, |gallery| gallery.templates.get(template).map(|samples| record(template, samples)))
    }

    async fn page(&self, app: &AppId, after: Option<&TemplateId>, limit: usize) -> Result<TemplateList, StoreError> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        let _open = self.gate.read().await;
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.gallery(app, |gallery| {
            let mut range = gallery.templates.range::<TemplateId, _>((start, Bound::Unbounded));
            let templates: Vec<_> = range.by_ref().take(limit).map(|(id, samples)| record(id, samples)).collect();
            let next = range.next().and(templates.last()).map(|last| last.id.clone());
            TemplateList { templates, next }
        })
    }

    async fn load(
        &self,
        app: &AppId,
        _: &ModelTag,
        after: Option<&TemplateId>,
        limit: usize,
    ) -> Result<TemplatePage, StoreError> {
        while self.slow.lock().unwrap().as_ref() == Some(app) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.gallery(app, |gallery| {
            let range = gallery.templates.range::<TemplateId, _>((start, Bound::Unbounded));
            let templates: Vec<_> = range.take(limit).map(|(id, _)| gallery.indexed(id)).collect();
            let next = templates.last().filter(|_| templates.len() == limit).map(|last| last.id.clone());
            TemplatePage { templates, next, unreadable: Vec::new() }
        })
    }

    async fn changes(
        &self,
        app: &AppId,
        _: &ModelTag,
        after: GalleryPosition,
        limit: usize,
    ) -> Result<Changes, StoreError> {
        self.gallery(app, |gallery| {
            let numbered = (1..).map(Revision).zip(&gallery.changes);
            let after = numbered.filter(|(revision, _)| *revision > after.revision).take(limit);
            let changes = after.map(|(revision, id)| Change::new(revision, gallery.indexed(id)));
            Changes::List { changes: changes.collect(), unreadable: Vec::new(), tag: None }
        })
    }

    async fn revisions(&self) -> Result<Vec<(AppId, GalleryPosition)>, StoreError> {
        self.state(|state| {
            state.galleries.iter().map(|(app, gallery)| (app.clone(), gallery.revision.into())).collect()
        })
    }
}

#[async_trait]
impl IdempotencyStore for MemoryStore {
    async fn kept_reply(&self, app: &AppId, key: &IdempotencyKey) -> Result<Option<KeptReply>, StoreError> {
        self.gallery(app, |gallery| gallery.kept(key))
    }

    async fn insert_once(
        &self,
        app: &AppId,
        key: &IdempotencyKey,
        new: &NewTemplate<'_>,
        on_conflict: OnConflict,
        reply: &EnrollmentReply,
    ) -> Result<Executed, InsertError> {
        if let Some(kept) = self.kept_reply(app, key).await? {
            return Ok(Executed::Before(kept));
        }
        let revision = self.enroll(app, new, on_conflict).await?;
        self.gallery(app, |gallery| gallery.keep(key, new.id, revision, reply))?;
        Ok(Executed::Now(revision))
    }

    async fn add_sample_once(
        &self,
        app: &AppId,
        key: &IdempotencyKey,
        template: &TemplateId,
        sample: &EnrolledSample,
        reply: &EnrollmentReply,
    ) -> Result<Option<Executed>, InsertError> {
        if let Some(kept) = self.kept_reply(app, key).await? {
            return Ok(Some(Executed::Before(kept)));
        }
        let Some(revision) = self.add_sample(app, template, sample).await? else { return Ok(None) };
        self.gallery(app, |gallery| gallery.keep(key, template, revision, reply))?;
        Ok(Some(Executed::Now(revision)))
    }

    /// Time does not pass.
    async fn expire_replies(&self, _: usize) -> Result<u64, StoreError> {
        Ok(0)
    }
}

#[async_trait]
impl SampleStore for MemoryStore {
    async fn remove_sample(
        &self,
        app: &AppId,
        template: &TemplateId,
        sample: SampleId,
        _: ErasureReason,
    ) -> Result<Revision, ChangeError> {
        self.gallery(app, |gallery| {
            let samples = gallery.templates.get_mut(template).ok_or(ChangeRefusal::NoTemplate)?;
            let at = samples.iter().position(|known| known.sample.id == sample).ok_or(ChangeRefusal::NoSample)?;
            if samples.len() == 1 {
                return Err(ChangeRefusal::LastSample.into());
            }
            samples.remove(at);
            Ok(gallery.changed(template))
        })?
    }

    async fn move_sample(&self, app: &AppId, change: SampleMove<'_>, _: &ChangedBy) -> Result<Revision, ChangeError> {
        let SampleMove { from, sample, to, remove_empty } = change;
        self.gallery(app, |gallery| {
            gallery.both(from, to)?;
            let samples = gallery.templates.get_mut(from).ok_or(ChangeRefusal::NoTemplate)?;
            let at = samples.iter().position(|known| known.sample.id == sample).ok_or(ChangeRefusal::NoSample)?;
            let is_last = samples.len() == 1;
            if is_last && !remove_empty {
                return Err(ChangeRefusal::LastSample.into());
            }
            let moved = samples.remove(at);
            if is_last {
                gallery.templates.remove(from);
            }
            gallery.templates.get_mut(to).ok_or(ChangeRefusal::NoTarget)?.push(moved);
            Ok(gallery.moved(from, to))
        })?
    }

    async fn merge(&self, app: &AppId, merge: Merge<'_>, _: &ChangedBy) -> Result<Merged, ChangeError> {
        self.gallery(app, |gallery| {
            gallery.both(merge.from, merge.into)?;
            let moved = gallery.templates.remove(merge.from).unwrap_or_default();
            let samples = moved.len() as u64;
            gallery.templates.get_mut(merge.into).ok_or(ChangeRefusal::NoTarget)?.extend(moved);
            Ok(Merged { revision: gallery.moved(merge.from, merge.into), samples })
        })?
    }

    async fn rename(
        &self,
        app: &AppId,
        from: &TemplateId,
        to: &TemplateId,
        _: &ChangedBy,
    ) -> Result<Revision, ChangeError> {
        self.gallery(app, |gallery| {
            match gallery.both(from, to) {
                Err(ChangeRefusal::NoTarget) => {}
                Err(refusal) => return Err(refusal.into()),
                Ok(()) => return Err(ChangeRefusal::TargetExists.into()),
            }
            let samples = gallery.templates.remove(from).unwrap_or_default();
            gallery.templates.insert(to.clone(), samples);
            Ok(gallery.moved(from, to))
        })?
    }

    fn admit(&self, _: u64) -> Result<(), LimitReached> {
        Ok(())
    }

    async fn crop(&self, app: &AppId, template: &TemplateId, sample: SampleId) -> Result<Option<FaceCrop>, StoreError> {
        self.gallery(app, |gallery| {
            let samples = gallery.templates.get(template)?;
            samples.iter().find(|known| known.sample.id == sample)?.crop.clone()
        })
    }

    async fn crop_bytes(&self, app: &AppId) -> Result<u64, StoreError> {
        self.gallery(app, |gallery| {
            let crops = gallery.templates.values().flatten().filter_map(|enrolled| enrolled.crop.as_ref());
            crops.map(|crop| crop.jpeg().len() as u64).sum()
        })
    }

    async fn erase_unkept_crops(&self, _: usize) -> Result<u64, StoreError> {
        self.state(|state| {
            let State { apps, galleries } = state;
            let off = apps.iter().filter(|app| !app.keep_crops).map(|app| &app.id);
            let erased = off.filter_map(|app| {
                let gallery = galleries.get_mut(app)?;
                let crops = gallery.templates.values_mut().flatten().filter_map(|enrolled| enrolled.crop.take());
                Some(crops.count() as u64)
            });
            erased.sum()
        })
    }
}

/// Removed templates leave nothing behind.
#[async_trait]
impl Scrubber for MemoryStore {
    async fn scrub(&self) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn mark_pending(&self) {}

    fn interval(&self) -> Duration {
        Duration::from_secs(1)
    }
}

/// This store seals nothing.
#[async_trait]
impl KeyStore for MemoryStore {
    fn has(&self, _: KeyId) -> bool {
        true
    }

    fn reload(&self) -> Result<usize, StoreError> {
        Ok(1)
    }

    async fn status(&self) -> Result<KeyStatus, StoreError> {
        Ok(KeyStatus { active: "00000000".parse().unwrap(), given: Vec::new(), in_use: Vec::new() })
    }

    async fn activate(&self, _: KeyId) -> Result<(), StoreError> {
        Ok(())
    }

    async fn reseal(&self, _: Option<SampleCursor>) -> Result<Resealed, StoreError> {
        Ok(Resealed { count: 0, next: None })
    }
}

#[async_trait]
impl WriteProbe for MemoryStore {
    async fn probe(&self) -> Result<(), StoreError> {
        self.state(|_| ())
    }
}

/// A sample as a command enrolls it.
pub fn enrolled(sample: Sample) -> EnrolledSample {
    EnrolledSample::by_command(sample)
}

/// Options that create the database where needed.
pub fn open_options(database: DatabaseConfig, key: KeySource) -> OpenOptions {
    OpenOptions {
        mode: OpenMode::Create,
        database,
        key,
        connections: 4,
        timeout: Duration::from_secs(10),
        samples_per_template: 32,
        clock: Clock::system(),
    }
}

/// It has no connections.
impl PoolGauge for MemoryStore {
    fn pool_usage(&self) -> PoolUsage {
        PoolUsage::default()
    }
}

/// No other node writes to it.
#[async_trait]
impl HintStore for MemoryStore {
    async fn changed(&self) -> Result<(), StoreError> {
        std::future::pending().await
    }
}

/// It has no events.
#[async_trait]
impl OutboxStore for MemoryStore {
    fn register_node(&self, _: Uuid) {}

    async fn enqueue(&self, _: &OutboxEvent) -> Result<(), StoreError> {
        Ok(())
    }

    async fn claim(&self, _: Uuid, _: Duration, _: usize) -> Result<Claim, StoreError> {
        Ok(Claim { id: Uuid::nil(), events: Vec::new() })
    }

    async fn contains(&self, _: Uuid) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn ack(&self, _: Uuid) -> Result<(), StoreError> {
        Ok(())
    }

    async fn expire(&self, _: Duration) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn backlog(&self) -> Result<OutboxBacklog, StoreError> {
        Ok(OutboxBacklog::default())
    }

    async fn journal_positions(&self) -> Result<Vec<NodePosition>, StoreError> {
        Ok(Vec::new())
    }

    async fn record_position(&self, _: &NodePosition) -> Result<(), StoreError> {
        Ok(())
    }
}

/// This store has no backups.
#[async_trait]
impl BackupStore for MemoryStore {
    async fn read_all(&self, _: &mut dyn BackupSink) -> Result<RowCounts, BackupError> {
        Err(BackupError::Stopped)
    }

    async fn write_all(&self, _: &mut dyn RecordSource) -> Result<RowCounts, BackupError> {
        Err(BackupError::Stopped)
    }
}

/// Nothing expires in this store.
#[async_trait]
impl RetentionStore for MemoryStore {
    async fn read_clock(&self) -> Result<ClockReading, StoreError> {
        self.state(|_| ClockReading { now: SystemTime::now(), is_servers: false, seen: None, confirmed: None })
    }

    async fn record_clock(&self, _: SystemTime) -> Result<(), StoreError> {
        Ok(())
    }

    async fn confirm_clock(&self) -> Result<ClockReading, StoreError> {
        self.read_clock().await
    }

    async fn expire(&self, _: &AppId, _: usize) -> Result<Expired, StoreError> {
        Ok(Expired::default())
    }

    async fn due_by_expiry(&self) -> Result<Vec<AppId>, StoreError> {
        Ok(Vec::new())
    }

    async fn retentions(&self) -> Result<Vec<RetentionRecord>, StoreError> {
        Ok(Vec::new())
    }

    async fn confirm_expiry(&self, _: &AppId) -> Result<Option<Hold>, StoreError> {
        Ok(None)
    }

    async fn set_expiry_share(&self, _: &AppId, _: Option<u64>) -> Result<bool, StoreError> {
        Ok(true)
    }
}

/// This store keeps no snapshots.
#[async_trait]
impl SnapshotStore for MemoryStore {
    async fn register(&self, _: &AppId, _: SnapshotId) -> Result<(Key, Revision), StoreError> {
        Err(StoreError::NoSuchApp)
    }

    async fn key(&self, _: &AppId, _: SnapshotId) -> Result<Option<Key>, StoreError> {
        Ok(None)
    }

    async fn discard(&self, _: &AppId, _: SnapshotId) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The millisecond of a time.
fn millis(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// People, plainly: the reference for pages of the real databases, too.
#[async_trait]
impl PeopleStore for MemoryStore {
    async fn enroll(
        &self,
        app: &AppId,
        new: &NewTemplate<'_>,
        on_conflict: OnConflict,
    ) -> Result<Revision, InsertError> {
        let _open = self.gate.read().await;
        self.gallery(app, |gallery| {
            if gallery.owner(new.details).is_some_and(|owner| owner != *new.id) {
                return Err(Refusal::ExternalIdTaken.into());
            }
            let revision = gallery.put(new.id, new.samples.to_vec(), on_conflict)?;
            gallery.details.insert(new.id.clone(), new.details.clone());
            Ok(revision)
        })?
    }

    async fn update(
        &self,
        app: &AppId,
        template: &TemplateId,
        patch: &DetailsPatch,
        expected: Option<Revision>,
    ) -> Result<Revision, UpdateError> {
        self.gallery(app, |gallery| {
            if !gallery.templates.contains_key(template) {
                return Err(UpdateError::NotFound);
            }
            let revision = gallery.revisions.get(template).copied().unwrap_or_default();
            if expected.is_some_and(|expected| expected != revision) {
                return Err(UpdateError::Changed);
            }
            let before = gallery.details.get(template).cloned().unwrap_or_default();
            let after = patch.apply(&before)?;
            if after == before {
                return Ok(revision);
            }
            if gallery.owner(&after).is_some_and(|owner| owner != *template) {
                return Err(UpdateError::ExternalIdTaken);
            }
            gallery.details.insert(template.clone(), after);
            Ok(gallery.changed(template))
        })?
    }

    async fn erase(
        &self,
        app: &AppId,
        template: &TemplateId,
        _: &ErasureReason,
        expected: Option<Revision>,
        samples: Option<u64>,
    ) -> Result<ErasedPerson, EraseError> {
        self.gallery(app, |gallery| {
            let stored = gallery.templates.get(template).ok_or(EraseError::NotFound)?.len() as u64;
            if expected.is_some_and(|expected| gallery.revisions.get(template) != Some(&expected)) {
                return Err(EraseError::Changed);
            }
            if samples.is_some_and(|samples| samples != stored) {
                return Err(EraseError::CountDiffers(stored));
            }
            gallery.templates.remove(template);
            gallery.details.remove(template);
            Ok(ErasedPerson { erasure: Uuid::new_v4(), revision: gallery.changed(template), samples: stored })
        })?
    }

    async fn people(&self, app: &AppId, ids: &[TemplateId]) -> Result<Vec<PersonRecord>, StoreError> {
        self.gallery(app, |gallery| ids.iter().filter_map(|id| gallery.person(id)).collect())
    }

    async fn noted(&self, app: &AppId, ids: &[TemplateId]) -> Result<NotedPage, StoreError> {
        let people = self.people(app, ids).await?.into_iter().filter(|person| !person.details.is_empty());
        let people = people.map(|person| NotedPerson {
            id: person.template.id,
            created_at: person.template.created_at,
            updated_at: person.updated_at,
            details: person.details,
        });
        Ok(NotedPage { people: people.collect(), next: None, unreadable: 0 })
    }

    async fn noted_page(&self, app: &AppId, after: Option<&TemplateId>, _: usize) -> Result<NotedPage, StoreError> {
        let ids: Vec<TemplateId> = self.gallery(app, |gallery| gallery.templates.keys().cloned().collect())?;
        let ids: Vec<TemplateId> = ids.into_iter().filter(|id| Some(id) > after).collect();
        self.noted(app, &ids).await
    }

    async fn by_external_id(&self, app: &AppId, external_id: &str) -> Result<Option<TemplateId>, StoreError> {
        let details = Details { external_id: Some(external_id.to_owned()), ..Details::default() };
        self.gallery(app, |gallery| gallery.owner(&details))
    }

    async fn list(&self, app: &AppId, query: &ListQuery) -> Result<Vec<ListEntry>, StoreError> {
        let mut entries = self.matching(app, &query.filter)?;
        let place = |entry: &ListEntry| (entry.key(query.order), entry.id.clone());
        entries.sort_by_key(place);
        if query.descending {
            entries.reverse();
        }
        let is_after = |entry: &ListEntry| {
            query
                .after
                .as_ref()
                .is_none_or(|after| if query.descending { place(entry) < *after } else { place(entry) > *after })
        };
        Ok(entries.into_iter().filter(is_after).take(query.limit).collect())
    }

    async fn count_matching(&self, app: &AppId, filter: &ListFilter, limit: usize) -> Result<usize, StoreError> {
        Ok(self.matching(app, filter)?.len().min(limit))
    }

    async fn total(&self, app: &AppId) -> Result<u64, StoreError> {
        self.gallery(app, |gallery| gallery.templates.len() as u64)
    }
}

impl MemoryStore {
    fn matching(&self, app: &AppId, filter: &ListFilter) -> Result<Vec<ListEntry>, StoreError> {
        self.gallery(app, |gallery| {
            let people = gallery.templates.keys().filter_map(|id| gallery.person(id));
            let matching = people.filter(|person| {
                person.template.id.as_str().starts_with(&filter.prefix)
                    && filter.created_from.is_none_or(|from| millis(person.template.created_at) >= millis(from))
                    && filter.created_to.is_none_or(|to| millis(person.template.created_at) < millis(to))
                    && !(filter.unnamed && person.details.name.is_some())
            });
            matching
                .map(|person| ListEntry {
                    id: person.template.id,
                    created_at: person.template.created_at,
                    updated_at: person.updated_at,
                })
                .collect()
        })
    }
}

impl Gallery {
    /// The template that has the external id of some details.
    fn owner(&self, details: &Details) -> Option<TemplateId> {
        let external_id = details.external_id.as_ref()?;
        let owner = self
            .details
            .iter()
            .find(|(id, known)| known.external_id.as_ref() == Some(external_id) && self.templates.contains_key(*id));
        owner.map(|(id, _)| id.clone())
    }

    fn person(&self, id: &TemplateId) -> Option<PersonRecord> {
        Some(PersonRecord {
            template: record(id, self.templates.get(id)?),
            updated_at: moment(),
            revision: self.revisions.get(id).copied().unwrap_or_default(),
            details: self.details.get(id).cloned().unwrap_or_default(),
            unreadable: false,
        })
    }
}
