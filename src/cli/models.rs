//! `semblance models`: what is in the box.

use clap::Subcommand;

use super::CliError;
use crate::app;
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check every file's SHA-256 and load every model.
    Check,
    /// List the models with their sources and licences.
    List {
        /// Print JSON, as /licences does.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(settings: &Settings, command: &Command) -> Result<(), CliError> {
    let manifest = app::manifest(settings)?;
    match command {
        Command::Check => {
            app::load_engine(settings)?;
            let dir = app::models_dir(settings)?;
            println!("{}: {} models are whole and load", dir.display(), manifest.models().count());
        }
        Command::List { json: true } => println!("{:#}", app::licences(&manifest)),
        Command::List { json: false } => {
            for model in manifest.models() {
                println!("{} ({}): {}", model.id, model.role, model.title);
                println!("  {}\n  {}, {}\n  sha256 {}", model.source, model.licence, model.copyright, model.sha256);
            }
        }
    }
    Ok(())
}
