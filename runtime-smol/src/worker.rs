//! The inference thread, as the drive sees it: commands in, events out, both through bounded queues.
//!
//! The thread owns the model and its scheduler. It loads the model, fetching it first if need be, and runs step after
//! step while there is work; between steps it looks for commands. The server lives with or without it: what cannot be
//! answered is answered with a failure at once.

mod engine;
mod fetching;
mod task;
mod thread;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};

use causerie_core::{
    FinishReason, GenerationFailure, GenerationId, GenerationNotice, Sampling, SessionId, Timings, Usage,
};
use smol::channel::Sender;

use crate::config::EngineOptions;
use crate::fetch::{FetchOptions, ModelSource};
use crate::limits;
use crate::metrics::EngineLoad;
use crate::store::Conversation;
pub(crate) use task::{Answer, Asker, Embedded, Likely, Task, TaskEvent, TaskFailure, TaskInput};

/// What the thread is told at its start.
#[derive(Clone, Debug)]
pub(crate) struct WorkerOptions {
    /// Which model.
    pub(crate) source: ModelSource,
    /// How to fetch it.
    pub(crate) fetch: FetchOptions,
    /// How to run it.
    pub(crate) engine: EngineOptions,
    /// The file in which its keys and values outlast the process.
    pub(crate) saved: Option<PathBuf>,
    /// Where it writes what it has to do.
    pub(crate) load: Arc<EngineLoad>,
}

/// What the thread is doing about a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Nothing yet.
    Starting,
    /// Bytes of it are coming.
    Fetching {
        /// Its name.
        model: String,
        /// Bytes that are here.
        done: u64,
        /// Bytes there will be, where the source says so.
        total: Option<u64>,
    },
    /// Its file is here and is being read.
    Loading {
        /// Its name.
        model: String,
    },
    /// It answers.
    Ready {
        /// Its name.
        model: String,
        /// Tokens of a conversation that it can look at.
        context: usize,
    },
    /// There is none to be had; the thread goes on looking.
    Unavailable {
        /// Why, and what to do.
        reason: String,
    },
}

impl Status {
    /// In a word.
    pub(crate) fn state(&self) -> &'static str {
        match self {
            Status::Starting => "starting",
            Status::Fetching { .. } => "fetching",
            Status::Loading { .. } => "loading",
            Status::Ready { .. } => "ready",
            Status::Unavailable { .. } => "unavailable",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Starting => f.write_str("the server is starting"),
            Status::Fetching { model, done, total: Some(total) } if *total > 0 => {
                write!(f, "the model {model} is being fetched: {} %", done.saturating_mul(100) / total)
            }
            Status::Fetching { model, .. } => write!(f, "the model {model} is being fetched"),
            Status::Loading { model } => write!(f, "the model {model} is being loaded"),
            Status::Ready { model, .. } => write!(f, "the model {model} is ready"),
            Status::Unavailable { reason } => f.write_str(reason),
        }
    }
}

/// What the thread tells the drive.
#[derive(Debug)]
pub(crate) enum Event {
    /// What it does about a model has changed.
    Status(Status),
    /// A generation has produced text.
    Text { generation: GenerationId, text: String },
    /// People should know this about a generation.
    Notice { generation: GenerationId, notice: GenerationNotice },
    /// A generation has ended.
    Generated { generation: GenerationId, reason: FinishReason, usage: Usage, timings: Timings },
    /// A generation has broken, or could not begin.
    Failed { generation: GenerationId, failure: GenerationFailure },
}

/// What a generation is made from.
#[derive(Debug)]
pub(crate) struct Generate {
    pub(crate) generation: GenerationId,
    pub(crate) session: SessionId,
    pub(crate) conversation: Conversation,
    pub(crate) sampling: Sampling,
}

/// What the thread is told.
#[derive(Debug)]
enum Command {
    Work(Box<Work>),
    Cancel(GenerationId),
    /// A session was deleted.
    Forget(SessionId),
    /// Another model is to answer, of which the file is here.
    Switch(ModelSource, #[expect(dead_code, reason = "as long as it exists, no other is wished for")] Arc<()>),
    Reload(#[expect(dead_code, reason = "as long as it exists, no further reload is needed")] Arc<()>),
    /// Of the thread that fetches, if the model had to be fetched.
    Fetched(Result<PathBuf, String>),
    Stop,
}

/// What the model is to answer.
#[derive(Debug)]
enum Work {
    /// For the hub.
    Generation(Generate),
    /// For somebody else.
    Task(Task, task::Asked),
}

/// The end of a generation that was stopped before the model was asked.
pub(crate) fn stopped_unheard(generation: GenerationId) -> Event {
    let (usage, timings) = (Usage::default(), Timings::default());
    Event::Generated { generation, reason: FinishReason::Stopped, usage, timings }
}

/// The drive's end of the thread.
#[derive(Debug)]
pub(crate) struct Worker {
    commands: SyncSender<Command>,
    asker: Asker,
    /// Generations that were given and have not ended: each puts at most two commands into the queue, which is why the queue
    /// has room for them.
    running: HashMap<GenerationId, Running>,
    /// Of the conversations of all of them.
    bytes: usize,
    /// Shared with a reload that the thread has not taken yet.
    reload: Arc<()>,
    /// Closed when the thread has ended. Nothing comes.
    ended: Receiver<()>,
}

/// A generation that was given and has not ended.
#[derive(Debug)]
struct Running {
    cancelled: bool,
    /// Of its conversation.
    bytes: usize,
}

/// Room for two commands of each generation, one of each task, and for those that belong to none.
const QUEUE: usize = 2 * limits::WORKER_GENERATIONS + limits::WORKER_TASKS + 16;

impl Worker {
    /// Starts the thread. It ends with the value that is returned, after the step that it is in.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(options: WorkerOptions, events: Sender<Event>) -> io::Result<Worker> {
        let (commands, inbox) = sync_channel(QUEUE);
        let thread = thread::Thread::new(options, commands.clone(), inbox, events);
        let (running, ended) = sync_channel(0);
        std::thread::Builder::new().name("inference".to_owned()).spawn(move || {
            thread.run();
            drop(running);
        })?;
        let asker = Asker::new(commands.clone());
        Ok(Worker { commands, asker, running: HashMap::new(), bytes: 0, reload: Arc::new(()), ended })
    }

    /// The way for what is asked besides the hub's generations.
    pub(crate) fn asker(&self) -> Asker {
        self.asker.clone()
    }

    /// Gives the thread a conversation to answer.
    ///
    /// # Errors
    /// `Overloaded` when [`limits::WORKER_GENERATIONS`] are with it already, or conversations of
    /// [`limits::WORKER_CONVERSATION_BYTES`].
    pub(crate) fn generate(&mut self, generate: Generate) -> Result<(), GenerationFailure> {
        let (generation, bytes) = (generate.generation, generate.conversation.bytes());
        if self.running.len() >= limits::WORKER_GENERATIONS || self.bytes + bytes > limits::WORKER_CONVERSATION_BYTES {
            return Err(GenerationFailure::Overloaded);
        }
        self.give(Command::Work(Box::new(Work::Generation(generate))))
            .map_err(|NotTaken| GenerationFailure::Internal)?;
        self.running.insert(generation, Running { cancelled: false, bytes });
        self.bytes += bytes;
        Ok(())
    }

    /// Ends a generation early; its end comes as an event all the same.
    pub(crate) fn cancel(&mut self, generation: GenerationId) {
        if let Some(running) = self.running.get_mut(&generation).filter(|running| !running.cancelled) {
            running.cancelled = true;
            let _ = self.give(Command::Cancel(generation));
        }
    }

    /// Forgets what was computed of a session, since it was deleted. Without a model nothing is in memory, and what an
    /// earlier one saved stays until the next one saves.
    pub(crate) fn forget(&self, session: SessionId) {
        let _ = self.give(Command::Forget(session));
    }

    /// Loads the model anew. Wishes that come before the thread has seen the first count as one, so that they take no
    /// more than one place of the queue.
    pub(crate) fn reload(&self) {
        if Arc::strong_count(&self.reload) == 1 {
            let _ = self.give(Command::Reload(self.reload.clone()));
        }
    }

    /// To be called with every event that comes: it keeps the books.
    pub(crate) fn note(&mut self, event: &Event) {
        if let Event::Generated { generation, .. } | Event::Failed { generation, .. } = event {
            self.bytes -= self.running.remove(generation).map_or(0, |running| running.bytes);
        }
    }

    fn give(&self, command: Command) -> Result<(), NotTaken> {
        self.commands.try_send(command).map_err(|error| {
            match error {
                TrySendError::Full(command) => tracing::warn!(?command, "the inference thread has too many commands"),
                TrySendError::Disconnected(_) => tracing::error!("the inference thread has ended"),
            }
            NotTaken
        })
    }
}

/// The thread took no command; why stands in the log.
#[derive(Clone, Copy, Debug)]
struct NotTaken;

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.commands.try_send(Command::Stop);
        // For what it saves. That may be lost, too: a step or the loading of a large model can take longer than people wait.
        if self.ended.recv_timeout(limits::SAVE_TIME) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the inference thread did not end in time; what it computed last is not saved");
        }
    }
}

#[cfg(test)]
mod tests {
    use causerie_core::MessageRole;

    use super::*;
    use crate::store::ConversationTurn;

    fn worker() -> (Worker, Receiver<Command>) {
        let (commands, inbox) = sync_channel(QUEUE);
        let (_, ended) = sync_channel(0);
        let asker = Asker::new(commands.clone());
        (Worker { commands, asker, running: HashMap::new(), bytes: 0, reload: Arc::new(()), ended }, inbox)
    }

    /// A generation about a message of so many bytes.
    fn generate(number: u64, bytes: usize) -> Generate {
        let turn = ConversationTurn { role: MessageRole::User, username: None, content: "x".repeat(bytes) };
        let conversation = Conversation { system: None, turns: vec![turn], cut: false };
        let (generation, session) = (GenerationId(number), SessionId(causerie_core::Uuid([1; 16])));
        Generate { generation, session, conversation, sampling: Sampling::default() }
    }

    #[test]
    fn as_many_generations_as_there_is_room_for_and_one_more() {
        let (mut worker, _inbox) = worker();
        for number in 0..limits::WORKER_GENERATIONS as u64 {
            assert_eq!(worker.generate(generate(number, 1)), Ok(()), "{number}");
        }
        assert_eq!(worker.generate(generate(u64::MAX, 1)), Err(GenerationFailure::Overloaded));
        worker.note(&stopped_unheard(GenerationId(7)));
        assert_eq!(worker.generate(generate(u64::MAX, 1)), Ok(()));
    }

    #[test]
    fn as_many_bytes_as_there_is_room_for_and_one_more() {
        let (mut worker, inbox) = worker();
        let each = limits::WORKER_CONVERSATION_BYTES / 8;
        for number in 0..8 {
            assert_eq!(worker.generate(generate(number, each)), Ok(()));
            // The thread has it.
            drop(inbox.try_recv());
        }
        assert_eq!(worker.generate(generate(8, 1)), Err(GenerationFailure::Overloaded));
        worker.note(&stopped_unheard(GenerationId(0)));
        assert_eq!(worker.generate(generate(8, each)), Ok(()));
    }

    #[test]
    fn many_reloads_leave_the_queue_to_others() {
        let (mut worker, inbox) = worker();
        for _ in 0..10 * QUEUE {
            worker.reload();
        }
        assert_eq!(worker.generate(generate(1, 1)), Ok(()));
        assert!(matches!(inbox.try_recv(), Ok(Command::Reload(_))));
        assert!(matches!(inbox.try_recv(), Ok(Command::Work(_))));
        assert!(inbox.try_recv().is_err());
        // What is wished after the thread has taken it is a new wish.
        worker.reload();
        assert!(matches!(inbox.try_recv(), Ok(Command::Reload(_))));
    }
}
