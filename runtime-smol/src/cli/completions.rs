//! `causerie completions`: what makes a shell complete our commands and flags.

use std::io::{self, Write};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use super::failure::Failure;

pub(super) const EXAMPLES: &str = "\
Examples:
  causerie completions bash > ~/.local/share/bash-completion/completions/causerie
  causerie completions zsh > ~/.zfunc/_causerie        with `fpath+=~/.zfunc` before compinit in ~/.zshrc
  causerie completions fish > ~/.config/fish/completions/causerie.fish
  causerie completions elvish >> ~/.config/elvish/rc.elv
  causerie completions powershell >> $PROFILE";

/// What `causerie completions` takes.
#[derive(Args, Debug)]
pub(crate) struct CompletionsOptions {
    /// For which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// The script on stdout.
pub(crate) fn completions(options: &CompletionsOptions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "causerie", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(())
}
