//! A TCP connection that notices when its peer takes bytes.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use smol::io::{AsyncRead, AsyncWrite};
use smol::net::TcpStream;

/// The connection, with a note of when the peer last made room in a full send buffer.
///
/// Only room in a full buffer says something: the kernel takes what fits into an empty one whether or not anybody is
/// left at the other end, and makes room as the peer acknowledges.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    full: bool,
    taken: Rc<Cell<Option<Instant>>>,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, taken: Rc<Cell<Option<Instant>>>) -> Watched {
        Watched { stream, full: false, taken }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        if polled.is_pending() {
            self.full = true;
        }
        let written = ready!(polled)?;
        if std::mem::take(&mut self.full) {
            self.taken.set(Some(Instant::now()));
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}

#[cfg(test)]
mod tests {
    use smol::future::{self, or};
    use smol::io::{AsyncReadExt, AsyncWriteExt};
    use smol::net::TcpListener;

    use super::*;

    #[test]
    fn only_what_had_to_wait_for_the_peer_is_a_sign_of_it() {
        smol::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let taken = Rc::new(Cell::new(None));
            let mut watched = Watched::new(listener.accept().await.unwrap().0, taken.clone());
            // The kernel alone takes these.
            watched.write_all(&[0; 100]).await.unwrap();
            assert_eq!(taken.get(), None);
            // The buffers between are full when no more is written, and then the peer reads.
            let piece = vec![0; 1 << 16];
            while future::poll_once(watched.write_all(&piece)).await.is_some() {}
            let before = Instant::now();
            let read = async {
                let mut buffer = vec![0; 1 << 16];
                while peer.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
            };
            or(read, async { watched.write_all(&piece).await.unwrap() }).await;
            assert!(taken.get().is_some_and(|at| at >= before));
        });
    }
}
