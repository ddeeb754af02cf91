//! Enroll: a photo becomes a template, or another sample of one.

use super::{Caller, Error, Once, PhotoOptions, Service, Suspicion, embedding};
use crate::domain::{Analysis, AnalysisRequest, Check, Details, Measure, SampleId, TemplateId};
use crate::gallery::Sample;
use crate::image::Photo;
use crate::store::{EnrolledSample, ErasureReason, Executed, KeptReply, NewTemplate, OnConflict};

/// A photo that was analyzed to be enrolled.
#[derive(Debug, Clone)]
pub struct NewSample {
    analysis: Analysis,
    sample: EnrolledSample,
}

impl NewSample {
    /// The analysis and the sample.
    pub(super) fn into_parts(self) -> (Analysis, EnrolledSample) {
        (self.analysis, self.sample)
    }
}

/// How a template is enrolled.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EnrollOptions {
    /// The id of the template; `None`: a new random one.
    pub template: Option<TemplateId>,
    /// Whether an existing template of that id is replaced.
    pub replace: bool,
    /// Its details.
    pub details: Details,
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

/// The outcome of an enrollment.
#[derive(Debug)]
pub enum Enrollment {
    /// A template, or another sample of one, and the `result` of the reply, as JSON.
    Done(Box<Enrolled>, String),
    /// An equal request was executed before: its reply.
    Repeated(KeptReply),
}

/// Writes the `result` of a reply.
pub type Render<'a> = &'a (dyn Fn(&Enrolled) -> Result<String, Error> + Send + Sync);

impl Service {
    /// Enrolls a template; with `once`, only if no equal request did so before.
    ///
    /// # Errors
    /// [`Error::TemplateExists`], [`Error::ExternalIdTaken`], [`Error::ConsentMissing`], [`Error::Detail`],
    /// [`Error::LimitReached`], [`Error::Suspicious`], [`Error::KeyReused`], store failures.
    pub async fn enroll(
        &self,
        caller: &Caller,
        new: NewSample,
        options: EnrollOptions,
        once: Option<Once>,
        render: Render<'_>,
    ) -> Result<Enrollment, Error> {
        self.check_details(caller, &options.details)?;
        let NewSample { analysis, sample } = new;
        let warnings = match self.guard(caller, options.template.as_ref(), false, &sample.sample.embedding).await {
            Ok(warnings) => warnings,
            Err(error) => return self.refused_once(caller, once.as_ref(), error).await,
        };
        let template = options.template.unwrap_or_else(TemplateId::random);
        let replace = OnConflict::Replace(ErasureReason::replace(caller.transaction, caller.actor.clone()));
        let on_conflict = if options.replace { replace } else { OnConflict::Refuse };
        let enrolled = Enrolled { template, sample: sample.sample.id, analysis, warnings };
        let result = render(&enrolled)?;
        let app = &caller.app;
        let samples = std::slice::from_ref(&sample);
        let new = NewTemplate { id: &enrolled.template, samples, details: &options.details };
        let executed = match &once {
            None => Executed::Now(self.store.people.enroll(app, &new, on_conflict).await?),
            Some(once) => {
                let reply = once.reply(caller, &result);
                self.store.idempotency.insert_once(app, once.key(), &new, on_conflict, &reply).await?
            }
        };
        self.publish_once(caller, once.as_ref(), executed, enrolled, result).await
    }

    /// Adds a sample to a template; with `once`, only if no equal request did so before.
    ///
    /// # Errors
    /// [`Error::TemplateNotFound`], [`Error::LimitReached`], [`Error::Suspicious`], [`Error::KeyReused`],
    /// store failures.
    pub async fn add_sample(
        &self,
        caller: &Caller,
        template: TemplateId,
        new: NewSample,
        once: Option<Once>,
        render: Render<'_>,
    ) -> Result<Enrollment, Error> {
        let NewSample { analysis, sample } = new;
        let warnings = match self.guard(caller, Some(&template), true, &sample.sample.embedding).await {
            Ok(warnings) => warnings,
            Err(error) => return self.refused_once(caller, once.as_ref(), error).await,
        };
        let enrolled = Enrolled { template, sample: sample.sample.id, analysis, warnings };
        let result = render(&enrolled)?;
        let (app, template) = (&caller.app, &enrolled.template);
        let executed = match &once {
            None => self.store.templates.add_sample(app, template, &sample).await?.map(Executed::Now),
            Some(once) => {
                let reply = once.reply(caller, &result);
                self.store.idempotency.add_sample_once(app, once.key(), template, &sample, &reply).await?
            }
        };
        let executed = executed.ok_or(Error::TemplateNotFound)?;
        self.publish_once(caller, once.as_ref(), executed, enrolled, result).await
    }

    /// The answer to an enrollment that the guard refuses. An equal request may have enrolled this very face meanwhile.
    async fn refused_once(&self, caller: &Caller, once: Option<&Once>, error: Error) -> Result<Enrollment, Error> {
        if let (Error::Suspicious(_), Some(once)) = (&error, once)
            && let Some(kept) = self.repeated_meanwhile(caller, once).await?
        {
            return Ok(Enrollment::Repeated(kept));
        }
        Err(error)
    }

    /// Makes an enrollment visible to the next search.
    async fn publish_once(
        &self,
        caller: &Caller,
        once: Option<&Once>,
        executed: Executed,
        enrolled: Enrolled,
        result: String,
    ) -> Result<Enrollment, Error> {
        match (executed, once) {
            (Executed::Now(revision), _) => {
                self.replicator.publish(&caller.app, revision).await;
                Ok(Enrollment::Done(Box::new(enrolled), result))
            }
            (Executed::Before(kept), Some(once)) => {
                self.repeat(caller, once.fingerprint(), kept).await.map(Enrollment::Repeated)
            }
            (Executed::Before(_), None) => Err(Error::internal("a reply is kept for a request without a key")),
        }
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
        let request = self.analysis_request(caller, photo_options, true);
        let request = AnalysisRequest { crop: caller.keep_crops, ..request };
        let mut analysis = self.analyze.analyze(photo, request).await?;
        let embedding = embedding(&analysis)?;
        if self.policy.refuse_failed_checks
            && let Some(check) = failed_check(&analysis)
        {
            return Err(Error::Refused(check));
        }
        caller.require_quality(analysis.quality[Measure::Crfiqa])?;
        let sample = EnrolledSample {
            sample: Sample { id: SampleId::random(), embedding },
            enrolled_by: caller.actor.clone(),
            quality: analysis.quality[Measure::Crfiqa],
            crop: analysis.crop.take(),
        };
        Ok(NewSample { analysis, sample })
    }
}

fn failed_check(analysis: &Analysis) -> Option<Check> {
    [(analysis.liveness, Check::Liveness), (analysis.deepfake, Check::Deepfake)]
        .into_iter()
        .find_map(|(verdict, check)| verdict.filter(|v| !v.fine).map(|_| check))
}
