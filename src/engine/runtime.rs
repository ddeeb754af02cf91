//! ONNX Runtime: the only file that configures it.
//!
//! One process has one environment. A session belongs to one thread and computes on that thread
//! alone: the worker pool already keeps every core busy, and spinning threads cost three to four
//! times on shared cores.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{TensorElementType, TensorRef, ValueType};
use parking_lot::Mutex;

use super::model_pack::golden::{self, GoldenOutput};
use super::{InferenceError, LoadError, telemetry_lock};
use crate::domain::stopwatch;

/// The process's environment and the library it came from. ONNX Runtime allows only one.
static ENVIRONMENT: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// ONNX Runtime, loaded.
#[derive(Debug, Clone)]
pub(super) struct Runtime(Environment);

impl Runtime {
    /// Loads the library, or returns the one that is loaded already.
    ///
    /// # Errors
    /// When telemetry is not turned off, it does not load, or another library was loaded before.
    pub(super) fn load(library: &Path) -> Result<Self, LoadError> {
        // A relative path would be tried beside the program first.
        let library =
            std::path::absolute(library).map_err(|source| LoadError::Read { path: library.to_owned(), source })?;
        let mut loaded = ENVIRONMENT.lock();
        if let Some((path, environment)) = loaded.as_ref() {
            return if *path == library {
                Ok(Self(environment.clone()))
            } else {
                Err(LoadError::Runtime(format!("{} is loaded already", path.display())))
            };
        }
        telemetry_lock::confirm()?;
        let failed = |error: &dyn std::fmt::Display| LoadError::Runtime(error.to_string());
        let environment = ort::init_from(&library)
            .map_err(|error| failed(&error))?
            .with_name("semblance")
            .with_telemetry(false)
            .build()
            .map_err(|error| failed(&error))?;
        environment.set_log_level(LogLevel::Error);
        *loaded = Some((library, environment.clone()));
        Ok(Self(environment))
    }

    /// One intra-op thread and no spinning: on shared cores spinning cost 3 to 4 times. No memory pattern: it
    /// is planned in the first run and allocated in the second, in addition to the memory of the first, and saves no
    /// time on these models. (It takes up to 60 MiB per worker when a model runs for the second time, maybe after hours.)
    fn builder(&self) -> Result<SessionBuilder, ort::Error> {
        Ok(Session::builder(&self.0)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_intra_op_spinning(false)?
            .with_inter_op_spinning(false)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_memory_pattern(false)?
            .with_log_level(LogLevel::Error)?)
    }

    /// Loads a model whose inputs are floats of fixed shapes.
    ///
    /// # Errors
    /// When ONNX Runtime refuses the bytes, or an input is something else.
    pub(super) fn model(&self, id: &str, bytes: &[u8]) -> Result<Model, LoadError> {
        let failed =
            |error: &dyn std::fmt::Display| LoadError::Model { model: id.to_owned(), message: error.to_string() };
        let mut builder = self.builder().map_err(|e| failed(&e))?;
        let session = builder.commit_from_memory(bytes).map_err(|e| failed(&e))?;
        let inputs = session.inputs().iter().map(|input| {
            let sizes = match input.dtype() {
                ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } => {
                    shape.iter().map(|&size| usize::try_from(size).ok().filter(|&size| size > 0)).collect()
                }
                _ => None,
            };
            match sizes {
                Some(shape) => Ok(Input { name: input.name().to_owned(), shape }),
                None => Err(failed(&format_args!("its input {} is not of floats in a fixed shape", input.name()))),
            }
        });
        let inputs = inputs.collect::<Result<_, _>>()?;
        Ok(Model { id: id.to_owned(), session, inputs })
    }
}

/// An input of a model.
#[derive(Debug)]
struct Input {
    name: String,
    shape: Vec<usize>,
}

/// A loaded model with inputs of fixed shapes.
#[derive(Debug)]
pub(super) struct Model {
    id: String,
    session: Session,
    inputs: Vec<Input>,
}

impl Model {
    /// Its id in the pack.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Names and shapes of its inputs, in the order of [`Model::run`].
    pub(super) fn inputs(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.inputs.iter().map(|input| (input.name.as_str(), input.shape.as_slice()))
    }

    /// Whether its only input is a picture of so many pixels in height and width.
    pub(super) fn takes_picture(&self, side: u32) -> bool {
        let side = side as usize;
        matches!(self.inputs.as_slice(), [input] if input.shape == [1, 3, side, side])
    }

    /// Whether the model has an output of that name.
    pub(super) fn has_output(&self, name: &str) -> bool {
        self.session.outputs().iter().any(|output| output.name() == name)
    }

    /// Runs the model on `inputs` (each as many floats as its shape holds) and hands each output's
    /// name and numbers to `read`.
    ///
    /// # Errors
    /// When the run fails or an output is not of floats.
    pub(super) fn run(&mut self, inputs: &[&[f32]], mut read: impl FnMut(&str, &[f32])) -> Result<(), InferenceError> {
        let id = &self.id;
        let failed = |error: ort::Error| InferenceError { model: id.clone(), message: error.to_string() };
        let tensors = self.inputs.iter().zip(inputs).map(|(input, numbers)| {
            let tensor = TensorRef::from_array_view((input.shape.as_slice(), *numbers)).map_err(failed)?;
            Ok::<_, InferenceError>((input.name.as_str(), tensor))
        });
        let tensors = tensors.collect::<Result<Vec<_>, _>>()?;
        let outputs = self.session.run(tensors).map_err(failed)?;
        for (name, value) in outputs.iter() {
            let (_, numbers) = value.try_extract_tensor::<f32>().map_err(failed)?;
            read(name, numbers);
        }
        Ok(())
    }

    /// What the model computes from the built-in input.
    ///
    /// # Errors
    /// As [`Model::run`].
    pub(super) fn golden_output(&mut self) -> Result<GoldenOutput, InferenceError> {
        let mut golden_output = GoldenOutput::new();
        let inputs = self.built_in();
        let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        self.run(&inputs, |name, numbers| {
            golden_output.insert(name.to_owned(), golden::kept(numbers));
        })?;
        Ok(golden_output)
    }

    /// Durations of so many runs on the built-in input, after a first run, in which ONNX Runtime plans. Making the
    /// input is not included.
    ///
    /// # Errors
    /// As [`Model::run`].
    pub(super) fn time(&mut self, rounds: usize) -> Result<Vec<Duration>, InferenceError> {
        let inputs = self.built_in();
        let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        self.run(&inputs, |_, _| ())?;
        let times = (0..rounds).map(|_| {
            let start = stopwatch();
            self.run(&inputs, |_, _| ())?;
            Ok(start.elapsed())
        });
        times.collect()
    }

    fn built_in(&self) -> Vec<Vec<f32>> {
        self.inputs.iter().map(|input| golden::input(&input.shape)).collect()
    }

    /// An error of this model.
    pub(super) fn wrong(&self, message: impl Into<String>) -> InferenceError {
        InferenceError { model: self.id.clone(), message: message.into() }
    }
}
