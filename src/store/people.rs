//! People: templates with their details, and pages of them.

use std::time::SystemTime;

use async_trait::async_trait;
use uuid::Uuid;

use super::error::{EraseError, InsertError, StoreError, UpdateError};
use super::outbox::ErasureReason;
use super::record::{EnrolledSample, OnConflict, TemplateRecord};
use crate::domain::{AppId, Details, DetailsPatch, Revision, TemplateId};

/// A template that is enrolled, with its details.
#[derive(Debug, Clone, Copy)]
pub struct NewTemplate<'a> {
    /// Its id.
    pub id: &'a TemplateId,
    /// Its samples.
    pub samples: &'a [EnrolledSample],
    /// Its details; empty: none.
    pub details: &'a Details,
}

impl<'a> NewTemplate<'a> {
    /// A template without details.
    pub fn new(id: &'a TemplateId, samples: &'a [EnrolledSample]) -> Self {
        Self { id, samples, details: Details::NONE }
    }
}

/// A template with its details.
#[derive(Debug, Clone, PartialEq)]
pub struct PersonRecord {
    /// The template and its samples.
    pub template: TemplateRecord,
    /// When it was last changed (whole milliseconds).
    pub updated_at: SystemTime,
    /// The revision of that change; zero when a version before made it.
    pub revision: Revision,
    /// Its details; empty where they cannot be opened.
    pub details: Details,
    /// Whether there are details that cannot be opened: they are damaged, or their sealing key is missing.
    pub unreadable: bool,
}

/// A template with details, without samples.
#[derive(Debug, Clone, PartialEq)]
pub struct NotedPerson {
    /// The template.
    pub id: TemplateId,
    /// When it was enrolled (whole milliseconds).
    pub created_at: SystemTime,
    /// When it was last changed (whole milliseconds).
    pub updated_at: SystemTime,
    /// Its details.
    pub details: Details,
}

/// A part of the people with details.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NotedPage {
    /// In byte order of their ids.
    pub people: Vec<NotedPerson>,
    /// The id after which the next page begins; `None` on the last page.
    pub next: Option<TemplateId>,
    /// How many were left out because their details cannot be opened.
    pub unreadable: usize,
}

/// The order of a list of templates; ties by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListOrder {
    /// Byte order of the ids.
    Id,
    /// When they were enrolled.
    Created,
    /// When they were last changed.
    Updated,
}

/// Which templates a list has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListFilter {
    /// The beginning of their ids; empty: any.
    pub prefix: String,
    /// Enrolled at this time or later.
    pub created_from: Option<SystemTime>,
    /// Enrolled before this time.
    pub created_to: Option<SystemTime>,
    /// Only templates without a name.
    pub unnamed: bool,
}

/// The place of a template in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListEntry {
    /// Its id.
    pub id: TemplateId,
    /// When it was enrolled (whole milliseconds).
    pub created_at: SystemTime,
    /// When it was last changed (whole milliseconds).
    pub updated_at: SystemTime,
}

impl ListEntry {
    /// The time that an order sorts by, and zero for the order by id, in milliseconds since 1970.
    pub fn key(&self, order: ListOrder) -> i64 {
        let time = match order {
            ListOrder::Id => return 0,
            ListOrder::Created => self.created_at,
            ListOrder::Updated => self.updated_at,
        };
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}

/// A list of templates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// Which templates.
    pub filter: ListFilter,
    /// In which order.
    pub order: ListOrder,
    /// Whether the order is reversed. Ties are reversed with it.
    pub descending: bool,
    /// The list begins after this place: the key of [`ListEntry::key`], and an id.
    pub after: Option<(i64, TemplateId)>,
    /// At most so many.
    pub limit: usize,
}

/// A person that was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErasedPerson {
    /// The id of the erasure, and of its receipt.
    pub erasure: Uuid,
    /// The gallery's revision.
    pub revision: Revision,
    /// The number of samples that were erased.
    pub samples: u64,
}

/// Templates with their details.
#[async_trait]
pub trait PeopleStore: Send + Sync {
    /// Enrolls a template with its samples and details.
    async fn enroll(
        &self,
        app: &AppId,
        new: &NewTemplate<'_>,
        on_conflict: OnConflict,
    ) -> Result<Revision, InsertError>;

    /// Changes the details of a template. With `expected`, only if the template has this revision. A change that leaves
    /// them as they are writes nothing. Returns the gallery's revision of the last change of the template.
    async fn update(
        &self,
        app: &AppId,
        template: &TemplateId,
        patch: &DetailsPatch,
        expected: Option<Revision>,
    ) -> Result<Revision, UpdateError>;

    /// Erases a template. With `expected`, only if the template has this revision; with `samples`, only if it has so many
    /// samples.
    async fn erase(
        &self,
        app: &AppId,
        template: &TemplateId,
        reason: &ErasureReason,
        expected: Option<Revision>,
        samples: Option<u64>,
    ) -> Result<ErasedPerson, EraseError>;

    /// Templates with their details, in the order of `ids`. Those that do not exist are left out.
    async fn people(&self, app: &AppId, ids: &[TemplateId]) -> Result<Vec<PersonRecord>, StoreError>;

    /// Those of these templates that exist and have details.
    async fn noted(&self, app: &AppId, ids: &[TemplateId]) -> Result<NotedPage, StoreError>;

    /// Up to `limit` templates with details, after the id `after`, in byte order of their ids.
    async fn noted_page(&self, app: &AppId, after: Option<&TemplateId>, limit: usize) -> Result<NotedPage, StoreError>;

    /// The template with an external id.
    async fn by_external_id(&self, app: &AppId, external_id: &str) -> Result<Option<TemplateId>, StoreError>;

    /// The places of a list.
    async fn list(&self, app: &AppId, query: &ListQuery) -> Result<Vec<ListEntry>, StoreError>;

    /// How many templates a filter has, counted up to `limit`.
    async fn count_matching(&self, app: &AppId, filter: &ListFilter, limit: usize) -> Result<usize, StoreError>;

    /// How many templates the application has. The first call counts them; writes keep the count.
    async fn total(&self, app: &AppId) -> Result<u64, StoreError>;
}
