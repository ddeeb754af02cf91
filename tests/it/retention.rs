//! Retention erases what is due, but neither a wrong clock nor a wrong period erases a gallery.

use std::time::Duration;

use semblance::domain::{AppId, TransactionId};
use semblance::service::ClockDoubt;

use crate::snapshots::{Fixture, Node, on_both_databases};
use crate::support::figure;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

on_both_databases! {
    a_gallery_that_expires_at_once_is_held_until_it_is_confirmed
    rounds_do_not_exceed_the_budget_of_a_day
    the_share_is_set_per_application
    a_clock_that_is_ahead_at_start_erases_nothing_until_it_is_confirmed
    a_clock_that_is_set_while_the_server_runs_erases_nothing
}

async fn keep_for(node: &Node, app: &AppId, period: Duration) {
    assert!(node.service.applications().set_retention(app, Some(period)).await.unwrap());
}

async fn expire(node: &Node) -> usize {
    let mut erased = 0;
    loop {
        match node.service.remove_expired().await.unwrap() {
            0 => return erased,
            more => erased += more,
        }
    }
}

fn held(node: &Node, app: &AppId) -> u64 {
    let held = node.service.held();
    held.iter().find(|record| record.app == *app).and_then(|record| record.hold).map_or(0, |hold| hold.templates)
}

async fn a_gallery_that_expires_at_once_is_held_until_it_is_confirmed(fixture: Fixture) {
    let node = fixture.start().await;
    let (app, small) = (node.new_app().await, node.new_app().await);
    node.fill(&app, 0..300).await;
    node.fill(&small, 0..100).await;
    keep_for(&node, &app, 90 * SECOND).await;
    keep_for(&node, &small, 90 * SECOND).await;
    fixture.time.advance(60 * SECOND);
    node.fill(&app, 300..310).await;
    assert_eq!(expire(&node).await, 0);
    fixture.time.advance(31 * SECOND);
    assert_eq!(expire(&node).await, 100, "up to 100 templates may always expire");
    assert_eq!((held(&node, &app), held(&node, &small)), (300, 0));
    let other = fixture.start().await;
    for _ in 0..5 {
        assert_eq!((expire(&node).await, expire(&other).await), (0, 0));
    }
    assert_eq!(held(&other, &app), 300, "every node reports it");
    assert_eq!(node.count(&app), 310);
    // The confirmation is for what was reported.
    let confirmed = node.store.retention.confirm_expiry(&app).await.unwrap().unwrap();
    assert_eq!(confirmed.templates, 300);
    assert_eq!(node.store.retention.confirm_expiry(&app).await.unwrap(), None, "nothing else is held");
    assert_eq!(expire(&other).await, 300);
    node.service.replicator().poll().await.unwrap();
    node.check(&app, &(300..310).collect::<Vec<_>>()).await;
    assert_eq!(expire(&node).await, 0);
    assert_eq!(held(&node, &app), 0);
    node.fill(&app, 400..520).await;
    fixture.time.advance(91 * SECOND);
    assert_eq!(expire(&node).await, 0, "the confirmation does not hold for later ones");
    assert_eq!(held(&node, &app), 130);
    // A longer period ends the hold.
    keep_for(&node, &app, DAY).await;
    assert_eq!(expire(&node).await, 0);
    assert_eq!((held(&node, &app), node.count(&app)), (0, 130));
    assert_eq!(node.store.retention.confirm_expiry(&app).await.unwrap(), None);
    let claim = node.store.outbox.claim(uuid::Uuid::new_v4(), DAY, 1000).await.unwrap();
    let confirmations: Vec<_> = claim.events.iter().filter(|event| event.operation == "retention confirm").collect();
    assert_eq!(confirmations.len(), 1);
    assert!(confirmations[0].detail.starts_with("confirmed: 300 templates enrolled before "), "{confirmations:?}");
    assert_eq!(claim.events.iter().filter(|event| event.detail == "retention").count(), 400, "each has its receipt");
    figure(
        "300 of 310 templates past their retention at once, 10 rounds on two nodes",
        "0 erased, 300 held; after the confirmation 300 erased, 10 kept",
    );
}

/// A clock that runs too fast makes templates due in small portions.
async fn rounds_do_not_exceed_the_budget_of_a_day(fixture: Fixture) {
    let node = fixture.start().await;
    let app = node.new_app().await;
    for group in 0..20 {
        node.fill(&app, group * 50..(group + 1) * 50).await;
        fixture.time.advance(10 * SECOND);
    }
    keep_for(&node, &app, 1000 * SECOND).await;
    fixture.time.advance(801 * SECOND);
    let (mut erased, mut rounds) = (0, 0);
    for _ in 0..20 {
        erased += expire(&node).await;
        rounds += 1;
        fixture.time.advance(10 * SECOND);
    }
    assert_eq!(erased, 200, "20 % of 1000");
    assert_eq!(held(&node, &app), 800);
    fixture.time.advance(26 * HOUR);
    assert_eq!(expire(&node).await, 0, "what is held is still too much on the next day");
    figure(
        "1000 templates that become due in portions of 50",
        &format!("{rounds} rounds: {erased} erased, {} held; 0 more on the next day", held(&node, &app)),
    );
    node.store.retention.confirm_expiry(&app).await.unwrap().unwrap();
    assert_eq!(expire(&node).await, 800);
}

async fn the_share_is_set_per_application(fixture: Fixture) {
    let node = fixture.start().await;
    let app = node.new_app().await;
    node.fill(&app, 0..300).await;
    keep_for(&node, &app, 90 * SECOND).await;
    let store = &node.store.retention;
    assert!(!store.set_expiry_share(&"unknown".parse().unwrap(), Some(50)).await.unwrap());
    assert!(store.set_expiry_share(&app, Some(99)).await.unwrap());
    fixture.time.advance(91 * SECOND);
    assert_eq!(expire(&node).await, 0);
    assert_eq!(held(&node, &app), 300);
    assert!(store.set_expiry_share(&app, Some(100)).await.unwrap());
    assert_eq!(expire(&node).await, 300);
    assert!(store.set_expiry_share(&app, None).await.unwrap());
    assert_eq!(store.retentions().await.unwrap()[0].share, 20);
}

async fn a_clock_that_is_ahead_at_start_erases_nothing_until_it_is_confirmed(fixture: Fixture) {
    let node = fixture.start().await;
    let app = node.new_app().await;
    node.fill(&app, 0..50).await;
    keep_for(&node, &app, 30 * DAY).await;
    assert_eq!(expire(&node).await, 0);
    drop(node);
    fixture.time.advance(100 * DAY);
    let node = fixture.start().await;
    for _ in 0..5 {
        assert_eq!(expire(&node).await, 0);
        fixture.time.advance(HOUR);
    }
    assert!(
        matches!(node.service.applications().store_clock().doubt(), Some(ClockDoubt::Ahead(gap)) if gap > 99 * DAY)
    );
    assert!(!node.service.applications().store_clock().trust().is_trusted());
    assert_eq!(node.count(&app), 50);
    node.store.retention.confirm_clock().await.unwrap();
    assert_eq!(expire(&node).await, 50);
    assert!(node.service.applications().store_clock().trust().is_trusted());
}

async fn a_clock_that_is_set_while_the_server_runs_erases_nothing(fixture: Fixture) {
    let node = fixture.start().await;
    let app = node.new_app().await;
    let applications = node.service.applications();
    node.fill(&app, 0..50).await;
    keep_for(&node, &app, 30 * DAY).await;
    let old = applications.rotate_key(&app, Duration::ZERO).await.unwrap().unwrap();
    applications.rotate_key(&app, HOUR).await.unwrap().unwrap();
    let is_accepted = || {
        let transaction = TransactionId::random();
        applications.authenticate(old.app_id.as_str(), &old.app_key, transaction).is_ok()
    };
    assert_eq!(expire(&node).await, 0);
    fixture.time.set_ahead(100 * DAY);
    for _ in 0..5 {
        assert_eq!(expire(&node).await, 0);
        assert!(is_accepted(), "the overlap of the keys goes by the same clock");
    }
    assert!(applications.store_clock().doubt().is_some());
    fixture.time.set_back(100 * DAY);
    assert_eq!(expire(&node).await, 0);
    assert_eq!(applications.store_clock().doubt(), None, "the clock is right again");
    fixture.time.set_ahead(100 * DAY);
    assert_eq!(expire(&node).await, 0);
    node.store.retention.confirm_clock().await.unwrap();
    assert_eq!(expire(&node).await, 50);
    assert!(!is_accepted(), "the overlap has ended");
}
