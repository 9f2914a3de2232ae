//! The tables of bounds: names, meanings and order from the source of `limits.rs`, values from the code.

use std::fmt::Write as _;

use causerie_core::limits::{self, Limits};

use super::generated::doc_before;

const SOURCE: &str = include_str!("../../../core/src/limits.rs");

/// Every bound of `limits.rs`: its name and value.
fn all_limits() -> Vec<(&'static str, String)> {
    let l = Limits::default();
    let seconds = |time: std::time::Duration| format!("{} s", time.as_secs());
    let range = |range: &std::ops::RangeInclusive<f64>| format!("{} to {}", range.start(), range.end());
    macro_rules! constants {
        ($($name:ident)+) => { vec![$((stringify!($name), limits::$name.to_string()),)+] };
    }
    let mut all = vec![
        ("connections", l.connections.to_string()),
        ("connections_per_user", l.connections_per_user.to_string()),
        ("connections_per_session", l.connections_per_session.to_string()),
        ("sessions", l.sessions.to_string()),
        ("requests", l.requests.to_string()),
        ("frame_bytes", l.frame_bytes.to_string()),
        ("message_bytes", l.message_bytes.to_string()),
        ("frames_per_second", l.frames_per_second.to_string()),
        ("messages_per_minute", l.messages_per_minute.to_string()),
        ("sessions_per_minute", l.sessions_per_minute.to_string()),
        ("queued_messages", l.queued_messages.to_string()),
        ("queued_generations", l.queued_generations.to_string()),
        ("generations_per_user", l.generations_per_user.to_string()),
        ("waiting_messages", l.waiting_messages.to_string()),
        ("handshake", seconds(l.handshake)),
        ("idle", seconds(l.idle)),
        ("log_bytes", l.log_bytes.to_string()),
        ("LOG_KEPT", seconds(limits::LOG_KEPT)),
        ("EXPIRY_NOTICE", seconds(limits::EXPIRY_NOTICE)),
        ("TYPING", seconds(limits::TYPING)),
        ("DRAIN_GRACE", seconds(limits::DRAIN_GRACE)),
        ("TEMPERATURE", range(&limits::TEMPERATURE)),
        ("PROBABILITY", range(&limits::PROBABILITY)),
        ("REPETITION_PENALTY", range(&limits::REPETITION_PENALTY)),
    ];
    all.extend(constants! {
        NESTING FIELDS FIELD_BYTES REF_BYTES CLIENT_ID_BYTES TITLE_BYTES USERNAME_BYTES TOKEN_BYTES MEMBERS
        PAGE_MESSAGES PAGE_MESSAGES_DEFAULT PAGE_BYTES LISTED_SESSIONS COMMAND_SESSIONS ANSWER_BYTES DELTA_BYTES
        HELD_FRAMES REPLIES REPLY_BYTES PAUSED_FACTOR REQUESTS_PER_CONNECTION QUEUED_CHANGES ERRANDS FETCHED_MESSAGES
        ERRANDS_AT_ONCE DEADLINES DEADLINE_MOVES DRAIN_STEPS REMEMBERED_USERS USER_ID_BYTES REASON_BYTES
        LOG_ENTRIES POLL_PIECES MAX_TOKENS MAX_INTEGER STOP_STRINGS STOP_BYTES CLOSE_REASON_BYTES
    });
    all
}

/// Bounds of what goes on inside; the others are met by what a client sends, asks or waits for.
pub(crate) fn met_by_clients(name: &str) -> bool {
    let inner = [
        "connections",
        "log_bytes",
        "PAUSED_FACTOR",
        "FETCHED_MESSAGES",
        "LOG_ENTRIES",
        "LOG_KEPT",
        "POLL_PIECES",
        "ERRANDS_AT_ONCE",
        "DEADLINES",
        "DEADLINE_MOVES",
        "DRAIN_STEPS",
        "REMEMBERED_USERS",
        "REASON_BYTES",
        "CLOSE_REASON_BYTES",
        "HELD_FRAMES",
        "REPLIES",
        "REPLY_BYTES",
        "DRAIN_GRACE",
    ];
    !inner.contains(&name)
}

/// A line of `limits.rs` that declares a bound: its name.
fn declared(line: &str) -> Option<&str> {
    let name =
        line.strip_prefix("pub const ").or_else(|| line.strip_prefix("    pub ").filter(|l| !l.contains("fn ")))?;
    Some(name.split_once(':')?.0)
}

pub(crate) fn limits_table(wanted: &dyn Fn(&str) -> bool) -> String {
    let values = all_limits();
    let mut text = String::from("| name | value | meaning, and what is answered beyond |\n|---|---|---|\n");
    for (at, line) in SOURCE.lines().enumerate() {
        let Some(name) = declared(line).filter(|name| wanted(name)) else { continue };
        let value = values.iter().find(|(known, _)| *known == name);
        let (_, value) = value.unwrap_or_else(|| panic!("`{name}` of limits.rs has no row: add it to `all_limits`"));
        let _ = writeln!(text, "| `{name}` | {value} | {} |", doc_before(SOURCE, at));
    }
    text
}

#[test]
fn every_limit_has_its_row_and_every_row_its_limit() {
    let mut declared: Vec<&str> = SOURCE.lines().filter_map(declared).collect();
    let mut rows: Vec<&str> = all_limits().iter().map(|(name, _)| *name).collect();
    declared.sort_unstable();
    rows.sort_unstable();
    assert_eq!(rows, declared);
}
