//! A request's id, and its line in the log.
//!
//! The line has the method, the path without its query, the status, the code of an error, and the time in milliseconds until the answer had been
//! made; of one that is streamed, until its end, and until its beginning as well. No query, no header and no body is ever
//! logged: tokens and what people write are in them.

use std::fmt;
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request};
use tracing::{Instrument, Span};

use super::{Code, Counted, Response};
use crate::limits;

/// The header that brings an id, and takes it back.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Answers a request; what is logged meanwhile bears its id.
pub(super) async fn answer(counted: &Rc<Counted>, request: Request<Incoming>) -> Response {
    let begun = Instant::now();
    let id = RequestId::of(request.headers());
    // Of the level of errors, so that it is there whatever is logged.
    let span = tracing::error_span!("request", %id);
    let method = request.method().clone();
    let mut path = request.uri().path().to_owned();
    path.truncate(path.floor_char_boundary(limits::LOGGED_PATH_BYTES));
    let mut response = super::answer(counted, request).instrument(span.clone()).await;
    response.headers_mut().insert(X_REQUEST_ID, id.0);
    let status = response.status().as_u16();
    let code = response.extensions().get().map(|Code(code)| *code);
    let wanted = counted.site.log_requests;
    let line = Line { span, method, path, status, code, begun, first: begun.elapsed(), wanted };
    response.body_mut().log(line);
    response
}

/// The line of one request. It is written when this is dropped.
#[derive(Debug)]
pub(crate) struct Line {
    span: Span,
    method: Method,
    path: String,
    status: u16,
    /// Of an answer that is no.
    code: Option<&'static str>,
    begun: Instant,
    /// From its beginning to that of its answer.
    first: Duration,
    /// Whatever the level of the log.
    wanted: bool,
}

impl Drop for Line {
    fn drop(&mut self) {
        let Line { method, path, status, code, .. } = self;
        let [ms, first_ms] = [self.begun.elapsed(), self.first].map(|time| time.as_micros() as f64 / 1000.0);
        self.span.in_scope(|| {
            if self.wanted {
                tracing::info!(%method, %path, status, code, ms, first_ms, "answered a request");
            } else {
                tracing::debug!(%method, %path, status, code, ms, first_ms, "answered a request");
            }
        });
    }
}

/// What names one request in the log and to its client.
#[derive(Debug)]
struct RequestId(HeaderValue);

impl RequestId {
    /// The one that the client, or a proxy in front, has given it, if it is short and plain; otherwise a new one.
    fn of(headers: &HeaderMap) -> RequestId {
        let given = headers.get(X_REQUEST_ID).filter(|given| is_plain(given.as_bytes()));
        given.cloned().map_or_else(RequestId::new, RequestId)
    }

    /// Different from all others of this process, and most likely of every other one.
    fn new() -> RequestId {
        static PROCESS: OnceLock<u32> = OnceLock::new();
        static COUNT: AtomicU64 = AtomicU64::new(1);
        // Without randomness it is only less unique.
        let process = PROCESS.get_or_init(|| getrandom::u32().unwrap_or_else(|_| std::process::id()));
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        RequestId(HeaderValue::from_str(&format!("{process:08x}-{count:x}")).expect("digits are visible ASCII"))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().unwrap_or_default())
    }
}

fn is_plain(id: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=limits::REQUEST_ID_BYTES).contains(&id.len()) && id.iter().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_for(given: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_bytes(given.as_bytes()).unwrap());
        RequestId::of(&headers).to_string()
    }

    #[test]
    fn a_plain_id_is_taken_over_and_another_is_not() {
        let longest = "x".repeat(limits::REQUEST_ID_BYTES);
        for plain in ["a", "4bf92f3577b34da6-00f0.67_B", longest.as_str()] {
            assert_eq!(id_for(plain), plain);
        }
        let too_long = format!("{longest}x");
        for wrong in ["", "a b", "a\tb", "<script>", "id=\"1\"", "ä", too_long.as_str()] {
            assert_ne!(id_for(wrong), wrong);
        }
    }

    #[test]
    fn new_ids_are_different_and_plain() {
        let [first, second] =
            [RequestId::of(&HeaderMap::new()), RequestId::of(&HeaderMap::new())].map(|id| id.to_string());
        assert_ne!(first, second);
        assert!(is_plain(first.as_bytes()));
    }
}
