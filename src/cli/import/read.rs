//! Reads and analyses photos, some more at once than the engine has threads, so that no thread waits for the disk or for
//! a slower photo.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;

use super::plan::Person;
use super::report::{Row, path_text};
use super::state::{PhotoDigest, Refusals};
use super::walk::unreadable;
use super::{Existing, remedies, retry};
use crate::cli::{CliError, NO_DEADLINE};
use crate::compute::{Pool, PoolConfig, WorkError};
use crate::domain::{AnalysisRequest, AppId, Embedding, Measure, SampleId, TemplateId};
use crate::engine::{Analyze, AnalyzeError};
use crate::image::Photo;
use crate::store::Store;

/// Photos in progress per engine thread. With fewer, a slow photo or a write leaves threads idle.
const PHOTOS_PER_THREAD: usize = 4;

/// People whose templates are read at once.
const CONCURRENT_LOOKUPS: usize = 8;

/// Pause after a full queue.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// The result of one photo.
#[derive(Debug)]
pub(super) struct Seen {
    /// Its person's number in the plan.
    pub(super) person: usize,
    /// Its own number among that person's photos.
    pub(super) photo: usize,
    pub(super) result: Outcome,
}

#[derive(Debug)]
pub(super) enum Outcome {
    /// It has a face that can be enrolled.
    Face(PhotoDigest, Embedding),
    /// It is already enrolled.
    Enrolled,
    /// It is not enrolled, for a reason outside the photo or from an earlier run.
    Left(Row),
    /// It is not enrolled for a reason in the photo, which the state remembers.
    Refused(PhotoDigest, Row),
    /// The database failed.
    Failed(CliError),
}

/// What the database has of a person.
#[derive(Clone)]
enum Known {
    /// No template, or one that is replaced.
    New,
    /// These samples.
    Samples(Arc<HashSet<SampleId>>),
}

/// Reads and analyses photos.
pub(super) struct Reader {
    pub(super) engine: Arc<dyn Analyze>,
    pub(super) store: Store,
    pub(super) app: AppId,
    pub(super) root: PathBuf,
    pub(super) people: Arc<Vec<Person>>,
    pub(super) existing: Existing,
    pub(super) request: AnalysisRequest,
    pub(super) min_quality: Option<f64>,
    pub(super) refusals: Refusals,
    pub(super) files: Pool<()>,
    pub(super) threads: usize,
}

/// Threads that read files and hash them.
pub(super) fn file_threads(engine_threads: usize) -> Result<Pool<()>, CliError> {
    let threads = engine_threads.div_ceil(4);
    let config = PoolConfig { name: "files", threads, queue: usize::MAX, deadline: NO_DEADLINE };
    Pool::start(config, |_| Ok::<_, CliError>(()))
}

/// A photo's path within the imported folder, which does not depend on where that is mounted.
pub(super) fn key(root: &Path, photo: &Path) -> String {
    path_text(photo.strip_prefix(root).unwrap_or(photo))
}

impl Reader {
    /// Sends the result of each photo, in any order, until all are done or the receiver is closed.
    pub(super) async fn run(self: Arc<Self>, results: mpsc::Sender<Seen>) {
        let window = PHOTOS_PER_THREAD * self.threads.max(1);
        let reader = &self;
        let people = stream::iter(0..self.people.len())
            .map(|person| async move { (person, Arc::new(reader.known(person).await)) })
            .buffered(CONCURRENT_LOOKUPS);
        let photos = people.flat_map(|(person, known)| {
            let count = reader.people.get(person).map_or(0, |person| person.photos.len());
            stream::iter((0..count).map(move |photo| (person, photo, Arc::clone(&known))))
        });
        let seen = photos.map(|(person, photo, known)| async move {
            let result = match &*known {
                Ok(known) => reader.look(person, photo, known).await,
                Err(error) => Outcome::Failed(CliError::message(error.to_string())),
            };
            Seen { person, photo, result }
        });
        let mut seen = std::pin::pin!(seen.buffer_unordered(window));
        while let Some(seen) = seen.next().await {
            if results.send(seen).await.is_err() {
                return;
            }
        }
    }

    async fn known(&self, person: usize) -> Result<Known, CliError> {
        let Some(person) = self.people.get(person) else { return Ok(Known::New) };
        let record = retry::repeat(|| self.store.templates.get(&self.app, &person.id)).await?;
        let Some(record) = record else { return Ok(Known::New) };
        let model = self.engine.embedding_model();
        let all = record.samples.len();
        let samples = record.samples.into_iter().filter(|sample| sample.model == *model).map(|sample| sample.id);
        let samples: HashSet<SampleId> = samples.collect();
        if self.existing != Existing::Replace {
            return Ok(Known::Samples(Arc::new(samples)));
        }
        // What is to replace a template is looked at as a whole, unless it is there as a whole.
        let mut found = HashSet::new();
        for photo in &person.photos {
            match self.read(photo).await {
                // What was refused before is refused again, and changes nothing.
                Ok((_, digest)) if self.refusals.get(photo, key(&self.root, photo), digest).is_some() => {}
                Ok((_, digest)) => drop(found.insert(digest.sample(&self.app, &person.id))),
                Err(_) => return Ok(Known::New),
            }
        }
        let is_unchanged = found == samples && all == samples.len();
        Ok(if is_unchanged { Known::Samples(Arc::new(samples)) } else { Known::New })
    }

    async fn look(&self, person: usize, photo: usize, known: &Known) -> Outcome {
        let Some(Person { id, photos, .. }) = self.people.get(person) else { return Outcome::Enrolled };
        let Some(path) = photos.get(photo) else { return Outcome::Enrolled };
        let (bytes, digest) = match self.read(path).await {
            Ok(read) => read,
            Err(error) => return Outcome::Left(unreadable(path, id.as_str(), &error)),
        };
        if let Known::Samples(samples) = known
            && samples.contains(&digest.sample(&self.app, id))
        {
            return Outcome::Enrolled;
        }
        if let Some(row) = self.refusals.get(path, key(&self.root, path), digest) {
            return Outcome::Left(row);
        }
        if matches!(known, Known::Samples(_)) && self.existing == Existing::Leave {
            return Outcome::Left(Row::left(path, id.as_str(), "template_exists").because(
                "a template of this id exists without this photo",
                "import with --add-samples to add it, or with --replace to replace the template",
            ));
        }
        self.analyze(path, id, digest, Photo::new(bytes)).await
    }

    async fn analyze(&self, path: &Path, id: &TemplateId, digest: PhotoDigest, photo: Photo) -> Outcome {
        let analyzed = loop {
            match self.engine.analyze(photo.clone(), self.request).await {
                Err(AnalyzeError::Busy) => tokio::time::sleep(BUSY_PAUSE).await,
                analyzed => break analyzed,
            }
        };
        let analysis = match analyzed {
            Ok(analysis) => analysis,
            Err(AnalyzeError::Fault(fault)) => {
                let (reason, remedy) = remedies::explain(fault);
                return Outcome::Refused(digest, Row::left(path, id.as_str(), fault.kind()).because(reason, remedy));
            }
            Err(error) => {
                return Outcome::Left(Row::left(path, id.as_str(), "engine_failed").because(
                    error.to_string(),
                    "import again; if it fails again, run `semblance models check` and `semblance analyze`",
                ));
            }
        };
        if let Some(least) = self.min_quality {
            let Some(measured) = analysis.quality[Measure::Crfiqa].map(|quality| quality.score) else {
                return Outcome::Failed(crate::service::Error::QualityNotInstalled.into());
            };
            if !(measured >= least) {
                let reason =
                    format!("the quality (crfiqa) is {measured:.2}, below the application's minimum of {least:.2}");
                let row = Row::left(path, id.as_str(), "low_quality").because(reason, "take a better photo");
                return Outcome::Refused(digest, row);
            }
        }
        match analysis.embedding {
            Some(embedding) => Outcome::Face(digest, embedding),
            None => Outcome::Failed(CliError::message("the engine returned no embedding")),
        }
    }

    /// Reads and hashes a file.
    async fn read(&self, path: &Path) -> std::io::Result<(Vec<u8>, PhotoDigest)> {
        let path = path.to_owned();
        let work = self.files.submit(move |(), _| {
            let mut bytes = Vec::new();
            // A file that grows meanwhile is cut off and does not decode.
            File::open(&path)?.take(super::walk::MAX_FILE_BYTES).read_to_end(&mut bytes)?;
            let digest = PhotoDigest::new(&bytes);
            Ok((bytes, digest))
        });
        work.result().await.unwrap_or_else(|error: WorkError| Err(std::io::Error::other(error)))
    }
}
