//! What the examples `threads` and `tokio` have in common: everything but how they wait.
//!
//! `server` joins the hub to its surroundings, `peer` says what is to be known of who connects, `storage` and `journal`
//! keep what must not be lost, and `visitors` (for the examples' tests) are people who talk to a server and check what they
//! read.

pub(crate) mod journal;
pub(crate) mod peer;
pub(crate) mod server;
pub(crate) mod storage;
#[cfg(test)]
pub(crate) mod visitors;
