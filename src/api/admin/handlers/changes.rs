//! What the journal records of a change by an administrator.

use crate::api::admin::extract::Admin;
use crate::domain::{AppId, Clock};
use crate::store::OutboxEvent;

/// The event of a change by an administrator.
pub(super) fn event(admin: &Admin, app: &AppId, operation: &str, detail: &str) -> OutboxEvent {
    OutboxEvent::new(Clock::system().now(), operation, Some(app), detail).by(admin.actor()).within(admin.transaction)
}
