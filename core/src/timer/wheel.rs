//! The wheels and what stands in them.

use alloc::boxed::Box;
use core::num::NonZeroU32;

use super::{Owner, Reason};
use crate::chunks::Chunks;
use crate::time::Instant;

/// Bits of a digit: a wheel has 16 slots.
const BITS: u32 = 4;
const SLOTS: usize = 1 << BITS;
/// Digits of a `u64` of microseconds.
const WHEELS: usize = (u64::BITS / BITS) as usize;
/// No timer.
const NONE: u32 = u32::MAX;

/// Names a deadline that is set; its owner keeps it, and gives it back to move the deadline or to take it back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Armed(NonZeroU32);

impl Armed {
    fn new(id: u32) -> Armed {
        Armed(NonZeroU32::MIN.saturating_add(id))
    }

    fn id(&self) -> u32 {
        self.0.get() - 1
    }
}

/// All deadlines, at most one for each owner: the owner computes its nearest one anew when it fires.
pub(crate) struct Timers {
    timers: Chunks<Timer>,
    /// The first of the unused places in `timers`, which form a list.
    free: u32,
    wheels: Box<[Wheel]>,
    /// Which wheels are used, a bit each.
    used: u16,
    /// The time from which the places of all deadlines follow: not after any of them, unless they were set too late.
    origin: u64,
    /// A slot, by its wheel and place there, whose turn has come and that may not be empty yet: what is in it is on its way
    /// to lower wheels, a bounded part of it a call. Until then nothing is taken, since the nearest may still be in it.
    turning: Option<(usize, usize)>,
    /// No deadline comes before it. It is the first one, or that of one taken back since.
    first: Option<(Instant, Reason)>,
}

/// One deadline, in the list of its slot.
struct Timer {
    at: u64,
    owner: Owner,
    next: u32,
    previous: u32,
    reason: Reason,
    wheel: u8,
    slot: u8,
}

struct Wheel {
    slots: [Slot; SLOTS],
    /// Which slots are used, a bit each.
    used: u16,
}

/// Deadlines in the order in which they were put in.
#[derive(Clone, Copy)]
struct Slot {
    head: u32,
    tail: u32,
    /// The smallest that was put in since the slot was empty.
    least: u64,
    reason: Reason,
}

const EMPTY: Slot = Slot { head: NONE, tail: NONE, least: u64::MAX, reason: Reason::Output };

impl Timers {
    pub(crate) fn new() -> Timers {
        let wheels = (0..WHEELS).map(|_| Wheel { slots: [EMPTY; SLOTS], used: 0 }).collect();
        Timers { timers: Chunks::new(), free: NONE, wheels, used: 0, origin: 0, turning: None, first: None }
    }

    /// The nearest deadline. It may be earlier than all that are set, when one was moved or taken back; then [`pop`](Timers::pop)
    /// finds nothing at that time, and knows better afterwards.
    pub(crate) fn next(&self) -> Option<(Instant, Reason)> {
        self.first
    }

    /// Replaces the deadline that `owner` had, which it keeps in `armed`.
    pub(crate) fn set(&mut self, now: Instant, owner: Owner, armed: &mut Option<Armed>, to: Option<(Instant, Reason)>) {
        if let Some(id) = armed.as_ref().map(Armed::id) {
            let timer = &self.timers[id];
            if to == Some((Instant::from_micros(timer.at), timer.reason)) {
                return;
            }
            self.unlink(id);
            match to {
                Some((at, reason)) => {
                    let timer = &mut self.timers[id];
                    (timer.at, timer.reason) = (at.as_micros(), reason);
                    self.catch_up(now);
                    self.link(id);
                }
                None => {
                    self.release(id);
                    *armed = None;
                }
            }
        } else if let Some((at, reason)) = to {
            self.catch_up(now);
            let timer = Timer { at: at.as_micros(), owner, next: NONE, previous: NONE, reason, wheel: 0, slot: 0 };
            let id = self.place(timer);
            self.link(id);
            *armed = Some(Armed::new(id));
        }
        self.look();
    }

    /// Whether a deadline has come, or one that was taken back would have.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.first.is_some_and(|(at, _)| at <= now)
    }

    /// When the deadline that `armed` names comes.
    pub(crate) fn at(&self, armed: &Armed) -> Instant {
        Instant::from_micros(self.timers[armed.id()].at)
    }

    /// Takes one deadline that has come, of several the nearest. Its owner must forget it and set its next one.
    ///
    /// On the way deadlines move to lower wheels, no more than `moves`, from which they are counted off. Without any left
    /// there may be none to give although one [is due](Timers::is_due).
    pub(crate) fn pop(&mut self, now: Instant, moves: &mut usize) -> Option<Owner> {
        while let Some((at, _)) = self.first.filter(|(at, _)| *at <= now) {
            if let Some((wheel, slot)) = self.turning {
                if !self.turn(wheel, slot, moves) {
                    return None;
                }
                continue;
            }
            let (wheel, slot) = self.lowest()?;
            if wheel > 0 {
                // Nothing comes before `at`, and it is not beyond `now`, or what is set next would be before the origin.
                (self.origin, self.turning) = (at.as_micros(), Some((wheel, slot)));
                continue;
            }
            // All that stands in a slot of the lowest wheel is of one microsecond, or came too late.
            let id = self.wheels[0].slots[slot].head;
            debug_assert!(self.timers[id].at <= now.as_micros() && at <= now);
            let owner = self.timers[id].owner;
            self.unlink(id);
            self.release(id);
            self.look();
            return Some(owner);
        }
        None
    }

    /// Moves what is in a slot whose turn has come to lower wheels, as far as `moves` go; whether it is empty then.
    fn turn(&mut self, wheel: usize, slot: usize, moves: &mut usize) -> bool {
        loop {
            let id = self.wheels[wheel].slots[slot].head;
            if id == NONE {
                self.turning = None;
            }
            if id == NONE || *moves == 0 {
                self.look();
                return id == NONE;
            }
            *moves -= 1;
            self.unlink(id);
            // The origin is within this slot now, so it comes to stand in a lower wheel.
            self.link(id);
        }
    }

    /// Brings the origin nearer to now, where no deadline changes its place by that: so that one which is set for
    /// soon does not come to stand among many that are far.
    fn catch_up(&mut self, now: Instant) {
        if self.turning.is_some() {
            // What is still to move may come before now, and must not lose its place.
            return;
        }
        let now = now.as_micros();
        let reached = match self.lowest() {
            None => true,
            Some((wheel, slot)) => {
                let shift = BITS * wheel as u32;
                // The digits above are those of the origin, and the first used slot is still to come.
                let above = |time: u64| time.checked_shr(shift + BITS).unwrap_or(0);
                above(now) == above(self.origin) && (now >> shift) as usize % SLOTS < slot
            }
        };
        if reached {
            self.origin = self.origin.max(now);
        }
    }

    /// The lowest used wheel, and its first used slot.
    fn lowest(&self) -> Option<(usize, usize)> {
        let wheel = self.used.trailing_zeros() as usize;
        let slot = self.wheels.get(wheel)?.used.trailing_zeros() as usize;
        Some((wheel, slot))
    }

    /// Finds the first deadline anew.
    fn look(&mut self) {
        let of = |(wheel, slot): (usize, usize)| {
            let slot = &self.wheels[wheel].slots[slot];
            (slot.head != NONE).then_some((Instant::from_micros(slot.least), slot.reason))
        };
        let lowest = self.lowest().and_then(of);
        self.first = match self.turning.and_then(of) {
            None => lowest,
            // What has left it for a lower wheel need not be before what is still in it.
            Some(turning) => lowest.map(|lowest| if lowest.0 < turning.0 { lowest } else { turning }),
        };
    }

    /// Puts a timer at the end of its slot.
    fn link(&mut self, id: u32) {
        let timer = &mut self.timers[id];
        // What is set too late stands where the wheels are now.
        let place = timer.at.max(self.origin);
        let wheel = (place ^ self.origin).checked_ilog2().unwrap_or(0) / BITS;
        let index = (place >> (BITS * wheel)) as usize % SLOTS;
        let wheel = wheel as usize;
        let slot = &mut self.wheels[wheel].slots[index];
        (timer.wheel, timer.slot) = (wheel as u8, index as u8);
        (timer.previous, timer.next) = (slot.tail, NONE);
        if slot.tail == NONE {
            *slot = Slot { head: id, tail: id, least: timer.at, reason: timer.reason };
            self.wheels[wheel].used |= 1 << index;
            self.used |= 1 << wheel;
            return;
        }
        if timer.at < slot.least {
            (slot.least, slot.reason) = (timer.at, timer.reason);
        }
        let last = core::mem::replace(&mut slot.tail, id);
        self.timers[last].next = id;
    }

    /// Takes a timer out of its slot.
    fn unlink(&mut self, id: u32) {
        let &Timer { previous, next, wheel, slot, .. } = &self.timers[id];
        let (wheel, index) = (usize::from(wheel), usize::from(slot));
        let slot = &mut self.wheels[wheel].slots[index];
        if previous == NONE {
            slot.head = next;
        } else {
            self.timers[previous].next = next;
        }
        if next == NONE {
            slot.tail = previous;
        } else {
            self.timers[next].previous = previous;
        }
        if slot.head == NONE {
            self.clear_bits(wheel, index);
        }
    }

    /// A slot is empty now.
    fn clear_bits(&mut self, wheel: usize, slot: usize) {
        self.wheels[wheel].used &= !(1 << slot);
        if self.wheels[wheel].used == 0 {
            self.used &= !(1 << wheel);
        }
    }

    fn place(&mut self, timer: Timer) -> u32 {
        if self.free == NONE {
            let id = u32::try_from(self.timers.len()).expect("limits keep the number of owners far below 2^32");
            self.timers.push(timer);
            return id;
        }
        let id = self.free;
        self.free = self.timers[id].next;
        self.timers[id] = timer;
        id
    }

    fn release(&mut self, id: u32) {
        self.timers[id].next = self.free;
        self.free = id;
    }
}

#[cfg(test)]
mod tests;
