//! Why an engine does not load, or does not run.

use std::path::PathBuf;

use super::digest::Sha256Digest;

/// Why an engine does not load.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file of the pack does not exist.
    #[error("{0} is missing; run `make setup`")]
    Missing(PathBuf),
    /// A file cannot be read.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file does not have the SHA-256 in the pack.
    #[error("{path} has the SHA-256 {found}, but the pack names {expected}; remove it and run `make setup`")]
    Hash {
        /// The file.
        path: PathBuf,
        /// The SHA-256 in the pack.
        expected: Sha256Digest,
        /// The SHA-256 of the file.
        found: Sha256Digest,
    },
    /// The library carries a telemetry client.
    #[error(
        "{path} is a build that sends telemetry: it contains {marker:?} ({client}); run `make setup` for the pinned \
         build of ONNX Runtime, or name one without telemetry in pack.toml, under [runtime]"
    )]
    Telemetry {
        /// The library.
        path: PathBuf,
        /// The text found in it.
        marker: &'static str,
        /// The telemetry client with this text.
        client: &'static str,
    },
    /// The variable that turns telemetry off is not set.
    #[error("ORT_DISABLE_TELEMETRY is not 1 in this process; set it to 1 before the program starts")]
    TelemetryOn,
    /// The pack is invalid.
    #[error("{path}: {message}")]
    Pack {
        /// The pack.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The pack has no ONNX Runtime for this platform.
    #[error("the pack names no ONNX Runtime for {0}")]
    Platform(String),
    /// ONNX Runtime does not load.
    #[error("ONNX Runtime does not load: {0}")]
    Runtime(String),
    /// A model does not load, or differs from the pack.
    #[error("model {model}: {message}")]
    Model {
        /// Its id.
        model: String,
        /// What is wrong.
        message: String,
    },
}

/// A model run failed, or had an invalid output.
#[derive(Debug, thiserror::Error)]
#[error("model {model}: {message}")]
pub struct InferenceError {
    /// The model's id.
    pub model: String,
    /// What is wrong.
    pub message: String,
}
