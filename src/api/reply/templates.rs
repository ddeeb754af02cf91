//! Templates as listed: no embeddings, no faces.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::face::Score;
use crate::api::schema::{TemplateId, nullable};
use crate::domain::rfc3339;
use crate::service::PeoplePage;
use crate::store::{PersonRecord, TemplateList, TemplateRecord};

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Template")]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct TemplateReply<'a> {
    #[schemars(with = "TemplateId")]
    template_id: &'a str,
    #[schemars(extend("format" = "date-time"))]
    created_at: String,
    samples: Vec<SampleReply<'a>>,
    /// When it was last changed.
    #[schemars(extend("format" = "date-time"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
    /// The gallery's revision of that change; zero when an earlier version made it. `If-Match: "r<revision>"` makes a
    /// change conditional.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consent_reference: Option<&'a str>,
    /// From when it is erased.
    #[schemars(extend("format" = "date-time"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
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
    /// Who enrolled it: `key:` or `administrator:` and an id, or `command`. Absent if it was not recorded.
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
    /// The `after` of the next page; null on the last, and for a search.
    #[schemars(schema_with = "nullable::<TemplateId>")]
    next: Option<&'a str>,
    /// For a search.
    #[serde(flatten)]
    found: Option<Listing>,
}

/// What a search adds to a page.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Listing {
    /// The `cursor` of the next page; null on the last.
    #[schemars(schema_with = "nullable::<String>")]
    next_cursor: Option<String>,
    /// Templates of the application, if `total` was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    /// Templates that the search finds, up to 10 000.
    #[serde(skip_serializing_if = "Option::is_none")]
    matched: Option<usize>,
    /// Whether there are not more.
    #[serde(skip_serializing_if = "Option::is_none")]
    matched_exact: Option<bool>,
    /// What `q` was compared with: `templateId`, `externalId` and `name`, or without an index of names `templateId` and
    /// `wholeExternalId`.
    searched: Vec<&'static str>,
}

impl Listing {
    pub(in crate::api) fn new(page: &PeoplePage, next_cursor: Option<String>) -> Self {
        Self {
            next_cursor,
            total: page.counts.map(|counts| counts.total),
            matched: page.counts.map(|counts| counts.matched),
            matched_exact: page.counts.map(|counts| counts.is_exact),
            searched: page.searched.iter().map(|searched| searched.as_str()).collect(),
        }
    }
}

/// Of a search.
pub(in crate::api) fn found(page: &PeoplePage, next_cursor: Option<String>) -> PageReply<'_> {
    let found = Listing::new(page, next_cursor);
    PageReply { templates: page.people.iter().map(person).collect(), next: None, found: Some(found) }
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
        updated_at: None,
        revision: None,
        name: None,
        external_id: None,
        groups: &[],
        metadata: None,
        consent_reference: None,
        expires_at: None,
    }
}

/// Of one template with its details.
pub(in crate::api) fn person(person: &PersonRecord) -> TemplateReply<'_> {
    let details = &person.details;
    TemplateReply {
        updated_at: Some(rfc3339(person.updated_at)),
        revision: Some(person.revision.0),
        name: details.name.as_deref(),
        external_id: details.external_id.as_deref(),
        groups: &details.groups,
        metadata: details.metadata.as_ref(),
        consent_reference: details.consent_reference.as_deref(),
        expires_at: details.expires_at.map(rfc3339),
        ..template(&person.template)
    }
}

/// Of a part of a gallery.
pub(in crate::api) fn page(page: &TemplateList) -> PageReply<'_> {
    PageReply {
        templates: page.templates.iter().map(template).collect(),
        next: page.next.as_ref().map(|last| last.as_str()),
        found: None,
    }
}
