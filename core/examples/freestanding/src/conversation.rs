//! The people: what they do, and what must come of it.

use alloc::format;
use core::fmt::Write as _;

use crate::machine;
use crate::runtime::{Reader, Runtime};

/// What Ann says. Its answer streams in some ten pieces.
const SAID: &str = "no threads, no sockets, no clock, and we can talk";

/// Runs the conversation, and panics if anybody sees anything else than they must.
pub fn run() {
    let mut runtime = Runtime::new();
    let ann = runtime.connect("Ann", Reader::default());
    let bob = runtime.connect("Bob", Reader::default());

    runtime.send(ann, r#"{"type":"create_session","title":"Bare metal"}"#);
    let session = runtime.peer(ann).reader.session.clone();
    runtime.send(ann, r#"{"type":"invite","username":"Bob"}"#);
    runtime.send(bob, &format!(r#"{{"type":"join_session","session_id":"{session}"}}"#));
    assert_eq!(runtime.peer(bob).reader.session, session, "an invited person gets in");

    runtime.send(ann, &format!(r#"{{"type":"chat_message","message":"{SAID}","client_id":"1"}}"#));
    for _ in 0..4 {
        runtime.tick();
    }
    let known = runtime.lose(bob);
    assert!(!known.text.is_empty() && !known.done, "the connection breaks within the answer");
    for _ in 0..3 {
        runtime.tick();
    }

    let bob = runtime.connect("Bob", known.clone());
    let Reader { epoch, seq, message, text, .. } = &known;
    runtime.send(
        bob,
        &format!(
            r#"{{"type":"join_session","session_id":"{session}","since":{{"epoch":"{epoch}","seq":{seq},"message_id":"{message}","offset":{}}}}}"#,
            text.len()
        ),
    );
    assert!(runtime.peer(bob).reader.resumed, "nothing is missing");
    while !(runtime.peer(ann).reader.done && runtime.peer(bob).reader.done) {
        runtime.tick();
    }

    let answer = format!("You said: {SAID}");
    assert_eq!(runtime.peer(ann).reader.text, answer);
    assert_eq!(runtime.peer(bob).reader.text, answer, "who came back has every byte, once");
    assert_eq!(runtime.storage.last().map(|message| message.content.as_str()), Some(answer.as_str()));

    runtime.lose(ann);
    runtime.lose(bob);
    assert!(runtime.is_empty(), "what nobody uses takes no memory");
    let _ = writeln!(&machine::OUT, "# both have read the same {} bytes", answer.len());
}
