//! The journal entry of a request, which its handler fills.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;

use super::outcome::Outcome;
use crate::domain::{Actor, AdministratorId, AppId, AppKeyId, SampleId, Similarity, TemplateId};
use crate::journal::{Entry, EntryActor, NearMatch};
use crate::service::Caller;
use crate::store::KeyFault;

/// The entry of one request. A handler fills it while it works; the request log reads it at the end, also when the
/// client goes away before.
#[derive(Debug, Clone, Default)]
pub(super) struct Audit(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    entry: Entry,
    lines: Lines,
    /// The end of the overlap of the caller's key.
    key_ends_at: Option<SystemTime>,
}

/// Which requests of a route have a line in the journal. Refused ones always have, within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Lines {
    /// Each one.
    #[default]
    Each,
    /// One for a minute, with a count: lists and searches.
    Counted,
    /// None of those that succeed: what a console polls.
    Never,
}

/// A success, with its outcome in the journal. Only [`Audit`] makes one, so no handler of an operation can succeed
/// without an entry.
pub(super) struct Audited(Outcome);

impl Audit {
    /// For a request of this client.
    pub(super) fn new(client: Option<IpAddr>) -> Self {
        let client = client.map(|client| client.to_string());
        let entry = Entry { client, ..Entry::default() };
        Self(Arc::new(Mutex::new(State { entry, lines: Lines::Each, key_ends_at: None })))
    }

    fn change(&self, change: impl FnOnce(&mut Entry)) {
        change(&mut self.0.lock().entry);
    }

    /// The entry so far.
    pub(super) fn entry(&self) -> Entry {
        self.0.lock().entry.clone()
    }

    /// Which requests have a line.
    pub(super) fn lines(&self) -> Lines {
        self.0.lock().lines
    }

    /// Sets which requests have a line.
    pub(super) fn set_lines(&self, lines: Lines) {
        let mut state = self.0.lock();
        state.lines = lines;
        state.entry.is_listing = lines == Lines::Counted;
    }

    /// Whether the credentials were good.
    pub(super) fn is_authenticated(&self) -> bool {
        self.0.lock().entry.actor.is_some()
    }

    /// When the caller's key ends, if it is in its overlap with the key that replaces it.
    pub(super) fn key_ends_at(&self) -> Option<SystemTime> {
        self.0.lock().key_ends_at
    }

    /// Notes who calls for which application.
    pub(super) fn caller(&self, caller: &Caller) {
        self.change(|entry| {
            entry.app = Some(caller.app.as_str().to_owned());
            entry.actor = Some(EntryActor::from(&caller.actor));
            entry.key_id = caller.key.map(|key| key.id.to_string());
        });
        self.0.lock().key_ends_at = caller.key.and_then(|key| key.ends_at);
    }

    /// Notes that the secret of a key was right, and why the key is refused. The request counts as one without
    /// credentials.
    pub(super) fn refused_key(&self, app: &AppId, key: AppKeyId, fault: KeyFault) {
        self.change(|entry| {
            entry.app = Some(app.as_str().to_owned());
            entry.key_id = Some(key.to_string());
            entry.reason = Some(fault.to_string());
        });
    }

    /// Notes which administrator calls.
    pub(super) fn administrator(&self, id: &AdministratorId) {
        let actor = Actor::Administrator(id.clone());
        self.change(|entry| entry.actor = Some(EntryActor::from(&actor)));
    }

    /// Notes which application it is about.
    pub(super) fn app(&self, app: &AppId) {
        self.change(|entry| entry.app = Some(app.as_str().to_owned()));
    }

    /// Notes which key of an application it is about.
    pub(super) fn key(&self, id: &str) {
        self.change(|entry| entry.key_id = Some(id.to_owned()));
    }

    /// Notes which sample it is about.
    pub(super) fn sample(&self, sample: SampleId) {
        self.change(|entry| entry.sample_id = Some(sample.to_string()));
    }

    /// Notes the names of the fields that changed, never their values.
    pub(super) fn changed<'a>(&self, fields: impl IntoIterator<Item = &'a str>) {
        let fields = fields.into_iter().map(str::to_owned).collect();
        self.change(|entry| entry.changed = fields);
    }

    /// Notes which template it is about.
    pub(super) fn template(&self, template: &TemplateId) {
        self.change(|entry| entry.template_id = Some(template.as_str().to_owned()));
    }

    /// Notes the threshold in force.
    pub(super) fn threshold(&self, threshold: f64) {
        self.change(|entry| entry.threshold = Some(threshold));
    }

    /// Notes the best candidate of an identification without a match, if it came near the threshold.
    pub(super) fn near(&self, template: &TemplateId, similarity: Similarity) {
        let near = NearMatch { template_id: template.as_str().to_owned(), similarity: similarity.get() };
        self.change(|entry| entry.near = Some(near));
    }

    /// Notes the outcome of an operation that succeeded.
    pub(super) fn succeeded(&self, outcome: &str, reply: Outcome) -> Audited {
        self.change(|entry| entry.outcome = Some(outcome.to_owned()));
        Audited(reply)
    }

    /// Notes the outcome of a comparison and its similarity.
    pub(super) fn compared(&self, outcome: &str, similarity: Similarity, reply: Outcome) -> Audited {
        self.change(|entry| entry.similarity = Some(similarity.get()));
        self.succeeded(outcome, reply)
    }
}

impl<S: Sync> FromRequestParts<S> for Audit {
    type Rejection = Infallible;

    /// The one that the envelope made for this request.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

impl IntoResponse for Audited {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}
