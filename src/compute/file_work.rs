//! Work on files that takes long: on threads that may block, and a bounded number of it at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

/// How long work waits for a place.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Why work has no outcome.
#[derive(Debug, thiserror::Error)]
pub enum FileWorkError {
    /// No place was free.
    #[error("as much work on files is in progress as may be at once")]
    Busy,
    /// It panicked.
    #[error("work on files panicked: {0}")]
    Panicked(String),
}

/// Places for work on files. Clones share them.
#[derive(Debug, Clone)]
pub struct FileWork(Arc<Semaphore>);

impl FileWork {
    /// So many pieces of work at once.
    pub fn new(places: usize) -> Self {
        Self(Arc::new(Semaphore::new(places)))
    }

    /// Runs work when a place is free, and waits for its outcome.
    ///
    /// # Errors
    /// [`FileWorkError`].
    #[expect(clippy::disallowed_methods, reason = "its places bound the number")]
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, FileWorkError> {
        let place = self.place().await?;
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
            work()
        });
        done.await.map_err(|error| FileWorkError::Panicked(error.to_string()))
    }

    /// Begins work when a place is free, and does not wait for its end.
    ///
    /// # Errors
    /// [`FileWorkError::Busy`].
    #[expect(clippy::disallowed_methods, reason = "its places bound the number")]
    pub async fn begin(&self, work: impl FnOnce() + Send + 'static) -> Result<(), FileWorkError> {
        let place = self.place().await?;
        tokio::task::spawn_blocking(move || {
            let _place = place;
            work();
        });
        Ok(())
    }

    async fn place(&self) -> Result<tokio::sync::OwnedSemaphorePermit, FileWorkError> {
        let place = tokio::time::timeout(MAX_WAIT, Arc::clone(&self.0).acquire_owned()).await;
        place.ok().and_then(Result::ok).ok_or(FileWorkError::Busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_needs_a_place() {
        let work = FileWork::new(1);
        assert_eq!(work.run(|| 7).await.unwrap(), 7);
        let full = FileWork::new(0);
        assert!(matches!(full.run(|| 7).await, Err(FileWorkError::Busy)));
        assert!(matches!(full.begin(|| ()).await, Err(FileWorkError::Busy)));
        assert!(matches!(work.run(|| panic!("on purpose")).await, Err(FileWorkError::Panicked(_))));
        assert_eq!(work.run(|| 8).await.unwrap(), 8, "the place is free again");
    }
}
