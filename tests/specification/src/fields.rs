//! A schema's fields as a table for people.

use std::fmt::Write as _;

use causerie_core::limits;
use serde_json::Value;

/// A table of an object's fields: those that must be there first.
pub(crate) fn fields(definition: &Value) -> String {
    let properties = definition["properties"].as_object().expect("an object has properties");
    let required: Vec<&str> =
        definition["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut names: Vec<&String> = properties.keys().filter(|name| *name != "type").collect();
    // `id` and `ref` are the same everywhere.
    names.retain(|name| !["id", "ref"].contains(&name.as_str()) || !is_frame_id(&properties[*name]));
    names.sort_by_key(|name| (!required.contains(&name.as_str()), name.as_str()));
    if names.is_empty() {
        return "No fields of its own.\n".into();
    }
    let mut text = String::from("| field | type | | meaning |\n|---|---|---|---|\n");
    for name in names {
        let property = &properties[name];
        let nullable = property["type"].as_array().is_some_and(|kinds| kinds.contains(&"null".into()));
        let must = match (required.contains(&name.as_str()), nullable) {
            (true, false) => "required",
            (true, true) => "required, may be null",
            (false, _) => "",
        };
        let mut meaning = property["description"].as_str().unwrap_or_default().to_owned();
        if let Some(default) = property["default"].as_u64() {
            let _ = write!(meaning, " {default} where it is left out.");
        }
        let _ = writeln!(text, "| `{name}` | {} | {must} | {meaning} |", type_of(property));
    }
    text
}

fn is_frame_id(property: &Value) -> bool {
    property.to_string().contains("#/$defs/FrameId")
}

/// A field's type and bounds, for people.
fn type_of(property: &Value) -> String {
    if let Some(target) = property["$ref"].as_str() {
        let name = target.rsplit('/').next().expect("a name");
        return match name {
            "Uuid" => "UUID".into(),
            "message" => "`message`".into(),
            "FrameId" => "string or number".into(),
            object => format!("[{object}](#{})", object.to_lowercase()),
        };
    }
    if let Some(choices) = property["oneOf"].as_array().or(property["anyOf"].as_array()) {
        let consts: Vec<String> = choices.iter().filter_map(|c| Some(format!("`{}`", c["const"].as_str()?))).collect();
        if !consts.is_empty() {
            return consts.join(", ");
        }
        if property["type"] == "string" {
            return "string: a code".into();
        }
        let kinds = choices.iter().filter(|c| c["type"] != "null").map(type_of).collect::<Vec<_>>();
        return kinds.join(", or ");
    }
    let kind = match &property["type"] {
        Value::Array(kinds) => kinds.iter().find(|k| *k != "null").and_then(Value::as_str).unwrap_or_default(),
        kind => kind.as_str().unwrap_or_default(),
    };
    match kind {
        "array" => {
            let most = property["maxItems"].as_u64().map_or(String::new(), |most| format!("at most {most} "));
            format!("array of {most}{}", type_of(&property["items"]))
        }
        "string" if property["format"] == "date-time" => "time".into(),
        "string" => match (property["minLength"].as_u64(), property["x-max-bytes"].as_u64()) {
            (None | Some(0), None) => "string".into(),
            (None | Some(0), Some(most)) => format!("string, at most {most} bytes"),
            (Some(least), most) => format!("string, {least} to {} bytes", most.expect("both bounds")),
        },
        "integer" | "number" => {
            let bounds = match (&property["minimum"], &property["maximum"]) {
                (Value::Null, _) => String::new(),
                (least, Value::Null) => format!(" from {least}"),
                (least, most) => format!(", {least} to {most}"),
            };
            format!("{kind}{}", bounds.replace(&limits::MAX_INTEGER.to_string(), "2<sup>53</sup>−1"))
        }
        other => other.into(),
    }
}
