//! `semblance gallery`: import, export and check the templates of an application.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::ndjson::Line;
use super::output::outln;
use super::target::{Target, each_page, resolve};
use super::{CliError, journal_command, template_check};
use crate::app;
use crate::domain::{AppId, Revision, TemplateId};
use crate::gallery::{Matcher as _, MatcherFeed as _, brute_force};
use crate::settings::Settings;
use crate::store::{OpenMode, PersonRecord, Store};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Enroll from a folder of photos, or from a file that `export` wrote. A running server finds the templates within a
    /// second. Exit code 3: some files were not enrolled.
    Import(super::import::Arguments),
    /// Write all templates, unsealed, to a file that only its owner can read.
    Export {
        /// The file; it must not exist.
        file: PathBuf,
        #[command(flatten)]
        target: Target,
    },
    /// Check that every template can be decrypted and that a search finds it, and list those that look like templates of
    /// turned faces, of half faces, or of no face.
    ///
    /// The list is computed from the embeddings alone; nothing is deleted. Of templates of upright, whole faces about 0.9 %
    /// are listed as well; of templates of faces turned by at least 60 degrees more than 99 % are found, of half faces 97 %,
    /// of animals and things 90 %.
    Check {
        #[command(flatten)]
        target: Target,
    },
}

/// Searches that a check compares with brute force.
const PROBES: usize = 200;

pub(super) async fn run(settings: Settings, command: Command) -> Result<(), CliError> {
    match command {
        Command::Import(arguments) => super::import::run(settings, arguments).await,
        Command::Export { file, target } => {
            let store = app::open_store(&settings, OpenMode::Write).await?;
            let app = resolve(&store, &target).await?;
            // Before the first template is written: the journal has the export even if this process is killed.
            journal_command(&store, "gallery export", Some(&app), "begins").await?;
            export(&settings, &store, &app, &file).await
        }
        Command::Check { target } => {
            let store = app::open_store(&settings, OpenMode::Read).await?;
            let app = resolve(&store, &target).await?;
            check(&settings, &store, &app).await
        }
    }
}

async fn export(settings: &Settings, store: &Store, app: &AppId, file: &Path) -> Result<(), CliError> {
    let model = app::embedding_model(settings)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut out = BufWriter::new(options.open(file).map_err(CliError::file(file))?);
    let mut count = 0;
    each_page(store, app, &model, async |_, page| {
        let ids: Vec<TemplateId> = page.iter().map(|template| template.id.clone()).collect();
        let people = store.people.people(app, &ids).await?;
        if let Some(person) = people.iter().find(|person| person.unreadable) {
            let id = &person.template.id;
            return Err(CliError::message(format!("the details of template {id} cannot be opened; see the log")));
        }
        let people: HashMap<TemplateId, PersonRecord> =
            people.into_iter().map(|person| (person.template.id.clone(), person)).collect();
        for template in page {
            count += 1;
            let person = people.get(&template.id);
            let line = Line::from(template);
            let line = match person {
                Some(person) => line.noted(person),
                None => line, // it was removed meanwhile
            };
            serde_json::to_writer(&mut out, &line).map_err(|e| CliError::file(file)(e.into()))?;
            out.write_all(b"\n").map_err(CliError::file(file))?;
        }
        Ok(())
    })
    .await?;
    out.flush().and_then(|()| out.get_ref().sync_all()).map_err(CliError::file(file))?;
    journal_command(store, "gallery export", Some(app), &format!("ends: {count} templates")).await?;
    outln!("{count} templates written to {}", file.display())?;
    Ok(())
}

async fn check(settings: &Settings, store: &Store, app: &AppId) -> Result<(), CliError> {
    let model = app::embedding_model(settings)?;
    let mut templates = Vec::new();
    each_page(store, app, &model, async |_, page| {
        templates.extend(page);
        Ok(())
    })
    .await?;
    let samples: usize = templates.iter().map(|t| t.samples.len()).sum();
    outln!("{} templates with {samples} samples of model {model} open", templates.len())?;
    let index = app::start_matcher(settings);
    index.replace(app, Revision(0), templates.clone());
    // Evenly spaced templates: each search is compared with brute force over all of them, which takes long.
    let step = templates.len().div_ceil(PROBES).max(1);
    let mut searched = 0;
    let mut wrong = 0;
    for sample in templates.iter().step_by(step).filter_map(|t| t.samples.first()) {
        let ranked = index.top_k(app, &sample.embedding, 3).await.map_err(crate::service::Error::from)?;
        searched += 1;
        wrong += usize::from(ranked.hits != brute_force::top_k(&templates, &sample.embedding, 3));
    }
    if wrong > 0 {
        return Err(CliError::message(format!("{wrong} of {searched} searches differ from brute force")));
    }
    outln!("{searched} searches agree with brute force")?;
    template_check::run(settings, &templates)
}
