//! The networks of the pack: everything that is learnt about a face beside its embedding.

use super::manifest::{Finding, Manifest, NetworkInput, NetworkSpec};
use super::runtime::{Model, Runtime};
use super::{InferenceError, LoadError};
use crate::domain::Landmarks;
use crate::image::tensor::{Channels, Layout, planar};
use crate::image::{AlignedFace, Frame, Scaler, UprightImage, crop};

/// Bytes go in as they are: the networks scale by themselves.
const LAYOUT: Layout = Layout { channels: Channels::Rgb, mean: [0.0; 3], scale: [1.0; 3] };

/// What a network may look at.
#[derive(Debug)]
pub(super) struct View<'a> {
    /// The photo.
    pub(super) image: &'a UprightImage,
    /// Where the face is on it.
    pub(super) landmarks: &'a Landmarks,
    /// The face in the template's frame.
    pub(super) aligned: &'a AlignedFace,
    /// The map its embedding was made of.
    pub(super) trunk: &'a [f32],
}

/// What the networks found.
#[derive(Debug, Clone, Default)]
pub(super) struct Findings(Vec<(Finding, Vec<f32>)>);

impl Findings {
    /// The numbers of a finding; `None` when no network that ran gives it.
    pub(super) fn get(&self, finding: Finding) -> Option<&[f32]> {
        self.0.iter().find(|(of, _)| *of == finding).map(|(_, numbers)| numbers.as_slice())
    }

    /// The only number of a finding.
    pub(super) fn number(&self, finding: Finding) -> Option<f64> {
        self.get(finding)?.first().map(|&number| f64::from(number))
    }
}

/// Every network, each run at most once for a face.
#[derive(Debug)]
pub(super) struct Networks(Vec<Network>);

impl Networks {
    /// Loads every network of the pack.
    ///
    /// # Errors
    /// When one does not load, or has other inputs or outputs than the pack says.
    pub(super) fn load(runtime: &Runtime, manifest: &Manifest) -> Result<Self, LoadError> {
        manifest.networks.iter().map(|spec| Network::load(runtime, manifest, spec)).collect::<Result<_, _>>().map(Self)
    }

    /// Runs each network that needs nothing but the map of the embedding and gives something `wanted`. This takes
    /// well under a millisecond, so it is done before anything else is decided about a face.
    ///
    /// # Errors
    /// When a run fails, or an output is not what it should be.
    pub(super) fn look_at_trunk(
        &mut self,
        trunk: &[f32],
        wanted: impl Fn(Finding) -> bool,
    ) -> Result<Findings, InferenceError> {
        let mut found = Findings::default();
        for network in self.0.iter_mut().filter(|network| network.wants_trunk_only() && network.is_wanted(&wanted)) {
            for planes in &mut network.planes {
                planes.clear();
                planes.extend_from_slice(trunk);
            }
            network.run(&mut found)?;
        }
        Ok(found)
    }

    /// Runs each of the other networks that gives something `wanted`, and adds what it finds.
    ///
    /// # Errors
    /// When a run fails, or an output is not what it should be.
    pub(super) fn look_at_face(
        &mut self,
        scaler: &mut Scaler,
        view: &View<'_>,
        wanted: impl Fn(Finding) -> bool,
        found: &mut Findings,
    ) -> Result<(), InferenceError> {
        for network in self.0.iter_mut().filter(|network| !network.wants_trunk_only() && network.is_wanted(&wanted)) {
            network.look(scaler, view, found)?;
        }
        Ok(())
    }

    /// The models, for their self-check.
    pub(super) fn models(&mut self) -> impl Iterator<Item = &mut Model> {
        self.0.iter_mut().map(|network| &mut network.model)
    }
}

#[derive(Debug)]
struct Network {
    model: Model,
    /// In the order of the model's inputs.
    inputs: Vec<NetworkInput>,
    gives: Vec<Finding>,
    planes: Vec<Vec<f32>>,
}

impl Network {
    fn load(runtime: &Runtime, manifest: &Manifest, spec: &NetworkSpec) -> Result<Self, LoadError> {
        let wrong = |message: String| LoadError::Model { model: spec.model.clone(), message };
        let model = runtime.model(&spec.model, &manifest.bytes(&spec.model)?)?;
        if model.inputs().count() != spec.inputs.len() {
            return Err(wrong(format!("the pack names {} inputs", spec.inputs.len())));
        }
        let inputs = model.inputs().map(|(name, shape)| {
            let input = *spec.inputs.get(name).ok_or_else(|| wrong(format!("the pack has no input {name}")))?;
            if let NetworkInput::Crop(frame) = input {
                let side = frame.side as usize;
                if *shape != [1, 3, side, side] {
                    return Err(wrong(format!("its input {name} is not of {side} x {side} pixels")));
                }
            }
            Ok(input)
        });
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        if let Some(missing) = spec.gives.iter().find(|finding| !model.has_output(finding.output())) {
            return Err(wrong(format!("it has no output {}", missing.output())));
        }
        let planes = vec![Vec::new(); inputs.len()];
        Ok(Self { model, inputs, gives: spec.gives.clone(), planes })
    }

    fn wants_trunk_only(&self) -> bool {
        self.inputs.iter().all(|input| *input == NetworkInput::Trunk)
    }

    fn is_wanted(&self, wanted: impl Fn(Finding) -> bool) -> bool {
        self.gives.iter().any(|&finding| wanted(finding))
    }

    fn look(&mut self, scaler: &mut Scaler, view: &View<'_>, found: &mut Findings) -> Result<(), InferenceError> {
        for (input, planes) in self.inputs.iter().zip(&mut self.planes) {
            match input {
                NetworkInput::Crop(frame) if *frame == Frame::TEMPLATE => planar(view.aligned.rgb(), &LAYOUT, planes),
                NetworkInput::Crop(frame) => {
                    let rgb = crop(scaler, view.image, view.landmarks, frame)
                        .ok_or_else(|| self.model.wrong("the landmarks admit no crop"))?;
                    planar(&rgb, &LAYOUT, planes);
                }
                NetworkInput::Trunk => {
                    planes.clear();
                    planes.extend_from_slice(view.trunk);
                }
            }
        }
        self.run(found)
    }

    /// Runs the model on the planes that were filled.
    fn run(&mut self, found: &mut Findings) -> Result<(), InferenceError> {
        let inputs: Vec<&[f32]> = self.planes.iter().map(Vec::as_slice).collect();
        let (gives, before) = (&self.gives, found.0.len());
        self.model.run(&inputs, |name, numbers| {
            if let Some(&finding) = gives.iter().find(|finding| finding.output() == name) {
                found.0.push((finding, numbers.to_vec()));
            }
        })?;
        let whole = |(finding, numbers): &(Finding, Vec<f32>)| {
            numbers.len() == finding.len() && numbers.iter().all(|number| number.is_finite())
        };
        match found.0.iter().skip(before).find(|one| !whole(one)) {
            Some((finding, _)) => Err(self.model.wrong(format!("{} is not what it should be", finding.output()))),
            None => Ok(()),
        }
    }
}
