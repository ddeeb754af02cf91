//! The parameters of requests.

use serde_json::{Value, json};

use super::Limits;

/// A parameter in a path, a query or a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Parameter {
    CheckLiveness,
    CheckDeepfake,
    Replace,
    Faces,
    Threshold,
    Candidates,
    Limit,
    After,
    TemplateId,
    SampleId,
    Token,
    IdempotencyKey,
    IfMatch,
    Q,
    Group,
    CreatedFrom,
    CreatedTo,
    Sort,
    Order,
    Cursor,
    Total,
    Trace,
}

impl Parameter {
    pub(super) const ALL: [Self; 22] = [
        Self::CheckLiveness,
        Self::CheckDeepfake,
        Self::Replace,
        Self::Faces,
        Self::Threshold,
        Self::Candidates,
        Self::Limit,
        Self::After,
        Self::TemplateId,
        Self::SampleId,
        Self::Token,
        Self::IdempotencyKey,
        Self::IfMatch,
        Self::Q,
        Self::Group,
        Self::CreatedFrom,
        Self::CreatedTo,
        Self::Sort,
        Self::Order,
        Self::Cursor,
        Self::Total,
        Self::Trace,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::CheckLiveness => "check_liveness",
            Self::CheckDeepfake => "check_deepfake",
            Self::Replace => "replace",
            Self::Faces => "faces",
            Self::Threshold => "threshold",
            Self::Candidates => "candidates",
            Self::Limit => "limit",
            Self::After => "after",
            Self::TemplateId => "templateId",
            Self::SampleId => "sampleId",
            Self::Token => "token",
            Self::IdempotencyKey => "Idempotency-Key",
            Self::IfMatch => "If-Match",
            Self::Q => "q",
            Self::Group => "group",
            Self::CreatedFrom => "createdFrom",
            Self::CreatedTo => "createdTo",
            Self::Sort => "sort",
            Self::Order => "order",
            Self::Cursor => "cursor",
            Self::Total => "total",
            Self::Trace => "trace",
        }
    }

    /// Its object in the document.
    pub(super) fn object(self, limits: &Limits) -> Value {
        match self {
            Self::CheckLiveness => {
                self.flag("Also judge whether the photo is of a live person. 501 if no model for it is installed.")
            }
            Self::CheckDeepfake => {
                self.flag("Also judge whether the photo is genuine. 501 if no model for it is installed.")
            }
            Self::Replace => self.flag("Replace a template of the same id instead of refusing."),
            Self::Faces => self.query(
                "Which face is meant if a photo has several. `only` refuses such a photo with code 6; `largest` takes \
                 the one with the largest box (an ID card with a second, small portrait), `central` the one nearest to \
                 the middle of the photo.",
                json!({ "type": "string", "enum": ["only", "largest", "central"], "default": "only" }),
            ),
            Self::Threshold => self.query(
                "The similarity from which a face counts as the same, instead of the server's.",
                json!({ "type": "number", "minimum": 0, "maximum": 1 }),
            ),
            Self::Candidates => self.query(
                "Also list up to this many templates that reach the threshold, best first.",
                json!({ "type": "integer", "minimum": 1, "maximum": limits.max_candidates }),
            ),
            Self::Limit => self.query(
                "Templates on the page.",
                json!({
                    "type": "integer",
                    "minimum": 1,
                    "maximum": limits.page_max,
                    "default": limits.page_default,
                }),
            ),
            Self::After => self.query(
                "List the templates after this id: the `next` of the page before. Empty: from the first.",
                optional_template_id(),
            ),
            Self::TemplateId => self.path("The template.", json!({ "$ref": "#/components/schemas/TemplateId" })),
            Self::SampleId => self.path("The sample.", json!({ "type": "string", "format": "uuid" })),
            Self::Token => self.path("The session's token.", json!({ "type": "string" })),
            Self::Q => self.query(
                "The beginning of an id, of an external id, or of each word of a name.",
                json!({ "type": "string", "maxLength": 200 }),
            ),
            Self::Group => self.query(
                "A group that the people are in. Several: all of them.",
                json!({ "type": "array", "items": { "type": "string" }, "maxItems": 32 }),
            ),
            Self::CreatedFrom => {
                self.query("Enrolled at this time or later.", json!({ "type": "string", "format": "date-time" }))
            }
            Self::CreatedTo => {
                self.query("Enrolled before this time.", json!({ "type": "string", "format": "date-time" }))
            }
            Self::Sort => self.query(
                "The order; ties by id. By name, templates without a name come last.",
                json!({
                    "type": "string",
                    "enum": ["templateId", "createdAt", "updatedAt", "name"],
                    "default": "templateId",
                }),
            ),
            Self::Order => self.query(
                "Whether the order is reversed.",
                json!({ "type": "string", "enum": ["asc", "desc"], "default": "asc" }),
            ),
            Self::Cursor => self.query("The `nextCursor` of the page before.", json!({ "type": "string" })),
            Self::Total => self.flag("Also count the templates."),
            Self::Trace => {
                self.flag("Also list each step with what was measured, its limit, its time and what a person can do.")
            }
            Self::IfMatch => json!({
                "name": self.name(),
                "in": "header",
                "description": "The revision that the template must have: the quoted letter r and the `revision` of a \
                                reply. 412 if it was changed since.",
                "schema": { "type": "string", "pattern": r#"^("r[0-9]{1,19}"|\*)$"# },
            }),
            Self::IdempotencyKey => json!({
                "name": self.name(),
                "in": "header",
                "description": "A name for this request and its repetitions, such as a UUID, quoted or not. An equal \
                                request with the same key, within a day, is not executed again: it gets the first \
                                reply, with the header `Idempotency-Replayed`.",
                "schema": {
                    "type": "string",
                    "maxLength": 512,
                    // A quoted string of RFC 9651, or a text without quotes, blanks, commas, semicolons and backslashes.
                    "pattern": r#"^("([ !#-\[\]-~]|\\["\\])+"|[!#-+\--:<-\[\]-~]+)$"#,
                },
            }),
        }
    }

    fn query(self, description: &str, schema: Value) -> Value {
        json!({ "name": self.name(), "in": "query", "description": description, "schema": schema })
    }

    fn path(self, description: &str, schema: Value) -> Value {
        json!({ "name": self.name(), "in": "path", "required": true, "description": description, "schema": schema })
    }

    fn flag(self, description: &str) -> Value {
        let values = "`1`, `yes` and `on` mean true, `0`, `no`, `off` and an empty value mean false, in any case; \
                      anything else is refused.";
        self.query(&format!("{description} {values}"), json!({ "type": "boolean", "default": false }))
    }
}

/// A template id that may be empty.
pub(super) fn optional_template_id() -> Value {
    json!({ "type": "string", "maxLength": 128, "pattern": r"^[^\u0000-\u001F\u007F-\u009F]*$" })
}
