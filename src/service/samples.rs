//! Changes of what is enrolled: a sample is erased or moves, a template is merged into another or gets another id.

use super::{Caller, Error, Service};
use crate::domain::{FaceCrop, Revision, SampleId, Similarity, TemplateId};
use crate::store::{ChangeRefusal, ChangedBy, ErasureReason, Merge, Merged, SampleMove};

/// What a merge would do.
#[derive(Debug, Clone, PartialEq)]
pub struct MergePreview {
    /// How many samples would move.
    pub samples: usize,
    /// How many samples the template would have.
    pub total: usize,
    /// How similar the least similar samples of the two templates are; `None` when they have no samples of one model.
    pub lowest_cross_similarity: Option<Similarity>,
    /// The similarity below which two samples are unlikely to be of one person.
    pub same_person: Similarity,
    /// Why the merge would be refused.
    pub conflicts: Vec<ChangeRefusal>,
}

impl Service {
    /// Erases a sample, for good. The next search does not find it.
    ///
    /// # Errors
    /// [`Error::Change`], store failures.
    pub async fn remove_sample(
        &self,
        caller: &Caller,
        template: &TemplateId,
        sample: SampleId,
    ) -> Result<Revision, Error> {
        let reason = ErasureReason::delete(caller.transaction, caller.actor.clone());
        let revision = self.store.samples.remove_sample(&caller.app, template, sample, reason).await?;
        self.replicator.publish(&caller.app, revision).await;
        Ok(revision)
    }

    /// Moves a sample to another template. The next search finds it there, and not where it was.
    ///
    /// # Errors
    /// [`Error::Change`], store failures.
    pub async fn move_sample(&self, caller: &Caller, change: SampleMove<'_>) -> Result<Revision, Error> {
        let revision = self.store.samples.move_sample(&caller.app, change, &changed_by(caller)).await?;
        self.replicator.publish(&caller.app, revision).await;
        Ok(revision)
    }

    /// Merges a template into another one. The next search finds its samples there.
    ///
    /// # Errors
    /// [`Error::Change`], store failures.
    pub async fn merge(&self, caller: &Caller, merge: Merge<'_>) -> Result<Merged, Error> {
        let merged = self.store.samples.merge(&caller.app, merge, &changed_by(caller)).await?;
        self.replicator.publish(&caller.app, merged.revision).await;
        Ok(merged)
    }

    /// What a merge would do, without doing it. Another change may come between the preview and the merge.
    ///
    /// # Errors
    /// [`Error::Change`] when one of the templates does not exist, or both are the same; store failures.
    pub async fn preview_merge(&self, caller: &Caller, merge: Merge<'_>) -> Result<MergePreview, Error> {
        let Merge { from, into } = merge;
        if from == into {
            return Err(ChangeRefusal::SameTemplate.into());
        }
        let templates = &self.store.templates;
        let moving = templates.get(&caller.app, from).await?.ok_or(ChangeRefusal::NoTemplate)?.samples.len();
        let target = templates.get(&caller.app, into).await?.ok_or(ChangeRefusal::NoTarget)?.samples.len();
        let model = self.analyze.embedding_model();
        let own = templates.samples(&caller.app, model, from).await?;
        let others = templates.samples(&caller.app, model, into).await?;
        let pairs =
            own.iter().flat_map(|own| others.iter().filter_map(|other| own.embedding.cosine(&other.embedding).ok()));
        let lowest = pairs.min_by(|a, b| a.get().total_cmp(&b.get()));
        let total = moving + target;
        let limit = self.store.samples.admit(total as u64).err();
        Ok(MergePreview {
            samples: moving,
            total,
            lowest_cross_similarity: lowest.map(|cosine| self.similarity(cosine)),
            same_person: self.similarity(self.analyze.false_matches().same_person(total)),
            conflicts: limit.map(ChangeRefusal::from).into_iter().collect(),
        })
    }

    /// Gives a template another id. The next search finds it under the new one.
    ///
    /// # Errors
    /// [`Error::Change`], store failures.
    pub async fn rename(&self, caller: &Caller, from: &TemplateId, to: &TemplateId) -> Result<Revision, Error> {
        let revision = self.store.samples.rename(&caller.app, from, to, &changed_by(caller)).await?;
        self.replicator.publish(&caller.app, revision).await;
        Ok(revision)
    }

    /// The crop of a sample; `None` when it does not exist, or no crop is kept.
    ///
    /// # Errors
    /// Store failures.
    pub async fn crop(
        &self,
        caller: &Caller,
        template: &TemplateId,
        sample: SampleId,
    ) -> Result<Option<FaceCrop>, Error> {
        Ok(self.store.samples.crop(&caller.app, template, sample).await?)
    }

    /// How many bytes the crops of an application take.
    ///
    /// # Errors
    /// Store failures.
    pub async fn crop_bytes(&self, caller: &Caller) -> Result<u64, Error> {
        Ok(self.store.samples.crop_bytes(&caller.app).await?)
    }

    /// Erases crops of applications that no longer keep them, a bounded number. Returns how many there were.
    ///
    /// # Errors
    /// Store failures.
    pub async fn erase_unkept_crops(&self) -> Result<u64, Error> {
        Ok(self.store.samples.erase_unkept_crops(ERASE_BATCH).await?)
    }
}

/// The most crops that are erased in one transaction.
const ERASE_BATCH: usize = 1000;

fn changed_by(caller: &Caller) -> ChangedBy {
    ChangedBy { actor: caller.actor.clone(), transaction: Some(caller.transaction) }
}
