//! From a conversation to the tokens of a prompt.
//!
//! - **What people write stays text.** A message that contains `<|im_end|>` must not end its turn. The contents of
//!   messages go through the template with a mark in every such place, and control tokens are recognized only where
//!   the template wrote them.
//! - **Turns alternate.** Templates may refuse two messages of one speaker in a row, and small models have never seen
//!   it. Consecutive turns of a speaker become one message with a blank line between; empty turns are left out; all
//!   system turns become one message at the beginning (or, where the template knows none, the beginning of the first
//!   user's message).
//! - **What does not fit is dropped from the oldest on**, but never the system prompt or the last turn. The drop
//!   goes on to the next of some fixed places, a quarter of the limit apart, so that several prompts in a row have
//!   the same beginning and what the cache knows of it is of use. Turns that nobody has answered are dropped one by
//!   one at last, so that a message too long for the model does not stand in the way of those that follow it.
//! - **A tool's result never comes without its call** because the call was dropped. See [`Step`] for the form in which
//!   models are told of tools.

mod marks;
mod tools;

use std::fmt;

use serde_json::Value as Json;

use crate::template::{ChatTemplate, Message, TemplateError, Written};
use crate::tokenizer::{Special, Tokenizer};
use marks::{encode, marked, marked_json};
use tools::Item;
pub use tools::{CALL_CLOSE, CALL_OPEN, Step, ToolCall};

/// Where a conversation may begin after a drop: this many places within the limit.
const DROP_STEPS: usize = 4;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// The operator, or whoever opened the conversation: how the model is to behave.
    System,
    /// A person; several people of a shared conversation are one user to the model.
    User,
    /// The model.
    Assistant,
}

impl Speaker {
    fn role(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One contribution to a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Who speaks.
    pub role: Speaker,
    /// What is said: any text.
    pub content: String,
}

/// A conversation made ready for the model, which is to answer now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The tokens: at least one, and at most the limit.
    pub tokens: Vec<u32>,
    /// How many of the oldest turns were left out because the conversation is longer than the limit. Empty turns and
    /// the system's do not count.
    pub dropped_turns: usize,
}

/// Why no prompt could be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PromptError {
    /// Nobody but the system said anything.
    Empty,
    /// The last message is too long by itself, with the system prompt.
    TooLong {
        /// What it takes.
        tokens: usize,
        /// What there is room for.
        limit: usize,
    },
    /// The model's template failed.
    Template(TemplateError),
}

impl fmt::Display for PromptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "the conversation is empty: there is nothing to answer"),
            Self::TooLong { tokens, limit } => write!(
                f,
                "the message with the system prompt takes {tokens} tokens, and the model has room for {limit}; shorten it"
            ),
            Self::Template(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PromptError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Template(error) => Some(error),
            Self::Empty | Self::TooLong { .. } => None,
        }
    }
}

impl From<TemplateError> for PromptError {
    fn from(error: TemplateError) -> Self {
        Self::Template(error)
    }
}

/// The prompt for the model's next answer, of at most `limit` tokens.
///
/// The work grows with the length of the result and, but for a look at the length of every turn, not with that of
/// the history.
///
/// # Errors
/// When there is nothing to answer, when the last message alone is too long, or when the template fails.
pub fn prompt(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    turns: &[Turn],
    limit: usize,
) -> Result<Prompt, PromptError> {
    Conversation::new(tokenizer, template, &[], turns.iter().map(Item::of_turn))?.prompt(limit)
}

/// As [`prompt`], of a conversation in which the model may call `tools`, each a JSON object in the form of OpenAI's chat:
/// `{"type": "function", "function": {"name", "description", "parameters"}}`.
///
/// # Errors
/// As [`prompt`].
pub fn prompt_with_tools(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    tools: &[Json],
    steps: &[Step],
    limit: usize,
) -> Result<Prompt, PromptError> {
    Conversation::new(tokenizer, template, tools, steps.iter().map(Item::of_step))?.prompt(limit)
}

/// Turns put in the form that templates take.
struct Conversation<'a> {
    tokenizer: &'a Tokenizer,
    template: &'a ChatTemplate,
    /// For the template; none where the system's words tell of them.
    tools: Vec<Json>,
    system: String,
    messages: Vec<Merged<'a>>,
    /// Turns left out from the beginning whatever the limit: an assistant's that the template does not take.
    refused: usize,
}

/// Where a prompt begins.
#[derive(Clone, Copy)]
struct Start {
    /// Which message comes first.
    message: usize,
    /// Which of its turns.
    turn: usize,
}

impl Start {
    fn of(message: usize) -> Self {
        Self { message, turn: 0 }
    }
}

/// Consecutive turns of one speaker.
struct Merged<'a> {
    role: Speaker,
    content: String,
    /// At least one.
    turns: Vec<Began>,
    /// What the assistant calls behind the content, where the template writes it.
    calls: Vec<&'a ToolCall>,
    /// Set where this is a tool's result that the template writes: the call, and the tool's name if it is known.
    result_of: Option<(&'a str, Option<&'a str>)>,
    /// Whether anything is called, whoever writes it.
    called: bool,
    /// The weights of all messages before this one.
    weight_before: usize,
}

/// Where a turn begins within its message.
struct Began {
    /// In bytes of the content.
    at: usize,
    /// Whether it is a tool's result, with which no prompt begins.
    result: bool,
}

impl Merged<'_> {
    fn weight(&self) -> usize {
        let calls = self.calls.iter().map(|call| approximate_tokens(&call.arguments)).sum::<usize>();
        approximate_tokens(&self.content) + calls
    }
}

impl<'a> Conversation<'a> {
    fn new(
        tokenizer: &'a Tokenizer,
        template: &'a ChatTemplate,
        tools: &[Json],
        items: impl Iterator<Item = Item<'a>>,
    ) -> Result<Self, PromptError> {
        let none =
            Self { tokenizer, template, tools: Vec::new(), system: String::new(), messages: Vec::new(), refused: 0 };
        let mut made = none;
        for item in items.filter(|item| !item.is_empty()) {
            made.add(item);
        }
        if made.messages.is_empty() {
            return Err(PromptError::Empty);
        }
        if template.takes_tools() {
            made.tools = tools.iter().map(|tool| marked_json(tokenizer, tool)).collect();
        } else if !tools.is_empty() {
            append(&mut made.system, &tools::instruction(tools));
        }
        Ok(made)
    }

    fn add(&mut self, item: Item<'a>) {
        let structured = self.template.takes_calls();
        let (role, result) = (item.role(), matches!(item, Item::Result { .. }));
        if role == Speaker::System {
            return append(&mut self.system, &item.text());
        }
        // What was said before any user has spoken, and what came of calls that are left out with it.
        let refused = match role {
            Speaker::Assistant => !self.template.takes_assistant_first(),
            _ => result && self.refused > 0,
        };
        if self.messages.is_empty() && refused {
            self.refused += 1;
            return;
        }
        let (content, calls, result_of) = match item {
            Item::Called { content, calls } if structured => (content.into(), calls.iter().collect(), None),
            Item::Result { call, content } if structured => {
                (content.into(), Vec::new(), Some((call, self.called(call))))
            }
            _ => (item.text(), Vec::new(), None),
        };
        let called = matches!(item, Item::Called { .. });
        match self.messages.last_mut() {
            Some(last) if last.role == role && last.result_of.is_none() && result_of.is_none() => {
                if !content.is_empty() {
                    append(&mut last.content, &content);
                }
                last.turns.push(Began { at: last.content.len() - content.len(), result });
                last.calls.extend(calls);
                last.called |= called;
            }
            last => {
                let weight_before = last.map_or(0, |last| last.weight_before + last.weight());
                let turns = vec![Began { at: 0, result }];
                let content = content.into_owned();
                self.messages.push(Merged { role, content, turns, calls, result_of, called, weight_before });
            }
        }
    }

    /// The name of the tool that was called last under this id.
    fn called(&self, id: &str) -> Option<&'a str> {
        let mut calls = self.messages.iter().rev().flat_map(|message| message.calls.iter().rev());
        calls.find(|call| call.id == id).map(|call| call.name.as_str())
    }

    /// The prompt of at most `limit` tokens.
    fn prompt(&self, limit: usize) -> Result<Prompt, PromptError> {
        let last = self.messages.len() - 1;
        let could_fit = self.first_that_could_fit(limit);
        if could_fit == 0
            && let Some(prompt) = self.longest_that_fits(&[Start::of(0)], limit)?
        {
            return Ok(prompt);
        }
        let places = could_fit.max(1)..=last;
        let starts: Vec<Start> = places.clone().filter_map(|place| self.beginning(place)).collect();
        let fixed: Vec<Start> = starts.iter().copied().filter(|start| self.is_fixed(start.message, limit)).collect();
        // The model works on what one question needs with ever more calls.
        let calls: Vec<Start> = places.filter(|&place| self.may_begin_with_calls(place)).map(Start::of).collect();
        let turns = &self.messages[last].turns;
        let unanswered = (1..turns.len()).filter(|&turn| !turns[turn].result);
        let unanswered: Vec<Start> = unanswered.map(|turn| Start { message: last, turn }).collect();
        for starts in [&fixed, &starts, &calls, &unanswered] {
            if let Some(prompt) = self.longest_that_fits(starts, limit)? {
                return Ok(prompt);
            }
        }
        let last_turn = Start { message: last, turn: turns.len() - 1 };
        Err(PromptError::TooLong { tokens: self.tokens_from(last_turn)?.len(), limit })
    }

    fn turns_before(&self, start: Start) -> usize {
        let before = self.messages[..start.message].iter().map(|message| message.turns.len()).sum::<usize>();
        self.refused + before + start.turn
    }

    /// Where in a message a prompt may begin. After a drop a user speaks first, and no tool, whose call would be
    /// missing; or the last message alone is left, whoever said it.
    fn beginning(&self, place: usize) -> Option<Start> {
        let message = &self.messages[place];
        let turn = message.turns.iter().position(|turn| !turn.result)?;
        (message.role == Speaker::User || place + 1 == self.messages.len()).then_some(Start { message: place, turn })
    }

    fn may_begin_with_calls(&self, place: usize) -> bool {
        self.messages[place].called && self.template.takes_assistant_first()
    }

    /// Whether `start` is the first beginning in its quarter of the limit, counted from the conversation's first
    /// message on: a place that stays where it is while the conversation grows.
    fn is_fixed(&self, start: usize, limit: usize) -> bool {
        let step = (limit / DROP_STEPS).max(1);
        let quarter = |place: usize| self.messages[place].weight_before / step;
        let before = (0..start).rev().find(|&place| self.beginning(place).is_some());
        before.is_none_or(|before| quarter(before) != quarter(start))
    }

    /// The first message with which the contents from there on may have room, counted from the end so that the
    /// oldest messages of a long history are not looked at.
    fn first_that_could_fit(&self, limit: usize) -> usize {
        // A token has at least one byte, so what is short in bytes need not be counted.
        if self.messages.iter().map(|message| message.content.len()).sum::<usize>() <= limit {
            return 0;
        }
        let mut room = limit;
        let mut tokens = Vec::new();
        for (place, message) in self.messages.iter().enumerate().rev() {
            tokens.clear();
            self.tokenizer.encode(&message.content, Special::Plain, false, &mut tokens);
            match room.checked_sub(tokens.len()) {
                Some(left) => room = left,
                None => return (place + 1).min(self.messages.len() - 1),
            }
        }
        0
    }

    /// The prompt that begins with the first of `starts`, which rise, that leaves few enough tokens.
    fn longest_that_fits(&self, starts: &[Start], limit: usize) -> Result<Option<Prompt>, PromptError> {
        let (mut low, mut high, mut best) = (0, starts.len(), None);
        // Fewer messages make fewer tokens, so the place is found by halving.
        while low < high {
            let middle = (low + high) / 2;
            let tokens = self.tokens_from(starts[middle])?;
            if tokens.len() <= limit {
                best = Some(Prompt { tokens, dropped_turns: self.turns_before(starts[middle]) });
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(best)
    }

    /// The prompt's tokens when the conversation begins at `start`.
    fn tokens_from(&self, start: Start) -> Result<Vec<u32>, PromptError> {
        let mut written = Vec::with_capacity(self.messages.len() - start.message + 1);
        let mut system = self.system.as_str();
        if !system.is_empty() && self.template.takes_system() {
            written.push((Speaker::System.role(), marked(self.tokenizer, system), Written::Said));
            system = "";
        }
        for (place, message) in self.messages[start.message..].iter().enumerate() {
            let from = if place == 0 { message.turns[start.turn].at } else { 0 };
            let content = &message.content[from..];
            let content = if place == 0 && !system.is_empty() {
                let mut whole = system.to_owned();
                append(&mut whole, content);
                marked(self.tokenizer, &whole)
            } else {
                marked(self.tokenizer, content)
            };
            let (role, how) = match message.result_of {
                Some((call, name)) => {
                    let mark = |text| marked(self.tokenizer, text);
                    ("tool", Written::Result { call: mark(call), name: name.map(mark) })
                }
                None if message.calls.is_empty() => (message.role.role(), Written::Said),
                None => {
                    let calls = message.calls.iter().map(|call| marked_json(self.tokenizer, &call.as_json()));
                    (message.role.role(), Written::Called(calls.collect()))
                }
            };
            written.push((role, content, how));
        }
        let messages = written.iter().map(|(role, content, how)| (Message { role, content }, how));
        Ok(encode(self.tokenizer, &self.template.render_with_tools(&self.tools, messages)?))
    }
}

fn append(text: &mut String, more: &str) {
    if !text.is_empty() {
        text.push_str("\n\n");
    }
    text.push_str(more);
}

/// About how many tokens a message takes: four letters each, or half a character of other scripts. It places the
/// beginnings and decides nothing else, so that the tokens of old messages need not be counted.
fn approximate_tokens(content: &str) -> usize {
    let ascii = content.bytes().filter(u8::is_ascii).count();
    4 + ascii / 4 + (content.len() - ascii) / 2
}
