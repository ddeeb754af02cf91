//! Retention: expired templates are erased, unless the clock is wrong or too many expire at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{ClockDoubt, Error, Service};
use crate::domain::AppId;
use crate::store::{RetentionRecord, StoreError};

/// The most expired templates of an application that are erased in one transaction.
const EXPIRE_BATCH: usize = 500;

/// How often the clock is read where no application has a retention period.
const IDLE_OBSERVATION: Duration = Duration::from_secs(30);

/// What is held, as of the last round.
#[derive(Debug, Default)]
pub(super) struct Holds(Mutex<Arc<Vec<RetentionRecord>>>);

impl Service {
    /// Erases expired templates; a bounded number for each application. Returns how many. Erases none while the clock is
    /// not trusted.
    ///
    /// # Errors
    /// Store failures, when nothing was erased: an application that fails does not delay the others.
    pub async fn remove_expired(&self) -> Result<usize, Error> {
        let clock = self.applications.store_clock();
        let mut apps: BTreeSet<AppId> = self.applications.retentions().into_iter().map(|(app, _)| app).collect();
        // A hold ends when nothing is due any more.
        apps.extend(self.held().iter().map(|record| record.app.clone()));
        apps.extend(self.store.retention.due_by_expiry().await?);
        if apps.is_empty() && clock.observation_age().is_some_and(|age| age < IDLE_OBSERVATION) {
            return Ok(0);
        }
        let doubt = clock.observe(&*self.store.retention).await?;
        let (mut erased, mut failed) = (0, None);
        for app in apps.iter().filter(|_| doubt.is_none()) {
            match self.store.retention.expire(app, EXPIRE_BATCH).await {
                Ok(expired) => {
                    if let Some(revision) = expired.revision {
                        self.replicator.publish(app, revision).await;
                    }
                    erased += expired.erased;
                }
                Err(error) => failed = Some(error),
            }
        }
        if let Err(error) = self.refresh_holds().await {
            failed = Some(error);
        }
        match failed {
            Some(error) if erased == 0 => Err(error.into()),
            _ => Ok(erased),
        }
    }

    /// Reads the clock of the database for the first time.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn observe_clock(&self) -> Result<Option<ClockDoubt>, StoreError> {
        self.applications.store_clock().observe(&*self.store.retention).await
    }

    /// The applications with templates that are due and wait for a confirmation, as of the last round.
    pub fn held(&self) -> Arc<Vec<RetentionRecord>> {
        Arc::clone(&self.holds.0.lock())
    }

    /// Reads what is held, and logs what was not held before.
    async fn refresh_holds(&self) -> Result<(), StoreError> {
        let mut held = self.store.retention.retentions().await?;
        held.retain(|record| record.hold.is_some());
        let known = std::mem::replace(&mut *self.holds.0.lock(), Arc::new(held.clone()));
        for record in held {
            let Some(hold) = record.hold.filter(|_| known.iter().all(|known| known.app != record.app)) else {
                continue;
            };
            tracing::error!(
                app = %record.app,
                templates = hold.templates,
                "the retention period or the expiry of more templates is over than may expire within a day ({} % of the \
                 gallery); none of them is erased until you check and run `semblance retention confirm {}`",
                record.share,
                record.app,
            );
        }
        Ok(())
    }
}
