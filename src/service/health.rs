//! How well the samples of a template fit together.

use super::{Caller, Error, Service};
use crate::domain::{Cosine, ModelTag, SampleId, Similarity, TemplateId, Verdict};
use crate::gallery::Sample;
use crate::store::TemplateRecord;

/// The state of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthState {
    /// Nothing was found.
    Good,
    /// It may be found less reliably: see the findings.
    Weak,
    /// A sample matches no other one: probably another person is on it.
    Mixed,
}

/// Something about a sample of a template.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HealthFinding {
    /// It matches no other sample of the template. The similarity is that of the best of them.
    UnlikeOwnSamples(SampleId, Similarity),
    /// The quality of its photo was not fine when it was enrolled.
    LowQuality(SampleId, Verdict),
    /// Another model made its embedding, so searches do not find it.
    OtherModel(SampleId),
    /// Its embedding cannot be read, so searches do not find it.
    Unreadable(SampleId),
}

/// How well the samples of a template fit together.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// The verdict.
    pub state: HealthState,
    /// The similarity of the two samples that are least alike; `None` with fewer than two samples that can be compared.
    pub lowest_pair: Option<Similarity>,
    /// The similarity below which two of so many samples count as unlike.
    pub same_person: Similarity,
    /// What was found, in the order of the samples.
    pub findings: Vec<HealthFinding>,
}

impl Service {
    /// How well the samples of a template fit together.
    ///
    /// # Errors
    /// [`Error::TemplateNotFound`], store failures.
    pub async fn health(&self, caller: &Caller, template: &TemplateId) -> Result<Health, Error> {
        let record = self.template(caller, template).await?;
        self.health_of(caller, &record).await
    }

    /// The same for a template that was read before.
    ///
    /// # Errors
    /// Store failures.
    pub async fn health_of(&self, caller: &Caller, record: &TemplateRecord) -> Result<Health, Error> {
        let model = self.analyze.embedding_model();
        let samples = self.store.templates.samples(&caller.app, model, &record.id).await?;
        let limit = self.analyze.false_matches().same_person(samples.len());
        Ok(judge(record, &samples, model, limit, |cosine| self.similarity(cosine)))
    }
}

fn judge(
    record: &TemplateRecord,
    samples: &[Sample],
    model: &ModelTag,
    limit: Cosine,
    similarity: impl Fn(Cosine) -> Similarity,
) -> Health {
    let cosine = |a: &Sample, b: &Sample| a.embedding.cosine(&b.embedding).ok();
    let by_value = |a: &Cosine, b: &Cosine| a.get().total_cmp(&b.get());
    let pairs = samples
        .iter()
        .enumerate()
        .flat_map(|(at, one)| samples.iter().skip(at + 1).filter_map(move |other| cosine(one, other)));
    let lowest = pairs.min_by(by_value);
    let best_other = |one: &Sample| {
        samples.iter().filter(|other| other.id != one.id).filter_map(|other| cosine(one, other)).max_by(by_value)
    };
    let mut findings = Vec::new();
    for stored in &record.samples {
        match samples.iter().find(|sample| sample.id == stored.id) {
            None if stored.model != *model => findings.push(HealthFinding::OtherModel(stored.id)),
            None => findings.push(HealthFinding::Unreadable(stored.id)),
            Some(sample) => {
                let unlike = best_other(sample).filter(|best| *best < limit);
                findings.extend(unlike.map(|best| HealthFinding::UnlikeOwnSamples(stored.id, similarity(best))));
            }
        }
        let low = stored.quality.filter(|quality| !quality.fine);
        findings.extend(low.map(|quality| HealthFinding::LowQuality(stored.id, quality)));
    }
    let is_mixed = findings.iter().any(|finding| matches!(finding, HealthFinding::UnlikeOwnSamples(..)));
    let state = match findings.is_empty() {
        true => HealthState::Good,
        false if is_mixed => HealthState::Mixed,
        false => HealthState::Weak,
    };
    Health { state, lowest_pair: lowest.map(&similarity), same_person: similarity(limit), findings }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::domain::{Calibration, Embedding};
    use crate::store::SampleRecord;

    fn sample(n: u128, angle: f32) -> Sample {
        let embedding = Embedding::new(&[angle.cos(), angle.sin()], ModelTag::new("m")).unwrap();
        Sample { id: SampleId(uuid::Uuid::from_u128(n)), embedding }
    }

    fn record(samples: &[(u128, &str, bool)]) -> TemplateRecord {
        let samples = samples.iter().map(|(n, model, fine)| SampleRecord {
            id: SampleId(uuid::Uuid::from_u128(*n)),
            model: ModelTag::new(model),
            created_at: UNIX_EPOCH,
            enrolled_by: None,
            quality: Some(Verdict { score: 0.5, fine: *fine }),
            has_crop: false,
        });
        TemplateRecord { id: "t".parse().unwrap(), created_at: UNIX_EPOCH, samples: samples.collect() }
    }

    fn health(stored: &[(u128, &str, bool)], samples: &[Sample]) -> Health {
        let similarity = |cosine| Calibration::Cosine.similarity(cosine);
        judge(&record(stored), samples, &ModelTag::new("m"), Cosine::clamped(0.4), similarity)
    }

    #[test]
    fn samples_that_match_are_good_also_when_two_of_them_do_not() {
        assert_eq!(health(&[(1, "m", true)], &[sample(1, 0.0)]).state, HealthState::Good);
        assert_eq!(health(&[(1, "m", true)], &[sample(1, 0.0)]).lowest_pair, None);
        // A chain: the first and the last are unlike, and the middle one connects them.
        let chain = [sample(1, 0.0), sample(2, 0.8), sample(3, 1.6)];
        let found = health(&[(1, "m", true), (2, "m", true), (3, "m", true)], &chain);
        assert_eq!((found.state, found.findings.len()), (HealthState::Good, 0));
        assert!((found.lowest_pair.unwrap().get() - f64::from(1.6f32.cos())).abs() < 1e-6);
    }

    #[test]
    fn a_sample_that_matches_no_other_is_named() {
        let three = [sample(1, 0.0), sample(2, 0.1), sample(3, 1.5)];
        let found = health(&[(1, "m", true), (2, "m", false), (3, "m", true)], &three);
        assert_eq!(found.state, HealthState::Mixed);
        let [HealthFinding::LowQuality(low, _), HealthFinding::UnlikeOwnSamples(unlike, best)] = found.findings[..]
        else {
            panic!("{:?}", found.findings)
        };
        assert_eq!((low, unlike), (three[1].id, three[2].id));
        assert!((best.get() - f64::from(1.4f32.cos())).abs() < 1e-6);
    }

    #[test]
    fn what_a_search_does_not_find_makes_a_template_weak() {
        let stored = [(1, "m", true), (2, "other", true), (3, "m", true)];
        let found = health(&stored, &[sample(1, 0.0)]);
        assert_eq!(found.state, HealthState::Weak);
        let id = |n: u128| SampleId(uuid::Uuid::from_u128(n));
        assert_eq!(found.findings, [HealthFinding::OtherModel(id(2)), HealthFinding::Unreadable(id(3))]);
    }
}
