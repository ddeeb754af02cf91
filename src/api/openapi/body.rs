//! The bodies of requests, as the document describes them.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::operation::RequestBody;
use super::parameter::optional_template_id;
use super::reference;
use crate::api::extract::PeopleSearch;
use crate::domain::{Field, details};

#[derive(Serialize)]
pub(super) struct RequestBodyObject {
    required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'static str>,
    content: Content,
}

/// Media types and their schemas, in the order of the list: generators of clients take the first one.
pub(super) struct Content(Vec<(&'static str, Value)>);

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(media_type, schema)| (media_type, json!({ "schema": schema }))))
    }
}

impl RequestBody {
    pub(super) fn object(self) -> RequestBodyObject {
        let template_id = json!({
            "type": "object",
            "properties": { "templateId": reference("schemas", "TemplateId") },
            "required": ["templateId"],
        });
        let content = match self {
            Self::Photo => photo_content(Map::new()),
            Self::PhotoAndTemplateId => {
                let mut template_id = optional_template_id();
                template_id["description"] = "The id to enrol under. A new random one when absent or empty.".into();
                let mut properties = details_properties();
                properties.insert("templateId".to_owned(), template_id);
                photo_content(properties)
            }
            Self::Details => ["application/merge-patch+json", "application/json"]
                .map(|media_type| (media_type, reference("schemas", "TemplateChange")))
                .to_vec(),
            Self::Search => {
                let mut schema = schemars::schema_for!(PeopleSearch).to_value();
                if let Some(schema) = schema.as_object_mut() {
                    schema.remove("$schema");
                    schema.remove("title");
                }
                vec![("application/json", schema)]
            }
            Self::TwoPhotos => {
                let names = ["first_photo", "second_photo", "first_selfie", "second_selfie"];
                let properties: Map<String, Value> =
                    names.map(|name| (name.to_owned(), photo_part())).into_iter().collect();
                let either = |names: [&str; 2]| json!({ "anyOf": names.map(|name| json!({ "required": [name] })) });
                vec![(
                    "multipart/form-data",
                    json!({
                        "type": "object",
                        "description": "The names of both eras are understood, also mixed.",
                        "properties": properties,
                        "allOf": [either(["first_photo", "first_selfie"]), either(["second_photo", "second_selfie"])],
                    }),
                )]
            }
            Self::Move => json_content(json!({
                "type": "object",
                "properties": {
                    "to": reference("schemas", "TemplateId"),
                    "removeEmpty": {
                        "type": "boolean",
                        "default": false,
                        "description": "Remove the template if this was its last sample, instead of refusing.",
                    },
                },
                "required": ["to"],
            })),
            Self::Merge => json_content(json!({
                "type": "object",
                "properties": { "from": reference("schemas", "TemplateId") },
                "required": ["from"],
            })),
            Self::Rename => json_content(json!({
                "type": "object",
                "properties": { "to": reference("schemas", "TemplateId") },
                "required": ["to"],
            })),
            Self::TemplateId => ["application/json", "application/x-www-form-urlencoded", "multipart/form-data"]
                .map(|media_type| (media_type, template_id.clone()))
                .to_vec(),
        };
        let description =
            (self == Self::TemplateId).then_some("JSON under any label, an urlencoded form, or a multipart form.");
        RequestBodyObject { required: true, description, content: Content(content) }
    }
}

fn json_content(schema: Value) -> Vec<(&'static str, Value)> {
    vec![("application/json", schema)]
}

/// A change of the details of a template. It has a name, because two media types have it.
pub(super) fn template_change() -> Value {
    let mut properties = details_properties();
    for property in properties.values_mut() {
        *property = json!({ "anyOf": [property, { "type": "null" }] });
    }
    json!({
        "type": "object",
        "description": "A JSON merge patch (RFC 7396): null removes a detail, what is absent stays.",
        "properties": properties,
        "additionalProperties": false,
    })
}

/// The details of a template, all optional.
pub(in crate::api) fn details_properties() -> Map<String, Value> {
    let text =
        |max: usize, description: &str| json!({ "type": "string", "maxLength": max, "description": description });
    let properties = [
        (Field::Name, text(details::MAX_NAME_CHARS, "The name of the person.")),
        (
            Field::ExternalId,
            text(details::MAX_EXTERNAL_ID_CHARS, "The id of the person in another system; no other template has it."),
        ),
        (
            Field::Groups,
            json!({
                "type": "array",
                "items": { "type": "string", "maxLength": details::MAX_GROUP_CHARS },
                "maxItems": details::MAX_GROUPS,
                "description": "The groups that the person belongs to. In a form: a JSON list, or one field a group.",
            }),
        ),
        (
            Field::Metadata,
            json!({
                "type": "object",
                "description": "A JSON object of up to 4096 bytes, nested at most 4 deep. In a form: as text.",
            }),
        ),
        (Field::ConsentReference, text(details::MAX_CONSENT_CHARS, "Where the consent of the person is documented.")),
        (
            Field::ExpiresAt,
            json!({ "type": "string", "format": "date-time", "description": "From when the template is erased, in UTC." }),
        ),
    ];
    properties.into_iter().map(|(field, schema)| (field.as_str().to_owned(), schema)).collect()
}

/// A form with a photo and other fields, or the photo alone.
fn photo_content(mut properties: Map<String, Value>) -> Vec<(&'static str, Value)> {
    properties.insert("photo".to_owned(), photo_part());
    let form = json!({ "type": "object", "properties": properties, "required": ["photo"] });
    let bare = |media_type: &str| {
        json!({
            "type": "string",
            "format": "binary",
            "description": "The photo itself as the whole body.",
            "contentMediaType": media_type,
        })
    };
    let mut content = vec![("multipart/form-data", form)];
    content.extend(["image/jpeg", "image/png"].map(|media_type| (media_type, bare(media_type))));
    content
}

/// A file of a form.
pub(in crate::api) fn photo_part() -> Value {
    json!({
        "type": "string",
        "format": "binary",
        "description": "A JPEG or PNG with exactly one face. EXIF orientation is applied.",
        "contentMediaType": "application/octet-stream",
    })
}
