//! An engine that sees what the test wrote: a photo is the signature of a JPEG and a name.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use semblance::domain::{
    Analysis, AnalysisRequest, BoundingBox, Check, DecodeFault, Demography, Embedding, FaceCrop, FalseMatchCurve,
    Landmarks, Limit, Measure, ModelTag, PhotoFault, Point, Pose, Quality, Shortfall, Subject, Timings,
};
use semblance::engine::{Analyze, AnalyzeError, EmbeddingSender};
use semblance::image::Photo;
use tokio::sync::Semaphore;

use super::eventually;

const SIGNATURE: &[u8] = b"\xFF\xD8\xFF";

/// A photo of a person. `ann` and `ann.2` are two photos of one person; some names are faults.
pub fn photo(name: &str) -> Vec<u8> {
    [SIGNATURE, name.as_bytes()].concat()
}

/// The engine.
pub struct ScriptedEngine {
    model: ModelTag,
    curve: FalseMatchCurve,
    pub liveness: AtomicBool,
    pub deepfake: AtomicBool,
    pub ready: AtomicBool,
    /// Photos named `held...` wait for a permit.
    pub gate: Semaphore,
    /// Photos that were begun.
    pub begun: AtomicUsize,
    /// Photos that were finished.
    pub finished: AtomicUsize,
}

impl ScriptedEngine {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            model: ModelTag::new("scripted"),
            curve: FalseMatchCurve::new(&[(1e-3, 0.372), (1e-5, 0.505)]).unwrap(),
            liveness: AtomicBool::new(true),
            deepfake: AtomicBool::new(true),
            ready: AtomicBool::new(true),
            gate: Semaphore::new(0),
            begun: AtomicUsize::new(0),
            finished: AtomicUsize::new(0),
        })
    }

    /// Waits until so many photos were begun.
    pub async fn has_begun(&self, count: usize) {
        eventually("the photos are begun", async || self.begun.load(Ordering::SeqCst) >= count).await;
    }
}

#[async_trait]
impl Analyze for ScriptedEngine {
    async fn analyze_with_sender(
        &self,
        photo: Photo,
        request: AnalysisRequest,
        sender: EmbeddingSender,
    ) -> Result<Analysis, AnalyzeError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        if name(&photo)?.starts_with("held") {
            self.gate.acquire().await.expect("the gate is open").forget();
        }
        let analysis = seen(&photo, request, &self.model)?;
        if let Some(embedding) = &analysis.embedding {
            sender.send(embedding);
        }
        self.finished.fetch_add(1, Ordering::SeqCst);
        Ok(analysis)
    }

    fn offers(&self, check: Check) -> bool {
        match check {
            Check::Liveness => self.liveness.load(Ordering::SeqCst),
            Check::Deepfake => self.deepfake.load(Ordering::SeqCst),
        }
    }

    fn embedding_model(&self) -> &ModelTag {
        &self.model
    }

    fn false_matches(&self) -> &FalseMatchCurve {
        &self.curve
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }
}

/// The name that a photo is of.
fn name(photo: &Photo) -> Result<&str, PhotoFault> {
    let name = photo.bytes().strip_prefix(SIGNATURE).ok_or(PhotoFault::Undecodable(DecodeFault::NotAPhoto))?;
    // Some tests send large photos: the name ends where the padding begins.
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    str::from_utf8(name).map_err(|_| PhotoFault::Undecodable(DecodeFault::NotAPhoto))
}

/// What is seen in a photo.
pub fn seen(photo: &Photo, request: AnalysisRequest, model: &ModelTag) -> Result<Analysis, AnalyzeError> {
    match name(photo)? {
        "broken" => Err(PhotoFault::Undecodable(DecodeFault::NotAPhoto).into()),
        "nobody" => Err(PhotoFault::NoFace.into()),
        "crowd" => Err(PhotoFault::ManyFaces.into()),
        "tiny" => Err(PhotoFault::TooSmall.into()),
        "couple" if request.subject == Subject::Only => Err(PhotoFault::ManyFaces.into()),
        "thing" => Err(PhotoFault::NotHuman(Shortfall::new(0.125, 0.5)).into()),
        "blurred" if request.embedding => Err(PhotoFault::Untrusted(Shortfall::new(0.25, 0.5)).into()),
        "busy" => Err(AnalyzeError::Busy),
        "fails" => Err(AnalyzeError::Failed("the secret cause".into())),
        "panics" => panic!("the secret cause"),
        name => Ok(analysis(name, request, model)),
    }
}

/// The numbers of the documented sample. A photo named `spoof...` fails both checks; one named
/// `plain...` was measured by an engine with few models, and one named `clear...` can be recognized well.
fn analysis(name: &str, request: AnalysisRequest, model: &ModelTag) -> Analysis {
    let low = |score| Limit::Below(0.5).judge(score);
    let high = |limit, score| Limit::AtLeast(limit).judge(score);
    let (live, genuine) =
        if name.starts_with("spoof") { (0.25, 0.5) } else { (0.8860905766487122, 0.9506649971008301) };
    let mut quality: Quality = [
        (Measure::Uniformity, high(0.5, 0.7044515103338633)),
        (Measure::Exposure, high(0.5, 0.5734725113730128)),
        (Measure::Contrast, high(0.5, 0.5869247898479624)),
        (Measure::Flare, low(0.997887909412384)),
        (Measure::Blur, low(0.0012071678647771478)),
        (Measure::Occlusion, low(0.8302246928215027)),
        (Measure::Macroblocks, low(0.0000013804340142087312)),
        (Measure::Emotion, low(0.0040520974434912205)),
        (Measure::RightEyeClosed, low(0.9050158113241196)),
        (Measure::LeftEyeClosed, low(0.0009260773658752441)),
        (Measure::Crfiqa, high(0.57, 0.5428674221038818)),
        (Measure::Distortion, Limit::Below(0.85).judge(0.3051091432571411)),
    ]
    .into_iter()
    .collect();
    if name.starts_with("clear") {
        quality[Measure::Crfiqa] = Some(high(0.57, 0.75));
    }
    let mut demography = Demography { age: Some(62), gender: Some("male"), race: Some("white") };
    if name.starts_with("plain") {
        quality = [(Measure::Contrast, high(0.5, 0.5869247898479624))].into_iter().collect();
        demography = Demography::default();
    }
    let points = [(230.2, 573.6), (457.4, 567.0), (368.5, 740.0), (248.0, 802.49), (443.6, 796.0)];
    Analysis {
        photo_size: (700, 1100),
        face: BoundingBox { x: 24.6, y: 275.4, width: 606.0, height: 760.5 },
        landmarks: Landmarks(points.map(|(x, y)| Point { x, y })),
        detection_score: 0.9,
        pose: Pose { pitch: 17.443319857120514, yaw: 10.05310446023941, roll: 1.412617564201355 },
        quality,
        demography,
        crop: request.crop.then(|| FaceCrop::new(format!("crop of {name}").into_bytes())),
        embedding: request.embedding.then(|| embedding(name, model)),
        liveness: request.checks.liveness.then(|| high(0.75, live)),
        deepfake: request.checks.deepfake.then(|| high(0.9, genuine)),
        timings: Timings { decode: Duration::from_millis(3), ..Timings::default() },
    }
}

/// Another direction for everybody; what follows a dot changes it a little, and what follows a tilde so much that the
/// cosine is about 0.45.
fn embedding(name: &str, model: &ModelTag) -> Embedding {
    let (person, variant, weight) = match (name.split_once('.'), name.split_once('~')) {
        (Some((person, variant)), _) => (person, variant, 0.3),
        (None, Some((person, variant))) => (person, variant, 2.0),
        (None, None) => (name, "", 0.3),
    };
    let (mut person, mut variant) = (Noise::of(person), Noise::of(variant));
    let raw: Vec<f32> = (0..128).map(|_| person.next() + weight * variant.next()).collect();
    Embedding::new(&raw, model.clone()).expect("noise is a direction")
}

/// Numbers that depend on a text and on nothing else.
struct Noise(u64);

impl Noise {
    fn of(text: &str) -> Self {
        Self(text.bytes().fold(0xcbf29ce484222325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100000001b3)))
    }

    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}
