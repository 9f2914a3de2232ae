//! TCP connections: how many, how long, with TLS or without, and HTTP on them.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Shutdown};
use std::pin::pin;
use std::rc::Rc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use smol::Timer;
use smol::future::or;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};
use smol_hyper::rt::{FuturesIo, SmolTimer};

use super::body::Busy;
use super::{Site, access};
use crate::limits;
use crate::stream::Stream;

/// Accepts connections until the future is dropped.
pub(crate) async fn accept(site: Rc<Site>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) if site.open.get() < limits::SOCKETS => {
                let connection = connection(site.clone(), stream);
                site.executor.spawn(connection).detach();
            }
            // What is not encrypted would make no sense to a client that speaks TLS.
            Ok((stream, _)) if site.tls.is_some() => drop(stream),
            Ok((stream, _)) => refuse(stream).await,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; is the limit of open files (ulimit -n) too low?");
                Timer::after(limits::ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Counts one TCP connection for as long as it lives.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) site: Rc<Site>,
    /// Who connected; none where the system does not say, since they are gone.
    peer: Option<IpAddr>,
    /// Answers that are being made for it.
    pub(super) busy: Cell<usize>,
}

impl Counted {
    fn new(site: Rc<Site>, stream: &TcpStream) -> Counted {
        site.open.set(site.open.get() + 1);
        let peer = stream.peer_addr().ok().map(|address| address.ip());
        Counted { site, peer, busy: Cell::new(0) }
    }

    /// Where it comes from, for the audit log: the address of the nearest peer, which may be a proxy. What a header says
    /// about it anybody could write.
    pub(super) fn source(&self) -> String {
        self.peer.map_or_else(|| "(gone)".to_owned(), |peer| peer.to_string())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.site.open.set(self.site.open.get() - 1);
    }
}

async fn connection(site: Rc<Site>, stream: TcpStream) {
    let counted = Rc::new(Counted::new(site, &stream));
    if let Err(error) = tune(&stream) {
        tracing::debug!(%error, "a connection was gone before it was served");
        return;
    }
    let Some(stream) = secured(&counted.site, stream).await else { return };
    let service = service_fn(|request| {
        let counted = counted.clone();
        async move {
            let _busy = Busy::new(&counted);
            Ok::<_, Infallible>(access::answer(&counted, request).await)
        }
    });
    let mut serving = pin!(
        http1::Builder::new()
            .timer(SmolTimer::new())
            .header_read_timeout(limits::HTTP_HEADER_TIME)
            .max_headers(limits::HTTP_HEADERS)
            .max_buf_size(limits::HTTP_HEADER_BYTES)
            .half_close(false)
            .serve_connection(FuturesIo::new(stream), service)
            .with_upgrades()
    );
    let served = or(async { Some(serving.as_mut().await) }, async {
        loop {
            Timer::after(limits::HTTP_CONNECTION_TIME).await;
            if counted.busy.get() == 0 {
                return None;
            }
        }
    });
    if let Some(Err(error)) = served.await {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// The connection as it is, or, where HTTPS is spoken, after its handshake; `None` when there is none in time.
async fn secured(site: &Site, stream: TcpStream) -> Option<Stream> {
    let Some(tls) = &site.tls else { return Some(Stream::Plain(stream)) };
    let shaken = async {
        let mut first = [0];
        if stream.peek(&mut first).await.ok()? == 0 {
            return None;
        }
        if first[0] != TLS_HANDSHAKE {
            refuse_plain(stream).await;
            return None;
        }
        let _shaking = Shaking::new(site)?;
        match tls.acceptor().accept(stream).await {
            Ok(stream) => Some(Stream::Tls(Box::new(stream))),
            Err(error) => {
                tracing::debug!(%error, "a TLS handshake failed");
                None
            }
        }
    };
    let late = async {
        Timer::after(limits::TLS_HANDSHAKE_TIME).await;
        tracing::debug!("a TLS handshake took too long");
        None
    };
    or(shaken, late).await
}

/// The first byte of a TLS record that begins a handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// Counts one TLS handshake for as long as it lasts.
struct Shaking<'a>(&'a Site);

impl Shaking<'_> {
    /// `None` when there are [`limits::TLS_HANDSHAKES`] already.
    fn new(site: &Site) -> Option<Shaking<'_>> {
        if site.handshakes.get() >= limits::TLS_HANDSHAKES {
            tracing::debug!("too many TLS handshakes at once; one is dropped");
            return None;
        }
        site.handshakes.set(site.handshakes.get() + 1);
        Some(Shaking(site))
    }
}

impl Drop for Shaking<'_> {
    fn drop(&mut self) {
        self.0.handshakes.set(self.0.handshakes.get() - 1);
    }
}

/// Whoever speaks HTTP where HTTPS is spoken is told so; what is left of the request is read, since the answer would be
/// lost in a reset otherwise.
async fn refuse_plain(mut stream: TcpStream) {
    const BODY: &str =
        r#"{"error":"https_required","message":"this port speaks HTTPS: write https:// instead of http://"}"#;
    let length = BODY.len();
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{BODY}"
    );
    if stream.write_all(answer.as_bytes()).await.is_ok() && stream.shutdown(Shutdown::Write).is_ok() {
        let mut rest = [0; 1024];
        let mut left = limits::HTTP_HEADER_BYTES;
        while let Ok(read) = stream.read(&mut rest).await
            && read > 0
            && left > read
        {
            left -= read;
        }
    }
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    // A streamed token is a small write that must not wait for the acknowledgement of the one before.
    stream.set_nodelay(true)?;
    rustix::net::sockopt::set_socket_send_buffer_size(stream, limits::SEND_BUFFER_BYTES)?;
    Ok(())
}

/// There is no room for this connection: a fixed answer, if the kernel takes it at once.
async fn refuse(mut stream: TcpStream) {
    const FULL: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 30\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let answered = async { drop(stream.write_all(FULL).await) };
    let late = async {
        Timer::after(limits::ACCEPT_PAUSE).await;
    };
    or(answered, late).await;
}
