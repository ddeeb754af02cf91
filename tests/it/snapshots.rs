//! Snapshots are a shortcut, never the truth. To see where a gallery was loaded from, the tests delete its samples past the
//! store: loaded from the database it is then empty, loaded from its snapshot it is not.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use semblance::compute::PoolConfig;
use semblance::domain::{AppId, Calibration, Embedding, ModelTag, SampleId, TemplateId, TestClock};
use semblance::gallery::{IndexedTemplate, Matcher, MatcherFeed, MemoryMatcher, Sample, brute_force};
use semblance::service::{Policy, Service, SnapshotConfig};
use semblance::store::{DatabaseConfig, ErasureReason, Key, KeySource, OnConflict, OpenOptions, Store, open};

use crate::support::{ScriptedEngine, open_options, shipped_limits};

pub(crate) const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// The database and the snapshots of a test.
pub(crate) struct Fixture {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) postgres: Option<String>,
    /// Moves the clock of all nodes.
    pub(crate) time: TestClock,
}

/// A node that has just started.
pub(crate) struct Node {
    pub(crate) service: Service,
    pub(crate) matcher: Arc<MemoryMatcher>,
    pub(crate) store: Store,
}

/// A snapshot key that cannot be opened does not prevent reading the rows.
async fn a_snapshot_with_a_damaged_key_is_ignored(fixture: Fixture) {
    let node = fixture.start().await;
    let app = node.new_app().await;
    node.fill(&app, 0..20).await;
    node.save().await;
    fixture.tamper("UPDATE snapshots SET sealed_key = substr(sealed_key, 1, 20)").await;
    node.save().await;
    node.check(&app, &(0..20).collect::<Vec<_>>()).await;
    fixture.tamper("UPDATE snapshots SET sealed_key = substr(sealed_key, 1, 20)").await;
    drop(node);
    let node = fixture.start().await;
    node.check(&app, &(0..20).collect::<Vec<_>>()).await;
}

/// There are more changes since the snapshot than the log keeps: it would be loaded, found too old, and loaded again.
async fn a_snapshot_older_than_the_change_log_is_ignored(fixture: Fixture) {
    let node = fixture.start().await;
    let app = node.new_app().await;
    node.fill(&app, 0..30).await;
    node.save().await;
    let more: Vec<IndexedTemplate> = (30..60).map(template).collect();
    node.store.templates.insert_all(&app, &more, OnConflict::Refuse).await.unwrap();
    drop(node);
    fixture.tamper("DELETE FROM changes WHERE revision <= 50").await;
    let node = tokio::time::timeout(Duration::from_secs(20), fixture.start()).await.expect("the start does not end");
    node.check(&app, &(0..60).collect::<Vec<_>>()).await;
}

macro_rules! on_both_databases {
    ($($name:ident)*) => {
        mod sqlite { $( #[tokio::test(flavor = "multi_thread")] async fn $name() {
            super::$name(super::Fixture::new(None)).await
        } )* }
        mod postgres { $( #[tokio::test(flavor = "multi_thread")] async fn $name() {
            if let Some(url) = crate::support::postgres::fresh_database().await {
                super::$name(super::Fixture::new(Some(url))).await
            }
        } )* }
    };
}

pub(crate) use on_both_databases;

on_both_databases! {
    a_start_reads_the_snapshot_and_catches_up
    a_removal_invalidates_the_snapshot
    a_snapshot_older_than_the_change_log_is_ignored
    a_damaged_snapshot_is_ignored
    a_snapshot_of_another_gallery_is_ignored
    a_snapshot_with_a_damaged_key_is_ignored
    a_small_gallery_has_no_snapshot
    snapshots_of_deleted_applications_are_removed
}

impl Fixture {
    pub(crate) fn new(postgres: Option<String>) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), postgres, time: TestClock::new() }
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.dir.path().join("snapshots")
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.snapshots()).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    fn file(&self) -> PathBuf {
        let files = self.files();
        assert_eq!(files.len(), 1, "{files:?}");
        files.into_iter().next().unwrap()
    }

    async fn start_with(&self, least: usize) -> Node {
        self.start_given(least, KEY).await
    }

    /// Starts a node with these keys.
    pub(crate) async fn start_given(&self, least: usize, keys: &str) -> Node {
        self.start_of(least, KeySource::Given(Key::all_from_text(keys).unwrap())).await
    }

    /// Starts a node with keys from a source.
    pub(crate) async fn start_of(&self, least: usize, key: KeySource) -> Node {
        let database = match &self.postgres {
            Some(url) => DatabaseConfig::Postgres { url: url.clone().into(), password_file: None },
            None => DatabaseConfig::Sqlite(self.dir.path().join("test.db")),
        };
        let options = OpenOptions { clock: self.time.clock(), ..open_options(database, key) };
        let store = open(&options).await.unwrap();
        let pool = PoolConfig { name: "search", threads: 1, queue: 64, deadline: Duration::from_secs(60) };
        let matcher = Arc::new(MemoryMatcher::new(pool));
        let service = self.service(least, &store, &matcher, matcher.clone());
        service.replicator().poll().await.unwrap();
        Node { service, matcher, store }
    }

    /// A service whose index is fed through `feed`.
    pub(crate) fn service(
        &self,
        least: usize,
        store: &Store,
        matcher: &Arc<MemoryMatcher>,
        feed: Arc<dyn MatcherFeed>,
    ) -> Service {
        let policy = Policy {
            calibration: Calibration::Cosine,
            threshold: 0.5,
            limits: shipped_limits(),
            refuse_failed_checks: false,
            attributes: true,
            max_candidates: 5,
            max_stale: Some(Duration::from_secs(900)),
        };
        let snapshots = SnapshotConfig { dir: self.snapshots(), min_templates: least };
        let engine = ScriptedEngine::new();
        let clock = self.time.clock();
        Service::new(engine, matcher.clone(), feed, store.clone(), Some(snapshots), policy, clock)
    }

    pub(crate) async fn start(&self) -> Node {
        self.start_with(1).await
    }

    /// Runs a statement past the store.
    pub(crate) async fn tamper(&self, sql: &str) {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        match &self.postgres {
            None => {
                let url = format!("sqlite://{}", self.dir.path().join("test.db").display());
                let mut connection = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.unwrap();
                sqlx::query(sql).execute(&mut connection).await.unwrap();
            }
            Some(url) => {
                let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(url).await.unwrap();
                sqlx::query(sql).execute(&mut connection).await.unwrap();
            }
        }
    }
}

impl Node {
    pub(crate) async fn new_app(&self) -> AppId {
        let app = self.service.applications().create("test").await.unwrap().app_id;
        self.service.replicator().poll().await.unwrap();
        app
    }

    pub(crate) async fn fill(&self, app: &AppId, numbers: std::ops::Range<u32>) {
        let templates: Vec<IndexedTemplate> = numbers.map(template).collect();
        self.store.templates.insert_all(app, &templates, OnConflict::Refuse).await.unwrap();
        self.service.replicator().poll().await.unwrap();
    }

    pub(crate) async fn remove(&self, app: &AppId, number: u32) {
        self.store.templates.remove(app, &id(number), ErasureReason::IMPORT).await.unwrap().unwrap();
        self.service.replicator().poll().await.unwrap();
    }

    pub(crate) async fn save(&self) {
        self.service.replicator().save_snapshots().await.unwrap();
    }

    pub(crate) fn count(&self, app: &AppId) -> usize {
        self.matcher.size(app).templates
    }

    /// Searches return what brute force returns for these.
    pub(crate) async fn check(&self, app: &AppId, numbers: &[u32]) {
        let truth: Vec<IndexedTemplate> = numbers.iter().map(|n| template(*n)).collect();
        for probe in [3, 77, 1234, 99_999].map(embedding) {
            let ranked = self.matcher.top_k(app, &probe, 4).await.unwrap();
            let expected = brute_force::top_k(&truth, &probe, 4);
            let names = |hits: &[semblance::gallery::Hit]| {
                hits.iter().map(|hit| (hit.template.to_string(), hit.cosine.get().to_bits())).collect::<Vec<_>>()
            };
            assert_eq!(names(&ranked.hits), names(&expected));
        }
    }
}

pub(crate) fn id(number: u32) -> TemplateId {
    format!("person {number}").parse().unwrap()
}

pub(crate) fn embedding(seed: u32) -> Embedding {
    let raw: Vec<f32> = (0..128).map(|n| ((seed * 131 + n * n) as f32 * 0.37).sin()).collect();
    Embedding::new(&raw, ModelTag::new("scripted")).unwrap()
}

/// A template with one sample; every seventh has three.
pub(crate) fn template(number: u32) -> IndexedTemplate {
    let sample = |n: u32| Sample {
        id: SampleId(uuid::Uuid::from_u128(u128::from(number) * 8 + u128::from(n))),
        embedding: embedding(number + 1_000_000 * n),
    };
    IndexedTemplate { id: id(number), samples: (0..if number.is_multiple_of(7) { 3 } else { 1 }).map(sample).collect() }
}

async fn a_start_reads_the_snapshot_and_catches_up(fixture: Fixture) {
    let node = fixture.start().await;
    let app = node.new_app().await;
    // More than one segment, some with codes.
    node.fill(&app, 0..2600).await;
    node.save().await;
    let written = std::fs::read(fixture.file()).unwrap();
    node.save().await;
    assert_eq!(std::fs::read(fixture.file()).unwrap(), written, "what is not outdated is not written again");
    for number in [7, 100] {
        let plain: Vec<u8> = embedding(number).values().iter().flat_map(|v| v.to_le_bytes()).collect();
        assert!(!written.windows(16).any(|bytes| bytes == &plain[..16]), "an embedding lies open in the snapshot");
    }
    assert!(!written.windows(9).any(|bytes| bytes == b"person 10"), "an id lies open in the snapshot");
    node.fill(&app, 2600..2700).await;
    drop(node);

    let node = fixture.start().await;
    let all: Vec<u32> = (0..2700).collect();
    node.check(&app, &all).await;
    drop(node);

    fixture.tamper("DELETE FROM samples").await;
    let node = fixture.start().await;
    assert_eq!(node.count(&app), 2600, "of what came after the snapshot, the database holds nothing");
    let kept: Vec<u32> = (0..2600).collect();
    node.check(&app, &kept).await;
    node.remove(&app, 7).await;
    assert_eq!(node.count(&app), 2599);
    let kept: Vec<u32> = kept.into_iter().filter(|n| *n != 7).collect();
    node.check(&app, &kept).await;
}

async fn a_removal_invalidates_the_snapshot(fixture: Fixture) {
    for replaced in [false, true] {
        let node = fixture.start().await;
        let app = node.new_app().await;
        node.fill(&app, 0..50).await;
        node.save().await;
        if replaced {
            node.store
                .templates
                .insert_all(&app, &[template(3)], OnConflict::Replace(ErasureReason::IMPORT))
                .await
                .unwrap();
        } else {
            node.store.templates.remove(&app, &id(3), ErasureReason::IMPORT).await.unwrap();
        }
        drop(node);
        let node = fixture.start().await;
        assert_eq!(node.count(&app), if replaced { 50 } else { 49 });
        drop(node);
        fixture.tamper("DELETE FROM samples").await;
        let node = fixture.start().await;
        assert_eq!(node.count(&app), 0, "a snapshot with a removed template was opened");
        // Removed by another node before this one polls. A snapshot that is saved then does not contain it.
        node.fill(&app, 100..150).await;
        node.store.templates.remove(&app, &id(103), ErasureReason::IMPORT).await.unwrap();
        node.save().await;
        drop(node);
        fixture.tamper("DELETE FROM samples").await;
        let node = fixture.start().await;
        assert_eq!(node.count(&app), 49);
        node.service.applications().delete(&app, &*node.store.templates).await.unwrap();
    }
}

async fn a_damaged_snapshot_is_ignored(fixture: Fixture) {
    let node = fixture.start().await;
    let app = node.new_app().await;
    node.fill(&app, 0..60).await;
    node.save().await;
    drop(node);
    let file = fixture.file();
    let whole = std::fs::read(&file).unwrap();
    let all: Vec<u32> = (0..60).collect();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        bytes
    };
    let wrong: Vec<Vec<u8>> = [0, 7, 8, 11, 14, 40, 200, whole.len() / 2, whole.len() - 1]
        .map(flipped)
        .into_iter()
        .chain([0, 5, 12, 100, whole.len() / 2, whole.len() - 1].map(|length| whole[..length].to_vec()))
        .collect();
    for bytes in wrong {
        std::fs::write(&file, bytes).unwrap();
        let node = fixture.start().await;
        node.check(&app, &all).await;
    }
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    fixture.start().await.check(&app, &all).await;
}

async fn a_snapshot_of_another_gallery_is_ignored(fixture: Fixture) {
    let node = fixture.start().await;
    let one = node.new_app().await;
    let two = node.new_app().await;
    node.fill(&one, 0..40).await;
    node.save().await;
    let file = fixture.file();
    node.fill(&two, 40..80).await;
    node.save().await;
    let other: Vec<PathBuf> = fixture.files().into_iter().filter(|path| *path != file).collect();
    exchange(&file, &other[0]);
    drop(node);
    let node = fixture.start().await;
    node.check(&one, &(0..40).collect::<Vec<_>>()).await;
    node.check(&two, &(40..80).collect::<Vec<_>>()).await;
}

fn exchange(a: &Path, b: &Path) {
    let left = std::fs::read(a).unwrap();
    let right = std::fs::read(b).unwrap();
    std::fs::write(a, right).unwrap();
    std::fs::write(b, left).unwrap();
}

async fn a_small_gallery_has_no_snapshot(fixture: Fixture) {
    let node = fixture.start_with(31).await;
    let app = node.new_app().await;
    node.fill(&app, 0..30).await;
    node.save().await;
    assert!(fixture.files().is_empty());
    node.fill(&app, 30..31).await;
    node.save().await;
    assert_eq!(fixture.files().len(), 1);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&fixture.snapshots()), mode(&fixture.file())), (0o700, 0o600));
    }
}

async fn snapshots_of_deleted_applications_are_removed(fixture: Fixture) {
    let node = fixture.start().await;
    let kept = node.new_app().await;
    let gone = node.new_app().await;
    node.fill(&kept, 0..5).await;
    node.fill(&gone, 0..5).await;
    node.save().await;
    assert_eq!(fixture.files().len(), 2);
    // The file that a kill during a write leaves.
    for file in fixture.files() {
        std::fs::write(file.with_extension("part"), b"half").unwrap();
    }
    node.service.applications().delete(&gone, &*node.store.templates).await.unwrap();
    node.service.replicator().poll().await.unwrap();
    node.save().await;
    let (stem, kept) = (|path: &PathBuf| path.file_stem().unwrap().to_owned(), fixture.files());
    assert_eq!(kept.len(), 2);
    assert_eq!(stem(&kept[0]), stem(&kept[1]), "{kept:?}");
}
