//! The lines of a script.

use std::iter::Peekable;

use causerie_core::limits::Limits;
use causerie_core::{FinishReason, GenerationFailure, Role, UnixMicros, Violation};

use crate::driver;

/// Connections at once, at most.
pub(super) const MOST_CONNECTIONS: usize = 128;

/// How a script's hub is built.
pub(super) struct Setup {
    pub(super) limits: Limits,
    pub(super) wall_clock: UnixMicros,
    pub(super) has_model: bool,
}

/// One thing that happens. `who` is the number of a connection in the order in which they were opened, `which` one of the
/// answers under way; both are taken modulo how many there are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Op<'a> {
    /// `connect NAME [CREDIT]`: a connection whose token is good, without end of credit where none is given.
    Connect { name: &'a str, credit: Option<u32> },
    /// `arrive NAME [CREDIT]`: a connection whose token is still being verified.
    Arrive { name: &'a str, credit: Option<u32> },
    /// `accept WHO [NAME [user|admin [SECONDS]]]`: a token, of the handshake or of `authenticate`, is good.
    Accept { who: usize, name: Option<&'a str>, role: Role, seconds: u64 },
    /// `refuse WHO REASON`
    Refuse { who: usize, reason: &'a str },
    /// `send WHO TEXT`: a frame, of which the world fills in `<<s0>>`, the first session's id; `<<m0>>`, the first
    /// message's; `<<a>>`, that of the answer under way; `<<e>>`, the epoch; `<<TEXT*9>>`, a text so many times; and an
    /// `id`, where an object has none.
    Send { who: usize, text: &'a str },
    /// `grant WHO CREDIT`
    Grant { who: usize, credit: u32 },
    /// `close WHO`
    Close { who: usize },
    /// `violate WHO big|binary|utf8|framing`
    Violate { who: usize, violation: Violation },
    /// `resume WHO [FRAMES [OFFSET]]`: a new connection instead of this one, which knows all but so many of its last
    /// frames, and of an answer under way at most so many bytes.
    Resume { who: usize, frames: usize, offset: usize },
    /// `storage held|prompt`: answers wait for `stored`, or come at once.
    Storage { held: bool },
    /// `stored [COUNT]`: storage gives so many answers.
    Stored { count: usize },
    /// `fail WRITES [READS]`: the next so many fail.
    Fail { writes: usize, reads: usize },
    /// `earlier NAME MESSAGES [MEMBERS]`: storage has a session of somebody's from an earlier life of the server, with so
    /// many messages, by turns a user's, an answer that broke off, and a system's.
    Earlier { name: &'a str, messages: usize, members: usize },
    /// `text WHICH TEXT`: of an answer; `<<TEXT*9>>` as in `send`.
    Text { which: usize, text: &'a str },
    /// `notice WHICH COUNT`: so many messages did not fit.
    Notice { which: usize, messages: u32 },
    /// `end WHICH stop|length|stopped|error [unmeasured]`
    End { which: usize, reason: FinishReason, measured: bool },
    /// `break WHICH unavailable|overloaded|long|internal`
    Break { which: usize, failure: GenerationFailure },
    /// `up NAME`
    Up { model: &'a str },
    /// `down REASON`
    Down { reason: &'a str },
    /// `pass MILLIS`
    Pass { millis: u64 },
    /// `late MILLIS`: so much time has passed, and the hub hears of it with the next input alone, whatever it is.
    Late { millis: u64 },
    /// `drain MILLIS`
    Drain { millis: u64 },
    /// `together`: what follows is given to the hub without polling in between.
    Together,
    /// `apart`: that is over.
    Apart,
    /// `misuse`: everything that a runtime must not do, and that then changes nothing.
    Misuse,
}

/// Reads the lines that say how the hub is built, as far as they stand at the beginning: `limit NAME VALUE`,
/// `clock MICROS`, `no model`, and comments.
pub(super) fn setup<'a>(lines: &mut Peekable<impl Iterator<Item = &'a str>>) -> Setup {
    let mut limits = driver::limits();
    // Small, so that they are met.
    limits.log_bytes = 3_000;
    limits.queued_generations = 3;
    limits.queued_messages = 3;
    limits.connections = 12;
    limits.connections_per_user = 6;
    limits.frames_per_second = 1_000;
    let mut setup = Setup { limits, wall_clock: UnixMicros(driver::START), has_model: true };
    while let Some(line) = lines.peek() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("limit"), Some(name), Some(value)) => limit(&mut setup.limits, name, value),
            (Some("clock"), Some(micros), _) => setup.wall_clock = UnixMicros(micros.parse().unwrap_or_default()),
            (Some("no"), Some("model"), _) => setup.has_model = false,
            (Some(word), ..) if !word.starts_with('#') => break,
            _ => {}
        }
        lines.next();
    }
    setup
}

/// Sets one of the limits that a script is long enough to meet.
fn limit(limits: &mut Limits, name: &str, value: &str) {
    let Ok(value) = value.parse::<u32>() else { return };
    let most = value as usize;
    match name {
        "connections" => limits.connections = most.min(MOST_CONNECTIONS),
        "connections_per_session" => limits.connections_per_session = most,
        "connections_per_user" => limits.connections_per_user = most,
        "frame_bytes" => limits.frame_bytes = most.max(1),
        "message_bytes" => limits.message_bytes = most,
        "frames_per_second" => limits.frames_per_second = value,
        "messages_per_minute" => limits.messages_per_minute = value,
        "sessions_per_minute" => limits.sessions_per_minute = value,
        "sessions" => limits.sessions = most,
        "requests" => limits.requests = most,
        "waiting_messages" => limits.waiting_messages = most,
        "queued_messages" => limits.queued_messages = most,
        "queued_generations" => limits.queued_generations = most,
        "generations_per_user" => limits.generations_per_user = most,
        "log_bytes" => limits.log_bytes = most,
        _ => {}
    }
}

/// Reads a line; `None` for one that is none.
pub(super) fn parse(line: &str) -> Option<Op<'_>> {
    let (word, rest) = line.split_once(' ').unwrap_or((line.trim_end(), ""));
    let (first, text) = rest.split_once(' ').unwrap_or((rest, ""));
    let words = text.split_whitespace();
    Some(match word {
        "connect" => Op::Connect { name: name(first)?, credit: words.clone().next().and_then(|n| n.parse().ok()) },
        "arrive" => Op::Arrive { name: name(first)?, credit: words.clone().next().and_then(|n| n.parse().ok()) },
        "accept" => accept(number(first)?, words),
        "refuse" => Op::Refuse { who: number(first)?, reason: text },
        "send" => Op::Send { who: number(first)?, text },
        "grant" => Op::Grant { who: number(first)?, credit: text.trim().parse().ok()? },
        "close" => Op::Close { who: number(first)? },
        "violate" => Op::Violate { who: number(first)?, violation: violation(text.trim())? },
        "resume" => {
            let mut numbers = words.map(|n| number(n).unwrap_or_default());
            let (frames, offset) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or(usize::MAX));
            Op::Resume { who: number(first)?, frames, offset }
        }
        "storage" => Op::Storage { held: first == "held" },
        "stored" => Op::Stored { count: number(first).unwrap_or(1) },
        "fail" => Op::Fail { writes: number(first)?, reads: number(text.trim()).unwrap_or_default() },
        "earlier" => {
            let mut numbers = words.map(|n| number(n).unwrap_or_default());
            let (messages, members) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or(1));
            Op::Earlier { name: name(first)?, messages, members }
        }
        "text" => Op::Text { which: number(first)?, text },
        "notice" => Op::Notice { which: number(first)?, messages: text.trim().parse().ok()? },
        "end" => end(number(first)?, words)?,
        "break" => Op::Break { which: number(first)?, failure: failure(text.trim())? },
        "up" => Op::Up { model: rest },
        "down" => Op::Down { reason: rest },
        "pass" => Op::Pass { millis: first.parse().ok()? },
        "late" => Op::Late { millis: first.parse().ok()? },
        "drain" => Op::Drain { millis: first.parse().ok()? },
        "together" => Op::Together,
        "apart" => Op::Apart,
        "misuse" => Op::Misuse,
        _ => return None,
    })
}

fn number(text: &str) -> Option<usize> {
    text.parse().ok()
}

/// A name is not empty, since nobody's is.
fn name(text: &str) -> Option<&str> {
    Some(text).filter(|name| !name.is_empty())
}

fn accept<'a>(who: usize, mut words: impl Iterator<Item = &'a str>) -> Op<'a> {
    let name = words.next();
    let role = if words.next() == Some("admin") { Role::Admin } else { Role::User };
    let seconds = words.next().and_then(|n| n.parse().ok()).unwrap_or(super::world::TTL_SECONDS);
    Op::Accept { who, name, role, seconds }
}

fn violation(word: &str) -> Option<Violation> {
    Some(match word {
        "big" => Violation::TooBig { limit: 1_000_000 },
        "binary" => Violation::Binary,
        "utf8" => Violation::NotUtf8,
        "framing" => Violation::Framing,
        _ => return None,
    })
}

fn end<'a>(which: usize, mut words: impl Iterator<Item = &'a str>) -> Option<Op<'a>> {
    let reason = match words.next()? {
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        "stopped" => FinishReason::Stopped,
        "error" => FinishReason::Error,
        _ => return None,
    };
    Some(Op::End { which, reason, measured: words.next() != Some("unmeasured") })
}

fn failure(word: &str) -> Option<GenerationFailure> {
    Some(match word {
        "unavailable" => GenerationFailure::Unavailable,
        "overloaded" => GenerationFailure::Overloaded,
        "long" => GenerationFailure::TooLong { prompt_tokens: 9_000, context: 8_192 },
        "internal" => GenerationFailure::Internal,
        _ => return None,
    })
}
