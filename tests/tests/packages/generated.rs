//! The frames' types of both packages are made from the JSON Schemas, so that they cannot drift from the server.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value};

/// The workspace.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace")
}

fn schema(name: &str) -> Schema {
    let path = root().join(format!("docs/schema/{name}.schema.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let Value::Object(mut schema) = serde_json::from_str(&text).expect("a schema is JSON") else { panic!("no object") };
    let Some(Value::Object(definitions)) = schema.remove("$defs") else { panic!("{name} has no definitions") };
    Schema { server: name == "server", definitions }
}

/// One direction's frames.
struct Schema {
    server: bool,
    definitions: Map<String, Value>,
}

/// An object of the protocol: a frame, or what stands inside of frames.
struct Object<'a> {
    /// The frame's `type`.
    tag: Option<&'a str>,
    name: String,
    about: &'a str,
    fields: Vec<Field<'a>>,
}

struct Field<'a> {
    name: &'a str,
    about: &'a str,
    required: bool,
    schema: &'a Value,
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// `session_joined` is `SessionJoined`.
fn camel(name: &str) -> String {
    name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

impl Schema {
    /// Every object, what stands inside of others first.
    fn objects(&self) -> Vec<Object<'_>> {
        let mut objects: Vec<_> = self.definitions.iter().filter_map(|(name, schema)| object(name, schema)).collect();
        objects.sort_by_key(|object| object.tag.is_some());
        objects
    }

    fn frames(&self) -> Vec<String> {
        self.objects().into_iter().filter(|object| object.tag.is_some()).map(|object| object.name).collect()
    }

    fn error_codes(&self) -> Vec<&str> {
        codes(&self.definitions["error"]["properties"]["code"]).expect("an error has one of many codes")
    }
}

fn object<'a>(name: &'a str, schema: &'a Value) -> Option<Object<'a>> {
    let properties = schema.get("properties")?.as_object()?;
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let field = |(name, schema): (&'a String, &'a Value)| Field {
        name,
        about: text(schema, "description"),
        required: required.contains(&name.as_str()),
        schema,
    };
    let mut fields: Vec<_> = properties.iter().filter(|(name, _)| *name != "type").map(field).collect();
    fields.sort_by_key(|field| !field.required);
    let tag = properties.get("type").and_then(|tag| tag["const"].as_str());
    Some(Object { tag, name: camel(name), about: text(schema, "description"), fields })
}

/// The known ones of a code to which new ones may come.
fn codes(schema: &Value) -> Option<Vec<&str>> {
    let known = schema.get("anyOf")?.get(0)?.get("enum")?.as_array()?;
    Some(known.iter().filter_map(Value::as_str).collect())
}

/// What a value may be, in neither language yet.
enum Kind<'a> {
    Text,
    Integer,
    Number,
    Boolean,
    Null,
    Id,
    Named(String),
    OneOf(Vec<&'a str>),
    /// One of these, or a code that is not known yet.
    Code(Vec<&'a str>),
    List(Box<Kind<'a>>),
    Any(Vec<Kind<'a>>),
}

fn kind(schema: &Value) -> Kind<'_> {
    if let Some(to) = schema.get("$ref").and_then(Value::as_str) {
        return match to.trim_start_matches("#/$defs/") {
            "Uuid" => Kind::Text,
            "FrameId" => Kind::Id,
            other => Kind::Named(camel(other)),
        };
    }
    if let Some(codes) = codes(schema) {
        return Kind::Code(codes);
    }
    if let Some(one_of) = schema.get("oneOf").and_then(Value::as_array) {
        return Kind::OneOf(one_of.iter().map(|one| one["const"].as_str().expect("a word")).collect());
    }
    if let Some(any) = schema.get("anyOf").and_then(Value::as_array) {
        return Kind::Any(any.iter().map(kind).collect());
    }
    match &schema["type"] {
        Value::Array(types) => Kind::Any(types.iter().map(|name| simple(name, schema)).collect()),
        name => simple(name, schema),
    }
}

fn simple<'a>(name: &Value, schema: &'a Value) -> Kind<'a> {
    match name.as_str() {
        Some("string") => Kind::Text,
        Some("integer") => Kind::Integer,
        Some("number") => Kind::Number,
        Some("boolean") => Kind::Boolean,
        Some("null") => Kind::Null,
        Some("array") => Kind::List(Box::new(kind(&schema["items"]))),
        _ => panic!("a type that this generator does not know: {schema}"),
    }
}

/// The parts of a union, in their order and each once. `null` is the same as leaving a field out in what clients send.
fn parts<'a>(field: &Field<'a>, written: &dyn Fn(&Kind<'a>) -> String) -> String {
    let kind = kind(field.schema);
    let kinds = match kind {
        Kind::Any(kinds) => kinds,
        one => vec![one],
    };
    let null = kinds.iter().filter(|kind| field.required || !matches!(kind, Kind::Null));
    let mut parts: Vec<String> = Vec::new();
    for part in null.map(written) {
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    parts.join(" | ")
}

fn python(kind: &Kind<'_>) -> String {
    match kind {
        Kind::Text | Kind::Code(_) => "str".to_owned(),
        Kind::Integer => "int".to_owned(),
        Kind::Number => "float".to_owned(),
        Kind::Boolean => "bool".to_owned(),
        Kind::Null => "None".to_owned(),
        Kind::Id => "str | int | float".to_owned(),
        Kind::Named(name) => name.clone(),
        Kind::OneOf(words) => format!("Literal[{}]", quoted(words, ", ")),
        Kind::List(of) => format!("Sequence[{}]", python(of)),
        Kind::Any(kinds) => kinds.iter().map(python).collect::<Vec<_>>().join(" | "),
    }
}

fn typescript(kind: &Kind<'_>) -> String {
    match kind {
        Kind::Text => "string".to_owned(),
        Kind::Integer | Kind::Number => "number".to_owned(),
        Kind::Boolean => "boolean".to_owned(),
        Kind::Null => "null".to_owned(),
        Kind::Id => "string | number".to_owned(),
        Kind::Named(name) => name.clone(),
        Kind::OneOf(words) => quoted(words, " | "),
        Kind::Code(words) => format!("{} | (string & {{}})", quoted(words, " | ")),
        Kind::List(of) => format!("{}[]", typescript(of)),
        Kind::Any(kinds) => kinds.iter().map(typescript).collect::<Vec<_>>().join(" | "),
    }
}

fn quoted(words: &[&str], between: &str) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(between)
}

const ORIGIN: &str = "Made from docs/schema by `UPDATE=1 cargo test -p causerie-tests --test packages`; do not edit.";

/// Dataclasses of what the server sends.
fn python_frames(schema: &Schema) -> String {
    let mut out = format!(
        "\"\"\"What the server sends. {ORIGIN}\"\"\"\n\nfrom __future__ import annotations\n\n\
         from collections.abc import Mapping, Sequence\nfrom dataclasses import dataclass\n\
         from typing import Any, ClassVar, Literal\n"
    );
    let mut nested = String::new();
    for object in schema.objects() {
        let _ = write!(out, "\n\n@dataclass(frozen=True, slots=True, kw_only=True)\nclass {}:\n", object.name);
        let _ = writeln!(out, "    \"\"\"{}\"\"\"\n", object.about);
        if let Some(tag) = object.tag {
            let _ = writeln!(out, "    TYPE: ClassVar[str] = \"{tag}\"");
        }
        let mut inner = Vec::new();
        for field in &object.fields {
            let (name, written) = (field.name, parts(field, &python));
            let end = if field.required { "" } else { " | None = None" };
            let _ = write!(out, "    #: {}\n    {name}: {written}{end}\n", field.about);
            if let Kind::Named(of) = kind(field.schema) {
                inner.push(format!("\"{name}\": {of}"));
            }
            if let Kind::List(of) = kind(field.schema)
                && let Kind::Named(of) = *of
            {
                inner.push(format!("\"{name}\": {of}"));
            }
        }
        if !inner.is_empty() {
            let _ = writeln!(nested, "    {}: {{{}}},", object.name, inner.join(", "));
        }
    }
    let frames = schema.frames();
    let _ = write!(out, "\n\n#: Any frame of the server.\nServerFrame = (\n    {}\n)\n", frames.join("\n    | "));
    out += "\n#: Frames by their `type`.\nSERVER_FRAMES: Mapping[str, type[Any]] = {\n";
    for frame in &frames {
        let _ = writeln!(out, "    {frame}.TYPE: {frame},");
    }
    let _ = write!(out, "}}\n\n#: Which fields hold objects, or lists of them.\n");
    let _ = write!(out, "NESTED: Mapping[type[Any], Mapping[str, type[Any]]] = {{\n{nested}}}\n");
    out
}

/// Typed dictionaries of what clients send.
fn python_requests(schema: &Schema) -> String {
    let mut out = format!(
        "\"\"\"What clients send. {ORIGIN}\"\"\"\n\nfrom __future__ import annotations\n\n\
         from collections.abc import Sequence\nfrom typing import Literal, NotRequired, TypedDict\n"
    );
    for object in schema.objects() {
        let _ = write!(out, "\n\nclass {}(TypedDict):\n    \"\"\"{}\"\"\"\n\n", object.name, object.about);
        if let Some(tag) = object.tag {
            let _ = writeln!(out, "    type: Literal[\"{tag}\"]");
        }
        for field in &object.fields {
            let written = parts(field, &python);
            let written = if field.required { written } else { format!("NotRequired[{written}]") };
            let _ = write!(out, "    #: {}\n    {}: {written}\n", field.about, field.name);
        }
    }
    let frames = schema.frames();
    let _ = write!(out, "\n\n#: Any frame of a client.\nClientFrame = (\n    {}\n)\n", frames.join("\n    | "));
    out
}

/// An exception for each code. What it means stands in the protocol's table.
fn python_refusals(schema: &Schema) -> String {
    let path = root().join("docs/protocol.md");
    let document = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let table = document.split("<!-- generated: errors -->").nth(1).expect("the document has a table of errors");
    let meaning = |code: &str| {
        let row = table.lines().find(|line| line.starts_with(&format!("| `{code}` |")));
        row.and_then(|row| row.split('|').nth(3)).unwrap_or_else(|| panic!("`{code}` is not in the table")).trim()
    };
    let mut out = format!(
        "\"\"\"What the server refuses: an exception for each code. {ORIGIN}\"\"\"\n\nfrom __future__ import annotations\n\n\
         from .errors import Refused\nfrom .frames import Error\n"
    );
    let codes = schema.error_codes();
    for code in &codes {
        let (name, meaning) = (camel(code), meaning(code));
        let _ = write!(out, "\n\nclass {name}(Refused):\n    \"\"\"{meaning}\"\"\"\n\n    CODE = \"{code}\"\n");
    }
    out += "\n\n#: The exceptions by their codes.\nREFUSALS: dict[str, type[Refused]] = {\n";
    for code in &codes {
        let _ = writeln!(out, "    \"{code}\": {},", camel(code));
    }
    out += "}\n\n\ndef refusal(frame: Error) -> Refused:\n    \"\"\"The exception for an error of the server.\"\"\"\n";
    out += "    return REFUSALS.get(frame.code, Refused)(frame)\n";
    out
}

fn typescript_frames(schema: &Schema) -> String {
    let what = if schema.server { "What the server sends." } else { "What clients send." };
    let mut out = format!("/** {what} {ORIGIN} */\n");
    for object in schema.objects() {
        let _ = write!(out, "\n/** {} */\nexport interface {} {{\n", object.about, object.name);
        if let Some(tag) = object.tag {
            let _ = writeln!(out, "  type: \"{tag}\";");
        }
        for field in &object.fields {
            let optional = if field.required { "" } else { "?" };
            let written = if schema.server && field.name == "code" && codes(field.schema).is_some() {
                format!("{}Code", object.name)
            } else {
                parts(field, &typescript)
            };
            let _ = write!(out, "  /** {} */\n  {}{optional}: {written};\n", field.about, field.name);
        }
        out += "}\n";
        for field in object.fields.iter().filter(|field| codes(field.schema).is_some()) {
            let written = typescript(&kind(field.schema)).replace(" | ", "\n  | ");
            let _ = write!(
                out,
                "\n/** Known codes; new ones may come. */\nexport type {}Code =\n  | {written};\n",
                object.name
            );
        }
    }
    let name = if schema.server { "ServerFrame" } else { "ClientFrame" };
    let _ = write!(out, "\nexport type {name} =\n  | {};\n", schema.frames().join("\n  | "));
    out
}

/// Compares a file with what it should be, or writes it where `UPDATE=1` is set.
fn check(path: &Path, expected: &str) {
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        std::fs::write(path, expected).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == expected,
        "{} is not what docs/schema says: run `UPDATE=1 cargo test -p causerie-tests --test packages` and look at the difference",
        path.display()
    );
}

#[test]
fn the_types_of_the_frames_are_those_of_the_schema() {
    let (server, client) = (schema("server"), schema("client"));
    let python = root().join("clients/python/src/causerie");
    check(&python.join("frames.py"), &python_frames(&server));
    check(&python.join("requests.py"), &python_requests(&client));
    check(&python.join("refusals.py"), &python_refusals(&server));
    let javascript = root().join("clients/javascript/src/frames");
    check(&javascript.join("server.d.ts"), &typescript_frames(&server));
    check(&javascript.join("client.d.ts"), &typescript_frames(&client));
}
