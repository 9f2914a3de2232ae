//! What kind of world a seed makes: every seed has its own mixture of faults, speeds and limits, so that together they
//! meet what one mixture never would ("swarm testing", Groce and others, 2012).

use std::time::Duration;

use causerie_core::limits::Limits;

use crate::rng::Rng;

/// Microseconds of simulated time.
pub type Time = u64;

pub const MILLISECOND: Time = 1_000;
pub const SECOND: Time = 1_000_000;
pub const MINUTE: Time = 60 * SECOND;
pub const HOUR: Time = 60 * MINUTE;

const LARGE_LOG: usize = 262_144;

/// How one world is. Times are means; 0 is never.
#[derive(Clone, Debug)]
pub struct Settings {
    pub users: usize,
    /// One connection is lost.
    pub loss: Time,
    /// One connection's network stands still for a while.
    pub stall: Time,
    /// The server dies and starts again.
    pub crash: Time,
    /// The server is stopped in order and starts again.
    pub drain: Time,
    /// The server's process stands still: its clock jumps, and everything comes at once then.
    pub freeze: Time,
    /// The machine's clock is set while the server is down, by at most so much forth or back.
    pub clock_set: Time,
    /// An input comes with a time before the last one's, once in so many.
    pub clock_back: u64,
    /// Storage fails often for a while.
    pub storage_fails: Time,
    /// Storage is slow for a while.
    pub storage_slow: Time,
    /// There is no model for a while.
    pub model_gone: Time,
    /// One in so many answers fails.
    pub answers_fail: u64,
    /// Verifying a token fails to end, once in so many.
    pub verdicts_lost: u64,
    /// One way through the network, at least.
    pub latency: Time,
    pub storage_latency: Time,
    /// From one piece of an answer to the next.
    pub token: Time,
    /// Answers at once.
    pub slots: usize,
    /// How late the runtime is, at most: inputs that come meanwhile are given before the hub is polled.
    pub lag: Time,
    /// From one deed of a person to the next.
    pub pace: Time,
    pub limits: Limits,
}

impl Settings {
    /// Whether the log never loses what a reader with credit has not got yet.
    pub fn log_is_large(&self) -> bool {
        self.limits.log_bytes >= LARGE_LOG
    }

    pub fn draw(rng: &mut Rng, users: usize) -> Settings {
        let mut limits = Limits::default();
        limits.connections = users * 8;
        limits.log_bytes = [1, 3_000, 20_000, LARGE_LOG, LARGE_LOG][rng.index(5)];
        limits.idle = Duration::from_secs(rng.between(600, 4 * 3_600));
        limits.messages_per_minute = [20, 60, 240][rng.index(3)];
        limits.queued_generations = [1, 3, 8][rng.index(3)];
        limits.queued_messages = [2, 16][rng.index(2)];
        limits.generations_per_user = [2, 16][rng.index(2)];
        limits.frames_per_second = [20, 100][rng.index(2)];
        limits.connections_per_user = [4, 64][rng.index(2)];
        let mut fault = |low: Time, high: Time| if rng.one_in(4) { 0 } else { rng.between(low, high) };
        Settings {
            users,
            loss: fault(2 * MINUTE, 3 * HOUR) / users as u64,
            stall: fault(2 * MINUTE, 3 * HOUR) / users as u64,
            crash: fault(20 * MINUTE, 4 * HOUR),
            drain: fault(40 * MINUTE, 8 * HOUR),
            freeze: fault(20 * MINUTE, 4 * HOUR),
            clock_set: fault(SECOND, 2 * HOUR),
            clock_back: fault(20, 2_000),
            storage_fails: fault(5 * MINUTE, HOUR),
            storage_slow: fault(5 * MINUTE, HOUR),
            model_gone: fault(5 * MINUTE, HOUR),
            answers_fail: fault(5, 100),
            verdicts_lost: fault(50, 1_000),
            latency: rng.between(100, 80 * MILLISECOND),
            storage_latency: rng.between(20, 4 * MILLISECOND),
            token: rng.between(2 * MILLISECOND, 200 * MILLISECOND),
            slots: [1, 4, 32, 1_000][rng.index(4)],
            lag: [0, 0, 500, 5 * MILLISECOND][rng.index(4)],
            pace: rng.between(30 * SECOND, 5 * MINUTE),
            limits,
        }
    }
}
