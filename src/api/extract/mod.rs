//! From the wire to typed values.

mod boundary;
mod caller;
mod form;
mod idempotency;
mod json;
mod media;
mod query;
mod stream;
mod template;
mod template_id;

pub(super) use caller::Authenticated;
pub(super) use form::{ONE_PHOTO, TWO_PHOTOS, read_form};
pub(super) use idempotency::{IDEMPOTENCY_KEY, RequestKey};
pub(super) use json::read_json;
pub(super) use query::Query;
pub(super) use stream::read_capped;
pub(super) use template::read_template_id;
pub(super) use template_id::{SamplePath, TemplatePath, parse_template_id};
