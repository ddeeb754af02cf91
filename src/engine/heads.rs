//! The networks of the pack that run on a face after detection and embedding.

use super::model_pack::{HeadInput, HeadSpec, ModelPack, Output};
use super::runtime::{Model, Runtime};
use super::{InferenceError, LoadError};
use crate::domain::Landmarks;
use crate::image::tensor::{Channels, Layout, planar};
use crate::image::{AlignedFace, Frame, Scaler, UprightImage, crop};

/// Pixels go in unscaled: the networks scale them.
const LAYOUT: Layout = Layout { channels: Channels::Rgb, mean: [0.0; 3], scale: [1.0; 3] };

/// What a head can read.
#[derive(Debug)]
pub(super) struct FaceInput<'a> {
    /// The photo.
    pub(super) image: &'a UprightImage,
    /// Where the face is on it.
    pub(super) landmarks: &'a Landmarks,
    /// The face in the template's frame.
    pub(super) aligned: &'a AlignedFace,
    /// The feature map that its embedding was made of.
    pub(super) feature_map: &'a [f32],
}

/// The outputs of the heads that ran.
#[derive(Debug, Clone, Default)]
pub(super) struct Outputs(Vec<(Output, Vec<f32>)>);

impl Outputs {
    /// The numbers of an output; `None` when no head that ran has it.
    pub(super) fn get(&self, output: Output) -> Option<&[f32]> {
        self.0.iter().find(|(name, _)| *name == output).map(|(_, numbers)| numbers.as_slice())
    }

    /// The only number of an output.
    pub(super) fn number(&self, output: Output) -> Option<f64> {
        self.get(output)?.first().map(|&number| f64::from(number))
    }
}

/// Every head, each run at most once for a face.
#[derive(Debug)]
pub(super) struct Heads(Vec<Head>);

impl Heads {
    /// Loads every head of the pack.
    ///
    /// # Errors
    /// When one does not load, or has other inputs or outputs than the pack says.
    pub(super) fn load(runtime: &Runtime, pack: &ModelPack) -> Result<Self, LoadError> {
        pack.heads.iter().map(|spec| Head::load(runtime, pack, spec)).collect::<Result<_, _>>().map(Self)
    }

    /// Runs each head that reads the feature map only and has a `needed` output. This takes well under a millisecond,
    /// so it comes before every other decision about a face.
    ///
    /// # Errors
    /// When a run fails, or an output is not what it should be.
    pub(super) fn run_on_feature_map(
        &mut self,
        feature_map: &[f32],
        needed: impl Fn(Output) -> bool,
    ) -> Result<Outputs, InferenceError> {
        let mut found = Outputs::default();
        for head in self.0.iter_mut().filter(|head| head.needs_feature_map_only() && head.is_needed(&needed)) {
            for planes in &mut head.planes {
                planes.clear();
                planes.extend_from_slice(feature_map);
            }
            head.run_filled(&mut found)?;
        }
        Ok(found)
    }

    /// Runs each of the other heads that has a `needed` output, and adds its outputs.
    ///
    /// # Errors
    /// When a run fails, or an output is not what it should be.
    pub(super) fn run_on_face(
        &mut self,
        scaler: &mut Scaler,
        face: &FaceInput<'_>,
        needed: impl Fn(Output) -> bool,
        found: &mut Outputs,
    ) -> Result<(), InferenceError> {
        for head in self.0.iter_mut().filter(|head| !head.needs_feature_map_only() && head.is_needed(&needed)) {
            head.run(scaler, face, found)?;
        }
        Ok(())
    }

    /// The models, for their self-check.
    pub(super) fn models(&mut self) -> impl Iterator<Item = &mut Model> {
        self.0.iter_mut().map(|head| &mut head.model)
    }
}

#[derive(Debug)]
struct Head {
    model: Model,
    /// In the order of the model's inputs.
    inputs: Vec<HeadInput>,
    outputs: Vec<Output>,
    planes: Vec<Vec<f32>>,
}

impl Head {
    fn load(runtime: &Runtime, pack: &ModelPack, spec: &HeadSpec) -> Result<Self, LoadError> {
        let wrong = |message: String| LoadError::Model { model: spec.model.clone(), message };
        let model = runtime.model(&spec.model, &pack.bytes(&spec.model)?)?;
        if model.inputs().count() != spec.inputs.len() {
            return Err(wrong(format!("the pack names {} inputs", spec.inputs.len())));
        }
        let inputs = model.inputs().map(|(name, shape)| {
            let input = *spec.inputs.get(name).ok_or_else(|| wrong(format!("the pack has no input {name}")))?;
            if let HeadInput::Crop(frame) = input {
                let side = frame.side as usize;
                if *shape != [1, 3, side, side] {
                    return Err(wrong(format!("its input {name} is not of {side} x {side} pixels")));
                }
            }
            Ok(input)
        });
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        if let Some(missing) = spec.outputs.iter().find(|output| !model.has_output(output.name())) {
            return Err(wrong(format!("it has no output {}", missing.name())));
        }
        let planes = vec![Vec::new(); inputs.len()];
        Ok(Self { model, inputs, outputs: spec.outputs.clone(), planes })
    }

    fn needs_feature_map_only(&self) -> bool {
        self.inputs.iter().all(|input| *input == HeadInput::FeatureMap)
    }

    fn is_needed(&self, needed: impl Fn(Output) -> bool) -> bool {
        self.outputs.iter().any(|&output| needed(output))
    }

    fn run(&mut self, scaler: &mut Scaler, face: &FaceInput<'_>, found: &mut Outputs) -> Result<(), InferenceError> {
        for (input, planes) in self.inputs.iter().zip(&mut self.planes) {
            match input {
                HeadInput::Crop(frame) if *frame == Frame::TEMPLATE => planar(face.aligned.rgb(), &LAYOUT, planes),
                HeadInput::Crop(frame) => {
                    let rgb = crop(scaler, face.image, face.landmarks, frame)
                        .ok_or_else(|| self.model.wrong("the landmarks admit no crop"))?;
                    planar(&rgb, &LAYOUT, planes);
                }
                HeadInput::FeatureMap => {
                    planes.clear();
                    planes.extend_from_slice(face.feature_map);
                }
            }
        }
        self.run_filled(found)
    }

    /// Runs the model on the filled planes.
    fn run_filled(&mut self, found: &mut Outputs) -> Result<(), InferenceError> {
        let inputs: Vec<&[f32]> = self.planes.iter().map(Vec::as_slice).collect();
        let outputs = &self.outputs;
        let before = found.0.len();
        self.model.run(&inputs, |name, numbers| {
            if let Some(&output) = outputs.iter().find(|output| output.name() == name) {
                found.0.push((output, numbers.to_vec()));
            }
        })?;
        let whole = |(output, numbers): &(Output, Vec<f32>)| {
            numbers.len() == output.len() && numbers.iter().all(|number| number.is_finite())
        };
        match found.0.iter().skip(before).find(|one| !whole(one)) {
            Some((output, _)) => {
                Err(self.model.wrong(format!("{} has the wrong size or is not finite", output.name())))
            }
            None => Ok(()),
        }
    }
}
