//! What goes to the log, which is stderr.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// The variable that says what is logged, in the language of `tracing_subscriber::EnvFilter`, as in
/// `causerie=debug,info`.
pub const VARIABLE: &str = "CAUSERIE_LOG";

/// Begins to log what `CAUSERIE_LOG` names, or else what `default` does. Once in a process; a second call changes
/// nothing. There are colours on a terminal, unless `NO_COLOR` is set to something (<https://no-color.org>).
pub fn start(default: &str) {
    let wanted = std::env::var(VARIABLE).ok().filter(|wanted| !wanted.trim().is_empty());
    let (filter, complaint) = match wanted.as_deref().map(|wanted| (wanted, EnvFilter::try_new(wanted))) {
        None => (EnvFilter::new(default), None),
        Some((_, Ok(filter))) => (filter, None),
        Some((wanted, Err(error))) => (EnvFilter::new(default), Some(format!("{VARIABLE}={wanted}: {error}"))),
    };
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // An error here means that there is a log already, of the program that this library is part of.
    let _ = fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colour).with_target(false).try_init();
    if let Some(complaint) = complaint {
        tracing::warn!("{complaint}; logging {default} instead");
    }
}
