//! The text form of a template id.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use uuid::Uuid;

use crate::api::audit::Audit;
use crate::api::{ApiError, ApiState};
use crate::domain::{SampleId, TemplateId};

/// The usual name of the field or parameter.
pub(super) const NAME: &str = "templateId";

/// The template that a path names.
pub(in crate::api) struct TemplatePath(pub(in crate::api) TemplateId);

impl FromRequestParts<ApiState> for TemplatePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &ApiState) -> Result<Self, ApiError> {
        let Ok(audit) = Audit::from_request_parts(parts, api).await;
        if parts.uri.path().ends_with("/templates/search") {
            // The path of the search is also that of the template with this id.
            return audited_template_id(&audit, "search").map(Self);
        }
        let path = Path::<String>::from_request_parts(parts, api).await;
        let Path(text) = path.map_err(|rejection| ApiError::from_status(rejection.status()))?;
        audited_template_id(&audit, &text).map(Self)
    }
}

/// The sample that a path names, after its template.
pub(in crate::api) struct SamplePath {
    pub(in crate::api) template: TemplateId,
    pub(in crate::api) sample: SampleId,
}

impl FromRequestParts<ApiState> for SamplePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &ApiState) -> Result<Self, ApiError> {
        let Ok(audit) = Audit::from_request_parts(parts, api).await;
        let path = Path::<(String, String)>::from_request_parts(parts, api).await;
        let Path((template, sample)) = path.map_err(|rejection| ApiError::from_status(rejection.status()))?;
        let template = audited_template_id(&audit, &template)?;
        let sample = Uuid::try_parse(&sample).map_err(|_| ApiError::bad_request("sampleId must be a UUID"))?;
        audit.sample(SampleId(sample));
        Ok(Self { template, sample: SampleId(sample) })
    }
}

/// Parses the id of the template that a request is about, and notes it for the journal.
pub(super) fn audited_template_id(audit: &Audit, text: &str) -> Result<TemplateId, ApiError> {
    let template = parse_template_id(NAME, text)?;
    audit.template(&template);
    Ok(template)
}

/// Parses a template id that came under a name.
pub(in crate::api) fn parse_template_id(name: &str, text: &str) -> Result<TemplateId, ApiError> {
    text.parse().map_err(|error| ApiError::bad_request(format!("{name} {error}")))
}
