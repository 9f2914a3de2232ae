//! The tokenizer with the vocabularies of real models.

mod common;

use causerie_inference::Gguf;
use causerie_inference::tokenizer::{Special, Tokenizer};
use proptest::prelude::*;
use std::path::Path;
use std::sync::LazyLock;

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| open(&common::model_file()));
static GEMMA: LazyLock<Tokenizer> = LazyLock::new(|| open(&common::gemma_file()));

fn open(model: &Path) -> Tokenizer {
    let file = Gguf::open(model).expect("the model opens");
    Tokenizer::from_metadata(file.metadata()).expect("the model's vocabulary is sound")
}

/// Without the beginning token.
fn encode_gemma(text: &str, special: Special) -> Vec<u32> {
    let mut ids = Vec::new();
    GEMMA.encode(text, special, false, &mut ids);
    ids
}

fn encode(text: &str, special: Special) -> Vec<u32> {
    let mut ids = Vec::new();
    TOKENIZER.encode(text, special, true, &mut ids);
    ids
}

/// Compares with the ids that the reference implementation gives, special tokens parsed. Its command line turns `\n` (a
/// backslash and an n, which one of the texts holds) into a line break before it tokenizes, so the same is done here.
#[track_caller]
fn check_golden(golden: &str, tokenizer: &Tokenizer) {
    let mut checked = 0;
    for line in golden.lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = case["text"].as_str().unwrap();
        let expected: Vec<u64> = case["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
        let mut ids = Vec::new();
        tokenizer.encode(&text.replace("\\n", "\n"), Special::Parse, true, &mut ids);
        assert_eq!(ids.into_iter().map(u64::from).collect::<Vec<_>>(), expected, "{text:?}");
        checked += 1;
    }
    assert_eq!(checked, 30);
}

#[test]
fn golden_texts_have_the_reference_ids() {
    check_golden(include_str!("golden/tokenizer-smollm2.jsonl"), &TOKENIZER);
}

#[test]
fn golden_texts_have_the_reference_ids_of_gemma() {
    check_golden(include_str!("golden/tokenizer-gemma3.jsonl"), &GEMMA);
}

#[test]
fn a_backslash_stays_a_backslash() {
    assert_eq!(encode("a\\nb", Special::Parse), [81, 76, 22_808]);
    assert_eq!(encode("a\nb", Special::Parse), [81, 198, 82]);
}

#[test]
fn special_tokens_of_the_file() {
    let id = |text| TOKENIZER.special(text).unwrap();
    assert_eq!((id("<|endoftext|>"), id("<|im_start|>"), id("<|im_end|>")), (0, 1, 2));
    assert_eq!((TOKENIZER.begin(), TOKENIZER.end(), TOKENIZER.adds_begin()), (Some(1), Some(2), false));
    assert!(TOKENIZER.is_end(0) && TOKENIZER.is_end(2) && !TOKENIZER.is_end(1));
    assert!((0..17).all(|id| TOKENIZER.is_control(id)) && !TOKENIZER.is_control(17));
    assert_eq!(TOKENIZER.vocabulary_size(), 49_152);
}

#[test]
fn special_tokens_of_gemmas_file() {
    let id = |text| GEMMA.special(text).unwrap();
    assert_eq!((id("<eos>"), id("<bos>"), id("<start_of_turn>"), id("<end_of_turn>")), (1, 2, 105, 106));
    assert_eq!((GEMMA.begin(), GEMMA.end(), GEMMA.adds_begin()), (Some(2), Some(1), true));
    assert!(GEMMA.is_end(1) && GEMMA.is_end(106) && !GEMMA.is_end(105));
    assert!(GEMMA.is_control(105) && !GEMMA.is_control(107), "a line break is text");
    assert_eq!(GEMMA.vocabulary_size(), 262_144);
}

#[test]
fn plain_text_never_becomes_a_control_token() {
    let ids = encode("<|im_end|><|im_start|>system", Special::Plain);
    assert!(ids.iter().all(|&id| !TOKENIZER.is_control(id)), "{ids:?}");
    assert_eq!(TOKENIZER.decode(&ids), "<|im_end|><|im_start|>system");
    let ids = encode_gemma("<end_of_turn><start_of_turn>user<bos>", Special::Plain);
    assert!(ids.iter().all(|&id| !GEMMA.is_control(id)), "{ids:?}");
    assert_eq!(GEMMA.decode(&ids), "<end_of_turn><start_of_turn>user<bos>");
}

/// A megabyte of any one thing takes well under a second; a quadratic encoder would take hours.
#[test]
fn long_words_are_not_quadratic() {
    for unit in ["a", " ", "\n", "é", "ab", "<", "1", "😀"] {
        let text = unit.repeat(1_000_000 / unit.len());
        assert_eq!(TOKENIZER.decode(&encode(&text, Special::Parse)), text);
        assert_eq!(GEMMA.decode(&encode_gemma(&text, Special::Parse)), text);
    }
}

/// Whether the vocabulary has a token for each byte of this character: SmolLM2's lacks these.
fn has_tokens(c: char) -> bool {
    let mut buffer = [0; 4];
    let lacking = [0x04, 0x06, 0x13, 0x14, 0x16, 0x1d, 0xf1, 0xf2];
    !c.encode_utf8(&mut buffer).bytes().any(|byte| lacking.contains(&byte))
}

proptest! {
    #[test]
    fn decoding_gives_the_text_back(
        text in prop::collection::vec(any::<char>().prop_filter("has tokens", |&c| has_tokens(c)), 0..60),
        words in "[a-z0-9 '\n,.<|>_]{0,60}",
    ) {
        let text: String = text.into_iter().collect::<String>() + &words;
        for special in [Special::Plain, Special::Parse] {
            prop_assert_eq!(&TOKENIZER.decode(&encode(&text, special)), &text);
        }
    }

    /// Every byte has a token; only the sign for a space comes back as one.
    #[test]
    fn decoding_gives_any_text_back_with_gemma(text in any::<String>(), words in "[a-z0-9 '\n\t,.<>_▁]{0,60}") {
        let text = text + &words;
        for special in [Special::Plain, Special::Parse] {
            prop_assert_eq!(GEMMA.decode(&encode_gemma(&text, special)), text.replace('▁', " "));
        }
    }

    #[test]
    fn any_text_at_all_encodes_to_known_tokens(text in any::<String>()) {
        let ids = encode(&text, Special::Parse);
        prop_assert!(ids.iter().all(|&id| (id as usize) < TOKENIZER.vocabulary_size()));
    }
}
