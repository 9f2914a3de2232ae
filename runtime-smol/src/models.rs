//! The models that answer, by name: the chat's, and others for the API.
//!
//! Each has an inference thread of its own, with its own team of threads and its own cache. Those that came by a request for
//! their name ([`Models::find`]) go again when nobody has asked for them for a while; those that were asked for by name at
//! the start, or by an administrator, stay.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use smol::channel::Receiver;
use smol::{LocalExecutor, Timer};

use crate::fetch::{self, HubNameError, ModelSource};
use crate::http::Health;
use crate::limits;
use crate::metrics::EngineLoad;
use crate::worker::{Asker, Event, Status, Worker, WorkerOptions};

/// Why a model is not loaded, or not let go.
#[derive(Debug)]
pub(crate) enum ModelError {
    /// It is none of those that are loaded.
    NotLoaded(String),
    /// It is loaded already.
    Loaded(String),
    /// The chat's model is not let go.
    Chats(String),
    /// It is not on this machine.
    NotHere(String),
    /// Its name is none.
    Name(HubNameError),
    /// [`limits::MODELS`] are loaded.
    TooMany,
    /// There is too little memory, in bytes.
    Memory {
        /// What it takes, about.
        needed: u64,
        /// What is free.
        free: u64,
    },
    /// The system gives no thread.
    Thread(io::Error),
    /// Another one is being made the chat's.
    Busy,
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: &u64| bytes >> 20;
        match self {
            ModelError::NotLoaded(name) => write!(f, "the model {name:?} is not loaded"),
            ModelError::Loaded(name) => write!(f, "the model {name:?} is loaded already"),
            ModelError::Chats(name) => write!(f, "{name:?} is the chat's model; make another the chat's first"),
            ModelError::NotHere(name) => {
                write!(f, "the model {name:?} is not on this machine; `causerie pull` fetches models")
            }
            ModelError::Name(error) => error.fmt(f),
            ModelError::TooMany => {
                write!(f, "{} models are loaded, which is the limit; let one go first", limits::MODELS)
            }
            ModelError::Memory { needed, free } => write!(
                f,
                "the model takes about {} MiB of memory, and {} MiB are free; let another one go first",
                mib(needed),
                mib(free)
            ),
            ModelError::Thread(error) => write!(f, "the system gives no thread: {error}"),
            ModelError::Busy => f.write_str("another model is being made the chat's; try again"),
        }
    }
}

impl std::error::Error for ModelError {}

/// Which models there are. The first is the chat's. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Models {
    shared: Rc<Shared>,
}

#[derive(Debug)]
struct Shared {
    executor: Weak<LocalExecutor<'static>>,
    /// Of the chat's model.
    health: Rc<Health>,
    chat: Asker,
    chat_load: Arc<EngineLoad>,
    /// Alive until the chat's thread has taken a wish for another model.
    switching: RefCell<std::sync::Weak<()>>,
    /// How others are run; the source is each one's own.
    options: WorkerOptions,
    others: RefCell<Vec<Rc<Model>>>,
    on_demand: bool,
}

/// A model beside the chat's.
#[derive(Debug)]
struct Model {
    source: ModelSource,
    /// Its file's, without the ending.
    name: RefCell<String>,
    /// Of its file; 0 until that is here.
    bytes: u64,
    asker: Asker,
    load: Arc<EngineLoad>,
    status: RefCell<Status>,
    /// When it was asked for last.
    used: Cell<Instant>,
    /// Whether it came by a request, and goes when it is not used.
    passing: bool,
    /// Taken when it is let go.
    worker: RefCell<Option<Worker>>,
}

impl Model {
    fn is(&self, name: &str) -> bool {
        *self.name.borrow() == name
    }
}

impl Models {
    /// With the chat's model alone. `options` are those of its thread, after which others are run; `on_demand` says whether
    /// [`Models::find`] loads what is in the cache.
    pub(crate) fn new(
        executor: &Rc<LocalExecutor<'static>>,
        health: Rc<Health>,
        chat: Asker,
        options: WorkerOptions,
        on_demand: bool,
    ) -> Models {
        let (executor, chat_load) = (Rc::downgrade(executor), options.load.clone());
        let (switching, others) = (RefCell::default(), RefCell::default());
        let shared = Shared { executor, health, chat, chat_load, switching, options, others, on_demand };
        Models { shared: Rc::new(shared) }
    }

    /// Names of those that can be asked, the chat's first: those that are ready, and those that a request loads.
    pub(crate) fn names(&self) -> Vec<String> {
        let Shared { others, on_demand, .. } = &*self.shared;
        let mut names: Vec<String> = self.chat_name().into_iter().collect();
        for model in others.borrow().iter() {
            if matches!(&*model.status.borrow(), Status::Ready { .. }) {
                names.push(model.name.borrow().clone());
            }
        }
        if *on_demand {
            for name in self.cached().iter().map(|path| name_of(path)) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }

    fn chat_name(&self) -> Option<String> {
        match self.shared.health.status() {
            Status::Ready { model, .. } => Some(model),
            _ => None,
        }
    }

    /// The way to a model; to the chat's if the name is empty. What is asked while it is being loaded waits for it. If models
    /// are loaded on demand, and the cache has one of this name, it is loaded.
    pub(crate) fn find(&self, name: &str) -> Option<Asker> {
        let Shared { health, chat, others, on_demand, .. } = &*self.shared;
        let known = match health.status() {
            Status::Ready { model, .. } => model == name,
            Status::Loading { model } => model == name || model.strip_suffix(".gguf") == Some(name),
            _ => false,
        };
        if known || name.is_empty() {
            return Some(chat.clone());
        }
        if let Some(model) = others.borrow().iter().find(|model| model.is(name)) {
            model.used.set(Instant::now());
            return Some(model.asker.clone());
        }
        let path = self.cached().into_iter().find(|path| *on_demand && name_of(path) == name)?;
        self.make_room();
        match self.start(ModelSource::File(path), true) {
            Ok(model) => Some(model.asker.clone()),
            Err(error) => {
                tracing::warn!("the model {name} was asked for and is not loaded: {error}");
                None
            }
        }
    }

    /// Loads a model beside the others; fetches it first if it is not here. Gives its name.
    ///
    /// # Errors
    /// When there are too many, too little memory, or it is loaded.
    pub(crate) fn load(&self, source: ModelSource) -> Result<String, ModelError> {
        let model = self.start(source, false)?;
        let name = model.name.borrow().clone();
        Ok(name)
    }

    /// Lets a model go: from now on nobody finds it, and its thread ends when it has answered what it was asked, or after
    /// [`limits::MODEL_UNLOAD`].
    ///
    /// # Errors
    /// When there is no such model beside the chat's.
    pub(crate) fn unload(&self, name: &str) -> Result<(), ModelError> {
        let mut others = self.shared.others.borrow_mut();
        let Some(at) = others.iter().position(|model| model.is(name)) else {
            let chats = self.chat_name().is_some_and(|chat| chat == name);
            return Err(if chats {
                ModelError::Chats(name.to_owned())
            } else {
                ModelError::NotLoaded(name.to_owned())
            });
        };
        let model = others.remove(at);
        tracing::info!("the model {name} is let go");
        if let Some(executor) = self.shared.executor.upgrade() {
            executor.spawn(let_go(model)).detach();
        }
        Ok(())
    }

    /// Makes another model the chat's. Running answers end with the one that they began with; if the new one cannot be used,
    /// the chat goes on with the old one.
    ///
    /// # Errors
    /// When it is not on this machine, or another one is on its way.
    pub(crate) fn switch_chat(&self, source: ModelSource) -> Result<String, ModelError> {
        let Shared { options, switching, chat, .. } = &*self.shared;
        let path = fetch::find(&source, &options.fetch.cache);
        let name = path.as_deref().map(name_of).ok_or_else(|| ModelError::NotHere(source.to_string()))?;
        if switching.borrow().upgrade().is_some() {
            return Err(ModelError::Busy);
        }
        let wish = Arc::new(());
        switching.replace(Arc::downgrade(&wish));
        if !chat.switch(source, wish) {
            return Err(ModelError::Busy);
        }
        // Two of the same would take twice the memory.
        let _ = self.unload(&name);
        Ok(name)
    }

    /// What a name that people give means: a model of the cache by its file's name, a known one, one at Hugging Face, or a
    /// file by its whole path.
    ///
    /// # Errors
    /// When it is none of these.
    pub(crate) fn source(&self, name: &str) -> Result<ModelSource, ModelError> {
        let path = self.cached().into_iter().find(|path| name_of(path) == name);
        if let Some(path) = path.or_else(|| Some(PathBuf::from(name)).filter(|path| path.is_absolute())) {
            return Ok(ModelSource::File(path));
        }
        name.parse().map_err(ModelError::Name)
    }

    /// What there is to say about each, the chat's first.
    pub(crate) fn list(&self) -> Value {
        let shared = &self.shared;
        let about = |name: &str, chat: bool, status: &Status, load: &EngineLoad| {
            let [running, waiting, pages, pages_limit, context] = load.counts();
            json!({
                "name": name,
                "chat": chat,
                "state": status.state(),
                "message": status.to_string(),
                "context": context,
                "running": running,
                "waiting": waiting,
                "kv_pages": pages,
                "kv_pages_limit": pages_limit,
            })
        };
        let status = shared.health.status();
        let chat = self.chat_name().unwrap_or_default();
        let mut models = vec![about(&chat, true, &status, &shared.chat_load)];
        for model in shared.others.borrow().iter() {
            let mut one = about(&model.name.borrow(), false, &model.status.borrow(), &model.load);
            one["bytes"] = json!(model.bytes);
            one["unused_s"] = json!(model.used.get().elapsed().as_secs());
            one["on_demand"] = json!(model.passing);
            models.push(one);
        }
        Value::from(models)
    }

    fn cached(&self) -> Vec<PathBuf> {
        fetch::cached(&self.shared.options.fetch.cache).unwrap_or_default()
    }

    /// Lets the one go that was longest unused of those that came by a request, if there are as many as there may be.
    fn make_room(&self) {
        let others = self.shared.others.borrow();
        if others.len() + 1 < limits::MODELS {
            return;
        }
        let idle = others.iter().filter(|model| model.passing && model.asker.tasks() == 0);
        let name = idle.min_by_key(|model| model.used.get()).map(|model| model.name.borrow().clone());
        drop(others);
        if let Some(name) = name {
            let _ = self.unload(&name);
        }
    }

    fn start(&self, source: ModelSource, passing: bool) -> Result<Rc<Model>, ModelError> {
        let shared = &self.shared;
        let path = fetch::find(&source, &shared.options.fetch.cache);
        let name = path.as_deref().map_or_else(|| source.to_string(), name_of);
        if shared.others.borrow().iter().any(|model| model.is(&name) || model.source == source)
            || self.chat_name().is_some_and(|chat| chat == name)
        {
            return Err(ModelError::Loaded(name));
        }
        if shared.others.borrow().len() + 1 >= limits::MODELS {
            return Err(ModelError::TooMany);
        }
        let bytes = path.and_then(|path| std::fs::metadata(path).ok()).map_or(0, |file| file.len());
        let needed = bytes + bytes / 4;
        if let Some(free) = free_memory().filter(|&free| free < needed) {
            return Err(ModelError::Memory { needed, free });
        }
        let load = Arc::new(EngineLoad::default());
        let options =
            WorkerOptions { source: source.clone(), saved: None, load: load.clone(), ..shared.options.clone() };
        let (event, events) = smol::channel::bounded(limits::WORKER_EVENTS);
        let worker = Worker::start(options, event).map_err(ModelError::Thread)?;
        let model = Rc::new(Model {
            source,
            name: RefCell::new(name),
            bytes,
            asker: worker.asker(),
            load,
            status: RefCell::new(Status::Starting),
            used: Cell::new(Instant::now()),
            passing,
            worker: RefCell::new(Some(worker)),
        });
        shared.others.borrow_mut().push(model.clone());
        if let Some(executor) = shared.executor.upgrade() {
            executor.spawn(listen(events, Rc::downgrade(&model))).detach();
            if passing {
                executor.spawn(watch(Rc::downgrade(shared), Rc::downgrade(&model))).detach();
            }
        }
        Ok(model)
    }
}

/// Keeps what a model's thread says of it.
async fn listen(events: Receiver<Event>, model: Weak<Model>) {
    while let Ok(event) = events.recv().await {
        if let (Event::Status(status), Some(model)) = (event, model.upgrade()) {
            if let Status::Ready { model: name, .. } = &status {
                model.name.replace(name.clone());
            }
            model.status.replace(status);
        }
    }
}

/// Lets a model go when nobody has used it for [`limits::MODEL_IDLE`].
async fn watch(shared: Weak<Shared>, model: Weak<Model>) {
    loop {
        Timer::after(limits::MODEL_LOOK).await;
        let (Some(shared), Some(model)) = (shared.upgrade(), model.upgrade()) else { return };
        if model.asker.tasks() > 0 {
            model.used.set(Instant::now());
        } else if model.used.get().elapsed() >= limits::MODEL_IDLE {
            let name = model.name.borrow().clone();
            let _ = Models { shared }.unload(&name);
            return;
        }
    }
}

/// Ends a model's thread when it has nothing more to do.
async fn let_go(model: Rc<Model>) {
    let began = Instant::now();
    while model.asker.tasks() > 0 && began.elapsed() < limits::MODEL_UNLOAD {
        Timer::after(limits::DRAIN_LOOK).await;
    }
    // The thread ends after the step that it is in, for which the network's does not wait.
    if let Some(worker) = model.worker.take() {
        drop(std::thread::Builder::new().name("unload".to_owned()).spawn(move || drop(worker)));
    }
}

/// What people call a model: its file's name.
fn name_of(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Bytes of memory that can be had without swapping, where the system says so.
fn free_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
#[path = "models/tests.rs"]
mod tests;
