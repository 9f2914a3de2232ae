//! What people are shown: numbers, colours where they are wanted, and nothing that a terminal would obey.

use std::borrow::Cow;
use std::fmt::Write;

/// What other people, models and files say: what a terminal would obey is shown instead.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let obeyed = |character: char| character.is_control() && character != '\n' && character != '\t';
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\r' => {} // of a line end, or of nothing that is missed
            character if obeyed(character) => drop(write!(shown, "{}", character.escape_default())),
            character => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

/// How a piece of text stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// What is said beside the conversation.
    Dim,
    /// Who speaks.
    Bold,
    /// All is well.
    Green,
    /// Something to look at.
    Yellow,
    /// Something is broken.
    Red,
}

/// Colours, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    wanted: bool,
}

impl Paint {
    /// On a terminal that can show colours, unless NO_COLOR says no (<https://no-color.org>).
    pub(crate) fn on(is_terminal: bool) -> Paint {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Paint { wanted: is_terminal && !refused && !dumb }
    }

    /// Whether there are any.
    pub(crate) fn wanted(self) -> bool {
        self.wanted
    }

    /// The text in a style.
    pub(crate) fn paint(self, style: Style, text: &str) -> String {
        if !self.wanted || text.is_empty() {
            return text.to_owned();
        }
        let code = match style {
            Style::Dim => 2,
            Style::Bold => 1,
            Style::Green => 32,
            Style::Yellow => 33,
            Style::Red => 31,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// A size in bytes, in decimal units as file managers and download pages have them: `98.4 MB`.
pub(crate) fn size(bytes: u64) -> String {
    scaled(bytes as f64, 1000.0, &["B", "kB", "MB", "GB", "TB"])
}

/// A count of parameters as model names have it: `135M`, `1.2B`.
pub(crate) fn parameters(count: u64) -> String {
    match count {
        0..1_000_000 => format!("{}k", count / 1000),
        1_000_000..1_000_000_000 => format!("{:.0}M", count as f64 / 1e6),
        _ => format!("{:.1}B", count as f64 / 1e9),
    }
}

fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    // Where rounding would show 1000.0, the next unit is meant.
    while value >= step - 0.05 && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    if unit == 0 { format!("{value:.0} {}", units[0]) } else { format!("{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_no_text() {
        assert_eq!(harmless("no key `\x1b[31mé`\t\r\n\u{9b}"), "no key `\\u{1b}[31mé`\t\n\\u{9b}");
        assert!(matches!(harmless("plain\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn colours_are_for_terminals() {
        assert_eq!(Paint { wanted: false }.paint(Style::Bold, "no"), "no");
        assert_eq!(Paint { wanted: true }.paint(Style::Bold, "no"), "\x1b[1mno\x1b[0m");
        assert!(!Paint::on(false).wanted());
    }

    #[test]
    fn sizes_and_counts_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (98_362_432, "98.4 MB"),
            (999_960_000, "1.0 GB"),
            (u64::MAX, "18446744.1 TB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        for (count, text) in [(5_000, "5k"), (134_515_008, "135M"), (1_235_814_432, "1.2B")] {
            assert_eq!(parameters(count), text);
        }
    }
}
