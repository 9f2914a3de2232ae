//! The loop around the hub: what it puts out is done, and what comes of that is put in.

use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;
use core::time::Duration;

use causerie_core::limits::{self, Limits};
use causerie_core::{
    ConnectionId, Counts, FinishReason, GenerationId, Hub, Identity, Input, Instant, Loaded, Options, Output,
    RequestId, Role, Timings, UnixMicros, Usage,
};

use crate::machine;
use crate::storage::Storage;

/// Connections that there can be.
const PEERS: usize = 4;

/// What one transport can take: on a radio, its send buffer. What was sent is granted again at once, since this transport
/// is never slow.
const CREDIT: u32 = 4_096;

/// Answers of storage that wait for the hub: as many as one call of `poll` can ask for.
const ANSWERS: usize = limits::POLL_PIECES;

/// One end of a connection: what the person there has read.
pub struct Peer {
    pub connection: ConnectionId,
    pub name: &'static str,
    pub reader: Reader,
}

/// What a client keeps in order to resume.
#[derive(Clone, Default)]
pub struct Reader {
    pub session: String,
    pub epoch: String,
    pub resumed: bool,
    pub seq: u64,
    pub message: String,
    pub text: String,
    /// Whether the answer has come whole.
    pub done: bool,
}

/// What storage says to a request.
enum Answer {
    Stored(RequestId),
    StoreFailed(RequestId),
    Loaded(RequestId, Loaded),
    LoadFailed(RequestId),
}

/// The model: it says back what it was told, a word a tick.
struct Echo {
    generation: GenerationId,
    words: String,
    said: usize,
}

/// The hub with all that it needs.
pub struct Runtime {
    hub: Hub,
    now: Instant,
    pub storage: Storage,
    peers: [Option<Peer>; PEERS],
    model: Option<Echo>,
}

impl Runtime {
    pub fn new() -> Runtime {
        // A small machine has small bounds.
        let mut bounds = Limits::default();
        bounds.connections = PEERS;
        bounds.frame_bytes = 4_096;
        bounds.message_bytes = 512;
        bounds.log_bytes = 8_192;
        let hub = Hub::new(Options {
            seed: *b"from a true source of randomness", // a microcontroller has a register for it
            wall_clock: UnixMicros(1_767_225_600_000_000), // and a clock with a battery
            server: String::from("freestanding"),
            limits: bounds,
        });
        let mut runtime =
            Runtime { hub, now: Instant::ZERO, storage: Storage::new(), peers: [const { None }; PEERS], model: None };
        runtime.give(Input::BackendUp { model: "echo" });
        runtime
    }

    /// A person connects, and is who they say they are. `reader` is what they know from before.
    pub fn connect(&mut self, name: &'static str, reader: Reader) -> ConnectionId {
        let connection = self.hub.connect(self.now).expect("there is room for all people of this program");
        let place =
            self.peers.iter_mut().find(|peer| peer.is_none()).expect("as many places as the hub has connections");
        *place = Some(Peer { connection, name, reader });
        let identity = Identity {
            user_id: format!("id-{name}"),
            username: String::from(name),
            role: Role::User,
            expires: self.now + Duration::from_secs(3_600),
        };
        self.give(Input::Writable { connection, credit: CREDIT });
        self.give(Input::Authenticated { connection, identity });
        connection
    }

    /// A person sends a frame.
    pub fn send(&mut self, connection: ConnectionId, text: &str) {
        let _ = writeln!(&machine::OUT, "{} > {text}", self.peer(connection).name);
        self.give(Input::Frame { connection, text });
    }

    /// A connection breaks. What its person has read is theirs to keep.
    pub fn lose(&mut self, connection: ConnectionId) -> Reader {
        let place = self.peers.iter_mut().find(|p| p.as_ref().is_some_and(|p| p.connection == connection));
        let peer = place.and_then(Option::take).expect("an open connection");
        let _ = writeln!(&machine::OUT, "# {} loses the connection", peer.name);
        self.give(Input::Closed { connection });
        peer.reader
    }

    pub fn peer(&self, connection: ConnectionId) -> &Peer {
        self.peers.iter().flatten().find(|peer| peer.connection == connection).expect("an open connection")
    }

    /// A millisecond passes, in which the model says one word.
    pub fn tick(&mut self) {
        self.now = self.now + Duration::from_millis(1);
        let Some(echo) = &mut self.model else { return self.give(Input::Timer) };
        let generation = echo.generation;
        let rest = &echo.words[echo.said..];
        if rest.is_empty() {
            self.model = None;
            let (reason, usage, timings) = (FinishReason::Stop, Usage::default(), Timings::default());
            return self.give(Input::Generated { generation, reason, usage, timings });
        }
        let word = rest.find(' ').map_or(rest.len(), |space| space + 1);
        let text = String::from(&rest[..word]);
        echo.said += word;
        self.give(Input::Token { generation, text: &text });
    }

    /// Whether the hub holds no connection, no session and nothing under way. People are remembered until their rate limits
    /// have recovered.
    pub fn is_empty(&self) -> bool {
        let Counts { connections, sessions, generations, requests, .. } = self.hub.counts();
        connections + sessions + generations + requests == 0
    }

    /// Gives one input and does all that follows.
    fn give(&mut self, input: Input<'_>) {
        self.hub.handle(self.now, input).expect("this runtime keeps to the hub's contract");
        loop {
            let mut answers = [const { None }; ANSWERS];
            let mut grants = [const { None }; PEERS];
            let more = self.put_out(&mut answers, &mut grants);
            let grants = grants.into_iter().flatten();
            let inputs = answers.into_iter().flatten().map(|answer| match answer {
                Answer::Stored(request) => Input::Stored { request },
                Answer::StoreFailed(request) => Input::StoreFailed { request },
                Answer::Loaded(request, data) => Input::Loaded { request, data },
                Answer::LoadFailed(request) => Input::LoadFailed { request },
            });
            let mut any = false;
            for input in inputs.chain(grants.map(|(connection, credit)| Input::Writable { connection, credit })) {
                any = true;
                self.hub.handle(self.now, input).expect("each request is answered once");
            }
            if !more && !any {
                return;
            }
        }
    }

    /// One call of `poll`: frames are sent, storage and the model do what they are asked.
    fn put_out(
        &mut self,
        answers: &mut [Option<Answer>; ANSWERS],
        grants: &mut [Option<(ConnectionId, u32)>; PEERS],
    ) -> bool {
        let Runtime { hub, storage, peers, model, .. } = self;
        let mut answer = |answer| *answers.iter_mut().find(|a| a.is_none()).expect("one answer a piece") = Some(answer);
        hub.poll(&mut |output| match output {
            Output::Send { to, frame } => {
                for (peer, grant) in peers.iter_mut().zip(&mut *grants) {
                    let Some(peer) = peer.as_mut().filter(|peer| to.contains(&peer.connection)) else { continue };
                    let _ = writeln!(&machine::OUT, "{} < {frame}", peer.name);
                    peer.reader.take(frame);
                    grant.get_or_insert((peer.connection, 0)).1 += frame.len() as u32;
                }
            }
            Output::Store { request, write } => answer(match storage.write(write) {
                Some(()) => Answer::Stored(request),
                None => Answer::StoreFailed(request),
            }),
            Output::Load { request, query } => answer(match storage.read(query) {
                Some(data) => Answer::Loaded(request, data),
                None => Answer::LoadFailed(request),
            }),
            Output::Generate { generation, session, prompt, .. } => {
                let prompt = storage.messages(session).find(|message| message.id == prompt);
                let words = format!("You said: {}", prompt.map_or("", |message| message.content.as_str()));
                *model = Some(Echo { generation, words, said: 0 });
            }
            other => panic!("nothing in this conversation leads to {other:?}"),
        })
    }
}

impl Reader {
    /// Takes a frame in as a client does, and panics where it does not fit what came before.
    fn take(&mut self, frame: &str) {
        match text(frame, "type").expect("every frame has a type") {
            "session_joined" => {
                self.session = String::from(text(frame, "session_id").expect("a session"));
                self.epoch = String::from(text(frame, "epoch").expect("an epoch"));
                self.resumed = frame.contains("\"resumed\":true");
                if !self.resumed {
                    self.seq = number(frame, "seq").expect("a place in the log");
                }
            }
            "message_delta" => {
                assert_eq!(number(frame, "offset"), Some(self.text.len() as u64), "no gap and nothing twice: {frame}");
                self.message = String::from(text(frame, "message_id").expect("a message"));
                self.text.push_str(text(frame, "content").expect("some text"));
            }
            "message" => {
                let seq = number(frame, "seq").expect("a place in the log");
                assert_eq!(seq, self.seq + 1, "each message once and in order: {frame}");
                self.seq = seq;
                if frame.contains("\"role\":\"assistant\"") {
                    assert_eq!(text(frame, "content"), Some(self.text.as_str()), "the deltas are the message");
                    self.done = true;
                }
            }
            "error" => panic!("{frame}"),
            _ => {}
        }
    }
}

/// A field of a frame whose text has no escapes, which is true of all that is said here.
fn text<'a>(frame: &'a str, name: &str) -> Option<&'a str> {
    let begin = format!("\"{name}\":\"");
    let (_, rest) = frame.split_once(begin.as_str())?;
    rest.split_once('"').map(|(value, _)| value)
}

fn number(frame: &str, name: &str) -> Option<u64> {
    let begin = format!("\"{name}\":");
    let (_, rest) = frame.split_once(begin.as_str())?;
    rest.split([',', '}']).next()?.parse().ok()
}
