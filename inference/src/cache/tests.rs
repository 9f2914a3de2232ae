use proptest::prelude::*;

use super::*;
use crate::pack::GROUP;

const SHAPE: PageShape = PageShape { layers: 2, kv_heads: 2, head_dim: 20 };

fn cache(pages: usize) -> Cache {
    Cache::new(SHAPE, pages * SHAPE.page_bytes())
}

/// A key that tells its token, position and place; halves hold integers up to 2048.
fn key(token: u32, position: usize, layer: usize) -> Vec<f32> {
    let numbers = [token as f32, position as f32, layer as f32];
    (0..SHAPE.kv_heads * SHAPE.head_dim).map(|d| if d < 3 { numbers[d] } else { d as f32 }).collect()
}

/// Stores what a forward pass would, for the tokens from `from`.
fn compute(cache: &mut Cache, table: &mut PageTable, tokens: &[u32], from: usize) -> Result<(), Exhausted> {
    cache.reserve(table, tokens.len())?;
    for (position, &token) in tokens.iter().enumerate().skip(from) {
        for layer in 0..SHAPE.layers {
            let key = key(token, position, layer);
            let value: Vec<f32> = key.iter().map(|x| x + 1.0).collect();
            cache.store(table, position, layer, &key, &value);
        }
    }
    Ok(())
}

/// Checks that the cache holds these tokens.
#[track_caller]
fn assert_holds(cache: &Cache, table: &PageTable, tokens: &[u32]) {
    for layer in 0..SHAPE.layers {
        for head in 0..SHAPE.kv_heads {
            let spans: Vec<Span<'_>> = cache.spans(table, 0..tokens.len(), layer, head).collect();
            assert_eq!(spans.iter().map(|span| span.tokens).sum::<usize>(), tokens.len());
            for (position, &token) in tokens.iter().enumerate() {
                let (span, t) = (&spans[position / PAGE], position % PAGE);
                let expected = key(token, position, layer);
                for d in 0..SHAPE.head_dim {
                    let expected = expected[head * SHAPE.head_dim + d];
                    let key = span.keys[d * (PAGE / GROUP) + t / GROUP].f16(t % GROUP);
                    let value = span.values[t * SHAPE.value_lines() + d / GROUP].f16(d % GROUP);
                    assert_eq!((key, value), (expected, expected + 1.0), "{position} {layer} {head} {d}");
                }
            }
        }
    }
}

fn tokens(count: usize) -> Vec<u32> {
    (0..count as u32).map(|i| i * 7 % 1000).collect()
}

/// Computes a prompt and leaves it; gives how many tokens were known.
fn turn(cache: &mut Cache, session: Option<u128>, tokens: &[u32]) -> usize {
    let (mut table, known) = cache.resume(session, tokens);
    compute(cache, &mut table, tokens, known).unwrap();
    assert_holds(cache, &table, tokens);
    cache.keep(session, tokens.to_vec(), table);
    known
}

#[test]
fn the_next_turn_of_a_session_knows_all_of_the_last() {
    let mut cache = cache(10);
    assert_eq!(turn(&mut cache, Some(1), &tokens(100)), 0);
    assert_eq!(turn(&mut cache, Some(1), &tokens(150)), 100);
    assert_eq!(turn(&mut cache, Some(1), &tokens(150)), 149, "the last token is computed, for its logits");
    assert_eq!(cache.used_pages(), 3);
    let mut other = tokens(150);
    other[70] = 999;
    assert_eq!(turn(&mut cache, Some(1), &other), 70);
}

#[test]
fn other_sessions_share_full_pages() {
    let mut cache = cache(10);
    turn(&mut cache, Some(1), &tokens(100));
    assert_eq!(turn(&mut cache, Some(2), &tokens(120)), 64);
    assert_eq!(turn(&mut cache, None, &tokens(130)), 64, "of two that know as much, either");
    assert_eq!(cache.used_pages(), 1 + 1 + 1 + 2);
    // The first session goes another way within the page that it shares; the second does not notice.
    let mut other = tokens(100);
    other[10] = 999;
    assert_eq!(turn(&mut cache, Some(1), &other), 0);
    assert_eq!(turn(&mut cache, Some(2), &tokens(120)), 119);
}

#[test]
fn a_session_that_went_on_from_another_has_one_sequence_and_takes_it_over() {
    let mut cache = cache(10);
    let other: Vec<u32> = (0..300).map(|i| i * 11 % 1000 + 1).collect();
    turn(&mut cache, Some(1), &tokens(100));
    turn(&mut cache, Some(2), &other[..200]);
    assert_eq!(turn(&mut cache, Some(1), &other[..150]), 128, "the other session knows more");
    assert_eq!((cache.kept.len(), cache.used_pages()), (2, 4 + 1), "two pages are shared, the old ones are free");
    assert_eq!(turn(&mut cache, Some(1), &other[..180]), 150, "its own sequence, to the last token");
    assert_eq!((cache.kept.len(), cache.used_pages()), (2, 4 + 1));
}

#[test]
fn of_two_sequences_of_a_session_at_once_the_later_is_kept() {
    let mut cache = cache(10);
    let mut running = Vec::new();
    for len in [100, 70] {
        let (mut table, known) = cache.resume(Some(1), &tokens(len));
        assert_eq!(known, 0);
        compute(&mut cache, &mut table, &tokens(len), 0).unwrap();
        running.push((len, table));
    }
    running.into_iter().for_each(|(len, table)| cache.keep(Some(1), tokens(len), table));
    assert_eq!((cache.kept.len(), cache.used_pages()), (1, 2));
    assert_eq!(turn(&mut cache, Some(1), &tokens(100)), 70);
}

#[test]
fn what_was_unused_longest_gives_way() {
    let mut cache = cache(3);
    for session in 1..=3 {
        turn(&mut cache, Some(session), &[session as u32; 30]);
    }
    turn(&mut cache, Some(1), &[1; 40]);
    turn(&mut cache, Some(4), &[4; 30]);
    assert_eq!(cache.bytes(), 3 * SHAPE.page_bytes());
    assert_eq!(turn(&mut cache, Some(1), &[1; 41]), 40, "was used after the second");
    assert_eq!(turn(&mut cache, Some(2), &[2; 30]), 0, "was forgotten");
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
fn no_more_sequences_are_kept_than_the_limit() {
    let mut cache = cache(KEPT_SEQUENCES + 10);
    for session in 0..=KEPT_SEQUENCES {
        turn(&mut cache, Some(session as u128), &[session as u32; 2]);
    }
    assert_eq!(cache.used_pages(), KEPT_SEQUENCES);
    assert_eq!(turn(&mut cache, Some(1), &[1, 1, 1]), 2);
    assert_eq!(turn(&mut cache, Some(0), &[0, 0, 0]), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Sessions take turns, several at once, over few tokens, so that beginnings are often alike. Whatever is said to be
    /// known is really there, and no page is lost.
    #[test]
    fn what_is_known_is_there(
        turns in prop::collection::vec((0u128..4, 1usize..200, 0usize..3, any::<bool>()), 1..30),
    ) {
        let mut cache = cache(12);
        let mut running: Vec<(Option<u128>, Vec<u32>, PageTable)> = Vec::new();
        for (session, len, kind, end) in turns {
            if end && !running.is_empty() {
                let (session, tokens, table) = running.remove(0);
                assert_holds(&cache, &table, &tokens);
                cache.keep(session, tokens, table);
                let of_session = cache.kept.iter().filter(|kept| session.is_some() && kept.session == session).count();
                prop_assert!(of_session <= 1, "{session:?} has {of_session}");
                continue;
            }
            let tokens: Vec<u32> = (0..len).map(|i| if i > 60 * (kind + 1) { kind as u32 } else { 7 }).collect();
            let session = (session > 0).then_some(session);
            let (mut table, known) = cache.resume(session, &tokens);
            prop_assert!(known < len);
            assert_holds(&cache, &table, &tokens[..known]);
            if compute(&mut cache, &mut table, &tokens, known).is_ok() {
                running.push((session, tokens, table));
            } else {
                cache.release(table);
            }
            for (_, tokens, table) in &running {
                assert_holds(&cache, table, tokens);
            }
        }
        running.into_iter().for_each(|(_, _, table)| cache.release(table));
        while cache.evict() {}
        prop_assert_eq!(cache.used_pages(), 0);
    }
}
