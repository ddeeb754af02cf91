//! `semblance gallery import`: from folders of photos as a personnel department has them, or from an export.

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

use super::target::{Target, find_app};
use super::{CliError, clear_away, journal_command};
use crate::app;
use crate::domain::{Guard, Subject};
use crate::settings::Settings;
use crate::store::{ErasureReason, OnConflict};

/// Templates written in one transaction at most.
const BATCH: usize = 256;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The folder of photos, or the file that `export` wrote.
    from: PathBuf,
    #[command(flatten)]
    target: Target,
    /// Replace templates that exist instead of leaving them alone.
    #[arg(long, conflicts_with = "add_samples")]
    replace: bool,
    /// Add the photos to templates that exist. Folders only.
    #[arg(long)]
    add_samples: bool,
    /// How the photos are sorted. `auto`: a folder of photos is a person, unless they show different people; each photo
    /// beside folders is one. Folders only.
    #[arg(long, value_enum, value_name = "auto|folders|files")]
    layout: Option<Layout>,
    /// Which face of a photo is meant; without it a photo with several is left. Folders only.
    #[arg(long, value_name = "only|largest|central")]
    faces: Option<Subject>,
    /// What happens to a photo that does not match the others of its person, and to a person that is enrolled already
    /// under another id; without it the application's guard, but at least `warn`. Folders only.
    #[arg(long, value_name = "off|warn|refuse")]
    guard: Option<Guard>,
    /// Write the report to PREFIX.csv and PREFIX.json; without it to the data folder. Folders only.
    #[arg(long, value_name = "PREFIX")]
    report: Option<PathBuf>,
    /// Where the state is kept, from which the next run goes on; without it in the data folder. Folders only.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Look again at photos that an earlier run refused. Folders only.
    #[arg(long)]
    again: bool,
}

/// What happens to a template that exists.
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

    /// The first flag given that a file has no use for.
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
    let store = app::open_store(&settings).await?;
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
    clear_away(&*store.scrubber).await?;
    let ends = format!("ends: {} templates with {} samples", imported.templates, imported.samples);
    journal_command(&store, "gallery import", Some(&app), &ends).await?;
    println!("{} templates with {} samples imported", imported.templates, imported.samples);
    if imported.existing > 0 {
        println!("{} templates exist already and were left alone (--replace replaces them)", imported.existing);
    }
    Ok(())
}
