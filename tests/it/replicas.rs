//! A replica follows its database despite damaged rows, missing keys and restored backups.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use semblance::domain::{Actor, AppId, EnrollRules, RequestLimits, Revision, Scopes, TransactionId};
use semblance::gallery::{
    Applied, Change, Export, Frames, GallerySize, IndexedTemplate, MatcherFeed, MemoryMatcher, NotAGallery,
};
use semblance::image::Photo;
use semblance::service::{Caller, IdentifyOptions};
use semblance::store::{ErasureReason, Key, OnConflict};

use crate::snapshots::{Fixture, KEY, Node, id, on_both_databases, template};

const NEW_KEY: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";

on_both_databases! {
    an_unreadable_row_does_not_block_others
    a_broken_gallery_does_not_block_others
    a_gallery_that_is_not_followed_is_not_searched_for_ever
    a_node_without_the_key_sees_removals_and_catches_up_with_it
    a_restored_database_is_followed
    a_restored_database_that_continued_is_detected
    expired_templates_are_removed_and_no_longer_found
    a_panic_while_following_does_not_end_it
    indexes_change_on_threads_of_their_own
}

async fn poll(node: &Node) {
    node.service.replicator().poll().await.unwrap();
}

/// Writes past the node, as another node does.
async fn insert(node: &Node, app: &AppId, numbers: std::ops::Range<u32>) {
    let templates: Vec<IndexedTemplate> = numbers.map(template).collect();
    node.store.templates.insert_all(app, &templates, OnConflict::Refuse).await.unwrap();
}

async fn an_unreadable_row_does_not_block_others(fixture: Fixture) {
    let node = fixture.start().await;
    let a = node.new_app().await;
    let b = node.new_app().await;
    node.fill(&a, 0..5).await;
    node.fill(&b, 0..5).await;
    fixture.tamper("UPDATE samples SET sealed = substr(sealed, 1, 40) WHERE template_id = 'person 3'").await;
    let late = fixture.start().await;
    assert!(late.service.is_ready(), "a damaged row does not keep a server from being ready");
    assert_eq!((late.count(&a), late.count(&b)), (4, 4));
    let mut unreadable = late.service.replicator().unreadable();
    unreadable.sort();
    let mut expected = [(a.clone(), 1), (b.clone(), 1)];
    expected.sort();
    assert_eq!(unreadable, expected);
    late.save().await;
    assert!(!fixture.snapshots().exists(), "a snapshot would lack the row for longer than it is damaged");
    // A row is damaged before its change is read. Later changes are applied nevertheless.
    insert(&node, &a, 10..14).await;
    insert(&node, &b, 10..14).await;
    node.store.templates.remove(&a, &id(1), ErasureReason::IMPORT).await.unwrap().unwrap();
    node.store.templates.remove(&b, &id(2), ErasureReason::IMPORT).await.unwrap().unwrap();
    fixture.tamper("UPDATE samples SET data_key = substr(data_key, 1, 40) WHERE template_id = 'person 11'").await;
    poll(&node).await;
    assert!(node.service.replicator().is_store_reachable());
    node.check(&a, &[0, 2, 3, 4, 10, 12, 13]).await;
    node.check(&b, &[0, 1, 3, 4, 10, 12, 13]).await;
    // An unreadable template can be removed.
    node.remove(&a, 11).await;
    assert_eq!(node.service.replicator().unreadable(), [(b, 1)]);
}

/// The damage is in the template id, which every change needs.
async fn a_broken_gallery_does_not_block_others(fixture: Fixture) {
    let node = fixture.start().await;
    let mut apps = [node.new_app().await, node.new_app().await];
    apps.sort();
    for app in &apps {
        insert(&node, app, 0..3).await;
    }
    let broken = format!("UPDATE changes SET template_id = '' WHERE app_id = '{}' AND revision = 2", apps[0]);
    fixture.tamper(&broken).await;
    poll(&node).await;
    assert!(node.service.replicator().is_store_reachable(), "the database is not away");
    node.check(&apps[1], &[0, 1, 2]).await;
    fixture
        .tamper(&format!("UPDATE app_keys SET key_hash = substr(key_hash, 1, 3) WHERE app_id = '{}'", apps[0]))
        .await;
    node.fill(&apps[1], 3..4).await;
    node.check(&apps[1], &[0, 1, 2, 3]).await;
    let gone = node.new_app().await;
    node.service.applications().delete(&gone, &*node.store.templates).await.unwrap();
    poll(&node).await;
    assert_eq!(node.matcher.revision(&gone), None, "deleted applications are forgotten");
}

/// A person who is removed from a gallery that cannot be followed must not be found for ever.
async fn a_gallery_that_is_not_followed_is_not_searched_for_ever(fixture: Fixture) {
    let node = fixture.start().await;
    let apps = [node.new_app().await, node.new_app().await];
    for app in &apps {
        node.fill(app, 0..3).await;
    }
    poll(&node).await;
    insert(&node, &apps[0], 3..4).await;
    let tamper = async |id: &str| {
        let sql = format!("UPDATE changes SET template_id = '{id}' WHERE app_id = '{}' AND revision = 4", apps[0]);
        fixture.tamper(&sql).await;
    };
    tamper("").await;
    let is_stale = async |app: &AppId| {
        let caller = Caller {
            app: app.clone(),
            attributes: false,
            rules: EnrollRules::default(),
            keep_crops: false,
            keep_probes: None,
            threshold: None,
            limits: RequestLimits::default(),
            scopes: Scopes::ALL,
            key: None,
            transaction: TransactionId::random(),
            actor: Actor::Server,
        };
        let photo = Photo::new(crate::support::photo("ann"));
        let outcome = node.service.identify(&caller, photo, IdentifyOptions::default()).await;
        matches!(outcome, Err(semblance::service::Error::Stale))
    };
    for _ in 0..2 {
        fixture.time.advance(Duration::from_secs(890));
        poll(&node).await;
        assert!(!node.service.replicator().is_stale() && !is_stale(&apps[1]).await);
    }
    assert!(is_stale(&apps[0]).await, "its last change was read 1780 s ago");
    assert_eq!(node.service.replicator().stale_galleries(), 1);
    assert!(node.service.is_ready(), "the other gallery is served");
    tamper("person 3").await;
    poll(&node).await;
    assert!(!is_stale(&apps[0]).await);
    assert_eq!(node.service.replicator().stale_galleries(), 0);
}

async fn a_node_without_the_key_sees_removals_and_catches_up_with_it(fixture: Fixture) {
    let file = semblance::store::KeyFile::new(fixture.dir.path().join("sealing.key"));
    std::fs::write(file.path(), KEY).unwrap();
    let node = fixture.start_of(1, semblance::store::KeySource::File { file: file.clone(), create: false }).await;
    let app = node.new_app().await;
    node.fill(&app, 0..5).await;
    let other = fixture.start_given(1, &format!("{KEY} {NEW_KEY}")).await;
    other.store.keys.activate(Key::from_text(NEW_KEY).unwrap().id()).await.unwrap();
    other
        .store
        .templates
        .insert_all(&app, &[template(6), template(2)], OnConflict::Replace(ErasureReason::IMPORT))
        .await
        .unwrap();
    other.store.templates.remove(&app, &id(3), ErasureReason::IMPORT).await.unwrap().unwrap();
    poll(&node).await;
    node.check(&app, &[0, 1, 4]).await; // of what it cannot read it has nothing, not what was there before
    assert!(node.service.is_ready() && node.service.replicator().lacks_key());
    std::fs::write(file.path(), format!("{KEY}\n{NEW_KEY}\n")).unwrap();
    poll(&node).await;
    node.check(&app, &[0, 1, 2, 4, 6]).await;
    assert!(!node.service.replicator().lacks_key());

    // A node does not start without a key. Where that is not detected, it is not ready and serves no partial gallery.
    fixture.tamper("DELETE FROM meta WHERE name = 'superseded keys'").await;
    let late = fixture.start_given(1, NEW_KEY).await;
    assert!(!late.service.is_ready() && late.service.replicator().lacks_key());
    assert_eq!(late.matcher.revision(&app), None);
    assert!(late.service.replicator().is_store_reachable());
    let mut at = other.store.keys.reseal(None).await.unwrap().next;
    while at.is_some() {
        at = other.store.keys.reseal(at).await.unwrap().next;
    }
    fixture.start_given(1, NEW_KEY).await.check(&app, &[0, 1, 2, 4, 6]).await;
    poll(&late).await;
    assert_eq!(late.matcher.revision(&app), None, "it is read again after a minute");
    fixture.time.advance(Duration::from_secs(60));
    poll(&late).await;
    late.check(&app, &[0, 1, 2, 4, 6]).await;
}

async fn expired_templates_are_removed_and_no_longer_found(fixture: Fixture) {
    let node = fixture.start().await;
    let app = node.new_app().await;
    node.fill(&app, 0..20).await;
    assert!(node.service.applications().set_retention(&app, Some(Duration::from_secs(90))).await.unwrap());
    fixture.time.advance(Duration::from_secs(60));
    node.fill(&app, 20..30).await;
    assert_eq!(node.service.remove_expired().await.unwrap(), 0);
    fixture.time.advance(Duration::from_secs(31));
    assert_eq!(node.service.remove_expired().await.unwrap(), 20);
    node.check(&app, &(20..30).collect::<Vec<_>>()).await;
    assert_eq!(node.count(&app), 10);
}

/// A backup is restored, or a standby takes over that lacks the last writes.
async fn a_restored_database_is_followed(fixture: Fixture) {
    let node = fixture.start().await;
    let app = node.new_app().await;
    let other = node.new_app().await;
    node.fill(&app, 0..5).await;
    node.fill(&other, 0..5).await;
    node.save().await;
    node.fill(&app, 5..8).await;
    restore_backup(&fixture).await;
    poll(&node).await;
    node.check(&app, &[0, 1, 2, 3, 4]).await;
    node.check(&other, &[0, 1, 2, 3, 4]).await;
    // Writes continue from there.
    node.fill(&app, 20..22).await;
    node.check(&app, &[0, 1, 2, 3, 4, 20, 21]).await;
    let started = tokio::time::timeout(Duration::from_secs(20), fixture.start()).await.unwrap();
    started.check(&app, &[0, 1, 2, 3, 4, 20, 21]).await;
}

/// Restores revision 5. The later writes, of templates 5 and more, are lost.
async fn restore_backup(fixture: &Fixture) {
    for sql in [
        "DELETE FROM changes WHERE revision > 5",
        "DELETE FROM templates WHERE template_id NOT IN ('person 0', 'person 1', 'person 2', 'person 3', 'person 4')",
        "UPDATE applications SET revision = 5 WHERE revision > 5",
    ] {
        fixture.tamper(sql).await;
    }
}

/// Another node writes to the restored database before this one polls: up to the revision that this one shows, or
/// beyond.
async fn a_restored_database_that_continued_is_detected(fixture: Fixture) {
    for (began_with_a_snapshot, more) in [(false, 3), (false, 6), (true, 3), (true, 6)] {
        let node = fixture.start().await;
        let app = node.new_app().await;
        node.fill(&app, 0..5).await;
        let node = if began_with_a_snapshot {
            node.save().await;
            fixture.start().await
        } else {
            node
        };
        node.fill(&app, 5..8).await;
        restore_backup(&fixture).await;
        insert(&node, &app, 20..20 + more).await;
        poll(&node).await;
        let expected: Vec<u32> = (0..5).chain(20..20 + more).collect();
        node.check(&app, &expected).await;
        node.service.applications().delete(&app, &*node.store.templates).await.unwrap();
    }
}

/// The index, except that one call of `apply` panics when `panics` is set.
struct WatchedFeed {
    matcher: Arc<MemoryMatcher>,
    panics: AtomicBool,
    /// The threads that changed it.
    threads: Mutex<BTreeSet<String>>,
}

impl WatchedFeed {
    fn new(node: &Node, panics: bool) -> Arc<Self> {
        Arc::new(Self { matcher: node.matcher.clone(), panics: AtomicBool::new(panics), threads: Mutex::default() })
    }

    fn record_thread(&self) {
        let thread = std::thread::current();
        self.threads.lock().unwrap().insert(thread.name().unwrap_or_default().to_owned());
    }
}

impl MatcherFeed for WatchedFeed {
    fn revision(&self, app: &AppId) -> Option<Revision> {
        self.matcher.revision(app)
    }

    fn replace(&self, app: &AppId, revision: Revision, templates: Vec<IndexedTemplate>) {
        self.record_thread();
        self.matcher.replace(app, revision, templates);
    }

    fn export(&self, app: &AppId) -> Option<Export> {
        self.matcher.export(app)
    }

    fn import(&self, app: &AppId, revision: Revision, frames: &mut Frames<'_>) -> Result<(), NotAGallery> {
        self.matcher.import(app, revision, frames)
    }

    fn apply(&self, app: &AppId, change: Change) -> Applied {
        self.record_thread();
        assert!(!self.panics.swap(false, Ordering::SeqCst), "this test makes it panic");
        self.matcher.apply(app, change)
    }

    fn unload(&self, app: &AppId) {
        self.record_thread();
        self.matcher.unload(app);
    }

    fn loaded(&self) -> Vec<AppId> {
        self.matcher.loaded()
    }

    fn size(&self, app: &AppId) -> GallerySize {
        self.matcher.size(app)
    }
}

async fn a_panic_while_following_does_not_end_it(fixture: Fixture) {
    let node = fixture.start().await;
    let app = node.new_app().await;
    node.fill(&app, 0..2).await;
    let feed = WatchedFeed::new(&node, true);
    let follower = fixture.service(1, &node.store, &node.matcher, feed);
    insert(&node, &app, 2..3).await;
    follower.replicator().poll().await.unwrap();
    node.check(&app, &[0, 1]).await;
    follower.replicator().poll().await.unwrap();
    node.check(&app, &[0, 1, 2]).await;
}

/// Loading, following and unloading a gallery do not hold up the async runtime.
async fn indexes_change_on_threads_of_their_own(fixture: Fixture) {
    let node = fixture.start().await;
    let app = node.new_app().await;
    node.fill(&app, 0..3).await;
    node.matcher.unload(&app);
    let feed = WatchedFeed::new(&node, false);
    let follower = fixture.service(1, &node.store, &node.matcher, feed.clone());
    follower.replicator().poll().await.unwrap();
    node.check(&app, &[0, 1, 2]).await;
    insert(&node, &app, 3..5).await;
    follower.replicator().poll().await.unwrap();
    node.check(&app, &[0, 1, 2, 3, 4]).await;
    node.service.applications().delete(&app, &*node.store.templates).await.unwrap();
    follower.replicator().poll().await.unwrap();
    assert_eq!(node.matcher.revision(&app), None);
    let threads = feed.threads.lock().unwrap().clone();
    assert!(!threads.is_empty() && threads.iter().all(|name| name.starts_with("index-")), "{threads:?}");
}
