//! What an answer's body is: bytes that are there, or bytes that are still being made.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::body::{Bytes, Frame, SizeHint};
use smol::channel::{Receiver, Sender};
use smol::stream::Stream;

use super::access::Line;
use super::connection::Counted;
use crate::limits;

/// The body of a response.
#[derive(Debug)]
pub(crate) enum Body {
    /// All of it; `None` once it has been taken.
    Whole(Option<Bytes>),
    /// What comes out of a channel, until its senders are gone.
    Stream {
        /// The channel.
        chunks: Pin<Box<Receiver<Bytes>>>,
        /// The connection may live as long as the body does.
        _busy: Busy,
        /// Its line in the log, written when this goes.
        _line: Option<Box<Line>>,
    },
}

impl Body {
    /// A body of what is sent; when it is dropped, because the client is gone or has all, sending fails. At most
    /// [`limits::HTTP_STREAM_CHUNKS`] wait for the socket; who sends waits for room, as long as
    /// [`limits::HTTP_STREAM_STALL`] allows.
    pub(super) fn stream(busy: Busy) -> (Sender<Bytes>, Body) {
        let (sender, chunks) = smol::channel::bounded(limits::HTTP_STREAM_CHUNKS);
        (sender, Body::Stream { chunks: Box::pin(chunks), _busy: busy, _line: None })
    }

    /// Logs the line now, or, if the body is still being made, at its end.
    pub(super) fn log(&mut self, line: Line) {
        if let Body::Stream { _line, .. } = self {
            *_line = Some(Box::new(line));
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Body {
        Body::Whole(Some(bytes))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Body::Whole(bytes) => {
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
            Body::Stream { chunks, .. } => {
                chunks.as_mut().poll_next(context).map(|chunk| chunk.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Body::Stream { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Body::Stream { .. } => SizeHint::default(),
        }
    }
}

/// Something is being done for a connection, so that it is not to be ended for its age.
#[derive(Debug)]
pub(crate) struct Busy(Rc<Counted>);

impl Busy {
    pub(super) fn new(counted: &Rc<Counted>) -> Busy {
        counted.busy.set(counted.busy.get() + 1);
        counted.site.health.count_answer(true);
        Busy(counted.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.set(self.0.busy.get() - 1);
        self.0.site.health.count_answer(false);
    }
}
