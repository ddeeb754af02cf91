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
        let Some(guard) = self.db.pending_scrub.begin() else { return Ok(true) };
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

    fn interval(&self) -> Duration {
        match self.db.write {
            Pool::Sqlite(_) => sqlite::SCRUB_INTERVAL,
            Pool::Postgres(_) => postgres::SCRUB_INTERVAL,
        }
    }
}
