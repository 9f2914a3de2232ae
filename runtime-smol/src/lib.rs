//! A self-hosted, shared AI chat in one process: the runtime that joins the core and the engine to the network.

pub mod auth;
pub mod cli;
pub mod config;
pub mod fetch;
pub mod logging;
pub mod store;
