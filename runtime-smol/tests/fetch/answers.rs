//! What the server answers: redirects, statuses, lists of files.

use super::*;

#[test]
fn a_model_is_fetched_once_and_found_afterwards() {
    let scratch = Scratch::new();
    let file = bytes(300_000);
    let server = Server::hub(vec![("README.md", b"x".to_vec()), ("m.gguf", file.clone())]);
    let options = options(&scratch, &server);
    let mut seen = Vec::new();
    let path = fetch(
        &hub("o/r"),
        &options,
        &mut |progress| match progress {
            Progress::Begin { file, bytes, from, to } => {
                seen.push(format!(
                    "begin {file} {bytes:?} {} {}",
                    from.ends_with("/o/r/resolve/c0ffee/m.gguf"),
                    to.display()
                ));
            }
            Progress::Received { done: 300_000, total: Some(300_000) } => seen.push("all".to_owned()),
            Progress::Verify => seen.push("verify".to_owned()),
            Progress::Done { .. } => seen.push("done".to_owned()),
            _ => {}
        },
        &AtomicBool::new(false),
    )
    .unwrap();
    let (target, part) = paths(&options);
    assert_eq!((path.clone(), fs::read(&path).unwrap()), (target.clone(), file));
    let begin = format!("begin m.gguf Some(300000) true {}", target.display());
    assert_eq!(seen, [begin.as_str(), "all", "verify", "done"]);
    assert!(!part.exists());

    let asked = server.requests().len();
    assert_eq!(get("o/r", &options).unwrap(), target);
    assert_eq!(get("o/r:m.gguf", &options).unwrap(), target);
    assert_eq!(find(&hub("o/r"), &options.cache), Some(target));
    assert_eq!(server.requests().len(), asked, "the network was not asked again");
}

#[test]
fn a_redirect_is_followed_and_the_token_stays_at_home() {
    let scratch = Scratch::new();
    let file = bytes(100_000);
    let storage = {
        let file = file.clone();
        Server::start(move |request| Answer::of(&file, request.from))
    };
    let list = listing(&[("m.gguf", file.clone())]);
    // Another host by name, the same machine.
    let location = format!("{}/blob", storage.endpoint.replace("127.0.0.1", "localhost"));
    let server = Server::start(move |request| match request.path.starts_with("/api/") {
        true => Answer::whole(&list),
        false => Answer::new("302 Found", &format!("location: {location}\r\ncontent-length: 0\r\n"), b""),
    });
    let options = FetchOptions { token: Some("hf_secret".into()), ..options(&scratch, &server) };
    assert_eq!(fs::read(get("o/r", &options).unwrap()).unwrap(), file);
    assert!(server.requests().iter().all(|request| request.authorization.as_deref() == Some("Bearer hf_secret")));
    assert!(storage.requests().iter().all(|request| request.authorization.is_none()));
    assert!(!storage.requests().is_empty());
}

#[test]
fn statuses_that_cannot_change_end_it_at_once_and_say_what_to_do() {
    for (status, advice) in [("404 Not Found", "names"), ("401 Unauthorized", "HF_TOKEN"), ("403 Forbidden", "consent")]
    {
        let scratch = Scratch::new();
        let head = status.to_owned();
        let server = Server::start(move |_| Answer::new(&head, "content-length: 0\r\n", b""));
        let error = get("o/r", &options(&scratch, &server)).unwrap_err().to_string();
        assert!(error.contains(advice) && error.contains(&status[..3]) && error.contains("/api/models/o/r"), "{error}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn statuses_that_may_change_are_tried_again() {
    let scratch = Scratch::new();
    let file = bytes(1000);
    let server = scripted(&file, |request, file| match request.number {
        0 => Answer::new("503 Service Unavailable", "content-length: 0\r\n", b""),
        1 => Answer::new("429 Too Many Requests", "content-length: 0\r\n", b""),
        _ => Answer::of(file, request.from),
    });
    assert_eq!(fs::read(get("o/r", &options(&scratch, &server)).unwrap()).unwrap(), file);

    let down = Server::start(|_| Answer::new("500 Internal Server Error", "content-length: 0\r\n", b""));
    let error = get("o/r", &options(&Scratch::new(), &down)).unwrap_err().to_string();
    assert!(error.contains("HTTP status 500"), "{error}");
    assert_eq!(down.requests().len(), 3);
}

#[test]
fn among_several_files_the_user_chooses() {
    let scratch = Scratch::new();
    let server =
        Server::hub(vec![("m.Q2_K.gguf", bytes(10)), ("m.Q3_K.gguf", bytes(20)), ("../../evil.gguf", bytes(30))]);
    let options = options(&scratch, &server);
    let error = get("o/r", &options).unwrap_err().to_string();
    assert!(error.contains("--hf o/r:FILE") && error.contains("\n  m.Q2_K.gguf\n  m.Q3_K.gguf"), "{error}");
    assert!(!error.contains("evil"), "{error}");
    assert_eq!(fs::read(get("o/r:m.Q3_K.gguf", &options).unwrap()).unwrap(), bytes(20));
    let error = get("o/r:m.Q9.gguf", &options).unwrap_err().to_string();
    assert!(error.contains("m.Q2_K.gguf"), "{error}");
    let empty = Server::hub(vec![("README.md", vec![])]);
    let error = get("o/r", &FetchOptions { endpoint: empty.endpoint.clone(), cache: scratch.join("b"), ..options });
    assert!(error.unwrap_err().to_string().contains("has no GGUF files"));
}

#[test]
fn an_answer_that_makes_no_sense_is_an_error() {
    for body in ["", "not json", "[]", "{\"siblings\": 7}", "{\"siblings\": [null, {\"rfilename\": 7}]}"] {
        let scratch = Scratch::new();
        let server = Server::start(move |_| Answer::whole(body.as_bytes()));
        let error = get("o/r", &options(&scratch, &server)).unwrap_err();
        assert!(matches!(error, FetchError::Answer { .. } | FetchError::NoChoice { .. }), "{body}: {error}");
    }
}
