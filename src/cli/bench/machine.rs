//! `semblance bench machine`: what this machine carries, as a table of sizes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Args;
use serde_json::{Value, json};

use super::super::CliError;
use super::super::output::{errln, outln};
use super::super::photos::{Outcome, photos_in};
use super::search::{Gallery, Timed, rate};
use super::synthetic::SyntheticFaces;
use super::{median, milliseconds, new_database, per_second};
use crate::app;
use crate::domain::{AnalysisRequest, AppId, Check, Checks, Details, Revision, Subject, TenantKey, stopwatch};
use crate::engine::Analyze;
use crate::gallery::{IndexedTemplate, MatcherFeed as _};
use crate::image::Photo;
use crate::settings::Settings;
use crate::store::{DatedTemplate, OnConflict};
use crate::telemetry::resident_bytes;

#[derive(Debug, Args)]
pub(in crate::cli) struct Machine {
    /// Photos as your cameras make them, or folders of photos: their size decides how long they take.
    #[arg(required = true)]
    photos: Vec<PathBuf>,
    /// How long photos are analyzed, and searches are made, on all threads at once.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Templates in the gallery that is searched; its times and bytes give those of the other sizes.
    #[arg(long, default_value_t = 200_000)]
    templates: usize,
    /// Measure the bytes of a person in SQLite as well: a database in this folder, which must not exist, and is removed.
    #[arg(long, value_name = "FOLDER")]
    database: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Sizes of the table.
const PEOPLE: [u64; 6] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];
/// Searches of which the median is taken, and the probes of the concurrent ones.
const PROBES: usize = 100;
/// Concurrent searches of the measured rate.
const WAITING: usize = 16;
/// People in the measured database.
const STORED: usize = 5_000;

/// What was measured.
struct Measured {
    /// Milliseconds of a photo, one at a time.
    photo_ms: f64,
    /// Photos a second on all threads.
    photos_per_second: f64,
    /// Bytes of the process with its engines, without a gallery; 0 where the system does not report it.
    engine_bytes: u64,
    /// Milliseconds of a search, one at a time, in a gallery of `templates`.
    search_ms: f64,
    /// Searches a second, many at once, in a gallery of `templates`.
    searches_per_second: f64,
    templates: usize,
    /// Bytes of memory of a template with one sample.
    template_bytes: f64,
    /// Bytes of a person with one sample in SQLite, if it was measured.
    stored_bytes: Option<f64>,
    inference_threads: usize,
    search_threads: usize,
}

pub(super) async fn run(settings: Settings, arguments: &Machine) -> Result<(), CliError> {
    if arguments.seconds == 0 || arguments.templates == 0 {
        return Err(CliError::message("seconds and templates must be at least 1"));
    }
    let photos = read_photos(&arguments.photos)?;
    let engine: Arc<dyn Analyze> = app::start_engine(&settings)?;
    let request = AnalysisRequest {
        embedding: true,
        quality: true,
        checks: Checks { liveness: engine.offers(Check::Liveness), deepfake: engine.offers(Check::Deepfake) },
        attributes: false,
        crop: false,
        subject: Subject::Largest,
        tenant: TenantKey::default(),
    };
    errln!("analyzing {} photos, one at a time", photos.len());
    let (dimension, photo_ms) = one_at_a_time(&engine, &photos, request).await?;
    let engine_bytes = resident_bytes();
    errln!("analyzing on {} threads for {} s", settings.compute.inference_threads, arguments.seconds);
    let duration = Duration::from_secs(arguments.seconds);
    let waiting = 2 * settings.compute.inference_threads.max(1);
    let photos_per_second = photo_rate(&engine, photos, request, waiting, duration).await?;
    drop(engine);

    errln!("searching in {} templates", arguments.templates);
    let matcher = Arc::new(app::start_matcher(&settings));
    let app = AppId::random();
    let mut source = SyntheticFaces::new(None, dimension, 1)?;
    let mut gallery = Gallery::generate(&mut source, arguments.templates, PROBES)?;
    matcher.replace(&app, Revision(0), std::mem::take(&mut gallery.templates));
    matcher.wait_for_maintenance(&app);
    let template_bytes = matcher.size(&app).bytes as f64 / arguments.templates as f64;
    let search_ms = Timed::measure(&matcher, &app, &gallery.non_mated, 1).await?.at(0.5);
    let searches_per_second = rate(&matcher, &app, &gallery, 1, WAITING, duration).await?;
    let stored_bytes = match &arguments.database {
        Some(folder) => Some(stored_bytes(folder, &mut source).await?),
        None => None,
    };
    let measured = Measured {
        photo_ms,
        photos_per_second,
        engine_bytes,
        search_ms,
        searches_per_second,
        templates: arguments.templates,
        template_bytes,
        stored_bytes,
        inference_threads: settings.compute.inference_threads,
        search_threads: settings.compute.search_threads,
    };
    if arguments.json { print_json(&measured) } else { print(&measured) }
}

fn read_photos(paths: &[PathBuf]) -> Result<Vec<(PathBuf, Photo)>, CliError> {
    let read = |path: PathBuf| {
        let bytes = std::fs::read(&path).map_err(CliError::file(&path))?;
        Ok((path, Photo::new(bytes)))
    };
    let photos = photos_in(paths)?.into_iter().map(read).collect::<Result<Vec<_>, CliError>>()?;
    if photos.is_empty() { Err(CliError::message("no photos")) } else { Ok(photos) }
}

/// The numbers of an embedding, and the median milliseconds of a photo. A photo without a usable face is refused here: it
/// would be fast, and tell nothing.
async fn one_at_a_time(
    engine: &Arc<dyn Analyze>,
    photos: &[(PathBuf, Photo)],
    request: AnalysisRequest,
) -> Result<(usize, f64), CliError> {
    let (mut dimension, mut times) = (0, Vec::new());
    let rounds = 20_usize.div_ceil(photos.len());
    for (path, photo) in photos.iter().cycle().take(rounds * photos.len()) {
        let start = stopwatch();
        let outcome: Outcome = engine.analyze(photo.clone(), request).await;
        times.push(start.elapsed());
        let analysis = outcome.map_err(|error| CliError::message(format!("{}: {error}", path.display())))?;
        dimension = analysis.embedding.map_or(dimension, |embedding| embedding.values().len());
    }
    Ok((dimension, milliseconds(median(times))))
}

/// Photos a second, so many at once.
async fn photo_rate(
    engine: &Arc<dyn Analyze>,
    photos: Vec<(PathBuf, Photo)>,
    request: AnalysisRequest,
    waiting: usize,
    duration: Duration,
) -> Result<f64, CliError> {
    let (engine, photos) = (Arc::clone(engine), Arc::new(photos));
    per_second(waiting, duration, move |n| {
        let (engine, photos) = (Arc::clone(&engine), Arc::clone(&photos));
        async move {
            if let Some((_, photo)) = photos.get(n % photos.len()) {
                engine.analyze(photo.clone(), request).await.map_err(crate::service::Error::from)?;
            }
            Ok(())
        }
    })
    .await
}

/// Bytes of a person with one sample in SQLite.
async fn stored_bytes(folder: &PathBuf, source: &mut SyntheticFaces) -> Result<f64, CliError> {
    let (store, app) = new_database(folder).await?;
    let size = || -> Result<u64, CliError> {
        let of = |name: &str| std::fs::metadata(folder.join(name)).map_or(0, |file| file.len());
        Ok(of("semblance.db") + of("semblance.db-wal"))
    };
    let gallery = Gallery::generate(source, STORED, 1)?;
    let before = size()?;
    for batch in gallery.templates.chunks(1000) {
        let dated = |template: &IndexedTemplate| DatedTemplate {
            template: template.clone(),
            created_at: Some(SystemTime::UNIX_EPOCH),
            samples_at: vec![None],
            details: Details::default(),
        };
        let batch: Vec<_> = batch.iter().map(dated).collect();
        for inserted in store.templates.insert_dated(&app, &batch, OnConflict::Refuse).await? {
            inserted.map_err(|refusal| CliError::message(refusal.to_string()))?;
        }
    }
    // Closing moves the write-ahead log into the file.
    store.scrubber.close().await?;
    let after = size()?;
    std::fs::remove_dir_all(folder).map_err(CliError::file(folder))?;
    Ok(after.saturating_sub(before) as f64 / STORED as f64)
}

/// A line of the table, computed from the measured ones.
struct Size {
    people: u64,
    memory_bytes: f64,
    disk_bytes: Option<f64>,
    search_ms: f64,
    identifications_per_second: f64,
}

impl Measured {
    /// For a gallery of so many people with one sample each. A search reads a share of every row, so its time grows with
    /// the gallery; photos and searches share the processor, so their times add up.
    fn size(&self, people: u64) -> Size {
        let factor = people as f64 / self.templates as f64;
        let searching = self.search_threads as f64 * factor / self.searches_per_second;
        let analyzing = self.inference_threads as f64 / self.photos_per_second;
        Size {
            people,
            memory_bytes: self.engine_bytes as f64 + people as f64 * self.template_bytes,
            disk_bytes: self.stored_bytes.map(|bytes| bytes * people as f64),
            search_ms: self.search_ms * factor,
            identifications_per_second: self.inference_threads as f64 / (analyzing + searching),
        }
    }
}

fn print_json(measured: &Measured) -> Result<(), CliError> {
    let sizes = PEOPLE.map(|people| {
        let size = measured.size(people);
        json!({
            "people": size.people, "memory_bytes": size.memory_bytes, "disk_bytes": size.disk_bytes,
            "search_ms": size.search_ms, "identifications_per_second": size.identifications_per_second,
        })
    });
    let report: Value = json!({
        "version": env!("CARGO_PKG_VERSION"), "processor": std::env::consts::ARCH,
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "inference_threads": measured.inference_threads, "search_threads": measured.search_threads,
        "photo_ms": measured.photo_ms, "photos_per_second": measured.photos_per_second,
        "engine_bytes": measured.engine_bytes, "templates": measured.templates, "search_ms": measured.search_ms,
        "searches_per_second": measured.searches_per_second, "template_bytes": measured.template_bytes,
        "stored_bytes": measured.stored_bytes, "computed": sizes,
    });
    outln!("{report}")
}

fn print(measured: &Measured) -> Result<(), CliError> {
    outln!(
        "{} cores ({}), {} inference threads, {} search threads",
        std::thread::available_parallelism().map_or(0, usize::from),
        std::env::consts::ARCH,
        measured.inference_threads,
        measured.search_threads
    )?;
    outln!("measured")?;
    outln!("  a photo, with every measure: {:.1} ms alone", measured.photo_ms)?;
    outln!("  {:.1} photos a second on all threads", measured.photos_per_second)?;
    outln!(
        "  a search in {} templates: {:.2} ms alone, {:.0} a second with {WAITING} at once",
        measured.templates,
        measured.search_ms,
        measured.searches_per_second
    )?;
    outln!(
        "  memory: {} for the engines, {:.0} bytes a template",
        bytes(measured.engine_bytes as f64),
        measured.template_bytes
    )?;
    if let Some(stored) = measured.stored_bytes {
        outln!("  database (SQLite): {stored:.0} bytes a person")?;
    }
    outln!("computed from these, one sample a person")?;
    outln!("  {:>11}  {:>9}  {:>9}  {:>10}  {:>20}", "people", "memory", "disk", "search ms", "identifies a second")?;
    for people in PEOPLE {
        let size = measured.size(people);
        outln!(
            "  {:>11}  {:>9}  {:>9}  {:>10.2}  {:>20.1}",
            size.people,
            bytes(size.memory_bytes),
            size.disk_bytes.map_or_else(|| "-".to_owned(), bytes),
            size.search_ms,
            size.identifications_per_second
        )?;
    }
    Ok(())
}

/// Bytes in the unit that a person reads.
fn bytes(bytes: f64) -> String {
    const MIB: f64 = 1024.0 * 1024.0;
    if bytes < 1024.0 * MIB { format!("{:.0} MiB", bytes / MIB) } else { format!("{:.1} GiB", bytes / MIB / 1024.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_from_what_was_measured() {
        let measured = Measured {
            photo_ms: 50.0,
            photos_per_second: 40.0,
            engine_bytes: 300,
            search_ms: 0.5,
            searches_per_second: 1000.0,
            templates: 100,
            template_bytes: 7.0,
            stored_bytes: Some(2.0),
            inference_threads: 2,
            search_threads: 1,
        };
        let size = measured.size(1000);
        assert_eq!((size.memory_bytes, size.disk_bytes, size.search_ms), (7300.0, Some(2000.0), 5.0));
        // 50 ms of a core for the photo and 10 ms for the search, on two cores.
        assert!((size.identifications_per_second - 2.0 / 0.06).abs() < 1e-9);
    }
}
