//! Held probes of the store in memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use semblance::domain::{AppId, Cosine, ProbeId, Revision, TemplateId};
use semblance::store::{
    EnrolledSample, Held, HeldFilter, HeldProbe, HeldQuery, InsertError, NewProbe, NewTemplate, OnConflict,
    PeopleStore as _, ProbeContent, ReviewStore, StoreError, TemplateStore as _,
};

use super::store::MemoryStore;

/// The probes of each application, in the order in which they were last seen.
#[derive(Default)]
pub struct MemoryProbes(Mutex<HashMap<AppId, Vec<(HeldProbe, ProbeContent)>>>);

impl MemoryProbes {
    fn with<T>(&self, app: &AppId, work: impl FnOnce(&mut Vec<(HeldProbe, ProbeContent)>) -> T) -> T {
        let mut probes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        work(probes.entry(app.clone()).or_default())
    }

    fn end(&self, app: &AppId, probe: ProbeId) -> bool {
        self.with(app, |all| {
            let before = all.len();
            all.retain(|(held, _)| held.id != probe);
            all.len() < before
        })
    }
}

#[async_trait]
impl ReviewStore for MemoryStore {
    async fn hold(&self, app: &AppId, probe: &NewProbe, same: Cosine) -> Result<Held, StoreError> {
        Ok(self.probes.with(app, |all| {
            // Each is seen a second after the one before.
            let now =
                UNIX_EPOCH + Duration::from_secs(1_758_635_011 + all.iter().map(|(held, _)| held.times).sum::<u64>());
            let alike =
                |content: &ProbeContent| content.embedding.cosine(&probe.embedding).is_ok_and(|found| found >= same);
            if let Some(at) = all.iter().position(|(_, content)| alike(content)) {
                let (mut held, content) = all.remove(at);
                held.times += 1;
                held.last_seen_at = now;
                let id = held.id;
                all.push((held, content));
                return Held::Again(id);
            }
            let id = ProbeId::random();
            let held = HeldProbe {
                id,
                near: probe.near.clone(),
                threshold: probe.threshold,
                quality: probe.quality,
                times: 1,
                first_seen_at: now,
                last_seen_at: now,
                ends_at: now + probe.keep,
                transaction: probe.transaction,
                has_crop: probe.crop.is_some(),
            };
            all.push((held, ProbeContent { embedding: probe.embedding.clone(), crop: probe.crop.clone() }));
            Held::New(id)
        }))
    }

    async fn held(&self, app: &AppId, query: &HeldQuery) -> Result<Vec<HeldProbe>, StoreError> {
        Ok(self.probes.with(app, |all| {
            let of_kind = |held: &&HeldProbe| match query.filter {
                HeldFilter::All => true,
                HeldFilter::Near => held.near.is_some(),
                HeldFilter::Unknown => held.near.is_none(),
            };
            let listed = all.iter().rev().map(|(held, _)| held).filter(of_kind);
            let after = listed.filter(|held| query.after.is_none_or(|after| held.place() < after));
            after.take(query.limit).cloned().collect()
        }))
    }

    async fn held_near(&self, app: &AppId, template: &TemplateId) -> Result<Vec<HeldProbe>, StoreError> {
        let is_near = |held: &&HeldProbe| held.near.as_ref().is_some_and(|(near, _)| near == template);
        Ok(self.probes.with(app, |all| all.iter().rev().map(|(held, _)| held).filter(is_near).cloned().collect()))
    }

    async fn count_held(&self, app: &AppId) -> Result<u64, StoreError> {
        Ok(self.probes.with(app, |all| all.len() as u64))
    }

    async fn probe(&self, app: &AppId, id: ProbeId) -> Result<Option<(HeldProbe, ProbeContent)>, StoreError> {
        Ok(self.probes.with(app, |all| all.iter().find(|(held, _)| held.id == id).cloned()))
    }

    async fn confirm_probe(
        &self,
        app: &AppId,
        probe: ProbeId,
        template: &TemplateId,
        sample: &EnrolledSample,
    ) -> Result<Option<Revision>, InsertError> {
        let added = self.add_sample(app, template, sample).await?;
        Ok(added.filter(|_| self.probes.end(app, probe)))
    }

    async fn enroll_probe(
        &self,
        app: &AppId,
        probe: ProbeId,
        new: &NewTemplate<'_>,
    ) -> Result<Option<Revision>, InsertError> {
        let revision = self.enroll(app, new, OnConflict::Refuse).await?;
        Ok(self.probes.end(app, probe).then_some(revision))
    }

    async fn dismiss_probe(&self, app: &AppId, probe: ProbeId) -> Result<bool, StoreError> {
        Ok(self.probes.end(app, probe))
    }

    async fn expire_probes(&self, _: usize) -> Result<u64, StoreError> {
        Ok(0)
    }
}
