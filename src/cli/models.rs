//! `semblance models`: what is in the box.

use clap::Subcommand;

use super::CliError;
use crate::app::{self, StartError};
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check every file's SHA-256, load every model and compare what it computes with golden.toml.
    Check,
    /// Print golden.toml as this machine computes it (for maintainers, after a model changed).
    Golden,
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
            app::load_engine(settings)?.self_check().map_err(StartError::from)?;
            let dir = app::models_dir(settings)?;
            println!(
                "{}: {} models are whole, load and compute what they must",
                dir.display(),
                manifest.models().count()
            );
        }
        Command::Golden => print!("{}", app::load_engine(settings)?.golden().map_err(StartError::from)?),
        Command::List { json: true } => println!("{:#}", app::licences(&manifest)?),
        Command::List { json: false } => {
            for model in manifest.models() {
                println!("{} ({}): {}", model.id, model.role, model.title);
                println!("  {}\n  {}, {}\n  sha256 {}", model.source, model.licence, model.copyright, model.sha256);
            }
            if let Some(papers) = &manifest.runtime_papers {
                println!("{} (runtime)\n  {}\n  {}, {}", papers.title, papers.source, papers.licence, papers.copyright);
                for component in manifest.runtime_components().map_err(StartError::from)? {
                    println!("  with {}: {}", component.name, component.licences.join(", "));
                }
            }
        }
    }
    Ok(())
}
