//! The conformance suite of the store's traits, run on every database.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::{enrolled, open_options};
use semblance::domain::{
    AppId, AppKeyId, Embedding, EnrollRules, Guard, KeySwitch, ModelTag, Quota, Revision, SampleId, Scopes, TemplateId,
    TestClock,
};
use semblance::gallery::{IndexedTemplate, Sample};
use semblance::store::{
    AppKeyRecord, AppRecord, Changes, DatabaseConfig, ErasureReason, InsertError, Key, KeyFile, KeyHash, KeyId,
    KeySource, OnConflict, OpenError, OpenOptions, Refusal, SampleFault, SnapshotId, Store, StoreError, open,
};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

const NEW_KEY: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";

fn key_id(key: &str) -> KeyId {
    Key::from_text(key).unwrap().id()
}

/// Reseals everything under the active key. Returns how much was sealed under another.
async fn reseal_all(store: &Store) -> u64 {
    let mut count = 0;
    let mut after = None;
    loop {
        let batch = store.keys.reseal(after).await.unwrap();
        count += batch.count;
        after = batch.next;
        if after.is_none() {
            return count;
        }
    }
}

/// The database and the clock of a test.
struct Fixture {
    database: DatabaseConfig,
    time: TestClock,
    _dir: tempfile::TempDir,
}

impl Fixture {
    fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = DatabaseConfig::Sqlite(dir.path().join("test.db"));
        Self { database, time: TestClock::new(), _dir: dir }
    }

    async fn postgres() -> Option<Self> {
        let url = crate::support::postgres::fresh_database().await?;
        let database = DatabaseConfig::Postgres { url: url.into(), password_file: None };
        Some(Self { database, time: TestClock::new(), _dir: tempfile::tempdir().unwrap() })
    }

    async fn try_open(&self, key: &str) -> Result<Store, OpenError> {
        self.open_with(KeySource::Given(Key::all_from_text(key).unwrap())).await
    }

    async fn open_with(&self, key: KeySource) -> Result<Store, OpenError> {
        open(&self.options(key)).await
    }

    /// Opens it with another limit of samples per template.
    async fn open_limited(&self, samples_per_template: u64) -> Store {
        let key = KeySource::Given(Key::all_from_text(KEY).unwrap());
        open(&OpenOptions { samples_per_template, ..self.options(key) }).await.unwrap()
    }

    fn options(&self, key: KeySource) -> OpenOptions {
        OpenOptions { clock: self.time.clock(), ..open_options(self.database.clone(), key) }
    }

    async fn open(&self) -> Store {
        self.try_open(KEY).await.unwrap()
    }

    /// A number that is read past the store.
    async fn number(&self, sql: &str) -> Option<i64> {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        match &self.database {
            DatabaseConfig::Sqlite(path) => {
                let url = format!("sqlite://{}", path.display());
                let mut connection = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.unwrap();
                sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
            }
            DatabaseConfig::Postgres { url, .. } => {
                let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(url).await.unwrap();
                sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
            }
        }
    }

    /// Runs a statement past the store.
    async fn tamper(&self, sql: &str) {
        let sql = || sqlx::AssertSqlSafe(sql.to_owned());
        match &self.database {
            DatabaseConfig::Sqlite(path) => {
                let url = format!("sqlite://{}", path.display());
                let mut connection = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.unwrap();
                sqlx::query(sql()).execute(&mut connection).await.unwrap();
            }
            DatabaseConfig::Postgres { url, .. } => {
                let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(url).await.unwrap();
                sqlx::query(sql()).execute(&mut connection).await.unwrap();
            }
        }
    }
}

macro_rules! conformance {
    ($($name:ident)*) => {
        mod sqlite { $( #[tokio::test] async fn $name() { super::$name(super::Fixture::sqlite()).await } )* }
        mod postgres { $( #[tokio::test] async fn $name() {
            if let Some(fixture) = super::Fixture::postgres().await { super::$name(fixture).await }
        } )* }
    };
}

mod administrators;
mod app_keys;
mod backup;
mod conflicts;
mod idempotency;
mod limits;
mod outbox;
mod pages;
mod people;
mod review;
mod samples;

conformance! {
    applications_are_created_listed_and_deleted
    remove_older_removes_the_oldest_first_each_with_a_revision
    an_existing_template_is_not_overwritten
    replacing_removes_every_old_sample
    insert_all_inserts_several_templates
    concurrent_first_runs_create_one_application
    attributes_are_set_per_application
    enrollment_rules_are_set_per_application
    insert_all_extends_templates_with_samples
    a_removal_deletes_the_snapshot_keys_of_its_gallery
    add_sample_needs_an_existing_template
    second_remove_returns_none
    an_unknown_application_is_refused
    applications_are_isolated
    pages_come_in_byte_order
    load_returns_one_model_in_pages
    changes_carry_the_current_state
    changes_are_paged_without_gaps
    changes_older_than_the_log_are_too_old
    concurrent_inserts_of_one_id_succeed_once
    concurrent_writers_leave_no_gaps
    everything_survives_reopening
    a_wrong_key_is_refused
    a_moved_row_does_not_open
    rows_without_data_keys_open
    a_newer_schema_is_refused
    two_processes_open_an_empty_database_at_once
    deleting_an_application_deletes_its_gallery
    a_new_sealing_key_reseals_everything
    a_new_sealing_key_is_activated_under_load
    an_interrupted_rotation_needs_both_keys
    a_node_reloads_its_key_file
    a_node_without_the_active_key_refuses_writes
    writes_of_other_nodes_are_notified
}

fn app(name: &str) -> AppId {
    name.parse().unwrap()
}

fn id(text: &str) -> TemplateId {
    text.parse().unwrap()
}

fn model() -> ModelTag {
    ModelTag::new("test-model")
}

fn sample_of(seed: u32, model: ModelTag) -> Sample {
    let raw: Vec<f32> = (0..128).map(|n| ((seed * 131 + n) as f32).sin()).collect();
    Sample { id: SampleId::random(), embedding: Embedding::new(&raw, model).unwrap() }
}

fn sample(seed: u32) -> Sample {
    sample_of(seed, model())
}

fn key(byte: u8) -> AppKeyRecord {
    AppKeyRecord {
        id: AppKeyId::random(),
        name: "first".to_owned(),
        hash: KeyHash([byte; 32]),
        hint: Some("3f9a".to_owned()),
        scopes: Scopes::ALL,
        switch: KeySwitch::Active,
        created_at: UNIX_EPOCH + Duration::from_millis(1_234_567),
        created_by: Some("command".to_owned()),
        last_used_at: None,
        ends_at: None,
        expires_at: None,
    }
}

fn record(name: &str) -> AppRecord {
    let created_at = UNIX_EPOCH + Duration::from_millis(1_234_567);
    AppRecord { keys: vec![key(7)], ..AppRecord::new(app(name), &format!("the {name}"), created_at) }
}

async fn with_app(store: &Store, name: &str) -> AppId {
    let record = record(name);
    assert!(store.apps.create(&record).await.unwrap());
    record.id
}

async fn insert(store: &Store, app: &AppId, template: &str, sample: &Sample) -> Result<Revision, InsertError> {
    store.templates.insert(app, &id(template), &enrolled(sample.clone()), OnConflict::Refuse).await
}

async fn all(store: &Store, app: &AppId) -> Vec<IndexedTemplate> {
    store.templates.load(app, &model(), None, 10_000).await.unwrap().templates
}

async fn revision(store: &Store, app: &AppId) -> Revision {
    store.templates.revisions().await.unwrap().into_iter().find(|(found, _)| found == app).unwrap().1.revision
}

async fn applications_are_created_listed_and_deleted(fixture: Fixture) {
    let store = fixture.open().await;
    let first = with_app(&store, "one").await;
    let listed = store.apps.list().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].name.as_str(), listed[0].keys[0].hash), ("the one", KeyHash([7; 32])));
    assert_eq!(listed[0].created_at, UNIX_EPOCH + Duration::from_millis(1_234_567));
    assert!(!store.apps.create(&listed[0]).await.unwrap(), "the id is taken");
    let now = || async { store.apps.list().await.unwrap().remove(0) };
    assert!(store.apps.set_retention(&first, Some(Duration::from_secs(90))).await.unwrap());
    assert_eq!(now().await.retention, Some(Duration::from_secs(90)));
    assert!(store.apps.set_retention(&first, None).await.unwrap());
    assert_eq!(now().await.retention, None);
    assert!(store.apps.delete(&first).await.unwrap());
    assert!(!store.apps.delete(&first).await.unwrap());
    assert!(!store.apps.set_retention(&first, None).await.unwrap());
    assert_eq!(store.apps.list().await.unwrap(), []);
}

async fn remove_older_removes_the_oldest_first_each_with_a_revision(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let b = with_app(&store, "b").await;
    for (seed, template) in ["x", "y", "z"].into_iter().enumerate() {
        insert(&store, &a, template, &sample(seed as u32)).await.unwrap();
        insert(&store, &b, template, &sample(seed as u32)).await.unwrap();
        fixture.time.advance(Duration::from_secs(1));
    }
    let enrolled = |template| {
        let store = store.clone();
        let a = a.clone();
        async move { store.templates.get(&a, &id(template)).await.unwrap().unwrap().created_at }
    };
    let first = enrolled("x").await;
    let last = enrolled("z").await;
    assert_eq!(
        store.templates.remove_older(&a, first, 10, ErasureReason::RETENTION).await.unwrap(),
        [],
        "none is older than itself"
    );
    assert_eq!(revision(&store, &a).await, Revision(3));
    let one = store.templates.remove_older(&a, last, 1, ErasureReason::RETENTION).await.unwrap();
    assert_eq!(one, [(id("x"), Revision(4))]);
    let rest =
        store.templates.remove_older(&a, last + Duration::from_secs(1), 10, ErasureReason::RETENTION).await.unwrap();
    assert_eq!(rest, [(id("y"), Revision(5)), (id("z"), Revision(6))]);
    assert_eq!(revision(&store, &a).await, Revision(6));
    assert_eq!(all(&store, &a).await, []);
    assert_eq!(all(&store, &b).await.len(), 3, "another application keeps its own");
    let Changes::List { changes, .. } = store.templates.changes(&a, &model(), Revision(3).into(), 10).await.unwrap()
    else {
        panic!()
    };
    assert_eq!(
        changes.iter().map(|c| (c.template.id.as_str(), c.template.samples.len())).collect::<Vec<_>>(),
        [("x", 0), ("y", 0), ("z", 0)]
    );
}

async fn an_existing_template_is_not_overwritten(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let first = sample(1);
    assert_eq!(insert(&store, &a, "x", &first).await.unwrap(), Revision(1));
    assert!(matches!(insert(&store, &a, "x", &sample(2)).await, Err(InsertError::Refused(Refusal::Exists))));
    assert_eq!(revision(&store, &a).await, Revision(1), "a refused insert gives its revision back");
    assert_eq!(all(&store, &a).await, [IndexedTemplate { id: id("x"), samples: vec![first.clone()] }]);
    let record = store.templates.get(&a, &id("x")).await.unwrap().unwrap();
    assert_eq!((record.id, record.samples.len(), &record.samples[0].model), (id("x"), 1, &model()));
    assert_eq!(record.samples[0].id, first.id);
    let age = SystemTime::now().duration_since(record.created_at).unwrap();
    assert!(age < Duration::from_secs(60), "{age:?}");
    assert_eq!(store.templates.get(&a, &id("y")).await.unwrap(), None);
}

async fn replacing_removes_every_old_sample(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    insert(&store, &a, "x", &sample(1)).await.unwrap();
    store.templates.add_sample(&a, &id("x"), &enrolled(sample(2))).await.unwrap().unwrap();
    let new = sample(3);
    assert_eq!(
        store
            .templates
            .insert(&a, &id("x"), &enrolled(new.clone()), OnConflict::Replace(ErasureReason::IMPORT))
            .await
            .unwrap(),
        Revision(3)
    );
    assert_eq!(all(&store, &a).await, [IndexedTemplate { id: id("x"), samples: vec![new] }]);
    let fresh = store
        .templates
        .insert(&a, &id("y"), &enrolled(sample(4)), OnConflict::Replace(ErasureReason::IMPORT))
        .await
        .unwrap();
    assert_eq!(fresh, Revision(4), "replacing a missing template inserts it");
}

async fn insert_all_inserts_several_templates(fixture: Fixture) {
    let store = fixture.open().await;
    let app = with_app(&store, "one").await;
    insert(&store, &app, "b", &sample(1)).await.unwrap();
    let template = |name: &str, seeds: &[u32]| IndexedTemplate {
        id: id(name),
        samples: seeds.iter().map(|seed| sample(*seed)).collect(),
    };
    let batch = [template("a", &[2, 3]), template("b", &[4]), template("c", &[5])];
    let revisions = store.templates.insert_all(&app, &batch, OnConflict::Refuse).await.unwrap();
    assert_eq!(revisions, [Ok(Revision(2)), Err(Refusal::Exists), Ok(Revision(3))]);
    assert_eq!((revision(&store, &app).await, store.templates.count(&app).await.unwrap()), (Revision(3), 3));
    let again = store.templates.insert_all(&app, &batch, OnConflict::Refuse).await.unwrap();
    assert_eq!((again, revision(&store, &app).await), (vec![Err(Refusal::Exists); 3], Revision(3)));
    let samples = |found: &[IndexedTemplate]| found.iter().map(|t| t.samples.len()).collect::<Vec<_>>();
    assert_eq!(samples(&all(&store, &app).await), [2, 1, 1]);
    let Changes::List { changes, .. } = store.templates.changes(&app, &model(), Revision(1).into(), 10).await.unwrap()
    else {
        panic!("the log reaches back")
    };
    let changed: Vec<_> = changes.iter().map(|change| (change.revision, change.template.id.to_string())).collect();
    assert_eq!(changed, [(Revision(2), "a".to_owned()), (Revision(3), "c".to_owned())]);
    let replaced =
        store.templates.insert_all(&app, &batch[1..2], OnConflict::Replace(ErasureReason::IMPORT)).await.unwrap();
    assert_eq!(replaced, [Ok(Revision(4))]);
    assert_eq!(all(&store, &app).await[1].samples, batch[1].samples);
    let refused = store.templates.insert_all(&"unknown".parse().unwrap(), &batch, OnConflict::Refuse).await;
    assert!(matches!(refused, Err(StoreError::NoSuchApp)));
}

async fn concurrent_first_runs_create_one_application(fixture: Fixture) {
    let stores = [fixture.open().await, fixture.open().await]; // two nodes
    let tasks: Vec<_> = (0..8)
        .map(|n| {
            let store = stores[n % 2].clone();
            tokio::spawn(async move { store.apps.create_first(&record(&format!("app{n}"))).await.unwrap() })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        made += u32::from(task.await.unwrap());
    }
    assert_eq!((made, stores[0].apps.list().await.unwrap().len()), (1, 1));
}

async fn attributes_are_set_per_application(fixture: Fixture) {
    let store = fixture.open().await;
    let one = with_app(&store, "one").await;
    let two = with_app(&store, "two").await;
    assert!(store.apps.set_attributes(&one, false).await.unwrap());
    let listed = store.apps.list().await.unwrap();
    let of = |id: &AppId| listed.iter().find(|record| record.id == *id).unwrap().attributes;
    assert_eq!((of(&one), of(&two)), (false, true));
    assert!(!store.apps.set_attributes(&app("unknown"), false).await.unwrap());
}

async fn enrollment_rules_are_set_per_application(fixture: Fixture) {
    let store = fixture.open().await;
    let one = with_app(&store, "one").await;
    let two = with_app(&store, "two").await;
    assert!(store.apps.set_guard(&one, Guard::Refuse).await.unwrap());
    assert!(store.apps.set_min_quality(&one, Some(0.57)).await.unwrap());
    let rules = async |id: &AppId| {
        let listed = store.apps.list().await.unwrap();
        listed.iter().find(|record| record.id == *id).unwrap().rules
    };
    assert_eq!(
        rules(&one).await,
        EnrollRules { guard: Guard::Refuse, min_quality: Some(0.57), ..EnrollRules::default() }
    );
    assert_eq!(rules(&two).await, EnrollRules::default());
    assert!(store.apps.set_min_quality(&one, None).await.unwrap());
    assert_eq!(rules(&one).await, EnrollRules { guard: Guard::Refuse, min_quality: None, ..EnrollRules::default() });
    assert!(!store.apps.set_guard(&app("unknown"), Guard::Warn).await.unwrap());
    assert!(!store.apps.set_min_quality(&app("unknown"), None).await.unwrap());
    let made = AppRecord {
        rules: EnrollRules {
            guard: Guard::Warn,
            min_quality: Some(1.0),
            quota: Quota { templates: Some(3), samples: Some(4) },
            require_consent: true,
        },
        ..record("three")
    };
    assert!(store.apps.create(&made).await.unwrap());
    assert_eq!(rules(&made.id).await, made.rules);
    assert!(store.apps.set_max_templates(&made.id, None).await.unwrap());
    assert!(store.apps.set_max_samples(&made.id, Some(u64::MAX)).await.unwrap());
    let quota = Quota { templates: None, samples: Some(i64::MAX as u64) };
    assert_eq!(rules(&made.id).await.quota, quota, "above what a database can hold there is no difference");
    assert!(!store.apps.set_max_templates(&app("unknown"), None).await.unwrap());
    assert!(!store.apps.set_max_samples(&app("unknown"), None).await.unwrap());
    // A guard of a newer version counts as refuse, and the list can still be read.
    fixture.tamper("UPDATE applications SET guard = 'ask' WHERE app_id = 'two'").await;
    assert_eq!(rules(&two).await.guard, Guard::Refuse);
}

async fn insert_all_extends_templates_with_samples(fixture: Fixture) {
    let store = fixture.open().await;
    let app = with_app(&store, "one").await;
    insert(&store, &app, "b", &sample(1)).await.unwrap();
    let template = |name: &str, seed: u32| IndexedTemplate { id: id(name), samples: vec![sample(seed)] };
    let batch = [template("a", 2), template("b", 3)];
    let revisions = store.templates.insert_all(&app, &batch, OnConflict::Extend).await.unwrap();
    assert_eq!(revisions, [Ok(Revision(2)), Ok(Revision(3))]);
    let samples = async |name: &str| {
        let samples = store.templates.samples(&app, &model(), &id(name)).await.unwrap();
        samples.into_iter().map(|sample| sample.embedding).collect::<Vec<_>>()
    };
    assert_eq!(samples("a").await, [sample(2).embedding]);
    let both = samples("b").await;
    assert!(both.len() == 2 && [1, 3].iter().all(|seed| both.contains(&sample(*seed).embedding)), "{both:?}");
    assert_eq!(samples("unknown").await, []);
    let other = ModelTag::new("another");
    assert_eq!(store.templates.samples(&app, &other, &id("b")).await.unwrap(), []);
    let one = store.templates.insert(&app, &id("a"), &enrolled(sample(4)), OnConflict::Extend).await.unwrap();
    assert_eq!((one, samples("a").await.len()), (Revision(4), 2));
}

async fn a_removal_deletes_the_snapshot_keys_of_its_gallery(fixture: Fixture) {
    let store = fixture.open().await;
    let one = with_app(&store, "one").await;
    let two = with_app(&store, "two").await;
    insert(&store, &one, "a", &sample(1)).await.unwrap();
    insert(&store, &one, "b", &sample(2)).await.unwrap();
    let fresh = || SnapshotId(uuid::Uuid::new_v4());
    let first = fresh();
    let other = fresh();
    let (_, at) = store.snapshots.register(&one, first).await.unwrap();
    assert_eq!(at, Revision(2));
    store.snapshots.register(&two, other).await.unwrap();
    let known = async |app: &AppId, id| store.snapshots.key(app, id).await.unwrap().is_some();
    assert!(known(&one, first).await && known(&two, other).await);
    assert!(!known(&two, first).await, "a key belongs to its application");

    // Additions keep the keys, and so do calls that change nothing.
    store.templates.add_sample(&one, &id("a"), &enrolled(sample(3))).await.unwrap();
    insert(&store, &one, "c", &sample(4)).await.unwrap();
    assert!(insert(&store, &one, "c", &sample(4)).await.is_err());
    assert_eq!(store.templates.remove(&one, &id("zzz"), ErasureReason::IMPORT).await.unwrap(), None);
    assert!(known(&one, first).await);

    store.templates.remove(&one, &id("a"), ErasureReason::IMPORT).await.unwrap();
    assert!(!known(&one, first).await && known(&two, other).await);
    let second = fresh();
    store.snapshots.register(&one, second).await.unwrap();
    store
        .templates
        .insert(&one, &id("c"), &enrolled(sample(5)), OnConflict::Replace(ErasureReason::IMPORT))
        .await
        .unwrap();
    assert!(!known(&one, second).await);
    let third = fresh();
    store.snapshots.register(&one, third).await.unwrap();
    store.snapshots.discard(&one, third).await.unwrap();
    assert!(!known(&one, third).await);
    assert!(matches!(store.snapshots.register(&app("unknown"), fresh()).await, Err(StoreError::NoSuchApp)));
    assert_eq!(revision(&store, &one).await, Revision(6), "keys raise no revision");
}

async fn add_sample_needs_an_existing_template(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    assert_eq!(store.templates.add_sample(&a, &id("x"), &enrolled(sample(1))).await.unwrap(), None);
    assert_eq!(revision(&store, &a).await, Revision(0));
    insert(&store, &a, "x", &sample(1)).await.unwrap();
    assert_eq!(store.templates.add_sample(&a, &id("x"), &enrolled(sample(2))).await.unwrap(), Some(Revision(2)));
    assert_eq!(all(&store, &a).await[0].samples.len(), 2);
}

async fn second_remove_returns_none(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    insert(&store, &a, "x", &sample(1)).await.unwrap();
    assert_eq!(store.templates.remove(&a, &id("x"), ErasureReason::IMPORT).await.unwrap(), Some(Revision(2)));
    assert_eq!(store.templates.remove(&a, &id("x"), ErasureReason::IMPORT).await.unwrap(), None);
    assert_eq!(revision(&store, &a).await, Revision(2));
    assert_eq!(all(&store, &a).await, []);
    assert_eq!(insert(&store, &a, "x", &sample(2)).await.unwrap(), Revision(3), "the id is free again");
}

async fn an_unknown_application_is_refused(fixture: Fixture) {
    let store = fixture.open().await;
    let unknown = app("unknown");
    let refused = insert(&store, &unknown, "x", &sample(1)).await;
    assert!(matches!(refused, Err(InsertError::Store(StoreError::NoSuchApp))), "{refused:?}");
    assert!(matches!(
        store.templates.remove(&unknown, &id("x"), ErasureReason::IMPORT).await,
        Err(StoreError::NoSuchApp)
    ));
    assert_eq!(store.templates.changes(&unknown, &model(), Revision(0).into(), 10).await.unwrap(), Changes::TooOld);
}

async fn applications_are_isolated(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let b = with_app(&store, "b").await;
    insert(&store, &a, "x", &sample(1)).await.unwrap();
    insert(&store, &b, "x", &sample(2)).await.unwrap();
    assert_eq!(store.templates.remove(&a, &id("x"), ErasureReason::IMPORT).await.unwrap(), Some(Revision(2)));
    assert_eq!(all(&store, &b).await.len(), 1);
    assert_eq!(revision(&store, &b).await, Revision(1));
}

async fn pages_come_in_byte_order(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let mut ids = ["b", "a", "B", "ä", "a b", "Z", "中", "~", "a-b", "10", "9"];
    for (seed, text) in ids.iter().enumerate() {
        insert(&store, &a, text, &sample(seed as u32)).await.unwrap();
    }
    ids.sort_unstable();
    let mut seen: Vec<String> = Vec::new();
    let mut after = None;
    loop {
        let page = store.templates.page(&a, after.as_ref(), 3).await.unwrap();
        let templates = page.templates;
        assert!((1..=3).contains(&templates.len()) && templates.iter().all(|record| record.samples.len() == 1));
        seen.extend(templates.iter().map(|record| record.id.to_string()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ids);
}

async fn load_returns_one_model_in_pages(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let other = ModelTag::new("other-model");
    insert(&store, &a, "both", &sample(1)).await.unwrap();
    store.templates.add_sample(&a, &id("both"), &enrolled(sample_of(2, other.clone()))).await.unwrap();
    insert(&store, &a, "other", &sample_of(3, other.clone())).await.unwrap();
    insert(&store, &a, "zebra", &sample(4)).await.unwrap();
    let mut seen = Vec::new();
    let mut after = None;
    let mut pages = 0;
    loop {
        let page = store.templates.load(&a, &model(), after.as_ref(), 1).await.unwrap();
        assert!(page.templates.len() <= 1);
        seen.extend(page.templates.into_iter().map(|template| (template.id, template.samples.len())));
        after = page.next;
        pages += 1;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, [(id("both"), 1), (id("zebra"), 1)]);
    assert!(pages >= 3, "a page without samples of this model is empty, and not the last");
    assert_eq!(store.templates.load(&a, &other, None, 10).await.unwrap().templates.len(), 2);
}

async fn changes_carry_the_current_state(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    assert_eq!(store.templates.changes(&a, &model(), Revision(0).into(), 10).await.unwrap(), Changes::none());
    insert(&store, &a, "x", &sample(1)).await.unwrap();
    insert(&store, &a, "y", &sample(2)).await.unwrap();
    store.templates.add_sample(&a, &id("x"), &enrolled(sample(3))).await.unwrap();
    store.templates.remove(&a, &id("y"), ErasureReason::IMPORT).await.unwrap();
    let Changes::List { changes, .. } = store.templates.changes(&a, &model(), Revision(0).into(), 10).await.unwrap()
    else {
        panic!("the log is whole")
    };
    let seen: Vec<_> = changes
        .iter()
        .map(|c| (c.first.0..=c.revision.0, c.template.id.to_string(), c.template.samples.len()))
        .collect();
    let seen: Vec<_> = seen.iter().map(|(r, t, n)| (r.clone(), t.as_str(), *n)).collect();
    assert_eq!(seen, [(1..=1, "x", 2), (2..=4, "y", 0)], "each template once");
    assert_eq!(store.templates.changes(&a, &model(), Revision(4).into(), 10).await.unwrap(), Changes::none());
}

async fn changes_are_paged_without_gaps(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    for n in 0..25 {
        insert(&store, &a, &format!("t{n}"), &sample(n)).await.unwrap();
    }
    let mut at = Revision(0);
    let mut seen = 0;
    while let Changes::List { changes, .. } = store.templates.changes(&a, &model(), at.into(), 10).await.unwrap() {
        let Some(last) = changes.last() else { break };
        assert_eq!(changes[0].first, at.next());
        at = last.revision;
        seen += changes.len();
    }
    assert_eq!((at, seen), (Revision(25), 25));
}

async fn changes_older_than_the_log_are_too_old(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    for n in 0..5 {
        insert(&store, &a, &format!("t{n}"), &sample(n)).await.unwrap();
    }
    fixture.tamper("DELETE FROM changes WHERE revision <= 3").await;
    let changes = |after| {
        let store = store.clone();
        let a = a.clone();
        async move { store.templates.changes(&a, &model(), Revision(after).into(), 10).await.unwrap() }
    };
    assert_eq!(changes(0).await, Changes::TooOld);
    assert_eq!(changes(2).await, Changes::TooOld);
    assert!(matches!(changes(3).await, Changes::List { changes, .. } if changes.len() == 2));
    fixture.tamper("DELETE FROM changes").await;
    assert_eq!(changes(3).await, Changes::TooOld);
    assert_eq!(changes(5).await, Changes::none());
}

async fn concurrent_inserts_of_one_id_succeed_once(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let tasks: Vec<_> = (0..16)
        .map(|n| {
            let store = store.clone();
            let a = a.clone();
            tokio::spawn(async move { insert(&store, &a, "same", &sample(n)).await })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => won += 1,
            Err(InsertError::Refused(Refusal::Exists)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(revision(&store, &a).await, Revision(1));
    assert_eq!(all(&store, &a).await[0].samples.len(), 1);
}

async fn concurrent_writers_leave_no_gaps(fixture: Fixture) {
    let stores = [fixture.open().await, fixture.open().await]; // two nodes
    let a = with_app(&stores[0], "a").await;
    let tasks: Vec<_> = (0..8u32)
        .map(|writer| {
            let store = stores[writer as usize % 2].clone();
            let a = a.clone();
            tokio::spawn(async move {
                let mut revisions = Vec::new();
                for n in 0..10 {
                    let name = format!("w{writer}-{n}");
                    revisions.push(insert(&store, &a, &name, &sample(writer * 100 + n)).await.unwrap().0);
                }
                revisions
            })
        })
        .collect();
    let mut seen = BTreeSet::new();
    for task in tasks {
        seen.extend(task.await.unwrap());
    }
    assert_eq!(seen, (1..=80).collect());
    let Changes::List { changes, .. } =
        stores[1].templates.changes(&a, &model(), Revision(0).into(), 1000).await.unwrap()
    else {
        panic!("the log is whole")
    };
    assert_eq!(changes.iter().map(|c| c.revision.0).collect::<Vec<_>>(), (1..=80).collect::<Vec<_>>());
}

async fn everything_survives_reopening(fixture: Fixture) {
    let kept = sample(5);
    {
        let store = fixture.open().await;
        let a = with_app(&store, "a").await;
        insert(&store, &a, "x", &kept).await.unwrap();
    }
    let store = fixture.open().await;
    assert_eq!(all(&store, &app("a")).await, [IndexedTemplate { id: id("x"), samples: vec![kept] }]);
    assert_eq!(revision(&store, &app("a")).await, Revision(1));
}

async fn a_wrong_key_is_refused(fixture: Fixture) {
    drop(fixture.open().await);
    let refused = fixture.try_open(&KEY.replace('0', "e")).await;
    let message = refused.err().unwrap().to_string();
    // The message names the ids of both keys, and contains neither key.
    for key in [KEY.to_owned(), KEY.replace('0', "e")] {
        assert!(message.contains(&key_id(&key).to_string()) && !message.contains(&key[..16]), "{message}");
    }
    assert!(fixture.try_open(KEY).await.is_ok());
}

/// All columns of the row move, so only its new place prevents it from opening.
async fn a_moved_row_does_not_open(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let b = with_app(&store, "b").await;
    insert(&store, &a, "x", &sample(1)).await.unwrap();
    let moved = |app: &AppId, template: &str| {
        format!("UPDATE samples SET app_id = '{app}', template_id = '{template}' WHERE sealed IS NOT NULL")
    };
    let is_damaged = async |app: &AppId, template: &str| {
        let page = store.templates.load(app, &model(), None, 10).await.unwrap();
        assert_eq!((page.templates.len(), page.unreadable.len()), (0, 1));
        assert_eq!(page.unreadable[0].template, id(template));
        assert!(matches!(page.unreadable[0].fault, SampleFault::Damaged(_)), "{:?}", page.unreadable[0]);
    };
    // Moves it to another template, another application, another model, and back, where it opens.
    for name in ["x", "y"] {
        insert(&store, &b, name, &sample(2)).await.unwrap();
    }
    insert(&store, &a, "y", &sample(3)).await.unwrap();
    fixture.tamper("DELETE FROM samples WHERE app_id = 'b' OR template_id = 'y'").await;
    fixture.tamper(&moved(&a, "y")).await;
    is_damaged(&a, "y").await;
    fixture.tamper(&moved(&b, "x")).await;
    is_damaged(&b, "x").await;
    fixture.tamper(&moved(&a, "x")).await;
    fixture.tamper("UPDATE samples SET model = 'other'").await;
    assert_eq!(store.templates.load(&a, &ModelTag::new("other"), None, 10).await.unwrap().unreadable.len(), 1);
    fixture.tamper("UPDATE samples SET model = 'test-model'").await;
    assert_eq!(all(&store, &a).await[0].samples[0].embedding, sample(1).embedding);
}

/// Rows of the version before data keys are sealed under the sealing key itself.
async fn rows_without_data_keys_open(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    with_a_row_before_data_keys(&fixture, &store, &a).await;
    assert_eq!(all(&store, &a).await[0].samples[0].embedding, sample(1).embedding);
    store.templates.add_sample(&a, &id("x"), &enrolled(sample(2))).await.unwrap().unwrap();
    assert_eq!(all(&store, &a).await[0].samples.len(), 2);
    let Changes::List { changes, .. } = store.templates.changes(&a, &model(), Revision(0).into(), 10).await.unwrap()
    else {
        panic!("the log is whole")
    };
    assert_eq!(changes[0].template.samples.len(), 2);
}

/// Inserts a template `x` with [`sample`] 1 as the version before data keys wrote it.
async fn with_a_row_before_data_keys(fixture: &Fixture, store: &Store, a: &AppId) {
    insert(store, a, "x", &sample(7)).await.unwrap();
    let sealed: String = include_str!("sealed_before_data_keys.hex").split_whitespace().collect();
    let bytes = match fixture.database {
        DatabaseConfig::Sqlite(_) => format!("x'{sealed}', sample_id = x'%s'"),
        DatabaseConfig::Postgres { .. } => format!("'\\x{sealed}', sample_id = '\\x%s'"),
    };
    let old = bytes.replace("%s", "874e1eacedf64fc6bba7249e524eca54");
    fixture.tamper(&format!("UPDATE samples SET data_key = NULL, sealed = {old} WHERE template_id = 'x'")).await;
}

async fn a_new_sealing_key_reseals_everything(fixture: Fixture) {
    let old = key_id(KEY);
    let new = key_id(NEW_KEY);
    let before = fixture.open().await;
    let a = with_app(&before, "a").await;
    with_a_row_before_data_keys(&fixture, &before, &a).await;
    let many: Vec<IndexedTemplate> =
        (0..1200).map(|n| IndexedTemplate { id: id(&format!("t{n}")), samples: vec![sample(n)] }).collect();
    before.templates.insert_all(&a, &many, OnConflict::Refuse).await.unwrap();
    let snapshot = SnapshotId(uuid::Uuid::new_v4());
    let (snapshot_key, _) = before.snapshots.register(&a, snapshot).await.unwrap();
    let enrolled = all(&before, &a).await;

    let store = fixture.try_open(&format!("{KEY} {NEW_KEY}")).await.unwrap();
    let status = store.keys.status().await.unwrap();
    assert_eq!((status.active, status.given), (old, vec![old, new]), "a key that is given is not active yet");
    assert_eq!(status.in_use, [(old, 1202)]);
    assert_eq!(reseal_all(&store).await, 1, "the row without a data key gets one");
    assert_eq!(reseal_all(&store).await, 0);
    store.keys.activate(new).await.unwrap();
    insert(&store, &a, "after", &sample(9)).await.unwrap();
    let mut in_use = vec![(old, 1202), (new, 1)];
    in_use.sort_by_key(|(id, _)| id.to_string());
    assert_eq!(store.keys.status().await.unwrap().in_use, in_use);
    assert_eq!(reseal_all(&store).await, 1202);
    assert_eq!(reseal_all(&store).await, 0);
    let status = store.keys.status().await.unwrap();
    assert_eq!((status.active, status.in_use), (new, vec![(new, 1203)]));

    // The new key alone opens everything; the old key alone opens nothing.
    let with_new = fixture.try_open(NEW_KEY).await.unwrap();
    let found = all(&with_new, &a).await;
    assert_eq!(found.len(), 1202);
    let kept: Vec<_> = found.into_iter().filter(|template| template.id != id("after")).collect();
    assert_eq!(kept, enrolled);
    let opened = with_new.snapshots.key(&a, snapshot).await.unwrap().unwrap();
    assert_eq!(opened.id(), snapshot_key.id());
    assert_eq!(with_new.journal_key, before.journal_key, "the journal key does not change");
    assert!(matches!(fixture.try_open(KEY).await, Err(OpenError::WrongKey { active, .. }) if active == new));
    // A store that was opened with the old key alone reports the key that it lacks.
    let page = before.templates.load(&a, &model(), None, 10).await.unwrap();
    assert!(page.templates.is_empty() && page.unreadable.len() == 10);
    assert!(page.unreadable.iter().all(|sample| sample.fault == SampleFault::KeyMissing(new)), "{:?}", page.unreadable);
}

async fn an_interrupted_rotation_needs_both_keys(fixture: Fixture) {
    drop(fixture.open().await);
    let store = fixture.try_open(&format!("{KEY} {NEW_KEY}")).await.unwrap();
    let a = with_app(&store, "a").await;
    insert(&store, &a, "x", &sample(1)).await.unwrap();
    store.keys.activate(key_id(NEW_KEY)).await.unwrap();
    let refused = fixture.try_open(NEW_KEY).await.err().unwrap();
    assert!(matches!(&refused, OpenError::KeysMissing(ids) if *ids == key_id(KEY).to_string()), "{refused}");
    assert!(!refused.to_string().contains(&KEY[..16]));
    // Rows under the old key may also be removed instead of resealed.
    store.templates.remove(&a, &id("x"), ErasureReason::IMPORT).await.unwrap().unwrap();
    assert!(fixture.try_open(NEW_KEY).await.is_ok());
    insert(&store, &a, "x", &sample(1)).await.unwrap();
    store.keys.activate(key_id(KEY)).await.unwrap();
    assert!(fixture.try_open(KEY).await.is_err());
    reseal_all(&store).await;
    assert!(fixture.try_open(KEY).await.is_ok());
}

async fn a_new_sealing_key_is_activated_under_load(fixture: Fixture) {
    let both = format!("{KEY} {NEW_KEY}");
    let stores = [fixture.try_open(&both).await.unwrap(), fixture.try_open(&both).await.unwrap()]; // two nodes
    let a = with_app(&stores[0], "a").await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4u32)
        .map(|writer| {
            let store = stores[writer as usize % 2].clone();
            let a = a.clone();
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                let mut last = 0;
                while !stop.load(Ordering::Acquire) {
                    last += 1;
                    let sample = sample(writer * 100_000 + last);
                    let name = id(&format!("{writer}-{}", last % 7));
                    store
                        .templates
                        .insert(&a, &name, &enrolled(sample.clone()), OnConflict::Replace(ErasureReason::IMPORT))
                        .await
                        .unwrap();
                    if last % 5 == 0 {
                        store.templates.remove(&a, &name, ErasureReason::IMPORT).await.unwrap();
                    }
                }
                last
            })
        })
        .collect();
    for round in 0..4 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let key = if round % 2 == 0 { NEW_KEY } else { KEY };
        stores[1].keys.activate(key_id(key)).await.unwrap();
        reseal_all(&stores[1]).await;
        let in_use = stores[1].keys.status().await.unwrap().in_use;
        assert!(in_use.iter().all(|(id, _)| *id == key_id(key)), "round {round}: {in_use:?}");
    }
    stop.store(true, Ordering::Release);
    for writer in writers {
        assert!(writer.await.unwrap() > 0);
    }
    let found = all(&stores[0], &a).await;
    assert_eq!(all(&fixture.open().await, &a).await, found, "the last active key opens everything");
}

async fn a_node_reloads_its_key_file(fixture: Fixture) {
    let file = KeyFile::new(fixture._dir.path().join("sealing.key"));
    let source = || KeySource::File { file: file.clone(), create: true };
    let node = fixture.open_with(source()).await.unwrap();
    let a = with_app(&node, "a").await;
    insert(&node, &a, "x", &sample(1)).await.unwrap();
    let new = file.lock().unwrap().add().unwrap().id();
    let other = fixture.open_with(source()).await.unwrap();
    other.keys.activate(new).await.unwrap();
    insert(&node, &a, "y", &sample(2)).await.unwrap();
    reseal_all(&other).await;
    assert_eq!(node.keys.status().await.unwrap().in_use, [(new, 2)]);
    assert_eq!(all(&node, &a).await.len(), 2);
    // The old key is no longer needed, and a missing key file is not created again.
    let old = node.keys.status().await.unwrap().given[0];
    file.lock().unwrap().remove(old).unwrap();
    assert_eq!(all(&fixture.open_with(source()).await.unwrap(), &a).await.len(), 2);
    std::fs::remove_file(file.path()).unwrap();
    assert!(matches!(fixture.open_with(source()).await, Err(OpenError::KeyMissing(_))));
}

async fn a_node_without_the_active_key_refuses_writes(fixture: Fixture) {
    let node = fixture.open().await;
    let a = with_app(&node, "a").await;
    insert(&node, &a, "x", &sample(1)).await.unwrap();
    let other = fixture.try_open(&format!("{KEY} {NEW_KEY}")).await.unwrap();
    other.keys.activate(key_id(NEW_KEY)).await.unwrap();
    let refused = insert(&node, &a, "y", &sample(2)).await;
    assert!(matches!(refused, Err(InsertError::Store(StoreError::KeyMissing(id))) if id == key_id(NEW_KEY)));
    assert_eq!(all(&node, &a).await.len(), 1, "it still reads what is sealed under its own key");
    assert_eq!(revision(&node, &a).await, Revision(1), "a refused insert changes nothing");
    assert!(
        node.templates.remove(&a, &id("x"), ErasureReason::IMPORT).await.unwrap().is_some(),
        "a removal seals nothing"
    );
}

/// Postgres notifies other nodes; SQLite does not.
async fn writes_of_other_nodes_are_notified(fixture: Fixture) {
    let node = fixture.open().await;
    let other = fixture.open().await;
    let a = with_app(&node, "a").await;
    let soon = Duration::from_secs(5);
    let notified = tokio::time::timeout(soon, node.hints.changed()).await;
    if matches!(fixture.database, DatabaseConfig::Sqlite(_)) {
        assert!(notified.is_err());
        return;
    }
    notified.unwrap().unwrap(); // it listens now
    let mut notifications = 0;
    for round in 0..3u32 {
        let name = format!("t{round}");
        insert(&other, &a, &name, &sample(round)).await.unwrap();
        tokio::time::timeout(soon, node.hints.changed()).await.unwrap().unwrap();
        other.templates.remove(&a, &id(&name), ErasureReason::IMPORT).await.unwrap().unwrap();
        tokio::time::timeout(soon, node.hints.changed()).await.unwrap().unwrap();
        notifications += 2;
        // Its connection dies. That counts as a notification, and so does a new connection.
        fixture
            .tamper(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE query LIKE 'LISTEN%' AND datname = current_database()",
            )
            .await;
        for _ in 0..2 {
            let _ = tokio::time::timeout(soon, node.hints.changed()).await.unwrap();
        }
    }
    assert_eq!(notifications, 6);
    // Without a write there is no notification.
    assert!(tokio::time::timeout(Duration::from_millis(300), node.hints.changed()).await.is_err());
}

async fn a_newer_schema_is_refused(fixture: Fixture) {
    drop(fixture.open().await);
    fixture
        .tamper(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'future', TRUE, 'x', 0)",
        )
        .await;
    assert!(matches!(fixture.try_open(KEY).await, Err(OpenError::Newer(9999))));
}

async fn two_processes_open_an_empty_database_at_once(fixture: Fixture) {
    let fixture = Arc::new(fixture);
    let both = [1, 2].map(|_| {
        let fixture = Arc::clone(&fixture);
        tokio::spawn(async move { fixture.try_open(KEY).await.map(drop) })
    });
    for one in both {
        one.await.unwrap().unwrap();
    }
}

async fn deleting_an_application_deletes_its_gallery(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    insert(&store, &a, "x", &sample(1)).await.unwrap();
    store.apps.delete(&a).await.unwrap();
    assert_eq!(store.templates.revisions().await.unwrap(), []);
    let again = with_app(&store, "a").await;
    assert_eq!(all(&store, &again).await, []);
    assert_eq!(revision(&store, &again).await, Revision(0));
}

/// A node waits for the migration of another node for longer than the statement timeout.
#[tokio::test]
async fn a_node_waits_for_the_migrations_of_another() {
    let Some(fixture) = Fixture::postgres().await else { return };
    let DatabaseConfig::Postgres { url, .. } = &fixture.database else { return };
    let mut other = <sqlx::PgConnection as sqlx::Connection>::connect(url).await.unwrap();
    let (name,): (String,) = sqlx::query_as("SELECT current_database()").fetch_one(&mut other).await.unwrap();
    // The lock that SQLx takes for migrations: the CRC-32 (ISO-HDLC) of the database name, times a constant.
    let crc = name.bytes().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    });
    let lock = 0x3d32_ad9e * i64::from(!crc);
    sqlx::query("SELECT pg_advisory_lock($1)").bind(lock).execute(&mut other).await.unwrap();
    let timeout = Duration::from_millis(300);
    let key = KeySource::Given(Key::all_from_text(KEY).unwrap());
    let options = OpenOptions { timeout, ..open_options(fixture.database.clone(), key) };
    let waiting = tokio::spawn(async move { open(&options).await.map(drop) });
    tokio::time::sleep(timeout * 4).await;
    assert!(!waiting.is_finished(), "it waits for longer than the statement timeout");
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(lock).execute(&mut other).await.unwrap();
    waiting.await.unwrap().unwrap();
}

/// The migrations of a dialect: their names and their statements, without comments.
fn migrations(dialect: &str) -> Vec<(String, Vec<String>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(dialect);
    let mut found: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let code: Vec<&str> = text.lines().filter_map(|line| line.split("--").next()).collect();
            let code = code.join(" ");
            let statements = code.split(';').map(|s| s.split_whitespace().collect::<Vec<_>>().join(" "));
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, statements.filter(|statement| !statement.is_empty()).collect())
        })
        .collect();
    found.sort();
    found
}

#[test]
fn both_dialects_have_the_same_migrations() {
    let names = |dialect| migrations(dialect).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names("sqlite"), names("postgres"));
}

/// A node of the previous version runs beside a newer one. Its statements keep their meaning, because migrations change
/// and remove nothing that it uses, and require nothing that it does not write.
#[test]
fn migrations_only_add() {
    for dialect in ["sqlite", "postgres"] {
        for (name, statements) in migrations(dialect).into_iter().skip(1) {
            for statement in statements {
                let column = statement.strip_prefix("ALTER TABLE ").and_then(|rest| rest.split_once(" ADD COLUMN "));
                let adds = ["CREATE TABLE ", "CREATE INDEX "].iter().any(|kind| statement.starts_with(kind))
                    || column.is_some_and(|(_, column)| !column.contains("NOT NULL") || column.contains("DEFAULT"));
                assert!(adds, "{dialect}/{name}: {statement}");
                let is_new = statement.starts_with("CREATE TABLE ");
                assert!(
                    is_new || !statement.contains("UNIQUE"),
                    "{dialect}/{name} forbids what was allowed: {statement}"
                );
            }
        }
    }
}
