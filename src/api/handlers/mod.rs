//! One endpoint, or one family of endpoints, per file. Each handler takes the parts of its request
//! in the order in which the request may be refused, calls one use case, and picks the reply.

pub(super) mod add;
pub(super) mod delete;
pub(super) mod identify;
pub(super) mod inspect;
pub(super) mod ops;
pub(super) mod templates;
pub(super) mod unsupported;
pub(super) mod verify;

use super::ApiError;
use super::envelope::Outcome;

/// What a handler gives.
type Answer = Result<Outcome, ApiError>;
