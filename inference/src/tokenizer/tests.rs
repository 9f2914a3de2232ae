//! Small vocabularies written by hand, hostile ones, and the fast encoder against a slow one.

use super::*;
use crate::error::LoadError;
use crate::gguf::Texts;
use proptest::prelude::*;

/// As the configuration wants it. It lives as long as the tests do, which change what it is made of as they like.
fn leaked(texts: &[String]) -> &'static Texts {
    Box::leak(Box::new(texts.iter().collect()))
}

/// A vocabulary of the 256 bytes, the results of `merges`, and `added` tokens with their types.
struct Sample {
    tokens: Vec<String>,
    types: Vec<i32>,
    merges: Vec<String>,
}

impl Sample {
    fn new(merges: &[&str], added: &[(&str, i32)]) -> Self {
        let mut tokens: Vec<String> = (0..=255).map(|byte| bytes::char_of(byte).to_string()).collect();
        for merge in merges {
            let joined = merge.replace(' ', "");
            if !tokens.contains(&joined) {
                tokens.push(joined);
            }
        }
        let mut types = vec![1; tokens.len()];
        tokens.extend(added.iter().map(|(text, _)| text.to_string()));
        types.extend(added.iter().map(|(_, kind)| kind));
        Self { tokens, types, merges: merges.iter().map(ToString::to_string).collect() }
    }

    fn config(&self) -> TokenizerConfig<'_> {
        TokenizerConfig {
            model: "gpt2",
            pre: "gpt-2",
            tokens: leaked(&self.tokens),
            token_type: Some(&self.types),
            merges: leaked(&self.merges),
            ..TokenizerConfig::default()
        }
    }
}

fn encode(tokenizer: &Tokenizer, text: &str, special: Special) -> Vec<String> {
    let mut ids = Vec::new();
    tokenizer.encode(text, special, true, &mut ids);
    ids.iter().map(|&id| String::from_utf8_lossy(tokenizer.token_bytes(id)).into_owned()).collect()
}

#[test]
fn merges_are_made_by_rank_and_leftmost_first() {
    let sample = Sample::new(&["b c", "a b", "a bc", "x x", "xx xx"], &[]);
    let tokenizer = Tokenizer::new(&sample.config()).unwrap();
    let check = |text, expected: &[&str]| assert_eq!(encode(&tokenizer, text, Special::Plain), expected, "{text}");
    check("abc", &["abc"]);
    check("ab", &["ab"]);
    check("aab", &["a", "ab"]);
    check("xxxxx", &["xxxx", "x"]);
    check("xxx", &["xx", "x"]);
    check("é", &["\u{fffd}", "\u{fffd}"]);
    check("", &[]);
}

#[test]
fn a_piece_that_is_a_token_is_taken_whole_only_where_merges_are_ignored() {
    let mut sample = Sample::new(&["a b"], &[("abc", 1)]);
    let plain = Tokenizer::new(&sample.config()).unwrap();
    assert_eq!(encode(&plain, "abc", Special::Plain), ["ab", "c"]);
    let ignoring = Tokenizer::new(&TokenizerConfig { pre: "llama-bpe", ..sample.config() }).unwrap();
    assert_eq!(encode(&ignoring, "abc abcd", Special::Plain), ["abc", " ", "ab", "c", "d"]);
    let told = TokenizerConfig { pre: "llama-bpe", ignore_merges: Some(false), ..sample.config() };
    assert_eq!(encode(&Tokenizer::new(&told).unwrap(), "abc", Special::Plain), ["ab", "c"]);
    sample.tokens.truncate(3);
    sample.types.truncate(3);
    sample.merges.clear();
    assert!(Tokenizer::new(&sample.config()).is_ok(), "few tokens are enough");
}

#[test]
fn special_tokens_are_found_when_asked_and_user_defined_ones_always() {
    let sample = Sample::new(&[], &[("<|im_end|>", 3), ("<think>", 4), ("<|im", 3), ("@", 3)]);
    let sample = Sample {
        tokens: sample.tokens[..sample.tokens.len() - 1].to_vec(),
        types: sample.types[..sample.types.len() - 1].to_vec(),
        ..sample
    };
    let tokenizer = Tokenizer::new(&sample.config()).unwrap();
    let parsed = encode(&tokenizer, "a<|im_end|><think><|im", Special::Parse);
    assert_eq!(parsed, ["a", "<|im_end|>", "<think>", "<|im"]);
    let plain = encode(&tokenizer, "<|im<think>", Special::Plain);
    assert_eq!(plain, ["<", "|", "i", "m", "<think>"]);
    let end = tokenizer.special("<|im_end|>").unwrap();
    assert!(tokenizer.is_end(end) && tokenizer.is_control(end));
    let think = tokenizer.special("<think>").unwrap();
    assert!(!tokenizer.is_end(think) && !tokenizer.is_control(think));
}

#[test]
fn tokens_that_steer_are_control_whatever_the_file_calls_them() {
    let sample = Sample::new(&[], &[("<|im_start|>", 1), ("<|im_end|>", 4), ("<|eot_id|>", 1)]);
    let tokenizer = Tokenizer::new(&sample.config()).unwrap();
    for text in ["<|im_start|>", "<|im_end|>", "<|eot_id|>"] {
        assert!(tokenizer.is_control(tokenizer.special(text).unwrap()), "{text}");
        assert!(encode(&tokenizer, text, Special::Plain).len() > 1, "{text}");
    }
    assert!(!tokenizer.is_end(tokenizer.special("<|im_start|>").unwrap()));
}

#[test]
fn the_beginning_token_comes_where_the_file_or_the_pre_tokenizer_says_so() {
    let sample = Sample::new(&[], &[("<s>", 3)]);
    let begin = Some(256);
    let check = |config: TokenizerConfig<'_>, expected: &[&str]| {
        assert_eq!(encode(&Tokenizer::new(&config).unwrap(), "a", Special::Plain), expected);
    };
    check(TokenizerConfig { bos_token_id: begin, ..sample.config() }, &["a"]);
    check(TokenizerConfig { bos_token_id: begin, add_bos_token: Some(true), ..sample.config() }, &["<s>", "a"]);
    check(TokenizerConfig { bos_token_id: begin, pre: "llama-bpe", ..sample.config() }, &["<s>", "a"]);
    check(
        TokenizerConfig { bos_token_id: begin, pre: "llama-bpe", add_bos_token: Some(false), ..sample.config() },
        &["a"],
    );
    check(TokenizerConfig { pre: "llama-bpe", ..sample.config() }, &["a"]);
}

#[test]
fn byte_tokens_and_tokens_outside_the_alphabet_stand_for_their_bytes() {
    let sample = Sample::new(&[], &[("<0xE9>", 6), ("a b", 1), ("▁x", 4)]);
    let tokenizer = Tokenizer::new(&sample.config()).unwrap();
    assert_eq!(tokenizer.token_bytes(256), [0xe9]);
    assert_eq!(tokenizer.token_bytes(257), b"a b");
    assert_eq!(tokenizer.token_bytes(258), "▁x".as_bytes());
    assert_eq!(tokenizer.token_bytes(259), b"");
    assert_eq!(tokenizer.kind(259), None);
    assert!(!tokenizer.is_control(259) && !tokenizer.is_end(u32::MAX));
}

fn check_refused(change: impl FnOnce(&mut Sample), text: &str) {
    let mut sample = Sample::new(&["a b"], &[("<|im_end|>", 3)]);
    change(&mut sample);
    let error = Tokenizer::new(&sample.config()).unwrap_err();
    assert_eq!(error.to_string(), text);
    assert!(LoadError::from(error).to_string().contains(text));
}

#[test]
fn damaged_vocabularies_are_refused_with_what_was_seen() {
    check_refused(
        |s| s.merges.push("ab".into()),
        "merge 1 is `ab`, which is not two tokens with a space between; the file is damaged",
    );
    check_refused(
        |s| s.merges.push("a b c".into()),
        "merge 1 is `a b c`, which is not two tokens with a space between; the file is damaged",
    );
    check_refused(
        |s| s.merges.push(" b".into()),
        "merge 1 is ` b`, which is not two tokens with a space between; the file is damaged",
    );
    check_refused(
        |s| s.merges.push("ab zz".into()),
        "merge 1 names `abzz`, which is no token of the vocabulary; the file is damaged",
    );
    check_refused(|s| s.tokens[7] = "a".into(), "tokens 7 and 97 have the same text `a`; the file is damaged");
    check_refused(|s| s.types[3] = 9, "token 3 has the type 9, known are 1 to 6");
    check_refused(|s| s.types[3] = 6, "token 3 is a byte token, and its text `ă` is not `<0xHH>`");
    check_refused(
        |s| s.types.push(1),
        "tokenizer.ggml.tokens has 258 entries and tokenizer.ggml.token_type 259; the file is damaged",
    );
    check_refused(
        |s| s.tokens.clear(),
        "metadata key `tokenizer.ggml.tokens` is missing or of another type; convert the model with a current tool",
    );
}

#[test]
fn unsupported_kinds_are_named_with_what_is_supported() {
    let sample = Sample::new(&[], &[]);
    let check = |config: TokenizerConfig<'_>, text: &str| {
        assert_eq!(Tokenizer::new(&config).unwrap_err().to_string(), text);
    };
    check(
        TokenizerConfig { pre: "klingon", ..sample.config() },
        "tokenizer.ggml.pre is `klingon`, supported are smollm, gpt-2, llama-bpe, smaug-bpe, qwen2, seed-coder, tekken, \
         gpt-4o, deepseek-llm, deepseek-coder, deepseek-v3, falcon, poro-chat, viking, default and their aliases; \
         take a model with one of these",
    );
    check(
        TokenizerConfig { model: "t5", ..sample.config() },
        "tokenizer.ggml.model is `t5` (Unigram), supported are `gpt2` (byte-level BPE) and `llama` (SentencePiece's BPE); \
         take a model with such a vocabulary",
    );
    check(
        TokenizerConfig { pre: "", ..sample.config() },
        "metadata key `tokenizer.ggml.pre` is missing or of another type; convert the model with a current tool",
    );
    check(
        TokenizerConfig { eos_token_id: Some(256), ..sample.config() },
        "tokenizer.ggml.eos_token_id is 256, and the vocabulary has 256 tokens; the file is damaged",
    );
    check(
        TokenizerConfig { add_bos_token: Some(true), ..sample.config() },
        "metadata key `tokenizer.ggml.bos_token_id` is missing or of another type; convert the model with a current tool",
    );
}

#[test]
fn limits_hold_at_one_more() {
    check_refused(
        |s| s.tokens[0] = "x".repeat(MAX_TOKEN_BYTES + 1),
        "the length of a token in bytes is 1025, the limit is 1024",
    );
    check_refused(
        |s| s.tokens = vec![String::new(); MAX_VOCABULARY + 1],
        "the number of tokens is 1048577, the limit is 1048576",
    );
    check_refused(
        |s| s.merges = vec![String::new(); MAX_MERGES + 1],
        "the number of merges is 2097153, the limit is 2097152",
    );
    let add = |s: &mut Sample, count: usize| {
        s.tokens.extend((0..count).map(|i| format!("<{i}>")));
        s.types.resize(s.tokens.len(), 4);
    };
    check_refused(|s| add(s, MAX_SPECIAL_TOKENS), "the number of special tokens is 16385, the limit is 16384");
}

/// Byte-pair encoding by its definition: look at all neighbours, join the leftmost of the lowest rank, again.
fn slow_encode(text: &str, merges: &[&str]) -> Vec<String> {
    let mut symbols: Vec<String> = text.bytes().map(|byte| bytes::char_of(byte).to_string()).collect();
    loop {
        let rank = |i: &usize| {
            let pair = format!("{} {}", symbols[*i], symbols[i + 1]);
            merges.iter().position(|merge| *merge == pair)
        };
        let best = (0..symbols.len().saturating_sub(1)).filter_map(|i| Some((rank(&i)?, i))).min();
        let Some((_, place)) = best else { return symbols };
        let right = symbols.remove(place + 1);
        symbols[place].push_str(&right);
    }
}

proptest! {
    #[test]
    fn the_fast_encoder_agrees_with_the_definition(
        pairs in prop::collection::vec((0usize..40, 0usize..40), 0..30),
        text in "[abcé]{0,60}",
    ) {
        // Grow a vocabulary: each merge joins two tokens that exist by then.
        let mut known: Vec<String> = ["a", "b", "c", "Ã", "©"].map(String::from).to_vec();
        let mut merges: Vec<String> = Vec::new();
        for (left, right) in pairs {
            let (left, right) = (known[left % known.len()].clone(), known[right % known.len()].clone());
            let merge = format!("{left} {right}");
            if left.chars().count() + right.chars().count() < 9 && !merges.contains(&merge) {
                merges.push(merge);
                let joined = format!("{left}{right}");
                if !known.contains(&joined) {
                    known.push(joined);
                }
            }
        }
        let merges: Vec<&str> = merges.iter().map(String::as_str).collect();
        let sample = Sample::new(&merges, &[]);
        let tokenizer = Tokenizer::new(&sample.config()).unwrap();
        let mut ids = Vec::new();
        tokenizer.encode(&text, Special::Plain, false, &mut ids);
        let fast: Vec<&String> = ids.iter().map(|&id| &sample.tokens[id as usize]).collect();
        let slow = slow_encode(&text, &merges);
        prop_assert_eq!(fast, slow.iter().collect::<Vec<_>>());
        prop_assert_eq!(tokenizer.decode(&ids), text);
    }

    #[test]
    fn whatever_the_metadata_holds_there_is_an_answer(
        tokens in prop::collection::vec(".{0,4}", 0..12),
        types in prop::collection::vec(0i32..8, 0..12),
        merges in prop::collection::vec(".{0,3} .{0,3}", 0..4),
        ids in prop::collection::vec(prop::option::of(0u32..14), 4),
        text in ".{0,20}",
    ) {
        let token_type = (types.len() % 3 > 0).then_some(&types[..]);
        let config = TokenizerConfig {
            model: "gpt2", pre: "smollm", tokens: leaked(&tokens), token_type, merges: leaked(&merges),
            add_bos_token: ids[0].map(|id| id % 2 == 0), bos_token_id: ids[1], eos_token_id: ids[2],
            eot_token_id: ids[3], ..TokenizerConfig::default()
        };
        if let Ok(tokenizer) = Tokenizer::new(&config) {
            let mut out = Vec::new();
            tokenizer.encode(&text, Special::Parse, true, &mut out);
            prop_assert!(out.iter().all(|&id| (id as usize) < tokens.len()));
            tokenizer.decode(&out);
        }
    }
}
