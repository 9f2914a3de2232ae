//! The API of OpenAI as a client sees it on the wire: the real server, the real model. Official clients are in
//! `official`.

mod chat;
mod official;
mod others;
mod refusals;
mod templates;

use std::io::{BufRead, BufReader, Read};

use causerie_tests::{Options, Server, WITHIN};
use serde_json::{Value, json};

/// A server and somebody who may use it.
struct Api {
    server: Server,
    token: String,
    agent: ureq::Agent,
}

/// An answer in one piece.
struct Answer {
    status: u16,
    headers: ureq::http::HeaderMap,
    body: Value,
}

impl Api {
    fn start() -> Api {
        Api::start_with(&[])
    }

    fn start_with(args: &[&str]) -> Api {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        Api::of(Server::start_with(Options { args, ..Options::default() }))
    }

    fn of(server: Server) -> Api {
        let token = server.token("ada");
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(WITHIN));
        Api { server, token, agent: config.proxy(None).allow_non_standard_methods(true).build().into() }
    }

    /// What `/metrics` says of these now, with the prefix of all.
    fn figures<const N: usize>(&self, names: [&str; N]) -> [f64; N] {
        let bearer = format!("Bearer {}", self.server.token_with("root", &["--role", "admin"]));
        let answer = self.agent.get(self.server.url("/metrics")).header("authorization", bearer).call();
        let text = answer.and_then(|mut answer| answer.body_mut().read_to_string());
        let text = text.unwrap_or_else(|error| panic!("GET /metrics: {error}"));
        let value = |line: &str, name: &str| {
            line.strip_prefix("causerie_")?.strip_prefix(name)?.strip_prefix(' ')?.parse().ok()
        };
        names.map(|name| {
            text.lines().find_map(|line| value(line, name)).unwrap_or_else(|| panic!("no {name} in {text}"))
        })
    }

    fn url(&self, path: &str) -> String {
        self.server.url(&format!("/v1/{path}"))
    }

    fn get(&self, path: &str) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        Answer::of(self.agent.get(self.url(path)).header("authorization", bearer).call())
    }

    fn post_text(&self, path: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        Answer::of(self.agent.post(self.url(path)).header("authorization", bearer).send(body))
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_text(path, &body.to_string())
    }

    /// What has to be answered well.
    #[track_caller]
    fn ask(&self, path: &str, body: &Value) -> Value {
        let Answer { status, body, .. } = self.post(path, body);
        assert_eq!(status, 200, "{body}");
        body
    }

    /// An answer that comes in pieces, while it comes.
    fn stream(&self, path: &str, body: &Value) -> Events {
        let bearer = format!("Bearer {}", self.token);
        let answer = self.agent.post(self.url(path)).header("authorization", bearer).send(body.to_string());
        let answer = answer.unwrap_or_else(|error| panic!("POST {path}: {error}"));
        assert_eq!(answer.status().as_u16(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8");
        Events(BufReader::new(Box::new(answer.into_body().into_reader())))
    }

    /// The pieces of a streamed answer, which has to end as it should.
    fn pieces(&self, path: &str, body: &Value) -> Vec<Value> {
        let mut events: Vec<_> = self.stream(path, body).map(|(_, data)| data).collect();
        assert_eq!(events.pop().as_deref(), Some("[DONE]"));
        events.iter().map(|data| serde_json::from_str(data).expect("data is JSON")).collect()
    }
}

impl Answer {
    fn of(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
        let mut answer = answer.unwrap_or_else(|error| panic!("no answer: {error}"));
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), body }
    }

    /// An answer that is no, in OpenAI's form: its status, its code and the field that is meant.
    #[track_caller]
    fn refused(&self, status: u16, code: &str, param: impl Into<Value>) {
        let error = &self.body["error"];
        assert_eq!((self.status, &error["code"], &error["param"]), (status, &json!(code), &param.into()), "{error}");
        assert!(error["message"].as_str().is_some_and(|message| message.len() > 10), "{error}");
        assert!(error["type"].as_str().is_some_and(|kind| kind.ends_with("_error")), "{error}");
    }
}

/// Server-sent events: each its name, if it has one, and its data.
struct Events(BufReader<Box<dyn Read>>);

impl Iterator for Events {
    type Item = (Option<String>, String);

    fn next(&mut self) -> Option<(Option<String>, String)> {
        let mut name = None;
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).expect("the answer comes whole") == 0 {
                return None;
            }
            if let Some(event) = line.strip_prefix("event: ") {
                name = Some(event.trim_end().to_owned());
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Some((name, data.trim_end().to_owned()));
            }
        }
    }
}

/// A question to the chat, with further fields.
fn question(text: &str, more: &Value) -> Value {
    let mut body = json!({ "model": "default", "messages": [{ "role": "user", "content": text }], "temperature": 0 });
    for (name, value) in more.as_object().expect("fields") {
        body[name] = value.clone();
    }
    body
}

/// A tool that tells the weather.
fn weather() -> Value {
    json!({ "type": "function", "function": {
        "name": "get_weather",
        "description": "Tells the weather of a city",
        "parameters": {
            "type": "object",
            "properties": { "city": { "type": "string", "maxLength": 30 }, "unit": { "enum": ["celsius", "kelvin"] } },
            "required": ["city", "unit"],
            "additionalProperties": false,
        },
    } })
}
