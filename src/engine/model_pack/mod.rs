//! The model pack: which models there are, what their inputs are, and the limits of their outputs.
//!
//! `models/pack.toml` is read once; an unknown key is an error. A file is used only after its SHA-256 was compared with
//! the pack's, and from the same bytes that were hashed.

mod detector;
pub(super) mod golden;
mod head;
mod provenance;
mod template_check;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub(super) use detector::{DetectorFamily, DetectorInput, DetectorSpec, Doubt, When};
use golden::Golden;
pub(super) use head::{DeepfakeSpec, HeadInput, HeadSpec, Output};
pub use provenance::{RuntimeComponent, RuntimeProvenance};
pub use template_check::TemplateCheckRates;
pub(super) use template_check::TemplateCheckSpec;

use super::LoadError;
use super::collectors::refuse_telemetry;
use super::digest::Sha256Digest;
use crate::domain::{Check, CurveError, FalseMatchCurve, FineLimits, ModelTag};
use crate::image::tensor::{Channels, Layout};

/// The engine's whole configuration. The comments of `models/pack.toml` are the reference.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelPack {
    #[serde(skip)]
    dir: PathBuf,
    #[serde(skip)]
    digest: Option<Sha256Digest>,
    /// The pack's name and version.
    pub name: String,
    #[serde(rename = "model")]
    models: Vec<ModelFile>,
    /// ONNX Runtime, by platform (`linux-x86_64`, `macos-aarch64`, ...).
    pub runtime: BTreeMap<String, LibraryFile>,
    /// License and provenance of ONNX Runtime; packs with a runtime of their own may omit it.
    #[serde(alias = "runtime_papers")]
    pub runtime_provenance: Option<RuntimeProvenance>,
    /// Which faces are analysed.
    pub faces: Faces,
    /// How faces are found.
    pub detector: DetectorSpec,
    /// How embeddings are made.
    pub embedder: EmbedderSpec,
    /// The networks that run on a detected face.
    #[serde(rename = "network")]
    pub heads: Vec<HeadSpec>,
    /// Which faces are judged for signs of forgery.
    pub deepfake: DeepfakeSpec,
    /// Where each measure counts as fine.
    pub fine: FineLimits,
    /// How stored templates are checked, if they are.
    pub template_check: Option<TemplateCheckSpec>,
    #[serde(skip)]
    golden: Golden,
}

/// One model file with its license and provenance.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// The name that the rest of the pack uses.
    pub id: String,
    /// What it is for: `detector`, `embedder`, or what a network computes.
    pub role: String,
    /// The model's own name and version.
    pub title: String,
    /// Path relative to the folder of the pack.
    pub file: String,
    /// The file's digest.
    pub sha256: Sha256Digest,
    /// Where it comes from.
    pub source: String,
    /// Digest of the published file this one was made from.
    pub upstream_sha256: Option<Sha256Digest>,
    /// Changes to the published file, if any.
    pub changes: Option<String>,
    /// SPDX expression of the weights' license.
    pub licence: String,
    /// Copyright holder.
    pub copyright: String,
    /// Figures measured with this file, by name.
    #[serde(default)]
    pub measured: BTreeMap<String, f64>,
}

/// A native library and its digest.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LibraryFile {
    /// Path relative to the folder of the pack.
    pub file: String,
    /// The file's digest.
    pub sha256: Sha256Digest,
}

/// Which faces are analysed.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Faces {
    /// A second face matters when its area is at least this share of the main face's.
    pub second_area: f32,
    /// ... and its detection score at least this.
    pub second_score: f32,
    /// A second face of at least this score counts without a check by the network for human faces; beside a main face
    /// of at least this score, it is decided before the main one is embedded.
    pub sure_score: f32,
    /// ... unless more than this share of the smaller box lies within the larger: then both are the same face.
    pub same_overlap: f32,
    /// A face whose eyes are closer than this, in pixels of the photo, is too small.
    pub min_eye_distance: f32,
    /// A detection with a lower [`Output::Human`] is not a human face; without this limit every detection is.
    pub min_human: Option<f64>,
    /// A face with a lower [`Output::Trusted`] gets no template; without this limit every face does.
    pub min_trusted: Option<f64>,
}

impl Faces {
    /// Sets what counts as a second face: `second_area` or `second_score`.
    ///
    /// # Errors
    /// A message, when there is no such limit or the text is not a share.
    pub fn set(&mut self, name: &str, number: &str) -> Result<(), String> {
        let slot = match name {
            "second_area" => &mut self.second_area,
            "second_score" => &mut self.second_score,
            _ => return Err(format!("there is no limit {name:?}")),
        };
        let share = number.trim().parse::<f32>().ok().filter(|share| (0.0..=1.0).contains(share));
        *slot = share.ok_or_else(|| format!("must be a number from 0 to 1, not {number:?}"))?;
        Ok(())
    }
}

/// How a model's input is laid out.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// Height and width in pixels.
    pub size: u32,
    /// Order of the colour planes.
    pub channels: Channels,
    /// Subtracted from each byte, per plane.
    pub mean: [f32; 3],
    /// Multiplied then, per plane.
    pub scale: [f32; 3],
}

impl InputSpec {
    /// The layout without the size.
    pub fn layout(&self) -> Layout {
        Layout { channels: self.channels, mean: self.mean, scale: self.scale }
    }
}

/// How embeddings are made.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbedderSpec {
    /// Id of the model.
    pub model: String,
    /// The output with the embedding.
    pub output: String,
    /// The output with the feature map that the embedding is made of, for the heads that read it.
    #[serde(alias = "trunk")]
    pub feature_map: String,
    /// The tag that templates store.
    pub tag: String,
    /// Numbers in an embedding.
    pub dimension: usize,
    /// How the input is laid out; the size must be 112.
    pub input: InputSpec,
    /// The cosine at a false match rate of 1e-5, which becomes similarity 0.75.
    pub operating_point: f32,
    /// The false match rate at each cosine: `[rate, cosine]` as measured, highest rate first.
    pub false_matches: MeasuredCurve,
}

/// A [`FalseMatchCurve`] as the pack has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Vec<(f64, f64)>")]
pub struct MeasuredCurve(FalseMatchCurve);

impl TryFrom<Vec<(f64, f64)>> for MeasuredCurve {
    type Error = CurveError;

    fn try_from(points: Vec<(f64, f64)>) -> Result<Self, CurveError> {
        FalseMatchCurve::new(&points).map(Self)
    }
}

impl ModelPack {
    /// Reads `pack.toml` in a folder.
    ///
    /// # Errors
    /// When it cannot be read, is not what the engine understands, or contradicts itself.
    pub fn load(dir: &Path) -> Result<Self, LoadError> {
        let path = dir.join("pack.toml");
        let text = std::fs::read_to_string(&path).map_err(|source| LoadError::Read { path: path.clone(), source })?;
        let mut pack = Self::parse(&text, dir).map_err(|message| LoadError::Pack { path, message })?;
        pack.golden = Golden::load(&dir.join("golden.toml"))?;
        Ok(pack)
    }

    /// The pack's name and the first digits of the SHA-256 of its `pack.toml`, which holds those of all models: packs of
    /// the same name differ.
    pub fn version(&self) -> String {
        let digest = self.digest.map(|digest| digest.to_string()).unwrap_or_default();
        format!("{} {}", self.name, digest.get(..12).unwrap_or_default())
    }

    /// Parses the text of a pack whose files are in `dir`.
    fn parse(text: &str, dir: &Path) -> Result<Self, String> {
        let mut pack: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        pack.dir = dir.to_owned();
        pack.digest = Some(Sha256Digest::hash(text.as_bytes()));
        pack.check()?;
        Ok(pack)
    }

    fn check(&self) -> Result<(), String> {
        let inputs = &self.detector.inputs;
        let steps = self.detector.search.iter().map(|step| &step.input);
        let turn = self.detector.turn.as_ref();
        for name in steps.chain([&self.detector.refine.input]).chain(turn.map(|turn| &turn.input)) {
            if !inputs.contains_key(name) {
                return Err(format!("the detector has no input {name:?}"));
            }
        }
        for id in inputs.values().map(|input| &input.model).chain([&self.embedder.model]) {
            if self.model(id).is_none() {
                return Err(format!("there is no model {id:?}"));
            }
        }
        for head in &self.heads {
            head.check()?;
            if self.model(&head.model).is_none() {
                return Err(format!("there is no model {:?}", head.model));
            }
        }
        for output in self.heads.iter().flat_map(|head| &head.outputs) {
            if self.heads.iter().filter(|head| head.outputs.contains(output)).count() > 1 {
                return Err(format!("two networks have the output {}", output.name()));
            }
        }
        if let Some(check) = &self.template_check {
            check.check(&self.embedder)?;
            if self.model(&check.model).is_none() {
                return Err(format!("there is no model {:?}", check.model));
            }
        }
        if !self.heads.iter().any(|head| head.outputs.contains(&Output::Pose)) {
            return Err("no network has the output pose, which every response needs".to_owned());
        }
        let limits = [
            (Output::Human, self.faces.min_human, "faces.min_human"),
            (Output::Trusted, self.faces.min_trusted, "faces.min_trusted"),
            (
                turn.map_or(Output::Human, |turn| turn.doubt.output),
                turn.map(|turn| turn.doubt.below),
                "detector.turn.doubt",
            ),
        ];
        for (output, limit, name) in limits.into_iter().filter_map(|(output, limit, name)| Some((output, limit?, name)))
        {
            if !self.heads.iter().any(|head| head.computes_from_feature_map(output)) {
                return Err(format!(
                    "{name} needs a network with the output {} that reads the feature map only",
                    output.name()
                ));
            }
            if !(0.0..=1.0).contains(&limit) {
                return Err(format!("{name} must lie between 0 and 1, not {limit}"));
            }
        }
        if let Some(turn) = turn {
            turn.check()?;
        }
        if !(self.deepfake.min_eye_distance >= 0.0) {
            return Err("deepfake.min_eye_distance must not be negative".to_owned());
        }
        if self.detector.search.is_empty() {
            return Err("the detector has no search step".to_owned());
        }
        if inputs.values().any(|input| input.input.size == 0 || input.input.size % 32 != 0) {
            return Err("a detector's input size must be a multiple of 32".to_owned());
        }
        if self.embedder.input.size != crate::image::align::SIDE {
            return Err("the embedder's input size must be 112".to_owned());
        }
        if !(self.embedder.operating_point > 0.0 && self.embedder.operating_point < 1.0) {
            return Err("the operating point must lie between 0 and 1".to_owned());
        }
        if !(self.detector.refine.factor >= 1.0) || self.detector.search.iter().any(|step| !(step.margin >= 0.0)) {
            return Err("the refine factor must be at least 1, a margin at least 0".to_owned());
        }
        Ok(())
    }

    /// The models with their license and provenance.
    pub fn models(&self) -> impl Iterator<Item = &ModelFile> {
        self.models.iter()
    }

    /// The components of ONNX Runtime, as its notices list them; none when the pack has no provenance of it.
    ///
    /// # Errors
    /// When the list that the pack names is missing or damaged.
    pub fn runtime_components(&self) -> Result<Vec<RuntimeComponent>, LoadError> {
        self.runtime_provenance.as_ref().map_or_else(|| Ok(Vec::new()), |provenance| provenance.components(&self.dir))
    }

    /// The tag that templates of this pack store.
    pub fn embedding_model(&self) -> ModelTag {
        ModelTag::new(&self.embedder.tag)
    }

    /// The cosine at a false match rate of 1e-5.
    pub fn operating_point(&self) -> f32 {
        self.embedder.operating_point
    }

    /// The false match rate at each cosine.
    pub fn false_matches(&self) -> &FalseMatchCurve {
        &self.embedder.false_matches.0
    }

    /// Whether the pack has a network for a check.
    pub fn offers(&self, check: Check) -> bool {
        self.heads.iter().any(|head| head.outputs.contains(&Output::Check(check)))
    }

    /// The expected outputs of each model on the built-in input.
    pub(super) fn golden(&self) -> &Golden {
        &self.golden
    }

    fn model(&self, id: &str) -> Option<&ModelFile> {
        self.models.iter().find(|model| model.id == id)
    }

    /// The bytes of a model, hashed.
    ///
    /// # Errors
    /// When the file is missing, unreadable, or not the one the pack names.
    pub(super) fn bytes(&self, id: &str) -> Result<Vec<u8>, LoadError> {
        let model = self.model(id).ok_or_else(|| LoadError::Pack {
            path: self.dir.join("pack.toml"),
            message: format!("there is no model {id:?}"),
        })?;
        verified(self.dir.join(&model.file), model.sha256).map(|(_, bytes)| bytes)
    }

    /// The path of ONNX Runtime for this platform; its bytes were hashed and searched for telemetry clients.
    ///
    /// # Errors
    /// When the pack has none for this platform, or the file is missing, another one, or sends telemetry.
    pub(super) fn runtime(&self) -> Result<PathBuf, LoadError> {
        let platform = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
        let Some(library) = self.runtime.get(&platform) else { return Err(LoadError::Platform(platform)) };
        let (path, bytes) = verified(self.dir.join(&library.file), library.sha256)?;
        refuse_telemetry(&path, &bytes)?;
        Ok(path)
    }
}

fn verified(path: PathBuf, expected: Sha256Digest) -> Result<(PathBuf, Vec<u8>), LoadError> {
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(LoadError::Missing(path)),
        Err(source) => return Err(LoadError::Read { path, source }),
    };
    let found = Sha256Digest::hash(&bytes);
    if found == expected { Ok((path, bytes)) } else { Err(LoadError::Hash { path, expected, found }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACK: &str = include_str!("../../../models/pack.toml");

    fn parsed(pack: &str) -> Result<ModelPack, String> {
        ModelPack::parse(pack, Path::new("models"))
    }

    #[test]
    fn a_limit_needs_its_network_and_lies_between_0_and_1() {
        parsed(PACK).unwrap();
        let doubt = PACK.lines().find(|line| line.starts_with("doubt = ")).unwrap();
        // The network for this reads pixels and runs too late.
        let late = PACK.replace(doubt, "doubt = { output = \"liveness\", below = 0.5 }");
        let error = parsed(&late).unwrap_err();
        assert!(error.contains("detector.turn.doubt") && error.contains("liveness"), "{error}");
        let beyond = PACK.replace(doubt, "doubt = { output = \"crfiqa\", below = 1.5 }");
        assert!(parsed(&beyond).unwrap_err().contains("not 1.5"));
        assert!(parsed(&PACK.replace("looks = 12", "looks = 0")).unwrap_err().contains("looks"));
    }

    #[test]
    fn a_pack_with_the_old_keys_loads() {
        let old = PACK
            .replace("[runtime_provenance]", "[runtime_papers]")
            .replace("feature_map = \"bn1\"", "trunk = \"bn1\"")
            .replace("\"feature_map\" }", "\"trunk\" }")
            .replace("\noutputs = [", "\ngives = [")
            .replace("{ output = ", "{ finding = ");
        for key in ["[runtime_papers]", "trunk = \"bn1\"", "\"trunk\" }", "gives = [", "{ finding = "] {
            assert!(old.lines().any(|line| !line.starts_with('#') && line.contains(key)), "{key}");
        }
        let pack = parsed(&old).unwrap();
        assert!(pack.runtime_provenance.is_some());
        assert_eq!(pack.embedder.feature_map, "bn1");
        assert!(pack.heads.iter().any(|head| head.computes_from_feature_map(Output::Human)));
        assert!(pack.detector.turn.is_some_and(|turn| turn.doubt.output == Output::Human));
    }

    #[test]
    fn a_pack_without_turns_and_gate_loads() {
        let turn = PACK.find("[detector.turn]").unwrap();
        let end = PACK.find("[detector.inputs.wide]").unwrap();
        let upright = [&PACK[..turn], &PACK[end..]].concat();
        let upright: Vec<&str> =
            upright.lines().filter(|line| !line.starts_with("min_human") && !line.starts_with("min_trusted")).collect();
        let pack = parsed(&upright.join("\n")).unwrap();
        assert!(pack.detector.turn.is_none() && pack.faces.min_human.is_none());
    }

    #[test]
    fn what_counts_as_a_second_face_is_a_share() {
        let mut faces = parsed(PACK).unwrap().faces;
        faces.set("second_area", " 0.25 ").unwrap();
        faces.set("second_score", "1").unwrap();
        assert_eq!((faces.second_area, faces.second_score), (0.25, 1.0));
        for text in ["-0.1", "1.1", "NaN", "a tenth"] {
            assert!(faces.set("second_area", text).unwrap_err().contains(text), "{text}");
        }
        assert!(faces.set("same_overlap", "0.5").is_err());
    }
}
