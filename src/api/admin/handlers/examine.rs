//! `identify`, `verify` and `inspect`: what the console does with a photo. No key of an application is in a browser.

use axum::extract::{Request, State};

use super::samples::refused;
use crate::api::admin::Answer;
use crate::api::admin::extract::ForApp;
use crate::api::extract::{ONE_PHOTO, Query, read_form};
use crate::api::outcome::Outcome;
use crate::api::{ApiError, ApiState, reply};

/// Who is on the photo, with what explains the decision.
pub(in crate::api) async fn identify(
    State(api): State<ApiState>,
    app: ForApp,
    query: Query,
    request: Request,
) -> Answer {
    let options = query.photo_options()?;
    let threshold = query.fraction("threshold")?;
    let trace = query.flag("trace")?;
    let most = api.service().policy().max_candidates.max(2);
    let candidates = query.count("candidates", 1..=most)?.unwrap_or(most);
    api.service().require(options.checks)?;
    let photo = read_form(&api, &app.caller, request, ONE_PHOTO).await?.photo()?;
    let examined = api.service().examine(&app.caller, photo, options, threshold, candidates).await?;
    app.audit.threshold(examined.decision.threshold);
    let limits = api.service().policy().limits;
    let reply = Outcome::result(&reply::examined(&examined, candidates, trace.then_some(&limits)));
    Ok(match examined.best() {
        Some(best) => {
            app.audit.template(&best.template);
            app.audit.compared("found", best.similarity, reply)
        }
        None => app.audit.succeeded("nobody", reply),
    }
    .into())
}

/// Whether the person of a template is on the photo. The id is a field of the form: a URL would leave it in logs.
pub(in crate::api) async fn verify(State(api): State<ApiState>, app: ForApp, query: Query, request: Request) -> Answer {
    let options = query.photo_options()?;
    let threshold = query.fraction("threshold")?;
    api.service().require(options.checks)?;
    api.admission().check_store(&app.caller)?;
    let mut form = read_form(&api, &app.caller, request, ONE_PHOTO).await?;
    let template = form.template_id(&app.audit)?.ok_or_else(|| ApiError::field("templateId", "is missing"))?;
    let photo = form.photo()?;
    let probe = api.service().probe(&app.caller, photo, options).await?;
    let _place = api.admission().enter_store(&app.caller).await?;
    let verified = api.service().verify_template(&app.caller, &template, probe, threshold).await.map_err(refused)?;
    app.audit.sample(verified.sample);
    let outcome = if verified.same { "same" } else { "different" };
    let reply = Outcome::result(&reply::verified_template(&verified));
    Ok(app.audit.compared(outcome, verified.similarity, reply).into())
}

/// What is measured on the photo, without a search.
pub(in crate::api) async fn inspect(
    State(api): State<ApiState>,
    app: ForApp,
    query: Query,
    request: Request,
) -> Answer {
    let options = query.photo_options()?;
    api.service().require(options.checks)?;
    let photo = read_form(&api, &app.caller, request, ONE_PHOTO).await?.photo()?;
    let analysis = api.service().inspect(&app.caller, photo, options).await?;
    Ok(app.audit.succeeded("inspected", Outcome::result(&reply::face(&analysis))).into())
}
