//! `causerie token`: a JWT for somebody, made with the server's secret.

use std::io::{self, Write};
use std::time::Duration;

use causerie_core::Role;
use clap::{Args, ValueEnum};

use super::failure::{Failure, say};
use crate::auth::{Auth, IssueError, secret_path};
use crate::config::{DataOptions, KeyOptions};

/// What `causerie token` takes.
#[derive(Args, Debug)]
pub(crate) struct TokenOptions {
    /// For whom; the same name is the same user
    #[arg(long, value_name = "NAME")]
    user: String,

    /// What they may do beyond their own sessions
    #[arg(long, value_enum, default_value = "user")]
    role: RoleName,

    /// How long it is valid, as in 90s, 30m, 12h, 7d
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = duration)]
    ttl: Duration,

    #[command(flatten)]
    data: DataOptions,

    #[command(flatten)]
    keys: KeyOptions,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleName {
    User,
    Admin,
}

/// The token on stdout and nothing else.
pub(crate) fn token(options: &TokenOptions) -> Result<(), Failure> {
    let data_dir = options.data.directory().map_err(Failure::of)?;
    let secret = secret_path(&data_dir);
    let is_new = options.keys.jwt_secret_file.is_none() && !secret.exists();
    let auth = Auth::open(&options.keys.auth(&data_dir)).map_err(Failure::of)?;
    let role = match options.role {
        RoleName::User => Role::User,
        RoleName::Admin => Role::Admin,
    };
    let token = auth.issue(&options.user, role, options.ttl).map_err(|error| match error {
        IssueError::Username { .. } | IssueError::Ttl { .. } => Failure::Usage(error.to_string()),
        _ => Failure::of(error),
    })?;
    if is_new {
        say(&format!(
            "{} is new: no server has run with this data directory, and none that runs with another one takes this token",
            secret.display()
        ));
    }
    writeln!(io::stdout().lock(), "{token}")?;
    Ok(())
}

/// A whole number and a unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time; write a whole number and one of s, m, h and d, as in 30m");
    let digits = text.trim_end_matches(|last: char| last.is_ascii_alphabetic());
    let seconds_a_unit = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds_a_unit));
    seconds.map(Duration::from_secs).ok_or_else(|| format!("{text} is too long a time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        for (text, seconds) in [("1s", 1), ("30m", 1800), ("12h", 43_200), ("7d", 604_800), ("0s", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)));
        }
        for wrong in
            ["", "m", "30", "1.5h", "-1m", "+1m", "1 m", "1w", "1M", "30mm", "é", "1é", "99999999999999999999d"]
        {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
        assert!(duration("18446744073709551615d").unwrap_err().contains("too long"));
    }
}
