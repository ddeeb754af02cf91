//! Import of a folder of photos: plan, read, gather, report.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::super::output::{errln, outln};
use super::gather::{Gatherer, Guarding, Work};
use super::plan::{Layout, Plan};
use super::progress::Progress;
use super::read::{Reader, Seen, file_threads};
use super::report::{Counts, Outcome, Report, Row, path_text};
use super::state::{Refusals, State};
use super::{Arguments, BATCH, EXIT_LEFT, retry};
use crate::cli::target::each_page;
use crate::cli::{CliError, journal_command, scrub_removed};
use crate::domain::{AnalysisRequest, AppId, Checks, Clock, Guard, ModelTag, Revision, Subject, TenantKey, rfc3339};
use crate::engine::Analyze;
use crate::gallery::{MatcherFeed as _, MemoryMatcher};
use crate::settings::Settings;
use crate::store::{AppRecord, Store};
use crate::{app, lifecycle};

/// Longest time before a finished template is written.
const FLUSH_INTERVAL: Duration = Duration::from_secs(2);

/// Rows of the report that are also printed.
const PRINTED_ROWS: usize = 50;

/// Paths of an import's state and report.
struct Paths {
    state: PathBuf,
    report: PathBuf,
}

/// How an import ended.
struct Ended {
    counts: Counts,
    rows: Vec<Row>,
    /// The exit code of the signal that interrupted it.
    interrupted: Option<u8>,
    /// Why it failed.
    error: Option<CliError>,
}

pub(super) async fn import(
    settings: &Settings,
    store: &Store,
    record: &AppRecord,
    arguments: &Arguments,
) -> Result<(), CliError> {
    let app = &record.id;
    let root = &arguments.from;
    let started = Clock::system().now();
    let paths = paths(settings, app, arguments)?;
    let engine: Arc<dyn Analyze> = app::start_engine(settings)?;
    let faces = arguments.faces.unwrap_or_default();
    // Everything that the result of a photo depends on.
    let under = format!(
        "version {}, models {}, faces {faces:?}, quality {:?}, pixels {}",
        env!("CARGO_PKG_VERSION"),
        app::model_pack(settings)?.version(),
        record.rules.min_quality,
        settings.limits.photo_pixels,
    );
    let (state, refusals) = State::open(&paths.state, &under)?;
    let refusals = if arguments.again { Refusals::default() } else { refusals };
    let layout = arguments.layout.unwrap_or(Layout::Auto);
    let plan = Plan::new(root, layout);
    let guard =
        arguments.guard.unwrap_or(if record.rules.guard == Guard::Refuse { Guard::Refuse } else { Guard::Warn });
    let guard = guarding(settings, store, app, guard, &*engine, plan.people.len()).await?;
    let photos = plan.people.iter().map(|person| person.photos.len()).sum();
    journal_command(
        store,
        "gallery import",
        Some(app),
        &format!("begins: {photos} photos of {} people", plan.people.len()),
    )
    .await?;

    let people = Arc::new(plan.people);
    let reader = Reader {
        request: analysis_request(faces, app),
        min_quality: record.rules.min_quality,
        store: store.clone(),
        app: app.clone(),
        root: root.clone(),
        people: Arc::clone(&people),
        existing: arguments.existing(),
        refusals,
        files: file_threads(settings.compute.inference_threads)?,
        threads: settings.compute.inference_threads,
        engine,
    };
    let gatherer = Gatherer {
        store,
        app,
        root,
        people,
        layout,
        existing: arguments.existing(),
        samples_per_template: settings.limits.samples_per_template,
        guard,
        state,
        progress: Progress::new(photos),
        counts: Counts { photos, ignored: plan.ignored, ..Counts::default() },
        rows: plan.rows,
        work: Work::default(),
    };
    let ended = follow(reader, gatherer).await;
    let report = Report {
        folder: path_text(root),
        application: app.as_str(),
        started: rfc3339(started),
        ended: rfc3339(Clock::system().now()),
        interrupted: ended.interrupted.is_some(),
        counts: &ended.counts,
        files: &ended.rows,
    };
    let files = report.write(&paths.report)?;
    let printed = print(&ended, &files);
    let counts = &ended.counts;
    let how = match (&ended.error, ended.interrupted) {
        (Some(_), _) => "breaks off",
        (None, Some(_)) => "is interrupted",
        (None, None) => "ends",
    };
    let summary = format!(
        "{how}: {} templates with {} samples, {} files left, {} warnings, {} photos not reached",
        counts.templates, counts.samples, counts.left, counts.warned, counts.not_reached
    );
    let journaled = retry::repeat(|| journal_command(store, "gallery import", Some(app), &summary)).await;
    if let Some(error) = ended.error {
        return Err(error);
    }
    journaled?;
    retry::repeat(|| scrub_removed(&*store.scrubber)).await?;
    match (ended.interrupted, counts.left) {
        (Some(code), _) => Err(CliError::Exit {
            code,
            message: format!(
                "interrupted with {} photos left; run the same command again to continue",
                counts.not_reached
            ),
        }),
        (None, 0) => printed,
        (None, left) => Err(CliError::Exit { code: EXIT_LEFT, message: format!("{left} files were not enrolled") }),
    }
}

/// The paths of state and report. Creates their folder.
fn paths(settings: &Settings, app: &AppId, arguments: &Arguments) -> Result<Paths, CliError> {
    let real = std::fs::canonicalize(&arguments.from).map_err(CliError::file(&arguments.from))?;
    let default = State::default_path(&settings.data, &real, app);
    if let Some(dir) = default.parent()
        && (arguments.state.is_none() || arguments.report.is_none())
    {
        app::make_private_dir(dir).map_err(CliError::file(dir))?;
    }
    let parent = arguments.report.as_deref().and_then(Path::parent).filter(|dir| !dir.as_os_str().is_empty());
    if let Some(dir) = parent.filter(|dir| !dir.is_dir()) {
        return Err(CliError::message(format!("the report cannot be written: {} is not a folder", dir.display())));
    }
    Ok(Paths {
        report: arguments.report.clone().unwrap_or_else(|| default.with_extension("")),
        state: arguments.state.clone().unwrap_or(default),
    })
}

fn analysis_request(faces: Subject, app: &AppId) -> AnalysisRequest {
    AnalysisRequest {
        embedding: true,
        quality: false,
        checks: Checks::default(),
        attributes: false,
        crop: false,
        subject: faces,
        tenant: TenantKey::new(app),
    }
}

/// Loads the gallery that people are compared with.
async fn guarding(
    settings: &Settings,
    store: &Store,
    app: &AppId,
    guard: Guard,
    engine: &dyn Analyze,
    people: usize,
) -> Result<Guarding, CliError> {
    let model = engine.embedding_model().clone();
    let gallery = match guard {
        Guard::Off => None,
        Guard::Warn | Guard::Refuse => Some(load(settings, store, app, &model).await?),
    };
    let size = store.templates.count(app).await?.saturating_add(people);
    let curve = engine.false_matches().clone();
    Ok(Guarding { guard, curve, model, gallery, size, revision: Revision::default() })
}

async fn load(settings: &Settings, store: &Store, app: &AppId, model: &ModelTag) -> Result<MemoryMatcher, CliError> {
    let mut templates = Vec::new();
    // Samples that cannot be read are printed; others are enrolled nevertheless.
    each_page(store, app, model, async |_, page| {
        templates.extend(page);
        Ok(())
    })
    .await?;
    let gallery = app::start_matcher(settings);
    gallery.replace(app, Revision::default(), templates);
    Ok(gallery)
}

/// Gathers results until the end, an interrupt or an error, and writes the templates that are finished by then.
async fn follow(reader: Reader, mut gatherer: Gatherer<'_>) -> Ended {
    let (results, mut seen) = mpsc::channel(BATCH);
    let reading = tokio::spawn(Arc::new(reader).run(results));
    let mut interrupted = None;
    let mut error = gather(&mut seen, &mut gatherer, &mut interrupted).await.err();
    seen.close();
    reading.abort();
    if error.is_none() {
        // Results that were ready when the interrupt came are kept.
        while let Ok(one) = seen.try_recv() {
            if let Err(failed) = gatherer.take(one).await {
                error = Some(failed);
                break;
            }
        }
    }
    if let Err(failed) = gatherer.flush().await {
        error = error.or(Some(failed));
    }
    gatherer.progress.finish();
    let Gatherer { mut counts, mut rows, progress, .. } = gatherer;
    let of = |outcome| rows.iter().filter(|row| row.outcome == outcome).count();
    counts.left = of(Outcome::Left);
    counts.warned = of(Outcome::Warned);
    counts.skipped = of(Outcome::Skipped);
    counts.not_reached = progress.left();
    rows.sort_by(|a, b| a.path.cmp(&b.path));
    Ended { counts, rows, interrupted, error }
}

async fn gather(
    seen: &mut mpsc::Receiver<Seen>,
    gatherer: &mut Gatherer<'_>,
    interrupted: &mut Option<u8>,
) -> Result<(), CliError> {
    let mut signal = std::pin::pin!(lifecycle::interruption());
    let mut flush = tokio::time::interval(FLUSH_INTERVAL);
    flush.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            signal = &mut signal => {
                errln!("interrupted: finished work is saved; a second signal stops at once");
                *interrupted = Some(signal.exit_code());
                return Ok(());
            }
            _ = flush.tick() => gatherer.flush().await?,
            one = seen.recv() => match one {
                Some(one) => gatherer.take(one).await?,
                None => return Ok(()),
            },
        }
    }
}

fn print(ended: &Ended, files: &[PathBuf; 2]) -> Result<(), CliError> {
    for row in ended.rows.iter().filter(|row| row.outcome != Outcome::Skipped).take(PRINTED_ROWS) {
        errln!("{}: {} ({}); {}", row.path, row.reason, row.code, row.remedy);
    }
    if ended.rows.len() > PRINTED_ROWS {
        errln!("... and more: {} rows in the report", ended.rows.len());
    }
    let counts = &ended.counts;
    outln!("{} templates with {} samples imported", counts.templates, counts.samples)?;
    let more = [
        (counts.enrolled_before, "photos were already enrolled"),
        (counts.left, "files were not enrolled"),
        (counts.warned, "warnings"),
        (counts.skipped, "photos were duplicates"),
        (counts.ignored, "hidden and system files were ignored"),
        (counts.not_reached, "photos were not reached"),
    ];
    for (count, what) in more.into_iter().filter(|(count, _)| *count > 0) {
        outln!("{count} {what}")?;
    }
    let [csv, json] = files.each_ref().map(|file| path_text(file));
    outln!("report: {csv} and {json}")
}
