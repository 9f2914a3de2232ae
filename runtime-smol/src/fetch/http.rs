//! HTTP: a file that is taken up where it was cut, and small JSON documents.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body};

use super::place::failed;
use super::{FetchError, FetchOptions, Progress};

/// From the first packet to an open connection, TLS included.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// Attempts to reach a server that was never reached: one that is not there stays away, and other sources wait.
const CONNECT_ATTEMPTS: u32 = 2;

/// Redirects followed; the Hub needs one or two.
const REDIRECTS: u32 = 8;

/// The largest JSON document that is read, in bytes: the file list of a repository with thousands of files.
const JSON_BYTES: u64 = 8 << 20;

/// Bytes read at a time.
const READ_BYTES: usize = 64 * 1024;

/// How often a sleeping thread looks whether it shall stop.
const CANCEL_PAUSE: Duration = Duration::from_millis(50);

/// A client with our limits.
pub(super) struct Client<'a> {
    agent: Agent,
    options: &'a FetchOptions,
    cancelled: &'a AtomicBool,
}

/// Why one attempt ended before the file did.
enum Cut {
    /// It may be tried again.
    Again { why: String, connected: bool },
    /// It is of no use.
    Final(FetchError),
}

impl From<FetchError> for Cut {
    fn from(error: FetchError) -> Cut {
        Cut::Final(error)
    }
}

impl<'a> Client<'a> {
    pub(super) fn new(options: &'a FetchOptions, cancelled: &'a AtomicBool) -> Client<'a> {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(REDIRECTS)
            .timeout_resolve(Some(CONNECT_TIME))
            .timeout_connect(Some(CONNECT_TIME))
            .timeout_recv_response(Some(options.retry.silence))
            .timeout_per_read(Some(options.retry.silence))
            .user_agent(concat!("causerie/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .build()
            .new_agent();
        Client { agent, options, cancelled }
    }

    /// A JSON document.
    pub(super) fn json(&self, url: &str) -> Result<Value, FetchError> {
        let document = self.persist(
            url,
            || 0,
            |client| {
                let mut response = client.get(url, 0)?;
                let text =
                    response.body_mut().with_config().limit(JSON_BYTES).read_to_vec().map_err(|error| retry(&error))?;
                Ok(text)
            },
        )?;
        serde_json::from_slice(&document)
            .map_err(|error| FetchError::Answer { url: url.to_owned(), why: error.to_string() })
    }

    /// Completes the file `part`, beginning behind the bytes that it has. `total` is its size when it is complete,
    /// where that is known.
    pub(super) fn complete(
        &self,
        url: &str,
        part: &Path,
        total: Option<u64>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), FetchError> {
        let length = || part.metadata().map_or(0, |file| file.len());
        self.persist(url, length, |client| client.append(url, part, total, progress))
    }

    /// Tries until it is done, it is of no use, or too many attempts in a row brought nothing.
    fn persist<T>(
        &self,
        url: &str,
        received: impl Fn() -> u64,
        mut attempt: impl FnMut(&Self) -> Result<T, Cut>,
    ) -> Result<T, FetchError> {
        let mut pause = self.options.retry.pause;
        let mut fruitless = 0;
        let mut reached = false;
        loop {
            let before = received();
            let (why, connected) = match attempt(self) {
                Ok(done) => return Ok(done),
                Err(Cut::Final(error)) => return Err(error),
                Err(Cut::Again { why, connected }) => (why, connected),
            };
            reached |= connected;
            if received() > before {
                fruitless = 0;
                pause = self.options.retry.pause;
            } else {
                fruitless += 1;
            }
            let attempts = if reached { self.options.retry.attempts } else { CONNECT_ATTEMPTS };
            if fruitless >= attempts.min(self.options.retry.attempts) {
                return Err(FetchError::Network { url: url.to_owned(), why, received: received() });
            }
            tracing::debug!("{url}: {why}; trying again in {pause:?}");
            self.sleep(pause)?;
            pause *= 2;
        }
    }

    /// One attempt to get the rest of a file.
    fn append(
        &self,
        url: &str,
        part: &Path,
        total: Option<u64>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), Cut> {
        let mut file =
            OpenOptions::new().create(true).append(true).open(part).map_err(|source| failed("create", part, source))?;
        let mut done = file.metadata().map_err(|source| failed("read", part, source))?.len();
        // Longer than it can be, so of another file: of no use.
        if total.is_some_and(|total| done > total) {
            restart(&file, part, &mut done)?;
        }
        if total == Some(done) {
            return Ok(());
        }
        let mut response = match self.get(url, done) {
            Err(Cut::Final(FetchError::Status { status: 416, .. })) if done > 0 => {
                restart(&file, part, &mut done)?;
                self.get(url, 0)?
            }
            other => other?,
        };
        if done > 0 && resumed_at(&response) != Some(done) {
            // The server gives the whole file, whatever was asked for.
            restart(&file, part, &mut done)?;
            if response.status() == StatusCode::PARTIAL_CONTENT {
                response = self.get(url, 0)?;
            }
        }
        let total = total.or_else(|| response.body().content_length().map(|rest| done + rest));
        let mut body = response.body_mut().as_reader();
        let mut buffer = vec![0; READ_BYTES];
        progress(Progress::Received { done, total });
        loop {
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(FetchError::Cancelled.into());
            }
            let n = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Cut::Again { why: error.to_string(), connected: true }),
            };
            file.write_all(&buffer[..n]).map_err(|source| failed("write", part, source))?;
            done += n as u64;
            progress(Progress::Received { done, total });
            // More than was announced will be refused by its size; it must not fill the disk before.
            if total.is_some_and(|total| done > total) {
                break;
            }
        }
        match total {
            Some(total) if done < total => {
                Err(Cut::Again { why: format!("the connection ended at byte {done} of {total}"), connected: true })
            }
            _ => Ok(()),
        }
    }

    /// A request for what comes from byte `from` on, and its answer if that is 200 or 206.
    fn get(&self, url: &str, from: u64) -> Result<Response<Body>, Cut> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(FetchError::Cancelled.into());
        }
        let mut request = self.agent.get(url);
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        // ureq drops this header at a redirect to another host.
        if let Some(token) = &self.options.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = request.call().map_err(|error| retry(&error))?;
        match response.status().as_u16() {
            200 | 206 => Ok(response),
            status @ (408 | 429 | 500..=599) => {
                Err(Cut::Again { why: format!("HTTP status {status}"), connected: true })
            }
            status => Err(FetchError::Status { url: url.to_owned(), status }.into()),
        }
    }

    fn sleep(&self, time: Duration) -> Result<(), FetchError> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(FetchError::Cancelled);
            }
            thread::sleep(CANCEL_PAUSE.min(time));
        }
        Ok(())
    }
}

/// Where the body of an answer begins in the file, if it is a part of it.
fn resumed_at(response: &Response<Body>) -> Option<u64> {
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return None;
    }
    let range = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}

fn restart(file: &File, part: &Path, done: &mut u64) -> Result<(), FetchError> {
    *done = 0;
    file.set_len(0).map_err(|source| failed("write", part, source))
}

/// Errors before the answer: of name, connection, TLS, or a time that ran out.
fn retry(error: &ureq::Error) -> Cut {
    let connected = !matches!(
        error,
        ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed
            | ureq::Error::Io(_)
            | ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve)
    );
    Cut::Again { why: error.to_string(), connected }
}
