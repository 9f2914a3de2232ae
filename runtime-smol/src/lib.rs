//! A self-hosted, shared AI chat in one process: the runtime that joins the core and the engine to the network.
//!
//! In scope: sockets, HTTP, threads, time, storage, tokens, model files, the command line. Out of scope: what the
//! protocol says (`causerie-core`) and how a model computes (`causerie-inference`); neither does any of the former.
//!
//! The modules, along the way of the data:
//!
//! 1. [`config`] is what the operator says; [`cli`] turns it into a running server and the other subcommands;
//!    [`logging`] is what goes to stderr meanwhile.
//! 2. `http` accepts connections on the one port: the page (`page`), `/health`, the API (`login`), and the upgrade.
//! 3. `socket` is one WebSocket: two tasks that turn bytes into arrivals and outgoing frames into bytes.
//! 4. `drive` is the one loop: it owns the hub, gives it what happened, and does what it puts out.
//! 5. [`auth`] checks tokens, [`store`] is SQLite on a thread of its own, `worker` is the inference thread;
//!    [`fetch`] brings a model to this machine.
//!
//! Sockets, HTTP and the drive share one thread and one executor (`smol`), and so need no locks. Storage, inference and
//! fetching have threads of their own, behind bounded queues. Every bound stands in [`limits`].

pub mod auth;
pub mod cli;
pub mod config;
mod drive;
pub mod fetch;
mod http;
pub mod limits;
pub mod logging;
mod login;
mod page;
mod socket;
pub mod store;
mod worker;
