//! Token buckets: how often somebody may do something.

use crate::time::Instant;

/// A rate: how many in how long, and how many at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Microseconds until one more is allowed.
    pub(crate) interval: u64,
    /// Allowed at once after a long silence.
    pub(crate) burst: u32,
}

impl Rate {
    /// `count` in each `period` of microseconds, `burst` at once; neither is less than one.
    pub(crate) fn new(count: u32, period: u64, burst: u32) -> Rate {
        Rate { interval: (period / u64::from(count.max(1))).max(1), burst: burst.max(1) }
    }
}

/// How much of a [`Rate`] is used up, as the instant at which nothing of it is ("generic cell rate algorithm").
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    empty_at: Instant,
}

impl Bucket {
    /// When nothing of the rate is used up any more.
    pub(crate) fn empty_at(self) -> Instant {
        self.empty_at
    }

    /// Takes one, or says in how many milliseconds there will be one.
    pub(crate) fn take(&mut self, rate: Rate, now: Instant) -> Result<(), u64> {
        let from = self.empty_at.max(now).as_micros();
        let full = now.as_micros().saturating_add(rate.interval.saturating_mul(u64::from(rate.burst)));
        let next = from.saturating_add(rate.interval);
        if next > full {
            return Err((next - full).div_ceil(1_000));
        }
        self.empty_at = Instant::from_micros(next);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_one_an_interval() {
        let rate = Rate::new(10, 1_000_000, 3);
        let mut bucket = Bucket::default();
        let at = |ms: u64| Instant::from_micros(ms * 1_000);
        for _ in 0..3 {
            assert_eq!(bucket.take(rate, at(1_000)), Ok(()));
        }
        assert_eq!(bucket.take(rate, at(1_000)), Err(100));
        assert_eq!(bucket.take(rate, at(1_099)), Err(1));
        assert_eq!(bucket.take(rate, at(1_100)), Ok(()));
        assert_eq!(bucket.take(rate, at(1_100)), Err(100));
        assert_eq!(bucket.take(rate, at(9_000)), Ok(()));
    }
}
