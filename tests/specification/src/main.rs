//! The specification (`docs/protocol.md`), the schemas (`docs/schema`), the AsyncAPI document and the code say the same.
//!
//! What is generated is written anew by `UPDATE=1 cargo test -p causerie-specification`.

#[path = "../../../core/tests/driver/mod.rs"]
mod driver;

mod answers;
mod asyncapi;
mod bounds;
mod conversations;
mod document;
mod fields;
mod generated;
mod table;
mod traffic;

use std::path::PathBuf;

use serde_json::Value;

/// A file of the repository's `docs`.
fn docs(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(docs(name)).unwrap_or_default()
}

/// Compares a committed file with what it should be, or writes it.
#[track_caller]
fn keep(name: &str, text: &str, same: impl Fn(&str, &str) -> bool) {
    if std::env::var_os("UPDATE").is_some() {
        let path = docs(name);
        std::fs::create_dir_all(path.parent().expect("in a folder")).expect("a folder for it");
        std::fs::write(path, text).expect("the file can be written");
    }
    assert!(same(&read(name), text), "docs/{name} is out of date: run this test with UPDATE=1 and commit");
}

#[test]
fn the_committed_schemas_are_those_of_the_types() {
    // As trees: the order of their fields depends on features that others of the build switch on.
    let same = |a: &str, b: &str| serde_json::from_str::<Value>(a).ok() == serde_json::from_str::<Value>(b).ok();
    for (name, schema) in schemas() {
        let text = serde_json::to_string_pretty(&schema).expect("a tree of JSON") + "\n";
        keep(&format!("schema/{name}.schema.json"), &text, same);
    }
}

/// Of the client's frames and of the server's.
fn schemas() -> [(&'static str, Value); 2] {
    use causerie_core::schema::{client_schema, server_schema};
    [("client", client_schema().into()), ("server", server_schema().into())]
}
