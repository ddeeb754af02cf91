//! What the document says of the routes of templates.

use super::generator::Enveloped;
use super::operation::{
    DELETE, ENROLL_FAILURES, ENROLLED, Failure, LIST_FAILURES, Operation, PHOTO_FAILURES, REMOVED, Reply, RequestBody,
    STORE_FAILURES, Tag,
};
use super::parameter::Parameter;
use crate::api::reply::{MergedReply, MovedReply, PageReply, RenamedReply, TemplateReply, VerifiedTemplateReply};

pub(in crate::api) const TEMPLATES: Operation = Operation {
    id: "templates",
    tag: Tag::Templates,
    summary: "List templates, in byte order of their ids, or search them.",
    description: Some(
        "With one of the parameters after `after`, the templates have their details, and pages follow `nextCursor`. What \
         stands in a URL may be in the log of a proxy: `POST /templates/search` takes the same in a body.",
    ),
    parameters: &[
        Parameter::Limit,
        Parameter::After,
        Parameter::Q,
        Parameter::Group,
        Parameter::CreatedFrom,
        Parameter::CreatedTo,
        Parameter::Sort,
        Parameter::Order,
        Parameter::Cursor,
        Parameter::Total,
    ],
    body: None,
    replies: &[Reply::ok("A page.", |generator| generator.subschema_for::<Enveloped<PageReply<'_>>>())],
    failures: LIST_FAILURES,
};

pub(in crate::api) const SEARCH_TEMPLATES: Operation = Operation {
    id: "searchTemplates",
    summary: "Search templates by their details.",
    description: None,
    parameters: &[],
    body: Some(RequestBody::Search),
    failures: &[
        Failure::BadRequest,
        Failure::Unauthenticated,
        Failure::MissingScope,
        Failure::IndexOff,
        Failure::TooLarge,
        Failure::TooMany,
        Failure::Internal,
        Failure::Unavailable,
    ],
    ..TEMPLATES
};

pub(in crate::api) const TEMPLATE: Operation = Operation {
    id: "template",
    summary: "One template.",
    description: None,
    failures: STORE_FAILURES,
    parameters: &[Parameter::TemplateId],
    replies: &[Reply::ok("The template.", |generator| generator.subschema_for::<Enveloped<TemplateReply<'_>>>())],
    ..TEMPLATES
};

pub(in crate::api) const CHANGE_TEMPLATE: Operation = Operation {
    id: "changeTemplate",
    summary: "Change the details of a template.",
    description: Some(
        "A JSON merge patch of name, externalId, groups, metadata, consentReference and expiresAt. The next search finds \
         the change on this node.",
    ),
    parameters: &[Parameter::TemplateId, Parameter::IfMatch],
    body: Some(RequestBody::Details),
    failures: &[
        Failure::BadRequest,
        Failure::Unauthenticated,
        Failure::MissingScope,
        Failure::Changed,
        Failure::TooLarge,
        Failure::TooMany,
        Failure::Internal,
        Failure::Unavailable,
    ],
    ..TEMPLATE
};

pub(in crate::api) const REMOVE_TEMPLATE: Operation =
    Operation { id: "removeTemplate", summary: "Remove a template for good.", replies: &[REMOVED], ..TEMPLATE };

pub(in crate::api) const ADD_SAMPLE: Operation = Operation {
    id: "addSample",
    tag: Tag::Templates,
    summary: "Add another photo of the same person to a template.",
    description: None,
    parameters: &[
        Parameter::TemplateId,
        Parameter::CheckLiveness,
        Parameter::CheckDeepfake,
        Parameter::Faces,
        Parameter::IdempotencyKey,
    ],
    body: Some(RequestBody::Photo),
    replies: &[ENROLLED],
    failures: ENROLL_FAILURES,
};

pub(in crate::api) const VERIFY_TEMPLATE: Operation = Operation {
    id: "verifyTemplate",
    tag: Tag::Templates,
    summary: "Is the person of a template on the photo?",
    description: Some("The photo is compared with every sample of the template; the most similar one counts."),
    parameters: &[
        Parameter::TemplateId,
        Parameter::CheckLiveness,
        Parameter::CheckDeepfake,
        Parameter::Threshold,
        Parameter::Faces,
    ],
    body: Some(RequestBody::Photo),
    replies: &[Reply::ok("The comparison.", |generator| generator.subschema_for::<Enveloped<VerifiedTemplateReply>>())],
    failures: PHOTO_FAILURES,
};

/// Of what needs the database and a small body.
const CHANGE_FAILURES: &[Failure] = DELETE.failures;

pub(in crate::api) const MERGE_TEMPLATES: Operation = Operation {
    id: "mergeTemplates",
    tag: Tag::Templates,
    summary: "Move all samples of another template to this one, and remove the other one.",
    description: Some(
        "Refused with 400 when one of the templates does not exist, or this one would have too many samples. It is not \
         undone: move samples back one by one.",
    ),
    parameters: &[Parameter::TemplateId],
    body: Some(RequestBody::Merge),
    replies: &[Reply::ok("Durable, and found by the next search.", |generator| {
        generator.subschema_for::<Enveloped<MergedReply<'_>>>()
    })],
    failures: CHANGE_FAILURES,
};

pub(in crate::api) const RENAME_TEMPLATE: Operation = Operation {
    id: "renameTemplate",
    summary: "Give a template another id.",
    description: Some("Samples, details and times stay. Refused with 400 when a template of the new id exists."),
    body: Some(RequestBody::Rename),
    replies: &[Reply::ok("Durable, and found by the next search.", |generator| {
        generator.subschema_for::<Enveloped<RenamedReply<'_>>>()
    })],
    ..MERGE_TEMPLATES
};

pub(in crate::api) const REMOVE_SAMPLE: Operation = Operation {
    id: "removeSample",
    summary: "Remove a sample for good.",
    description: Some("The last sample of a template is refused with 400: remove the template."),
    parameters: &[Parameter::TemplateId, Parameter::SampleId],
    replies: &[REMOVED],
    ..TEMPLATE
};

pub(in crate::api) const MOVE_SAMPLE: Operation = Operation {
    id: "moveSample",
    summary: "Move a sample to another template that exists.",
    description: Some("The last sample of a template is refused with 400, unless `removeEmpty` is true."),
    parameters: &[Parameter::TemplateId, Parameter::SampleId],
    body: Some(RequestBody::Move),
    replies: &[Reply::ok("Durable, and found by the next search.", |generator| {
        generator.subschema_for::<Enveloped<MovedReply<'_>>>()
    })],
    ..MERGE_TEMPLATES
};
