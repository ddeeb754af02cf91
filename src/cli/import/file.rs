//! Import from a file that `export` wrote.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use super::BATCH;
use crate::cli::CliError;
use crate::cli::ndjson::Line;
use crate::cli::output::errln;
use crate::domain::{AppId, PhotoFormat};
use crate::store::{DatedTemplate, OnConflict, Refusal, Store};

/// Refused templates that are printed one by one.
const PRINTED_REFUSALS: usize = 50;

/// Counts of an import.
#[derive(Debug, Default)]
pub(super) struct Imported {
    pub(super) templates: usize,
    pub(super) samples: usize,
    pub(super) existing: usize,
    /// Templates that a limit refused, or whose external id is taken.
    pub(super) refused: usize,
}

/// Imports a file, batch by batch. Batches written before an error stay. Templates that a limit refuses, or whose external
/// id is taken, are printed and counted.
pub(super) async fn import(
    store: &Store,
    app: &AppId,
    path: &Path,
    on_conflict: OnConflict,
) -> Result<Imported, CliError> {
    let mut file = File::open(path).map_err(CliError::file(path))?;
    let mut head = Vec::new();
    file.by_ref().take(512).read_to_end(&mut head).map_err(CliError::file(path))?;
    if PhotoFormat::sniff(&head).is_some() {
        return Err(CliError::message(format!(
            "{} is a photo: import the folder that it is in, or a file that `gallery export` wrote",
            path.display()
        )));
    }
    let reader = BufReader::new(head.as_slice().chain(file));
    let mut imported = Imported::default();
    let mut batch = Vec::with_capacity(BATCH);
    for (number, line) in reader.lines().enumerate() {
        let line = line.map_err(CliError::file(path))?;
        let at = |what: String| CliError::message(format!("{}, line {}: {what}", path.display(), number + 1));
        let template = Line::read_dated(&line).map_err(|error| at(error.to_string()))?;
        if template.template.samples.is_empty() {
            continue;
        }
        batch.push(template);
        if batch.len() == BATCH {
            insert(store, app, &batch, &on_conflict, &mut imported).await?;
            batch.clear();
        }
    }
    insert(store, app, &batch, &on_conflict, &mut imported).await?;
    Ok(imported)
}

async fn insert(
    store: &Store,
    app: &AppId,
    templates: &[DatedTemplate],
    on_conflict: &OnConflict,
    imported: &mut Imported,
) -> Result<(), CliError> {
    if templates.is_empty() {
        return Ok(());
    }
    let revisions = store.templates.insert_dated(app, templates, on_conflict.clone()).await?;
    for (DatedTemplate { template, .. }, revision) in templates.iter().zip(revisions) {
        match revision {
            Ok(_) => {
                imported.templates += 1;
                imported.samples += template.samples.len();
            }
            Err(Refusal::Exists) => imported.existing += 1,
            Err(refusal @ (Refusal::ExternalIdTaken | Refusal::Limit(_))) => {
                imported.refused += 1;
                if imported.refused <= PRINTED_REFUSALS {
                    let samples = template.samples.len();
                    errln!("{} with {samples} samples is not imported: {refusal}", template.id);
                }
            }
        }
    }
    Ok(())
}
