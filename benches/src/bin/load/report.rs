//! What was measured, for people and for files.

use std::io;
use std::path::Path;

use causerie_benches::quantile as at;
use serde_json::{Value, json};

use crate::chat::Chat;
use crate::load::Measured;

/// Bytes of the server's memory that one idle socket may cost: the project's goal.
const GOAL: u64 = 4 * 1024;

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
            print_chat(chat);
        }
    }

    /// Clients that got nothing.
    pub(crate) fn starved(&self) -> usize {
        self.0.chat.as_ref().map_or(0, |chat| chat.starved)
    }

    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut value = serde_json::to_value(&self.0).unwrap_or_default();
        value["bytes_per_socket"] = json!(self.bytes_per_socket());
        value["ping_micros_in_turn"] = table(&self.0.in_turn);
        value["ping_micros_at_once"] = table(&self.0.at_once);
        if let Some(chat) = &self.0.chat {
            value["chat"]["ping_micros"] = table(&chat.pings);
            value["chat"]["first_piece_ms"] = table(&chat.first_piece);
            value["chat"]["answers_of_a_client"] = shares(&chat.answers);
            value["chat"]["tokens_of_a_client"] = shares(&chat.tokens);
        }
        std::fs::write(path, format!("{value:#}\n"))
    }
}

fn print_chat(chat: &Chat) {
    let least = |sorted: &[f64]| (at(sorted, 0.0), at(sorted, 0.5), at(sorted, 1.0));
    println!(
        "{} clients for {:.0} s: {:.0} tokens a second, {} starved, told to come later {} times",
        chat.clients, chat.seconds, chat.tokens_per_second, chat.starved, chat.refusals
    );
    let (answers, tokens) = (least(&chat.answers), least(&chat.tokens));
    println!("a client's answers: least {}, median {}, most {}", answers.0, answers.1, answers.2);
    println!(
        "a client's tokens:  least {}, median {}, most {}; Jain's index {:.4}",
        tokens.0, tokens.1, tokens.2, chat.jain
    );
    let first = |part| at(&chat.first_piece, part);
    println!(
        "question to first piece: median {:.0} ms, 90 % {:.0}, 99 % {:.0}, longest {:.0}",
        first(0.5),
        first(0.9),
        first(0.99),
        first(1.0)
    );
    println!(
        "fairness of waiting: Jain's index {:.4}; the longest wait is {:.2} times the median",
        chat.jain_of_waits, chat.longest_wait_in_medians
    );
    println!("ping to pong meanwhile: {}", percentiles(&chat.pings));
}

fn shares(sorted: &[f64]) -> Value {
    json!({ "min": at(sorted, 0.0), "p50": at(sorted, 0.5), "max": at(sorted, 1.0) })
}

fn percentiles(sorted: &[f64]) -> String {
    let at = |part| at(sorted, part);
    format!("median {:.0} µs, 99 % {:.0}, 99.9 % {:.0}, longest {:.0}", at(0.5), at(0.99), at(0.999), at(1.0))
}

fn table(sorted: &[f64]) -> Value {
    let at = |part| at(sorted, part).round();
    json!({ "p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "max": at(1.0) })
}
