//! A TCP proxy that cuts connections where it is told to.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// After how many bytes a connection is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// From the server to the client, its handshake included.
    pub(crate) down: usize,
    /// From the client to the server, its handshake included.
    pub(crate) up: usize,
}

/// A running proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    cut: Arc<AtomicUsize>,
}

impl Proxy {
    /// Starts one before a server; `plan` says where its first connection is cut, where its second, and so on.
    pub(crate) fn start(to: SocketAddr, plan: impl Fn(usize) -> Cut + Send + 'static) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let cut = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&cut);
        std::thread::spawn(move || {
            for (number, client) in listener.incoming().map_while(Result::ok).enumerate() {
                // A server that is down is a connection that ends at once.
                let Ok(server) = TcpStream::connect(to) else { continue };
                let Cut { down, up } = plan(number);
                pump(&server, &client, down, &counter);
                pump(&client, &server, up, &counter);
            }
        });
        Proxy { address, cut }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections it has cut.
    pub(crate) fn cuts(&self) -> usize {
        self.cut.load(Ordering::Relaxed)
    }
}

/// Passes on so many bytes, and not one more: then both ends see the connection break off.
fn pump(from: &TcpStream, to: &TcpStream, mut left: usize, cut: &Arc<AtomicUsize>) {
    let clone = |stream: &TcpStream| stream.try_clone().expect("a socket can be shared");
    let (mut from, mut to, cut) = (clone(from), clone(to), Arc::clone(cut));
    let _ = to.set_nodelay(true);
    std::thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(got) = from.read(&mut buffer) {
            let passed = got.min(left);
            if got == 0 || to.write_all(&buffer[..passed]).is_err() {
                break;
            }
            left -= passed;
            if passed < got {
                cut.fetch_add(1, Ordering::Relaxed);
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    });
}
