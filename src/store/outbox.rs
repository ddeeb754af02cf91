//! The outbox: what the journal is to tell of, put down in the transaction of what happened.
//!
//! A reply may be lost, its client may hang up, a process may die between the commit and the line: so whatever
//! erases a template puts a [`OutboxEvent`] down in the same transaction. A node claims events, writes their lines,
//! sees these on its disk, and only then takes the events away. One that dies on the way leaves its claim to be
//! ended by time: a line may be written twice then, with the same id, and never not at all.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use uuid::Uuid;

use super::StoreError;
use crate::domain::{AppId, JournalPosition, Revision, TemplateId, TransactionId};

/// Why a template is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErasureReason {
    /// In one word, as the receipt has it.
    pub name: &'static str,
    /// The request that asked for it.
    pub transaction: Option<TransactionId>,
}

impl ErasureReason {
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
pub struct OutboxEvent {
    /// Its own id.
    pub id: Uuid,
    /// When it happened (whole milliseconds).
    pub at: SystemTime,
    /// What happened: [`OutboxEvent::ERASURE`], or the command that was given.
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

impl OutboxEvent {
    /// The operation of a template's erasure.
    pub const ERASURE: &str = "erasure";

    /// A template is erased now.
    pub fn erasure(app: &AppId, template: &TemplateId, revision: Revision, reason: ErasureReason) -> Self {
        Self {
            transaction: reason.transaction.map(|transaction| transaction.0),
            template: Some(template.as_str().to_owned()),
            revision: Some(revision.0),
            ..Self::new(Self::ERASURE, Some(app), reason.name)
        }
    }

    /// Something else happens now.
    pub fn new(operation: &str, app: Option<&AppId>, detail: &str) -> Self {
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
    pub events: Vec<OutboxEvent>,
}

/// How far the journal of a node reaches: never further than what is on that node's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodePosition {
    /// The node.
    pub node: Uuid,
    /// The last line that the node has reported.
    pub position: JournalPosition,
    /// When it reported it (whole milliseconds).
    pub reported_at: SystemTime,
}

/// How long a claim holds against other nodes. One that dies leaves its events to them after this.
pub const LEASE: Duration = Duration::from_secs(60);

/// What the journals of all nodes are to tell of, and how far each is known to reach.
#[async_trait]
pub trait OutboxStore: Send + Sync {
    /// From now on this process is a node with a journal: what it puts down is its own to tell, for [`LEASE`].
    /// What a process that is none puts down is told by whichever node looks first. Said once.
    fn register_node(&self, node: Uuid);

    /// Puts a event down by itself.
    async fn enqueue(&self, event: &OutboxEvent) -> Result<(), StoreError>;

    /// Claims up to `limit` events for a node, the oldest first: those that no node has claimed, its own of before,
    /// and others' whose lease is over.
    async fn claim(&self, node: Uuid, lease: Duration, limit: usize) -> Result<Claim, StoreError>;

    /// Takes the events of a claim away: their lines are on disk.
    async fn ack(&self, claim: Uuid) -> Result<(), StoreError>;

    /// Takes away what happened before a moment and was never told of; how many events.
    async fn expire(&self, before: SystemTime) -> Result<u64, StoreError>;

    /// How far the journal of each node is known to reach.
    async fn journal_positions(&self) -> Result<Vec<NodePosition>, StoreError>;

    /// Says how far a journal reaches; nothing changes if it is known to reach further.
    async fn record_position(&self, position: &NodePosition) -> Result<(), StoreError>;
}
