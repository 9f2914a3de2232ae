//! Who asks what.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// How much is asked.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Plan {
    pub(crate) people: usize,
    pub(crate) questions: usize,
    /// Of an answer, at most.
    pub(crate) tokens: u32,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { people, questions, tokens } = self;
        write!(f, "{people} people at once, {questions} questions each, answers of at most {tokens} tokens")
    }
}

impl Plan {
    /// What each of the people asks, one after the other.
    pub(crate) fn conversations(&self) -> impl Iterator<Item = &'static [&'static str]> {
        let questions = self.questions;
        CONVERSATIONS.iter().take(self.people).map(move |conversation| &conversation[..questions])
    }
}

/// Asked before anything is measured, so that both servers have touched their memory.
pub(crate) const WARM_UP: &str = "Say hello.";

/// And a rest after it, so that what a server does once after its start is not measured: Causerie makes large pages of
/// small ones.
pub(crate) const REST: Duration = Duration::from_millis(1_500);

/// Conversations of eight people.
pub(crate) const CONVERSATIONS: [[&str; 4]; 8] = [
    [
        "Why is the sky blue during the day and red in the evening?",
        "And what would it look like on Mars?",
        "Would astronauts there need sunglasses?",
        "Write a short poem about a sunset seen from Mars.",
    ],
    [
        "I have eggs, flour, milk and two apples. What can I cook in twenty minutes?",
        "I have no oven. Does that still work?",
        "How do I keep it from sticking to the pan?",
        "What should I drink with it?",
    ],
    [
        "Explain what a hash table is to somebody who knows arrays.",
        "What happens when two keys have the same hash?",
        "When would you rather take a sorted tree?",
        "Show a small example in Python.",
    ],
    [
        "We want to spend a weekend in Lisbon in spring. What should we see?",
        "One of us cannot walk far. What would you change?",
        "Which dishes should we try?",
        "Make a plan for Saturday, hour by hour.",
    ],
    [
        "Write the beginning of a story about a lighthouse keeper who finds a letter.",
        "Who wrote the letter?",
        "Let it begin to storm, and end the chapter there.",
        "Suggest three titles.",
    ],
    [
        "My cat wakes me at five every morning. What can I do about it?",
        "I feed her at six already. Should it be later?",
        "How long will it take until she gets used to it?",
        "What if none of that helps?",
    ],
    [
        "What is the difference between a virus and a bacterium?",
        "Why do antibiotics help against only one of them?",
        "What does a vaccine do then?",
        "Summarize all of this in three sentences for a child.",
    ],
    [
        "How does compound interest work?",
        "I save 100 euros a month at three percent for ten years. Roughly how much is that?",
        "How does inflation change the answer?",
        "Name two things that one should know before one buys shares.",
    ],
];
