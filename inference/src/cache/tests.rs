use proptest::prelude::*;

use super::*;
use crate::kernel::{BF16, CODES, lines_of};
use crate::pack::GROUP;

#[path = "tests/saved.rs"]
mod saved;

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
fn the_next_turn_of_a_session_knows_all_of_the_last() {
    let mut cache = cache(10);
    let ((known, own), mut history) = answered(&mut cache, Some(1), &tokens(100), 50);
    assert_eq!((known, own, history.len()), (0, 0, 150));
    history.extend([1, 2, 3]);
    assert_eq!(turn(&mut cache, Some(1), &history), (150, 150));
    assert_eq!(turn(&mut cache, Some(1), &history), (152, 152), "the last token is computed, for its logits");
    history[70] = 999;
    assert_eq!(turn(&mut cache, Some(1), &history), (70, 70));
}

#[test]
fn prompts_are_shared_by_all_and_counted_for_none_but_those_who_left_them() {
    let mut cache = cache(20);
    turn(&mut cache, Some(1), &tokens(100));
    assert_eq!(turn(&mut cache, Some(2), &tokens(120)), (100, 0), "a full page, and the beginning of another");
    assert_eq!(turn(&mut cache, None, &tokens(130)), (120, 0));
    assert_eq!(turn(&mut cache, Some(2), &tokens(140)), (130, 120));
    // The first session goes another way within a page that others have; they do not notice.
    let mut other = tokens(100);
    other[10] = 999;
    assert_eq!(turn(&mut cache, Some(1), &other), (10, 10));
    assert_eq!(turn(&mut cache, Some(2), &tokens(140)), (139, 139));
}

#[test]
fn answers_are_their_sessions_own() {
    let mut cache = cache(20);
    let ((..), mut history) = answered(&mut cache, Some(1), &tokens(100), 150);
    history.extend(tokens(30));
    assert_eq!(turn(&mut cache, Some(2), &history), (100, 0), "the prompt, to the middle of a page");
    assert_eq!(turn(&mut cache, Some(1), &history), (250, 250));
    // What follows an answer is computed on top of it.
    assert_eq!(turn(&mut cache, Some(3), &history), (279, 0), "the second session had all of it as a prompt");
    assert_eq!(turn(&mut cache, Some(1), &history), (279, 279));
    assert_eq!(answered(&mut cache, None, &tokens(64), 64).0, (63, 0));
    assert_eq!(turn(&mut cache, None, &[tokens(64), vec![500; 9]].concat()), (64, 0), "nobody's answer is not kept");
}

#[test]
fn a_page_is_shared_as_soon_as_it_is_full() {
    let mut cache = cache(20);
    let mut first = Running::begin(&mut cache, Some(1), &tokens(200));
    first.compute(&mut cache, 130).unwrap();
    let mut second = Running::begin(&mut cache, Some(2), &tokens(200));
    assert_eq!((second.known, second.own), (128, 0));
    // Both go on by themselves; whoever is later takes the page of the earlier.
    first.compute(&mut cache, 195).unwrap();
    second.compute(&mut cache, 195).unwrap();
    check(&cache, [&first, &second]);
    assert_eq!(cache.used_pages(), 3 + 2, "three full pages, and a last one each");
}

#[test]
fn a_session_finds_the_same_with_others_as_alone() {
    let mut cache = cache(30);
    let ((..), mut history) = answered(&mut cache, Some(1), &tokens(10), 40);
    history.extend(tokens(200));
    turn(&mut cache, Some(2), &history); // knows all of it, as a prompt
    assert_eq!(turn(&mut cache, Some(1), &history), (50, 50), "it goes on from its own answer");
}

#[test]
fn what_was_unused_longest_gives_way() {
    let mut cache = cache(3);
    for session in 1..=3 {
        turn(&mut cache, Some(session), &[session as u32; 30]);
    }
    turn(&mut cache, None, &[1; 30]);
    assert_eq!(turn(&mut cache, Some(4), &[4; 30]), (0, 0));
    assert_eq!(cache.bytes(), 3 * SHAPE.page_bytes());
    assert_eq!(turn(&mut cache, Some(2), &[2; 30]), (0, 0), "was forgotten");
    assert_eq!(turn(&mut cache, Some(1), &[1; 31]).0, 30, "was used after the second");
}

#[test]
fn what_runs_is_not_forgotten() {
    let mut cache = cache(4);
    let mut running = Running::begin(&mut cache, Some(1), &tokens(130));
    running.compute(&mut cache, 130).unwrap();
    for session in 2..9 {
        turn(&mut cache, Some(session), &[session as u32; 40]);
    }
    check(&cache, [&running]);
    let mut second = Running::begin(&mut cache, None, &[9; 65]);
    assert_eq!(second.compute(&mut cache, 65), Err(Exhausted));
    check(&cache, [&running, &second]);
}

#[test]
fn a_full_cache_says_so_and_stays_usable() {
    let mut cache = cache(2);
    let mut table = PageTable::default();
    cache.reserve(&mut table, 128).unwrap();
    let mut second = PageTable::default();
    assert_eq!(cache.reserve(&mut second, 1), Err(Exhausted));
    assert_eq!(cache.reserve(&mut table, 129), Err(Exhausted));
    cache.release(table);
    cache.reserve(&mut second, 100).unwrap();
    assert_eq!((cache.used_pages(), cache.limit_pages()), (2, 2));
}

#[test]
fn the_longest_silent_session_is_forgotten_beyond_the_limit() {
    let mut cache = cache(2);
    for session in 0..=SESSIONS as u128 {
        turn(&mut cache, Some(session), &[7; 3]);
    }
    assert_eq!(turn(&mut cache, Some(0), &[7; 3]), (2, 0));
    assert_eq!(turn(&mut cache, Some(SESSIONS as u128), &[7; 3]), (2, 2));
}

#[test]
fn a_deleted_session_leaves_nothing_but_what_others_left_too() {
    let mut cache = cache(30);
    let (_, first) = answered(&mut cache, Some(1), &tokens(150), 100);
    answered(&mut cache, Some(1), &[first.clone(), tokens(70)].concat(), 30);
    cache.forget(1);
    check(&cache, []);
    assert_eq!((cache.used_pages(), cache.tree.len()), (0, 0));

    // Another session has the first page, too, and a third goes on from the second.
    answered(&mut cache, Some(1), &tokens(200), 100);
    answered(&mut cache, Some(2), &tokens(70), 100);
    let running = Running::begin(&mut cache, Some(3), &tokens(129));
    cache.forget(1);
    check(&cache, [&running]);
    assert_eq!(turn(&mut cache, Some(2), &[tokens(70), vec![500; 9]].concat()).1, 70);
    cache.release(running.table);
    assert_eq!(turn(&mut cache, Some(1), &tokens(250)), (128, 0));
    // What is forgotten is not saved.
    cache.forget(1);
    cache.forget(2);
    assert!(turn(&mut saved::restart(&cache, 30), Some(2), &tokens(250)).0 <= 128);
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

#[derive(Clone, Debug)]
enum Operation {
    Begin {
        session: u128,
        prompt: Vec<u32>,
    },
    /// The next turn of a session: what it left, and some more.
    GoOn {
        at: usize,
        more: usize,
    },
    Compute {
        at: usize,
        count: usize,
    },
    End {
        at: usize,
    },
    Fail {
        at: usize,
    },
    /// Somebody deletes the session.
    Forget {
        session: u128,
    },
    /// Everything that runs is lost.
    Restart,
}

/// Prompts of few tokens, so that beginnings are often alike.
fn operation() -> impl Strategy<Value = Operation> {
    let prompt = (1usize..200, 1usize..4, 0u32..3).prop_map(|(len, common, other)| {
        (0..len).map(|i| if i > 50 * common { other } else { 7 }).collect::<Vec<u32>>()
    });
    prop_oneof![
        2 => (0u128..4, prompt).prop_map(|(session, prompt)| Operation::Begin { session, prompt }),
        2 => (0usize..9, 1usize..40).prop_map(|(at, more)| Operation::GoOn { at, more }),
        6 => (0usize..9, 1usize..90).prop_map(|(at, count)| Operation::Compute { at, count }),
        2 => (0usize..9).prop_map(|at| Operation::End { at }),
        1 => (0usize..9).prop_map(|at| Operation::Fail { at }),
        1 => (1u128..4).prop_map(|session| Operation::Forget { session }),
        1 => Just(Operation::Restart),
    ]
}

/// What a session could see of one of its sequences: what it found of its own, and on what each token was computed.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    session: u128,
    own: usize,
    histories: Vec<u32>,
}

/// Sequences that come and go.
#[derive(Default)]
struct Play {
    /// If not all sessions play: which one.
    only: Option<u128>,
    /// Prompts are computed at once.
    at_once: bool,
    running: Vec<Option<Running>>,
    /// The session and the last known tokens of each sequence.
    left: Vec<(u128, Vec<u32>)>,
    seen: Vec<Seen>,
}

impl Play {
    fn begin(&mut self, cache: &mut Cache, session: u128, prompt: Vec<u32>) {
        let mut begun = None;
        if self.only.is_none_or(|only| only == session) {
            let mut running = Running::begin(cache, (session > 0).then_some(session), &prompt);
            self.seen.push(Seen { session, own: running.own, histories: running.histories.clone() });
            if self.at_once {
                running.compute(cache, prompt.len()).unwrap();
                self.seen.last_mut().unwrap().histories.clone_from(&running.histories);
            }
            begun = Some(running);
        }
        self.running.push(begun);
        self.left.push((session, prompt));
    }

    fn play(&mut self, cache: &mut Cache, operation: &Operation) {
        let count = self.running.len().max(1);
        match *operation {
            Operation::Begin { session, ref prompt } => self.begin(cache, session, prompt.clone()),
            Operation::GoOn { at, more } => {
                let Some((session, tokens)) = self.left.get(at % count).cloned() else { return };
                self.begin(cache, session, [tokens, vec![3; more]].concat());
            }
            Operation::Compute { at, count: more } => {
                let Some(Some(running)) = self.running.get_mut(at % count) else { return };
                let _ = running.compute(cache, running.computed() + more);
                self.left[at % count].1.clone_from(&running.tokens);
            }
            Operation::End { at } => {
                let Some(Some(ended)) = self.running.get_mut(at % count).map(Option::take) else { return };
                ended.end(cache);
            }
            Operation::Fail { at } => {
                let Some(Some(failed)) = self.running.get_mut(at % count).map(Option::take) else { return };
                cache.release(failed.table);
            }
            Operation::Forget { session } => {
                if self.only.is_none_or(|only| only == session) {
                    cache.forget(session);
                }
            }
            Operation::Restart => {
                self.running.iter_mut().for_each(|lost| *lost = None);
                *cache = saved::restart(cache, cache.limit_pages());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever sequences come and go, in however little room: what is said to be known is there and is no other session's
    /// answer, no page is lost or in two places, and no more is taken than the limit.
    #[test]
    fn what_is_known_is_there(operations in prop::collection::vec(operation(), 1..60), pages in 1usize..16) {
        let (mut cache, mut play) = (cache(pages), Play::default());
        for operation in &operations {
            play.play(&mut cache, operation);
            check(&cache, play.running.iter().flatten());
        }
        play.running.into_iter().flatten().for_each(|running| cache.release(running.table));
        check(&cache, []);
        while cache.evict() {}
        prop_assert_eq!(cache.used_pages(), 0);
        prop_assert!(cache.tree.by_use().all(|node| cache.tree.saved(node).is_some()), "the file's are left");
    }

    /// As long as there is room, no session can see from what it finds, or from what its answers are computed on, whether
    /// others are there.
    #[test]
    fn a_session_sees_nothing_of_others(operations in prop::collection::vec(operation(), 1..60)) {
        let seen = |only: Option<u128>| {
            let (mut cache, mut play) = (cache(1000), Play { only, at_once: true, ..Play::default() });
            operations.iter().for_each(|operation| play.play(&mut cache, operation));
            play.seen
        };
        let all = seen(None);
        for session in 1..4 {
            let mut of_session = all.clone();
            of_session.retain(|seen| seen.session == session);
            prop_assert_eq!(of_session, seen(Some(session)));
        }
    }
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
