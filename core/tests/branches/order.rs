//! What happens while an answer is under way, and in what order; how branches count.

use causerie_core::limits::Limits;
use serde_json::{Value, json};

use crate::driver::Driver;
use crate::{all_three, edit, exchange, goes_on_from, pairs, regenerate, say, tea, tree};

#[test]
fn the_answer_under_way_stands_for_its_question() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    d.send(ann, &say("Tea?"));
    d.token("Gr");
    let streaming = d.read(ann).into_iter().find(|f| f["type"] == "message_delta").expect("a delta");
    let streaming = streaming["message_id"].clone();
    d.send(ann, &regenerate(&streaming));
    let mut after = say("Why?");
    after["parent"] = streaming.clone();
    d.send(ann, &after);
    d.send(ann, &edit(&streaming, "Mine"));
    let refused = d.read(ann).pop().expect("an answer");
    assert_eq!(refused["code"], "message_not_found", "it is not stored yet");
    assert_eq!(d.running.len(), 1, "one at a time");
    d.answer("een.");
    d.answer("Black.");
    d.answer("Because.");
    let expected = [("Tea?", ""), ("Why?", "Tea?"), ("Green.", "Tea?"), ("Black.", "Tea?"), ("Because.", "Why?")];
    assert_eq!(tree(&d), pairs(&expected));
    assert_eq!(goes_on_from(&d), "Because.");
}

#[test]
fn who_speaks_while_it_is_answered_anew_takes_the_conversation_along() {
    let (mut d, ann, _, answer) = tea();
    d.send(ann, &regenerate(&answer));
    d.send(ann, &say("Quickly!"));
    d.answer("Black.");
    assert_eq!(goes_on_from(&d), "Quickly!", "an answer to what is not the last message any more");
    d.answer("Yes.");
    assert_eq!(tree(&d)[2..], pairs(&[("Quickly!", "Tea?"), ("Black.", "Tea?"), ("Yes.", "Quickly!")]));
    assert_eq!(goes_on_from(&d), "Yes.");
}

#[test]
fn who_has_it_answered_anew_is_who_asks() {
    let mut d = Driver::default();
    let (ann, bob) = (d.user("Ann"), d.user("Bob"));
    let session = d.session(ann);
    d.share(ann, &session, bob, "Bob");
    let (_, answer) = exchange(&mut d, ann, "Tea?", "Green.");
    d.send(bob, &regenerate(&answer));
    assert_eq!(d.running[0].asker, "id-Bob", "not the author of the question");
    d.answer("Black.");
    d.send(ann, &say("Quickly!"));
    assert_eq!(d.running[0].asker, "id-Ann");
}

#[test]
fn a_burst_keeps_its_order_whatever_must_be_looked_up() {
    let (mut d, ann, question, answer) = tea();
    d.storage.held = true;
    let mut numbered = |mut frame: Value, id: u64| {
        frame["id"] = json!(id);
        d.send(ann, &frame);
    };
    numbered(edit(&question, "Coffee?"), 1);
    numbered(say("With milk"), 2);
    numbered(regenerate(&answer), 3);
    numbered(say("Or water"), 4);
    d.release_storage();
    let frames = d.read(ann);
    let acks: Vec<_> = frames.iter().filter(|f| f["type"] == "ack").map(|f| (&f["ref"], &f["seq"])).collect();
    let expected = [(1, 3), (2, 4), (3, 1), (4, 5)].map(|(id, seq)| (json!(id), json!(seq)));
    assert_eq!(acks, expected.iter().map(|(id, seq)| (id, seq)).collect::<Vec<_>>());
    assert_eq!(tree(&d)[2..], pairs(&[("Coffee?", ""), ("With milk", "Coffee?"), ("Or water", "Tea?")]));
    for text in ["a", "b", "c", "d"] {
        d.answer(text);
    }
    assert_eq!(tree(&d)[5..], pairs(&[("a", "Coffee?"), ("b", "With milk"), ("c", "Tea?"), ("d", "Or water")]));
}

#[test]
fn branches_count_like_messages() {
    let answer = |d: &mut Driver, who, frame: &Value| {
        d.send(who, frame);
        d.read(who).first().cloned().unwrap_or_default()
    };
    type Change = fn(&mut Limits);
    let overloaded: [(&str, Change); 3] = [
        ("Too many messages of this session wait for their answer: try again soon", |l| l.queued_generations = 2),
        ("Too many of your messages wait for their answer: try again soon", |l| l.generations_per_user = 3),
        ("More than 6 messages a minute", |l| l.messages_per_minute = 6),
    ];
    for (text, change) in overloaded {
        let mut limits = Limits::default();
        change(&mut limits);
        let mut d = Driver::new(limits);
        let ann = d.user("Ann");
        d.session(ann);
        assert_eq!(answer(&mut d, ann, &say("Tea?"))["type"], "ack");
        let question = json!(d.storage.messages.values().flatten().next().expect("a message").id.0.to_string());
        // The first is being answered, two more may wait.
        assert_eq!(answer(&mut d, ann, &regenerate(&question))["type"], "ack");
        assert_eq!(answer(&mut d, ann, &edit(&question, "x"))["type"], "ack");
        for frame in all_three(&question) {
            let refused = answer(&mut d, ann, &frame);
            assert_eq!((&refused["message"], &refused["retryable"]), (&json!(text), &json!(true)), "{frame}");
            assert!(refused["retry_after_ms"].is_u64());
        }
    }
    let mut limits = Limits::default();
    limits.queued_messages = 2;
    let mut d = Driver::new(limits);
    let ann = d.user("Ann");
    d.session(ann);
    let (question, _) = exchange(&mut d, ann, "Tea?", "Green.");
    d.storage.held = true;
    // One is with storage, two wait.
    for frame in all_three(&question) {
        assert_eq!(answer(&mut d, ann, &frame), json!(null));
    }
    for frame in all_three(&question) {
        assert_eq!(answer(&mut d, ann, &frame)["code"], "overloaded");
    }
    d.release_storage();
    assert_eq!(d.read(ann).iter().filter(|f| f["type"] == "ack").count(), 3);
}
