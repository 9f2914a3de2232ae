//! A line to a server that can be cut and mended, as a network does it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug, Default)]
struct State {
    cut: bool,
    open: Vec<TcpStream>,
}

/// Forwards TCP connections from a port of its own to a server, until it is cut.
#[derive(Debug)]
pub struct Line {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Line {
    /// A line to a server.
    ///
    /// # Panics
    /// When no port can be had.
    #[must_use]
    pub fn to(server: SocketAddr) -> Line {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on the loopback");
        let address = listener.local_addr().expect("a listener has an address");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let mut state = lock(&shared);
                // While it is cut, whoever comes is sent away at once.
                if state.cut {
                    continue;
                }
                let Ok(far) = TcpStream::connect(server) else { continue };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
                    std::thread::spawn(move || forward(from, to));
                }
                state.open.extend([near, far]);
            }
        });
        Line { address, state }
    }

    /// Where it begins.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections, and lets no more through.
    pub fn cut(&self) {
        let mut state = lock(&self.state);
        state.cut = true;
        for stream in state.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        lock(&self.state).cut = false;
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn forward(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) if to.write_all(&buffer[..count]).is_err() => break,
            Err(error) if error.kind() != ErrorKind::Interrupted => break,
            _ => {}
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_ends_and_what_is_mended_goes_on() {
        let echo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let line = Line::to(echo.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in echo.incoming().flatten() {
                std::thread::spawn(move || forward(stream.try_clone().unwrap(), stream));
            }
        });
        let said = |stream: &mut TcpStream| {
            let mut heard = [0; 2];
            stream.write_all(b"hi").and_then(|()| stream.read_exact(&mut heard)).map(|()| heard)
        };
        let mut before = TcpStream::connect(line.address()).unwrap();
        assert_eq!(said(&mut before).unwrap(), *b"hi");
        line.cut();
        assert!(said(&mut before).is_err());
        let meanwhile = TcpStream::connect(line.address());
        assert!(meanwhile.and_then(|mut stream| said(&mut stream)).is_err());
        line.mend();
        assert_eq!(said(&mut TcpStream::connect(line.address()).unwrap()).unwrap(), *b"hi");
    }
}
