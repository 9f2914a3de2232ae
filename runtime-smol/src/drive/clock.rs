//! The hub's clock: microseconds since the start of the process, and what the wall clock was then.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use causerie_core::{Identity, Instant as CoreInstant, UnixMicros};

use crate::auth::Claims;

/// Maps between the system's monotonic clock and the hub's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

/// Longer than any process lives (30 years), so that no far date leaves what the system's clock can hold.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

impl Clock {
    /// A clock that begins now, and what the wall clock says at its origin.
    pub(crate) fn start() -> (Clock, UnixMicros) {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (Clock { origin: Instant::now() }, UnixMicros(micros(wall)))
    }

    pub(crate) fn now(&self) -> CoreInstant {
        CoreInstant::from_micros(micros(self.origin.elapsed()))
    }

    /// When the hub's instant is on the system's clock.
    pub(crate) fn moment(&self, at: CoreInstant) -> Instant {
        self.origin + Duration::from_micros(at.as_micros()).min(FOREVER)
    }

    /// Who a token says somebody is, its expiry on the hub's clock. Taken from the wall clock of this moment: when that
    /// is set anew, tokens checked before keep the time that they had then.
    pub(crate) fn identity(&self, claims: Claims) -> Identity {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let left = Duration::from_secs(claims.exp).saturating_sub(wall).min(FOREVER);
        Identity { user_id: claims.sub, username: claims.username, role: claims.role, expires: self.now() + left }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use causerie_core::Role;

    fn claims(exp: u64) -> Claims {
        Claims { sub: "1".into(), username: "ada".into(), role: Role::User, iat: None, exp, renew_until: None }
    }

    #[test]
    fn the_hub_s_instants_are_moments_of_the_system_s_clock() {
        let (clock, _) = Clock::start();
        let before = Instant::now();
        let now = clock.moment(clock.now());
        // The hub's clock counts whole microseconds.
        assert!(now + Duration::from_micros(1) >= before && now <= Instant::now());
    }

    #[test]
    fn a_token_expires_on_the_hub_s_clock_when_it_does_on_the_wall() {
        let (clock, wall) = Clock::start();
        let expires = clock.identity(claims(wall.0 / 1_000_000 + 3600)).expires;
        let left = expires.saturating_since(clock.now());
        assert!(left <= Duration::from_secs(3600) && left > Duration::from_secs(3000), "{left:?}");
    }

    #[test]
    fn any_expiry_can_be_waited_for() {
        let (clock, _) = Clock::start();
        for exp in [0, u64::MAX] {
            let _ = clock.moment(clock.identity(claims(exp)).expires);
        }
        let _ = clock.moment(CoreInstant::from_micros(u64::MAX));
    }
}
