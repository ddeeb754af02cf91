//! A file with the outcomes of analyses, so that a later evaluation of the same photos analyzes nothing again.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::super::CliError;
use super::super::private::private;
use crate::app;
use crate::domain::Subject;
use crate::engine::{ModelPack, Sha256Digest};
use crate::evaluation::{CheckScore, Estimated, FaceRecord, PhotoOutcome};
use crate::settings::Settings;

/// The outcome of a photo, one line of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Line {
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    /// Little-endian f32, in Base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crfiqa: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated: Option<Estimated>,
    #[serde(skip_serializing_if = "Option::is_none")]
    liveness: Option<CheckScore>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deepfake: Option<CheckScore>,
}

/// The outcomes of one pack under one set of settings, by the SHA-256 of the photo.
#[derive(Debug)]
pub(super) struct Cache {
    path: PathBuf,
    file: File,
    outcomes: HashMap<String, PhotoOutcome>,
}

impl Cache {
    /// Opens the file of this pack and these settings in a folder, or creates it. A line that is damaged, as the last one
    /// after an interruption may be, is ignored.
    pub(super) fn open(dir: &Path, pack: &ModelPack, settings: &Settings, subject: Subject) -> Result<Self, CliError> {
        app::make_private_dir(dir).map_err(CliError::file(dir))?;
        let path = dir.join(format!("analyses-{}.jsonl", fingerprint(&pack.version(), settings, subject)));
        let text = match std::fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(CliError::file(&path)(error)),
        };
        let dimension = pack.embedder.dimension;
        let outcomes = text.lines().filter_map(|line| parse(line, dimension)).collect();
        let mut file = private().append(true).create(true).open(&path).map_err(CliError::file(&path))?;
        // The file may be older, or a copy.
        #[cfg(unix)]
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600)).map_err(CliError::file(&path))?;
        if !text.is_empty() && !text.ends_with('\n') {
            file.write_all(b"\n").map_err(CliError::file(&path))?;
        }
        Ok(Self { path, file, outcomes })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The outcomes that the file had when it was opened.
    pub(super) fn outcomes(&self) -> impl Iterator<Item = (&String, &PhotoOutcome)> {
        self.outcomes.iter()
    }

    /// Appends the outcome of a photo.
    pub(super) fn add(&mut self, sha256: &str, outcome: &PhotoOutcome) -> Result<(), CliError> {
        let line =
            serde_json::to_string(&line(sha256, outcome)).map_err(|error| CliError::message(error.to_string()))?;
        self.file.write_all(format!("{line}\n").as_bytes()).map_err(CliError::file(&self.path))
    }
}

/// A short digest of what decides the outcome of a photo.
fn fingerprint(pack: &str, settings: &Settings, subject: Subject) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let faces: Vec<_> = settings.faces.iter().filter(|(_, limit)| !limit.is_empty()).collect();
    let (pixels, formats) = (settings.limits.photo_pixels, settings.photo.formats);
    let all = format!("{version} {pack} {faces:?} {pixels} {formats:?} {subject:?}");
    Sha256Digest::hash(all.as_bytes()).to_string().chars().take(16).collect()
}

fn line(sha256: &str, outcome: &PhotoOutcome) -> Line {
    let mut line = Line { sha256: sha256.to_owned(), ..Line::default() };
    match outcome {
        PhotoOutcome::Fault(kind) => line.fault = Some(kind.clone()),
        PhotoOutcome::Face(face) => {
            let bytes: Vec<u8> = face.embedding.iter().flat_map(|value| value.to_le_bytes()).collect();
            line.embedding = Some(STANDARD.encode(bytes));
            line.crfiqa = face.crfiqa;
            line.estimated.clone_from(&face.estimated);
            (line.liveness, line.deepfake) = (face.liveness, face.deepfake);
        }
    }
    line
}

/// Reads a line; `None` when it is damaged.
fn parse(text: &str, dimension: usize) -> Option<(String, PhotoOutcome)> {
    let line: Line = serde_json::from_str(text).ok()?;
    let outcome = match (line.fault, line.embedding) {
        (Some(kind), None) => PhotoOutcome::Fault(kind),
        (None, Some(embedding)) => {
            let bytes = STANDARD.decode(embedding).ok()?;
            let values = bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
            let embedding: Vec<f32> = values.filter(|value| value.is_finite()).collect();
            if embedding.len() != dimension {
                return None;
            }
            PhotoOutcome::Face(FaceRecord {
                embedding,
                crfiqa: line.crfiqa,
                estimated: line.estimated,
                liveness: line.liveness,
                deepfake: line.deepfake,
            })
        }
        _ => return None,
    };
    Some((line.sha256, outcome))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Overrides;

    fn settings() -> Settings {
        Settings::load(&Overrides::default()).unwrap()
    }

    fn pack() -> ModelPack {
        ModelPack::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models")).unwrap()
    }

    #[test]
    fn outcomes_are_read_back_and_a_damaged_line_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings();
        let pack = pack();
        let open = || Cache::open(dir.path(), &pack, &settings, Subject::Central).unwrap();
        let estimated = Estimated { age: Some(40), gender: Some("female".to_owned()), race: None };
        let face = FaceRecord {
            embedding: vec![-0.125; pack.embedder.dimension],
            crfiqa: Some(0.123_456_789),
            estimated: Some(estimated),
            liveness: Some(CheckScore::Score(0.999_999_523)),
            deepfake: Some(CheckScore::NotJudged),
        };
        let face = PhotoOutcome::Face(face);
        let fault = PhotoOutcome::Fault("no_face".to_owned());
        let mut cache = open();
        cache.add("aa", &face).unwrap();
        std::fs::write(cache.path(), [&std::fs::read(cache.path()).unwrap()[..], b"{\"sha256\":\"bb\",\"emb"].concat())
            .unwrap();
        open().add("cc", &fault).unwrap();
        open().add("dd", &PhotoOutcome::Face(FaceRecord::default())).unwrap();
        let read = open().outcomes;
        assert_eq!(read, HashMap::from([("aa".to_owned(), face), ("cc".to_owned(), fault)]));
    }

    #[test]
    fn another_pack_or_subject_has_a_file_of_its_own() {
        let settings = settings();
        let one = fingerprint("pack 1", &settings, Subject::Central);
        assert_ne!(one, fingerprint("pack 2", &settings, Subject::Central));
        assert_ne!(one, fingerprint("pack 1", &settings, Subject::Only));
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read_the_file() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let open = || Cache::open(dir.path(), &pack(), &settings(), Subject::Central).unwrap();
        std::fs::set_permissions(open().path(), std::fs::Permissions::from_mode(0o644)).unwrap();
        let cache = open();
        assert_eq!(std::fs::metadata(cache.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
