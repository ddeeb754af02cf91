//! The text form of a template id.

use crate::api::ApiError;
use crate::domain::TemplateId;

/// The usual name of the field or parameter.
pub(super) const NAME: &str = "templateId";

/// Parses a template id that came as `templateId`.
pub(in crate::api) fn parse_template_id(text: &str) -> Result<TemplateId, ApiError> {
    parse_template_id_named(NAME, text)
}

/// Parses a template id that came under another name.
pub(in crate::api) fn parse_template_id_named(name: &str, text: &str) -> Result<TemplateId, ApiError> {
    text.parse().map_err(|error| ApiError::bad_request(format!("{name} {error}")))
}
