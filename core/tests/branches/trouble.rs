//! Where there is nothing to branch from, and when storage, the model or a connection fails.

use causerie_core::{FinishReason, GenerationFailure, Input, Loaded, Misuse, Output};
use serde_json::json;
use std::time::Duration;

use crate::{all_three, edit, exchange, goes_on_from, pairs, regenerate, tea, tree};

#[test]
fn no_branches_where_there_are_no_messages() {
    let (mut d, ann, question, _) = tea();
    let stranger = d.user("Eve");
    for frame in all_three(&question) {
        d.send(stranger, &frame);
        assert_eq!(d.read_one(stranger)["code"], "not_in_session");
    }
    d.give(Input::Drain { until: d.now + Duration::from_secs(60) });
    d.read(ann);
    for frame in all_three(&question) {
        d.send(ann, &frame);
        assert_eq!(d.read_one(ann)["code"], "server_draining");
    }

    let (mut d, ann, question, _) = tea();
    d.storage.held = true;
    d.send(ann, &json!({ "type": "chat_message", "message": "/clear" }));
    d.read(ann);
    for frame in all_three(&question) {
        d.send(ann, &frame);
        assert_eq!(d.read_one(ann)["code"], "session_ended");
    }
}

#[test]
fn a_session_that_ends_first_leaves_nothing_waiting() {
    let (mut d, ann, question, _) = tea();
    d.storage.held = true;
    // One is looked up, the others wait; then the session ends.
    for (id, mut frame) in all_three(&question).into_iter().enumerate() {
        frame["id"] = json!(id);
        d.send(ann, &frame);
    }
    d.send(ann, &json!({ "type": "delete_session" }));
    d.release_storage();
    let frames = d.read(ann);
    assert_eq!(
        frames.iter().filter(|f| f["type"] == "ack").count(),
        3,
        "what was in line before is stored: {frames:#?}"
    );
    assert_eq!(frames.last().map(|f| &f["type"]), Some(&json!("session_deleted")));
    assert_eq!((d.running.len(), d.hub.counts().waiting_messages), (0, 0), "and not answered");
}

#[test]
fn a_failure_of_storage_changes_nothing_and_may_be_tried_again() {
    let (mut d, ann, question, answer) = tea();
    for frame in all_three(&question) {
        for (reads, writes) in [(1, 0), (0, 1)] {
            (d.storage.fail_reads, d.storage.fail_writes) = (reads, writes);
            d.send(ann, &frame);
            let refused = d.read_one(ann);
            assert_eq!((&refused["code"], &refused["retryable"]), (&json!("storage_failed"), &json!(true)), "{frame}");
        }
    }
    // An answer is looked up, then what it answers.
    d.storage.held = true;
    d.send(ann, &regenerate(&answer));
    d.one_answer();
    d.storage.fail_reads = 0;
    d.storage.fail_writes = 1;
    d.release_storage();
    assert_eq!(d.read_one(ann)["code"], "storage_failed");
    assert_eq!((tree(&d).len(), goes_on_from(&d)), (2, "Green."));
    assert_eq!((d.running.len(), d.hub.counts().waiting_messages), (0, 0));
    d.send(ann, &regenerate(&answer));
    assert_eq!(d.read(ann)[0]["type"], "ack");
}

#[test]
fn a_regenerated_answer_that_fails_leaves_the_old_one() {
    let (mut d, ann, question, answer) = tea();
    d.send(ann, &regenerate(&answer));
    d.token("Bl");
    d.fail(GenerationFailure::Internal);
    let frames = d.read(ann);
    assert!(frames.iter().any(|f| f["type"] == "error" && f["code"] == "generation_failed"), "{frames:#?}");
    assert_eq!(goes_on_from(&d), "Tea?");
    exchange(&mut d, ann, "Well?", "Green.");
    assert_eq!(tree(&d)[2], pairs(&[("Well?", "Tea?")])[0]);
    // Whoever comes is told where the conversation goes on.
    d.send(ann, &regenerate(&question));
    let bystander = d.user("Ann");
    let session = d.storage.sessions.keys().next().expect("a session").0.to_string();
    d.send(bystander, &json!({ "type": "join_session", "session_id": session }));
    let frames = d.read(bystander);
    assert_eq!((&frames[0]["type"], &frames[0]["last_message"]), (&json!("session_joined"), &question));
    assert_eq!((&frames[1]["type"], &frames[1]["parent"]), (&json!("typing"), &question));
}

#[test]
fn a_lost_connection_resumes_in_the_middle_of_another_answer() {
    let (mut d, ann, _, answer) = tea();
    let session = d.storage.sessions.keys().next().expect("a session").0.to_string();
    let epoch = d.peers[&ann].frames.iter().find(|f| f["type"] == "session_joined").expect("joined")["epoch"].clone();
    d.send(ann, &regenerate(&answer));
    d.token("Bla");
    let delta = d.read(ann).pop().expect("a delta");
    d.close(ann);
    d.token("ck, ");
    let ann = d.user("Ann");
    let reader = &mut d.peers.get_mut(&ann).expect("a peer").reader;
    let message = delta["message_id"].as_str().expect("an id").to_string();
    (reader.seq, reader.answer) = (2, Some((message, "Bla".to_string())));
    let since = json!({ "epoch": epoch, "seq": 2, "message_id": delta["message_id"], "offset": 3 });
    d.send(ann, &json!({ "type": "join_session", "session_id": session, "since": since }));
    d.token("very.");
    d.finish(FinishReason::Stop);
    let frames = d.read(ann);
    assert_eq!(frames[0]["resumed"], true);
    let text: String =
        frames.iter().filter(|f| f["type"] == "message_delta").filter_map(|f| f["content"].as_str()).collect();
    assert_eq!(text, "ck, very.");
    assert_eq!(tree(&d)[2], pairs(&[("Black, very.", "Tea?")])[0]);
}

#[test]
fn a_slow_reader_gets_all_branches() {
    let (mut d, ann, question, answer) = tea();
    let session = d.storage.sessions.keys().next().expect("a session").0.to_string();
    let phone = d.slow_user("Ann", 600);
    d.send(phone, &json!({ "type": "join_session", "session_id": session }));
    for n in 0..4 {
        d.send(ann, &regenerate(&answer));
        d.answer(&format!("Answer {n}"));
        d.send(ann, &edit(&question, &format!("Edit {n}")));
        d.answer("So.");
    }
    d.grant(phone, 1 << 20);
    // The driver's model has checked order, deltas and typing on the way.
    let got = d.read(phone).iter().filter(|f| f["type"] == "message").count();
    assert_eq!(got, 12);
}

#[test]
fn an_answer_of_another_kind_is_misuse() {
    let (mut d, ann, question, _) = tea();
    d.hub.handle(d.now, Input::Frame { connection: ann, text: &regenerate(&question).to_string() }).expect("a frame");
    let mut asked = None;
    while d.hub.poll(&mut |output| {
        if let Output::Load { request, .. } = output {
            asked = Some(request);
        }
    }) {}
    let request = asked.expect("a question");
    let wrong = d.hub.handle(d.now, Input::Loaded { request, data: Loaded::ClientMessage(None) });
    assert_eq!(wrong, Err(Misuse::WrongAnswer(request)));
    assert_eq!(d.hub.handle(d.now, Input::Stored { request }), Err(Misuse::WrongAnswer(request)));
    d.give(Input::Loaded { request, data: Loaded::Message(None) });
    assert_eq!(d.read_one(ann)["code"], "message_not_found");
}

/// Storage that answers with another message than it was asked for is not believed.
#[test]
fn what_was_not_asked_for_is_not_found() {
    let (mut d, ann, _, answer) = tea();
    let other = d.storage.messages.values().flatten().next().cloned();
    let text = regenerate(&answer).to_string();
    d.hub.handle(d.now, Input::Frame { connection: ann, text: &text }).expect("a frame");
    let mut asked = None;
    while d.hub.poll(&mut |output| {
        if let Output::Load { request, .. } = output {
            asked = Some(request);
        }
    }) {}
    d.give(Input::Loaded { request: asked.expect("a question"), data: Loaded::Message(other) });
    assert_eq!(d.read_one(ann)["code"], "message_not_found");
}
