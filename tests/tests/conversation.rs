//! Several people in one session: the same stream for all, stopping it, and being let in.

use causerie_tests::{Client, Server, WITHIN};
use serde_json::{Value, json};

fn join(client: &mut Client, session: &Value) {
    client.send(&json!({"type": "join_session", "session_id": session}));
    client.expect("session_joined");
}

fn is_answer(frame: &Value) -> bool {
    frame["type"] == "message" && frame["role"] == "assistant"
}

/// Everything of one exchange: from the user's message to the end of the model's typing.
fn exchange(client: &mut Client) -> Vec<Value> {
    let frames = client.collect_until("typing false", |f| {
        f["type"] == "typing" && f["is_typing"] == json!(false) && f["role"] == "assistant"
    });
    let from = frames.iter().position(|f| f["type"] == "message" && f["role"] == "user");
    frames[from.expect("an exchange begins with the user's message")..].to_vec()
}

fn of_kind<'a>(frames: &'a [Value], kind: &str) -> Vec<&'a Value> {
    frames.iter().filter(|f| f["type"] == kind).collect()
}

/// Puts the deltas together and checks on the way that no byte is missing or comes twice.
fn streamed(frames: &[Value]) -> String {
    let mut text = String::new();
    for delta in of_kind(frames, "message_delta") {
        assert_eq!(delta["offset"], json!(text.len()), "a delta begins where the last one ended");
        text.push_str(delta["content"].as_str().expect("a delta has text"));
    }
    text
}

#[test]
fn two_people_see_the_same_stream() {
    let server = Server::start();
    let (mut ada, mut bob) = (server.connect("ada"), server.connect("bob"));
    let session = ada.create_session("Rainbows");

    bob.send(&json!({"type": "join_session", "session_id": session, "id": "early"}));
    let refused = bob.expect("error");
    assert_eq!(refused["message"], "Session not found or access denied");
    assert_eq!(refused["ref"], "early");

    ada.invite("bob");
    assert_eq!(bob.expect("invited")["session_title"], "Rainbows");
    join(&mut bob, &session);
    assert_eq!(ada.expect_where("bob's arrival", WITHIN, |f| f["username"] == "bob")["event"], "joined");

    ada.send(&json!({"type": "chat_message", "message": "How does a rainbow form?", "id": "q1"}));
    let ack = ada.expect("ack");
    assert_eq!(ack["ref"], "q1");
    let (seen_by_ada, seen_by_bob) = (exchange(&mut ada), exchange(&mut bob));

    for frames in [&seen_by_ada, &seen_by_bob] {
        assert_eq!(frames[0]["content"], "How does a rainbow form?");
        assert_eq!(frames[0]["id"], ack["message_id"]);
        let answers = of_kind(frames, "message").into_iter().filter(|f| is_answer(f)).collect::<Vec<_>>();
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0]["content"], streamed(frames), "the deltas are the message");
        assert!(answers[0]["usage"]["completion_tokens"].as_u64() > Some(1));
        assert!(!answers[0]["content"].as_str().unwrap_or_default().trim().is_empty());
    }
    assert_eq!(of_kind(&seen_by_ada, "message"), of_kind(&seen_by_bob, "message"));
    assert_eq!(streamed(&seen_by_ada), streamed(&seen_by_bob));

    // Bob asks on, and the model has both their words before it.
    bob.send(&json!({"type": "chat_message", "message": "Which colour is on the outside?"}));
    let second = exchange(&mut ada);
    assert_eq!(second[0]["seq"], json!(3), "log entries are numbered without a gap");
    let answer = second.iter().find(|f| is_answer(f)).expect("there is an answer");
    assert!(answer["usage"]["cached_tokens"].as_u64() > Some(0), "the second turn computes only what is new: {answer}");
}

#[test]
fn an_answer_stops_when_told_and_keeps_its_text() {
    let server = Server::start();
    let mut ada = server.connect("ada");
    ada.create_session("Numbers");
    ada.send(&json!({"type": "chat_message", "message": "Write a very long story about a lighthouse keeper.",
                     "sampling": {"temperature": 0, "max_tokens": 2000}}));
    for _ in 0..3 {
        ada.expect("message_delta");
    }
    ada.send(&json!({"type": "stop_generation"}));
    let answer = ada.expect_where("the stopped answer", WITHIN, is_answer);
    assert_eq!(answer["finish_reason"], "stopped");
    assert!(!answer["content"].as_str().unwrap_or_default().is_empty());
    assert_eq!(ada.expect("typing")["is_typing"], json!(false));

    // It can be talked to again at once.
    ada.send(&json!({"type": "chat_message", "message": "Thanks.", "sampling": {"max_tokens": 5}}));
    let next = ada.expect_where("another answer", WITHIN, is_answer);
    assert!(matches!(next["finish_reason"].as_str(), Some("stop" | "length")), "{next}");
}

#[test]
fn one_who_comes_in_the_middle_gets_the_whole_text() {
    let server = Server::start();
    let (mut ada, mut phone) = (server.connect("ada"), server.connect("ada"));
    let session = ada.create_session("Two devices");
    ada.send(&json!({"type": "chat_message", "message": "Tell me about the sea, at length.",
                     "sampling": {"temperature": 0, "max_tokens": 120}}));
    for _ in 0..5 {
        ada.expect("message_delta");
    }
    join(&mut phone, &session);
    let frames = phone.collect_until("the answer", is_answer);
    let answer = frames.last().expect("it was waited for");
    assert_eq!(answer["content"], streamed(&frames), "from its first byte to its last");
}

/// Nobody waits for the model with what they have to say, and the model forgets nothing of it.
#[test]
fn a_question_asked_during_an_answer_is_answered_with_all_that_was_said() {
    let server = Server::start();
    let mut ada = server.connect("ada");
    ada.create_session("In between");
    let ask = |ada: &mut Client, text: &str, most: u32| {
        ada.send(&json!({"type": "chat_message", "message": text, "sampling": {"temperature": 0, "max_tokens": most}}));
        ada.expect("ack");
    };
    ask(&mut ada, "Tell me about the sea.", 60);
    ada.expect("message_delta");
    ask(&mut ada, "And about mountains?", 60);
    let mut answer = || ada.expect_where("an answer", WITHIN, is_answer);
    let tokens = |answer: &Value, kind: &str| answer["usage"][kind].as_u64().expect("usage has numbers");
    let first = answer();
    let second = answer();
    let said = tokens(&first, "prompt_tokens") + tokens(&first, "completion_tokens");
    assert!(tokens(&second, "prompt_tokens") > said, "the first answer is part of the second prompt: {second}");
    assert!(tokens(&second, "cached_tokens") > tokens(&first, "prompt_tokens"), "and is not computed again: {second}");
    ask(&mut ada, "And rivers?", 5);
    let third = ada.expect_where("an answer", WITHIN, is_answer);
    let said = tokens(&second, "prompt_tokens") + tokens(&second, "completion_tokens");
    assert!(tokens(&third, "prompt_tokens") > said, "{third}");
}

#[test]
fn the_same_seed_gives_the_same_words_whatever_else_runs() {
    let server = Server::start();
    let ask = json!({"type": "chat_message", "message": "Name an animal and say why you like it.",
                     "sampling": {"temperature": 1.2, "seed": 7, "max_tokens": 40}});
    let mut alone = server.connect("ada");
    alone.create_session("Alone");
    alone.send(&ask);
    let first = alone.expect_where("an answer", WITHIN, is_answer)["content"].clone();

    let mut crowd: Vec<Client> = (0..3).map(|i| server.connect(&format!("user{i}"))).collect();
    for (i, client) in crowd.iter_mut().enumerate() {
        client.create_session("Crowd");
        let other = json!({"type": "chat_message", "message": format!("Count from {i} to one hundred.")});
        client.send(&other);
    }
    let mut again = server.connect("ada");
    again.create_session("Among others");
    again.send(&ask);
    assert_eq!(again.expect_where("an answer", WITHIN, is_answer)["content"], first);
}
