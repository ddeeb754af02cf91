//! People are found by ids, names, external ids, groups and metadata, on every node, in every order.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use semblance::domain::{AppId, Details, DetailsPatch, TemplateId, TransactionId};
use semblance::service::people::{
    IndexOrder, IndexQuery, PeopleIndex, PeoplePage, PeopleQuery, PeopleSort, PersonChange, Place, Searched,
};
use semblance::service::{Caller, Error};
use semblance::store::{ErasureReason, NewTemplate, NotedPerson, OnConflict};
use serde_json::{Map, Value, json};

use crate::snapshots::{Fixture, Node, on_both_databases, template};
use crate::support::enrolled;

on_both_databases! {
    people_are_found_by_names_ids_groups_and_metadata
    pages_by_name_end_with_people_without_a_name
    without_an_index_only_ids_are_searched
    a_change_is_seen_at_once_here_and_with_a_poll_elsewhere
    a_page_is_stable_while_people_come_and_go
    an_index_that_is_switched_on_late_has_everybody
}

fn details(json: &Value) -> Details {
    Details::from_json(json.as_object().unwrap()).unwrap()
}

async fn enroll(node: &Node, app: &AppId, name: &str, json: Value) {
    let (id, details) = (name.parse().unwrap(), details(&json));
    let samples: Vec<_> = template(1).samples.into_iter().map(enrolled).collect();
    let new = NewTemplate { details: &details, ..NewTemplate::new(&id, &samples) };
    node.store.people.enroll(app, &new, OnConflict::Refuse).await.unwrap();
}

fn caller(node: &Node, app: &AppId) -> Caller {
    let administrator = "ada".parse().unwrap();
    node.service.applications().act_for(app, administrator, TransactionId::random()).unwrap()
}

async fn change(node: &Node, app: &AppId, name: &str, json: Value) {
    let mut patch = DetailsPatch::default();
    for field in semblance::domain::Field::ALL {
        if let Some(value) = json.get(field.as_str()) {
            patch.set(field, value.clone()).unwrap();
        }
    }
    let change = PersonChange { patch, expected: None };
    node.service.change_details(&caller(node, app), &name.parse().unwrap(), &change).await.unwrap();
}

fn query(q: &str) -> PeopleQuery {
    PeopleQuery { q: Some(q.to_owned()).filter(|q| !q.is_empty()), limit: 100, total: true, ..PeopleQuery::default() }
}

async fn page(node: &Node, app: &AppId, query: PeopleQuery) -> PeoplePage {
    node.service.search_people(app, &query).await.unwrap()
}

fn ids(page: &PeoplePage) -> Vec<&str> {
    page.people.iter().map(|person| person.template.id.as_str()).collect()
}

async fn staff(node: &Node) -> AppId {
    let app = node.new_app().await;
    for (id, json) in [
        ("ada-01", json!({"name": "Ada Example", "externalId": "HR-1001", "groups": ["staff"]})),
        ("b-77", json!({"name": "Bo Ådamsson", "groups": ["staff", "night"], "metadata": {"badge": 7, "floor": "2"}})),
        ("c-1", json!({"name": "Carl", "externalId": "ADX", "metadata": {"badge": 8, "floor": "2"}})),
        ("d-1", json!({"groups": ["night"]})),
        ("ad-plain", json!({})),
        ("zz", json!({})),
    ] {
        enroll(node, &app, id, json).await;
    }
    node.service.replicator().poll().await.unwrap();
    app
}

async fn people_are_found_by_names_ids_groups_and_metadata(fixture: Fixture) {
    let node = fixture.start().await;
    let app = staff(&node).await;
    let found = page(&node, &app, query("ad")).await;
    assert_eq!(ids(&found), ["ad-plain", "ada-01", "b-77", "c-1"], "an id, a name, a second word, an external id");
    assert_eq!(found.searched, [Searched::Id, Searched::ExternalId, Searched::Name]);
    let counts = found.counts.unwrap();
    assert_eq!((counts.total, counts.matched, counts.is_exact), (6, 4, true));
    assert_eq!(found.people[1].details.external_id.as_deref(), Some("HR-1001"));
    for (q, expected) in [
        ("AD", vec!["ada-01", "b-77", "c-1"]),
        ("example ad", vec!["ada-01"]),
        ("bo ada", vec!["b-77"]),
        ("hr-10", vec!["ada-01"]),
        ("xample", vec![]),
        ("z", vec!["zz"]),
        ("", vec!["ad-plain", "ada-01", "b-77", "c-1", "d-1", "zz"]),
    ] {
        let found = page(&node, &app, query(q)).await;
        assert_eq!(ids(&found), expected, "{q}");
        assert_eq!(found.counts.unwrap().matched, expected.len(), "{q}");
    }
    let night = |groups: &[&str], metadata: Value| PeopleQuery {
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        metadata: metadata.as_object().unwrap().clone(),
        ..query("")
    };
    for (filter, expected) in [
        (night(&["night"], json!({})), vec!["b-77", "d-1"]),
        (night(&["night", "staff"], json!({})), vec!["b-77"]),
        (night(&["Night"], json!({})), vec![]),
        (night(&[], json!({"floor": "2"})), vec!["b-77", "c-1"]),
        (night(&[], json!({"floor": "2", "badge": 8})), vec!["c-1"]),
        (night(&[], json!({"floor": 2})), vec![]),
        (PeopleQuery { q: Some("c".to_owned()), ..night(&[], json!({"floor": "2"})) }, vec!["c-1"]),
    ] {
        let found = page(&node, &app, filter.clone()).await;
        assert_eq!(ids(&found), expected, "{filter:?}");
        assert_eq!(found.counts.unwrap().matched, expected.len(), "{filter:?}");
    }
    let groups = node.service.groups(&app).await.unwrap();
    assert_eq!(groups, [("night".to_owned(), 2), ("staff".to_owned(), 2)]);
    assert!(node.service.replicator().people_index_bytes(&app) > 0);

    change(&node, &app, "ada-01", json!({"groups": ["day"], "name": "Eve"})).await;
    node.store.templates.remove(&app, &"b-77".parse().unwrap(), ErasureReason::IMPORT).await.unwrap();
    node.service.replicator().poll().await.unwrap();
    let groups = node.service.groups(&app).await.unwrap();
    assert_eq!(groups, [("day".to_owned(), 1), ("night".to_owned(), 1)]);
    assert_eq!(ids(&page(&node, &app, query("bo")).await), Vec::<&str>::new());
    assert_eq!(ids(&page(&node, &app, query("eve")).await), ["ada-01"]);
}

/// All pages of a query.
async fn walk(node: &Node, app: &AppId, query: &PeopleQuery) -> Vec<String> {
    let mut walked = Vec::new();
    let mut after = None;
    loop {
        let found = page(node, app, PeopleQuery { after, ..query.clone() }).await;
        walked.extend(ids(&found).into_iter().map(str::to_owned));
        after = found.next;
        if after.is_none() {
            return walked;
        }
    }
}

async fn pages_by_name_end_with_people_without_a_name(fixture: Fixture) {
    let node = fixture.start().await;
    let app = staff(&node).await;
    enroll(&node, &app, "zada", json!({"name": "ADA example"})).await;
    node.service.replicator().poll().await.unwrap();
    for limit in [1, 2, 3, 100] {
        let by_name = PeopleQuery { sort: PeopleSort::Name, limit, ..query("") };
        let forward = ["ada-01", "zada", "b-77", "c-1", "ad-plain", "d-1", "zz"];
        assert_eq!(walk(&node, &app, &by_name).await, forward, "{limit}");
        let backward = PeopleQuery { descending: true, ..by_name.clone() };
        assert_eq!(walk(&node, &app, &backward).await, ["c-1", "b-77", "zada", "ada-01", "zz", "d-1", "ad-plain"]);
        let filtered = PeopleQuery { q: Some("ad".to_owned()), ..by_name.clone() };
        assert_eq!(walk(&node, &app, &filtered).await, ["ada-01", "zada", "b-77", "c-1", "ad-plain"]);
        let grouped = PeopleQuery { groups: vec!["night".to_owned()], ..by_name };
        assert_eq!(walk(&node, &app, &grouped).await, ["b-77", "d-1"]);
        for sort in [PeopleSort::Id, PeopleSort::Created, PeopleSort::Updated] {
            let mut walked = walk(&node, &app, &PeopleQuery { sort, limit, ..query("ad") }).await;
            walked.sort();
            assert_eq!(walked, ["ad-plain", "ada-01", "b-77", "c-1", "zada"], "{sort:?} {limit}");
        }
    }
}

async fn without_an_index_only_ids_are_searched(fixture: Fixture) {
    let node = fixture.start().await;
    let app = staff(&node).await;
    assert!(node.service.applications().set_name_search(&app, false).await.unwrap());
    node.service.replicator().poll().await.unwrap();
    assert_eq!(node.service.replicator().people_index_bytes(&app), 0);
    let found = page(&node, &app, query("ad")).await;
    assert_eq!(ids(&found), ["ad-plain", "ada-01"]);
    assert_eq!(found.searched, [Searched::Id, Searched::WholeExternalId]);
    let exact = page(&node, &app, query("HR-1001")).await;
    assert_eq!((ids(&exact), exact.counts.unwrap().matched), (vec!["ada-01"], 1));
    assert_eq!(ids(&page(&node, &app, query("HR-10")).await), Vec::<&str>::new());
    for needs in [
        PeopleQuery { sort: PeopleSort::Name, ..query("") },
        PeopleQuery { groups: vec!["night".to_owned()], ..query("") },
        PeopleQuery { metadata: Map::from_iter([("badge".to_owned(), json!(7))]), ..query("") },
    ] {
        let refused = node.service.search_people(&app, &needs).await;
        assert!(matches!(refused, Err(Error::SearchIndexOff)), "{refused:?}");
    }
    assert!(matches!(node.service.groups(&app).await, Err(Error::SearchIndexOff)));
}

async fn a_change_is_seen_at_once_here_and_with_a_poll_elsewhere(fixture: Fixture) {
    let (here, there) = (fixture.start().await, fixture.start().await);
    let app = staff(&here).await;
    there.service.replicator().poll().await.unwrap();
    assert_eq!(ids(&page(&there, &app, query("carl")).await), ["c-1"]);
    change(&here, &app, "c-1", json!({"name": "Karl"})).await;
    assert_eq!(ids(&page(&here, &app, query("karl")).await), ["c-1"], "without a poll");
    assert_eq!(ids(&page(&here, &app, query("carl")).await), Vec::<&str>::new());
    there.service.replicator().poll().await.unwrap();
    assert_eq!(ids(&page(&there, &app, query("karl")).await), ["c-1"]);
    assert_eq!(ids(&page(&there, &app, query("carl")).await), Vec::<&str>::new());
    // A restored database takes the index with it.
    let before = ids(&page(&there, &app, query("")).await).len();
    assert_eq!(before, 6);
}

async fn a_page_is_stable_while_people_come_and_go(fixture: Fixture) {
    let node = fixture.start().await;
    let app = node.new_app().await;
    for n in 0..40 {
        enroll(&node, &app, &format!("p{n:02}"), json!({ "name": format!("Name {}", (n * 7) % 40) })).await;
    }
    node.service.replicator().poll().await.unwrap();
    for sort in [PeopleSort::Id, PeopleSort::Created, PeopleSort::Name] {
        let (mut seen, mut after, mut round) = (Vec::new(), None, 0);
        loop {
            let query = PeopleQuery { sort, limit: 7, after, ..query("") };
            let found = page(&node, &app, query).await;
            seen.extend(ids(&found).into_iter().map(str::to_owned));
            after = found.next;
            if after.is_none() {
                break;
            }
            // Others come and go between two pages.
            round += 1;
            let name = format!("extra-{}-{round}", sort.as_str());
            enroll(&node, &app, &name, json!({"name": format!("Name 0{round}")})).await;
            if round > 1 {
                let gone = format!("extra-{}-{}", sort.as_str(), round - 1).parse().unwrap();
                node.store.templates.remove(&app, &gone, ErasureReason::IMPORT).await.unwrap();
            }
            node.service.replicator().poll().await.unwrap();
        }
        let mut always: Vec<String> = seen.into_iter().filter(|id| id.starts_with('p')).collect();
        always.sort();
        assert_eq!(always, (0..40).map(|n| format!("p{n:02}")).collect::<Vec<_>>(), "{sort:?}");
    }
}

async fn an_index_that_is_switched_on_late_has_everybody(fixture: Fixture) {
    let node = fixture.start().await;
    let app = staff(&node).await;
    node.service.applications().set_name_search(&app, false).await.unwrap();
    node.service.replicator().poll().await.unwrap();
    change(&node, &app, "c-1", json!({"name": "Karl"})).await;
    node.service.applications().set_name_search(&app, true).await.unwrap();
    assert_eq!(ids(&page(&node, &app, query("karl")).await), ["c-1"]);
    // A node that starts reads it from the rows.
    let other = fixture.start().await;
    assert_eq!(ids(&page(&other, &app, query("ad")).await), ["ad-plain", "ada-01", "b-77", "c-1"]);
}

#[derive(Debug, Clone)]
struct Step {
    id: u8,
    name: Option<String>,
    external: Option<String>,
    groups: Vec<u8>,
    created: u64,
    updated: u64,
    removed: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = proptest::option::of("[aAbéÉ]{1,2}( [abç'-]{1,2})?");
    let step = (0u8..20, name, proptest::option::of("[aAé1]{1,2}"), proptest::collection::vec(0u8..3, 0..3));
    let step = (step, 0u64..4, 0u64..4, proptest::bool::weighted(0.2));
    let step = step.prop_map(|((id, name, external, groups), created, updated, removed)| Step {
        id,
        name,
        external,
        groups,
        created,
        updated,
        removed,
    });
    proptest::collection::vec(step, 0..60)
}

fn noted(step: &Step) -> NotedPerson {
    let mut json = Map::new();
    for (key, text) in [("name", &step.name), ("externalId", &step.external)] {
        if let Some(text) = text.as_ref().filter(|text| !text.trim().is_empty()) {
            json.insert(key.to_owned(), json!(text));
        }
    }
    json.insert("groups".to_owned(), json!(step.groups.iter().map(|n| format!("g{n}")).collect::<Vec<_>>()));
    json.insert("metadata".to_owned(), json!({ "level": step.groups.len() }));
    NotedPerson {
        id: id(step.id),
        created_at: UNIX_EPOCH + Duration::from_millis(step.created),
        updated_at: UNIX_EPOCH + Duration::from_millis(step.updated),
        details: details(&Value::Object(json)),
    }
}

fn id(number: u8) -> TemplateId {
    // Some begin with what is searched.
    format!("{}{number}", ["a", "b", "é"][usize::from(number % 3)]).parse().unwrap()
}

fn plain(text: &str) -> String {
    text.to_lowercase().replace('é', "e").replace('ç', "c").replace('\'', "")
}

fn plain_words(text: &str) -> Vec<String> {
    plain(text).split([' ', '-']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The reference: whether a person matches, and whether only beyond its id.
fn matches(person: &NotedPerson, q: Option<&str>, group: Option<u8>, level: Option<usize>) -> Option<bool> {
    let details = &person.details;
    let is_inside = group.is_none_or(|group| details.groups.contains(&format!("g{group}")))
        && level.is_none_or(|level| details.metadata.as_ref().unwrap()["level"] == json!(level));
    let Some(q) = q else { return is_inside.then_some(false) };
    let by_id = person.id.as_str().starts_with(q);
    let asked = plain_words(q);
    let words = details.name.as_deref().map(plain_words).unwrap_or_default();
    let by_name = !asked.is_empty() && asked.iter().all(|asked| words.iter().any(|word| word.starts_with(asked)));
    let whole = |text: &str| text.to_lowercase().replace('é', "e");
    let by_external = details.external_id.as_deref().is_some_and(|external| whole(external).starts_with(&whole(q)));
    (is_inside && (by_id || by_name || by_external)).then_some(!by_id)
}

fn place(person: &NotedPerson, order: IndexOrder) -> Place {
    let time = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let folded = |name: &str| plain_words(name).iter().map(|word| format!("\u{1}{word}")).collect::<String>();
    Place {
        name: match order {
            IndexOrder::Name => {
                let name = person.details.name.as_deref().map(folded).unwrap_or_default();
                if name.is_empty() { "\u{1}".to_owned() } else { name }
            }
            _ => String::new(),
        },
        time: match order {
            IndexOrder::Created => time(person.created_at),
            IndexOrder::Updated => time(person.updated_at),
            _ => 0,
        },
        id: person.id.as_str().to_owned(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// The index, built at once or step by step, finds what a plain filter and a plain sort find.
    #[test]
    fn the_index_agrees_with_a_plain_search(
        start in steps(),
        steps in steps(),
        q in proptest::option::of("[abéA'1]{1,2}( [abc])?"),
        group in proptest::option::of(0u8..3),
        level in proptest::option::of(0usize..3),
        limit in 1usize..6,
        descending: bool,
        order in prop_oneof![
            Just(IndexOrder::Id), Just(IndexOrder::Created), Just(IndexOrder::Updated), Just(IndexOrder::Name)
        ],
    ) {
        let mut truth: BTreeMap<TemplateId, NotedPerson> = BTreeMap::new();
        truth.extend(start.iter().map(|step| (id(step.id), noted(step))));
        let mut index = PeopleIndex::new(truth.values().cloned());
        for step in &steps {
            if step.removed {
                index.remove(&id(step.id));
                truth.remove(&id(step.id));
            } else {
                index.put(&noted(step));
                truth.insert(id(step.id), noted(step));
            }
        }
        prop_assert_eq!(index.len(), truth.len());
        prop_assert_eq!(index.named(), truth.values().filter(|person| person.details.name.is_some()).count());
        let mut groups: BTreeMap<String, usize> = BTreeMap::new();
        truth.values().flat_map(|person| &person.details.groups).for_each(|group| *groups.entry(group.clone()).or_default() += 1);
        prop_assert_eq!(index.groups(), groups.into_iter().collect::<Vec<_>>());

        let found: Vec<(&NotedPerson, bool)> = truth
            .values()
            .filter_map(|person| Some((person, matches(person, q.as_deref(), group, level)?)))
            .collect();
        let (matched, beyond) = (found.len(), found.iter().filter(|(_, beyond)| *beyond).count());
        let mut expected: Vec<Place> = found
            .iter()
            .filter(|(person, _)| order != IndexOrder::Name || person.details.name.is_some())
            .map(|(person, _)| place(person, order))
            .collect();
        expected.sort();
        if descending {
            expected.reverse();
        }
        let groups: Vec<String> = group.iter().map(|group| format!("g{group}")).collect();
        let metadata: Map<String, Value> = level.iter().map(|level| ("level".to_owned(), json!(level))).collect();
        let (mut walked, mut after) = (Vec::new(), None);
        loop {
            let filter = index.filter(q.as_deref(), &groups, &metadata, (None, None));
            let hits = index.search(&IndexQuery { filter, order, descending, after, limit, count: true });
            prop_assert_eq!((hits.matched, hits.beyond_id), (matched, beyond));
            after = hits.hits.last().map(|(place, _)| place.clone());
            let is_last = hits.hits.len() < limit;
            walked.extend(hits.hits.into_iter().map(|(place, _)| place));
            if is_last {
                break;
            }
        }
        prop_assert_eq!(walked, expected);
    }
}
