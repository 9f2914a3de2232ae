//! The forward pass: tokens in, logits out.
//!
//! Read it beside "Llama 2" (Touvron et al., 2023) or any description of a pre-norm transformer. A *row* is one token of
//! one sequence; rows of many sequences, prompts and continuations mixed, go through the model together, so that each
//! weight is read once a step. Nothing that one row gets depends on which other rows are there, except the earlier
//! positions of its own sequence.

use crate::cache::{Cache, PageTable};
use crate::kernel::{self, Activations, Crew, Isa, Product};
use crate::model::{Config, Layer, Linear, Model};
use crate::scratch::Scratch;

/// One token to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its id; below the vocabulary's size.
    pub token: u32,
    /// Its place in its sequence. The rows of a sequence come in order, and all before them are in the cache.
    pub position: u32,
    /// Which of the page tables is its sequence's.
    pub table: usize,
    /// Whether its logits are wanted.
    pub logits: bool,
}

/// Computes `rows`, stores their keys and values, and gives the logits of the rows that want them, in order:
/// `[wanted row][vocabulary]`.
///
/// # Panics
/// If there are more rows, or more wanted logits, than `scratch` was made for; if a token is not in the vocabulary; or if a
/// position has no page in its table. Callers check all of these at their own doors.
pub fn forward<'s>(
    model: &Model,
    crew: &Crew,
    cache: &mut Cache,
    tables: &[&PageTable],
    rows: &[Row],
    scratch: &'s mut Scratch,
) -> &'s mut [f32] {
    assert!(rows.len() <= scratch.capacity, "{} rows of {}", rows.len(), scratch.capacity);
    let (config, weights) = (model.config(), model.weights());
    let step = Step { config, isa: model.isa(), crew, tables, rows };
    let residual = &mut scratch.residual[..rows.len() * config.width];
    for (row, x) in rows.iter().zip(residual.chunks_exact_mut(config.width)) {
        weights.embedding.row(row.token as usize, x);
    }
    step.turns(weights.rope_divisors.as_deref(), &mut scratch.turns);
    for (index, layer) in weights.layers.iter().enumerate() {
        step.attention(layer, index, cache, scratch);
        step.feed_forward(layer, scratch);
    }
    step.logits(model, scratch)
}

/// What all parts of a step share.
struct Step<'a> {
    config: &'a Config,
    isa: Isa,
    crew: &'a Crew,
    tables: &'a [&'a PageTable],
    rows: &'a [Row],
}

impl Step<'_> {
    /// Cosine and sine of `position × base^(−2i / dims)` for every row and pair.
    fn turns(&self, divisors: Option<&[f32]>, turns: &mut [[f32; 2]]) {
        let half = self.config.rope_dims / 2;
        let exponent = -2.0 / self.config.rope_dims as f64;
        for (row, turns) in self.rows.iter().zip(turns.chunks_exact_mut(half)) {
            let position = f64::from(row.position) / f64::from(self.config.rope_scale);
            for (i, turn) in turns.iter_mut().enumerate() {
                let divisor = divisors.map_or(1.0, |divisors| f64::from(divisors[i]));
                let frequency = f64::from(self.config.rope_base).powf(i as f64 * exponent) / divisor;
                let (sine, cosine) = (position * frequency).sin_cos();
                *turn = [cosine as f32, sine as f32];
            }
        }
    }

    /// `x += W_o · attention(W_q · norm(x), W_k · norm(x), W_v · norm(x))`.
    fn attention(&self, layer: &Layer, index: usize, cache: &mut Cache, scratch: &mut Scratch) {
        let (config, count) = (self.config, self.rows.len());
        let Scratch { residual, normed, queries, keys, values, attended, delta, turns, .. } = scratch;
        let queries = &mut queries[..count * config.query_width()];
        let keys = &mut keys[..count * config.kv_width()];
        let values = &mut values[..count * config.kv_width()];

        self.norm(residual, &layer.attention_norm, normed);
        self.linear(normed, [(&layer.query, queries), (&layer.key, keys), (&layer.value, values)]);

        let (half, scale) = (config.rope_dims / 2, 1.0 / (config.head_dim as f32).sqrt());
        let turns_of = |row: usize| &turns[row * half..(row + 1) * half];
        self.each_row(queries, config.query_width(), |row, query| {
            for head in query.chunks_exact_mut(config.head_dim) {
                self.isa.rope(head, turns_of(row));
                head.iter_mut().for_each(|x| *x *= scale);
            }
        });
        let stored = keys.chunks_exact_mut(config.kv_width()).zip(values.chunks_exact(config.kv_width()));
        for (row, (key, value)) in stored.enumerate() {
            key.chunks_exact_mut(config.head_dim).for_each(|head| self.isa.rope(head, turns_of(row)));
            let Row { position, table, .. } = self.rows[row];
            cache.store(self.tables[table], position as usize, index, key, value);
        }

        let group = config.query_width() / config.kv_heads; // the queries that share a key-value head
        let cache = &*cache;
        self.crew.chunks(attended.start(count), group, |task, out| {
            let (row, kv_head) = (task / config.kv_heads, task % config.kv_heads);
            let Row { position, table, .. } = self.rows[row];
            let spans = cache.spans(self.tables[table], position as usize + 1, index, kv_head);
            kernel::attention(self.isa, config.head_dim, &queries[task * group..][..group], &spans, out);
        });
        attended.quantize(self.crew, self.isa);

        let delta = &mut delta[..count * config.width];
        self.linear(attended, [(&layer.attention_output, delta)]);
        self.add(residual, delta);
    }

    /// `x += W_down · (silu(W_gate · norm(x)) × (W_up · norm(x)))`.
    fn feed_forward(&self, layer: &Layer, scratch: &mut Scratch) {
        let (config, count) = (self.config, self.rows.len());
        let Scratch { residual, normed, gates, ups, activated, delta, .. } = scratch;
        let gates = &mut gates[..count * config.hidden];
        let ups = &mut ups[..count * config.hidden];

        self.norm(residual, &layer.feed_forward_norm, normed);
        self.linear(normed, [(&layer.gate, gates), (&layer.up, ups)]);
        activated.fill(self.crew, self.isa, count, |row, out| {
            let of_row = row * config.hidden..(row + 1) * config.hidden;
            self.isa.swiglu(&gates[of_row.clone()], &ups[of_row], out);
        });
        let delta = &mut delta[..count * config.width];
        self.linear(activated, [(&layer.down, delta)]);
        self.add(residual, delta);
    }

    /// The logits of the rows that want them.
    fn logits<'s>(&self, model: &Model, scratch: &'s mut Scratch) -> &'s mut [f32] {
        let (width, weights) = (self.config.width, model.weights());
        let wanted = self.rows.iter().filter(|row| row.logits).count();
        assert!(wanted <= scratch.logits_capacity, "{wanted} logits of {}", scratch.logits_capacity);
        let normed = scratch.last.start(wanted);
        let rows = self.rows.iter().zip(scratch.residual.chunks_exact(width)).filter(|(row, _)| row.logits);
        for ((_, x), out) in rows.zip(normed.chunks_exact_mut(width)) {
            self.isa.rms_norm(x, &weights.output_norm, self.config.epsilon, out);
        }
        scratch.last.quantize(self.crew, self.isa);
        let logits = &mut scratch.logits[..wanted * weights.vocabulary()];
        kernel::linear(self.crew, self.isa, &scratch.last, [Product { weights: weights.head(), out: logits }]);
        logits
    }

    fn norm(&self, residual: &[f32], weight: &[f32], out: &mut Activations) {
        let width = self.config.width;
        out.fill(self.crew, self.isa, self.rows.len(), |row, out| {
            self.isa.rms_norm(&residual[row * width..(row + 1) * width], weight, self.config.epsilon, out);
        });
    }

    fn add(&self, residual: &mut [f32], delta: &[f32]) {
        let width = self.config.width;
        self.each_row(&mut residual[..delta.len()], width, |row, x| self.isa.add(x, &delta[row * width..][..width]));
    }

    /// Does something to every row of a buffer. Few rows are done by the leader alone: waking the others takes longer.
    fn each_row(&self, buffer: &mut [f32], width: usize, task: impl Fn(usize, &mut [f32]) + Sync) {
        if self.rows.len() <= kernel::ALONE {
            buffer.chunks_exact_mut(width).enumerate().for_each(|(row, x)| task(row, x));
        } else {
            self.crew.chunks(buffer, width, task);
        }
    }

    fn linear<const N: usize>(&self, x: &Activations, parts: [(&Linear, &mut [f32]); N]) {
        let mut outs = parts.map(|(linear, out)| (linear, out));
        let products = outs.each_mut().map(|(linear, out)| Product { weights: &linear.weights, out });
        kernel::linear(self.crew, self.isa, x, products);
        for (linear, out) in outs {
            if let Some(bias) = &linear.bias {
                out.chunks_exact_mut(bias.len()).for_each(|out| self.isa.add(out, bias));
            }
        }
    }
}
