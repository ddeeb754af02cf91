//! The only room that names concrete types: it puts engine, index, store and API together, for the server and for the
//! commands that need some of them.

mod background;
pub mod backup;
mod certificate;
mod connection;
mod credentials;
mod data_lock;
pub mod doctor;
mod listener;
mod machine;
mod outbox_relay;
mod proxy_protocol;
mod server;
mod stopping;
mod validity;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use certificate::Tls;
pub use certificate::TlsError;
pub use credentials::{update_credentials, write_private};
pub use machine::setting_views;
pub use proxy_protocol::{ProxyHeader, ProxyHeaderError};
pub use server::{App, FirstRun};
pub use stopping::MAX_STEPS_TIME;

use crate::api::Shape;
use crate::compute::PoolConfig;
use crate::domain::{Calibration, CalibrationError, Clock, ModelTag};
use crate::engine::{DecodeLimits, Engine, EngineConfig, EnginePool, LoadError, ModelPack, TemplateCheck};
use crate::gallery::MemoryMatcher;
use crate::journal::JournalError;
use crate::service;
use crate::settings::{Settings, SettingsError, ShapeKind, SimilarityKind};
use crate::store::{
    self, DatabaseConfig, Key, KeyError, KeyFile, KeySource, OpenError, OpenMode, OpenOptions, Store, StoreError,
};

/// Why the server, or a part of it, did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error("configuration: {0}")]
    Settings(#[from] SettingsError),
    /// No folder with models exists.
    #[error("no models: there is no pack.toml in {0}; run `make setup`, or name the folder with --models")]
    NoModels(String),
    /// The engine cannot be loaded.
    #[error("models: {0}")]
    Engine(#[from] LoadError),
    /// The pack's operating point is invalid.
    #[error("models: {0}")]
    Calibration(#[from] CalibrationError),
    /// The data folder cannot be used.
    #[error("the data folder {path} cannot be used: {source}")]
    Data {
        /// The folder, or the file in it.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The sealing key cannot be used.
    #[error("sealing key: {0}")]
    Key(#[from] KeyError),
    /// The database cannot be opened.
    #[error("database: {0}")]
    Open(#[from] OpenError),
    /// The database cannot be read.
    #[error("database: {0}")]
    Store(#[from] StoreError),
    /// Another server uses the data folder.
    #[error("the data folder {0} is another server's, which is running; every server needs a folder of its own")]
    Taken(PathBuf),
    /// The journal in the data folder is of another database.
    #[error(
        "the journal in {journal} is of the database {known}, and this is the database {database}: is the URL or the data \
         folder wrong? To begin another journal, move `journal` and `node` out of the data folder"
    )]
    OtherDatabase {
        /// The folder of the journal.
        journal: PathBuf,
        /// The database of the journal.
        known: uuid::Uuid,
        /// The database that was opened.
        database: uuid::Uuid,
    },
    /// The journal cannot be opened.
    #[error("journal: {0}")]
    Journal(#[from] JournalError),
    /// The first application cannot be created.
    #[error("first run: {0}")]
    FirstRun(#[from] service::Error),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("tls: {0}")]
    Tls(#[from] TlsError),
    /// A listener failed.
    #[error("the server failed: {0}")]
    Serve(std::io::Error),
}

/// Finds the folder with the models: the configured one, or the first folder `models` with a `pack.toml` in the working
/// directory, beside the program, or above it.
///
/// # Errors
/// [`StartError::NoModels`].
pub fn models_dir(settings: &Settings) -> Result<PathBuf, StartError> {
    let has_pack = |dir: &Path| dir.join("pack.toml").is_file();
    if !settings.models.as_os_str().is_empty() {
        let dir = settings.models.clone();
        return if has_pack(&dir) { Ok(dir) } else { Err(StartError::NoModels(dir.display().to_string())) };
    }
    let program = std::env::current_exe().unwrap_or_default();
    std::iter::once(PathBuf::from("models"))
        .chain(program.ancestors().skip(1).map(|dir| dir.join("models")))
        .find(|dir| has_pack(dir))
        .ok_or_else(|| StartError::NoModels("./models, nor in a models folder beside the program".to_owned()))
}

/// The model pack.
///
/// # Errors
/// When it does not exist or cannot be read.
pub fn model_pack(settings: &Settings) -> Result<ModelPack, StartError> {
    let mut pack = ModelPack::load(&models_dir(settings)?)?;
    for (measure, limit) in settings.quality.iter().filter(|(_, limit)| !limit.is_empty()) {
        let invalid = |message: String| invalid(&format!("quality.{measure}"), limit, message);
        pack.fine.set(measure, limit).map_err(invalid)?;
    }
    for (name, limit) in settings.faces.iter().filter(|(_, limit)| !limit.is_empty()) {
        let invalid = |message: String| invalid(&format!("faces.{name}"), limit, message);
        pack.faces.set(name, limit).map_err(invalid)?;
    }
    Ok(pack)
}

fn invalid(key: &str, value: &str, message: String) -> SettingsError {
    SettingsError::Value { key: key.to_owned(), value: format!(" = {value:?}"), message }
}

fn engine_config(settings: &Settings) -> Result<EngineConfig, StartError> {
    Ok(EngineConfig {
        pack: Arc::new(model_pack(settings)?),
        limits: DecodeLimits {
            pixels: settings.limits.photo_pixels,
            formats: settings.photo.formats,
            ..DecodeLimits::default()
        },
    })
}

/// One engine, for a thread of the caller.
///
/// # Errors
/// When a model is missing, damaged, or cannot be loaded.
pub fn load_engine(settings: &Settings) -> Result<Engine, StartError> {
    Ok(Engine::load(&engine_config(settings)?)?)
}

/// A pool of engines, all warmed up.
///
/// # Errors
/// When a model is missing, damaged, or cannot be loaded.
pub fn start_engine(settings: &Settings) -> Result<Arc<EnginePool>, StartError> {
    let pool = PoolConfig {
        name: "inference",
        threads: settings.compute.inference_threads,
        queue: usize::MAX, // the callers limit their photos
        deadline: settings.queue_deadline(),
    };
    Ok(Arc::new(EnginePool::start(engine_config(settings)?, pool)?))
}

/// The check of stored templates; `None` when the pack has no model for it.
///
/// # Errors
/// When its model is missing, damaged, or cannot be loaded.
pub fn load_template_check(settings: &Settings) -> Result<Option<TemplateCheck>, StartError> {
    Ok(TemplateCheck::load(&model_pack(settings)?)?)
}

/// An empty index.
pub fn start_matcher(settings: &Settings) -> MemoryMatcher {
    MemoryMatcher::new(PoolConfig {
        name: "search",
        threads: settings.compute.search_threads,
        queue: usize::MAX, // as many as photos that were analyzed
        deadline: settings.queue_deadline(),
    })
}

/// How cosines become similarities, with the operating point of the pack.
///
/// # Errors
/// When the operating point is not between 0 and 1.
pub fn calibration(settings: &Settings, operating_point: f32) -> Result<Calibration, StartError> {
    Ok(match settings.matching.similarity {
        SimilarityKind::Calibrated => Calibration::calibrated(operating_point)?,
        SimilarityKind::Cosine => Calibration::Cosine,
    })
}

/// The layout of replies.
pub fn shape(settings: &Settings) -> Shape {
    match settings.response.shape {
        ShapeKind::Seed => Shape::Seed,
        ShapeKind::Modern => Shape::Modern,
        ShapeKind::Both => Shape::Both,
    }
}

/// The content of `/licences` and `models list --json`: the models, and ONNX Runtime with its components.
///
/// # Errors
/// When the list of ONNX Runtime's components is missing or damaged.
pub fn licences(pack: &ModelPack) -> Result<serde_json::Value, StartError> {
    let models = pack.models().map(|model| {
        serde_json::json!({
            "id": model.id, "role": model.role, "title": model.title, "file": model.file,
            "sha256": model.sha256.to_string(), "source": model.source,
            "upstreamSha256": model.upstream_sha256.as_ref().map(ToString::to_string),
            "changes": model.changes, "licence": model.licence, "copyright": model.copyright,
            "measured": model.measured,
        })
    });
    let mut licences = serde_json::json!({ "pack": pack.name, "models": models.collect::<Vec<_>>() });
    if let Some(provenance) = &pack.runtime_provenance {
        licences["runtime"] = serde_json::json!({
            "title": provenance.title, "source": provenance.source, "licence": provenance.licence, "copyright": provenance.copyright,
            "components": pack.runtime_components()?,
        });
    }
    Ok(licences)
}

/// The embedding model of the pack.
///
/// # Errors
/// When the pack does not exist or cannot be read.
pub fn embedding_model(settings: &Settings) -> Result<ModelTag, StartError> {
    Ok(model_pack(settings)?.embedding_model())
}

/// Opens the database. [`OpenMode::Create`] creates the data folder if needed, migrates the schema, and reads the sealing
/// key or, on the first run, creates it. The other modes create nothing.
///
/// # Errors
/// When any of these steps fails.
pub async fn open_store(settings: &Settings, mode: OpenMode) -> Result<Store, StartError> {
    Ok(store::open(&store_options(settings, mode)?).await?)
}

/// Brings the schema of the database up to date, and returns how many migrations were applied. The sealing key is not
/// used.
///
/// # Errors
/// When the database cannot be opened or migrated.
pub async fn migrate_store(settings: &Settings) -> Result<usize, StartError> {
    Ok(store::migrate(&store_options(settings, OpenMode::Create)?).await?)
}

fn store_options(settings: &Settings, mode: OpenMode) -> Result<OpenOptions, StartError> {
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |source| StartError::Data { path, source }
    };
    let database = match settings.database.url.reveal() {
        None => DatabaseConfig::Sqlite(settings.data.join("semblance.db")),
        Some(url) => {
            let file = settings.database.password_file.clone();
            let password_file = Some(file).filter(|file| !file.as_os_str().is_empty());
            DatabaseConfig::Postgres { url: url.to_owned().into(), password_file }
        }
    };
    if mode == OpenMode::Create {
        make_private_dir(&settings.data).map_err(unusable(&settings.data))?;
    }
    let key = key_source(settings)?;
    if let KeySource::File { file, .. } = &key
        && file.is_exposed()
    {
        tracing::warn!(file = %file.path().display(), "the file with the sealing keys is readable by others than its owner");
    }
    Ok(OpenOptions {
        mode,
        database,
        key,
        connections: settings.database.connections,
        timeout: settings.database_timeout(),
        samples_per_template: settings.limits.samples_per_template,
        clock: Clock::system(),
    })
}

/// Takes the embedded database as it is, although writes are missing.
///
/// # Errors
/// When a server uses it, or its files do not belong together.
pub async fn accept_store(settings: &Settings) -> Result<(), StartError> {
    if is_served(settings)? {
        return Err(StartError::Taken(settings.data.clone()));
    }
    Ok(store::accept(&store_options(settings, OpenMode::Write)?).await?)
}

/// The sealing keys that exist; none is created.
///
/// # Errors
/// When they cannot be read.
pub fn existing_keys(settings: &Settings) -> Result<Vec<Key>, StartError> {
    Ok(key_source(settings)?.existing()?)
}

/// Opens another database than the one of the settings, with the same sealing keys, which have to exist.
///
/// # Errors
/// When it cannot be opened.
pub async fn open_other_store(settings: &Settings, database: DatabaseConfig) -> Result<Store, StartError> {
    let options = OpenOptions {
        mode: OpenMode::Create,
        database,
        key: KeySource::Given(existing_keys(settings)?),
        connections: settings.database.connections,
        timeout: settings.database_timeout(),
        samples_per_template: settings.limits.samples_per_template,
        clock: Clock::system(),
    };
    Ok(store::open(&options).await?)
}

/// Whether a server is running on the data folder of the settings.
///
/// # Errors
/// When the folder cannot be used.
pub fn is_served(settings: &Settings) -> Result<bool, StartError> {
    data_lock::is_locked(&settings.data)
}

fn key_source(settings: &Settings) -> Result<KeySource, StartError> {
    Ok(match (settings.key.reveal(), key_file(settings)) {
        (_, Some(file)) => KeySource::File { file, create: settings.key_file.as_os_str().is_empty() },
        (text, None) => KeySource::Given(Key::all_from_text(text.unwrap_or_default())?),
    })
}

/// The file with the sealing keys; `None` when they are given as text.
pub fn key_file(settings: &Settings) -> Option<KeyFile> {
    if settings.key.reveal().is_some() {
        return None;
    }
    let is_default = settings.key_file.as_os_str().is_empty();
    Some(KeyFile::new(if is_default { settings.data.join("sealing.key") } else { settings.key_file.clone() }))
}

/// The id of the node that writes the journal of this data folder; `None` before the first start of a server.
///
/// # Errors
/// When the file with the id cannot be read.
pub fn node_id(settings: &Settings) -> Result<Option<uuid::Uuid>, StartError> {
    data_lock::node_id(&settings.data)
}

/// The folder of the journal.
pub fn journal_dir(settings: &Settings) -> PathBuf {
    settings.data.join("journal")
}

/// Creates a folder that only its owner can read, if it does not exist.
///
/// # Errors
/// When it cannot be created.
pub fn make_private_dir(dir: &Path) -> std::io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// The certificate and its key, when HTTPS is configured.
pub(crate) fn tls(settings: &Settings) -> Result<Option<Tls>, StartError> {
    let Some((cert, key)) = settings.tls_files() else { return Ok(None) };
    Ok(Some(Tls::read(cert, key)?))
}
