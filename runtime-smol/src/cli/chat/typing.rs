//! What happens while a message is typed: completion and hints, whether Enter ends it, and that others are told.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};
use smol::channel::Sender;

use super::Event;
use super::command::{self, Where};
use super::compose::{self, Ending};

/// How often it is told that somebody types; a server believes it for six seconds.
const TELL: Duration = Duration::from_secs(3);

/// Line ends typed after a backslash that are remembered of one message; more than anybody types.
const JOINTS: usize = 1024;

/// What the line editor asks.
pub(super) struct Typist {
    place: Where,
    colours: bool,
    events: Sender<Event>,
    joints: RefCell<Vec<usize>>,
    nothing: Cell<bool>,
    told: Cell<Option<Instant>>,
}

impl Typist {
    pub(super) fn new(place: Where, colours: bool, events: Sender<Event>) -> Typist {
        Typist { place, colours, events, joints: RefCell::default(), nothing: Cell::new(true), told: Cell::new(None) }
    }

    /// A new message is typed.
    pub(super) fn begin(&self) {
        self.joints.borrow_mut().clear();
        self.nothing.set(true);
        self.told.set(None);
    }

    /// Where line ends were typed after a backslash: byte offsets.
    pub(super) fn joints(&self) -> Vec<usize> {
        self.joints.borrow().clone()
    }

    /// Whether nothing is typed yet.
    pub(super) fn at_nothing(&self) -> bool {
        self.nothing.get()
    }

    fn tell(&self, line: &str) {
        self.nothing.set(line.is_empty());
        let quiet = line.is_empty() || line.starts_with('/') || self.place != Where::Server;
        if !quiet && self.told.get().is_none_or(|told| told.elapsed() >= TELL) {
            self.told.set(Some(Instant::now()));
            let _ = self.events.try_send(Event::Typing); // where much happens it is not missed
        }
    }
}

impl Helper for Typist {}

impl Completer for Typist {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = &line[..pos];
        if !typed.starts_with('/') || typed.contains(char::is_whitespace) {
            return Ok((0, Vec::new()));
        }
        let names = command::beginning_with(typed, self.place);
        Ok((0, names.into_iter().map(|name| format!("{name} ")).collect()))
    }
}

impl Hinter for Typist {
    type Hint = String;

    fn hint(&self, line: &str, pos: usize, _: &Context<'_>) -> Option<String> {
        self.tell(line);
        // Without colours a hint cannot be told from what was typed.
        let hinted = self.colours && pos == line.len() && line.starts_with('/') && line.len() > 1;
        if hinted { command::hint(line, self.place) } else { None }
    }
}

impl Highlighter for Typist {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        if self.colours { Cow::Owned(format!("\x1b[1;36m{prompt}\x1b[0m")) } else { Cow::Borrowed(prompt) }
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(format!("\x1b[2m{hint}\x1b[0m"))
    }
}

impl Validator for Typist {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let input = context.input();
        Ok(match compose::ending(input) {
            Ending::Whole => ValidationResult::Valid(None),
            Ending::Open => ValidationResult::Incomplete,
            Ending::Backslash => {
                let mut joints = self.joints.borrow_mut();
                if joints.len() < JOINTS {
                    joints.push(input.len());
                }
                ValidationResult::Incomplete
            }
        })
    }
}
