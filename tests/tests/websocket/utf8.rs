//! Text is UTF-8 (RFC 3629), whole messages of it: a character may be cut by fragments.

use causerie_tests::raw::{CONTINUATION, FIN, PING, TEXT, frame};

use crate::{Closed, Room, assert_answered, assert_closed, question_text};

/// A message around bytes that are to be judged.
fn around(bytes: &[u8]) -> Vec<u8> {
    [br#"{"type":"ping","id":""#, bytes, br#""}"#].concat()
}

/// Characters at the borders of their lengths and of what is forbidden, and some words.
const VALID: &[&str] = &[
    "κόσμε",
    "Hello-µ@ßöäüàá-UTF-8!!",
    "\u{7f}",
    "\u{80}",
    "\u{7ff}",
    "\u{800}",
    "\u{d7ff}",
    "\u{e000}",
    "\u{fffd}",
    "\u{fffe}",
    "\u{ffff}",
    "\u{10000}",
    "\u{1fffe}",
    "\u{10ffff}",
    "\u{feff}",
    "e\u{301}\u{200d}👩‍👩‍👧‍👦",
];

/// What is no UTF-8, by the rule that it breaks.
const INVALID: &[(&str, &[u8])] = &[
    ("a continuation alone", b"\x80"),
    ("the last continuation alone", b"\xbf"),
    ("seven continuations", b"\x80\xbf\x80\xbf\x80\xbf\x80"),
    ("two bytes cut", b"\xc2"),
    ("three bytes cut after one", b"\xe1"),
    ("three bytes cut after two", b"\xe1\x80"),
    ("four bytes cut after one", b"\xf1"),
    ("four bytes cut after two", b"\xf1\x80"),
    ("four bytes cut after three", b"\xf1\x80\x80"),
    ("overlong, two bytes", b"\xc0\xaf"),
    ("overlong, two bytes, the largest", b"\xc1\xbf"),
    ("overlong, three bytes", b"\xe0\x80\xaf"),
    ("overlong, three bytes, the largest", b"\xe0\x9f\xbf"),
    ("overlong, four bytes", b"\xf0\x80\x80\xaf"),
    ("overlong, four bytes, the largest", b"\xf0\x8f\xbf\xbf"),
    ("overlong zero", b"\xc0\x80"),
    ("the first surrogate", b"\xed\xa0\x80"),
    ("the last of the high surrogates", b"\xed\xaf\xbf"),
    ("the first of the low surrogates", b"\xed\xb0\x80"),
    ("the last surrogate", b"\xed\xbf\xbf"),
    ("a pair of surrogates", b"\xed\xa0\x80\xed\xb0\x80"),
    ("beyond U+10FFFF", b"\xf4\x90\x80\x80"),
    ("far beyond", b"\xf7\xbf\xbf\xbf"),
    ("five bytes", b"\xf8\x88\x80\x80\x80"),
    ("six bytes", b"\xfc\x84\x80\x80\x80\x80"),
    ("0xfe", b"\xfe"),
    ("0xff", b"\xff"),
    ("Latin-1", b"Gr\xfc\xdfe"),
];

#[test]
fn valid_text_comes_back_as_it_was_sent() {
    let room = Room::enter();
    let mut raw = room.connect();
    for text in VALID {
        raw.send(&frame(FIN | TEXT, &around(text.as_bytes())));
        assert_answered(&mut raw, text, &format!("{text:?}"));
    }
}

#[test]
fn a_character_may_be_cut_by_fragments_and_packets() {
    let room = Room::enter();
    for text in VALID {
        let message = around(text.as_bytes());
        let mut raw = room.connect();
        for at in 0..=message.len() {
            let ping = frame(FIN | PING, b"in between");
            raw.send(&[frame(TEXT, &message[..at]), ping, frame(FIN, &message[at..])].concat());
            assert_answered(&mut raw, text, &format!("{text:?} cut at {at}"));
        }
        let mut raw = room.connect();
        raw.send(&frame(TEXT, b""));
        for byte in &message {
            raw.send_in_pieces(&frame(CONTINUATION, &[*byte]), 3);
        }
        raw.send(&frame(FIN, b""));
        assert_answered(&mut raw, text, &format!("{text:?}, each byte a fragment"));
    }
}

#[test]
fn invalid_text_is_an_error_wherever_it_stands() {
    let room = Room::enter();
    for (name, bytes) in INVALID {
        let places: [(&str, Vec<u8>); 4] = [
            ("alone", bytes.to_vec()),
            ("first", [bytes, question_text("x").as_bytes()].concat()),
            ("in the middle", around(bytes)),
            ("last", [question_text("x").as_bytes(), bytes].concat()),
        ];
        for (place, message) in &places {
            room.check(&format!("{name}, {place}"), &frame(FIN | TEXT, message), Closed(1007));
            let half = message.len() / 2;
            let fragments = [frame(TEXT, &message[..half]), frame(FIN, &message[half..])].concat();
            room.check(&format!("{name}, {place}, in two fragments"), &fragments, Closed(1007));
        }
        let message = around(bytes);
        let mut fragments = frame(TEXT, b"");
        fragments.extend(message.iter().flat_map(|byte| frame(CONTINUATION, &[*byte])));
        fragments.extend(frame(FIN, b""));
        room.check(&format!("{name}, each byte a fragment"), &fragments, Closed(1007));
    }
}

/// A message that can become valid no more ends with the fragment that spoils it, not with its own end, which may never
/// come.
#[test]
fn invalid_text_fails_with_its_fragment() {
    let room = Room::enter();
    for (name, bytes) in INVALID.iter().filter(|(name, _)| !name.contains("cut")) {
        let mut raw = room.connect();
        raw.send(&frame(TEXT, bytes));
        assert_closed(&raw.ending(), 1007, name);
    }
    // A cut character may go on in the next fragment, and does not.
    for (name, bytes) in INVALID.iter().filter(|(name, _)| name.contains("cut")) {
        let mut raw = room.connect();
        raw.send(&frame(TEXT, bytes));
        raw.send(&frame(FIN | PING, b"still fine"));
        raw.send(&frame(CONTINUATION, b"a"));
        assert_closed(&raw.ending(), 1007, name);
    }
}

/// Only text must be UTF-8.
#[test]
fn control_frames_hold_any_bytes() {
    let room = Room::enter();
    for (name, bytes) in INVALID {
        room.check(name, &frame(FIN | PING, bytes), crate::Lives);
    }
}
