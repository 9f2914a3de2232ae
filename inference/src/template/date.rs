//! `strftime_now` of chat templates, for a date that the caller gives.

use minijinja::{Error, ErrorKind};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A day of the Gregorian calendar.
///
/// Templates that write the date into the system prompt get it from here and not from a clock, so that a prompt's
/// beginning, and with it what is cached of it, stays the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// A date; `None` for a month outside 1 to 12 or a day outside 1 to 31.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        ((1..=12).contains(&month) && (1..=31).contains(&day)).then_some(Self { year, month, day })
    }

    /// The date in the manner of C's `strftime`, as far as a date without a time can say it.
    pub(super) fn format(self, format: &str) -> Result<String, Error> {
        let month = MONTHS[usize::from(self.month) - 1];
        let mut out = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            match chars.next() {
                Some('Y') => out += &self.year.to_string(),
                Some('y') => out += &format!("{:02}", self.year % 100),
                Some('m') => out += &format!("{:02}", self.month),
                Some('d') => out += &format!("{:02}", self.day),
                Some('B') => out += month,
                Some('b') => out += &month[..3],
                Some('F') => out += &format!("{}-{:02}-{:02}", self.year, self.month, self.day),
                Some('H' | 'M' | 'S') => out += "00",
                Some('%') => out.push('%'),
                seen => {
                    let seen = seen.map_or_else(String::new, String::from);
                    let text = format!("strftime_now does not know `%{seen}`: it has Y y m d B b F H M S");
                    return Err(Error::new(ErrorKind::InvalidOperation, text));
                }
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_that_templates_use() {
        let date = Date::new(2026, 7, 4).unwrap();
        assert_eq!(date.format("%d %b %Y").unwrap(), "04 Jul 2026");
        assert_eq!(date.format("%B %d, %Y: 100%%").unwrap(), "July 04, 2026: 100%");
        assert_eq!(date.format("%F %y-%m").unwrap(), "2026-07-04 26-07");
        assert!(date.format("%Q").unwrap_err().to_string().contains("does not know `%Q`"));
        assert!(date.format("%").is_err());
    }

    #[test]
    fn dates_that_cannot_be() {
        assert!(Date::new(2026, 13, 1).is_none() && Date::new(2026, 0, 1).is_none() && Date::new(2026, 1, 0).is_none());
    }
}
