//! Pre-tokenizers: how text is cut into the pieces within which merges are made.
//!
//! The patterns are the published ones (GPT-2's encoder, and the `tokenizer.json` of the models that are named), under the
//! names that llama.cpp writes into `tokenizer.ggml.pre`. They end in `\s+(?!\S)|\s+`, and the `regex` crate, which runs
//! in linear time on any text, has no lookahead. So the patterns here end in `\s+` alone, and the lookahead is done by
//! hand: when that alternative matched two or more characters and more text follows (which cannot begin with a
//! space, for `\s+` is greedy), the last of them goes back to the text.

use regex::Regex;

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";
const LLAMA3: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+";
const QWEN2: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+";
const SEED_CODER: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+";

/// A pre-tokenizer that is supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreTokenizer {
    /// Digits one by one, and then GPT-2's pattern on what is between them.
    Smollm,
    /// GPT-2's pattern.
    Gpt2,
    /// Llama 3's pattern: up to three digits, line breaks apart from spaces.
    LlamaBpe,
    /// Llama 3's pattern where the file has to say all else itself: SmolLM3, Phi-4.
    Smaug,
    /// Qwen2's pattern: Llama 3's with single digits.
    Qwen2,
    /// Seed-Coder's pattern: Qwen2's with line breaks apart from what is before them.
    SeedCoder,
    /// Mistral's pattern since Nemo: words end where capitals begin.
    Tekken,
    /// GPT-4o's pattern, of Phi-4-mini: Tekken's with contractions and up to three digits.
    Gpt4o,
    /// What llama.cpp does for a file of which it knows no better: punctuation, then GPT-2's pattern, then digits in threes.
    Default,
}

impl PreTokenizer {
    /// All of them.
    pub const ALL: [PreTokenizer; 9] = [
        Self::Smollm,
        Self::Gpt2,
        Self::LlamaBpe,
        Self::Smaug,
        Self::Qwen2,
        Self::SeedCoder,
        Self::Tekken,
        Self::Gpt4o,
        Self::Default,
    ];

    /// The names of all, for messages.
    pub const NAMES: &'static str = "smollm, gpt-2, llama-bpe, smaug-bpe, qwen2, seed-coder, tekken, gpt-4o, default";

    /// The pre-tokenizer of a `tokenizer.ggml.pre`. Other names than [`PreTokenizer::NAMES`] are those to which llama.cpp
    /// gives the same pattern and treatment.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone" | "minerva-7b" => Self::Smollm,
            "gpt-2" | "gpt2" | "phi-2" | "olmo" | "mpt" | "jais" | "gigachat" | "mellum" | "a.x-4.0" | "trillion"
            | "exaone4" => Self::Gpt2,
            "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0" | "lfm2" => {
                Self::LlamaBpe
            }
            "smaug-bpe" | "dbrx" => Self::Smaug,
            "qwen2" | "stablelm2" | "deepseek-r1-qwen" | "kormo" | "megrez" => Self::Qwen2,
            "seed-coder" => Self::SeedCoder,
            "tekken" => Self::Tekken,
            "gpt-4o" | "llama4" => Self::Gpt4o,
            "default" => Self::Default,
            _ => return None,
        })
    }

    fn pattern(self) -> &'static str {
        match self {
            Self::Smollm | Self::Gpt2 | Self::Default => GPT2,
            Self::LlamaBpe | Self::Smaug => LLAMA3,
            Self::Qwen2 => QWEN2,
            Self::SeedCoder => SEED_CODER,
            Self::Tekken => TEKKEN,
            Self::Gpt4o => GPT4O,
        }
    }

    /// What is cut out of the text before the pattern is applied to the rest and to what was cut out.
    fn before(self) -> &'static [&'static str] {
        match self {
            Self::Smollm => &[r"\p{N}"],
            Self::Default => &[r"[\p{P}\$\+<=>\^~\|]+"],
            _ => &[],
        }
    }

    /// What is cut out of the pattern's pieces, one after the other.
    fn after(self) -> &'static [&'static str] {
        match self {
            Self::Default => &[r"\p{N}+", r"[0-9][0-9][0-9]"],
            _ => &[],
        }
    }

    /// Whether a whole piece that is a token is taken without looking at the merges, when the file says nothing.
    pub(super) fn ignores_merges(self) -> bool {
        matches!(self, Self::LlamaBpe | Self::Tekken)
    }

    /// Whether a text begins with the beginning token, when the file says nothing.
    pub(super) fn adds_begin(self) -> bool {
        matches!(self, Self::LlamaBpe | Self::Tekken)
    }
}

/// A pre-tokenizer with its patterns compiled.
#[derive(Debug, Clone)]
pub(super) struct Splitter {
    before: Vec<Regex>,
    pattern: Regex,
    after: Vec<Regex>,
    /// Whether runs of whitespace with a line break have an alternative of their own, before `\s+`.
    line_breaks_apart: bool,
}

impl Splitter {
    pub(super) fn new(pre: PreTokenizer) -> Self {
        let compiled = |pattern: &&str| Regex::new(pattern).expect("the patterns are constants that compile");
        Self {
            before: pre.before().iter().map(compiled).collect(),
            pattern: compiled(&pre.pattern()),
            after: pre.after().iter().map(compiled).collect(),
            line_breaks_apart: pre.pattern() != GPT2,
        }
    }

    /// Gives `piece` the pieces of `text` in their order; together they are the text.
    pub(super) fn split<'t>(&self, text: &'t str, mut piece: impl FnMut(&'t str)) {
        cut(&self.before, text, &mut |part| {
            self.split_by_pattern(part, &mut |found| cut(&self.after, found, &mut piece));
        });
    }

    fn split_by_pattern<'t>(&self, text: &'t str, piece: &mut dyn FnMut(&'t str)) {
        let mut from = 0;
        // Each pattern has an alternative for any character at all, so a match begins where the last one ended.
        while let Some(found) = self.pattern.find_at(text, from) {
            let end = from + self.kept(&text[from..found.end()], found.end() == text.len());
            piece(&text[from..end]);
            from = end;
        }
        if from < text.len() {
            piece(&text[from..]);
        }
    }

    /// How many bytes of a match are kept: `(?!\S)` by hand.
    fn kept(&self, matched: &str, at_end: bool) -> usize {
        let Some(last) = matched.chars().next_back() else { return 0 };
        // Only `\s+`, and `\s*[\r\n]+` which ends in a line break, match nothing but whitespace: the other
        // alternatives end in something else, or begin with it and end in line breaks.
        let is_spaces = last.is_whitespace() && !(self.line_breaks_apart && matches!(last, '\r' | '\n'));
        if is_spaces && !at_end && matched.len() > last.len_utf8() {
            matched.len() - last.len_utf8()
        } else {
            matched.len()
        }
    }
}

/// Cuts a text before and after each match of the first pattern, and what comes of that by the others.
fn cut<'t>(patterns: &[Regex], text: &'t str, piece: &mut dyn FnMut(&'t str)) {
    let Some((first, others)) = patterns.split_first() else {
        if !text.is_empty() {
            piece(text);
        }
        return;
    };
    let mut from = 0;
    for found in first.find_iter(text) {
        cut(others, &text[from..found.start()], piece);
        cut(others, found.as_str(), piece);
        from = found.end();
    }
    cut(others, &text[from..], piece);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(pre: PreTokenizer, text: &str) -> Vec<&str> {
        let mut pieces = Vec::new();
        Splitter::new(pre).split(text, |piece| pieces.push(piece));
        assert_eq!(pieces.concat(), text);
        pieces
    }

    #[test]
    fn aliases_and_unknown_names() {
        assert_eq!(PreTokenizer::from_name("llama3"), Some(PreTokenizer::LlamaBpe));
        assert_eq!(PreTokenizer::from_name("viking"), None);
        let named: Vec<_> = PreTokenizer::NAMES.split(", ").map(PreTokenizer::from_name).collect();
        assert_eq!(named, PreTokenizer::ALL.map(Some));
    }

    /// Expected pieces made by `tests/reference/split.py` with the published patterns and Python's `regex` module, lookahead
    /// included: one line for each text, with an entry per pre-tokenizer.
    #[test]
    fn pieces_are_those_of_the_published_patterns() {
        let golden = include_str!("../../tests/golden/split.jsonl");
        let mut checked = 0;
        for line in golden.lines() {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = case["text"].as_str().unwrap();
            for (name, expected) in case["pieces"].as_object().unwrap() {
                let expected: Vec<&str> = expected.as_array().unwrap().iter().map(|p| p.as_str().unwrap()).collect();
                assert_eq!(pieces(PreTokenizer::from_name(name).unwrap(), text), expected, "{name}: {text:?}");
                checked += 1;
            }
        }
        assert_eq!(checked, 8 * 31);
    }

    #[test]
    fn a_long_run_of_one_character_takes_linear_time() {
        for pre in PreTokenizer::ALL {
            for unit in [" ", "\n", "a", "'", "1", " \n", "\u{3000}", " a"] {
                let text = unit.repeat(200_000);
                let mut bytes = 0;
                Splitter::new(pre).split(&text, |piece| bytes += piece.len());
                assert_eq!(bytes, text.len());
            }
        }
    }
}
