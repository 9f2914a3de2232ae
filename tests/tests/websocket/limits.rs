//! Sizes, floods and slowness (Autobahn's category 9, and clients that mean harm).

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use causerie_tests::WITHIN;
use causerie_tests::raw::{BINARY, CONTINUATION, FIN, PING, PONG, Raw, TEXT, frame, text};
use serde_json::json;

use crate::{Closed, Room, assert_answered, assert_closed, assert_lives, question, question_text};

/// Bytes of a message: `frame_bytes` in the core's limits.
const MESSAGE: usize = 262_144;

fn question_of(length: usize) -> String {
    let padded = |pad: usize| format!(r#"{{"type":"ping","id":"long","pad":"{}"}}"#, "x".repeat(pad));
    padded(length - padded(0).len())
}

/// A message cut into fragments of a size.
fn fragments(message: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = frame(TEXT, b"");
    for piece in message.chunks(size) {
        bytes.extend(frame(CONTINUATION, piece));
    }
    bytes.extend(frame(FIN, b""));
    bytes
}

#[test]
fn a_message_at_the_limit_is_read_and_one_byte_more_is_told_and_closed_with_1009() {
    let room = Room::enter();
    let fits = question_of(MESSAGE);
    let over = question_of(MESSAGE + 1);
    let sizes = [MESSAGE, 65_536, 1_000, 256];
    let mut cases = vec![("one frame", text(&fits), text(&over))];
    cases.extend(sizes.map(|size| ("fragments", fragments(fits.as_bytes(), size), fragments(over.as_bytes(), size))));
    for (name, fits, over) in cases {
        let mut raw = room.connect();
        raw.send(&fits);
        assert_answered(&mut raw, "long", name);
        let mut raw = room.connect();
        let _ = raw.try_send(&over);
        let ending = raw.ending();
        assert_closed(&ending, 1009, name);
        assert_eq!(ending.errors, ["frame_too_large"], "{name}");
    }
    // The limit is the message's, not the text's.
    room.check("binary", &frame(FIN | BINARY, &vec![0; MESSAGE + 1]), Closed(1009));
    let binary = [frame(BINARY, &vec![0; MESSAGE]), frame(FIN, b"x")].concat();
    room.check("binary fragments", &binary, Closed(1009));
}

/// Who sends ten megabytes hears why it is not read, although the server reads none of it.
#[test]
fn who_sends_far_too_much_is_told_why() {
    let room = Room::enter();
    let long = text(&question_of(10 << 20));
    let mut raw = room.connect();
    let _ = raw.try_send(&long);
    let ending = raw.ending();
    assert_eq!((ending.code, ending.errors), (Some(1009), vec!["frame_too_large".to_owned()]));
    assert_lives(&mut room.connect(), "others");
}

/// Sends the same bytes again and again until told to stop.
fn flood(raw: &Raw, bytes: Vec<u8>, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let (mut stream, stop) = (raw.stream(), stop.clone());
    std::thread::spawn(move || while !stop.load(Ordering::Relaxed) && stream.write_all(&bytes).is_ok() {})
}

/// One who sends without end, faster than anybody can read, takes turns with the others.
#[test]
fn a_flood_hinders_nobody() {
    let room = Room::enter();
    let token = room.server.token("bob");
    let many = |bytes: Vec<u8>| bytes.repeat(10_000);
    for (name, first, bytes) in [
        ("pongs", vec![], many(frame(FIN | PONG, b""))),
        ("pings", vec![], many(frame(FIN | PING, b"x"))),
        ("empty fragments", frame(TEXT, b"{"), many(frame(CONTINUATION, b""))),
        ("binary", vec![], many(frame(FIN | BINARY, b"x"))),
        ("messages", vec![], many(question("flood"))),
    ] {
        let mut mallory = room.connect();
        mallory.send(&first);
        let stop = Arc::new(AtomicBool::new(false));
        let flooding = flood(&mallory, bytes, &stop);
        // Until the flood fills all the buffers.
        std::thread::sleep(Duration::from_millis(200));
        let begun = Instant::now();
        for i in 0..5 {
            let id = format!("{i}");
            let mut bob = Raw::connect(room.address(), &token);
            bob.send(&question(&id));
            assert_answered(&mut bob, &id, name);
        }
        println!("{name}: five connections and pings in {:?}", begun.elapsed());
        stop.store(true, Ordering::Relaxed);
        drop(mallory.stream().shutdown(std::net::Shutdown::Both));
        flooding.join().expect("the flood has ended");
    }
}

/// Ten thousand joins at once: each is answered, most of them with when to come again, and the others go on.
#[test]
fn ten_thousand_joins_at_once_are_each_answered() {
    let room = Room::enter();
    let mut mallory = room.connect();
    mallory.send(&text(r#"{"type":"create_session"}"#));
    let session = mallory.expect("session_joined")["session_id"].clone();
    let joins: Vec<u8> = (0..10_000)
        .flat_map(|i| text(&json!({"type": "join_session", "session_id": session, "id": i}).to_string()))
        .collect();
    let mut stream = mallory.stream();
    let writing = std::thread::spawn(move || stream.write_all(&joins).expect("the server takes frames"));
    let mut joined = 0;
    for i in 0..10_000 {
        let answer = mallory.expect_where("an answer to each", |frame| frame["ref"] == json!(i));
        joined += usize::from(answer["type"] == "session_joined");
        assert!(
            answer["type"] == "session_joined"
                || answer["code"] == "too_many_frames" && answer["retry_after_ms"].is_u64(),
            "{answer}"
        );
        if i % 1_000 == 0 {
            assert_lives(&mut room.connect(), "others");
        }
    }
    assert!(joined >= 1, "the first of them is allowed");
    writing.join().expect("all was written");
}

/// A message that comes a byte at a time takes its time and nobody else's.
#[test]
fn a_message_that_comes_slowly_is_read_in_the_end() {
    let room = Room::enter();
    let mut slow = room.connect();
    let mut other = room.connect();
    for byte in text(&question_text("slow")) {
        slow.send(&[byte]);
        std::thread::sleep(Duration::from_millis(20));
        assert_lives(&mut other, "others");
    }
    assert_answered(&mut slow, "slow", "a byte at a time");
}

/// Resident memory of a process, in KiB.
#[cfg(target_os = "linux")]
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("Linux has procfs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it has a resident size");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

/// Who asks and asks and reads nothing is not read from either: its answers take no memory without bound.
#[test]
#[cfg(target_os = "linux")]
fn who_never_reads_takes_no_memory() {
    // A server of its own: others would be measured too.
    let server = causerie_tests::Server::start_with(causerie_tests::Options {
        model: Some("/nowhere/at-all.gguf".into()),
        ..Default::default()
    });
    let mut deaf = Raw::connect(server.address(), &server.token("deaf"));
    deaf.send(&text(r#"{"type":"create_session"}"#));
    deaf.expect("session_joined");
    let before = resident(server.process().id());
    let mut stream = deaf.stream();
    stream.set_write_timeout(Some(Duration::from_secs(2))).expect("the timeout is not zero");
    let message = text(&json!({"type": "chat_message", "message": "x".repeat(20_000)}).to_string());
    let asking = [message, text(r#"{"type":"history","limit":100}"#), frame(FIN | PING, &[b'x'; 125])].concat();
    let mut sent = 0;
    // The kernel takes no more when the server does not.
    while sent < 64 << 20 && stream.write_all(&asking).is_ok() {
        sent += asking.len();
    }
    let grown = resident(server.process().id()).saturating_sub(before);
    println!("sent {} KiB, read nothing: the server has grown by {grown} KiB", sent >> 10);
    assert!(grown < 16 << 10, "the server has grown by {grown} KiB");
    let mut other = Raw::connect(server.address(), &server.token("other"));
    assert_lives(&mut other, "others");
    let deadline = Instant::now() + WITHIN;
    drop((deaf, stream));
    while server.health().1["connections"] != 1 {
        assert!(Instant::now() < deadline, "the connection that read nothing is not forgotten");
        std::thread::sleep(Duration::from_millis(20));
    }
}
