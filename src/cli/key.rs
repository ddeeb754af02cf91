//! `semblance key`: the sealing keys.

use std::io::IsTerminal as _;

use clap::Subcommand;

use super::output::{errln, outln, report};
use super::{CliError, journal_command, scrub_removed};
use crate::app::{self, key_file};
use crate::settings::Settings;
use crate::store::{KeyError, KeyFile, KeyId, KeyStore, OpenMode, Store};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the keys, the number of data keys sealed under each, and which key is active.
    Status {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Add a new random key to the key file. `rotate` activates it; before that, copy it to the other nodes.
    Add,
    /// Activate the newest key (a new one if none exists) and reseal all data keys under it. Servers keep running.
    Rotate,
    /// Remove a key from the key file for good. Refused while it is active or anything is sealed under it.
    Drop {
        /// The id of the key, as `status` prints it.
        id: String,
    },
}

pub(super) async fn run(settings: Settings, command: Command) -> Result<(), CliError> {
    let file = key_file(&settings);
    let in_file = || file.as_ref().ok_or_else(|| CliError::message("the keys are given as text, not in a file"));
    // Opened first: this creates the data folder and the first key, and fails when the key is wrong.
    let mode = if matches!(command, Command::Status { .. }) { OpenMode::Read } else { OpenMode::Create };
    let store = app::open_store(&settings, mode).await?;
    match command {
        Command::Status { json } => status(&*store.keys, json).await?,
        Command::Add => {
            let key = in_file()?.lock().map_err(failed)?.add().map_err(failed)?;
            journal_command(&store, "key add", None, &key.id().to_string()).await?;
            outln!("added {}; it is not active yet: `semblance key rotate` activates it", key.id())?;
        }
        Command::Rotate => rotate(&store, file.as_ref()).await?,
        Command::Drop { id } => {
            let id: KeyId = id.parse().map_err(failed)?;
            let locked = in_file()?.lock().map_err(failed)?;
            let status = store.keys.status().await?;
            if id == status.active {
                return Err(CliError::message(format!(
                    "{id} is active; activate another with `semblance key rotate` first"
                )));
            }
            if let Some((_, count)) = status.in_use.iter().find(|(key, _)| *key == id) {
                return Err(CliError::message(format!(
                    "{count} data keys are sealed under {id}; `semblance key rotate` reseals them"
                )));
            }
            locked.remove(id).map_err(failed)?;
            journal_command(&store, "key drop", None, &id.to_string()).await?;
            outln!("dropped {id}; backups that were sealed under it cannot be opened without it")?;
        }
    }
    Ok(())
}

fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::message(error.to_string())
}

async fn status(keys: &dyn KeyStore, json: bool) -> Result<(), CliError> {
    let status = keys.status().await?;
    let unknown = status.in_use.iter().map(|(id, _)| *id).filter(|id| !status.given.contains(id));
    let all: Vec<KeyId> = status.given.iter().copied().chain(unknown).collect();
    let count = |id: KeyId| status.in_use.iter().find(|(key, _)| *key == id).map_or(0, |(_, count)| *count);
    for id in all {
        let active = id == status.active;
        let given = status.given.contains(&id);
        let sealed = count(id);
        if json {
            let id = id.to_string();
            outln!("{}", serde_json::json!({ "id": id, "in_force": active, "given": given, "sealed": sealed }))?;
        } else {
            let state = match (active, given) {
                (true, _) => "active",
                (false, true) => "",
                (false, false) => "not given",
            };
            outln!("{id}  {sealed:>10} sealed  {state}")?;
        }
    }
    Ok(())
}

async fn rotate(store: &Store, file: Option<&KeyFile>) -> Result<(), CliError> {
    // Held to the end, so that no command drops the key that is being activated. A file that cannot be written, such as a
    // container's secret, needs no lock: no command changes it, and its keys can be activated nevertheless.
    let locked = match file.map(KeyFile::lock) {
        Some(Err(error @ KeyError::Busy(_))) => return Err(failed(error)),
        locked => locked,
    };
    let before = store.keys.status().await?;
    let stale = before.in_use.iter().any(|(id, _)| *id != before.active);
    let newest = before.given.last().copied().filter(|newest| *newest != before.active);
    let next = match (newest, locked.as_ref()) {
        (Some(newest), _) => newest,
        // Completes an interrupted rotation before another begins.
        (None, _) if stale => before.active,
        (None, Some(locked)) => locked.as_ref().map_err(failed)?.add().map_err(failed)?.id(),
        (None, None) => {
            return Err(CliError::message(
                "there is no other key: give both to every node (SEMBLANCE_KEY=\"OLD NEW\"), then rotate",
            ));
        }
    };
    journal_command(store, "key rotate", None, &format!("begins: to {next}")).await?;
    let mut printed = Ok(());
    if next != before.active {
        store.keys.activate(next).await?;
        printed = outln!("{next} is active"); // a rotation that cannot print is completed nevertheless
    }
    let mut count = 0;
    let mut after = None;
    loop {
        let batch = store.keys.reseal(after).await?;
        count += batch.count;
        if std::io::stderr().is_terminal() {
            report(format_args!("\r{count} data keys resealed"));
        }
        after = batch.next;
        if after.is_none() {
            break;
        }
    }
    if std::io::stderr().is_terminal() {
        errln!("");
    }
    scrub_removed(&*store.scrubber).await?;
    let status = store.keys.status().await?;
    if let Some((id, left)) = status.in_use.iter().find(|(id, _)| *id != status.active) {
        return Err(CliError::message(format!(
            "{left} data keys are still sealed under {id}; is a node of another version running? Run `semblance key rotate` again"
        )));
    }
    journal_command(store, "key rotate", None, &format!("ends: {count} resealed")).await?;
    printed?;
    outln!("{count} data keys resealed; nothing is sealed under another key")?;
    for id in status.given.iter().filter(|id| **id != status.active) {
        outln!("{id} is no longer needed: run `semblance key drop {id}` once no backup needs it")?;
    }
    Ok(())
}
