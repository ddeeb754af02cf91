//! The keys of applications, and what operators change of an application.

use semblance::domain::{AppState, RequestLimits};
use semblance::store::application::{MAX_KEPT_KEYS, MAX_KEYS};
use semblance::store::{
    AppChange, AppKeyChange, AppKeyRefusal, AppRefusal, KeyUse, OutboxEvent, Replaced, Replacement, Rotated,
};

use super::*;

conformance! {
    keys_are_added_replaced_changed_and_ended
    two_nodes_exceed_no_number_of_keys_together
    only_so_many_ended_keys_are_kept
    the_last_use_of_a_key_only_moves_forward
    a_change_and_its_event_are_one_transaction
    an_application_is_changed_as_a_whole_or_not_at_all
    a_shorter_retention_erases_no_more_than_is_confirmed
    the_keys_of_the_version_before_become_rows
    the_version_before_reads_the_keys_that_it_understands
    a_damaged_key_opens_for_no_one
}

fn replacement(byte: u8) -> Replacement {
    Replacement {
        id: AppKeyId::random(),
        hash: KeyHash([byte; 32]),
        hint: None,
        created_by: Some("command".to_owned()),
    }
}

async fn keys(store: &Store) -> Vec<AppKeyRecord> {
    store.apps.list().await.unwrap().remove(0).keys
}

async fn find(store: &Store, id: AppKeyId) -> AppKeyRecord {
    keys(store).await.into_iter().find(|key| key.id == id).expect("the key is kept")
}

async fn keys_are_added_replaced_changed_and_ended(fixture: Fixture) {
    const HOUR: Duration = Duration::from_secs(3600);
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let first = keys(&store).await.remove(0);
    let scopes: Scopes = "identify,read".parse().unwrap();
    let expires_at = Some(UNIX_EPOCH + Duration::from_millis(4_102_444_800_123));
    let wanted = AppKeyRecord { name: "gate".to_owned(), scopes, expires_at, ..key(9) };
    let added = store.app_keys.add_key(&a, &wanted, None).await.unwrap().unwrap();
    assert!(added.created_at > first.created_at, "it is dated by the database");
    assert_eq!(find(&store, added.id).await, AppKeyRecord { created_at: added.created_at, ..wanted });

    let rotated = store.app_keys.replace_key(&a, Replaced::Key(added.id), &replacement(8), HOUR, None).await;
    let Rotated { key: new, replaced } = rotated.unwrap().unwrap();
    assert_eq!((new.name.as_str(), new.scopes, new.expires_at, new.ends_at), ("gate", scopes, expires_at, None));
    let left = replaced.ends_at.unwrap().duration_since(SystemTime::now()).unwrap();
    assert!((3500..=3600).contains(&left.as_secs()), "{left:?}");
    let reopened = fixture.open().await;
    assert_eq!((find(&reopened, new.id).await, find(&reopened, added.id).await), (new.clone(), replaced));

    let suspend = AppKeyChange { switch: Some(KeySwitch::Suspended), ..AppKeyChange::default() };
    assert_eq!(
        store.app_keys.change_key(&a, new.id, &suspend, None).await.unwrap().unwrap().switch,
        KeySwitch::Suspended
    );
    let change = AppKeyChange {
        name: Some("door".to_owned()),
        switch: Some(KeySwitch::Active),
        scopes: Some(Scopes::ALL),
        ends_at: None,
        expires_at: Some(None),
    };
    let changed = store.app_keys.change_key(&a, new.id, &change, None).await.unwrap().unwrap();
    let expected = AppKeyRecord { name: "door".to_owned(), scopes: Scopes::ALL, expires_at: None, ..new.clone() };
    assert_eq!((&changed, find(&store, new.id).await), (&expected, expected.clone()));

    let end = AppKeyChange { switch: Some(KeySwitch::Ended), ..AppKeyChange::default() };
    let ended = store.app_keys.change_key(&a, new.id, &end, None).await.unwrap().unwrap();
    assert!(ended.switch == KeySwitch::Ended && ended.ends_at.is_some());
    let again = store.app_keys.change_key(&a, new.id, &change, None).await.unwrap();
    assert_eq!(again, Err(AppKeyRefusal::Ended));
    let other = store.app_keys.replace_key(&a, Replaced::Key(AppKeyId::random()), &replacement(1), HOUR, None).await;
    assert_eq!(other.unwrap(), Err(AppKeyRefusal::NoSuchKey));
    let unknown = store.app_keys.add_key(&app("unknown"), &key(1), None).await.unwrap();
    assert_eq!(unknown, Err(AppKeyRefusal::NoSuchApp));
    assert!(
        store.app_keys.end_keys(&a, None).await.unwrap()
            && !store.app_keys.end_keys(&app("unknown"), None).await.unwrap()
    );
    assert!(keys(&store).await.iter().all(|key| key.switch == KeySwitch::Ended));
    assert!(store.apps.delete(&a).await.unwrap());
    assert_eq!(fixture.number("SELECT count(*) FROM app_keys").await, Some(0));
}

async fn two_nodes_exceed_no_number_of_keys_together(fixture: Fixture) {
    let stores = [fixture.open().await, fixture.open().await];
    let a = with_app(&stores[0], "a").await;
    let tasks: Vec<_> = (0..2 * MAX_KEYS)
        .map(|n| {
            let (store, a) = (stores[n % 2].clone(), a.clone());
            tokio::spawn(async move { store.app_keys.add_key(&a, &key(n as u8), None).await.unwrap().is_ok() })
        })
        .collect();
    let mut added = 0;
    for task in tasks {
        added += usize::from(task.await.unwrap());
    }
    assert_eq!((added, keys(&stores[1]).await.len()), (MAX_KEYS - 1, MAX_KEYS));
    let refused = stores[0].app_keys.add_key(&a, &key(1), None).await.unwrap();
    assert_eq!(refused, Err(AppKeyRefusal::TooMany));
}

async fn only_so_many_ended_keys_are_kept(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let first = keys(&store).await[0].id;
    for byte in 0..(MAX_KEPT_KEYS as u8 + 3) {
        let new = replacement(byte);
        store.app_keys.replace_key(&a, Replaced::Only, &new, Duration::ZERO, None).await.unwrap().unwrap();
        fixture.time.advance(Duration::from_secs(1));
    }
    let kept = keys(&store).await;
    let active = kept.iter().filter(|key| key.switch == KeySwitch::Active).count();
    assert_eq!((kept.len(), active), (MAX_KEPT_KEYS, 1));
    assert!(kept.iter().all(|key| key.id != first), "the first one is gone");
}

async fn the_last_use_of_a_key_only_moves_forward(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let id = keys(&store).await[0].id;
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let uses = |seconds| [KeyUse { app: a.clone(), key: id, at: at(seconds) }];
    store.app_keys.record_key_uses(&uses(120)).await.unwrap();
    store.app_keys.record_key_uses(&uses(60)).await.unwrap();
    assert_eq!(find(&store, id).await.last_used_at, Some(at(120)));
    store.app_keys.record_key_uses(&uses(180)).await.unwrap();
    assert_eq!(find(&store, id).await.last_used_at, Some(at(180)));
    let gone = [KeyUse { app: app("unknown"), key: id, at: at(240) }];
    store.app_keys.record_key_uses(&gone).await.unwrap();
}

async fn a_change_and_its_event_are_one_transaction(fixture: Fixture) {
    let store = fixture.open().await;
    let made = record("a");
    let event = |operation: &str| OutboxEvent::new(UNIX_EPOCH, operation, Some(&made.id), "detail");
    assert!(store.apps.create_recorded(&made, Some(&event("created"))).await.unwrap());
    assert!(!store.apps.create_recorded(&made, Some(&event("refused"))).await.unwrap());
    let change = AppChange { name: Some("b".to_owned()), ..AppChange::default() };
    store.apps.change(&made.id, &change, Some(&event("changed"))).await.unwrap().unwrap();
    let stale = AppChange { if_revision: Some(77), ..change };
    let refused = store.apps.change(&made.id, &stale, Some(&event("refused"))).await.unwrap();
    assert_eq!(refused, Err(AppRefusal::Changed(1)));
    let keys = &store.app_keys;
    keys.add_key(&made.id, &key(1), Some(&event("key added"))).await.unwrap().unwrap();
    let only =
        keys.replace_key(&made.id, Replaced::Only, &replacement(2), Duration::ZERO, Some(&event("refused"))).await;
    assert_eq!(only.unwrap(), Err(AppKeyRefusal::NotOne(2)));
    let claim = store.outbox.claim(uuid::Uuid::new_v4(), Duration::from_secs(9), 10).await.unwrap();
    let operations: BTreeSet<_> = claim.events.iter().map(|event| event.operation.as_str()).collect();
    assert_eq!(operations, BTreeSet::from(["created", "changed", "key added"]));
    assert!(claim.events.iter().all(|event| event.at > UNIX_EPOCH), "they are dated by the database");
}

async fn an_application_is_changed_as_a_whole_or_not_at_all(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let b = with_app(&store, "b").await;
    let now = async |id: &AppId| store.apps.list().await.unwrap().into_iter().find(|app| app.id == *id).unwrap();
    let before = now(&a).await;
    let change = AppChange {
        if_revision: Some(0),
        name: Some("the gate".to_owned()),
        state: Some(AppState::Suspended),
        threshold: Some(Some(0.8)),
        limits: Some(RequestLimits { per_second: Some(2.5), burst: Some(7), share: Some(0.25) }),
        attributes: Some(false),
        keep_crops: Some(true),
        keep_probes: Some(Some(Duration::from_secs(600))),
        retention: Some(Some(Duration::from_secs(90))),
        may_erase: Some(0),
        guard: Some(Guard::Warn),
        min_quality: Some(Some(0.5)),
        max_templates: Some(Some(10)),
        max_samples: Some(Some(20)),
        name_search: Some(false),
        require_consent: Some(true),
    };
    assert_eq!(store.apps.change(&a, &change, None).await.unwrap(), Ok(1));
    let rules = EnrollRules {
        guard: Guard::Warn,
        min_quality: Some(0.5),
        quota: Quota { templates: Some(10), samples: Some(20) },
        require_consent: true,
    };
    let expected = AppRecord {
        name: "the gate".to_owned(),
        state: AppState::Suspended,
        threshold: Some(0.8),
        limits: RequestLimits { per_second: Some(2.5), burst: Some(7), share: Some(0.25) },
        attributes: false,
        keep_crops: true,
        keep_probes: Some(Duration::from_secs(600)),
        name_search: false,
        retention: Some(Duration::from_secs(90)),
        rules,
        settings_revision: 1,
        ..before.clone()
    };
    assert_eq!(now(&a).await, expected);
    let refused = store.apps.change(&a, &change, None).await.unwrap();
    assert_eq!((refused, now(&a).await), (Err(AppRefusal::Changed(1)), expected), "it was changed meanwhile");
    let back = AppChange {
        name: Some(before.name.clone()),
        state: Some(AppState::Active),
        threshold: Some(None),
        limits: Some(RequestLimits::default()),
        attributes: Some(true),
        keep_crops: Some(false),
        keep_probes: Some(None),
        retention: Some(None),
        guard: Some(Guard::Off),
        min_quality: Some(None),
        max_templates: Some(None),
        max_samples: Some(None),
        name_search: Some(before.name_search),
        require_consent: Some(false),
        ..AppChange::default()
    };
    assert_eq!(store.apps.change(&a, &back, None).await.unwrap(), Ok(2));
    assert_eq!(now(&a).await, AppRecord { settings_revision: 2, ..before });
    assert_eq!(now(&b).await, AppRecord { keys: now(&b).await.keys, ..record("b") }, "another one is not changed");
    assert_eq!(store.apps.change(&app("unknown"), &back, None).await.unwrap(), Err(AppRefusal::NoSuchApp));
    // A state of a newer version counts as suspended.
    fixture.tamper("UPDATE applications SET state = 'asleep' WHERE app_id = 'a'").await;
    assert_eq!(now(&a).await.state, AppState::Suspended);
}

async fn a_shorter_retention_erases_no_more_than_is_confirmed(fixture: Fixture) {
    const DAY: Duration = Duration::from_secs(86_400);
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let templates: Vec<_> =
        (0..150).map(|n| IndexedTemplate { id: id(&format!("t{n}")), samples: vec![sample(n)] }).collect();
    store.templates.insert_all(&a, &templates, OnConflict::Refuse).await.unwrap();
    fixture.time.advance(2 * DAY);
    insert(&store, &a, "new", &sample(1)).await.unwrap();
    let change = |retention, may_erase| {
        let (store, a) = (store.clone(), a.clone());
        let change = AppChange { retention: Some(retention), may_erase: Some(may_erase), ..AppChange::default() };
        async move { store.apps.change(&a, &change, None).await.unwrap() }
    };
    assert_eq!(change(Some(DAY), 0).await, Err(AppRefusal::WouldErase(150)));
    assert_eq!(change(Some(DAY), 149).await, Err(AppRefusal::WouldErase(150)));
    assert_eq!(store.apps.list().await.unwrap()[0].retention, None, "a refused change changes nothing");
    assert_eq!(change(Some(5 * DAY), 0).await, Ok(1), "nothing is as old");
    assert_eq!(change(Some(DAY), 150).await, Ok(2));
    // What was confirmed is not held back, although it is more than the budget of a day.
    let mut erased = 0;
    loop {
        match store.retention.expire(&a, 500).await.unwrap().erased {
            0 => break,
            more => erased += more,
        }
    }
    assert_eq!((erased, store.templates.count(&a).await.unwrap()), (150, 1));
    assert_eq!(store.retention.retentions().await.unwrap()[0].hold, None);
    assert_eq!(change(Some(3 * DAY), 0).await, Ok(3), "a longer period erases nothing");
}

/// The schema as it was before, with an application and two keys; then the migration.
async fn the_keys_of_the_version_before_become_rows(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let until = SystemTime::now() + Duration::from_secs(3600);
    let until_ms = until.duration_since(UNIX_EPOCH).unwrap().as_millis();
    let bytes = |byte: u8| match &fixture.database {
        DatabaseConfig::Sqlite(_) => format!("x'{}'", hex(byte)),
        DatabaseConfig::Postgres { .. } => format!("'\\x{}'::bytea", hex(byte)),
    };
    let former = format!(
        "UPDATE applications SET key_hash = {}, former_key_hash = {}, former_until = {until_ms}",
        bytes(5),
        bytes(6)
    );
    let both = async |store: &Store| {
        let mut found: Vec<_> = keys(store).await;
        found.sort_by_key(|key| key.hash.0);
        found
    };
    let check = |found: &[AppKeyRecord]| {
        let [present, former] = found else { panic!("{found:?}") };
        assert_eq!((present.hash, former.hash), (KeyHash([5; 32]), KeyHash([6; 32])));
        assert_eq!((present.ends_at, former.ends_at.is_some()), (None, true));
        for key in [present, former] {
            let unknown = key.hint.is_none() && key.last_used_at.is_none() && key.created_by.is_none();
            assert!(unknown && key.scopes == Scopes::ALL && key.switch == KeySwitch::Active, "{key:?}");
        }
    };
    // A backup of the version before was restored, or it has created the application since.
    fixture.tamper("DELETE FROM app_keys").await;
    fixture.tamper(&former).await;
    check(&both(&fixture.open().await).await);
    assert_eq!(both(&fixture.open().await).await.len(), 2, "it happens once");
    drop(store);

    let number = "SELECT version FROM _sqlx_migrations WHERE description LIKE 'app_keys'";
    let number = fixture.number(number).await.expect("the migration is applied");
    fixture.tamper("DROP TABLE app_keys").await;
    for column in ["state", "threshold", "rate_per_s", "rate_burst", "share", "settings_revision"] {
        fixture.tamper(&format!("ALTER TABLE applications DROP COLUMN {column}")).await;
    }
    fixture.tamper(&format!("DELETE FROM _sqlx_migrations WHERE version = {number}")).await;
    fixture.tamper(&former).await;
    let store = fixture.open().await;
    check(&both(&store).await);
    assert_eq!(store.apps.list().await.unwrap()[0].state, AppState::Active);
    assert!(store.app_keys.end_keys(&a, None).await.unwrap());
}

fn hex(byte: u8) -> String {
    format!("{byte:02x}").repeat(32)
}

/// A server of the version before that runs beside this one accepts no key that is revoked or restricted.
async fn the_version_before_reads_the_keys_that_it_understands(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let first_byte = async |column: &str| {
        let sql = match &fixture.database {
            DatabaseConfig::Sqlite(_) => {
                format!("SELECT CAST(hex(substr({column}, 1, 1)) AS INTEGER) FROM applications")
            }
            DatabaseConfig::Postgres { .. } => {
                format!("SELECT CAST(nullif(encode(substr({column}, 1, 1), 'hex'), '') AS BIGINT) FROM applications")
            }
        };
        fixture.number(&sql).await.filter(|byte| *byte > 0)
    };
    assert_eq!(first_byte("key_hash").await, Some(7));
    let reads: Scopes = "read".parse().unwrap();
    store.app_keys.add_key(&a, &AppKeyRecord { scopes: reads, ..key(8) }, None).await.unwrap().unwrap();
    let expiring = AppKeyRecord { expires_at: Some(SystemTime::now() + Duration::from_secs(9999)), ..key(9) };
    store.app_keys.add_key(&a, &expiring, None).await.unwrap().unwrap();
    assert_eq!(first_byte("key_hash").await, Some(7), "it knows neither scopes nor an expiry");
    let id = keys(&store).await.into_iter().find(|key| key.hash == KeyHash([7; 32])).unwrap().id;
    let hour = Duration::from_secs(3600);
    store.app_keys.replace_key(&a, Replaced::Key(id), &replacement(6), hour, None).await.unwrap().unwrap();
    assert_eq!((first_byte("key_hash").await, first_byte("former_key_hash").await), (Some(6), Some(7)));
    let state = |state| AppChange { state: Some(state), ..AppChange::default() };
    store.apps.change(&a, &state(AppState::Suspended), None).await.unwrap().unwrap();
    assert_eq!((first_byte("key_hash").await, first_byte("former_key_hash").await), (None, None));
    store.apps.change(&a, &state(AppState::Active), None).await.unwrap().unwrap();
    assert_eq!((first_byte("key_hash").await, first_byte("former_key_hash").await), (Some(6), Some(7)));
    store.app_keys.end_keys(&a, None).await.unwrap();
    assert_eq!((first_byte("key_hash").await, first_byte("former_key_hash").await), (None, None));
}

async fn a_damaged_key_opens_for_no_one(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let sound = store.app_keys.add_key(&a, &key(1), None).await.unwrap().unwrap();
    fixture
        .tamper("UPDATE app_keys SET scopes = 'fly' WHERE hint = '3f9a' AND name = 'first' AND created_at < 2000000")
        .await;
    assert_eq!(keys(&store).await, std::slice::from_ref(&sound), "a key of a newer version, or damaged");
    fixture.tamper("UPDATE app_keys SET key_hash = substr(key_hash, 1, 3)").await;
    assert_eq!(keys(&store).await, [AppKeyRecord { hash: KeyHash([0; 32]), ..sound }]);
}
