//! Backups of the store, without a process around them.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use semblance::domain::Revision;
use semblance::store::backup::{self, About, BackupError, BackupSink, Cell, Record, RecordSource, TableRecord};
use semblance::store::{Changes, DatabaseConfig, GalleryPosition, OutboxEvent};

use super::{Fixture, all, insert, model, sample, with_app};

conformance! {
    a_backup_holds_every_column_of_the_schema
    a_restored_gallery_has_another_history
    a_backup_of_another_version_is_read_as_far_as_it_may_be
}

/// Keeps the records.
#[derive(Default)]
struct Kept(Vec<Record>);

impl BackupSink for Kept {
    fn begin(&mut self, about: &About) -> Result<(), BackupError> {
        assert!(!about.keys.is_empty());
        Ok(())
    }

    fn record(&mut self, record: Record) -> Result<(), BackupError> {
        self.0.push(record);
        Ok(())
    }
}

struct Source<'a>(std::slice::Iter<'a, Record>);

#[async_trait]
impl RecordSource for Source<'_> {
    async fn next(&mut self) -> Result<Option<Record>, BackupError> {
        Ok(self.0.next().cloned())
    }
}

fn source(records: &[Record]) -> Source<'_> {
    Source(records.iter())
}

/// A migration that adds a table or a column adds it to `store/backup/tables.rs`, or to the list of what is left out.
async fn a_backup_holds_every_column_of_the_schema(fixture: Fixture) {
    fixture.open().await;
    let pairs: Vec<(String, String)> = match &fixture.database {
        DatabaseConfig::Sqlite(path) => {
            let url = format!("sqlite://{}", path.display());
            let mut connection = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.unwrap();
            let sql = "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table'
                       AND t.name NOT LIKE 'sqlite_%'";
            sqlx::query_as(sql).fetch_all(&mut connection).await.unwrap()
        }
        DatabaseConfig::Postgres { url, .. } => {
            let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(url).await.unwrap();
            let sql = "SELECT table_name::text, column_name::text FROM information_schema.columns
                       WHERE table_schema = current_schema()";
            sqlx::query_as(sql).fetch_all(&mut connection).await.unwrap()
        }
    };
    let (held, left_out) = (backup::held_columns(), backup::left_out_columns());
    let mut expected: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (table, column) in pairs {
        let is_left_out = left_out.iter().any(|(t, c)| *t == table && (*c == "*" || *c == column));
        if !is_left_out {
            expected.entry(table).or_default().insert(column);
        }
    }
    let held: BTreeMap<String, BTreeSet<String>> = held
        .into_iter()
        .map(|(table, columns)| (table.to_owned(), columns.into_iter().map(str::to_owned).collect()))
        .collect();
    assert_eq!(held, expected, "src/store/backup/tables.rs");
}

/// A node that followed the database of the backup, or another restored one, does not take the restored gallery for it.
async fn a_restored_gallery_has_another_history(fixture: Fixture) {
    let from = Fixture::sqlite();
    let store = from.open().await;
    let a = with_app(&store, "a").await;
    for (seed, template) in ["x", "y"].into_iter().enumerate() {
        insert(&store, &a, template, &sample(seed as u32)).await.unwrap();
    }
    let empty = with_app(&store, "empty").await;
    let event = OutboxEvent::new(std::time::UNIX_EPOCH, "app create", Some(&a), "a");
    store.outbox.enqueue(&event).await.unwrap();
    let position = store.templates.revisions().await.unwrap()[0].1;
    let mut kept = Kept::default();
    let counts = store.backup.read_all(&mut kept).await.unwrap();
    assert_eq!((counts["templates"], counts["samples"], counts["applications"], counts["changes"]), (2, 2, 2, 1));

    let restored = fixture.open().await;
    assert_ne!(restored.journal_key, store.journal_key);
    assert_eq!(restored.backup.write_all(&mut source(&kept.0)).await.unwrap(), counts);
    assert!(matches!(restored.backup.write_all(&mut source(&kept.0)).await, Err(BackupError::NotEmpty)));
    let restored = fixture.open().await;
    assert_eq!((restored.journal_key.clone(), restored.database_id), (store.journal_key.clone(), store.database_id));
    assert_eq!(restored.apps.list().await.unwrap(), store.apps.list().await.unwrap());
    assert_eq!(all(&restored, &a).await, all(&store, &a).await);
    assert_eq!(all(&restored, &empty).await, []);
    let claim = restored.outbox.claim(uuid::Uuid::new_v4(), std::time::Duration::from_secs(9), 10).await.unwrap();
    let claimed: Vec<_> = claim.events.iter().map(|claimed| claimed.id).collect();
    assert_eq!(claimed, [event.id], "it is recorded by the first node that polls");

    let now = restored.templates.revisions().await.unwrap()[0].1;
    assert_eq!(now.revision, Revision(3));
    // The store at the moment of the backup is continued, another one at the same revision is not.
    let changes = |after: GalleryPosition| {
        let (restored, a) = (restored.clone(), a.clone());
        async move { restored.templates.changes(&a, &model(), after, 10).await.unwrap() }
    };
    let Changes::List { changes: list, .. } = changes(position).await else { panic!("it is continued") };
    assert_eq!(list.len(), 1);
    let other = GalleryPosition { tag: position.tag.map(|tag| tag ^ 1), ..position };
    assert_eq!(changes(other).await, Changes::TooOld);
    assert_eq!(changes(GalleryPosition::default()).await, Changes::TooOld);
    // The store went on after the backup, to the same revision.
    insert(&store, &a, "z", &sample(9)).await.unwrap();
    let went_on = store.templates.revisions().await.unwrap()[0].1;
    assert!(went_on.has_diverged(now), "{went_on:?} {now:?}");
}

/// A later version may add what this one may leave out, and what it may not. An earlier version lacks columns.
async fn a_backup_of_another_version_is_read_as_far_as_it_may_be(fixture: Fixture) {
    let from = Fixture::sqlite();
    let store = from.open().await;
    let a = with_app(&store, "a").await;
    insert(&store, &a, "x", &sample(1)).await.unwrap();
    let mut kept = Kept::default();
    store.backup.read_all(&mut kept).await.unwrap();
    let applications = kept.0.iter().position(|record| matches!(record, Record::Table(t) if t.name == "applications"));
    let applications = applications.unwrap();
    let changed = |change: &dyn Fn(&mut TableRecord, &mut Vec<Cell>)| {
        let mut records = kept.0.clone();
        let (head, rows) = records[applications..].split_at_mut(1);
        let (Record::Table(table), Record::Row(row)) = (&mut head[0], &mut rows[0]) else { panic!() };
        change(table, row);
        records
    };
    let target = fixture.open().await;
    let newer = changed(&|table, row| {
        table.columns.push("quota".to_owned());
        row.push(Cell::Integer(5));
    });
    let refused = target.backup.write_all(&mut source(&newer)).await.unwrap_err();
    assert!(refused.to_string().contains("applications.quota"), "{refused}");
    let mut unknown = kept.0.clone();
    let table = TableRecord {
        name: "moods".to_owned(),
        columns: vec!["mood".to_owned()],
        optional_columns: vec![],
        optional: false,
    };
    unknown.splice(0..0, [Record::Table(table.clone()), Record::Row(vec![Cell::Text("good".to_owned())])]);
    let refused = target.backup.write_all(&mut source(&unknown)).await.unwrap_err();
    assert!(refused.to_string().contains("the table moods"), "{refused}");
    let torn = target.backup.write_all(&mut source(&kept.0[..kept.0.len() - 1])).await.unwrap_err();
    assert!(matches!(torn, BackupError::CutOff), "{torn}");
    assert_eq!(target.apps.list().await.unwrap(), [], "nothing is written");

    let mut both = changed(&|table, row| {
        // An earlier version lacks the last columns; a later one marks what may be left out.
        let kept = table.columns.iter().position(|name| name == "attributes").unwrap();
        table.columns.truncate(kept);
        row.truncate(kept);
        table.columns.push("quota".to_owned());
        table.optional_columns.push("quota".to_owned());
        row.push(Cell::Integer(5));
    });
    let table = TableRecord { optional: true, ..table };
    both.splice(0..0, [Record::Table(table), Record::Row(vec![Cell::Text("good".to_owned())])]);
    target.backup.write_all(&mut source(&both)).await.unwrap();
    // The index of names is off for an application of an earlier version.
    let mut expected = store.apps.list().await.unwrap();
    expected.iter_mut().for_each(|app| app.name_search = false);
    assert_eq!(target.apps.list().await.unwrap(), expected, "with the defaults of the schema");
    assert_eq!(all(&target, &a).await, all(&store, &a).await);
}
