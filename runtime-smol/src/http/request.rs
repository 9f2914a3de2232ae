//! What a client sent, read within limits.

use std::cell::Cell;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Incoming};
use hyper::{Request, StatusCode, header};
use smol::Timer;
use smol::future::or;

use super::{Refusal, Site, framing};
use crate::limits;

/// A request's body in JSON, not parsed yet, of at most `limit` bytes, whole within [`limits::HTTP_BODY_TIME`], while there
/// is room for it in [`limits::HTTP_BODIES_BYTES`].
pub(super) async fn body(site: &Site, request: Request<Incoming>, limit: usize) -> Result<Bytes, Refusal> {
    framing::check_json(&request)?;
    let expects = request.headers().contains_key(header::EXPECT);
    let mut body = request.into_body();
    if body.size_hint().lower() > limit as u64 {
        // Who asks before sending (RFC 9110, 10.1.1) is told at once.
        if !expects {
            discard(&mut body).await;
        }
        return Err(too_large(limit));
    }
    let read = read(&site.bodies, &mut body, limit);
    let late = async {
        Timer::after(limits::HTTP_BODY_TIME).await;
        let message = format!("the body did not come within {} s", limits::HTTP_BODY_TIME.as_secs());
        Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "body_late", message))
    };
    or(read, late).await
}

/// Into one piece of memory, which is as large as what came: pieces as they come may each hold far more than they show.
async fn read(bodies: &Bodies, body: &mut Incoming, limit: usize) -> Result<Bytes, Refusal> {
    let mut held = Held { bodies, bytes: 0 };
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let message = format!("the body did not come whole: {error}");
            Refusal::new(StatusCode::BAD_REQUEST, "body_lost", message)
        })?;
        let Some(data) = frame.data_ref() else { continue };
        if data.len() > limit - whole.len() {
            return Err(too_large(limit));
        }
        if !held.grow(data.len()) {
            drop((held, whole));
            discard(body).await;
            let message = "too many bodies are being read at once: try again in a moment";
            let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "no_room_for_body", message);
            return Err(refusal.with(header::RETRY_AFTER, limits::RETRY_AFTER));
        }
        whole.extend_from_slice(data);
    }
    Ok(whole.into())
}

/// Bytes of bodies that are being read, of all connections.
#[derive(Debug, Default)]
pub(crate) struct Bodies(Cell<usize>);

/// One body's part of them, for as long as it is being read.
#[derive(Debug)]
struct Held<'a> {
    bodies: &'a Bodies,
    bytes: usize,
}

impl Held<'_> {
    /// Whether there is room for so many bytes more; then they are counted.
    fn grow(&mut self, bytes: usize) -> bool {
        let all = self.bodies.0.get().saturating_add(bytes);
        if all > limits::HTTP_BODIES_BYTES {
            return false;
        }
        self.bodies.0.set(all);
        self.bytes += bytes;
        true
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.bodies.0.set(self.bodies.0.get() - self.bytes);
    }
}

/// Reads what is already on its way and throws it away: a client that is cut off while it sends never sees the answer.
async fn discard(body: &mut Incoming) {
    let mut left = limits::LINGER_BYTES;
    while left > 0 {
        let pause = async {
            Timer::after(limits::HTTP_DISCARD_PAUSE).await;
            None
        };
        match or(body.frame(), pause).await {
            Some(Ok(frame)) => left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64)),
            _ => return,
        }
    }
}

fn too_large(limit: usize) -> Refusal {
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", format!("the body is longer than {limit} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_bytes_as_there_is_room_for_and_one_more() {
        let bodies = Bodies::default();
        let held = || Held { bodies: &bodies, bytes: 0 };
        let (mut first, mut second) = (held(), held());
        assert!(first.grow(limits::HTTP_BODIES_BYTES - 1) && second.grow(1));
        assert!(!first.grow(1) && !second.grow(1) && !held().grow(usize::MAX));
        drop(second);
        assert!(first.grow(1) && !first.grow(1));
        drop(first);
        assert_eq!(bodies.0.get(), 0);
    }
}
