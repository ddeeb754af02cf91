//! `semblance gallery import`: from a folder of photos, such as a personnel department's, or from an export.

mod alike;
mod file;
mod gather;
mod names;
mod photos;
mod plan;
mod progress;
mod read;
mod remedies;
mod report;
mod retry;
mod state;
mod walk;

use std::path::PathBuf;

use clap::Args;
use plan::Layout;

use super::output::outln;
use super::target::{Target, find_app};
use super::{CliError, journal_command, scrub_removed};
use crate::app;
use crate::domain::{Guard, Subject};
use crate::settings::Settings;
use crate::store::{ErasureReason, OnConflict, OpenMode};

/// Most templates written in one transaction.
const BATCH: usize = 256;

/// Exit code when some files or templates were not enrolled.
const EXIT_LEFT: u8 = 3;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The folder of photos, or the file that `export` wrote.
    from: PathBuf,
    #[command(flatten)]
    target: Target,
    /// Replace existing templates. By default they are kept as they are.
    #[arg(long, conflicts_with = "add_samples")]
    replace: bool,
    /// Add the photos to existing templates. Folders only.
    #[arg(long)]
    add_samples: bool,
    /// How photos are assigned to people. `auto`: a folder of photos is a person, unless they show different people; each
    /// photo beside folders is a person. `folders`: every folder of photos is a person. `files`: every photo is. Folders
    /// only.
    #[arg(long, value_enum, value_name = "auto|folders|files")]
    layout: Option<Layout>,
    /// Which face of a photo is meant. By default a photo with several faces is not enrolled. Folders only.
    #[arg(long, value_name = "only|largest|central")]
    faces: Option<Subject>,
    /// What happens to a photo that does not match the others of its person, and to a person who is already enrolled
    /// under another id. Default: the application's guard, at least `warn`. Folders only.
    #[arg(long, value_name = "off|warn|refuse")]
    guard: Option<Guard>,
    /// Write the report to PREFIX.csv and PREFIX.json. Default: in the data folder. Folders only.
    #[arg(long, value_name = "PREFIX")]
    report: Option<PathBuf>,
    /// File of the state from which the next run continues. Default: in the data folder. Folders only.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Analyse photos again that an earlier run refused. Folders only.
    #[arg(long)]
    again: bool,
}

/// What happens to an existing template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existing {
    Leave,
    Replace,
    Extend,
}

impl Arguments {
    fn existing(&self) -> Existing {
        match (self.replace, self.add_samples) {
            (true, _) => Existing::Replace,
            (_, true) => Existing::Extend,
            _ => Existing::Leave,
        }
    }

    /// The first flag that applies to folders only.
    fn for_folders(&self) -> Option<&'static str> {
        [
            (self.add_samples, "--add-samples"),
            (self.layout.is_some(), "--layout"),
            (self.faces.is_some(), "--faces"),
            (self.guard.is_some(), "--guard"),
            (self.report.is_some(), "--report"),
            (self.state.is_some(), "--state"),
            (self.again, "--again"),
        ]
        .into_iter()
        .find_map(|(given, name)| given.then_some(name))
    }
}

pub(super) async fn run(mut settings: Settings, arguments: Arguments) -> Result<(), CliError> {
    settings.accept_every_format();
    let store = app::open_store(&settings, OpenMode::Create).await?;
    let record = find_app(&store, &arguments.target).await?;
    if arguments.from.is_dir() {
        return photos::import(&settings, &store, &record, &arguments).await;
    }
    if let Some(flag) = arguments.for_folders() {
        let from = arguments.from.display();
        return Err(CliError::message(format!("{flag} is for folders of photos; {from} is not a folder")));
    }
    let app = record.id;
    let on_conflict = if arguments.replace { OnConflict::Replace(ErasureReason::IMPORT) } else { OnConflict::Refuse };
    journal_command(&store, "gallery import", Some(&app), "begins").await?;
    let imported = file::import(&store, &app, &arguments.from, on_conflict).await?;
    scrub_removed(&*store.scrubber).await?;
    let ends = format!(
        "ends: {} templates with {} samples, {} refused",
        imported.templates, imported.samples, imported.refused
    );
    journal_command(&store, "gallery import", Some(&app), &ends).await?;
    outln!("{} templates with {} samples imported", imported.templates, imported.samples)?;
    if imported.existing > 0 {
        outln!("{} existing templates were not changed (--replace replaces them)", imported.existing)?;
    }
    if imported.refused > 0 {
        let message = format!("{} templates were not imported: a limit is reached", imported.refused);
        return Err(CliError::Exit { code: EXIT_LEFT, message });
    }
    Ok(())
}
