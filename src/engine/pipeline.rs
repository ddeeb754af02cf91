//! One engine: everything one thread needs to analyse photos.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Instant;

use image::{ImageFormat, RgbImage};

use super::detection::Detection;
use super::embedder::Embedder;
use super::finder::Finder;
use super::manifest::Manifest;
use super::pose::pose;
use super::runtime::Runtime;
use super::{AnalyzeError, LoadError};
use crate::domain::{Analysis, Demography, Landmarks, Need, PhotoFault, Quality, Subject, Threshold, Timings};
use crate::image::measure::measure;
use crate::image::{AlignedFace, DecodeLimits, Photo, Scaler, UprightImage, align, decode};

/// How an engine is set up.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The pack.
    pub manifest: Arc<Manifest>,
    /// What a photo may cost.
    pub limits: DecodeLimits,
}

/// Every model session, owned by one thread. Synchronous.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    scaler: Scaler,
    finder: Finder,
    embedder: Embedder,
}

impl Engine {
    /// Checks and loads every model of the pack.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(config: &EngineConfig) -> Result<Self, LoadError> {
        let manifest = &config.manifest;
        let runtime = Runtime::load(&manifest.runtime()?)?;
        Ok(Self {
            config: config.clone(),
            scaler: Scaler::default(),
            finder: Finder::load(&runtime, manifest)?,
            embedder: Embedder::load(&runtime, manifest)?,
        })
    }

    /// Runs every model once, on a picture without anybody, so that the first caller does not pay for
    /// what ONNX Runtime plans on a first run.
    ///
    /// # Errors
    /// When anything but "no face" comes out.
    pub fn warm_up(&mut self) -> Result<(), LoadError> {
        let failed = |error: &dyn std::fmt::Display| LoadError::WarmUp(error.to_string());
        let mut bytes = Cursor::new(Vec::new());
        let gradient = RgbImage::from_fn(1024, 768, |x, y| image::Rgb([(x / 4) as u8, (y / 3) as u8, 128]));
        gradient.write_to(&mut bytes, ImageFormat::Png).map_err(|e| failed(&e))?;
        let photo = Photo::new(bytes.into_inner());
        let need = Need { embedding: true, checks: Default::default(), attributes: true, subject: Subject::Only };
        match self.analyze(&photo, need) {
            Ok(_) | Err(AnalyzeError::Fault(PhotoFault::NoFace)) => {}
            Err(error) => return Err(failed(&error)),
        }
        let image = decode(&photo, &self.config.limits).map_err(|e| failed(&e))?;
        let upright = Landmarks(crate::image::align::TEMPLATE);
        let face = align(&mut self.scaler, &image, &upright).ok_or_else(|| failed(&"the template does not align"))?;
        self.embedder.embed(&face).map_err(|e| failed(&e))?;
        Ok(())
    }

    /// Analyses one photo.
    ///
    /// # Errors
    /// [`AnalyzeError::NotInstalled`] before any work when a check has no model,
    /// [`AnalyzeError::Fault`] when the photo is at fault, [`AnalyzeError::Failed`] when a model is.
    pub fn analyze(&mut self, photo: &Photo, need: Need) -> Result<Analysis, AnalyzeError> {
        if let Some(check) = need.checks.asked().next() {
            return Err(AnalyzeError::NotInstalled(check));
        }
        let mut timings = Timings::default();
        let start = Instant::now();
        let image = decode(photo, &self.config.limits)?;
        timings.decode = start.elapsed();

        let start = Instant::now();
        let seen = self.finder.find(&mut self.scaler, &image, need.subject)?;
        timings.detect = start.elapsed();

        let start = Instant::now();
        let aligned = self.align(&image, &seen)?;
        let embedding =
            need.embedding.then(|| self.embedder.embed(&aligned)).transpose().map_err(AnalyzeError::failed)?;
        timings.embed = start.elapsed();

        let start = Instant::now();
        let quality = self.quality(&image, &seen, &aligned);
        let pose = pose(&seen.landmarks).ok_or(PhotoFault::TooSmall)?;
        timings.assess = start.elapsed();

        Ok(Analysis {
            photo_size: (image.width(), image.height()),
            face: seen.face,
            landmarks: seen.landmarks,
            detection_score: seen.score,
            pose,
            quality,
            demography: Demography::default(),
            embedding,
            liveness: None,
            deepfake: None,
            timings,
        })
    }

    /// The face in its canonical place, or [`PhotoFault::TooSmall`].
    fn align(&mut self, image: &UprightImage, seen: &Detection) -> Result<AlignedFace, PhotoFault> {
        if !(seen.landmarks.eye_distance() >= self.config.manifest.faces.min_eye_distance) {
            return Err(PhotoFault::TooSmall);
        }
        align(&mut self.scaler, image, &seen.landmarks).ok_or(PhotoFault::TooSmall)
    }

    fn quality(&self, image: &UprightImage, seen: &Detection, aligned: &AlignedFace) -> Quality {
        let found = measure(image, &seen.face, &seen.landmarks, aligned);
        let limits = &self.config.manifest.measures;
        Quality {
            uniformity: found.uniformity.map(|value| Threshold::from(limits.uniformity).judge(value)),
            exposure: Some(Threshold::from(limits.exposure).judge(found.exposure)),
            contrast: Some(Threshold::from(limits.contrast).judge(found.contrast)),
            blur: Some(Threshold::from(limits.blur).judge(found.blur)),
            macroblocks: Some(Threshold::from(limits.macroblocks).judge(found.macroblocks)),
            ..Quality::default()
        }
    }
}
