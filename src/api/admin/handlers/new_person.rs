//! `POST people`: a person with 1 to 16 photos.

use axum::extract::{Request, State};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::people::conflict;
use crate::api::admin::extract::ForApp;
use crate::api::admin::{Answer, BASE, Reply};
use crate::api::extract::{MANY_PHOTOS, Query, read_form};
use crate::api::outcome::Outcome;
use crate::api::{ApiError, ApiState};
use crate::domain::{Guard, Measure, PhotoFault, Similarity};
use crate::service::people::{EnrolledPerson, NewPerson, RefusedPhoto};
use crate::service::{Error, Suspicion};

/// A person that is enrolled, or would be.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct NewPersonView {
    template_id: String,
    /// The gallery's revision; null for a dry run.
    revision: Option<u64>,
    accepted: Vec<AcceptedView>,
    refused: Vec<RefusedView>,
    guard: GuardView,
}

/// A photo that is enrolled.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct AcceptedView {
    /// Its number among the photos, from zero.
    index: usize,
    sample_id: String,
    /// The quality of the face for recognition (`crfiqa`, 0 to 1), if it is measured.
    quality: Option<f64>,
}

/// A photo that is not enrolled.
#[derive(Serialize, JsonSchema)]
pub(in crate::api) struct RefusedView {
    /// Its number among the photos, from zero.
    index: usize,
    /// The code of the fault, as in the public API.
    code: u16,
    info: String,
    /// What to do.
    remedy: &'static str,
}

/// What the guard found.
#[derive(Serialize, JsonSchema)]
pub(in crate::api) struct GuardView {
    /// `pass`, `warn` or `refuse`.
    verdict: &'static str,
    findings: Vec<FindingView>,
}

/// A likely mix-up.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct FindingView {
    /// `alreadyEnrolled` or `unlikeOwnSamples`.
    kind: &'static str,
    /// The other person, where the face is enrolled already.
    #[serde(skip_serializing_if = "Option::is_none")]
    template_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    similarity: Option<f64>,
}

impl From<&Suspicion> for FindingView {
    fn from(suspicion: &Suspicion) -> Self {
        match suspicion {
            Suspicion::EnrolledElsewhere { found } => Self {
                kind: "alreadyEnrolled",
                template_id: found.as_ref().map(|(template, _)| template.as_str().to_owned()),
                similarity: found.as_ref().map(|(_, similarity)| similarity.get()),
            },
            Suspicion::UnlikeSamples { similarity } => {
                Self { kind: "unlikeOwnSamples", template_id: None, similarity: similarity.map(Similarity::get) }
            }
        }
    }
}

impl RefusedView {
    fn new(refused: RefusedPhoto) -> Self {
        let remedy = remedy(&refused.error);
        let body = ApiError::from(refused.error).body();
        Self { index: refused.index, code: body.code, info: body.info.into_owned(), remedy }
    }
}

fn remedy(error: &Error) -> &'static str {
    match error {
        Error::Photo(fault) => match fault {
            PhotoFault::Missing | PhotoFault::Empty => "send the photo again",
            PhotoFault::WrongType => "save the photo as JPEG or PNG",
            PhotoFault::Undecodable(fault) => fault.remedy(),
            PhotoFault::NoFace => "use a photo that shows the face from the front, upright and well lit",
            PhotoFault::ManyFaces => "crop to one person, or send faces=largest",
            PhotoFault::NotHuman(_) => "use a photo of the person",
            PhotoFault::TooSmall => "use a larger photo; a face should be 200 pixels wide",
            PhotoFault::Profile => "use a photo that shows the face from the front",
            PhotoFault::Untrusted(_) => "use a photo that shows the whole face from the front, sharp and well lit",
        },
        Error::Refused(_) => "use a genuine photo of the person, taken live",
        _ => "take a better photo: sharp, well lit, from the front",
    }
}

impl NewPersonView {
    fn new(person: EnrolledPerson) -> Self {
        let verdict = match person.guard {
            _ if person.findings.is_empty() => "pass",
            Guard::Refuse => "refuse",
            Guard::Off | Guard::Warn => "warn",
        };
        let accepted = person.accepted.iter().map(|photo| AcceptedView {
            index: photo.index,
            sample_id: photo.sample.to_string(),
            quality: photo.analysis.quality[Measure::Crfiqa].map(|verdict| verdict.score),
        });
        Self {
            template_id: person.template.as_str().to_owned(),
            revision: person.revision.map(|revision| revision.0),
            accepted: accepted.collect(),
            guard: GuardView { verdict, findings: person.findings.iter().map(FindingView::from).collect() },
            refused: person.refused.into_iter().map(RefusedView::new).collect(),
        }
    }
}

pub(in crate::api) async fn create(
    State(api): State<ApiState>,
    for_app: ForApp,
    query: Query,
    request: Request,
) -> Answer {
    let caller = &for_app.caller;
    let photo_options = query.photo_options()?;
    let dry_run = query.flag("dryRun")?;
    let guard = query.text("guard").map(str::parse).transpose().map_err(|info: &str| ApiError::field("guard", info))?;
    api.service().require(photo_options.checks)?;
    api.admission().check_store(caller)?;
    let mut form = read_form(&api, caller, request, MANY_PHOTOS).await?;
    let template = form.template_id(&for_app.audit)?;
    let details = form.details()?;
    let photos = form.photos();
    if photos.is_empty() {
        return Err(PhotoFault::Missing.into());
    }
    let new = NewPerson { template, details, photos, photo_options, guard, dry_run };
    let person = api.service().enroll_person(caller, new).await.map_err(conflict)?;
    for_app.audit.template(&person.template);
    if person.accepted.is_empty() {
        let refused: Vec<_> = person.refused.into_iter().map(RefusedView::new).collect();
        return Err(ApiError::NoPhotoAccepted(json!({ "refused": refused })));
    }
    if person.is_refused() && !dry_run {
        let view = NewPersonView::new(person);
        return Err(ApiError::GuardRefused(json!({ "guard": view.guard, "refused": view.refused })));
    }
    let path =
        format!("{BASE}/applications/{}/people/{}", segment(caller.app.as_str()), segment(person.template.as_str()));
    let is_written = person.revision.is_some();
    let view = NewPersonView::new(person);
    let outcome = if is_written { "enrolled" } else { "checked" };
    let audited = for_app.audit.succeeded(outcome, Outcome::result(&view));
    Ok(if is_written { Reply::created(audited, &path) } else { audited.into() })
}

/// A segment of a path: percent-encoded but for letters, digits and marks that no library rewrites.
fn segment(id: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let encoded = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    id.bytes().map(encoded).collect()
}
