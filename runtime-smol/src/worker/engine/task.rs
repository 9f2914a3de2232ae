//! Tasks in the engine's terms.

use std::collections::HashMap;

use causerie_inference::chat::{self, Prompt, PromptError, Step};
use causerie_inference::scheduler;
use causerie_inference::tokenizer::Special;
use causerie_inference::{Request, Scheduler, SequenceId, SubmitError, TokenLogprob, Tokenizer};
use serde_json::Value;

use super::super::task::{Asked, Likely, Task, TaskEvent, TaskFailure, TaskInput};
use super::{Engine, answer_tokens};

impl Engine {
    /// Takes a task on, or tells why not.
    pub(in super::super) fn begin_task(&mut self, task: Task, asked: Asked) {
        if asked.is_over() {
            return;
        }
        let Task { input, sampling, max_tokens, stop, grammar } = task;
        let max_tokens = answer_tokens(max_tokens);
        let prompt = match input {
            TaskInput::Embed(texts) => return self.embed(texts, asked),
            TaskInput::Chat { steps, tools } => self.chat_prompt(&tools, &steps, max_tokens, &asked),
            TaskInput::Text(text) => Ok(self.text_prompt(&text)),
            TaskInput::Tokens(tokens) => Ok(tokens),
        };
        let own = self.model.sampling().clone();
        let submitted = prompt.and_then(|prompt| {
            let sampling = own.with(&sampling).map_err(|error| TaskFailure::Invalid(error.to_string()))?;
            let request = Request { prompt, sampling, max_tokens, stop, grammar, session: None };
            self.scheduler.submit(request).map_err(|error| unsubmittable(&error))
        });
        match submitted {
            Ok(sequence) => drop(self.tasks.insert(sequence, asked)),
            Err(failure) => asked.tell(TaskEvent::Failed(failure)),
        }
    }

    fn chat_prompt(
        &self,
        tools: &[Value],
        steps: &[Step],
        max_tokens: usize,
        asked: &Asked,
    ) -> Result<Vec<u32>, TaskFailure> {
        let (tokenizer, template) = (self.model.tokenizer(), self.model.template());
        let prompt = |room| chat::prompt_with_tools(tokenizer, template, tools, steps, room);
        let prompted = self.prompt(prompt, max_tokens);
        let prompted = prompted.map_err(|error| unpromptable(&error, self.scheduler.context()))?;
        let Prompt { tokens, dropped_turns: dropped } = prompted;
        if dropped > 0 {
            asked.tell(TaskEvent::Shortened { dropped });
        }
        Ok(tokens)
    }

    fn text_prompt(&self, text: &str) -> Vec<u32> {
        let tokenizer = self.model.tokenizer();
        let mut tokens = Vec::new();
        tokenizer.encode(text, Special::Parse, tokenizer.adds_begin(), &mut tokens);
        // A model that knows no beginning needs something to go on from.
        if tokens.is_empty() {
            tokens.extend(tokenizer.begin().or(tokenizer.end()));
        }
        tokens
    }
}

/// Ends what nobody waits for any more, in the next step.
pub(super) fn cancel_unheard(scheduler: &mut Scheduler, tasks: &HashMap<SequenceId, Asked>) {
    for (&sequence, _) in tasks.iter().filter(|(_, asked)| asked.is_over()) {
        scheduler.cancel(sequence);
    }
}

/// Tells whoever asked what has become of a sequence.
pub(super) fn tell(
    tasks: &mut HashMap<SequenceId, Asked>,
    tokenizer: &Tokenizer,
    sequence: SequenceId,
    event: scheduler::Event<'_>,
) {
    let Some(asked) = tasks.get(&sequence) else { return };
    let event = match event {
        scheduler::Event::Text(text) => return asked.tell(TaskEvent::Text(text.to_owned())),
        scheduler::Event::Token { chosen, top } => {
            let likely = |&token: &TokenLogprob| Likely::new(tokenizer, token);
            return asked.tell(TaskEvent::Token { chosen: likely(&chosen), top: top.iter().map(likely).collect() });
        }
        scheduler::Event::Embedded { text, vector } => {
            return asked.tell(TaskEvent::Embedded { text, vector: vector.to_vec() });
        }
        scheduler::Event::Finished { reason, usage, timings } => TaskEvent::Finished { reason, usage, timings },
        scheduler::Event::Refused { error } => TaskEvent::Failed(TaskFailure::Invalid(error.to_string())),
        scheduler::Event::Failed { fault } => {
            tracing::error!(%fault, "a task of the API has failed; its client was told");
            TaskEvent::Failed(TaskFailure::Internal)
        }
    };
    asked.tell(event);
    tasks.remove(&sequence);
}

fn unpromptable(error: &PromptError, context: usize) -> TaskFailure {
    match error {
        PromptError::TooLong { tokens, .. } => TaskFailure::TooLong { tokens: *tokens, context },
        PromptError::Empty | PromptError::Template(_) => TaskFailure::Invalid(error.to_string()),
    }
}

pub(super) fn unsubmittable(error: &SubmitError) -> TaskFailure {
    match *error {
        SubmitError::Full { .. } => TaskFailure::Overloaded,
        SubmitError::PromptTooLong { tokens, context } => TaskFailure::TooLong { tokens, context },
        _ => TaskFailure::Invalid(error.to_string()),
    }
}
