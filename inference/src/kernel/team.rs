//! The threads that compute, and how they are kept in step.
//!
//! A rayon region costs 5 to 30 µs, and a decode step of a small model has 150 of them. So a step enters the pool once:
//! [`Team::enter`] sends every thread of the pool into a loop that takes jobs, runs the step on the calling thread, and
//! lets the threads go at its end. A job ([`Crew::run`]) costs 1 to 2 µs: threads wait for it spinning, for a bounded
//! time, and then asleep.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::error::LoadError;

/// Turns of the spin loop before a thread goes to sleep: some 50 µs, longer than what the leader does alone between two
/// jobs.
const SPINS: u32 = 2_000;

/// Threads in a team, at most. Beyond it a barrier costs more than a thread brings.
pub const MAX_THREADS: usize = 256;

/// The threads that compute: one that leads, and a rayon pool of the others.
pub struct Team {
    others: Option<rayon::ThreadPool>,
    threads: usize,
}

impl Team {
    /// Starts a team of `threads`, the caller of [`Team::enter`] counted; `None` for as many as the machine has cores.
    ///
    /// # Errors
    /// [`LoadError::Threads`] when `threads` is 0 or over [`MAX_THREADS`], or the system does not give them.
    pub fn new(threads: Option<usize>) -> Result<Self, LoadError> {
        let threads = Self::size(threads)?;
        let pool = || {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads - 1)
                .thread_name(|index| format!("kernel-{}", index + 1))
                .build()
                .map_err(|error| LoadError::Threads { wanted: threads, reason: error.to_string() })
        };
        Ok(Self { others: if threads > 1 { Some(pool()?) } else { None }, threads })
    }

    /// Runs `work`, which may use rayon, on `threads` threads that end with it; `None` for as many as there are cores.
    ///
    /// # Errors
    /// As [`Team::new`].
    pub fn pack<R: Send>(threads: Option<usize>, work: impl FnOnce() -> R + Send) -> Result<R, LoadError> {
        let threads = Self::size(threads)?;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|index| format!("load-{index}"));
        let pool = pool.build().map_err(|error| LoadError::Threads { wanted: threads, reason: error.to_string() })?;
        Ok(pool.install(work))
    }

    fn size(threads: Option<usize>) -> Result<usize, LoadError> {
        let threads =
            threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS));
        if threads == 0 || threads > MAX_THREADS {
            let reason = format!("a team has 1 to {MAX_THREADS} threads");
            return Err(LoadError::Threads { wanted: threads, reason });
        }
        Ok(threads)
    }

    /// Threads, the leader counted.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `body` on the calling thread, with the others at its service.
    pub fn enter<R>(&self, body: impl FnOnce(&Crew) -> R) -> R {
        let crew = Crew::new(self.threads);
        let Some(others) = &self.others else { return body(&crew) };
        others.in_place_scope(|scope| {
            scope.spawn_broadcast(|_, context| crew.work(context.index() + 1));
            let _dismiss = Dismiss(&crew); // also when `body` panics: the scope waits for the others
            body(&crew)
        })
    }
}

/// A pointer that tasks on several threads write through, each to places of its own.
pub(super) struct Shared<T>(pub(super) *mut T);

// SAFETY: whoever dereferences the pointer answers for the places being disjoint; the values go to other threads.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(super) fn get(&self) -> *mut T {
        self.0
    }
}

/// A job as its threads see it; see [`Crew::run`] for how long it lives.
type Job = *const (dyn Fn(usize) + Sync);

/// A team at work.
pub struct Crew {
    threads: usize,
    /// The number of the job, whether it is open, and how many of the others are at it: see [`State`].
    gate: Gate,
    job: Mutex<Option<(Job, usize)>>,
    /// The next task of each thread's share.
    shares: Box<[Share]>,
    panicked: AtomicBool,
    /// Whether a job is being run.
    running: AtomicBool,
}

/// A thread's place among the tasks. Alone in its cache lines, since its thread goes there for each task.
#[repr(align(128))]
struct Share(AtomicUsize);

/// What the gate's number means. The others enter a job only while it is open, and the leader closes it when no task is
/// left: so it waits for those who are at a task, and for nobody who has not come, be it asleep or not on a core.
#[derive(Clone, Copy)]
struct State(u32);

impl State {
    /// One of the others that is at the job; there are fewer than [`MAX_THREADS`].
    const ONE: u32 = 1;
    const OPEN: u32 = 1 << 16;
    /// Jobs are counted in the bits from here; that they begin anew does no harm, as who misses a job is not missed.
    const JOB: u32 = 1 << 17;
    /// The step is over; no job looks like this, as never so many are at one.
    const DISMISSED: u32 = u32::MAX;

    fn busy(self) -> u32 {
        self.0 % Self::OPEN
    }

    fn is_open(self) -> bool {
        self.0 & Self::OPEN != 0
    }

    fn job(self) -> u32 {
        self.0 / Self::JOB
    }

    fn next_job(self) -> u32 {
        (self.0.wrapping_add(Self::JOB) & !(Self::JOB - 1)) | Self::OPEN
    }
}

// SAFETY: the one field that is not `Send` and `Sync` by itself is the pointer in `job`. It points to a `Sync` closure,
// and `run` lets no thread keep it beyond the closure's life.
unsafe impl Sync for Crew {}
// SAFETY: as above.
unsafe impl Send for Crew {}

impl Crew {
    fn new(threads: usize) -> Self {
        Self {
            threads,
            gate: Gate::new(),
            job: Mutex::new(None),
            // One thread alone does all tasks in turn, and a step of it takes no memory.
            shares: (0..if threads > 1 { threads } else { 0 }).map(|_| Share(AtomicUsize::new(0))).collect(),
            panicked: AtomicBool::new(false),
            running: AtomicBool::new(false),
        }
    }

    /// Threads, the leader counted.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Calls `task` with every number below `tasks`, each once, spread over the threads; returns when all are done. Each thread
    /// begins with a share of its own, the same of as many tasks: where tasks are rows, rows stay in the cache of a core.
    ///
    /// # Panics
    /// If a task panics, or if it is called while it runs: by a task, or by another thread.
    pub fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        if self.threads == 1 || tasks <= 1 {
            return (0..tasks).for_each(task);
        }
        assert!(!self.running.swap(true, Ordering::SeqCst), "a team does one job at a time");
        // SAFETY: this only makes the lifetime longer. The others use the pointer only between entering the job and leaving
        // it, and this function returns or unwinds only when the job is closed and all have left.
        let job: Job = unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), Job>(task) };
        *self.job.lock().unwrap_or_else(PoisonError::into_inner) = Some((job, tasks));
        for (thread, share) in self.shares.iter().enumerate() {
            share.0.store(self.share_end(tasks, thread), Ordering::Relaxed);
        }
        self.gate.change(|state| State(state).next_job());
        let outcome = catch_unwind(AssertUnwindSafe(|| self.take_tasks(0, tasks, task)));
        self.gate.change(|state| state & !State::OPEN);
        self.gate.wait_until(|state| State(state).busy() == 0);
        self.running.store(false, Ordering::SeqCst);
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
        assert!(!self.panicked.load(Ordering::Relaxed), "a task of the team panicked");
    }

    /// Cuts `slice` into pieces of `len` and calls `task(index, piece)` for each, spread over the threads.
    ///
    /// # Panics
    /// If `slice` is no whole number of pieces, or a task panics.
    pub fn chunks<T: Send>(&self, slice: &mut [T], len: usize, task: impl Fn(usize, &mut [T]) + Sync) {
        assert!(len > 0 && slice.len().is_multiple_of(len), "{} is no multiple of {len}", slice.len());
        let start = Shared(slice.as_mut_ptr());
        self.run(slice.len() / len, &|index| {
            // SAFETY: `run` gives every index below the count of pieces once, so the pieces lie in `slice` and do not
            // overlap; `slice` is borrowed for as long as `run` takes, and `T: Send` lets other threads have pieces.
            let piece = unsafe { std::slice::from_raw_parts_mut(start.get().add(index * len), len) };
            task(index, piece);
        });
    }

    /// Calls `task(n, element)` for the element of `slice` at the `n`-th of some indices, spread over the threads.
    ///
    /// # Panics
    /// If the indices do not rise, or one is not in `slice`; or a task panics.
    pub fn scattered<T: Send>(&self, slice: &mut [T], indices: &[usize], task: impl Fn(usize, &mut T) + Sync) {
        assert!(indices.is_sorted_by(|a, b| a < b) && indices.last().is_none_or(|&last| last < slice.len()));
        let start = Shared(slice.as_mut_ptr());
        self.run(indices.len(), &|n| {
            // SAFETY: rising indices, of which the last is in `slice`, are all in it and all different; each has one task.
            let element = unsafe { &mut *start.get().add(indices[n]) };
            task(n, element);
        });
    }

    /// Where the share of tasks of the threads before one ends.
    fn share_end(&self, tasks: usize, thread: usize) -> usize {
        tasks * thread / self.threads
    }

    /// A thread does the tasks of its own share, then what is left of the others'.
    fn take_tasks(&self, thread: usize, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        for share in (thread..self.threads).chain(0..thread) {
            let end = self.share_end(tasks, share + 1);
            loop {
                let next = self.shares[share].0.fetch_add(1, Ordering::Relaxed);
                if next >= end {
                    break;
                }
                task(next);
            }
        }
    }

    /// What the others do until the leader dismisses them.
    fn work(&self, thread: usize) {
        let mut seen = 0;
        loop {
            let fresh = |state| State(state).is_open() && State(state).job() != seen;
            let state = self.gate.wait_until(|state| state == State::DISMISSED || fresh(state));
            if state == State::DISMISSED {
                return;
            }
            if !self.gate.exchange(state, state + State::ONE) {
                continue; // somebody else came or went, or it is closed by now
            }
            seen = State(state).job();
            let job = *self.job.lock().unwrap_or_else(PoisonError::into_inner);
            let (job, tasks) = job.expect("a job is there before it is opened");
            // SAFETY: this thread has entered the job while it was open, and until it leaves, below, the leader keeps the
            // closure alive.
            let task = unsafe { &*job };
            if catch_unwind(AssertUnwindSafe(|| self.take_tasks(thread, tasks, task))).is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.gate.change(|state| state - State::ONE);
        }
    }
}

/// Sends the others home when the leader is done.
struct Dismiss<'a>(&'a Crew);

impl Drop for Dismiss<'_> {
    fn drop(&mut self) {
        self.0.gate.change(|_| State::DISMISSED);
    }
}

/// A number that threads wait for: spinning first, then asleep.
struct Gate {
    value: AtomicU32,
    sleepers: AtomicU32,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Gate {
    fn new() -> Self {
        Self { value: AtomicU32::new(0), sleepers: AtomicU32::new(0), lock: Mutex::new(()), changed: Condvar::new() }
    }

    fn change(&self, next: impl Fn(u32) -> u32) {
        // Sequentially consistent here and in `wait_until`: either the sleeper sees the new value, or this thread sees the
        // sleeper.
        let _ = self.value.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |value| Some(next(value)));
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.changed.notify_all();
        }
    }

    /// Changes the value if it is still `from`. Nobody waits for what this makes of it.
    fn exchange(&self, from: u32, to: u32) -> bool {
        self.value.compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// Waits, and gives the value that was waited for.
    fn wait_until(&self, ready: impl Fn(u32) -> bool) -> u32 {
        for _ in 0..SPINS {
            let value = self.value.load(Ordering::Acquire);
            if ready(value) {
                return value;
            }
            std::hint::spin_loop();
        }
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let value = loop {
            let value = self.value.load(Ordering::SeqCst);
            if ready(value) {
                break value;
            }
            guard = self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
        };
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once() {
        for threads in [1, 2, 3, 8] {
            let team = Team::new(Some(threads)).unwrap();
            for tasks in [0, 1, 2, 7, 100] {
                let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                team.enter(|crew| {
                    for _ in 0..50 {
                        crew.run(tasks, &|task| {
                            counts[task].fetch_add(1, Ordering::Relaxed);
                        });
                    }
                });
                assert!(
                    counts.iter().all(|count| count.load(Ordering::Relaxed) == 50),
                    "{threads} threads, {tasks} tasks"
                );
            }
        }
    }

    #[test]
    fn more_jobs_than_are_counted() {
        let team = Team::new(Some(3)).unwrap();
        let done = AtomicUsize::new(0);
        team.enter(|crew| {
            for _ in 0..70_000 {
                crew.run(2, &|_| {
                    done.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(done.into_inner(), 140_000);
    }

    #[test]
    fn sleeping_threads_wake_for_a_late_job() {
        let team = Team::new(Some(3)).unwrap();
        let sum = AtomicUsize::new(0);
        team.enter(|crew| {
            for _ in 0..3 {
                std::thread::sleep(std::time::Duration::from_millis(20));
                crew.run(10, &|task| {
                    sum.fetch_add(task, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(sum.into_inner(), 3 * 45);
    }

    #[test]
    fn a_panic_in_a_task_or_in_the_body_reaches_the_caller_and_leaves_the_team_usable() {
        let team = Team::new(Some(2)).unwrap();
        let in_task = catch_unwind(AssertUnwindSafe(|| {
            team.enter(|crew| crew.run(8, &|task| assert!(task != 5, "task five")));
        }));
        assert!(in_task.is_err());
        let in_body = catch_unwind(AssertUnwindSafe(|| team.enter(|_| panic!("body"))));
        assert!(in_body.is_err());
        assert_eq!(team.enter(|_| 7), 7);
    }

    #[test]
    fn a_job_within_a_job_is_refused() {
        let team = Team::new(Some(2)).unwrap();
        let nested = || team.enter(|crew| crew.run(4, &|_| crew.run(4, &|_| ())));
        assert!(catch_unwind(AssertUnwindSafe(nested)).is_err());
    }

    #[test]
    fn sizes_of_teams() {
        for threads in [0, MAX_THREADS + 1] {
            assert!(matches!(Team::new(Some(threads)), Err(LoadError::Threads { .. })), "{threads}");
        }
        assert!(Team::new(None).unwrap().threads() >= 1);
    }
}
