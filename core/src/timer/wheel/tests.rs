use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

fn at(micros: u64, reason: Reason) -> Option<(Instant, Reason)> {
    Some((Instant::from_micros(micros), reason))
}

fn owner(index: u32) -> Owner {
    Owner::User(crate::slab::Key { index, generation: 0 })
}

/// Takes one, however much must move for that.
fn pop(timers: &mut Timers, now: Instant) -> Option<Owner> {
    timers.pop(now, &mut { usize::MAX })
}

#[test]
fn deadlines_come_in_order_and_one_an_owner() {
    let mut timers = Timers::new();
    let (mut a, mut hub) = (None, None);
    timers.set(Instant::ZERO, owner(1), &mut a, at(50, Reason::Idle));
    timers.set(Instant::ZERO, Owner::Hub, &mut hub, at(20, Reason::Drain));
    assert_eq!(timers.next(), at(20, Reason::Drain));
    timers.set(Instant::ZERO, owner(1), &mut a, at(10, Reason::Typing));
    assert_eq!(timers.next(), at(10, Reason::Typing));
    assert_eq!(pop(&mut timers, Instant::from_micros(9)), None);
    assert_eq!(pop(&mut timers, Instant::from_micros(60)), Some(owner(1)));
    assert_eq!(pop(&mut timers, Instant::from_micros(60)), Some(Owner::Hub));
    assert_eq!((pop(&mut timers, Instant::from_micros(60)), timers.next()), (None, None));
}

#[test]
fn the_ends_of_time() {
    let mut timers = Timers::new();
    let (mut first, mut last) = (None, None);
    timers.set(Instant::ZERO, owner(0), &mut last, at(u64::MAX, Reason::TokenExpired));
    timers.set(Instant::from_micros(7), owner(1), &mut first, at(0, Reason::Idle));
    assert_eq!(timers.next(), at(0, Reason::Idle), "what is set too late is due at once");
    assert_eq!(pop(&mut timers, Instant::from_micros(7)), Some(owner(1)));
    assert_eq!(timers.next(), at(u64::MAX, Reason::TokenExpired));
    assert_eq!(pop(&mut timers, Instant::from_micros(u64::MAX - 1)), None);
    assert_eq!(pop(&mut timers, Instant::from_micros(u64::MAX)), Some(owner(0)));
}

#[test]
fn a_deadline_taken_back_wakes_nobody_twice() {
    let mut timers = Timers::new();
    let (mut near, mut far) = (None, None);
    // Both in one slot of a high wheel.
    timers.set(Instant::ZERO, owner(0), &mut near, at(0x10_0001, Reason::Typing));
    timers.set(Instant::ZERO, owner(1), &mut far, at(0x1f_0000, Reason::Idle));
    timers.set(Instant::ZERO, owner(0), &mut near, None);
    assert_eq!(timers.next(), at(0x10_0001, Reason::Typing), "early, but not late");
    assert_eq!(pop(&mut timers, Instant::from_micros(0x10_0001)), None);
    assert_eq!(timers.next(), at(0x1f_0000, Reason::Idle));
}

#[test]
fn places_are_used_again() {
    let mut timers = Timers::new();
    for time in 0..1_000 {
        let mut armed = None;
        timers.set(Instant::from_micros(time), owner(0), &mut armed, at(time + 1, Reason::Idle));
        if time % 2 == 0 {
            timers.set(Instant::from_micros(time), owner(0), &mut armed, None);
        }
        assert_eq!(pop(&mut timers, Instant::from_micros(time + 1)).is_some(), time % 2 == 1);
    }
    assert_eq!(timers.timers.len(), 1);
}

#[test]
fn what_stands_in_one_slot_moves_in_parts_and_keeps_its_order() {
    const MANY: u32 = 1_000;
    let mut timers = Timers::new();
    let mut armed: Vec<Option<Armed>> = (0..MANY).map(|_| None).collect();
    // All in one slot of a high wheel, the later ones first.
    for index in 0..MANY {
        let to = at(0x1f_0000 - u64::from(index), Reason::Idle);
        timers.set(Instant::ZERO, owner(index), &mut armed[index as usize], to);
    }
    let now = Instant::from_micros(0x20_0000);
    let (mut calls, mut sooner) = (0, None);
    let mut order = Vec::new();
    while timers.is_due(now) {
        let mut moves = 64;
        while let Some(Owner::User(key)) = timers.pop(now, &mut moves) {
            order.push(key.index);
            // One that is set meanwhile, for sooner than what still has to move, waits for nobody.
            if order.len() == 1 {
                timers.set(now, Owner::Hub, &mut sooner, at(0, Reason::Drain));
                assert_eq!(timers.next(), at(0, Reason::Drain));
                timers.set(now, Owner::Hub, &mut sooner, None);
            }
        }
        calls += 1;
    }
    assert!(order.iter().copied().eq((0..MANY).rev()), "the nearest first: {order:?}");
    assert!(calls > MANY as usize / 64, "{calls} calls");
}

/// What an owner does, or time.
#[derive(Clone, Debug)]
enum Step {
    /// Sets, moves or takes back the deadline of an owner, by so much from now.
    Set(u32, Option<i64>),
    /// Time passes, and all that has come is taken.
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let distance = prop_oneof![-50i64..50, 0i64..100_000, 0i64..20_000_000_000, any::<i64>().prop_map(|d| d >> 1)];
    let time = prop_oneof![0u64..50, 0u64..100_000, 0u64..20_000_000_000, 0..u64::MAX / 64];
    prop::collection::vec(
        prop_oneof![
            3 => (0u32..12, prop::option::weighted(0.8, distance)).prop_map(|(owner, by)| Step::Set(owner, by)),
            1 => time.prop_map(Step::Pass),
        ],
        0..80,
    )
}

proptest! {
    /// The model: a sorted set of (deadline, owner).
    #[test]
    fn as_a_sorted_set_would(steps in steps(), budget in 1usize..4, start in prop_oneof![Just(0), any::<u64>().prop_map(|t| t >> 1)]) {
        let mut timers = Timers::new();
        let mut now = start;
        let mut armed: [Option<Armed>; 12] = [const { None }; 12];
        let mut model: [Option<u64>; 12] = [None; 12];
        let mut moved = false;
        for step in steps {
            match step {
                Step::Set(index, by) => {
                    let to = by.map(|by| now.saturating_add_signed(by));
                    moved |= model[index as usize].is_some_and(|was| to != Some(was));
                    model[index as usize] = to;
                    let to = to.map(|to| (Instant::from_micros(to), Reason::Idle));
                    timers.set(Instant::from_micros(now), owner(index), &mut armed[index as usize], to);
                }
                Step::Pass(time) => {
                    now = now.saturating_add(time);
                    let mut expected: BTreeSet<(u64, u32)> = BTreeSet::new();
                    for (index, place) in model.iter_mut().enumerate() {
                        if let Some(at) = place.take_if(|at| *at <= now) {
                            expected.insert((at, index as u32));
                        }
                    }
                    let mut last = 0;
                    while timers.is_due(Instant::from_micros(now)) {
                        let mut moves = budget;
                        let taken = timers.pop(Instant::from_micros(now), &mut moves);
                        prop_assert!(taken.is_some() || moves == 0 || !timers.is_due(Instant::from_micros(now)));
                        let Some(owner) = taken else { continue };
                        let Owner::User(key) = owner else { panic!("{owner:?}") };
                        let due = expected.iter().find(|(_, index)| *index == key.index).copied();
                        prop_assert!(due.is_some(), "{owner:?} was not due at {now}");
                        let due = due.unwrap_or_default();
                        // Those set too late stand behind what was due already.
                        prop_assert!(due.0 >= last || due.0 < now - time.min(now));
                        last = last.max(due.0);
                        expected.remove(&due);
                        armed[key.index as usize] = None;
                    }
                    prop_assert_eq!(expected, BTreeSet::new());
                    moved &= timers.next().is_some();
                }
            }
            let nearest = model.iter().flatten().min().map(|at| Instant::from_micros(*at));
            let told = timers.next().map(|(at, _)| at);
            prop_assert_eq!(told.is_some(), nearest.is_some());
            prop_assert!(told <= nearest, "{told:?} is later than {nearest:?}");
            if !moved {
                prop_assert_eq!(told, nearest);
            }
        }
    }
}
