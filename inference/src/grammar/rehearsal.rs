//! Texts that are made up when a grammar is new, so that its lexer knows the places that answers come by.
//!
//! A lexer finds its states when it first comes to them, and each costs some microseconds; where a string may have at most so
//! many characters, each character is another state. What has been found here is found by no answer.

use std::time::{Duration, Instant};

use llguidance::toktrie::TokEnv;

use super::compile::{Compiled, MAX_LEARNT_STATES};
use super::matcher::{Matcher, Next};

/// How long texts are made up. One mask of a hostile grammar takes some milliseconds more.
const TIME: Duration = Duration::from_millis(40);
/// Texts, at most.
const TEXTS: usize = 32;
/// Tokens of a text, at most.
const TOKENS: usize = 256;

/// States that one token brings, hardly ever more: what it leaves is the answers' to learn.
const ROOM: usize = 500;

/// Characters that end something, most often first.
const ENDS: &[u8] = b"\"}],;)>\n";

/// Makes up texts of a grammar.
pub(super) fn rehearse(grammar: &Compiled, tokens: &TokEnv) {
    let began = Instant::now();
    let mut matcher = grammar.matcher();
    let ends: Vec<u32> = ENDS.iter().filter_map(|&byte| tokens.tok_trie().token_id(&[byte])).collect();
    let mut random = Random(1);
    for _ in 0..TEXTS {
        for _ in 0..TOKENS {
            let Some(token) = choose(&mut matcher, &ends, &mut random) else { break };
            if tokens.tok_trie().eos_tokens().contains(&token) || matcher.accept(token).is_err() {
                break;
            }
            if began.elapsed() > TIME || matcher.states() > MAX_LEARNT_STATES - ROOM {
                return matcher.leave();
            }
        }
        if !matcher.is_sound() {
            return; // what it has learnt until then is little
        }
        matcher.restart();
    }
    matcher.leave();
}

/// A token that may come next: every third time one that ends something, if it may, so that texts come to an end.
fn choose(matcher: &mut Matcher, ends: &[u32], random: &mut Random) -> Option<u32> {
    let Ok(Next::Tokens(allowed)) = matcher.allowed() else { return None };
    let is_allowed = |token: u32| allowed[token as usize / 32] >> (token % 32) & 1 == 1;
    if random.below(3) == 0
        && let Some(&end) = ends.iter().find(|&&token| is_allowed(token))
    {
        return Some(end);
    }
    let tokens = allowed.len() * 32;
    let from = random.below(tokens);
    (from..tokens).chain(0..from).map(|token| token as u32).find(|&token| is_allowed(token))
}

/// Numbers that look random, the same each time (Marsaglia, 2003: xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}
