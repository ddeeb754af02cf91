//! `people/{templateId}/samples`, `merge` and `exports`: what is enrolled of one person.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::api::admin::extract::{ForApp, JsonBody, Params};
use crate::api::admin::{Answer, Reply};
use crate::api::extract::{ONE_PHOTO, Query, read_form};
use crate::api::outcome::Outcome;
use crate::api::{ApiError, ApiState, Shape, reply, schema};
use crate::domain::{FaceCrop, IdError, Revision, SampleId, TemplateId};
use crate::service::{Enrolled, Enrollment, Error};
use crate::store::{ChangeRefusal, Merge, SampleMove};

/// A change of the samples of a person.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct SamplesChanged {
    /// The person that the change leaves.
    template_id: String,
    /// How many samples moved, or were erased.
    samples: u64,
    /// The number of changes of the gallery.
    revision: u64,
}

impl SamplesChanged {
    fn new(template: &TemplateId, samples: u64, revision: Revision) -> Self {
        Self { template_id: template.as_str().to_owned(), samples, revision: revision.0 }
    }
}

/// A merge, or the preview of one.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::api) enum Merged {
    /// What was changed.
    Done(SamplesChanged),
    /// With `dryRun`: what would be changed.
    Preview(reply::MergePreviewReply),
}

/// Where a sample moves.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::api) struct MoveSample {
    /// The id of the other person.
    #[schemars(with = "schema::TemplateId")]
    to: String,
    /// Remove the person if this was its last sample, instead of refusing.
    #[serde(default)]
    remove_empty: bool,
}

/// Which person is absorbed.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::api) struct MergePeople {
    /// The id of the other person, which does not exist afterwards.
    #[schemars(with = "schema::TemplateId")]
    from: String,
    /// Only say what the merge would do.
    #[serde(default)]
    dry_run: bool,
}

/// The error of a use case, as the administration reports it.
pub(super) fn refused(error: Error) -> ApiError {
    match error {
        Error::Change(refusal) => ApiError::Refused(refusal),
        Error::TemplateNotFound => ApiError::Refused(ChangeRefusal::NoTemplate),
        Error::TemplateExists => ApiError::Refused(ChangeRefusal::TargetExists),
        Error::LimitReached(limit) => ApiError::Refused(limit.into()),
        other => other.into(),
    }
}

/// The person that the path names.
fn person(app: &ForApp, params: &Params) -> Result<TemplateId, ApiError> {
    let template: TemplateId = params.id("templateId")?;
    app.audit.template(&template);
    Ok(template)
}

/// The sample that the path names. An id that cannot exist is treated as one that does not.
fn sample(app: &ForApp, params: &Params) -> Result<SampleId, ApiError> {
    let sample = params.id::<Uuid>("sampleId").map(SampleId).map_err(|_| ApiError::Refused(ChangeRefusal::NoSample))?;
    app.audit.sample(sample);
    Ok(sample)
}

fn id(field: &'static str, text: &str) -> Result<TemplateId, ApiError> {
    text.parse().map_err(|error: IdError| ApiError::field(field, error.to_string()))
}

/// Adds a photo to a person.
pub(in crate::api) async fn add(
    State(api): State<ApiState>,
    app: ForApp,
    params: Params,
    query: Query,
    request: Request,
) -> Answer {
    let template = person(&app, &params)?;
    let options = query.photo_options()?;
    api.service().require(options.checks)?;
    api.admission().check_store(&app.caller)?;
    let path = request.uri().path().to_owned();
    let photo = read_form(&api, &app.caller, request, ONE_PHOTO).await?.photo()?;
    let new = api.service().new_sample(&app.caller, photo, options).await?;
    let _place = api.admission().enter_store(&app.caller).await?;
    let render = |enrolled: &Enrolled| {
        let reply = reply::enrolled(enrolled, Shape::Modern);
        serde_json::to_string(&reply).map_err(|error| Error::Internal(error.into()))
    };
    match api.service().add_sample(&app.caller, template, new, None, &render).await.map_err(refused)? {
        Enrollment::Done(enrolled, result) => {
            app.audit.sample(enrolled.sample);
            let outcome = if enrolled.warnings.is_empty() { "sample added" } else { "sample added with a warning" };
            let audited = app.audit.succeeded(outcome, Outcome::Result(result.into()));
            Ok(Reply::created(audited, &format!("{path}/{}", enrolled.sample)))
        }
        Enrollment::Repeated(_) => Err(Error::Internal("a request without a key was repeated".into()).into()),
    }
}

/// Erases a sample.
pub(in crate::api) async fn remove(State(api): State<ApiState>, app: ForApp, params: Params) -> Answer {
    let template = person(&app, &params)?;
    let sample = sample(&app, &params)?;
    let _place = api.admission().enter_store(&app.caller).await?;
    let revision = api.service().remove_sample(&app.caller, &template, sample).await.map_err(refused)?;
    let changed = SamplesChanged::new(&template, 1, revision);
    Ok(app.audit.succeeded("sample removed", Outcome::result(&changed)).into())
}

/// Moves a sample to another person.
pub(in crate::api) async fn move_sample(
    State(api): State<ApiState>,
    app: ForApp,
    params: Params,
    JsonBody(body): JsonBody<MoveSample>,
) -> Answer {
    let template = person(&app, &params)?;
    let sample = sample(&app, &params)?;
    let to = id("to", &body.to)?;
    let _place = api.admission().enter_store(&app.caller).await?;
    let change = SampleMove { from: &template, sample, to: &to, remove_empty: body.remove_empty };
    let revision = api.service().move_sample(&app.caller, change).await.map_err(refused)?;
    let changed = SamplesChanged::new(&to, 1, revision);
    Ok(app.audit.succeeded("sample moved", Outcome::result(&changed)).into())
}

/// Merges another person into this one, or says what that would do.
pub(in crate::api) async fn merge(
    State(api): State<ApiState>,
    app: ForApp,
    params: Params,
    JsonBody(body): JsonBody<MergePeople>,
) -> Answer {
    let template = person(&app, &params)?;
    let from = id("from", &body.from)?;
    let _place = api.admission().enter_store(&app.caller).await?;
    let merge = Merge { from: &from, into: &template };
    if body.dry_run {
        let preview = api.service().preview_merge(&app.caller, merge).await.map_err(refused)?;
        let reply = Merged::Preview(reply::merge_preview(&preview));
        return Ok(app.audit.succeeded("merge previewed", Outcome::result(&reply)).into());
    }
    let merged = api.service().merge(&app.caller, merge).await.map_err(refused)?;
    let changed = Merged::Done(SamplesChanged::new(&template, merged.samples, merged.revision));
    Ok(app.audit.succeeded("merged", Outcome::result(&changed)).into())
}

/// The new id of a person.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct RenamePerson {
    /// The id, which no other person has.
    to: String,
}

/// A person with another id.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct PersonRenamed {
    template_id: String,
    /// The number of changes of the gallery.
    revision: u64,
}

/// Gives the person another id.
pub(in crate::api) async fn rename(
    State(api): State<ApiState>,
    app: ForApp,
    params: Params,
    JsonBody(body): JsonBody<RenamePerson>,
) -> Answer {
    let template = person(&app, &params)?;
    let to = id("to", &body.to)?;
    let _place = api.admission().enter_store(&app.caller).await?;
    let revision = api.service().rename(&app.caller, &template, &to).await.map_err(refused)?;
    let renamed = PersonRenamed { template_id: to.as_str().to_owned(), revision: revision.0 };
    Ok(app.audit.succeeded("renamed", Outcome::result(&renamed)).into())
}

/// The crop of a sample, as a JPEG.
pub(in crate::api) async fn crop(
    State(api): State<ApiState>,
    app: ForApp,
    params: Params,
) -> Result<Response, ApiError> {
    let template = person(&app, &params)?;
    let sample = sample(&app, &params)?;
    let _place = api.admission().enter_store(&app.caller).await?;
    let crop = api.service().crop(&app.caller, &template, sample).await?.ok_or(ApiError::NoCrop)?;
    Ok(jpeg(&app, &crop))
}

/// The response with a crop.
pub(super) fn jpeg(app: &ForApp, crop: &FaceCrop) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("image/jpeg")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("inline")),
    ];
    let _ = app.audit.succeeded("crop read", Outcome::Done);
    Outcome::plain((headers, crop.jpeg().to_vec()))
}

/// How well the samples of a person fit together.
pub(in crate::api) async fn health(State(api): State<ApiState>, app: ForApp, params: Params) -> Answer {
    let template = person(&app, &params)?;
    let _place = api.admission().enter_store(&app.caller).await?;
    let health = api.service().health(&app.caller, &template).await.map_err(refused)?;
    Ok(app.audit.succeeded("read", Outcome::result(&reply::health(&health))).into())
}

/// Everything that is held of a person, as a file.
pub(in crate::api) async fn export(State(api): State<ApiState>, app: ForApp, params: Params) -> Answer {
    let template = person(&app, &params)?;
    let _place = api.admission().enter_store(&app.caller).await?;
    let export = api.service().export_person(&app.caller, &template).await.map_err(refused)?;
    let audited = app.audit.succeeded("exported", Outcome::result(&reply::person_export(&export)));
    let disposition = HeaderValue::from_static("attachment; filename=\"person.json\"");
    Ok(Reply::from(audited).header(header::CONTENT_DISPOSITION, disposition))
}
