//! Answers that come in pieces: server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use hyper::body::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use serde_json::Value;
use smol::Timer;
use smol::channel::Sender;
use smol::future::or;

use super::super::body::Busy;
use super::super::{Body, Counted, Response};
use crate::limits;
use std::rc::Rc;

/// Tells proxies (nginx and those that follow it) to pass pieces on as they come.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The client has gone, or takes nothing any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone;

/// Where events are written.
#[derive(Debug)]
pub(super) struct EventStream {
    chunks: Sender<Bytes>,
}

impl EventStream {
    /// A response whose events are still to come.
    pub(super) fn open(counted: &Rc<Counted>) -> (EventStream, Response) {
        let (chunks, body) = Body::stream(Busy::new(counted));
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
        (EventStream { chunks }, response)
    }

    /// An event without a name.
    pub(super) async fn data(&self, data: &Value) -> Result<(), Gone> {
        self.write(format!("data: {data}\n\n")).await
    }

    /// An event with a name.
    pub(super) async fn event(&self, name: &str, data: &Value) -> Result<(), Gone> {
        self.write(format!("event: {name}\ndata: {data}\n\n")).await
    }

    /// The end, as OpenAI's clients expect it.
    pub(super) async fn done(&self) -> Result<(), Gone> {
        self.write("data: [DONE]\n\n".to_owned()).await
    }

    /// Waits for something, unless the client goes; meanwhile nobody on the way takes the connection for dead.
    pub(super) async fn wait<T>(&self, what: impl Future<Output = T>) -> Result<T, Gone> {
        let what = async { Ok(what.await) };
        let gone = async {
            self.chunks.closed().await;
            Err(Gone)
        };
        let alive = async {
            loop {
                Timer::after(limits::API_KEEP_ALIVE).await;
                self.write(": the model is busy\n\n".to_owned()).await?;
            }
        };
        or(what, or(gone, alive)).await
    }

    async fn write(&self, text: String) -> Result<(), Gone> {
        let sent = async { self.chunks.send(Bytes::from(text)).await.map_err(|_| Gone) };
        let stalled = async {
            Timer::after(limits::HTTP_STREAM_STALL).await;
            Err(Gone)
        };
        or(sent, stalled).await
    }
}
