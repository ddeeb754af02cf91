//! A search of people, in a query or in a body, and the cursor of its pages.

use std::time::SystemTime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Query;
use crate::api::ApiError;
use crate::domain::{AppId, details, parse_rfc3339};
use crate::service::people::{PeopleQuery, PeopleSort, Place, PlaceAfter};

/// The most characters of `q`: the longest name.
const MAX_Q_CHARS: usize = details::MAX_NAME_CHARS;

/// The most members of `metadata` in a search.
const MAX_MEMBERS: usize = 32;

/// A search of people.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub(in crate::api) struct PeopleSearch {
    /// The beginning of an id (byte-exact), of an external id, or of each word of a name (without case and accents).
    #[schemars(length(max = 200))]
    q: Option<String>,
    /// Groups that the people are all in.
    #[schemars(length(max = 32))]
    groups: Vec<String>,
    /// Members that the metadata has, with equal values.
    metadata: Map<String, Value>,
    /// Enrolled at this time or later.
    #[schemars(extend("format" = "date-time"))]
    created_from: Option<String>,
    /// Enrolled before this time.
    #[schemars(extend("format" = "date-time"))]
    created_to: Option<String>,
    /// `templateId` (the default), `createdAt`, `updatedAt` or `name`.
    #[schemars(extend("enum" = ["templateId", "createdAt", "updatedAt", "name", null]))]
    sort: Option<String>,
    /// `asc` (the default) or `desc`.
    #[schemars(extend("enum" = ["asc", "desc", null]))]
    order: Option<String>,
    /// The most people on the page.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<usize>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
    /// Whether people are counted.
    total: bool,
}

/// What a cursor holds: the place of the last item.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::api) struct PlaceKey {
    n: String,
    t: i64,
    i: String,
    u: bool,
}

impl From<PlaceAfter> for PlaceKey {
    fn from(after: PlaceAfter) -> Self {
        let PlaceAfter { place: Place { name, time, id }, unnamed } = after;
        Self { n: name, t: time, i: id, u: unnamed }
    }
}

impl From<PlaceKey> for PlaceAfter {
    fn from(key: PlaceKey) -> Self {
        Self { place: Place { name: key.n, time: key.t, id: key.i }, unnamed: key.u }
    }
}

impl PeopleSearch {
    /// The parameters of a URL; `None` when there are none of a search.
    ///
    /// # Errors
    /// 400 when one cannot be used.
    pub(in crate::api) fn from_query(query: &Query) -> Result<Option<Self>, ApiError> {
        let names = ["q", "sort", "order", "cursor", "total", "createdFrom", "createdTo", "group"];
        if names.iter().all(|name| query.text(name).is_none()) {
            return Ok(None);
        }
        let text = |name| query.text(name).map(str::to_owned);
        Ok(Some(Self {
            q: text("q"),
            groups: query.all("group"),
            metadata: Map::new(),
            created_from: text("createdFrom"),
            created_to: text("createdTo"),
            sort: text("sort"),
            order: text("order"),
            limit: None,
            cursor: text("cursor"),
            total: query.flag("total")?,
        }))
    }

    /// The requested page: limit and cursor.
    pub(in crate::api) fn page(&self) -> (Option<usize>, Option<String>) {
        (self.limit, self.cursor.clone())
    }

    /// The search, without its page.
    ///
    /// # Errors
    /// 400, which names the field and not its value.
    pub(in crate::api) fn query(&self) -> Result<PeopleQuery, ApiError> {
        let q = self.q.as_deref().map(str::trim).filter(|q| !q.is_empty());
        if q.is_some_and(|q| q.chars().count() > MAX_Q_CHARS) {
            return Err(ApiError::field("q", format!("must have at most {MAX_Q_CHARS} characters")));
        }
        if self.groups.len() > details::MAX_GROUPS {
            return Err(ApiError::field("groups", format!("must have at most {} entries", details::MAX_GROUPS)));
        }
        if self.metadata.len() > MAX_MEMBERS {
            return Err(ApiError::field("metadata", format!("must have at most {MAX_MEMBERS} members")));
        }
        let descending = match self.order.as_deref().unwrap_or("asc") {
            "asc" => false,
            "desc" => true,
            _ => return Err(ApiError::field("order", "must be asc or desc")),
        };
        let sort = self.sort.as_deref().map(str::parse::<PeopleSort>).transpose();
        Ok(PeopleQuery {
            q: q.map(str::to_owned),
            groups: self.groups.iter().map(|group| group.trim().to_owned()).collect(),
            metadata: self.metadata.clone(),
            created_from: time("createdFrom", self.created_from.as_deref())?,
            created_to: time("createdTo", self.created_to.as_deref())?,
            sort: sort.map_err(|info| ApiError::field("sort", info))?.unwrap_or_default(),
            descending,
            after: None,
            limit: 0,
            total: self.total,
        })
    }

    /// Everything that decides which people are listed, and in which order. A cursor is valid with the same only.
    pub(in crate::api) fn filter(&self, app: &AppId) -> Value {
        json!([
            app.as_str(),
            self.q.as_deref().map(str::trim),
            self.groups,
            self.metadata,
            self.created_from,
            self.created_to,
            self.sort.as_deref().unwrap_or(PeopleSort::default().as_str()),
            self.order.as_deref().unwrap_or("asc"),
        ])
    }
}

fn time(name: &str, text: Option<&str>) -> Result<Option<SystemTime>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let time = parse_rfc3339(text.trim());
    time.map(Some).ok_or_else(|| ApiError::field(name, "must be a time in UTC such as 2027-01-31T00:00:00Z"))
}
