//! What is measured.

use std::hint::black_box;
use std::time::{Duration, Instant};

use causerie_benches::{Commands, Session};
use causerie_core::bench::{Deltas, decodes};
use causerie_core::limits::{ANSWER_BYTES, Limits};
use causerie_core::{MessageId, SessionId, Uuid};

/// Repetitions of what takes no longer than a few hundred nanoseconds, between two readings of the clock.
const TIMES: u32 = 1_000;

/// Messages between two readings of the clock, each of another session. No more than glibc's allocator keeps at hand of a
/// size (seven), or it is the allocator that is measured.
const WRITERS: usize = 4;

/// Times that they all send one in a round.
const TURNS: usize = 50;

/// Sessions that idle beside the one that is measured.
const OTHERS: [usize; 3] = [1, 1_000, 100_000];

/// The commands that are measured.
pub(crate) const COMMANDS: [&str; 3] = ["ping", "typing", "message"];

/// A piece of text.
const WORD: &str = " word";

/// One thing that is measured.
pub(crate) struct Figure {
    pub(crate) name: String,
    /// Nanoseconds.
    pub(crate) goal: Option<f64>,
    /// Does it some times, and tells how many and how long they took.
    run: Box<dyn FnMut() -> (u32, Duration)>,
    /// Nanoseconds of one, in each round.
    rounds: Vec<f64>,
}

impl Figure {
    fn new(name: impl Into<String>, goal: Option<f64>, run: impl FnMut() -> (u32, Duration) + 'static) -> Figure {
        Figure { name: name.into(), goal, run: Box::new(run), rounds: Vec::new() }
    }

    /// What can be repeated as it is.
    fn repeated(name: impl Into<String>, goal: Option<f64>, mut run: impl FnMut() + 'static) -> Figure {
        Figure::new(name, goal, move || {
            let begun = Instant::now();
            (0..TIMES).for_each(|_| run());
            (TIMES, begun.elapsed())
        })
    }

    pub(crate) fn round(&mut self) {
        let (times, taken) = (self.run)();
        self.rounds.push(taken.as_secs_f64() * 1e9 / f64::from(times));
    }

    pub(crate) fn least(&self) -> f64 {
        self.rounds.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.rounds.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// The figure of a token to so many readers.
pub(crate) fn token(readers: usize) -> String {
    format!("a token to {readers} readers: input, encoding, output")
}

/// The figure of decoding a command.
pub(crate) fn decoding(command: &str) -> String {
    format!("{command} of 150 bytes: decoding alone")
}

/// The figure of a command.
pub(crate) fn command(command: &str) -> String {
    format!("{command} of 150 bytes to its actions")
}

/// All of them.
pub(crate) fn figures() -> Vec<Figure> {
    let mut figures = Vec::new();
    for others in OTHERS {
        let mut session = Session::among(others, 1, 1);
        let name = format!("idle: poll and next deadline, {others} sessions");
        figures.push(Figure::repeated(name, Some(10.0), move || {
            black_box(session.idle());
        }));
    }
    let deltas = Deltas::new(SessionId(Uuid([0x5e; 16])), MessageId(Uuid([0xae; 16])));
    let mut out = String::new();
    figures.push(Figure::repeated("a delta: encoding alone", Some(60.0), move || {
        deltas.encode(&mut out, black_box(12_345), black_box(WORD));
        black_box(out.len());
    }));
    figures.extend([1, 10, 1_000].map(|readers| Figure::new(token(readers), None, tokens(readers))));
    let (commands, message_bytes) = (Commands::default(), Limits::default().message_bytes);
    for (name, text) in commands.named() {
        let text = text.to_owned();
        figures.push(Figure::repeated(decoding(name), None, move || {
            black_box(decodes(black_box(&text), message_bytes));
        }));
    }
    for (name, text) in [("ping", commands.ping), ("typing", commands.typing)] {
        let mut session = Session::among(1, 1, 1);
        figures.push(Figure::repeated(command(name), Some(1_000.0), move || {
            black_box(session.frame(black_box(&text)));
        }));
    }
    for others in OTHERS {
        let name = if others == 1 { command("message") } else { format!("{}, {others} sessions", command("message")) };
        figures.push(Figure::new(name, Some(1_000.0), messages(others, commands.message.clone())));
    }
    figures
}

/// Tokens of one answer after the other: none grows beyond what an answer may have.
fn tokens(readers: usize) -> impl FnMut() -> (u32, Duration) {
    let (mut session, mut left) = (Session::with_readers(readers), 0);
    move || {
        if left < TIMES as usize {
            session = Session::with_readers(readers);
            left = ANSWER_BYTES / WORD.len();
            // The answer's own text has grown before.
            while left > ANSWER_BYTES / WORD.len() / 2 {
                session.token(WORD);
                left -= 1;
            }
        }
        left -= TIMES as usize;
        let begun = Instant::now();
        for _ in 0..TIMES {
            black_box(session.token(black_box(WORD)));
        }
        (TIMES, begun.elapsed())
    }
}

/// Messages of as many people, answered while the clock does not run.
fn messages(others: usize, text: String) -> impl FnMut() -> (u32, Duration) {
    let mut session = Session::among(others, 1, WRITERS);
    let mut written = Vec::with_capacity(WRITERS);
    move || {
        let mut taken = Duration::ZERO;
        for _ in 0..TURNS {
            session.second();
            let begun = Instant::now();
            written.extend((0..WRITERS).map(|writer| session.message(writer, black_box(&text))));
            taken += begun.elapsed();
            for message in written.drain(..) {
                session.answer(message, "Tea.");
            }
        }
        ((TURNS * WRITERS) as u32, taken)
    }
}
