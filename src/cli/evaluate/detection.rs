//! Evaluates a check on a folder: liveness on live photos and attacks, deepfake on genuine and forged ones.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::CliError;
use super::super::output::errln;
use super::analyses::{Procedure, analyze_photos};
use super::cache::Cache;
use super::class_folder::{ATTACKS, ClassFolder, FORGERIES, Layout};
use super::run::subject_name;
use crate::domain::{Check, Checks, Limit, Subject};
use crate::engine::{Analyze, ModelPack};
use crate::evaluation::{CheckThreshold, ClassPhoto, Detection, DetectionInput, Draws, LabeledClass, LabeledPhoto};
use crate::settings::Settings;

/// A folder of a check, read and not yet analyzed.
pub(super) struct Plan {
    check: Check,
    layout: Layout,
    dir: PathBuf,
    bona_fide: ClassFolder,
    kinds: Vec<ClassFolder>,
}

/// What all checks of one command share.
pub(super) struct Bench<'a> {
    pub(super) engine: &'a Arc<dyn Analyze>,
    pub(super) pack: &'a ModelPack,
    pub(super) settings: &'a Settings,
    pub(super) subject: Subject,
    pub(super) cache: Option<&'a Path>,
    pub(super) draws: Draws,
}

impl Bench<'_> {
    /// The cache of the photos that are analyzed for this choice of face, if one was requested.
    pub(super) fn open_cache(&self, subject: Subject) -> Result<Option<Cache>, CliError> {
        let Some(dir) = self.cache else { return Ok(None) };
        let cache = Cache::open(dir, self.pack, self.settings, subject)?;
        errln!("warning: {} holds embeddings, not encrypted: delete it when it is not needed", cache.path().display());
        Ok(Some(cache))
    }

    /// How photos are analyzed.
    pub(super) fn procedure(&self, subject: Subject, checks: Checks, estimate_groups: bool) -> Procedure {
        Procedure {
            threads: self.settings.compute.inference_threads,
            subject,
            estimate_groups,
            checks,
            deepfake_limit: self.pack.fine.check(Check::Deepfake),
            min_eye_distance: self.pack.deepfake.min_eye_distance,
        }
    }
}

impl Plan {
    /// Reads the folder of attacks.
    pub(super) fn attacks(dir: &Path) -> Result<Self, CliError> {
        Self::read(Check::Liveness, ATTACKS, dir)
    }

    /// Reads the folder of forgeries.
    pub(super) fn forgeries(dir: &Path) -> Result<Self, CliError> {
        Self::read(Check::Deepfake, FORGERIES, dir)
    }

    fn read(check: Check, layout: Layout, dir: &Path) -> Result<Self, CliError> {
        let (bona_fide, kinds) = layout.read(dir)?;
        Ok(Self { check, layout, dir: dir.to_owned(), bona_fide, kinds })
    }

    /// The threshold in force.
    pub(super) fn threshold(&self, pack: &ModelPack, settings: &Settings) -> Result<CheckThreshold, CliError> {
        let (check, option) = (self.check.name(), self.layout.option);
        if !pack.offers(self.check) {
            return Err(CliError::message(format!("{option}: the pack {} has no {check} model", pack.version())));
        }
        let Limit::AtLeast(score) = pack.fine.check(self.check) else {
            return Err(CliError::message(format!(
                "{option}: the limit of {check} in the pack {} is not of the kind at_least",
                pack.version()
            )));
        };
        let is_default = settings.quality.get(check).is_none_or(String::is_empty);
        Ok(CheckThreshold { score, setting: format!("quality.{check}"), is_default })
    }

    /// Analyzes the photos and computes the rates. Also returns how many analyses were in the cache.
    pub(super) async fn evaluate(self, bench: &Bench<'_>) -> Result<(Detection, usize), CliError> {
        let threshold = self.threshold(bench.pack, bench.settings)?;
        let checks = Checks { liveness: self.check == Check::Liveness, deepfake: self.check == Check::Deepfake };
        let procedure = bench.procedure(bench.subject, checks, false);
        let classes = || std::iter::once(&self.bona_fide).chain(&self.kinds);
        let photos: Vec<(String, PathBuf)> = classes()
            .flat_map(|class| class.photos.iter().map(|photo| (class.name.clone(), photo.path.clone())))
            .collect();
        let mut cache = bench.open_cache(bench.subject)?;
        errln!("{}: {} photos, kinds of attack: {}", self.dir.display(), photos.len(), self.kinds.len());
        let analyses = analyze_photos(bench.engine, procedure, &self.dir, &photos, cache.as_mut()).await?;
        let mut outcomes = analyses.photos.into_iter();
        let bona_fide = labeled(self.bona_fide, &mut outcomes);
        let kinds = self.kinds.into_iter().map(|kind| labeled(kind, &mut outcomes)).collect();
        let input = DetectionInput {
            check: self.check,
            folder: self.dir.display().to_string(),
            faces: subject_name(bench.subject).to_owned(),
            threshold,
            bona_fide,
            kinds,
        };
        errln!("computing: {}", self.check.name());
        Ok((Detection::new(&input, self.layout.bona_fide, bench.draws), analyses.cached))
    }
}

/// The photos of a class with their outcomes, which are in the same order.
fn labeled(class: ClassFolder, outcomes: &mut impl Iterator<Item = LabeledPhoto>) -> LabeledClass {
    let photos =
        class.photos.into_iter().zip(outcomes).map(|(found, photo)| ClassPhoto { folder: found.folder, photo });
    LabeledClass { name: class.name, photos: photos.collect() }
}
