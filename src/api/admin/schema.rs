//! Values of bodies that have a schema of their own in the document of the administration API.

use crate::api::schema::named_schema;

named_schema!(Name, {
    "type": "string",
    "description": "A name for people, without control characters. White space around it is removed.",
    "minLength": 1,
    "maxLength": 200,
    "pattern": concat!(
        r"^[^\u0000-\u001F\u007F-\u009F]*[^\s\u0000-\u001F\u007F-\u009F]",
        r"[^\u0000-\u001F\u007F-\u009F]*$",
    ),
});

named_schema!(ExternalId, {
    "type": "string",
    "description": "The id of the person in another system; no other person of the application has it.",
    "minLength": 1,
    "maxLength": 128,
    "pattern": concat!(
        r"^[^\u0000-\u001F\u007F-\u009F]*[^\s\u0000-\u001F\u007F-\u009F]",
        r"[^\u0000-\u001F\u007F-\u009F]*$",
    ),
});

named_schema!(ConsentReference, {
    "type": "string",
    "description": "Where the consent of the person is documented.",
    "minLength": 1,
    "maxLength": 200,
    "pattern": concat!(
        r"^[^\u0000-\u001F\u007F-\u009F]*[^\s\u0000-\u001F\u007F-\u009F]",
        r"[^\u0000-\u001F\u007F-\u009F]*$",
    ),
});

named_schema!(Time, {
    "type": "string",
    "description": "A time in UTC (RFC 3339), from 1970 to 9999.",
    "format": "date-time",
});

named_schema!(AdministratorRole, { "type": "string", "enum": ["owner", "operator", "auditor"] });

named_schema!(AdministratorState, { "type": "string", "enum": ["active", "disabled"] });

named_schema!(ApplicationState, { "type": "string", "enum": ["active", "suspended"] });

named_schema!(KeyState, { "type": "string", "enum": ["active", "suspended"] });

named_schema!(GuardMode, { "type": "string", "enum": ["off", "warn", "refuse"] });

named_schema!(KeyScopes, {
    "type": "array",
    "items": { "type": "string", "enum": ["identify", "enroll", "read", "delete"] },
    "minItems": 1,
});

named_schema!(Fraction, { "type": "number", "minimum": 0, "maximum": 1 });

named_schema!(Share, { "type": "number", "exclusiveMinimum": 0, "maximum": 1 });

named_schema!(Rate, {
    "type": "number",
    "description": "Requests per second, 0 or at least 0.000001.",
    "minimum": 0,
    "maximum": 1_000_000,
});

named_schema!(Burst, { "type": "integer", "minimum": 1, "maximum": 4_294_967_295_u32 });

named_schema!(RetentionSeconds, { "type": "integer", "minimum": 1, "maximum": 371_085_174_288_000_u64 });
