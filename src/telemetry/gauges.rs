//! What is read at the moment of a scrape or a sample, instead of counted.

use std::time::Duration;

use crate::domain::AppId;
use crate::gallery::GallerySize;

/// Figures that are read at a scrape.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gauges {
    /// Whether identify can be served.
    pub ready: bool,
    /// Whether the store could be read at the last poll.
    pub store_reachable: bool,
    /// Photos in flight now.
    pub tickets_in_use: usize,
    /// Maximum photos in flight.
    pub tickets_capacity: usize,
    /// Requests that wait for the database.
    pub store_requests: usize,
    /// Such requests above which further ones are refused.
    pub store_requests_capacity: usize,
    /// Bytes of request bodies in memory.
    pub upload_bytes: usize,
    /// The most of them.
    pub upload_bytes_capacity: usize,
    /// Whether each application has figures of its own; otherwise they are added up.
    pub by_app: bool,
    /// What each gallery holds.
    pub galleries: Vec<(AppId, GallerySize)>,
    /// Templates with a stored sample that cannot be read, of each gallery where there are any.
    pub unreadable: Vec<(AppId, usize)>,
    /// Journal lines that are not on disk yet.
    pub journal_waiting: usize,
    /// Journal lines since the start that were lost.
    pub journal_lost: u64,
    /// Templates that are due and wait for a confirmation, of each gallery where there are any.
    pub held: Vec<(AppId, u64)>,
    /// Whether expiry is paused because the clock is not trusted.
    pub expiry_paused: bool,
    /// How far this node's clock is ahead of the database's, in milliseconds.
    pub clock_offset_ms: i64,
    /// The time since the last successful poll of the store.
    pub staleness: Duration,
    /// Galleries that are not searched because they have not followed the store for too long.
    pub stale_galleries: usize,
    /// Whether the last attempt to write to the database succeeded.
    pub writable: bool,
    /// Connections to the database in use.
    pub database_connections: usize,
    /// Maximum connections to the database.
    pub database_connections_capacity: usize,
    /// Calls that wait for a connection to the database.
    pub database_calls_waiting: usize,
}
