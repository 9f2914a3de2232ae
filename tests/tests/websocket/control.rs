//! Pings and pongs of RFC 6455.

use std::time::Instant;

use causerie_tests::raw::{FIN, Length, PING, PONG, Raw, Seen, TEXT, frame, frame_with};

use crate::{Closed, Lives, Room, assert_answered, question, question_text};

/// The next pong.
#[track_caller]
fn pong(raw: &mut Raw) -> Vec<u8> {
    loop {
        match raw.see() {
            Seen::Frame(first, payload) if first == FIN | PONG => return payload,
            Seen::Frame(first, _) if first == FIN | TEXT => {}
            seen => panic!("{seen:?} before a pong"),
        }
    }
}

#[test]
fn a_ping_of_every_length_is_answered_with_its_payload() {
    let room = Room::enter();
    let mut raw = room.connect();
    for length in 0..=125 {
        let payload: Vec<u8> = (0..length).map(|i| 0xff ^ i).collect();
        raw.send(&frame(FIN | PING, &payload));
        assert_eq!(pong(&mut raw), payload);
    }
    raw.send_in_pieces(&frame(FIN | PING, &[0xfe; 125]), 1);
    assert_eq!(pong(&mut raw), [0xfe; 125]);
    for i in 0..10u8 {
        raw.send(&frame(FIN | PING, &[i]));
    }
    assert!((0..10u8).all(|i| pong(&mut raw) == [i]), "each in its turn");
}

#[test]
fn control_frames_that_are_too_long_or_in_fragments_are_errors() {
    let room = Room::enter();
    for (name, opcode) in [("ping", PING), ("pong", PONG)] {
        for length in [126, 127, 1_000, 65_536] {
            room.check(&format!("{name} of {length} bytes"), &frame(FIN | opcode, &vec![0; length]), Closed(1002));
        }
        room.check(&format!("{name} unfinished"), &frame(opcode, b"x"), Closed(1002));
        room.check(&format!("{name} unfinished and empty"), &frame(opcode, b""), Closed(1002));
        let continued = [frame(opcode, b"x"), frame(FIN, b"y")].concat();
        room.check(&format!("{name} continued"), &continued, Closed(1002));
        let longer = frame_with(FIN | opcode, Length::U16(5), b"hello");
        room.check(&format!("{name} with a longer form of its length"), &longer, Lives);
    }
}

#[test]
fn pongs_that_nobody_asked_for_are_passed_over() {
    let room = Room::enter();
    let mut raw = room.connect();
    raw.send(&[frame(FIN | PONG, b""), frame(FIN | PONG, b"unasked"), frame(FIN | PING, b"asked")].concat());
    assert_eq!(raw.see(), Seen::Frame(FIN | PONG, b"asked".to_vec()), "no pong is answered");
    crate::assert_lives(&mut raw, "unasked pongs");
}

#[test]
fn pings_come_between_fragments_and_are_answered_at_once() {
    let room = Room::enter();
    let message = question_text("whole");
    let (one, two) = message.as_bytes().split_at(9);
    let mut raw = room.connect();
    raw.send(&frame(TEXT, one));
    for i in 0..20u8 {
        raw.send(&frame(FIN | PING, &[i]));
        assert_eq!(pong(&mut raw), [i], "although the message is not whole");
    }
    raw.send(&frame(FIN | PONG, b""));
    raw.send(&frame(FIN, two));
    assert_answered(&mut raw, "whole", "a message with pings in it");
}

/// Often enough for proxies, which commonly cut what is silent for a minute.
#[test]
fn the_server_pings_who_is_silent_every_25_seconds() {
    let room = Room::enter();
    let mut raw = room.connect();
    let begun = Instant::now();
    assert_eq!(raw.see(), Seen::Frame(FIN | PING, Vec::new()));
    let after = begun.elapsed().as_secs();
    assert!((20..60).contains(&after), "after {after} s");
    raw.send(&frame(FIN | PONG, b""));
    crate::assert_lives(&mut raw, "who answers");
}

/// A server may leave out pongs while it has no room for them, but never the last one, and never change their order.
#[test]
fn ten_thousand_pings_at_once_are_answered_in_order() {
    let room = Room::enter();
    let mut raw = room.connect();
    let mut writer = raw.stream();
    let pings: Vec<u8> = (0..10_000u32).flat_map(|i| frame(FIN | PING, &i.to_be_bytes())).collect();
    let writing = std::thread::spawn(move || {
        use std::io::Write;
        writer.write_all(&pings).expect("the server takes pings");
    });
    let mut last = None;
    while last != Some(9_999) {
        let payload = pong(&mut raw);
        let number = u32::from_be_bytes(payload.try_into().expect("four bytes, as sent"));
        assert!(last < Some(number), "{number} after {last:?}");
        last = Some(number);
    }
    writing.join().expect("the writer wrote all");
    raw.send(&question("after"));
    assert_answered(&mut raw, "after", "ten thousand pings");
}
