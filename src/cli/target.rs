//! The application of a command, and the templates of its gallery.

use clap::Args;

use super::CliError;
use super::output::errln;
use crate::domain::{AppId, ModelTag, TemplateId};
use crate::gallery::IndexedTemplate;
use crate::store::{AppRecord, Store};

#[derive(Debug, Args)]
pub(super) struct Target {
    /// The application's id; not needed when there is only one.
    #[arg(long, value_name = "ID")]
    app: Option<String>,
}

impl Target {
    /// The application of this id, or the only one.
    pub(super) fn new(app: Option<String>) -> Self {
        Self { app }
    }
}

/// Samples read from the store at a time.
pub(super) const PAGE: usize = 1024;

/// The named application, or the only one.
pub(super) async fn find_app(store: &Store, target: &Target) -> Result<AppRecord, CliError> {
    let mut all = store.apps.list().await?;
    match &target.app {
        Some(id) => all
            .into_iter()
            .find(|known| known.id.as_str() == id.trim())
            .ok_or_else(|| CliError::message(format!("there is no application {id}"))),
        None => match (all.pop(), all.len()) {
            (Some(only), 0) => Ok(only),
            (None, _) => {
                Err(CliError::message("there is no application yet; create one with: semblance app create NAME"))
            }
            _ => Err(CliError::message("there are several applications; name one with --app")),
        },
    }
}

/// The id of [`find_app`].
pub(super) async fn resolve(store: &Store, target: &Target) -> Result<AppId, CliError> {
    Ok(find_app(store, target).await?.id)
}

/// Reads the whole gallery, page by page; `each` also gets the id after which a page begins. Samples that cannot be read are printed, and are an error at the end.
pub(super) async fn each_page(
    store: &Store,
    app: &AppId,
    model: &ModelTag,
    mut each: impl AsyncFnMut(Option<&TemplateId>, Vec<IndexedTemplate>) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let (mut after, mut unreadable): (Option<TemplateId>, usize) = (None, 0);
    loop {
        let page = store.templates.load(app, model, after.as_ref(), PAGE).await?;
        each(after.as_ref(), page.templates).await?;
        unreadable += page.unreadable.len();
        for unreadable in page.unreadable {
            errln!("{}: {}", unreadable.template, unreadable.fault);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    match unreadable {
        0 => Ok(()),
        n => Err(CliError::message(format!("{n} stored samples cannot be read"))),
    }
}
