//! Time as the core knows it: given by the caller, never read.

use core::ops::Add;
use core::time::Duration;

/// A point on the caller's monotonic clock, in microseconds since any origin of the caller's choice.
///
/// The core compares instants with each other and never asks what time it is. A clock that jumps back is
/// tolerated: the hub takes the larger of the instant given and the last one it saw.
///
/// ```
/// use core::time::Duration;
/// use causerie_core::Instant;
///
/// let begun = std::time::Instant::now();
/// let now = || Instant::from_micros(begun.elapsed().as_micros() as u64);
/// let deadline = now() + Duration::from_secs(10);
/// assert!(deadline.saturating_since(now()) <= Duration::from_secs(10));
/// assert_eq!(Instant::ZERO.saturating_since(deadline), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The origin of the caller's clock.
    pub const ZERO: Instant = Instant(0);

    /// `micros` microseconds after the origin.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Instant {
        Instant(micros)
    }

    /// Microseconds since the origin.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// `by` earlier, but not before the origin.
    pub(crate) fn saturating_sub(self, by: Duration) -> Instant {
        Instant(self.0.saturating_sub(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }

    /// The time from `earlier` to `self`, zero when `earlier` is the later one.
    #[must_use]
    pub const fn saturating_since(self, earlier: Instant) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    /// Saturates at the end of time.
    fn add(self, rhs: Duration) -> Instant {
        Instant(self.0.saturating_add(u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// Wall-clock time: microseconds since 1970-01-01T00:00:00Z. Only ever shown and stored, never waited for.
///
/// ```
/// use std::time::{SystemTime, UNIX_EPOCH};
/// use causerie_core::UnixMicros;
///
/// let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
/// assert!(UnixMicros(now.as_micros() as u64) > UnixMicros(1_767_225_600_000_000));
/// # Ok::<(), std::time::SystemTimeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMicros(pub u64);
