//! `POST /add` enrols a template; `POST /templates/{templateId}/samples` adds a sample to one.

use axum::extract::{Request, State};

use super::Answer;
use crate::api::audit::{Audit, Audited};
use crate::api::extract::{Authenticated, ONE_PHOTO, Query, RequestKey, TemplatePath, read_form};
use crate::api::outcome::Outcome;
use crate::api::{ApiError, ApiState, reply};
use crate::domain::{Details, IdempotencyKey, Scope};
use crate::image::Photo;
use crate::service::{Caller, EnrollOptions, Enrolled, Enrollment, EnrollmentRequest, Error, Once};
use crate::store::KeptReply;

pub(in crate::api) async fn add(
    State(api): State<ApiState>,
    Authenticated { caller, audit }: Authenticated,
    key: RequestKey,
    query: Query,
    request: Request,
) -> Answer {
    let photo_options = query.photo_options()?;
    let replace = query.flag("replace")?;
    if replace {
        caller.require(Scope::Delete)?;
    }
    api.service().require(photo_options.checks)?;
    api.admission().check_store(&caller)?;
    let known = look_up(&api, &caller, key).await?;
    let mut form = read_form(&api, &caller, request, ONE_PHOTO).await?;
    let template = form.template_id(&audit)?;
    let photo = form.photo()?;
    let details = form.details()?;
    api.service().check_details(&caller, &details)?;
    let request =
        EnrollmentRequest { extends: false, template: template.as_ref(), replace, details: &details, photo_options };
    let (photo, once) = match begin(&api, &caller, &audit, known, request, photo).await? {
        Begun::First(photo, once) => (photo, once),
        Begun::Repeated(answer) => return Ok(answer),
    };
    let new = api.service().new_sample(&caller, photo, photo_options).await?;
    let _place = api.admission().enter_store(&caller).await?;
    let options = EnrollOptions { template, replace, details };
    let render = |enrolled: &Enrolled| render(&api, enrolled);
    let enrollment = api.service().enroll(&caller, new, options, once, &render).await?;
    Ok(enrolled(&audit, enrollment, ["enrolled", "enrolled with a warning"]))
}

pub(in crate::api) async fn add_sample(
    State(api): State<ApiState>,
    Authenticated { caller, audit }: Authenticated,
    TemplatePath(template): TemplatePath,
    key: RequestKey,
    query: Query,
    request: Request,
) -> Answer {
    let photo_options = query.photo_options()?;
    api.service().require(photo_options.checks)?;
    api.admission().check_store(&caller)?;
    let known = look_up(&api, &caller, key).await?;
    let photo = read_form(&api, &caller, request, ONE_PHOTO).await?.photo()?;
    let request = EnrollmentRequest {
        extends: true,
        template: Some(&template),
        replace: false,
        details: Details::NONE,
        photo_options,
    };
    let (photo, once) = match begin(&api, &caller, &audit, known, request, photo).await? {
        Begun::First(photo, once) => (photo, once),
        Begun::Repeated(answer) => return Ok(answer),
    };
    let new = api.service().new_sample(&caller, photo, photo_options).await?;
    let _place = api.admission().enter_store(&caller).await?;
    let render = |enrolled: &Enrolled| render(&api, enrolled);
    let enrollment = api.service().add_sample(&caller, template, new, once, &render).await?;
    Ok(enrolled(&audit, enrollment, ["sample added", "sample added with a warning"]))
}

/// The key of a request, and the reply that is kept under it.
struct Known {
    key: IdempotencyKey,
    kept: Option<KeptReply>,
}

/// Looks for a kept reply before the body is read: while a photo is in memory, nothing waits for the store.
async fn look_up(api: &ApiState, caller: &Caller, key: RequestKey) -> Result<Option<Known>, ApiError> {
    let RequestKey(Some(key)) = key else { return Ok(None) };
    let _place = api.admission().enter_store(caller).await?;
    let kept = api.service().kept_reply(caller, &key).await?;
    Ok(Some(Known { key, kept }))
}

/// How a request begins.
enum Begun {
    /// It is to be executed; with a key, once.
    First(Photo, Option<Once>),
    /// A request with its key was executed before: the same answer again.
    Repeated(Audited),
}

async fn begin(
    api: &ApiState,
    caller: &Caller,
    audit: &Audit,
    known: Option<Known>,
    request: EnrollmentRequest<'_>,
    photo: Photo,
) -> Result<Begun, ApiError> {
    let Some(Known { key, kept }) = known else { return Ok(Begun::First(photo, None)) };
    let fingerprint = request.fingerprint(&photo).await;
    let Some(kept) = kept else {
        return Ok(Begun::First(photo, Some(api.service().begin_once(caller, key, fingerprint)?)));
    };
    drop(photo); // it gives back what others need
    let _place = api.admission().enter_store(caller).await?;
    Ok(Begun::Repeated(repeated(audit, api.service().repeat(caller, fingerprint, kept).await?)))
}

fn render(api: &ApiState, enrolled: &Enrolled) -> Result<String, Error> {
    let reply = reply::enrolled(enrolled, api.config().shape);
    serde_json::to_string(&reply).map_err(|error| Error::Internal(error.into()))
}

/// The answer to an enrollment. Its outcome in the journal is the second one when there are warnings.
fn enrolled(audit: &Audit, enrollment: Enrollment, outcomes: [&str; 2]) -> Audited {
    match enrollment {
        Enrollment::Done(enrolled, result) => {
            audit.template(&enrolled.template);
            let outcome = if enrolled.warnings.is_empty() { outcomes[0] } else { outcomes[1] };
            audit.succeeded(outcome, Outcome::Result(result.into()))
        }
        Enrollment::Repeated(kept) => repeated(audit, kept),
    }
}

/// The reply of an equal request before.
fn repeated(audit: &Audit, kept: KeptReply) -> Audited {
    audit.template(&kept.template);
    audit.succeeded("reply sent again", Outcome::Repeated(kept.reply.transaction, kept.reply.result.into()))
}
