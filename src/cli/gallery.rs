//! `semblance gallery`: import, export and check the templates of an application.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::exchange::Line;
use super::photos::{analyze_all, people};
use super::{CliError, clear_away, tell, template_check};
use crate::app;
use crate::domain::{AppId, Checks, ModelTag, Need, Party, Revision, SampleId, Subject, TemplateId};
use crate::engine::{Analyze, AnalyzeError};
use crate::gallery::{IndexedTemplate, Matcher as _, MatcherFeed as _, Sample, brute_force};
use crate::settings::Settings;
use crate::store::{Cause, OnConflict, Store};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Enrol from a folder (one sub-folder of photos per person, or one photo per person), or from
    /// a file that `export` wrote. A running server shows the templates within a second.
    Import {
        /// The folder or file.
        from: PathBuf,
        #[command(flatten)]
        target: Target,
        /// Replace templates that exist instead of leaving them alone.
        #[arg(long)]
        replace: bool,
    },
    /// Write all templates, unsealed, to a file that only its owner can read.
    Export {
        /// The file; it must not exist.
        file: PathBuf,
        #[command(flatten)]
        target: Target,
    },
    /// Read every template, check that it opens and that a search for it finds it, and list those that look like templates
    /// of turned, halved or no faces.
    ///
    /// The list is made from the embeddings alone; nothing is removed. Of templates of upright, whole faces about 0.9 %
    /// are listed as well; of templates of faces turned by at least 60 degrees more than 99 % are found, of half faces 97 %,
    /// of animals and things 90 %.
    Check {
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Args)]
pub(super) struct Target {
    /// The application's id; not needed while there is only one.
    #[arg(long, value_name = "ID")]
    app: Option<String>,
}

/// Templates read from the store at a time.
const PAGE: usize = 1024;

/// Searches that a check compares with brute force.
const PROBES: usize = 200;

pub(super) async fn run(settings: Settings, command: Command) -> Result<(), CliError> {
    let store = app::open_store(&settings).await?;
    match command {
        Command::Import { from, target, replace } => {
            let app = resolve(&store, &target).await?;
            let on_conflict = if replace { OnConflict::Replace(Cause::IMPORT) } else { OnConflict::Refuse };
            tell(&store, "gallery import", Some(&app), "begins").await?;
            let report = if from.is_dir() {
                import_photos(&settings, &store, &app, &from, on_conflict).await?
            } else {
                import_file(&store, &app, &from, on_conflict).await?
            };
            clear_away(&*store.vault).await?;
            let ends = format!("ends: {} templates with {} samples", report.templates, report.samples);
            tell(&store, "gallery import", Some(&app), &ends).await?;
            report.print()
        }
        Command::Export { file, target } => {
            let app = resolve(&store, &target).await?;
            // Before the first template leaves: whatever becomes of this process, the journal tells of it.
            tell(&store, "gallery export", Some(&app), "begins").await?;
            export(&settings, &store, &app, &file).await
        }
        Command::Check { target } => {
            let app = resolve(&store, &target).await?;
            check(&settings, &store, &app).await
        }
    }
}

/// The application named, or the only one.
pub(super) async fn resolve(store: &Store, target: &Target) -> Result<AppId, CliError> {
    let all = store.apps.list().await?;
    match &target.app {
        Some(id) => all
            .into_iter()
            .map(|record| record.id)
            .find(|known| known.as_str() == id.trim())
            .ok_or_else(|| CliError::message(format!("there is no application {id}"))),
        None => match &all[..] {
            [only] => Ok(only.id.clone()),
            [] => Err(CliError::message("there is no application yet; make one with: semblance app create NAME")),
            _ => Err(CliError::message("there are several applications; name one with --app")),
        },
    }
}

#[derive(Debug, Default)]
struct Report {
    templates: usize,
    samples: usize,
    existing: usize,
    faults: BTreeMap<PathBuf, String>,
}

impl Report {
    fn print(&self) -> Result<(), CliError> {
        for (photo, fault) in &self.faults {
            eprintln!("{}: {fault}", photo.display());
        }
        println!("{} templates with {} samples imported", self.templates, self.samples);
        if self.existing > 0 {
            println!("{} templates exist already and were left alone (--replace replaces them)", self.existing);
        }
        match self.faults.len() {
            0 => Ok(()),
            n => Err(CliError::message(format!("{n} photos could not be enrolled"))),
        }
    }
}

/// Templates inserted in one transaction.
const BATCH: usize = 256;

async fn insert(
    store: &Store,
    app: &AppId,
    templates: &[IndexedTemplate],
    on_conflict: OnConflict,
    report: &mut Report,
) -> Result<(), CliError> {
    if templates.is_empty() {
        return Ok(());
    }
    let revisions = store.templates.insert_all(app, templates, on_conflict).await?;
    for (template, revision) in templates.iter().zip(revisions) {
        if revision.is_none() {
            report.existing += 1;
        } else {
            report.templates += 1;
            report.samples += template.samples.len();
        }
    }
    Ok(())
}

async fn import_photos(
    settings: &Settings,
    store: &Store,
    app: &AppId,
    dir: &Path,
    on_conflict: OnConflict,
) -> Result<Report, CliError> {
    let engine: Arc<dyn Analyze> = app::start_engine(settings)?;
    let photos = people(dir)?;
    let mut report = Report::default();
    let mut templates: BTreeMap<TemplateId, Vec<Sample>> = BTreeMap::new();
    let paths: Vec<PathBuf> = photos.iter().map(|(_, path)| path.clone()).collect();
    let need = Need {
        embedding: true,
        checks: Checks::default(),
        attributes: false,
        subject: Subject::Only,
        party: Party::default(),
    };
    analyze_all(&engine, settings.compute.inference_threads, &paths, need, |at, outcome| {
        let (person, path) = &photos[at];
        let id = match person.parse::<TemplateId>() {
            Ok(id) => id,
            Err(error) => {
                report.faults.insert(path.clone(), format!("the name {error}"));
                return Ok(());
            }
        };
        match outcome {
            Ok(analysis) => {
                let sample = analysis.embedding.map(|embedding| Sample { id: SampleId::random(), embedding });
                templates.entry(id).or_default().extend(sample);
            }
            Err(AnalyzeError::Fault(fault)) => {
                report.faults.insert(path.clone(), fault.to_string());
            }
            Err(other) => return Err(CliError::Service(other.into())),
        }
        Ok(())
    })
    .await?;
    let templates: Vec<IndexedTemplate> = templates
        .into_iter()
        .filter(|(_, samples)| !samples.is_empty())
        .map(|(id, samples)| IndexedTemplate { id, samples })
        .collect();
    for batch in templates.chunks(BATCH) {
        insert(store, app, batch, on_conflict, &mut report).await?;
    }
    Ok(report)
}

async fn import_file(store: &Store, app: &AppId, file: &Path, on_conflict: OnConflict) -> Result<Report, CliError> {
    let reader = BufReader::new(File::open(file).map_err(CliError::file(file))?);
    let (mut report, mut batch) = (Report::default(), Vec::with_capacity(BATCH));
    for (number, line) in reader.lines().enumerate() {
        let line = line.map_err(CliError::file(file))?;
        let at = |what: String| CliError::message(format!("{}, line {}: {what}", file.display(), number + 1));
        let template = Line::read(&line).map_err(|error| at(error.to_string()))?;
        if template.samples.is_empty() {
            continue;
        }
        batch.push(template);
        if batch.len() == BATCH {
            insert(store, app, &batch, on_conflict, &mut report).await?;
            batch.clear();
        }
    }
    insert(store, app, &batch, on_conflict, &mut report).await?;
    Ok(report)
}

/// Reads the whole gallery, page by page. What cannot be read is said, and is an error in the end.
async fn each_page(
    store: &Store,
    app: &AppId,
    model: &ModelTag,
    mut each: impl FnMut(Vec<IndexedTemplate>) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let (mut after, mut unread): (Option<TemplateId>, usize) = (None, 0);
    loop {
        let page = store.templates.load(app, model, after.as_ref(), PAGE).await?;
        each(page.templates)?;
        unread += page.unread.len();
        for unread in page.unread {
            eprintln!("{}: {}", unread.template, unread.fault);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    match unread {
        0 => Ok(()),
        n => Err(CliError::message(format!("{n} stored samples cannot be read"))),
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
    each_page(store, app, &model, |page| {
        for template in page {
            count += 1;
            serde_json::to_writer(&mut out, &Line::from(template)).map_err(|e| CliError::file(file)(e.into()))?;
            out.write_all(b"\n").map_err(CliError::file(file))?;
        }
        Ok(())
    })
    .await?;
    out.flush().and_then(|()| out.get_ref().sync_all()).map_err(CliError::file(file))?;
    tell(store, "gallery export", Some(app), &format!("ends: {count} templates")).await?;
    println!("{count} templates written to {}", file.display());
    Ok(())
}

async fn check(settings: &Settings, store: &Store, app: &AppId) -> Result<(), CliError> {
    let model = app::embedding_model(settings)?;
    let mut templates = Vec::new();
    each_page(store, app, &model, |page| {
        templates.extend(page);
        Ok(())
    })
    .await?;
    let samples: usize = templates.iter().map(|t| t.samples.len()).sum();
    println!("{} templates with {samples} samples of model {model} open", templates.len());
    let index = app::start_matcher(settings);
    index.replace(app, Revision(0), templates.clone());
    // A spread of the templates, so that a check of a million ends: each search is compared with
    // brute force over everything.
    let step = templates.len().div_ceil(PROBES).max(1);
    let (mut searched, mut wrong) = (0, 0);
    for sample in templates.iter().step_by(step).filter_map(|t| t.samples.first()) {
        let ranked = index.best(app, &sample.embedding, 3).await.map_err(crate::service::Error::from)?;
        searched += 1;
        wrong += usize::from(ranked.hits != brute_force::top_k(&templates, &sample.embedding, 3));
    }
    if wrong > 0 {
        return Err(CliError::message(format!("{wrong} of {searched} searches differ from brute force")));
    }
    println!("{searched} searches agree with brute force");
    template_check::run(settings, &templates)
}
