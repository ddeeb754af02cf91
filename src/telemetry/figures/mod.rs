//! Figures over time, kept in memory: 10 s x 360, 60 s x 1 440, 1 h x 744.
//!
//! They are sampled from counters that grow where `/metrics` counts, so the two agree. They begin with the process and
//! are lost with it; a Prometheus keeps them for longer.

mod ring;
mod totals;

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::gauges::Gauges;
use ring::Ring;
pub use totals::RequestRecord;
use totals::{APP_COUNTS, AppCounted, Counted, SERVER_COUNTS, SERVER_DURATIONS, ServerCounted, quantile_ms};
pub(super) use totals::{SECONDS, Span, Totals};

/// How often the counters are sampled.
pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(10);

/// The length of a step in seconds, and how many are kept.
const STEPS: [(u64, usize); 3] = [(10, 360), (60, 1440), (3600, 744)];

/// Applications with figures of their own: the busiest. The others are summed.
const MAX_APPS: usize = 128;

/// An application takes the place of a quieter one when it has so many times its requests.
const REPLACE_FACTOR: f64 = 2.0;

/// What is left of the number of requests by which applications are ranked after one sample: half after an hour.
const RANK_DECAY: f64 = 0.998_076_6;

/// The levels of the server at the moment of a sample. A step has the highest of its samples.
const GAUGES: [&str; 11] = [
    "photosInFlight",
    "storeRequests",
    "uploadBytes",
    "databaseConnections",
    "databaseCallsWaiting",
    "journalLinesWaiting",
    "stalenessSeconds",
    "people",
    "samples",
    "searchIndexBytes",
    "residentBytes",
];

/// The quantiles of the durations, after the counts.
const SERVER_QUANTILES: [&str; 8] =
    ["p50Ms", "p95Ms", "identifyP50Ms", "identifyP95Ms", "searchP50Ms", "searchP95Ms", "queueP50Ms", "queueP95Ms"];
const APP_QUANTILES: [&str; 2] = ["p50Ms", "p95Ms"];

const SERVER_COLUMNS: usize = SERVER_COUNTS.len() + SERVER_QUANTILES.len() + GAUGES.len();
const APP_COLUMNS: usize = APP_COUNTS.len() + APP_QUANTILES.len();

const _: () = assert!(SERVER_QUANTILES.len() == 2 * SERVER_DURATIONS.len() && SERVER_COLUMNS <= 64);

/// The most bytes of all figures.
const MAX_BYTES: usize = Ring::<SERVER_COLUMNS>::max_bytes(STEPS[0].1 + STEPS[1].1 + STEPS[2].1)
    + (MAX_APPS + 1) * Ring::<APP_COLUMNS>::max_bytes(STEPS[1].1 + STEPS[2].1);

const _: () = assert!(MAX_BYTES < 16 << 20);

/// The names of the series of the server.
pub fn server_series() -> impl Iterator<Item = &'static str> {
    SERVER_COUNTS.into_iter().chain(SERVER_QUANTILES).chain(GAUGES)
}

/// The names of the series of one application.
pub fn app_series() -> impl Iterator<Item = &'static str> {
    APP_COUNTS.into_iter().chain(APP_QUANTILES)
}

/// Whose figures are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FigureScope<'a> {
    /// The server's.
    Server,
    /// One application's; steps of 60 s and 1 h only.
    App(&'a str),
    /// Those of all applications that have none of their own, summed; steps of 60 s and 1 h only.
    OtherApps,
}

/// Which figures are read.
#[derive(Debug, Clone, Copy)]
pub struct FigureQuery<'a> {
    /// Whose.
    pub scope: FigureScope<'a>,
    /// Names of series; empty: all.
    pub series: &'a [&'a str],
    /// Seconds: 10, 60 or 3600.
    pub step_seconds: u64,
    /// The time of the first step; `None`: as far back as they are kept.
    pub from: Option<SystemTime>,
}

/// Columns of figures with the same steps.
#[derive(Debug, Clone, PartialEq)]
pub struct FigureColumns {
    /// The beginning of the first step.
    pub start: SystemTime,
    /// The length of a step.
    pub step_seconds: u64,
    /// Name and values of each series; `None` is a gap.
    pub series: Vec<(&'static str, Vec<Option<f32>>)>,
}

/// Why there are no such figures.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FigureError {
    /// No series has this name.
    #[error("no series is called '{0}'")]
    UnknownSeries(String),
    /// No such step is kept.
    #[error("steps of {0} s are not kept: choose {1}")]
    UnknownStep(u64, &'static str),
}

/// The counts since the last midnight (UTC), or since the start of the server if that was later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TodayCounts {
    /// Since when.
    pub since: SystemTime,
    /// Name and count of each series.
    pub counts: Vec<(&'static str, u64)>,
}

/// A row of numbers for every step of one length.
#[derive(Debug)]
struct Level<const N: usize, const H: usize, const G: usize, const R: usize> {
    step_seconds: u64,
    ring: Ring<R>,
    /// The step that is not over.
    open: Option<u64>,
    sum: Counted<N, H>,
    peaks: [f32; G],
}

impl<const N: usize, const H: usize, const G: usize, const R: usize> Level<N, H, G, R> {
    fn new((step_seconds, capacity): (u64, usize)) -> Self {
        Self { step_seconds, ring: Ring::new(capacity), open: None, sum: Counted::default(), peaks: [f32::NAN; G] }
    }

    /// Adds what came since the last sample to the open step, and ends the step when the time is in a later one.
    fn add(&mut self, seconds: u64, more: &Counted<N, H>, gauges: &[f32; G]) {
        let step = seconds / self.step_seconds;
        self.sum.add(more);
        for (peak, value) in self.peaks.iter_mut().zip(gauges) {
            *peak = peak.max(*value); // of NaN and a value the value
        }
        let open = *self.open.get_or_insert(step);
        if open != step {
            self.ring.push(open, self.row());
            self.open = Some(step);
            self.sum = Counted::default();
            self.peaks = [f32::NAN; G];
        }
    }

    fn row(&self) -> [f32; R] {
        let counts = self.sum.counts.iter().map(|count| *count as f32);
        let quantiles =
            self.sum.buckets.iter().flat_map(|buckets| {
                [0.5, 0.95].map(|share| quantile_ms(buckets, share).map_or(f32::NAN, |ms| ms as f32))
            });
        let mut row = [f32::NAN; R];
        for (cell, value) in row.iter_mut().zip(counts.chain(quantiles).chain(self.peaks)) {
            *cell = value;
        }
        row
    }

    fn columns(
        &self,
        names: impl Iterator<Item = &'static str>,
        query: &FigureQuery<'_>,
    ) -> Result<FigureColumns, FigureError> {
        let names: Vec<&'static str> = names.collect();
        if let Some(unknown) = query.series.iter().find(|name| !names.contains(name)) {
            return Err(FigureError::UnknownSeries((*unknown).to_owned()));
        }
        let chosen =
            names.into_iter().enumerate().filter(|(_, name)| query.series.is_empty() || query.series.contains(name));
        let from = query.from.map_or(0, |from| unix_seconds(from).div_ceil(self.step_seconds));
        let start = UNIX_EPOCH + Duration::from_secs(self.ring.since(from).0.saturating_mul(self.step_seconds));
        let value = |row: &[f32; R], at: usize| row.get(at).copied().filter(|value| value.is_finite());
        let column = |at| self.ring.since(from).1.map(|row| value(row, at)).collect();
        let series = chosen.map(|(at, name)| (name, column(at))).collect();
        Ok(FigureColumns { start, step_seconds: self.step_seconds, series })
    }
}

type ServerLevel = Level<{ SERVER_COUNTS.len() }, { SERVER_DURATIONS.len() }, { GAUGES.len() }, SERVER_COLUMNS>;
type AppLevel = Level<{ APP_COUNTS.len() }, 1, 0, APP_COLUMNS>;

/// The figures of one application.
#[derive(Debug)]
struct AppFigures([AppLevel; 2]);

impl AppFigures {
    fn new() -> Self {
        Self([Level::new(STEPS[1]), Level::new(STEPS[2])])
    }

    fn add(&mut self, seconds: u64, more: &AppCounted) {
        self.0.iter_mut().for_each(|level| level.add(seconds, more, &[]));
    }

    fn columns(&self, query: &FigureQuery<'_>) -> Result<FigureColumns, FigureError> {
        let level = self.0.iter().find(|level| level.step_seconds == query.step_seconds);
        let unknown = || FigureError::UnknownStep(query.step_seconds, "60 or 3600");
        level.ok_or_else(unknown)?.columns(app_series(), query)
    }
}

/// An application as of the last sample.
#[derive(Debug, Default)]
struct KnownApp {
    counted: AppCounted,
    at_midnight: AppCounted,
    rank: f64,
}

#[derive(Debug)]
struct State {
    server: [ServerLevel; 3],
    counted: ServerCounted,
    at_midnight: ServerCounted,
    day: u64,
    since: SystemTime,
    known: HashMap<String, KnownApp>,
    apps: HashMap<String, AppFigures>,
    other: AppFigures,
}

/// The figures of a server since its start.
#[derive(Debug)]
pub(super) struct Figures(Mutex<State>);

impl Figures {
    pub(super) fn new(now: SystemTime) -> Self {
        Self(Mutex::new(State {
            server: STEPS.map(Level::new),
            counted: ServerCounted::default(),
            at_midnight: ServerCounted::default(),
            day: day(now),
            since: now,
            known: HashMap::new(),
            apps: HashMap::new(),
            other: AppFigures::new(),
        }))
    }

    /// Takes a sample. It is due every [`SAMPLE_INTERVAL`], just after each multiple of it.
    pub(super) fn sample(&self, totals: &Totals, gauges: &Gauges, resident_bytes: u64, now: SystemTime) {
        let server = totals.server();
        let apps = totals.apps();
        let seconds = unix_seconds(now);
        let mut state = self.0.lock();
        let state = &mut *state;
        let more = server.since(&state.counted);
        state.counted = server;
        let levels = levels(gauges, resident_bytes);
        state.server.iter_mut().for_each(|level| level.add(seconds, &more, &levels));

        let mut other = AppCounted::default();
        let mut of_apps: HashMap<String, AppCounted> = HashMap::new();
        for (app, counted) in apps {
            let known = state.known.entry(app.clone()).or_default();
            let more = counted.since(&known.counted);
            known.counted = counted;
            known.rank = known.rank * RANK_DECAY + more.counts.first().copied().unwrap_or_default() as f64;
            of_apps.insert(app, more);
        }
        state.admit_busy_apps();
        for (app, more) in &of_apps {
            if !state.apps.contains_key(app) {
                other.add(more);
            }
        }
        for (app, figures) in &mut state.apps {
            figures.add(seconds, of_apps.get(app).unwrap_or(&AppCounted::default()));
        }
        state.other.add(seconds, &other);
        if day(now) != state.day {
            state.day = day(now);
            state.since = now;
            state.at_midnight = state.counted;
            state.known.values_mut().for_each(|known| known.at_midnight = known.counted);
        }
    }

    pub(super) fn read(&self, query: &FigureQuery<'_>) -> Result<FigureColumns, FigureError> {
        let state = self.0.lock();
        match query.scope {
            FigureScope::Server => {
                let level = state.server.iter().find(|level| level.step_seconds == query.step_seconds);
                let unknown = || FigureError::UnknownStep(query.step_seconds, "10, 60 or 3600");
                level.ok_or_else(unknown)?.columns(server_series(), query)
            }
            FigureScope::OtherApps => state.other.columns(query),
            FigureScope::App(app) => match state.apps.get(app) {
                Some(figures) => figures.columns(query),
                None => AppFigures::new().columns(query),
            },
        }
    }

    /// Today's counts: of the server, or of these applications together.
    pub(super) fn today(&self, totals: &Totals, apps: Option<&[&str]>) -> TodayCounts {
        let state = self.0.lock();
        let since = state.since;
        let Some(apps) = apps else {
            let counts = totals.server().since(&state.at_midnight).counts;
            return TodayCounts { since, counts: SERVER_COUNTS.into_iter().zip(counts).collect() };
        };
        let mut sum = AppCounted::default();
        for (app, counted) in totals.apps().iter().filter(|(app, _)| apps.contains(&app.as_str())) {
            sum.add(&counted.since(&state.known.get(app).map_or_else(AppCounted::default, |known| known.at_midnight)));
        }
        TodayCounts { since, counts: APP_COUNTS.into_iter().zip(sum.counts).collect() }
    }
}

impl State {
    /// Gives figures of their own to applications that have none, while there is room or a much quieter one has them.
    fn admit_busy_apps(&mut self) {
        let rank = |known: &HashMap<String, KnownApp>, app: &str| known.get(app).map_or(0.0, |app| app.rank);
        let mut waiting: Vec<String> = self.known.keys().filter(|app| !self.apps.contains_key(*app)).cloned().collect();
        waiting.sort_by(|one, other| rank(&self.known, other).total_cmp(&rank(&self.known, one)));
        for app in waiting {
            if self.apps.len() >= MAX_APPS {
                let quietest =
                    self.apps.keys().min_by(|one, other| rank(&self.known, one).total_cmp(&rank(&self.known, other)));
                let Some(quietest) = quietest.cloned() else { return };
                if rank(&self.known, &app) <= REPLACE_FACTOR * rank(&self.known, &quietest) {
                    return;
                }
                self.apps.remove(&quietest);
            }
            self.apps.insert(app, AppFigures::new());
        }
    }
}

fn levels(gauges: &Gauges, resident_bytes: u64) -> [f32; GAUGES.len()] {
    let sum = |of: fn(&crate::gallery::GallerySize) -> usize| {
        gauges.galleries.iter().map(|(_, size)| of(size)).sum::<usize>()
    };
    [
        gauges.tickets_in_use as f32,
        gauges.store_requests as f32,
        gauges.upload_bytes as f32,
        gauges.database_connections as f32,
        gauges.database_calls_waiting as f32,
        gauges.journal_waiting as f32,
        gauges.staleness.as_secs_f32(),
        sum(|size| size.templates) as f32,
        sum(|size| size.samples) as f32,
        sum(|size| size.bytes) as f32,
        resident_bytes as f32,
    ]
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn day(time: SystemTime) -> u64 {
    unix_seconds(time) / 86_400
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(20_000 * 86_400 + seconds)
    }

    fn request(app: &str, outcome: &str) -> RequestRecord<'static> {
        let app: &'static str = Box::leak(app.to_owned().into_boxed_str());
        let outcome: &'static str = Box::leak(outcome.to_owned().into_boxed_str());
        RequestRecord {
            route: "/api/v1.0/identify",
            app: Some(app),
            status: 200,
            code: 0,
            outcome: Some(outcome),
            duration: Duration::from_millis(30),
        }
    }

    fn column(columns: &FigureColumns, name: &str) -> Vec<Option<f32>> {
        columns.series.iter().find(|(known, _)| *known == name).unwrap().1.clone()
    }

    fn server(step_seconds: u64) -> FigureQuery<'static> {
        FigureQuery { scope: FigureScope::Server, series: &[], step_seconds, from: None }
    }

    #[test]
    fn every_step_has_what_came_in_it() {
        let totals = Totals::default();
        let figures = Figures::new(at(0));
        let gauges = |tickets_in_use| Gauges { tickets_in_use, ..Gauges::default() };
        for tick in 0..=12 {
            figures.sample(&totals, &gauges(tick), 1 << 20, at(tick as u64 * 10));
            for _ in 0..tick {
                totals.request(&request("a", "found"));
            }
        }
        let short = figures.read(&server(10)).unwrap();
        assert_eq!((short.start, short.step_seconds), (at(0), 10));
        let expected: Vec<Option<f32>> = (0u8..12).map(|tick| Some(f32::from(tick))).collect();
        assert_eq!(column(&short, "requests"), expected);
        assert_eq!(column(&short, "photosInFlight")[3], Some(4.0), "as of the end of the step");
        assert_eq!(column(&short, "p95Ms")[0], None, "without requests there is no duration");
        assert!((25.0..=50.0).contains(&column(&short, "identifyP50Ms")[5].unwrap()));
        let minutes = figures.read(&server(60)).unwrap();
        assert_eq!(column(&minutes, "found"), [Some(15.0), Some(51.0)]);
        assert_eq!(column(&minutes, "photosInFlight"), [Some(6.0), Some(12.0)], "the highest");
        let of_a = FigureQuery { scope: FigureScope::App("a"), ..server(60) };
        assert_eq!(column(&figures.read(&of_a).unwrap(), "requests"), [Some(15.0), Some(51.0)]);
        let late = FigureQuery { from: Some(at(61)), series: &["requests"], ..server(10) };
        let late = figures.read(&late).unwrap();
        assert_eq!((late.start, late.series.len(), late.series[0].1.len()), (at(70), 1, 5));
    }

    #[test]
    fn what_does_not_exist_is_an_error_or_empty() {
        let figures = Figures::new(at(0));
        let unknown = FigureQuery { series: &["requests", "rumors"], ..server(10) };
        assert_eq!(figures.read(&unknown), Err(FigureError::UnknownSeries("rumors".to_owned())));
        assert!(matches!(figures.read(&server(11)), Err(FigureError::UnknownStep(11, _))));
        let of_app = |step_seconds| FigureQuery { scope: FigureScope::App("nobody"), ..server(step_seconds) };
        assert!(matches!(figures.read(&of_app(10)), Err(FigureError::UnknownStep(10, _))));
        assert!(figures.read(&of_app(60)).unwrap().series.iter().all(|(_, values)| values.is_empty()));
    }

    #[test]
    fn a_pause_of_the_machine_is_a_gap() {
        let totals = Totals::default();
        let figures = Figures::new(at(0));
        for seconds in [0, 10, 60, 70] {
            figures.sample(&totals, &Gauges::default(), 0, at(seconds));
        }
        let requests = column(&figures.read(&server(10)).unwrap(), "requests");
        assert_eq!(requests, [Some(0.0), Some(0.0), None, None, None, None, Some(0.0)]);
    }

    #[test]
    fn the_busiest_applications_have_figures_of_their_own() {
        let totals = Totals::default();
        let figures = Figures::new(at(0));
        for app in 0..MAX_APPS + 40 {
            totals.request(&request(&format!("app-{app}"), "found"));
        }
        figures.sample(&totals, &Gauges::default(), 0, at(0));
        for _ in 0..50 {
            totals.request(&request("late", "nobody"));
        }
        figures.sample(&totals, &Gauges::default(), 0, at(60));
        figures.sample(&totals, &Gauges::default(), 0, at(120));
        let read = |scope, name| column(&figures.read(&FigureQuery { scope, ..server(60) }).unwrap(), name);
        let sum = |values: Vec<Option<f32>>| values.into_iter().flatten().sum::<f32>();
        assert_eq!(sum(read(FigureScope::App("late"), "nobody")), 50.0);
        assert_eq!(sum(read(FigureScope::OtherApps, "found")), 40.0);
        assert_eq!(figures.0.lock().apps.len(), MAX_APPS);
    }

    #[test]
    fn counts_of_today_begin_at_midnight() {
        let totals = Totals::default();
        let figures = Figures::new(at(80_000));
        let found = |app: Option<&[&str]>| {
            let today = figures.today(&totals, app);
            (today.since, today.counts.into_iter().find(|(name, _)| *name == "found").unwrap().1)
        };
        totals.request(&request("a", "found"));
        totals.request(&request("b", "found"));
        assert_eq!(found(None), (at(80_000), 2));
        assert_eq!(found(Some(&["a"])), (at(80_000), 1));
        assert_eq!(found(Some(&[])), (at(80_000), 0));
        figures.sample(&totals, &Gauges::default(), 0, at(86_400));
        totals.request(&request("a", "found"));
        assert_eq!(found(None), (at(86_400), 1));
        assert_eq!(found(Some(&["a", "b"])), (at(86_400), 1));
    }
}
