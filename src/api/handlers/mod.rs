//! One endpoint, or one family of endpoints, per file. Each handler takes the parts of its request
//! in the order in which the request may be refused, calls one use case, and picks the reply.

pub(super) mod add;
pub(super) mod delete;
pub(super) mod identify;
pub(super) mod inspect;
pub(super) mod key;
pub(super) mod ops;
pub(super) mod samples;
pub(super) mod templates;
pub(super) mod unsupported;
pub(super) mod verify;

use super::ApiError;
use super::audit::Audited;

/// What the handler of an operation returns: a success with its entry in the journal, or a failure, which the request
/// log writes by itself.
type Answer = Result<Audited, ApiError>;
