//! What the model is asked besides the hub's generations: by the API.
//!
//! A task goes to the inference thread like a generation does, but its events come to whoever asked, and who stops
//! listening has cancelled it: the thread looks, between steps, whether anybody is there.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::task::{Context, Poll};

use causerie_inference::chat::{Step, ToolCall, Turn};
use causerie_inference::scheduler::{FinishReason, Timings, Usage};
use causerie_inference::{Grammar, SamplingOverrides, TokenLogprob, Tokenizer};
use serde_json::Value;
use smol::channel::{Receiver, Sender};
use smol::stream::Stream;

use super::{Command, Work};
use crate::fetch::ModelSource;
use crate::limits;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Task {
    /// What the model is to go on from.
    pub(crate) input: TaskInput,
    /// What differs from the model's own sampling.
    pub(crate) sampling: SamplingOverrides,
    /// Tokens of the answer, at most; `None` for [`limits::DEFAULT_ANSWER_TOKENS`].
    pub(crate) max_tokens: Option<u32>,
    /// Text that ends the answer.
    pub(crate) stop: Vec<String>,
    /// What form the answer has to have.
    pub(crate) grammar: Option<Grammar>,
}

/// What a task goes on from.
#[derive(Clone, Debug)]
pub(crate) enum TaskInput {
    /// A conversation, by the model's template. What does not fit is dropped from the oldest on.
    Chat {
        /// What was said, and called.
        steps: Vec<Step>,
        /// What may be called, in the form of the API's chat. [`Step`] says how the model is told of it, which is decided
        /// where the model is.
        tools: Vec<Value>,
    },
    /// Text as it stands, after the model's token for a beginning if it has one.
    Text(String),
    /// Tokens as they stand.
    Tokens(Vec<u32>),
    /// Texts whose embeddings are wanted, at most [`MAX_EMBEDDED`](causerie_inference::scheduler::MAX_EMBEDDED): nothing is generated,
    /// and what is said of an answer does not matter.
    Embed(Vec<Embedded>),
}

/// A text whose embedding is wanted.
#[derive(Clone, Debug)]
pub(crate) enum Embedded {
    /// As people write it; with what the model was trained to see before and behind it.
    Text(String),
    /// Tokens as they stand.
    Tokens(Vec<u32>),
}

impl Embedded {
    fn bytes(&self) -> usize {
        size_of::<Embedded>()
            + match self {
                Embedded::Text(text) => text.len(),
                Embedded::Tokens(tokens) => size_of_val(tokens.as_slice()),
            }
    }
}

impl Default for TaskInput {
    fn default() -> TaskInput {
        TaskInput::Text(String::new())
    }
}

impl TaskInput {
    fn bytes(&self) -> usize {
        match self {
            TaskInput::Chat { steps, tools } => {
                let tools: usize = tools.iter().map(|tool| tool.to_string().len()).sum();
                tools + steps.iter().map(step_bytes).sum::<usize>()
            }
            TaskInput::Text(text) => text.len(),
            TaskInput::Tokens(tokens) => size_of_val(tokens.as_slice()),
            TaskInput::Embed(texts) => texts.iter().map(Embedded::bytes).sum(),
        }
    }
}

fn step_bytes(step: &Step) -> usize {
    size_of::<Step>()
        + match step {
            Step::Said(Turn { content, .. }) => content.len(),
            Step::Called { content, calls } => {
                let call =
                    |call: &ToolCall| size_of::<ToolCall>() + call.id.len() + call.name.len() + call.arguments.len();
                content.len() + calls.iter().map(call).sum::<usize>()
            }
            Step::Result { call, content } => call.len() + content.len(),
        }
}

/// What becomes of a task: any number of the others, then `Finished` or `Failed`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TaskEvent {
    /// The conversation was longer than the context: so many of its oldest messages are left out. Comes first, and only then.
    Shortened { dropped: usize },
    /// A token of the answer, if probabilities are asked for; its text follows.
    Token { chosen: Likely, top: Vec<Likely> },
    /// More of the answer, in whole characters.
    Text(String),
    /// The embedding of a text, of length 1; which one, counted from 0. They come in any order.
    Embedded { text: usize, vector: Vec<f32> },
    /// The end.
    Finished { reason: FinishReason, usage: Usage, timings: Timings },
    /// The end, for another reason.
    Failed(TaskFailure),
}

/// A token and what the model thought of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Likely {
    /// Of its text: not always whole characters.
    pub(crate) bytes: Vec<u8>,
    /// The natural logarithm of its probability; -inf for an impossible one.
    pub(crate) logprob: f32,
}

impl Likely {
    /// Of a tokenizer's token.
    pub(super) fn new(tokenizer: &Tokenizer, of: TokenLogprob) -> Likely {
        Likely { bytes: tokenizer.token_bytes(of.token).to_vec(), logprob: of.logprob }
    }
}

/// Why a task is not answered, or not to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TaskFailure {
    /// There is no model now, for this reason.
    Unavailable(String),
    /// [`limits::WORKER_TASKS`] or [`limits::WORKER_TASK_BYTES`] are with the thread already.
    Overloaded,
    /// The prompt has so many tokens, and there is room for less.
    TooLong { tokens: usize, context: usize },
    /// What is asked makes no sense: a faulty grammar, an unknown token. What is wrong, for whoever asked.
    Invalid(String),
    /// Something broke; the log says what.
    Internal,
}

/// A way to the inference thread for tasks.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    commands: SyncSender<Command>,
    load: Arc<Load>,
}

impl Asker {
    pub(super) fn new(commands: SyncSender<Command>) -> Asker {
        Asker { commands, load: Arc::default() }
    }

    /// Puts a task behind what the thread has to do already. Never waits.
    ///
    /// # Errors
    /// [`TaskFailure::Overloaded`], and [`TaskFailure::Internal`] when the thread has ended.
    pub(crate) fn ask(&self, task: Task) -> Result<Answer, TaskFailure> {
        let permit = Permit::take(&self.load, task.input.bytes()).ok_or(TaskFailure::Overloaded)?;
        // Not bounded in itself: a task puts in at most two events for each of its tokens, and two more.
        let (events, answer) = smol::channel::unbounded();
        let asked = Asked { events, _permit: permit };
        // The queue has room for as many tasks as there are permits.
        match self.commands.try_send(Command::Work(Box::new(Work::Task(task, asked)))) {
            Ok(()) => Ok(Answer { events: Box::pin(answer) }),
            Err(error) => {
                tracing::error!(%error, "the inference thread takes no task");
                Err(TaskFailure::Internal)
            }
        }
    }

    /// Makes another model answer, whose file is here; running answers end with the one that they began with. `wish` lives until
    /// the thread has taken it. False: the thread takes nothing.
    pub(crate) fn switch(&self, source: ModelSource, wish: Arc<()>) -> bool {
        self.commands.try_send(Command::Switch(source, wish)).is_ok()
    }

    /// Tasks that are with the thread, running or waiting.
    pub(crate) fn tasks(&self) -> usize {
        self.load.tasks.load(Ordering::Relaxed)
    }
}

/// What comes of a task. Dropping it cancels the task.
#[derive(Debug)]
pub(crate) struct Answer {
    events: Pin<Box<Receiver<TaskEvent>>>,
}

impl Answer {
    /// The next event; after the last one, `Failed` for ever. Who waits for several answers at once polls each.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<TaskEvent> {
        // Without an end the channel closes only when the engine breaks.
        self.events.as_mut().poll_next(context).map(|event| event.unwrap_or(TaskEvent::Failed(TaskFailure::Internal)))
    }
}

/// The inference thread's end of a task.
#[derive(Debug)]
pub(super) struct Asked {
    events: Sender<TaskEvent>,
    _permit: Permit,
}

impl Asked {
    pub(super) fn tell(&self, event: TaskEvent) {
        // Whoever asked may have gone, which `is_over` tells.
        let _ = self.events.try_send(event);
    }

    /// Whether nobody listens any more.
    pub(super) fn is_over(&self) -> bool {
        self.events.is_closed()
    }
}

/// Of the tasks that are with a thread.
#[derive(Debug, Default)]
struct Load {
    tasks: AtomicUsize,
    bytes: AtomicUsize,
}

/// A task's part of the load; given back when it is dropped.
#[derive(Debug)]
struct Permit {
    load: Arc<Load>,
    bytes: usize,
}

impl Permit {
    fn take(load: &Arc<Load>, bytes: usize) -> Option<Permit> {
        let tasks = load.tasks.fetch_add(1, Ordering::Relaxed);
        let before = load.bytes.fetch_add(bytes, Ordering::Relaxed);
        let permit = Permit { load: load.clone(), bytes };
        (tasks < limits::WORKER_TASKS && before.saturating_add(bytes) <= limits::WORKER_TASK_BYTES).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.load.tasks.fetch_sub(1, Ordering::Relaxed);
        self.load.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::mpsc::sync_channel;

    use super::*;

    fn text(bytes: usize) -> Task {
        Task { input: TaskInput::Text("x".repeat(bytes)), ..Task::default() }
    }

    #[test]
    fn as_many_tasks_as_there_is_room_for_and_one_more() {
        let (commands, inbox) = sync_channel(limits::WORKER_TASKS + 1);
        let asker = Asker::new(commands);
        let answers: Vec<_> = (0..limits::WORKER_TASKS).map(|_| asker.ask(text(1)).unwrap()).collect();
        assert_eq!(asker.ask(text(1)).unwrap_err(), TaskFailure::Overloaded);
        assert_eq!(asker.tasks(), limits::WORKER_TASKS);
        // The thread has ended one of them.
        drop(inbox.recv());
        drop(asker.ask(text(1)).unwrap());
        drop(answers);
    }

    #[test]
    fn as_many_bytes_as_there_is_room_for_and_one_more() {
        let (commands, _inbox) = sync_channel(8);
        let asker = Asker::new(commands);
        let first = asker.ask(text(limits::WORKER_TASK_BYTES)).unwrap();
        assert_eq!(asker.ask(text(1)).unwrap_err(), TaskFailure::Overloaded);
        drop(first);
    }

    #[test]
    fn a_task_whose_engine_breaks_has_failed_and_one_that_nobody_waits_for_is_over() {
        let (commands, inbox) = sync_channel(8);
        let asker = Asker::new(commands);
        let mut answer = asker.ask(text(1)).unwrap();
        drop(inbox.recv());
        assert_eq!(
            smol::block_on(poll_fn(|context| answer.poll_next(context))),
            TaskEvent::Failed(TaskFailure::Internal)
        );
        drop(asker.ask(text(1)).unwrap());
        let Ok(Command::Work(work)) = inbox.recv() else { panic!("a task was given") };
        let Work::Task(_, asked) = *work else { panic!("it was a task") };
        assert!(asked.is_over());
    }
}
