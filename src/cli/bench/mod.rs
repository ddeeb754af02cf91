//! `semblance bench`: measures this machine.

mod fill;
mod machine;
mod people;
mod search;
mod synthetic;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};

use super::CliError;
use super::output::outln;
use super::photos::photos_in;
use crate::app;
use crate::domain::{AnalysisRequest, AppId, Check, Checks, Clock, Subject, TenantKey, stopwatch};
use crate::image::Photo;
use crate::settings::Settings;
use crate::store::{AppRecord, DatabaseConfig, KeyFile, KeySource, OpenMode, OpenOptions, Store, open};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Time decode, detect, align and embed, and the other measures, per photo, on one thread.
    Identify(Identify),
    /// Time each model on the built-in input, on one thread.
    Models(Models),
    /// Time searches in a gallery of synthetic templates.
    Search(search::Search),
    /// Fill the gallery of an application with synthetic templates, to measure a whole server.
    Fill(fill::Fill),
    /// Measure photos, searches and bytes on this machine, and print what it carries: how many people, how many identifies a
    /// second.
    Machine(machine::Machine),
    /// Time pages of people and searches by name, in a new database of synthetic people.
    People(people::People),
}

#[derive(Debug, Args)]
pub(super) struct Identify {
    /// Photos, or folders of photos.
    #[arg(required = true)]
    photos: Vec<PathBuf>,
    /// Rounds over all photos; the medians are printed.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Print JSON, with the embeddings, for comparisons.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Models {
    /// Runs of each model; the medians are printed.
    #[arg(long, default_value_t = 100)]
    rounds: usize,
}

pub(super) async fn run(settings: Settings, command: Command) -> Result<(), CliError> {
    match command {
        Command::Identify(arguments) => identify(settings, arguments),
        Command::Models(arguments) => models(&settings, arguments.rounds),
        Command::Search(arguments) => search::run(&settings, &arguments).await,
        Command::Fill(arguments) => fill::run(&settings, &arguments).await,
        Command::Machine(arguments) => machine::run(settings, &arguments).await,
        Command::People(arguments) => people::run(&arguments).await,
    }
}

fn identify(settings: Settings, arguments: Identify) -> Result<(), CliError> {
    let paths = photos_in(&arguments.photos)?;
    let mut engine = app::load_engine(&settings)?;
    let checks = Checks { liveness: engine.offers(Check::Liveness), deepfake: engine.offers(Check::Deepfake) };
    let request = AnalysisRequest {
        embedding: true,
        quality: true,
        checks,
        attributes: true,
        crop: false,
        subject: Subject::Only,
        tenant: TenantKey::default(),
    };
    let photos = paths
        .iter()
        .map(|path| Ok(Photo::new(std::fs::read(path).map_err(CliError::file(path))?)))
        .collect::<Result<Vec<_>, CliError>>()?;
    let mut rows: Vec<Vec<[Duration; 5]>> = vec![Vec::new(); photos.len()];
    let mut embeddings = vec![Vec::new(); photos.len()];
    let mut boxes = vec![[0.0; 4]; photos.len()];
    let mut landmarks = vec![[[0.0; 2]; 5]; photos.len()];
    for round in 0..=arguments.rounds.max(1) {
        for (at, photo) in photos.iter().enumerate() {
            let start = stopwatch();
            let analysis = engine
                .analyze(photo, request)
                .map_err(|error| CliError::message(format!("{}: {error}", paths[at].display())))?;
            // The comparison covers recognition only, without the other measures.
            let took = analysis.timings;
            let total = start.elapsed().saturating_sub(took.assess);
            if round > 0 {
                rows[at].push([total, took.decode, took.detect, took.embed, took.assess]);
            }
            let found = analysis.face;
            boxes[at] = [found.x, found.y, found.width, found.height];
            landmarks[at] = analysis.landmarks.0.map(|p| [p.x, p.y]);
            embeddings[at] = analysis.embedding.map(|e| e.values().to_vec()).unwrap_or_default();
        }
    }
    for (at, path) in paths.iter().enumerate() {
        let [total, decode, detect, embed, assess] =
            [0, 1, 2, 3, 4].map(|n| milliseconds(median(rows[at].iter().map(|row| row[n]).collect())));
        if arguments.json {
            let line = serde_json::json!({
                "photo": path, "total_ms": total, "decode_ms": decode, "detect_ms": detect, "embed_ms": embed,
                "assess_ms": assess, "box": boxes[at], "landmarks": landmarks[at], "embedding": embeddings[at],
            });
            outln!("{line}")?;
        } else {
            outln!(
                "{}: {total:.2} ms (decode {decode:.2}, detect {detect:.2}, align + embed {embed:.2}); \
                 other measures {assess:.2} ms",
                path.display()
            )?;
        }
    }
    Ok(())
}

fn models(settings: &Settings, rounds: usize) -> Result<(), CliError> {
    let mut engine = app::load_engine(settings)?;
    for (model, mut times) in engine.time_models(rounds.max(1)).map_err(app::StartError::from)? {
        times.sort();
        let fastest = times.first().copied().unwrap_or_default();
        outln!("{model}: median {:.2} ms, fastest {:.2} ms", milliseconds(median(times)), milliseconds(fastest))?;
    }
    Ok(())
}

/// A new SQLite database in a new folder, with an empty application.
async fn new_database(folder: &Path) -> Result<(Store, AppId), CliError> {
    std::fs::create_dir(folder).map_err(CliError::file(folder))?;
    let options = OpenOptions {
        mode: OpenMode::Create,
        database: DatabaseConfig::Sqlite(folder.join("semblance.db")),
        key: KeySource::File { file: KeyFile::new(folder.join("sealing.key")), create: true },
        connections: 4,
        timeout: Duration::from_secs(60),
        samples_per_template: 32,
        clock: Clock::system(),
    };
    let store = open(&options).await.map_err(|error| CliError::message(error.to_string()))?;
    let app: AppId = "bench".parse().map_err(|error| CliError::message(format!("{error}")))?;
    store.apps.create(&AppRecord::new(app.clone(), "bench", SystemTime::UNIX_EPOCH)).await?;
    Ok((store, app))
}

/// How often a second some clients finish their work: each repeats it, with the numbers of all repetitions from 0 on, for as
/// long as this takes.
async fn per_second<W>(
    clients: usize,
    duration: Duration,
    work: impl Fn(usize) -> W + Send + Sync + 'static,
) -> Result<f64, CliError>
where
    W: Future<Output = Result<(), CliError>> + Send + 'static,
{
    let shared = Arc::new((AtomicUsize::new(0), work));
    let start = stopwatch();
    let client = |_| {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let (next, work) = &*shared;
            while start.elapsed() < duration {
                work(next.fetch_add(1, Ordering::Relaxed)).await?;
            }
            Ok::<_, CliError>(())
        })
    };
    let clients: Vec<_> = (0..clients).map(client).collect();
    for client in clients {
        client.await.map_err(|error| CliError::message(error.to_string()))??;
    }
    Ok(shared.0.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
