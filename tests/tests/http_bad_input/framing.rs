//! Requests that are none, that end too early, that come too slowly, and that could be two.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use causerie_tests::{Server, WITHIN};

use crate::document::limit;
use crate::exchange::{Then, assert_lives, exchange, request, send, server, statuses};

/// A request to log in, with these headers and this body.
fn login(server: &Server, headers: &str, body: &str) -> Vec<u8> {
    format!("POST /api/login HTTP/1.1\r\nHost: {}\r\n{headers}\r\n{body}", server.address()).into_bytes()
}

/// What follows a request on its connection, and must not be taken for one where a proxy could not see it.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[test]
fn what_could_be_two_requests_is_refused_or_the_last_of_its_connection() {
    let server = server();
    let cases = [
        ("two lengths", "Content-Length: 2\r\nContent-Length: 40\r\n", "{}"),
        ("two lengths in one line", "Content-Length: 2, 40\r\n", "{}"),
        ("the same length twice in one line", "Content-Length: 2, 2\r\n", "{}"),
        ("a length with a sign", "Content-Length: +2\r\n", "{}"),
        ("a negative length", "Content-Length: -2\r\n", "{}"),
        ("a length in hexadecimal", "Content-Length: 0x2\r\n", "{}"),
        ("a length beyond all numbers", "Content-Length: 99999999999999999999\r\n", "{}"),
        ("a length and chunks", "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("chunks and a length", "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", "0\r\n\r\n"),
        ("chunks twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("chunks, then identity", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"),
        ("nearly chunks", "Transfer-Encoding: xchunked\r\nContent-Length: 2\r\n", "0\r\n\r\n"),
        ("a blank before the colon", "Content-Length : 2\r\n", "{}"),
        ("a folded line", "Content-Length: 2\r\nX: a\r\n b\r\n", "{}"),
        ("a carriage return in a value", "Content-Length: 2\r\nX: a\rTransfer-Encoding: chunked\r\n", "{}"),
        ("a NUL in a value", "Content-Length: 2\r\nX: a\0b\r\n", "{}"),
    ];
    for (what, headers, body) in cases {
        let bytes = [login(&server, headers, body), SMUGGLED.into()].concat();
        let (answer, _) = send(&server, &bytes, Then::Wait);
        let statuses = statuses(&answer);
        // A coding that is not spoken is 501: its end is unknown, so that nothing behind it is read either.
        assert!(matches!(statuses[..], [400 | 501]), "{what}: {:?}", String::from_utf8_lossy(&answer));
        assert!(!String::from_utf8_lossy(&answer).contains("smuggled"), "{what}");
    }
    assert_lives(&server);
}

#[test]
fn chunks_that_are_none_are_refused() {
    let server = server();
    for (what, body) in [
        ("no number", "zz\r\n{}\r\n0\r\n\r\n".to_owned()),
        ("a negative number", "-2\r\n{}\r\n0\r\n\r\n".to_owned()),
        ("a number beyond all numbers", format!("{}\r\n{{}}\r\n0\r\n\r\n", "f".repeat(40))),
        ("no end of a chunk", "2\r\n{}XX0\r\n\r\n".to_owned()),
        ("an extension without end", format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "a".repeat(100_000))),
        ("trailers without end", format!("2\r\n{{}}\r\n0\r\n{}\r\n", "X: y\r\n".repeat(50_000))),
    ] {
        let answer = exchange(&server, &login(&server, "Transfer-Encoding: chunked\r\n", &body));
        assert_eq!(answer.refusal(), (400, "body_lost".to_owned()), "{what}");
    }
    assert_lives(&server);
}

#[test]
fn what_is_no_request_ends_its_connection() {
    let server = server();
    let host = server.address();
    let (long, many) = (limit("HTTP_HEADER_BYTES") + 1, limit("HTTP_HEADERS") + 1);
    for (what, status, text) in [
        ("TLS to a plain port", 400, "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03\r\n\r\n".to_owned()),
        ("words", 400, "good morning\r\n\r\n".to_owned()),
        ("HTTP/0.9", 400, "GET /\r\n\r\n".to_owned()),
        ("HTTP/3.0", 400, format!("GET / HTTP/3.0\r\nHost: {host}\r\n\r\n")),
        ("a blank in the path", 400, format!("GET /a b HTTP/1.1\r\nHost: {host}\r\n\r\n")),
        ("a line that is too long", 431, format!("GET /{} HTTP/1.1\r\nHost: {host}\r\n\r\n", "a".repeat(long))),
        (
            "a header that is too long",
            431,
            format!("GET / HTTP/1.1\r\nHost: {host}\r\nX: {}\r\n\r\n", "a".repeat(long)),
        ),
        (
            "headers that are too many",
            431,
            format!("GET / HTTP/1.1\r\nHost: {host}\r\n{}\r\n", "X: y\r\n".repeat(many)),
        ),
    ] {
        let (answer, _) = send(&server, text.as_bytes(), Then::Wait);
        assert_eq!(statuses(&answer), [status], "{what}: {:?}", String::from_utf8_lossy(&answer));
    }
    assert_lives(&server);
}

#[test]
fn a_request_is_for_one_host() {
    let server = server();
    let host = server.address();
    for (what, text) in [
        ("none", "GET /health HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned()),
        ("two", format!("GET /health HTTP/1.1\r\nHost: {host}\r\nHost: evil.example\r\nConnection: close\r\n\r\n")),
        ("another one", format!("GET http://evil.example/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")),
    ] {
        assert_eq!(exchange(&server, text.as_bytes()).refusal(), (400, "invalid_host".to_owned()), "{what}");
    }
    let foreign = "GET /health HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(exchange(&server, foreign.as_bytes()).refusal(), (421, "wrong_host".to_owned()));
}

#[test]
fn requests_may_be_sent_ahead_up_to_a_bad_one() {
    let server = server();
    let good = format!("HEAD / HTTP/1.1\r\nHost: {}\r\n\r\n", server.address());
    let (answer, _) = send(&server, format!("{good}{good}bad\r\n\r\n{good}").as_bytes(), Then::Wait);
    assert_eq!(statuses(&answer), [200, 200, 400]);
}

#[test]
fn a_body_that_ends_too_early_is_lost() {
    let server = server();
    for bytes in [
        login(&server, "Content-Length: 50\r\n", "{\"code\":"),
        login(&server, "Transfer-Encoding: chunked\r\n", "50\r\n{\"code\":"),
        login(&server, "Transfer-Encoding: chunked\r\n", "8\r\n{\"code\":\r\n"),
    ] {
        let (answer, _) = send(&server, &bytes, Then::HalfClose);
        assert_eq!(statuses(&answer), [400], "{:?}", String::from_utf8_lossy(&answer));
        assert!(String::from_utf8_lossy(&answer).contains("body_lost"));
    }
}

#[test]
fn half_of_a_connection_ends_it() {
    let server = server();
    let whole = format!("GET /health HTTP/1.1\r\nHost: {}\r\n\r\n", server.address());
    for bytes in [whole.as_bytes(), b"", b"GET /hea", &whole.as_bytes()[..whole.len() - 2]] {
        let (_, in_order) = send(&server, bytes, Then::HalfClose);
        assert!(in_order, "{:?} is followed by an end, not by a reset", String::from_utf8_lossy(bytes));
    }
    assert_lives(&server);
}

#[test]
fn a_body_that_comes_too_slowly_is_given_up_and_hinders_nobody() {
    let server = server();
    let mut slow = TcpStream::connect(server.address()).unwrap();
    slow.write_all(&login(&server, "Connection: close\r\nContent-Length: 40\r\n", "{")).unwrap();
    slow.set_read_timeout(Some(WITHIN)).unwrap();
    let mut drip = slow.try_clone().unwrap();
    std::thread::spawn(move || {
        // A byte now and then is no body either.
        while drip.write_all(b" ").is_ok() {
            std::thread::sleep(Duration::from_millis(500));
        }
    });
    assert_lives(&server);
    let mut answer = Vec::new();
    // Bytes that come after the answer may break it off.
    let _ = slow.read_to_end(&mut answer);
    assert_eq!(statuses(&answer), [408], "{:?}", String::from_utf8_lossy(&answer));
    assert!(String::from_utf8_lossy(&answer).contains("body_late"));
    assert_eq!(request(&server, "POST", "/api/login", &[], b"{").code(), "invalid_json");
}
