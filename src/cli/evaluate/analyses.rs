//! The analyses of a data set: read from a cache where it has them, computed otherwise.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::super::CliError;
use super::super::output::errln;
use super::super::photos::analyze_all;
use super::cache::Cache;
use crate::domain::{Analysis, AnalysisRequest, Check, Checks, Limit, Measure, Subject, TenantKey, stopwatch};
use crate::engine::{Analyze, AnalyzeError, Sha256Digest};
use crate::evaluation::{CheckScore, Estimated, FaceRecord, LabeledPhoto, PhotoOutcome};

/// Time between two lines of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// How photos are analyzed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Procedure {
    /// Analyses that run at once.
    pub(super) threads: usize,
    /// Whose face is meant.
    pub(super) subject: Subject,
    /// Whether age, gender and race are estimated.
    pub(super) estimate_groups: bool,
    /// The checks that are made.
    pub(super) checks: Checks,
    /// The limit of deepfake, which a face gets as its score if it is too small for the check.
    pub(super) deepfake_limit: Limit,
    /// The least distance between the eyes for that check, in pixels.
    pub(super) min_eye_distance: f32,
}

impl Procedure {
    fn request(self) -> AnalysisRequest {
        AnalysisRequest {
            embedding: true,
            quality: false,
            checks: self.checks,
            attributes: self.estimate_groups,
            crop: false,
            subject: self.subject,
            tenant: TenantKey::default(),
        }
    }

    /// Whether a cached outcome has what is requested.
    fn is_answered_by(self, outcome: &PhotoOutcome) -> bool {
        match outcome {
            PhotoOutcome::Face(face) => {
                let has_checks = self.checks.asked().all(|check| face.check(check).is_some());
                has_checks && (face.estimated.is_some() || !self.estimate_groups)
            }
            PhotoOutcome::Fault(_) => true,
        }
    }

    /// The face of an analysis for which an embedding was requested.
    fn face(self, analysis: Analysis) -> Result<PhotoOutcome, CliError> {
        let check = |check| self.checks.asked().any(|asked| asked == check).then(|| self.score(&analysis, check));
        let (liveness, deepfake) = (check(Check::Liveness).transpose()?, check(Check::Deepfake).transpose()?);
        let embedding = analysis.embedding.ok_or_else(|| CliError::message("the engine returned no embedding"))?;
        let demography = analysis.demography;
        let estimated = Estimated {
            age: demography.age,
            gender: demography.gender.map(str::to_owned),
            race: demography.race.map(str::to_owned),
        };
        Ok(PhotoOutcome::Face(FaceRecord {
            embedding: embedding.values().to_vec(),
            crfiqa: analysis.quality[Measure::Crfiqa].map(|verdict| verdict.score),
            estimated: (estimated != Estimated::default()).then_some(estimated),
            liveness,
            deepfake,
        }))
    }

    /// The score of a check that was requested. A face too small for the deepfake check has exactly the limit as its score.
    fn score(self, analysis: &Analysis, check: Check) -> Result<CheckScore, CliError> {
        let verdict = match check {
            Check::Liveness => analysis.liveness,
            Check::Deepfake => analysis.deepfake,
        };
        let name = check.name();
        let verdict = verdict.ok_or_else(|| CliError::message(format!("the engine returned no score of {name}")))?;
        let is_small = analysis.landmarks.eye_distance() < self.min_eye_distance;
        let is_limit = self.deepfake_limit == Limit::AtLeast(verdict.score);
        let is_judged = check == Check::Liveness || !is_small || !is_limit;
        Ok(if is_judged { CheckScore::Score(verdict.score) } else { CheckScore::NotJudged })
    }
}

/// The photos of a data set with their outcomes.
#[derive(Debug)]
pub(super) struct Analyses {
    pub(super) photos: Vec<LabeledPhoto>,
    /// Photos whose outcome was in the cache.
    pub(super) cached: usize,
}

/// Analyzes photos of (person, path). Photos with the same bytes are analyzed once.
pub(super) async fn analyze_photos(
    engine: &Arc<dyn Analyze>,
    procedure: Procedure,
    dir: &Path,
    photos: &[(String, PathBuf)],
    mut cache: Option<&mut Cache>,
) -> Result<Analyses, CliError> {
    let digests = photos.iter().map(|(_, path)| digest(path)).collect::<Result<Vec<String>, _>>()?;
    let mut known: HashMap<String, PhotoOutcome> = HashMap::new();
    if let Some(cache) = &cache {
        let answered = cache.outcomes().filter(|(_, outcome)| procedure.is_answered_by(outcome));
        known.extend(answered.map(|(digest, outcome)| (digest.clone(), outcome.clone())));
    }
    let cached = digests.iter().filter(|digest| known.contains_key(*digest)).count();
    let missing: BTreeMap<&String, &PathBuf> = digests
        .iter()
        .zip(photos)
        .filter(|(digest, _)| !known.contains_key(*digest))
        .map(|(digest, (_, path))| (digest, path))
        .collect();
    if cached > 0 {
        errln!("{cached} of {} photos are in the cache", photos.len());
    }
    let (missing_digests, paths): (Vec<&String>, Vec<PathBuf>) =
        missing.into_iter().map(|(digest, path)| (digest, path.clone())).unzip();
    let started = stopwatch();
    let mut last_line = stopwatch();
    analyze_all(engine, procedure.threads, &paths, procedure.request(), |at, outcome| {
        let outcome = match outcome {
            Ok(analysis) => procedure.face(analysis)?,
            Err(AnalyzeError::Fault(fault)) => PhotoOutcome::Fault(fault.kind().to_owned()),
            Err(other) => return Err(CliError::Service(other.into())),
        };
        if let Some(cache) = &mut cache {
            cache.add(missing_digests[at], &outcome)?;
        }
        known.insert(missing_digests[at].clone(), outcome);
        if last_line.elapsed() >= PROGRESS_INTERVAL {
            last_line = stopwatch();
            errln!("{}", progress_line(at + 1, paths.len(), started.elapsed()));
        }
        Ok(())
    })
    .await?;
    let labeled = photos.iter().zip(digests).filter_map(|((person, path), digest)| {
        let outcome = known.get(&digest)?.clone();
        let file = path.strip_prefix(dir).unwrap_or(path).to_string_lossy().into_owned();
        Some(LabeledPhoto { person: person.clone(), file, digest, outcome })
    });
    Ok(Analyses { photos: labeled.collect(), cached })
}

fn digest(path: &Path) -> Result<String, CliError> {
    Ok(Sha256Digest::hash(&std::fs::read(path).map_err(CliError::file(path))?).to_string())
}

/// Counts, rate and the time that is left.
fn progress_line(done: usize, total: usize, elapsed: Duration) -> String {
    let rate = done as f64 / elapsed.as_secs_f64().max(1e-3);
    let left = (total.saturating_sub(done) as f64 / rate.max(1e-9)).round() as u64;
    format!("{done} of {total} photos analyzed, {rate:.1} a second, {left} s left")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn procedure(estimate_groups: bool, checks: Checks) -> Procedure {
        Procedure {
            threads: 1,
            subject: Subject::Central,
            estimate_groups,
            checks,
            deepfake_limit: Limit::AtLeast(0.9),
            min_eye_distance: 20.0,
        }
    }

    #[test]
    fn a_line_shows_rate_and_time_left() {
        let line = progress_line(100, 400, Duration::from_secs(10));
        assert_eq!(line, "100 of 400 photos analyzed, 10.0 a second, 30 s left");
    }

    #[test]
    fn a_cached_face_without_estimates_does_not_answer_a_request_for_them() {
        let procedure = |estimate_groups| procedure(estimate_groups, Checks::default());
        let plain = PhotoOutcome::Face(FaceRecord::default());
        let estimated =
            PhotoOutcome::Face(FaceRecord { estimated: Some(Estimated::default()), ..FaceRecord::default() });
        assert!(procedure(false).is_answered_by(&plain) && !procedure(true).is_answered_by(&plain));
        assert!(procedure(false).is_answered_by(&estimated) && procedure(true).is_answered_by(&estimated));
        assert!(procedure(true).is_answered_by(&PhotoOutcome::Fault("no_face".to_owned())));
    }
    #[test]
    fn a_cached_face_answers_only_the_checks_that_were_made() {
        let requested = |liveness, deepfake| procedure(false, Checks { liveness, deepfake });
        let face = FaceRecord { liveness: Some(CheckScore::Score(0.5)), ..FaceRecord::default() };
        let face = PhotoOutcome::Face(face);
        assert!(requested(false, false).is_answered_by(&face) && requested(true, false).is_answered_by(&face));
        assert!(!requested(false, true).is_answered_by(&face) && !requested(true, true).is_answered_by(&face));
    }
}
