//! Templates as listed: no embeddings, no faces.

use schemars::JsonSchema;
use serde::Serialize;

use super::face::Score;
use crate::api::schema::{TemplateId, nullable};
use crate::domain::rfc3339;
use crate::store::{TemplateList, TemplateRecord};

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Template")]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct TemplateReply<'a> {
    #[schemars(with = "TemplateId")]
    template_id: &'a str,
    #[schemars(extend("format" = "date-time"))]
    created_at: String,
    samples: Vec<SampleReply<'a>>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Sample")]
#[serde(rename_all = "camelCase")]
struct SampleReply<'a> {
    #[schemars(extend("format" = "uuid"))]
    sample_id: String,
    /// The model that made its embedding.
    model: &'a str,
    #[schemars(extend("format" = "date-time"))]
    created_at: String,
    /// Who enrolled it: `application`, `command`, or an administrator. Absent if it was not recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    enrolled_by: Option<&'a str>,
    /// The quality (`crfiqa`) of its photo when it was enrolled. Absent if it was not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<Score>,
    /// Whether a crop of the photo is kept.
    has_crop: bool,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TemplatePage")]
pub(in crate::api) struct PageReply<'a> {
    templates: Vec<TemplateReply<'a>>,
    /// The `after` of the next page; null on the last.
    #[schemars(schema_with = "nullable::<TemplateId>")]
    next: Option<&'a str>,
}

/// Of one template.
pub(in crate::api) fn template(template: &TemplateRecord) -> TemplateReply<'_> {
    TemplateReply {
        template_id: template.id.as_str(),
        created_at: rfc3339(template.created_at),
        samples: template
            .samples
            .iter()
            .map(|sample| SampleReply {
                sample_id: sample.id.to_string(),
                model: sample.model.as_str(),
                created_at: rfc3339(sample.created_at),
                enrolled_by: sample.enrolled_by.as_deref(),
                quality: Score::new(sample.quality),
                has_crop: sample.has_crop,
            })
            .collect(),
    }
}

/// Of a part of a gallery.
pub(in crate::api) fn page(page: &TemplateList) -> PageReply<'_> {
    PageReply {
        templates: page.templates.iter().map(template).collect(),
        next: page.next.as_ref().map(|last| last.as_str()),
    }
}
