//! The threads that compute, and how they are kept in step.
//!
//! A rayon region costs 5 to 30 µs, and a decode step of a small model has 150 of them. So a step enters the pool once:
//! [`Team::enter`] sends every thread of the pool into a loop that takes jobs, runs the step on the calling thread, and
//! lets the threads go at its end. A job ([`Crew::run`]) costs half a microsecond: a few times what a cache line takes from one
//! core to another. Threads wait for it spinning, for a bounded time, and then asleep.

mod bell;

use std::cell::UnsafeCell;
use std::cmp::Ordering::{Equal, Greater, Less};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::beside::Beside;
use crate::error::LoadError;
use bell::Bell;

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
        self.enter_beside(&Beside::new(0, &|_| ()), body)
    }

    /// As [`Team::enter`]; the others do first what is to be done beside. `body` ends with [`Beside::finish`].
    pub(crate) fn enter_beside<R>(&self, beside: &Beside<'_>, body: impl FnOnce(&Crew) -> R) -> R {
        let crew = Crew::new(self.threads);
        let Some(others) = &self.others else { return body(&crew) };
        others.in_place_scope(|scope| {
            scope.spawn_broadcast(|_, context| {
                beside.help();
                crew.work(context.index() + 1);
            });
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
///
/// Whoever waits for a job learns its number and how many tasks it has from one word, and what to do only after it has taken
/// one of them: a job with a task that is not done cannot be over. So nobody has to say that it has come, and the leader
/// waits for those who have taken a task, and for nobody else, be it asleep or not on a core.
pub struct Crew {
    board: Apart<Board>,
    /// Whether a job is being run.
    running: Apart<AtomicBool>,
    /// What each thread has to do of a job.
    shares: Box<[Apart<Share>]>,
    /// Where the leader waits for the last tasks.
    done: Bell,
    panicked: AtomicBool,
}

/// Alone in its cache lines, which the processor fetches in pairs.
#[repr(align(128))]
struct Apart<T>(T);

/// Where the leader writes what is to be done.
struct Board {
    /// The [`Order`] that was given last.
    order: AtomicU64,
    job: UnsafeCell<Option<Job>>,
    /// Where the others wait for the next.
    given: Bell,
}

/// A thread's place among the tasks.
#[derive(Default)]
struct Share {
    /// The last job of which somebody has taken a task of this share, and the task that comes next. What stands there of an
    /// older job means that none is taken: so nobody has to set it before a job.
    next: AtomicU64,
    /// The last job that this thread has done tasks of, of any share, and how many.
    done: AtomicU64,
}

/// The number of a job, from 1, and how many tasks it has: in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Order {
    job: u32,
    tasks: u32,
}

impl Order {
    /// The step is over.
    const DISMISSED: Order = Order { job: u32::MAX, tasks: 0 };

    const fn word(self) -> u64 {
        (self.job as u64) << 32 | self.tasks as u64
    }

    const fn of(word: u64) -> Self {
        Self { job: (word >> 32) as u32, tasks: word as u32 }
    }
}

impl Share {
    /// Takes one of `tasks`, which are this share of a job; none if all are taken or the job is over.
    fn take(&self, job: u32, tasks: Range<u32>) -> Option<u32> {
        let mut seen = self.next.load(Ordering::Relaxed);
        loop {
            let of_share = Order::of(seen);
            let next = match of_share.job.cmp(&job) {
                Less => tasks.start,
                Equal => of_share.tasks,
                Greater => return None,
            };
            if next >= tasks.end {
                return None;
            }
            let after = Order { job, tasks: next + 1 }.word();
            match self.next.compare_exchange_weak(seen, after, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(next),
                Err(now) => seen = now,
            }
        }
    }
}

// SAFETY: what is not `Sync` by itself is the job. The leader writes it while no task is left of the one before; the others read
// it after they have taken a task, which they have learnt of after it was written, and before they say that it is done.
unsafe impl Sync for Crew {}
// SAFETY: the job points to a `Sync` closure, and `run` lets no thread keep it beyond the closure's life.
unsafe impl Send for Crew {}

impl Crew {
    fn new(threads: usize) -> Self {
        // One thread alone does all tasks in turn, and a step of it takes no memory.
        let shares = (0..if threads > 1 { threads } else { 0 }).map(|_| Apart(Share::default())).collect();
        Self {
            board: Apart(Board { order: AtomicU64::new(0), job: UnsafeCell::new(None), given: Bell::new() }),
            running: Apart(AtomicBool::new(false)),
            shares,
            done: Bell::new(),
            panicked: AtomicBool::new(false),
        }
    }

    /// Threads, the leader counted.
    pub fn threads(&self) -> usize {
        self.shares.len().max(1)
    }

    /// Calls `task` with every number below `tasks`, each once, spread over the threads; returns when all are done. Each thread
    /// begins with a share of its own, the same of as many tasks: where tasks are rows, rows stay in the cache of a core.
    ///
    /// # Panics
    /// If a task panics, or if it is called while it runs: by a task, or by another thread. If there are more than
    /// [`u32::MAX`] tasks, or jobs in a step.
    pub fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        if self.shares.is_empty() || tasks <= 1 {
            return (0..tasks).for_each(task);
        }
        let tasks = u32::try_from(tasks).expect("a job has fewer tasks");
        assert!(!self.running.0.swap(true, Ordering::SeqCst), "a team does one job at a time");
        let order = self.give(tasks, task);
        let mut done = 0;
        let outcome =
            catch_unwind(AssertUnwindSafe(|| self.take_tasks(0, order, &mut done, |task| self.perform(task))));
        if outcome.is_err() {
            self.take_tasks(0, order, &mut done, |_| ()); // nobody shall begin with what is left
        }
        let all_done = || (done + self.done_by_others(order.job) == tasks).then_some(());
        self.done.wait(all_done);
        self.running.0.store(false, Ordering::SeqCst);
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

    /// Gives a job to the others.
    fn give(&self, tasks: u32, task: &(dyn Fn(usize) + Sync)) -> Order {
        let before = Order::of(self.board.0.order.load(Ordering::Relaxed)).job;
        let job = before.checked_add(1).filter(|&job| job < Order::DISMISSED.job).expect("a step has fewer jobs");
        // SAFETY: this only makes the lifetime longer. `run` returns or unwinds only when all tasks are done, and nobody uses the
        // pointer but to do one.
        let task: Job = unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), Job>(task) };
        // SAFETY: no task is left of the job before, so nobody reads this.
        unsafe { *self.board.0.job.get() = Some(task) };
        let order = Order { job, tasks };
        self.board.0.order.store(order.word(), Ordering::SeqCst);
        self.board.0.given.ring();
        order
    }

    /// Takes tasks of a thread's own share, then what is left of the others', and calls `act` for each; `done` counts them.
    fn take_tasks(&self, thread: usize, order: Order, done: &mut u32, act: impl Fn(usize)) {
        let threads = self.shares.len();
        let ends = |share: usize| (u64::from(order.tasks) * share as u64 / threads as u64) as u32;
        for share in (thread..threads).chain(0..thread) {
            while let Some(task) = self.shares[share].0.take(order.job, ends(share)..ends(share + 1)) {
                *done += 1;
                act(task as usize);
            }
        }
    }

    /// Does a task that this thread has taken and not yet counted as done.
    fn perform(&self, task: usize) {
        // SAFETY: the job with this task is not over, so the leader neither writes here nor lets the closure go.
        let job = unsafe { &*(*self.board.0.job.get()).expect("a job is written before it is given") };
        job(task);
    }

    /// How many tasks of a job the others have done.
    fn done_by_others(&self, job: u32) -> u32 {
        let done = self.shares[1..].iter().map(|share| Order::of(share.0.done.load(Ordering::SeqCst)));
        done.filter(|done| done.job == job).map(|done| done.tasks).sum()
    }

    /// What the others do until the leader dismisses them.
    fn work(&self, thread: usize) {
        let mut seen = 0;
        loop {
            let fresh = || Some(Order::of(self.board.0.order.load(Ordering::SeqCst))).filter(|order| order.job != seen);
            let order = self.board.0.given.wait(fresh);
            if order == Order::DISMISSED {
                return;
            }
            seen = order.job;
            let mut done = 0;
            let tasks = || self.take_tasks(thread, order, &mut done, |task| self.perform(task));
            if catch_unwind(AssertUnwindSafe(tasks)).is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
            if done > 0 {
                self.shares[thread].0.done.store(Order { job: seen, tasks: done }.word(), Ordering::SeqCst);
                self.done.ring();
            }
        }
    }
}

/// Sends the others home when the leader is done.
struct Dismiss<'a>(&'a Crew);

impl Drop for Dismiss<'_> {
    fn drop(&mut self) {
        self.0.board.0.order.store(Order::DISMISSED.word(), Ordering::SeqCst);
        self.0.board.0.given.ring();
    }
}

#[cfg(test)]
mod tests;
