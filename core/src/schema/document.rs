//! The schemas of all frames as documents (JSON Schema 2020-12).

use alloc::string::String;
use alloc::vec::Vec;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::{ClientFrame, ServerFrame};

/// What clients send: one schema for any frame, and one for each under `$defs` by its `type`.
///
/// Lengths are in characters there, and the server's limits in bytes: those stand beside as `x-max-bytes`. Fields that
/// the schema does not name are allowed, and passed over.
pub fn client_schema() -> Schema {
    let mut schema = root::<ClientFrame>(SchemaSettings::draft2020_12(), "A frame from a client to a Causerie server");
    visit(&mut schema, &without_rust);
    schema
}

/// What the server sends: one schema for any frame, and one for each under `$defs` by its `type`.
///
/// Fields that the schema does not name may come, and clients must pass them over.
pub fn server_schema() -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = root::<ServerFrame>(settings, "A frame from a Causerie server to a client");
    visit(&mut schema, &without_rust);
    visit(&mut schema, &never_null);
    schema
}

fn root<T: JsonSchema>(settings: SchemaSettings, title: &str) -> Schema {
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.insert("title".into(), title.into());
    schema
}

/// Adds a frame's `type` to its schema.
pub(super) fn tag(schema: &mut Schema, kind: &str) {
    let object = schema.ensure_object();
    if let Some(properties) = object.entry("properties").or_insert_with(|| json!({})).as_object_mut() {
        properties.insert("type".into(), json!({ "const": kind }));
    }
    if let Some(required) = object.entry("required").or_insert_with(|| json!([])).as_array_mut() {
        required.insert(0, "type".into());
    }
}

/// Does something with every object of a schema, the inner ones first.
fn visit(schema: &mut Schema, each: &impl Fn(&mut Map<String, Value>)) {
    let object = schema.ensure_object();
    object.values_mut().for_each(|value| visit_value(value, each));
    each(object);
}

fn visit_value(value: &mut Value, each: &impl Fn(&mut Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            object.values_mut().for_each(|inner| visit_value(inner, each));
            each(object);
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| visit_value(inner, each)),
        _ => {}
    }
}

/// Takes out what is Rust's alone: `uint64` and the like are no formats of JSON Schema, and links lead nowhere there.
fn without_rust(object: &mut Map<String, Value>) {
    if let Some(Value::String(text)) = object.get_mut("description") {
        *text = text.replace("[`", "`").replace("`]", "`");
    }
    if object.get("format").and_then(Value::as_str).is_some_and(|f| ["uint32", "uint64", "double"].contains(&f)) {
        object.remove("format");
    }
}

/// The server leaves out what there is not: fields that are not required are never null.
fn never_null(object: &mut Map<String, Value>) {
    let required: Vec<String> = object
        .get("required")
        .and_then(Value::as_array)
        .map_or_else(Vec::new, |names| names.iter().filter_map(Value::as_str).map(String::from).collect());
    let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (_, property) in properties.iter_mut().filter(|(name, _)| !required.contains(name)) {
        without_null(property);
    }
}

fn without_null(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(types) = object.get_mut("type").and_then(Value::as_array_mut) {
        types.retain(|name| name != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            object.insert("type".into(), only);
        }
    }
    if let Some(names) = object.get_mut("enum").and_then(Value::as_array_mut) {
        names.retain(|name| !name.is_null());
    }
    let Some(choices) = object.get_mut("anyOf").and_then(Value::as_array_mut) else { return };
    choices.retain(|choice| *choice != json!({ "type": "null" }));
    if let [Value::Object(only)] = &choices[..] {
        let only = only.clone();
        object.remove("anyOf");
        for (name, value) in only {
            object.entry(name).or_insert(value);
        }
    }
}
