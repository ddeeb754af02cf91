//! What an application may store: samples of a template, and quotas.

use std::collections::BTreeMap;

use semblance::store::LimitReached;

use super::*;
use crate::fuzz::mutate::Random;

conformance! {
    a_template_has_a_limited_number_of_samples
    a_template_above_the_limit_keeps_its_samples
    two_nodes_exceed_no_limit_together
    quotas_hold_after_any_writes
}

const MAX: u64 = 32;

fn of(name: &str, samples: u32) -> IndexedTemplate {
    IndexedTemplate { id: id(name), samples: (0..samples).map(sample).collect() }
}

fn too_many() -> Refusal {
    LimitReached::SamplesPerTemplate(MAX).into()
}

async fn a_template_has_a_limited_number_of_samples(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let insert_all = async |templates: &[IndexedTemplate], on_conflict| {
        store.templates.insert_all(&a, templates, on_conflict).await.unwrap()
    };
    let written = insert_all(&[of("full", 32), of("more", 33), of("one", 1)], OnConflict::Refuse).await;
    assert_eq!(written, [Ok(Revision(1)), Err(too_many()), Ok(Revision(2))]);
    let refused = store.templates.add_sample(&a, &id("full"), &enrolled(sample(1))).await;
    assert!(matches!(refused, Err(InsertError::Refused(refusal)) if refusal == too_many()), "{refused:?}");
    let refused = store.templates.insert(&a, &id("full"), &enrolled(sample(1)), OnConflict::Extend).await;
    assert!(matches!(refused, Err(InsertError::Refused(refusal)) if refusal == too_many()), "{refused:?}");
    let extended = insert_all(&[of("full", 1), of("one", 32), of("one", 31)], OnConflict::Extend).await;
    assert_eq!(extended, [Err(too_many()), Err(too_many()), Ok(Revision(3))]);
    // A replacement that is refused erases nothing.
    let replace = OnConflict::Replace(ErasureReason::IMPORT);
    assert_eq!(insert_all(&[of("full", 33)], replace.clone()).await, [Err(too_many())]);
    let sizes: Vec<_> = all(&store, &a).await.iter().map(|t| (t.id.to_string(), t.samples.len())).collect();
    assert_eq!(sizes, [("full".to_owned(), 32), ("one".to_owned(), 32)]);
    assert_eq!(insert_all(&[of("full", 2)], replace).await, [Ok(Revision(4))]);
    assert_eq!(store.templates.add_sample(&a, &id("full"), &enrolled(sample(9))).await.unwrap(), Some(Revision(5)));
}

async fn a_template_above_the_limit_keeps_its_samples(fixture: Fixture) {
    let generous = fixture.open_limited(100).await;
    let a = with_app(&generous, "a").await;
    assert_eq!(generous.templates.insert_all(&a, &[of("x", 40)], OnConflict::Refuse).await.unwrap(), [Ok(Revision(1))]);
    let store = fixture.open().await;
    let refused = store.templates.add_sample(&a, &id("x"), &enrolled(sample(1))).await;
    assert!(matches!(refused, Err(InsertError::Refused(refusal)) if refusal == too_many()), "{refused:?}");
    assert_eq!(all(&store, &a).await[0].samples.len(), 40);
    assert_eq!(store.templates.get(&a, &id("x")).await.unwrap().unwrap().samples.len(), 40);
    let Changes::List { changes, .. } = store.templates.changes(&a, &model(), Revision(0).into(), 10).await.unwrap()
    else {
        panic!("the log is whole")
    };
    assert_eq!((changes.len(), changes[0].template.samples.len()), (1, 40));
    assert!(store.templates.remove(&a, &id("x"), ErasureReason::IMPORT).await.unwrap().is_some());
}

async fn two_nodes_exceed_no_limit_together(fixture: Fixture) {
    let nodes = [fixture.open().await, fixture.open().await];
    let a = with_app(&nodes[0], "a").await;
    nodes[0].templates.insert_all(&a, &[of("x", 29)], OnConflict::Refuse).await.unwrap();
    let adding = (0..12usize).map(|n| {
        let (store, a) = (nodes[n % 2].clone(), a.clone());
        tokio::spawn(async move { store.templates.add_sample(&a, &id("x"), &enrolled(sample(n as u32))).await.is_ok() })
    });
    assert_eq!(successes(adding.collect()).await, 3);
    assert!(nodes[0].apps.set_max_templates(&a, Some(5)).await.unwrap());
    let inserting = (0..12usize).map(|n| {
        let (store, a) = (nodes[n % 2].clone(), a.clone());
        tokio::spawn(async move { insert(&store, &a, &format!("t{n}"), &sample(n as u32)).await.is_ok() })
    });
    assert_eq!(successes(inserting.collect()).await, 4);
    assert_eq!(nodes[1].templates.count(&a).await.unwrap(), 5);
}

async fn successes(tasks: Vec<tokio::task::JoinHandle<bool>>) -> usize {
    let mut count = 0;
    for task in tasks {
        count += usize::from(task.await.unwrap());
    }
    count
}

/// What the application should hold: samples by template.
#[derive(Default)]
struct Expected {
    templates: BTreeMap<String, u64>,
    quota: Quota,
}

impl Expected {
    fn samples(&self) -> u64 {
        self.templates.values().sum()
    }

    /// The outcome of an insert, which is done if nothing refuses it.
    fn insert(&mut self, name: &str, adds: u64, on_conflict: OnConflict) -> Result<(), Refusal> {
        let stored = self.templates.get(name).copied();
        if on_conflict == OnConflict::Refuse && stored.is_some() {
            return Err(Refusal::Exists);
        }
        let kept = if on_conflict == OnConflict::Extend { stored.unwrap_or(0) } else { 0 };
        if kept + adds > MAX {
            return Err(too_many());
        }
        if let Some(max) = self.quota.templates
            && stored.is_none()
            && self.templates.len() as u64 >= max
        {
            return Err(LimitReached::Templates(max).into());
        }
        let after = self.samples() - stored.unwrap_or(0) + kept + adds;
        if let Some(max) = self.quota.samples
            && after > self.samples()
            && after > max
        {
            return Err(LimitReached::Samples(max).into());
        }
        self.templates.insert(name.to_owned(), kept + adds);
        Ok(())
    }
}

/// Random writes of two nodes, and of a version without quotas: each outcome is the expected one, and the stored count
/// is either right or of an older revision.
async fn quotas_hold_after_any_writes(fixture: Fixture) {
    let nodes = [fixture.open().await, fixture.open().await];
    let a = with_app(&nodes[0], "a").await;
    let mut expected = Expected::default();
    let mut random = Random::new(18);
    let mut refused = 0;
    let mut counts_in_force = 0;
    for step in 0..220 {
        let node = &nodes[random.below(2)];
        let name = format!("t{}", random.below(8));
        let adds = 1 + random.below(3) as u32;
        let on_conflict = [OnConflict::Refuse, OnConflict::Replace(ErasureReason::IMPORT), OnConflict::Extend]
            [random.below(3)]
        .clone();
        match random.below(12) {
            0..=4 => {
                let other = of(&format!("t{}", random.below(8)), adds);
                let batch = [of(&name, adds), other];
                let written = node.templates.insert_all(&a, &batch, on_conflict.clone()).await.unwrap();
                for (template, written) in batch.iter().zip(written) {
                    let due = expected.insert(template.id.as_str(), u64::from(adds), on_conflict.clone());
                    assert_eq!(written.map(drop), due, "step {step}");
                    refused += usize::from(due.is_err());
                }
            }
            5 | 6 => {
                let added = node.templates.add_sample(&a, &id(&name), &enrolled(sample(1))).await;
                let exists = expected.templates.contains_key(&name);
                match added {
                    Ok(revision) => {
                        assert_eq!(revision.is_some(), exists, "step {step}");
                        assert!(!exists || expected.insert(&name, 1, OnConflict::Extend).is_ok(), "step {step}");
                    }
                    Err(InsertError::Refused(refusal)) => {
                        assert!(exists);
                        assert_eq!(expected.insert(&name, 1, OnConflict::Extend), Err(refusal), "step {step}");
                    }
                    Err(InsertError::Store(error)) => panic!("{error}"),
                }
            }
            7 | 8 => {
                let removed = node.templates.remove(&a, &id(&name), ErasureReason::IMPORT).await.unwrap();
                assert_eq!(removed.is_some(), expected.templates.remove(&name).is_some(), "step {step}");
            }
            9 => {
                fixture.time.advance(Duration::from_secs(1));
                let now = fixture.time.clock().now();
                for (gone, _) in node.templates.remove_older(&a, now, 2, ErasureReason::RETENTION).await.unwrap() {
                    assert!(expected.templates.remove(gone.as_str()).is_some(), "step {step}");
                }
            }
            10 if !expected.templates.contains_key(&name) => {
                // A node of the version before quotas, which may exceed them.
                for sql in [
                    "UPDATE applications SET revision = revision + 1 WHERE app_id = 'a'".to_owned(),
                    format!("INSERT INTO templates (app_id, template_id, created_at) VALUES ('a', '{name}', 1)"),
                    format!(
                        "INSERT INTO changes (app_id, revision, template_id, tag)
                         SELECT 'a', revision, '{name}', 1 FROM applications WHERE app_id = 'a'"
                    ),
                ] {
                    fixture.tamper(&sql).await;
                }
                expected.templates.insert(name, 0);
            }
            _ => {
                let max = |random: &mut Random| Some(2 + random.below(10) as u64).filter(|max| *max < 10);
                expected.quota = Quota { templates: max(&mut random), samples: max(&mut random) };
                assert!(node.apps.set_max_templates(&a, expected.quota.templates).await.unwrap());
                assert!(node.apps.set_max_samples(&a, expected.quota.samples).await.unwrap());
            }
        }
        let count = "SELECT CASE WHEN counted_revision = revision THEN counted_templates * 1000 + counted_samples END
                     FROM applications WHERE app_id = 'a'";
        if let Some(count) = fixture.number(count).await {
            counts_in_force += 1;
            let truth = expected.templates.len() as u64 * 1000 + expected.samples();
            assert_eq!(u64::try_from(count).unwrap(), truth, "step {step}");
        }
    }
    let rows = "SELECT (SELECT count(*) FROM templates) * 1000 + (SELECT count(*) FROM samples)";
    let rows = u64::try_from(fixture.number(rows).await.unwrap()).unwrap();
    assert_eq!(rows, expected.templates.len() as u64 * 1000 + expected.samples());
    assert!(refused > 20 && counts_in_force > 20, "{refused} refused, {counts_in_force} counts in force");
}
