//! What the commands of the one who runs a server have in common: the database, tables, times.

use std::io::{self, Write};

use causerie_core::UnixMicros;

use super::failure::Failure;
use crate::auth::NAME_BYTES;
use crate::config::{self, DataOptions};
use crate::store::Database;
use crate::store::audit::{Action, Deed};

/// The database, beside a server that may be running.
pub(super) fn database(data: &DataOptions) -> Result<Database, Failure> {
    let directory = data.directory().map_err(Failure::of)?;
    Database::open(&config::database_path(&directory)).map_err(Failure::of)
}

/// What somebody at the command line did.
pub(super) fn deed(action: Action, subject: String) -> Deed {
    let actor = std::env::var("USER").ok().filter(|name| !name.is_empty());
    let actor = actor.map_or_else(|| "(operator)".to_owned(), |name| format!("(operator {name})"));
    Deed { actor, action, subject, source: "command line".to_owned() }
}

/// A name that a user can have.
pub(super) fn username(name: &str) -> Result<&str, Failure> {
    let name = name.trim();
    if name.is_empty() || name.len() > NAME_BYTES || name.chars().any(char::is_control) {
        let what = format!("a user's name has 1 to {NAME_BYTES} bytes on one line, and this one has {}", name.len());
        return Err(Failure::Usage(what));
    }
    Ok(name)
}

/// A time as `2026-01-31 23:59:59`, UTC.
pub(super) fn time(at: UnixMicros) -> String {
    let seconds = at.0 / 1_000_000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// The Gregorian date of a day since 1970-01-01, counted in years that begin in March, so that a leap day is their last
/// (<https://howardhinnant.github.io/date_algorithms.html>, `civil_from_days`).
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 0000-03-01
    let (era, day) = (days / 146_097, days % 146_097); // of 400 years
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // 0 is March
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// Columns as wide as they need to be.
pub(super) struct Table<const COLUMNS: usize> {
    rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// With these heads.
    pub(super) fn new(heads: [&str; COLUMNS]) -> Table<COLUMNS> {
        Table { rows: vec![heads.map(str::to_owned)] }
    }

    /// One more row. What a terminal would obey is shown instead: names come from others.
    pub(super) fn row(&mut self, cells: [String; COLUMNS]) {
        self.rows.push(
            cells.map(|cell| {
                cell.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
            }),
        );
    }

    /// All of it on stdout.
    pub(super) fn print(&self) -> Result<(), Failure> {
        let mut widths = [0; COLUMNS];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut out = io::BufWriter::new(io::stdout().lock());
        for row in &self.rows {
            let mut line = String::new();
            for (width, cell) in widths.iter().zip(row) {
                line += &format!("{cell:<width$}  ");
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(out.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_and_an_hour() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_767_225_599, "2025-12-31 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(time(UnixMicros(seconds * 1_000_000)), text);
        }
    }
}
