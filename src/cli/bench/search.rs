//! `semblance bench search`.

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::super::CliError;
use super::super::output::outln;
use super::synthetic::{Person, SyntheticFaces};
use super::{milliseconds, per_second};
use crate::app;
use crate::domain::{AppId, Embedding, Revision, SampleId, SplitMix, stopwatch};
use crate::gallery::{IndexedTemplate, Matcher as _, MatcherFeed as _, MemoryMatcher, Sample, SearchStats};
use crate::settings::Settings;

#[derive(Debug, Args)]
pub(in crate::cli) struct Search {
    /// Templates in the gallery.
    #[arg(long, default_value_t = 100_000)]
    templates: usize,
    /// Dimension of random embeddings.
    #[arg(long, default_value_t = 128)]
    dimension: usize,
    /// An export of real templates, several with more than one sample: the gallery has its statistics. Default: random
    /// directions.
    #[arg(long)]
    embeddings: Option<PathBuf>,
    /// Searches of each kind: for people of the gallery (mated), for others (non-mated).
    #[arg(long, default_value_t = 1000)]
    probes: usize,
    /// Candidates per search.
    #[arg(short, default_value_t = 1)]
    k: usize,
    /// Threads that search.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Numbers of concurrent searches at which searches per second are measured; 0 omits that.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16,32,64")]
    waiting: Vec<usize>,
    /// Write the vectors (f32, little-endian) and the answers to a folder, for comparisons.
    #[arg(long)]
    save: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// How long searches per second are measured, for each number of concurrent ones.
const RATE_DURATION: Duration = Duration::from_secs(2);

pub(super) async fn run(settings: &Settings, arguments: &Search) -> Result<(), CliError> {
    if arguments.templates == 0 || arguments.dimension == 0 || arguments.probes == 0 || arguments.threads == 0 {
        return Err(CliError::message("templates, dimension, probes and threads must be at least 1"));
    }
    let mut settings = settings.clone();
    settings.compute.search_threads = arguments.threads;
    settings.limits.max_in_flight = arguments.waiting.iter().copied().max().unwrap_or(1);
    let matcher = Arc::new(app::start_matcher(&settings));
    let app = AppId::random();
    let mut source = SyntheticFaces::new(arguments.embeddings.as_deref(), arguments.dimension, 1)?;
    let mut gallery = Gallery::generate(&mut source, arguments.templates, arguments.probes)?;
    if let Some(dir) = &arguments.save {
        gallery.save(dir)?;
    }

    let start = stopwatch();
    matcher.replace(&app, Revision(0), std::mem::take(&mut gallery.templates));
    let searchable = start.elapsed();
    matcher.wait_for_maintenance(&app);
    let built = start.elapsed();
    let bytes = matcher.size(&app).bytes as f64 / arguments.templates as f64;
    let mated = Timed::measure(&matcher, &app, &gallery.mated, arguments.k).await?;
    let non_mated = Timed::measure(&matcher, &app, &gallery.non_mated, arguments.k).await?;
    if let Some(dir) = &arguments.save {
        save_answers(&dir.join("answers.json"), &mated, &non_mated)?;
    }
    let mut rates = Vec::new();
    for &waiting in arguments.waiting.iter().filter(|waiting| **waiting > 0) {
        let before = matcher.stats();
        let rate = rate(&matcher, &app, &gallery, arguments.k, waiting, RATE_DURATION).await?;
        let stats = matcher.stats().since(before);
        rates.push((waiting, rate, stats.searches as f64 / stats.passes.max(1) as f64));
    }

    let kind = if source.is_real() { "with the statistics of real embeddings" } else { "random" };
    if arguments.json {
        let report = json!({
            "templates": arguments.templates, "dimension": source.dimension(), "vectors": kind,
            "threads": arguments.threads, "k": arguments.k,
            "searchable_s": searchable.as_secs_f64(), "built_s": built.as_secs_f64(), "bytes_per_template": bytes,
            "mated": mated.json(), "non_mated": non_mated.json(),
            "searches_per_second": rates.iter().map(|(n, rate, shared)| json!({ "waiting": n, "rate": rate, "searches_per_pass": shared })).collect::<Vec<_>>(),
        });
        outln!("{report}")?;
        return Ok(());
    }
    outln!(
        "{} templates x {}, {kind}; {} threads, k = {}",
        arguments.templates,
        source.dimension(),
        arguments.threads,
        arguments.k
    )?;
    outln!(
        "searchable after {:.2} s, codes made after {:.2} s; {bytes:.0} bytes a template",
        searchable.as_secs_f64(),
        built.as_secs_f64()
    )?;
    mated.print("mated")?;
    non_mated.print("non-mated")?;
    for (waiting, rate, shared) in rates {
        outln!("{waiting:3} waiting: {rate:.0} searches a second, {shared:.1} in a pass")?;
    }
    Ok(())
}

/// The templates and the probes.
pub(super) struct Gallery {
    pub(super) templates: Vec<IndexedTemplate>,
    pub(super) mated: Vec<Embedding>,
    pub(super) non_mated: Vec<Embedding>,
}

impl Gallery {
    pub(super) fn generate(source: &mut SyntheticFaces, count: usize, probes: usize) -> Result<Self, CliError> {
        let mut random = SplitMix::new(2);
        let mut chosen: Vec<usize> = (0..probes).map(|_| random.below(count)).collect();
        chosen.sort_unstable();
        let mut people: Vec<Person> = Vec::with_capacity(probes);
        let mut templates = Vec::with_capacity(count);
        for n in 0..count {
            let person = source.person();
            let sample = Sample { id: SampleId::random(), embedding: source.photo(&person)? };
            // In numeric order, so that ties are resolved as in an array.
            let id = format!("{n:012}").parse().map_err(|error| CliError::message(format!("{error}")))?;
            templates.push(IndexedTemplate { id, samples: vec![sample] });
            // A person may be chosen several times.
            while chosen.get(people.len()) == Some(&n) {
                people.push(person.clone());
            }
        }
        let mated = people.iter().map(|person| source.photo(person)).collect::<Result<_, _>>()?;
        let non_mated = (0..probes).map(|_| {
            let person = source.person();
            source.photo(&person)
        });
        let non_mated = non_mated.collect::<Result<_, _>>()?;
        Ok(Self { templates, mated, non_mated })
    }

    fn save(&self, dir: &Path) -> Result<(), CliError> {
        std::fs::create_dir_all(dir).map_err(CliError::file(dir))?;
        let gallery = self.templates.iter().flat_map(|template| &template.samples).map(|sample| &sample.embedding);
        write(&dir.join("gallery.f32"), gallery)?;
        write(&dir.join("mated.f32"), self.mated.iter())?;
        write(&dir.join("non_mated.f32"), self.non_mated.iter())
    }
}

fn write<'a>(path: &Path, vectors: impl Iterator<Item = &'a Embedding>) -> Result<(), CliError> {
    let mut out = BufWriter::new(std::fs::File::create(path).map_err(CliError::file(path))?);
    for value in vectors.flat_map(|vector| vector.values()) {
        out.write_all(&value.to_le_bytes()).map_err(CliError::file(path))?;
    }
    out.flush().map_err(CliError::file(path))
}

/// Searches, one after the other.
pub(super) struct Timed {
    times: Vec<Duration>,
    stats: SearchStats,
    /// The ids found by each search, best first.
    found: Vec<Vec<String>>,
}

impl Timed {
    pub(super) async fn measure(
        matcher: &MemoryMatcher,
        app: &AppId,
        probes: &[Embedding],
        k: usize,
    ) -> Result<Self, CliError> {
        let before = matcher.stats();
        let mut times = Vec::with_capacity(probes.len());
        let mut found = Vec::with_capacity(probes.len());
        for probe in probes {
            let start = stopwatch();
            let ranked = matcher.top_k(app, probe, k).await.map_err(crate::service::Error::from)?;
            times.push(start.elapsed());
            found.push(ranked.hits.into_iter().map(|hit| hit.template.to_string()).collect());
        }
        times.sort();
        Ok(Self { times, stats: matcher.stats().since(before), found })
    }

    /// Milliseconds that so large a share of the searches took at most.
    pub(super) fn at(&self, share: f64) -> f64 {
        let at = (self.times.len().saturating_sub(1) as f64 * share) as usize;
        milliseconds(self.times.get(at).copied().unwrap_or_default())
    }

    /// Rows each stage touched, as a share of all.
    fn shares(&self) -> Vec<f64> {
        let share = |rows: u64| rows as f64 / self.stats.rows.max(1) as f64;
        self.stats
            .codes
            .iter()
            .filter(|rows| **rows > 0)
            .chain([&self.stats.compared])
            .map(|rows| share(*rows))
            .collect()
    }

    fn json(&self) -> serde_json::Value {
        json!({ "searches": self.times.len(), "p50_ms": self.at(0.5), "p95_ms": self.at(0.95), "p99_ms": self.at(0.99), "touched": self.shares() })
    }

    fn print(&self, kind: &str) -> Result<(), CliError> {
        outln!(
            "{kind}: {} searches one after the other: p50 {:.3} ms, p95 {:.3} ms, p99 {:.3} ms",
            self.times.len(),
            self.at(0.5),
            self.at(0.95),
            self.at(0.99)
        )?;
        let shares: Vec<String> = self.shares().iter().map(|share| format!("{:.4} %", 100.0 * share)).collect();
        if let Some((compared, planes)) = shares.split_last() {
            outln!("  rows touched: codes {}; compared in f32 {compared}", planes.join(", "))?;
        }
        Ok(())
    }
}

fn save_answers(path: &Path, mated: &Timed, non_mated: &Timed) -> Result<(), CliError> {
    let answers = json!({ "mated": mated.found, "non_mated": non_mated.found });
    std::fs::write(path, answers.to_string()).map_err(CliError::file(path))
}

/// Searches per second with so many concurrent ones.
pub(super) async fn rate(
    matcher: &Arc<MemoryMatcher>,
    app: &AppId,
    gallery: &Gallery,
    k: usize,
    waiting: usize,
    duration: Duration,
) -> Result<f64, CliError> {
    let probes: Arc<Vec<Embedding>> = Arc::new(gallery.mated.iter().chain(&gallery.non_mated).cloned().collect());
    let (matcher, app) = (Arc::clone(matcher), app.clone());
    per_second(waiting, duration, move |n| {
        let (matcher, app, probes) = (Arc::clone(&matcher), app.clone(), Arc::clone(&probes));
        async move {
            // Mated and non-mated ones alternate.
            let half = probes.len() / 2;
            if let Some(probe) = probes.get(n / 2 % half.max(1) + n % 2 * half) {
                matcher.top_k(&app, probe, k).await.map_err(crate::service::Error::from)?;
            }
            Ok(())
        }
    })
    .await
}
