//! From the wire to typed values.

mod boundary;
mod caller;
mod form;
mod idempotency;
mod json;
mod media;
mod page;
mod people;
mod people_query;
mod query;
mod stream;
mod template;
mod template_id;

pub(super) use caller::Authenticated;
pub(super) use form::{MANY_PHOTOS, ONE_PHOTO, TWO_PHOTOS, read_form};
pub(super) use idempotency::{IDEMPOTENCY_KEY, RequestKey};
pub(super) use json::read_json;
pub(super) use page::{CursorPath, Page};
pub(super) use people::{if_match, read_change, read_search};
pub(super) use people_query::{PeopleSearch, PlaceKey};
pub(super) use query::Query;
pub(super) use stream::read_capped;
pub(super) use template::read_template_id;
pub(super) use template_id::{SamplePath, TemplatePath, parse_template_id};
