//! The journal entry of a request, which its handler fills.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;

use super::outcome::Outcome;
use crate::domain::{AppId, Similarity, TemplateId};
use crate::journal::Entry;

/// The entry of one request. A handler fills it while it works; the request log reads it at the end, also when the
/// client goes away before.
#[derive(Debug, Clone, Default)]
pub(super) struct Audit(Arc<Mutex<Entry>>);

/// A success, with its outcome in the journal. Only [`Audit`] makes one, so no handler of an operation can succeed
/// without an entry.
pub(super) struct Audited(Outcome);

impl Audit {
    /// For a request of this client.
    pub(super) fn new(client: Option<IpAddr>) -> Self {
        let client = client.map(|client| client.to_string());
        Self(Arc::new(Mutex::new(Entry { client, ..Entry::default() })))
    }

    fn change(&self, change: impl FnOnce(&mut Entry)) {
        change(&mut self.0.lock());
    }

    /// The entry so far.
    pub(super) fn entry(&self) -> Entry {
        self.0.lock().clone()
    }

    /// Whether the credentials were good.
    pub(super) fn is_authenticated(&self) -> bool {
        self.0.lock().app.is_some()
    }

    /// Notes who calls.
    pub(super) fn caller(&self, app: &AppId) {
        self.change(|entry| entry.app = Some(app.as_str().to_owned()));
    }

    /// Notes which template it is about.
    pub(super) fn template(&self, template: &TemplateId) {
        self.change(|entry| entry.template_id = Some(template.as_str().to_owned()));
    }

    /// Notes the threshold in force.
    pub(super) fn threshold(&self, threshold: f64) {
        self.change(|entry| entry.threshold = Some(threshold));
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
