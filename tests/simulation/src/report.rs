//! What a simulation did, in numbers.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use causerie_core::testing::Violation;

use crate::settings::HOUR;

thread_local! {
    static CHECKS: Cell<u64> = const { Cell::new(0) };
}

/// Counts a check; for [`check!`](crate::check).
pub fn checked() {
    CHECKS.with(|checks| checks.set(checks.get() + 1));
}

/// The checks of this thread since the last call.
pub fn take_checks() -> u64 {
    CHECKS.with(|checks| checks.replace(0))
}

/// A condition that must hold in every world; counted.
#[macro_export]
macro_rules! check {
    ($condition:expr, $($about:tt)+) => {{
        $crate::report::checked();
        assert!($condition, $($about)+);
    }};
}

/// What the reference model says: nothing, in every world; counted.
#[track_caller]
pub fn judge(verdict: Result<(), Violation>) {
    checked();
    if let Err(violation) = verdict {
        panic!("{violation}");
    }
}

/// Sums over one or several worlds.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub worlds: u64,
    /// Of simulated time.
    pub micros: u64,
    /// Time that connections were open, added up.
    pub connection_micros: u128,
    pub connections: u64,
    pub most_connections: usize,
    pub frames_in: u64,
    pub frames_out: u64,
    pub messages: u64,
    pub answers: u64,
    pub resumed: u64,
    pub denied: u64,
    pub calms: u64,
    pub checks: u64,
    /// By kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Errors that clients were told, by code.
    pub errors: BTreeMap<String, u64>,
}

impl Report {
    pub fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    pub fn error(&mut self, code: &str) {
        match self.errors.get_mut(code) {
            Some(count) => *count += 1,
            None => drop(self.errors.insert(code.to_string(), 1)),
        }
    }

    pub fn add(&mut self, other: &Report) {
        self.worlds += other.worlds;
        self.micros += other.micros;
        self.connection_micros += other.connection_micros;
        self.connections += other.connections;
        self.most_connections = self.most_connections.max(other.most_connections);
        self.frames_in += other.frames_in;
        self.frames_out += other.frames_out;
        self.messages += other.messages;
        self.answers += other.answers;
        self.resumed += other.resumed;
        self.denied += other.denied;
        self.calms += other.calms;
        self.checks += other.checks;
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        for (code, count) in &other.errors {
            *self.errors.entry(code.clone()).or_default() += count;
        }
    }

    pub fn connection_hours(&self) -> f64 {
        self.connection_micros as f64 / HOUR as f64
    }

    /// The table, with what it took.
    pub fn table(&self, took: Duration) -> String {
        let seconds = took.as_secs_f64().max(1e-9);
        let hours = self.connection_hours();
        let mut rows = vec![
            ("worlds (seeds)", self.worlds.to_string()),
            ("simulated hours", format!("{:.1}", self.micros as f64 / HOUR as f64)),
            ("connection-hours", format!("{hours:.0}")),
            ("  in ten minutes at this speed", format!("{:.0}", hours / seconds * 600.0)),
            ("connections opened", self.connections.to_string()),
            ("  at once, at most", self.most_connections.to_string()),
            ("frames from clients", self.frames_in.to_string()),
            ("frames to clients", self.frames_out.to_string()),
            ("messages stored", self.messages.to_string()),
            ("  of these, answers", self.answers.to_string()),
            ("resumed exactly", self.resumed.to_string()),
            ("resume denied (restart, or made up)", self.denied.to_string()),
            ("times at rest, all verified", self.calms.to_string()),
            ("checks", self.checks.to_string()),
        ];
        rows.extend(self.faults.iter().map(|(kind, count)| (*kind, count.to_string())));
        rows.push(("seconds", format!("{seconds:.1}")));
        let mut out: String = rows.iter().map(|(name, value)| format!("{name:<40}{value:>16}\n")).collect();
        out.push_str("errors told:");
        for (code, count) in &self.errors {
            out.push_str(&format!(" {code} {count}"));
        }
        out
    }
}

/// A world in which something was wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    pub seed: u64,
    /// The simulated time.
    pub at: u64,
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} after {:.6} simulated hours: {}", self.seed, self.at as f64 / HOUR as f64, self.what)
    }
}

thread_local! {
    static PLACE: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
}

/// Remembers where this thread panicked.
pub fn set_place(place: String) {
    PLACE.with(|at| *at.borrow_mut() = place);
}

/// Where this thread panicked last.
pub fn place() -> String {
    PLACE.with(|at| at.borrow().clone())
}
