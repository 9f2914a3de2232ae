//! Fetching models from a server on the loopback that misbehaves in the ways that servers do.

mod answers;
#[path = "../scratch/mod.rs"]
mod scratch;
mod sources;
mod transfers;

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
