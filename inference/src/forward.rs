//! The forward pass: tokens in, logits out.
//!
//! Read it beside "Llama 2" (Touvron et al., 2023) or any description of a pre-norm transformer. A *row* is one token of
//! one sequence; rows of many sequences, prompts and continuations mixed, go through the model together, so that each
//! weight is read once a step. Nothing that one row gets depends on which other rows are there, except the earlier
//! positions of its own sequence.

mod output;

pub use output::Output;

use crate::cache::{Cache, PageTable};
use crate::kernel::{self, Activations, Attention, Crew, Form, Gated, Heads, Isa, KvType, Product, Stretch};
use crate::model::{Config, Frequencies, Layer, Linear, Model, RopePairs, Weights};
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

/// What rows are computed for. It alone decides about the arithmetic, whatever is computed beside them and in however many
/// steps: so nothing that a sequence gets depends on its company.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Tokens that were given. They are many, so that operations are what takes time: products of bf16 where the processor
    /// has a unit for them.
    Prompt,
    /// Tokens that the model has chosen. They are few, so that reading the weights is what takes time: activations of 8 bits.
    Generation,
}

impl Work {
    /// What activations are multiplied as.
    pub(crate) fn form(self, isa: Isa) -> Form {
        match self {
            Work::Prompt if isa.has_tiles() => Form::Tiles,
            Work::Prompt | Work::Generation => Form::Codes,
        }
    }

    /// What comes out of gates is multiplied as: the widest and most uneven of all. Where there is no matrix unit,
    /// plain codes of it made the likeliest token of an answer differ from that of float32 a little more often than
    /// llama.cpp's.
    fn gated_form(self, isa: Isa) -> Form {
        match self {
            Work::Generation if !isa.has_tiles() => Form::FineCodes,
            Work::Prompt | Work::Generation => self.form(isa),
        }
    }

    /// What the output matrix takes. Few rows of a prompt want logits, so that for these it costs nothing to be exact; plain
    /// codes make three quarters of a prompt's distance from float32.
    fn last_form(self) -> Form {
        match self {
            Work::Prompt => Form::FineCodes,
            Work::Generation => Form::Codes,
        }
    }
}

/// Computes `rows`, stores their keys and values, and gives what the logits of the rows that want them are made of, in order.
///
/// # Panics
/// If there are more rows, or more wanted logits, than `scratch` was made for; if a token is not in the vocabulary; or if a
/// position has no page in its table. Callers check all of these at their own doors.
pub fn forward<'s>(
    model: &'s Model,
    crew: &'s Crew,
    cache: &mut Cache,
    tables: &[&PageTable],
    work: Work,
    rows: &[Row],
    scratch: &'s mut Scratch,
) -> Output<'s> {
    let step = Step::begin(model, crew, cache, tables, work, rows, scratch);
    let wanted = rows.iter().filter(|row| row.logits).count();
    assert!(wanted <= scratch.logits_capacity, "{wanted} logits of {}", scratch.logits_capacity);
    let (last, layers) = step.weights.layers.split_last().expect("a model has layers");
    for (index, layer) in layers.iter().enumerate() {
        step.attention(layer, index, cache, scratch);
        step.feed_forward(layer, scratch);
    }
    if wanted == rows.len() {
        step.attention(last, layers.len(), cache, scratch);
        step.feed_forward(last, scratch);
        step.last(scratch);
    } else {
        step.last_layer(last, cache, scratch);
    }
    Output { model, crew, rows: wanted, scratch }
}

/// Computes `rows` as those of prompts, stores their keys and values, and gives what the last layer makes of each, normed as the
/// output matrix takes it: `[row][width]`. Whether rows want logits does not matter.
///
/// # Panics
/// As [`forward`].
pub fn hidden<'s>(
    model: &Model,
    crew: &Crew,
    cache: &mut Cache,
    tables: &[&PageTable],
    rows: &[Row],
    scratch: &'s mut Scratch,
) -> &'s [f32] {
    let step = Step::begin(model, crew, cache, tables, Work::Prompt, rows, scratch);
    for (index, layer) in step.weights.layers.iter().enumerate() {
        step.attention(layer, index, cache, scratch);
        step.feed_forward(layer, scratch);
    }
    let width = step.config.width;
    let Scratch { residual, delta, .. } = scratch;
    let normed = &mut delta[..rows.len() * width];
    step.each_row(normed, width, |row, out| {
        let x = &residual[row * width..][..width];
        step.isa.rms_norm(x, &step.weights.output_norm, step.config.epsilon, out);
    });
    normed
}

/// Finds the rows that follow each other in their sequence.
fn stretches(rows: &[Row], stretches: &mut Vec<Stretch>) {
    stretches.clear();
    for (index, row) in rows.iter().enumerate() {
        let (position, table) = (row.position as usize, row.table);
        match stretches.last_mut() {
            Some(last)
                if last.table == table && last.position + last.rows == position && last.rows < kernel::STRETCH =>
            {
                last.rows += 1;
            }
            _ => stretches.push(Stretch { row: index, rows: 1, position, table }),
        }
    }
}

/// What all parts of a step share.
struct Step<'a> {
    config: &'a Config,
    weights: &'a Weights,
    isa: Isa,
    form: Form,
    /// Of what comes out of gates.
    gated_form: Form,
    /// Of what the output matrix takes.
    last_form: Form,
    crew: &'a Crew,
    tables: &'a [&'a PageTable],
    rows: &'a [Row],
}

impl<'a> Step<'a> {
    /// What comes before the layers: embeddings, angles, and where keys and values will go.
    fn begin(
        model: &'a Model,
        crew: &'a Crew,
        cache: &mut Cache,
        tables: &'a [&'a PageTable],
        work: Work,
        rows: &'a [Row],
        scratch: &mut Scratch,
    ) -> Self {
        assert!(rows.len() <= scratch.capacity, "{} rows of {}", rows.len(), scratch.capacity);
        let (config, weights, isa) = (model.config(), model.weights(), model.isa());
        let (form, gated_form, last_form) = (work.form(isa), work.gated_form(isa), work.last_form());
        let step = Self { config, weights, isa, form, gated_form, last_form, crew, tables, rows };
        step.each_row(&mut scratch.residual[..rows.len() * config.width], config.width, |row, x| {
            weights.embedding.row(rows[row].token as usize, x);
            if config.embedding_scale != 1.0 {
                x.iter_mut().for_each(|x| *x *= config.embedding_scale);
            }
        });
        step.all_turns(scratch);
        cache.plan(tables, rows.iter().map(|row| (row.table, row.position as usize)), &mut scratch.writes);
        stretches(rows, &mut scratch.stretches);
        step
    }

    /// Cosine and sine of the angle of every row and pair, for each of the model's ropes.
    fn all_turns(&self, scratch: &mut Scratch) {
        for (frequencies, turns) in self.weights.ropes.iter().zip(&mut scratch.turns) {
            self.turns(frequencies, turns);
        }
    }

    /// The same for one rope.
    fn turns(&self, frequencies: &Frequencies, turns: &mut [[f32; 2]]) {
        let Frequencies { of_pairs, magnitude } = frequencies;
        for (row, turns) in self.rows.iter().zip(turns.chunks_exact_mut(of_pairs.len())) {
            for (turn, frequency) in turns.iter_mut().zip(of_pairs) {
                let (sine, cosine) = (f64::from(row.position) * frequency).sin_cos();
                *turn = [(cosine * magnitude) as f32, (sine * magnitude) as f32];
            }
        }
    }

    /// `x += W_o · attention(W_q · norm(x), W_k · norm(x), W_v · norm(x))`.
    fn attention(&self, layer: &Layer, index: usize, cache: &mut Cache, scratch: &mut Scratch) {
        let count = self.rows.len();
        let Scratch { residual, normed, queries, keys, values, .. } = scratch;
        let queries = &mut queries[..count * self.config.query_width()];
        let keys = &mut keys[..count * self.config.kv_width()];
        let values = &mut values[..count * self.config.kv_width()];
        self.norm(residual, &layer.attention_norm, self.fine_form(), normed);
        self.linear(normed, [(&layer.query, queries), (&layer.key, keys), (&layer.value, values)]);
        self.store(layer, index, cache, scratch);
        self.attend(layer, index, cache, scratch);
    }

    /// The last layer, where only some rows want logits: of the others, it is asked for keys and values alone. Those
    /// that want logits are the first rows of what is computed from then on.
    fn last_layer(&self, layer: &Layer, cache: &mut Cache, scratch: &mut Scratch) {
        let (config, index) = (self.config, self.config.layers.len() - 1);
        let count = self.rows.len() * config.kv_width();
        let Scratch { residual, normed, keys, values, .. } = &mut *scratch;
        self.norm(residual, &layer.attention_norm, self.fine_form(), normed);
        self.linear(normed, [(&layer.key, &mut keys[..count]), (&layer.value, &mut values[..count])]);
        self.store(layer, index, cache, scratch);

        let mut wanted = std::mem::take(&mut scratch.wanted);
        wanted.clear();
        for (at, row) in self.rows.iter().enumerate().filter(|(_, row)| row.logits) {
            scratch.residual.copy_within(at * config.width..(at + 1) * config.width, wanted.len() * config.width);
            wanted.push(*row);
        }
        let step = Step { rows: &wanted, ..*self };
        step.all_turns(scratch);
        stretches(&wanted, &mut scratch.stretches);
        if !wanted.is_empty() {
            let Scratch { residual, normed, queries, .. } = &mut *scratch;
            step.norm(residual, &layer.attention_norm, self.fine_form(), normed);
            step.linear(normed, [(&layer.query, &mut queries[..wanted.len() * config.query_width()])]);
            step.attend(layer, index, cache, scratch);
            step.feed_forward(layer, scratch);
        }
        step.last(scratch);
        scratch.wanted = wanted;
    }

    /// What queries, keys and values are made of.
    fn fine_form(&self) -> Form {
        if self.form == Form::Codes { Form::FineCodes } else { self.form }
    }

    /// How a layer turns the row's heads.
    fn turns_of<'t>(&self, turns: &'t [Vec<[f32; 2]>], index: usize, row: usize) -> &'t [[f32; 2]] {
        let half = self.config.rope_dims / 2;
        self.config.layers[index].rope.map_or(&[], |rope| &turns[rope][row * half..(row + 1) * half])
    }

    /// Stores the keys and values of all rows.
    fn store(&self, layer: &Layer, index: usize, cache: &mut Cache, scratch: &mut Scratch) {
        let config = self.config;
        let Scratch { keys, values, turns, writes, .. } = scratch;
        let keys = &mut keys[..self.rows.len() * config.kv_width()];
        self.each_row(keys, config.kv_width(), |row, key| {
            for head in key.chunks_exact_mut(config.head_dim) {
                self.place(head, layer.key_norm.as_deref(), self.turns_of(turns, index, row));
            }
        });
        let (keys, values) = (&*keys, &**values);
        let of_head = |row: usize, head: usize| (row * config.kv_heads + head) * config.head_dim;
        cache.store_step(self.crew, writes, index, |row, head| {
            let of_head = of_head(row, head)..of_head(row, head) + config.head_dim;
            [&keys[of_head.clone()], &values[of_head]]
        });
    }

    /// What rows get of the positions that are stored, added to the residual stream.
    fn attend(&self, layer: &Layer, index: usize, cache: &Cache, scratch: &mut Scratch) {
        let config = self.config;
        let Scratch { residual, queries, attended, delta, turns, stretches, shares, .. } = scratch;
        let heads = Heads {
            dimensions: config.head_dim,
            kv_heads: config.kv_heads,
            group: config.heads / config.kv_heads,
            kv: config.kv,
            cap: config.attention_cap,
            window: config.layers[index].window.unwrap_or(usize::MAX),
        };
        let queries = &**queries;
        let query = |row: usize, head: usize, query: &mut [f32]| {
            query.copy_from_slice(&queries[(row * config.heads + head) * config.head_dim..][..config.head_dim]);
            self.place(query, layer.query_norm.as_deref(), self.turns_of(turns, index, row));
            self.isa.scale(query, config.attention_scale);
        };
        let page = |table: usize, number: usize, head: usize| cache.page(self.tables[table], number, index, head);
        attended.start(self.form, self.rows.len());
        Attention { isa: self.isa, heads, stretches, query, page }.compute(self.crew, shares, attended);

        self.linear_add(attended, &layer.attention_output, layer.post_attention_norm.as_deref(), residual, delta);
    }

    /// Norms a head of a query or key where the family does that, turns it by its position, and mixes it where keys are kept as
    /// codes: few dimensions of keys are much larger than others, whose codes would be coarse beside them.
    fn place(&self, head: &mut [f32], norm: Option<&[f32]>, turns: &[[f32; 2]]) {
        if let Some(norm) = norm {
            self.isa.rms_norm_in_place(head, norm, self.config.epsilon);
        }
        match self.config.architecture.rope_pairs() {
            RopePairs::Neighbours => self.isa.rope(head, turns),
            RopePairs::Halves => self.isa.rope_halves(head, turns),
        }
        if self.config.kv == KvType::Q8 {
            self.isa.rotate(head);
        }
    }

    /// `x += W_down · (activation(W_gate · norm(x)) × (W_up · norm(x)))`.
    fn feed_forward(&self, layer: &Layer, scratch: &mut Scratch) {
        let Scratch { residual, normed, activated, delta, .. } = scratch;
        self.norm(residual, &layer.feed_forward_norm, self.form, normed);
        let halves = [&layer.gate, &layer.up];
        let gated = Gated {
            activation: self.config.architecture.activation(),
            weights: halves.map(|linear| &linear.weights),
            biases: halves.map(|linear| linear.bias.as_deref()),
            form: self.gated_form,
        };
        kernel::gated(self.crew, self.isa, normed, gated, activated);
        self.linear_add(activated, &layer.down, layer.post_feed_forward_norm.as_deref(), residual, delta);
    }

    /// `residual += norm(linear · x)`, where a family has such a norm. `delta` is room for the product.
    fn linear_add(
        &self,
        x: &Activations,
        linear: &Linear,
        norm: Option<&[f32]>,
        residual: &mut [f32],
        delta: &mut [f32],
    ) {
        let count = self.rows.len() * self.config.width;
        let (residual, delta) = (&mut residual[..count], &mut delta[..count]);
        if norm.is_none() && linear.bias.is_none() {
            return kernel::linear_add(self.crew, self.isa, x, Product { weights: &linear.weights, out: residual });
        }
        self.linear(x, [(linear, delta)]);
        self.add(residual, delta, norm);
    }

    /// What the output matrix takes of the rows, all of which want their logits.
    fn last(&self, scratch: &mut Scratch) {
        let width = self.config.width;
        let normed = scratch.last.start(self.last_form, self.rows.len());
        for (x, out) in scratch.residual.chunks_exact(width).zip(normed.chunks_exact_mut(width)) {
            self.isa.rms_norm(x, &self.weights.output_norm, self.config.epsilon, out);
        }
        scratch.last.finish(self.crew, self.isa);
    }

    fn norm(&self, residual: &[f32], weight: &[f32], form: Form, out: &mut Activations) {
        out.norm(self.crew, self.isa, form, self.rows.len(), residual, weight, self.config.epsilon);
    }

    /// Adds what a part gives to the residual stream, normed where the family does that.
    fn add(&self, residual: &mut [f32], delta: &[f32], norm: Option<&[f32]>) {
        let width = self.config.width;
        self.each_row(&mut residual[..delta.len()], width, |row, x| {
            let delta = &delta[row * width..][..width];
            match norm {
                Some(norm) => self.isa.add_rms_norm(delta, norm, self.config.epsilon, x),
                None => self.isa.add(x, delta),
            }
        });
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
