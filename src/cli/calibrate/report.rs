//! What a calibration prints.

use std::io::{self, Write};

use serde::Serialize;

use crate::calibration::{Figure, Genuine, Impostors, MIN_PEOPLE, Outlier, Source};
use crate::domain::Calibration;
use crate::gallery::IndexedTemplate;

/// Between cosines and similarities.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale(pub(super) Calibration);

/// What the operator accepts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Goal {
    pub(super) fpir: f64,
    pub(super) gallery: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Counts {
    pub(super) enrolled: usize,
    pub(super) people: usize,
    pub(super) samples: usize,
    pub(super) pairs: u64,
    pub(super) left_out: usize,
    /// Whether --relatives names a file.
    #[serde(skip)]
    pub(super) has_relatives: bool,
    pub(super) not_in_gallery: usize,
}

/// Where the rates come from.
#[derive(Debug, Serialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub(super) enum SourceReport {
    Gallery {
        scores: usize,
        cutoff: f64,
        fmr_at_cutoff: f64,
        shape: f64,
        scale: f64,
        anderson_darling: f64,
        p_value: f64,
    },
    Pack {
        min_people: usize,
    },
}

impl SourceReport {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Gallery { .. } => "gallery",
            Self::Pack { .. } => "pack",
        }
    }
}

pub(super) fn source(source: &Source) -> SourceReport {
    match source {
        Source::Gallery(fit) => SourceReport::Gallery {
            scores: fit.scores,
            cutoff: fit.tail.cutoff,
            fmr_at_cutoff: fit.tail.rate,
            shape: fit.tail.pareto.shape,
            scale: fit.tail.pareto.scale,
            anderson_darling: fit.goodness.statistic,
            p_value: fit.goodness.p_value,
        },
        Source::Pack(_) => SourceReport::Pack { min_people: MIN_PEOPLE },
    }
}

/// The comparisons of one person's samples.
#[derive(Debug, Serialize)]
pub(super) struct GenuineReport {
    people: usize,
    searches: usize,
    highest_cosine: Option<f32>,
    highest_similarity: Option<f64>,
}

pub(super) fn genuine(genuine: &Genuine, scale: Scale) -> GenuineReport {
    let highest = genuine.highest();
    GenuineReport {
        people: genuine.people(),
        searches: genuine.searches(),
        highest_cosine: highest,
        highest_similarity: highest.map(|cosine| scale.similarity(f64::from(cosine))),
    }
}

/// What a threshold does.
#[derive(Debug, Serialize)]
pub(super) struct Threshold {
    pub(super) similarity: f64,
    cosine: f64,
    fpir: Figure,
    /// The share of the enrolled people who match another one.
    matched_in_gallery: f64,
    fnir: Option<Figure>,
}

impl Threshold {
    pub(super) fn new(
        cosine: f64,
        source: &Source,
        impostors: &Impostors,
        genuine: &Genuine,
        scale: Scale,
        gallery: f64,
    ) -> Self {
        Self {
            similarity: scale.threshold(cosine),
            cosine,
            fpir: source.fpir(cosine, gallery),
            matched_in_gallery: impostors.matched(cosine as f32),
            fnir: genuine.missed(cosine).map(Figure::from),
        }
    }

    /// As it is configured, not rounded.
    pub(super) fn with_similarity(self, similarity: f64) -> Self {
        Self { similarity, ..self }
    }
}

/// The share of missed searches from which a threshold is of no use.
const USELESS_FNIR: f64 = 0.5;

/// The threshold for the target.
#[derive(Debug, Serialize)]
pub(super) struct Proposal {
    pub(super) threshold: Option<Threshold>,
    /// Its 95 % interval, as similarities and as cosines.
    similarity: Option<Figure>,
    cosine: Option<Figure>,
    /// Whether it is far beyond the measured scores.
    is_extrapolated: bool,
    pub(super) is_usable: bool,
    pub(super) verdict: String,
}

impl Proposal {
    pub(super) fn new(
        goal: Goal,
        source: &Source,
        scale: Scale,
        genuine: &Genuine,
        threshold: impl Fn(f64) -> Threshold,
    ) -> Self {
        let Some(figure) = source.threshold(goal.fpir, goal.gallery) else {
            return Self {
                threshold: None,
                similarity: None,
                cosine: None,
                is_extrapolated: true,
                is_usable: false,
                verdict: "the target cannot be reached with this model: no cosine below 1 has so few false matches"
                    .to_owned(),
            };
        };
        let threshold = threshold(figure.value);
        let missed = threshold.fnir.map(|fnir| fnir.value);
        let is_above_all = genuine.highest().is_some_and(|highest| figure.value > f64::from(highest));
        let is_useless = is_above_all || missed.is_some_and(|missed| missed > USELESS_FNIR);
        let verdict = match missed {
            Some(_) if is_above_all => {
                "the target cannot be reached with this model: no comparison of two samples of one person reaches the threshold"
                    .to_owned()
            }
            Some(missed) if is_useless => format!(
                "the target cannot be reached with this model: the threshold misses {} of the searches by people who are enrolled",
                percent(missed)
            ),
            Some(missed) => format!("the threshold misses {} of the searches by people who are enrolled", percent(missed)),
            None => "what the threshold costs is not known: no person has several samples".to_owned(),
        };
        Self {
            threshold: Some(threshold),
            similarity: Some(figure.map(|cosine| scale.similarity(cosine))),
            cosine: Some(figure),
            is_extrapolated: source.is_extrapolated(figure.value),
            is_usable: !is_useless,
            verdict,
        }
    }
}

/// A pair far above the fitted tail.
#[derive(Debug, Serialize)]
pub(super) struct OutlierReport {
    template_ids: [String; 2],
    cosine: f32,
    similarity: f64,
    /// Pairs of different people who are not related, as similar as this, that are expected in this gallery.
    expected: f64,
}

pub(super) fn outliers(found: &[Outlier], templates: &[IndexedTemplate], scale: Scale) -> Vec<OutlierReport> {
    let id = |place: usize| templates.get(place).map(|template| template.id.to_string()).unwrap_or_default();
    let report = |outlier: &Outlier| OutlierReport {
        template_ids: [id(outlier.score.pair.first), id(outlier.score.pair.second)],
        cosine: outlier.score.cosine,
        similarity: scale.similarity(f64::from(outlier.score.cosine)),
        expected: outlier.expected,
    };
    found.iter().map(report).collect()
}

#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) app_id: String,
    pub(super) counts: Counts,
    pub(super) gallery_size: u64,
    pub(super) target_fpir: f64,
    pub(super) source: SourceReport,
    pub(super) genuine: GenuineReport,
    pub(super) in_force: Threshold,
    pub(super) proposed: Proposal,
    pub(super) outliers: Vec<OutlierReport>,
    /// The threshold that was set.
    pub(super) applied: Option<f64>,
}

impl Report {
    pub(super) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        self.print_gallery(out)?;
        self.print_source(out)?;
        let size = self.gallery_size;
        writeln!(
            out,
            "\nThreshold in force: similarity {} (cosine {:.3})",
            self.in_force.similarity, self.in_force.cosine
        )?;
        self.print_threshold(out, &self.in_force)?;
        writeln!(out, "\nTarget: FPIR {} in a gallery of {size} people", percent(self.target_fpir))?;
        let proposed = &self.proposed;
        if let (Some(threshold), Some(similarity), Some(cosine)) =
            (&proposed.threshold, proposed.similarity, proposed.cosine)
        {
            writeln!(
                out,
                "Threshold: similarity {}{}; cosine {:.3}{}",
                threshold.similarity,
                range(similarity, |value| format!("{value:.4}")),
                cosine.value,
                range(cosine, |value| format!("{value:.3}"))
            )?;
            self.print_threshold(out, threshold)?;
            if proposed.is_extrapolated {
                writeln!(
                    out,
                    "  This threshold is far beyond the measured scores and rests on the shape of the tail: see docs/calibrate.md."
                )?;
            }
        }
        if !proposed.is_usable {
            writeln!(out, "  {}", sentence(&proposed.verdict))?;
        }
        self.print_outliers(out)?;
        match self.applied {
            Some(threshold) => writeln!(out, "\nThe threshold of {} is set to {threshold}.", self.app_id),
            None => writeln!(out, "\nNothing was changed; --apply sets the threshold of the application."),
        }
    }

    fn print_gallery(&self, out: &mut impl Write) -> io::Result<()> {
        let counts = &self.counts;
        writeln!(
            out,
            "{}: {} people with {} samples, {} pairs",
            self.app_id, counts.people, counts.samples, counts.pairs
        )?;
        if counts.people < counts.enrolled {
            writeln!(out, "  drawn at random from the {} people who are enrolled", counts.enrolled)?;
        }
        if counts.has_relatives {
            writeln!(out, "  {} pairs of --relatives are left out", counts.left_out)?;
        }
        if counts.not_in_gallery > 0 {
            writeln!(out, "  {} pairs of --relatives have a person who is not among these", counts.not_in_gallery)?;
        }
        Ok(())
    }

    fn print_source(&self, out: &mut impl Write) -> io::Result<()> {
        match &self.source {
            SourceReport::Gallery { scores, cutoff, shape, scale, anderson_darling, p_value, .. } => {
                writeln!(
                    out,
                    "  generalized Pareto distribution from cosine {cutoff:.3} on ({scores} scores): shape {shape:.3}, scale \
                     {scale:.4}; Anderson-Darling {anderson_darling:.2}, p = {p_value:.3}"
                )?;
                if *p_value < 0.01 {
                    writeln!(
                        out,
                        "  The scores do not follow it (p below 0.01): relatives, people enrolled twice, or groups who look alike."
                    )?;
                }
                Ok(())
            }
            SourceReport::Pack { min_people } => writeln!(
                out,
                "  too few people: {min_people} are needed. The rates below are those that were measured for the model pack on \
                 photos of other people (docs/accuracy.md), not of this gallery."
            ),
        }
    }

    fn print_threshold(&self, out: &mut impl Write, threshold: &Threshold) -> io::Result<()> {
        writeln!(
            out,
            "  FPIR {}{} in a gallery of {} people; {} of the {} people match another one",
            percent(threshold.fpir.value),
            range(threshold.fpir, percent),
            self.gallery_size,
            percent(threshold.matched_in_gallery),
            self.counts.people
        )?;
        match threshold.fnir {
            Some(fnir) => writeln!(
                out,
                "  FNIR {}{} of {} people with several samples ({} searches)",
                percent(fnir.value),
                range(fnir, percent),
                self.genuine.people,
                self.genuine.searches
            ),
            None => writeln!(out, "  FNIR not measured: no person has several samples"),
        }
    }

    fn print_outliers(&self, out: &mut impl Write) -> io::Result<()> {
        if self.outliers.is_empty() {
            return Ok(());
        }
        let count = self.outliers.len();
        writeln!(
            out,
            "\n{count} pairs are too similar for people who are not related. They count above: put the lines of relatives and of \
             people enrolled twice into a file, and name it with --relatives."
        )?;
        for outlier in &self.outliers {
            let [first, second] = &outlier.template_ids;
            writeln!(
                out,
                "{first}\t{second}\tcosine {:.3}, similarity {:.3}; expected: {:.2} pairs",
                outlier.cosine, outlier.similarity, outlier.expected
            )?;
        }
        Ok(())
    }
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        0.0 => "0 %".to_owned(),
        p if p >= 10.0 => format!("{p:.0} %"),
        p if p >= 0.01 => format!("{p:.2} %"),
        p => format!("{p:.1e} %"),
    }
}

fn range(figure: Figure, text: impl Fn(f64) -> String) -> String {
    match (figure.low, figure.high) {
        (Some(low), Some(high)) => format!(" (95 %: {} to {})", text(low), text(high)),
        _ => String::new(),
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().collect::<String>() + letters.as_str() + ".").unwrap_or_default()
}
