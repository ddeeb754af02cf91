//! Pages of people: one stream from the database by ids and times, one from the index by names, merged.

use std::collections::HashSet;
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::{IndexFilter, IndexHits, IndexOrder, IndexQuery, Place};
use crate::domain::{AppId, TemplateId};
use crate::service::{Error, Service};
use crate::store::{ListEntry, ListFilter, ListOrder, ListQuery, PersonRecord};

/// Matches are counted up to this number.
pub(super) const MAX_COUNTED: usize = 10_000;

/// The order of a page; ties by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PeopleSort {
    /// Byte order of the ids.
    #[default]
    Id,
    /// When they were enrolled.
    Created,
    /// When they were last changed.
    Updated,
    /// By name, without case and accents. People without a name come last, by id.
    Name,
}

impl PeopleSort {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Id => "templateId",
            Self::Created => "createdAt",
            Self::Updated => "updatedAt",
            Self::Name => "name",
        }
    }
}

impl std::str::FromStr for PeopleSort {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = [Self::Id, Self::Created, Self::Updated, Self::Name];
        known.into_iter().find(|sort| sort.as_str() == text).ok_or("must be templateId, createdAt, updatedAt or name")
    }
}

/// Where a page begins: after this place. `unnamed`: among the people without a name, which a list by name ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceAfter {
    /// The place.
    pub place: Place,
    /// Whether it is among the people without a name.
    pub unnamed: bool,
}

/// Which people are listed, and how.
#[derive(Debug, Clone, Default)]
pub struct PeopleQuery {
    /// The beginning of an id, of an external id, or of each word of a name.
    pub q: Option<String>,
    /// Groups that they are all in.
    pub groups: Vec<String>,
    /// Members that their metadata has, with equal values.
    pub metadata: Map<String, Value>,
    /// Enrolled at this time or later.
    pub created_from: Option<SystemTime>,
    /// Enrolled before this time.
    pub created_to: Option<SystemTime>,
    /// The order.
    pub sort: PeopleSort,
    /// Whether the order is reversed.
    pub descending: bool,
    /// Where the page begins.
    pub after: Option<PlaceAfter>,
    /// The most people of the page; at least one.
    pub limit: usize,
    /// Whether people are counted.
    pub total: bool,
}

/// What `q` was compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Searched {
    /// The beginning of ids.
    Id,
    /// The beginning of external ids.
    ExternalId,
    /// Whole external ids.
    WholeExternalId,
    /// The beginning of words of names.
    Name,
}

impl Searched {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Id => "templateId",
            Self::ExternalId => "externalId",
            Self::WholeExternalId => "wholeExternalId",
            Self::Name => "name",
        }
    }
}

/// How many people match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched {
    /// Templates of the application.
    pub total: u64,
    /// People that the filter finds, up to 10 000.
    pub matched: usize,
    /// Whether there are not more.
    pub is_exact: bool,
}

/// A page of people.
#[derive(Debug, Clone, PartialEq)]
pub struct PeoplePage {
    /// The people, in order.
    pub people: Vec<PersonRecord>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<PlaceAfter>,
    /// What `q` was compared with; empty without `q`.
    pub searched: Vec<Searched>,
    /// The counts, if they were asked for.
    pub counts: Option<Matched>,
}

/// A page before the details are read: each place, and whether it is among the people without a name.
struct Places(Vec<PlaceAfter>);

impl PeopleQuery {
    fn needs_index(&self) -> bool {
        !self.groups.is_empty() || !self.metadata.is_empty() || self.sort == PeopleSort::Name
    }

    /// Whether templates without details may match.
    fn has_list(&self) -> bool {
        self.groups.is_empty() && self.metadata.is_empty()
    }

    fn list_filter(&self) -> ListFilter {
        ListFilter {
            prefix: self.q.clone().unwrap_or_default(),
            created_from: self.created_from,
            created_to: self.created_to,
            unnamed: false,
        }
    }

    fn is_unfiltered(&self) -> bool {
        self.q.is_none() && self.has_list() && self.created_from.is_none() && self.created_to.is_none()
    }
}

/// The place of a template of the database in an order.
fn place(order: ListOrder, entry: &ListEntry) -> Place {
    Place { name: String::new(), time: entry.key(order), id: entry.id.as_str().to_owned() }
}

impl Service {
    /// A page of the people of an application.
    ///
    /// # Errors
    /// [`Error::SearchIndexOff`] where the query needs the index of an application that has none, [`Error::Loading`]
    /// while it is loaded, store failures.
    pub async fn search_people(&self, app: &AppId, query: &PeopleQuery) -> Result<PeoplePage, Error> {
        let has_index = self.applications.has_name_search(app);
        if query.needs_index() && !has_index {
            return Err(Error::SearchIndexOff);
        }
        let uses_index = has_index && (query.q.is_some() || query.needs_index());
        if uses_index {
            self.replicator.load_people(app);
        }
        let limit = query.limit.max(1);
        let Places(mut places) = if query.sort == PeopleSort::Name {
            self.places_by_name(app, query, limit + 1).await?
        } else {
            self.places_by_key(app, query, uses_index, limit + 1).await?
        };
        let has_more = places.len() > limit;
        places.truncate(limit);
        let ids: Vec<TemplateId> = places.iter().filter_map(|after| after.place.id.parse().ok()).collect();
        let people = self.store.people.people(app, &ids).await?;
        let searched = match (&query.q, has_index) {
            (None, _) => Vec::new(),
            (Some(_), true) => vec![Searched::Id, Searched::ExternalId, Searched::Name],
            (Some(_), false) => vec![Searched::Id, Searched::WholeExternalId],
        };
        let counts = if query.total { Some(self.count_people(app, query, uses_index).await?) } else { None };
        Ok(PeoplePage { people, next: places.pop().filter(|_| has_more), searched, counts })
    }

    /// The groups of an application, by name, with the number of their people.
    ///
    /// # Errors
    /// [`Error::SearchIndexOff`], [`Error::Loading`].
    pub async fn groups(&self, app: &AppId) -> Result<Vec<(String, usize)>, Error> {
        if !self.applications.has_name_search(app) {
            return Err(Error::SearchIndexOff);
        }
        self.replicator.load_people(app);
        self.replicator.people().with(app, |index| index.groups()).await
    }

    /// The page in an order by id or time.
    async fn places_by_key(
        &self,
        app: &AppId,
        query: &PeopleQuery,
        uses_index: bool,
        limit: usize,
    ) -> Result<Places, Error> {
        let (list_order, index_order) = match query.sort {
            PeopleSort::Created => (ListOrder::Created, IndexOrder::Created),
            PeopleSort::Updated => (ListOrder::Updated, IndexOrder::Updated),
            PeopleSort::Id | PeopleSort::Name => (ListOrder::Id, IndexOrder::Id),
        };
        let after = query.after.as_ref().map(|after| after.place.clone());
        let mut places = Vec::new();
        if query.has_list() {
            places = self.listed(app, query.list_filter(), list_order, query.descending, after.as_ref(), limit).await?;
        }
        if uses_index {
            let hits = self.indexed(app, query, index_order, false, after, limit, false).await?;
            places.extend(hits.hits.into_iter().map(|(place, _)| place));
        } else if let Some(q) = &query.q
            && let Some(entry) = self.by_whole_external_id(app, query, q).await?
        {
            let exact = place(list_order, &entry);
            let order = after.as_ref().map(|after| exact.cmp(after));
            let is_after = order.is_none_or(|order| if query.descending { order.is_lt() } else { order.is_gt() });
            places.extend(is_after.then_some(exact));
        }
        Ok(Places(merged(places, query.descending, limit, false)))
    }

    /// The page in the order of names: people with a name, and then the others by id.
    async fn places_by_name(&self, app: &AppId, query: &PeopleQuery, limit: usize) -> Result<Places, Error> {
        let mut places = Vec::new();
        let in_unnamed = query.after.as_ref().is_some_and(|after| after.unnamed);
        let after = query.after.as_ref().map(|after| after.place.clone());
        if !in_unnamed {
            let hits = self.indexed(app, query, IndexOrder::Name, false, after.clone(), limit, false).await?;
            places.extend(hits.hits.into_iter().map(|(place, _)| PlaceAfter { place, unnamed: false }));
        }
        if places.len() >= limit {
            return Ok(Places(places));
        }
        let after = after.filter(|_| in_unnamed);
        let left = limit - places.len();
        let hits = self.indexed(app, query, IndexOrder::Id, true, after.clone(), left, false).await?;
        let mut unnamed: Vec<Place> = hits.hits.into_iter().map(|(place, _)| place).collect();
        if query.has_list() {
            let named = self.replicator.people().with(app, |index| index.named()).await?;
            if self.store.people.total(app).await? > named as u64 {
                let filter = ListFilter { unnamed: true, ..query.list_filter() };
                let listed = self.listed(app, filter, ListOrder::Id, query.descending, after.as_ref(), left).await?;
                unnamed.extend(listed);
            }
        }
        places.extend(merged(unnamed, query.descending, left, true));
        Ok(Places(places))
    }

    async fn listed(
        &self,
        app: &AppId,
        filter: ListFilter,
        order: ListOrder,
        descending: bool,
        after: Option<&Place>,
        limit: usize,
    ) -> Result<Vec<Place>, Error> {
        let after = after.and_then(|after| Some((after.time, after.id.parse().ok()?)));
        let list = ListQuery { filter, order, descending, after, limit };
        let entries = self.store.people.list(app, &list).await?;
        Ok(entries.iter().map(|entry| place(order, entry)).collect())
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one query")]
    async fn indexed(
        &self,
        app: &AppId,
        query: &PeopleQuery,
        order: IndexOrder,
        unnamed: bool,
        after: Option<Place>,
        limit: usize,
        count: bool,
    ) -> Result<IndexHits, Error> {
        let PeopleQuery { q, groups, metadata, created_from, created_to, descending, .. } = query.clone();
        let search = move |index: &super::PeopleIndex| {
            let filter: IndexFilter = index.filter(q.as_deref(), &groups, &metadata, (created_from, created_to));
            let filter = if unnamed { filter.only_unnamed() } else { filter };
            index.search(&IndexQuery { filter, order, descending, after, limit, count })
        };
        self.replicator.people().with(app, search).await
    }

    /// The template whose external id is the text, where there is no index, and if its id does not begin with it.
    async fn by_whole_external_id(
        &self,
        app: &AppId,
        query: &PeopleQuery,
        q: &str,
    ) -> Result<Option<ListEntry>, Error> {
        let Some(id) = self.store.people.by_external_id(app, q).await? else { return Ok(None) };
        let found = self.store.people.people(app, std::slice::from_ref(&id)).await?;
        let entry = found.into_iter().next().map(|person| ListEntry {
            created_at: person.template.created_at,
            updated_at: person.updated_at,
            id: person.template.id,
        });
        Ok(entry.filter(|entry| {
            !entry.id.as_str().starts_with(q)
                && query.created_from.is_none_or(|from| entry.created_at >= from)
                && query.created_to.is_none_or(|to| entry.created_at < to)
        }))
    }

    async fn count_people(&self, app: &AppId, query: &PeopleQuery, uses_index: bool) -> Result<Matched, Error> {
        let total = self.store.people.total(app).await?;
        let mut matched = 0;
        if query.is_unfiltered() {
            matched = usize::try_from(total).unwrap_or(usize::MAX);
        } else {
            if query.has_list() {
                matched += self.store.people.count_matching(app, &query.list_filter(), MAX_COUNTED + 1).await?;
            }
            if uses_index && (query.q.is_some() || !query.has_list()) {
                let hits = self.indexed(app, query, IndexOrder::Id, false, None, 0, true).await?;
                matched += if query.has_list() { hits.beyond_id } else { hits.matched };
            } else if let Some(q) = &query.q {
                matched += usize::from(self.by_whole_external_id(app, query, q).await?.is_some());
            }
        }
        Ok(Matched { total, matched: matched.min(MAX_COUNTED), is_exact: matched <= MAX_COUNTED })
    }
}

/// The first places of two streams, each template once.
fn merged(mut places: Vec<Place>, descending: bool, limit: usize, unnamed: bool) -> Vec<PlaceAfter> {
    let mut seen = HashSet::with_capacity(places.len());
    places.retain(|place| seen.insert(place.id.clone()));
    places.sort_unstable_by(|a, b| if descending { b.cmp(a) } else { a.cmp(b) });
    places.truncate(limit);
    places.into_iter().map(|place| PlaceAfter { place, unnamed }).collect()
}
