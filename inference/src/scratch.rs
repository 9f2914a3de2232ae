//! The buffers that a step works in, made once.

use crate::cache::Writes;
use crate::forward::Row;
use crate::kernel::{Activations, Arena, Search, Shares, Slab, Stretch};
use crate::model::Model;

/// Buffers share chunks of so many bytes, in large pages: rows lie some kilobytes apart, so that with small ones the
/// processor would look up an address for each.
const ARENA_BYTES: usize = 8 << 20;

/// What is computed on the way through the model, for up to `capacity` rows a step. Dimensions in brackets.
pub struct Scratch {
    pub(crate) capacity: usize,
    pub(crate) logits_capacity: usize,
    /// The residual stream: `[row][width]`.
    pub(crate) residual: Slab<f32>,
    /// Inputs of the matrices that take a token's vector: `[row][width]`.
    pub(crate) normed: Activations,
    /// `[row][heads × head_dim]`.
    pub(crate) queries: Slab<f32>,
    /// `[row][kv_heads × head_dim]`.
    pub(crate) keys: Slab<f32>,
    /// `[row][kv_heads × head_dim]`.
    pub(crate) values: Slab<f32>,
    /// What attention gives: `[row][heads × head_dim]`.
    pub(crate) attended: Activations,
    /// `[row][hidden]`.
    pub(crate) activated: Activations,
    /// What a part adds to the residual stream: `[row][width]`.
    pub(crate) delta: Slab<f32>,
    /// Cosine and sine of each rotary angle, for each of the model's ropes: `[rope][row][rope_dims / 2]`.
    pub(crate) turns: Vec<Vec<[f32; 2]>>,
    /// What the output matrix takes: `[wanted row][width]`.
    pub(crate) last: Activations,
    /// `[wanted row][vocabulary]`, once they were all wanted.
    pub(crate) logits: Option<Slab<f32>>,
    /// What looks for the likeliest tokens.
    pub(crate) search: Search,
    /// Where the rows' keys and values go.
    pub(crate) writes: Writes,
    /// Attention to parts of long contexts.
    pub(crate) shares: Shares,
    /// Which rows follow each other.
    pub(crate) stretches: Vec<Stretch>,
    /// The rows that want logits.
    pub(crate) wanted: Vec<Row>,
}

impl Scratch {
    /// Buffers for steps of at most `capacity` rows, of which at most `logits_capacity` want logits.
    pub fn new(model: &Model, capacity: usize, logits_capacity: usize) -> Self {
        let config = model.config();
        let arena = Arena::new(ARENA_BYTES);
        let numbers = |each: usize| arena.zeros(capacity * each);
        Self {
            capacity,
            logits_capacity,
            residual: numbers(config.width),
            normed: Activations::new_in(&arena, model.isa(), capacity, config.width),
            queries: numbers(config.query_width()),
            keys: numbers(config.kv_width()),
            values: numbers(config.kv_width()),
            attended: Activations::new_in(&arena, model.isa(), capacity, config.query_width()),
            activated: Activations::new_in(&arena, model.isa(), capacity, config.hidden),
            delta: numbers(config.width),
            turns: vec![vec![[0.0; 2]; capacity * config.rope_dims / 2]; config.ropes.len()],
            last: Activations::new_in(&arena, model.isa(), logits_capacity, config.width),
            logits: None,
            search: Search::new(model.isa(), model.weights().head(), logits_capacity),
            writes: Writes::default(),
            shares: Shares::default(),
            stretches: Vec::new(),
            wanted: Vec::with_capacity(logits_capacity),
        }
    }

    /// Rows that a step may have.
    pub fn capacity(&self) -> usize {
        self.capacity
    }
}
