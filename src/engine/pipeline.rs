//! One engine: everything one thread needs to analyse photos.

use std::sync::Arc;
use std::time::Duration;

use super::chooser::{Chooser, Chosen, Context};
use super::heads::{FaceInput, Heads, Outputs};
use super::model_pack::golden::Golden;
use super::model_pack::{ModelPack, Output};
use super::runtime::{Model, Runtime};
use super::template_check::TemplateCheck;
use super::{AnalyzeError, EmbeddingSender, InferenceError, LoadError};
use crate::domain::{
    Analysis, AnalysisRequest, Check, Demography, Landmarks, Limit, Measure, PhotoFault, Pose, Quality, Timings,
    Verdict, stopwatch,
};
use crate::image::align::TEMPLATE;
use crate::image::measure::measure;
use crate::image::{DecodeLimits, Photo, Scaler, SimilarityTransform, UprightImage, decode, face_crop};

/// How an engine is set up.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The pack.
    pub pack: Arc<ModelPack>,
    /// What a photo may cost.
    pub limits: DecodeLimits,
}

/// Every model session, owned by one thread. Synchronous.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    scaler: Scaler,
    chooser: Chooser,
    heads: Heads,
    /// Not used for photos; loaded so that the self-check covers every model of the pack.
    template_check: Option<TemplateCheck>,
}

impl Engine {
    /// Checks and loads every model of the pack.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(config: &EngineConfig) -> Result<Self, LoadError> {
        let pack = &config.pack;
        let runtime = Runtime::load(&pack.runtime()?)?;
        Ok(Self {
            config: config.clone(),
            scaler: Scaler::default(),
            chooser: Chooser::load(&runtime, pack)?,
            heads: Heads::load(&runtime, pack)?,
            template_check: TemplateCheck::load_with(&runtime, pack)?,
        })
    }

    /// Runs every model on the built-in input and compares the numbers with the stored ones, so that a build, a library
    /// or a processor that computes something else serves no request. ONNX Runtime plans on the first run, so the first
    /// request is not slower. A blank image then runs every step of the search, so all models allocate at startup.
    ///
    /// # Errors
    /// [`LoadError::Model`] for the first model whose numbers differ, or when the search fails.
    pub fn self_check(&mut self) -> Result<(), LoadError> {
        let pack = Arc::clone(&self.config.pack);
        for model in self.models() {
            let id = model.id().to_owned();
            let outcome = model.golden_output().map_err(|error| error.message);
            let outcome = outcome.and_then(|computed| pack.golden().compare(&id, &computed));
            outcome.map_err(|message| LoadError::Model { model: id, message })?;
        }
        let warmed = self.chooser.warm(&mut self.scaler);
        warmed.map_err(|error| LoadError::Model { model: error.model, message: error.message })
    }

    /// The text of `golden.toml` for the models of this pack, as this machine computes them.
    ///
    /// # Errors
    /// When a model does not run.
    pub fn golden(&mut self) -> Result<String, LoadError> {
        let outputs = self.models().map(|model| {
            let id = model.id().to_owned();
            match model.golden_output() {
                Ok(computed) => Ok((id, computed)),
                Err(error) => Err(LoadError::Model { model: id, message: error.message }),
            }
        });
        Ok(Golden::new(outputs.collect::<Result<_, _>>()?).to_text())
    }

    /// How long each model takes on the built-in input, by its id.
    ///
    /// # Errors
    /// When a model does not run.
    pub fn time_models(&mut self, rounds: usize) -> Result<Vec<(String, Vec<Duration>)>, LoadError> {
        let timed = self.models().map(|model| {
            let failed = |id: String, error: InferenceError| LoadError::Model { model: id, message: error.message };
            let id = model.id().to_owned();
            model.time(rounds).map(|times| (id.clone(), times)).map_err(|error| failed(id, error))
        });
        timed.collect()
    }

    /// Whether the pack has a network for a check.
    pub fn offers(&self, check: Check) -> bool {
        self.config.pack.offers(check)
    }

    fn models(&mut self) -> impl Iterator<Item = &mut Model> {
        let template_check = self.template_check.iter_mut().map(TemplateCheck::model);
        self.chooser.models().chain(self.heads.models()).chain(template_check)
    }

    /// Analyses one photo.
    ///
    /// # Errors
    /// [`AnalyzeError::NotInstalled`] before any work when a check has no model,
    /// [`AnalyzeError::Fault`] when the photo is at fault, [`AnalyzeError::Failed`] when a model is.
    pub fn analyze(&mut self, photo: &Photo, request: AnalysisRequest) -> Result<Analysis, AnalyzeError> {
        self.analyze_with_sender(photo, request, EmbeddingSender::default())
    }

    /// Analyses one photo, and sends its embedding, if it is needed, before the other heads run.
    ///
    /// # Errors
    /// As [`Engine::analyze`].
    pub fn analyze_with_sender(
        &mut self,
        photo: &Photo,
        request: AnalysisRequest,
        sender: EmbeddingSender,
    ) -> Result<Analysis, AnalyzeError> {
        if let Some(check) = request.checks.asked().find(|&check| !self.config.pack.offers(check)) {
            return Err(AnalyzeError::NotInstalled(check));
        }
        let mut timings = Timings::default();
        let start = stopwatch();
        let image = decode(photo, &self.config.limits)?;
        timings.decode = start.elapsed();

        let mut context =
            Context { image: &image, request, scaler: &mut self.scaler, heads: &mut self.heads, timings: &mut timings };
        let mut chosen = self.chooser.choose(&mut context)?;
        // Only the embedding of a human face that can be trusted is searched for.
        if request.embedding {
            sender.send(&chosen.embedding);
        }

        let start = stopwatch();
        let detection = chosen.detection;
        let too_small = detection.landmarks.eye_distance() < self.config.pack.deepfake.min_eye_distance;
        let input = FaceInput {
            image: &image,
            landmarks: &detection.landmarks,
            aligned: &chosen.aligned,
            feature_map: &chosen.feature_map,
        };
        let needed = |output| match output {
            Output::Check(Check::Liveness) => request.checks.liveness,
            Output::Check(Check::Deepfake) => request.checks.deepfake && !too_small,
            Output::Age | Output::Male | Output::Race => request.attributes,
            Output::Pose | Output::Measure(Measure::Crfiqa) => true,
            Output::Measure(_) | Output::Human | Output::Trusted => request.quality,
        };
        let found = &mut chosen.outputs;
        self.heads.run_on_face(&mut self.scaler, &input, needed, found).map_err(AnalyzeError::failed)?;
        let found = &chosen.outputs;
        let quality = self.quality(&image, &chosen, request);
        let pose = pose(&detection.landmarks, found)?;
        let crop = request.crop.then(|| face_crop(&mut self.scaler, &image, &detection.landmarks)).flatten();
        timings.assess = start.elapsed();

        Ok(Analysis {
            photo_size: (image.width(), image.height()),
            face: detection.outline().clamped((image.width(), image.height())),
            landmarks: detection.landmarks.clamped((image.width(), image.height())),
            detection_score: detection.score,
            pose,
            quality,
            demography: if request.attributes { demography(found) } else { Demography::default() },
            embedding: request.embedding.then_some(chosen.embedding),
            crop,
            liveness: request.checks.liveness.then(|| self.verdict(Check::Liveness, found)).flatten(),
            deepfake: request.checks.deepfake.then(|| self.verdict(Check::Deepfake, found)).flatten(),
            timings,
        })
    }

    /// The verdict of a requested check. A face too small to be judged for forgery gets the limit itself as its score,
    /// which passes.
    fn verdict(&self, check: Check, found: &Outputs) -> Option<Verdict> {
        let limit = self.config.pack.fine.check(check);
        let score = found.number(Output::Check(check));
        match check {
            Check::Liveness => Some(limit.judge(score?)),
            Check::Deepfake => {
                let (Limit::AtLeast(neutral) | Limit::Below(neutral) | Limit::Within(neutral, _)) = limit;
                Some(limit.judge(score.unwrap_or(neutral)))
            }
        }
    }

    /// Every requested measure that a head or a formula computes; `crfiqa`, which costs almost nothing, always.
    fn quality(&self, image: &UprightImage, chosen: &Chosen, request: AnalysisRequest) -> Quality {
        // Compression blocks lie in the photo's own axes, however the face is turned.
        let detection = &chosen.detection;
        let computed =
            request.quality.then(|| measure(image, &detection.outline(), &detection.landmarks, &chosen.aligned));
        let verdict = |measure: Measure| {
            let learned = chosen.outputs.number(Output::Measure(measure));
            let value = learned.or_else(|| computed.as_ref()?.get(measure))?;
            Some((measure, self.config.pack.fine.measure(measure).judge(value)))
        };
        let needed = |measure: &Measure| request.quality || *measure == Measure::Crfiqa;
        Measure::ALL.into_iter().filter(needed).filter_map(verdict).collect()
    }
}

fn pose(landmarks: &Landmarks, found: &Outputs) -> Result<Pose, AnalyzeError> {
    let turned =
        SimilarityTransform::between(&landmarks.0, &TEMPLATE).ok_or(PhotoFault::TooSmall)?.angle().to_degrees();
    let Some(&[pitch, yaw, roll]) = found.get(Output::Pose) else {
        return Err(AnalyzeError::Failed("no network computed a pose".into()));
    };
    let [pitch, yaw, roll] = [pitch, yaw, roll].map(f64::from);
    let roll = (roll + turned + 180.0).rem_euclid(360.0) - 180.0;
    // Above -180 and up to 180.
    let roll = if roll > -180.0 { roll } else { 180.0 };
    Ok(Pose { pitch: pitch.clamp(-90.0, 90.0), yaw: yaw.clamp(-90.0, 90.0), roll })
}

/// The data does not distinguish higher ages.
const OLDEST: f64 = 110.0;

/// The names of the classes of [`Output::Race`].
const RACES: [&str; 5] = ["white", "black", "asian", "indian", "other"];

fn demography(found: &Outputs) -> Demography {
    let race = found
        .get(Output::Race)
        .and_then(|chances| chances.iter().zip(RACES).max_by(|a, b| a.0.total_cmp(b.0)).map(|(_, race)| race));
    Demography {
        age: found.number(Output::Age).map(|years| years.round().clamp(0.0, OLDEST) as u32),
        gender: found.number(Output::Male).map(|male| if male >= 0.5 { "male" } else { "female" }),
        race,
    }
}
