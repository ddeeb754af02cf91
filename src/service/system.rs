//! What operators see and do beside people and applications: journals, keys, held expiry, the clock.

use uuid::Uuid;

use super::{Error, Service, SystemError};
use crate::domain::AppId;
use crate::store::{KeyStatus, NodePosition, OutboxBacklog, OutboxEvent};

impl Service {
    /// How far the journal of each node reaches, as the database knows it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn journal_positions(&self) -> Result<Vec<NodePosition>, Error> {
        Ok(self.store.outbox.journal_positions().await?)
    }

    /// The events that no journal has recorded yet.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn outbox_backlog(&self) -> Result<OutboxBacklog, Error> {
        Ok(self.store.outbox.backlog().await?)
    }

    /// Whether an event, such as an erasure, waits for its line in a journal.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn is_event_pending(&self, event: Uuid) -> Result<bool, Error> {
        Ok(self.store.outbox.contains(event).await?)
    }

    /// Adds an event to the outbox.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn record_event(&self, event: &OutboxEvent) -> Result<(), Error> {
        Ok(self.store.outbox.enqueue(event).await?)
    }

    /// The sealing keys, and how much is sealed under each. Reads the row of every sample.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn key_status(&self) -> Result<KeyStatus, Error> {
        Ok(self.store.keys.status().await?)
    }

    /// Confirms the clock of the database, so that expiry goes on.
    ///
    /// # Errors
    /// [`SystemError::NotPaused`], or when the store cannot be written.
    pub async fn resume_expiry(&self) -> Result<(), Error> {
        if self.applications.store_clock().doubt().is_none() {
            return Err(SystemError::NotPaused.into());
        }
        self.store.retention.confirm_clock().await?;
        self.observe_clock().await?;
        Ok(())
    }

    /// Confirms that the people of an application that are held are erased, if there are `count` of them. The next round
    /// erases them.
    ///
    /// # Errors
    /// [`SystemError::NothingHeld`], [`SystemError::CountDiffers`], or when the store fails.
    pub async fn confirm_expiry(&self, app: &AppId, count: u64) -> Result<(), Error> {
        let held = self.store.retention.retentions().await?.into_iter().find(|record| record.app == *app);
        let hold = held.and_then(|record| record.hold).ok_or(SystemError::NothingHeld)?;
        if hold.templates != count {
            return Err(SystemError::CountDiffers(hold.templates).into());
        }
        self.store.retention.confirm_expiry(app).await?.ok_or(SystemError::NothingHeld)?;
        Ok(())
    }
}
