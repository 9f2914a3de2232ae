//! Whatever is encoded is decoded to the same text.

mod roundtrip;

use proptest::prelude::*;
use roundtrip::check;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_comes_back(vocabulary: u8, text: String) {
        check(vocabulary, &text);
    }

    /// Of what merges and special tokens are made of.
    #[test]
    fn text_that_is_full_of_tokens_comes_back(
        vocabulary: u8,
        text in prop::collection::vec(
            prop::sample::select(vec!["the", " ", "\n", "  \n", "a", "b", "é", "é", "<|im", "_end|>", "<think>", "12", "3", "▁",
                "<s>", "</s>", "<unk>", "<0x41>", "'s", "oll", "日本", "🙂", "\u{ad}", "\0", "\u{2028}"]),
            0..40,
        ),
    ) {
        check(vocabulary, &text.concat());
    }
}

/// The seeds of the fuzz target `tokenizer`, and whatever it found once: a byte for the vocabulary, and a text.
#[test]
fn the_seeds_of_the_fuzzer() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/tokenizer");
    let mut seeds = 0;
    for seed in std::fs::read_dir(folder).expect("the corpus is in the repository") {
        let data = std::fs::read(seed.expect("a file").path()).expect("a file");
        let (&vocabulary, text) = data.split_first().expect("a seed is not empty");
        check(vocabulary, &String::from_utf8_lossy(text));
        seeds += 1;
    }
    assert!(seeds >= 6, "{seeds}");
}
