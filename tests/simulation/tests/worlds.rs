//! A few worlds in a few seconds; `simulate` is for the many.

use causerie_simulation::settings::HOUR;
use causerie_simulation::{Options, simulate};

#[test]
fn some_worlds_live_as_they_must() {
    let one = |seed| {
        let report = simulate(Options { seed, users: 20, hours: 1, trace: None }).unwrap_or_else(|failure| {
            panic!("{failure}\nThe same again: cargo run --release -p causerie-simulation -- --seed {seed} --hours 1 --users 20")
        });
        assert!(report.micros >= HOUR && report.messages > 0 && report.calms > 0, "{report:?}");
        report.resumed
    };
    let resumed: u64 = std::thread::scope(|scope| {
        let halves = [1..4, 4..7].map(|seeds| scope.spawn(move || seeds.map(one).sum::<u64>()));
        halves.into_iter().map(|half| half.join().expect("a half")).sum()
    });
    assert!(resumed > 0);
}

#[test]
fn a_seed_makes_the_same_world_again() {
    let again = || simulate(Options { seed: 9, users: 10, hours: 1, trace: None }).map(|report| format!("{report:?}"));
    assert_eq!(again().expect("a good world"), again().expect("a good world"));
}
