//! The outbox: events for the journal, written in the transaction of what happened.
//!
//! A response may be lost, its client may disconnect, a process may die between the commit and the journal line. So
//! every transaction that erases a template also inserts an [`OutboxEvent`]. A node claims events, writes their lines,
//! waits until these are on disk, and only then deletes the events. The claim of a node that dies ends with its lease:
//! a line may then be written twice, with the same id, but it is never missing.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use uuid::Uuid;

use super::error::StoreError;
use crate::domain::{
    Actor, AppId, AppKeyId, JournalPosition, Revision, SampleId, TemplateId, TransactionId, random_uuid,
};

/// Why a template is erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasureReason {
    /// One word, as in the receipt.
    pub name: &'static str,
    /// The request that erases it.
    pub transaction: Option<TransactionId>,
    /// Who erases it.
    pub actor: Actor,
}

impl ErasureReason {
    /// Its retention period is over.
    pub const RETENTION: Self = Self { name: "retention", transaction: None, actor: Actor::Server };
    /// Its own expiry has come.
    pub const EXPIRY: Self = Self { name: "expiry", transaction: None, actor: Actor::Server };
    /// Its application is deleted, by a command.
    pub const APPLICATION: Self = Self { name: "application", transaction: None, actor: Actor::Command };
    /// An import replaces it.
    pub const IMPORT: Self = Self { name: "import", transaction: None, actor: Actor::Command };

    /// A client deletes it.
    pub fn delete(transaction: TransactionId, actor: Actor) -> Self {
        Self { name: "delete", transaction: Some(transaction), actor }
    }

    /// A client replaces it.
    pub fn replace(transaction: TransactionId, actor: Actor) -> Self {
        Self { name: "replace", transaction: Some(transaction), actor }
    }

    /// The same, by another actor.
    #[must_use]
    pub fn by(self, actor: Actor) -> Self {
        Self { actor, ..self }
    }
}

/// Something that the journal records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEvent {
    /// Its id.
    pub id: Uuid,
    /// When it happened (whole milliseconds).
    pub at: SystemTime,
    /// What happened: [`OutboxEvent::ERASURE`], or a command.
    pub operation: String,
    /// The request that it was part of.
    pub transaction: Option<Uuid>,
    /// The application.
    pub app: Option<String>,
    /// The template.
    pub template: Option<String>,
    /// The revision of the gallery that it made.
    pub revision: Option<u64>,
    /// The reason, or the outcome.
    pub detail: String,
    /// Who did it; `None` in events of versions that did not record it.
    pub actor: Option<Actor>,
    /// The sample that it is about.
    pub sample: Option<SampleId>,
    /// The id of the application's key that it is about.
    pub key: Option<String>,
    /// The names of the fields that changed, never their values.
    pub changed: Vec<String>,
}

impl OutboxEvent {
    /// The operation of an erasure: of a template, or of one sample.
    pub const ERASURE: &str = "erasure";
    /// The operation of a sample that moves to another template.
    pub const MOVE: &str = "move";
    /// The operation of a template that is merged into another.
    pub const MERGE: &str = "merge";
    /// The operation of a template that gets another id.
    pub const RENAME: &str = "rename";

    /// A template is erased.
    pub fn erasure(
        at: SystemTime,
        app: &AppId,
        template: &TemplateId,
        revision: Revision,
        reason: &ErasureReason,
    ) -> Self {
        Self {
            transaction: reason.transaction.map(|transaction| transaction.0),
            template: Some(template.as_str().to_owned()),
            revision: Some(revision.0),
            actor: Some(reason.actor.clone()),
            ..Self::new(at, Self::ERASURE, Some(app), reason.name)
        }
    }

    /// Something else happens.
    pub fn new(at: SystemTime, operation: &str, app: Option<&AppId>, detail: &str) -> Self {
        Self {
            id: random_uuid(),
            at,
            operation: operation.to_owned(),
            transaction: None,
            app: app.map(|app| app.as_str().to_owned()),
            template: None,
            revision: None,
            detail: detail.to_owned(),
            actor: None,
            sample: None,
            key: None,
            changed: Vec::new(),
        }
    }

    /// The same, by an actor.
    #[must_use]
    pub fn by(self, actor: Actor) -> Self {
        Self { actor: Some(actor), ..self }
    }

    /// The same, about a key of the application.
    #[must_use]
    pub fn of_key(self, key: AppKeyId) -> Self {
        Self { key: Some(key.to_string()), ..self }
    }

    /// The same, with the names of the fields that changed.
    #[must_use]
    pub fn changing(self, fields: &[&str]) -> Self {
        Self { changed: fields.iter().map(|&field| field.to_owned()).collect(), ..self }
    }

    /// The same, as a part of a request.
    #[must_use]
    pub fn within(self, transaction: TransactionId) -> Self {
        Self { transaction: Some(transaction.0), ..self }
    }
}

/// Events that a node has claimed, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The id of the claim.
    pub id: Uuid,
    /// At most as many as the limit.
    pub events: Vec<OutboxEvent>,
}

/// Events that no journal has recorded yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxBacklog {
    /// Their number.
    pub events: u64,
    /// When the oldest one happened; `None` without events.
    pub oldest: Option<SystemTime>,
}

/// How far the journal of a node reaches: never further than what is on that node's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodePosition {
    /// The node.
    pub node: Uuid,
    /// The last line that the node has reported.
    pub position: JournalPosition,
    /// When it reported the line (whole milliseconds).
    pub reported_at: SystemTime,
}

/// How long other nodes leave claimed events alone. After this they take over the events of a node that died.
pub const LEASE: Duration = Duration::from_secs(60);

/// The outbox of all nodes, and the positions of their journals.
#[async_trait]
pub trait OutboxStore: Send + Sync {
    /// This process is a node with a journal: it claims the events that it adds, for [`LEASE`]. Events of processes
    /// without a journal go to the first node that polls. Called once.
    fn register_node(&self, node: Uuid);

    /// Adds an event, with the time of the database.
    async fn enqueue(&self, event: &OutboxEvent) -> Result<(), StoreError>;

    /// Claims up to `limit` events for a node, oldest first: those that no node has claimed, those that it has claimed
    /// itself, and those whose lease is over.
    async fn claim(&self, node: Uuid, lease: Duration, limit: usize) -> Result<Claim, StoreError>;

    /// Whether an event waits for its line.
    async fn contains(&self, event: Uuid) -> Result<bool, StoreError>;

    /// Deletes the events of a claim: their lines are on disk.
    async fn ack(&self, claim: Uuid) -> Result<(), StoreError>;

    /// Deletes the events that are older than this by the time of the database, and returns how many there were.
    async fn expire(&self, age: Duration) -> Result<u64, StoreError>;

    /// The events that wait.
    async fn backlog(&self) -> Result<OutboxBacklog, StoreError>;

    /// How far the journal of each node reaches.
    async fn journal_positions(&self) -> Result<Vec<NodePosition>, StoreError>;

    /// Records how far a journal reaches. A position before the recorded one changes nothing.
    async fn record_position(&self, position: &NodePosition) -> Result<(), StoreError>;
}
