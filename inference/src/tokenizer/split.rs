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

/// DeepSeek's alphabets: Latin, Greek, Cyrillic and what else has capitals.
const DEEPSEEK_WORD: &str = concat!(
    r"\s?[",
    r"A-Za-z\u{b5}\u{c0}-\u{d6}\u{d8}-\u{f6}\u{f8}-\u{1ba}\u{1bc}-\u{1bf}\u{1c4}-\u{293}\u{295}-\u{2af}",
    r"\u{370}-\u{373}\u{376}\u{377}\u{37b}-\u{37d}\u{37f}\u{386}\u{388}-\u{38a}\u{38c}\u{38e}-\u{3a1}",
    r"\u{3a3}-\u{3f5}\u{3f7}-\u{481}\u{48a}-\u{52f}\u{531}-\u{556}\u{10a0}-\u{10c5}\u{13a0}-\u{13f5}",
    r"\u{13f8}-\u{13fd}\u{1c90}-\u{1cba}\u{1cbd}-\u{1cbf}\u{1d00}-\u{1d2b}\u{1d6b}-\u{1d77}",
    r"\u{1d79}-\u{1d9a}\u{1e00}-\u{1f15}\u{1f18}-\u{1f1d}\u{1f20}-\u{1f45}\u{1f48}-\u{1f4d}",
    r"\u{1f50}-\u{1f57}\u{1f59}\u{1f5b}\u{1f5d}\u{1f5f}-\u{1f7d}\u{1f80}-\u{1fb4}\u{1fb6}-\u{1fbc}\u{1fbe}",
    r"\u{1fc2}-\u{1fc4}\u{1fc6}-\u{1fcc}\u{1fd0}-\u{1fd3}\u{1fd6}-\u{1fdb}\u{1fe0}-\u{1fec}",
    r"\u{1ff2}-\u{1ff4}\u{1ff6}-\u{1ffc}\u{2102}\u{2107}\u{210a}-\u{2113}\u{2115}\u{2119}-\u{211d}\u{2124}",
    r"\u{2126}\u{2128}\u{212a}-\u{212d}\u{212f}-\u{2134}\u{2139}\u{213c}-\u{213f}\u{2145}-\u{2149}\u{214e}",
    r"\u{2183}\u{2184}\u{2c00}-\u{2c7b}\u{2c7e}-\u{2ce4}\u{2ceb}-\u{2cee}\u{2cf2}\u{2cf3}\u{a640}-\u{a66d}",
    r"\u{a680}-\u{a69b}\u{a722}-\u{a76f}\u{a771}-\u{a787}\u{a78b}-\u{a78e}\u{ab70}-\u{abbf}",
    r"\u{fb00}-\u{fb06}\u{fb13}-\u{fb17}\u{ff21}-\u{ff3a}\u{ff41}-\u{ff5a}\u{10400}-\u{1044f}",
    r"\u{104b0}-\u{104d3}\u{104d8}-\u{104fb}\u{10c80}-\u{10cb2}\u{10cc0}-\u{10cf2}\u{118a0}-\u{118df}",
    r"\u{1e900}-\u{1e943}",
    r"]+"
);
const DEEPSEEK_MARKS: &str = r"\s?[!-/:-~\u{ff01}-\u{ff0f}\u{ff1a}-\u{ff5e}\u{2018}-\u{201f}\u{3000}-\u{3002}]+";
const DEEPSEEK_EAST_ASIAN: &str = r"[\u{4e00}-\u{9fa5}\u{800}-\u{4e00}\u{ac00}-\u{d7ff}]+";
const DEEPSEEK3: &str =
    r"[!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+";
/// Words, with the space before them, between brackets and marks.
const PORO: &str = r" ?[^(\s|.,!?\u{2026}\u{3002}\u{ff0c}\u{3001}\u{964}\u{6d4}\u{60c})]+";

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
    /// DeepSeek LLM's patterns: line breaks, alphabets, marks, East Asian scripts and digits, each cut out of what is left.
    DeepseekLlm,
    /// DeepSeek Coder's patterns: as DeepSeek LLM's, with Unicode's letters and marks and single digits.
    DeepseekCoder,
    /// The patterns of DeepSeek since V3: up to three digits, East Asian scripts, and then much as Llama 3's.
    Deepseek3,
    /// Falcon's patterns: punctuation, then GPT-2's pattern, then digits in threes.
    Falcon,
    /// Poro's pattern, of Bloom too: words between brackets and marks.
    Poro,
    /// Viking's patterns: Poro's, with single digits.
    Viking,
    /// What llama.cpp does for a file of which it knows no better: punctuation, then GPT-2's pattern, then digits in threes.
    Default,
}

impl PreTokenizer {
    /// All of them.
    pub const ALL: [PreTokenizer; 15] = [
        Self::Smollm,
        Self::Gpt2,
        Self::LlamaBpe,
        Self::Smaug,
        Self::Qwen2,
        Self::SeedCoder,
        Self::Tekken,
        Self::Gpt4o,
        Self::DeepseekLlm,
        Self::DeepseekCoder,
        Self::Deepseek3,
        Self::Falcon,
        Self::Poro,
        Self::Viking,
        Self::Default,
    ];

    /// The names of all, for messages.
    pub const NAMES: &'static str = "smollm, gpt-2, llama-bpe, smaug-bpe, qwen2, seed-coder, tekken, gpt-4o, \
        deepseek-llm, deepseek-coder, deepseek-v3, falcon, poro-chat, viking, default";

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
            "deepseek-llm" => Self::DeepseekLlm,
            "deepseek-coder" => Self::DeepseekCoder,
            "deepseek-v3" => Self::Deepseek3,
            "falcon" => Self::Falcon,
            "poro-chat" | "bloom" | "gpt3-finnish" => Self::Poro,
            "viking" => Self::Viking,
            "default" => Self::Default,
            _ => return None,
        })
    }

    /// The pattern whose matches make up the text, or most of it; not all have such.
    fn pattern(self) -> Option<&'static str> {
        Some(match self {
            Self::Smollm | Self::Gpt2 | Self::Falcon | Self::Default => GPT2,
            Self::LlamaBpe | Self::Smaug => LLAMA3,
            Self::Qwen2 => QWEN2,
            Self::SeedCoder => SEED_CODER,
            Self::Tekken => TEKKEN,
            Self::Gpt4o => GPT4O,
            Self::Deepseek3 => DEEPSEEK3,
            Self::DeepseekLlm | Self::DeepseekCoder | Self::Poro | Self::Viking => return None,
        })
    }

    /// What is cut out of the text before the pattern is applied to the rest and to what was cut out.
    fn before(self) -> &'static [&'static str] {
        match self {
            Self::Smollm => &[r"\p{N}"],
            Self::Default => &[r"[\p{P}\$\+<=>\^~\|]+"],
            Self::Falcon => &[r"[\p{P}\$\+<=>\^~\|`]+"],
            Self::Deepseek3 => &[r"\p{N}{1,3}", r"[\u{4e00}-\u{9fa5}\u{3040}-\u{309f}\u{30a0}-\u{30ff}]+"],
            _ => &[],
        }
    }

    /// What is cut out of the pattern's pieces (of the text, where there is no pattern), one after the other.
    fn after(self) -> &'static [&'static str] {
        match self {
            Self::Default => &[r"\p{N}+", r"[0-9][0-9][0-9]"],
            Self::Falcon => &[r"[0-9][0-9][0-9]"],
            Self::DeepseekLlm => &["[\r\n]", DEEPSEEK_WORD, DEEPSEEK_MARKS, r"\s+$", DEEPSEEK_EAST_ASIAN, r"\p{N}+"],
            Self::DeepseekCoder => &["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", DEEPSEEK_EAST_ASIAN, r"\p{N}"],
            Self::Poro => &[PORO],
            Self::Viking => &[PORO, r"\p{N}"],
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
    pattern: Option<Regex>,
    after: Vec<Regex>,
    /// Whether runs of whitespace with a line break have an alternative of their own, before `\s+`.
    line_breaks_apart: bool,
}

impl Splitter {
    pub(super) fn new(pre: PreTokenizer) -> Self {
        let compiled = |pattern: &&str| Regex::new(pattern).expect("the patterns are constants that compile");
        Self {
            before: pre.before().iter().map(compiled).collect(),
            pattern: pre.pattern().as_ref().map(compiled),
            after: pre.after().iter().map(compiled).collect(),
            line_breaks_apart: pre.pattern() != Some(GPT2),
        }
    }

    /// Gives `piece` the pieces of `text` in their order; together they are the text.
    pub(super) fn split<'t>(&self, text: &'t str, mut piece: impl FnMut(&'t str)) {
        cut(&self.before, text, &mut |part| {
            self.split_by_pattern(part, &mut |found| cut(&self.after, found, &mut piece));
        });
    }

    fn split_by_pattern<'t>(&self, text: &'t str, piece: &mut dyn FnMut(&'t str)) {
        let Some(pattern) = &self.pattern else { return piece(text) };
        let mut from = 0;
        while let Some(found) = pattern.find_at(text, from) {
            if found.start() > from {
                piece(&text[from..found.start()]);
            }
            let end = found.start() + self.kept(found.as_str(), found.end() == text.len());
            piece(&text[found.start()..end]);
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
        assert_eq!(PreTokenizer::from_name("klingon"), None);
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
        assert_eq!(checked, 14 * 33);
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
