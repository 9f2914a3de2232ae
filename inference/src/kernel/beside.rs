//! Work that has nothing to do with a step's products: the threads of a team do it before they come to the first of them.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Turns that the leader waits spinning for who is at a task, before it lets others have its core.
const SPINS: u32 = 2_000;

/// Tasks beside a step. The leader goes ahead with the step meanwhile, with the threads that are at no task.
pub(crate) struct Beside<'a> {
    tasks: usize,
    task: &'a (dyn Fn(usize) + Sync),
    next: AtomicUsize,
    done: AtomicUsize,
}

impl<'a> Beside<'a> {
    /// Calls `task` with every number below `tasks`, each once.
    pub(crate) fn new(tasks: usize, task: &'a (dyn Fn(usize) + Sync)) -> Self {
        Self { tasks, task, next: AtomicUsize::new(0), done: AtomicUsize::new(0) }
    }

    /// Does tasks until none is left.
    pub(super) fn help(&self) {
        loop {
            let next = self.next.fetch_add(1, Ordering::Relaxed);
            if next >= self.tasks {
                return;
            }
            let _done = Done(&self.done); // also if it panics
            (self.task)(next);
        }
    }

    /// Returns when all tasks are done; does those that nobody has begun.
    pub(crate) fn finish(&self) {
        self.help();
        let mut turns = 0;
        while self.done.load(Ordering::Acquire) < self.tasks {
            turns += 1;
            if turns < SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }
}

/// Counts a task as done.
struct Done<'a>(&'a AtomicUsize);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::super::Team;
    use super::*;

    #[test]
    fn every_task_is_done_once_beside_the_jobs_of_a_step() {
        for threads in [1, 2, 3, 8] {
            let team = Team::new(Some(threads)).unwrap();
            for tasks in [0, 1, 2, 7, 100] {
                let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                let sum = AtomicUsize::new(0);
                let task = |task: usize| {
                    counts[task].fetch_add(1, Ordering::Relaxed);
                };
                let beside = Beside::new(tasks, &task);
                team.enter_beside(&beside, |crew| {
                    for _ in 0..20 {
                        crew.run(10, &|task| {
                            sum.fetch_add(task, Ordering::Relaxed);
                        });
                    }
                    beside.finish();
                    assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1), "{threads}, {tasks}");
                });
                assert_eq!(sum.into_inner(), 20 * 45);
            }
        }
    }

    #[test]
    fn a_panic_beside_a_step_reaches_the_caller_and_keeps_nobody_waiting() {
        let team = Team::new(Some(3)).unwrap();
        let task = |task: usize| assert!(task != 5, "task five");
        let beside = Beside::new(8, &task);
        let outcome = catch_unwind(AssertUnwindSafe(|| team.enter_beside(&beside, |_| beside.finish())));
        assert!(outcome.is_err());
        assert_eq!(team.enter(|_| 7), 7);
    }
}
