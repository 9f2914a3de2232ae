//! A conversation on a server: this terminal is one of its clients.
//!
//! What is sent is sent again after a lost connection until it is acknowledged, under the same `client_id`; what is
//! missed meanwhile comes by `since`. `room` keeps what is here, `link` the connection.

pub(super) mod address;
mod commands;
mod frame;
pub(super) mod link;
mod login;
mod receive;
mod room;

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use smol::Timer;
use smol::channel::Sender;
use smol::future::or;

use super::transcript::shortened;
use super::{Event, Terminal};
use crate::cli::failure::Failure;
use crate::cli::sampling::Sampling;
use address::{Address, Credential};
use frame::{Frame, Listed};
use link::Link;
use login::{Given, Kept, Login, NotGiven};
use room::Room;

/// How long the answer to a request may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Messages that were sent and are not acknowledged yet, at most: they are sent one at a time.
const UNACKNOWLEDGED: usize = 16;

/// Of one's own messages, those that are known by their `client_id`, so that they are not shown a second time.
const OWN: usize = 64;

/// How to reach a server.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServerOptions {
    /// Talk on a running server: its address, or the link that logs you in (http://HOST/#login=CODE)
    #[arg(long, env = "CAUSERIE_SERVER", value_name = "URL", conflicts_with_all = ["model", "hf"])]
    pub(super) server: Option<Address>,

    /// The token that says who you are; not needed again after a login link. CAUSERIE_TOKEN keeps it out of lists of processes
    #[arg(long, env = "CAUSERIE_TOKEN", hide_env_values = true, value_name = "JWT")]
    token: Option<String>,

    /// PEM file of the authority to believe instead of the common ones, for https:// and wss://
    #[arg(long, env = "CAUSERIE_CA_FILE", value_name = "FILE")]
    ca_file: Option<std::path::PathBuf>,
}

/// The server, and what is under way with it.
pub(super) struct Server {
    link: Link,
    login: std::sync::Arc<Login>,
    events: Sender<Event>,
    kept: Kept,
    address: Address,
    token: String,
    /// Whether a token came from a login, and so is renewed and kept.
    renewable: bool,
    user_id: String,
    username: String,
    /// Frames can be sent.
    up: bool,
    /// Why it is over, if it is.
    over: Option<String>,
    room: Option<Room>,
    sampling: Sampling,
    /// Instructions for the next conversation.
    system: Option<String>,
    listed: Vec<Listed>,
    next_id: u64,
    /// The request that waits, and what came.
    request: Option<(u64, Option<Frame>)>,
    /// A frame of this type answers it, too: some are told to everybody alike, without saying what they answer.
    answered_by: Option<&'static str>,
    unacknowledged: VecDeque<Unacknowledged>,
    awaited: Option<Awaited>,
    own: VecDeque<String>,
    /// What others said while an answer is shown.
    held: Vec<(String, String)>,
    /// The history that is read after a return: from which message on it is news.
    catching_up: Option<(u64, u64)>,
    told_typing: Option<(String, Instant)>,
    /// The conversation that was asked to be deleted.
    to_delete: Option<String>,
}

/// A message that is to be sent until it is acknowledged.
struct Unacknowledged {
    id: u64,
    client_id: String,
    frame: Value,
}

/// The answer that this terminal waits for.
#[derive(Default)]
struct Awaited {
    /// The message that is answered: by our own name until it is acknowledged.
    client_id: Option<String>,
    message_id: Option<String>,
}

impl Server {
    /// Logs in and connects.
    pub(super) fn connect(
        options: &ServerOptions,
        sampling: Sampling,
        system: Option<String>,
        data_dir: &Path,
        events: Sender<Event>,
    ) -> Result<Server, Failure> {
        let address = options.server.clone().unwrap_or_else(|| unreachable!("only asked for with --server"));
        let authority = options.ca_file.as_deref();
        let login = Login::new(&address, authority).map_err(Failure::Failed)?;
        let kept = Kept::within(data_dir);
        let (token, renewable) = token(options, &address, &login, &kept)?;
        if renewable {
            kept.change(&address.base(), |server| server.token = Some(token.clone()));
        }
        let link = Link::start(address.clone(), token.clone(), authority, events.clone()).map_err(Failure::Failed)?;
        Ok(Server {
            link,
            login: std::sync::Arc::new(login),
            events,
            kept,
            address,
            token,
            renewable,
            user_id: String::new(),
            username: String::new(),
            up: false,
            over: None,
            room: None,
            sampling,
            system,
            listed: Vec::new(),
            next_id: 0,
            request: None,
            answered_by: None,
            unacknowledged: VecDeque::new(),
            awaited: None,
            own: VecDeque::new(),
            held: Vec::new(),
            catching_up: None,
            told_typing: None,
            to_delete: None,
        })
    }

    /// Waits for the server, says who is there, and goes to the conversation that is wanted.
    pub(super) fn greet(&mut self, terminal: &mut Terminal, resume: bool) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        while !self.up {
            self.wait_once(terminal, Some(deadline))?;
            if Instant::now() >= deadline {
                return Err(Failure::Failed(format!("{} says nothing; is it a Causerie server?", self.address.base())));
            }
        }
        if terminal.interactive {
            let (base, name) = (self.address.base(), &self.username);
            terminal.screen.tell(&format!(
                "Connected to {base} as {name}. /help tells what you can do; Ctrl-C stops an answer, or leaves."
            ));
            if !self.address.is_private() {
                terminal.screen.note("(not encrypted: others on the way can read along; use https:// where you can)");
            }
        }
        self.list(terminal)?;
        if let Some(session) = self.address.session.clone() {
            self.join(&session, terminal)?;
        } else if resume {
            self.resume(terminal)?;
        } else if let (true, Some(last)) = (terminal.interactive, self.last()) {
            let count = self.listed.len();
            terminal.screen.note(&format!(
                "/resume goes on with {}; /sessions lists all {count}. What you say begins a new one.",
                last.session_title
            ));
        }
        Ok(())
    }

    /// What is said when it is over.
    pub(super) fn farewell(&self) -> Option<String> {
        let room = self.room.as_ref()?;
        Some(format!("\"{}\" stays on the server: --resume goes on with it.", room.title))
    }

    /// Says something and waits for its answer.
    pub(super) fn say(&mut self, text: &str, terminal: &mut Terminal) -> Result<(), Failure> {
        if self.room.is_none() && !self.create(&shortened(text), terminal)? {
            return Ok(());
        }
        let frame = json!({ "type": "chat_message", "message": text });
        self.send_until_acknowledged(frame, terminal)
    }

    /// Somebody types here.
    pub(super) fn typing(&mut self) {
        if self.up && self.room.is_some() {
            self.link.send(json!({ "type": "typing", "is_typing": true }).to_string());
        }
    }

    fn send_until_acknowledged(&mut self, mut frame: Value, terminal: &mut Terminal) -> Result<(), Failure> {
        if self.unacknowledged.len() >= UNACKNOWLEDGED {
            terminal.screen.tell("Too much waits to be sent already; wait until the connection is there again.");
            return Ok(());
        }
        let id = self.id();
        let client_id = random_id();
        frame["id"] = json!(id);
        frame["client_id"] = json!(client_id);
        let sampling = self.sampling.to_json();
        if !sampling.is_empty() {
            frame["sampling"] = sampling.into();
        }
        if self.up {
            self.link.send(frame.to_string());
        } else {
            terminal.screen.note("(it is sent as soon as the connection is there again)");
        }
        if self.own.len() == OWN {
            self.own.pop_front();
        }
        self.own.push_back(client_id.clone());
        self.unacknowledged.push_back(Unacknowledged { id, client_id: client_id.clone(), frame });
        self.awaited = Some(Awaited { client_id: Some(client_id), message_id: None });
        self.wait_for_answer(terminal)
    }

    /// Shows what comes until the awaited answer is there. Ctrl-C stops it, or the wait.
    fn wait_for_answer(&mut self, terminal: &mut Terminal) -> Result<(), Failure> {
        let interrupt = terminal.interrupt.clone();
        let (outcome, _) = interrupt.guard(|_| {
            while self.awaited.is_some() {
                if let Happening::Interrupted = self.wait_once(terminal, None)? {
                    self.stop(terminal);
                }
            }
            Ok(())
        });
        outcome
    }

    /// Stops the answer that is waited for; where it has not begun, only the wait ends.
    fn stop(&mut self, terminal: &mut Terminal) {
        let answering = self.room.as_ref().and_then(|room| room.answering.clone());
        let awaited = self.awaited.as_ref().and_then(|awaited| awaited.message_id.clone());
        match answering {
            Some(answering) if self.up && awaited.is_some() && answering.parent == awaited => {
                self.link.send(json!({ "type": "stop_generation", "message_id": answering.id }).to_string());
            }
            _ => {
                self.awaited = None;
                terminal.screen.note("(not waited for: the message stays, and its answer is shown when it comes)");
            }
        }
    }

    /// Sends a frame and waits for what answers it: that, or what is to be told.
    fn request(&mut self, mut frame: Value, terminal: &mut Terminal) -> Result<Result<Frame, String>, Failure> {
        if !self.up {
            return Ok(Err("There is no connection just now; it is tried again and again.".to_owned()));
        }
        let id = self.id();
        frame["id"] = json!(id);
        self.request = Some((id, None));
        self.link.send(frame.to_string());
        let deadline = Instant::now() + PATIENCE;
        let interrupt = terminal.interrupt.clone();
        let (outcome, _) = interrupt.guard(|_| {
            loop {
                if let Some((_, Some(_))) = self.request {
                    break Ok(None);
                }
                if !self.up {
                    break Ok(Some("The connection was lost; try again."));
                }
                if Instant::now() >= deadline {
                    break Ok(Some("The server does not answer; try again."));
                }
                match self.wait_once(terminal, Some(deadline)) {
                    Ok(Happening::Interrupted) => break Ok(Some("(not waited for)")),
                    Ok(_) => {}
                    Err(failure) => break Err(failure),
                }
            }
        });
        self.answered_by = None;
        let answer = self.request.take().and_then(|(_, answer)| answer);
        Ok(match (outcome?, answer) {
            (_, Some(frame)) if frame.kind == "error" => Err(frame.complaint()),
            (_, Some(frame)) => Ok(frame),
            (why, None) => Err(why.unwrap_or("The server does not answer.").to_owned()),
        })
    }

    /// Takes what happens next.
    fn wait_once(&mut self, terminal: &mut Terminal, until: Option<Instant>) -> Result<Happening, Failure> {
        let events = terminal.events.clone();
        let next = smol::block_on(or(async { events.recv().await.ok() }, async {
            match until {
                Some(until) => drop(Timer::at(until).await),
                None => smol::future::pending().await,
            }
            None
        }));
        match next {
            Some(Event::Interrupted) => return Ok(Happening::Interrupted),
            Some(event) => self.take(event, terminal)?,
            None => {}
        }
        Ok(Happening::Other)
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

/// What a wait met.
enum Happening {
    Interrupted,
    Other,
}

/// The token to come with, and whether it can be renewed: from the command line, from a link, or from the last time.
fn token(options: &ServerOptions, address: &Address, login: &Login, kept: &Kept) -> Result<(String, bool), Failure> {
    let base = address.base();
    let failed = |error: NotGiven| match error {
        NotGiven::Refused(why) | NotGiven::Unreachable(why) => Failure::Failed(format!("{base}: {why}")),
    };
    match (&address.credential, &options.token) {
        (Some(Credential::Login(code)), _) => Ok((login.redeem(code).map_err(failed)?.token, true)),
        (Some(Credential::Token(token)), _) | (None, Some(token)) => Ok((token.trim().to_owned(), false)),
        (None, None) => {
            let Some(token) = kept.of(&base).token else {
                return Err(Failure::Usage(format!(
                    "who are you at {base}? Paste the link that its operator gave you as --server, or give a token with \
                     CAUSERIE_TOKEN; `causerie token --user NAME` makes one where the server runs"
                )));
            };
            match login.renew(&token) {
                Ok(Given { token }) => Ok((token, true)),
                Err(NotGiven::Unreachable(why)) => Err(Failure::Failed(why)),
                Err(NotGiven::Refused(why)) => Err(Failure::Failed(format!(
                    "{base} does not know you any more: {why}. Paste a new login link as --server, or give a token with \
                     CAUSERIE_TOKEN"
                ))),
            }
        }
    }
}

/// A name for a message that no other one has.
fn random_id() -> String {
    let mut random = [0u8; 16];
    if getrandom::fill(&mut random).is_err() {
        // Without randomness the time has to do: it is different for each message of one person.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        random = now.as_nanos().to_le_bytes();
    }
    format!("cli-{:032x}", u128::from_le_bytes(random))
}
