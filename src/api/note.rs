//! What a handler tells the journal about its request, beside its reply.

use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::{AppId, TemplateId};
use crate::journal::Entry;

/// Collected while a request is handled; read at its end, even if its client went away.
#[derive(Debug, Clone, Default)]
pub(super) struct Note(Arc<Mutex<Entry>>);

tokio::task_local! {
    /// The note of the request that this task handles.
    pub(super) static NOTE: Note;
}

impl Note {
    fn change(&self, change: impl FnOnce(&mut Entry)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What was told so far.
    pub(super) fn entry(&self) -> Entry {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn tell(change: impl FnOnce(&mut Entry)) {
    // Outside of a request there is nobody to tell.
    let _ = NOTE.try_with(|note| note.change(change));
}

/// Who calls.
pub(super) fn caller(app: &AppId) {
    tell(|entry| entry.app = Some(app.as_str().to_owned()));
}

/// What became of it.
pub(super) fn outcome(outcome: &str) {
    tell(|entry| entry.outcome = Some(outcome.to_owned()));
}

/// Which template it is about.
pub(super) fn template(template: &TemplateId) {
    tell(|entry| entry.template_id = Some(template.as_str().to_owned()));
}

/// The threshold in force.
pub(super) fn threshold(threshold: f64) {
    tell(|entry| entry.threshold = Some(threshold));
}

/// How similar.
pub(super) fn similarity(similarity: Option<f64>) {
    tell(|entry| entry.similarity = similarity);
}
