//! Marks that keep what people and tools write from being control tokens.

use serde_json::Value as Json;

use crate::tokenizer::{Part, Special, Tokenizer};

/// Marks a place in a message where no control token begins. A noncharacter, which Unicode keeps for such internal
/// use (chapter 23.7) and which text from outside must not bring in: there it becomes U+FFFD.
const MARK: char = '\u{fdd0}';

/// What the form of a tool and of its JSON schema has for words of its own. They stay as they are: templates look for
/// them. No control token consists of one.
const WORDS: [&str; 25] = [
    "type",
    "function",
    "id",
    "name",
    "description",
    "parameters",
    "arguments",
    "properties",
    "required",
    "enum",
    "items",
    "default",
    "anyOf",
    "oneOf",
    "allOf",
    "$ref",
    "$defs",
    "additionalProperties",
    "string",
    "number",
    "integer",
    "boolean",
    "array",
    "object",
    "null",
];

/// A text in which no control token can be found, nor be completed by what the template writes around it: a mark
/// stands after the first character of each, and before and after the whole (inside the whitespace at its ends,
/// which templates often trim). An empty text stays empty, as templates look whether there is any.
pub(super) fn marked(tokenizer: &Tokenizer, content: &str) -> String {
    if content.is_empty() {
        return String::new();
    }
    let content = content.replace(MARK, "\u{fffd}");
    let core = content.trim();
    let (start, end) = (content.len() - content.trim_start().len(), content.trim_end().len());
    let mut marked = String::with_capacity(content.len() + 4 * MARK.len_utf8());
    marked.push_str(&content[..start]);
    marked.push(MARK);
    let mut from = 0;
    while let Some(found) = tokenizer.find_control(core, from) {
        let first = core[found.start..].chars().next().map_or(1, char::len_utf8);
        marked.push_str(&core[from..found.start + first]);
        marked.push(MARK);
        from = found.start + first;
    }
    marked.push_str(&core[from..]);
    marked.push(MARK);
    marked.push_str(&content[end..]);
    marked
}

/// JSON with marks in every text and every key. The depth is bounded by what the parser let through.
pub(super) fn marked_json(tokenizer: &Tokenizer, json: &Json) -> Json {
    let mark = |text: &str| if WORDS.contains(&text) { text.to_owned() } else { marked(tokenizer, text) };
    match json {
        Json::String(text) => Json::String(mark(text)),
        Json::Array(items) => items.iter().map(|item| marked_json(tokenizer, item)).collect(),
        Json::Object(fields) => {
            Json::Object(fields.iter().map(|(key, field)| (mark(key), marked_json(tokenizer, field))).collect())
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => json.clone(),
    }
}

/// The tokens of a rendered conversation: control tokens where the template wrote them, and text without marks.
pub(super) fn encode(tokenizer: &Tokenizer, rendered: &str) -> Vec<u32> {
    let mut tokens = Vec::new();
    tokenizer.split_special(rendered, |part| match part {
        Part::Token(id) => tokens.push(id),
        Part::Text(text) => {
            tokenizer.encode(&text.replace(MARK, ""), Special::Plain, false, &mut tokens);
        }
    });
    // Most templates write the beginning token themselves; where the file wants one, there is one and not two.
    if let Some(begin) = tokenizer.begin().filter(|_| tokenizer.adds_begin())
        && tokens.first() != Some(&begin)
    {
        tokens.insert(0, begin);
    }
    tokens
}
