//! `semblance key`: the keys that seal the templates.

use std::io::{IsTerminal as _, Write as _};

use clap::Subcommand;

use super::{CliError, clear_away, journal_command};
use crate::app::{self, key_file};
use crate::settings::Settings;
use crate::store::{KeyError, KeyFile, KeyId, KeyStore, Store};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Tell which keys there are, which is in force, and how many templates are sealed under each.
    Status {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Put a new random key into the key file. It is not in force before `rotate`: until then it can be handed to
    /// the other nodes.
    Add,
    /// Put the newest key in force, a new one if there is none, and seal everything anew under it. Servers go on.
    Rotate,
    /// Take a key out of the key file, for good. Refused while it is in force or anything is sealed under it.
    Drop {
        /// Its name, as `status` shows it.
        id: String,
    },
}

pub(super) async fn run(settings: Settings, command: Command) -> Result<(), CliError> {
    let file = key_file(&settings);
    let in_file = || file.as_ref().ok_or_else(|| CliError::message("the keys are given as text, not in a file"));
    // Opened first: it makes the data folder and the first key, and it says when the key is wrong.
    let store = app::open_store(&settings).await?;
    match command {
        Command::Status { json } => status(&*store.keys, json).await?,
        Command::Add => {
            let key = in_file()?.lock().map_err(failed)?.add().map_err(failed)?;
            journal_command(&store, "key add", None, &key.id().to_string()).await?;
            println!("added {}; it is not in force yet", key.id());
        }
        Command::Rotate => rotate(&store, file.as_ref()).await?,
        Command::Drop { id } => {
            let id: KeyId = id.parse().map_err(failed)?;
            let locked = in_file()?.lock().map_err(failed)?;
            let status = store.keys.status().await?;
            if id == status.in_force {
                return Err(CliError::message(format!("{id} is in force")));
            }
            if let Some((_, count)) = status.in_use.iter().find(|(key, _)| *key == id) {
                return Err(CliError::message(format!(
                    "{count} data keys are sealed under {id}; `semblance key rotate` seals them anew"
                )));
            }
            locked.remove(id).map_err(failed)?;
            journal_command(&store, "key drop", None, &id.to_string()).await?;
            println!("dropped {id}; backups that were sealed under it cannot be opened without it");
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
        let (in_force, given, sealed) = (id == status.in_force, status.given.contains(&id), count(id));
        if json {
            let id = id.to_string();
            println!("{}", serde_json::json!({ "id": id, "in_force": in_force, "given": given, "sealed": sealed }));
        } else {
            let state = match (in_force, given) {
                (true, _) => "in force",
                (false, true) => "",
                (false, false) => "not given",
            };
            println!("{id}  {sealed:>10} sealed  {state}");
        }
    }
    Ok(())
}

async fn rotate(store: &Store, file: Option<&KeyFile>) -> Result<(), CliError> {
    // Held to the end, so that nobody takes away what is being put in force. A file that cannot be written, such as a
    // container's secret, needs none: nobody does, and the keys that are in it can be put in force all the same.
    let locked = match file.map(KeyFile::lock) {
        Some(Err(error @ KeyError::Busy(_))) => return Err(failed(error)),
        locked => locked,
    };
    let before = store.keys.status().await?;
    let stale = before.in_use.iter().any(|(id, _)| *id != before.in_force);
    let newest = before.given.last().copied().filter(|newest| *newest != before.in_force);
    let next = match (newest, locked.as_ref()) {
        (Some(newest), _) => newest,
        // One that was broken off is brought to its end before another begins.
        (None, _) if stale => before.in_force,
        (None, Some(locked)) => locked.as_ref().map_err(failed)?.add().map_err(failed)?.id(),
        (None, None) => {
            return Err(CliError::message(
                "there is no other key: give both to every node (SEMBLANCE_KEY=\"OLD NEW\"), then rotate",
            ));
        }
    };
    journal_command(store, "key rotate", None, &format!("begins: to {next}")).await?;
    if next != before.in_force {
        store.keys.put_in_force(next).await?;
        println!("{next} is in force");
    }
    let (mut count, mut at) = (0, None);
    loop {
        let part = store.keys.reseal(at).await?;
        count += part.count;
        if std::io::stderr().is_terminal() {
            eprint!("\r{count} sealed anew");
            let _ = std::io::stderr().flush();
        }
        match part.next {
            Some(next) => at = Some(next),
            None => break,
        }
    }
    if std::io::stderr().is_terminal() {
        eprintln!();
    }
    clear_away(&*store.scrubber).await?;
    let after = store.keys.status().await?;
    if let Some((id, left)) = after.in_use.iter().find(|(id, _)| *id != after.in_force) {
        return Err(CliError::message(format!(
            "{left} data keys are sealed under {id} still; is a node of another version running? Rotate once more"
        )));
    }
    journal_command(store, "key rotate", None, &format!("ends: {count} sealed anew")).await?;
    println!("{count} sealed anew; nothing is sealed under another key");
    for id in after.given.iter().filter(|id| **id != after.in_force) {
        println!("{id} is not needed any more: `semblance key drop {id}` once no backup is kept that needs it");
    }
    Ok(())
}
