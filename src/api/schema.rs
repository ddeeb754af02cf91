//! Values of replies that have a schema of their own in the document of the API.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// A named schema of a text or a number.
macro_rules! named_schema {
    ($name:ident, $schema:tt) => {
        pub(in crate::api) enum $name {}

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    };
}

pub(super) use named_schema;

named_schema!(TransactionId, {
    "type": "string",
    "description": "Names this request, here, in the `X-Transaction-Id` header and in the server's log.",
    "format": "uuid",
});

named_schema!(TemplateId, {
    "type": "string",
    "description": "Opaque, case-sensitive text without control characters. White space around it is removed.",
    "minLength": 1,
    "maxLength": 128,
    "pattern": concat!(
        r"^[^\u0000-\u001F\u007F-\u009F]*[^\s\u0000-\u001F\u007F-\u009F]",
        r"[^\u0000-\u001F\u007F-\u009F]*$",
    ),
});

named_schema!(Similarity, {
    "type": "number",
    "description": "Accept from 0.75 on, unless the server publishes raw cosines.",
    "minimum": -1,
    "maximum": 1,
});

/// A `T` or null, where null has a meaning.
pub(super) fn nullable<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let schema = generator.subschema_for::<T>();
    json_schema!({ "oneOf": [schema, { "type": "null" }] })
}
