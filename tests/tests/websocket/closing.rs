//! The closing handshake (RFC 6455, section 7), and connections that end without one.

use std::time::{Duration, Instant};

use causerie_tests::raw::{CLOSE, FIN, PING, Raw, TEXT, close_payload, frame, text};
use causerie_tests::{Client, WITHIN};
use serde_json::json;

use crate::{Closed, Room, assert_closed, assert_lives, question};

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, &close_payload(code, reason))
}

#[test]
fn codes_that_a_client_may_send_come_back_with_their_reason() {
    let room = Room::enter();
    let allowed = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4500, 4999];
    for code in allowed {
        for reason in ["", "that was all", &"ä".repeat(61)] {
            let mut raw = room.connect();
            raw.send(&close(code, reason.as_bytes()));
            let ending = raw.ending();
            assert_closed(&ending, code, reason);
            assert_eq!(ending.reason, reason, "{code}");
        }
    }
    let mut raw = room.connect();
    raw.send(&frame(FIN | CLOSE, b""));
    assert_closed(&raw.ending(), 1005, "without a code");
    let mut raw = room.connect();
    raw.send_in_pieces(&close(1000, b"bit by bit"), 1);
    assert_closed(&raw.ending(), 1000, "byte by byte");
}

#[test]
fn codes_that_nobody_may_send_are_errors() {
    let room = Room::enter();
    let forbidden = [0, 1, 999, 1004, 1005, 1006, 1014, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];
    for code in forbidden {
        room.check(&format!("{code}"), &close(code, b""), Closed(1002));
        room.check(&format!("{code} with a reason"), &close(code, b"why not"), Closed(1002));
    }
}

#[test]
fn close_frames_that_are_none() {
    let room = Room::enter();
    room.check("half a code", &frame(FIN | CLOSE, &[3]), Closed(1002));
    room.check("too long", &close(1000, &[b'x'; 124]), Closed(1002));
    room.check("far too long", &close(1000, &[b'x'; 70_000]), Closed(1002));
    room.check("unfinished", &frame(CLOSE, &close_payload(1000, b"")), Closed(1002));
    for reason in [b"\xff".as_slice(), b"Gr\xfc\xdfe", b"cut \xe2\x82", b"\xed\xa0\x80"] {
        room.check("a reason that is not UTF-8", &close(1000, reason), Closed(1007));
    }
}

/// The next connection of a user is told why it is one too many; the others go on, and where one has left there is room.
#[test]
fn a_user_with_too_many_connections_is_told_and_closed_with_4500() {
    let room = Room::enter();
    let token = room.server.token("everywhere");
    let mut open: Vec<Raw> = (0..64).map(|_| Raw::connect(room.address(), &token)).collect();
    let ending = Raw::open(room.address(), &token).ending();
    assert_closed(&ending, 4500, "one too many");
    assert_eq!(ending.errors, ["too_many_connections"]);
    open.iter_mut().for_each(|raw| assert_lives(raw, "those before it"));
    assert_lives(&mut room.connect(), "other users");
    let mut leaving = open.swap_remove(0);
    leaving.send(&close(1000, b""));
    assert_closed(&leaving.ending(), 1000, "who leaves");
    assert_lives(&mut Raw::connect(room.address(), &token), "who comes instead");
}

/// Nothing after a close frame is read (section 5.5.1), and no reset takes the answer away.
#[test]
fn what_comes_after_a_close_is_passed_over() {
    let room = Room::enter();
    let long = vec![b'x'; 300_000];
    for (name, after) in [
        ("a close", close(1001, b"again")),
        ("a ping", frame(FIN | PING, b"late")),
        ("a message", question("late")),
        ("a binary message", frame(FIN | 2, b"late")),
        ("a fragment", frame(TEXT, b"{")),
        ("what is no frame", vec![0xff; 100]),
        ("a frame without a mask", vec![0x81, 2, b'{', b'}']),
        ("a long message", frame(FIN | TEXT, &long)),
    ] {
        let mut raw = room.connect();
        raw.send(&[close(1000, b""), after].concat());
        let ending = raw.ending();
        assert_closed(&ending, 1000, name);
        assert_eq!(ending.errors, [""; 0], "{name}");
    }
    // In the middle of a message.
    let mut raw = room.connect();
    raw.send(&[frame(TEXT, b"{"), close(1000, b""), frame(FIN, b"}")].concat());
    assert_closed(&raw.ending(), 1000, "between fragments");
}

#[test]
fn who_is_told_to_go_may_say_so_first_or_at_the_same_time() {
    let room = Room::enter();
    // The server closes with 1008 as soon as it has seen the token, and says why before that.
    for (name, bytes) in [("with a close", close(1000, b"")), ("with a message", question("late")), ("silent", vec![])]
    {
        let mut raw = Raw::open(room.address(), "no-token");
        assert_eq!(raw.expect("error")["code"], "authentication_failed");
        let _ = raw.try_send(&bytes);
        assert_closed(&raw.ending(), 1008, name);
    }
    // Who was first is not to be known here; either way there is one close frame, and TCP ends in order.
    let mut raw = Raw::open(room.address(), "no-token");
    let _ = raw.try_send(&close(1000, b""));
    let ending = raw.ending();
    assert!(matches!(ending.code, Some(1000 | 1008)) && ending.in_order, "at the same time: {ending:?}");
}

#[test]
fn half_a_connection_is_none() {
    let room = Room::enter();
    // With a close frame the answer still comes.
    let mut raw = room.connect();
    raw.send(&close(1000, b""));
    raw.end_sending();
    assert_closed(&raw.ending(), 1000, "a close, then the end of TCP");
    // Without one the server ends it as well.
    let mut raw = room.connect();
    raw.end_sending();
    assert_eq!(raw.ending().code, None);
    // In the middle of a frame.
    let mut raw = room.connect();
    raw.send(&text("{}")[..5]);
    raw.end_sending();
    assert_eq!(raw.ending().code, None);
}

/// Who pulls the plug is missed by the others at once, and by nobody else.
#[test]
fn a_connection_that_breaks_off_is_noticed() {
    let room = Room::enter();
    let mut owner = Client::connect(room.address(), &room.server.token("owner"));
    let session = owner.create_session("Shared");
    owner.invite("guest");
    let token = room.server.token("guest");
    let join = text(&json!({"type": "join_session", "session_id": session}).to_string());
    let left = |owner: &mut Client, name: &str| {
        owner.expect_where(name, WITHIN, |f| f["type"] == "presence" && f["event"] == "left");
    };
    let mut guest = Raw::connect(room.address(), &token);
    guest.send(&join);
    guest.expect("session_joined");
    drop(guest);
    left(&mut owner, "the end of TCP");
    // A socket that is closed with unread bytes sends a reset.
    let mut guest = Raw::connect(room.address(), &token);
    guest.send(&[join.as_slice(), &question("unread")].concat());
    guest.expect("session_joined");
    while guest.is_silent(Duration::from_millis(1)) {}
    drop(guest);
    left(&mut owner, "a reset");
    let mut guest = Raw::connect(room.address(), &token);
    guest.send(&join);
    guest.expect("session_joined");
    guest.send(&frame(FIN | 3, b""));
    left(&mut owner, "a violation");
    let mut raw = room.connect();
    assert_lives(&mut raw, "others");
}

/// A client that hears the close, answers it, and waits for the server to end TCP first, as it should, waits no longer
/// than that takes.
#[test]
fn the_server_ends_tcp_first() {
    let room = Room::enter();
    let mut times: Vec<Duration> = (0..9)
        .map(|_| {
            let mut raw = room.connect();
            let sent = Instant::now();
            raw.send(&close(1000, b""));
            assert_closed(&raw.ending(), 1000, "a close");
            sent.elapsed()
        })
        .collect();
    times.sort();
    assert!(times[4] < Duration::from_secs(1), "the median close takes {:?}", times[4]);
}
