//! Repeats a transaction that the database rolled back because of a concurrent one.
//!
//! Postgres ends one of two transactions that wait for each other (a deadlock), and under isolation levels above its
//! default also those that would see a state that never was (a serialization failure). Neither has written anything, so
//! the whole transaction runs again. A commit whose outcome is unknown, because its answer was lost, is never repeated.

use std::time::Duration;

use super::executor::{Db, Deadline, Limit};
use crate::domain::random_uuid;
use crate::store::error::TransactionError;

/// How often a transaction runs at most: within a deadline of 10 seconds, several writers of one gallery each have their
/// turn under the strictest isolation level.
const MAX_ATTEMPTS: u32 = 40;

/// The longest pause before the second attempt. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(4);

/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_millis(250);

impl Db {
    /// Runs a transaction, and again while the database rolls it back because of a concurrent one: a bounded number of
    /// times, all within one deadline, with random pauses in which no connection is held.
    pub(super) async fn transact<T, E, Attempt>(
        &self,
        limit: Limit,
        transaction: impl Fn(Deadline) -> Attempt,
    ) -> Result<T, E>
    where
        E: TransactionError + std::fmt::Display,
        Attempt: Future<Output = Result<T, E>>,
    {
        let deadline = self.deadline(limit);
        let mut longest = FIRST_PAUSE;
        for _ in 1..MAX_ATTEMPTS {
            match transaction(deadline).await {
                Err(error) if error.is_conflict() => {
                    let pause = random_pause(longest);
                    if !deadline.allows(pause) {
                        return Err(error);
                    }
                    tracing::debug!(%error, "the transaction is repeated");
                    tokio::time::sleep(pause).await;
                    longest = (2 * longest).min(MAX_PAUSE);
                }
                outcome => return outcome,
            }
        }
        transaction(deadline).await
    }
}

/// A random duration up to the longest one, so that transactions that conflicted once do not meet again.
fn random_pause(longest: Duration) -> Duration {
    let share = f64::from(random_uuid().as_fields().0) / f64::from(u32::MAX);
    longest.mul_f64(share)
}
