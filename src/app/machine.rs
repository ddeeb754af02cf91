//! What the administration asks of the assembly: settings, checks, files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Notify;
use uuid::Uuid;

use super::backup::{
    KeptBackup, backup_name, describe, list_backups, record_trial, remove_backup, try_backup, write_backup_file,
};
use super::doctor::{Outcome, Patient, check_all};
use super::{existing_keys, load_engine, make_private_dir};
use crate::api::{BackupView, CheckView, Machine, SettingSource, SettingView};
use crate::compute::FileWork;
use crate::domain::Clock;
use crate::service::Service;
use crate::settings::{Origin, Reload, SettingEntry, Settings};
use crate::store::{OutboxEvent, Store};

/// The settings as the administration and `semblance config --json` show them.
pub fn setting_views(settings: &Settings) -> Vec<SettingView> {
    settings.entries.iter().map(setting_view).collect()
}

fn setting_view(entry: &SettingEntry) -> SettingView {
    let SettingEntry { key, value, in_force, is_set, origin, reload } = entry.clone();
    let mut view = SettingView {
        key,
        value,
        in_force,
        is_set,
        source: SettingSource::Default,
        file: None,
        file_line: None,
        variable: None,
        reloadable: reload == Reload::Setting,
        file_reloadable: reload == Reload::Content,
    };
    match origin {
        Origin::Default => {}
        Origin::File { path, line } => {
            view.source = SettingSource::File;
            view.file = Some(path.display().to_string());
            view.file_line = line;
        }
        Origin::Environment { variable } => {
            view.source = SettingSource::Environment;
            view.variable = Some(variable);
        }
        Origin::Flag => view.source = SettingSource::Flag,
    }
    view
}

/// The running server.
pub(super) struct RunningServer {
    pub(super) settings: Arc<Settings>,
    pub(super) store: Store,
    pub(super) service: Service,
    /// Requests that everything is read again.
    pub(super) reload: Arc<Notify>,
    pub(super) files: FileWork,
}

impl RunningServer {
    fn backup_dir(&self) -> Option<&Path> {
        Some(self.settings.backup.dir.as_path()).filter(|dir| !dir.as_os_str().is_empty())
    }

    async fn kept(&self) -> Result<Vec<KeptBackup>, String> {
        let Some(dir) = self.backup_dir().map(Path::to_owned) else { return Ok(Vec::new()) };
        let listed = self.files.run(move || list_backups(&dir)).await;
        listed.map_err(|error| error.to_string())?.map_err(|error| format!("backup.dir: {error}"))
    }

    async fn kept_backup(&self, id: Uuid) -> Result<Option<KeptBackup>, String> {
        Ok(self.kept().await?.into_iter().find(|backup| backup.header.id == id))
    }

    async fn record(&self, detail: &str) -> Result<(), String> {
        let event = OutboxEvent::new(Clock::system().now(), "backup", None, detail);
        self.store.outbox.enqueue(&event).await.map_err(|error| error.to_string())
    }
}

fn backup_view(backup: &KeptBackup) -> BackupView {
    let file = backup.path.file_name().map(|name| name.to_string_lossy().into_owned());
    BackupView {
        backup_id: backup.header.id.to_string(),
        file: file.unwrap_or_default(),
        bytes: backup.bytes,
        created_at: backup.header.created_at.clone(),
        product: backup.header.product.clone(),
        schema: backup.header.schema,
        key_names: backup.header.keys.clone(),
        tested_at: backup.tested_at.clone(),
    }
}

/// Bytes of a file; 0 when it does not exist.
fn size(path: PathBuf) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}

#[async_trait]
impl Machine for RunningServer {
    fn settings(&self) -> Vec<SettingView> {
        setting_views(&self.settings)
    }

    async fn doctor(&self) -> Vec<CheckView> {
        let patient = Patient::Server { store: &self.store, service: &self.service };
        let checks = check_all(&self.settings, patient).await;
        let view = |check: super::doctor::Check| CheckView {
            name: check.name,
            ok: check.outcome != Outcome::Failed,
            warning: check.outcome == Outcome::Warning,
            text: check.text,
            remedy: check.remedy,
        };
        checks.into_iter().map(view).collect()
    }

    fn reload(&self) {
        self.reload.notify_one();
    }

    #[cfg(unix)]
    fn disk(&self) -> Option<(u64, u64)> {
        let disk = rustix::fs::statvfs(&self.settings.data).ok()?;
        Some((disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize)))
    }

    #[cfg(not(unix))]
    fn disk(&self) -> Option<(u64, u64)> {
        None
    }

    fn database_kind(&self) -> &'static str {
        if self.settings.database.url.reveal().is_some() { "postgres" } else { "sqlite" }
    }

    fn database_bytes(&self) -> Option<u64> {
        let file = |name: &str| size(self.settings.data.join(name));
        (self.database_kind() == "sqlite").then(|| file("semblance.db") + file("semblance.db-wal"))
    }

    async fn check_models(&self) -> Result<(), String> {
        let settings = Arc::clone(&self.settings);
        let check = move || {
            let mut engine = load_engine(&settings).map_err(|error| error.to_string())?;
            engine.self_check().map_err(|error| error.to_string())
        };
        self.files.run(check).await.map_err(|error| error.to_string())?
    }

    fn has_backups(&self) -> bool {
        self.backup_dir().is_some()
    }

    async fn backups(&self) -> Result<Vec<BackupView>, String> {
        Ok(self.kept().await?.iter().map(backup_view).collect())
    }

    async fn back_up(&self) -> Result<BackupView, String> {
        let dir = self.backup_dir().ok_or("backup.dir is not set")?;
        make_private_dir(dir).map_err(|error| format!("backup.dir: {error}"))?;
        let path = dir.join(backup_name(Clock::system().now()));
        if path.exists() {
            return Err(format!("{} exists", path.display()));
        }
        // Before the first row is written, as the command does.
        self.record("begins").await?;
        let written = write_backup_file(&path, &*self.store.backup).await.map_err(|error| error.to_string())?;
        self.record(&format!("ends: {}, keys {}", describe(&written.rows), written.keys.join(", "))).await?;
        let kept = self.kept_backup(written.id).await?.ok_or("the backup was deleted meanwhile")?;
        Ok(backup_view(&kept))
    }

    async fn try_backup(&self, id: Uuid) -> Result<Option<BTreeMap<String, u64>>, String> {
        let Some(backup) = self.kept_backup(id).await? else { return Ok(None) };
        let keys = existing_keys(&self.settings).map_err(|error| error.to_string())?;
        let rows = try_backup(&self.settings, &backup.path, &keys).await.map_err(|error| error.to_string())?;
        record_trial(&backup, Clock::system().now()).map_err(|error| format!("backup.dir: {error}"))?;
        Ok(Some(rows))
    }

    async fn remove_backup(&self, id: Uuid) -> Result<bool, String> {
        let Some(backup) = self.kept_backup(id).await? else { return Ok(false) };
        remove_backup(&backup).map_err(|error| format!("{}: {error}", backup.path.display()))?;
        self.record(&format!("the backup {id} is deleted")).await?;
        Ok(true)
    }
}
