//! `causerie key`: API keys, made, listed and revoked, beside a running server or without one.

use std::io::{self, Write};
use std::time::Duration;

use causerie_core::UnixMicros;
use clap::{Args, Subcommand, ValueEnum};

use super::failure::{Failure, say};
use super::operator::{self, Table};
use super::token::duration;
use crate::config::DataOptions;
use crate::store::audit::{self, Action};
use crate::store::keys::{self, KEY_NAME_BYTES, NewKey, Scope, Secret};
use crate::store::{self, users};

/// What `causerie key` takes.
#[derive(Args, Debug)]
pub(crate) struct KeyOptions {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make a key; its secret goes to stdout, once, and is kept nowhere
    Create(CreateOptions),
    /// List the keys, without their secrets
    List(ListOptions),
    /// Make a key useless at once, also for connections that are open
    Revoke(RevokeOptions),
}

#[derive(Args, Debug)]
struct CreateOptions {
    /// What the key is for, as in "backup script"
    #[arg(value_name = "NAME")]
    name: String,

    /// Whose key it is; the same name is the same user
    #[arg(long, value_name = "USER")]
    user: String,

    /// What it may do
    #[arg(long, value_enum, default_value = "user")]
    scope: ScopeName,

    /// How long it is valid, as in 12h, 30d [default: until it is revoked]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    ttl: Option<Duration>,

    #[command(flatten)]
    data: DataOptions,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ScopeName {
    /// Chat, and use the API
    User,
    /// Administer the server
    Admin,
    /// Read /metrics, and nothing else
    Metrics,
}

#[derive(Args, Debug)]
struct ListOptions {
    #[command(flatten)]
    data: DataOptions,
}

#[derive(Args, Debug)]
struct RevokeOptions {
    /// What the key begins with, as `causerie key list` shows it
    #[arg(value_name = "PREFIX")]
    prefix: String,

    #[command(flatten)]
    data: DataOptions,
}

/// Does what was asked for.
pub(crate) fn key(options: &KeyOptions) -> Result<(), Failure> {
    match &options.command {
        KeyCommand::Create(options) => create(options),
        KeyCommand::List(options) => list(options),
        KeyCommand::Revoke(options) => revoke(options),
    }
}

fn create(options: &CreateOptions) -> Result<(), Failure> {
    let owner = operator::username(&options.user)?;
    let name = options.name.trim();
    if name.is_empty() || name.len() > KEY_NAME_BYTES || name.chars().any(char::is_control) {
        let what = format!("a key's name has 1 to {KEY_NAME_BYTES} bytes on one line, and this one has {}", name.len());
        return Err(Failure::Usage(what));
    }
    let scope = match options.scope {
        ScopeName::User => Scope::User,
        ScopeName::Admin => Scope::Admin,
        ScopeName::Metrics => Scope::Metrics,
    };
    let now = store::now();
    let micros = |ttl: Duration| u64::try_from(ttl.as_micros()).unwrap_or(u64::MAX);
    let expires = options.ttl.map(|ttl| UnixMicros(now.0.saturating_add(micros(ttl))));
    let secret = Secret::new().map_err(Failure::of)?;
    let new = NewKey { name: name.to_owned(), scope, expires };
    let made = operator::database(&options.data)?.ask(|connection| {
        let owner = users::known(connection, owner, now)?;
        let key = keys::create(connection, &owner, &secret, &new, now)?;
        audit::add(connection, &operator::deed(Action::KeyCreated, key.to_string()), now)?;
        Ok(key)
    });
    let key = made.map_err(Failure::Failed)?;
    say(&format!(
        "the key {} of {}: keep it, it is not shown again. Send it as `Authorization: Bearer KEY`",
        key.prefix, key.username
    ));
    writeln!(io::stdout().lock(), "{}", secret.reveal())?;
    Ok(())
}

fn list(options: &ListOptions) -> Result<(), Failure> {
    let keys = operator::database(&options.data)?.ask(keys::list).map_err(Failure::Failed)?;
    let mut table = Table::new(["KEY", "USER", "SCOPE", "STATE", "CREATED", "EXPIRES", "LAST USED", "NAME"]);
    let now = store::now();
    for key in keys {
        let state = key.state(now).to_owned();
        let time = |at: Option<UnixMicros>| at.map_or_else(|| "-".to_owned(), operator::time);
        table.row([
            key.prefix,
            key.username,
            key.scope.name().to_owned(),
            state,
            time(Some(key.created)),
            time(key.expires),
            time(key.used),
            key.name,
        ]);
    }
    table.print()
}

fn revoke(options: &RevokeOptions) -> Result<(), Failure> {
    let now = store::now();
    let revoked = operator::database(&options.data)?.ask(|connection| {
        let revoked = keys::revoke(connection, &options.prefix, now)?;
        if let Some(key) = &revoked {
            audit::add(connection, &operator::deed(Action::KeyRevoked, key.to_string()), now)?;
        }
        Ok(revoked)
    });
    match revoked.map_err(Failure::Failed)? {
        Some(key) => {
            say(&format!("the key {} ({}) of {} is revoked", key.prefix, key.name, key.username));
            Ok(())
        }
        None => Err(Failure::Failed(format!(
            "there is no key {:?}; `causerie key list` shows what keys begin with",
            options.prefix
        ))),
    }
}
