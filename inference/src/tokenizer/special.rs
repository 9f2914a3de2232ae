//! Tokens that are found in text as they stand: control tokens, and tokens that the model's makers added whole.

use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, Input, MatchKind};

use super::vocabulary::MAX_TOKEN_BYTES;

/// The most tokens that are looked for in text. Known vocabularies have up to some 6,500.
pub const MAX_SPECIAL_TOKENS: usize = 1 << 14;

/// A stretch of text, or a token that was found in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part<'t> {
    Text(&'t str),
    Token(u32),
}

/// Finds tokens in text: from left to right, at each place the longest, in time that is linear whatever they are.
#[derive(Debug, Clone, Default)]
pub(super) struct SpecialTokens {
    /// Of all texts (Aho and Corasick, 1975). Built for the first text, since thousands of tokens take milliseconds.
    automaton: OnceLock<AhoCorasick>,
    /// Ids and texts, in the order of the automaton's patterns: sorted by text.
    tokens: Vec<(String, u32)>,
    /// Whether the whitespace after most of them belongs to them.
    strips_after: bool,
}

/// Tokens after which whitespace is text in any case.
const NEVER_STRIPPED: [&str; 3] = ["<unk>", "<s>", "<|endoftext|>"];

impl SpecialTokens {
    /// A finder of these tokens, at most [`MAX_SPECIAL_TOKENS`] of at most [`MAX_TOKEN_BYTES`].
    pub(super) fn new(mut tokens: Vec<(String, u32)>, strips_after: bool) -> Self {
        tokens.sort();
        Self { automaton: OnceLock::new(), tokens, strips_after }
    }

    fn automaton(&self) -> &AhoCorasick {
        // A state for each byte, and some.
        const { assert!(MAX_SPECIAL_TOKENS * MAX_TOKEN_BYTES <= 1 << 24) };
        self.automaton.get_or_init(|| {
            let mut builder = AhoCorasick::builder();
            builder.match_kind(MatchKind::LeftmostLongest);
            builder.build(self.tokens.iter().map(|(text, _)| text)).expect("an automaton may have 2^31 states")
        })
    }

    pub(super) fn id(&self, text: &str) -> Option<u32> {
        let place = self.tokens.binary_search_by(|(known, _)| known.as_str().cmp(text)).ok()?;
        Some(self.tokens[place].1)
    }

    /// The first token's place in `text`, not before byte `from`.
    pub(super) fn find_at(&self, text: &str, from: usize) -> Option<(std::ops::Range<usize>, u32)> {
        if self.tokens.is_empty() {
            return None;
        }
        let found = self.automaton().find(Input::new(text).range(from..))?;
        Some((found.range(), self.tokens[found.pattern().as_usize()].1))
    }

    /// Gives `part` the tokens in `text` and what is between them, in order, without empty parts.
    pub(super) fn split<'t>(&self, text: &'t str, mut part: impl FnMut(Part<'t>)) {
        let mut from = 0;
        while let Some((range, id)) = self.find_at(text, from) {
            if from < range.start {
                part(Part::Text(&text[from..range.start]));
            }
            part(Part::Token(id));
            from = range.end;
            if self.strips_after && !NEVER_STRIPPED.contains(&&text[range]) {
                // As C's `isspace` has it.
                let is_space = |c: char| matches!(c, ' ' | '\t'..='\r');
                from = text.len() - text[from..].trim_start_matches(is_space).len();
            }
        }
        if from < text.len() {
            part(Part::Text(&text[from..]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(texts: &[&str]) -> SpecialTokens {
        SpecialTokens::new(texts.iter().map(ToString::to_string).zip(0..).collect(), false)
    }

    fn split<'t>(tokens: &SpecialTokens, text: &'t str) -> Vec<Part<'t>> {
        let mut parts = Vec::new();
        tokens.split(text, |part| parts.push(part));
        parts
    }

    #[test]
    fn the_longest_token_wins_and_their_characters_have_no_meaning() {
        use Part::{Text, Token};
        let tokens = tokens(&["<|a|>", "<|a|>|", ".*"]);
        assert_eq!(split(&tokens, "x<|a|>||.*"), [Text("x"), Token(1), Text("|"), Token(2)]);
        assert_eq!(split(&tokens, "<|a|><|a|>"), [Token(0), Token(0)]);
        assert_eq!(split(&tokens, "abc"), [Text("abc")]);
        assert_eq!(split(&tokens, ""), []);
    }

    #[test]
    fn whitespace_after_a_token_may_belong_to_it() {
        use Part::{Text, Token};
        let texts = ["<|user|>", "<s>"].map(String::from);
        let tokens = SpecialTokens::new(texts.into_iter().zip(0..).collect(), true);
        assert_eq!(
            split(&tokens, "<s> <|user|> \r\n\u{b}a <|user|>\u{a0}"),
            [Token(1), Text(" "), Token(0), Text("a "), Token(0), Text("\u{a0}")]
        );
        assert_eq!(split(&tokens, "<|user|>\n"), [Token(0)]);
    }

    #[test]
    fn without_tokens_all_is_text() {
        assert_eq!(split(&tokens(&[]), "<|a|>"), [Part::Text("<|a|>")]);
    }

    #[test]
    fn as_many_tokens_as_allowed_fit() {
        let many: Vec<String> = (0..MAX_SPECIAL_TOKENS).map(|i| format!("<|reserved_special_token_{i}|>")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let text = format!("a{}b", many[MAX_SPECIAL_TOKENS - 1]);
        assert_eq!(split(&tokens(&many), &text).len(), 3);
    }
}
