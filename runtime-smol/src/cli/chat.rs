//! `causerie chat`: a conversation in the terminal, with a model in this process or on a server.
//!
//! One task does all: it asks the keyboard for the next message, and meanwhile shows what a server says. `here` and
//! `server` are whom one talks to; `command` knows what begins with a slash, `screen` what goes where.

mod command;
mod compose;
mod here;
mod keyboard;
mod screen;
mod server;
mod transcript;
mod typing;

use std::io::{self, IsTerminal};
use std::path::Path;

use clap::Args;
use smol::channel::{self, Receiver, Sender};

use super::failure::Failure;
use super::interrupt::Interrupt;
use super::local::LocalOptions;
use super::sampling::AnswerOptions;
use super::source;
use crate::config::{DataOptions, ModelOptions};
use command::{Verb, Where};
use here::Here;
use keyboard::{Entry, Keyboard};
use screen::Screen;
use server::link::Happened;
use server::{Server, ServerOptions};
use transcript::Shelf;

/// Things that happened and were not looked at yet. Whoever makes more waits.
const EVENTS: usize = 256;

const EXAMPLES: &str = "\
Examples:
  causerie chat                                     talk with the default model
  causerie chat --resume                            go on where you left
  causerie chat --system \"Answer in French.\" --temperature 0.7
  causerie chat --hf gemma3-270m                    with another model
  causerie chat --server http://HOST:8080/#login=CODE      on a server, with others: paste the link that it printed
  causerie chat --server https://chat.example --resume     and again, later
  printf 'Hello\\nTell me more\\n' | causerie chat    line by line, answers on stdout

At the prompt /help tells what else there is. Ctrl-C stops an answer, and leaves at an empty prompt.";

/// What `causerie chat` takes.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ChatOptions {
    #[command(flatten)]
    server: ServerOptions,

    /// Instructions for the model
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,

    /// Go on with the last conversation
    #[arg(long, short = 'c', visible_alias = "continue")]
    resume: bool,

    #[command(flatten)]
    answer: AnswerOptions,

    #[command(flatten)]
    model: ModelOptions,

    #[command(flatten)]
    engine: LocalOptions,

    #[command(flatten)]
    data: DataOptions,
}

/// What happened.
#[derive(Debug)]
enum Event {
    /// The keyboard has something.
    Entered(Entry),
    /// Somebody types at it.
    Typing,
    /// The connection to a server.
    Link(Happened),
    /// The token that came from a login has been renewed, or not.
    Renewed(Result<String, String>),
    /// Ctrl-C, while something is being answered.
    Interrupted,
}

/// What the person sits at.
struct Terminal {
    screen: Screen,
    keyboard: Keyboard,
    events: Receiver<Event>,
    interrupt: Interrupt,
    /// There is a person, not a pipe.
    interactive: bool,
    shelf: Shelf,
    /// They know already that the conversation cannot be kept.
    told_unkept: bool,
}

/// Whom one talks to.
enum Peer {
    Here(Box<Here>),
    Server(Box<Server>),
}

/// Reads messages and has them answered until there are no more. Answers go to stdout, all else to stderr; where stdin
/// is no terminal there is no prompt, so that a script can talk, too.
pub(crate) fn chat(options: &ChatOptions) -> Result<(), Failure> {
    let sampling = options.answer.sampling()?; // what is wrong with the flags is told before a model is fetched
    let data_dir = options.data.directory().map_err(Failure::of)?;
    let shelf = Shelf::within(&data_dir);
    let (told, events) = channel::bounded(EVENTS);
    let typed = data_dir.join("chats").join(".typed");
    if options.server.server.is_some() {
        let mut server = Server::connect(&options.server, sampling, options.system.clone(), &data_dir, told.clone())?;
        let mut terminal = Terminal::open(Where::Server, &typed, shelf, told, events)?;
        server.greet(&mut terminal, options.resume)?;
        return converse(&mut Peer::Server(Box::new(server)), &mut terminal);
    }
    let path = source::model_file(&options.model)?;
    let mut here = Here::open(path, &options.engine, sampling, options.system.clone(), shelf.clone())?;
    let mut terminal = Terminal::open(Where::Here, &typed, shelf, told, events)?;
    here.greet(&mut terminal, options.resume);
    converse(&mut Peer::Here(Box::new(here)), &mut terminal)
}

fn converse(peer: &mut Peer, terminal: &mut Terminal) -> Result<(), Failure> {
    loop {
        let message = match terminal.ask(peer)? {
            Entry::Message(message) => message,
            Entry::Nothing => continue,
            Entry::TooLong(bytes) => {
                terminal
                    .screen
                    .tell(&format!("That message has {bytes} bytes, and 32768 are the most; send a shorter one."));
                continue;
            }
            Entry::Unreadable(error) => return Err(Failure::Failed(format!("cannot read stdin: {error}"))),
            Entry::Interrupted | Entry::End => break,
        };
        let command = if message.fenced { None } else { command::parse(&message.text) };
        match command {
            None => peer.say(&message.text, terminal)?,
            Some((Verb::Exit, _)) => break,
            Some((Verb::Help, _)) => terminal.screen.tell(&command::help(peer.place())),
            Some((Verb::Unknown, _)) if peer.place() == Where::Here => {
                let name = message.text.split_whitespace().next().unwrap_or("/");
                terminal.screen.tell(&format!("There is no {name}; /help tells what there is."));
            }
            Some((verb, _)) if !command::belongs(verb, peer.place()) => terminal.screen.tell(match peer.place() {
                Where::Server => "That is for conversations on this machine: causerie chat, without --server.",
                _ => "That needs a server: causerie chat --server URL",
            }),
            Some((verb, rest)) => peer.obey(verb, rest, &message.text, terminal)?,
        }
    }
    if let (true, Some(farewell)) = (terminal.interactive, peer.farewell()) {
        terminal.screen.note(&farewell);
    }
    Ok(())
}

impl Terminal {
    fn open(
        place: Where,
        history: &Path,
        shelf: Shelf,
        told: Sender<Event>,
        events: Receiver<Event>,
    ) -> Result<Terminal, Failure> {
        let mut screen = Screen::new();
        let interactive = io::stdin().is_terminal() && io::stdout().is_terminal();
        let history = interactive.then_some(history);
        let keyboard = Keyboard::start(&mut screen, place, history, told.clone())?;
        let interrupt = Interrupt::watch(0, move || drop(told.try_send(Event::Interrupted)), keyboard.restorer());
        let interrupt = interrupt.map_err(|error| Failure::Failed(format!("cannot watch for Ctrl-C: {error}")))?;
        Ok(Terminal { screen, keyboard, events, interrupt, interactive, shelf, told_unkept: false })
    }

    /// The next thing that is entered. What happens meanwhile is the peer's.
    fn ask(&mut self, peer: &mut Peer) -> Result<Entry, Failure> {
        self.screen.edit();
        self.keyboard.ask();
        loop {
            match self.events.recv_blocking() {
                Ok(Event::Entered(entry)) => {
                    self.screen.edited();
                    return Ok(entry);
                }
                Ok(event) => peer.take(event, self)?,
                Err(_) => return Ok(Entry::End), // the keyboard is gone
            }
        }
    }
}

impl Peer {
    fn place(&self) -> Where {
        match self {
            Peer::Here(_) => Where::Here,
            Peer::Server(_) => Where::Server,
        }
    }

    fn take(&mut self, event: Event, terminal: &mut Terminal) -> Result<(), Failure> {
        match self {
            Peer::Here(_) => Ok(()), // the model says nothing by itself
            Peer::Server(server) => server.take(event, terminal),
        }
    }

    fn say(&mut self, text: &str, terminal: &mut Terminal) -> Result<(), Failure> {
        match self {
            Peer::Here(here) => here.say(text, terminal),
            Peer::Server(server) => server.say(text, terminal),
        }
    }

    /// `text` is all of the command, `rest` what follows its name.
    fn obey(&mut self, verb: Verb, rest: &str, text: &str, terminal: &mut Terminal) -> Result<(), Failure> {
        match self {
            Peer::Here(here) => here.obey(verb, rest, terminal),
            Peer::Server(server) => server.obey(verb, rest, text, &terminal.shelf.clone(), terminal),
        }
    }

    fn farewell(&self) -> Option<String> {
        match self {
            Peer::Here(here) => here.farewell(),
            Peer::Server(server) => server.farewell(),
        }
    }
}
