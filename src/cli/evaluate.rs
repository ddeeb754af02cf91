//! `semblance evaluate`: error rates on labelled photos, in the words of ISO/IEC 19795-1.

mod comparisons;
mod statistics;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use comparisons::{Comparisons, Leading, Weight, leading_genuine, leading_impostors};
use statistics::{Embedded, ten_folds};

use super::CliError;
use super::output::{errln, outln};
use super::photos::{analyze_all, people};
use crate::app;
use crate::domain::{AnalysisRequest, Checks, Subject, TenantKey};
use crate::engine::Analyze;
use crate::settings::Settings;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A folder with one sub-folder of photos per person.
    dir: PathBuf,
    /// A pairs file in the format of Labeled Faces in the Wild (View 2): adds the ten-fold
    /// verification accuracy by its standard protocol.
    #[arg(long, value_name = "FILE")]
    pairs: Option<PathBuf>,
    /// Write the embeddings to a file, a line of JSON per photo (person, photo, embedding), for your own statistics. They
    /// are not encrypted: anyone with the file can recognize these people.
    #[arg(long, value_name = "FILE")]
    embeddings: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// False match rates of the reported operating points.
const FMRS: [f64; 4] = [1e-3, 1e-4, 1e-5, 1e-6];
/// The rate at which the people with the most impostor matches are named.
const LEADING_AT_FMR: f64 = 1e-5;

pub(super) async fn run(settings: Settings, arguments: Arguments) -> Result<(), CliError> {
    let engine: Arc<dyn Analyze> = app::start_engine(&settings)?;
    let photos = people(&arguments.dir)?;
    if photos.is_empty() {
        return Err(CliError::message(format!("{} contains no photos", arguments.dir.display())));
    }
    let (embedded, faults) = embed(&engine, settings.compute.inference_threads, &photos).await?;
    let folds = match &arguments.pairs {
        Some(file) => Some(ten_folds(&embedded, &read_pairs(file)?)?),
        None => None,
    };
    if let Some(file) = &arguments.embeddings {
        let lines = embedded.lines().map(|line| format!("{line}\n")).collect::<String>();
        std::fs::write(file, lines).map_err(CliError::file(file))?;
    }
    let comparisons = Comparisons::new(&embedded);
    let report = report(&photos, &embedded, &faults, folds, &comparisons);
    if arguments.json {
        outln!("{report:#}")?;
    } else {
        print(&report)?;
    }
    Ok(())
}

/// Embeds every photo. A photo without a face has no embedding: a failure to acquire, which the standard counts
/// separately.
async fn embed(
    engine: &Arc<dyn Analyze>,
    threads: usize,
    photos: &[(String, PathBuf)],
) -> Result<(Embedded, BTreeMap<&'static str, usize>), CliError> {
    let paths: Vec<PathBuf> = photos.iter().map(|(_, path)| path.clone()).collect();
    let request = AnalysisRequest {
        embedding: true,
        quality: false,
        checks: Checks::default(),
        attributes: false,
        crop: false,
        subject: Subject::Central,
        tenant: TenantKey::default(),
    };
    let mut embedded = Embedded::default();
    let mut faults = BTreeMap::new();
    let total = paths.len();
    analyze_all(engine, threads, &paths, request, |at, outcome| {
        if at.is_multiple_of(1000) && at > 0 {
            errln!("{at} of {total} photos");
        }
        let (person, path) = &photos[at];
        match outcome {
            Ok(analysis) => {
                if let Some(embedding) = &analysis.embedding {
                    embedded.add(person, path, embedding.values());
                }
            }
            Err(crate::engine::AnalyzeError::Fault(fault)) => {
                *faults.entry(fault.kind()).or_insert(0) += 1;
            }
            Err(other) => return Err(CliError::Service(other.into())),
        }
        Ok(())
    })
    .await?;
    Ok((embedded, faults))
}

/// One pair of the protocol: two photos as (person, number), and whether they show one person.
pub(super) struct Pair {
    pub(super) first: (String, u32),
    pub(super) second: (String, u32),
    pub(super) same: bool,
}

/// Reads LFW's `pairs.txt`: a head line `FOLDS COUNT`, then per fold COUNT lines `NAME i j` and
/// COUNT lines `NAME i NAME j`.
fn read_pairs(file: &Path) -> Result<Vec<Vec<Pair>>, CliError> {
    let text = std::fs::read_to_string(file).map_err(CliError::file(file))?;
    let bad = |line: &str| CliError::message(format!("{}: not a pair: {line:?}", file.display()));
    let mut lines = text.lines().filter(|l| !l.trim().is_empty());
    let head = lines.next().unwrap_or_default();
    let mut numbers = head.split_whitespace().map(str::parse::<usize>);
    let (Some(Ok(folds)), Some(Ok(count))) = (numbers.next(), numbers.next()) else { return Err(bad(head)) };
    let pairs: Vec<Pair> = lines
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |w: &str| w.parse::<u32>().map_err(|_| bad(line));
            match words[..] {
                [name, i, j] => {
                    Ok(Pair { first: (name.to_owned(), number(i)?), second: (name.to_owned(), number(j)?), same: true })
                }
                [a, i, b, j] => {
                    Ok(Pair { first: (a.to_owned(), number(i)?), second: (b.to_owned(), number(j)?), same: false })
                }
                _ => Err(bad(line)),
            }
        })
        .collect::<Result<_, _>>()?;
    if folds == 0 || count == 0 || pairs.len() != folds * count * 2 {
        return Err(CliError::message(format!("{}: {} pairs, not {folds} x 2 x {count}", file.display(), pairs.len())));
    }
    let mut pairs = pairs.into_iter();
    Ok((0..folds).map(|_| pairs.by_ref().take(2 * count).collect()).collect())
}

fn report(
    photos: &[(String, PathBuf)],
    embedded: &Embedded,
    faults: &BTreeMap<&'static str, usize>,
    folds: Option<statistics::Folds>,
    comparisons: &Comparisons,
) -> serde_json::Value {
    let points = |weight| -> Vec<_> {
        let at = |fmr| comparisons.at_fmr(fmr, weight).map(|cosine| (fmr, cosine));
        let of = |(fmr, cosine)| {
            let (by_comparison, by_person) =
                (comparisons.rates(cosine, Weight::Comparison), comparisons.rates(cosine, Weight::Person));
            let own = if weight == Weight::Comparison { by_comparison } else { by_person };
            serde_json::json!({
                "fmr": fmr, "cosine": cosine, "fnmr": own.fnmr,
                "by_comparison": { "fmr": by_comparison.fmr, "fnmr": by_comparison.fnmr },
                "by_person": { "fmr": by_person.fmr, "fnmr": by_person.fnmr },
            })
        };
        FMRS.into_iter().filter_map(at).map(of).collect()
    };
    let named = |leading: Option<Leading>| {
        leading.map(|leading| serde_json::json!({ "people": leading.people, "count": leading.count, "of": leading.of }))
    };
    let cosine = comparisons.at_fmr(LEADING_AT_FMR, Weight::Comparison);
    let leading = serde_json::json!({
        "genuine": named(leading_genuine(embedded)),
        "impostor_matches_at_fmr": LEADING_AT_FMR,
        "impostor_matches": named(cosine.and_then(|cosine| leading_impostors(embedded, cosine))),
    });
    let identification: Vec<_> = embedded
        .identification(&[0.4, 0.45, 0.5, 0.55, 0.6])
        .into_iter()
        .map(|p| serde_json::json!({ "cosine": p.cosine, "fnir": p.fnir, "fpir": p.fpir }))
        .collect();
    serde_json::json!({
        "photos": photos.len(),
        "people": embedded.people(),
        "failure_to_acquire": { "count": photos.len() - embedded.len(), "by_reason": faults },
        "verification_ten_folds": folds.map(|f| serde_json::json!({
            "accuracy": f.mean, "standard_error": f.standard_error, "pairs": f.pairs,
            "pairs_without_embedding": f.missing,
        })),
        "comparisons": { "genuine": comparisons.genuine(), "impostor": comparisons.impostor() },
        "operating_points": points(Weight::Comparison),
        "people_with_several_photos": comparisons.people_with_several(),
        "pairs_of_people": comparisons.pairs_of_people(),
        "operating_points_by_person": points(Weight::Person),
        "leading": leading,
        "identification": {
            "gallery": embedded.enrolled(), "mated_probes": embedded.mated(), "non_mated_probes": embedded.non_mated(),
            "points": identification,
        },
    })
}

fn print(report: &serde_json::Value) -> Result<(), CliError> {
    outln!("{} photos of {} people", report["photos"], report["people"])?;
    outln!("failure to acquire: {}", report["failure_to_acquire"])?;
    if !report["verification_ten_folds"].is_null() {
        let folds = &report["verification_ten_folds"];
        outln!(
            "verification, ten folds: accuracy {:.2} % +- {:.2} ({} pairs, {} without an embedding)",
            folds["accuracy"].as_f64().unwrap_or_default() * 100.0,
            folds["standard_error"].as_f64().unwrap_or_default() * 100.0,
            folds["pairs"],
            folds["pairs_without_embedding"],
        )?;
    }
    outln!(
        "{} genuine and {} impostor comparisons, each of the same weight",
        report["comparisons"]["genuine"],
        report["comparisons"]["impostor"]
    )?;
    print_points(&report["operating_points"], "by_person", "by person")?;
    let leading = &report["leading"];
    print_leading(&leading["genuine"], "genuine comparisons")?;
    print_leading(&leading["impostor_matches"], &format!("impostor matches at FMR {LEADING_AT_FMR}"))?;
    outln!(
        "{} people with several photos and {} pairs of people, each of the same weight",
        report["people_with_several_photos"],
        report["pairs_of_people"]
    )?;
    print_points(&report["operating_points_by_person"], "by_comparison", "by comparison")?;
    let open = &report["identification"];
    outln!(
        "open-set identification: gallery {}, {} mated and {} non-mated probes",
        open["gallery"],
        open["mated_probes"],
        open["non_mated_probes"]
    )?;
    for point in open["points"].as_array().into_iter().flatten() {
        outln!(
            "  cosine {:.3}: FNIR {:.4}, FPIR {:.4}",
            as_f64(&point["cosine"]),
            as_f64(&point["fnir"]),
            as_f64(&point["fpir"])
        )?;
    }
    Ok(())
}

/// Operating points, with the rates of the other weighting at the same cosine.
fn print_points(points: &serde_json::Value, other: &str, title: &str) -> Result<(), CliError> {
    for point in points.as_array().into_iter().flatten() {
        outln!(
            "  FMR {}: cosine {:.4}, FNMR {:.4} ({title}: FMR {:.1e}, FNMR {:.4})",
            point["fmr"],
            as_f64(&point["cosine"]),
            as_f64(&point["fnmr"]),
            as_f64(&point[other]["fmr"]),
            as_f64(&point[other]["fnmr"])
        )?;
    }
    Ok(())
}

/// The people with the most comparisons of a kind.
fn print_leading(leading: &serde_json::Value, of: &str) -> Result<(), CliError> {
    if let Some(people) = leading["people"].as_array() {
        let names: Vec<&str> = people.iter().filter_map(serde_json::Value::as_str).collect();
        outln!("  {} of {} {of} are of {}", leading["count"], leading["of"], names.join(" and "))?;
    }
    Ok(())
}

fn as_f64(value: &serde_json::Value) -> f64 {
    value.as_f64().unwrap_or_default()
}
