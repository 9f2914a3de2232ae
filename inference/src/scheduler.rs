//! Many sequences at once, one step at a time.
//!
//! [`Scheduler::step`] is one pass through the model over all running sequences: each that is generating gives one row,
//! and what is left of the step's rows goes to prompts, in equal parts, so that a long prompt delays nobody for more than
//! a step. While others are generating, a prompt gets the fewer rows the deeper it is. A step does no input or output and
//! starts nothing: a thread calls it in a loop, a test by hand. Time is read for [`Timings`] alone.
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
mod options;
mod sequence;

pub use options::{
    DEFAULT_BATCH_TOKENS, DEFAULT_CACHE_BYTES, DEFAULT_QUEUE, DEFAULT_SEQUENCES, DEFAULT_TILED_BATCH_TOKENS,
    MAX_BATCH_TOKENS, MAX_QUEUE, MAX_SEQUENCES, SchedulerOptions,
};
pub use sequence::{Event, FinishReason, Request, SequenceFault, SequenceId, SubmitError, Timings, Usage};

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cache::{Cache, PageTable, SavedError};
use crate::error::LoadError;
use crate::forward::{Row, Work, forward};
use crate::kernel::{PAGE, Team};
use crate::model::Model;
use crate::scratch::Scratch;
use options::Sizes;
pub(crate) use options::default_context;
use sequence::{Sequence, Waiting};

/// Pairs of a query and a key that one step computes for the rows of a prompt while others wait for their next token.
/// Attention to a long prompt costs more than all the rest; with this bound, such a step takes about a tenth of a second
/// with the default model on two cores.
const PROMPT_PAIRS: usize = 1 << 16;
/// The same where prompts are computed by the matrix unit.
const TILED_PROMPT_PAIRS: usize = 1 << 20;

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
    /// Who gets what is left over when a step's rows are divided.
    turn: usize,
    next_id: u64,
    /// Rows of the current step that belong to prompts; kept for its memory.
    prompted: Vec<Row>,
    /// Those of sequences that are generating.
    generated: Vec<Row>,
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
        let scratch = Scratch::new(&model, sizes.batch_tokens, sizes.sequences);
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
            running: Vec::new(),
            turn: 0,
            next_id: 0,
            prompted: Vec::new(),
            generated: Vec::new(),
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

    /// Sequences that are running, and that wait.
    pub fn load(&self) -> (usize, usize) {
        (self.running.len(), self.queue.len())
    }

    /// Puts a request into the queue.
    ///
    /// # Errors
    /// [`SubmitError`], and nothing has changed.
    pub fn submit(&mut self, request: Request) -> Result<SequenceId, SubmitError> {
        if self.queue.len() >= self.sizes.queue {
            return Err(SubmitError::Full { limit: self.sizes.queue });
        }
        let id = SequenceId(self.next_id);
        let waiting = Waiting::new(id, request, self.sizes.context, &self.model)?;
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
            None => false,
        }
    }

    /// Forgets what a session left in the cache, when somebody has deleted it; what its running sequences leave, too. A saved
    /// file has it until [`Scheduler::save`].
    pub fn forget(&mut self, session: u128) {
        self.cache.forget(session);
        for sequence in &mut self.running {
            sequence.forgotten |= sequence.table.session() == Some(session);
        }
    }

    /// One step over all running sequences; tells of text and ends through `tell`. True if work is left.
    pub fn step(&mut self, tell: &mut dyn FnMut(SequenceId, Event<'_>)) -> bool {
        self.end_cancelled(tell);
        self.admit();
        self.plan();
        self.compute(tell);
        !(self.running.is_empty() && self.queue.is_empty())
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
    }

    /// Takes sequences from the queue, in order, while there is a place and the cache can hold them to their end.
    fn admit(&mut self) {
        while self.running.len() < self.sizes.sequences {
            let promised: usize = self.running.iter().map(Sequence::pages).sum();
            let Some(next) = self.queue.front() else { return };
            if promised + next.limit().div_ceil(PAGE) > self.cache.limit_pages() {
                return;
            }
            let next = self.queue.pop_front().expect("it was there above");
            let seed = self.seed.wrapping_add(next.id.0);
            self.running.push(next.start(&mut self.cache, seed));
        }
    }

    /// Divides the rows of the step: one for each that is generating, the rest in equal parts for prompts.
    fn plan(&mut self) {
        self.prompted.clear();
        self.generated.clear();
        let count = self.running.len();
        if count == 0 {
            return;
        }
        self.turn = (self.turn + 1) % count;
        let generating = self.running.iter().filter(|sequence| sequence.pending() == 1).count();
        let (mut left, mut prompts) = (self.sizes.batch_tokens - generating, count - generating);
        let pairs = if self.model.isa().has_tiles() { TILED_PROMPT_PAIRS } else { PROMPT_PAIRS };
        for at in (self.turn..count).chain(0..self.turn) {
            let sequence = &mut self.running[at];
            let pending = sequence.pending();
            let rows = if pending == 1 {
                1
            } else {
                let most = if generating == 0 { left } else { (pairs / (sequence.computed + 1)).max(1) };
                let share = left.div_ceil(prompts).min(pending).min(most);
                (left, prompts) = (left - share, prompts - 1);
                share
            };
            if self.cache.reserve(&mut sequence.table, sequence.computed + rows).is_err() {
                // Cannot come about while `admit` counts right; a sequence that stands still is better than a panic.
                continue;
            }
            sequence.planned = rows;
            for position in sequence.computed..sequence.computed + rows {
                let logits = position + 1 == sequence.tokens.len();
                let row = Row { token: sequence.tokens[position], position: position as u32, table: at, logits };
                if position < sequence.prompt { self.prompted.push(row) } else { self.generated.push(row) }
            }
        }
    }

    fn compute(&mut self, tell: &mut dyn FnMut(SequenceId, Event<'_>)) {
        for work in [Work::Generation, Work::Prompt] {
            let rows = match work {
                Work::Generation => &self.generated,
                Work::Prompt => &self.prompted,
            };
            if rows.is_empty() {
                continue;
            }
            let tables: Vec<&PageTable> = self.running.iter().map(|sequence| &sequence.table).collect();
            let (model, cache, scratch) = (&self.model, &mut self.cache, &mut self.scratch);
            let logits = self.team.enter(|crew| forward(model, crew, cache, &tables, work, rows, scratch));
            let vocabulary = self.model.info().vocabulary_size;
            let wanted = rows.iter().filter(|row| row.logits).map(|row| row.table);
            for (at, logits) in wanted.zip(logits.chunks_exact_mut(vocabulary)) {
                self.running[at].choose(&self.model, logits);
                self.running[at].advance(&self.model, tell);
            }
        }
        let cache = &mut self.cache;
        self.running.iter_mut().for_each(|sequence| sequence.commit(cache));
        for sequence in self.running.extract_if(.., |sequence| sequence.ended) {
            sequence.leave(cache);
        }
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
