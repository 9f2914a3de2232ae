//! What was measured, for people and for files.

use std::io;
use std::path::Path;

use serde_json::{Value, json};

use crate::load::Measured;

/// Bytes of the server's memory that one idle socket may cost: the project's goal.
const GOAL: u64 = 8 * 1024;

pub(crate) struct Report(Measured);

impl Report {
    pub(crate) fn new(measured: Measured) -> Report {
        Report(measured)
    }

    /// Resident memory of one idle socket, also after it was used.
    pub(crate) fn bytes_per_socket(&self) -> u64 {
        let after = self.0.bytes_after.max(self.0.bytes_after_pings);
        after.saturating_sub(self.0.bytes_before) / self.0.sockets.max(1) as u64
    }

    pub(crate) fn print(&self) {
        let m = &self.0;
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        println!(
            "{} sockets opened in {:.1} s, {:.0} a second",
            m.sockets,
            m.open_seconds,
            m.sockets as f64 / m.open_seconds
        );
        println!(
            "server's memory: {:.1} MiB before, {:.1} with them, {:.1} after pings: {} bytes a socket (goal {GOAL})",
            mebibytes(m.bytes_before),
            mebibytes(m.bytes_after),
            mebibytes(m.bytes_after_pings),
            self.bytes_per_socket(),
        );
        println!("ping to pong, one after the other: {}", percentiles(&m.in_turn));
        println!("ping to pong, all at once:         {}", percentiles(&m.at_once));
        if let Some(chat) = &m.chat {
            println!(
                "{} chats: first piece after {:.0} ms, {:.0} tokens a second; pings meanwhile: {}",
                chat.sockets,
                chat.first_piece_ms,
                chat.tokens_per_second,
                percentiles(&chat.pings)
            );
        }
    }

    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut value = serde_json::to_value(&self.0).unwrap_or_default();
        value["bytes_per_socket"] = json!(self.bytes_per_socket());
        value["ping_micros_in_turn"] = table(&self.0.in_turn);
        value["ping_micros_at_once"] = table(&self.0.at_once);
        if let Some(chat) = &self.0.chat {
            value["chat"]["ping_micros"] = table(&chat.pings);
        }
        std::fs::write(path, format!("{value:#}\n"))
    }
}

fn at(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * part).round() as usize).copied().unwrap_or(0.0)
}

fn percentiles(sorted: &[f64]) -> String {
    let at = |part| at(sorted, part);
    format!("median {:.0} µs, 99 % {:.0}, 99.9 % {:.0}, longest {:.0}", at(0.5), at(0.99), at(0.999), at(1.0))
}

fn table(sorted: &[f64]) -> Value {
    let at = |part| at(sorted, part).round();
    json!({ "p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "max": at(1.0) })
}
