//! The alert rules and the dashboard in `monitoring/`: every metric that they name exists.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use semblance::domain::{AppId, Timings};
use semblance::gallery::GallerySize;
use semblance::telemetry::{Gauges, Metrics, RequestRecord};

use crate::support::skipped;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("monitoring").join(name)
}

/// All metrics, with a value in every family: a family without values is not rendered.
fn rendered() -> String {
    let metrics = Metrics::new();
    metrics.request(&RequestRecord {
        route: "/api/v1.0/identify",
        app: Some("a"),
        status: 200,
        code: 0,
        outcome: Some("found"),
        duration: Duration::from_millis(80),
    });
    metrics.abandoned("/api/v1.0/identify");
    metrics.analysis(&Timings::default());
    metrics.search(Duration::from_millis(1));
    metrics.connection_refused("full");
    let app: AppId = "a".parse().unwrap();
    let galleries = vec![(app.clone(), GallerySize::default())];
    metrics
        .render(&Gauges {
            by_app: true,
            galleries,
            unreadable: vec![(app.clone(), 1)],
            held: vec![(app, 1)],
            ..Gauges::default()
        })
        .unwrap()
}

/// The names of all series: `semblance_request_duration_seconds_bucket` and so on.
fn series() -> BTreeSet<String> {
    let text = rendered();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

/// What looks like the name of a metric.
fn names(text: &str) -> BTreeSet<String> {
    text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
        .filter(|word| word.starts_with("semblance_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn rules_and_dashboard_name_metrics_that_exist() {
    let series = series();
    for name in ["alerts.yml", "dashboard.json"] {
        let text = std::fs::read_to_string(file(name)).unwrap();
        let named = names(&text);
        assert!(named.len() > 10, "{name} names few metrics: {named:?}");
        let unknown: Vec<_> = named.difference(&series).collect();
        assert!(unknown.is_empty(), "{name} names metrics that the server does not have: {unknown:?}");
    }
}

#[test]
fn the_dashboard_is_one_grafana_accepts() {
    let text = std::fs::read_to_string(file("dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "every panel has an id of its own");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert!(!panel["targets"].as_array().unwrap().is_empty(), "{} has a query", panel["title"]);
    }
}

/// Prometheus itself reads the rules, and runs them over the series of `alerts_test.yml`.
#[test]
fn prometheus_accepts_the_rules() {
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let outcome = Command::new("promtool").args(arguments).current_dir(file("")).output();
        let Ok(output) = outcome else { return skipped("monitoring: promtool", "promtool is not installed") };
        let printed = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&printed));
    }
}
