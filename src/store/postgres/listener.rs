//! Receives the notifications of all nodes.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::Mutex;

use super::pool::PgPool;
use super::store_error;
use crate::store::error::StoreError;
use crate::store::traits::HintStore;

/// The channel of [`super::NOTIFY`].
const CHANNEL: &str = "semblance";

/// How long a listening connection may be silent before it is replaced: nothing else distinguishes a quiet one from a
/// dead one.
const MAX_SILENCE: Duration = Duration::from_secs(60);

/// The listening connection. It follows the pool to another server.
pub(in crate::store) struct Listener {
    pool: PgPool,
    /// The connection, while there is one, and the generation of the pool's connections at its time.
    connection: Mutex<Option<(PgListener, u64)>>,
}

impl Listener {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { pool, connection: Mutex::default() }
    }

    async fn listen(&self) -> Result<PgListener, StoreError> {
        let options = self.pool.connector().current().map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        let pool = PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        let pool = pool.acquire_timeout(self.pool.timeout()).connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&pool).await.map_err(store_error)?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await.map_err(store_error)?;
        Ok(listener)
    }
}

#[async_trait]
impl HintStore for Listener {
    async fn changed(&self) -> Result<(), StoreError> {
        let mut connection = self.connection.lock().await;
        let mut generation = self.pool.generation();
        let Some((listener, made_in)) = &mut *connection else {
            let now = *generation.borrow();
            *connection = Some((self.listen().await?, now));
            return Ok(()); // something may have changed before it listened
        };
        let notified = tokio::select! {
            received = tokio::time::timeout(MAX_SILENCE, listener.try_recv()) => received.ok(),
            _ = generation.wait_for(|now| now != made_in) => None,
        };
        match notified {
            Some(Ok(Some(_))) => Ok(()),
            // It is closed, silent, or leads to a server that is no longer used.
            Some(Ok(None)) | None => {
                *connection = None;
                Ok(())
            }
            Some(Err(error)) => {
                *connection = None;
                Err(store_error(error))
            }
        }
    }
}
