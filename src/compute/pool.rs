//! A pool of named threads, each owning its worker.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;
use tracing::Span;

use super::fair_queue::FairQueue;
use crate::domain::stopwatch;

/// Pause before a worker is built again, after the first failure; it doubles with each further one.
const REBUILD_BACKOFF: Duration = Duration::from_millis(100);
/// The longest pause before a worker is built again.
const MAX_REBUILD_BACKOFF: Duration = Duration::from_secs(10);

/// Why a piece of work has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkError {
    /// The queue is full; try again later.
    #[error("the queue is full")]
    Busy,
    /// The work waited longer than its deadline and was not started.
    #[error("the work waited too long in the queue")]
    Expired,
    /// The work panicked. The worker was replaced.
    #[error("the work panicked")]
    Panicked,
    /// The pool is stopping.
    #[error("the pool is stopped")]
    Stopped,
}

/// How a pool is set up.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// Thread names are `NAME-0`, `NAME-1`, ...
    pub name: &'static str,
    /// Number of threads, at least 1.
    pub threads: usize,
    /// The most queued jobs for which a client waits; further ones are refused as busy.
    pub queue: usize,
    /// Jobs that wait longer than this are answered [`WorkError::Expired`] and not started.
    pub deadline: Duration,
}

type Job<W> = Box<dyn FnOnce(Result<&mut W, WorkError>) + Send>;

struct Queued<W> {
    job: Job<W>,
    since: Instant,
    span: Span,
    work: Arc<dyn Abandon>,
}

/// Work that is dropped, with what it holds, as soon as its client has gone.
trait Abandon: Send + Sync {
    fn abandon(&self);
    /// Whether it was abandoned, or has begun.
    fn is_gone(&self) -> bool;
}

impl<F: Send> Abandon for Mutex<Option<F>> {
    fn abandon(&self) {
        let work = self.lock().take();
        drop(work);
    }

    fn is_gone(&self) -> bool {
        self.lock().is_none()
    }
}

/// The client that waits for a job.
struct Client(Arc<dyn Abandon>);

impl Drop for Client {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

struct Queue<W> {
    jobs: FairQueue<Queued<W>>,
    stopping: bool,
}

struct Shared<W> {
    queue: Mutex<Queue<W>>,
    /// Wakes threads with a worker: there is a job, or the pool is stopping.
    job_added: Condvar,
    /// Wakes threads without a worker: the pool is stopping.
    stop: Condvar,
    /// Threads that have a worker and take jobs.
    ready: AtomicUsize,
    config: PoolConfig,
}

/// A worker that counts as ready until it is dropped.
struct ReadyWorker<'a, W> {
    worker: W,
    _count: ReadyCount<'a>,
}

struct ReadyCount<'a>(&'a AtomicUsize);

impl Drop for ReadyCount<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<W> Shared<W> {
    fn ready(&self, worker: W) -> ReadyWorker<'_, W> {
        self.ready.fetch_add(1, Ordering::AcqRel);
        ReadyWorker { worker, _count: ReadyCount(&self.ready) }
    }

    /// Waits for a job; `None` when the pool is stopping and no job is left.
    fn next(&self) -> Option<Queued<W>> {
        let mut queue = self.queue.lock();
        loop {
            if let Some(job) = queue.jobs.pop() {
                return Some(job);
            }
            if queue.stopping {
                return None;
            }
            self.job_added.wait(&mut queue);
        }
    }

    /// Waits for `time` without a worker, and answers jobs that expire meanwhile: there may be no other thread that
    /// does. `false` when the pool is stopping.
    fn wait_without_worker(&self, time: Duration) -> bool {
        let until = stopwatch() + time;
        let deadline = self.config.deadline;
        loop {
            let mut queue = self.queue.lock();
            // Threads with a worker finish the queue. Without any, all jobs are answered here.
            let stopped = queue.stopping && self.ready.load(Ordering::Acquire) == 0;
            let expired = queue.jobs.extract(|job| stopped || job.since.elapsed() > deadline);
            if !expired.is_empty() {
                drop(queue);
                let error = if stopped { WorkError::Stopped } else { WorkError::Expired };
                expired.into_iter().for_each(|queued| (queued.job)(Err(error.clone())));
                continue;
            }
            let left = until.saturating_duration_since(stopwatch());
            if queue.stopping || left.is_zero() {
                return !queue.stopping;
            }
            let oldest = queue.jobs.iter().map(|job| job.since.elapsed()).max().unwrap_or_default();
            let wait = left.min(deadline.saturating_sub(oldest) + Duration::from_millis(1));
            self.stop.wait_for(&mut queue, wait);
        }
    }
}

/// Threads that own workers of type `W` and a bounded queue in front of them.
pub struct Pool<W> {
    shared: Arc<Shared<W>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl<W> fmt::Debug for Pool<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({})", self.shared.config.name)
    }
}

/// The pending result of submitted work.
#[derive(Debug)]
pub struct Submit<T>(Result<Waiting<T>, WorkError>);

#[derive(Debug)]
struct Waiting<T> {
    result: oneshot::Receiver<Result<T, WorkError>>,
    client: Client,
}

impl<T> Submit<T> {
    /// Waits for the result. Dropping the future cancels the work if it has not started, and drops it at once.
    ///
    /// # Errors
    /// See [`WorkError`].
    pub async fn result(self) -> Result<T, WorkError> {
        let Waiting { result, client: _client } = self.0?;
        result.await.unwrap_or(Err(WorkError::Panicked))
    }

    /// Waits for the result on a thread without a runtime.
    ///
    /// # Errors
    /// See [`WorkError`].
    pub fn wait(self) -> Result<T, WorkError> {
        let Waiting { result, client: _client } = self.0?;
        result.blocking_recv().unwrap_or(Err(WorkError::Panicked))
    }
}

impl<W: 'static> Pool<W> {
    /// Starts the threads and waits until each has built its worker with `factory`. It runs on the thread itself, and
    /// again after a panic of a job, until it succeeds.
    ///
    /// # Errors
    /// The first error of the factory; all threads are stopped then.
    pub fn start<E: fmt::Display + Send + 'static>(
        config: PoolConfig,
        factory: impl Fn(usize) -> Result<W, E> + Send + Sync + 'static,
    ) -> Result<Self, E> {
        let count = config.threads.max(1);
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue { jobs: FairQueue::default(), stopping: false }),
            job_added: Condvar::new(),
            stop: Condvar::new(),
            ready: AtomicUsize::new(0),
            config,
        });
        let factory = Arc::new(factory);
        let (report, reports) = std::sync::mpsc::channel::<Result<(), E>>();
        let pool = Self { shared: Arc::clone(&shared), threads: Mutex::new(Vec::with_capacity(count)) };
        for index in 0..count {
            let shared = Arc::clone(&shared);
            let factory = Arc::clone(&factory);
            let report = report.clone();
            let name = format!("{}-{index}", shared.config.name);
            let spawned = std::thread::Builder::new().name(name).spawn(move || match factory(index) {
                Ok(worker) => {
                    let worker = shared.ready(worker);
                    let _ = report.send(Ok(()));
                    drop(report);
                    run(&shared, worker, || factory(index));
                }
                Err(error) => {
                    let _ = report.send(Err(error));
                }
            });
            match spawned {
                Ok(handle) => pool.threads.lock().push(handle),
                Err(error) => tracing::error!(%error, "a worker thread could not be started"),
            }
        }
        drop(report);
        for outcome in reports {
            if let Err(error) = outcome {
                pool.stop();
                return Err(error);
            }
        }
        Ok(pool)
    }

    /// Queues work of no tenant; see [`Pool::submit_for`].
    pub fn submit<T: Send + 'static>(&self, work: impl FnOnce(&mut W, Duration) -> T + Send + 'static) -> Submit<T> {
        self.submit_for(0, work)
    }

    /// Queues work for a tenant; tenants with queued work are served in turn. Never waits: a full queue answers
    /// [`WorkError::Busy`].
    ///
    /// The work is skipped when the [`Submit`] is dropped before it starts. The closure also gets the time that the work
    /// spent waiting.
    pub fn submit_for<T: Send + 'static>(
        &self,
        tenant: u64,
        work: impl FnOnce(&mut W, Duration) -> T + Send + 'static,
    ) -> Submit<T> {
        let (reply, result) = oneshot::channel();
        let since = stopwatch();
        let work = Arc::new(Mutex::new(Some(work)));
        let client = Client(Arc::clone(&work) as _);
        let queued_work = Arc::clone(&work) as _;
        let job: Job<W> = Box::new(move |worker| match worker {
            Ok(worker) => {
                let begun = work.lock().take();
                if let Some(begun) = begun {
                    let _ = reply.send(Ok(begun(worker, since.elapsed())));
                }
            }
            Err(error) => {
                let _ = reply.send(Err(error));
            }
        });
        let mut queue = self.shared.queue.lock();
        if queue.stopping {
            return Submit(Err(WorkError::Stopped));
        }
        if queue.jobs.len() >= self.shared.config.queue {
            // Jobs whose client has gone, or has its answer already, do not count.
            drop(queue.jobs.extract(|job| job.work.is_gone()));
        }
        if queue.jobs.len() >= self.shared.config.queue {
            return Submit(Err(WorkError::Busy));
        }
        queue.jobs.push(tenant, Queued { job, since, span: Span::current(), work: queued_work });
        drop(queue);
        self.shared.job_added.notify_one();
        Submit(Ok(Waiting { result, client }))
    }

    /// The number of queued jobs.
    pub fn waiting(&self) -> usize {
        self.shared.queue.lock().jobs.len()
    }

    /// Whether every thread has a working worker.
    pub fn is_ready(&self) -> bool {
        self.shared.ready.load(Ordering::Acquire) >= self.shared.config.threads.max(1)
    }

    /// The number of threads.
    pub fn size(&self) -> usize {
        self.shared.config.threads.max(1)
    }

    /// Finishes the queued jobs, then ends the threads. Later jobs are answered [`WorkError::Stopped`].
    pub fn stop(&self) {
        self.shared.queue.lock().stopping = true;
        self.shared.job_added.notify_all();
        self.shared.stop.notify_all();
        let handles: Vec<_> = self.threads.lock().drain(..).collect();
        for handle in handles {
            // The thread catches the panics of jobs; any other panic is logged.
            if handle.join().is_err() {
                tracing::error!(pool = self.shared.config.name, "a worker thread ended by a panic");
            }
        }
    }
}

/// The loop of one thread: takes a job, runs it, and builds a new worker after a panic.
fn run<'a, W, E: fmt::Display>(shared: &'a Shared<W>, mut ready: ReadyWorker<'a, W>, build: impl Fn() -> Result<W, E>) {
    while let Some(Queued { job, since, span, .. }) = shared.next() {
        let is_intact = span.in_scope(|| {
            if since.elapsed() > shared.config.deadline {
                job(Err(WorkError::Expired));
                return true;
            }
            let done = catch_unwind(AssertUnwindSafe(|| job(Ok(&mut ready.worker))));
            done.inspect_err(|_| {
                tracing::error!(pool = shared.config.name, "a job panicked; its worker is replaced");
            })
            .is_ok()
        });
        if !is_intact {
            match replacement(shared, ready, &build) {
                Some(worker) => ready = worker,
                None => return,
            }
        }
    }
}

/// Drops a worker whose job panicked, so that none of its state survives, and builds another; retries until that
/// succeeds. Jobs wait in the queue meanwhile. `None` when the pool is stopping.
fn replacement<'a, W, E: fmt::Display>(
    shared: &'a Shared<W>,
    broken: ReadyWorker<'a, W>,
    build: impl Fn() -> Result<W, E>,
) -> Option<ReadyWorker<'a, W>> {
    let mut broken = Some(broken);
    let mut backoff = REBUILD_BACKOFF;
    loop {
        let built = catch_unwind(AssertUnwindSafe(|| {
            drop(broken.take());
            build()
        }));
        match built {
            Ok(Ok(worker)) => return Some(shared.ready(worker)),
            Ok(Err(error)) => tracing::error!(pool = shared.config.name, %error, "a worker could not be rebuilt"),
            Err(_) => tracing::error!(pool = shared.config.name, "building a worker panicked"),
        }
        if !shared.wait_without_worker(backoff) {
            return None;
        }
        backoff = (2 * backoff).min(MAX_REBUILD_BACKOFF);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(threads: usize, queue: usize, deadline: Duration) -> Pool<u32> {
        Pool::start(PoolConfig { name: "test", threads, queue, deadline }, |_| Ok::<_, String>(0)).unwrap()
    }

    #[test]
    fn workers_keep_their_state_between_jobs() {
        let pool = pool(1, 10, Duration::from_secs(5));
        for expected in 1..=3 {
            let got = pool
                .submit(|w, _| {
                    *w += 1;
                    *w
                })
                .wait();
            assert_eq!(got, Ok(expected));
        }
    }

    #[test]
    fn a_full_queue_answers_busy_at_once() {
        let pool = pool(1, 1, Duration::from_secs(5));
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let (started, has_started) = std::sync::mpsc::channel::<()>();
        let running = pool.submit(move |_, _| {
            started.send(()).unwrap();
            held.recv().unwrap();
        });
        has_started.recv().unwrap();
        let queued = pool.submit(|_, _| ());
        assert_eq!(pool.submit(|_, _| ()).wait(), Err(WorkError::Busy));
        hold.send(()).unwrap();
        assert_eq!(running.wait(), Ok(()));
        assert_eq!(queued.wait(), Ok(()));
    }

    #[test]
    fn abandoned_jobs_do_not_fill_the_queue() {
        let pool = pool(1, 2, Duration::from_secs(5));
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let (started, has_started) = std::sync::mpsc::channel::<()>();
        let running = pool.submit(move |_, _| {
            started.send(()).unwrap();
            held.recv().unwrap();
        });
        has_started.recv().unwrap();
        let queued = pool.submit(|_, _| 1);
        for _ in 0..10 {
            drop(pool.submit(|_, _| panic!("an abandoned job was run")));
        }
        let last = pool.submit(|_, _| 2);
        assert_eq!(pool.submit(|_, _| 3).wait(), Err(WorkError::Busy), "two jobs have a client");
        hold.send(()).unwrap();
        assert_eq!((running.wait(), queued.wait(), last.wait()), (Ok(()), Ok(1), Ok(2)));
    }

    #[test]
    fn a_panic_is_contained_and_the_worker_rebuilt() {
        let pool = pool(1, 10, Duration::from_secs(5));
        assert_eq!(
            pool.submit(|w, _| {
                *w = 41;
            })
            .wait(),
            Ok(())
        );
        assert_eq!(pool.submit(|_, _| panic!("boom")).wait(), Err(WorkError::Panicked));
        assert_eq!(pool.submit(|w, _| *w).wait(), Ok(0), "a fresh worker");
        assert!(pool.is_ready());
    }

    /// A pool of one thread whose factory succeeds once; later calls return `again(number of the call)`.
    fn breakable(deadline: Duration, again: fn(usize) -> Result<u32, String>) -> Pool<u32> {
        let built = AtomicUsize::new(0);
        let pool = PoolConfig { name: "test", threads: 1, queue: 10, deadline };
        Pool::start(pool, move |_| match built.fetch_add(1, Ordering::SeqCst) {
            0 => Ok(0),
            times => again(times),
        })
        .unwrap()
    }

    #[test]
    fn a_worker_is_rebuilt_until_that_succeeds() {
        let pool = breakable(Duration::from_secs(60), |times| match times {
            1 => Err("no memory".to_owned()),
            2 => panic!("not at all"),
            times => Ok(times as u32),
        });
        assert_eq!(pool.submit(|_, _| panic!("boom")).wait(), Err(WorkError::Panicked));
        let later: Vec<_> = (0..3).map(|_| pool.submit(|w, _| *w)).collect();
        assert!(later.into_iter().all(|job| job.wait() == Ok(3)), "they waited for the new worker");
        assert!(pool.is_ready());
    }

    #[test]
    fn work_expires_without_a_worker() {
        let pool = breakable(Duration::from_millis(50), |_| Err("never again".to_owned()));
        assert_eq!(pool.submit(|_, _| panic!("boom")).wait(), Err(WorkError::Panicked));
        for _ in 0..3 {
            assert_eq!(pool.submit(|_, _| ()).wait(), Err(WorkError::Expired));
        }
        assert!(!pool.is_ready());
    }

    #[test]
    fn a_pool_without_workers_can_be_stopped() {
        let pool = breakable(Duration::from_secs(60), |_| Err("never again".to_owned()));
        let panicked = pool.submit(|_, _| panic!("boom"));
        let queued = pool.submit(|_, _| ());
        assert_eq!(panicked.wait(), Err(WorkError::Panicked));
        pool.stop();
        assert_eq!(queued.wait(), Err(WorkError::Stopped));
    }

    #[test]
    fn work_of_a_client_that_has_gone_is_skipped() {
        let pool = pool(1, 10, Duration::from_secs(5));
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let running = pool.submit(move |_, _| held.recv().unwrap());
        let held = Arc::new(());
        let of_work = Arc::clone(&held);
        let abandoned = pool.submit(move |w, _| {
            let _held = of_work;
            *w = 7;
        });
        assert_eq!(Arc::strong_count(&held), 2);
        drop(abandoned);
        assert_eq!(Arc::strong_count(&held), 1, "what the work holds is free at once");
        hold.send(()).unwrap();
        running.wait().unwrap();
        assert_eq!(pool.submit(|w, _| *w).wait(), Ok(0));
    }

    #[test]
    fn work_past_its_deadline_is_not_started() {
        let pool = pool(1, 10, Duration::from_millis(20));
        let running = pool.submit(|_, _| std::thread::sleep(Duration::from_millis(80)));
        let late = pool.submit(|_, _| ());
        running.wait().unwrap();
        assert_eq!(late.wait(), Err(WorkError::Expired));
    }

    #[test]
    fn a_failing_factory_fails_the_start() {
        let config = PoolConfig { name: "test", threads: 3, queue: 1, deadline: Duration::from_secs(1) };
        let error = Pool::<()>::start(config, |i| if i == 1 { Err("no model") } else { Ok(()) }).unwrap_err();
        assert_eq!(error, "no model");
    }

    #[test]
    fn stopping_finishes_queued_jobs() {
        let pool = pool(1, 10, Duration::from_secs(5));
        let jobs: Vec<_> = (0..5).map(|i| pool.submit(move |_, _| i)).collect();
        pool.stop();
        let results: Vec<_> = jobs.into_iter().map(|j| j.wait().unwrap()).collect();
        assert_eq!(results, [0, 1, 2, 3, 4]);
        assert_eq!(pool.submit(|_, _| ()).wait(), Err(WorkError::Stopped));
    }
}
