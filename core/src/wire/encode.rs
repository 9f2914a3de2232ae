//! Frames written by hand into one `String` that the caller uses again.

use alloc::string::String;
use core::fmt::{self, Write as _};

use super::kind::ServerKind;
use super::scan::plain_run;
use crate::id::Uuid;
use crate::time::UnixMicros;

/// Writes one flat JSON object, its `type` first.
pub(crate) struct Frame<'a> {
    out: &'a mut String,
}

impl<'a> Frame<'a> {
    /// Begins in an empty `out`.
    pub(crate) fn new(out: &'a mut String, kind: ServerKind) -> Frame<'a> {
        out.clear();
        // No type's text needs escapes.
        out.push_str("{\"type\":\"");
        out.push_str(kind.as_str());
        out.push('"');
        Frame { out }
    }

    /// Goes on after a beginning that was written once, for many frames, and that replaces what `out` holds.
    #[inline]
    pub(crate) fn after(out: &'a mut String, beginning: &str) -> Frame<'a> {
        out.clear();
        out.push_str(beginning);
        Frame { out }
    }

    /// Begins after what `out` holds, with one first field.
    pub(crate) fn nested(out: &'a mut String, name: &str, value: &str) -> Frame<'a> {
        out.push_str("{\"");
        out.push_str(name);
        out.push_str("\":");
        push_string(out, value);
        Frame { out }
    }

    /// As [`nested`](Frame::nested), with a number first.
    pub(crate) fn first_number(out: &'a mut String, name: &str, value: u64) -> Frame<'a> {
        push_display(out, format_args!("{{\"{name}\":{value}"));
        Frame { out }
    }

    /// As [`nested`](Frame::nested), with a decimal first.
    pub(crate) fn first_decimal(out: &'a mut String, name: &str, value: f32) -> Frame<'a> {
        push_display(out, format_args!("{{\"{name}\":{:.2}", if value.is_finite() { value } else { 0.0 }));
        Frame { out }
    }

    /// Begins a field's value: everything up to the colon. Inlined, since names are literals: then each is a few moves.
    #[inline]
    fn name(&mut self, name: &str) {
        self.out.push_str(",\"");
        self.out.push_str(name);
        self.out.push_str("\":");
    }

    #[inline]
    pub(crate) fn string(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        push_string(self.out, value);
        self
    }

    /// A value whose text needs no escapes, as codes.
    #[inline]
    pub(crate) fn plain(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        self.out.push('"');
        self.out.push_str(value);
        self.out.push('"');
        self
    }

    pub(crate) fn id(self, name: &str, value: Uuid) -> Self {
        self.ascii(name, &value.text())
    }

    fn ascii(self, name: &str, value: &[u8]) -> Self {
        self.plain(name, core::str::from_utf8(value).expect("digits and punctuation are ASCII"))
    }

    #[inline]
    pub(crate) fn number(mut self, name: &str, value: u64) -> Self {
        self.name(name);
        push_number(self.out, value);
        self
    }

    /// A number with two digits after the point; `null` when it is none.
    pub(crate) fn decimal(mut self, name: &str, value: f32) -> Self {
        self.name(name);
        if value.is_finite() {
            push_display(self.out, format_args!("{value:.2}"));
        } else {
            self.out.push_str("null");
        }
        self
    }

    pub(crate) fn bool(mut self, name: &str, value: bool) -> Self {
        self.name(name);
        self.out.push_str(if value { "true" } else { "false" });
        self
    }

    /// JSON text as it is.
    pub(crate) fn raw(mut self, name: &str, json: &str) -> Self {
        self.name(name);
        self.out.push_str(json);
        self
    }

    pub(crate) fn time(self, name: &str, value: UnixMicros) -> Self {
        self.ascii(name, &Rfc3339(value).text())
    }

    pub(crate) fn maybe<T>(self, value: Option<T>, with: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            Some(value) => with(self, value),
            None => self,
        }
    }

    /// A nested object, written by `with`, which begins with a field of its own.
    pub(crate) fn object(mut self, name: &str, with: impl FnOnce(&mut String)) -> Self {
        self.name(name);
        with(self.out);
        self
    }

    /// A nested array of what `each` writes of the items.
    pub(crate) fn array<T>(
        mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut each: impl FnMut(&mut String, T),
    ) -> Self {
        self.name(name);
        self.out.push('[');
        for (i, item) in items.into_iter().enumerate() {
            if i > 0 {
                self.out.push(',');
            }
            each(self.out, item);
        }
        self.out.push(']');
        self
    }

    pub(crate) fn end(self) {
        self.out.push('}');
    }
}

fn push_display(out: &mut String, value: impl fmt::Display) {
    write!(out, "{value}").expect("writing to a String does not fail");
}

/// A JSON string (RFC 8259, section 7): quotes, backslashes and control characters escaped, the rest as it is.
pub(crate) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    loop {
        let (plain, special) = rest.split_at(plain_run(rest.as_bytes()));
        out.push_str(plain);
        let Some(&byte) = special.as_bytes().first() else { break };
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            _ => push_display(out, format_args!("\\u{byte:04x}")),
        }
        rest = &special[1..];
    }
    out.push('"');
}

fn push_number(out: &mut String, value: u64) {
    const DIGITS: usize = u64::MAX.ilog10() as usize + 1;
    let mut text = [0; DIGITS];
    let digits = value.checked_ilog10().unwrap_or(0) as usize + 1;
    put_digits(&mut text[..digits], value);
    out.push_str(core::str::from_utf8(&text[..digits]).expect("digits are ASCII"));
}

/// 9999-12-31T23:59:59.999999Z
const LAST_MICROS: u64 = 253_402_300_799_999_999;

/// A time as RFC 3339 in UTC with microseconds: `2026-02-28T23:59:59.000001Z`.
pub(crate) struct Rfc3339(pub(crate) UnixMicros);

impl Rfc3339 {
    fn text(&self) -> [u8; 27] {
        // Years have four digits. What is beyond them is beyond every clock, and shown as their last moment.
        let all = self.0.0.min(LAST_MICROS);
        let (seconds, micros) = (all / 1_000_000, all % 1_000_000);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        // Days to a date of the proleptic Gregorian calendar: "chrono-Compatible Low-Level Date Algorithms"
        // (H. Hinnant), `civil_from_days`, for days since 1970 only. Years begin in March, eras are 400 of them.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        let fields = [
            (0..4, year),
            (5..7, month),
            (8..10, day),
            (11..13, second / 3_600),
            (14..16, second / 60 % 60),
            (17..19, second % 60),
            (20..26, micros),
        ];
        for (place, value) in fields {
            put_digits(&mut text[place], value);
        }
        text
    }
}

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(&self.text()).expect("digits and punctuation are ASCII"))
    }
}

/// The last digits of a number, as many as there is room for.
fn put_digits(room: &mut [u8], mut value: u64) {
    for digit in room.iter_mut().rev() {
        // A digit is below ten.
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    #[test]
    fn times() {
        let check = |micros: u64, text: &str| assert_eq!(Rfc3339(UnixMicros(micros)).to_string(), text);
        check(0, "1970-01-01T00:00:00.000000Z");
        check(951_782_400_000_000, "2000-02-29T00:00:00.000000Z");
        check(1_709_251_199_999_999, "2024-02-29T23:59:59.999999Z");
        check(4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z");
        check(1_795_391_999_000_001, "2026-11-22T23:59:59.000001Z");
        check(253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z");
        check(253_402_300_800_000_000, "9999-12-31T23:59:59.999999Z");
        check(u64::MAX, "9999-12-31T23:59:59.999999Z");
    }

    proptest! {
        #[test]
        fn strings_are_read_back_by_the_oracle(text: String) {
            let mut out = String::new();
            push_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn every_kind_of_field() {
        let mut out = "left over".to_string();
        Frame::new(&mut out, ServerKind::Pong)
            .string("s", "a\"\u{1}")
            .number("n", u64::MAX)
            .decimal("d", 1.0 / 3.0)
            .decimal("none", f32::NAN)
            .bool("b", true)
            .maybe(None::<u64>, |f, n| f.number("absent", n))
            .array("a", [1, 2], |out, n| Frame::nested(out, "k", "v").number("n", n).end())
            .end();
        let expected = "{\"type\":\"pong\",\"s\":\"a\\\"\\u0001\",\"n\":18446744073709551615,\"d\":0.33,\"none\":null,\"b\":true,\
                        \"a\":[{\"k\":\"v\",\"n\":1},{\"k\":\"v\",\"n\":2}]}";
        assert_eq!(out, expected);
    }
}
