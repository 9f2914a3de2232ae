//! Several users and several connections of one user in a session: who sees what, who may do what.

mod driver;

use causerie_core::{Input, Role};
use driver::Driver;
use serde_json::{Value, json};
use std::time::Duration;

/// The frames of one type.
fn only(frames: Vec<Value>, kind: &str) -> Vec<Value> {
    frames.into_iter().filter(|f| f["type"] == kind).collect()
}

#[test]
fn an_invitation_lets_a_user_join_for_good() {
    let mut d = Driver::default();
    let (ann, bob) = (d.user("Ann"), d.user("Bob"));
    let session = d.session(ann);
    d.send(ann, &json!({ "type": "invite", "username": "Bob", "id": "i1" }));
    let told = d.read_one(ann);
    assert_eq!((&told["type"], &told["ref"], &told["session_title"]), (&json!("invited"), &json!("i1"), &json!("Tea")));
    let told = d.read_one(bob);
    assert_eq!((&told["type"], &told["username"], &told["by"]), (&json!("invited"), &json!("Bob"), &json!("Ann")));
    assert_eq!(told["session_id"], json!(session));

    d.send(bob, &json!({ "type": "join_session", "session_id": session }));
    let joined = d.read_one(bob);
    let both = json!([{ "user_id": "id-Ann", "username": "Ann" }, { "user_id": "id-Bob", "username": "Bob" }]);
    assert_eq!(
        (&joined["type"], &joined["participants"], &joined["owner"]),
        (&json!("session_joined"), &both, &json!("id-Ann"))
    );
    let presence = d.read_one(ann);
    assert_eq!(
        (&presence["type"], &presence["event"], &presence["user_id"]),
        (&json!("presence"), &json!("joined"), &json!("id-Bob"))
    );
    assert_eq!(presence["participants"], both);

    // Everybody leaves, so the session is in storage alone; Bob is a member now.
    d.close(ann);
    d.close(bob);
    assert_eq!(d.hub.counts().sessions, 0);
    let bob = d.user("Bob");
    d.send(bob, &json!({ "type": "join_session", "session_id": session }));
    assert_eq!(d.read_one(bob)["type"], "session_joined");
    let id = d.storage.sessions.keys().next().copied().expect("a session");
    assert_eq!(d.storage.sessions[&id].invited, [] as [String; 0]);
}

#[test]
fn only_the_owner_invites_renames_deletes_and_clears() {
    let mut d = Driver::default();
    let (ann, bob) = (d.user("Ann"), d.user("Bob"));
    let session = d.session(ann);
    d.share(ann, &session, bob, "Bob");
    for frame in [
        json!({ "type": "invite", "username": "Eve" }),
        json!({ "type": "rename_session", "title": "Mine" }),
        json!({ "type": "delete_session" }),
        json!({ "type": "delete_session", "session_id": session }),
    ] {
        d.send(bob, &frame);
        assert_eq!(d.read_one(bob)["code"], "not_owner", "{frame}");
    }
    d.send(bob, &json!({ "type": "chat_message", "message": "/clear" }));
    assert_eq!(d.read_one(bob)["content"], "Only the session's owner can end it");
    assert_eq!(d.read(ann), [] as [Value; 0]);
}

#[test]
fn a_stranger_learns_nothing_of_a_session() {
    let mut d = Driver::default();
    let (ann, eve) = (d.user("Ann"), d.user("Eve"));
    let session = d.session(ann);
    for kind in ["join_session", "rename_session", "delete_session"] {
        d.send(eve, &json!({ "type": kind, "session_id": session, "title": "x" }));
        let theirs = d.read_one(eve);
        let absent = "00000000-0000-4000-8000-000000000000";
        d.send(eve, &json!({ "type": kind, "session_id": absent, "title": "x" }));
        assert_eq!(theirs, d.read_one(eve), "{kind}");
        assert_eq!(theirs["code"], "session_not_found");
    }
    d.send(eve, &json!({ "type": "list_sessions" }));
    assert_eq!(d.read_one(eve)["sessions"], json!([]));
}

#[test]
fn several_connections_of_one_user_are_one_participant() {
    let mut d = Driver::default();
    let (ann, bob, phone) = (d.user("Ann"), d.user("Bob"), d.user("Bob"));
    let session = d.session(ann);
    d.share(ann, &session, bob, "Bob");
    d.read(phone);
    d.send(phone, &json!({ "type": "join_session", "session_id": session }));
    d.read(phone);
    assert_eq!(d.read(ann), [] as [Value; 0], "Bob was there already");
    d.send(bob, &json!({ "type": "chat_message", "message": "Hello" }));
    assert_eq!(only(d.read(phone), "message")[0]["content"], "Hello");
    d.answer("Good day");
    d.read(ann);
    d.close(bob);
    assert_eq!(d.read(ann), [] as [Value; 0], "Bob is still there");
    d.send(phone, &json!({ "type": "leave_session", "id": 9 }));
    let left = d.read(phone).pop().expect("session_left");
    assert_eq!(
        (&left["type"], &left["ref"], &left["session_id"]),
        (&json!("session_left"), &json!(9), &json!(session))
    );
    let presence = d.read_one(ann);
    assert_eq!((&presence["event"], &presence["username"]), (&json!("left"), &json!("Bob")));
    assert_eq!(presence["participants"], json!([{ "user_id": "id-Ann", "username": "Ann" }]));
}

#[test]
fn typing_is_relayed_to_the_others_and_expires() {
    let mut d = Driver::default();
    let (ann, bob, phone) = (d.user("Ann"), d.user("Bob"), d.user("Bob"));
    let session = d.session(ann);
    d.share(ann, &session, bob, "Bob");
    d.send(phone, &json!({ "type": "join_session", "session_id": session }));
    d.read(phone);
    let typing = |d: &mut Driver, is: bool| d.send(bob, &json!({ "type": "typing", "is_typing": is }));
    typing(&mut d, true);
    typing(&mut d, true);
    let frame = d.read_one(ann);
    assert_eq!(
        (&frame["is_typing"], &frame["user_id"], &frame["username"]),
        (&json!(true), &json!("id-Bob"), &json!("Bob"))
    );
    assert_eq!(frame["role"], Value::Null);
    d.pass(Duration::from_secs(5));
    typing(&mut d, true);
    d.pass(Duration::from_secs(5));
    assert_eq!(d.read(ann), [] as [Value; 0], "told again, so it goes on");
    d.pass(Duration::from_secs(1));
    assert_eq!(d.read_one(ann)["is_typing"], false);
    typing(&mut d, true);
    typing(&mut d, false);
    assert_eq!(d.read_types(ann), ["typing", "typing"]);
    typing(&mut d, true);
    d.send(bob, &json!({ "type": "chat_message", "message": "Hello" }));
    let frames = d.read(ann);
    assert_eq!(
        (&frames[0]["is_typing"], &frames[1]["is_typing"], &frames[2]["content"]),
        (&json!(true), &json!(false), &json!("Hello"))
    );
    d.answer("Good day");
    d.read(ann);
    typing(&mut d, true);
    d.close(bob);
    assert_eq!(only(d.read(ann), "typing")[1]["is_typing"], false, "who is gone types no more");
    assert!(only(d.read(phone), "typing").iter().all(|f| f["role"] == "assistant"), "nobody is told of themselves");
}

#[test]
fn renamed_and_deleted() {
    let mut d = Driver::default();
    let (ann, bob) = (d.user("Ann"), d.user("Bob"));
    let session = d.session(ann);
    d.share(ann, &session, bob, "Bob");
    d.send(ann, &json!({ "type": "rename_session", "title": " Coffee " }));
    for c in [ann, bob] {
        let frame = d.read_one(c);
        assert_eq!((&frame["type"], &frame["session_title"]), (&json!("session_renamed"), &json!("Coffee")));
    }
    // Renamed and deleted from outside, without being in it.
    d.send(ann, &json!({ "type": "leave_session" }));
    d.read(ann);
    d.read(bob);
    d.send(ann, &json!({ "type": "rename_session", "session_id": session, "title": "Cocoa", "id": "r" }));
    assert_eq!(d.read_one(ann)["ref"], "r");
    assert_eq!(d.read_one(bob)["session_title"], "Cocoa");
    d.send(ann, &json!({ "type": "list_sessions" }));
    assert_eq!(d.read_one(ann)["sessions"][0]["session_title"], "Cocoa");
    d.send(ann, &json!({ "type": "delete_session", "session_id": session, "id": "d" }));
    let deleted = d.read_one(ann);
    assert_eq!((&deleted["type"], &deleted["ref"]), (&json!("session_deleted"), &json!("d")));
    assert_eq!(d.read_one(bob)["type"], "session_deleted");
    d.send(bob, &json!({ "type": "chat_message", "message": "Hello?" }));
    assert_eq!(d.read_one(bob)["message"], "Not connected to a session");
    assert_eq!((d.storage.sessions.len(), d.hub.counts().sessions), (0, 0));
}

#[test]
fn deleting_a_session_that_is_only_in_storage() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    let session = d.session(ann);
    d.send(ann, &json!({ "type": "leave_session" }));
    d.read(ann);
    assert_eq!(d.hub.counts().sessions, 0);
    d.send(ann, &json!({ "type": "delete_session", "session_id": session }));
    assert_eq!(d.read_one(ann)["type"], "session_deleted");
    assert_eq!((d.storage.sessions.len(), d.hub.counts().sessions), (0, 0));
}

#[test]
fn joining_another_session_leaves_the_first() {
    let mut d = Driver::default();
    let (ann, bob) = (d.user("Ann"), d.user("Bob"));
    let first = d.session(ann);
    d.share(ann, &first, bob, "Bob");
    let second = d.session(bob);
    assert_eq!(d.read_one(ann)["event"], "left");
    assert_ne!(first, second);
    d.send(ann, &json!({ "type": "chat_message", "message": "Gone?" }));
    d.answer("Yes");
    assert_eq!(d.read(bob), [] as [Value; 0]);
    // A join that fails leaves Bob where he is.
    d.send(bob, &json!({ "type": "join_session", "session_id": "00000000-0000-4000-8000-000000000000" }));
    assert_eq!(d.read_one(bob)["code"], "session_not_found");
    d.send(bob, &json!({ "type": "chat_message", "message": "/status" }));
    assert!(d.read_one(bob)["content"].as_str().expect("text").contains(&second));
}

#[test]
fn history_comes_in_pages_by_rising_seq() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    for i in 0..3 {
        d.send(ann, &json!({ "type": "chat_message", "message": format!("m{i}") }));
        d.answer(&format!("a{i}"));
    }
    let live = only(d.read(ann), "message");
    let page = |d: &mut Driver, frame: Value| {
        d.send(ann, &frame);
        d.read_one(ann)
    };
    let last = page(&mut d, json!({ "type": "history", "limit": 4, "id": "h" }));
    assert_eq!((&last["type"], &last["more"], &last["ref"]), (&json!("history_page"), &json!(true), &json!("h")));
    let seqs = |page: &Value| {
        page["messages"].as_array().expect("messages").iter().map(|m| m["seq"].as_u64()).collect::<Vec<_>>()
    };
    assert_eq!(seqs(&last), [Some(3), Some(4), Some(5), Some(6)]);
    let first = page(&mut d, json!({ "type": "history", "before": 3 }));
    assert_eq!((seqs(&first), &first["more"]), (vec![Some(1), Some(2)], &json!(false)));
    // As they were live, but for the timings, which are not stored.
    let mut live = live[5].clone();
    live.as_object_mut().expect("an object").remove("timings");
    assert_eq!(last["messages"][3], live);
    assert_eq!(page(&mut d, json!({ "type": "history", "limit": 0 }))["messages"].as_array().map(Vec::len), Some(1));
}

#[test]
fn resumed_exactly_where_the_connection_was_lost() {
    let mut d = Driver::default();
    let (ann, bob) = (d.user("Ann"), d.user("Bob"));
    let session = d.session(ann);
    d.share(ann, &session, bob, "Bob");
    d.send(bob, &json!({ "type": "join_session", "session_id": session }));
    let epoch = d.read_one(bob)["epoch"].clone();
    d.send(ann, &json!({ "type": "chat_message", "message": "Hello" }));
    d.token("Grüß ");
    let partial = only(d.read(bob), "message_delta")[0]["message_id"].clone();
    d.close(bob);
    d.token("Gott");
    let again = |d: &mut Driver, since: Value| {
        let bob = d.user("Bob");
        let reader = &mut d.peers.get_mut(&bob).expect("Bob").reader;
        reader.seq = since["seq"].as_u64().expect("a number");
        let known = since["offset"].as_u64().and_then(|offset| "Grüß Gott".get(..offset as usize));
        reader.answer = known.map(|text| (since["message_id"].as_str().expect("an id").to_string(), text.to_string()));
        d.send(bob, &json!({ "type": "join_session", "session_id": session, "since": since }));
        bob
    };
    let bob = again(&mut d, json!({ "epoch": epoch, "seq": 1, "message_id": partial, "offset": 7 }));
    let frames = d.read(bob);
    assert_eq!((&frames[0]["resumed"], &frames[0]["seq"]), (&json!(true), &json!(1)));
    assert_eq!(
        only(frames, "message_delta").iter().map(|f| (f["offset"].as_u64(), f["content"].as_str())).collect::<Vec<_>>(),
        [(Some(7), Some("Gott"))]
    );
    d.finish(causerie_core::FinishReason::Stop);
    assert_eq!(only(d.read(bob), "message")[0]["content"], "Grüß Gott");
    d.close(bob);

    // The answer ended while the connection was away: the rest of its deltas, then the message, once.
    let bob = again(&mut d, json!({ "epoch": epoch, "seq": 1, "message_id": partial, "offset": 4 }));
    let frames = d.read(bob);
    assert_eq!(frames[0]["resumed"], true);
    assert_eq!(only(frames.clone(), "message_delta")[0]["content"], "ß Gott");
    let messages = only(frames, "message");
    assert_eq!((messages.len(), &messages[0]["seq"]), (1, &json!(2)));
    d.close(bob);

    for since in [
        json!({ "epoch": "another", "seq": 1 }),
        json!({ "epoch": epoch, "seq": 99 }),
        json!({ "epoch": epoch, "seq": 1, "message_id": partial, "offset": 3 }),
        json!({ "epoch": epoch, "seq": 1, "message_id": partial, "offset": 1_000 }),
    ] {
        let bob = again(&mut d, since.clone());
        let frame = d.read_one(bob);
        assert_eq!((&frame["type"], &frame["resumed"]), (&json!("session_joined"), &json!(false)), "{since}");
        d.close(bob);
    }
    // From storage: the session was not even in memory.
    d.close(ann);
    assert_eq!(d.hub.counts().sessions, 0);
    let bob = again(&mut d, json!({ "epoch": epoch, "seq": 0 }));
    let frames = d.read(bob);
    assert_eq!(frames[0]["resumed"], true);
    assert_eq!(only(frames, "message").iter().map(|m| m["seq"].as_u64()).collect::<Vec<_>>(), [Some(1), Some(2)]);
}

#[test]
fn roles_are_told() {
    let mut d = Driver::default();
    let root = d.connect();
    d.authenticate(root, "Root", Role::Admin, Duration::from_secs(600));
    assert_eq!(d.read_one(root)["role"], "admin");
    d.give(Input::Timer);
}
