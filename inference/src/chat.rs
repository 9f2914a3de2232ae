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

use std::fmt;

use crate::template::{ChatTemplate, Message, TemplateError};
use crate::tokenizer::{Part, Special, Tokenizer};

/// Marks a place in a message where no control token begins. A noncharacter, which Unicode keeps for such internal
/// use (chapter 23.7) and which text from outside must not bring in: there it becomes U+FFFD.
const MARK: char = '\u{fdd0}';

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
    let conversation = Conversation::new(tokenizer, template, turns)?;
    let last = conversation.messages.len() - 1;
    let could_fit = conversation.first_that_could_fit(limit);
    if could_fit == 0
        && let Some(prompt) = conversation.longest_that_fits(&[Start::of(0)], limit)?
    {
        return Ok(prompt);
    }
    let places = (could_fit.max(1)..=last).filter(|&place| conversation.may_begin(place));
    let starts: Vec<Start> = places.map(Start::of).collect();
    let fixed: Vec<Start> =
        starts.iter().copied().filter(|start| conversation.is_fixed(start.message, limit)).collect();
    let unanswered: Vec<Start> =
        (1..conversation.messages[last].turns.len()).map(|turn| Start { message: last, turn }).collect();
    for starts in [&fixed, &starts, &unanswered] {
        if let Some(prompt) = conversation.longest_that_fits(starts, limit)? {
            return Ok(prompt);
        }
    }
    let last_turn = Start { message: last, turn: conversation.messages[last].turns.len() - 1 };
    Err(PromptError::TooLong { tokens: conversation.tokens_from(last_turn)?.len(), limit })
}

/// Turns put in the form that templates take.
struct Conversation<'a> {
    tokenizer: &'a Tokenizer,
    template: &'a ChatTemplate,
    system: String,
    messages: Vec<Merged>,
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
struct Merged {
    role: Speaker,
    content: String,
    /// Where each turn begins in `content`, in bytes: at least one.
    turns: Vec<usize>,
    /// The weights of all messages before this one.
    weight_before: usize,
}

impl<'a> Conversation<'a> {
    fn new(tokenizer: &'a Tokenizer, template: &'a ChatTemplate, turns: &[Turn]) -> Result<Self, PromptError> {
        let mut system = String::new();
        let mut messages: Vec<Merged> = Vec::new();
        let mut weight = 0;
        let mut refused = 0;
        for turn in turns.iter().filter(|turn| !turn.content.trim().is_empty()) {
            match (turn.role, messages.last_mut()) {
                (Speaker::System, _) => append(&mut system, &turn.content),
                (Speaker::Assistant, None) if !template.takes_assistant_first() => refused += 1,
                (role, Some(last)) if last.role == role => {
                    append(&mut last.content, &turn.content);
                    last.turns.push(last.content.len() - turn.content.len());
                }
                (role, _) => {
                    weight += messages.last().map_or(0, |last| approximate_tokens(&last.content));
                    messages.push(Merged {
                        role,
                        content: turn.content.clone(),
                        turns: vec![0],
                        weight_before: weight,
                    });
                }
            }
        }
        if messages.is_empty() {
            return Err(PromptError::Empty);
        }
        Ok(Self { tokenizer, template, system, messages, refused })
    }

    fn turns_before(&self, start: Start) -> usize {
        let before = self.messages[..start.message].iter().map(|message| message.turns.len()).sum::<usize>();
        self.refused + before + start.turn
    }

    /// After a drop a user speaks first; or the last message alone is left, whoever said it.
    fn may_begin(&self, place: usize) -> bool {
        self.messages[place].role == Speaker::User || place + 1 == self.messages.len()
    }

    /// Whether `start` is the first beginning in its quarter of the limit, counted from the conversation's first
    /// message on: a place that stays where it is while the conversation grows.
    fn is_fixed(&self, start: usize, limit: usize) -> bool {
        let step = (limit / DROP_STEPS).max(1);
        let quarter = |place: usize| self.messages[place].weight_before / step;
        let before = self.messages[..start].iter().rposition(|message| message.role == Speaker::User);
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
        let mut contents: Vec<(Speaker, String)> = Vec::with_capacity(self.messages.len() - start.message + 1);
        let first = &self.messages[start.message];
        let first = (first.role, &first.content[first.turns[start.turn]..]);
        let others = self.messages[start.message + 1..].iter().map(|message| (message.role, message.content.as_str()));
        let mut kept = std::iter::once(first).chain(others);
        if !self.system.is_empty() {
            if self.template.takes_system() {
                contents.push((Speaker::System, self.marked(&self.system)));
            } else if let Some((role, first)) = kept.next() {
                let mut content = self.system.clone();
                append(&mut content, first);
                contents.push((role, self.marked(&content)));
            }
        }
        contents.extend(kept.map(|(role, content)| (role, self.marked(content))));
        let messages: Vec<Message<'_>> =
            contents.iter().map(|(speaker, content)| Message { role: speaker.role(), content }).collect();
        Ok(self.encode(&self.template.render(&messages)?))
    }

    /// A text in which no control token can be found, nor be completed by what the template writes around it: a mark
    /// stands after the first character of each, and before and after the whole (inside the whitespace at its ends,
    /// which templates often trim).
    fn marked(&self, content: &str) -> String {
        let content = content.replace(MARK, "\u{fffd}");
        let core = content.trim();
        let (start, end) = (content.len() - content.trim_start().len(), content.trim_end().len());
        let mut marked = String::with_capacity(content.len() + 4 * MARK.len_utf8());
        marked.push_str(&content[..start]);
        marked.push(MARK);
        let mut from = 0;
        while let Some(found) = self.tokenizer.find_control(core, from) {
            let first = core[found.start..].chars().next().map_or(1, char::len_utf8);
            marked.push_str(&core[from..found.start + first]);
            marked.push(MARK);
            from = found.start + first;
        }
        marked.push_str(&core[from..]);
        marked.push(MARK);
        marked.push_str(&content[end..]);
        marked
    }

    /// The tokens of a rendered conversation: control tokens where the template wrote them, and text without marks.
    fn encode(&self, rendered: &str) -> Vec<u32> {
        let mut tokens = Vec::new();
        self.tokenizer.split_special(rendered, |part| match part {
            Part::Token(id) => tokens.push(id),
            Part::Text(text) => {
                self.tokenizer.encode(&text.replace(MARK, ""), Special::Plain, false, &mut tokens);
            }
        });
        // Most templates write the beginning token themselves; where the file wants one, there is one and not two.
        if let Some(begin) = self.tokenizer.begin().filter(|_| self.tokenizer.adds_begin())
            && tokens.first() != Some(&begin)
        {
            tokens.insert(0, begin);
        }
        tokens
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
