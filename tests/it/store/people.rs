//! Details of templates, and lists of people.

use semblance::domain::{Details, DetailsPatch, Field};
use semblance::store::{
    DatedTemplate, ListEntry, ListFilter, ListOrder, ListQuery, NewTemplate, PersonRecord, UpdateError,
};
use serde_json::{Value, json};

use super::*;
use crate::fuzz::mutate::Random;
use crate::support::enrolled;

conformance! {
    details_are_enrolled_changed_and_erased
    an_external_id_is_unique_in_its_application
    a_change_needs_the_expected_revision
    details_open_in_their_row_only
    details_survive_a_new_sealing_key
    lists_agree_with_a_plain_sort
    totals_are_kept_by_every_write
    templates_expire_by_themselves_within_the_budget
    imported_details_replace_none
    switches_of_people_are_set_per_application
}

pub(super) fn details(json: Value) -> Details {
    Details::from_json(json.as_object().unwrap()).unwrap()
}

pub(super) fn patch(json: Value) -> DetailsPatch {
    let mut patch = DetailsPatch::default();
    for field in Field::ALL {
        if let Some(value) = json.get(field.as_str()) {
            patch.set(field, value.clone()).unwrap();
        }
    }
    patch
}

async fn enroll(store: &Store, app: &AppId, name: &str, json: Value) -> Result<Revision, InsertError> {
    let details = details(json);
    let (id, samples) = (id(name), [enrolled(sample(1))]);
    let new = NewTemplate { id: &id, samples: &samples, details: &details };
    store.people.enroll(app, &new, OnConflict::Refuse).await
}

async fn person(store: &Store, app: &AppId, name: &str) -> Option<PersonRecord> {
    store.people.people(app, &[id(name)]).await.unwrap().pop()
}

async fn update(store: &Store, app: &AppId, name: &str, json: Value) -> Result<Revision, UpdateError> {
    store.people.update(app, &id(name), &patch(json), None).await
}

async fn details_are_enrolled_changed_and_erased(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let all = json!({
        "name": "Ada Example", "externalId": "HR-1", "groups": ["night", "staff"], "metadata": {"badge": 7},
        "consentReference": "file 12", "expiresAt": "2100-01-31T00:00:00.000Z",
    });
    assert_eq!(enroll(&store, &a, "x", all.clone()).await.unwrap(), Revision(1));
    assert_eq!(insert(&store, &a, "y", &sample(2)).await.unwrap(), Revision(2));
    let read = person(&store, &a, "x").await.unwrap();
    assert_eq!(read.details.to_full_json(), all);
    assert_eq!((read.revision, read.updated_at), (Revision(1), read.template.created_at));
    assert_eq!(read.template.samples.len(), 1);
    assert!(person(&store, &a, "y").await.unwrap().details.is_empty());

    fixture.time.advance(Duration::from_secs(5));
    let change = json!({"name": "Ada Sample", "groups": null, "metadata": {"floor": 2}, "externalId": null});
    assert_eq!(update(&store, &a, "x", change.clone()).await.unwrap(), Revision(3));
    assert_eq!(update(&store, &a, "x", change).await.unwrap(), Revision(3), "nothing changes");
    assert_eq!(revision(&store, &a).await, Revision(3));
    let read = person(&store, &a, "x").await.unwrap();
    assert_eq!(
        read.details.to_json(),
        json!({"name": "Ada Sample", "metadata": {"badge": 7, "floor": 2}, "consentReference": "file 12"})
    );
    assert!(read.revision == Revision(3) && read.updated_at > read.template.created_at);
    assert_eq!(store.people.by_external_id(&a, "HR-1").await.unwrap(), None);

    // The change is one that replicas follow.
    let Changes::List { changes, .. } = store.templates.changes(&a, &model(), Revision(2).into(), 10).await.unwrap()
    else {
        panic!("the log is whole")
    };
    assert_eq!((changes.len(), changes[0].template.id.as_str()), (1, "x"));

    // Another sample keeps the details, a replacement erases them.
    assert!(store.templates.add_sample(&a, &id("x"), &enrolled(sample(3))).await.unwrap().is_some());
    assert_eq!(person(&store, &a, "x").await.unwrap().details, read.details);
    assert_eq!(person(&store, &a, "x").await.unwrap().revision, Revision(4));
    let replace = OnConflict::Replace(ErasureReason::IMPORT);
    store.templates.insert(&a, &id("x"), &enrolled(sample(4)), replace).await.unwrap();
    assert!(person(&store, &a, "x").await.unwrap().details.is_empty());
    assert_eq!(fixture.number("SELECT count(*) FROM details").await, Some(0));

    enroll(&store, &a, "z", json!({"name": "Zoe"})).await.unwrap();
    update(&store, &a, "y", json!({"name": "Yuri"})).await.unwrap();
    assert_eq!(fixture.number("SELECT count(*) FROM details").await, Some(2));
    update(&store, &a, "y", json!({"name": null})).await.unwrap();
    store.templates.remove(&a, &id("z"), ErasureReason::IMPORT).await.unwrap();
    assert_eq!(fixture.number("SELECT count(*) FROM details").await, Some(0));
    assert!(matches!(update(&store, &a, "z", json!({"name": "Zoe"})).await, Err(UpdateError::NotFound)));
}

async fn an_external_id_is_unique_in_its_application(fixture: Fixture) {
    let store = fixture.open().await;
    let (a, b) = (with_app(&store, "a").await, with_app(&store, "b").await);
    assert_eq!(store.people.by_external_id(&a, "E1").await.unwrap(), None, "before the first one there is no key");
    enroll(&store, &a, "x", json!({"externalId": "E1"})).await.unwrap();
    enroll(&store, &b, "x", json!({"externalId": "E1"})).await.unwrap();
    let taken = enroll(&store, &a, "y", json!({"externalId": "E1", "name": "Yuri"})).await;
    assert!(matches!(taken, Err(InsertError::Refused(Refusal::ExternalIdTaken))), "{taken:?}");
    assert!(person(&store, &a, "y").await.is_none());
    assert_eq!(revision(&store, &a).await, Revision(1));
    enroll(&store, &a, "y", json!({"externalId": "e1"})).await.unwrap();
    let taken = update(&store, &a, "y", json!({"externalId": "E1"})).await;
    assert!(matches!(taken, Err(UpdateError::ExternalIdTaken)), "{taken:?}");
    assert_eq!(store.people.by_external_id(&a, "E1").await.unwrap(), Some(id("x")));
    assert_eq!(store.people.by_external_id(&a, "e1").await.unwrap(), Some(id("y")));
    assert_eq!(store.people.by_external_id(&a, "E2").await.unwrap(), None);
    update(&store, &a, "x", json!({"externalId": "E2"})).await.unwrap();
    update(&store, &a, "y", json!({"externalId": "E1"})).await.unwrap();
    // The hash reveals nothing without the key, and differs between applications.
    let hashes = "SELECT count(DISTINCT external_hash) FROM details WHERE length(external_hash) = 32";
    assert_eq!(fixture.number(hashes).await, Some(3));
    // Of several that take one id at once, one succeeds.
    let taking = (0..6).map(|n| {
        let (store, a) = (store.clone(), a.clone());
        tokio::spawn(async move { enroll(&store, &a, &format!("t{n}"), json!({"externalId": "one"})).await.is_ok() })
    });
    let mut taken = 0;
    for taking in taking.collect::<Vec<_>>() {
        taken += usize::from(taking.await.unwrap());
    }
    assert_eq!(taken, 1);
}

async fn a_change_needs_the_expected_revision(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    enroll(&store, &a, "x", json!({"name": "One"})).await.unwrap();
    enroll(&store, &a, "y", json!({"name": "Other"})).await.unwrap();
    let change = |name: &str, expected| {
        let patch = patch(json!({ "name": name }));
        let (store, a) = (&store, &a);
        async move { store.people.update(a, &id("x"), &patch, Some(Revision(expected))).await }
    };
    assert!(matches!(change("Two", 2).await, Err(UpdateError::Changed)), "that of another template");
    assert_eq!(change("Two", 1).await.unwrap(), Revision(3));
    assert!(matches!(change("Three", 1).await, Err(UpdateError::Changed)));
    assert_eq!(person(&store, &a, "x").await.unwrap().details.name.as_deref(), Some("Two"));
    // Rows of a version before have no revision.
    fixture.tamper("UPDATE templates SET updated_at = NULL, revision = 0 WHERE template_id = 'x'").await;
    let read = person(&store, &a, "x").await.unwrap();
    assert_eq!((read.revision, read.updated_at), (Revision(0), read.template.created_at));
    assert_eq!(change("Three", 0).await.unwrap(), Revision(4));
    let large = patch(json!({"metadata": {"more": "x".repeat(4000)}}));
    store.people.update(&a, &id("x"), &large, None).await.unwrap();
    let much = patch(json!({"metadata": {"much": "x".repeat(200)}}));
    assert!(matches!(store.people.update(&a, &id("x"), &much, None).await, Err(UpdateError::Invalid(_))));
}

async fn details_open_in_their_row_only(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    enroll(&store, &a, "x", json!({"name": "Ada Example"})).await.unwrap();
    enroll(&store, &a, "y", json!({"name": "Yuri Sample"})).await.unwrap();
    for sql in [
        "UPDATE details SET template_id = 'z' WHERE template_id = 'x'",
        "UPDATE details SET template_id = 'x' WHERE template_id = 'y'",
    ] {
        if sql.contains("'z'") {
            insert(&store, &a, "z", &sample(3)).await.unwrap();
        }
        fixture.tamper(sql).await;
    }
    let read = person(&store, &a, "x").await.unwrap();
    assert!(read.unreadable && read.details.is_empty(), "the rest of the template is shown");
    assert!(!person(&store, &a, "y").await.unwrap().unreadable);
    let page = store.people.noted_page(&a, None, 10).await.unwrap();
    assert_eq!((page.people.len(), page.unreadable), (0, 2));
    // A change would lose what cannot be read.
    let changed = update(&store, &a, "x", json!({"name": "New"})).await;
    assert!(matches!(changed, Err(UpdateError::Store(StoreError::Corrupt(_)))), "{changed:?}");
}

async fn details_survive_a_new_sealing_key(fixture: Fixture) {
    let before = fixture.open().await;
    let a = with_app(&before, "a").await;
    let json = json!({"name": "Ada Example", "externalId": "E1"});
    enroll(&before, &a, "x", json.clone()).await.unwrap();
    drop(before);
    let store = fixture.try_open(&format!("{KEY}\n{NEW_KEY}")).await.unwrap();
    store.keys.activate(key_id(NEW_KEY)).await.unwrap();
    enroll(&store, &a, "y", json!({"name": "Yuri", "externalId": "E2"})).await.unwrap();
    assert!(reseal_all(&store).await >= 2, "a sample and details");
    assert_eq!(store.keys.status().await.unwrap().in_use, [(key_id(NEW_KEY), 4)]);
    drop(store);
    let store = fixture.try_open(NEW_KEY).await.unwrap();
    assert_eq!(person(&store, &a, "x").await.unwrap().details.to_json(), json);
    assert_eq!(store.people.by_external_id(&a, "E1").await.unwrap(), Some(id("x")));
    let taken = enroll(&store, &a, "z", json!({"externalId": "E2"})).await;
    assert!(matches!(taken, Err(InsertError::Refused(Refusal::ExternalIdTaken))), "{taken:?}");
}

/// Every page of every order and filter, against a plain sort of what there is.
async fn lists_agree_with_a_plain_sort(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let other = with_app(&store, "other").await;
    let mut random = Random::new(7);
    let mut all: Vec<(ListEntry, bool)> = Vec::new();
    for n in 0..60u32 {
        fixture.time.advance(Duration::from_millis(random.below(3) as u64 * 1000));
        let prefix = ["a", "ab", "b", "ä", "\u{10ffff}"][random.below(5)];
        let name = format!("{prefix}{n}");
        let is_named = random.below(3) == 0;
        enroll(&store, &a, &name, if is_named { json!({"name": "N"}) } else { json!({}) }).await.unwrap();
        enroll(&store, &other, &format!("a-other{n}"), json!({})).await.unwrap();
        all.push((entry(&store, &a, &name).await, is_named));
    }
    for _ in 0..20 {
        fixture.time.advance(Duration::from_secs(1));
        let at = random.below(all.len());
        let name = all[at].0.id.as_str().to_owned();
        store.templates.add_sample(&a, &id(&name), &enrolled(sample(2))).await.unwrap();
        all[at].0 = entry(&store, &a, &name).await;
    }
    fixture.tamper("UPDATE templates SET updated_at = NULL WHERE template_id LIKE 'ab%'").await;
    for (entry, _) in all.iter_mut().filter(|(entry, _)| entry.id.as_str().starts_with("ab")) {
        entry.updated_at = entry.created_at;
    }
    let middle = all[30].0.created_at;
    let mut pages = 0;
    for order in [ListOrder::Id, ListOrder::Created, ListOrder::Updated] {
        for descending in [false, true] {
            for prefix in ["", "a", "ab", "ä", "\u{10ffff}", "none"] {
                for (created_from, created_to) in [(None, None), (Some(middle), None), (None, Some(middle))] {
                    for unnamed in [false, true] {
                        let filter = ListFilter { prefix: prefix.to_owned(), created_from, created_to, unnamed };
                        let mut expected: Vec<ListEntry> = all
                            .iter()
                            .filter(|(entry, is_named)| {
                                entry.id.as_str().starts_with(prefix)
                                    && created_from.is_none_or(|from| entry.created_at >= from)
                                    && created_to.is_none_or(|to| entry.created_at < to)
                                    && !(unnamed && *is_named)
                            })
                            .map(|(entry, _)| entry.clone())
                            .collect();
                        expected.sort_by_key(|entry| (entry.key(order), entry.id.clone()));
                        if descending {
                            expected.reverse();
                        }
                        let mut listed = Vec::new();
                        let mut after = None;
                        loop {
                            let query = ListQuery { filter: filter.clone(), order, descending, after, limit: 17 };
                            let page = store.people.list(&a, &query).await.unwrap();
                            pages += 1;
                            let is_last = page.len() < 17;
                            after = page.last().map(|last| (last.key(order), last.id.clone()));
                            listed.extend(page);
                            if is_last {
                                break;
                            }
                        }
                        assert_eq!(listed, expected, "{order:?} {descending} {prefix:?} {unnamed}");
                        if !unnamed {
                            let count = store.people.count_matching(&a, &filter, 40).await.unwrap();
                            assert_eq!(count, expected.len().min(40));
                        }
                    }
                }
            }
        }
    }
    assert!(pages > 216, "{pages}: some of the 216 lists have several pages");
}

async fn entry(store: &Store, app: &AppId, name: &str) -> ListEntry {
    let person = person(store, app, name).await.unwrap();
    ListEntry { id: id(name), created_at: person.template.created_at, updated_at: person.updated_at }
}

async fn totals_are_kept_by_every_write(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    insert(&store, &a, "x", &sample(1)).await.unwrap();
    assert_eq!(store.people.total(&a).await.unwrap(), 1);
    assert_eq!(revision(&store, &a).await, Revision(1), "counting is no change");
    // From now on a wrong count would stay.
    let kept = "SELECT counted_templates FROM applications WHERE app_id = 'a' AND counted_revision = revision";
    for n in 0..5 {
        insert(&store, &a, &format!("t{n}"), &sample(n)).await.unwrap();
        store.templates.add_sample(&a, &id("x"), &enrolled(sample(n))).await.unwrap();
    }
    update(&store, &a, "x", json!({"name": "Xenia"})).await.unwrap();
    store
        .templates
        .insert(&a, &id("t0"), &enrolled(sample(9)), OnConflict::Replace(ErasureReason::IMPORT))
        .await
        .unwrap();
    store.templates.remove(&a, &id("t1"), ErasureReason::IMPORT).await.unwrap();
    assert_eq!(fixture.number(kept).await, Some(5));
    assert_eq!(store.people.total(&a).await.unwrap(), 5);
    // A version before writes without the count.
    fixture.tamper("UPDATE applications SET revision = revision + 1 WHERE app_id = 'a'").await;
    fixture.tamper("DELETE FROM templates WHERE template_id = 't2'").await;
    assert_eq!(store.people.total(&a).await.unwrap(), 4);
    assert!(matches!(store.people.total(&app("unknown")).await, Err(StoreError::NoSuchApp)));
}

async fn templates_expire_by_themselves_within_the_budget(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let soon = semblance::domain::rfc3339(fixture.time.clock().now() + Duration::from_secs(60));
    enroll(&store, &a, "x", json!({"expiresAt": soon, "name": "Xenia"})).await.unwrap();
    enroll(&store, &a, "y", json!({"expiresAt": "2100-01-01T00:00:00Z"})).await.unwrap();
    insert(&store, &a, "z", &sample(3)).await.unwrap();
    let retention = &store.retention;
    assert_eq!(retention.due_by_expiry().await.unwrap(), []);
    assert_eq!(retention.expire(&a, 10).await.unwrap().erased, 0);
    fixture.time.advance(Duration::from_secs(61));
    assert_eq!(retention.due_by_expiry().await.unwrap(), std::slice::from_ref(&a));
    assert_eq!(retention.expire(&a, 10).await.unwrap().erased, 1);
    assert!(person(&store, &a, "x").await.is_none());
    assert_eq!(store.templates.count(&a).await.unwrap(), 2);
    let claim = store.outbox.claim(uuid::Uuid::new_v4(), Duration::from_secs(60), 10).await.unwrap();
    assert_eq!(claim.events.iter().map(|event| event.detail.as_str()).collect::<Vec<_>>(), ["expiry"]);

    // More than the budget is held until it is confirmed; the confirmation holds for exactly these.
    let soon = semblance::domain::rfc3339(fixture.time.clock().now() + Duration::from_secs(60));
    let many: Vec<DatedTemplate> = (0..120)
        .map(|n| DatedTemplate {
            template: IndexedTemplate { id: id(&format!("t{n:03}")), samples: vec![sample(n)] },
            created_at: None,
            samples_at: vec![None],
            details: details(json!({ "expiresAt": soon })),
        })
        .collect();
    store.templates.insert_dated(&a, &many, OnConflict::Refuse).await.unwrap();
    fixture.time.advance(Duration::from_secs(61));
    assert_eq!(retention.expire(&a, 500).await.unwrap().erased, 0);
    let held = retention.retentions().await.unwrap();
    assert_eq!((held.len(), held[0].period, held[0].hold.unwrap().templates), (1, None, 120));
    // One that is changed meanwhile is no longer due.
    update(&store, &a, "t000", json!({"expiresAt": null})).await.unwrap();
    assert_eq!(retention.confirm_expiry(&a).await.unwrap().unwrap().templates, 120);
    assert_eq!(retention.expire(&a, 50).await.unwrap().erased, 50);
    assert_eq!(retention.expire(&a, 500).await.unwrap().erased, 69);
    assert_eq!(retention.expire(&a, 500).await.unwrap().erased, 0);
    assert_eq!(store.templates.count(&a).await.unwrap(), 3);
    assert_eq!(retention.retentions().await.unwrap(), []);
}

async fn imported_details_replace_none(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    enroll(&store, &a, "x", json!({"name": "Old"})).await.unwrap();
    insert(&store, &a, "y", &sample(2)).await.unwrap();
    let dated = |name: &str, seed, json| DatedTemplate {
        template: IndexedTemplate { id: id(name), samples: vec![sample(seed)] },
        created_at: None,
        samples_at: vec![None],
        details: details(json),
    };
    let batch = [
        dated("x", 3, json!({"name": "New"})),
        dated("y", 4, json!({"name": "Yuri", "externalId": "E"})),
        dated("z", 5, json!({"name": "Zoe"})),
        dated("taken", 6, json!({"externalId": "E"})),
    ];
    let written = store.templates.insert_dated(&a, &batch, OnConflict::Extend).await.unwrap();
    assert_eq!(written, [Ok(Revision(3)), Ok(Revision(4)), Ok(Revision(5)), Err(Refusal::ExternalIdTaken)]);
    let name = async |id: &str| person(&store, &a, id).await.unwrap().details.name;
    assert_eq!(name("x").await.as_deref(), Some("Old"));
    assert_eq!(name("y").await.as_deref(), Some("Yuri"));
    assert_eq!(name("z").await.as_deref(), Some("Zoe"));
    let noted = store.people.noted_page(&a, None, 2).await.unwrap();
    assert_eq!(noted.people.iter().map(|person| person.id.as_str()).collect::<Vec<_>>(), ["x", "y"]);
    let noted = store.people.noted_page(&a, noted.next.as_ref(), 2).await.unwrap();
    assert_eq!((noted.people.len(), noted.next), (1, None));
}

async fn switches_of_people_are_set_per_application(fixture: Fixture) {
    let store = fixture.open().await;
    let (a, b) = (with_app(&store, "a").await, with_app(&store, "b").await);
    assert!(store.apps.set_name_search(&a, false).await.unwrap());
    assert!(store.apps.set_require_consent(&a, true).await.unwrap());
    let listed = store.apps.list().await.unwrap();
    let of = |app: &AppId| listed.iter().find(|record| record.id == *app).unwrap();
    assert_eq!((of(&a).name_search, of(&a).rules.require_consent), (false, true));
    assert_eq!((of(&b).name_search, of(&b).rules.require_consent), (true, false));
    assert!(!store.apps.set_name_search(&app("unknown"), true).await.unwrap());
}
