use super::super::{Special, Tokenizer, TokenizerConfig};
use super::*;
use crate::gguf::Texts;
use proptest::prelude::*;

/// As the configuration wants it. It lives as long as the tests do, which change what it is made of as they like.
fn leaked(texts: &[String]) -> &'static Texts {
    Box::leak(Box::new(texts.iter().collect()))
}

/// `<unk>`, `<s>`, the 256 bytes, and then these texts with falling scores.
struct Sample {
    tokens: Vec<String>,
    types: Vec<i32>,
    scores: Vec<f32>,
}

impl Sample {
    fn new(texts: &[&str]) -> Self {
        let mut tokens = vec!["<unk>".to_owned(), "<s>".to_owned()];
        tokens.extend((0..=255).map(|byte| format!("<0x{byte:02X}>")));
        let mut types = vec![6; tokens.len()];
        (types[0], types[1]) = (2, 3);
        tokens.extend(texts.iter().map(ToString::to_string));
        types.resize(tokens.len(), 1);
        let scores = (0..tokens.len()).map(|id| -(id as f32)).collect();
        Self { tokens, types, scores }
    }

    fn config(&self) -> TokenizerConfig<'_> {
        TokenizerConfig {
            model: "llama",
            tokens: leaked(&self.tokens),
            token_type: Some(&self.types),
            scores: Some(&self.scores),
            bos_token_id: Some(1),
            unknown_token_id: Some(0),
            add_bos_token: Some(false),
            ..TokenizerConfig::default()
        }
    }
}

#[track_caller]
fn check(config: &TokenizerConfig<'_>, text: &str, expected: &[&str]) {
    let tokenizer = Tokenizer::new(config).unwrap();
    let mut ids = Vec::new();
    tokenizer.encode(text, Special::Parse, true, &mut ids);
    let texts: Vec<&str> = ids.iter().map(|&id| &config.tokens[id as usize]).collect();
    assert_eq!(texts, expected, "{text:?}");
}

#[test]
fn the_highest_score_is_joined_first_and_the_leftmost_of_equals() {
    let mut sample = Sample::new(&["bc", "ab", "abc", "aa", "a", "b", "c"]);
    let check = |sample: &Sample, text, expected: &[&str]| {
        check(&TokenizerConfig { add_space_prefix: Some(false), ..sample.config() }, text, expected);
    };
    check(&sample, "abc", &["abc"]);
    check(&sample, "aab", &["a", "ab"]);
    check(&sample, "aaaaa", &["aa", "aa", "a"]);
    check(&sample, "", &[]);
    sample.scores.fill(f32::NAN);
    check(&sample, "abc", &["abc"]);
    check(&sample, "aab", &["aa", "b"]);
}

#[test]
fn a_space_is_put_before_text_at_the_beginning_and_after_special_tokens() {
    let sample = Sample::new(&["▁a", "▁", "a", "b"]);
    check(&sample.config(), "a", &["▁a"]);
    check(&sample.config(), "ab", &["▁a", "b"]);
    check(&sample.config(), "ba<s>a", &["▁", "b", "a", "<s>", "▁a"]);
    check(&TokenizerConfig { add_space_prefix: Some(false), ..sample.config() }, "a a", &["a", "▁a"]);
    check(&TokenizerConfig { add_bos_token: None, ..sample.config() }, "a", &["<s>", "▁a"]);
    check(&TokenizerConfig { add_bos_token: None, ..sample.config() }, "", &["<s>"]);
    let tokenizer = Tokenizer::new(&sample.config()).unwrap();
    assert_eq!(tokenizer.decode(&[258, 261]), "ab");
    assert_eq!(tokenizer.decode(&[1, 258, 258, 1, 259, 258, 1, 261]), "<s>a a<s> a<s>b");
    // An answer begins after a special token, or goes on after text.
    assert_eq!((tokenizer.bytes_after(Some(1), 258), tokenizer.bytes_after(Some(261), 258)), (&b"a"[..], &b" a"[..]));
}

#[test]
fn phi_3s_special_tokens_take_the_whitespace_after_them() {
    let mut sample = Sample::new(&["▁a", "▁", "a", "<|user|>"]);
    *sample.types.last_mut().unwrap() = 3;
    check(&sample.config(), "<|user|>\n a", &["<|user|>", "▁", "<0x0A>", "▁a"]);
    check(&TokenizerConfig { strips_after_special: true, ..sample.config() }, "<|user|>\n a", &["<|user|>", "▁a"]);
}

#[test]
fn a_space_and_its_sign_are_one() {
    let sample = Sample::new(&["▁a", "▁", "a"]);
    check(&sample.config(), "▁a a", &["▁", "▁a", "▁a"]);
    // A token that was added by hand is found as it stands, and never put together.
    let mut sample = Sample::new(&["▁", "  ", "\n", "\n\n"]);
    (sample.types[259], sample.types[261]) = (4, 4);
    let config = TokenizerConfig { add_space_prefix: Some(false), ..sample.config() };
    check(&config, "   ", &["  ", "▁"]);
    check(&config, "▁ ", &["▁", "▁"]);
    check(&config, "\n\n\n", &["\n\n", "\n"]);
}

#[test]
fn what_is_no_token_is_spelled_in_bytes_or_unknown() {
    let mut sample = Sample::new(&["▁", "a"]);
    check(&sample.config(), "aéa", &["▁", "a", "<0xC3>", "<0xA9>", "a"]);
    // Text that looks like a token of another kind is text.
    check(&sample.config(), "<0x41>", &["▁", "<0x3C>", "<0x30>", "<0x78>", "<0x34>", "<0x31>", "<0x3E>"]);
    let c3 = sample.tokens.iter().position(|text| text == "<0xC3>").unwrap();
    (sample.tokens[c3], sample.types[c3]) = ("gone".to_owned(), 1);
    check(&sample.config(), "aéa", &["▁", "a", "<unk>", "a"]);
    check(&TokenizerConfig { unknown_token_id: None, ..sample.config() }, "aéa", &["▁", "a", "a"]);
}

#[test]
fn a_control_token_is_never_joined_from_text() {
    let mut sample = Sample::new(&["<s", ">", "<", "s"]);
    sample.scores.fill(0.0);
    let tokenizer = Tokenizer::new(&TokenizerConfig { add_space_prefix: Some(false), ..sample.config() }).unwrap();
    let mut ids = Vec::new();
    tokenizer.encode("<s>", Special::Plain, false, &mut ids);
    assert_eq!(ids, [258, 259]);
}

#[test]
fn scores_are_as_many_as_tokens() {
    let mut sample = Sample::new(&["a"]);
    sample.scores.pop();
    assert_eq!(
        Tokenizer::new(&sample.config()).unwrap_err().to_string(),
        "tokenizer.ggml.tokens has 259 entries and tokenizer.ggml.scores 258; the file is damaged"
    );
}

#[test]
fn a_text_beyond_the_limit_is_cut_between_characters() {
    let sample = Sample::new(&["éé", "é", "▁"]);
    let tokenizer = Tokenizer::new(&TokenizerConfig { add_space_prefix: Some(false), ..sample.config() }).unwrap();
    let mut ids = Vec::new();
    // The cut falls after an odd number of characters, before which the last finds no partner.
    let text = format!(" {}", "é".repeat(MAX_TEXT_BYTES / 2));
    tokenizer.encode(&text, Special::Plain, false, &mut ids);
    assert_eq!(ids.len(), 1 + (MAX_TEXT_BYTES / 2 - 1).div_ceil(2) + 1);
    assert_eq!(tokenizer.decode(&ids), text);
}

/// The definition: look at all neighbours, join the leftmost of the highest score, again.
fn slow_encode(text: &str, sample: &Sample) -> Vec<String> {
    let mut symbols: Vec<String> = text.chars().map(|c| c.to_string()).collect();
    let score = |text: &str| {
        let id = (258..sample.tokens.len()).find(|&id| sample.tokens[id] == text)?;
        Some(sample.scores[id])
    };
    loop {
        let pairs = symbols.windows(2).enumerate();
        let scored = pairs.filter_map(|(place, pair)| Some((score(&pair.concat())?, place)));
        let best = scored.reduce(|best, pair| if pair.0 > best.0 { pair } else { best });
        let Some((_, place)) = best else { return symbols };
        let right = symbols.remove(place + 1);
        symbols[place].push_str(&right);
    }
}

proptest! {
    #[test]
    fn the_fast_encoder_agrees_with_the_definition(
        texts in prop::collection::btree_set("[abé]{1,5}", 0..30),
        scores in prop::collection::vec(-4i8..4, 30),
        text in "[abé]{0,60}",
    ) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut sample = Sample::new(&texts);
        for (score, of_text) in sample.scores[258..].iter_mut().zip(&scores) {
            *score = f32::from(*of_text);
        }
        let tokenizer = Tokenizer::new(&TokenizerConfig { add_space_prefix: Some(false), ..sample.config() }).unwrap();
        let mut ids = Vec::new();
        tokenizer.encode(&text, Special::Plain, false, &mut ids);
        prop_assert_eq!(tokenizer.decode(&ids), text.as_str());
        let mut expected = Vec::new();
        for symbol in slow_encode(&text, &sample) {
            match sample.tokens[258..].iter().position(|token| *token == symbol) {
                Some(id) => expected.push(258 + id as u32),
                None => expected.extend(symbol.bytes().map(|byte| 2 + u32::from(byte))),
            }
        }
        prop_assert_eq!(ids, expected);
    }

    #[test]
    fn whatever_the_metadata_holds_there_is_an_answer(
        tokens in prop::collection::vec(".{0,4}", 0..12),
        types in prop::collection::vec(0i32..6, 12),
        scores in prop::collection::vec(any::<f32>(), 12),
        ids in prop::collection::vec(prop::option::of(0u32..14), 3),
        text in ".{0,20}",
    ) {
        let config = TokenizerConfig {
            model: "llama", tokens: leaked(&tokens), token_type: Some(&types[..tokens.len()]),
            scores: Some(&scores[..tokens.len()]), bos_token_id: ids[0], eos_token_id: ids[1],
            unknown_token_id: ids[2], ..TokenizerConfig::default()
        };
        if let Ok(tokenizer) = Tokenizer::new(&config) {
            let mut out = Vec::new();
            tokenizer.encode(&text, Special::Parse, true, &mut out);
            prop_assert!(out.iter().all(|&id| (id as usize) < tokens.len()));
            tokenizer.decode(&out);
        }
    }
}
