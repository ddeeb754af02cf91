//! `semblance models`: the model pack.

use clap::Subcommand;

use super::CliError;
use super::output::{outln, print};
use crate::app::{self, StartError};
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check every file's SHA-256, load every model and compare what it computes with golden.toml.
    Check,
    /// Print golden.toml as this machine computes it (for maintainers, after a model changed).
    Golden,
    /// List the models with their license and provenance.
    List {
        /// Print JSON, as /licences does.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(settings: &Settings, command: &Command) -> Result<(), CliError> {
    let pack = app::model_pack(settings)?;
    match command {
        Command::Check => {
            app::load_engine(settings)?.self_check().map_err(StartError::from)?;
            let dir = app::models_dir(settings)?;
            outln!(
                "{}: {} models have the right SHA-256, load and compute the golden outputs",
                dir.display(),
                pack.models().count()
            )?;
        }
        Command::Golden => print(format_args!("{}", app::load_engine(settings)?.golden().map_err(StartError::from)?))?,
        Command::List { json: true } => outln!("{:#}", app::licences(&pack)?)?,
        Command::List { json: false } => {
            for model in pack.models() {
                outln!("{} ({}): {}", model.id, model.role, model.title)?;
                outln!("  {}\n  {}, {}\n  sha256 {}", model.source, model.licence, model.copyright, model.sha256)?;
            }
            if let Some(provenance) = &pack.runtime_provenance {
                outln!(
                    "{} (runtime)\n  {}\n  {}, {}",
                    provenance.title,
                    provenance.source,
                    provenance.licence,
                    provenance.copyright
                )?;
                for component in pack.runtime_components().map_err(StartError::from)? {
                    outln!("  with {}: {}", component.name, component.licences.join(", "))?;
                }
            }
        }
    }
    Ok(())
}
