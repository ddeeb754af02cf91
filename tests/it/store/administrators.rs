//! Administrators, tokens, sessions and one-time codes.

use semblance::domain::{AdminSessionId, AdminTokenId, AdministratorId, Role};
use semblance::store::{
    AdminChange, AdminCodeRecord, AdminSessionRecord, AdminTokenRecord, AdministratorRecord, LastUse, OutboxEvent,
    SessionsOver, TokenChange,
};
use uuid::Uuid;

use super::*;

conformance! {
    administrators_are_stored_as_they_are_given
    a_name_is_one_administrators
    one_active_owner_is_left_however_many_change_at_once
    a_token_ends_with_its_sessions
    a_code_is_used_once
    sessions_are_bounded_and_end
    the_first_administrator_is_made_once
    a_change_has_its_event
}

fn now() -> SystemTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UNIX_EPOCH + Duration::from_millis(u64::try_from(since.as_millis()).unwrap())
}

fn administrator(name: &str, role: Role) -> AdministratorRecord {
    AdministratorRecord {
        id: AdministratorId::random(),
        name: name.to_owned(),
        role,
        applications: None,
        may_change: true,
        is_active: true,
        is_bootstrap: false,
        created_at: now(),
        last_sign_in_at: None,
    }
}

fn token(of: &AdministratorRecord, id: &str) -> AdminTokenRecord {
    AdminTokenRecord {
        id: id.parse::<AdminTokenId>().unwrap(),
        administrator: of.id.clone(),
        name: "a token".to_owned(),
        hash: KeyHash([7; 32]),
        created_at: now(),
        last_used_at: None,
        expires_at: Some(now() + Duration::from_secs(60)),
    }
}

fn session(of: &AdministratorRecord, byte: u8, token: Option<&AdminTokenRecord>) -> AdminSessionRecord {
    let at = now() + Duration::from_millis(u64::from(byte));
    AdminSessionRecord {
        id: AdminSessionId::random(),
        hash: KeyHash([byte; 32]),
        administrator: of.id.clone(),
        token: token.map(|token| token.id.clone()),
        address: Some("192.0.2.7".to_owned()),
        client: None,
        created_at: at,
        last_seen_at: at,
        confirmed_at: at,
    }
}

fn event(operation: &str) -> OutboxEvent {
    OutboxEvent::new(now(), operation, None, "x")
}

async fn create(store: &Store, new: &AdministratorRecord) {
    assert!(store.administrators.create_administrator(new, &event("create")).await.unwrap());
}

async fn administrators_are_stored_as_they_are_given(fixture: Fixture) {
    let store = fixture.open().await;
    let ada = AdministratorRecord {
        applications: Some(vec![app("a"), app("b")]),
        may_change: false,
        is_bootstrap: true,
        ..administrator("Ada", Role::Operator)
    };
    let owner = administrator("Own", Role::Owner);
    create(&store, &ada).await;
    create(&store, &owner).await;
    let token = token(&ada, "0a");
    assert_eq!(store.administrators.create_token(&token, 10, &event("token")).await.unwrap(), TokenChange::Done);
    let session = session(&ada, 1, Some(&token));
    assert!(store.administrators.create_session(&session, 20, false, &event("sign in")).await.unwrap());
    let mut state = store.administrators.state().await.unwrap();
    state.administrators.retain(|one| one.id == ada.id);
    let signed_in = AdministratorRecord { last_sign_in_at: Some(session.created_at), ..ada.clone() };
    assert_eq!(state.administrators, [signed_in]);
    assert_eq!((state.tokens, state.sessions), (vec![token.clone()], vec![session.clone()]));
    let changed = AdministratorRecord { name: "Bo".to_owned(), role: Role::Auditor, applications: None, ..ada };
    let done = store.administrators.update_administrator(&changed, true, &event("change")).await.unwrap();
    assert_eq!(done, AdminChange::Done);
    let state = store.administrators.state().await.unwrap();
    assert!(state.sessions.is_empty(), "they end with what the administrator may no longer do");
    assert!(state.administrators.iter().any(|one| one.name == "Bo" && one.role == Role::Auditor));
}

async fn a_name_is_one_administrators(fixture: Fixture) {
    let store = fixture.open().await;
    create(&store, &administrator("Zoë", Role::Owner)).await;
    for name in ["Zoë", "ZOË", "Zoe\u{308}"] {
        let same = administrator(name, Role::Auditor);
        assert!(!store.administrators.create_administrator(&same, &event("create")).await.unwrap(), "{name}");
    }
    let other = administrator("Zoe", Role::Auditor);
    create(&store, &other).await;
    let renamed = AdministratorRecord { name: "zoë".to_owned(), ..other.clone() };
    let taken = store.administrators.update_administrator(&renamed, false, &event("change")).await.unwrap();
    assert_eq!(taken, AdminChange::NameTaken);
    let renamed = AdministratorRecord { name: "ZOE".to_owned(), ..other };
    let own = store.administrators.update_administrator(&renamed, false, &event("change")).await.unwrap();
    assert_eq!(own, AdminChange::Done, "its own name in another case");
}

async fn one_active_owner_is_left_however_many_change_at_once(fixture: Fixture) {
    let store = fixture.open().await;
    let owners: Vec<_> = (0..4).map(|n| administrator(&format!("o{n}"), Role::Owner)).collect();
    for owner in &owners {
        create(&store, owner).await;
    }
    let changes = owners.iter().enumerate().map(|(at, owner)| {
        let administrators = store.administrators.clone();
        let owner = owner.clone();
        tokio::spawn(async move {
            match at % 2 {
                0 => administrators.delete_administrator(&owner.id, &event("delete")).await.unwrap(),
                _ => {
                    let disabled = AdministratorRecord { is_active: false, ..owner };
                    administrators.update_administrator(&disabled, true, &event("change")).await.unwrap()
                }
            }
        })
    });
    let mut outcomes = Vec::new();
    for change in changes.collect::<Vec<_>>() {
        outcomes.push(change.await.unwrap());
    }
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == AdminChange::Done).count(), 3, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == AdminChange::LastOwner).count(), 1, "{outcomes:?}");
    let state = store.administrators.state().await.unwrap();
    assert_eq!(state.administrators.iter().filter(|one| one.role == Role::Owner && one.is_active).count(), 1);
    let unknown = AdministratorId::random();
    let none = store.administrators.delete_administrator(&unknown, &event("delete")).await.unwrap();
    assert_eq!(none, AdminChange::NotFound);
}

async fn a_token_ends_with_its_sessions(fixture: Fixture) {
    let store = fixture.open().await;
    let owner = administrator("Own", Role::Owner);
    create(&store, &owner).await;
    for id in ["0a", "0b"] {
        let made = store.administrators.create_token(&token(&owner, id), 2, &event("token")).await.unwrap();
        assert_eq!(made, TokenChange::Done);
    }
    let many = store.administrators.create_token(&token(&owner, "0c"), 2, &event("token")).await.unwrap();
    assert_eq!(many, TokenChange::TooMany);
    let stranger = administrator("X", Role::Owner);
    let none = store.administrators.create_token(&token(&stranger, "0d"), 2, &event("token")).await.unwrap();
    assert_eq!(none, TokenChange::NotFound);
    for (byte, id) in [(1, "0a"), (2, "0b")] {
        let session = session(&owner, byte, Some(&token(&owner, id)));
        assert!(store.administrators.create_session(&session, 20, false, &event("sign in")).await.unwrap());
    }
    let ended: AdminTokenId = "0a".parse().unwrap();
    assert!(store.administrators.delete_token(&ended, &event("end")).await.unwrap());
    assert!(!store.administrators.delete_token(&ended, &event("end")).await.unwrap());
    let state = store.administrators.state().await.unwrap();
    assert_eq!((state.tokens.len(), state.sessions.len()), (1, 1));
    assert_eq!(state.sessions[0].hash, KeyHash([2; 32]));
}

async fn a_code_is_used_once(fixture: Fixture) {
    let store = fixture.open().await;
    let owner = administrator("Own", Role::Owner);
    create(&store, &owner).await;
    let code = |byte: u8, life: Duration| AdminCodeRecord {
        hash: KeyHash([byte; 32]),
        administrator: owner.id.clone(),
        created_at: now(),
        expires_at: now() + life,
    };
    assert!(store.administrators.create_code(&code(1, Duration::from_secs(60)), &event("invite")).await.unwrap());
    assert!(store.administrators.create_code(&code(2, Duration::ZERO), &event("invite")).await.unwrap());
    let later = now() + Duration::from_secs(1);
    assert_eq!(store.administrators.redeem_code(KeyHash([2; 32]), later).await.unwrap(), None, "it has ended");
    assert_eq!(store.administrators.redeem_code(KeyHash([3; 32]), later).await.unwrap(), None);
    let redeem = || store.administrators.redeem_code(KeyHash([1; 32]), later);
    let (one, other) = tokio::join!(redeem(), redeem());
    let used: Vec<_> = [one.unwrap(), other.unwrap()].into_iter().flatten().collect();
    assert_eq!(used, std::slice::from_ref(&owner.id), "by one of two requests");
}

async fn sessions_are_bounded_and_end(fixture: Fixture) {
    let store = fixture.open().await;
    let owner = administrator("Own", Role::Owner);
    let bootstrap = AdministratorRecord { is_bootstrap: true, ..administrator("First", Role::Owner) };
    create(&store, &owner).await;
    create(&store, &bootstrap).await;
    for byte in 1..=4 {
        let made = session(&owner, byte, None);
        assert!(store.administrators.create_session(&made, 3, byte == 4, &event("sign in")).await.unwrap());
    }
    let state = store.administrators.state().await.unwrap();
    let hashes: Vec<u8> = state.sessions.iter().map(|session| session.hash.0[0]).collect();
    assert_eq!(hashes, [2, 3, 4], "the oldest has ended");
    assert!(state.administrators.iter().all(|one| !one.is_bootstrap), "a named owner has signed in");
    let [two, three, four] = state.sessions.try_into().unwrap();
    let seen = two.last_seen_at + Duration::from_secs(60);
    let used = LastUse { sessions: vec![(two.id.clone(), seen), (three.id.clone(), UNIX_EPOCH)], tokens: vec![] };
    store.administrators.record_use(&used).await.unwrap();
    let confirmed = seen + Duration::from_secs(1);
    assert!(store.administrators.confirm_session(&four.id, confirmed).await.unwrap());
    let state = store.administrators.state().await.unwrap();
    let seen_at: Vec<_> = state.sessions.iter().map(|session| session.last_seen_at).collect();
    assert_eq!(seen_at, [seen, three.last_seen_at, confirmed], "a last use never goes back");
    let over = SessionsOver { created_before: UNIX_EPOCH, seen_before: seen, now: now() };
    assert_eq!(store.administrators.delete_over(over).await.unwrap(), 1);
    assert!(store.administrators.end_session(&two.id, &event("end")).await.unwrap());
    assert!(!store.administrators.end_session(&two.id, &event("end")).await.unwrap());
    let ended = store.administrators.end_sessions(Some(&owner.id), Some(&four.id), &event("end")).await.unwrap();
    assert_eq!(ended, 0, "the only one is kept");
    assert_eq!(store.administrators.end_sessions(None, None, &event("end")).await.unwrap(), 1);
    let gone = session(&administrator("X", Role::Owner), 9, None);
    assert!(!store.administrators.create_session(&gone, 3, false, &event("sign in")).await.unwrap());
}

async fn the_first_administrator_is_made_once(fixture: Fixture) {
    let nodes = [fixture.open().await, fixture.open().await];
    let makes = nodes.iter().enumerate().map(|(at, node)| {
        let administrators = node.administrators.clone();
        let first = administrator("First", Role::Owner);
        let token = token(&first, &format!("0{at}"));
        let hash = KeyHash([at as u8; 32]);
        let code = AdminCodeRecord { hash, administrator: first.id.clone(), created_at: now(), expires_at: now() };
        tokio::spawn(async move {
            administrators.create_first_administrator(&first, &token, &code, &event("first")).await.unwrap()
        })
    });
    let mut made = 0;
    for make in makes.collect::<Vec<_>>() {
        made += usize::from(make.await.unwrap());
    }
    let state = nodes[0].administrators.state().await.unwrap();
    assert_eq!((made, state.administrators.len(), state.tokens.len()), (1, 1, 1));
}

async fn a_change_has_its_event(fixture: Fixture) {
    let store = fixture.open().await;
    let owner = administrator("Own", Role::Owner);
    create(&store, &owner).await;
    assert!(!store.administrators.create_administrator(&owner, &event("again")).await.unwrap());
    let last = store.administrators.delete_administrator(&owner.id, &event("delete")).await.unwrap();
    assert_eq!(last, AdminChange::LastOwner);
    let actor = semblance::domain::Actor::Administrator(owner.id.clone());
    let change = event("change").by(actor.clone()).changing(&["name", "role"]);
    let renamed = AdministratorRecord { name: "Bo".to_owned(), ..owner };
    store.administrators.update_administrator(&renamed, false, &change).await.unwrap();
    let claim = store.outbox.claim(Uuid::new_v4(), Duration::from_secs(60), 10).await.unwrap();
    let mut operations: Vec<_> = claim.events.iter().map(|event| event.operation.as_str()).collect();
    operations.sort_unstable();
    assert_eq!(operations, ["change", "create"], "what changed nothing has none");
    let change = claim.events.iter().find(|event| event.operation == "change").unwrap();
    assert_eq!((&change.actor, &change.changed), (&Some(actor), &vec!["name".to_owned(), "role".to_owned()]));
}
