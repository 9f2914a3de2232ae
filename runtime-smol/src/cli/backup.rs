//! `causerie backup` and `causerie restore`: the database copied while it is in use, and put back.

use std::path::PathBuf;

use clap::Args;

use super::failure::{Failure, say};
use super::operator;
use super::output::size;
use crate::config::{self, DataOptions};
use crate::store::audit::{self, Action};
use crate::store::{self, backup};

/// What `causerie backup` takes.
#[derive(Args, Debug)]
pub(crate) struct BackupOptions {
    /// The file to make; it must not be there yet
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    data: DataOptions,
}

/// What `causerie restore` takes.
#[derive(Args, Debug)]
pub(crate) struct RestoreOptions {
    /// A file that `causerie backup` has made
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    data: DataOptions,
}

/// Copies the database.
pub(crate) fn backup(options: &BackupOptions) -> Result<(), Failure> {
    let directory = options.data.directory().map_err(Failure::of)?;
    let bytes = backup::backup(&config::database_path(&directory), &options.file).map_err(Failure::of)?;
    remember(&options.data, Action::BackedUp, &options.file)?;
    say(&format!(
        "{} has the database, {}; jwt.secret is not in it, keep {} too if tokens are to stay valid",
        options.file.display(),
        size(bytes),
        crate::auth::secret_path(&directory).display()
    ));
    Ok(())
}

/// Puts a copy into the place of the database.
pub(crate) fn restore(options: &RestoreOptions) -> Result<(), Failure> {
    let directory = options.data.directory().map_err(Failure::of)?;
    let database = config::database_path(&directory);
    let aside = {
        let _lock = store::keep_others_out(&database).map_err(Failure::of)?;
        backup::restore(&options.file, &database).map_err(Failure::of)?
    };
    remember(&options.data, Action::Restored, &options.file)?;
    say(&format!("{} is restored from {}", database.display(), options.file.display()));
    if let Some(aside) = aside {
        say(&format!("what was there before is {}; remove it when you do not need it", aside.display()));
    }
    Ok(())
}

fn remember(data: &DataOptions, action: Action, file: &std::path::Path) -> Result<(), Failure> {
    let deed = operator::deed(action, file.display().to_string());
    let added = operator::database(data)?.ask(|connection| audit::add(connection, &deed, store::now()));
    added.map_err(Failure::Failed)
}
