//! Requests as bytes, and answers, each of which must be one that is documented.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use causerie_tests::{Options, Server, WITHIN};
use serde_json::Value;

use crate::document::errors;

/// A server without a model: what is wrong with a request does not depend on one.
pub(crate) fn server() -> Server {
    Server::start_with(Options { model: Some("/nowhere/at-all.gguf".into()), ..Options::default() })
}

/// An answer as it came.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }

    /// The code of an error, in our shape or that of OpenAI's API. It has a text for people too, and is documented.
    ///
    /// # Panics
    /// When that is not so.
    pub(crate) fn code(&self) -> String {
        let json = self.json();
        let (code, message) = match &json["error"] {
            Value::Object(error) => (&error["code"], &error["message"]),
            code => (code, &json["message"]),
        };
        let code = code.as_str().unwrap_or_else(|| panic!("an error without a code: {self:?}")).to_owned();
        assert!(message.as_str().is_some_and(|text| text.len() > 10), "an error without words: {self:?}");
        let documented = errors().contains(&(self.status, code.clone()));
        assert!(documented, "docs/http.md does not know {} {code}: {}", self.status, self.body);
        code
    }

    pub(crate) fn refusal(&self) -> (u16, String) {
        (self.status, self.code())
    }
}

/// Whether a client says that it sends nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Wait,
    HalfClose,
}

/// Sends bytes, and gives all that comes until the server ends the connection; `None` in the end if it broke off.
pub(crate) fn send(server: &Server, bytes: &[u8], then: Then) -> (Vec<u8>, bool) {
    let mut stream = TcpStream::connect(server.address()).unwrap_or_else(|error| panic!("connecting: {error}"));
    stream.set_read_timeout(Some(WITHIN)).expect("the timeout is not zero");
    // A server that has seen enough may have closed.
    let _ = stream.write_all(bytes);
    if then == Then::HalfClose {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer);
    (answer, ended.is_ok())
}

/// The answers in what came, by their heads.
pub(crate) fn statuses(bytes: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(bytes);
    let heads = text.split("HTTP/1.1 ").skip(1);
    heads.map(|head| head[..3].parse().expect("a status has three digits")).collect()
}

/// One request's answer; the server ends the connection after it, since the request asks for that or is no good.
pub(crate) fn exchange(server: &Server, request: &[u8]) -> Answer {
    let (bytes, _) = send(server, request, Then::Wait);
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| {
        panic!("no answer but {text:?} to {:?}", String::from_utf8_lossy(&request[..request.len().min(500)]))
    });
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let answer = Answer { status: status.expect("a status"), head: head.to_owned(), body: body.to_owned() };
    assert!(answer.status < 500 || answer.status == 501 || answer.status == 503, "our fault: {answer:?}");
    answer
}

/// A request of the usual shape, whose body may be anything.
pub(crate) fn request(server: &Server, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", server.address());
    for header in headers {
        text += &format!("{header}\r\n");
    }
    if !headers.iter().any(|header| header.starts_with("Transfer-Encoding")) {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    exchange(server, &[text.as_bytes(), b"\r\n", body].concat())
}

/// It is there for everybody else.
pub(crate) fn assert_lives(server: &Server) {
    assert_eq!(request(server, "GET", "/", &[], b"").status, 200);
}

/// The header for a token.
pub(crate) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}
