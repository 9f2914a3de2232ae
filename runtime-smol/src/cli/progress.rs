//! A fetch, shown: a bar on a terminal, a line now and then elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::output::size;
use crate::fetch::Progress;

/// How often the bar is drawn.
const DRAW: Duration = Duration::from_millis(100);

/// Cells of the bar.
const CELLS: u64 = 24;

/// Without a terminal there is a line at each of so many parts of the whole.
const LINES: u64 = 10;

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Bar,
    Lines,
    Quiet,
}

/// What has been shown so far.
pub(crate) struct Shown {
    mode: Mode,
    drawn: Option<Instant>,
    bar: bool,
    tenth: u64,
    /// When this transfer began, and with how many bytes there already: for the speed.
    began: Option<(Instant, u64)>,
}

impl Shown {
    /// On stderr, as suits what it is.
    pub(crate) fn new(quiet: bool) -> Shown {
        let mode = match (quiet, io::stderr().is_terminal()) {
            (true, _) => Mode::Quiet,
            (false, true) => Mode::Bar,
            (false, false) => Mode::Lines,
        };
        Shown { mode, drawn: None, bar: false, tenth: 0, began: None }
    }

    /// Shows one step.
    pub(crate) fn show(&mut self, progress: Progress<'_>) {
        if self.mode == Mode::Quiet {
            return;
        }
        match progress {
            Progress::Begin { file, bytes, from, to } => {
                self.began = None;
                self.tenth = 0;
                let bytes = bytes.map_or_else(String::new, |bytes| format!(" ({})", size(bytes)));
                self.line(&format!("Fetching {file}{bytes}\n  from {from}\n  to   {}", to.display()));
            }
            Progress::Received { done, total } => self.received(done, total),
            Progress::Note(note) => self.line(note),
            Progress::Verify => self.line("Verifying"),
            Progress::Done { path } => self.line(&format!("Done: {}", path.display())),
        }
    }

    fn received(&mut self, done: u64, total: Option<u64>) {
        let (began, before) = *self.began.get_or_insert_with(|| {
            self.tenth = total.map_or(0, |total| done.saturating_mul(LINES) / total.max(1));
            (Instant::now(), done)
        });
        let seconds = began.elapsed().as_secs_f64();
        let speed = if seconds > 0.5 { done.saturating_sub(before) as f64 / seconds } else { 0.0 };
        match self.mode {
            Mode::Quiet => {}
            Mode::Lines => {
                let tenth = total.map_or(0, |total| done.saturating_mul(LINES) / total.max(1));
                if tenth > self.tenth {
                    self.tenth = tenth;
                    self.line(&format!("  {} %{}", tenth * 100 / LINES, rate(speed)));
                }
            }
            Mode::Bar => {
                let finished = total == Some(done);
                if finished || self.drawn.is_none_or(|drawn| drawn.elapsed() >= DRAW) {
                    self.drawn = Some(Instant::now());
                    self.bar = true;
                    // \x1b[K: what the line before had more than this one is cleared.
                    write_error(&format!("\r{}\x1b[K", bar(done, total, speed)));
                }
            }
        }
    }

    fn line(&mut self, text: &str) {
        let end_of_bar = if std::mem::take(&mut self.bar) { "\n" } else { "" };
        write_error(&format!("{end_of_bar}{text}\n"));
    }
}

fn bar(done: u64, total: Option<u64>, speed: f64) -> String {
    let Some(total) = total.filter(|total| *total > 0) else { return format!("  {}{}", size(done), rate(speed)) };
    let done = done.min(total);
    let full = (done.saturating_mul(CELLS) / total) as usize;
    let left = match speed {
        speed if speed > 0.0 && done < total => format!(", {:.0} s left", (total - done) as f64 / speed),
        _ => String::new(),
    };
    format!(
        "  {}{} {:>3} %  {} of {}{}{left}",
        "█".repeat(full),
        "░".repeat(CELLS as usize - full),
        done.saturating_mul(100) / total,
        size(done),
        size(total),
        rate(speed),
    )
}

fn rate(speed: f64) -> String {
    if speed > 0.0 { format!(", {}/s", size(speed as u64)) } else { String::new() }
}

/// Where stderr is closed there is nobody to tell.
fn write_error(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_says_how_much_is_there_and_how_long_it_takes() {
        let half = bar(50_000_000, Some(100_000_000), 10_000_000.0);
        assert_eq!(half, "  ████████████░░░░░░░░░░░░  50 %  50.0 MB of 100.0 MB, 10.0 MB/s, 5 s left");
        assert_eq!(bar(7, Some(7), 0.0), format!("  {} 100 %  7 B of 7 B", "█".repeat(24)));
        assert_eq!(bar(9, Some(7), 0.0), format!("  {} 100 %  7 B of 7 B", "█".repeat(24)));
        assert_eq!(bar(2_000_000, None, 0.0), "  2.0 MB");
        assert_eq!(bar(2, Some(0), 0.0), "  2 B");
    }
}
