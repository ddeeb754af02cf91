//! `semblance config`: every setting, its value and its source.

use clap::Args;

use super::CliError;
use super::output::outln;
use crate::api::{SettingSource, SettingView};
use crate::app::setting_views;
use crate::settings::{Origin, Reload, SettingEntry, Settings};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
    /// Only settings that are not defaults.
    #[arg(long)]
    changed: bool,
}

pub(super) fn run(settings: &Settings, arguments: &Arguments) -> Result<(), CliError> {
    let mut section = "";
    if arguments.json {
        let is_shown = |view: &SettingView| !arguments.changed || view.source != SettingSource::Default;
        for view in setting_views(settings).iter().filter(|view| is_shown(view)) {
            outln!("{}", serde_json::to_string(view).map_err(|error| CliError::message(error.to_string()))?)?;
        }
        return Ok(());
    }
    for entry in settings.entries.iter().filter(|entry| !arguments.changed || entry.origin != Origin::Default) {
        let (own, key) = entry.key.split_once('.').unwrap_or(("", &entry.key));
        if own != section {
            section = own;
            outln!("\n[{section}]")?;
        }
        outln!("{key} = {}  # {}{}", value(entry), entry.origin, note(entry))?;
    }
    Ok(())
}

/// The value as TOML; of a secret only whether it is set.
fn value(entry: &SettingEntry) -> String {
    match &entry.value {
        None if entry.is_set => "(set)".to_owned(),
        None => "(not set)".to_owned(),
        Some(value) => value.to_string(),
    }
}

fn note(entry: &SettingEntry) -> String {
    let in_force = entry.in_force.map(|number| format!("; in force: {number}"));
    let reload = match entry.reload {
        Reload::Setting => "; SIGHUP reads it again",
        Reload::Content => "; a running server reads the file again",
        Reload::Nothing => "",
    };
    format!("{}{reload}", in_force.unwrap_or_default())
}
