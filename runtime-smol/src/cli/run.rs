//! `causerie run`: one answer to stdout.

use std::io::{self, IsTerminal, Write};

use causerie_inference::chat::{Speaker, Turn};
use causerie_inference::scheduler::FinishReason;
use clap::Args;

use super::failure::{Failure, INTERRUPTED};
use super::interrupt::Interrupt;
use super::local::{AnswerOptions, Local, LocalOptions};
use super::source;
use super::tokenize::read_text;
use crate::config::ModelOptions;

/// What `causerie run` takes.
#[derive(Args, Debug)]
pub(crate) struct RunOptions {
    /// What to answer; `-`, or nothing in a pipe, reads it from stdin
    prompt: Option<String>,

    /// Instructions for the model that stand before the prompt
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,

    #[command(flatten)]
    answer: AnswerOptions,

    #[command(flatten)]
    model: ModelOptions,

    #[command(flatten)]
    engine: LocalOptions,
}

/// Streams the answer. Ctrl-C ends it, with the exit code 130.
pub(crate) fn run(options: &RunOptions) -> Result<(), Failure> {
    options.answer.check()?; // what is wrong with the flags is told before a model is fetched
    let prompt = prompt(options.prompt.as_deref())?;
    let mut turns = Vec::new();
    turns.extend(options.system.clone().map(|content| Turn { role: Speaker::System, content }));
    turns.push(Turn { role: Speaker::User, content: prompt });
    let path = source::model_file(&options.model)?;
    let mut local = Local::load(&path, &options.engine)?;
    let interrupt = Interrupt::watch(INTERRUPTED.into())
        .map_err(|error| Failure::Failed(format!("cannot watch for Ctrl-C: {error}")))?;
    let mut out = io::stdout().lock();
    let (answered, stopped) = interrupt.guard(|stop| {
        local.answer(&turns, &options.answer, stop, &mut |text| {
            out.write_all(text.as_bytes())?;
            out.flush()
        })
    });
    let answered = answered?;
    writeln!(out)?;
    tracing::info!(
        "{} tokens of prompt, {} of answer, first one after {:.0} ms, then {:.1} a second",
        answered.usage.prompt_tokens,
        answered.usage.completion_tokens,
        answered.timings.first_token.as_secs_f64() * 1000.0,
        answered.timings.tokens_per_second,
    );
    if stopped {
        return Err(Failure::Interrupted);
    }
    if answered.reason == FinishReason::Length {
        let tokens = answered.usage.completion_tokens;
        let note = format!("causerie: cut after {tokens} tokens, at --max-tokens or the end of the context");
        // Where stderr is closed there is nobody to tell.
        let _ = writeln!(io::stderr().lock(), "{note}");
    }
    Ok(())
}

fn prompt(argument: Option<&str>) -> Result<String, Failure> {
    let text = match argument {
        Some(text) if text != "-" => text.to_owned(),
        None if io::stdin().is_terminal() => {
            return Err(Failure::Usage(
                "what shall be answered? causerie run \"PROMPT\", or a text on stdin".to_owned(),
            ));
        }
        _ => read_text(io::stdin().lock(), "stdin")?,
    };
    // The line end that `echo` and editors put there is none of the question's.
    let text = text.trim_end_matches(['\r', '\n']);
    if text.trim().is_empty() {
        return Err(Failure::Usage("the prompt is empty; ask something".to_owned()));
    }
    Ok(text.to_owned())
}
