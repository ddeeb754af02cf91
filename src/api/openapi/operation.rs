//! What the document says of each route.

use schemars::{Schema, SchemaGenerator};

use super::generator::{Done, Enveloped, Health, plain_text};
use super::parameter::Parameter;
use crate::api::reply::{EnrolledReply, IdentifiedReply, InspectedReply, KeyReply, Readiness, VerifiedReply};

/// One route: what it is for, what it takes, and what it answers.
#[derive(Debug, Clone, Copy)]
pub(in crate::api) struct Operation {
    /// The name that generated clients call it by.
    pub(super) id: &'static str,
    pub(super) tag: Tag,
    pub(super) summary: &'static str,
    pub(super) description: Option<&'static str>,
    pub(super) parameters: &'static [Parameter],
    pub(super) body: Option<RequestBody>,
    pub(super) replies: &'static [Reply],
    pub(super) failures: &'static [Failure],
}

/// The group that a route belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    Vendor,
    Templates,
    Machines,
    Unsupported,
}

impl Tag {
    pub(super) const ALL: [Self; 4] = [Self::Vendor, Self::Templates, Self::Machines, Self::Unsupported];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Vendor => "vendor",
            Self::Templates => "templates",
            Self::Machines => "machines",
            Self::Unsupported => "unsupported",
        }
    }

    pub(super) fn description(self) -> &'static str {
        match self {
            Self::Vendor => "The vendor's endpoints.",
            Self::Templates => "Enrolled templates: endpoints of this server.",
            Self::Machines => "For operators and orchestrators: no credentials, no envelope.",
            Self::Unsupported => "The vendor's endpoints that this server does not have.",
        }
    }
}

/// What a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestBody {
    Photo,
    PhotoAndTemplateId,
    TwoPhotos,
    TemplateId,
    Move,
    Merge,
    Rename,
    Details,
    Search,
}

/// A success, or the answer of an endpoint without an envelope.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reply {
    pub(super) status: &'static str,
    pub(super) description: &'static str,
    pub(super) media_type: &'static str,
    pub(super) schema: fn(&mut SchemaGenerator) -> Schema,
    /// Whether it may be the reply of an equal request before.
    pub(super) may_be_repeated: bool,
}

impl Reply {
    pub(super) const fn ok(description: &'static str, schema: fn(&mut SchemaGenerator) -> Schema) -> Self {
        Self { status: "200", description, media_type: "application/json", schema, may_be_repeated: false }
    }
}

/// A kind of failure; every one has the form of [`super::generator::FailureReply`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    BadRequest,
    Unauthenticated,
    MissingScope,
    TooLarge,
    TooMany,
    Internal,
    NotInstalled,
    NotBuilt,
    Unavailable,
    InProgress,
    KeyReused,
    Changed,
    IndexOff,
    Elsewhere,
}

/// Of what needs a photo.
pub(super) const PHOTO_FAILURES: &[Failure] = &[
    Failure::BadRequest,
    Failure::Unauthenticated,
    Failure::MissingScope,
    Failure::TooLarge,
    Failure::TooMany,
    Failure::Internal,
    Failure::NotInstalled,
    Failure::Unavailable,
];

/// Of what enrolls a photo.
pub(super) const ENROLL_FAILURES: &[Failure] = &[
    Failure::BadRequest,
    Failure::Unauthenticated,
    Failure::MissingScope,
    Failure::InProgress,
    Failure::TooLarge,
    Failure::KeyReused,
    Failure::TooMany,
    Failure::Internal,
    Failure::NotInstalled,
    Failure::Unavailable,
];

/// Of what needs the database only.
pub(super) const STORE_FAILURES: &[Failure] = &[
    Failure::BadRequest,
    Failure::Unauthenticated,
    Failure::MissingScope,
    Failure::TooMany,
    Failure::Internal,
    Failure::Unavailable,
];

/// Of a list that may be a search.
pub(super) const LIST_FAILURES: &[Failure] = &[
    Failure::BadRequest,
    Failure::Unauthenticated,
    Failure::MissingScope,
    Failure::IndexOff,
    Failure::TooMany,
    Failure::Internal,
    Failure::Unavailable,
];

pub(super) const ENROLLED: Reply = Reply {
    may_be_repeated: true,
    ..Reply::ok("Durable, and found by the next search.", |generator| {
        generator.subschema_for::<Enveloped<EnrolledReply<'_>>>()
    })
};

pub(super) const REMOVED: Reply = Reply::ok("Removed.", |generator| generator.subschema_for::<Done>());

pub(in crate::api) const IDENTIFY: Operation = Operation {
    id: "identify",
    tag: Tag::Vendor,
    summary: "Who is on the photo, among the enrolled?",
    description: None,
    parameters: &[
        Parameter::CheckLiveness,
        Parameter::CheckDeepfake,
        Parameter::Threshold,
        Parameter::Candidates,
        Parameter::Faces,
        Parameter::Trace,
    ],
    body: Some(RequestBody::Photo),
    replies: &[Reply::ok("The best match, or nulls when no template reaches the threshold.", |generator| {
        generator.subschema_for::<Enveloped<IdentifiedReply<'_>>>()
    })],
    failures: PHOTO_FAILURES,
};

pub(in crate::api) const ADD: Operation = Operation {
    id: "add",
    tag: Tag::Vendor,
    summary: "Enrol a face as a template.",
    description: None,
    parameters: &[
        Parameter::CheckLiveness,
        Parameter::CheckDeepfake,
        Parameter::Replace,
        Parameter::Faces,
        Parameter::IdempotencyKey,
    ],
    body: Some(RequestBody::PhotoAndTemplateId),
    replies: &[ENROLLED],
    failures: ENROLL_FAILURES,
};

pub(in crate::api) const DELETE: Operation = Operation {
    id: "delete",
    tag: Tag::Vendor,
    summary: "Remove a template for good.",
    description: Some("An unknown id is refused with 400, code 400, `Template not found`."),
    parameters: &[],
    body: Some(RequestBody::TemplateId),
    replies: &[REMOVED],
    failures: &[
        Failure::BadRequest,
        Failure::Unauthenticated,
        Failure::MissingScope,
        Failure::TooLarge,
        Failure::TooMany,
        Failure::Internal,
        Failure::Unavailable,
    ],
};

pub(in crate::api) const VERIFY: Operation = Operation {
    id: "verify",
    tag: Tag::Vendor,
    summary: "Is the same person on both photos?",
    description: None,
    parameters: &[Parameter::CheckLiveness, Parameter::CheckDeepfake, Parameter::Threshold, Parameter::Faces],
    body: Some(RequestBody::TwoPhotos),
    replies: &[Reply::ok("The comparison.", |generator| generator.subschema_for::<Enveloped<VerifiedReply>>())],
    failures: PHOTO_FAILURES,
};

pub(in crate::api) const DOC_VERIFY: Operation = Operation { id: "docVerify", ..VERIFY };

pub(in crate::api) const LIVENESS: Operation = Operation {
    id: "liveness",
    tag: Tag::Vendor,
    summary: "Is the photo of a live person?",
    description: None,
    parameters: &[Parameter::CheckDeepfake, Parameter::Faces],
    body: Some(RequestBody::Photo),
    replies: &[Reply::ok("The verdict.", |generator| generator.subschema_for::<Enveloped<InspectedReply>>())],
    failures: PHOTO_FAILURES,
};

pub(in crate::api) const DEEPFAKE: Operation = Operation {
    id: "deepfake",
    summary: "Is the photo genuine?",
    parameters: &[Parameter::CheckLiveness, Parameter::Faces],
    ..LIVENESS
};

pub(in crate::api) const KEY: Operation = Operation {
    id: "key",
    tag: Tag::Templates,
    summary: "What the key of the request allows, and how long.",
    description: None,
    parameters: &[],
    body: None,
    replies: &[Reply::ok("The key.", |generator| generator.subschema_for::<Enveloped<KeyReply>>())],
    failures: &[Failure::Unauthenticated, Failure::TooMany, Failure::Internal, Failure::Unavailable],
};

/// Of an endpoint of the vendor that this server does not have.
pub(in crate::api) const fn unsupported(id: &'static str, parameters: &'static [Parameter]) -> Operation {
    Operation {
        id,
        tag: Tag::Unsupported,
        summary: "Not supported by this server.",
        description: None,
        parameters,
        body: None,
        replies: &[],
        failures: &[Failure::Unauthenticated, Failure::TooMany, Failure::NotBuilt],
    }
}

pub(in crate::api) const HEALTHZ: Operation = Operation {
    id: "healthz",
    tag: Tag::Machines,
    summary: "The process runs.",
    description: None,
    parameters: &[],
    body: None,
    replies: &[Reply::ok("It runs.", |generator| generator.subschema_for::<Health>())],
    failures: &[],
};

pub(in crate::api) const READYZ: Operation = Operation {
    id: "readyz",
    summary: "Identify can be served.",
    description: Some(
        "With `?for=write` it is 503, too, while the database cannot be written. `writable` and `writeFault` report that in \
         every case.",
    ),
    replies: &[
        Reply::ok("It can.", |generator| generator.subschema_for::<Readiness>()),
        Reply {
            status: "503",
            ..Reply::ok("It cannot, with the reasons.", |generator| generator.subschema_for::<Readiness>())
        },
    ],
    ..HEALTHZ
};

pub(in crate::api) const METRICS: Operation = Operation {
    id: "metrics",
    summary: "Metrics in the OpenMetrics text format.",
    description: Some(
        "Figures of all applications. If the setting `admin.listen` names an address, only that address serves them, and \
         this one answers 404.",
    ),
    replies: &[Reply { media_type: "application/openmetrics-text", ..Reply::ok("All metrics.", plain_text) }],
    failures: &[Failure::Elsewhere],
    ..HEALTHZ
};

pub(in crate::api) const OPENAPI: Operation = Operation {
    id: "openapi",
    summary: "This document.",
    replies: &[Reply::ok("This document.", |_| schemars::json_schema!({ "type": "object" }))],
    ..HEALTHZ
};

pub(in crate::api) const LICENCES: Operation = Operation {
    id: "licences",
    summary: "The installed models and their licences.",
    replies: &[Reply::ok("The licences.", |_| schemars::json_schema!({}))],
    ..HEALTHZ
};
