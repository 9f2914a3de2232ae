//! The `causerie` program. All of it is in the library, where tests and other programs can reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    causerie::cli::main()
}
