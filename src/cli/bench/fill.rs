//! `semblance bench fill`.

use std::path::PathBuf;

use clap::Args;

use super::super::CliError;
use super::super::output::outln;
use super::super::target::{Target, resolve};
use super::synthetic::SyntheticFaces;
use crate::app;
use crate::domain::{SampleId, random_uuid, stopwatch};
use crate::gallery::{IndexedTemplate, Sample};
use crate::settings::Settings;
use crate::store::{OnConflict, OpenMode};

#[derive(Debug, Args)]
pub(in crate::cli) struct Fill {
    /// Templates to add.
    #[arg(long, default_value_t = 100_000)]
    templates: usize,
    /// An export of real templates, several with more than one sample. The synthetic ones have its statistics.
    #[arg(long)]
    embeddings: PathBuf,
    #[command(flatten)]
    target: Target,
}

/// Templates inserted in one transaction.
const BATCH: usize = 1000;

pub(super) async fn run(settings: &Settings, arguments: &Fill) -> Result<(), CliError> {
    let store = app::open_store(settings, OpenMode::Create).await?;
    let app = resolve(&store, &arguments.target).await?;
    let mut source = SyntheticFaces::new(Some(&arguments.embeddings), 0, 1)?;
    let start = stopwatch();
    let mut left = arguments.templates;
    while left > 0 {
        let count = left.min(BATCH);
        let batch = (0..count).map(|_| {
            let person = source.person();
            let sample = Sample { id: SampleId::random(), embedding: source.photo(&person)? };
            let id = random_uuid().to_string();
            let id = id.parse().map_err(|error| CliError::message(format!("{error}")))?;
            Ok(IndexedTemplate { id, samples: vec![sample] })
        });
        let batch = batch.collect::<Result<Vec<_>, CliError>>()?;
        for inserted in store.templates.insert_all(&app, &batch, OnConflict::Refuse).await? {
            inserted.map_err(|refusal| CliError::message(refusal.to_string()))?;
        }
        left -= count;
    }
    outln!("{} templates added in {:.1} s", arguments.templates, start.elapsed().as_secs_f64())?;
    Ok(())
}
