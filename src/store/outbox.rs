//! The outbox: what the journal is to tell of, put down in the transaction of what happened.
//!
//! A reply may be lost, its client may hang up, a process may die between the commit and the line: so whatever
//! erases a template puts a [`Notice`] down in the same transaction. A node claims notices, writes their lines,
//! sees these on its disk, and only then takes the notices away. One that dies on the way leaves its claim to be
//! ended by time: a line may be written twice then, with the same id, and never not at all.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use uuid::Uuid;

use super::StoreError;
use crate::domain::{AppId, Revision, TemplateId, TransactionId};

/// Why a template is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cause {
    /// In one word, as the receipt has it.
    pub name: &'static str,
    /// The request that asked for it.
    pub transaction: Option<TransactionId>,
}

impl Cause {
    /// Its time was over.
    pub const RETENTION: Self = Self { name: "retention", transaction: None };
    /// Its application was deleted.
    pub const APPLICATION: Self = Self { name: "application", transaction: None };
    /// An import put another in its place.
    pub const IMPORT: Self = Self { name: "import", transaction: None };

    /// A client asked for it.
    pub fn delete(transaction: TransactionId) -> Self {
        Self { name: "delete", transaction: Some(transaction) }
    }

    /// A client enrolled another in its place.
    pub fn replace(transaction: TransactionId) -> Self {
        Self { name: "replace", transaction: Some(transaction) }
    }
}

/// What the journal is to tell of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its own id.
    pub id: Uuid,
    /// When it happened (whole milliseconds).
    pub at: SystemTime,
    /// What happened: [`Notice::ERASURE`], or the command that was given.
    pub operation: String,
    /// The request that it was a part of.
    pub transaction: Option<Uuid>,
    /// Whose gallery it is about.
    pub app: Option<String>,
    /// The template that it is about.
    pub template: Option<String>,
    /// The gallery's revision that it made.
    pub revision: Option<u64>,
    /// Why, or what came of it.
    pub detail: String,
}

impl Notice {
    /// The operation of a template's erasure.
    pub const ERASURE: &str = "erasure";

    /// A template is erased now.
    pub fn erasure(app: &AppId, template: &TemplateId, revision: Revision, cause: Cause) -> Self {
        Self {
            transaction: cause.transaction.map(|transaction| transaction.0),
            template: Some(template.as_str().to_owned()),
            revision: Some(revision.0),
            ..Self::of(Self::ERASURE, Some(app), cause.name)
        }
    }

    /// Something else happens now.
    pub fn of(operation: &str, app: Option<&AppId>, detail: &str) -> Self {
        Self {
            id: Uuid::new_v4(),
            at: SystemTime::now(),
            operation: operation.to_owned(),
            transaction: None,
            app: app.map(|app| app.as_str().to_owned()),
            template: None,
            revision: None,
            detail: detail.to_owned(),
        }
    }
}

/// Notices that a node has taken upon itself, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Names the claim.
    pub id: Uuid,
    /// At most as many as were asked for.
    pub notices: Vec<Notice>,
}

/// How far the journal of a node is known to reach. It never says more than is on that node's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// The node.
    pub node: Uuid,
    /// The number of a line.
    pub line: u64,
    /// Its `mac`.
    pub mac: [u8; 32],
    /// When it was said (whole milliseconds).
    pub at: SystemTime,
}

/// How long a claim holds against other nodes. One that dies leaves its notices to them after this.
pub const LEASE: Duration = Duration::from_secs(60);

/// What the journals of all nodes are to tell of, and how far each is known to reach.
#[async_trait]
pub trait OutboxStore: Send + Sync {
    /// From now on this process is a node with a journal: what it puts down is its own to tell, for [`LEASE`].
    /// What a process that is none puts down is told by whichever node looks first. Said once.
    fn serves(&self, node: Uuid);

    /// Puts a notice down by itself.
    async fn put(&self, notice: &Notice) -> Result<(), StoreError>;

    /// Claims up to `limit` notices for a node, the oldest first: those that no node has claimed, its own of before,
    /// and others' whose lease is over.
    async fn claim(&self, node: Uuid, lease: Duration, limit: usize) -> Result<Claim, StoreError>;

    /// Takes the notices of a claim away: their lines are on disk.
    async fn told(&self, claim: Uuid) -> Result<(), StoreError>;

    /// Takes away what happened before a moment and was never told of; how many notices.
    async fn forget(&self, before: SystemTime) -> Result<u64, StoreError>;

    /// How far the journal of each node is known to reach.
    async fn anchors(&self) -> Result<Vec<Anchor>, StoreError>;

    /// Says how far a journal reaches; nothing changes if it is known to reach further.
    async fn set_anchor(&self, anchor: &Anchor) -> Result<(), StoreError>;
}
