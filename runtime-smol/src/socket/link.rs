//! What the tasks of one socket share of its connection.

use std::cell::RefCell;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_rustls::server::TlsStream;
use smol::Async;
use smol::io::{AsyncRead, AsyncWrite};

use crate::stream::Stream;

/// A connection to which several tasks of one thread have access.
#[derive(Debug)]
pub(super) enum Link {
    /// Without TLS: who reads and who writes share it as it is.
    Plain(Arc<Async<TcpStream>>),
    /// With TLS. On the heap, so that an idle socket without it is no larger for it.
    Tls(Box<Tls>),
}

/// A TLS session and, beside it, its connection.
#[derive(Debug)]
pub(super) struct Tls {
    socket: Arc<Async<TcpStream>>,
    /// Borrowed within a poll alone.
    session: RefCell<TlsStream<smol::net::TcpStream>>,
}

impl From<Stream> for Link {
    fn from(stream: Stream) -> Link {
        match stream {
            Stream::Plain(stream) => Link::Plain(stream.into()),
            Stream::Tls(stream) => {
                let socket = stream.get_ref().0.clone().into();
                Link::Tls(Box::new(Tls { socket, session: RefCell::new(*stream) }))
            }
        }
    }
}

impl Link {
    pub(super) fn poll_read(&self, context: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Link::Plain(socket) => Pin::new(&mut &**socket).poll_read(context, into),
            Link::Tls(tls) => Pin::new(&mut *tls.session.borrow_mut()).poll_read(context, into),
        }
    }

    pub(super) fn poll_write(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Link::Plain(socket) => Pin::new(&mut &**socket).poll_write(context, bytes),
            Link::Tls(tls) => Pin::new(&mut *tls.session.borrow_mut()).poll_write(context, bytes),
        }
    }

    pub(super) fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Link::Plain(socket) => Pin::new(&mut &**socket).poll_flush(context),
            Link::Tls(tls) => Pin::new(&mut *tls.session.borrow_mut()).poll_flush(context),
        }
    }

    /// Ends one direction or both, at once; that of writing with TLS's own farewell (RFC 8446, section 6.1), as far as
    /// the kernel takes it.
    pub(super) fn shut(&self, how: Shutdown) -> io::Result<()> {
        let socket = match self {
            Link::Plain(socket) => socket,
            Link::Tls(tls) => {
                let mut session = tls.session.borrow_mut();
                let (_, session) = session.get_mut();
                session.send_close_notify();
                while session.wants_write() && session.write_tls(&mut tls.socket.get_ref()).is_ok_and(|n| n > 0) {}
                &tls.socket
            }
        };
        socket.get_ref().shutdown(how)
    }
}
