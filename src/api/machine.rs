//! What only the assembly of the server knows: its settings, its files, its checks. The administration asks for it
//! through [`Machine`].

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::compute::FileWork;
use crate::journal::Archive;
use crate::service::Jobs;

/// Searches and exports of the journal at once: each reads files on a thread of its own.
const MAX_JOURNAL_READERS: usize = 2;

/// Jobs that read files at once.
const MAX_FILE_JOBS: usize = 2;

/// Where a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SettingSource {
    /// The default.
    Default,
    /// The configuration file.
    File,
    /// An environment variable.
    Environment,
    /// A flag of the command line.
    Flag,
}

/// A setting in force.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SettingView {
    /// Such as `limits.body_bytes`.
    pub key: String,
    /// The value as it is configured; null for a secret.
    #[schemars(with = "AnyValue")]
    pub value: Option<serde_json::Value>,
    /// What the server uses in place of a value that means "chosen at start".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_force: Option<u64>,
    /// Whether the value is other than empty.
    pub is_set: bool,
    /// Where the value comes from.
    pub source: SettingSource,
    /// The configuration file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line of the key in the file, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_line: Option<usize>,
    /// The environment variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variable: Option<String>,
    /// Whether a running server reads the setting again (`system/reload`, SIGHUP).
    pub reloadable: bool,
    /// Whether a running server reads the content of the file that it names again.
    pub file_reloadable: bool,
}

/// Any JSON.
enum AnyValue {}

impl JsonSchema for AnyValue {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AnyValue".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({})
    }
}

/// The outcome of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckView {
    /// What is checked.
    pub name: &'static str,
    /// False: the server does not start, or does not serve as configured.
    pub ok: bool,
    /// Whether it works, but an operator should know.
    pub warning: bool,
    /// What was found.
    pub text: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// A backup in the folder of the settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupView {
    /// Its id.
    pub backup_id: String,
    /// The name of its file.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// When its state was read.
    pub created_at: String,
    /// The version that made it.
    pub product: String,
    /// The newest migration of its database.
    pub schema: i64,
    /// The sealing keys that a restore needs.
    pub key_names: Vec<String>,
    /// When it was last restored on trial; null: never.
    pub tested_at: Option<String>,
}

/// What only the assembly of the server knows and can do.
#[async_trait]
pub trait Machine: Send + Sync {
    /// Every setting, in the order of the reference.
    fn settings(&self) -> Vec<SettingView>;

    /// Runs the checks of `semblance doctor`.
    async fn doctor(&self) -> Vec<CheckView>;

    /// Does what SIGHUP does.
    fn reload(&self);

    /// Free and total bytes of the disk with the data folder, where the system reports them.
    fn disk(&self) -> Option<(u64, u64)>;

    /// `sqlite` or `postgres`.
    fn database_kind(&self) -> &'static str;

    /// Bytes of the files of the database; `None` where it is on a server.
    fn database_bytes(&self) -> Option<u64>;

    /// Loads every model once more, and compares what it computes with the golden outputs.
    ///
    /// # Errors
    /// A sentence.
    async fn check_models(&self) -> Result<(), String>;

    /// Whether the settings name a folder for backups.
    fn has_backups(&self) -> bool;

    /// The backups of the folder, newest first.
    ///
    /// # Errors
    /// A sentence.
    async fn backups(&self) -> Result<Vec<BackupView>, String>;

    /// Makes a backup.
    ///
    /// # Errors
    /// A sentence.
    async fn back_up(&self) -> Result<BackupView, String>;

    /// Restores a backup into a database that is deleted afterwards. Returns the number of rows of each table; `None` when
    /// there is no such backup.
    ///
    /// # Errors
    /// A sentence.
    async fn try_backup(&self, id: Uuid) -> Result<Option<std::collections::BTreeMap<String, u64>>, String>;

    /// Deletes a backup; `false` when there is no such backup.
    ///
    /// # Errors
    /// A sentence.
    async fn remove_backup(&self, id: Uuid) -> Result<bool, String>;
}

/// The server as its administrators see it.
#[derive(Clone)]
pub struct System {
    /// What only the assembly knows.
    pub machine: Arc<dyn Machine>,
    /// The journal of this node; `None` without one.
    pub archive: Option<Arc<Archive>>,
    /// Work that takes longer than a request.
    pub jobs: Jobs,
    /// The id of this node.
    pub node: Uuid,
    /// When the server started.
    pub started_at: SystemTime,
    /// The name of the model pack, and the beginning of its digest.
    pub model_pack: String,
    /// Searches and exports of the journal.
    pub(super) journal_files: FileWork,
    /// Jobs that read files.
    pub(super) job_files: FileWork,
}

impl System {
    /// A server that starts now.
    pub fn new(
        machine: Arc<dyn Machine>,
        archive: Option<Arc<Archive>>,
        jobs: Jobs,
        node: Uuid,
        started_at: SystemTime,
        model_pack: String,
    ) -> Self {
        let journal_files = FileWork::new(MAX_JOURNAL_READERS);
        let job_files = FileWork::new(MAX_FILE_JOBS);
        Self { machine, archive, jobs, node, started_at, model_pack, journal_files, job_files }
    }
}
