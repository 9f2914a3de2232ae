//! `causerie run`: one answer to stdout.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use causerie_inference::Grammar;
use causerie_inference::chat::{Speaker, Turn};
use causerie_inference::grammar::MAX_GRAMMAR_BYTES;
use causerie_inference::scheduler::FinishReason;
use clap::{Args, ValueEnum};
use serde_json::json;

use super::failure::{Failure, INTERRUPTED, say};
use super::interrupt::Interrupt;
use super::local::{Answered, Local, LocalOptions};
use super::output::harmless;
use super::sampling::AnswerOptions;
use super::source;
use super::tokenize::read_text;
use crate::config::ModelOptions;

const EXAMPLES: &str = "\
Examples:
  causerie run \"Why is the sky blue?\"
  causerie run \"Summarise this in one sentence:\" < letter.txt
  git diff | causerie run --system \"You write commit messages.\" -
  causerie run --json-schema person.json \"Invent a person.\" | jq .name
  causerie run --regex \"yes|no\" --temperature 0 \"Is a whale a fish?\"
  causerie run --format json \"Hello\" | jq .usage

In a loop that reads its own list, give it `< /dev/null`, or it reads the rest of the list.
Exit codes: 0 success, 1 failure (also a form that was cut before its end), 2 wrong usage, 130 interrupted";

/// What `causerie run` takes.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RunOptions {
    /// What to answer; what comes through a pipe stands behind it, or alone where this is `-` or missing
    prompt: Option<String>,

    /// Instructions for the model that stand before the prompt
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,

    /// The answer is JSON that is valid under the JSON schema in this file
    #[arg(long, value_name = "FILE", group = "form")]
    json_schema: Option<PathBuf>,

    /// The answer matches this regular expression as a whole
    #[arg(long, value_name = "PATTERN", group = "form")]
    regex: Option<String>,

    /// The answer is a text of the grammar in this file, in llguidance's dialect of Lark
    #[arg(long, value_name = "FILE", group = "form")]
    grammar: Option<PathBuf>,

    /// What stdout gets: the text as it comes, or at the end one line of JSON with usage and timings
    #[arg(long, value_enum, default_value = "text")]
    format: Format,

    /// Say on stderr what the answer took
    #[arg(long, short)]
    verbose: bool,

    #[command(flatten)]
    answer: AnswerOptions,

    #[command(flatten)]
    model: ModelOptions,

    #[command(flatten)]
    engine: LocalOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Streams the answer. Ctrl-C ends it, with the exit code 130.
pub(crate) fn run(options: &RunOptions) -> Result<(), Failure> {
    let sampling = options.answer.sampling()?; // what is wrong with the flags is told before a model is fetched
    let grammar = grammar(options)?;
    let prompt = prompt(options.prompt.as_deref())?;
    let mut turns = Vec::new();
    turns.extend(options.system.clone().map(|content| Turn { role: Speaker::System, content }));
    turns.push(Turn { role: Speaker::User, content: prompt });
    let path = source::model_file(&options.model)?;
    let mut local = Local::load(&path, &options.engine)?;
    let interrupt = Interrupt::watch(INTERRUPTED.into(), || (), || ())
        .map_err(|error| Failure::Failed(format!("cannot watch for Ctrl-C: {error}")))?;
    let mut out = io::stdout().lock();
    let is_terminal = io::stdout().is_terminal();
    let mut said = String::new();
    let (answered, stopped) = interrupt.guard(|stop| {
        local.answer(&turns, &sampling, grammar.as_ref(), stop, &mut |text| match options.format {
            Format::Json => {
                said.push_str(text);
                Ok(())
            }
            Format::Text => {
                // In a pipe the text is nobody's to change.
                let shown = if is_terminal { harmless(text) } else { text.into() };
                out.write_all(shown.as_bytes())?;
                out.flush()
            }
        })
    });
    let answered = answered?;
    match options.format {
        Format::Text => writeln!(out)?,
        Format::Json => writeln!(out, "{}", report(&said, local.name(), &answered))?,
    }
    tell(options, &answered);
    if stopped {
        return Err(Failure::Interrupted);
    }
    if answered.reason == FinishReason::Length {
        let tokens = answered.usage.completion_tokens;
        let cut = format!("cut after {tokens} tokens, at --max-tokens or the end of the context");
        if grammar.is_some() {
            return Err(Failure::Failed(format!("{cut}, before its form was complete; allow more")));
        }
        if options.format == Format::Text {
            say(&cut);
        }
    }
    Ok(())
}

/// What the answer took: where it is asked for, and in the log.
fn tell(options: &RunOptions, answered: &Answered) {
    let took = format!(
        "{} tokens of prompt, {} of answer, first one after {:.0} ms, then {:.1} a second",
        answered.usage.prompt_tokens,
        answered.usage.completion_tokens,
        answered.timings.first_token.as_secs_f64() * 1000.0,
        answered.timings.tokens_per_second,
    );
    if options.verbose {
        say(&took);
    } else {
        tracing::info!("{took}");
    }
}

/// The line for programs; names as in the protocol.
fn report(text: &str, model: &str, answered: &Answered) -> serde_json::Value {
    let rate = answered.timings.tokens_per_second;
    json!({
        "text": text,
        "model": model,
        "finish_reason": match answered.reason {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
            FinishReason::Stopped => "stopped",
        },
        "usage": {
            "prompt_tokens": answered.usage.prompt_tokens,
            "cached_tokens": answered.usage.cached_tokens,
            "completion_tokens": answered.usage.completion_tokens,
        },
        "timings": {
            "first_token_ms": (answered.timings.first_token.as_secs_f64() * 1e4).round() / 10.0,
            "tokens_per_second": (rate > 0.0).then(|| (f64::from(rate) * 10.0).round() / 10.0),
        },
    })
}

/// The form that the answer is to have, if it is to have one.
fn grammar(options: &RunOptions) -> Result<Option<Grammar>, Failure> {
    let RunOptions { json_schema, regex, grammar, .. } = options;
    Ok(match (json_schema, regex, grammar) {
        (Some(path), _, _) => Some(Grammar::JsonSchema(form(path)?)),
        (_, Some(pattern), _) => Some(Grammar::Regex(pattern.clone())),
        (_, _, Some(path)) => Some(Grammar::Lark(form(path)?)),
        (None, None, None) => None,
    })
}

/// A file with a form.
fn form(path: &Path) -> Result<String, Failure> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| Failure::Usage(format!("cannot read {name}: {error}")))?;
    let bytes = file.metadata().map_or(0, |file| file.len());
    if bytes > MAX_GRAMMAR_BYTES as u64 {
        return Err(Failure::Usage(format!("{name} has {bytes} bytes, and a form has {MAX_GRAMMAR_BYTES} at most")));
    }
    read_text(file, &name)
}

fn prompt(argument: Option<&str>) -> Result<String, Failure> {
    let terminal = io::stdin().is_terminal();
    let text = match argument {
        None if terminal => {
            return Err(Failure::Usage(
                "what shall be answered? causerie run \"PROMPT\", or a text on stdin".to_owned(),
            ));
        }
        None | Some("-") => piped()?,
        Some(text) if terminal => text.to_owned(),
        Some(text) => match piped()? {
            piped if piped.trim().is_empty() => text.to_owned(),
            piped => format!("{text}\n\n{piped}"),
        },
    };
    if text.trim().is_empty() {
        return Err(Failure::Usage("the prompt is empty; ask something".to_owned()));
    }
    Ok(text)
}

/// What is on stdin, without the line end that `echo` and editors put there.
fn piped() -> Result<String, Failure> {
    let text = read_text(io::stdin().lock(), "stdin")?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
