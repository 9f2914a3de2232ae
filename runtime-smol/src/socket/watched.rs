//! A TCP connection that notices when its peer takes bytes, and takes turns with the others.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use smol::io::{AsyncRead, AsyncWrite};

use super::Flow;
use crate::limits;

/// The connection, with a note of when the peer last made room in a full send buffer.
///
/// It reads at most [`limits::READS_PER_TURN`] times in a row: a socket that always has something is never waited for,
/// and whoever reads frames of which nothing comes out (pongs, empty fragments) would keep the thread to himself.
///
/// Only room in a full buffer says something: the kernel takes what fits into an empty one whether or not anybody is
/// left at the other end, and makes room as the peer acknowledges.
#[derive(Debug)]
pub(super) struct Watched {
    flow: Rc<Flow>,
    full: bool,
    /// Reads since the task last had to wait.
    reads: u8,
}

impl Watched {
    pub(super) fn new(flow: Rc<Flow>) -> Watched {
        Watched { flow, full: false, reads: 0 }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.reads >= limits::READS_PER_TURN {
            self.reads = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = self.flow.link.poll_read(context, into);
        self.reads = if polled.is_ready() { self.reads + 1 } else { 0 };
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = self.flow.link.poll_write(context, bytes);
        if polled.is_pending() {
            self.full = true;
        }
        let written = ready!(polled)?;
        if std::mem::take(&mut self.full) {
            self.flow.taken.set(Some(Instant::now()));
        }
        Poll::Ready(Ok(written))
    }

    /// Without TLS there is nothing to flush; a TLS session has taken what the kernel did not.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = self.flow.link.poll_flush(context);
        if polled.is_pending() {
            self.full = true;
        }
        ready!(polled)?;
        if std::mem::take(&mut self.full) {
            self.flow.taken.set(Some(Instant::now()));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.flow.link.shut(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use smol::future::{self, or};
    use smol::io::{AsyncReadExt, AsyncWriteExt};
    use smol::net::{TcpListener, TcpStream};

    use super::super::link::Link;
    use super::*;

    #[test]
    fn only_what_had_to_wait_for_the_peer_is_a_sign_of_it() {
        smol::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let flow = Rc::new(Flow::new(Link::Plain(listener.accept().await.unwrap().0.into())));
            let mut watched = Watched::new(flow.clone());
            // The kernel alone takes these.
            watched.write_all(&[0; 100]).await.unwrap();
            assert_eq!(flow.taken.get(), None);
            // The buffers between are full when no more is written, and then the peer reads.
            let piece = vec![0; 1 << 16];
            while future::poll_once(watched.write_all(&piece)).await.is_some() {}
            let before = Instant::now();
            let read = async {
                let mut buffer = vec![0; 1 << 16];
                while peer.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
            };
            or(read, async { watched.write_all(&piece).await.unwrap() }).await;
            assert!(flow.taken.get().is_some_and(|at| at >= before));
        });
    }

    #[test]
    fn one_who_sends_without_end_is_read_in_turns() {
        smol::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let mut watched = Watched::new(Rc::new(Flow::new(Link::Plain(listener.accept().await.unwrap().0.into()))));
            peer.write_all(&[0; 1000]).await.unwrap();
            let mut read = 0;
            let mut turns = 0;
            while read < 1000 {
                turns += 1;
                // One byte at a time, for as long as there is no need to wait.
                while future::poll_once(watched.read_exact(&mut [0])).await.is_some() {
                    read += 1;
                    assert!(read <= turns * usize::from(limits::READS_PER_TURN), "{read} bytes in {turns} turns");
                    if read == 1000 {
                        break;
                    }
                }
                future::yield_now().await;
            }
            assert!(turns >= 1000 / usize::from(limits::READS_PER_TURN), "{turns} turns");
        });
    }
}
