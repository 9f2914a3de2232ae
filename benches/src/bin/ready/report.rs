//! What was measured: for people, as JSON and as Markdown.

use std::error::Error;
use std::fmt;

use causerie_benches::{Circumstances, Spread, Subject, number};
use serde::Serialize;

use crate::page::Page;
use crate::start::Times;

/// The project's goals, in milliseconds and bytes.
const GOAL_READY: f64 = 150.0;
const GOAL_PAINT: f64 = 100.0;
const GOAL_BYTES: u64 = 150_000;

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    pub(crate) circumstances: Circumstances,
    pub(crate) conversations: usize,
    pub(crate) new: Times,
    pub(crate) again: Times,
    pub(crate) page: Option<Page>,
}

impl Report {
    /// Writes it down, if that was wished.
    pub(crate) fn record(&self, subject: &Subject) -> Result<(), Box<dyn Error>> {
        subject.record(&self.circumstances.date, "ready", "From start to ready", self)
    }
}

/// As Markdown.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { circumstances, new, again, conversations, .. } = self;
        writeln!(f, "{circumstances}; {} rounds.", new.ready.len())?;
        writeln!(f, "Causerie {}; the model's file is in the page cache.", circumstances.sources())?;
        writeln!(f, "\n| milliseconds from the process' start | median | least–most | goal |\n|---|---|---|---|")?;
        let row = |f: &mut fmt::Formatter<'_>, name: &str, values: &[f64], goal: Option<f64>| {
            let Some(Spread { median, least, most }) = Spread::of(values) else { return Ok(()) };
            let goal = goal.map_or(String::new(), |goal| format!("{goal:.0}"));
            writeln!(f, "| {name} | {} | {}–{} | {goal} |", number(median, 1), number(least, 1), number(most, 1))
        };
        row(f, "new: listening", &new.listening, None)?;
        row(f, "new: ready", &new.ready, Some(GOAL_READY))?;
        row(f, "new: first token of the first answer", &new.first_token, None)?;
        let saved = |what: &str| format!("again, with {conversations} saved conversations: {what}");
        row(f, &saved("ready"), &again.ready, Some(GOAL_READY))?;
        row(f, &saved("first token"), &again.first_token, None)?;
        if let Some(page) = &self.page {
            writeln!(
                f,
                "\n| the page, milliseconds from the navigation | median | least–most | goal |\n|---|---|---|---|"
            )?;
            row(f, "first contentful paint, empty cache", &page.first_paint, Some(GOAL_PAINT))?;
            row(f, "load event, empty cache", &page.loaded, None)?;
            row(f, "first contentful paint of a reload", &page.first_paint_again, None)?;
            let (bytes, requests) = (number(page.bytes as f64, 0), page.requests);
            writeln!(
                f,
                "\nFirst load: {bytes} bytes in {requests} requests (goal: {} bytes).",
                number(GOAL_BYTES as f64, 0)
            )?;
        }
        Ok(())
    }
}
