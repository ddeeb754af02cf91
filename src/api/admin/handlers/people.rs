//! `people` and `groups` of an application.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::admin::extract::{CursorPath, Field, ForApp, JsonBody, Page, Params, PatchBody};
use crate::api::admin::schema::{ConsentReference, ExternalId, Name, Time};
use crate::api::admin::{Answer, Reply};
use crate::api::extract::{PeopleSearch, PlaceKey, Query, if_match};
use crate::api::outcome::Outcome;
use crate::api::reply::Listing;
use crate::api::{ApiError, ApiState};
use crate::domain::{DetailsPatch, Field as Detail, TemplateId, rfc3339};
use crate::service::people::{PeoplePage, PeopleQuery};
use crate::service::{Error, PersonChange};
use crate::store::PersonRecord;

/// A person in a list.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct PersonItem {
    template_id: String,
    name: Option<String>,
    external_id: Option<String>,
    groups: Vec<String>,
    sample_count: usize,
    created_at: String,
    updated_at: String,
    /// From when it is erased.
    expires_at: Option<String>,
    /// The gallery's revision of its last change.
    revision: u64,
    /// Whether its details cannot be opened.
    unreadable: bool,
}

/// A person.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct PersonView {
    #[serde(flatten)]
    item: PersonItem,
    metadata: Option<Map<String, Value>>,
    consent_reference: Option<String>,
    samples: Vec<SampleView>,
}

/// A sample of a person.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct SampleView {
    sample_id: String,
    /// The model that made its embedding.
    model: String,
    created_at: String,
    /// Who enrolled it; null where it was not recorded.
    enrolled_by: Option<String>,
    /// The quality of its photo for recognition (`crfiqa`) at its enrollment; null where it was not measured.
    quality: Option<SampleQuality>,
    /// Whether a crop of the photo is kept.
    has_crop: bool,
}

/// The quality of a sample.
#[derive(Serialize, JsonSchema)]
pub(in crate::api) struct SampleQuality {
    /// 0 to 1, higher is better.
    score: f64,
    /// Whether it was fine at that time.
    fine: bool,
}

impl PersonItem {
    fn new(person: &PersonRecord) -> Self {
        let details = &person.details;
        Self {
            template_id: person.template.id.as_str().to_owned(),
            name: details.name.clone(),
            external_id: details.external_id.clone(),
            groups: details.groups.clone(),
            sample_count: person.template.samples.len(),
            created_at: rfc3339(person.template.created_at),
            updated_at: rfc3339(person.updated_at),
            expires_at: details.expires_at.map(rfc3339),
            revision: person.revision.0,
            unreadable: person.unreadable,
        }
    }
}

impl PersonView {
    pub(super) fn new(person: &PersonRecord) -> Self {
        let sample = |sample: &crate::store::SampleRecord| SampleView {
            sample_id: sample.id.to_string(),
            model: sample.model.as_str().to_owned(),
            created_at: rfc3339(sample.created_at),
            enrolled_by: sample.enrolled_by.clone(),
            quality: sample.quality.map(|quality| SampleQuality { score: quality.score, fine: quality.fine }),
            has_crop: sample.has_crop,
        };
        Self {
            item: PersonItem::new(person),
            metadata: person.details.metadata.clone(),
            consent_reference: person.details.consent_reference.clone(),
            samples: person.template.samples.iter().map(sample).collect(),
        }
    }
}

/// A page of people.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct PeopleList {
    people: Vec<PersonItem>,
    #[serde(flatten)]
    listing: Listing,
}

impl PeopleList {
    fn new(found: &PeoplePage, next_cursor: Option<String>) -> Self {
        Self { people: found.people.iter().map(PersonItem::new).collect(), listing: Listing::new(found, next_cursor) }
    }
}

pub(in crate::api) async fn search(
    State(api): State<ApiState>,
    for_app: ForApp,
    path: CursorPath,
    JsonBody(search): JsonBody<PeopleSearch>,
) -> Answer {
    let (limit, cursor) = search.page();
    find(&api, &for_app, &search, path.page(limit, cursor)?).await
}

pub(in crate::api) async fn list(State(api): State<ApiState>, for_app: ForApp, page: Page) -> Answer {
    find(&api, &for_app, &PeopleSearch::default(), page).await
}

async fn find(api: &ApiState, for_app: &ForApp, search: &PeopleSearch, page: Page) -> Answer {
    let filter = search.filter(&for_app.caller.app);
    let after = page.after::<PlaceKey>(api, &filter)?.map(Into::into);
    let query = PeopleQuery { after, limit: page.limit, ..search.query()? };
    let found = api.service().search_people(&for_app.caller.app, &query).await?;
    let next = found.next.clone().map(|next| page.next(api, &filter, PlaceKey::from(next))).transpose()?;
    Ok(for_app.audit.succeeded("listed", Outcome::result(&PeopleList::new(&found, next))).into())
}

pub(in crate::api) async fn read(State(api): State<ApiState>, for_app: ForApp, params: Params) -> Answer {
    let template = params.id::<TemplateId>("templateId")?;
    for_app.audit.template(&template);
    let person = api.service().person(&for_app.caller, &template).await.map_err(conflict)?;
    Ok(shown(&for_app, "read", &person))
}

fn shown(for_app: &ForApp, outcome: &str, person: &PersonRecord) -> Reply {
    let reply: Reply = for_app.audit.succeeded(outcome, Outcome::result(&PersonView::new(person))).into();
    match HeaderValue::from_str(&format!("\"r{}\"", person.revision)) {
        Ok(tag) => reply.header(header::ETAG, tag),
        Err(_) => reply,
    }
}

/// What changes of a person: a merge patch.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::api) struct ChangePerson {
    #[schemars(with = "Field<Name>")]
    #[serde(default)]
    name: Field<String>,
    #[schemars(with = "Field<ExternalId>")]
    #[serde(default)]
    external_id: Field<String>,
    /// At most 32 of 1 to 64 characters.
    #[serde(default)]
    groups: Field<Vec<String>>,
    /// Merged into the metadata: at most 4096 bytes as JSON, nested at most 4 deep.
    #[serde(default)]
    metadata: Field<Map<String, Value>>,
    #[schemars(with = "Field<ConsentReference>")]
    #[serde(default)]
    consent_reference: Field<String>,
    #[schemars(with = "Field<Time>")]
    #[serde(default)]
    expires_at: Field<String>,
}

impl ChangePerson {
    pub(super) fn patch(self) -> Result<DetailsPatch, ApiError> {
        fn value<T: Into<Value>>(field: Field<T>) -> Option<Value> {
            field.or_null().map(|value| value.map_or(Value::Null, Into::into))
        }
        let mut patch = DetailsPatch::default();
        for (field, value) in [
            (Detail::Name, value(self.name)),
            (Detail::ExternalId, value(self.external_id)),
            (Detail::Groups, value(self.groups)),
            (Detail::Metadata, value(self.metadata)),
            (Detail::ConsentReference, value(self.consent_reference)),
            (Detail::ExpiresAt, value(self.expires_at)),
        ] {
            if let Some(value) = value {
                patch.set(field, value).map_err(Error::from)?;
            }
        }
        Ok(patch)
    }
}

pub(in crate::api) async fn change(
    State(api): State<ApiState>,
    for_app: ForApp,
    params: Params,
    headers: HeaderMap,
    PatchBody(body): PatchBody<ChangePerson>,
) -> Answer {
    let template = params.id::<TemplateId>("templateId")?;
    for_app.audit.template(&template);
    let change = PersonChange { patch: body.patch()?, expected: if_match(&headers)? };
    for_app.audit.changed(change.patch.fields().map(Detail::as_str));
    let person = api.service().change_details(&for_app.caller, &template, &change).await.map_err(conflict)?;
    Ok(shown(&for_app, "changed", &person))
}

/// A person that is erased.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ErasedView {
    /// The id of the erasure: that of its receipt in the journal.
    erasure_id: String,
    /// The gallery's revision.
    revision: u64,
    erased: ErasedCounts,
}

/// What is erased.
#[derive(Serialize, JsonSchema)]
pub(in crate::api) struct ErasedCounts {
    samples: u64,
}

pub(in crate::api) async fn erase(
    State(api): State<ApiState>,
    for_app: ForApp,
    params: Params,
    query: Query,
    headers: HeaderMap,
) -> Answer {
    let template = params.id::<TemplateId>("templateId")?;
    for_app.audit.template(&template);
    let samples = query.count("confirmSamples", 0..=usize::MAX)?.map(|samples| samples as u64);
    let expected = if_match(&headers)?;
    let erased = api.service().erase_person(&for_app.caller, &template, expected, samples).await.map_err(conflict)?;
    let view = ErasedView {
        erasure_id: erased.erasure.to_string(),
        revision: erased.revision.0,
        erased: ErasedCounts { samples: erased.samples },
    };
    Ok(for_app.audit.succeeded("removed", Outcome::result(&view)).into())
}

/// The groups of an application.
#[derive(Serialize, JsonSchema)]
pub(in crate::api) struct GroupList {
    groups: Vec<GroupView>,
}

/// A group.
#[derive(Serialize, JsonSchema)]
pub(in crate::api) struct GroupView {
    name: String,
    /// How many people are in it.
    people: usize,
}

pub(in crate::api) async fn groups(State(api): State<ApiState>, for_app: ForApp) -> Answer {
    let groups = api.service().groups(&for_app.caller.app).await?;
    let groups = groups.into_iter().map(|(name, people)| GroupView { name, people }).collect();
    Ok(for_app.audit.succeeded("listed", Outcome::result(&GroupList { groups })).into())
}

/// An error of the service in the terms of the administration API.
pub(super) fn conflict(error: Error) -> ApiError {
    match error {
        Error::TemplateNotFound => ApiError::no_such("person"),
        Error::TemplateExists | Error::ExternalIdTaken | Error::LimitReached(_) | Error::Suspicious(_) => {
            ApiError::Conflict(error)
        }
        other => other.into(),
    }
}
