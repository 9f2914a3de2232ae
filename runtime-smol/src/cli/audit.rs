//! `causerie audit`: who did what, when and from where.

use clap::Args;

use super::failure::Failure;
use super::operator::{self, Table};
use crate::config::DataOptions;
use crate::store::audit::{self, LISTED_ENTRIES};

/// What `causerie audit` takes.
#[derive(Args, Debug)]
pub(crate) struct AuditOptions {
    /// How many of the newest entries
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(LISTED_ENTRIES)))]
    lines: u32,

    #[command(flatten)]
    data: DataOptions,
}

/// The newest entries, the oldest of them first, as a log has them.
pub(crate) fn audit(options: &AuditOptions) -> Result<(), Failure> {
    let entries = operator::database(&options.data)?.ask(|connection| audit::list(connection, None, options.lines));
    let mut table = Table::new(["TIME", "WHO", "WHAT", "FROM", "ABOUT"]);
    for entry in entries.map_err(Failure::Failed)?.into_iter().rev() {
        table.row([operator::time(entry.at), entry.actor, entry.action, entry.source, entry.subject]);
    }
    table.print()
}
