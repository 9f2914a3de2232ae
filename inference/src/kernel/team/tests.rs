use std::sync::atomic::AtomicUsize;

use super::*;

#[test]
fn every_task_runs_once() {
    for threads in [1, 2, 3, 8, 16] {
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
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 50), "{threads} threads, {tasks} tasks");
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
fn a_task_of_a_share_is_taken_once_and_none_of_a_job_that_is_over() {
    let share = Share::default();
    assert_eq!([(); 3].map(|()| share.take(1, 3..5)), [Some(3), Some(4), None]);
    assert_eq!(share.take(3, 0..2), Some(0));
    for over in [1, 2] {
        assert_eq!(share.take(over, 3..5), None);
    }
    assert_eq!(share.take(3, 0..2), Some(1));
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
