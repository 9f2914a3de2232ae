//! `causerie chat`: a conversation in the terminal, without a server.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use causerie_inference::chat::{Speaker, Turn};
use causerie_inference::scheduler::FinishReason;
use clap::Args;

use super::failure::Failure;
use super::interrupt::Interrupt;
use super::local::{AnswerOptions, Answered, Local, LocalOptions};
use super::source;
use crate::config::ModelOptions;

/// The longest line that is read, in bytes: as long as a message to the server may be.
const LINE_BYTES: u64 = 32 * 1024;

const HELP: &str = "\
/help    this
/clear   forget the conversation and begin anew
/exit    leave (so do Ctrl-D, and Ctrl-C when nothing is being answered)
Ctrl-C   stop the answer; what there is of it is kept";

/// What `causerie chat` takes.
#[derive(Args, Debug)]
pub(crate) struct ChatOptions {
    /// Instructions for the model
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,

    #[command(flatten)]
    answer: AnswerOptions,

    #[command(flatten)]
    model: ModelOptions,

    #[command(flatten)]
    engine: LocalOptions,
}

/// Reads lines and answers them until there are no more. Answers go to stdout, all else to stderr; where stdin is no
/// terminal there is no prompt, so that a script can talk, too.
pub(crate) fn chat(options: &ChatOptions) -> Result<(), Failure> {
    options.answer.check()?; // what is wrong with the flags is told before a model is fetched
    let path = source::model_file(&options.model)?;
    let local = Local::load(&path, &options.engine)?;
    let interactive = io::stdin().is_terminal();
    if interactive {
        say(&format!("{} is here. /help tells what else you can do.", local.name()));
    }
    let interrupt =
        Interrupt::watch(0).map_err(|error| Failure::Failed(format!("cannot watch for Ctrl-C: {error}")))?;
    let mut conversation = Conversation::new(local, options);
    let mut input = io::stdin().lock();
    loop {
        if interactive {
            write_error("\n> ");
        }
        let Some(line) = read_line(&mut input)? else { break };
        match line.trim() {
            "" => {}
            "/exit" | "/quit" => return Ok(()),
            "/help" => say(HELP),
            "/clear" => {
                conversation.clear();
                say("Forgotten.");
            }
            command if command.starts_with('/') => say(&format!("There is no {command}; /help tells what there is.")),
            message => conversation.answer(message, &interrupt)?,
        }
    }
    if interactive {
        say("");
    }
    Ok(())
}

/// What was said so far.
struct Conversation<'a> {
    local: Local,
    options: &'a ChatOptions,
    turns: Vec<Turn>,
    /// How many turns the model has been told to forget; people are told when that changes.
    dropped: usize,
}

impl<'a> Conversation<'a> {
    fn new(local: Local, options: &'a ChatOptions) -> Conversation<'a> {
        let mut conversation = Conversation { local, options, turns: Vec::new(), dropped: 0 };
        conversation.clear();
        conversation
    }

    fn clear(&mut self) {
        self.dropped = 0;
        self.turns.clear();
        self.turns.extend(self.options.system.clone().map(|content| Turn { role: Speaker::System, content }));
    }

    /// Answers a message on stdout. One that cannot be answered is not part of the conversation.
    fn answer(&mut self, message: &str, interrupt: &Interrupt) -> Result<(), Failure> {
        self.turns.push(Turn { role: Speaker::User, content: message.to_owned() });
        let mut out = io::stdout().lock();
        let mut said = String::new();
        let (local, turns) = (&mut self.local, &self.turns);
        let (answered, stopped) = interrupt.guard(|stop| {
            local.answer(turns, &self.options.answer, stop, &mut |text| {
                said.push_str(text);
                out.write_all(text.as_bytes())?;
                out.flush()
            })
        });
        match answered {
            Ok(answered) => {
                writeln!(out)?;
                self.turns.push(Turn { role: Speaker::Assistant, content: said });
                self.tell(&answered, stopped);
                Ok(())
            }
            Err(Failure::Failed(error)) => {
                self.turns.pop();
                say(&error);
                Ok(())
            }
            Err(other) => Err(other),
        }
    }

    fn tell(&mut self, answered: &Answered, stopped: bool) {
        if stopped {
            say("(stopped)");
        } else if answered.reason == FinishReason::Length {
            say("(cut: the answer reached --max-tokens or the end of the context)");
        }
        if answered.dropped_turns > self.dropped {
            say(&format!(
                "(the conversation is longer than the model can read: its oldest {} messages are left out)",
                answered.dropped_turns
            ));
        }
        self.dropped = answered.dropped_turns;
    }
}

/// A line without its end; `None` at the end of the input.
fn read_line(input: &mut impl BufRead) -> Result<Option<String>, Failure> {
    let unreadable = |error| Failure::Failed(format!("cannot read stdin: {error}"));
    let mut line = Vec::new();
    input.take(LINE_BYTES + 1).read_until(b'\n', &mut line).map_err(unreadable)?;
    if line.len() as u64 > LINE_BYTES {
        input.skip_until(b'\n').map_err(unreadable)?;
        say(&format!("That line has more than {LINE_BYTES} bytes, the most that is read; send a shorter one."));
        return Ok(Some(String::new()));
    }
    if line.is_empty() { Ok(None) } else { Ok(Some(String::from_utf8_lossy(&line).into_owned())) }
}

fn say(text: &str) {
    write_error(&format!("{text}\n"));
}

/// Where stderr is closed there is nobody to tell.
fn write_error(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}
