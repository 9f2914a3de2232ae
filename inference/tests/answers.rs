//! From a conversation to an answer: template, tokenizer, engine, sampler and text together, with the default model.

mod common;

use std::sync::Arc;

use causerie_inference::chat::{Speaker, Turn, prompt};
use causerie_inference::scheduler::{Event, FinishReason, Request, Scheduler, SchedulerOptions, Usage};
use causerie_inference::{LoadOptions, Model, SamplingOptions, SamplingOverrides};

/// One conversation with the model, as the server holds it.
struct Conversation {
    model: Arc<Model>,
    scheduler: Scheduler,
    turns: Vec<Turn>,
}

impl Conversation {
    fn new() -> Self {
        let model = Arc::new(Model::load(&common::model_file(), &LoadOptions::default()).unwrap());
        let options = SchedulerOptions { context: Some(1024), ..SchedulerOptions::default() };
        let scheduler = Scheduler::new(Arc::clone(&model), &options).unwrap();
        Self { model, scheduler, turns: Vec::new() }
    }

    /// Says something, and gives the answer once it is complete.
    fn say(&mut self, content: &str, max_tokens: usize, sampling: &SamplingOverrides) -> (String, FinishReason, Usage) {
        self.turns.push(Turn { role: Speaker::User, content: content.into() });
        let prompt = prompt(self.model.tokenizer(), self.model.template(), &self.turns, 900).unwrap();
        assert_eq!(prompt.dropped_turns, 0);
        let sampling = SamplingOptions::default().with(sampling).unwrap();
        let request = Request { prompt: prompt.tokens, sampling, max_tokens, session: Some(1), ..Request::default() };
        self.scheduler.submit(request).unwrap();
        let (mut text, mut end) = (String::new(), None);
        let mut tell = |_, event: Event<'_>| match event {
            Event::Token { .. } => {}
            Event::Text(more) => text.push_str(more),
            Event::Finished { reason, usage, .. } => end = Some((reason, usage)),
            Event::Failed { fault } => panic!("{fault}"),
        };
        while self.scheduler.step(&mut tell) {}
        let (reason, usage) = end.expect("a sequence that ran has an end");
        self.turns.push(Turn { role: Speaker::Assistant, content: text.clone() });
        (text, reason, usage)
    }
}

#[test]
fn questions_get_answers_and_later_turns_compute_only_what_is_new() {
    // The likeliest tokens, so that kernels which round otherwise say the same.
    let greedy = SamplingOverrides { temperature: Some(0.0), ..SamplingOverrides::default() };
    let mut conversation = Conversation::new();
    let (text, reason, first) = conversation.say("Hi! How are you?", 100, &greedy);
    assert!(text.contains("help"), "{text}");
    assert_eq!(reason, FinishReason::Stop, "the model ends its turn: {text}");

    let (text, _, second) = conversation.say("What is gravity?", 40, &greedy);
    assert!(text.contains("ravity") && text.contains("force"), "{text}");
    // What is known: the first prompt and its answer, but for the end of its last page at most.
    assert!(second.cached_tokens >= first.prompt_tokens, "{second:?} after {first:?}");
    assert!(second.prompt_tokens > first.prompt_tokens + first.completion_tokens);
}

/// Without a penalty the model goes round in circles here, and with a strong one it cannot count.
#[test]
fn the_default_penalty_neither_loops_nor_forbids_counting() {
    let sampled = SamplingOverrides { seed: Some(7), ..SamplingOverrides::default() };
    let (text, _, _) = Conversation::new().say("Count from 1 to 20.", 200, &sampled);
    let numbers: Vec<u32> = text.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
    for number in 1..=9 {
        assert!(numbers.contains(&number), "{number} is not in {text}");
    }

    let (text, _, _) = Conversation::new().say("Write a short poem about the sea.", 200, &sampled);
    let lines: Vec<&str> = text.lines().filter(|line| line.split_whitespace().count() > 3).collect();
    let again = lines.iter().enumerate().filter(|(place, line)| lines[..*place].contains(line)).count();
    assert!(again * 4 <= lines.len(), "{again} of {} lines come again: {text}", lines.len());
}
