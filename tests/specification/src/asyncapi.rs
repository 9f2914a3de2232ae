//! `docs/asyncapi.yaml`: the protocol as an AsyncAPI 3.0.0 document, made from the schemas and the table of answers.

use std::fmt::Write as _;

use serde_json::Value;

use super::table::{ANSWERS, Answers};
use super::{keep, schemas};

const HEAD: &str = r##"# Made by `UPDATE=1 cargo test -p causerie-specification`.
asyncapi: 3.0.0
info:
  title: Causerie
  version: 1.0.0
  description: |-
    Real-time chat of people and a language model in shared sessions, over one WebSocket.
    The order of frames, resuming and all rules stand in protocol.md; this document has the shapes.
  license:
    name: MIT OR Apache-2.0
defaultContentType: application/json
servers:
  server:
    host: "{host}"
    protocol: ws
    description: Behind a proxy that ends TLS, `wss`.
    variables:
      host:
        description: Name and port.
        default: 127.0.0.1:8080
    security:
      - $ref: "#/components/securitySchemes/bearer"
      - $ref: "#/components/securitySchemes/subprotocol"
      - $ref: "#/components/securitySchemes/query"
channels:
  chat:
    address: /ws/chat
    title: The one channel
    description: JSON objects as WebSocket text messages, both ways. A client passes over fields and frames it does not know.
    bindings:
      ws:
        method: GET
        query:
          type: object
          properties:
            token:
              type: string
              description: A JWT, if it does not come in a header.
        headers:
          type: object
          properties:
            Authorization:
              type: string
              description: "Bearer JWT"
            Sec-WebSocket-Protocol:
              type: string
              description: "causerie.v1, bearer.JWT"
    messages:
"##;

const SECURITY: &str = r##"  securitySchemes:
    bearer:
      type: http
      scheme: bearer
      bearerFormat: JWT
      description: For programs.
    subprotocol:
      type: httpApiKey
      in: header
      name: Sec-WebSocket-Protocol
      description: "For browsers: `causerie.v1, bearer.JWT`."
    query:
      type: httpApiKey
      in: query
      name: token
      description: For base clients; it stands in access logs.
"##;

/// The frames of one side: their types with what they mean, in the order of the specification.
fn frames(side: usize) -> Vec<(String, String)> {
    let (_, schema) = &schemas()[side];
    let order = schema["oneOf"].as_array().expect("one of the frames");
    let names = order.iter().filter_map(|frame| frame["$ref"].as_str()?.rsplit('/').next());
    let with_meaning = |name: &str| {
        let meaning = schema["$defs"][name]["description"].as_str().expect("every frame is described");
        (name.to_string(), meaning.to_string())
    };
    names.map(with_meaning).collect()
}

/// A string of YAML: those of JSON are.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn document() -> String {
    let mut text = String::from(HEAD);
    let sides = ["client", "server"];
    for (side, name) in sides.iter().enumerate() {
        for (kind, _) in frames(side) {
            let _ = writeln!(text, "      {name}.{kind}:\n        $ref: \"#/components/messages/{name}.{kind}\"");
        }
    }
    text.push_str("operations:\n");
    for answers in ANSWERS {
        operation(&mut text, answers);
    }
    text.push_str("  tell:\n    action: send\n    summary: What the server sends, asked or not.\n");
    text.push_str("    channel:\n      $ref: \"#/channels/chat\"\n    messages:\n");
    for (kind, _) in frames(1) {
        let _ = writeln!(text, "      - $ref: \"#/channels/chat/messages/server.{kind}\"");
    }
    text.push_str("components:\n  messages:\n");
    for (side, name) in sides.iter().enumerate() {
        for (kind, meaning) in frames(side) {
            message(&mut text, name, &kind, &meaning);
        }
    }
    text + SECURITY
}

/// The application is the server: it receives what clients send.
fn operation(text: &mut String, answers: &Answers) {
    let kind = answers.frame;
    let _ = writeln!(text, "  {kind}:\n    action: receive\n    channel:\n      $ref: \"#/channels/chat\"");
    let _ = writeln!(text, "    messages:\n      - $ref: \"#/channels/chat/messages/client.{kind}\"");
    let _ = writeln!(text, "    reply:\n      channel:\n        $ref: \"#/channels/chat\"\n      messages:");
    for reply in answers.by.iter().chain(&["error"]) {
        let _ = writeln!(text, "        - $ref: \"#/channels/chat/messages/server.{reply}\"");
    }
}

fn message(text: &mut String, side: &str, kind: &str, meaning: &str) {
    let _ = writeln!(
        text,
        "    {side}.{kind}:\n      name: {kind}\n      title: {kind}\n      summary: {}",
        quoted(meaning)
    );
    let field = if side == "client" { "id" } else { "ref" };
    if side == "client" || ANSWERS.iter().any(|a| a.by.contains(&kind)) || kind == "error" {
        let _ = writeln!(text, "      correlationId:\n        location: \"$message.payload#/{field}\"");
    }
    let _ = writeln!(text, "      payload:\n        $ref: \"./schema/{side}.schema.json#/$defs/{kind}\"");
}

#[test]
fn the_asyncapi_document_is_up_to_date() {
    keep("asyncapi.yaml", &document(), |a, b| a == b);
}

/// Every reference leads to something, within the document and into the schemas.
#[test]
fn the_references_of_the_document_lead_somewhere() {
    let text = document();
    let all = schemas();
    let mut count = 0;
    for line in text.lines() {
        let Some((_, target)) = line.split_once("$ref: ") else { continue };
        let target = target.trim_matches('"');
        count += 1;
        if let Some(name) = target.strip_prefix("#/") {
            let name = name.rsplit('/').next().expect("a name");
            assert!(text.lines().any(|line| line.trim() == format!("{name}:")), "{target}");
        } else {
            let (file, pointer) = target.split_once('#').expect("a file and a place");
            let known = all.iter().find(|(side, _)| file == format!("./schema/{side}.schema.json"));
            assert!(known.is_some_and(|(_, schema)| schema.pointer(pointer).is_some()), "{target}");
        }
    }
    assert!(count > 100, "{count}");
}
