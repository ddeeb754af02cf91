//! A person enrolled with several photos, in one transaction.

use crate::domain::{Analysis, Details, Guard, PhotoFault, PhotoOptions, Revision, SampleId, TemplateId};
use crate::image::Photo;
use crate::service::{Caller, Error, Service, Suspicion};
use crate::store::{EnrolledSample, NewTemplate, OnConflict};

/// A person to be enrolled.
#[derive(Debug)]
pub struct NewPerson {
    /// The id; `None`: a new random one.
    pub template: Option<TemplateId>,
    /// The details.
    pub details: Details,
    /// The photos, or what is wrong with them.
    pub photos: Vec<Result<Photo, PhotoFault>>,
    /// Whose faces, and which checks.
    pub photo_options: PhotoOptions,
    /// What happens to a likely mix-up; `None`: as the application says.
    pub guard: Option<Guard>,
    /// Whether everything is checked and nothing is written.
    pub dry_run: bool,
}

/// A photo that is enrolled.
#[derive(Debug, Clone)]
pub struct AcceptedPhoto {
    /// Its number among the photos, from zero.
    pub index: usize,
    /// Its sample.
    pub sample: SampleId,
    /// Its analysis.
    pub analysis: Analysis,
}

/// A photo that is not enrolled.
#[derive(Debug)]
pub struct RefusedPhoto {
    /// Its number among the photos, from zero.
    pub index: usize,
    /// Why.
    pub error: Error,
}

/// What became of a new person.
#[derive(Debug)]
pub struct EnrolledPerson {
    /// The id.
    pub template: TemplateId,
    /// The gallery's revision; `None`: nothing was written, because no photo is accepted, the guard refuses, or it is a
    /// dry run.
    pub revision: Option<Revision>,
    /// The photos that are enrolled, or would be.
    pub accepted: Vec<AcceptedPhoto>,
    /// The others.
    pub refused: Vec<RefusedPhoto>,
    /// What the guard does.
    pub guard: Guard,
    /// What the guard found.
    pub findings: Vec<Suspicion>,
}

impl EnrolledPerson {
    /// Whether the guard refuses the person.
    pub fn is_refused(&self) -> bool {
        self.guard == Guard::Refuse && !self.findings.is_empty()
    }
}

impl Service {
    /// Enrolls a person with all photos that can be enrolled. The next search finds it.
    ///
    /// # Errors
    /// [`Error::TemplateExists`], [`Error::ExternalIdTaken`], [`Error::ConsentMissing`], [`Error::Detail`],
    /// [`Error::LimitReached`], [`Error::Busy`], store failures. A photo that is refused is no error.
    pub async fn enroll_person(&self, caller: &Caller, new: NewPerson) -> Result<EnrolledPerson, Error> {
        let NewPerson { template, details, photos, photo_options, guard, dry_run } = new;
        self.check_details(caller, &details)?;
        if let Some(template) = &template
            && self.store.templates.get(&caller.app, template).await?.is_some()
        {
            return Err(Error::TemplateExists);
        }
        let (mut samples, mut accepted, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for (index, photo) in photos.into_iter().enumerate() {
            let analyzed = match photo {
                Ok(photo) => self.new_sample(caller, photo, photo_options).await,
                Err(fault) => Err(fault.into()),
            };
            match analyzed {
                Ok(new) => {
                    let (analysis, sample) = new.into_parts();
                    accepted.push(AcceptedPhoto { index, sample: sample.sample.id, analysis });
                    samples.push(sample);
                }
                Err(error @ (Error::Photo(_) | Error::Refused(_) | Error::LowQuality { .. })) => {
                    refused.push(RefusedPhoto { index, error });
                }
                Err(error) => return Err(error),
            }
        }
        let guard = guard.unwrap_or(caller.rules.guard);
        let findings = self.findings(caller, template.as_ref(), guard, &samples).await?;
        let template = template.unwrap_or_else(TemplateId::random);
        let mut person = EnrolledPerson { template, revision: None, accepted, refused, guard, findings };
        if samples.is_empty() || dry_run || person.is_refused() {
            return Ok(person);
        }
        let enrolled = NewTemplate { id: &person.template, samples: &samples, details: &details };
        let revision = self.store.people.enroll(&caller.app, &enrolled, OnConflict::Refuse).await?;
        self.replicator.publish(&caller.app, revision).await;
        person.revision = Some(revision);
        Ok(person)
    }

    /// What the guard finds: photos of a person who is enrolled under another id, and photos that are unlike the others.
    async fn findings(
        &self,
        caller: &Caller,
        template: Option<&TemplateId>,
        guard: Guard,
        samples: &[EnrolledSample],
    ) -> Result<Vec<Suspicion>, Error> {
        let mut findings: Vec<Suspicion> = Vec::new();
        if guard == Guard::Off {
            return Ok(findings);
        }
        let mut watchful = caller.clone();
        watchful.rules.guard = Guard::Warn;
        for (at, sample) in samples.iter().enumerate() {
            for found in self.guard(&watchful, template, false, &sample.sample.embedding).await? {
                let is_known = findings.iter().any(|known| match (known, &found) {
                    (
                        Suspicion::EnrolledElsewhere { found: Some((known, _)) },
                        Suspicion::EnrolledElsewhere { found: Some((found, _)) },
                    ) => known == found,
                    _ => false,
                });
                if !is_known {
                    findings.push(found);
                }
            }
            let others = samples.iter().enumerate().filter(|(other, _)| *other != at);
            let cosines = others.filter_map(|(_, other)| other.sample.embedding.cosine(&sample.sample.embedding).ok());
            let best = cosines.max_by(|a, b| a.get().total_cmp(&b.get()));
            let limit = self.analyze.false_matches().same_person(samples.len());
            if let Some(best) = best.filter(|best| *best < limit) {
                findings.push(Suspicion::UnlikeSamples { similarity: Some(self.similarity(best)) });
            }
        }
        Ok(findings)
    }
}
