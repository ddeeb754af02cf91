//! ONNX Runtime: the only file that configures it.
//!
//! One process has one environment. A session belongs to one thread and computes on that thread
//! alone: the worker pool already keeps every core busy, and spinning threads cost three to four
//! times on shared cores. Shapes are fixed, so the memory pattern is planned once and stays.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::TensorRef;

use super::{InferenceError, LoadError};

/// The process's environment and the library it came from. ONNX Runtime allows only one.
static ENVIRONMENT: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// ONNX Runtime, loaded.
#[derive(Debug, Clone)]
pub(super) struct Runtime(Environment);

impl Runtime {
    /// Loads the library, or hands out what is loaded already.
    ///
    /// # Errors
    /// When it does not load, or another library was loaded before.
    pub(super) fn load(library: &Path) -> Result<Self, LoadError> {
        // A relative path would be tried beside the program first.
        let library =
            std::path::absolute(library).map_err(|source| LoadError::Read { path: library.to_owned(), source })?;
        let mut loaded = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((path, environment)) = loaded.as_ref() {
            return if *path == library {
                Ok(Self(environment.clone()))
            } else {
                Err(LoadError::Runtime(format!("{} is loaded already", path.display())))
            };
        }
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

    /// One intra-op thread and no spinning: on shared cores spinning cost 3 to 4 times. Memory is
    /// planned once for the model's fixed shapes.
    fn builder(&self) -> Result<SessionBuilder, ort::Error> {
        Ok(Session::builder(&self.0)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_intra_op_spinning(false)?
            .with_inter_op_spinning(false)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_memory_pattern(true)?
            .with_log_level(LogLevel::Error)?)
    }

    /// Loads a model with one input of fixed shape.
    ///
    /// # Errors
    /// When ONNX Runtime refuses the bytes.
    pub(super) fn model(&self, id: &str, bytes: &[u8], shape: [usize; 4]) -> Result<Model, LoadError> {
        let failed =
            |error: &dyn std::fmt::Display| LoadError::Model { model: id.to_owned(), message: error.to_string() };
        let mut builder = self.builder().map_err(|e| failed(&e))?;
        let session = builder.commit_from_memory(bytes).map_err(|e| failed(&e))?;
        if session.inputs().len() != 1 {
            return Err(failed(&format_args!("one input is expected, not {}", session.inputs().len())));
        }
        Ok(Model { id: id.to_owned(), session, shape })
    }
}

/// A loaded model with one input of fixed shape.
#[derive(Debug)]
pub(super) struct Model {
    id: String,
    session: Session,
    shape: [usize; 4],
}

impl Model {
    /// Whether the model has an output of that name.
    pub(super) fn has_output(&self, name: &str) -> bool {
        self.session.outputs().iter().any(|output| output.name() == name)
    }

    /// Runs the model on `input` (as many floats as the shape holds) and hands each output's name
    /// and numbers to `read`.
    ///
    /// # Errors
    /// When the run fails or an output is not of floats.
    pub(super) fn run(&mut self, input: &[f32], mut read: impl FnMut(&str, &[f32])) -> Result<(), InferenceError> {
        let id = &self.id;
        let failed = |error: ort::Error| InferenceError { model: id.clone(), message: error.to_string() };
        let tensor = TensorRef::from_array_view((self.shape, input)).map_err(failed)?;
        let outputs = self.session.run(ort::inputs![tensor]).map_err(failed)?;
        for (name, value) in outputs.iter() {
            let (_, numbers) = value.try_extract_tensor::<f32>().map_err(failed)?;
            read(name, numbers);
        }
        Ok(())
    }

    /// An error of this model.
    pub(super) fn wrong(&self, message: impl Into<String>) -> InferenceError {
        InferenceError { model: self.id.clone(), message: message.into() }
    }
}
