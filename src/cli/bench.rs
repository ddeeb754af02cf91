//! `semblance bench`: what this machine does.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use super::CliError;
use super::photos::{entries, is_photo};
use crate::app;
use crate::domain::{AppId, Check, Checks, Embedding, ModelTag, Need, Revision, SampleId, Subject};
use crate::gallery::{IndexedTemplate, Matcher as _, MatcherFeed as _, Sample};
use crate::image::Photo;
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Time decode, detect, align and embed, and everything else that is found, per photo, on one
    /// thread.
    Identify(Identify),
    /// Time each model on the built-in input, on one thread.
    Models(Models),
    /// Time searches in a gallery of random templates.
    Search(Search),
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

#[derive(Debug, Args)]
pub(super) struct Search {
    /// Templates in the gallery.
    #[arg(long, default_value_t = 100_000)]
    templates: usize,
    /// Numbers in an embedding.
    #[arg(long, default_value_t = 128)]
    dimension: usize,
    /// Searches.
    #[arg(long, default_value_t = 200)]
    probes: usize,
    /// Candidates per search.
    #[arg(short, default_value_t = 1)]
    k: usize,
}

pub(super) async fn run(settings: Settings, command: Command) -> Result<(), CliError> {
    match command {
        Command::Identify(arguments) => identify(settings, arguments),
        Command::Models(arguments) => models(&settings, arguments.rounds),
        Command::Search(arguments) => search(&settings, &arguments).await,
    }
}

fn identify(settings: Settings, arguments: Identify) -> Result<(), CliError> {
    let mut paths = Vec::new();
    for path in arguments.photos {
        if path.is_dir() {
            paths.extend(entries(&path)?.into_iter().filter(|p| is_photo(p)));
        } else {
            paths.push(path);
        }
    }
    let mut engine = app::load_engine(&settings)?;
    let checks = Checks { liveness: engine.offers(Check::Liveness), deepfake: engine.offers(Check::Deepfake) };
    let need = Need { embedding: true, checks, attributes: true, subject: Subject::Only };
    let photos = paths
        .iter()
        .map(|path| Ok(Photo::new(std::fs::read(path).map_err(CliError::file(path))?)))
        .collect::<Result<Vec<_>, CliError>>()?;
    let mut rows: Vec<Vec<[Duration; 5]>> = vec![Vec::new(); photos.len()];
    let mut embeddings = vec![Vec::new(); photos.len()];
    let mut landmarks = vec![[[0.0; 2]; 5]; photos.len()];
    for round in 0..=arguments.rounds.max(1) {
        for (at, photo) in photos.iter().enumerate() {
            let start = Instant::now();
            let analysis = engine
                .analyze(photo, need)
                .map_err(|error| CliError::message(format!("{}: {error}", paths[at].display())))?;
            // What is found beside the embedding is not part of what is compared: identify needs it,
            // recognition does not.
            let took = analysis.timings;
            let total = start.elapsed().saturating_sub(took.assess);
            if round > 0 {
                rows[at].push([total, took.decode, took.detect, took.embed, took.assess]);
            }
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
                "assess_ms": assess, "landmarks": landmarks[at], "embedding": embeddings[at],
            });
            println!("{line}");
        } else {
            println!(
                "{}: {total:.2} ms (decode {decode:.2}, detect {detect:.2}, align + embed {embed:.2}); \
                 all that else is found {assess:.2} ms",
                path.display()
            );
        }
    }
    Ok(())
}

fn models(settings: &Settings, rounds: usize) -> Result<(), CliError> {
    let mut engine = app::load_engine(settings)?;
    for (model, mut times) in engine.time_models(rounds.max(1)).map_err(app::StartError::from)? {
        times.sort();
        let fastest = times.first().copied().unwrap_or_default();
        println!("{model}: median {:.2} ms, fastest {:.2} ms", milliseconds(median(times)), milliseconds(fastest));
    }
    Ok(())
}

async fn search(settings: &Settings, arguments: &Search) -> Result<(), CliError> {
    if arguments.templates == 0 || arguments.dimension == 0 || arguments.probes == 0 {
        return Err(CliError::message("templates, dimension and probes must be at least 1"));
    }
    let app = AppId::random();
    let matcher = app::start_matcher(settings);
    let mut random = SplitMix(1);
    let start = Instant::now();
    let templates = (0..arguments.templates)
        .map(|n| {
            let sample = Sample { id: SampleId::random(), embedding: random.embedding(arguments.dimension)? };
            let id = format!("{n:09}").parse().map_err(|e| CliError::message(format!("{e}")))?;
            Ok(IndexedTemplate { id, samples: vec![sample] })
        })
        .collect::<Result<Vec<_>, CliError>>()?;
    let made = start.elapsed();
    let start = Instant::now();
    matcher.replace(&app, Revision(0), templates);
    let built = start.elapsed();
    let mut times = Vec::with_capacity(arguments.probes);
    for _ in 0..arguments.probes {
        let probe = random.embedding(arguments.dimension)?;
        let start = Instant::now();
        matcher.best(&app, &probe, arguments.k).await.map_err(crate::service::Error::from)?;
        times.push(start.elapsed());
    }
    times.sort();
    let at = |share: f64| milliseconds(times[((times.len() - 1) as f64 * share) as usize]);
    println!(
        "{} templates x {}, random vectors: made in {:.2} s, index built in {:.2} s, {:.0} bytes a template",
        arguments.templates,
        arguments.dimension,
        made.as_secs_f64(),
        built.as_secs_f64(),
        matcher.size(&app).bytes as f64 / arguments.templates as f64,
    );
    println!(
        "{} searches one after the other: p50 {:.3} ms, p95 {:.3} ms, p99 {:.3} ms",
        times.len(),
        at(0.5),
        at(0.95),
        at(0.99)
    );
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Steele, Lea and Flood's SplitMix64: a small generator with a seed, so that two runs measure
/// the same vectors.
struct SplitMix(u64);

impl SplitMix {
    /// Uniform in [-1, 1).
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn embedding(&mut self, dimension: usize) -> Result<Embedding, CliError> {
        // A sum of four uniform numbers is near enough to normal for a random direction.
        let raw: Vec<f32> = (0..dimension).map(|_| (0..4).map(|_| self.next()).sum()).collect();
        Embedding::new(&raw, ModelTag::new("random")).map_err(|error| CliError::message(error.to_string()))
    }
}
