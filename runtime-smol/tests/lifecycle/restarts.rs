//! What was computed of conversations outlasts a stop and a crash, but not their deletion.

use super::*;

/// Asks in a session, and gives what was found of the prompt, and the prompt.
fn cached(client: &mut Client, question: &str) -> (u64, u64) {
    ask(client, question, 20);
    let usage = answer(client)["usage"].clone();
    (usage["cached_tokens"].as_u64().unwrap(), usage["prompt_tokens"].as_u64().unwrap())
}

#[test]
fn what_was_computed_of_a_conversation_is_known_after_a_restart() {
    let server = Server::start();
    let mut ada = server.connect("ada");
    let session = ada.create_session("Long lived");
    let (known, first) = cached(&mut ada, &"What is gravity? ".repeat(30));
    assert_eq!(known, 0);
    let again = |data_dir, args: &[&str]| {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        let server = Server::start_with(Options { data_dir: Some(data_dir), args, ..Options::default() });
        let mut ada = server.connect("ada");
        ada.send(&json!({"type": "join_session", "session_id": session}));
        ada.expect("session_joined");
        (server, ada)
    };
    let (server, mut ada) = again(server.stop(), &[]);
    let (known, second) = cached(&mut ada, "And what is light?");
    assert!(known > first && known < second, "{first} tokens, then {known} of {second}");

    // Another session that asks the same is not told whether somebody has asked it.
    ada.create_session("Curious");
    assert_eq!(cached(&mut ada, &"What is gravity? ".repeat(30)), (0, first));
    drop(ada);

    // A damaged file is no reason not to start, and no answer is wrong for it.
    let data_dir = server.stop();
    let file = data_dir.path().join("kv/pages.kv");
    let mut bytes = std::fs::read(&file).expect("it is in the data directory");
    let last = bytes.len() - 1;
    bytes.truncate(last);
    std::fs::write(&file, bytes).unwrap();
    let (server, mut ada) = again(data_dir, &[]);
    assert_eq!(cached(&mut ada, "And what is sound?").0, 0);
    assert!(server.process().output().text().contains("conversations are computed anew"));

    let (server, mut ada) = again(server.stop(), &["--no-kv-cache"]);
    assert_eq!(cached(&mut ada, "And what is silence?").0, 0);
    drop(server);
}

/// Pages of keys and values that are kept for the next start.
fn pages(data_dir: &TempDir) -> Option<u32> {
    let file = std::fs::read(data_dir.path().join("kv/pages.kv")).ok()?;
    Some(u32::from_le_bytes(file[60..64].try_into().unwrap()))
}

#[test]
fn what_was_computed_of_a_conversation_is_known_after_a_crash() {
    let server = Server::start();
    let mut ada = server.connect("ada");
    let session = ada.create_session("Long lived");
    let (_, first) = cached(&mut ada, &"What is gravity? ".repeat(300));
    let deadline = Instant::now() + WITHIN;
    while pages(&server.data_dir()).is_none() {
        assert!(Instant::now() < deadline, "it is saved when nothing runs");
        std::thread::sleep(Duration::from_millis(50));
    }
    let server = Server::start_with(Options { data_dir: Some(server.kill()), ..Options::default() });
    let mut ada = server.connect("ada");
    ada.send(&json!({"type": "join_session", "session_id": session}));
    ada.expect("session_joined");
    let (known, second) = cached(&mut ada, "And what is light?");
    assert!(known > first && known < second, "{first} tokens, then {known} of {second}");

    // A deleted conversation does not wait for a stop to be gone.
    ada.send(&json!({"type": "delete_session", "session_id": session}));
    ada.expect("session_deleted");
    let deadline = Instant::now() + WITHIN;
    while pages(&server.data_dir()) != Some(0) {
        assert!(Instant::now() < deadline, "it is saved without what was deleted");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_deleted_conversation_is_gone_from_what_is_kept_too() {
    let server = Server::start();
    let mut ada = server.connect("ada");
    let session = ada.create_session("Secret");
    cached(&mut ada, &"My cat is called Mathilda. ".repeat(30));
    let data_dir = server.stop();
    assert!(pages(&data_dir).is_some_and(|pages| pages > 0));
    let server = Server::start_with(Options { data_dir: Some(data_dir), ..Options::default() });
    let mut ada = server.connect("ada");
    ada.send(&json!({"type": "delete_session", "session_id": session}));
    ada.expect("session_deleted");
    assert_eq!(pages(&server.stop()), Some(0));
}
