//! Whether the database can be written.

use async_trait::async_trait;

use super::executor::{Executor, Limit, values};
use super::sql_store::SqlStore;
use crate::domain::random_uuid;
use crate::store::error::StoreError;
use crate::store::traits::WriteProbe;

/// The row of `meta` that a probe writes. Its value means nothing.
const PROBE: &str = "write probe";

/// The size of the value in bytes: some pages, so that a full disk shows.
const PROBE_BYTES: usize = 16 * 1024;

#[async_trait]
impl WriteProbe for SqlStore {
    async fn probe(&self) -> Result<(), StoreError> {
        let value = random_uuid().as_bytes().repeat(PROBE_BYTES / 16);
        self.db
            .transact(Limit::Request, async |deadline| {
                let mut tx = self.db.begin(deadline).await?;
                let sql = "INSERT INTO meta (name, value) VALUES ($1, $2)
                           ON CONFLICT (name) DO UPDATE SET value = excluded.value";
                tx.execute(sql, values![PROBE, &value]).await?;
                self.sealer(&mut tx).await?;
                tx.commit().await
            })
            .await
    }
}
