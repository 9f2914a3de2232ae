//! What the inference thread does: obtain a model, load it, answer with it; and, whatever goes wrong, start over.

use std::collections::{HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError};
use std::time::{Duration, Instant, SystemTime};

use causerie_core::{GenerationFailure, GenerationId};
use smol::channel::Sender;

use super::engine::Engine;
use super::fetching::Fetching;
use super::{Command, Event, Status, TaskEvent, TaskFailure, Work, WorkerOptions};
use crate::fetch::{self, ModelSource};
use crate::limits;

/// Why the thread has no engine any more, or none yet.
enum Ended {
    /// The server stops.
    Stop,
    /// Load again, at once.
    Reload,
    /// There is no model, for this reason and until then.
    Unavailable(String, Until),
}

/// When it is worth while to look for a model again.
enum Until {
    /// When there is a file.
    Found,
    /// Then too, or when it is time to try the network again.
    FoundOr(Instant),
    /// When there is another file than this one, which is no good.
    Changed(Option<Stamp>),
    /// When a moment has passed.
    Later(Instant),
}

/// Tells a file from what stood in its place before.
#[derive(PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
}

pub(super) struct Thread {
    options: WorkerOptions,
    /// For the thread that fetches.
    commands: SyncSender<Command>,
    inbox: Receiver<Command>,
    events: Sender<Event>,
    told: Status,
    /// With the engine; told to have failed if the engine breaks.
    running: HashSet<GenerationId>,
    /// Came while a reload waited for running answers to end; for the next engine.
    deferred: VecDeque<Box<Work>>,
    /// The model before another one was wished for, until that one answers.
    previous: Option<ModelSource>,
}

impl Thread {
    pub(super) fn new(
        options: WorkerOptions,
        commands: SyncSender<Command>,
        inbox: Receiver<Command>,
        events: Sender<Event>,
    ) -> Thread {
        let (running, deferred) = (HashSet::new(), VecDeque::new());
        Thread { options, commands, inbox, events, told: Status::Starting, running, deferred, previous: None }
    }

    /// Until the server stops.
    pub(super) fn run(mut self) {
        loop {
            // The engine is gone when it has panicked, and what stays in `self` is whole between any two lines.
            let ended = catch_unwind(AssertUnwindSafe(|| self.live())).unwrap_or_else(|_| {
                let reason = "the engine has failed (the log says where); it starts again".to_owned();
                Ended::Unavailable(reason, Until::Later(Instant::now() + limits::ENGINE_PAUSE))
            });
            let go_on = match ended {
                Ended::Stop => false,
                Ended::Reload => true,
                Ended::Unavailable(reason, until) => {
                    self.give_up(reason);
                    self.wait(&until)
                }
            };
            if !go_on {
                return;
            }
        }
    }

    /// One engine's life. What is asked while it loads stays in the inbox.
    fn live(&mut self) -> Ended {
        let path = match self.obtain() {
            Ok(path) => path,
            Err(ended) => return ended,
        };
        self.tell(Status::Loading { model: self.options.source.to_string() });
        // Taken before: another file that comes while this one is being read is to be noticed.
        let stamp = self.stamp();
        let mut engine = match Engine::load(&path, &self.options.engine, self.options.saved.clone()) {
            Ok(engine) => engine,
            Err(error) => {
                let reason = format!("the model {} cannot be used: {error}", path.display());
                if let Some(previous) = self.previous.take() {
                    tracing::error!("{reason}; the chat goes on with {previous}");
                    self.options.source = previous;
                    return Ended::Reload;
                }
                return Ended::Unavailable(reason, Until::Changed(stamp));
            }
        };
        self.previous = None;
        self.options.load.set((0, 0), engine.pages());
        self.options.load.set_context(engine.context());
        self.tell(Status::Ready { model: engine.name().to_owned(), context: engine.context() });
        let ended = self.answer(&mut engine);
        engine.save();
        ended
    }

    /// Another model is to be loaded next; if it is no good, this one again.
    fn switch(&mut self, source: ModelSource) {
        self.previous = Some(std::mem::replace(&mut self.options.source, source));
    }

    /// The model's file, fetched if it has to be. Meanwhile everything is answered with "unavailable".
    fn obtain(&mut self) -> Result<PathBuf, Ended> {
        if let Some(path) = self.find() {
            return Ok(path);
        }
        self.give_up_running();
        let fetching = Fetching::start(&self.options, self.commands.clone(), self.events.clone());
        let fetching = fetching.map_err(|error| {
            let reason = format!("no thread can be started to fetch the model: {error}");
            Ended::Unavailable(reason, Until::Later(Instant::now() + limits::MODEL_FETCH_RETRY))
        })?;
        loop {
            match self.inbox.recv() {
                Ok(Command::Fetched(Ok(path))) => return Ok(path),
                Ok(Command::Fetched(Err(reason))) => {
                    let local = self.options.fetch.offline || matches!(self.options.source, ModelSource::File(_));
                    let again = Instant::now() + limits::MODEL_FETCH_RETRY;
                    return Err(Ended::Unavailable(reason, if local { Until::Found } else { Until::FoundOr(again) }));
                }
                Ok(Command::Work(work)) => self.refuse(&work),
                Ok(Command::Cancel(_) | Command::Reload(_) | Command::Forget(_)) => {}
                Ok(Command::Switch(source, _)) => {
                    fetching.cancel();
                    self.switch(source);
                    return Err(Ended::Reload);
                }
                Ok(Command::Stop) | Err(_) => {
                    fetching.cancel();
                    return Err(Ended::Stop);
                }
            }
        }
    }

    /// Answers until a reload or the end.
    fn answer(&mut self, engine: &mut Engine) -> Ended {
        let mut reloading = false;
        while let Some(work) = self.deferred.pop_front() {
            self.begin(engine, *work);
        }
        loop {
            // With work, only what is there already; without, the thread sleeps.
            loop {
                let command = match self.inbox.try_recv() {
                    Err(TryRecvError::Empty) if engine.has_work() => break,
                    Err(TryRecvError::Empty) if reloading => return Ended::Reload,
                    Err(TryRecvError::Empty) => match self.inbox.recv_timeout(engine.pause()) {
                        Ok(command) => command,
                        Err(RecvTimeoutError::Disconnected) => Command::Stop,
                        Err(RecvTimeoutError::Timeout) => {
                            engine.save_some();
                            continue;
                        }
                    },
                    Err(TryRecvError::Disconnected) => Command::Stop,
                    Ok(command) => command,
                };
                match command {
                    // Running answers end with the model that they began with; new ones wait for the next.
                    Command::Work(work) if reloading => self.deferred.push_back(work),
                    Command::Work(work) => self.begin(engine, *work),
                    Command::Cancel(generation) => self.cancel(engine, generation),
                    Command::Forget(session) => engine.forget(session),
                    Command::Reload(_) => reloading = true,
                    Command::Switch(source, _) => {
                        self.switch(source);
                        reloading = true;
                    }
                    Command::Fetched(_) => {}
                    Command::Stop => return Ended::Stop,
                }
            }
            let Thread { events, running, .. } = self;
            engine.step(&mut |event| send(events, running, event));
            self.options.load.set(engine.load_now(), engine.pages());
        }
    }

    fn begin(&mut self, engine: &mut Engine, work: Work) {
        match work {
            Work::Generation(generate) => {
                self.running.insert(generate.generation);
                let Thread { events, running, .. } = self;
                engine.begin(generate, &mut |event| send(events, running, event));
            }
            Work::Task(task, asked) => engine.begin_task(task, asked),
        }
    }

    fn cancel(&mut self, engine: &mut Engine, generation: GenerationId) {
        let is_it = |work: &Work| matches!(work, Work::Generation(generate) if generate.generation == generation);
        if let Some(at) = self.deferred.iter().position(|work| is_it(work)) {
            self.deferred.remove(at);
            self.event(super::stopped_unheard(generation));
        } else {
            engine.cancel(generation);
        }
    }

    /// Waits without a model. False: the server stops.
    fn wait(&mut self, until: &Until) -> bool {
        loop {
            match self.inbox.recv_timeout(pause(until)) {
                Ok(Command::Work(work)) => self.refuse(&work),
                Ok(Command::Reload(_)) => return true,
                Ok(Command::Switch(source, _)) => {
                    self.switch(source);
                    return true;
                }
                Ok(Command::Cancel(_) | Command::Fetched(_) | Command::Forget(_)) => {}
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            let again = match until {
                Until::Found => self.find().is_some(),
                Until::FoundOr(at) => *at <= now || self.find().is_some(),
                Until::Changed(stamp) => self.stamp() != *stamp,
                Until::Later(at) => *at <= now,
            };
            if again {
                return true;
            }
        }
    }

    fn find(&self) -> Option<PathBuf> {
        fetch::find(&self.options.source, &self.options.fetch.cache)
    }

    fn stamp(&self) -> Option<Stamp> {
        let file = std::fs::metadata(self.find()?).ok()?;
        Some(Stamp { bytes: file.len(), modified: file.modified().ok() })
    }

    /// There is no model for now: nobody waits for it in vain.
    fn give_up(&mut self, reason: String) {
        if !matches!(&self.told, Status::Unavailable { reason: told } if *told == reason) {
            tracing::error!("no model, so chats are stored and not answered: {reason}");
        }
        // People hear that it has failed, and only then that there is none.
        let told = std::mem::replace(&mut self.told, Status::Unavailable { reason });
        self.give_up_running();
        if self.told != told {
            self.event(Event::Status(self.told.clone()));
        }
    }

    fn give_up_running(&mut self) {
        for work in std::mem::take(&mut self.deferred) {
            self.refuse(&work);
        }
        for generation in std::mem::take(&mut self.running) {
            self.event(Event::Failed { generation, failure: GenerationFailure::Internal });
        }
    }

    fn refuse(&self, work: &Work) {
        match work {
            Work::Generation(generate) => {
                let (generation, failure) = (generate.generation, GenerationFailure::Unavailable);
                self.event(Event::Failed { generation, failure });
            }
            Work::Task(_, asked) => asked.tell(TaskEvent::Failed(TaskFailure::Unavailable(self.told.to_string()))),
        }
    }

    fn tell(&mut self, status: Status) {
        if self.told != status {
            self.told = status.clone();
            self.event(Event::Status(status));
        }
    }

    fn event(&self, event: Event) {
        // Waits when the drive is behind. It fails when the drive has gone, and then `Stop` is on its way.
        let _ = self.events.send_blocking(event);
    }
}

fn pause(until: &Until) -> Duration {
    match until {
        Until::Later(at) => at.saturating_duration_since(Instant::now()),
        Until::Found | Until::FoundOr(_) | Until::Changed(_) => limits::MODEL_LOOK,
    }
}

fn send(events: &Sender<Event>, running: &mut HashSet<GenerationId>, event: Event) {
    if let Event::Generated { generation, .. } | Event::Failed { generation, .. } = &event {
        running.remove(generation);
    }
    let _ = events.send_blocking(event);
}
