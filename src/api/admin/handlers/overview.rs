//! `overview` and `figures`: how the server is, and how it was.

use std::collections::BTreeMap;
use std::time::SystemTime;

use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::admin::Answer;
use crate::api::admin::extract::Admin;
use crate::api::extract::Query;
use crate::api::outcome::Outcome;
use crate::api::{ApiError, ApiState};
use crate::domain::{AppId, Clock, Role, parse_rfc3339, rfc3339};
use crate::telemetry::{FigureError, FigureQuery, FigureScope, Problem, Severity};

/// The most series of one request.
const MAX_SERIES: usize = 64;

/// Something that an operator has to act on.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ProblemView {
    /// A stable word.
    kind: &'static str,
    /// `critical`: requests are refused; `warning`: the server serves, but an operator has to act.
    severity: &'static str,
    /// What it is.
    info: String,
    /// What to do.
    remedy: &'static str,
    /// Since when this server has seen it, to ten seconds.
    since: String,
}

impl ProblemView {
    fn new(problem: Problem) -> Self {
        let Problem { kind, severity, info, remedy, since } = problem;
        let severity = if severity == Severity::Critical { "critical" } else { "warning" };
        Self { kind, severity, info, remedy, since: rfc3339(since) }
    }
}

/// What was counted today.
#[derive(Serialize, JsonSchema)]
pub(in crate::api) struct Today {
    /// The last midnight (UTC), or the start of the server if that was later.
    since: String,
    /// The number of each kind of request and outcome, by the name of its series.
    counts: BTreeMap<&'static str, u64>,
}

/// A gallery in the memory of this node.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct GalleryView {
    app_id: String,
    /// People in the index.
    people: usize,
    samples: usize,
    search_index_bytes: usize,
    /// People past their retention who are not erased until an owner confirms.
    held: u64,
    /// People with a sample that cannot be read.
    unreadable: usize,
}

/// Something that ends by itself.
#[derive(Serialize, JsonSchema)]
pub(in crate::api) struct Expiry {
    /// `certificate`.
    kind: &'static str,
    at: String,
}

/// The server now.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Overview {
    /// `ready`, `degraded` (it serves, but there are problems) or `down` (requests are refused).
    state: &'static str,
    /// Whether identify is served.
    ready: bool,
    /// The worst first.
    problems: Vec<ProblemView>,
    today: Today,
    galleries: Vec<GalleryView>,
    expiries: Vec<Expiry>,
    node_id: String,
    version: &'static str,
    started_at: String,
}

pub(in crate::api) async fn overview(State(api): State<ApiState>, admin: Admin) -> Answer {
    let system = api.system()?;
    let now = Clock::system().now();
    let sees_all = sees_everything(&admin);
    let mut gauges = api.gauges(true);
    let facts = api.facts();
    let all = api.metrics().problems(&gauges, &facts, now);
    // Numbers of other applications are none of this administrator's business.
    let may_see = |app: &AppId| admin.signed_in.may_see(app);
    gauges.galleries.retain(|(app, _)| may_see(app));
    gauges.held.retain(|(app, _)| may_see(app));
    gauges.unreadable.retain(|(app, _)| may_see(app));
    let problems = if sees_all { all } else { api.metrics().known_problems(&gauges, &facts, now) };
    let today = if sees_all {
        api.metrics().today(None)
    } else {
        let apps: Vec<&str> = gauges.galleries.iter().map(|(app, _)| app.as_str()).collect();
        api.metrics().today(Some(&apps))
    };
    let galleries = gauges.galleries.iter().map(|(app, size)| GalleryView {
        app_id: app.as_str().to_owned(),
        people: size.templates,
        samples: size.samples,
        search_index_bytes: size.bytes,
        held: gauges.held.iter().find(|(held, _)| held == app).map_or(0, |(_, templates)| *templates),
        unreadable: gauges.unreadable.iter().find(|(of, _)| of == app).map_or(0, |(_, templates)| *templates),
    });
    let reply = Overview {
        state: match (gauges.ready, problems.is_empty()) {
            (false, _) => "down",
            (true, false) => "degraded",
            (true, true) => "ready",
        },
        ready: gauges.ready,
        galleries: galleries.collect(),
        problems: problems.into_iter().map(ProblemView::new).collect(),
        today: Today { since: rfc3339(today.since), counts: today.counts.into_iter().collect() },
        expiries: facts
            .certificate_end
            .map(|end| Expiry { kind: "certificate", at: rfc3339(end) })
            .into_iter()
            .collect(),
        node_id: system.node.to_string(),
        version: env!("CARGO_PKG_VERSION"),
        started_at: rfc3339(system.started_at),
    };
    Ok(admin.audit.succeeded("read", Outcome::result(&reply)).into())
}

/// Whether an administrator sees the figures of all applications.
fn sees_everything(admin: &Admin) -> bool {
    admin.signed_in.role() == Role::Owner || admin.signed_in.administrator.applications.is_none()
}

/// Columns of figures with the same steps. A number is null for a gap, and for a duration where nothing was measured.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Figures {
    /// The beginning of the first step.
    start: String,
    step_seconds: u64,
    /// The values of each series, one a step.
    series: BTreeMap<&'static str, Vec<Option<f32>>>,
}

pub(in crate::api) async fn figures(State(api): State<ApiState>, admin: Admin, query: Query) -> Answer {
    let series: Vec<&str> =
        query.text("series").map(|text| text.split(',').map(str::trim).collect()).unwrap_or_default();
    if series.len() > MAX_SERIES {
        return Err(ApiError::field("series", format!("must name at most {MAX_SERIES} series")));
    }
    let step = query.text("step").unwrap_or("60");
    let step_seconds = step.parse().map_err(|_| ApiError::field("step", "must be 10, 60 or 3600"))?;
    let from: Option<SystemTime> = match query.text("from").map(parse_rfc3339) {
        Some(None) => return Err(ApiError::field("from", "must be a time such as 2026-11-23T09:30:00Z")),
        from => from.flatten(),
    };
    let app = query.text("appId");
    let scope = match (app, query.text("scope")) {
        (Some(app), _) => {
            let id: AppId = app.parse().map_err(|_| ApiError::no_such("application"))?;
            admin.caller(&api, &id)?;
            FigureScope::App(app)
        }
        // The sum over all applications tells of those that this administrator may not see.
        (None, _) if !sees_everything(&admin) => {
            return Err(ApiError::field("appId", "must name an application: you see those that are listed for you"));
        }
        (None, None | Some("server")) => FigureScope::Server,
        (None, Some("otherApplications")) => FigureScope::OtherApps,
        (None, Some(_)) => return Err(ApiError::field("scope", "must be server or otherApplications")),
    };
    let columns = api.metrics().figures(&FigureQuery { scope, series: &series, step_seconds, from });
    let columns = columns.map_err(|error| match error {
        FigureError::UnknownSeries(_) => ApiError::UnknownSeries,
        FigureError::UnknownStep(_, known) => ApiError::field("step", format!("must be {known}")),
    })?;
    let reply = Figures {
        start: rfc3339(columns.start),
        step_seconds: columns.step_seconds,
        series: columns.series.into_iter().collect(),
    };
    Ok(admin.audit.succeeded("read", Outcome::result(&reply)).into())
}
