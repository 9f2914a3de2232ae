//! A self-hosted, shared AI chat in one process: the runtime that joins the core and the engine to the network.
//!
//! In scope: sockets, HTTP, threads, time, storage, tokens, model files, the command line. Out of scope: what the
//! protocol says (`causerie-core`) and how a model computes (`causerie-inference`); neither does any of the former.
//!
//! The modules, along the way of the data:
//!
//! 1. [`config`] is what the operator says; [`cli`] turns it into a running server and the other subcommands;
//!    [`logging`] is what goes to stderr meanwhile.
//! 2. `http` accepts connections on the one port, with TLS ([`tls`], `stream`) or without: the page (`page`, in the `coding` that is wanted), `/health`,
//!    the API (`login`), and the upgrade. `reload` reads certificates and keys again, `notify` tells systemd.
//! 3. `socket` is one WebSocket: two tasks that turn bytes into arrivals and outgoing frames into bytes.
//! 4. `drive` is the one loop: it owns the hub, gives it what happened, and does what it puts out.
//! 5. [`auth`] checks tokens, `admission` says whose they are and `quota` how much they may use; [`store`] is SQLite on a thread of its own, `worker` is the inference thread;
//!    [`fetch`] brings a model to this machine.
//!
//! Sockets, HTTP and the drive share one thread and one executor (`smol`), and so need no locks. Storage, inference and
//! fetching have threads of their own, behind bounded queues. Every bound stands in [`limits`].

mod admission;
pub mod auth;
mod base64;
pub mod cli;
mod coding;
pub mod config;
mod drive;
pub mod fetch;
mod housekeeping;
mod http;
pub mod limits;
pub mod logging;
mod login;
mod metrics;
mod models;
mod notify;
mod page;
mod quota;
mod reload;
mod socket;
pub mod store;
mod stream;
pub mod tls;
mod worker;
