//! Makes templates of photos: gathers them by person, compares them, and writes batches.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::alike::Alike;
use super::plan::{Layout, Person, Source};
use super::progress::Progress;
use super::read::{Outcome, Seen, key};
use super::report::{Counts, Row};
use super::state::{PhotoDigest, State};
use super::{BATCH, Existing, retry};
use crate::cli::CliError;
use crate::domain::{AppId, Cosine, Embedding, FalseMatchCurve, Guard, ModelTag, Revision, TemplateId};
use crate::gallery::{Change, Hit, IndexedTemplate, Matcher as _, MatcherFeed as _, MemoryMatcher, Sample};
use crate::store::{ErasureReason, LimitReached, OnConflict, Refusal, Store};

/// A face of a person.
struct Face {
    /// The photo's number.
    photo: usize,
    digest: PhotoDigest,
    embedding: Embedding,
}

/// A person whose photos are not all done.
#[derive(Default)]
struct Pending {
    done: usize,
    faces: Vec<Face>,
}

/// A template to write.
struct Ready {
    person: usize,
    template: IndexedTemplate,
    photos: Vec<(usize, PhotoDigest)>,
}

/// Gathers the results of photos.
pub(super) struct Gatherer<'a> {
    pub(super) store: &'a Store,
    pub(super) app: &'a AppId,
    pub(super) root: &'a Path,
    pub(super) people: Arc<Vec<Person>>,
    pub(super) layout: Layout,
    pub(super) existing: Existing,
    /// The most samples of one template.
    pub(super) samples_per_template: u64,
    pub(super) guard: Guarding,
    pub(super) state: State,
    pub(super) progress: Progress,
    pub(super) counts: Counts,
    pub(super) rows: Vec<Row>,
    pub(super) work: Work,
}

/// People and templates that are not written yet.
#[derive(Default)]
pub(super) struct Work {
    pending: HashMap<usize, Pending>,
    batch: Vec<Ready>,
}

/// Compares a person's photos with the gallery.
pub(super) struct Guarding {
    pub(super) guard: Guard,
    pub(super) curve: FalseMatchCurve,
    pub(super) model: ModelTag,
    /// The gallery, with the templates of this import; `None` when the guard is off.
    pub(super) gallery: Option<MemoryMatcher>,
    /// Existing templates and people to import.
    pub(super) size: usize,
    pub(super) revision: Revision,
}

impl Gatherer<'_> {
    /// Takes the result of a photo. After a person's last photo, the template is made.
    pub(super) async fn take(&mut self, seen: Seen) -> Result<(), CliError> {
        let people = Arc::clone(&self.people);
        let Some(person) = people.get(seen.person) else { return Ok(()) };
        let pending = self.work.pending.entry(seen.person).or_default();
        pending.done += 1;
        match seen.result {
            Outcome::Face(digest, embedding) => pending.faces.push(Face { photo: seen.photo, digest, embedding }),
            Outcome::Enrolled => self.counts.enrolled_before += 1,
            Outcome::Left(row) => self.rows.push(row),
            Outcome::Refused(digest, row) => {
                let key = person.photos.get(seen.photo).map(|photo| key(self.root, photo)).unwrap_or_default();
                self.state.refuse(key, &row, digest)?;
                self.rows.push(row);
            }
            Outcome::Failed(error) => return Err(error),
        }
        if pending.done == person.photos.len()
            && let Some(pending) = self.work.pending.remove(&seen.person)
        {
            self.complete(seen.person, person, pending.faces).await?;
        }
        self.progress.advance(self.counts.templates);
        if self.work.batch.len() >= BATCH { self.flush().await } else { Ok(()) }
    }

    /// All photos of a person are done.
    async fn complete(&mut self, number: usize, person: &Person, mut faces: Vec<Face>) -> Result<(), CliError> {
        faces.sort_by_key(|face| face.photo);
        let mut known: HashSet<PhotoDigest> = HashSet::new();
        faces.retain(|face| {
            let is_new = known.insert(face.digest);
            if !is_new {
                self.rows.push(
                    Row::skipped(photo(person, face.photo), person.id.as_str(), "duplicate_photo")
                        .because("the same file as another photo of this person", "none"),
                );
            }
            is_new
        });
        if !faces.is_empty() {
            self.compare(person, &mut faces).await?;
            self.compare_with_others(person, &mut faces).await?;
            self.keep_to_limit(person, &mut faces).await?;
        }
        if faces.is_empty() {
            return Ok(());
        }
        let photos = faces.iter().map(|face| (face.photo, face.digest)).collect();
        let samples = faces
            .into_iter()
            .map(|face| Sample { id: face.digest.sample(self.app, &person.id), embedding: face.embedding });
        let template = IndexedTemplate { id: person.id.clone(), samples: samples.collect() };
        self.publish(&template);
        self.work.batch.push(Ready { person: number, template, photos });
        Ok(())
    }

    /// Leaves out the photos that the template has no room for: the last ones.
    async fn keep_to_limit(&mut self, person: &Person, faces: &mut Vec<Face>) -> Result<(), CliError> {
        let limit = self.samples_per_template;
        let stored = match self.existing {
            Existing::Extend => {
                let record = retry::repeat(|| self.store.templates.get(self.app, &person.id)).await?;
                record.map_or(0, |record| record.samples.len() as u64)
            }
            Existing::Leave | Existing::Replace => 0,
        };
        let room = usize::try_from(limit.saturating_sub(stored)).unwrap_or(usize::MAX);
        if faces.len() > room {
            for face in faces.drain(room..) {
                let row = Row::left(photo(person, face.photo), person.id.as_str(), "too_many_photos");
                self.rows.push(row.because(
                    format!("the template has {limit} samples with the photos before this one, the most allowed"),
                    "raise limits.samples_per_template and import with --add-samples, or remove photos of this person",
                ));
            }
        }
        Ok(())
    }

    /// Compares a person's photos with each other.
    async fn compare(&mut self, person: &Person, faces: &mut Vec<Face>) -> Result<(), CliError> {
        let sorts = self.layout == Layout::Auto && person.source == Source::Folder;
        if self.guard.guard == Guard::Off && !sorts {
            return Ok(());
        }
        let enrolled: Vec<Embedding> = match self.existing {
            Existing::Extend => {
                let samples =
                    retry::repeat(|| self.store.templates.samples(self.app, &self.guard.model, &person.id)).await?;
                samples.into_iter().map(|sample| sample.embedding).collect()
            }
            Existing::Leave | Existing::Replace => Vec::new(),
        };
        let embeddings: Vec<Embedding> = faces.iter().map(|face| face.embedding.clone()).collect();
        let alike = Alike::new(&enrolled, &embeddings, &self.guard.curve);
        if sorts && !alike.one_person {
            for face in faces.drain(..) {
                self.rows.push(Row::left(photo(person, face.photo), person.id.as_str(), "several_people").because(
                    "the photos of this folder look like several people",
                    "if each photo is a person, use --layout files; if all are one person, --layout folders",
                ));
            }
            return Ok(());
        }
        let mut belongs = alike.belongs.iter().zip(&alike.best);
        let guard = self.guard.guard;
        let rows = &mut self.rows;
        faces.retain(|face| {
            let Some((false, best)) = belongs.next().map(|(belongs, best)| (*belongs, best)) else { return true };
            let path = photo(person, face.photo);
            let id = person.id.as_str();
            let reason = format!(
                "the photo does not match the other photos of this person (cosine {:.2} at best)",
                best.get().max(0.0)
            );
            let remedy = "check whether it shows this person; if so, import with --guard off";
            match guard {
                Guard::Off => true,
                Guard::Warn => {
                    rows.push(
                        Row::warned(path, id, "unlike_samples").because(reason, "check whether it shows this person"),
                    );
                    true
                }
                Guard::Refuse => {
                    rows.push(Row::left(path, id, "unlike_samples").because(reason, remedy));
                    false
                }
            }
        });
        Ok(())
    }

    /// Searches for a person's face under other ids.
    async fn compare_with_others(&mut self, person: &Person, faces: &mut Vec<Face>) -> Result<(), CliError> {
        let Some(gallery) = &self.guard.gallery else { return Ok(()) };
        let limit = self.guard.curve.enrolled_elsewhere(self.guard.size.saturating_mul(faces.len()));
        let mut found: Option<(usize, Hit)> = None;
        for face in faces.iter() {
            // The template itself, if there is one, may be the best hit.
            let ranked = gallery.top_k(self.app, &face.embedding, 2).await.map_err(crate::service::Error::from)?;
            let other = ranked.hits.into_iter().find(|hit| hit.template != person.id && hit.cosine >= limit);
            let cosine = |found: &Option<(usize, Hit)>| found.as_ref().map_or(-1.0, |(_, hit)| hit.cosine.get());
            if let Some(hit) = other
                && hit.cosine.get() > cosine(&found)
            {
                found = Some((face.photo, hit));
            }
        }
        let Some((at, hit)) = found else { return Ok(()) };
        let reason = elsewhere(&hit.template, hit.cosine);
        let id = person.id.as_str();
        if self.guard.guard == Guard::Refuse {
            for face in faces.drain(..) {
                self.rows.push(Row::left(photo(person, face.photo), id, "enrolled_elsewhere").because(
                    reason.clone(),
                    "keep one of the two; if they are two people, import this one with --guard off",
                ));
            }
        } else {
            let row = Row::warned(photo(person, at), id, "enrolled_elsewhere");
            self.rows.push(row.because(reason, "check whether they are one person, and delete one of the two if so"));
        }
        Ok(())
    }

    /// Adds a template to the gallery that later people are compared with.
    fn publish(&mut self, template: &IndexedTemplate) {
        let Some(gallery) = &self.guard.gallery else { return };
        self.guard.revision = self.guard.revision.next();
        gallery.apply(self.app, Change::new(self.guard.revision, template.clone()));
    }

    /// Writes the finished templates.
    pub(super) async fn flush(&mut self) -> Result<(), CliError> {
        let batch = std::mem::take(&mut self.work.batch);
        if !batch.is_empty() {
            let templates: Vec<IndexedTemplate> = batch.iter().map(|ready| ready.template.clone()).collect();
            let on_conflict = match self.existing {
                Existing::Leave => OnConflict::Refuse,
                Existing::Replace => OnConflict::Replace(ErasureReason::IMPORT),
                Existing::Extend => OnConflict::Extend,
            };
            let refusals = retry::write(self.store, self.app, &templates, on_conflict).await?;
            let people = Arc::clone(&self.people);
            for (ready, refusal) in batch.into_iter().zip(refusals) {
                let Some(person) = people.get(ready.person) else { continue };
                if refusal.is_none() {
                    self.counts.templates += 1;
                    self.counts.samples += ready.template.samples.len();
                }
                for (at, digest) in ready.photos {
                    let path = photo(person, at);
                    match refusal {
                        None => self.state.enrolled(key(self.root, path), &person.id, digest)?,
                        Some(refusal) => self.rows.push(refused(path, person, refusal)),
                    }
                }
            }
        }
        self.state.flush()
    }
}

/// A photo of a person by its number.
fn photo(person: &Person, at: usize) -> &Path {
    person.photos.get(at).map(std::path::PathBuf::as_path).unwrap_or(Path::new(""))
}

/// The row of a photo whose template the database refused.
fn refused(path: &Path, person: &Person, refusal: Refusal) -> Row {
    let left = |code| Row::left(path, person.id.as_str(), code);
    match refusal {
        Refusal::Exists => left("template_exists").because(
            "a template of this id was enrolled during the import",
            "import with --add-samples to add it, or with --replace to replace the template",
        ),
        Refusal::ExternalIdTaken => left("external_id_taken")
            .because("another template has the external id", "change or remove the external id"),
        Refusal::Limit(LimitReached::SamplesPerTemplate(max)) => left("too_many_photos").because(
            format!("the template would have more than {max} samples"),
            "raise limits.samples_per_template, or remove photos of this person",
        ),
        Refusal::Limit(limit @ (LimitReached::Templates(_) | LimitReached::Samples(_))) => {
            left("quota_reached").because(limit.to_string(), "raise the quota with `semblance app limits`")
        }
    }
}

fn elsewhere(template: &TemplateId, cosine: Cosine) -> String {
    format!("the face is enrolled already under templateId {template} (cosine {:.2})", cosine.get())
}
