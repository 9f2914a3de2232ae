//! What the whole-system tests share: the real binary as a child process, real sockets, a real browser.
//!
//! ```no_run
//! use causerie_tests::{Server, WITHIN};
//! use serde_json::json;
//!
//! let server = Server::start();
//! let mut ada = server.connect("ada");
//! ada.send(&json!({"type": "create_session", "title": "Rainbows"}));
//! let session = ada.expect("session_joined")["session_id"].clone();
//! ada.send(&json!({"type": "chat_message", "message": "How do they form?", "client_id": "1"}));
//! ada.expect("ack");
//! let answer = ada.expect_where("an answer", WITHIN, |f| f["type"] == "message" && f["role"] == "assistant");
//! assert_eq!(answer["session_id"], session);
//! ```
//!
//! The modules, from the process outwards: [`binary`] finds or builds the program and the model, [`Server`] runs it,
//! [`Client`] speaks the protocol over a socket, [`raw`] sends what no client would, [`Browser`] drives Chromium,
//! [`axe`] judges what it shows, [`Line`] is a network that can be cut, [`foreign`] installs what programs in other languages need.
//! Whatever was started is killed when its value is dropped, a panic included; a failing test shows what the program
//! logged.

pub mod axe;
pub mod binary;
mod browser;
mod client;
pub mod foreign;
mod line;
mod process;
pub mod raw;
mod server;
mod temp;

use std::time::Duration;

pub use browser::{Browser, Element, Missing};
pub use client::{Client, Closed};
pub use line::Line;
pub use process::{Captured, Process};
pub use server::{Options, Server};
pub use temp::TempDir;

/// How long a test waits for what must happen. Far more than it takes: a slow machine fails no test.
pub const WITHIN: Duration = Duration::from_secs(60);
