//! Pre-tokenizers: how text is cut into the pieces within which merges are made.
//!
//! The patterns are the published ones (GPT-2's encoder, the `tokenizer.json` of SmolLM2, Llama 3 and Qwen2), under the
//! names that llama.cpp writes into `tokenizer.ggml.pre`. They end in `\s+(?!\S)|\s+`, and the `regex` crate, which runs
//! in linear time on any text, has no lookahead. So the patterns here end in `\s+` alone, and the lookahead is done by
//! hand: when that alternative matched two or more characters and more text follows (which cannot begin with a
//! space, for `\s+` is greedy), the last of them goes back to the text.

use regex::Regex;

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";
const LLAMA3: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+";
const QWEN2: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+";

/// A pre-tokenizer that is supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreTokenizer {
    /// Digits one by one, and then GPT-2's pattern on what is between them.
    Smollm,
    /// GPT-2's pattern.
    Gpt2,
    /// Llama 3's pattern: up to three digits, line breaks apart from spaces.
    LlamaBpe,
    /// Qwen2's pattern: Llama 3's with single digits.
    Qwen2,
}

impl PreTokenizer {
    /// The names of the four, for messages.
    pub const NAMES: &'static str = "smollm, gpt-2, llama-bpe, qwen2";

    /// The pre-tokenizer of a `tokenizer.ggml.pre`. Other names than the four are those to which llama.cpp gives the
    /// same pattern and treatment.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone" | "minerva-7b" => Self::Smollm,
            "gpt-2" | "gpt2" | "phi-2" | "olmo" | "mpt" | "jais" | "gigachat" => Self::Gpt2,
            "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0" | "lfm2" => {
                Self::LlamaBpe
            }
            "qwen2" | "stablelm2" | "deepseek-r1-qwen" | "kormo" | "megrez" => Self::Qwen2,
            _ => return None,
        })
    }

    fn pattern(self) -> &'static str {
        match self {
            Self::Smollm | Self::Gpt2 => GPT2,
            Self::LlamaBpe => LLAMA3,
            Self::Qwen2 => QWEN2,
        }
    }

    /// Whether a whole piece that is a token is taken without looking at the merges, when the file says nothing.
    pub(super) fn ignores_merges(self) -> bool {
        self == Self::LlamaBpe
    }

    /// Whether a text begins with the beginning token, when the file says nothing.
    pub(super) fn adds_begin(self) -> bool {
        self == Self::LlamaBpe
    }
}

/// A pre-tokenizer with its pattern compiled.
#[derive(Debug, Clone)]
pub(super) struct Splitter {
    regex: Regex,
    digits_apart: bool,
    /// Whether runs of whitespace with a line break have an alternative of their own, before `\s+`.
    line_breaks_apart: bool,
}

impl Splitter {
    pub(super) fn new(pre: PreTokenizer) -> Self {
        Self {
            regex: Regex::new(pre.pattern()).expect("the four patterns are constants that compile"),
            digits_apart: pre == PreTokenizer::Smollm,
            line_breaks_apart: matches!(pre, PreTokenizer::LlamaBpe | PreTokenizer::Qwen2),
        }
    }

    /// Gives `piece` the pieces of `text` in their order; together they are the text.
    pub(super) fn split<'t>(&self, mut text: &'t str, mut piece: impl FnMut(&'t str)) {
        if self.digits_apart {
            while let Some(digit) = text.find(char::is_numeric) {
                let (before, rest) = text.split_at(digit);
                self.split_by_pattern(before, &mut piece);
                let width = rest.chars().next().map_or(0, char::len_utf8);
                piece(&rest[..width]);
                text = &rest[width..];
            }
        }
        self.split_by_pattern(text, &mut piece);
    }

    fn split_by_pattern<'t>(&self, text: &'t str, piece: &mut impl FnMut(&'t str)) {
        let mut from = 0;
        // Each pattern has an alternative for any character at all, so a match begins where the last one ended.
        while let Some(found) = self.regex.find_at(text, from) {
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
        assert_eq!(PreTokenizer::from_name("default"), None);
        for name in PreTokenizer::NAMES.split(", ") {
            assert!(PreTokenizer::from_name(name).is_some(), "{name}");
        }
    }

    /// Expected pieces made with the published patterns and Python's `regex` module, lookahead included:
    /// one line for each text, with a `tests/golden/split.jsonl` entry per pre-tokenizer.
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
        assert!(checked >= 4 * 20, "{checked}");
    }

    #[test]
    fn a_long_run_of_one_character_takes_linear_time() {
        for pre in [PreTokenizer::Smollm, PreTokenizer::Gpt2, PreTokenizer::LlamaBpe, PreTokenizer::Qwen2] {
            for unit in [" ", "\n", "a", "'", "1", " \n", "\u{3000}", " a"] {
                let text = unit.repeat(200_000);
                let mut bytes = 0;
                Splitter::new(pre).split(&text, |piece| bytes += piece.len());
                assert_eq!(bytes, text.len());
            }
        }
    }
}
