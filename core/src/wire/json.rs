//! JSON (RFC 8259) read without a tree: the fields of one object at a time, values checked to their end.
//!
//! Written by hand for four reasons: errors that say where and what, a bound on nesting, no allocation for text without
//! escapes, and no dependence on features that another crate of the build may switch on in a JSON library.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use super::scan::plain_run;
use crate::limits;

/// What is wrong with a text that should be one JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    /// In bytes from the start.
    pub(crate) offset: usize,
    pub(crate) problem: Problem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// Something other than what is named here.
    Expected(&'static str),
    /// Deeper than [`limits::NESTING`].
    TooDeep,
    /// More fields in one object than [`limits::FIELDS`].
    TooManyFields,
}

/// A value of a field. What is nested is its text, which [`fields`] or [`items`] opens.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    /// As it was written.
    Number(&'a str),
    String(Cow<'a, str>),
    Array(&'a str),
    Object(&'a str),
}

impl Value<'_> {
    /// What it is, for people.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        }
    }
}

/// A field of an object: name and value.
pub(crate) type Field<'a> = (Cow<'a, str>, Value<'a>);

/// The fields of the object that `text` is, in order, with repetitions. Everything inside is checked too.
pub(crate) fn fields<'a>(text: &'a str) -> Result<Vec<Field<'a>>, SyntaxError> {
    let mut reader = Reader { text, at: 0 };
    let mut fields = Vec::new();
    reader.space();
    reader.object(1, &mut |name, value| fields.push((name, value)))?;
    reader.end()?;
    Ok(fields)
}

/// The items of the array that `text` is.
pub(crate) fn items<'a>(text: &'a str) -> Result<Vec<Value<'a>>, SyntaxError> {
    let mut reader = Reader { text, at: 0 };
    let mut items = Vec::new();
    reader.space();
    reader.array(1, &mut |value| items.push(value))?;
    reader.end()?;
    Ok(items)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn fail<T>(&self, problem: Problem) -> Result<T, SyntaxError> {
        Err(SyntaxError { offset: self.at, problem })
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8, name: &'static str) -> Result<(), SyntaxError> {
        if self.peek() != Some(byte) {
            return self.fail(Problem::Expected(name));
        }
        self.at += 1;
        Ok(())
    }

    fn end(&mut self) -> Result<(), SyntaxError> {
        self.space();
        if self.at == self.text.len() { Ok(()) } else { self.fail(Problem::Expected("the end of the text")) }
    }

    /// `depth` counts the levels open with this object. Recursion is bounded by [`limits::NESTING`].
    fn object(&mut self, depth: usize, each: &mut dyn FnMut(Cow<'a, str>, Value<'a>)) -> Result<(), SyntaxError> {
        if depth > limits::NESTING {
            return self.fail(Problem::TooDeep);
        }
        self.take(b'{', "an object")?;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        for _ in 0..limits::FIELDS {
            if self.peek() != Some(b'"') {
                return self.fail(Problem::Expected("a field's name in quotes"));
            }
            let name = self.string()?;
            self.space();
            self.take(b':', "a colon")?;
            self.space();
            let value = self.value(depth)?;
            each(name, value);
            self.space();
            if self.peek() == Some(b'}') {
                self.at += 1;
                return Ok(());
            }
            self.take(b',', "a comma or the object's end")?;
            self.space();
        }
        self.fail(Problem::TooManyFields)
    }

    fn array(&mut self, depth: usize, each: &mut dyn FnMut(Value<'a>)) -> Result<(), SyntaxError> {
        if depth > limits::NESTING {
            return self.fail(Problem::TooDeep);
        }
        self.take(b'[', "an array")?;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            let value = self.value(depth)?;
            each(value);
            self.space();
            if self.peek() == Some(b']') {
                self.at += 1;
                return Ok(());
            }
            self.take(b',', "a comma or the array's end")?;
            self.space();
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, SyntaxError> {
        let start = self.at;
        match self.peek() {
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'{') => {
                self.object(depth + 1, &mut |_, _| ())?;
                Ok(Value::Object(&self.text[start..self.at]))
            }
            Some(b'[') => {
                self.array(depth + 1, &mut |_| ())?;
                Ok(Value::Array(&self.text[start..self.at]))
            }
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
                Ok(Value::Number(&self.text[start..self.at]))
            }
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Result<Value<'a>, SyntaxError> {
        let rest = &self.text.as_bytes()[self.at..];
        for (word, value) in [("true", Value::Bool(true)), ("false", Value::Bool(false)), ("null", Value::Null)] {
            if rest.starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        self.fail(Problem::Expected("a value"))
    }

    fn number(&mut self) -> Result<(), SyntaxError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), SyntaxError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { self.fail(Problem::Expected("a digit")) } else { Ok(()) }
    }

    /// Called with the opening quote next. Borrows what has no escapes.
    fn string(&mut self) -> Result<Cow<'a, str>, SyntaxError> {
        self.at += 1;
        let mut owned: Option<String> = None;
        let mut run = self.at;
        loop {
            self.at += plain_run(&self.text.as_bytes()[self.at..]);
            match self.peek() {
                None => return self.fail(Problem::Expected("the string's end")),
                Some(b'"') => {
                    let rest = &self.text[run..self.at];
                    self.at += 1;
                    return Ok(match owned {
                        None => Cow::Borrowed(rest),
                        Some(mut text) => {
                            text.push_str(rest);
                            Cow::Owned(text)
                        }
                    });
                }
                Some(b'\\') => {
                    let text = owned.get_or_insert_default();
                    text.push_str(&self.text[run..self.at]);
                    self.at += 1;
                    let character = self.escape()?;
                    owned.get_or_insert_default().push(character);
                    run = self.at;
                }
                Some(_) => return self.fail(Problem::Expected("no control character in a string")),
            }
        }
    }

    /// Called after the backslash. A lone surrogate is no character and becomes U+FFFD, as in most readers.
    fn escape(&mut self) -> Result<char, SyntaxError> {
        let Some(byte) = self.peek() else { return self.fail(Problem::Expected("an escape")) };
        let character = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode();
            }
            _ => return self.fail(Problem::Expected("an escape")),
        };
        self.at += 1;
        Ok(character)
    }

    fn unicode(&mut self) -> Result<char, SyntaxError> {
        let first = self.hex4()?;
        if let 0xd800..0xdc00 = first
            && self.text.as_bytes()[self.at..].starts_with(b"\\u")
        {
            let back = self.at;
            self.at += 2;
            let second = self.hex4()?;
            if let 0xdc00..0xe000 = second {
                let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex4(&mut self) -> Result<u32, SyntaxError> {
        let mut code = 0;
        for _ in 0..4 {
            let Some(digit) = self.peek().and_then(|b| char::from(b).to_digit(16)) else {
                return self.fail(Problem::Expected("four hexadecimal digits"));
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;
    use proptest::prelude::*;

    /// The whole of a value, in the form of the oracle.
    fn tree(value: &Value<'_>) -> serde_json::Value {
        match value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(b) => (*b).into(),
            Value::Number(text) => serde_json::from_str(text).expect("a number"),
            Value::String(text) => text.to_string().into(),
            Value::Array(text) => items(text).expect("checked before").iter().map(tree).collect(),
            Value::Object(text) => object(&fields(text).expect("checked before")),
        }
    }

    fn object(fields: &[Field<'_>]) -> serde_json::Value {
        fields.iter().map(|(name, value)| (name.to_string(), tree(value))).collect::<serde_json::Map<_, _>>().into()
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f32>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_the_oracle_writes_is_read_the_same(value in json(), pretty: bool) {
            let value = serde_json::json!({ "value": value });
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let oracle: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(object(&fields(&text).unwrap()), oracle);
        }

        #[test]
        fn a_changed_byte_is_judged_as_by_the_oracle(value in json(), at: prop::sample::Index, byte in 0x20u8..0x7f) {
            let mut bytes = serde_json::to_vec(&serde_json::json!({ "a": value })).unwrap();
            let at = at.index(bytes.len());
            if bytes[at].is_ascii() {
                bytes[at] = byte;
            }
            let text = core::str::from_utf8(&bytes).unwrap();
            let oracle = serde_json::from_str::<serde_json::Value>(text);
            match (fields(text), oracle) {
                (Ok(fields), Ok(tree)) => prop_assert_eq!(object(&fields), tree),
                (Err(_), Err(_)) => {}
                // The oracle refuses numbers beyond f64 and lone surrogates; here the first are the field's matter,
                // the second become U+FFFD.
                (Ok(_), Err(error)) => prop_assert!(
                    ["number out of range", "surrogate", "hex escape"].iter().any(|e| error.to_string().contains(e)), "{error}: {text}"),
                (Err(error), Ok(_)) => prop_assert!(false, "{error:?}: {text}"),
            }
        }

        #[test]
        fn any_text_is_read_without_panic(text: String) {
            let _ = fields(&text);
            let _ = fields(&format!("{{\"a\":{text}"));
            let _ = items(&format!("[\"{text}"));
        }
    }

    #[test]
    fn errors_say_where_and_what() {
        let check =
            |text: &str, offset, problem| assert_eq!(fields(text), Err(SyntaxError { offset, problem }), "{text}");
        check("", 0, Problem::Expected("an object"));
        check("[1]", 0, Problem::Expected("an object"));
        check("{\"a\":1", 6, Problem::Expected("a comma or the object's end"));
        check("{\"a\":01}", 6, Problem::Expected("a comma or the object's end"));
        check("{\"a\":-}", 6, Problem::Expected("a digit"));
        check("{\"a\":nul}", 5, Problem::Expected("a value"));
        check("{\"a\":\"\\x\"}", 7, Problem::Expected("an escape"));
        check("{\"a\":\"\n\"}", 6, Problem::Expected("no control character in a string"));
        check("{\"a\":1} x", 8, Problem::Expected("the end of the text"));
        check("{a:1}", 1, Problem::Expected("a field's name in quotes"));
    }

    #[test]
    fn nesting_and_fields_at_their_limits_and_beyond() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert!(fields(&nested(limits::NESTING)).is_ok());
        assert_eq!(fields(&nested(limits::NESTING + 1)).map_err(|e| e.problem), Err(Problem::TooDeep));
        assert_eq!(fields(&nested(100_000)).map_err(|e| e.problem), Err(Problem::TooDeep));
        let wide = |count: usize| format!("{{{}}}", alloc::vec!["\"a\":0"; count].join(","));
        assert_eq!(fields(&wide(limits::FIELDS)).map(|f| f.len()), Ok(limits::FIELDS));
        assert_eq!(fields(&wide(limits::FIELDS + 1)).map_err(|e| e.problem), Err(Problem::TooManyFields));
    }

    #[test]
    fn surrogates() {
        let check = |text: &str, expected: &str| {
            let frame = format!("{{\"a\":\"{text}\"}}");
            assert_eq!(fields(&frame).map(|f| f[0].1.clone()), Ok(Value::String(expected.into())));
        };
        check("\\ud83d\\ude00", "😀");
        check("\\ud83dx", "\u{fffd}x");
        check("\\ude00\\u0041", "\u{fffd}A");
        check("\\ud83d\\u0041", "\u{fffd}A");
    }
}
