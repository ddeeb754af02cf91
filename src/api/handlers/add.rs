//! `POST /add` enrols a template; `POST /templates/{templateId}/samples` adds a sample to one.

use axum::extract::{Request, State};

use super::Answer;
use crate::api::audit::{Audit, Audited};
use crate::api::extract::{Authenticated, ONE_PHOTO, Query, RequestKey, TemplatePath, read_form};
use crate::api::outcome::Outcome;
use crate::api::{ApiError, ApiState, reply};
use crate::domain::IdempotencyKey;
use crate::service::{Caller, EnrollOptions, Enrolled, Enrollment, EnrollmentRequest, Error, Once};
use crate::store::{Fingerprint, KeptReply};

pub(in crate::api) async fn add(
    State(api): State<ApiState>,
    Authenticated { caller, audit }: Authenticated,
    key: RequestKey,
    query: Query,
    request: Request,
) -> Answer {
    let photo_options = query.photo_options()?;
    let replace = query.flag("replace")?;
    api.service().require(photo_options.checks)?;
    api.admission().check_store(&caller)?;
    let known = look_up(&api, &caller, key).await?;
    let mut form = read_form(&api, &caller, request, ONE_PHOTO).await?;
    let template = form.template_id(&audit)?;
    let photo = form.photo()?;
    let request =
        EnrollmentRequest { extends: false, template: template.as_ref(), replace, photo_options, photo: &photo };
    let once = match begin(&api, &caller, known, request).await? {
        Begun::First(once) => once,
        Begun::Repeated(kept, fingerprint) => {
            drop(photo); // it gives back what others need
            return repeat(&api, &caller, &audit, kept, fingerprint).await;
        }
    };
    let new = api.service().new_sample(&caller, photo, photo_options).await?;
    let _place = api.admission().enter_store(&caller).await?;
    let options = EnrollOptions { template, replace };
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
    let request =
        EnrollmentRequest { extends: true, template: Some(&template), replace: false, photo_options, photo: &photo };
    let once = match begin(&api, &caller, known, request).await? {
        Begun::First(once) => once,
        Begun::Repeated(kept, fingerprint) => {
            drop(photo); // it gives back what others need
            return repeat(&api, &caller, &audit, kept, fingerprint).await;
        }
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
    First(Option<Once>),
    /// A request with its key was executed before.
    Repeated(KeptReply, Fingerprint),
}

async fn begin(
    api: &ApiState,
    caller: &Caller,
    known: Option<Known>,
    request: EnrollmentRequest<'_>,
) -> Result<Begun, ApiError> {
    let Some(Known { key, kept }) = known else { return Ok(Begun::First(None)) };
    let fingerprint = request.fingerprint().await;
    Ok(match kept {
        Some(kept) => Begun::Repeated(kept, fingerprint),
        None => Begun::First(Some(api.service().begin_once(caller, key, fingerprint)?)),
    })
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

async fn repeat(api: &ApiState, caller: &Caller, audit: &Audit, kept: KeptReply, fingerprint: Fingerprint) -> Answer {
    let _place = api.admission().enter_store(caller).await?;
    Ok(repeated(audit, api.service().repeat(caller, fingerprint, kept).await?))
}

/// The reply of an equal request before.
fn repeated(audit: &Audit, kept: KeptReply) -> Audited {
    audit.template(&kept.template);
    audit.succeeded("reply sent again", Outcome::Repeated(kept.reply.transaction, kept.reply.result.into()))
}
