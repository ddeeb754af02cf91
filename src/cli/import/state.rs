//! The results of earlier runs: a file with a line of JSON for each photo, so that the next run continues where this one
//! ends.
//!
//! Lines are only appended. A process that is killed loses those of its last batch, whose photos are then analysed again.
//! The database knows which photos are enrolled (the id of a sample is derived from its digest); the file avoids analysing
//! refused photos again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::report::{Outcome, Row, path_text};
use crate::cli::CliError;
use crate::cli::private::private;
use crate::domain::{AppId, SampleId, TemplateId};

/// SHA-256 of a photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PhotoDigest([u8; 32]);

impl PhotoDigest {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The id of this photo's sample in a template: always the same, so that an enrolled photo is recognized. It reveals
    /// nothing about the photo to those who do not have it.
    pub(super) fn sample(self, app: &AppId, template: &TemplateId) -> SampleId {
        let mut hasher = Sha256::new();
        for part in
            [b"semblance import sample".as_slice(), app.as_str().as_bytes(), template.as_str().as_bytes(), &self.0]
        {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        let digest: [u8; 32] = hasher.finalize().into();
        let mut id = [0; 16];
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        SampleId(uuid::Builder::from_custom_bytes(id).into_uuid())
    }

    fn text(self) -> String {
        hex::encode(self.0)
    }
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    path: String,
    sha256: String,
    /// The options and models that the outcome depends on.
    under: String,
    person: String,
    /// Why it was refused; absent when it is enrolled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<Refusal>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Refusal {
    code: String,
    reason: String,
    remedy: String,
}

/// The open file.
#[derive(Debug)]
pub(super) struct State {
    file: BufWriter<File>,
    path: PathBuf,
    under: String,
}

/// Photos that earlier runs refused, by path and digest.
#[derive(Debug, Default)]
pub(super) struct Refusals(HashMap<(String, String), (String, Refusal)>);

impl Refusals {
    /// The row of a photo that was refused before and has not changed.
    pub(super) fn get(&self, path: &Path, key: String, digest: PhotoDigest) -> Option<Row> {
        let (person, refusal) = self.0.get(&(key, digest.text()))?;
        Some(Row {
            outcome: Outcome::Left,
            path: path_text(path),
            person: person.clone(),
            code: Cow::Owned(refusal.code.clone()),
            reason: refusal.reason.clone(),
            remedy: refusal.remedy.clone(),
        })
    }
}

impl State {
    /// The default path of the state of a folder.
    pub(super) fn default_path(data: &Path, folder: &Path, app: &AppId) -> PathBuf {
        let mut hasher = Sha256::new();
        hasher.update(app.as_str());
        hasher.update([0]);
        hasher.update(folder.as_os_str().as_encoded_bytes());
        let digest: [u8; 32] = hasher.finalize().into();
        data.join("imports").join(hex::encode(&digest[..8])).with_extension("jsonl")
    }

    /// Opens or creates the file. Refusals count only `under` the same options and models.
    pub(super) fn open(path: &Path, under: &str) -> Result<(Self, Refusals), CliError> {
        let failed = || CliError::file(path);
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed()(error)),
        };
        // A process that was killed may have left half a line at the end.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let mut last: HashMap<String, Line> = HashMap::new();
        for (number, line) in text[..whole].lines().enumerate() {
            let line: Line = serde_json::from_str(line).map_err(|error| {
                CliError::message(format!(
                    "{}, line {}: not a line of an import's state ({error}); name another file with --state, or remove it",
                    path.display(),
                    number + 1
                ))
            })?;
            last.insert(line.path.clone(), line);
        }
        let file = private().create(true).append(true).open(path).map_err(failed())?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(CliError::message(format!("{}: another import of this folder is running", path.display())));
            }
            Err(TryLockError::Error(error)) => return Err(failed()(error)),
        }
        if whole < text.len() {
            file.set_len(whole as u64).map_err(failed())?;
        }
        let refused = last
            .into_values()
            .filter(|line| line.under == under)
            .filter_map(|line| Some(((line.path, line.sha256), (line.person, line.refused?))));
        let refusals = Refusals(refused.collect());
        Ok((Self { file: BufWriter::new(file), path: path.to_owned(), under: under.to_owned() }, refusals))
    }

    /// Adds an enrolled photo.
    pub(super) fn enrolled(&mut self, path: String, person: &TemplateId, digest: PhotoDigest) -> Result<(), CliError> {
        let person = person.as_str().to_owned();
        self.write(&Line { path, sha256: digest.text(), under: self.under.clone(), person, refused: None })
    }

    /// Adds a photo that was refused for a reason in the photo.
    pub(super) fn refuse(&mut self, key: String, row: &Row, digest: PhotoDigest) -> Result<(), CliError> {
        let refusal = Refusal { code: row.code.to_string(), reason: row.reason.clone(), remedy: row.remedy.clone() };
        self.write(&Line {
            path: key,
            sha256: digest.text(),
            under: self.under.clone(),
            person: row.person.clone(),
            refused: Some(refusal),
        })
    }

    fn write(&mut self, line: &Line) -> Result<(), CliError> {
        let failed = || CliError::file(&self.path);
        let text = serde_json::to_string(line).map_err(|error| failed()(error.into()))?;
        writeln!(self.file, "{text}").map_err(failed())
    }

    /// Writes all buffered lines.
    pub(super) fn flush(&mut self) -> Result<(), CliError> {
        self.file.flush().map_err(CliError::file(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(path: &str) -> Row {
        Row::left(Path::new(path), "ann", "no_face").because("no face", "another photo")
    }

    fn refused(refusals: &Refusals, path: &str, digest: PhotoDigest) -> Option<Row> {
        refusals.get(Path::new(path), path.to_owned(), digest)
    }

    #[test]
    fn a_refusal_counts_for_the_same_photo_under_the_same_options() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let digest = PhotoDigest::new(b"a");
        let other = PhotoDigest::new(b"b");
        let (mut state, _) = State::open(&path, "v1").unwrap();
        state.refuse("x.jpg".to_owned(), &row("x.jpg"), digest).unwrap();
        state.enrolled("y.jpg".to_owned(), &"bob".parse().unwrap(), other).unwrap();
        drop(state);
        let (state, refusals) = State::open(&path, "v1").unwrap();
        assert_eq!(refused(&refusals, "x.jpg", digest), Some(row("x.jpg")));
        assert_eq!(refused(&refusals, "x.jpg", other), None);
        assert_eq!(refused(&refusals, "y.jpg", other), None);
        assert!(matches!(State::open(&path, "v1"), Err(CliError::Message(text)) if text.contains("is running")));
        drop(state);
        let (_, refusals) = State::open(&path, "v2").unwrap();
        assert_eq!(refused(&refusals, "x.jpg", digest), None);
    }

    #[test]
    fn half_a_line_at_the_end_is_cut_off_and_damage_elsewhere_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let digest = PhotoDigest::new(b"a");
        State::open(&path, "v1").unwrap().0.refuse("x.jpg".to_owned(), &row("x.jpg"), digest).unwrap();
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"path\":\"y");
        std::fs::write(&path, &text).unwrap();
        let (mut state, _) = State::open(&path, "v1").unwrap();
        state.refuse("z.jpg".to_owned(), &row("z.jpg"), digest).unwrap();
        drop(state);
        let (_, refusals) = State::open(&path, "v1").unwrap();
        assert!(refused(&refusals, "x.jpg", digest).is_some() && refused(&refusals, "z.jpg", digest).is_some());
        std::fs::write(&path, b"hello\n").unwrap();
        assert!(matches!(State::open(&path, "v1"), Err(CliError::Message(text)) if text.contains("line 1")));
    }

    #[test]
    fn a_photo_has_one_sample_id_in_each_template() {
        let digest = PhotoDigest::new(b"a");
        let app = "app".parse().unwrap();
        let ann = "ann".parse().unwrap();
        let bob = "bob".parse().unwrap();
        assert_eq!(digest.sample(&app, &ann), digest.sample(&app, &ann));
        assert_ne!(digest.sample(&app, &ann), digest.sample(&app, &bob));
        assert_ne!(digest.sample(&app, &ann), PhotoDigest::new(b"b").sample(&app, &ann));
    }
}
