//! A deterministic simulation of a whole server, after those of FoundationDB and TigerBeetle.
//!
//! The hub is the real one. Its clock, network, storage and model are simulated, and everything that happens follows
//! from one seed: thousands of people on a network that delays, stands still and breaks; storage that is slow and fails;
//! a model that stops answering; a server that gets no time for a while, or dies at any moment and lives again with what
//! storage had committed; clocks that are set, and times that go back. Idle time costs nothing, since the simulation goes
//! from event to event.
//!
//! Every frame is checked when it reaches its client: by the public reference model, [`causerie_core::testing::Model`],
//! which hears all that clients send and get and all that storage commits; and against what only a simulation knows
//! ([`view`]), above all what storage really holds. From time to time everything comes to rest, and then everybody must
//! have everything. At the end everybody leaves, and the hub must hold nothing.
//!
//! - [`world`]: the order of events, and what happens at each
//! - [`client`], [`view`], [`frame`]: people, what they know, what they read
//! - [`network`], [`storage`], [`model`]: the surroundings
//! - [`settings`]: what kind of world a seed makes; [`report`]: what came of it

#![allow(missing_docs, reason = "the modules are public for their documentation; the package is not published")]

pub mod client;
pub mod frame;
pub mod model;
pub mod network;
pub mod report;
pub mod rng;
pub mod settings;
pub mod storage;
pub mod view;
pub mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use report::{Failure, Report};
use settings::{HOUR, Time};
use world::World;

/// How one world is to be simulated.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Everything follows from it.
    pub seed: u64,
    pub users: usize,
    /// Simulated hours.
    pub hours: u64,
    /// Show everything from this time on.
    pub trace: Option<Time>,
}

/// Simulates one world.
///
/// # Errors
/// What was wrong first, in the hub or against a rule of the protocol: the same for the same options.
pub fn simulate(options: Options) -> Result<Report, Failure> {
    silence();
    let Options { seed, users, hours, trace } = options;
    let lived = catch_unwind(AssertUnwindSafe(|| World::new(seed, users, trace).live(hours * HOUR)));
    lived.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let what = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
        Failure { seed, at: world::now(), what: format!("{what} ({})", report::place()) }
    })
}

/// A failure is reported once, by who asked for the simulation: the panic's own message would come before it.
fn silence() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            report::set_place(info.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default());
        }));
    });
}
