//! `tojson` as chat templates expect it: Python's `json.dumps(value, ensure_ascii=False)`, which puts a space after
//! `,` and `:`, leaves `<` and `>` as they are, and keeps the order of the keys.

use serde_json::Value;

/// Writes `value`; with an indent, each item on a line of its own.
pub(super) fn to_python_json(value: &Value, indent: Option<usize>) -> String {
    let mut out = String::new();
    write(value, indent, 0, &mut out);
    out
}

fn write(value: &Value, indent: Option<usize>, depth: usize, out: &mut String) {
    match value {
        Value::Array(items) => {
            let items = items.iter().map(|item| (None, item));
            write_items(items, ['[', ']'], indent, depth, out);
        }
        Value::Object(items) => {
            let items = items.iter().map(|(key, item)| (Some(key), item));
            write_items(items, ['{', '}'], indent, depth, out);
        }
        simple => out.push_str(&simple.to_string()),
    }
}

fn write_items<'v>(
    items: impl ExactSizeIterator<Item = (Option<&'v String>, &'v Value)>,
    brackets: [char; 2],
    indent: Option<usize>,
    depth: usize,
    out: &mut String,
) {
    let empty = items.len() == 0;
    let line = |depth: usize, out: &mut String| {
        if let Some(width) = indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', width * depth));
        }
    };
    out.push(brackets[0]);
    for (place, (key, item)) in items.enumerate() {
        if place > 0 {
            out.push_str(if indent.is_some() { "," } else { ", " });
        }
        line(depth + 1, out);
        if let Some(key) = key {
            out.push_str(&Value::from(key.as_str()).to_string());
            out.push_str(": ");
        }
        write(item, indent, depth + 1, out);
    }
    if !empty {
        line(depth, out);
    }
    out.push(brackets[1]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_like_python() {
        let value: Value = serde_json::from_str(r#"{"a": [1, 2.5, null, "é <b> \"\n"], "b": {}, "c": []}"#).unwrap();
        let flat = r#"{"a": [1, 2.5, null, "é <b> \"\n"], "b": {}, "c": []}"#;
        assert_eq!(to_python_json(&value, None), flat);
        let value: Value = serde_json::from_str(r#"{"a": [1, {"x": true}], "b": {}}"#).unwrap();
        let tall =
            "{\n    \"a\": [\n        1,\n        {\n            \"x\": true\n        }\n    ],\n    \"b\": {}\n}";
        assert_eq!(to_python_json(&value, Some(4)), tall);
    }
}
