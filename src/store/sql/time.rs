//! The time of what is written. With Postgres it is the database's, so that nodes whose clocks differ agree; with SQLite
//! it is that of this process.

use std::time::SystemTime;

use super::executor::{Connection, Executor};
use super::sql_store::SqlStore;
use crate::store::error::StoreError;

impl SqlStore {
    /// The time of the database.
    pub(super) async fn now(&self, db: &mut impl Executor) -> Result<SystemTime, StoreError> {
        if matches!(db.connection(), Connection::Sqlite(_)) {
            return Ok(self.clock.now());
        }
        let sql = "SELECT CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT) AS now";
        Ok(self.clock.shift(db.fetch_one(sql, &[]).await?.time("now")?))
    }
}
