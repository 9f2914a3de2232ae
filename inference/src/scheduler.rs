//! Many sequences at once, one step at a time.
//!
//! [`Scheduler::step`] is one pass through the model over all running sequences: each that is generating gives one row,
//! and what is left of the step's rows goes to prompts, in equal parts, so that a long prompt delays nobody for more than
//! a step. While others are generating, a prompt gets the fewer rows the deeper it is. A step does no input or output and
//! starts nothing: a thread calls it in a loop, a test by hand. Time is read for [`Timings`], and for whether
//! [`Speculation`] pays.
//!
//! What a sequence generates depends on its prompt, options and seed, and on what its own session generated before; never on
//! what runs beside it. What others computed of the same prompt is used, being what the sequence itself would compute.
//!
//! ```text
//! submit ─▶ queue ─▶ running: prompt in pieces ─▶ a token a step ─▶ Finished
//!             │                    └──────── cancel ──────────────▶ Finished (Stopped)
//!             └── waits for a place among the running and for pages of the cache
//! ```

mod choose;
mod compute;
mod constraint;
mod embedding;
mod lookup;
mod options;
mod plan;
mod request;
mod sequence;
mod speculation;
#[cfg(test)]
mod tests;

pub use embedding::MAX_EMBEDDED;
pub use options::{
    DEFAULT_BATCH_TOKENS, DEFAULT_CACHE_BYTES, DEFAULT_QUEUE, DEFAULT_SEQUENCES, DEFAULT_TILED_BATCH_TOKENS,
    MAX_BATCH_TOKENS, MAX_QUEUE, MAX_SEQUENCES, SchedulerOptions,
};
pub use request::{Event, FinishReason, Request, SequenceFault, SequenceId, SubmitError, Timings, Usage};
pub use speculation::Speculation;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::cache::{Cache, SavedError};
use crate::error::LoadError;
use crate::kernel::{PAGE, Team};
use crate::model::Model;
use crate::scratch::Scratch;
use compute::Lists;
use constraint::Compiler;
use embedding::Embeddings;
use options::Sizes;
pub(crate) use options::default_context;
use plan::Plan;
use sequence::{Sequence, Waiting};
use speculation::{DRAFT_ROWS, Pace};

/// Whether keys and values should be saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saving {
    /// Little has changed since they were saved, or they are not to be.
    UpToDate,
    /// A thousand tokens are new, or something was forgotten: when nothing has run for a while it is time.
    Due,
    /// A piece is saved, and more is left.
    Begun,
}

/// How long a step waits for a grammar where nothing else is to be done. Who calls can cancel it between steps.
const COMPILING: Duration = Duration::from_millis(10);

/// Runs sequences through one model.
pub struct Scheduler {
    model: Arc<Model>,
    team: Team,
    cache: Cache,
    saved: Option<PathBuf>,
    restored: Result<usize, SavedError>,
    scratch: Scratch,
    sizes: Sizes,
    seed: u64,
    queue: VecDeque<Waiting>,
    running: Vec<Sequence>,
    embeddings: Embeddings,
    compiler: Compiler,
    /// Who gets what is left over when a step's rows are divided.
    turn: usize,
    next_id: u64,
    plan: Plan,
    lists: Lists,
    speculation: Speculation,
    pace: Pace,
}

impl Scheduler {
    /// A scheduler with a team of threads and a cache of its own.
    ///
    /// # Errors
    /// [`LoadError::Option`] for options out of their range, [`LoadError::Threads`] if the threads cannot be started.
    pub fn new(model: Arc<Model>, options: &SchedulerOptions) -> Result<Self, LoadError> {
        let sizes = Sizes::new(&model, options)?;
        let team = Team::new(options.threads)?;
        let (cache, restored) = restore(&model, sizes.cache_bytes, options.saved.as_deref());
        let drafts = if options.speculation == Speculation::Off { 0 } else { DRAFT_ROWS };
        let scratch = Scratch::new(&model, sizes.batch_tokens, sizes.sequences + drafts);
        Ok(Self {
            model,
            team,
            cache,
            saved: options.saved.clone(),
            restored,
            scratch,
            sizes,
            seed: options.seed,
            queue: VecDeque::new(),
            running: Vec::with_capacity(sizes.sequences),
            embeddings: Embeddings::default(),
            compiler: Compiler::default(),
            turn: 0,
            next_id: 0,
            plan: Plan::new(sizes.batch_tokens),
            lists: Lists::default(),
            speculation: options.speculation,
            pace: Pace::default(),
        })
    }

    /// Tokens that a sequence can have, prompt and answer together.
    pub fn context(&self) -> usize {
        self.sizes.context
    }

    /// Threads that compute, the caller's counted.
    pub fn threads(&self) -> usize {
        self.team.threads()
    }

    /// Pages of keys and values that were found in the saved file, or why it could not be used.
    pub fn restored(&self) -> Result<usize, &SavedError> {
        self.restored.as_ref().copied()
    }

    /// Saves keys and values where the options say, for the next scheduler of this model; gives the number of pages. Of
    /// running sequences that is what fills pages.
    ///
    /// # Errors
    /// If the file cannot be written; an earlier one is then there still.
    pub fn save(&self) -> io::Result<usize> {
        match &self.saved {
            Some(path) => self.cache.save(path, self.model.cache_key()),
            None => Ok(0),
        }
    }

    /// Whether [`Scheduler::save_some`] has something to do.
    pub fn saving(&self) -> Saving {
        match self.saved {
            Some(_) if self.cache.is_saving() => Saving::Begun,
            Some(_) if self.cache.saving_is_due() => Saving::Due,
            _ => Saving::UpToDate,
        }
    }

    /// A piece of what [`Scheduler::save`] does: some milliseconds. When the file is there, gives the number of pages. To be
    /// called while nothing runs; if something does in between, no harm is done.
    ///
    /// # Errors
    /// If the file cannot be written. An earlier one is then there still, unless something in it was to be forgotten: then it
    /// is removed.
    pub fn save_some(&mut self) -> io::Result<Option<usize>> {
        match &self.saved {
            Some(path) => self.cache.save_some(path, self.model.cache_key()),
            None => Ok(None),
        }
    }

    /// Sequences that are running, and that wait. Texts that are being embedded run; requests for that do not wait.
    pub fn load(&self) -> (usize, usize) {
        (self.running.len() + self.embeddings.open(), self.queue.len())
    }

    /// Pages of keys and values in use, those of earlier conversations included, and how many there may be.
    pub fn pages(&self) -> (usize, usize) {
        (self.cache.used_pages(), self.cache.limit_pages())
    }

    /// Puts a request into the queue. Its grammar is compiled on another thread, and the request waits for that;
    /// [`Event::Refused`] tells if it is not usable, where [`Grammars::find`](crate::grammar::Grammars::find) does not see it.
    ///
    /// # Errors
    /// [`SubmitError`], and nothing has changed.
    pub fn submit(&mut self, request: Request) -> Result<SequenceId, SubmitError> {
        if self.queue.len() >= self.sizes.queue {
            return Err(SubmitError::Full { limit: self.sizes.queue });
        }
        let id = SequenceId(self.next_id);
        let waiting = Waiting::new(id, request, self.sizes.context, &self.model, &mut self.compiler)?;
        self.next_id += 1;
        self.queue.push_back(waiting);
        Ok(id)
    }

    /// Stops a sequence: it ends with [`FinishReason::Stopped`] in the next step. False if there is no such sequence.
    pub fn cancel(&mut self, id: SequenceId) -> bool {
        let queued = self.queue.iter_mut().find(|waiting| waiting.id == id).map(|waiting| &mut waiting.cancelled);
        let running =
            self.running.iter_mut().find(|sequence| sequence.id == id).map(|sequence| &mut sequence.cancelled);
        match queued.or(running) {
            Some(cancelled) => {
                *cancelled = true;
                true
            }
            None => self.embeddings.cancel(id),
        }
    }

    /// Forgets what a session left in the cache, when somebody has deleted it; what its running sequences leave, too. A saved
    /// file has it until it is saved anew, which is [`Saving::Due`] then.
    pub fn forget(&mut self, session: u128) {
        self.cache.forget(session);
        for sequence in &mut self.running {
            sequence.forgotten |= sequence.table.session() == Some(session);
        }
    }

    /// One step over all running sequences; tells of text and ends through `tell`. True if work is left.
    pub fn step(&mut self, tell: &mut dyn FnMut(SequenceId, Event<'_>)) -> bool {
        self.end_cancelled(tell);
        self.end_refused(tell);
        self.admit();
        self.plan();
        self.compute(tell);
        self.compute_embeddings(tell);
        !(self.running.is_empty() && self.queue.is_empty() && self.embeddings.is_empty())
    }

    fn end_cancelled(&mut self, tell: &mut dyn FnMut(SequenceId, Event<'_>)) {
        self.queue.retain(|waiting| {
            if waiting.cancelled {
                tell(waiting.id, waiting.stopped());
            }
            !waiting.cancelled
        });
        let cache = &mut self.cache;
        for mut sequence in self.running.extract_if(.., |sequence| sequence.cancelled) {
            sequence.finish(FinishReason::Stopped, tell);
            sequence.leave(cache);
        }
        self.embeddings.end_cancelled(&mut self.cache, tell);
    }

    /// Ends those whose grammar is not usable. If nothing else is to be done, waits for one that is being compiled.
    fn end_refused(&mut self, tell: &mut dyn FnMut(SequenceId, Event<'_>)) {
        if self.running.is_empty()
            && self.embeddings.is_empty()
            && !self.queue.iter_mut().any(Waiting::is_ready)
            && let Some(first) = self.queue.front_mut()
        {
            first.wait(COMPILING);
        }
        self.queue.retain_mut(|waiting| {
            if waiting.is_ready()
                && let Some(error) = waiting.refused()
            {
                tell(waiting.id, Event::Refused { error });
                return false;
            }
            true
        });
    }

    /// Takes sequences from the queue, in order, while there is a place and the cache can hold them to their end; and texts to
    /// embed likewise. Of a sequence and a text, the older one is taken first, so that neither keeps the other from the cache's
    /// pages. Who waits for a grammar keeps nobody else waiting.
    fn admit(&mut self) {
        loop {
            let free = self.running.len() < self.sizes.sequences;
            let place = if free { self.queue.iter_mut().position(Waiting::is_ready) } else { None };
            let sequence = place.map(|place| (self.queue[place].id, self.queue[place].limit().div_ceil(PAGE)));
            let text = self.embeddings.next();
            let Some((next, pages)) = sequence.into_iter().chain(text).min() else { return };
            let promised = self.running.iter().map(Sequence::pages).sum::<usize>() + self.embeddings.pages();
            if promised + pages > self.cache.limit_pages() {
                return;
            }
            match place.filter(|&place| self.queue[place].id == next) {
                Some(place) => self.start(place),
                None => self.embeddings.open_next(self.model.config().width),
            }
        }
    }

    /// Begins with a sequence at this place of the queue.
    fn start(&mut self, place: usize) {
        let next = self.queue.remove(place).expect("who calls has found it there");
        let seed = self.seed.wrapping_add(next.id.0);
        self.running.push(next.start(&mut self.cache, seed, self.speculation != Speculation::Off));
    }
}

/// A cache with what was saved, if it is there and can be used; else an empty one.
fn restore(model: &Model, limit_bytes: usize, saved: Option<&Path>) -> (Cache, Result<usize, SavedError>) {
    let shape = model.config().page_shape();
    let opened = saved.map(|path| Cache::open(shape, limit_bytes, path, model.cache_key()));
    let error = match opened {
        Some(Ok(cache)) => {
            let pages = cache.saved_pages();
            return (cache, Ok(pages));
        }
        Some(Err(SavedError::Open(error))) if error.kind() == io::ErrorKind::NotFound => None,
        Some(Err(error)) => Some(error),
        None => None,
    };
    (Cache::new(shape, limit_bytes), error.map_or(Ok(0), Err))
}
