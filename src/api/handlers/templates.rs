//! `GET /templates`, `POST /templates/search`, `GET`, `PATCH` and `DELETE /templates/{templateId}`: what is enrolled.

use axum::extract::{Request, State};

use super::Answer;
use crate::api::audit::Audit;
use crate::api::extract::{
    Authenticated, CursorPath, Page, PeopleSearch, PlaceKey, Query, TemplatePath, read_change, read_search,
};
use crate::api::outcome::Outcome;
use crate::api::{ApiState, reply};
use crate::service::{Caller, PeopleQuery};

pub(in crate::api) async fn list(
    State(api): State<ApiState>,
    Authenticated { caller, audit }: Authenticated,
    path: CursorPath,
    query: Query,
) -> Answer {
    let config = api.config();
    let limit = query.count("limit", 1..=config.page_max.max(1))?.unwrap_or(config.page_default.max(1));
    let after = query.template_id("after")?;
    if let Some(search) = PeopleSearch::from_query(&query)? {
        let page = path.page(Some(limit), search.page().1)?;
        return find(&api, &caller, &audit, &search, page).await;
    }
    let _place = api.admission().enter_store(&caller).await?;
    let page = api.service().templates(&caller, after.as_ref(), limit).await?;
    Ok(audit.succeeded("listed", Outcome::result(&reply::page(&page))))
}

pub(in crate::api) async fn search(
    State(api): State<ApiState>,
    Authenticated { caller, audit }: Authenticated,
    path: CursorPath,
    request: Request,
) -> Answer {
    api.admission().check_store(&caller)?;
    let search = read_search(request).await?;
    let (limit, cursor) = search.page();
    find(&api, &caller, &audit, &search, path.page(limit, cursor)?).await
}

async fn find(api: &ApiState, caller: &Caller, audit: &Audit, search: &PeopleSearch, page: Page) -> Answer {
    let filter = search.filter(&caller.app);
    let after = page.after::<PlaceKey>(api, &filter)?.map(Into::into);
    let query = PeopleQuery { after, limit: page.limit, ..search.query()? };
    let _place = api.admission().enter_store(caller).await?;
    let found = api.service().search_people(&caller.app, &query).await?;
    let next = found.next.clone().map(|next| page.next(api, &filter, PlaceKey::from(next))).transpose()?;
    Ok(audit.succeeded("listed", Outcome::result(&reply::found(&found, next))))
}

pub(in crate::api) async fn one(
    State(api): State<ApiState>,
    Authenticated { caller, audit }: Authenticated,
    TemplatePath(template): TemplatePath,
) -> Answer {
    let _place = api.admission().enter_store(&caller).await?;
    let person = api.service().person(&caller, &template).await?;
    Ok(audit.succeeded("read", Outcome::result(&reply::person(&person))))
}

pub(in crate::api) async fn change(
    State(api): State<ApiState>,
    Authenticated { caller, audit }: Authenticated,
    TemplatePath(template): TemplatePath,
    request: Request,
) -> Answer {
    api.admission().check_store(&caller)?;
    let change = read_change(request).await?;
    let _place = api.admission().enter_store(&caller).await?;
    let person = api.service().change_details(&caller, &template, &change).await?;
    Ok(audit.succeeded("changed", Outcome::result(&reply::person(&person))))
}

pub(in crate::api) async fn remove(
    State(api): State<ApiState>,
    Authenticated { caller, audit }: Authenticated,
    TemplatePath(template): TemplatePath,
) -> Answer {
    let _place = api.admission().enter_store(&caller).await?;
    api.service().remove(&caller, &template).await?;
    Ok(audit.succeeded("removed", Outcome::Done))
}
