//! Where the last tokens of a text stood in it before.
//!
//! An index of pairs of tokens, as compressors have it of bytes (the hash chains of zlib's deflate): a table gives the last
//! place of a pair, and each place the one before it. A token is entered once and no text is searched through, so that a
//! look-up takes less than a microsecond whatever the length of the text.

/// Tokens that a match has at least. One token alone says little about what follows.
pub(super) const SHORTEST: usize = 2;

/// Tokens from which on a match is not told from a longer one.
pub(super) const LONGEST: usize = 6;

/// Tokens that are looked back on: at 8 bytes each, 128 KiB a sequence at most.
pub(super) const WINDOW: usize = 1 << 14;

/// Earlier places that one look-up compares. In a text that repeats one pair for ever they are all as good.
const PLACES: usize = 16;

/// An earlier place whose tokens are the last ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Match {
    /// What follows there begins here; below the number of tokens.
    pub(super) next: usize,
    /// Tokens that are the same, [`SHORTEST`] to [`LONGEST`].
    pub(super) len: usize,
}

/// The index of a text that grows at its end.
pub(super) struct Lookup {
    /// By the hash of a pair, the token behind its last place; 0 where there is none.
    heads: Box<[u32]>,
    /// By the place of a token, in turns: the token behind the place before of the pair that ends there.
    links: Box<[u32]>,
    /// Tokens in front of which all pairs are entered.
    entered: usize,
}

impl Lookup {
    /// An index of a text that will have at most `limit` tokens.
    pub(super) fn new(limit: usize) -> Self {
        let places = limit.clamp(SHORTEST, WINDOW).next_power_of_two();
        let room = || vec![0; places].into_boxed_slice();
        Self { heads: room(), links: room(), entered: 0 }
    }

    /// Enters what is new of a text, and finds the earlier place that has most in common with its end; of equals the last.
    pub(super) fn find(&mut self, tokens: &[u32]) -> Option<Match> {
        self.enter(tokens);
        let pair = pair_before(tokens, tokens.len())?;
        let mut best: Option<Match> = None;
        let mut place = self.heads[self.slot(pair)] as usize;
        for _ in 0..PLACES {
            if place == 0 || place + self.links.len() <= self.entered {
                break; // there is none, or its link is another's by now
            }
            let len = common_end(&tokens[..place], tokens);
            if len >= SHORTEST && best.is_none_or(|best| len > best.len) {
                best = Some(Match { next: place, len });
                if len == LONGEST {
                    break;
                }
            }
            place = self.links[place % self.links.len()] as usize;
        }
        best
    }

    /// Enters all pairs that something follows.
    fn enter(&mut self, tokens: &[u32]) {
        let last = tokens.len().saturating_sub(1);
        for place in (self.entered + 1).max(tokens.len().saturating_sub(self.links.len()))..=last {
            if let Some(pair) = pair_before(tokens, place) {
                let slot = self.slot(pair);
                self.links[place % self.links.len()] = std::mem::replace(&mut self.heads[slot], place as u32);
            }
        }
        self.entered = last;
    }

    /// Fibonacci hashing: the high bits of a product with 2^64 divided by the golden ratio.
    fn slot(&self, [first, second]: [u32; 2]) -> usize {
        let pair = u64::from(first) << 32 | u64::from(second);
        let hash = (pair ^ pair >> 29).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (hash >> 32) as usize & (self.heads.len() - 1)
    }
}

/// The two tokens before a place.
fn pair_before(tokens: &[u32], place: usize) -> Option<[u32; 2]> {
    tokens[..place].last_chunk().copied()
}

/// How many tokens two texts end on alike, up to [`LONGEST`].
fn common_end(a: &[u32], b: &[u32]) -> usize {
    a.iter().rev().zip(b.iter().rev()).take(LONGEST).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By looking at every place.
    fn searched(tokens: &[u32]) -> Option<Match> {
        let places = (1..tokens.len()).map(|next| Match { next, len: common_end(&tokens[..next], tokens) });
        places.filter(|place| place.len >= SHORTEST).max_by_key(|place| place.len) // the last of equals
    }

    #[test]
    fn the_longest_match_is_found_and_the_last_of_equals() {
        let mut lookup = Lookup::new(100);
        assert_eq!(lookup.find(&[]), None);
        assert_eq!(lookup.find(&[1]), None);
        assert_eq!(lookup.find(&[1, 2]), None);
        let text = [1, 2, 3, 7, 8, 2, 3, 9, 4, 2, 3, 5, 1, 2, 3];
        assert_eq!(lookup.find(&text), Some(Match { next: 3, len: 3 }));
        assert_eq!(Lookup::new(100).find(&text[1..]), Some(Match { next: 10, len: 2 }));
    }

    #[test]
    fn what_is_further_back_than_the_window_is_forgotten() {
        let text =
            |between: usize| -> Vec<u32> { [5, 6, 7].into_iter().chain((100..).take(between)).chain([5, 6]).collect() };
        for between in [10, WINDOW - 4] {
            assert_eq!(Lookup::new(WINDOW * 2).find(&text(between)), Some(Match { next: 2, len: 2 }), "{between}");
        }
        for between in [WINDOW - 2, WINDOW * 3] {
            let mut lookup = Lookup::new(WINDOW * 4);
            assert_eq!(lookup.find(&text(between)), None, "{between}");
            assert!(lookup.heads.len() + lookup.links.len() <= 2 * WINDOW);
        }
    }

    proptest! {
        /// Whatever the pieces in which a text comes, as long as no more places than are compared have its last pair.
        #[test]
        fn an_index_finds_what_a_search_does(
            tokens in prop::collection::vec(0u32..12, 0..120),
            steps in prop::collection::vec(1usize..30, 1..20),
        ) {
            let mut lookup = Lookup::new(WINDOW);
            let mut len = 0;
            for step in steps.iter().cycle().take(120) {
                len = (len + step).min(tokens.len());
                let text = &tokens[..len];
                let same = |place: &usize| common_end(&text[..*place], text) >= SHORTEST;
                if (1..len).filter(same).count() <= PLACES / 2 {
                    prop_assert_eq!(lookup.find(text), searched(text));
                } else {
                    prop_assert!(lookup.find(text).is_some());
                }
            }
        }
    }
}
