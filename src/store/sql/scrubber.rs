//! Clears away what erasures leave outside of the tables.

use std::time::Duration;

use async_trait::async_trait;

use super::executor::Pool;
use super::sql_store::SqlStore;
use crate::store::error::StoreError;
use crate::store::traits::Scrubber;
use crate::store::{postgres, sqlite};

#[async_trait]
impl Scrubber for SqlStore {
    async fn scrub(&self) -> Result<bool, StoreError> {
        let Some(guard) = self.db.pending_scrub.begin() else {
            return match &self.db.write {
                Pool::Sqlite(pool) if sqlite::is_log_long(pool) => sqlite::truncate_log(pool).await,
                _ => Ok(true),
            };
        };
        let done = match &self.db.write {
            Pool::Sqlite(pool) => sqlite::truncate_log(pool).await?,
            Pool::Postgres(pool) => {
                postgres::vacuum(pool).await?;
                true
            }
        };
        if done {
            guard.disarm();
        }
        Ok(done)
    }

    fn mark_pending(&self) {
        // On Postgres every process scrubs after its own erasures, after a crash at its next start.
        if let Pool::Sqlite(_) = self.db.write {
            self.db.pending_scrub.set();
        }
    }

    async fn close(&self) -> Result<(), StoreError> {
        match (&self.db.read, &self.db.write) {
            (Pool::Sqlite(read), Pool::Sqlite(write)) => sqlite::close(read, write).await,
            _ => Ok(()),
        }
    }

    fn interval(&self) -> Duration {
        match self.db.write {
            Pool::Sqlite(_) => sqlite::SCRUB_INTERVAL,
            Pool::Postgres(_) => postgres::SCRUB_INTERVAL,
        }
    }
}
