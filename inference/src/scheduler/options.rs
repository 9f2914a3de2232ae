//! How a scheduler is set up.

use std::path::PathBuf;

use super::speculation::Speculation;
use crate::error::LoadError;
use crate::kernel::PAGE;
use crate::model::{Config, Model};

/// Sequences that run at once, if nothing else is said.
pub const DEFAULT_SEQUENCES: usize = 8;
/// Rows of a step, if nothing else is said: long enough to use the kernels well, short enough that those who are
/// generating wait a tenth of a second at most.
pub const DEFAULT_BATCH_TOKENS: usize = 128;
/// The same where prompts are computed by the matrix unit: it is several times as fast, and weights are unpacked for each
/// step.
pub const DEFAULT_TILED_BATCH_TOKENS: usize = 256;
/// Bytes of keys and values, if nothing else is said; one full context if a longer one is asked for. It holds 16,384 tokens
/// of a model of 1 B parameters (Llama 3.2), whose file would allow 131,072: those take 4 GiB.
pub const DEFAULT_CACHE_BYTES: usize = 512 << 20;
/// Requests that wait, if nothing else is said.
pub const DEFAULT_QUEUE: usize = 64;
/// Sequences that run at once, at most: each has a row of logits.
pub const MAX_SEQUENCES: usize = 256;
/// Rows of a step, at most: the buffers of a step grow with it.
pub const MAX_BATCH_TOKENS: usize = 4_096;
/// Requests that wait, at most: each has a prompt.
pub const MAX_QUEUE: usize = 4_096;

/// How a scheduler is set up. `None` leaves the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchedulerOptions {
    /// Threads that compute, the caller's counted; otherwise as many as the machine has cores.
    pub threads: Option<usize>,
    /// Sequences that run at once: 1 to [`MAX_SEQUENCES`].
    pub max_sequences: Option<usize>,
    /// Tokens of a sequence, prompt and answer together: 2 to what the model was trained for. The default is the latter, or
    /// what the cache holds if that is less: a file's word alone makes no sequence take more memory than that.
    pub context: Option<usize>,
    /// Rows of a step: as many as sequences, to [`MAX_BATCH_TOKENS`].
    pub batch_tokens: Option<usize>,
    /// Bytes of keys and values: at least what one full context takes.
    pub cache_bytes: Option<usize>,
    /// Requests that wait: 1 to [`MAX_QUEUE`].
    pub queue: Option<usize>,
    /// The file in which keys and values outlast the process: read when the scheduler is made, written by
    /// [`Scheduler::save`](super::Scheduler::save). Its directory must be there.
    pub saved: Option<PathBuf>,
    /// Whether tokens are guessed from what a sequence has said or read, and computed ahead.
    pub speculation: Speculation,
    /// What the seeds of sequences that name none are made from.
    pub seed: u64,
}

/// The options, checked and filled in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) sequences: usize,
    pub(super) context: usize,
    pub(super) batch_tokens: usize,
    pub(super) cache_bytes: usize,
    pub(super) queue: usize,
}

impl Sizes {
    pub(super) fn new(model: &Model, options: &SchedulerOptions) -> Result<Self, LoadError> {
        let sequences =
            within("sequences at once", options.max_sequences.unwrap_or(DEFAULT_SEQUENCES), 1, MAX_SEQUENCES)?;
        let (trained, page_bytes) = (model.config().context, model.config().page_shape().page_bytes());
        let default = default_context(model.config(), options.cache_bytes.unwrap_or(DEFAULT_CACHE_BYTES));
        let context = within("tokens of context", options.context.unwrap_or(default), 2, trained)?;
        let default_rows = if model.isa().has_tiles() { DEFAULT_TILED_BATCH_TOKENS } else { DEFAULT_BATCH_TOKENS };
        let batch_tokens = options.batch_tokens.unwrap_or(default_rows.max(sequences));
        let batch_tokens = within("rows of a step", batch_tokens, sequences, MAX_BATCH_TOKENS)?;
        let one = context.div_ceil(PAGE).saturating_mul(page_bytes);
        let cache_bytes = options.cache_bytes.unwrap_or(DEFAULT_CACHE_BYTES.max(one));
        let cache_bytes = within("bytes of the cache", cache_bytes, one, usize::MAX)?;
        let queue = within("waiting requests", options.queue.unwrap_or(DEFAULT_QUEUE), 1, MAX_QUEUE)?;
        Ok(Self { sequences, context, batch_tokens, cache_bytes, queue })
    }
}

/// Tokens of a sequence if nothing else is said: what the model was trained for, or what the cache holds.
pub(crate) fn default_context(config: &Config, cache_bytes: usize) -> usize {
    let held = cache_bytes / config.page_shape().page_bytes().max(1);
    config.context.min(held.max(1).saturating_mul(PAGE))
}

fn within(option: &'static str, seen: usize, least: usize, most: usize) -> Result<usize, LoadError> {
    if (least..=most).contains(&seen) { Ok(seen) } else { Err(LoadError::Option { option, seen, least, most }) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::block::BlockType;
    use crate::kernel::Isa;
    use crate::model::tests::Tiny;
    use crate::scheduler::Scheduler;

    /// Two layers of two key-value heads of 64 numbers, keys and values, as halves.
    const TINY_TOKEN_BYTES: usize = 2 * 2 * 64 * 2 * 2;

    #[track_caller]
    fn sizes(context_length: u32, options: &SchedulerOptions) -> (usize, usize) {
        let model = Tiny::new(BlockType::Q4_0, 2).with_context(context_length).load(Isa::Scalar).unwrap();
        let options = SchedulerOptions { threads: Some(1), ..options.clone() };
        let scheduler = Scheduler::new(Arc::new(model), &options).unwrap();
        (scheduler.context(), scheduler.sizes.cache_bytes)
    }

    #[test]
    fn a_context_that_nobody_asked_for_fits_the_cache() {
        let held = DEFAULT_CACHE_BYTES / TINY_TOKEN_BYTES;
        for trained in [256, held - 1, held, held + 1, 1 << 24] {
            let default = sizes(trained as u32, &SchedulerOptions::default());
            assert_eq!(default, (trained.min(held), DEFAULT_CACHE_BYTES), "{trained}");
        }
    }

    #[test]
    fn what_is_asked_for_is_honoured() {
        let longest = SchedulerOptions { context: Some(1 << 24), ..SchedulerOptions::default() };
        assert_eq!(sizes(1 << 24, &longest), (1 << 24, (1 << 24) * TINY_TOKEN_BYTES));
        for cache_bytes in [1 << 20, DEFAULT_CACHE_BYTES * 2] {
            let options = SchedulerOptions { cache_bytes: Some(cache_bytes), ..SchedulerOptions::default() };
            assert_eq!(sizes(1 << 24, &options), (cache_bytes / TINY_TOKEN_BYTES, cache_bytes));
        }
    }
}
