//! A conversation with the model in this process.

use std::path::PathBuf;

use causerie_inference::chat::{Speaker, Turn};
use causerie_inference::scheduler::FinishReason;

use super::Terminal;
use super::command::Verb;
use super::transcript::{Role, Said, Shelf, Transcript, ago, shortened};
use crate::cli::failure::Failure;
use crate::cli::local::{Answered, Local, LocalOptions};
use crate::cli::models;
use crate::cli::output::{parameters, size};
use crate::cli::sampling::{Parameter, Sampling};

/// Messages that are shown of a conversation that is taken up again.
const SHOWN: usize = 6;

/// The model, and what was said so far.
pub(super) struct Here {
    local: Local,
    path: PathBuf,
    engine: LocalOptions,
    sampling: Sampling,
    system: Option<String>,
    said: Vec<Said>,
    shelf: Shelf,
    /// What was the last conversation when this program began.
    before: Option<Transcript>,
    /// How many turns the model has been told to forget; people are told when that changes.
    dropped: usize,
    last: Option<Answered>,
}

impl Here {
    pub(super) fn open(
        path: PathBuf,
        engine: &LocalOptions,
        sampling: Sampling,
        system: Option<String>,
        shelf: Shelf,
    ) -> Result<Here, Failure> {
        let local = Local::load(&path, engine)?;
        let engine = engine.clone();
        let (said, before, last) = (Vec::new(), None, None);
        Ok(Here { local, path, engine, sampling, system, said, shelf, before, dropped: 0, last })
    }

    /// The first lines, and the conversation that is to go on.
    pub(super) fn greet(&mut self, terminal: &mut Terminal, resume: bool) {
        let last = self.shelf.last();
        if terminal.interactive {
            let name = self.local.name();
            terminal
                .screen
                .tell(&format!("{name} is here. /help tells what you can do; Ctrl-C stops an answer, or leaves."));
        }
        match last {
            Some((mut transcript, _)) if resume => {
                // What flags say today counts more than what was said last time.
                transcript.system = self.system.take().or(transcript.system);
                transcript.sampling = self.sampling.or(&Sampling::from_json(&transcript.sampling)).to_json();
                self.go_on(transcript, terminal);
            }
            Some((transcript, when)) => {
                if terminal.interactive {
                    let (title, when) = (transcript.title(), ago(when));
                    terminal.screen.note(&format!("/resume goes on with your last conversation: {title} ({when})"));
                }
                self.before = Some(transcript);
            }
            None if resume => terminal.screen.note("There is no conversation to go on with; this is a new one."),
            None => {}
        }
    }

    /// What is said when it is over.
    pub(super) fn farewell(&self) -> Option<String> {
        (!self.said.is_empty()).then(|| "Kept: causerie chat --resume goes on.".to_owned())
    }

    /// Answers a message. One that cannot be answered is not part of the conversation.
    pub(super) fn say(&mut self, text: &str, terminal: &mut Terminal) -> Result<(), Failure> {
        self.said.push(Said::by(Role::User, text));
        self.answer(terminal)
    }

    /// Does what a command says.
    pub(super) fn obey(&mut self, verb: Verb, rest: &str, terminal: &mut Terminal) -> Result<(), Failure> {
        match verb {
            Verb::Set => self.set(rest, terminal),
            Verb::System => self.instruct(rest, terminal),
            Verb::Model => self.model(rest, terminal)?,
            Verb::Regenerate => return self.again(None, terminal),
            Verb::Edit if rest.is_empty() => terminal.screen.tell("What shall it be? /edit TEXT"),
            Verb::Edit => return self.again(Some(rest), terminal),
            Verb::New | Verb::Clear => {
                self.said.clear();
                self.dropped = 0;
                terminal.screen.tell("Forgotten. This is a new conversation.");
            }
            Verb::Resume => self.resume(terminal),
            Verb::Save => self.save(rest, terminal),
            Verb::Load => self.load(rest, terminal),
            Verb::Sessions => self.list(terminal),
            Verb::History => self.show(self.said.len(), terminal)?,
            Verb::Status => self.status(terminal),
            Verb::Stats => self.stats(terminal),
            _ => {} // `converse` asks for nothing else
        }
        Ok(())
    }

    fn answer(&mut self, terminal: &mut Terminal) -> Result<(), Failure> {
        let mut turns: Vec<Turn> = Vec::with_capacity(self.said.len() + 1);
        turns.extend(self.system.clone().map(|content| Turn { role: Speaker::System, content }));
        turns.extend(self.said.iter().map(Said::turn));
        let mut said = String::new();
        let (local, sampling, screen) = (&mut self.local, &self.sampling, &mut terminal.screen);
        let (answered, stopped) = terminal.interrupt.guard(|stop| {
            local.answer(&turns, sampling, None, stop, &mut |text| {
                said.push_str(text);
                screen.say(text)
            })
        });
        match answered {
            Ok(answered) => {
                screen.say("\n")?;
                self.said.push(Said::by(Role::Assistant, &said));
                self.keep(terminal);
                self.tell(answered, stopped, terminal);
                Ok(())
            }
            Err(Failure::Failed(error)) => {
                self.said.pop();
                screen.end_answer()?;
                screen.tell(&error);
                Ok(())
            }
            Err(other) => Err(other),
        }
    }

    fn tell(&mut self, answered: Answered, stopped: bool, terminal: &mut Terminal) {
        let screen = &mut terminal.screen;
        if stopped {
            screen.note("(stopped)");
        } else if answered.reason == FinishReason::Length {
            screen
                .note("(cut: the answer reached max_tokens or the end of the context; /set max_tokens N allows more)");
        }
        if answered.dropped_turns > self.dropped {
            let dropped = answered.dropped_turns;
            screen.note(&format!(
                "(the conversation is longer than the model can read: its oldest {dropped} messages are left out)"
            ));
        }
        self.dropped = answered.dropped_turns;
        self.last = Some(answered);
    }

    /// So that a crash, or a terminal that is closed, loses nothing that was answered.
    fn keep(&mut self, terminal: &mut Terminal) {
        if let Err(error) = self.shelf.keep_last(&self.transcript())
            && !std::mem::replace(&mut terminal.told_unkept, true)
        {
            terminal.screen.note(&format!("(the conversation is not kept: {error})"));
        }
    }

    /// Another answer to the last message, or to another one in its place.
    fn again(&mut self, instead: Option<&str>, terminal: &mut Terminal) -> Result<(), Failure> {
        let Some(at) = self.said.iter().rposition(|said| said.role == Role::User) else {
            terminal.screen.tell("Nothing was said yet.");
            return Ok(());
        };
        let before = self.said.clone();
        self.said.truncate(at + 1);
        if let Some(text) = instead {
            self.said[at].content = text.to_owned();
        }
        let outcome = self.answer(terminal);
        if self.said.len() <= at {
            self.said = before; // there is no answer, so what was there stays
        }
        outcome
    }

    fn set(&mut self, rest: &str, terminal: &mut Terminal) {
        if !rest.is_empty() {
            match self.sampling.set(rest) {
                Ok(parameter) => {
                    let value = self.sampling.wished(parameter);
                    let value = value.unwrap_or_else(|| "the model's own".to_owned());
                    terminal.screen.tell(&format!("{} is {value}.", parameter.name()));
                }
                Err(error) => terminal.screen.tell(&error),
            }
            return;
        }
        let Ok(effective) = self.sampling.over(self.local.sampling()) else { return };
        let lines = Parameter::ALL.map(|parameter| {
            let value = match parameter {
                Parameter::Temperature => effective.temperature().to_string(),
                Parameter::TopK => effective.top_k().to_string(),
                Parameter::TopP => effective.top_p().to_string(),
                Parameter::MinP => effective.min_p().to_string(),
                Parameter::RepetitionPenalty => effective.repetition_penalty().to_string(),
                Parameter::MaxTokens => self.sampling.max_tokens().to_string(),
                Parameter::Seed => effective.seed().map_or_else(|| "random".to_owned(), |seed| seed.to_string()),
            };
            let mark = if self.sampling.wished(parameter).is_some() { "*" } else { " " };
            format!("{mark} {:<20}{value:<8}{}", parameter.name(), parameter.meaning())
        });
        terminal.screen.tell(&format!(
            "{}\n/set NAME VALUE changes one, /set NAME default takes it back (* is yours).",
            lines.join("\n")
        ));
    }

    fn instruct(&mut self, rest: &str, terminal: &mut Terminal) {
        match rest {
            "" => terminal
                .screen
                .tell(self.system.as_deref().unwrap_or("There are no instructions; /system TEXT gives some.")),
            "-" => {
                self.system = None;
                terminal.screen.tell("There are no instructions from now on.");
            }
            text => {
                self.system = Some(text.to_owned());
                terminal.screen.tell("These are the instructions from now on.");
            }
        }
    }

    fn model(&mut self, rest: &str, terminal: &mut Terminal) -> Result<(), Failure> {
        let cached = models::cached().map_err(Failure::Failed)?;
        if rest.is_empty() {
            let info = self.local.info();
            terminal.screen.tell(&format!(
                "{}: {} of {} parameters, {}, {} kernels, {} tokens of context",
                self.local.name(),
                info.quantization,
                parameters(info.parameters),
                size(info.file_bytes),
                info.isa.name(),
                self.local.context(),
            ));
            let others: Vec<String> =
                cached.iter().filter(|path| **path != self.path).map(|path| models::short_name(path)).collect();
            terminal.screen.tell(&match others.as_slice() {
                [] => "There is no other one on this machine; `causerie pull` fetches them.".to_owned(),
                names => format!("/model NAME goes on with another one: {}", names.join(", ")),
            });
            return Ok(());
        }
        match models::chosen(rest, &cached) {
            Ok(path) => match Local::load(&path, &self.engine) {
                Ok(local) => {
                    self.local = local;
                    self.path = path;
                    self.dropped = 0;
                    terminal.screen.tell(&format!("{} answers from now on.", self.local.name()));
                }
                Err(Failure::Failed(error)) => {
                    terminal.screen.tell(&format!("{error}. {} goes on.", self.local.name()));
                }
                Err(other) => return Err(other),
            },
            Err(error) => terminal.screen.tell(&error),
        }
        Ok(())
    }

    fn resume(&mut self, terminal: &mut Terminal) {
        match self.before.take() {
            Some(transcript) => self.go_on(transcript, terminal),
            None => terminal.screen.tell("There is no conversation to go on with."),
        }
    }

    fn load(&mut self, rest: &str, terminal: &mut Terminal) {
        if rest.is_empty() {
            self.list(terminal);
            return;
        }
        match self.shelf.load(rest) {
            Ok(transcript) => self.go_on(transcript, terminal),
            Err(error) => terminal.screen.tell(&error),
        }
    }

    /// Instructions and sampling are the conversation's from now on.
    fn go_on(&mut self, transcript: Transcript, terminal: &mut Terminal) {
        let title = transcript.title();
        self.said = transcript.messages;
        self.system = transcript.system;
        self.sampling = Sampling::from_json(&transcript.sampling);
        self.dropped = 0;
        terminal.screen.note(&format!("{title}: {} messages", self.said.len()));
        if terminal.interactive {
            let _ = self.show(SHOWN, terminal);
        }
    }

    fn save(&mut self, rest: &str, terminal: &mut Terminal) {
        if rest.is_empty() {
            terminal.screen.tell("Under which name? /save NAME");
            return;
        }
        match self.shelf.save(rest, &self.transcript()) {
            Ok(path) => terminal.screen.tell(&format!("Saved: {}", path.display())),
            Err(error) => terminal.screen.tell(&error),
        }
    }

    fn transcript(&self) -> Transcript {
        Transcript {
            model: Some(self.local.name().to_owned()),
            system: self.system.clone(),
            sampling: self.sampling.to_json(),
            messages: self.said.clone(),
            ..Transcript::new()
        }
    }

    fn list(&self, terminal: &mut Terminal) {
        let saved = self.shelf.list();
        if saved.is_empty() {
            terminal.screen.tell("Nothing is saved yet; /save NAME saves this conversation.");
            return;
        }
        let lines = saved.iter().map(|saved| format!("  {:<32}{}", saved.name, ago(saved.changed)));
        terminal.screen.tell(&format!("{}\n/load NAME goes on with one.", lines.collect::<Vec<_>>().join("\n")));
    }

    /// The last messages of the conversation.
    fn show(&self, count: usize, terminal: &mut Terminal) -> Result<(), Failure> {
        let from = self.said.len().saturating_sub(count);
        if from > 0 {
            terminal.screen.note(&format!("(… {from} earlier messages; /history shows them)"));
        }
        for said in &self.said[from..] {
            match said.role {
                Role::User => terminal.screen.person(said.name.as_deref().unwrap_or("you"), &said.content)?,
                Role::Assistant | Role::System => terminal.screen.say(&said.content)?,
            }
            terminal.screen.end_answer()?;
        }
        if self.said.is_empty() {
            terminal.screen.tell("Nothing was said yet.");
        }
        Ok(())
    }

    fn status(&self, terminal: &mut Terminal) {
        let system = self.system.as_deref().map_or_else(|| "none".to_owned(), shortened);
        let used = self.last.map_or(0, |last| last.usage.prompt_tokens + last.usage.completion_tokens);
        terminal.screen.tell(&format!(
            "Title         {}\nModel         {}\nMessages      {}\nInstructions  {system}\nContext       {used} of {} tokens",
            self.transcript().title(),
            self.local.name(),
            self.said.len(),
            self.local.context(),
        ));
    }

    fn stats(&self, terminal: &mut Terminal) {
        let Some(last) = self.last else {
            terminal.screen.tell("Nothing was answered yet.");
            return;
        };
        terminal.screen.tell(&format!(
            "Prompt        {} tokens, {} of them known already\nFirst token   {:.0} ms\nAnswer        {} tokens, {:.1} a second",
            last.usage.prompt_tokens,
            last.usage.cached_tokens,
            last.timings.first_token.as_secs_f64() * 1000.0,
            last.usage.completion_tokens,
            last.timings.tokens_per_second,
        ));
    }
}
