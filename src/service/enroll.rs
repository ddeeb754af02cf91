//! Enroll: a photo becomes a template, or another sample of one.

use super::{Caller, Error, PhotoOptions, Service, Suspicion};
use crate::domain::{Analysis, Check, Embedding, Measure, SampleId, TemplateId};
use crate::gallery::Sample;
use crate::image::Photo;
use crate::store::{ErasureReason, OnConflict};

/// A photo that was analyzed to be enrolled.
#[derive(Debug, Clone)]
pub struct NewSample {
    analysis: Analysis,
    sample: Sample,
}

/// How a template is enrolled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnrollOptions {
    /// The id of the template; `None`: a new random one.
    pub template: Option<TemplateId>,
    /// Whether an existing template of that id is replaced.
    pub replace: bool,
}

/// A template that is durable and that the next search finds.
#[derive(Debug, Clone)]
pub struct Enrolled {
    /// Its id.
    pub template: TemplateId,
    /// The sample that was added.
    pub sample: SampleId,
    /// The analysis of the photo.
    pub analysis: Analysis,
    /// Likely mix-ups; empty unless the application's guard warns.
    pub warnings: Vec<Suspicion>,
}

impl Service {
    /// Enrolls a template.
    ///
    /// # Errors
    /// [`Error::TemplateExists`], [`Error::LimitReached`], [`Error::Suspicious`], store failures.
    pub async fn enroll(&self, caller: &Caller, new: NewSample, options: EnrollOptions) -> Result<Enrolled, Error> {
        let NewSample { analysis, sample } = new;
        let warnings = self.guard(caller, options.template.as_ref(), false, &sample.embedding).await?;
        let template = options.template.unwrap_or_else(TemplateId::random);
        let replace = OnConflict::Replace(ErasureReason::replace(caller.transaction));
        let on_conflict = if options.replace { replace } else { OnConflict::Refuse };
        let revision = self.store.templates.insert(&caller.app, &template, &sample, on_conflict).await?;
        self.replicator.publish(&caller.app, revision).await;
        Ok(Enrolled { template, sample: sample.id, analysis, warnings })
    }

    /// Adds a sample to a template.
    ///
    /// # Errors
    /// [`Error::TemplateNotFound`], [`Error::LimitReached`], [`Error::Suspicious`], store failures.
    pub async fn add_sample(&self, caller: &Caller, template: TemplateId, new: NewSample) -> Result<Enrolled, Error> {
        let NewSample { analysis, sample } = new;
        let warnings = self.guard(caller, Some(&template), true, &sample.embedding).await?;
        let added = self.store.templates.add_sample(&caller.app, &template, &sample).await?;
        let revision = added.ok_or(Error::TemplateNotFound)?;
        self.replicator.publish(&caller.app, revision).await;
        Ok(Enrolled { template, sample: sample.id, analysis, warnings })
    }

    /// Analyzes a photo to be enrolled. Does not need the store, which may keep its callers waiting.
    ///
    /// # Errors
    /// Photo faults, [`Error::Refused`], [`Error::LowQuality`], [`Error::Busy`].
    pub async fn new_sample(
        &self,
        caller: &Caller,
        photo: Photo,
        photo_options: PhotoOptions,
    ) -> Result<NewSample, Error> {
        let (analysis, embedding): (Analysis, Embedding) =
            self.analyze_for_matching(caller, photo, photo_options).await?;
        if self.policy.refuse_failed_checks
            && let Some(check) = failed_check(&analysis)
        {
            return Err(Error::Refused(check));
        }
        if let Some(required) = caller.rules.min_quality {
            let measured = analysis.quality[Measure::Crfiqa].ok_or(Error::QualityNotInstalled)?.score;
            if !(measured >= required) {
                return Err(Error::LowQuality { measured, required });
            }
        }
        Ok(NewSample { analysis, sample: Sample { id: SampleId::random(), embedding } })
    }
}

fn failed_check(analysis: &Analysis) -> Option<Check> {
    [(analysis.liveness, Check::Liveness), (analysis.deepfake, Check::Deepfake)]
        .into_iter()
        .find_map(|(verdict, check)| verdict.filter(|v| !v.fine).map(|_| check))
}
