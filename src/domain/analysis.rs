//! What is asked of a photo, and what was found.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;
use std::time::Duration;

use super::{AppId, BoundingBox, Demography, Embedding, FaceCrop, Landmarks, Pose, Quality, Verdict};

/// A check with a model of its own, made only on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Check {
    /// Is the photo of a live person (presentation attack detection)?
    Liveness,
    /// Is the photo genuine (not synthesised or swapped)?
    Deepfake,
}

impl Check {
    /// Every check.
    pub const ALL: [Self; 2] = [Self::Liveness, Self::Deepfake];

    /// Its name in replies, the settings and the pack.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Liveness => "liveness",
            Self::Deepfake => "deepfake",
        }
    }

    /// The check of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|check| check.name() == name)
    }
}

/// The checks that a caller requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checks {
    /// `check_liveness`.
    pub liveness: bool,
    /// `check_deepfake`.
    pub deepfake: bool,
}

impl Checks {
    /// The requested checks, one by one.
    pub fn asked(self) -> impl Iterator<Item = Check> {
        [(self.liveness, Check::Liveness), (self.deepfake, Check::Deepfake)]
            .into_iter()
            .filter_map(|(asked, check)| asked.then_some(check))
    }
}

/// Which face of a photo is meant. Its text form is that of the query parameter and the flag `faces`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Subject {
    /// The only one that matters; a second one is a fault. Never choose a face silently.
    #[default]
    Only,
    /// The largest one: an ID card has a small second portrait.
    Largest,
    /// The one nearest to the middle: research sets label their photos by it.
    Central,
}

impl FromStr for Subject {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "only" => Ok(Self::Only),
            "largest" => Ok(Self::Largest),
            "central" => Ok(Self::Central),
            _ => Err("must be only, largest or central"),
        }
    }
}

/// What a client asks of a photo: whose face is meant, and which checks to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PhotoOptions {
    /// Whose face.
    pub subject: Subject,
    /// The checks to make.
    pub checks: Checks,
}

/// The key by which queued work of different applications is served in turn. The default key is for work of no
/// application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TenantKey(u64);

impl TenantKey {
    /// The key of an application.
    pub fn new(app: &AppId) -> Self {
        let mut hasher = DefaultHasher::new();
        app.hash(&mut hasher);
        Self(hasher.finish())
    }

    /// The key as a number, a hash: two applications with the same number share one place in the queue.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// What a use case needs from the analysis of a photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnalysisRequest {
    /// Compute an embedding.
    pub embedding: bool,
    /// Run these checks.
    pub checks: Checks,
    /// Measure the quality. Without it the pose and `crfiqa`, which cost next to nothing, are still there; the rest of
    /// the quality is not.
    pub quality: bool,
    /// Estimate age, gender and race, where a model for it is installed.
    pub attributes: bool,
    /// Cut the face out of the photo.
    pub crop: bool,
    /// Whose face.
    pub subject: Subject,
    /// The application that it is done for.
    pub tenant: TenantKey,
}

/// How long each stage of one analysis took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timings {
    /// Waiting in the queue.
    pub queue: Duration,
    /// Bytes to upright pixels.
    pub decode: Duration,
    /// Finding the face and its landmarks.
    pub detect: Duration,
    /// Alignment and embedding.
    pub embed: Duration,
    /// Quality, pose, attributes and checks.
    pub assess: Duration,
}

/// What was found on a photo with exactly one face that matters.
///
/// `None` in an optional field means not requested or not installed, never failed.
#[derive(Debug, Clone)]
pub struct Analysis {
    /// Width and height of the upright photo in pixels.
    pub photo_size: (u32, u32),
    /// The face box.
    pub face: BoundingBox,
    /// The five landmarks.
    pub landmarks: Landmarks,
    /// The detector's confidence, 0 to 1.
    pub detection_score: f32,
    /// Head pose.
    pub pose: Pose,
    /// The quality measures.
    pub quality: Quality,
    /// Age, gender, race.
    pub demography: Demography,
    /// The embedding, if requested.
    pub embedding: Option<Embedding>,
    /// The part of the photo around the face, if requested.
    pub crop: Option<FaceCrop>,
    /// The liveness verdict (high is live), if requested.
    pub liveness: Option<Verdict>,
    /// The deepfake verdict (high is genuine), if requested.
    pub deepfake: Option<Verdict>,
    /// How long it took.
    pub timings: Timings,
}
