//! Calls of tools in what the model says: `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, the form that Hermes
//! began and Qwen and SmolLM2 follow.
//!
//! Text may stand before and between calls. What looks like a call and is none, or one of a tool that nobody offers,
//! stays text. Arguments come out while they are being written.

use serde_json::Value;

pub(super) use causerie_inference::chat::{CALL_CLOSE as CLOSE, CALL_OPEN as OPEN};

/// Bytes within which a call's name has to come; what has none by then is taken at its end, as a whole.
const HEAD_BYTES: usize = 256;

/// A piece of what the model says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Text for people.
    Text(String),
    /// A call of this tool begins.
    Call(String),
    /// More of the arguments of the call that began last, in JSON.
    Arguments(String),
}

/// Finds calls in text that comes in pieces of any cut.
#[derive(Debug)]
pub(super) struct CallFinder {
    /// What may be called.
    names: Vec<String>,
    place: Place,
    /// Not yet told.
    held: String,
    called: bool,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// Outside of calls.
    Text,
    /// Behind the opening mark.
    Head,
    /// In what is no call as it should be, up to the closing mark.
    Odd,
    /// In the arguments: so many braces and brackets are open, maybe in a string, maybe behind a backslash.
    Arguments { depth: usize, string: bool, escaped: bool },
    /// Behind the arguments, up to the closing mark.
    Tail,
}

impl CallFinder {
    /// For tools of these names; without any all text passes.
    pub(super) fn new(names: Vec<String>) -> CallFinder {
        CallFinder { names, place: Place::Text, held: String::new(), called: false }
    }

    /// Whether anything was called.
    pub(super) fn called(&self) -> bool {
        self.called
    }

    /// Takes more text.
    pub(super) fn push(&mut self, text: &str, out: &mut Vec<Piece>) {
        if self.names.is_empty() {
            return tell(text, out);
        }
        self.held.push_str(text);
        // Every turn of the loop takes something out of `held`, or changes to a place that waits or takes.
        while self.advance(out) {}
    }

    /// The text has ended.
    pub(super) fn finish(&mut self, out: &mut Vec<Piece>) {
        match self.place {
            // White space behind a call is part of its form.
            Place::Text if self.called && self.held.trim().is_empty() => {}
            Place::Text => tell(&self.held, out),
            Place::Head | Place::Odd => {
                let body = std::mem::take(&mut self.held);
                self.take_whole(&body, "", out);
            }
            Place::Arguments { .. } | Place::Tail => {}
        }
        self.held.clear();
    }

    fn advance(&mut self, out: &mut Vec<Piece>) -> bool {
        match self.place {
            Place::Text => self.text(out),
            Place::Head => self.head(out),
            Place::Odd => self.odd(out),
            Place::Arguments { depth, string, escaped } => self.arguments(depth, string, escaped, out),
            Place::Tail => {
                let Some(at) = self.held.find(CLOSE) else { return false };
                self.held.drain(..at + CLOSE.len());
                self.place = Place::Text;
                true
            }
        }
    }

    fn text(&mut self, out: &mut Vec<Piece>) -> bool {
        if let Some(at) = self.held.find(OPEN) {
            tell(self.held[..at].trim_end(), out);
            self.held.drain(..at + OPEN.len());
            self.place = Place::Head;
            return true;
        }
        // White space and the beginning of a mark wait for what follows.
        let mark = (1..OPEN.len()).rev().find(|&n| self.held.ends_with(&OPEN[..n])).unwrap_or(0);
        let certain = self.held[..self.held.len() - mark].trim_end().len();
        tell(&self.held[..certain], out);
        self.held.drain(..certain);
        false
    }

    fn head(&mut self, out: &mut Vec<Piece>) -> bool {
        match head(&self.held) {
            Head::Whole { name, bytes } if self.names.contains(&name) => {
                self.held.drain(..bytes);
                self.called = true;
                out.push(Piece::Call(name));
                self.place = Place::Arguments { depth: 0, string: false, escaped: false };
                true
            }
            Head::Partial if self.held.len() < HEAD_BYTES => false,
            Head::Whole { .. } | Head::Partial | Head::None => {
                self.place = Place::Odd;
                true
            }
        }
    }

    fn odd(&mut self, out: &mut Vec<Piece>) -> bool {
        let Some(at) = self.held.find(CLOSE) else { return false };
        let rest = self.held.split_off(at + CLOSE.len());
        let body = std::mem::replace(&mut self.held, rest);
        self.take_whole(&body[..at], CLOSE, out);
        self.place = Place::Text;
        true
    }

    /// What stands between the marks: a call in another order or form, or no call.
    fn take_whole(&mut self, body: &str, close: &str, out: &mut Vec<Piece>) {
        let Some((name, arguments)) = whole(body).filter(|(name, _)| self.names.contains(name)) else {
            return tell(&format!("{OPEN}{body}{close}"), out);
        };
        self.called = true;
        out.extend([Piece::Call(name), Piece::Arguments(arguments)]);
    }

    fn arguments(&mut self, mut depth: usize, mut string: bool, mut escaped: bool, out: &mut Vec<Piece>) -> bool {
        let mut end = None;
        for (at, byte) in self.held.bytes().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if string => escaped = true,
                b'"' => string = !string,
                b'{' | b'[' if !string => depth += 1,
                b'}' | b']' if !string => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && !string {
                end = Some(at + 1);
                break;
            }
        }
        let taken: String = self.held.drain(..end.unwrap_or(self.held.len())).collect();
        self.place = if end.is_some() { Place::Tail } else { Place::Arguments { depth, string, escaped } };
        if !taken.is_empty() {
            out.push(Piece::Arguments(taken));
        }
        end.is_some()
    }
}

fn tell(text: &str, out: &mut Vec<Piece>) {
    if !text.is_empty() {
        out.push(Piece::Text(text.to_owned()));
    }
}

/// What stands before the arguments.
enum Head {
    /// All of it: `bytes` up to the first of the arguments, which is a brace.
    Whole { name: String, bytes: usize },
    /// More has to come.
    Partial,
    /// Something else.
    None,
}

/// Reads `{"name": "NAME", "arguments": {`.
fn head(text: &str) -> Head {
    let mut rest = text;
    for expected in ["{", "\"name\"", ":"] {
        match skip(rest, expected) {
            Ok(after) => rest = after,
            Err(head) => return head,
        }
    }
    rest = rest.trim_start();
    let Some(quoted) = rest.strip_prefix('"') else {
        return if rest.is_empty() { Head::Partial } else { Head::None };
    };
    // Names have neither quotes nor backslashes.
    let Some((name, mut rest)) = quoted.split_once('"') else { return Head::Partial };
    for expected in [",", "\"arguments\"", ":"] {
        match skip(rest, expected) {
            Ok(after) => rest = after,
            Err(head) => return head,
        }
    }
    rest = rest.trim_start();
    match rest.bytes().next() {
        None => Head::Partial,
        Some(b'{') => Head::Whole { name: name.to_owned(), bytes: text.len() - rest.len() },
        Some(_) => Head::None,
    }
}

fn skip<'a>(text: &'a str, expected: &str) -> Result<&'a str, Head> {
    let text = text.trim_start();
    match text.strip_prefix(expected) {
        Some(rest) => Ok(rest),
        None if expected.starts_with(text) => Err(Head::Partial),
        None => Err(Head::None),
    }
}

/// A call that is there as a whole, whatever the order of its fields; arguments may be JSON within a string.
fn whole(body: &str) -> Option<(String, String)> {
    let call: Value = serde_json::from_str(body.trim()).ok()?;
    let name = call.get("name")?.as_str()?.to_owned();
    let arguments = match call.get("arguments").or_else(|| call.get("parameters")) {
        None => "{}".to_owned(),
        Some(Value::String(json)) => json.clone(),
        Some(arguments) => arguments.to_string(),
    };
    Some((name, arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.to_owned())
    }

    fn call(name: &str) -> Piece {
        Piece::Call(name.to_owned())
    }

    fn arguments(json: &str) -> Piece {
        Piece::Arguments(json.to_owned())
    }

    /// With neighbours of one kind joined, since cuts are of no meaning.
    fn joined(pieces: Vec<Piece>) -> Vec<Piece> {
        let mut joined: Vec<Piece> = Vec::new();
        for piece in pieces {
            match (joined.last_mut(), piece) {
                (Some(Piece::Text(before)), Piece::Text(more))
                | (Some(Piece::Arguments(before)), Piece::Arguments(more)) => before.push_str(&more),
                (_, piece) => joined.push(piece),
            }
        }
        joined
    }

    #[track_caller]
    fn check(said: &str, expected: &[Piece]) {
        let characters: Vec<char> = said.chars().collect();
        for size in 1..=characters.len().max(1) {
            let mut finder = CallFinder::new(vec!["add".to_owned(), "look-up".to_owned()]);
            let mut pieces = Vec::new();
            for piece in characters.chunks(size) {
                finder.push(&piece.iter().collect::<String>(), &mut pieces);
            }
            finder.finish(&mut pieces);
            assert_eq!(joined(pieces), expected, "in pieces of {size}");
            assert_eq!(finder.called(), expected.iter().any(|piece| matches!(piece, Piece::Call(_))));
        }
    }

    #[test]
    fn one_call() {
        let form = "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1, \"b\": [2, {\"c\": \"}\\\"]\"}]}}\n</tool_call>";
        check(form, &[call("add"), arguments(r#"{"a": 1, "b": [2, {"c": "}\"]"}]}"#)]);
        check("<tool_call>{\"name\":\"add\",\"arguments\":{}}</tool_call>", &[call("add"), arguments("{}")]);
    }

    #[test]
    fn text_before_and_further_calls() {
        let said = "Let me see. Ü\n\n<tool_call>{\"name\": \"add\", \"arguments\": {}}</tool_call>\n\
                    <tool_call>\n{\"name\": \"look-up\", \"arguments\": {\"ü\": \"ß\"}}\n</tool_call>\n";
        let calls = [text("Let me see. Ü"), call("add"), arguments("{}"), call("look-up"), arguments(r#"{"ü": "ß"}"#)];
        check(said, &calls);
        check(&format!("{said} Done."), &[&calls[..], &[text("\n Done.")]].concat());
    }

    #[test]
    fn other_orders_and_forms_are_calls_too() {
        check(
            r#"<tool_call>{"arguments": {"a": 1}, "name": "add"}</tool_call>"#,
            &[call("add"), arguments(r#"{"a":1}"#)],
        );
        check(
            r#"<tool_call>{"name": "add", "arguments": "{\"a\": 1}"}</tool_call>"#,
            &[call("add"), arguments(r#"{"a": 1}"#)],
        );
        check(r#"<tool_call>{"name": "add", "parameters": {}}</tool_call>"#, &[call("add"), arguments("{}")]);
        // Without its end, as models sometimes write it.
        check(r#"<tool_call>{"arguments": {}, "name": "add"}"#, &[call("add"), arguments("{}")]);
    }

    #[test]
    fn what_is_no_call_stays_text() {
        for said in [
            "",
            "a < b, <tool>, <tool_cal",
            "  indented\n and ending in blanks \n",
            r#"<tool_call>{"name": "unknown", "arguments": {}}</tool_call>"#,
            "<tool_call>nothing of the kind</tool_call> and more",
            "<tool_call>",
            r#"<tool_call>{"name": "add"#,
        ] {
            check(said, &[text(said)][..usize::from(!said.is_empty())]);
        }
        let long = format!(r#"<tool_call>{{"name": "{}", "arguments": {{}}}}</tool_call>"#, "x".repeat(2 * HEAD_BYTES));
        check(&long, &[text(&long)]);
    }

    #[test]
    fn a_call_that_is_cut_off_has_what_came_of_its_arguments() {
        check(r#"<tool_call>{"name": "add", "arguments": {"a": "x"#, &[call("add"), arguments(r#"{"a": "x"#)]);
    }

    #[test]
    fn without_tools_all_is_text() {
        let mut pieces = Vec::new();
        let mut finder = CallFinder::new(Vec::new());
        finder.push("<tool_call>{} ", &mut pieces);
        finder.finish(&mut pieces);
        assert_eq!(pieces, [text("<tool_call>{} ")]);
    }
}
