//! Time as the database has it.

use std::time::{SystemTime, UNIX_EPOCH};

use causerie_core::UnixMicros;

/// Microseconds of a day.
const DAY_MICROS: u64 = 24 * 60 * 60 * 1_000_000;

/// This machine's time; 0 where its clock is before 1970.
pub(crate) fn now() -> UnixMicros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMicros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// Days since 1970-01-01, UTC: what usage is counted by.
pub(crate) fn day(at: UnixMicros) -> i64 {
    (at.0 / DAY_MICROS) as i64
}

/// Seconds until the next day begins, at least one.
pub(crate) fn seconds_left(at: UnixMicros) -> u64 {
    (DAY_MICROS - at.0 % DAY_MICROS).div_ceil(1_000_000)
}

/// So many days before a time.
pub(crate) fn days_before(at: UnixMicros, days: u32) -> UnixMicros {
    UnixMicros(at.0.saturating_sub(u64::from(days) * DAY_MICROS))
}

/// As SQLite holds it: a clock beyond the year 294,000 stops there.
pub(super) fn column(at: UnixMicros) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

/// As it came from SQLite.
pub(super) fn time(column: i64) -> UnixMicros {
    UnixMicros(column.max(0).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_at_midnight() {
        let noon = UnixMicros(20_000 * DAY_MICROS + DAY_MICROS / 2);
        assert_eq!((day(noon), seconds_left(noon)), (20_000, 43_200));
        let last = UnixMicros(20_001 * DAY_MICROS - 1);
        assert_eq!((day(last), seconds_left(last)), (20_000, 1));
        assert_eq!(day(UnixMicros(last.0 + 1)), 20_001);
        assert_eq!(days_before(noon, 30), UnixMicros(19_970 * DAY_MICROS + DAY_MICROS / 2));
        assert_eq!(days_before(UnixMicros(5), 1), UnixMicros(0));
    }
}
