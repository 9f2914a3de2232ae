//! Texts to embed: they go through the model as prompts do, in what room these leave, and nothing is generated.
//!
//! A request has many texts. Some of each are *open*: they have pages of the cache, and rows in steps. A page is given back
//! as soon as its text is done; none is kept for others, since a text's vector needs what the last layer makes of all its
//! tokens, and pages hold less.

use std::collections::VecDeque;

use super::request::{Event, FinishReason, SequenceFault, SequenceId, SubmitError, Timings, Usage};
use super::{PAGE, Scheduler};
use crate::cache::{Cache, PageTable};
use crate::forward::{Row, hidden};
use crate::model::{Model, Pooling};

/// Texts of one request, at most: as many as clients of `OpenAI` send.
pub const MAX_EMBEDDED: usize = 2_048;

/// Texts that are open at once, at most: enough short ones to fill a step, and few page tables.
const OPEN: usize = 32;

/// What is to be embedded.
struct Request {
    id: SequenceId,
    cancelled: bool,
    /// Those that are not open yet, with their numbers.
    waiting: VecDeque<(usize, Vec<u32>)>,
    /// Those that have no vector yet.
    left: usize,
    /// Of all its texts.
    tokens: usize,
}

impl Request {
    fn end(&self, reason: FinishReason) -> Event<'static> {
        let usage = Usage { prompt_tokens: self.tokens, ..Usage::default() };
        Event::Finished { reason, usage, timings: Timings::default() }
    }
}

/// A text that is being embedded.
struct Text {
    of: SequenceId,
    number: usize,
    tokens: Vec<u32>,
    /// Those that were computed.
    computed: usize,
    /// Those that are computed in this step.
    planned: usize,
    table: PageTable,
    /// What their vectors come to so far.
    pooled: Vec<f32>,
}

impl Text {
    fn is_done(&self) -> bool {
        self.computed == self.tokens.len()
    }

    /// Takes the vectors of the tokens that were planned. They come one by one, so that it does not matter how the text was cut.
    fn pool(&mut self, pooling: Pooling, vectors: &[f32]) {
        let width = self.pooled.len();
        match pooling {
            Pooling::Mean => vectors.chunks_exact(width).for_each(|vector| {
                self.pooled.iter_mut().zip(vector).for_each(|(sum, x)| *sum += x);
            }),
            Pooling::Last => self.pooled.copy_from_slice(&vectors[vectors.len() - width..]),
        }
        self.computed += std::mem::take(&mut self.planned);
    }

    /// Gives the text's vector the length 1: the mean's has the direction of the sum. False if it has none.
    fn normalize(&mut self) -> bool {
        let square: f64 = self.pooled.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let scale = 1.0 / square.sqrt();
        self.pooled.iter_mut().for_each(|x| *x = (f64::from(*x) * scale) as f32);
        scale.is_finite() && scale > 0.0
    }
}

/// All that is to be embedded.
#[derive(Default)]
pub(super) struct Embeddings {
    /// Those that have waiting texts take turns, from the front.
    requests: VecDeque<Request>,
    open: Vec<Text>,
    /// Of this step. Kept for its memory.
    rows: Vec<Row>,
}

impl Embeddings {
    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Texts that are being embedded.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// Requests that are there.
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Pages that the open texts may come to need.
    pub(super) fn pages(&self) -> usize {
        self.open.iter().map(|text| text.tokens.len().div_ceil(PAGE)).sum()
    }

    /// The text that is to be opened next, if there is a place: whose it is, and its pages.
    pub(super) fn next(&self) -> Option<(SequenceId, usize)> {
        let request = self.requests.iter().find(|request| !request.waiting.is_empty())?;
        let (_, tokens) = request.waiting.front().filter(|_| self.open.len() < OPEN)?;
        Some((request.id, tokens.len().div_ceil(PAGE)))
    }

    /// Opens that text; then it is another request's turn.
    pub(super) fn open_next(&mut self, width: usize) {
        let Some(at) = self.requests.iter().position(|request| !request.waiting.is_empty()) else { return };
        self.requests.rotate_left(at);
        let request = &mut self.requests[0];
        let of = request.id;
        if let Some((number, tokens)) = request.waiting.pop_front() {
            let mut table = PageTable::default();
            table.expect(tokens.len());
            self.open.push(Text { of, number, tokens, computed: 0, planned: 0, table, pooled: vec![0.0; width] });
        }
        self.requests.rotate_left(1);
    }

    pub(super) fn cancel(&mut self, id: SequenceId) -> bool {
        let request = self.requests.iter_mut().find(|request| request.id == id);
        request.map(|request| request.cancelled = true).is_some()
    }

    /// Ends those that are cancelled.
    pub(super) fn end_cancelled(&mut self, cache: &mut Cache, tell: &mut dyn FnMut(SequenceId, Event<'_>)) {
        while let Some(at) = self.requests.iter().position(|request| request.cancelled) {
            self.end(at, |request| request.end(FinishReason::Stopped), cache, tell);
        }
    }

    /// Ends a request, whatever is left of it.
    fn end(
        &mut self,
        at: usize,
        event: impl FnOnce(&Request) -> Event<'static>,
        cache: &mut Cache,
        tell: &mut dyn FnMut(SequenceId, Event<'_>),
    ) {
        let Some(request) = self.requests.remove(at) else { return };
        self.open.extract_if(.., |text| text.of == request.id).for_each(|text| cache.release(text.table));
        tell(request.id, event(&request));
    }

    /// Plans up to so many rows of the open texts, in the order in which they were opened, and about so many pairs of a query and a
    /// key.
    pub(super) fn plan(&mut self, mut rows: usize, mut pairs: usize, cache: &mut Cache) {
        self.rows.clear();
        for (table, text) in self.open.iter_mut().enumerate() {
            let most = if table == 0 { (pairs / (text.computed + 1)).max(1) } else { pairs / (text.computed + 1) };
            let planned = (text.tokens.len() - text.computed).min(most).min(rows);
            // As with sequences, it cannot fail while `admit` counts right.
            if cache.reserve(&mut text.table, text.computed + planned).is_err() {
                continue;
            }
            (rows, pairs) = (rows - planned, pairs.saturating_sub(planned * (text.computed + planned)));
            text.planned = planned;
            let tokens = text.tokens[text.computed..].iter().zip(text.computed as u32..).take(planned);
            self.rows.extend(tokens.map(|(&token, position)| Row { token, position, table, logits: false }));
        }
    }

    /// Tells the vectors of the texts that are done.
    fn tell_done(&mut self, cache: &mut Cache, tell: &mut dyn FnMut(SequenceId, Event<'_>)) {
        while let Some(at) = self.open.iter().position(Text::is_done) {
            let mut text = self.open.remove(at);
            cache.release(std::mem::take(&mut text.table));
            let request = self.requests.iter().position(|request| request.id == text.of);
            let request = request.expect("a request ends after its texts");
            if !text.normalize() {
                self.end(request, |_| Event::Failed { fault: SequenceFault::NotFinite }, cache, tell);
                continue;
            };
            tell(text.of, Event::Embedded { text: text.number, vector: &text.pooled });
            self.requests[request].left -= 1;
            if self.requests[request].left == 0 {
                self.end(request, |request| request.end(FinishReason::Stop), cache, tell);
            }
        }
    }
}

impl Scheduler {
    /// Puts texts into the queue, to be told as [`Event::Embedded`]: from each its tokens' vectors behind the last layer, pooled as the
    /// file has it ([`Model::embedding`]), of length 1. [`Event::Finished`] comes after the last. Each text is computed by
    /// itself; those of several requests take turns.
    ///
    /// # Errors
    /// [`SubmitError`], and nothing has changed.
    pub fn embed(&mut self, texts: Vec<Vec<u32>>) -> Result<SequenceId, SubmitError> {
        if self.embeddings.len() >= self.sizes.queue {
            return Err(SubmitError::Full { limit: self.sizes.queue });
        }
        if texts.len() > MAX_EMBEDDED {
            return Err(SubmitError::TooManyTexts { texts: texts.len(), limit: MAX_EMBEDDED });
        }
        if texts.is_empty() {
            return Err(SubmitError::EmptyPrompt);
        }
        texts.iter().try_for_each(|tokens| check(tokens, self.sizes.context, &self.model))?;
        let id = SequenceId(self.next_id);
        self.next_id += 1;
        let (left, tokens) = (texts.len(), texts.iter().map(Vec::len).sum());
        let waiting = texts.into_iter().enumerate().collect();
        self.embeddings.requests.push_back(Request { id, cancelled: false, waiting, left, tokens });
        Ok(id)
    }

    /// Computes what is planned of the open texts.
    pub(super) fn compute_embeddings(&mut self, tell: &mut dyn FnMut(SequenceId, Event<'_>)) {
        let Self { model, team, cache, scratch, embeddings, .. } = self;
        if embeddings.rows.is_empty() {
            return;
        }
        let Embeddings { open, rows, .. } = embeddings;
        let tables: Vec<&PageTable> = open.iter().map(|text| &text.table).collect();
        let mut vectors = team.enter(|crew| hidden(model, crew, cache, &tables, rows, scratch));
        for text in open.iter_mut().filter(|text| text.planned > 0) {
            let own;
            (own, vectors) = vectors.split_at(text.planned * text.pooled.len());
            text.pool(model.embedding().pooling, own);
        }
        embeddings.tell_done(cache, tell);
    }
}

/// Whether a text can be embedded.
fn check(tokens: &[u32], context: usize, model: &Model) -> Result<(), SubmitError> {
    let vocabulary = model.info().vocabulary_size;
    if tokens.is_empty() {
        return Err(SubmitError::EmptyPrompt);
    }
    if tokens.len() > context {
        return Err(SubmitError::PromptTooLong { tokens: tokens.len(), context });
    }
    match tokens.iter().position(|&token| token as usize >= vocabulary) {
        Some(at) => Err(SubmitError::UnknownToken { at, token: tokens[at], vocabulary }),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "embedding/tests.rs"]
mod tests;
