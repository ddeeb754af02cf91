//! Removed templates cannot be recovered from the files of the database.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use crate::support::{enrolled, open_options};
use semblance::domain::{
    Actor, AppId, Cosine, Details, DetailsPatch, Embedding, FaceCrop, Field, ModelTag, SampleId, TemplateId,
    TransactionId,
};
use semblance::gallery::Sample;
use semblance::store::{
    AppRecord, ChangedBy, DatabaseConfig, EnrolledSample, EnrollmentReply, ErasureReason, Fingerprint, Held, Key,
    KeySource, Merge, NewProbe, NewTemplate, OnConflict, SampleMove, Store, open,
};
use sqlx::Connection as _;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

async fn open_in(dir: &Path) -> Store {
    let key = KeySource::Given(Key::all_from_text(KEY).unwrap());
    let database = DatabaseConfig::Sqlite(dir.join("test.db"));
    open(&open_options(database, key)).await.unwrap()
}

fn sample(seed: u32) -> Sample {
    let raw: Vec<f32> = (0..128).map(|n| ((seed * 131 + n) as f32).sin()).collect();
    Sample { id: SampleId::random(), embedding: Embedding::new(&raw, ModelTag::new("m")).unwrap() }
}

async fn with_app(store: &Store, name: &str) -> AppId {
    let id: AppId = name.parse().unwrap();
    let created_at = std::time::SystemTime::UNIX_EPOCH;
    assert!(store.apps.create(&AppRecord::new(id.clone(), name, created_at)).await.unwrap());
    id
}

/// All runs of twelve bytes of the wrapped data key and of the ciphertext, past their headers.
pub(crate) fn pieces(sealed: &[u8], data_key: &[u8]) -> Vec<[u8; 12]> {
    let of = |bytes: &[u8]| bytes.chunks_exact(12).skip(2).map(|piece| piece.try_into().unwrap()).collect::<Vec<_>>();
    [of(sealed), of(data_key)].concat()
}

/// The pieces that are in any file of a folder.
pub(crate) fn found_in(dir: &Path, pieces: &HashSet<[u8; 12]>) -> HashSet<[u8; 12]> {
    let mut found = HashSet::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(path).unwrap();
            found.extend(bytes.windows(12).filter_map(|window| pieces.get(window).copied()));
        }
    }
    found
}

pub(crate) async fn rows(file: &Path) -> HashMap<(String, String), (Vec<u8>, Vec<u8>)> {
    let url = format!("sqlite://{}", file.display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let rows: Vec<(String, String, Vec<u8>, Vec<u8>)> =
        sqlx::query_as("SELECT app_id, template_id, sealed, data_key FROM samples")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    connection.close().await.unwrap();
    rows.into_iter().map(|(app, template, sealed, key)| ((app, template), (sealed, key))).collect()
}

/// The same for the reply that is kept for a request with an idempotency key, also when it has expired.
#[tokio::test]
async fn no_file_keeps_a_reply_of_a_removed_template() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_in(dir.path()).await;
    let app = with_app(&store, "a").await;
    for n in 0..40u32 {
        let reply = EnrollmentReply {
            fingerprint: Fingerprint([n as u8; 32]),
            transaction: TransactionId::random(),
            result: format!(r#"{{"templateId":"t{n}","age":{n},"filler":"{}"}}"#, "of a long reply ".repeat(100)),
        };
        let (key, id) = (format!("k{n}").parse().unwrap(), format!("t{n}").parse().unwrap());
        let (idempotency, refuse) = (&store.idempotency, OnConflict::Refuse);
        let samples = [enrolled(sample(n))];
        idempotency.insert_once(&app, &key, &NewTemplate::new(&id, &samples), refuse, &reply).await.unwrap();
    }
    let url = format!("sqlite://{}", dir.path().join("test.db").display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let sql = "SELECT template_id, sealed, data_key FROM idempotency";
    let rows: Vec<(String, Vec<u8>, Vec<u8>)> = sqlx::query_as(sql).fetch_all(&mut connection).await.unwrap();
    let sql = "UPDATE idempotency SET expires_at = 0 WHERE template_id LIKE 't3%'";
    sqlx::query(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let (mut stay, mut gone) = (HashSet::new(), HashSet::new());
    for (template, sealed, data_key) in &rows {
        assert!(!sealed.windows(10).any(|window| window == b"long reply"));
        let is_kept = template.starts_with("t1");
        let side = if is_kept { &mut stay } else { &mut gone };
        side.extend(pieces(sealed, data_key));
        if !is_kept && !template.starts_with("t3") {
            let removed = store.templates.remove(&app, &template.parse().unwrap(), ErasureReason::IMPORT).await;
            assert!(removed.unwrap().is_some());
        }
    }
    assert_eq!(store.idempotency.expire_replies(100).await.unwrap(), 11);
    while !store.scrubber.scrub().await.unwrap() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(stay.len() > 1000 && gone.len() > 2000);
    assert_eq!(found_in(dir.path(), &stay), stay);
    assert_eq!(found_in(dir.path(), &gone).len(), 0, "of {} pieces", gone.len());
}

/// The same for details, also when they are only changed.
#[tokio::test]
async fn no_file_keeps_details_of_a_removed_template() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_in(dir.path()).await;
    let app = with_app(&store, "a").await;
    for n in 0..40u32 {
        let name = Some(format!("Person {n} {}", "of a long name ".repeat(10)));
        let details = Details { name, ..Details::default() };
        let id = format!("t{n}").parse().unwrap();
        let samples = [enrolled(sample(n))];
        let new = NewTemplate { details: &details, ..NewTemplate::new(&id, &samples) };
        store.people.enroll(&app, &new, OnConflict::Refuse).await.unwrap();
    }
    let url = format!("sqlite://{}", dir.path().join("test.db").display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let sql = "SELECT template_id, sealed, data_key FROM details";
    let rows: Vec<(String, Vec<u8>, Vec<u8>)> = sqlx::query_as(sql).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let (mut stay, mut gone) = (HashSet::new(), HashSet::new());
    for (template, sealed, data_key) in &rows {
        assert!(!sealed.windows(9).any(|window| window == b"long name"));
        let id = template.parse().unwrap();
        if template.starts_with("t1") {
            stay.extend(pieces(sealed, data_key));
            continue;
        }
        gone.extend(pieces(sealed, data_key));
        if template.starts_with("t3") {
            let mut patch = DetailsPatch::default();
            patch.set(Field::Name, serde_json::Value::Null).unwrap();
            store.people.update(&app, &id, &patch, None).await.unwrap();
        } else {
            assert!(store.templates.remove(&app, &id, ErasureReason::IMPORT).await.unwrap().is_some());
        }
    }
    while !store.scrubber.scrub().await.unwrap() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(stay.len() > 100 && gone.len() > 300);
    assert_eq!(found_in(dir.path(), &stay), stay);
    assert_eq!(found_in(dir.path(), &gone).len(), 0, "of {} pieces", gone.len());
}

/// After a template is deleted, replaced, or deleted with its application, no file contains twelve consecutive bytes of its
/// key or ciphertext. The templates that are kept are found, so the search itself works.
#[tokio::test]
async fn no_file_keeps_a_key_or_ciphertext_of_a_removed_template() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_in(dir.path()).await;
    let kept = with_app(&store, "kept").await;
    let doomed = with_app(&store, "doomed").await;
    // Unordered ids split and merge the pages of the database.
    let ids: Vec<TemplateId> =
        (0..400u32).map(|n| format!("{:08x}", n.wrapping_mul(2_654_435_761)).parse().unwrap()).collect();
    for (seed, id) in ids.iter().enumerate() {
        let app = if seed % 4 == 3 { &doomed } else { &kept };
        store.templates.insert(app, id, &enrolled(sample(seed as u32)), OnConflict::Refuse).await.unwrap();
    }
    let before = rows(&dir.path().join("test.db")).await;
    let all: HashSet<[u8; 12]> = before.values().flat_map(|(sealed, key)| pieces(sealed, key)).collect();
    assert_eq!(found_in(dir.path(), &all), all, "the search sees all there is");

    for (seed, id) in ids.iter().enumerate() {
        match seed % 4 {
            0 => assert!(store.templates.remove(&kept, id, ErasureReason::IMPORT).await.unwrap().is_some()),
            1 => {
                let other = sample(9000 + seed as u32);
                store
                    .templates
                    .insert(&kept, id, &enrolled(other), OnConflict::Replace(ErasureReason::IMPORT))
                    .await
                    .unwrap();
            }
            _ => {}
        }
    }
    assert!(store.apps.delete(&doomed).await.unwrap());
    while !store.scrubber.scrub().await.unwrap() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let stay: HashSet<[u8; 12]> = before
        .iter()
        .filter(|((app, id), _)| app == "kept" && ids.iter().position(|each| each.as_str() == id).unwrap() % 4 == 2)
        .flat_map(|(_, (sealed, key))| pieces(sealed, key))
        .collect();
    let gone: HashSet<[u8; 12]> = all.difference(&stay).copied().collect();
    assert!(stay.len() > 4000 && gone.len() > 12_000);
    assert_eq!(found_in(dir.path(), &stay), stay);
    assert_eq!(found_in(dir.path(), &gone).len(), 0, "of {} pieces", gone.len());
}

/// An embedding, its data key, and its crop, as stored.
type Sealed = (Vec<u8>, Vec<u8>, Vec<u8>);

/// The same for a sample that is erased, moved, or renamed with its template, and for its crop: what is left is sealed
/// under other data keys.
#[tokio::test]
async fn no_file_keeps_the_old_seal_of_a_sample_that_was_erased_or_moved() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_in(dir.path()).await;
    let app = with_app(&store, "a").await;
    let id = |kind: &str, n: u32| -> TemplateId { format!("{kind}{n}").parse().unwrap() };
    let mut second = Vec::new();
    for n in 0..40u32 {
        for kind in ["erased", "moved", "target", "merged", "renamed", "kept"] {
            for seed in [n, n + 1000] {
                let crop = (0..300).map(|i| format!("{kind} {seed} {i}; ")).collect::<String>();
                let crop = Some(FaceCrop::new(crop.into_bytes()));
                let new = EnrolledSample { crop, ..enrolled(sample(seed)) };
                store.templates.insert(&app, &id(kind, n), &new, OnConflict::Extend).await.unwrap();
                if seed >= 1000 {
                    second.push((kind, n, new.sample.id));
                }
            }
        }
    }
    let file = dir.path().join("test.db");
    let read = || async {
        let url = format!("sqlite://{}", file.display());
        let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
        let sql = "SELECT s.sealed, s.data_key, c.sealed FROM samples s
                   JOIN crops c ON c.template_id = s.template_id AND c.sample_id = s.sample_id";
        let rows: Vec<Sealed> = sqlx::query_as(sql).fetch_all(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        rows
    };
    let before = read().await;
    assert_eq!(before.len(), 480);
    for (kind, n, sample) in second {
        let by = &ChangedBy { actor: Actor::Command, transaction: None };
        let samples = &store.samples;
        match kind {
            "erased" => {
                samples.remove_sample(&app, &id(kind, n), sample, ErasureReason::IMPORT).await.unwrap();
            }
            "moved" => {
                let (from, to) = (id(kind, n), id("target", n));
                let change = SampleMove { from: &from, sample, to: &to, remove_empty: false };
                samples.move_sample(&app, change, by).await.unwrap();
            }
            "merged" => {
                let merge = Merge { from: &id(kind, n), into: &id("kept", n) };
                samples.merge(&app, merge, by).await.unwrap();
            }
            "renamed" => {
                samples.rename(&app, &id(kind, n), &id("new", n), by).await.unwrap();
            }
            _ => {}
        }
    }
    while !store.scrubber.scrub().await.unwrap() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let after = read().await;
    assert_eq!(after.len(), 440);
    let all = |rows: &[Sealed]| -> HashSet<[u8; 12]> {
        rows.iter().flat_map(|(sealed, key, crop)| [pieces(sealed, key), pieces(crop, &[])].concat()).collect()
    };
    let stay = all(&after);
    let gone: HashSet<[u8; 12]> = all(&before).difference(&stay).copied().collect();
    // Erased: one sample each. Moved: one. Merged and renamed: two.
    assert!(gone.len() > 240 * 300 && stay.len() > 440 * 300, "{} {}", gone.len(), stay.len());
    // A crop is longer than a page, so some pieces are divided between two.
    let found = found_in(dir.path(), &stay).len();
    assert!(found * 100 > stay.len() * 95, "{found} of {} pieces", stay.len());
    assert_eq!(found_in(dir.path(), &gone).len(), 0, "of {} pieces", gone.len());
}

/// The same for a probe that was dismissed, that became a sample, or whose time is over.
#[tokio::test]
async fn no_file_keeps_a_probe_that_was_dismissed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_in(dir.path()).await;
    let app = with_app(&store, "a").await;
    let ann: TemplateId = "ann".parse().unwrap();
    store.templates.insert(&app, &ann, &enrolled(sample(1000)), OnConflict::Refuse).await.unwrap();
    let mut ids = Vec::new();
    for n in 0..40u32 {
        let probe = NewProbe {
            embedding: sample(n).embedding,
            crop: Some(FaceCrop::new(vec![n as u8; 600])),
            quality: None,
            near: None,
            threshold: 0.75,
            transaction: TransactionId::random(),
            keep: Duration::from_millis(if n < 10 { 1 } else { 3_600_000 }),
        };
        // No two are taken for the same face.
        let Held::New(id) = store.review.hold(&app, &probe, Cosine::clamped(1.0)).await.unwrap() else {
            panic!("{n} was seen before")
        };
        ids.push(id);
    }
    let url = format!("sqlite://{}", dir.path().join("test.db").display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let sql = "SELECT probe_id, sealed, crop, data_key FROM probes";
    type Row = (Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>);
    let rows: Vec<Row> = sqlx::query_as(sql).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let (mut stay, mut gone) = (HashSet::new(), HashSet::new());
    for (id, sealed, crop, data_key) in &rows {
        let at = ids.iter().position(|known| known.0.as_bytes().as_slice() == id).unwrap();
        let all = if at >= 30 { &mut stay } else { &mut gone };
        all.extend(pieces(sealed, data_key));
        all.extend(pieces(crop, data_key));
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(store.review.expire_probes(100).await.unwrap(), 10);
    for (n, id) in ids.iter().enumerate().take(30).skip(10) {
        if n < 20 {
            assert!(store.review.dismiss_probe(&app, *id).await.unwrap());
        } else {
            let made = enrolled(sample(n as u32 + 2000));
            assert!(store.review.confirm_probe(&app, *id, &ann, &made).await.unwrap().is_some());
        }
    }
    while !store.scrubber.scrub().await.unwrap() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(stay.len() > 100 && gone.len() > 300);
    assert_eq!(found_in(dir.path(), &stay), stay);
    assert_eq!(found_in(dir.path(), &gone).len(), 0, "of {} pieces", gone.len());
}
