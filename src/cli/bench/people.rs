//! `semblance bench people`: pages of people in a database of its own, and the index of names.

use std::path::PathBuf;

use clap::Args;

use super::super::CliError;
use super::super::output::outln;
use super::{median, milliseconds, new_database};
use crate::domain::{AppId, Details, Embedding, ModelTag, SampleId, TemplateId, random_uuid, stopwatch};
use crate::gallery::{IndexedTemplate, Sample};
use crate::service::people::{IndexOrder, IndexQuery, PeopleIndex};
use crate::store::{DatedTemplate, ListFilter, ListOrder, ListQuery, OnConflict, Store};

#[derive(Debug, Args)]
pub(in crate::cli) struct People {
    /// A data folder for the database; it must not exist, and is not removed. `scripts/console_calls.py` serves it.
    folder: PathBuf,
    /// Templates.
    #[arg(long, default_value_t = 1_000_000)]
    templates: usize,
    /// How many of them have a name, an external id and a group.
    #[arg(long, default_value_t = 100_000)]
    named: usize,
    /// Rounds of each page; the medians are printed.
    #[arg(long, default_value_t = 11)]
    rounds: usize,
}

/// Templates inserted in one transaction.
const BATCH: usize = 2000;

/// People on a page.
const PAGE: usize = 1000;

const FIRST_NAMES: [&str; 16] = [
    "Ada", "Bo", "Carla", "David", "Elif", "Fatima", "Grace", "Hiro", "Irma", "José", "Kaya", "Łucja", "Mia", "Noor",
    "Olga", "Pia",
];

const LAST_NAMES: [&str; 16] = [
    "Abel",
    "Bauer",
    "Costa",
    "Dvořák",
    "Evans",
    "Fischer",
    "García",
    "Haddad",
    "Ivanova",
    "Jensen",
    "Kim",
    "Lopez",
    "Müller",
    "Nguyen",
    "Okafor",
    "Papadopoulos",
];

pub(super) async fn run(arguments: &People) -> Result<(), CliError> {
    let (store, app) = new_database(&arguments.folder).await?;
    fill(&store, &app, arguments).await?;
    pages(&store, &app, arguments.rounds.max(1)).await?;
    index(&store, &app, arguments.rounds.max(1)).await?;
    Ok(store.scrubber.close().await?)
}

async fn fill(store: &Store, app: &AppId, arguments: &People) -> Result<(), CliError> {
    let start = stopwatch();
    let embedding = Embedding::new(&[0.6, 0.8], ModelTag::new("bench"));
    let embedding = embedding.map_err(|error| CliError::message(error.to_string()))?;
    let mut made = 0;
    while made < arguments.templates {
        let count = BATCH.min(arguments.templates - made);
        let batch = (made..made + count).map(|number| {
            let id: TemplateId = random_uuid().to_string().parse().map_err(|e| CliError::message(format!("{e}")))?;
            let sample = Sample { id: SampleId::random(), embedding: embedding.clone() };
            let details = if number < arguments.named { details(number) } else { Details::default() };
            let template = IndexedTemplate { id, samples: vec![sample] };
            Ok(DatedTemplate { template, created_at: None, samples_at: vec![None], details })
        });
        let batch = batch.collect::<Result<Vec<_>, CliError>>()?;
        for inserted in store.templates.insert_dated(app, &batch, OnConflict::Refuse).await? {
            inserted.map_err(|refusal| CliError::message(refusal.to_string()))?;
        }
        made += count;
    }
    outln!("{made} templates, {} with details: {:.1} s", arguments.named, start.elapsed().as_secs_f64())?;
    Ok(())
}

fn details(number: usize) -> Details {
    let name = |names: [&'static str; 16], at: usize| names.get(at % 16).copied().unwrap_or_default();
    Details {
        name: Some(format!("{} {} {}", name(FIRST_NAMES, number), name(LAST_NAMES, number / 16), number / 256)),
        external_id: Some(format!("HR-{number:07}")),
        groups: vec![format!("group {}", number % 20)],
        ..Details::default()
    }
}

async fn pages(store: &Store, app: &AppId, rounds: usize) -> Result<(), CliError> {
    let start = stopwatch();
    let total = store.people.total(app).await?;
    outln!("the first total ({total}): {:.1} ms", milliseconds(start.elapsed()))?;
    for (title, prefix, order, descending) in [
        ("by id", "", ListOrder::Id, false),
        ("by id, of a beginning that 1 of 16 has", "a", ListOrder::Id, false),
        ("by time of enrollment, newest first", "", ListOrder::Created, true),
        ("by time of enrollment, of a beginning that 1 of 16 has", "a", ListOrder::Created, true),
        ("by time of enrollment, of a beginning that 1 of 4096 has", "abc", ListOrder::Created, true),
        ("by time of change, newest first", "", ListOrder::Updated, true),
    ] {
        let mut times = Vec::with_capacity(rounds);
        let (mut after, mut listed) = (None, 0);
        for _ in 0..rounds {
            let filter = ListFilter { prefix: prefix.to_owned(), created_from: None, created_to: None, unnamed: false };
            let query = ListQuery { filter: filter.clone(), order, descending, after, limit: PAGE + 1 };
            let start = stopwatch();
            let entries = store.people.list(app, &query).await?;
            let ids: Vec<TemplateId> = entries.iter().take(PAGE).map(|entry| entry.id.clone()).collect();
            listed = store.people.people(app, &ids).await?.len();
            store.people.total(app).await?;
            store.people.count_matching(app, &filter, 10_001).await?;
            times.push(start.elapsed());
            after = entries.get(PAGE).map(|last| (last.key(order), last.id.clone()));
        }
        let slowest = times.iter().max().copied().unwrap_or_default();
        outln!(
            "{title}: {listed} people: {:.1} ms, slowest {:.1} ms",
            milliseconds(median(times)),
            milliseconds(slowest)
        )?;
    }
    Ok(())
}

async fn index(store: &Store, app: &AppId, rounds: usize) -> Result<(), CliError> {
    let start = stopwatch();
    let (mut people, mut after) = (Vec::new(), None);
    loop {
        let page = store.people.noted_page(app, after.as_ref(), 5000).await?;
        people.extend(page.people);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let read = start.elapsed();
    let text: usize = people.iter().map(|person| person.details.to_json().to_string().len()).sum();
    let start = stopwatch();
    let index = PeopleIndex::new(people);
    let each = index.len().max(1);
    outln!(
        "index of {} people: read and opened in {:.2} s, built in {:.2} s, {} bytes: {} a person, of {} bytes of JSON",
        index.len(),
        read.as_secs_f64(),
        start.elapsed().as_secs_f64(),
        index.bytes(),
        index.bytes() / each,
        text / each
    )?;
    for (title, q, order) in [
        ("a rare name, by id", Some("ada abel 12"), IndexOrder::Id),
        ("a frequent name, by id", Some("mu"), IndexOrder::Id),
        ("an external id, by id", Some("hr-00012"), IndexOrder::Id),
        ("a frequent name, by name", Some("mu"), IndexOrder::Name),
        ("everybody, by name", None, IndexOrder::Name),
    ] {
        let mut times = Vec::with_capacity(rounds);
        let (mut after, mut matched) = (None, 0);
        for _ in 0..rounds {
            let filter = index.filter(q, &[], &serde_json::Map::new(), (None, None));
            let query = IndexQuery { filter, order, descending: false, after, limit: PAGE, count: true };
            let start = stopwatch();
            let hits = index.search(&query);
            times.push(start.elapsed());
            matched = hits.matched;
            after = hits.hits.last().map(|(place, _)| place.clone());
        }
        let slowest = times.iter().max().copied().unwrap_or_default();
        outln!(
            "{title}: {matched} match: {:.2} ms, slowest {:.2} ms",
            milliseconds(median(times)),
            milliseconds(slowest)
        )?;
    }
    Ok(())
}
