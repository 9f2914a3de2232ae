//! One answer of the model while it comes: text, calls of tools, probabilities, and its end.

use serde_json::{Value, json};

use super::calls::{CallFinder, Piece};
use super::choices::finish_reason;
use super::id;
use crate::worker::{Likely, TaskEvent};

/// The least logarithm that is told: JSON has no infinity, and OpenAI writes it so.
const LEAST_LOGPROB: f32 = -9999.0;

/// A call of a tool.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    /// JSON; the beginning of it when the answer was cut off.
    pub(super) arguments: String,
}

/// What has come so far.
#[derive(Debug)]
pub(super) struct Reply {
    finder: CallFinder,
    pub(super) text: String,
    pub(super) calls: Vec<Call>,
    /// Not yet taken.
    logprobs: Option<Vec<Value>>,
    /// Set at the end.
    pub(super) finish: Option<&'static str>,
}

impl Reply {
    /// Of a model that may call tools of these names, with probabilities if they are wanted.
    pub(super) fn new(names: Vec<String>, logprobs: bool) -> Reply {
        let logprobs = logprobs.then(Vec::new);
        Reply { finder: CallFinder::new(names), text: String::new(), calls: Vec::new(), logprobs, finish: None }
    }

    /// Takes what comes, and gives what is new in it, each with the place of the call that it is of, if it is of one.
    pub(super) fn take(&mut self, event: TaskEvent) -> Vec<(usize, Piece)> {
        let mut pieces = Vec::new();
        match event {
            TaskEvent::Token { chosen, top } => {
                if let Some(logprobs) = &mut self.logprobs {
                    logprobs.push(token(&chosen, &top));
                }
            }
            TaskEvent::Text(text) => self.finder.push(&text, &mut pieces),
            TaskEvent::Finished { reason, .. } => {
                self.finder.finish(&mut pieces);
                let reason = finish_reason(reason);
                self.finish = Some(if reason == "stop" && self.finder.called() { "tool_calls" } else { reason });
            }
            // Of no answer, and told by `Choices`.
            TaskEvent::Shortened { .. } | TaskEvent::Embedded { .. } | TaskEvent::Failed(_) => {}
        }
        let told = pieces.into_iter().map(|piece| {
            match &piece {
                Piece::Text(text) => self.text.push_str(text),
                Piece::Call(name) => {
                    self.calls.push(Call { id: id("call_"), name: name.clone(), arguments: String::new() });
                }
                Piece::Arguments(json) => {
                    let call = self.calls.last_mut().expect("arguments come after the call that they are of");
                    call.arguments.push_str(json);
                }
            }
            (self.calls.len().saturating_sub(1), piece)
        });
        told.collect()
    }

    /// Probabilities that came since the last time, in the chat's form; `null` if there are none.
    pub(super) fn logprobs(&mut self) -> Value {
        match &mut self.logprobs {
            Some(tokens) if !tokens.is_empty() => json!({ "content": std::mem::take(tokens), "refusal": null }),
            _ => Value::Null,
        }
    }
}

fn token(chosen: &Likely, top: &[Likely]) -> Value {
    let mut token = likely(chosen);
    token["top_logprobs"] = top.iter().map(likely).collect();
    token
}

fn likely(token: &Likely) -> Value {
    json!({ "token": text(token), "logprob": logprob(token), "bytes": token.bytes })
}

/// A token's text; what is not whole characters is shown as U+FFFD.
pub(super) fn text(token: &Likely) -> String {
    String::from_utf8_lossy(&token.bytes).into_owned()
}

/// A token's logarithm of its probability, as JSON can hold it.
pub(super) fn logprob(token: &Likely) -> f32 {
    token.logprob.max(LEAST_LOGPROB)
}
