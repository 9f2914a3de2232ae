//! What completions and embeddings take: a text or several, written as strings or as tokens.

use serde_json::Value;

use super::error::ApiError;
use super::fields::{Fields, wrong_type};

const FORMS: &str = "a string, an array of strings, an array of tokens or an array of such";

/// A text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// As people write it.
    Text(String),
    /// As the model reads it.
    Tokens(Vec<u32>),
}

/// Reads `"text"`, `["text", …]`, `[1, 2]` or `[[1, 2], …]`, of `most` texts at most.
pub(super) fn read(fields: &Fields<'_>, name: &str, most: usize) -> Result<Vec<Input>, ApiError> {
    let value = fields.require(name, fields.get(name))?;
    let wrong = || wrong_type(fields.param(name), FORMS, value);
    let inputs = match value {
        Value::String(text) => vec![Input::Text(text.clone())],
        Value::Array(values) if values.first().is_some_and(Value::is_number) => vec![tokens(values).ok_or_else(wrong)?],
        Value::Array(values) => {
            let each = |value: &Value| match value {
                Value::String(text) => Some(Input::Text(text.clone())),
                Value::Array(values) => tokens(values),
                _ => None,
            };
            values.iter().map(each).collect::<Option<_>>().ok_or_else(wrong)?
        }
        _ => return Err(wrong()),
    };
    let count = inputs.len();
    if (1..=most).contains(&count) {
        return Ok(inputs);
    }
    let message = format!("{name:?} has {count} texts, it must have 1 to {most}");
    Err(ApiError::invalid(fields.param(name), message))
}

fn tokens(values: &[Value]) -> Option<Input> {
    let token = |value: &Value| value.as_u64().and_then(|token| u32::try_from(token).ok());
    values.iter().map(token).collect::<Option<_>>().map(Input::Tokens)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(value: &Value, expected: &[Input]) {
        let body = json!({ "input": value });
        let read = read(&Fields::of_request(&body).unwrap(), "input", 2);
        assert_eq!(read.unwrap_or_default(), expected, "{value}");
    }

    #[test]
    fn four_forms_and_nothing_else() {
        let text = |text: &str| Input::Text(text.to_owned());
        check(&json!("a"), &[text("a")]);
        check(&json!(["a", "b"]), &[text("a"), text("b")]);
        check(&json!([1, 2]), &[Input::Tokens(vec![1, 2])]);
        check(&json!([[1], [2, 3]]), &[Input::Tokens(vec![1]), Input::Tokens(vec![2, 3])]);
        for wrong in [json!(1), json!({}), json!([1, "a"]), json!([-1]), json!([1.5]), json!([[["a"]]]), json!([true])]
        {
            check(&wrong, &[]);
        }
        // None, and one more than there may be.
        check(&json!([]), &[]);
        check(&json!(["a", "b", "c"]), &[]);
    }
}
