//! Review: identifications without a match, for a person to decide.
//!
//! The journal has each best candidate that came near the threshold. Where an application opts in, the probe itself is
//! held for a while, so that a person can confirm whose face it shows, enroll it, or dismiss it.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::identify::Match;
use super::review_error::ReviewRefusal;
use super::{Caller, Error, Service, Suspicion};
use crate::domain::{Analysis, AppId, Details, DetailsPatch, FaceCrop, Measure, ProbeId, Revision, TemplateId};
use crate::gallery::{Ranked, Sample};
use crate::store::{EnrolledSample, HeldProbe, HeldQuery, NewProbe, NewTemplate};

/// The most probes that wait to be held. Of more, the newest is dropped: identification does not wait for the database.
const MAX_WAITING: usize = 64;

/// The most probes that are erased in one transaction.
const EXPIRE_BATCH: usize = 1000;

/// Shortest and longest time for which probes can be held.
pub const KEEP_PROBES: std::ops::RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(90 * 86_400);

/// Probes that wait to be held.
#[derive(Default)]
pub(super) struct WaitingProbes {
    queue: Mutex<VecDeque<(AppId, NewProbe)>>,
    added: Notify,
}

impl WaitingProbes {
    fn push(&self, app: AppId, probe: NewProbe) {
        let mut queue = self.queue.lock();
        if queue.len() >= MAX_WAITING {
            tracing::debug!(%app, "a probe is not held for review: too many are waiting");
            return;
        }
        queue.push_back((app, probe));
        drop(queue);
        self.added.notify_one();
    }

    async fn next(&self) -> (AppId, NewProbe) {
        loop {
            if let Some(next) = self.queue.lock().pop_front() {
                return next;
            }
            self.added.notified().await;
        }
    }
}

/// A held probe, as a person sees it.
#[derive(Debug, Clone)]
pub struct ReviewItem {
    /// The probe.
    pub probe: HeldProbe,
    /// The most similar template, if it came near the threshold.
    pub near: Option<Match>,
    /// The name of that template.
    pub name: Option<String>,
}

/// A part of the held probes.
#[derive(Debug, Clone)]
pub struct ReviewPage {
    /// Last seen first.
    pub items: Vec<ReviewItem>,
    /// Where the next page begins; `None` on the last page.
    pub next: Option<(i64, ProbeId)>,
    /// How many probes are held in all.
    pub total: u64,
}

/// What a person decides about a held probe.
#[derive(Debug, Clone, PartialEq)]
pub enum ReviewDecision {
    /// It shows the person of this template: it becomes a sample.
    ConfirmAs(TemplateId),
    /// It shows a person who is not enrolled: it becomes a template.
    EnrollAs(Option<TemplateId>, DetailsPatch),
    /// It is erased.
    Dismiss,
}

/// A decision that was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// The probe. A sample that was made of it has the same number.
    pub probe: ProbeId,
    /// The template that got the sample; `None`: dismissed.
    pub template: Option<TemplateId>,
    /// The revision of the gallery; `None`: dismissed.
    pub revision: Option<Revision>,
    /// Likely mix-ups; empty unless the application's guard warns.
    pub warnings: Vec<Suspicion>,
}

impl Service {
    /// The best candidate, if it is below the threshold and came near: of the people who are not enrolled, at
    /// most one in ten comes as near to any template of a gallery of this size
    /// ([`FalseMatchCurve::same_person`](crate::domain::FalseMatchCurve::same_person)). In a large gallery the limit
    /// exceeds the threshold; there nothing below the threshold says anything.
    pub(super) fn near(&self, ranked: &Ranked, threshold: f64) -> Option<Match> {
        let best = ranked.hits.first()?;
        let similarity = self.similarity(best.cosine);
        let is_near = similarity.get() < threshold
            && best.cosine >= self.analyze.false_matches().same_person(ranked.gallery_size);
        is_near.then(|| Match { template: best.template.clone(), similarity })
    }

    /// Whether a probe of this analysis is held where an application opts in: the face can be recognized, and passes the
    /// checks that were made. What is blurred, covered or forged helps no one to decide.
    fn is_reviewable(analysis: &Analysis) -> bool {
        let is_usable = analysis.quality[Measure::Crfiqa].is_none_or(|quality| quality.fine);
        let passes = [analysis.liveness, analysis.deepfake].into_iter().flatten().all(|verdict| verdict.fine);
        is_usable && passes
    }

    /// Offers the probe of an identification without a match to review. Does not wait.
    pub(super) fn offer_probe(&self, caller: &Caller, analysis: &mut Analysis, ranked: &Ranked) {
        let crop = analysis.crop.take();
        let (Some(keep), Some(embedding)) = (caller.keep_probes, &analysis.embedding) else { return };
        let best = ranked.hits.first();
        // Below the threshold of the application: the request may have asked for a higher one.
        let threshold = self.threshold(caller, None);
        if best.is_some_and(|best| self.similarity(best.cosine).get() >= threshold) || !Self::is_reviewable(analysis) {
            return;
        }
        let near = self.near(ranked, threshold).zip(best).map(|(near, best)| (near.template, best.cosine));
        let probe = NewProbe {
            embedding: embedding.clone(),
            crop,
            quality: analysis.quality[Measure::Crfiqa],
            near,
            threshold,
            transaction: caller.transaction,
            keep,
        };
        self.waiting_probes.push(caller.app.clone(), probe);
    }

    /// Holds the probes that are offered, for as long as the server runs.
    pub async fn hold_probes(self) {
        loop {
            let (app, probe) = self.waiting_probes.next().await;
            if let Err(error) = self.hold(&app, &probe).await {
                tracing::debug!(%error, %app, "a probe is not held for review");
            }
        }
    }

    async fn hold(&self, app: &AppId, probe: &NewProbe) -> Result<(), Error> {
        let held = usize::try_from(self.store.review.count_held(app).await?).unwrap_or(usize::MAX);
        let same = self.analyze.false_matches().same_person(held.saturating_add(1));
        self.store.review.hold(app, probe, same).await?;
        Ok(())
    }

    /// A page of held probes.
    ///
    /// # Errors
    /// Store failures.
    pub async fn review(&self, caller: &Caller, query: &HeldQuery) -> Result<ReviewPage, Error> {
        let limit = query.limit.saturating_add(1);
        let mut held = self.store.review.held(&caller.app, &HeldQuery { limit, ..query.clone() }).await?;
        let more = held.len() > query.limit;
        held.truncate(query.limit);
        let next = held.last().filter(|_| more).map(HeldProbe::place);
        let mut ids: Vec<TemplateId> = held.iter().filter_map(|probe| Some(probe.near.as_ref()?.0.clone())).collect();
        ids.sort();
        ids.dedup();
        let noted = self.store.people.noted(&caller.app, &ids).await?.people;
        let name = |id: &TemplateId| noted.iter().find(|person| person.id == *id)?.details.name.clone();
        let item = |probe: HeldProbe| ReviewItem {
            name: probe.near.as_ref().and_then(|(template, _)| name(template)),
            near: probe
                .near
                .as_ref()
                .map(|(template, cosine)| Match { template: template.clone(), similarity: self.similarity(*cosine) }),
            probe,
        };
        let total = self.store.review.count_held(&caller.app).await?;
        Ok(ReviewPage { items: held.into_iter().map(item).collect(), next, total })
    }

    /// The crop of a held probe; `None` when there is none.
    ///
    /// # Errors
    /// [`ReviewRefusal::NoProbe`], store failures.
    pub async fn probe_crop(&self, caller: &Caller, probe: ProbeId) -> Result<Option<FaceCrop>, Error> {
        let (_, content) = self.store.review.probe(&caller.app, probe).await?.ok_or(ReviewRefusal::NoProbe)?;
        Ok(content.crop)
    }

    /// Makes a decision. The probe ends with it.
    ///
    /// # Errors
    /// [`ReviewRefusal::NoProbe`] when it was decided or has ended, [`ReviewRefusal::OtherModel`], [`Error::TemplateNotFound`],
    /// [`Error::LowQuality`], and those of [`Service::enroll`].
    pub async fn decide(&self, caller: &Caller, probe: ProbeId, decision: ReviewDecision) -> Result<Decided, Error> {
        let app = &caller.app;
        let (template, warnings, revision) = match decision {
            ReviewDecision::Dismiss => {
                let found = self.store.review.dismiss_probe(app, probe).await?;
                let dismissed = Decided { probe, template: None, revision: None, warnings: Vec::new() };
                return if found { Ok(dismissed) } else { Err(ReviewRefusal::NoProbe.into()) };
            }
            ReviewDecision::ConfirmAs(template) => {
                let sample = self.sample_of(caller, probe).await?;
                let warnings = self.guard(caller, Some(&template), true, &sample.sample.embedding).await?;
                let revision = self.store.review.confirm_probe(app, probe, &template, &sample).await?;
                (template, warnings, revision)
            }
            ReviewDecision::EnrollAs(template, patch) => {
                let sample = self.sample_of(caller, probe).await?;
                let details = patch.apply(Details::NONE)?;
                self.check_details(caller, &details)?;
                let template = template.unwrap_or_else(TemplateId::random);
                let warnings = self.guard(caller, Some(&template), false, &sample.sample.embedding).await?;
                let samples = std::slice::from_ref(&sample);
                let new = NewTemplate { id: &template, samples, details: &details };
                let revision = self.store.review.enroll_probe(app, probe, &new).await?;
                (template, warnings, revision)
            }
        };
        let Some(revision) = revision else {
            // Either the probe was decided meanwhile, or the template does not exist.
            let is_held = self.store.review.probe(app, probe).await?.is_some();
            return Err(if is_held { Error::TemplateNotFound } else { ReviewRefusal::NoProbe.into() });
        };
        self.replicator.publish(app, revision).await;
        Ok(Decided { probe, template: Some(template), revision: Some(revision), warnings })
    }

    /// The sample that a held probe becomes, by the rules of enrollment.
    async fn sample_of(&self, caller: &Caller, probe: ProbeId) -> Result<EnrolledSample, Error> {
        let found = self.store.review.probe(&caller.app, probe).await?;
        let (held, content) = found.ok_or(ReviewRefusal::NoProbe)?;
        if content.embedding.model() != self.analyze.embedding_model() {
            return Err(ReviewRefusal::OtherModel.into());
        }
        caller.require_quality(held.quality)?;
        Ok(EnrolledSample {
            sample: Sample { id: held.sample_id(), embedding: content.embedding },
            enrolled_by: caller.actor.clone(),
            quality: held.quality,
            crop: content.crop.filter(|_| caller.keep_crops),
        })
    }

    /// Erases probes that have ended, a bounded number. Returns how many there were.
    ///
    /// # Errors
    /// Store failures.
    pub async fn expire_probes(&self) -> Result<u64, Error> {
        Ok(self.store.review.expire_probes(EXPIRE_BATCH).await?)
    }
}
