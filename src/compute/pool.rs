//! A pool of named threads, each owning its worker.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::Span;

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
    /// The pool is stopping, or no worker could be built.
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
    /// Most jobs waiting; further ones are refused as busy.
    pub queue: usize,
    /// Jobs that waited longer than this are dropped unstarted.
    pub deadline: Duration,
}

type Job<W> = Box<dyn FnOnce(Result<&mut W, WorkError>) + Send>;

struct Queued<W> {
    job: Job<W>,
    since: Instant,
    span: Span,
}

struct Queue<W> {
    jobs: VecDeque<Queued<W>>,
    stopping: bool,
}

struct Shared<W> {
    queue: Mutex<Queue<W>>,
    wake: Condvar,
    /// Threads that have a worker and take jobs.
    ready: AtomicUsize,
    config: PoolConfig,
}

impl<W> Shared<W> {
    /// A panic in a job happens outside the lock, so a poisoned lock still guards a sound queue.
    fn lock(&self) -> MutexGuard<'_, Queue<W>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
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

/// What became of a submitted piece of work.
#[derive(Debug)]
pub struct Submit<T>(Result<oneshot::Receiver<Result<T, WorkError>>, WorkError>);

impl<T> Submit<T> {
    /// Waits for the result. Dropping the future cancels the work if it has not started.
    ///
    /// # Errors
    /// See [`WorkError`].
    pub async fn result(self) -> Result<T, WorkError> {
        self.0?.await.unwrap_or(Err(WorkError::Panicked))
    }

    /// Waits for the result on a thread without a runtime.
    ///
    /// # Errors
    /// See [`WorkError`].
    pub fn wait(self) -> Result<T, WorkError> {
        self.0?.blocking_recv().unwrap_or(Err(WorkError::Panicked))
    }
}

impl<W: 'static> Pool<W> {
    /// Starts the threads and waits until each has built its worker with `factory`, which runs on
    /// the thread itself and again after a panic.
    ///
    /// # Errors
    /// The first factory error; all threads are stopped then.
    pub fn start<E: fmt::Display + Send + 'static>(
        config: PoolConfig,
        factory: impl Fn(usize) -> Result<W, E> + Send + Sync + 'static,
    ) -> Result<Self, E> {
        let count = config.threads.max(1);
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue { jobs: VecDeque::new(), stopping: false }),
            wake: Condvar::new(),
            ready: AtomicUsize::new(0),
            config,
        });
        let factory = Arc::new(factory);
        let (report, reports) = std::sync::mpsc::channel::<Result<(), E>>();
        let pool = Self { shared: Arc::clone(&shared), threads: Mutex::new(Vec::with_capacity(count)) };
        for index in 0..count {
            let (shared, factory, report) = (Arc::clone(&shared), Arc::clone(&factory), report.clone());
            let name = format!("{}-{index}", shared.config.name);
            let spawned = std::thread::Builder::new().name(name).spawn(move || match factory(index) {
                Ok(worker) => {
                    shared.ready.fetch_add(1, Ordering::AcqRel);
                    let _ = report.send(Ok(()));
                    drop(report);
                    run(&shared, worker, || factory(index));
                    shared.ready.fetch_sub(1, Ordering::AcqRel);
                }
                Err(error) => {
                    let _ = report.send(Err(error));
                }
            });
            match spawned {
                Ok(handle) => pool.threads().push(handle),
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

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues work. Never waits: a full queue answers [`WorkError::Busy`].
    ///
    /// The work is skipped when the [`Submit`] (the client) is gone before it starts. The closure
    /// also gets the time the work spent waiting.
    pub fn submit<T: Send + 'static>(&self, work: impl FnOnce(&mut W, Duration) -> T + Send + 'static) -> Submit<T> {
        let (reply, receiver) = oneshot::channel();
        let since = Instant::now();
        let job: Job<W> = Box::new(move |worker| match worker {
            Ok(_) if reply.is_closed() => {}
            Ok(worker) => {
                let result = work(worker, since.elapsed());
                let _ = reply.send(Ok(result));
            }
            Err(error) => {
                let _ = reply.send(Err(error));
            }
        });
        let mut queue = self.shared.lock();
        if queue.stopping {
            return Submit(Err(WorkError::Stopped));
        }
        if queue.jobs.len() >= self.shared.config.queue {
            return Submit(Err(WorkError::Busy));
        }
        queue.jobs.push_back(Queued { job, since, span: Span::current() });
        drop(queue);
        self.shared.wake.notify_one();
        Submit(Ok(receiver))
    }

    /// Jobs waiting now.
    pub fn waiting(&self) -> usize {
        self.shared.lock().jobs.len()
    }

    /// Whether every thread has a working worker.
    pub fn is_ready(&self) -> bool {
        self.shared.ready.load(Ordering::Acquire) >= self.shared.config.threads.max(1)
    }

    /// Number of threads asked for.
    pub fn size(&self) -> usize {
        self.shared.config.threads.max(1)
    }

    /// Finishes what is queued, then ends the threads. Later submissions answer `Stopped`.
    pub fn stop(&self) {
        self.shared.lock().stopping = true;
        self.shared.wake.notify_all();
        let handles: Vec<_> = self.threads().drain(..).collect();
        for handle in handles {
            // The thread function catches panics of jobs; a panic of its own is only logged.
            if handle.join().is_err() {
                tracing::error!(pool = self.shared.config.name, "a worker thread ended by a panic");
            }
        }
    }
}

/// One thread's life: take a job, run it, and build a new worker after a panic.
fn run<W, E: fmt::Display>(shared: &Shared<W>, worker: W, rebuild: impl Fn() -> Result<W, E>) {
    let mut slot = Some(worker);
    loop {
        let Queued { job, since, span } = {
            let mut queue = shared.lock();
            loop {
                if let Some(job) = queue.jobs.pop_front() {
                    break job;
                }
                if queue.stopping {
                    return;
                }
                queue = shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        };
        let _entered = span.entered();
        if since.elapsed() > shared.config.deadline {
            job(Err(WorkError::Expired));
            continue;
        }
        let Some(worker) = slot.as_mut() else {
            job(Err(WorkError::Stopped));
            continue;
        };
        // The worker is dropped after a panic, so no broken state survives it.
        if catch_unwind(AssertUnwindSafe(|| job(Ok(worker)))).is_err() {
            tracing::error!(pool = shared.config.name, "a job panicked; its worker is replaced");
            slot = None;
            shared.ready.fetch_sub(1, Ordering::AcqRel);
            match rebuild() {
                Ok(worker) => {
                    slot = Some(worker);
                    shared.ready.fetch_add(1, Ordering::AcqRel);
                }
                Err(error) => tracing::error!(pool = shared.config.name, %error, "a worker could not be rebuilt"),
            }
        }
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
    fn a_full_queue_says_busy_at_once() {
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

    #[test]
    fn work_of_a_client_that_went_away_is_skipped() {
        let pool = pool(1, 10, Duration::from_secs(5));
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let running = pool.submit(move |_, _| held.recv().unwrap());
        drop(pool.submit(|w, _| *w = 7));
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
    fn stopping_finishes_what_is_queued() {
        let pool = pool(1, 10, Duration::from_secs(5));
        let jobs: Vec<_> = (0..5).map(|i| pool.submit(move |_, _| i)).collect();
        pool.stop();
        let results: Vec<_> = jobs.into_iter().map(|j| j.wait().unwrap()).collect();
        assert_eq!(results, [0, 1, 2, 3, 4]);
        assert_eq!(pool.submit(|_, _| ()).wait(), Err(WorkError::Stopped));
    }
}
