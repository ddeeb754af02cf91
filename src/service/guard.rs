//! The guard of enrollment: a likely mix-up is reported or refused.
//!
//! It helps against mistakes and is no lock: two concurrent enrollments of one face under two ids do not see each other.

use super::{Caller, Error, Service, Suspicion};
use crate::domain::{Embedding, Guard, Scope, TemplateId};

impl Service {
    /// The likely mix-ups of a new sample. A sample that extends a template is compared with the other samples of it, and
    /// every sample with the other templates. Empty when the application's guard is off. Of a caller without the scope
    /// `identify` they have the kind alone.
    ///
    /// # Errors
    /// [`Error::Suspicious`] when the guard refuses; [`Error::Loading`], [`Error::Busy`], [`Error::Stale`], store
    /// failures.
    pub(super) async fn guard(
        &self,
        caller: &Caller,
        template: Option<&TemplateId>,
        extends: bool,
        embedding: &Embedding,
    ) -> Result<Vec<Suspicion>, Error> {
        let mut found = Vec::new();
        if caller.rules.guard == Guard::Off {
            return Ok(found);
        }
        if let Some(template) = template.filter(|_| extends) {
            found.extend(self.unlike_samples(caller, template, embedding).await?);
        }
        found.extend(self.enrolled_elsewhere(caller, template, embedding).await?);
        // With ids and similarities, enrolling would be a way to identify.
        if caller.require(Scope::Identify).is_err() {
            found = found.iter().map(Suspicion::kind).collect();
        }
        match found.first() {
            Some(first) if caller.rules.guard == Guard::Refuse => Err(Error::Suspicious(first.clone())),
            _ => Ok(found),
        }
    }

    async fn unlike_samples(
        &self,
        caller: &Caller,
        template: &TemplateId,
        embedding: &Embedding,
    ) -> Result<Option<Suspicion>, Error> {
        let samples = self.store.templates.samples(&caller.app, embedding.model(), template).await?;
        let limit = self.analyze.false_matches().same_person(samples.len() + 1);
        let cosines = samples.iter().filter_map(|sample| sample.embedding.cosine(embedding).ok());
        let best = cosines.max_by(|a, b| a.get().total_cmp(&b.get()));
        let unlike = best.filter(|best| *best < limit);
        Ok(unlike.map(|best| Suspicion::UnlikeSamples { similarity: Some(self.similarity(best)) }))
    }

    async fn enrolled_elsewhere(
        &self,
        caller: &Caller,
        template: Option<&TemplateId>,
        embedding: &Embedding,
    ) -> Result<Option<Suspicion>, Error> {
        // The template itself may be the best hit.
        let ranked = self.search(caller, embedding, 2).await?;
        let limit = self.analyze.false_matches().enrolled_elsewhere(ranked.gallery_size);
        let other = ranked.hits.into_iter().find(|hit| Some(&hit.template) != template);
        Ok(other
            .filter(|hit| hit.cosine >= limit)
            .map(|hit| Suspicion::EnrolledElsewhere { found: Some((hit.template, self.similarity(hit.cosine))) }))
    }
}
