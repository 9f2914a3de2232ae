//! Lengths, masks, reserved bits and opcodes, binary messages.

use causerie_tests::raw::{
    BINARY, CLOSE, CONTINUATION, FIN, Length, PING, TEXT, close_payload, frame, frame_with, text, unmasked,
};

use crate::{Closed, Lives, Room, assert_answered, question, question_text};

/// A question of exactly `length` bytes.
fn question_of(length: usize) -> String {
    let padded = |pad: usize| format!(r#"{{"type":"ping","id":"long","pad":"{}"}}"#, "x".repeat(pad));
    padded(length - padded(0).len())
}

#[test]
fn every_form_of_a_length_is_read() {
    let room = Room::enter();
    for length in [124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537, 200_000] {
        for size in [usize::MAX, 997] {
            let mut raw = room.connect();
            raw.send_in_pieces(&text(&question_of(length)), size);
            assert_answered(&mut raw, "long", &format!("{length} bytes in pieces of {size}"));
        }
    }
    // Byte by byte: the header and the mask are cut everywhere.
    for length in [50, 125, 126, 300] {
        let mut raw = room.connect();
        raw.send_in_pieces(&text(&question_of(length)), 1);
        assert_answered(&mut raw, "long", &format!("{length} bytes one by one"));
    }
    let mut raw = room.connect();
    raw.send(&text(""));
    assert_eq!(raw.expect("error")["code"], "invalid_json", "an empty message is a message");
}

/// A sender must use the shortest form (section 5.2); a receiver may overlook it, as nearly all do.
#[test]
fn a_longer_form_than_needed_is_read_too() {
    let room = Room::enter();
    let long = question_of(126);
    for (name, payload, length) in [
        ("27 bytes in two", question_text("long"), Length::U16(question_text("long").len() as u16)),
        ("27 bytes in eight", question_text("long"), Length::U64(question_text("long").len() as u64)),
        ("126 bytes in eight", long.clone(), Length::U64(126)),
    ] {
        let mut raw = room.connect();
        raw.send(&frame_with(FIN | TEXT, length, payload.as_bytes()));
        assert_answered(&mut raw, "long", name);
    }
}

#[test]
fn lengths_that_no_memory_holds_are_too_big() {
    let room = Room::enter();
    for length in [1 << 20, 1 << 31, u64::from(u32::MAX), 1 << 32, 1 << 62, i64::MAX as u64, 1 << 63, u64::MAX] {
        room.check(&format!("{length:#x}"), &frame_with(FIN | TEXT, Length::U64(length), b"{"), Closed(1009));
        room.check(&format!("binary, {length:#x}"), &frame_with(FIN | BINARY, Length::U64(length), b"{"), Closed(1009));
    }
}

#[test]
fn a_frame_without_a_mask_is_an_error() {
    let room = Room::enter();
    for (name, first) in [("text", TEXT), ("binary", BINARY), ("ping", PING), ("close", CLOSE)] {
        let payload = close_payload(1000, b"");
        room.check(name, &unmasked(FIN | first, &payload), Closed(1002));
        room.check(&format!("{name}, empty"), &unmasked(FIN | first, b""), Closed(1002));
    }
    room.check("fragment", &[frame(TEXT, b"{"), unmasked(FIN, b"}")].concat(), Closed(1002));
}

#[test]
fn reserved_bits_are_errors() {
    let room = Room::enter();
    for bits in 1..8 {
        let bits = bits << 4;
        for (name, opcode) in [("text", TEXT), ("binary", BINARY), ("ping", PING)] {
            room.check(&format!("{name} {bits:#x}"), &frame(FIN | bits | opcode, b"{}"), Closed(1002));
        }
        room.check(&format!("close {bits:#x}"), &frame(FIN | bits | CLOSE, &close_payload(1000, b"")), Closed(1002));
        let fragments = [frame(TEXT, b"{"), frame(FIN | bits | CONTINUATION, b"}")].concat();
        room.check(&format!("continuation {bits:#x}"), &fragments, Closed(1002));
    }
    // What came before is answered, what comes after is not read.
    let mut raw = room.connect();
    raw.send(&[question("before"), frame(FIN | 0x40 | TEXT, b"{}"), question("after")].concat());
    assert_answered(&mut raw, "before", "a message before the error");
    crate::assert_closed(&raw.ending(), 1002, "a message before the error");
}

#[test]
fn reserved_opcodes_are_errors() {
    let room = Room::enter();
    for opcode in (0x3..=0x7).chain(0xb..=0xf) {
        for payload in [b"".as_slice(), b"{}"] {
            room.check(&format!("{opcode:#x}"), &frame(FIN | opcode, payload), Closed(1002));
        }
        room.check_in_pieces(&format!("{opcode:#x} in pieces"), &frame(FIN | opcode, b"{}"), 1, Closed(1002));
        room.check(&format!("{opcode:#x} unfinished"), &frame(opcode, b"{}"), Closed(1002));
        let inside = [frame(TEXT, b"{"), frame(FIN | opcode, b""), frame(FIN, b"}")].concat();
        room.check(&format!("{opcode:#x} in a message"), &inside, Closed(1002));
    }
}

/// Binary messages are well-formed, and no part of this protocol: refused one by one.
#[test]
fn binary_messages_are_refused_and_the_connection_lives_on() {
    let room = Room::enter();
    let long = vec![0xff; 65_536];
    for (name, bytes) in [
        ("empty", frame(FIN | BINARY, b"")),
        ("short", frame(FIN | BINARY, b"\x00\xff\xfe")),
        ("text inside", frame(FIN | BINARY, question_text("binary").as_bytes())),
        ("long", frame(FIN | BINARY, &long)),
        ("fragments", [frame(BINARY, b"\xff"), frame(CONTINUATION, b""), frame(FIN, b"\xff")].concat()),
    ] {
        let mut raw = room.connect();
        raw.send(&bytes);
        assert_eq!(raw.expect("error")["code"], "binary_frame", "{name}");
        room.check(name, &bytes, Lives);
    }
}
