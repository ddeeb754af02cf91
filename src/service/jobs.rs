//! Work that takes longer than a request: it goes on when its client has gone, and its state is asked for.
//!
//! Jobs live in the memory of the node that began them. They end with the process.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use serde_json::Value;
use uuid::Uuid;

use crate::domain::{Actor, Clock, random_uuid};

/// Jobs that are kept, with those that run.
const MAX_JOBS: usize = 64;

/// How long a job that has ended is kept.
const KEPT: Duration = Duration::from_secs(86_400);

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// It works.
    Running,
    /// It has ended with a result.
    Done,
    /// It has ended with a failure.
    Failed,
}

/// A job as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRecord {
    /// Its id.
    pub id: Uuid,
    /// What it does, such as `journalVerify`.
    pub kind: &'static str,
    /// Where it is.
    pub state: JobState,
    /// Who began it.
    pub created_by: Actor,
    /// When it began.
    pub created_at: SystemTime,
    /// When it ended.
    pub ended_at: Option<SystemTime>,
    /// How much is done, in the unit of its kind.
    pub done: u64,
    /// How much there is to do; 0 when that is not known.
    pub total: u64,
    /// What it found, when it is done.
    pub result: Option<Value>,
    /// Why it failed.
    pub failure: Option<String>,
}

/// Why a job does not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JobRefusal {
    /// One of its kind runs.
    #[error("such a job is running: {0}")]
    Running(Uuid),
    /// So many jobs run that no other one is kept.
    #[error("too many jobs are running")]
    TooMany,
}

/// The progress of a job, which its work reports.
#[derive(Debug, Clone, Default)]
pub struct JobProgress {
    /// How much is done.
    pub done: Arc<AtomicU64>,
    /// How much there is to do; 0 when that is not known.
    pub total: Arc<AtomicU64>,
}

struct Job {
    record: JobRecord,
    progress: JobProgress,
}

impl Job {
    fn record(&self) -> JobRecord {
        let (done, total) = (self.progress.done.load(Ordering::Relaxed), self.progress.total.load(Ordering::Relaxed));
        JobRecord { done, total, ..self.record.clone() }
    }

    fn is_running(&self) -> bool {
        self.record.state == JobState::Running
    }
}

/// The jobs of this node. Clones share them.
#[derive(Clone)]
pub struct Jobs {
    jobs: Arc<Mutex<BTreeMap<u64, Job>>>,
    next: Arc<AtomicU64>,
    clock: Clock,
}

impl Jobs {
    /// No jobs yet.
    pub fn new(clock: Clock) -> Self {
        Self { jobs: Arc::default(), next: Arc::default(), clock }
    }

    /// Begins a job, if none of its kind runs. `work` returns its result, or why it failed.
    ///
    /// # Errors
    /// [`JobRefusal`].
    pub fn start<Work>(
        &self,
        kind: &'static str,
        created_by: Actor,
        work: impl FnOnce(JobProgress) -> Work,
    ) -> Result<JobRecord, JobRefusal>
    where
        Work: Future<Output = Result<Value, String>> + Send + 'static,
    {
        let record = JobRecord {
            id: random_uuid(),
            kind,
            state: JobState::Running,
            created_by,
            created_at: self.clock.now(),
            ended_at: None,
            done: 0,
            total: 0,
            result: None,
            failure: None,
        };
        let progress = JobProgress::default();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        {
            let mut jobs = self.jobs.lock();
            if let Some(other) = jobs.values().find(|job| job.is_running() && job.record.kind == kind) {
                return Err(JobRefusal::Running(other.record.id));
            }
            self.remove_old(&mut jobs);
            make_room(&mut jobs);
            if jobs.len() >= MAX_JOBS {
                return Err(JobRefusal::TooMany);
            }
            jobs.insert(number, Job { record: record.clone(), progress: progress.clone() });
        }
        let work = work(progress);
        let this = self.clone();
        tokio::spawn(async move {
            let outcome = AssertUnwindSafe(work).catch_unwind().await;
            let outcome = outcome.unwrap_or_else(|_| Err("it panicked; the log has the reason".to_owned()));
            if let Err(failure) = &outcome {
                tracing::warn!(kind, failure, "a job failed");
            }
            this.end(number, outcome);
        });
        Ok(record)
    }

    fn end(&self, number: u64, outcome: Result<Value, String>) {
        let mut jobs = self.jobs.lock();
        let Some(Job { record, .. }) = jobs.get_mut(&number) else { return };
        record.ended_at = Some(self.clock.now());
        match outcome {
            Ok(result) => {
                record.state = JobState::Done;
                record.result = Some(result);
            }
            Err(failure) => {
                record.state = JobState::Failed;
                record.failure = Some(failure);
            }
        }
    }

    /// Removes jobs that ended long ago.
    fn remove_old(&self, jobs: &mut BTreeMap<u64, Job>) {
        let now = self.clock.now();
        let is_old =
            |job: &Job| job.record.ended_at.and_then(|at| now.duration_since(at).ok()).is_some_and(|age| age > KEPT);
        jobs.retain(|_, job| !is_old(job));
    }

    /// All jobs, newest first.
    pub fn list(&self) -> Vec<JobRecord> {
        let mut jobs = self.jobs.lock();
        self.remove_old(&mut jobs);
        jobs.values().rev().map(Job::record).collect()
    }

    /// One job.
    pub fn get(&self, id: Uuid) -> Option<JobRecord> {
        self.jobs.lock().values().find(|job| job.record.id == id).map(Job::record)
    }
}

/// Removes the oldest jobs that have ended, where too many are kept for one more.
fn make_room(jobs: &mut BTreeMap<u64, Job>) {
    while jobs.len() >= MAX_JOBS {
        let Some(oldest) = jobs.iter().find(|(_, job)| !job.is_running()).map(|(number, _)| *number) else { return };
        jobs.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::sync::oneshot;

    use super::*;
    use crate::domain::TestClock;

    async fn ended(jobs: &Jobs, id: Uuid) -> JobRecord {
        loop {
            match jobs.get(id) {
                Some(record) if record.state != JobState::Running => return record,
                _ => tokio::task::yield_now().await,
            }
        }
    }

    #[tokio::test]
    async fn one_job_of_a_kind_runs_and_its_end_is_kept() {
        let clock = TestClock::new();
        let jobs = Jobs::new(clock.clock());
        let (go, wait) = oneshot::channel::<()>();
        let started = jobs.start("a", Actor::Command, |progress| async move {
            progress.total.store(7, Ordering::Relaxed);
            progress.done.store(3, Ordering::Relaxed);
            let _ = wait.await;
            Ok(json!({ "found": 7 }))
        });
        let id = started.unwrap().id;
        assert_eq!(jobs.start("a", Actor::Command, |_| async { Ok(json!(null)) }), Err(JobRefusal::Running(id)));
        let other = jobs.start("b", Actor::Command, |_| async { Err("no disk".to_owned()) }).unwrap().id;
        assert_eq!(ended(&jobs, other).await.failure.as_deref(), Some("no disk"));
        let running = jobs.get(id).unwrap();
        assert_eq!((running.state, running.done, running.total), (JobState::Running, 3, 7));
        go.send(()).unwrap();
        let done = ended(&jobs, id).await;
        assert_eq!((done.state, done.result), (JobState::Done, Some(json!({ "found": 7 }))));
        assert_eq!(jobs.list().iter().map(|job| job.kind).collect::<Vec<_>>(), ["b", "a"]);
        clock.advance(KEPT + Duration::from_secs(1));
        assert!(jobs.list().is_empty());
    }

    #[tokio::test]
    async fn a_panic_fails_the_job_and_the_number_is_bounded() {
        let jobs = Jobs::new(Clock::system());
        let id = jobs.start("a", Actor::Command, |_| async { panic!("on purpose") }).unwrap().id;
        assert_eq!(ended(&jobs, id).await.state, JobState::Failed);
        for _ in 0..MAX_JOBS + 5 {
            let id = jobs.start("b", Actor::Command, |_| async { Ok(json!(1)) }).unwrap().id;
            ended(&jobs, id).await;
        }
        assert_eq!(jobs.list().len(), MAX_JOBS);
    }
}
