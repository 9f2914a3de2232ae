//! The runtime of a script: it does what the script and the hub say, keeps the contract except where the script breaks it,
//! and checks what can be seen from outside.

mod answers;
mod connections;
mod earlier;
mod misuse;
mod rest;
mod text;

use std::time::Duration;

use causerie_core::{ConnectionId, Hub, Input, Instant, Misuse, Options, Role};

use super::script::{MOST_CONNECTIONS, Op, Setup};
use crate::driver::Driver;

/// Tokens last so long where a script says nothing else.
pub(super) const TTL_SECONDS: u64 = 100_000;

/// The most that passes at once.
const LONGEST_PASS: Duration = Duration::from_secs(200_000);

/// Credit that is never used up.
const PLENTY: u32 = 1 << 30;

/// A connection of the script.
struct Opened {
    id: ConnectionId,
    name: String,
    /// Whether a token of it was found good.
    recognized: bool,
    /// Whether the runtime has said that it is closed.
    gone: bool,
    /// What the client knew before its first frame: the last `seq`, and an answer's id and beginning.
    knew: (u64, Option<(String, String)>),
    /// The `id` of the frame that asked for what it missed since then.
    resumes: Option<u64>,
}

/// Everything that a script happens to.
pub(super) struct World {
    d: Driver,
    opened: Vec<Opened>,
    /// Ids in the order in which they were first seen.
    sessions: Vec<String>,
    messages: Vec<String>,
    deleted: bool,
    /// Sessions of an earlier life.
    earlier: u8,
    sent: u64,
    bytes: usize,
    /// Inputs are not polled after.
    together: bool,
    drains_until: Instant,
    /// Time has passed of which the hub has not heard.
    late: bool,
}

impl World {
    pub(super) fn new(setup: Setup) -> World {
        let Setup { limits, wall_clock, has_model } = setup;
        let mut d = Driver::without_model(limits.clone());
        let options = Options { seed: [3; 32], wall_clock, server: "Causerie test".to_string(), limits };
        assert!(!format!("{options:?}").contains("seed"), "the seed is a secret");
        d.hub = Hub::new(options);
        let mut world = World {
            d,
            opened: Vec::new(),
            sessions: Vec::new(),
            messages: Vec::new(),
            deleted: false,
            earlier: 0,
            sent: 0,
            bytes: 0,
            together: false,
            drains_until: Instant::ZERO,
            late: false,
        };
        if has_model {
            world.must(Input::BackendUp { model: "test-model" });
        }
        world
    }

    pub(super) fn apply(&mut self, op: Op<'_>) {
        match op {
            Op::Connect { name, credit } => {
                if let Some(who) = self.open(name, credit, (0, None)) {
                    self.accept(who, None, Role::User, TTL_SECONDS);
                }
            }
            Op::Arrive { name, credit } => {
                self.open(name, credit, (0, None));
            }
            Op::Accept { who, name, role, seconds } => {
                if let Some(who) = self.number_of(who) {
                    self.accept(who, name, role, seconds);
                }
            }
            Op::Refuse { who, reason } => self.of(who, |connection| Input::Refused { connection, reason }),
            Op::Send { who, text } => self.send(who, text),
            Op::Grant { who, credit } => self.grant(who, credit.min(PLENTY)),
            Op::Close { who } => {
                if let Some(who) = self.number_of(who) {
                    self.close(who);
                }
            }
            Op::Violate { who, violation } => self.of(who, |connection| Input::Violated { connection, violation }),
            Op::Resume { who, frames, offset } => self.resume(who, frames, offset),
            Op::Storage { held } => {
                self.d.storage.held = held;
                self.run();
            }
            Op::Stored { count } => {
                for _ in 0..count.min(self.d.storage.answers.len()) {
                    self.d.give_answer();
                    self.run();
                }
            }
            Op::Fail { writes, reads } => {
                self.d.storage.fail_writes += writes.min(8);
                self.d.storage.fail_reads += reads.min(8);
            }
            Op::Earlier { name, messages, members } => self.add_earlier(name, messages.min(64), members.clamp(1, 300)),
            Op::Pass { millis } => {
                self.apart();
                self.d.pass(Duration::from_millis(millis).min(LONGEST_PASS));
            }
            Op::Late { millis } => {
                self.late = true;
                self.d.now = self.d.now + Duration::from_millis(millis).min(LONGEST_PASS);
            }
            Op::Drain { millis } => {
                let until = self.d.now + Duration::from_millis(millis).min(LONGEST_PASS);
                self.drains_until = self.drains_until.max(until);
                self.must(Input::Drain { until });
            }
            Op::Together => self.together = true,
            Op::Apart => self.apart(),
            Op::Misuse => self.misuse(),
            of_the_model => self.model(of_the_model),
        }
        self.look();
    }

    /// Gives an input, which changes nothing if it is misuse, and lets follow what follows.
    fn give(&mut self, input: Input<'_>) -> Result<(), Misuse> {
        if std::mem::take(&mut self.late) {
            let given = self.d.handle(input);
            self.run();
            return given;
        }
        // What is due now happens first.
        self.d.hub.handle(self.d.now, Input::Timer).expect("time may always pass");
        let before = (self.d.hub.counts(), self.d.hub.next_deadline());
        let given = self.d.handle(input);
        if let Err(misuse) = &given {
            assert!(misuse.to_string().len() > 20, "it says what is wrong: {misuse}");
            assert_eq!((self.d.hub.counts(), self.d.hub.next_deadline()), before, "{misuse} changes nothing");
        }
        self.run();
        given
    }

    /// Gives an input that the contract allows.
    fn must(&mut self, input: Input<'_>) {
        self.give(input).expect("the world keeps to the contract");
    }

    /// Gives an input about a connection, which is misuse if it is gone or awaits no verdict.
    fn of<'a>(&mut self, who: usize, input: impl FnOnce(ConnectionId) -> Input<'a>) {
        let Some(who) = self.number_of(who) else { return };
        let Opened { id, gone, .. } = self.opened[who];
        match self.give(input(id)) {
            Err(Misuse::UnknownConnection(_)) => assert!(gone, "it is there"),
            Err(Misuse::NotAuthenticating(_)) | Ok(()) => assert!(!gone, "it is gone"),
            Err(other) => panic!("{other}"),
        }
    }

    fn run(&mut self) {
        if !self.together {
            self.d.run();
        }
    }

    fn apart(&mut self) {
        self.together = false;
        self.d.run();
    }

    fn number_of(&self, who: usize) -> Option<usize> {
        who.checked_rem(self.opened.len())
    }

    /// Learns the ids there are, and sees that bounds are kept.
    fn look(&mut self) {
        for (session, messages) in &self.d.storage.messages {
            let session = session.0.to_string();
            if !self.sessions.contains(&session) {
                self.sessions.push(session);
            }
            for message in messages {
                let message = message.id.0.to_string();
                if !self.messages.contains(&message) {
                    self.messages.push(message);
                }
            }
        }
        let counts = self.d.hub.counts();
        assert!(counts.generations <= counts.sessions && counts.connections <= MOST_CONNECTIONS, "{counts:?}");
    }
}
