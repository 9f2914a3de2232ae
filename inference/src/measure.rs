//! What `causerie bench` and `causerie logits` print, and a [`Run`] for those who measure by themselves.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use crate::cache::{Cache, PageTable};
use crate::error::LoadError;
use crate::forward::{Output, Row, Work, forward};
use crate::kernel::{Crew, KvType, PAGE, Team, Wanted};
use crate::model::{LoadOptions, Model};
use crate::sampler::{Sampler, SamplingOptions, SamplingOverrides};
use crate::scheduler::MAX_SEQUENCES;
use crate::scratch::Scratch;

/// Rows of a step while a prompt is computed.
const STEP: usize = 512;
/// Rows of a step when logits of all of them are wanted: each takes as many floats as the vocabulary has tokens.
const LOGITS_STEP: usize = 32;
/// Tokens that each of several streams has before it is measured, and tokens that are measured; as in the peer's script.
const STREAM_PROMPT: usize = 128;
const STREAM_STEPS: usize = 48;
/// Repetitions, at most.
pub const MAX_REPEAT: usize = 1_000;
/// Numbers of streams that one run may measure.
pub const MAX_STREAM_RUNS: usize = 32;

/// What to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BenchOptions {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Tokens that are decoded one by one.
    pub generate: usize,
    /// Numbers of sequences to decode at once.
    pub streams: Vec<usize>,
    /// Threads; otherwise as many as the machine has cores.
    pub threads: Option<usize>,
    /// Repetitions, of which the median counts: 1 to [`MAX_REPEAT`].
    pub repeat: usize,
    /// Tokens that are there before the prompt and before what is decoded.
    pub depth: usize,
    /// What keys and values are kept as.
    pub kv: KvType,
}

impl Default for BenchOptions {
    fn default() -> Self {
        Self {
            prompt: 512,
            generate: 128,
            streams: vec![8, 32],
            threads: None,
            repeat: 3,
            depth: 0,
            kv: KvType::default(),
        }
    }
}

/// What was measured; tokens a second, but for the first two.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BenchReport {
    /// Seconds to load the model.
    pub load_s: f64,
    /// Threads that computed.
    pub threads: usize,
    /// Of a prompt.
    pub prefill_tps: f64,
    /// Of one sequence, token by token.
    pub decode_tps: f64,
    /// Of several sequences together, by their number.
    pub streams: BTreeMap<usize, f64>,
}

/// Logits of a text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LogitsReport {
    /// The model's family.
    pub arch: &'static str,
    /// The text.
    pub tokens: Vec<u32>,
    /// For each token what comes next.
    pub positions: Vec<PositionLogits>,
    /// Tokens to go on with, the likeliest each time.
    pub greedy: Vec<u32>,
}

/// What comes after a token.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PositionLogits {
    /// Logarithm of the sum of exponentials over the vocabulary.
    pub logsumexp: f64,
    /// The largest logits with their tokens, the largest first, the lower id first of equals.
    pub top: Vec<(u32, f64)>,
}

/// Why nothing was measured.
#[derive(Debug)]
pub enum MeasureError {
    /// The model could not be loaded, or the threads not started.
    Load(LoadError),
    /// A number is out of its range.
    OutOfRange {
        /// Which number.
        what: &'static str,
        /// What was asked for.
        seen: usize,
        /// The least that can be.
        least: usize,
        /// The most that can be.
        most: usize,
    },
    /// A token that the model does not know.
    UnknownToken {
        /// Its place in the list.
        at: usize,
        /// Its id.
        token: u32,
        /// Tokens that the model knows.
        vocabulary: usize,
    },
}

impl fmt::Display for MeasureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(error) => error.fmt(f),
            Self::OutOfRange { what, seen, least, most } => {
                write!(f, "{what}: {seen} is out of range; it can be {least} to {most}")
            }
            Self::UnknownToken { at, token, vocabulary } => {
                write!(f, "token {token} at place {at} is unknown: ids of this model are below {vocabulary}")
            }
        }
    }
}

impl std::error::Error for MeasureError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Load(error) => Some(error),
            _ => None,
        }
    }
}

impl From<LoadError> for MeasureError {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

/// Loads a model and measures it.
///
/// # Errors
/// [`MeasureError::Load`], and [`MeasureError::OutOfRange`] for options that the model's context or a limit forbids.
pub fn bench(path: &Path, options: &BenchOptions) -> Result<BenchReport, MeasureError> {
    within("the number of repetitions", options.repeat, 1, MAX_REPEAT)?;
    within("how many numbers of streams there are", options.streams.len(), 0, MAX_STREAM_RUNS)?;
    for &streams in &options.streams {
        within("the number of streams", streams, 1, MAX_SEQUENCES)?;
    }
    let began = Instant::now();
    let model = Model::load(path, &LoadOptions { threads: options.threads, kv: options.kv, ..LoadOptions::default() })?;
    let load_s = began.elapsed().as_secs_f64();
    model.settle();
    let context = model.config().context;
    within("the tokens of the prompt", options.prompt, 1, context)?;
    within("the tokens to decode", options.generate, 1, context)?;
    within("the depth", options.depth, 0, context - options.prompt.max(options.generate))?;
    let streams = options.streams.iter().copied().max().unwrap_or(1);
    if !options.streams.is_empty() {
        within("the tokens of a stream", STREAM_PROMPT + STREAM_STEPS, 1, context)?;
    }

    let longest = options.depth + options.prompt.max(options.generate);
    let mut run = Run::new(&model, options.threads, longest, STEP, streams)?;
    run.prefill(0, 0, options.prompt); // warms up
    let (mut prefill, mut decode) = (Vec::new(), Vec::new());
    for _ in 0..options.repeat {
        run.prefill(0, 0, options.depth);
        prefill.push(rate(options.prompt, || run.prefill(0, options.depth, options.prompt)));
        decode.push(rate(options.generate, || {
            (0..options.generate).for_each(|i| run.decode(1, options.depth + i));
        }));
    }
    let mut by_streams = BTreeMap::new();
    for &streams in &options.streams {
        run.restart(streams, STREAM_PROMPT + STREAM_STEPS);
        (0..streams).for_each(|stream| run.prefill(stream, 0, STREAM_PROMPT));
        let tps = rate(streams * STREAM_STEPS, || {
            (0..STREAM_STEPS).for_each(|i| run.decode(streams, STREAM_PROMPT + i));
        });
        by_streams.insert(streams, round(tps, 1));
    }
    Ok(BenchReport {
        load_s: round(load_s, 4),
        threads: run.team.threads(),
        prefill_tps: round(median(&mut prefill), 1),
        decode_tps: round(median(&mut decode), 1),
        streams: by_streams,
    })
}

/// Computes the logits of a text: for each token the `top` largest, and then `greedy` tokens to go on with.
///
/// # Errors
/// [`MeasureError::OutOfRange`] when there is no token or text and continuation do not fit the context, or `top` is more
/// than the vocabulary has; [`MeasureError::UnknownToken`]; [`MeasureError::Load`] if the threads cannot be started.
pub fn logits(
    model: &Model,
    tokens: &[u32],
    top: usize,
    greedy: usize,
    threads: Option<usize>,
) -> Result<LogitsReport, MeasureError> {
    let (context, vocabulary) = (model.config().context, model.info().vocabulary_size);
    within("the number of tokens", tokens.len(), 1, context)?;
    within("the number of tokens to go on with", greedy, 0, context - tokens.len())?;
    within("how many logits are wanted", top, 0, vocabulary)?;
    if let Some(at) = tokens.iter().position(|&token| token as usize >= vocabulary) {
        return Err(MeasureError::UnknownToken { at, token: tokens[at], vocabulary });
    }
    let mut run = Run::new(model, threads, tokens.len() + greedy, LOGITS_STEP, LOGITS_STEP)?;
    let mut positions = Vec::with_capacity(tokens.len());
    let mut next = 0;
    for (step, part) in tokens.chunks(LOGITS_STEP).enumerate() {
        for logits in run.logits(step * LOGITS_STEP, part).chunks_exact(vocabulary) {
            positions.push(summary(logits, top));
            next = likeliest(logits);
        }
    }
    let mut continuation = Vec::with_capacity(greedy);
    for position in tokens.len()..tokens.len() + greedy {
        continuation.push(next);
        next = likeliest(run.logits(position, &[next]));
    }
    Ok(LogitsReport { arch: model.info().architecture, tokens: tokens.to_vec(), positions, greedy: continuation })
}

/// A model with what it takes to run it, step by step and without a scheduler: for benchmarks, which say what is computed
/// and look at the clock themselves.
pub struct Run<'m> {
    model: &'m Model,
    team: Team,
    cache: Cache,
    tables: Vec<PageTable>,
    scratch: Scratch,
    /// One for each sequence.
    choices: Vec<Choice>,
}

/// How a sequence goes on.
struct Choice {
    /// Takes the likeliest token.
    sampler: Sampler,
    next: u32,
}

impl<'m> Run<'m> {
    /// One sequence with room for `len` tokens, and buffers for steps of `rows` tokens (as many as a prompt has, or 512 if
    /// that is less, for [`Run::prefill`]), of which `logits` want their logits.
    ///
    /// # Errors
    /// [`LoadError::Threads`] if the threads cannot be started.
    pub fn new(
        model: &'m Model,
        threads: Option<usize>,
        len: usize,
        rows: usize,
        logits: usize,
    ) -> Result<Self, LoadError> {
        let (team, scratch) = (Team::new(threads)?, Scratch::new(model, rows.max(logits), logits));
        let cache = Cache::new(model.config().page_shape(), 0);
        let mut run = Self { model, team, cache, tables: Vec::new(), scratch, choices: Vec::new() };
        run.restart(1, len);
        Ok(run)
    }

    /// Several sequences with room for `len` tokens each, all anew.
    pub fn restart(&mut self, sequences: usize, len: usize) {
        let shape = self.model.config().page_shape();
        self.cache = Cache::new(shape, sequences * len.div_ceil(PAGE) * shape.page_bytes());
        self.tables = (0..sequences).map(|_| PageTable::default()).collect();
        let choice = |sequence| Choice { sampler: likeliest_sampler(), next: self.token(sequence) };
        self.choices = (0..sequences).map(choice).collect();
        for table in &mut self.tables {
            self.cache.reserve(table, len).expect("the cache was made for these sequences");
        }
    }

    fn step<R>(&mut self, work: Work, rows: &[Row], take: impl FnOnce(&Crew, Output<'_>) -> R) -> R {
        let Self { model, team, cache, tables, scratch, .. } = self;
        let tables: Vec<&PageTable> = tables.iter().collect();
        team.enter(|crew| take(crew, forward(model, crew, cache, &tables, work, rows, scratch)))
    }

    /// Some token or other.
    fn token(&self, i: usize) -> u32 {
        let vocabulary = self.model.info().vocabulary_size;
        let (first, count) = if vocabulary > 200 { (100, vocabulary - 200) } else { (0, vocabulary) };
        (first + i * 7919 % count) as u32
    }

    /// Threads that compute, the caller's counted.
    pub fn threads(&self) -> usize {
        self.team.threads()
    }

    /// Computes `count` tokens of a sequence from `position`, 512 a step, and chooses the one that follows.
    ///
    /// # Panics
    /// If the sequence has no room for them.
    pub fn prefill(&mut self, sequence: usize, position: usize, count: usize) {
        for from in (0..count).step_by(STEP) {
            let rows: Vec<Row> = (from..count.min(from + STEP))
                .map(|i| Row {
                    token: self.token(i + sequence),
                    position: (position + i) as u32,
                    table: sequence,
                    logits: i + 1 == count,
                })
                .collect();
            self.choices[sequence].next = self.step(Work::Prompt, &rows, |_, output| likeliest(output.logits()));
        }
    }

    /// Computes one token of each of the first sequences, and chooses the likeliest one to go on with, as the scheduler does.
    ///
    /// # Panics
    /// If there are fewer sequences, or one has no room for it.
    pub fn decode(&mut self, sequences: usize, position: usize) {
        let row = |(table, token)| Row { token, position: position as u32, table, logits: true };
        let rows: Vec<Row> = self.choices[..sequences].iter().map(|choice| choice.next).enumerate().map(row).collect();
        let vocabulary = self.model.info().vocabulary_size;
        let wanted = vec![Wanted::Greatest(1); sequences];
        let mut choices = std::mem::take(&mut self.choices);
        self.step(Work::Generation, &rows, |crew, mut output| {
            let searched = output.search(&wanted, &|_, _, logit| logit);
            let choose = |(row, Choice { sampler, next }): (usize, &mut Choice)| {
                let token = output.found(row).and_then(|found| sampler.sample_among(&found));
                token.map(|token| *next = token).is_some()
            };
            if searched && choices[..sequences].iter_mut().enumerate().all(choose) {
                return;
            }
            let logits = output.logits().chunks_exact_mut(vocabulary);
            let mut choosing: Vec<_> = choices.iter_mut().zip(logits).collect();
            crew.chunks(&mut choosing, 1, |_, one| {
                let (Choice { sampler, next }, logits) = &mut one[0];
                *next = sampler.sample(logits);
            });
        });
        self.choices = choices;
    }

    /// What a sequence goes on with.
    ///
    /// # Panics
    /// If there is no such sequence.
    pub fn next(&self, sequence: usize) -> u32 {
        self.choices[sequence].next
    }

    /// Computes tokens of the first sequence from `position` in one step, with the logits of each: `[token][vocabulary]`.
    /// Several are a prompt, one is generated.
    ///
    /// # Panics
    /// If a token is not in the vocabulary, or there are more than the sequence or the buffers have room for.
    pub fn logits(&mut self, position: usize, tokens: &[u32]) -> &[f32] {
        let row = |(i, &token): (usize, &u32)| Row { token, position: (position + i) as u32, table: 0, logits: true };
        let rows: Vec<Row> = tokens.iter().enumerate().map(row).collect();
        let work = if tokens.len() > 1 { Work::Prompt } else { Work::Generation };
        self.step(work, &rows, |_, output| _ = output.logits());
        let logits = self.scratch.logits.as_deref().expect("they were all wanted");
        &logits[..tokens.len() * self.model.info().vocabulary_size]
    }
}

/// How many a second.
fn rate(count: usize, work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    count as f64 / began.elapsed().as_secs_f64()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

fn round(value: f64, digits: i32) -> f64 {
    let unit = 10f64.powi(digits);
    (value * unit).round() / unit
}

/// Takes the likeliest token, whatever stood before.
fn likeliest_sampler() -> Sampler {
    let greedy =
        SamplingOverrides { temperature: Some(0.0), repetition_penalty: Some(1.0), ..SamplingOverrides::default() };
    Sampler::new(&SamplingOptions::default().with(&greedy).expect("both are within their ranges"), 0)
}

fn likeliest(logits: &[f32]) -> u32 {
    let best = logits
        .iter()
        .enumerate()
        .fold((0, f32::NEG_INFINITY), |best, (id, &logit)| if logit > best.1 { (id, logit) } else { best });
    best.0 as u32
}

fn summary(logits: &[f32], top: usize) -> PositionLogits {
    let peak = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - peak).exp()).sum();
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    let order = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    if top < ids.len() {
        ids.select_nth_unstable_by(top, order);
        ids.truncate(top);
    }
    ids.sort_unstable_by(order);
    PositionLogits {
        logsumexp: round(peak + sum.ln(), 5),
        top: ids.into_iter().map(|id| (id, round(f64::from(logits[id as usize]), 5))).collect(),
    }
}

fn within(what: &'static str, seen: usize, least: usize, most: usize) -> Result<(), MeasureError> {
    if (least..=most).contains(&seen) { Ok(()) } else { Err(MeasureError::OutOfRange { what, seen, least, most }) }
}
