//! Messages in fragments (RFC 6455, section 5.4).

use causerie_tests::raw::{BINARY, CONTINUATION, FIN, PING, TEXT, frame};

use crate::{Closed, Lives, Room, assert_answered, question, question_text};

#[test]
fn a_message_may_be_cut_anywhere() {
    let room = Room::enter();
    let message = question_text("cut");
    let bytes = message.as_bytes();
    let mut raw = room.connect();
    // One cut, the empty fragments at both ends among them.
    for at in 0..=bytes.len() {
        raw.send(&[frame(TEXT, &bytes[..at]), frame(FIN | CONTINUATION, &bytes[at..])].concat());
        assert_answered(&mut raw, "cut", &format!("cut at {at}"));
    }
    // Two cuts.
    for from in 0..=bytes.len() {
        let mut raw = room.connect();
        for to in from..=bytes.len() {
            let first = frame(TEXT, &bytes[..from]);
            let middle = frame(CONTINUATION, &bytes[from..to]);
            raw.send(&[first, middle, frame(FIN | CONTINUATION, &bytes[to..])].concat());
            assert_answered(&mut raw, "cut", &format!("cut at {from} and {to}"));
        }
    }
}

#[test]
fn fragments_may_be_tiny_empty_and_many() {
    let room = Room::enter();
    let long = format!(r#"{{"type":"ping","id":"many","pad":"{}"}}"#, "x".repeat(50_000));
    for (name, message, empty) in
        [("one byte each", long.as_str(), 0), ("empty ones between", &question_text("many"), 1_000)]
    {
        let mut bytes = frame(TEXT, b"");
        for byte in message.as_bytes() {
            bytes.extend(frame(CONTINUATION, &[*byte]));
            for _ in 0..empty {
                bytes.extend(frame(CONTINUATION, b""));
            }
        }
        bytes.extend(frame(FIN, b""));
        let mut raw = room.connect();
        raw.send(&bytes);
        assert_answered(&mut raw, "many", name);
    }
    // In packets that end where no frame ends, with pings on the way.
    let message = question_text("many");
    let mut bytes = frame(TEXT, b"");
    for byte in message.as_bytes() {
        bytes.extend([frame(FIN | PING, b"in between"), frame(CONTINUATION, &[*byte])].concat());
    }
    bytes.extend(frame(FIN, b""));
    for size in [1, 2, 3, 7, 64] {
        let mut raw = room.connect();
        raw.send_in_pieces(&bytes, size);
        assert_answered(&mut raw, "many", &format!("in pieces of {size}"));
    }
}

#[test]
fn fragments_out_of_place_are_errors() {
    let room = Room::enter();
    let whole = question("whole");
    let cases: &[(&str, Vec<u8>)] = &[
        ("continuation of nothing", frame(FIN | CONTINUATION, b"x")),
        ("continuation of nothing, empty", frame(FIN | CONTINUATION, b"")),
        ("continuation of nothing, unfinished", frame(CONTINUATION, b"x")),
        ("continuation after a whole message", [whole.clone(), frame(FIN | CONTINUATION, b"x")].concat()),
        (
            "continuation after a message in fragments",
            [frame(TEXT, b"{"), frame(FIN, b"}"), frame(FIN | CONTINUATION, b"x")].concat(),
        ),
        ("continuation between messages", [whole.clone(), frame(CONTINUATION, b"x"), whole.clone()].concat()),
        ("text inside a message", [frame(TEXT, b"{"), whole.clone()].concat()),
        ("text inside a message, unfinished", [frame(TEXT, b"{"), frame(TEXT, b"}"), frame(FIN, b"")].concat()),
        ("binary inside a message", [frame(TEXT, b"{"), frame(FIN | BINARY, b"}")].concat()),
        ("text inside a binary message", [frame(BINARY, b"{"), whole].concat()),
    ];
    for (name, bytes) in cases {
        room.check(name, bytes, Closed(1002));
        room.check_in_pieces(&format!("{name}, byte by byte"), bytes, 1, Closed(1002));
    }
}

#[test]
fn who_leaves_in_the_middle_of_a_message_just_leaves() {
    let room = Room::enter();
    let mut raw = room.connect();
    raw.send(&frame(TEXT, b"{"));
    raw.end_sending();
    assert_eq!(raw.ending().errors, [""; 0]);
    room.check("others", b"", Lives);
}
