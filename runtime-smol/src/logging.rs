//! What goes to the log, which is stderr.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::LogFormat;

/// Begins to log what `wanted` names, in the language of `tracing_subscriber::EnvFilter`, as in `causerie=debug,info`; of
/// what is no such filter, nothing. Once in a process; a second call changes nothing. There are colours on a terminal,
/// unless `NO_COLOR` is set to something (<https://no-color.org>).
pub fn start(wanted: &str, format: LogFormat) {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let log = fmt().with_env_filter(EnvFilter::new(wanted)).with_writer(io::stderr);
    // An error here means that there is a log already, of the program that this library is part of.
    let _ = match format {
        LogFormat::Text => log.with_ansi(colour).with_target(false).try_init(),
        LogFormat::Json => log.json().with_current_span(false).with_span_list(true).try_init(),
    };
}

/// Takes what is a filter.
pub(crate) fn filter(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => {
            Err(format!("{error}; write a level, as in debug, or levels of parts, as in causerie=debug,info"))
        }
    }
}
