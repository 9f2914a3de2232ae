#[path = "tests/play.rs"]
mod play;
#[path = "tests/saved.rs"]
mod saved;
#[path = "tests/sharing.rs"]
mod sharing;

use proptest::prelude::*;

use super::*;
use crate::kernel::{BF16, CODES, lines_of};
use crate::pack::GROUP;

const SHAPE: PageShape = PageShape { layers: 2, kv_heads: 2, head_dim: 20, kv: KvType::Bf16 };

fn cache(pages: usize) -> Cache {
    Cache::new(SHAPE, pages * SHAPE.page_bytes())
}

/// Of prompts alone: the same for everybody.
const PROMPT: u32 = 0;

/// A key that tells its token, position and place, and on whose history it was computed; bf16 holds integers up to
/// 256.
fn key(token: u32, position: usize, layer: usize, history: u32) -> Vec<f32> {
    let position = position as u32;
    let numbers = [token % 250, token / 250, position % 250, position / 250, layer as u32, history];
    (0..SHAPE.kv_heads * SHAPE.head_dim).map(|d| numbers.get(d).copied().unwrap_or(d as u32) as f32).collect()
}

/// A sequence as a scheduler runs it.
struct Running {
    session: Option<u128>,
    prompt: usize,
    tokens: Vec<u32>,
    table: PageTable,
    known: usize,
    own: usize,
    /// Whose history each computed token is part of.
    histories: Vec<u32>,
}

impl Running {
    fn begin(cache: &mut Cache, session: Option<u128>, prompt: &[u32]) -> Self {
        let Resumed { table, known, own } = cache.resume(session, prompt);
        assert!(known < prompt.len() && own <= known, "{own} {known}");
        let histories = (0..known).map(|position| stored(cache, &table, position).3).collect();
        let running = Self { session, prompt: prompt.len(), tokens: prompt.to_vec(), table, known, own, histories };
        running.check(cache);
        running
    }

    fn history(&self) -> u32 {
        self.session.map_or(99, |session| session as u32 + 1)
    }

    fn computed(&self) -> usize {
        self.histories.len()
    }

    /// Computes what a forward pass would, to so many tokens: first of the prompt, then an answer.
    fn compute(&mut self, cache: &mut Cache, to: usize) -> Result<(), Exhausted> {
        cache.reserve(&mut self.table, to)?;
        for position in self.computed()..to {
            if position == self.tokens.len() {
                self.tokens.push(500 + position as u32 % 3);
            }
            let before = self.histories.last().copied().unwrap_or(PROMPT);
            let history = if position < self.prompt { before } else { self.history() };
            for layer in 0..SHAPE.layers {
                let key = key(self.tokens[position], position, layer, history);
                let value: Vec<f32> = key.iter().map(|x| x + 1.0).collect();
                cache.store(&self.table, position, layer, &key, &value);
            }
            self.histories.push(history);
        }
        cache.publish(&mut self.table, &self.tokens[..self.histories.len()]);
        Ok(())
    }

    /// That the cache holds what was computed, whoever computed it, and nothing that others were answered.
    #[track_caller]
    fn check(&self, cache: &Cache) {
        for (position, &history) in self.histories.iter().enumerate() {
            let (token, at, layer, stored) = stored(cache, &self.table, position);
            assert_eq!((token, at, layer, stored), (self.tokens[position], position, 0, history));
            assert!([PROMPT, self.history()].contains(&history), "{position}: {history}");
        }
        for layer in 0..SHAPE.layers {
            for head in 0..SHAPE.kv_heads {
                let spans: Vec<Span<'_>> = cache.spans(&self.table, 0..self.computed(), layer, head).collect();
                assert_eq!(spans.iter().map(|span| span.tokens).sum::<usize>(), self.computed());
                for (position, &history) in self.histories.iter().enumerate() {
                    let expected = key(self.tokens[position], position, layer, history);
                    for d in 0..SHAPE.head_dim {
                        let expected = expected[head * SHAPE.head_dim + d];
                        assert_eq!(number(&spans[position / PAGE], position % PAGE, d), (expected, expected + 1.0));
                    }
                }
            }
        }
    }

    fn end(mut self, cache: &mut Cache) {
        self.table.vouch();
        let computed = self.computed();
        cache.keep(self.table, &self.tokens[..computed]);
    }
}

/// A dimension of the key and the value of a token.
fn number(span: &Span<'_>, token: usize, d: usize) -> (f32, f32) {
    match span.page.kv() {
        KvType::Bf16 => of_lanes::<BF16>(span.page, token, d),
        KvType::Q8 => {
            let [keys, values] = span.page.token_scales().unwrap();
            let (key, value) = of_lanes::<CODES>(span.page, token, d);
            (key * keys[token], value * values[token])
        }
    }
}

fn of_lanes<const PER: usize>(page: PageView<'_>, token: usize, d: usize) -> (f32, f32) {
    let key = page.keys[d / PER * (PAGE / GROUP) + token / GROUP].number::<PER>(token % GROUP, d % PER);
    let value = &page.values[token / PER * lines_of(SHAPE.head_dim) + d / GROUP];
    (key, value.number::<PER>(d % GROUP, token % PER))
}

/// Token, position, layer and history, as they are stored for a position.
fn stored(cache: &Cache, table: &PageTable, position: usize) -> (u32, usize, usize, u32) {
    let span = cache.spans(table, position..position + 1, 0, 0).next().unwrap();
    let key = |d| number(&span, position % PAGE, d).0 as u32;
    (key(0) + 250 * key(1), (key(2) + 250 * key(3)) as usize, key(4) as usize, key(5))
}

#[track_caller]
fn check<'a>(cache: &Cache, running: impl IntoIterator<Item = &'a Running>) {
    let mut had = cache.tree.check();
    for running in running {
        running.check(cache);
        had.extend(&running.table.pages);
    }
    cache.pool.check(&had);
}

fn tokens(count: usize) -> Vec<u32> {
    (0..count as u32).map(|i| i * 7 % 400).collect()
}

/// Computes a prompt and leaves it; gives how many tokens were known, and of those the session's own.
fn turn(cache: &mut Cache, session: Option<u128>, tokens: &[u32]) -> (usize, usize) {
    answered(cache, session, tokens, 0).0
}

/// The same with an answer; gives the tokens that were left, too.
fn answered(cache: &mut Cache, session: Option<u128>, prompt: &[u32], answer: usize) -> ((usize, usize), Vec<u32>) {
    let mut running = Running::begin(cache, session, prompt);
    let known = (running.known, running.own);
    running.compute(cache, prompt.len() + answer).unwrap();
    running.check(cache);
    let tokens = running.tokens.clone();
    running.end(cache);
    (known, tokens)
}

#[test]
fn numbers_that_are_not_finite_are_not_kept() {
    let mut cache = cache(4);
    let mut running = Running::begin(&mut cache, Some(1), &tokens(130));
    running.compute(&mut cache, 63).unwrap();
    cache.reserve(&mut running.table, 64).unwrap();
    let width = SHAPE.kv_heads * SHAPE.head_dim;
    cache.store(&running.table, 63, 1, &vec![f32::NAN; width], &vec![1.0; width]);
    running.histories.push(PROMPT);
    running.compute(&mut cache, 130).unwrap();
    cache.keep(running.table, &running.tokens);
    let again = Running::begin(&mut cache, Some(1), &tokens(130));
    assert_eq!(again.known, 0, "nor what was computed on top of them");
    cache.release(again.table);
    check(&cache, []);
    assert_eq!(cache.used_pages(), 0, "free, and finite");
    turn(&mut cache, Some(1), &tokens(130));
    while cache.evict() {}
    check(&cache, []);
    assert_eq!(cache.used_pages(), 0);
}

/// Keys and values of three tokens, one of them at the end of the page, of numbers of any size.
const CODED: [(usize, f32); 3] = [(0, 1.0), (5, 1e-30), (PAGE - 1, 3e4)];

fn coded(scale: f32, kv: usize) -> Vec<f32> {
    (0..40).map(|d| scale * ((d * 7 + kv) as f32 * 0.37).sin()).collect()
}

#[test]
fn codes_are_as_near_as_eight_bits_are() {
    let shape = PageShape { kv: KvType::Q8, ..SHAPE };
    let mut cache = Cache::new(shape, shape.page_bytes());
    let mut table = PageTable::default();
    cache.reserve(&mut table, PAGE).unwrap();
    for (token, scale) in CODED {
        cache.store(&table, token, 1, &coded(scale, 0), &coded(scale, 1));
    }
    for (token, scale) in CODED {
        for head in 0..2 {
            let span = cache.spans(&table, 0..PAGE, 1, head).next().unwrap();
            for d in 0..SHAPE.head_dim {
                let (key, value) = number(&span, token, d);
                let near =
                    |stored: f32, kv| (stored - coded(scale, kv)[head * SHAPE.head_dim + d]).abs() <= scale / 253.0;
                assert!(near(key, 0) && near(value, 1), "{token} {head} {d}: {key} {value}");
            }
        }
    }
    // What is no number is found out by its scale.
    for bad in [f32::NAN, f32::INFINITY, -f32::NAN] {
        for at in [3, 39] {
            let mut key = coded(1.0, 0);
            key[at] = bad;
            cache.store(&table, 7, 1, &key, &coded(1.0, 1));
            assert!(!shape.is_finite(&cache.pool[table.pages[0]]), "{bad} at {at}");
            cache.store(&table, 7, 1, &coded(1.0, 0), &key);
            assert!(!shape.is_finite(&cache.pool[table.pages[0]]), "{bad} at {at}");
            cache.store(&table, 7, 1, &coded(1.0, 0), &coded(1.0, 1));
            assert!(shape.is_finite(&cache.pool[table.pages[0]]));
        }
    }
    cache.release(table);
}
