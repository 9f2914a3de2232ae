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
        Timers { timers: Chunks::new(), free: NONE, wheels, used: 0, origin: 0, first: None }
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

    /// Takes one deadline that has come, of several the nearest. Its owner must forget it and set its next one.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Owner> {
        while let Some((at, _)) = self.first.filter(|(at, _)| *at <= now) {
            let (wheel, slot) = self.lowest()?;
            if wheel > 0 {
                self.turn(wheel, slot, now);
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

    /// Moves all of a slot whose turn has come to lower wheels.
    fn turn(&mut self, wheel: usize, slot: usize, now: Instant) {
        let Slot { head, .. } = core::mem::replace(&mut self.wheels[wheel].slots[slot], EMPTY);
        self.clear_bits(wheel, slot);
        let (mut least, mut id) = (u64::MAX, head);
        while id != NONE {
            let timer = &self.timers[id];
            least = least.min(timer.at);
            id = timer.next;
        }
        // Nothing comes before `least`; and not beyond `now`, or what is set next would be before the origin.
        self.origin = least.min(now.as_micros());
        id = head;
        while id != NONE {
            let next = self.timers[id].next;
            self.link(id);
            id = next;
        }
        self.look();
    }

    /// Brings the origin nearer to now, where no deadline changes its place by that: so that one which is set for
    /// soon does not come to stand among many that are far.
    fn catch_up(&mut self, now: Instant) {
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
        self.first = self.lowest().map(|(wheel, slot)| {
            let slot = &self.wheels[wheel].slots[slot];
            (Instant::from_micros(slot.least), slot.reason)
        });
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
