//! `semblance evaluate`: error rates on labeled photos, in the words of ISO/IEC 19795-1 and 30107-3. The arithmetic is in
//! [`crate::evaluation`].

mod analyses;
mod cache;
mod class_folder;
mod detection;
mod inputs;
mod run;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{ArgGroup, Args};

use super::CliError;
use super::output::{errln, outln, print};
use super::photos::people;
use crate::app;
use crate::domain::{Checks, Subject};
use crate::engine::{Analyze, ModelPack};
use crate::evaluation::{
    DataSet, Draws, Evaluation, Groups, LabeledPhoto, Options, PhotoOutcome, Protocol, Report, Threshold,
    estimated_groups,
};
use crate::settings::Settings;
use analyses::{Analyses, analyze_photos};
use detection::{Bench, Plan};

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("folders").args(["dir", "attacks", "forgeries"]).required(true).multiple(true)))]
pub(super) struct Arguments {
    /// A folder with one sub-folder of photos per person: measures recognition.
    #[arg(value_name = "PHOTOS")]
    dir: Option<PathBuf>,
    /// A folder with live/ and attack/KIND/, such as attack/print/: measures the liveness check (APCER and BPCER). All photos
    /// of a sub-folder of live/ or of a kind, such as the frames of one video, are drawn together for the intervals.
    #[arg(long, value_name = "FOLDER")]
    attacks: Option<PathBuf>,
    /// A folder with genuine/ and forged/KIND/, such as forged/face-swap/: measures the deepfake check.
    #[arg(long, value_name = "FOLDER")]
    forgeries: Option<PathBuf>,
    /// A pairs file in the format of Labeled Faces in the Wild (View 2): adds the ten-fold
    /// verification accuracy by its standard protocol.
    #[arg(long, value_name = "FILE", requires = "dir")]
    pairs: Option<PathBuf>,
    /// Pairs of people who are no impostors of each other, such as twins and brothers: two names a line, with a tab or a
    /// comma between them.
    #[arg(long, value_name = "FILE", requires = "dir")]
    relatives: Option<PathBuf>,
    /// Groups of people, whose rates are compared: CSV with a head line, then the person and one or several groups a line.
    #[arg(long, value_name = "FILE", conflicts_with = "estimate_groups", requires = "dir")]
    groups: Option<PathBuf>,
    /// Group people by gender, race and age as the pack's networks estimate them.
    #[arg(long, requires = "dir")]
    estimate_groups: bool,
    /// Which face is meant if there are several: only (the photo is refused), largest, or central (nearest to the center, as
    /// research data sets label their photos). Default: central for PHOTOS; only for --attacks and --forgeries, as the
    /// server's checks do.
    #[arg(long, value_name = "WHICH")]
    faces: Option<Subject>,
    /// Keep the analysis of each photo in this folder, and read those that are there. The files contain embeddings and are
    /// not encrypted: anyone with them can recognize these people.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Write the embeddings to a file, a line of JSON per photo (person, photo, embedding), for your own statistics. They
    /// are not encrypted: anyone with the file can recognize these people.
    #[arg(long, value_name = "FILE", requires = "dir")]
    embeddings: Option<PathBuf>,
    /// Write the curves as CSV to this folder: det.csv and identification.csv, attacks.csv, forgeries.csv.
    #[arg(long, value_name = "DIR")]
    curves: Option<PathBuf>,
    /// Write one HTML page with all tables and charts. It names people and their photos.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Draws of people, and of the photos or sub-folders of a check, for the 95 % intervals.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    draws: u32,
    /// The seed of the draws: the same seed gives the same intervals.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Whose face on a photo of a person is meant.
    fn faces_of_people(&self) -> Subject {
        self.faces.unwrap_or(Subject::Central)
    }

    /// Whose face on a photo of a check is meant.
    fn faces_of_checks(&self) -> Subject {
        self.faces.unwrap_or(Subject::Only)
    }
}

pub(super) async fn run(settings: Settings, arguments: Arguments) -> Result<(), CliError> {
    // All files are read before the photos are analyzed, which takes long.
    let people = arguments.dir.as_deref().map(|dir| People::read(dir, &arguments)).transpose()?;
    let attacks = arguments.attacks.as_deref().map(Plan::attacks).transpose()?;
    let forgeries = arguments.forgeries.as_deref().map(Plan::forgeries).transpose()?;
    let pack = app::model_pack(&settings)?;
    let threshold = threshold(&settings, &pack)?;
    for plan in attacks.iter().chain(&forgeries) {
        plan.threshold(&pack, &settings)?;
    }
    let engine: Arc<dyn Analyze> = app::start_engine(&settings)?;
    let draws = Draws {
        count: arguments.draws as usize,
        seed: arguments.seed,
        threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    };
    let bench = Bench {
        engine: &engine,
        pack: &pack,
        settings: &settings,
        subject: arguments.faces_of_checks(),
        cache: arguments.cache.as_deref(),
        draws,
    };
    let mut cached = 0;
    let mut evaluation = None;
    if let Some(people) = people {
        let photos = people.analyze(&bench, &arguments).await?;
        cached += photos.cached;
        evaluation = Some(people.evaluate(photos.photos, threshold, draws, &arguments)?);
    }
    let mut found = [None, None];
    for (plan, found) in [attacks, forgeries].into_iter().zip(&mut found) {
        if let Some(plan) = plan {
            let (detection, from_cache) = plan.evaluate(&bench).await?;
            cached += from_cache;
            *found = Some(detection);
        }
    }
    let [attacks, forgeries] = found;
    let run = run::facts(&arguments, &pack, draws, cached);
    write_report(&arguments, &Report { run, evaluation, attacks, forgeries })
}

/// The photos of people, and the files that belong to them.
struct People {
    dir: PathBuf,
    photos: Vec<(String, PathBuf)>,
    protocol: Option<Protocol>,
    relatives: Option<Vec<(String, String)>>,
    groups: Option<Groups>,
}

impl People {
    fn read(dir: &Path, arguments: &Arguments) -> Result<Self, CliError> {
        let protocol =
            read(arguments.pairs.as_deref(), |text| Protocol::parse(text).map_err(|error| error.to_string()))?;
        let relatives = read(arguments.relatives.as_deref(), inputs::parse_relatives)?;
        let groups = read(arguments.groups.as_deref(), inputs::parse_groups)?;
        let photos = people(dir)?;
        if photos.is_empty() {
            return Err(CliError::message(format!("{} contains no photos", dir.display())));
        }
        Ok(Self { dir: dir.to_owned(), photos, protocol, relatives, groups })
    }

    async fn analyze(&self, bench: &Bench<'_>, arguments: &Arguments) -> Result<Analyses, CliError> {
        let subject = arguments.faces_of_people();
        let mut cache = bench.open_cache(subject)?;
        let procedure = bench.procedure(subject, Checks::default(), arguments.estimate_groups);
        let analyses = analyze_photos(bench.engine, procedure, &self.dir, &self.photos, cache.as_mut()).await?;
        if let Some(file) = &arguments.embeddings {
            write(file, &embedding_lines(&analyses.photos))?;
        }
        Ok(analyses)
    }

    fn evaluate(
        self,
        photos: Vec<LabeledPhoto>,
        threshold: Threshold,
        draws: Draws,
        arguments: &Arguments,
    ) -> Result<Evaluation, CliError> {
        let mut data = DataSet::new(photos);
        if let Some(relatives) = &self.relatives {
            let unknown = data.set_relatives(relatives);
            warn_unknown("relatives", unknown.iter().map(String::as_str));
        }
        let groups = self.groups.or_else(|| arguments.estimate_groups.then(|| estimated_groups(&data)));
        if let Some(groups) = &groups {
            let people: std::collections::HashSet<&str> = (0..data.people()).map(|person| data.name(person)).collect();
            warn_unknown("groups", groups.values.keys().map(String::as_str).filter(|name| !people.contains(name)));
        }
        evaluate(&data, threshold, groups, draws, self.protocol.as_ref())
    }
}

fn evaluate(
    data: &DataSet,
    threshold: Threshold,
    groups: Option<Groups>,
    draws: Draws,
    protocol: Option<&Protocol>,
) -> Result<Evaluation, CliError> {
    let ten_folds = protocol.map(|protocol| protocol.accuracy(data)).transpose();
    let ten_folds = ten_folds.map_err(|error| CliError::message(error.to_string()))?;
    let options = Options { threshold, groups, draws };
    let evaluation = Evaluation::new(data, &options, |step| errln!("computing: {step}"));
    Ok(Evaluation { ten_folds, ..evaluation })
}

fn write_report(arguments: &Arguments, report: &Report) -> Result<(), CliError> {
    if let Some(file) = &arguments.report {
        write(file, &report.to_html())?;
    }
    if let Some(dir) = &arguments.curves {
        std::fs::create_dir_all(dir).map_err(CliError::file(dir))?;
        for (name, text) in report.curves() {
            write(&dir.join(name), &text)?;
        }
    }
    if arguments.json {
        let json = report.to_json().map_err(|error| CliError::message(error.to_string()))?;
        outln!("{json:#}")
    } else {
        print(format_args!("{}", report.to_text()))
    }
}

/// Writes a file that only its owner can read. A pipe or a device is written to as it is.
fn write(file: &Path, text: &str) -> Result<(), CliError> {
    if std::fs::metadata(file).is_ok_and(|found| !found.is_file()) {
        return std::fs::write(file, text).map_err(CliError::file(file));
    }
    app::write_private(file, text.as_bytes()).map_err(CliError::file(file))
}

/// Reads and parses a file, if there is one.
fn read<T>(file: Option<&Path>, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, CliError> {
    let Some(file) = file else { return Ok(None) };
    let text = std::fs::read_to_string(file).map_err(CliError::file(file))?;
    parse(&text).map(Some).map_err(|error| CliError::message(format!("{}: {error}", file.display())))
}

/// The threshold of the settings as a cosine. Similarity 0 and less has none: every cosine reaches it.
fn threshold(settings: &Settings, pack: &ModelPack) -> Result<Threshold, CliError> {
    let similarity = settings.matching.threshold;
    let cosine = app::calibration(settings, pack.operating_point())?.threshold_cosine(similarity);
    Ok(Threshold { similarity, cosine })
}

fn warn_unknown<'a>(what: &str, names: impl Iterator<Item = &'a str>) {
    let names: Vec<&str> = names.collect();
    if let Some(first) = names.first() {
        errln!("warning: {what}: {} names have no photo with a template, such as {first:?}", names.len());
    }
}

/// Each photo with a template as a line of JSON.
fn embedding_lines(photos: &[LabeledPhoto]) -> String {
    let line = |photo: &LabeledPhoto| match &photo.outcome {
        PhotoOutcome::Face(face) => {
            let stem = Path::new(&photo.file).file_stem().unwrap_or_default().to_string_lossy();
            let mut line = serde_json::json!({ "person": photo.person, "photo": stem, "embedding": face.embedding });
            if let (Some(crfiqa), Some(line)) = (face.crfiqa, line.as_object_mut()) {
                line.insert("crfiqa".to_owned(), crfiqa.into());
            }
            Some(format!("{line}\n"))
        }
        PhotoOutcome::Fault(_) => None,
    };
    photos.iter().filter_map(line).collect()
}
