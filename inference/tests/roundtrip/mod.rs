//! Small vocabularies of every kind, and what must hold of any text with them. Also compiled by the fuzz target
//! `tokenizer`.

use std::sync::LazyLock;

use causerie_inference::tokenizer::{Special, Tokenizer, TokenizerConfig};
use causerie_inference::utf8::Utf8Decoder;

/// What the file says a token is.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const BYTE: i32 = 6;

/// A tokenizer, and how SentencePiece changes a text with it.
struct Sample {
    tokenizer: Tokenizer,
    is_sentencepiece: bool,
    adds_space: bool,
}

static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(|| {
    let names = ["gpt-2", "smollm", "llama-bpe", "qwen2", "tekken", "gpt-4o", "seed-coder", "default"];
    let byte_level = names.map(byte_level);
    byte_level.into_iter().chain([sentencepiece(false), sentencepiece(true)]).collect()
});

/// GPT-2's alphabet: printable bytes of Latin-1 stand for themselves, the others in order for the characters from U+0100.
fn alphabet() -> Vec<String> {
    let mut others = 0x100..;
    let mut character = |byte: u8| match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
        _ => others.next().and_then(char::from_u32).expect("there are 68 of them"),
    };
    (0..=255).map(|byte| character(byte).to_string()).collect()
}

fn byte_level(pre: &str) -> Sample {
    let merges = [
        "t h",
        "th e",
        "Ġ the",
        "Ġ Ġ",
        "ĠĠ ĠĠ",
        "e r",
        "l l",
        "o ll",
        "1 2",
        "12 3",
        "Ċ Ċ",
        "a b",
        "ab a",
        "aba b",
        "Ã ©",
        "ð Ł",
        "' s",
        "Ã Ń",
    ]
    .map(String::from);
    let mut tokens = alphabet();
    tokens.extend(merges.iter().map(|merge| merge.replace(' ', "")));
    let mut types = vec![NORMAL; tokens.len()];
    for (text, kind) in [("<|im_end|>", CONTROL), ("<|im", CONTROL), ("<think>", USER_DEFINED), ("  \n", USER_DEFINED)]
    {
        tokens.push(text.to_owned());
        types.push(kind);
    }
    let config = TokenizerConfig {
        model: "gpt2",
        pre,
        tokens: &tokens.iter().collect(),
        token_type: Some(&types),
        merges: &merges.iter().collect(),
        ..TokenizerConfig::default()
    };
    Sample { tokenizer: Tokenizer::new(&config).expect("it is sound"), is_sentencepiece: false, adds_space: false }
}

fn sentencepiece(adds_space: bool) -> Sample {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).into();
    let mut types = vec![CONTROL; tokens.len()];
    tokens.extend((0..=255).map(|byte| format!("<0x{byte:02X}>")));
    types.resize(tokens.len(), BYTE);
    let pieces = "▁ t h e th the ▁the ▁t he a b ab aba ▁▁ ▁▁▁▁ é 1 2 12 \n \n\n l o ll 日 本 日本";
    tokens.extend(pieces.split(' ').map(String::from));
    types.resize(tokens.len(), NORMAL);
    let scores: Vec<f32> = (0..tokens.len()).map(|id| -(id as f32)).collect();
    let config = TokenizerConfig {
        model: "llama",
        tokens: &tokens.iter().collect(),
        token_type: Some(&types),
        scores: Some(&scores),
        add_space_prefix: Some(adds_space),
        bos_token_id: Some(1),
        eos_token_id: Some(2),
        unknown_token_id: Some(0),
        ..TokenizerConfig::default()
    };
    Sample { tokenizer: Tokenizer::new(&config).expect("it is sound"), is_sentencepiece: true, adds_space }
}

/// Encodes and decodes a text with one of the vocabularies.
///
/// # Panics
/// If the text does not come back, at once or token by token, or plain text becomes a control token.
pub(crate) fn check(vocabulary: u8, text: &str) {
    let Sample { tokenizer, is_sentencepiece, adds_space } = &SAMPLES[usize::from(vocabulary) % SAMPLES.len()];
    // What files write for a space is a space in text too.
    let expected = if *is_sentencepiece { text.replace('▁', " ") } else { text.to_owned() };
    for special in [Special::Plain, Special::Parse] {
        let mut tokens = Vec::new();
        tokenizer.encode(text, special, false, &mut tokens);
        assert!(tokens.iter().all(|&token| (token as usize) < tokenizer.vocabulary_size()));
        if special == Special::Plain {
            assert!(!tokens.iter().any(|&token| tokenizer.is_control(token)), "{text:?}");
        }
        assert_eq!(tokenizer.decode(&tokens), expected, "{special:?}");
        if special == Special::Parse && *adds_space && text.contains('<') {
            continue; // after a special token there is a space that was not in the text
        }
        let (mut decoder, mut streamed) = (Utf8Decoder::default(), String::new());
        for &token in &tokens {
            decoder.push(tokenizer.token_bytes(token), &mut streamed);
        }
        decoder.finish(&mut streamed);
        let prefix = if *adds_space && !text.is_empty() { " " } else { "" };
        assert_eq!(streamed, format!("{prefix}{expected}"), "{special:?}");
    }
}
