//! How the document of the administration API describes a route.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

/// The schema of a type.
type SchemaFor = fn(&mut SchemaGenerator) -> Schema;

/// A query parameter, as the document describes it. All are optional.
#[derive(Debug, Clone, Copy)]
pub(in crate::api) struct QueryParameter {
    /// Its name.
    pub(in crate::api) name: &'static str,
    /// What it means, with its default.
    pub(in crate::api) description: &'static str,
    /// What it may be.
    kind: Kind,
}

/// What a query parameter may be.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Flag,
    Count { min: u64, max: Option<u64> },
    Fraction,
    Time,
    OneOf(&'static [&'static str]),
    Seconds(&'static [u64]),
}

impl QueryParameter {
    /// A text.
    pub(in crate::api) const fn new(name: &'static str, description: &'static str) -> Self {
        Self { name, description, kind: Kind::Text }
    }

    /// A switch, off when it is absent.
    pub(in crate::api) const fn flag(name: &'static str, description: &'static str) -> Self {
        Self { name, description, kind: Kind::Flag }
    }

    /// A whole number from `min` on.
    pub(in crate::api) const fn count(name: &'static str, min: u64, description: &'static str) -> Self {
        Self { name, description, kind: Kind::Count { min, max: None } }
    }

    /// A number from 0 to 1.
    pub(in crate::api) const fn fraction(name: &'static str, description: &'static str) -> Self {
        Self { name, description, kind: Kind::Fraction }
    }

    /// A time.
    pub(in crate::api) const fn time(name: &'static str, description: &'static str) -> Self {
        Self { name, description, kind: Kind::Time }
    }

    /// One of these words.
    pub(in crate::api) const fn one_of(
        name: &'static str,
        words: &'static [&'static str],
        description: &'static str,
    ) -> Self {
        Self { name, description, kind: Kind::OneOf(words) }
    }

    /// One of these numbers of seconds.
    pub(in crate::api) const fn seconds(name: &'static str, values: &'static [u64], description: &'static str) -> Self {
        Self { name, description, kind: Kind::Seconds(values) }
    }

    /// The object of the document.
    pub(in crate::api) fn object(&self) -> Value {
        let schema = match self.kind {
            Kind::Text => json!({ "type": "string" }),
            Kind::Flag => json!({ "type": "boolean", "default": false }),
            Kind::Count { min, max: None } => json!({ "type": "integer", "minimum": min }),
            Kind::Count { min, max: Some(max) } => json!({ "type": "integer", "minimum": min, "maximum": max }),
            Kind::Fraction => json!({ "type": "number", "minimum": 0, "maximum": 1 }),
            Kind::Time => json!({ "type": "string", "format": "date-time" }),
            Kind::OneOf(words) => json!({ "type": "string", "enum": words }),
            Kind::Seconds(values) => json!({ "type": "integer", "enum": values }),
        };
        json!({
            "name": self.name, "in": "query", "required": false, "description": self.description, "schema": schema,
        })
    }
}

/// The parameters of a page.
pub(in crate::api) const PAGE_QUERY: &[QueryParameter] = &[LIMIT, CURSOR];

const LIMIT: QueryParameter = QueryParameter {
    name: "limit",
    description: "The most items on the page; 100 when it is absent.",
    kind: Kind::Count { min: 1, max: Some(1000) },
};

const CURSOR: QueryParameter = QueryParameter::new("cursor", "The `nextCursor` of the page before.");

const CHECK_LIVENESS: QueryParameter = QueryParameter::flag(
    "check_liveness",
    "Also judge whether the photo is of a live person. 501 if no model for it is installed.",
);

const CHECK_DEEPFAKE: QueryParameter = QueryParameter::flag(
    "check_deepfake",
    "Also judge whether the photo is genuine. 501 if no model for it is installed.",
);

const FACES: QueryParameter = QueryParameter::one_of(
    "faces",
    &["only", "largest", "central"],
    "Which face is meant if a photo has several; `only` refuses such a photo. `only` when it is absent.",
);

const THRESHOLD: QueryParameter = QueryParameter::fraction(
    "threshold",
    "The similarity from which a face counts as the same, instead of the application's.",
);

/// The parameters of a photo.
pub(in crate::api) const PHOTO_QUERY: &[QueryParameter] = &[CHECK_LIVENESS, CHECK_DEEPFAKE, FACES];

/// The parameters of a photo that is compared with one person.
pub(in crate::api) const VERIFY_QUERY: &[QueryParameter] = &[CHECK_LIVENESS, CHECK_DEEPFAKE, FACES, THRESHOLD];

/// The parameters of a photo that is searched for.
pub(in crate::api) const IDENTIFY_QUERY: &[QueryParameter] = &[
    CHECK_LIVENESS,
    CHECK_DEEPFAKE,
    FACES,
    THRESHOLD,
    QueryParameter::count(
        "candidates",
        1,
        "List up to this many people, best first; absent: `identify.max_candidates`.",
    ),
    QueryParameter::flag("trace", "Also list each step with what was measured, its limit, its time and what to do."),
];

/// The parameters of a new person.
pub(in crate::api) const NEW_PERSON_QUERY: &[QueryParameter] = &[
    CHECK_LIVENESS,
    CHECK_DEEPFAKE,
    FACES,
    QueryParameter::one_of(
        "guard",
        &["off", "warn", "refuse"],
        "What happens to a likely mix-up; absent: the application's rule.",
    ),
    QueryParameter::flag("dryRun", "Only report what would be enrolled."),
];

/// A multipart form with photos.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Form {
    /// One photo.
    Photo,
    /// One photo, and the person that it is compared with.
    PhotoOfPerson,
    /// A person with 1 to 16 photos and details.
    NewPerson,
}

/// An operation, with the types of its body and of its `result`.
#[derive(Debug, Clone, Copy)]
pub(in crate::api) struct Operation {
    /// Its name, as generators of clients use it.
    pub(in crate::api) id: &'static str,
    /// One line.
    pub(in crate::api) summary: &'static str,
    /// The body; `None`: it has none.
    pub(in crate::api) body: Option<SchemaFor>,
    /// The form in place of a body of JSON.
    pub(in crate::api) form: Option<Form>,
    /// The `result` of a success; `None`: it has none.
    pub(in crate::api) result: Option<SchemaFor>,
    /// The status of a success.
    pub(in crate::api) status: u16,
    /// Whether a success may be 200, too: nothing was created then.
    pub(in crate::api) may_be_ok: bool,
    /// Whether it reads `If-Match`.
    pub(in crate::api) is_conditional: bool,
    /// Whether a success has an `ETag`.
    pub(in crate::api) has_etag: bool,
    /// The media type of a success without envelope, such as a file; `None`: the envelope.
    pub(in crate::api) media_type: Option<&'static str>,
    /// Another media type that the caller can choose in its place.
    pub(in crate::api) other_media_type: Option<&'static str>,
    /// Its query parameters.
    pub(in crate::api) query: &'static [QueryParameter],
    /// Failures that are special to it and have no `reason`.
    pub(in crate::api) statuses: &'static [u16],
    /// The words of `reason` that are special to it, beside those of its access rule, its path and its body.
    pub(in crate::api) reasons: &'static [&'static str],
}

impl Operation {
    /// An operation without body and result.
    pub(in crate::api) const fn new(id: &'static str, summary: &'static str) -> Self {
        Self {
            id,
            summary,
            body: None,
            form: None,
            result: None,
            status: 200,
            may_be_ok: false,
            is_conditional: false,
            has_etag: false,
            media_type: None,
            other_media_type: None,
            query: &[],
            statuses: &[],
            reasons: &[],
        }
    }

    /// The same, with a body.
    pub(in crate::api) fn takes<T: JsonSchema>(self) -> Self {
        Self { body: Some(|generator| generator.subschema_for::<T>()), ..self }
    }

    /// The same, with a form in place of a body of JSON.
    pub(in crate::api) const fn form(self, form: Form) -> Self {
        Self { form: Some(form), ..self }
    }

    /// Whether it has a body.
    pub(super) fn has_body(&self) -> bool {
        self.body.is_some() || self.form.is_some()
    }

    /// The same; a success is 201, with the path of what was created in `Location`.
    pub(in crate::api) const fn creates(self) -> Self {
        Self { status: 201, ..self }
    }

    /// The same; a success may be 200, too, with nothing created.
    pub(in crate::api) const fn or_ok(self) -> Self {
        Self { may_be_ok: true, ..self }
    }

    /// The same; a success has an `ETag`.
    pub(in crate::api) const fn tagged(self) -> Self {
        Self { has_etag: true, ..self }
    }

    /// The same; `If-Match` makes it conditional.
    pub(in crate::api) const fn conditional(self) -> Self {
        Self { is_conditional: true, ..self }
    }

    /// The same, with a result.
    pub(in crate::api) fn gives<T: JsonSchema>(self) -> Self {
        Self { result: Some(|generator| generator.subschema_for::<T>()), ..self }
    }

    /// The same; a success is 202, with the path of a job in `Location`.
    pub(in crate::api) const fn accepts(self) -> Self {
        Self { status: 202, ..self }
    }

    /// The same; a success is a file without envelope.
    pub(in crate::api) const fn file(self, media_type: &'static str) -> Self {
        Self { media_type: Some(media_type), ..self }
    }

    /// The same, with another media type that the caller can choose.
    pub(in crate::api) const fn or_file(self, media_type: &'static str) -> Self {
        Self { other_media_type: Some(media_type), ..self }
    }

    /// The same, with query parameters.
    pub(in crate::api) const fn query(self, query: &'static [QueryParameter]) -> Self {
        Self { query, ..self }
    }

    /// The same, with failures that have no `reason`.
    pub(in crate::api) const fn also(self, statuses: &'static [u16]) -> Self {
        Self { statuses, ..self }
    }

    /// The same, with words of `reason` that are special to it.
    pub(in crate::api) const fn refuses(self, reasons: &'static [&'static str]) -> Self {
        Self { reasons, ..self }
    }
}
