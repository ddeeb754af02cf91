//! `semblance calibrate`: learns a threshold from the gallery of an application.

mod relatives;
mod report;

use std::path::PathBuf;

use clap::Args;

use super::CliError;
use super::output::outln;
use super::target::{Target, each_page, find_app};
use crate::app;
use crate::calibration::{
    Fit, Genuine, Impostors, MIN_PEOPLE, Measure, Outlier, Person, Rounds, Source, outliers, scores,
};
use crate::domain::{Actor, Clock, Cosine, SplitMix, fmr};
use crate::gallery::IndexedTemplate;
use crate::service::Applications;
use crate::settings::Settings;
use crate::store::{AppChange, AppRecord, AppRefusal, OpenMode, OutboxEvent, Store};
use relatives::{Relatives, read_pairs};
use report::{Counts, Goal, Report, Scale, Threshold};

/// Learns, from comparisons of the enrolled people with each other, how often people who are not enrolled match, and the
/// threshold at which they match as often as you accept. Changes nothing without --apply.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The application's id; not needed when there is only one.
    app: Option<String>,
    /// The share of searches by people who are not enrolled that may match.
    #[arg(long, default_value_t = 0.01, value_parser = target_fpir, value_name = "RATE")]
    target_fpir: f64,
    /// People in the gallery that the threshold is for. Default: those that are enrolled.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    gallery_size: Option<u64>,
    /// Pairs to leave out: relatives, and people who are enrolled twice. A line has two ids with a tab between them, as this
    /// command lists them.
    #[arg(long, value_name = "FILE")]
    relatives: Option<PathBuf>,
    /// Set the application's threshold. Takes effect within a second.
    #[arg(long)]
    apply: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Samples that are compared with each other at most; of a larger gallery, people are drawn at random.
const MAX_SAMPLES: usize = 20_000;

/// Scores that a tail is fitted to at most. A threshold at a high false match rate needs many; then fewer people are compared.
const MAX_SCORES: f64 = 50_000.0;

/// Pairs that are looked at for outliers.
const NEAREST_PAIRS: usize = 1000;

/// Rounds of the bootstraps.
const ROUNDS: Rounds = Rounds { intervals: 400, goodness: 199 };

/// The seed: the same gallery gives the same figures.
const SEED: u64 = 1;

pub(super) async fn run(settings: Settings, arguments: Arguments) -> Result<(), CliError> {
    let mode = if arguments.apply { OpenMode::Write } else { OpenMode::Read };
    let store = app::open_store(&settings, mode).await?;
    let app = find_app(&store, &Target::new(arguments.app.clone())).await?;
    let gallery = Gallery::load(&settings, &store, &app, &arguments).await?;
    let mut report = gallery.calibrate(&settings, &app, &arguments)?;
    if arguments.apply {
        apply(&store, &app, &mut report).await?;
    }
    if arguments.json {
        outln!("{:#}", serde_json::to_value(&report).map_err(|error| CliError::message(error.to_string()))?)?;
    } else {
        report.print(&mut std::io::stdout().lock())?;
    }
    Ok(())
}

fn target_fpir(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|rate| (1e-6..=0.5).contains(rate));
    number.ok_or_else(|| format!("'{text}' is not a rate from 0.000001 to 0.5, such as 0.01"))
}

/// The people who are compared.
struct Gallery {
    /// All that are enrolled.
    enrolled: usize,
    /// Those that are compared, in the order of their ids.
    templates: Vec<IndexedTemplate>,
    /// The pairs that the operator leaves out.
    relatives: Relatives,
    /// People in the gallery that the threshold is for.
    size: f64,
}

impl Gallery {
    async fn load(
        settings: &Settings,
        store: &Store,
        app: &AppRecord,
        arguments: &Arguments,
    ) -> Result<Self, CliError> {
        let named = arguments.relatives.as_deref().map(read_pairs).transpose()?.unwrap_or_default();
        let model = app::embedding_model(settings)?;
        let mut templates = Vec::new();
        each_page(store, &app.id, &model, async |_, page| {
            templates.extend(page.into_iter().filter(|template| !template.samples.is_empty()));
            Ok(())
        })
        .await?;
        let enrolled = templates.len();
        if enrolled == 0 {
            return Err(CliError::message(format!("no one is enrolled in {} with the model {model}", app.id)));
        }
        let size = arguments.gallery_size.map_or(enrolled as f64, |size| size as f64);
        let rate = fmr(arguments.target_fpir, size);
        draw(&mut templates, ((MAX_SCORES / rate).sqrt() as usize).max(MIN_PEOPLE));
        templates.sort_by(|a, b| a.id.cmp(&b.id));
        let relatives = Relatives::new(&named, &templates);
        Ok(Self { enrolled, templates, relatives, size })
    }

    fn calibrate(&self, settings: &Settings, app: &AppRecord, arguments: &Arguments) -> Result<Report, CliError> {
        let pack = app::model_pack(settings)?;
        let calibration = app::calibration(settings, pack.operating_point())?;
        let scale = Scale(calibration);
        let in_force = app.threshold.unwrap_or(settings.matching.threshold);
        let people: Vec<Person<'_>> = self
            .templates
            .iter()
            .map(|template| Person::new(template.samples.iter().map(|sample| sample.embedding.values()).collect()))
            .collect();
        let samples: usize = people.iter().map(|person| person.samples.len()).sum();
        let target = Goal { fpir: arguments.target_fpir, gallery: self.size };
        let count = scores(people.len(), fmr(target.fpir, self.size));
        let measure = Measure {
            left_out: self.relatives.pairs.clone(),
            keep: count + 1,
            list: NEAREST_PAIRS,
            threshold: scale.0.threshold_cosine(in_force) as f32,
            threads: settings.compute.search_threads,
        };
        let impostors = Impostors::measure(&people, &measure);
        let genuine = Genuine::measure(&people);
        let mut random = SplitMix::new(SEED);
        let (source, outliers) = if people.len() < MIN_PEOPLE {
            (Source::Pack(pack.false_matches().clone()), Vec::new())
        } else {
            fit(&impostors, &measure, count, samples as f64 / people.len() as f64, &mut random)?
        };
        let threshold = |cosine| Threshold::new(cosine, &source, &impostors, &genuine, scale, self.size);
        Ok(Report {
            app_id: app.id.to_string(),
            counts: Counts {
                enrolled: self.enrolled,
                people: people.len(),
                samples,
                pairs: impostors.pairs,
                left_out: self.relatives.pairs.len(),
                has_relatives: arguments.relatives.is_some(),
                not_in_gallery: self.relatives.unknown,
            },
            gallery_size: self.size as u64,
            target_fpir: target.fpir,
            source: report::source(&source),
            genuine: report::genuine(&genuine, scale),
            in_force: threshold(scale.0.threshold_cosine(in_force)).with_similarity(in_force),
            proposed: report::Proposal::new(target, &source, scale, &genuine, threshold),
            outliers: report::outliers(&outliers, &self.templates, scale),
            applied: None,
        })
    }
}

/// Keeps people who are drawn at random, at most a number of them, with at most [`MAX_SAMPLES`] samples.
fn draw(templates: &mut Vec<IndexedTemplate>, most: usize) {
    let samples: usize = templates.iter().map(|template| template.samples.len()).sum();
    if templates.len() <= most && samples <= MAX_SAMPLES {
        return;
    }
    let mut random = SplitMix::new(SEED);
    for last in (1..templates.len()).rev() {
        templates.swap(last, random.below(last + 1));
    }
    let mut left = MAX_SAMPLES;
    let fitting = templates.iter().take_while(|template| {
        let fits = template.samples.len() <= left;
        left = left.saturating_sub(template.samples.len());
        fits
    });
    let count = fitting.count().min(most);
    templates.truncate(count);
}

fn fit(
    impostors: &Impostors,
    measure: &Measure,
    count: usize,
    samples_per_person: f64,
    random: &mut SplitMix,
) -> Result<(Source, Vec<Outlier>), CliError> {
    let fitted = Fit::new(impostors, &measure.left_out, count, ROUNDS, random);
    let outliers = outliers(impostors, &measure.left_out, count, samples_per_person, random);
    let (Some(fit), Some(outliers)) = (fitted, outliers) else {
        return Err(CliError::message(
            "no tail can be fitted: the comparisons are too few for this target, or many are the same; are people enrolled \
             several times? A lower --target-fpir or a larger --gallery-size needs fewer comparisons",
        ));
    };
    Ok((Source::Gallery(Box::new(fit)), outliers))
}

/// Sets the threshold of the application, with the line of the journal in the same transaction.
async fn apply(store: &Store, app: &AppRecord, report: &mut Report) -> Result<(), CliError> {
    let threshold = match &report.proposed.threshold {
        Some(threshold) if report.proposed.is_usable => threshold.similarity,
        _ => return Err(CliError::message(format!("nothing is applied: {}", report.proposed.verdict))),
    };
    let detail = format!(
        "threshold: {threshold}, target FPIR: {}, people: {}, source: {}",
        report.target_fpir,
        report.gallery_size,
        report.source.name()
    );
    let change = AppChange { threshold: Some(Some(threshold)), ..AppChange::default() };
    let event = OutboxEvent::new(Clock::system().now(), "calibrate", Some(&app.id), &detail).by(Actor::Command);
    match Applications::new(store, Clock::system()).change(&app.id, &change, Some(&event)).await? {
        Ok(_) => report.applied = Some(threshold),
        Err(AppRefusal::NoSuchApp) => return Err(CliError::message(format!("{} was deleted meanwhile", app.id))),
        Err(refusal) => return Err(CliError::message(refusal.to_string())),
    }
    Ok(())
}

impl Scale {
    fn similarity(self, cosine: f64) -> f64 {
        self.0.similarity(Cosine::clamped(cosine as f32)).get()
    }

    /// The similarity of a threshold: four digits, rounded up, so that rounding lets no one else match.
    fn threshold(self, cosine: f64) -> f64 {
        ((self.similarity(cosine) * 1e4 - 1e-3).ceil() / 1e4).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::domain::{Embedding, ModelTag, SampleId};
    use crate::gallery::Sample;

    fn templates(count: usize, samples: usize) -> Vec<IndexedTemplate> {
        let embedding = Embedding::new(&[0.6, 0.8], ModelTag::new("m")).unwrap();
        let sample = || Sample { id: SampleId::random(), embedding: embedding.clone() };
        let template = |at: usize| IndexedTemplate {
            id: at.to_string().parse().unwrap(),
            samples: (0..samples).map(|_| sample()).collect(),
        };
        (0..count).map(template).collect()
    }

    #[test]
    fn people_are_drawn_at_random_up_to_both_limits() {
        let all = templates(300, 1);
        let mut kept = all.clone();
        draw(&mut kept, 300);
        assert_eq!(kept, all);
        draw(&mut kept, 250);
        let ids: HashSet<&str> = kept.iter().map(|template| template.id.as_str()).collect();
        assert_eq!((kept.len(), ids.len()), (250, 250));
        assert!(ids.iter().any(|id| id.parse::<usize>().unwrap() >= 250), "not the first ones");
        let mut again = all;
        draw(&mut again, 250);
        assert_eq!(again, kept);
        let mut many = templates(700, 32);
        draw(&mut many, 700);
        assert_eq!(many.len(), MAX_SAMPLES / 32);
    }

    #[test]
    fn a_threshold_is_rounded_up_and_leads_back_to_its_cosine() {
        let scale = Scale(crate::domain::Calibration::calibrated(0.505).unwrap());
        for cosine in [0.2, 0.35, 0.4827, 0.505, 0.6, 0.93] {
            let similarity = scale.threshold(cosine);
            let exact = scale.similarity(cosine);
            assert!(similarity - exact > -1e-6 && similarity - exact < 1e-4, "{cosine}");
            assert!((scale.0.threshold_cosine(similarity) - cosine).abs() < 1e-3);
            assert_eq!((similarity * 1e4).round() / 1e4, similarity);
        }
        assert_eq!(scale.threshold(0.505), 0.75);
        assert_eq!((scale.0.threshold_cosine(0.0), scale.threshold(1.0)), (-1.0, 1.0));
    }
}
