//! Readers without credit: they cost a cursor, miss nothing, and nobody waits for them.

mod driver;

use causerie_core::{ConnectionId, FinishReason};
use driver::{Driver, limits};
use serde_json::{Value, json};

fn only(frames: &[Value], kind: &str) -> Vec<Value> {
    frames.iter().filter(|f| f["type"] == kind).cloned().collect()
}

/// A session of Ann's with Bob in it, who can take nothing more.
fn ann_and_slow_bob(d: &mut Driver) -> (ConnectionId, ConnectionId) {
    let ann = d.user("Ann");
    let session = d.session(ann);
    d.send(ann, &json!({ "type": "invite", "username": "Bob" }));
    let bob = d.slow_user("Bob", 1);
    d.send(bob, &json!({ "type": "join_session", "session_id": session }));
    assert_eq!(d.read(bob)[0]["type"], "session_joined");
    d.read(ann);
    (ann, bob)
}

/// Checks the deltas of each answer against its message, and that messages come once and in order.
fn check_stream(frames: &[Value], messages: usize) {
    let mut text = String::new();
    let mut seqs = Vec::new();
    for frame in frames {
        match frame["type"].as_str() {
            Some("message_delta") => {
                assert_eq!(frame["offset"].as_u64(), Some(text.len() as u64), "no gap and no overlap: {frame}");
                text.push_str(frame["content"].as_str().expect("text"));
            }
            Some("message") => {
                if frame["role"] == "assistant" {
                    assert_eq!(frame["content"], json!(std::mem::take(&mut text)));
                }
                seqs.push(frame["seq"].as_u64().expect("a seq"));
            }
            _ => {}
        }
    }
    assert_eq!(seqs, (1..=messages as u64).collect::<Vec<_>>());
}

#[test]
fn deltas_coalesce_for_a_reader_without_credit() {
    let mut d = Driver::default();
    let (ann, bob) = ann_and_slow_bob(&mut d);
    d.send(ann, &json!({ "type": "chat_message", "message": "Count" }));
    for i in 0..100 {
        d.token(&format!("{i} "));
    }
    assert_eq!(d.read(bob), [] as [Value; 0]);
    assert_eq!(only(&d.read(ann), "message_delta").len(), 100, "nobody waits for Bob");
    d.grant(bob, 100_000);
    let frames = d.read(bob);
    assert_eq!(only(&frames, "message_delta").len(), 1);
    d.token("and so on");
    d.finish(FinishReason::Stop);
    let all: Vec<Value> = frames.into_iter().chain(d.read(bob)).collect();
    check_stream(&all, 2);
    assert_eq!(all.last().map(|f| f["is_typing"].clone()), Some(json!(false)));
}

#[test]
fn a_reader_that_takes_a_frame_at_a_time_misses_nothing() {
    let mut d = Driver::default();
    let (ann, bob) = ann_and_slow_bob(&mut d);
    for round in 0..3 {
        d.send(ann, &json!({ "type": "chat_message", "message": format!("Question {round}") }));
        for i in 0..50 {
            d.token(&format!("{round}.{i} ä "));
            if i % 7 == 0 {
                d.grant(bob, 200);
            }
        }
        d.finish(FinishReason::Stop);
    }
    let mut frames = d.read(bob);
    for _ in 0..10_000 {
        d.grant(bob, 50);
        frames.extend(d.read(bob));
    }
    check_stream(&frames, 6);
}

#[test]
fn who_falls_behind_the_log_is_served_from_storage() {
    for ends in [true, false] {
        let mut d = Driver::new({
            let mut limits = limits();
            limits.log_bytes = 4_000;
            limits
        });
        let (ann, bob) = ann_and_slow_bob(&mut d);
        d.send(ann, &json!({ "type": "chat_message", "message": "Count" }));
        d.token("1 2 ");
        // Bob sees the beginning of an answer whose end will have fallen out of the log.
        d.grant(bob, 900);
        let mut frames = d.read(bob);
        assert_eq!(frames.last().map(|f| f["type"].clone()), Some(json!("message_delta")));
        d.token("3");
        d.finish(FinishReason::Stop);
        for round in 0..30 {
            d.send(ann, &json!({ "type": "chat_message", "message": format!("Question {round}") }));
            d.answer(&format!("Answer {round}"));
        }
        d.send(ann, &json!({ "type": "chat_message", "message": "Now?" }));
        d.token("Now ");
        if ends {
            d.token("and then");
            d.finish(FinishReason::Stop);
        }
        for _ in 0..400 {
            d.grant(bob, 200);
            frames.extend(d.read(bob));
        }
        if !ends {
            d.token("and then");
            d.finish(FinishReason::Stop);
            d.grant(bob, 10_000);
            frames.extend(d.read(bob));
        }
        let stored: Vec<_> = only(&frames, "message").iter().map(|f| f["seq"].as_u64().expect("a seq")).collect();
        assert_eq!(stored, (1..=64).collect::<Vec<_>>(), "each message once and in order");
        let mut last = (Value::Null, String::new());
        for delta in only(&frames, "message_delta") {
            if delta["message_id"] != last.0 {
                last = (delta["message_id"].clone(), String::new());
            }
            assert_eq!(delta["offset"].as_u64(), Some(last.1.len() as u64), "{delta}");
            last.1.push_str(delta["content"].as_str().expect("text"));
            let whole = only(&frames, "message").iter().find(|m| m["id"] == delta["message_id"]).cloned();
            assert!(whole.is_some_and(|m| m["content"].as_str().is_some_and(|c| c.starts_with(&last.1))));
        }
        let typing: Vec<_> = only(&frames, "typing").iter().map(|f| f["is_typing"] == true).collect();
        for pair in typing.chunks(2) {
            assert_eq!(pair, [true, false], "typing begins and ends by turns");
        }
    }
}

#[test]
fn a_gap_that_storage_cannot_fill_is_told() {
    let mut d = Driver::new({
        let mut limits = limits();
        limits.log_bytes = 4_000;
        limits
    });
    let (ann, bob) = ann_and_slow_bob(&mut d);
    for round in 0..20 {
        d.send(ann, &json!({ "type": "chat_message", "message": format!("Question {round}") }));
        d.answer("Answer");
    }
    d.storage.fail_reads = 1;
    d.grant(bob, 100_000);
    let frames = d.read(bob);
    assert_eq!((&frames[0]["type"], &frames[0]["code"]), (&json!("notice"), &json!("messages_missing")));
    assert_eq!(only(&frames, "message").last().map(|f| f["seq"].clone()), Some(json!(40)));
}

#[test]
fn what_storage_owes_from_before_a_reader_joined_again_moves_it_nowhere() {
    let mut d = Driver::new({
        let mut limits = limits();
        limits.log_bytes = 4_000;
        limits
    });
    let ann = d.user("Ann");
    let session = d.session(ann);
    d.send(ann, &json!({ "type": "invite", "username": "Bob" }));
    let bob = d.slow_user("Bob", 1);
    d.send(bob, &json!({ "type": "join_session", "session_id": session }));
    let epoch = d.read(bob)[0]["epoch"].clone();
    for round in 0..20 {
        d.send(ann, &json!({ "type": "chat_message", "message": format!("Question {round}") }));
        d.answer("Answer");
    }
    // Storage is still to answer for the beginning when Bob, who knows more from elsewhere, joins again and asks anew.
    d.storage.held = true;
    d.grant(bob, 10_000);
    d.peers.get_mut(&bob).expect("a peer").reader.seq = 20;
    let since = json!({ "epoch": epoch, "seq": 20 });
    d.send(bob, &json!({ "type": "join_session", "session_id": session, "since": since }));
    assert_eq!(only(&d.read(bob), "session_joined")[0]["resumed"], true);
    d.one_answer();
    assert_eq!(d.read(bob), [] as [Value; 0], "an answer to nothing that he still asks");
    d.release_storage();
    d.grant(bob, 100_000);
    let frames = d.read(bob);
    assert_eq!(only(&frames, "notice"), [] as [Value; 0]);
    let seqs: Vec<_> = only(&frames, "message").iter().map(|f| f["seq"].as_u64().expect("a seq")).collect();
    assert_eq!(seqs, (21..=40).collect::<Vec<_>>());
}

#[test]
fn replies_that_are_not_read_pause_the_asker_and_lose_nothing() {
    let mut d = Driver::default();
    let bob = d.slow_user("Bob", 1);
    d.send(bob, &json!({ "type": "ping" }));
    d.read(bob);
    let mut sent = 0;
    while !d.peers[&bob].paused {
        d.send(bob, &json!({ "type": "ping", "id": sent }));
        sent += 1;
    }
    assert_eq!(sent, 64);
    assert_eq!(d.read(bob), [] as [Value; 0]);
    d.grant(bob, 1_000_000);
    assert!(!d.peers[&bob].paused);
    let answered: Vec<_> = d.read(bob).iter().map(|f| f["ref"].as_u64()).collect();
    assert_eq!(answered, (0..sent).map(Some).collect::<Vec<_>>());
}

#[test]
fn frames_held_before_the_verdict_are_all_served_as_credit_comes() {
    let mut d = Driver::default();
    let bob = d.hub.connect(d.now).expect("room");
    d.peers.insert(bob, driver::Peer { credit: Some(0), ..driver::Peer::default() });
    for i in 0..100 {
        d.send(bob, &json!({ "type": "ping", "id": i }));
    }
    d.authenticate(bob, "Bob", causerie_core::Role::User, std::time::Duration::from_secs(60));
    let mut answered = Vec::new();
    for _ in 0..1_000 {
        d.grant(bob, 10);
        answered.extend(d.read(bob).iter().filter_map(|f| f["ref"].as_u64()));
    }
    assert_eq!(answered, (0..100).collect::<Vec<_>>());
    assert!(!d.peers[&bob].paused);
}

#[test]
fn a_runtime_that_ignores_the_pause_is_told_so() {
    let mut d = Driver::new({
        let mut limits = limits();
        limits.frames_per_second = 1_000_000;
        limits
    });
    let bob = d.slow_user("Bob", 1);
    let ping = causerie_core::Input::Frame { connection: bob, text: "{\"type\":\"ping\"}" };
    d.give(ping);
    let mut given = 0;
    let misuse = loop {
        let ping = causerie_core::Input::Frame { connection: bob, text: "{\"type\":\"ping\"}" };
        match d.handle(ping) {
            Ok(()) => given += 1,
            Err(misuse) => break misuse,
        }
    };
    assert_eq!((given, misuse), (64 * 16, causerie_core::Misuse::Paused(bob)));
    d.run();
    d.grant(bob, u32::MAX);
    assert_eq!(d.read(bob).len(), 64 * 16 + 1, "all that was taken is answered");
}

#[test]
fn a_broadcast_is_one_output_for_all() {
    let mut d = Driver::default();
    let (ann, bob, eve) = (d.user("Ann"), d.user("Bob"), d.user("Eve"));
    let session = d.session(ann);
    d.share(ann, &session, bob, "Bob");
    d.share(ann, &session, eve, "Eve");
    d.send(ann, &json!({ "type": "chat_message", "message": "Hello" }));
    let before = d.shared_sends;
    for _ in 0..10 {
        d.token("word ");
    }
    assert_eq!(d.shared_sends - before, 10);
}

#[test]
fn a_session_ends_for_slow_readers_too() {
    let mut d = Driver::default();
    let (ann, bob) = ann_and_slow_bob(&mut d);
    d.send(ann, &json!({ "type": "chat_message", "message": "Hello" }));
    d.answer("Good day");
    d.send(ann, &json!({ "type": "chat_message", "message": "/clear" }));
    assert_eq!(d.hub.counts().sessions, 1, "Bob has not heard all of it");
    d.grant(bob, 100_000);
    let frames = d.read(bob);
    check_stream(&frames, 2);
    assert_eq!(frames.last().map(|f| f["type"].clone()), Some(json!("session_ended")));
    assert_eq!(d.hub.counts().sessions, 0);
}
