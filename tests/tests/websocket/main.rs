//! RFC 6455 from outside: the real server, frames made by hand.
//!
//! The categories are those of the Autobahn test suite, the cases are our own. Each is a row: bytes, and what must come
//! of them. [`Outcome::Lives`] is proven by a message that is answered afterwards, [`Outcome::Closed`] by a close frame
//! with that code, nothing after it, and the end of TCP in order: a reset could take the close frame away.
//!
//! | file | category |
//! |---|---|
//! | `handshake` | section 4: what is a handshake, what is none, what is chosen of what is offered |
//! | `framing` | 1, 3, 4: lengths, masks, reserved bits and opcodes, binary |
//! | `control` | 2: pings and pongs |
//! | `fragmentation` | 5 |
//! | `utf8` | 6 |
//! | `closing` | 7: close codes, who closes and how TCP ends |
//! | `limits` | 9: sizes, floods, slowness |
//! | `frames` | not Autobahn's: texts that are not what this protocol wants |

mod closing;
mod control;
mod fragmentation;
mod frames;
mod framing;
mod handshake;
mod limits;
mod utf8;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use causerie_tests::raw::{Ending, Raw, text};
use causerie_tests::{Options, Server};

/// One server without a model, for all tests that run at the same time.
struct Room {
    server: Server,
    token: String,
}

impl Room {
    fn enter() -> Arc<Room> {
        // Not a static server: nobody would end its process.
        static ROOM: Mutex<Weak<Room>> = Mutex::new(Weak::new());
        let mut shared = ROOM.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(room) = shared.upgrade() {
            return room;
        }
        let model = Some("/nowhere/at-all.gguf".into());
        let server = Server::start_with(Options { model, ..Options::default() });
        let room = Arc::new(Room { token: server.token("ada"), server });
        *shared = Arc::downgrade(&room);
        room
    }

    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// A connection past its greeting.
    fn connect(&self) -> Raw {
        Raw::connect(self.address(), &self.token)
    }

    /// Sends the bytes on a new connection and sees what comes of them.
    #[track_caller]
    fn check(&self, name: &str, bytes: &[u8], outcome: Outcome) {
        self.check_in_pieces(name, bytes, bytes.len().max(1), outcome);
    }

    /// The same, so many bytes at a time.
    #[track_caller]
    fn check_in_pieces(&self, name: &str, bytes: &[u8], size: usize, outcome: Outcome) {
        let mut raw = self.connect();
        match outcome {
            Outcome::Lives => {
                raw.send_in_pieces(bytes, size);
                assert_lives(&mut raw, name);
            }
            Outcome::Closed(code) => {
                // The server may hang up before all is sent; what it said first is still to be read.
                for piece in bytes.chunks(size) {
                    let _ = raw.try_send(piece);
                }
                assert_closed(&raw.ending(), code, name);
            }
        }
    }
}

/// What must come of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// They are taken, and so is a message after them.
    Lives,
    /// The server ends the connection with this close code.
    Closed(u16),
}

use Outcome::{Closed, Lives};

/// A ping of the protocol whose answer is recognized.
fn question(id: &str) -> Vec<u8> {
    text(&question_text(id))
}

fn question_text(id: &str) -> String {
    format!(r#"{{"type":"ping","id":"{id}"}}"#)
}

/// The answer to [`question`]: `pong`, or a refusal of too many frames a second, which shows as well that it was read.
#[track_caller]
fn assert_answered(raw: &mut Raw, id: &str, name: &str) {
    let answer = raw.expect_where(&format!("{name}: an answer to {id:?}"), |frame| frame["ref"] == id);
    assert!(answer["type"] == "pong" || answer["code"] == "too_many_frames", "{name}: {answer}");
}

#[track_caller]
fn assert_lives(raw: &mut Raw, name: &str) {
    raw.send(&question("alive?"));
    assert_answered(raw, "alive?", name);
}

#[track_caller]
fn assert_closed(ending: &Ending, code: u16, name: &str) {
    assert_eq!((ending.code, ending.in_order), (Some(code), true), "{name}: {ending:?}");
}
