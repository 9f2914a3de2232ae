//! The opening handshake (RFC 6455, section 4).

use std::time::{Duration, Instant};

use causerie_tests::WITHIN;
use causerie_tests::raw::{ACCEPT, FIN, KEY, PING, PONG, Raw, Response, Seen, TEXT, frame, handshake};

use crate::{Room, assert_answered, assert_closed, assert_lives, question};

/// Good headers by name; a case replaces, drops or adds some.
const GOOD: [(&str, &str); 4] =
    [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", KEY)];

/// A request with all of the good headers but those of these names, and then these lines.
fn request(room: &Room, line: &str, without: &[&str], with: &str) -> String {
    let mut request = format!("{line}\r\nHost: {}\r\n", room.address());
    for (name, value) in GOOD.iter().filter(|(name, _)| !without.contains(name)) {
        request += &format!("{name}: {value}\r\n");
    }
    request + with + "\r\n"
}

fn line(room: &Room) -> String {
    format!("GET /ws/chat?token={} HTTP/1.1", room.token)
}

fn answer(room: &Room, request: &str) -> (Raw, Response) {
    let mut raw = Raw::tcp(room.address());
    raw.send(request.as_bytes());
    let response = raw.response();
    (raw, response)
}

#[test]
fn headers_may_be_written_in_every_way_that_is_allowed() {
    let room = Room::enter();
    let cases: &[(&str, &[&str], &str)] = &[
        ("as in the RFC", &[], ""),
        ("any case", &["Connection", "Upgrade"], "CONNECTION: uPgRaDe\r\nupgrade: WebSocket\r\n"),
        ("among others", &["Connection"], "Connection: keep-alive, Upgrade\r\n"),
        ("without a blank", &["Connection"], "Connection:keep-alive,upgrade\r\n"),
        ("with tabs", &["Connection"], "Connection:\tkeep-alive\t,\tUpgrade\t\r\n"),
        ("two lines", &["Connection"], "Connection: keep-alive\r\nConnection: Upgrade\r\n"),
        ("a list of protocols to upgrade to", &["Upgrade"], "Upgrade: h2c, websocket\r\n"),
        ("protocols to upgrade to in lines", &["Upgrade"], "Upgrade: h2c\r\nUpgrade: websocket\r\n"),
        ("unknown headers", &[], "X-Unknown: x\r\nCookie: a=b\r\nSec-WebSocket-Unknown: y\r\n"),
    ];
    for (name, without, with) in cases {
        let (mut raw, response) = answer(&room, &request(&room, &line(&room), without, with));
        assert_eq!(response.status, 101, "{name}: {response:?}");
        assert_eq!(response.header("sec-websocket-accept"), Some(ACCEPT), "{name}");
        assert!(response.header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")), "{name}");
        assert!(response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")), "{name}");
        raw.expect("connection_established");
        assert_lives(&mut raw, name);
    }
}

#[test]
fn what_is_no_handshake_is_answered_by_http() {
    let room = Room::enter();
    let line = line(&room);
    let cases: &[(&str, u16, &[&str], &str)] = &[
        ("no Connection", 426, &["Connection"], ""),
        ("another Connection", 426, &["Connection"], "Connection: keep-alive\r\n"),
        ("a word with Upgrade in it", 426, &["Connection"], "Connection: no-upgrade\r\n"),
        ("no Upgrade", 426, &["Upgrade"], ""),
        ("another Upgrade", 426, &["Upgrade"], "Upgrade: h2c\r\n"),
        ("a word with websocket in it", 426, &["Upgrade"], "Upgrade: websockets\r\n"),
        ("no version", 426, &["Sec-WebSocket-Version"], ""),
        ("version 0", 426, &["Sec-WebSocket-Version"], "Sec-WebSocket-Version: 0\r\n"),
        ("version 8", 426, &["Sec-WebSocket-Version"], "Sec-WebSocket-Version: 8\r\n"),
        ("version 14", 426, &["Sec-WebSocket-Version"], "Sec-WebSocket-Version: 14\r\n"),
        ("several versions", 426, &["Sec-WebSocket-Version"], "Sec-WebSocket-Version: 8, 13\r\n"),
        ("version thirteen", 426, &["Sec-WebSocket-Version"], "Sec-WebSocket-Version: thirteen\r\n"),
        ("two versions", 400, &[], "Sec-WebSocket-Version: 13\r\n"),
        ("no key", 400, &["Sec-WebSocket-Key"], ""),
        ("empty key", 400, &["Sec-WebSocket-Key"], "Sec-WebSocket-Key:\r\n"),
        ("short key", 400, &["Sec-WebSocket-Key"], "Sec-WebSocket-Key: c2hvcnQ=\r\n"),
        ("key of 17 bytes", 400, &["Sec-WebSocket-Key"], "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZmc=\r\n"),
        ("key that is no base64", 400, &["Sec-WebSocket-Key"], "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!==\r\n"),
        ("two keys", 400, &[], "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"),
        ("a body", 400, &[], "Content-Length: 5\r\n"),
        ("a body in chunks", 400, &[], "Transfer-Encoding: chunked\r\n"),
        ("a foreign page", 403, &[], "Origin: http://attacker.example\r\n"),
    ];
    for (name, status, without, with) in cases {
        let (_, response) = answer(&room, &request(&room, &line, without, with));
        assert_eq!(response.status, *status, "{name}: {response:?}");
        assert_eq!(response.header("content-type"), Some("application/json"), "{name}");
        if *status == 426 {
            // Which version it is to be (section 4.4), and that it is to be an upgrade (RFC 9110, 15.5.22).
            assert_eq!(response.header("sec-websocket-version"), Some("13"), "{name}");
            assert_eq!(response.header("upgrade"), Some("websocket"), "{name}");
        }
    }
    for (name, line, status) in [
        ("HTTP/1.0", line.replace("HTTP/1.1", "HTTP/1.0"), 426),
        ("POST", line.replace("GET", "POST"), 405),
        ("HEAD", line.replace("GET", "HEAD"), 405),
        ("another path", line.replace("/ws/chat", "/ws/chats"), 404),
    ] {
        let (_, response) = answer(&room, &request(&room, &line, &[], ""));
        assert_eq!(response.status, status, "{name}: {response:?}");
    }
    let foreign =
        request(&room, &line, &[], "").replace(&format!("Host: {}", room.address()), "Host: attacker.example");
    assert_eq!(answer(&room, &foreign).1.status, 421, "a foreign host name");
    for (name, garbage) in [
        ("no HTTP", "\u{16}\u{3}\u{1}\u{2}\u{0}\r\n\r\n".to_owned()),
        ("HTTP/2.0", line.replace("HTTP/1.1", "HTTP/2.0") + "\r\n\r\n"),
        ("HTTP/3.7", line.replace("HTTP/1.1", "HTTP/3.7") + "\r\n\r\n"),
        ("a header without a colon", request(&room, &line, &[], "Nonsense\r\n")),
    ] {
        let (_, response) = answer(&room, &garbage);
        assert_eq!(response.status, 400, "{name}: {response:?}");
    }
}

/// In `Authorization`, as a subprotocol, in the query: the first of these that there is counts, good or bad.
#[test]
fn the_token_stands_in_one_of_three_places() {
    let room = Room::enter();
    let [header, protocol, query] = ["ada", "bob", "eve"].map(|name| room.server.token(name));
    let connect = |header: &str, protocol: &str, query: &str| {
        let line = format!("GET /ws/chat{query} HTTP/1.1");
        answer(&room, &request(&room, &line, &[], &format!("{header}{protocol}"))).0
    };
    let header = format!("Authorization: Bearer {header}\r\n");
    let protocol = format!("Sec-WebSocket-Protocol: causerie.v1, bearer.{protocol}\r\n");
    let query = format!("?token={query}");
    for (name, mut raw, user) in [
        ("the header", connect(&header, "", ""), "ada"),
        ("the subprotocol", connect("", &protocol, ""), "bob"),
        ("the query", connect("", "", &query), "eve"),
        ("all three", connect(&header, &protocol, &query), "ada"),
        ("subprotocol and query", connect("", &protocol, &query), "bob"),
        ("header and query", connect(&header, "", &query), "ada"),
        ("another scheme is no token", connect("Authorization: Basic YTpi\r\n", "", &query), "eve"),
    ] {
        assert_eq!(raw.expect("connection_established")["username"], user, "{name}");
    }
    for (name, mut raw) in [
        ("a bad header", connect("Authorization: Bearer bad\r\n", &protocol, &query)),
        ("a bad subprotocol", connect("", "Sec-WebSocket-Protocol: bearer.bad\r\n", &query)),
        ("none", connect("", "Sec-WebSocket-Protocol: causerie.v1\r\n", "")),
    ] {
        let ending = raw.ending();
        assert_closed(&ending, 1008, name);
        assert_eq!(ending.errors, ["authentication_failed"], "{name}");
    }
}

#[test]
fn of_subprotocols_ours_is_chosen_and_never_the_token() {
    let room = Room::enter();
    let bearer = format!("bearer.{}", room.token);
    let line = "GET /ws/chat HTTP/1.1";
    for (name, offered, chosen) in [
        ("ours, then the token", format!("causerie.v1, {bearer}"), Some("causerie.v1")),
        ("the token, then ours", format!("{bearer},causerie.v1"), Some("causerie.v1")),
        ("others too", format!("chat, causerie.v2, causerie.v1, {bearer}"), Some("causerie.v1")),
        ("the token alone", bearer.clone(), None),
        ("an unknown one", format!("chat, {bearer}"), None),
        ("another case is another name", format!("Causerie.V1, {bearer}"), None),
    ] {
        let with = format!("Sec-WebSocket-Protocol: {offered}\r\n");
        let (mut raw, response) = answer(&room, &request(&room, line, &[], &with));
        assert_eq!((response.status, response.header("sec-websocket-protocol")), (101, chosen), "{name}");
        raw.expect("connection_established");
    }
    // In two lines, as RFC 6455, section 11.3.4, allows.
    let with = format!("Sec-WebSocket-Protocol: causerie.v1\r\nSec-WebSocket-Protocol: {bearer}\r\n");
    let (mut raw, response) = answer(&room, &request(&room, line, &[], &with));
    assert_eq!(response.header("sec-websocket-protocol"), Some("causerie.v1"));
    raw.expect("connection_established");
}

/// No extension is spoken, so none is accepted (section 9.1): the client must then do without.
#[test]
fn offered_extensions_are_not_accepted() {
    let room = Room::enter();
    for offer in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits; server_no_context_takeover",
        "permessage-bzip2, permessage-deflate",
        "x-unknown; a=\"b, c\"",
        ";;;=,",
    ] {
        let with = format!("Sec-WebSocket-Extensions: {offer}\r\n");
        let (mut raw, response) = answer(&room, &request(&room, &line(&room), &[], &with));
        assert_eq!((response.status, response.header("sec-websocket-extensions")), (101, None), "{offer}");
        raw.expect("connection_established");
        assert_lives(&mut raw, offer);
    }
}

/// A client need not wait for the answer (it must by section 4.1, and some do not).
#[test]
fn frames_may_follow_the_handshake_in_the_same_packet() {
    let room = Room::enter();
    let good = handshake(room.address(), &room.token);
    let behind = [question("early"), frame(FIN | PING, b"early too")].concat();
    let mut raw = Raw::tcp(room.address());
    raw.send(&[good.as_bytes(), &behind].concat());
    assert_eq!(raw.response().status, 101);
    let mut pong = false;
    let mut answered = false;
    while !(pong && answered) {
        match raw.see() {
            Seen::Frame(first, payload) if first == FIN | PONG => pong = payload == b"early too",
            Seen::Frame(first, payload) if first == FIN | TEXT => {
                answered |= String::from_utf8_lossy(&payload).contains(r#""ref":"early""#);
            }
            seen => panic!("{seen:?}"),
        }
    }
    // And the request may come byte by byte.
    let mut raw = Raw::tcp(room.address());
    raw.send_in_pieces(&[good.as_bytes(), &behind].concat(), 1);
    assert_eq!(raw.response().status, 101);
    assert_answered(&mut raw, "early", "byte by byte");
    // Many frames: more than is read at once.
    let many: Vec<u8> = (0..150).flat_map(|i| question(&format!("{i}"))).collect();
    let mut raw = Raw::tcp(room.address());
    raw.send(&[good.as_bytes(), &many].concat());
    assert_eq!(raw.response().status, 101);
    assert_answered(&mut raw, "149", "many frames");
    // A WebSocket may follow plain requests on the same connection.
    let mut raw = Raw::tcp(room.address());
    raw.send(format!("HEAD / HTTP/1.1\r\nHost: {}\r\n\r\n", room.address()).as_bytes());
    assert_eq!(raw.response().status, 200);
    raw.send(good.as_bytes());
    assert_eq!(raw.response().status, 101);
    assert_lives(&mut raw, "after a plain request");
}

#[test]
fn headers_without_end_are_refused() {
    let room = Room::enter();
    let long = format!("X-Long: {}\r\n", "x".repeat(64 * 1024));
    let many: String = (0..100).map(|i| format!("X-Many-{i}: x\r\n")).collect();
    let endless = format!("GET /ws/chat?token={} HTTP/1.1\r\n\r\n", "x".repeat(64 * 1024));
    for (name, text, statuses) in [
        ("a long header", request(&room, &line(&room), &[], &long), [431, 431]),
        ("many headers", request(&room, &line(&room), &[], &many), [431, 431]),
        ("a long line", endless, [414, 431]),
    ] {
        let mut raw = Raw::tcp(room.address());
        let _ = raw.try_send(text.as_bytes());
        let status = raw.response().status;
        assert!(statuses.contains(&status), "{name}: {status}");
    }
}

/// A request that comes a byte a second is given up after ten seconds, and hinders nobody meanwhile.
#[test]
fn headers_that_come_slowly_are_given_up() {
    let room = Room::enter();
    let mut slow = Raw::tcp(room.address());
    let begun = Instant::now();
    let mut rest = handshake(room.address(), &room.token).into_bytes().into_iter();
    loop {
        let byte = rest.next().expect("the handshake is longer than a minute of bytes");
        if slow.try_send(&[byte]).is_err() || slow.has_ended(Duration::from_secs(1)) {
            break;
        }
        assert!(begun.elapsed() < WITHIN, "still open after {WITHIN:?}");
        let mut other = room.connect();
        assert_lives(&mut other, "others");
    }
    assert!(begun.elapsed() >= Duration::from_secs(9), "given up after {:?}", begun.elapsed());
}
