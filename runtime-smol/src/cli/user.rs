//! `causerie user`: who has been here, what they may do and how much, beside a running server or without one.

use causerie_core::Role;
use clap::{Args, Subcommand, ValueEnum};

use super::failure::{Failure, say};
use super::operator::{self, Table};
use crate::config::DataOptions;
use crate::store;
use crate::store::audit::{self, Action};
use crate::store::users::{self, UserChange};

/// What `causerie user` takes.
#[derive(Args, Debug)]
pub(crate) struct UserOptions {
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// List those who have signed in, with what they may do and have used today
    List(ListOptions),
    /// Change somebody's role and quota; what is not named stays
    Set(SetOptions),
    /// Close somebody's account: they are refused, and their connections end within a second
    Disable(NameOptions),
    /// Open it again
    Enable(NameOptions),
}

#[derive(Args, Debug)]
struct ListOptions {
    #[command(flatten)]
    data: DataOptions,
}

#[derive(Args, Debug)]
struct SetOptions {
    /// Their name, or their user id where several have the same name
    #[arg(value_name = "USER")]
    user: String,

    /// What they may do from their next sign-in on
    #[arg(long, value_enum)]
    role: Option<RoleName>,

    /// Tokens computed for them in a day, UTC: a number, or none for no bound
    #[arg(long, value_name = "N|none", value_parser = bound::<u64>)]
    tokens_a_day: Option<Bound<u64>>,

    /// Answers under way at once: a number, or none for no bound
    #[arg(long, value_name = "N|none", value_parser = bound::<u32>)]
    parallel: Option<Bound<u32>>,

    #[command(flatten)]
    data: DataOptions,
}

#[derive(Args, Debug)]
struct NameOptions {
    /// Their name, or their user id where several have the same name
    #[arg(value_name = "USER")]
    user: String,

    #[command(flatten)]
    data: DataOptions,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleName {
    /// Their own sessions
    User,
    /// Administer the server
    Admin,
    /// What their token says
    Token,
}

/// A number, or none. A type of its own, since clap takes an `Option` of an `Option` for something else.
#[derive(Clone, Copy, Debug)]
struct Bound<T>(Option<T>);

fn bound<T: std::str::FromStr + PartialOrd + Into<u64> + Copy>(text: &str) -> Result<Bound<T>, String> {
    if text == "none" {
        return Ok(Bound(None));
    }
    let number: Option<T> = text.parse().ok();
    let fits = number.filter(|&number| i64::try_from(number.into()).is_ok());
    fits.map(|number| Bound(Some(number))).ok_or_else(|| "write a whole number, or none for no bound".to_owned())
}

/// Does what was asked for.
pub(crate) fn user(options: &UserOptions) -> Result<(), Failure> {
    match &options.command {
        UserCommand::List(options) => list(options),
        UserCommand::Set(options) => {
            let role = options.role.map(|role| match role {
                RoleName::User => Some(Role::User),
                RoleName::Admin => Some(Role::Admin),
                RoleName::Token => None,
            });
            let tokens_a_day = options.tokens_a_day.map(|Bound(tokens)| tokens);
            let parallel = options.parallel.map(|Bound(parallel)| parallel);
            let change = UserChange { role, disabled: None, tokens_a_day, parallel };
            if change == UserChange::default() {
                return Err(Failure::Usage("name what is to change: --role, --tokens-a-day or --parallel".to_owned()));
            }
            set(&options.user, &options.data, &change)
        }
        UserCommand::Disable(options) => {
            set(&options.user, &options.data, &UserChange { disabled: Some(true), ..UserChange::default() })
        }
        UserCommand::Enable(options) => {
            set(&options.user, &options.data, &UserChange { disabled: Some(false), ..UserChange::default() })
        }
    }
}

fn set(who: &str, data: &DataOptions, change: &UserChange) -> Result<(), Failure> {
    let who = operator::username(who)?;
    let now = store::now();
    let changed = operator::database(data)?.ask(|connection| {
        let user = users::change(connection, &users::known(connection, who, now)?, change, now)?;
        audit::add(connection, &operator::deed(Action::UserChanged, user.to_string()), now)?;
        Ok(user)
    });
    say(&changed.map_err(Failure::Failed)?.to_string());
    Ok(())
}

fn list(options: &ListOptions) -> Result<(), Failure> {
    let now = store::now();
    let known = operator::database(&options.data)?.ask(|connection| users::list(connection, now));
    let mut table = Table::new(["USER", "STATE", "ROLE", "TOKENS/DAY", "TODAY", "AT ONCE", "LAST SEEN", "USER ID"]);
    for user in known.map_err(Failure::Failed)? {
        let bound = |bound: Option<u64>| bound.map_or_else(|| "-".to_owned(), |bound| bound.to_string());
        table.row([
            user.username,
            if user.disabled { "disabled" } else { "good" }.to_owned(),
            user.role.map_or("by token", users::role_name).to_owned(),
            bound(user.quota.tokens_a_day),
            user.today.computed().to_string(),
            bound(user.quota.parallel.map(u64::from)),
            operator::time(user.seen),
            user.user_id,
        ]);
    }
    table.print()
}
