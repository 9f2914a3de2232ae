//! Masks against llguidance's own, which tries all words byte for byte.

use std::sync::{Arc, LazyLock};

use llguidance::earley::SlicedBiasComputer;
use proptest::prelude::*;

use crate::gguf::Texts;
use crate::grammar::{Compiled, Grammar, GrammarFault, Grammars, Matcher, Next};
use crate::tokenizer::{Tokenizer, TokenizerConfig};

/// Words of all shapes that matter: letters, digits, blanks, quotes, escapes, control characters, characters of two to four
/// bytes, parts of such, and mixtures. Some are there twice.
static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| {
    let mut words: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
    let pieces: Vec<&[u8]> = vec![
        b"a",
        b"b",
        b"e",
        b"f",
        b"n",
        b"p",
        b"u",
        b"w",
        b"z",
        b"in",
        b"while",
        b"true",
        b"null",
        b"A",
        b"B",
        b"M",
        b"Z",
        b"0",
        b"1",
        b"7",
        b"9",
        b"19",
        b" ",
        b"  ",
        b"\"",
        b"\\",
        b"\n",
        b"\t",
        b"\x7f",
        b",",
        b":",
        b".",
        b"-",
        b"{",
        b"}",
        b"[",
        b"]",
        b"(",
        b")",
        b"_",
        "é".as_bytes(),
        "ß".as_bytes(),
        "\u{800}".as_bytes(),
        "語".as_bytes(),
        "\u{d7ff}".as_bytes(),
        "\u{ffff}".as_bytes(),
        "😀".as_bytes(),
        "\u{10ffff}".as_bytes(),
        b"\xc3",
        b"\xa9",
        b"\xe8\xaa",
        b"\xf0\x9f",
        b"\xff",
    ];
    let mut state = 7u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for length in 1..=6 {
        for _ in 0..700 {
            words.push((0..length).flat_map(|_| pieces[random(pieces.len())]).copied().collect());
        }
    }
    // Longer words of one kind, as vocabularies have.
    for length in 2..=20 {
        for kind in [&b"abcdefghijklmnopqrstuvwxyz"[..], b"0123456789", b" ", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"] {
            words.extend((0..8).map(|_| (0..length).map(|_| kind[random(kind.len())]).collect::<Vec<u8>>()));
        }
    }
    words.extend(
        ["1aA1", "1aA7", "1bA1", "1bA7", "Abx1", "Aax1", "Abx", "a\"z", "a\"w", "é\"z", "é\"w"]
            .map(|word| word.as_bytes().to_vec()),
    );
    let spell = |byte: u8| match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
        0..=b' ' => char::from_u32(256 + u32::from(byte)).unwrap(),
        0x7f..=0xa0 => char::from_u32(256 + 33 + u32::from(byte) - 0x7f).unwrap(),
        0xad => char::from_u32(256 + 67).unwrap(),
    };
    let spelled = words.iter().map(|word| word.iter().map(|&byte| spell(byte)).collect::<String>());
    let mut tokens: Vec<String> = spelled.collect();
    tokens.sort();
    tokens.dedup();
    tokens.push("</s>".to_owned());
    let end = Some(tokens.len() as u32 - 1);
    let tokens: Texts = tokens.into_iter().collect();
    let config =
        TokenizerConfig { model: "gpt2", pre: "gpt-2", tokens: &tokens, eos_token_id: end, ..Default::default() };
    Arc::new(Tokenizer::new(&config).unwrap())
});

/// A grammar, compiled twice: one learns of what follows it, and the other knows nothing each time.
struct Case {
    grammar: Grammar,
    learning: Compiled,
    fresh: Compiled,
}

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let schema = |text: &str| Grammar::JsonSchema(text.to_owned());
    let regex = |text: &str| Grammar::Regex(text.to_owned());
    let lark = |text: &str| Grammar::Lark(text.to_owned());
    let [learning, fresh] = [(); 2].map(|()| Grammars::new(Arc::clone(&TOKENIZER)));
    [
        schema("{}"),
        schema(r#"{"type":"object","properties":{"a":{"type":"string","minLength":2,"maxLength":9},"be":{"type":"array","items":{"type":"string","maxLength":3}}},"required":["a","be"],"additionalProperties":false}"#),
        schema(r#"{"type":"object","additionalProperties":{"enum":["ab","while","Mé",190,true]}}"#),
        schema(r#"{"type":"array","items":{"type":"number","minimum":-9,"maximum":190},"x-guidance":{"whitespace_flexible":true}}"#),
        schema(r#"{"type":"object","properties":{"a":{"type":"string","pattern":"^[a-f0-9]{2,8}(-[A-Zß]+)?$"},"b":{"type":"string","format":"date"}},"required":["a","b"]}"#),
        regex(r"(?s:.{0,12})"),
        regex(r"[^z;]*(;[^aeiou]{0,4})?"),
        regex(r"[A-Z][a-z]{2,7}( [a-z]{1,5}){0,3}\."),
        regex(r"([A-Z][A-Za-z ,']{3,12}[.!?]\n){1,3}"),
        regex(r"[\u{0}-\u{7ff}]{0,5}語*"),
        regex(r"(\p{L}|[é😀]){1,6}[0-9]+"),
        regex(r"a?w?(in|[^in])+"),
        lark("start: statement+\nstatement: NAME \" = \" value \";\\n\" | \"while (\" value \") {\" statement* \"}\"\nvalue: NUMBER | NAME | STRING\nNAME: /[a-z_][a-z0-9_]*/\nNUMBER: /[0-9]+(\\.[0-9]+)?/\nSTRING: /\"[^\"\\\\\\n]*\"/"),
        lark("start: (WORD | NUMBER | \"in\" WORD)*\nWORD: /[a-zA-Zé]+/\nNUMBER: /[0-9]+/\n%ignore / +/"),
        lark("start: key \"=\" rest\nkey[stop=\":\"]: /[a-z:]*/\nrest: /[A-Z0-9]{0,4}/ tail\ntail[suffix=\".\"]: /(?s:.*)/"),
        lark("start: a | b\na: \"(\" (a | b)* \")\"\nb: /[a-z]/ | /[0-9]+/ b?"),
        // More characters that differ than there are exceptions.
        regex(r"[a-n]{1,3}[a-n0-5]{0,9}"),
        // What is plain in ASCII goes elsewhere than what is beyond.
        regex(r#"[ !#-\[\]-~][^"\\]*"z|[\u{80}-\u{10ffff}][^"\\]*"w"#),
        // Behind a lexeme's end the same lexemes may come, by different rules.
        lark("start: NUMBER (\"a\" WORD \"1\" | /[b-z]/ WORD \"7\")\nNUMBER: /[0-9]+/\nWORD: /[A-Z]+/"),
        // The end of a lexeme is part of the next.
        lark("start: key \"bx1\"\nkey[stop=/[a-z]x/]: /[A-Z]*/"),
        lark("start: (t | u)*\nt[lazy]: /a[a-z]*z/\nu: /[ 0-9]/"),
    ]
    .into_iter()
    .map(|grammar| {
        let [learning, fresh] = [&learning, &fresh]
            .map(|grammars| grammars.compile(&grammar).unwrap_or_else(|error| panic!("{grammar:?}: {error}")));
        Case { grammar, learning, fresh }
    })
    .collect()
});

/// Follows a grammar by whatever comes first behind each of some places, with both ways to find masks.
#[track_caller]
fn compare(case: &Case, choices: &[u32]) -> usize {
    let (mut ours, mut theirs) = (case.learning.matcher(), case.fresh.matcher());
    theirs.parser.bias_computer = Arc::new(SlicedBiasComputer::new(&theirs.parser.token_env, &[]).unwrap());
    let steps = compare_masks(&case.grammar, &mut ours, &mut theirs, choices);
    ours.leave();
    steps
}

#[track_caller]
fn compare_masks(grammar: &Grammar, ours: &mut Matcher, theirs: &mut Matcher, choices: &[u32]) -> usize {
    let mut text = Vec::new();
    for (step, &choice) in choices.iter().enumerate() {
        let tokens = |next: Result<Next<'_>, GrammarFault>| {
            next.map(|next| match next {
                Next::Tokens(mask) => {
                    (0..mask.len() as u32 * 32).filter(|id| mask[*id as usize / 32] >> (id % 32) & 1 == 1).collect()
                }
                Next::End => Vec::new(),
            })
        };
        let (ours_now, theirs_now): (Vec<u32>, Vec<u32>) = match (tokens(ours.allowed()), tokens(theirs.allowed())) {
            (Ok(ours_now), Ok(theirs_now)) => (ours_now, theirs_now),
            (ours_now, theirs_now) => {
                assert_eq!(ours_now, theirs_now, "{grammar:?}");
                return step;
            }
        };
        if ours_now != theirs_now {
            let words = |of: &[u32], but: &[u32]| -> Vec<String> {
                let missing = of.iter().filter(|token| !but.contains(token));
                missing
                    .map(|&token| String::from_utf8_lossy(TOKENIZER.token_bytes(token)).into_owned())
                    .take(20)
                    .collect()
            };
            panic!(
                "{grammar:?} behind {:?}: only here {:?}, only there {:?}",
                String::from_utf8_lossy(&text),
                words(&ours_now, &theirs_now),
                words(&theirs_now, &ours_now)
            );
        }
        let Some(&token) = ours_now.get(choice as usize % ours_now.len().max(1)) else { return step };
        if TOKENIZER.is_end(token) {
            return step;
        }
        text.extend_from_slice(TOKENIZER.token_bytes(token));
        ours.accept(token).unwrap();
        theirs.accept(token).unwrap();
    }
    choices.len()
}

#[test]
fn every_grammar_allows_what_its_words_tried_one_by_one_allow() {
    let mut state = 1u32;
    for case in CASES.iter() {
        let mut steps = 0;
        for _ in 0..12 {
            let choices = std::array::from_fn::<u32, 24, _>(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state >> 8
            });
            steps += compare(case, &choices);
        }
        assert!(steps >= 12, "{:?} was followed for {steps} tokens", case.grammar);
    }
}

#[test]
fn masks_are_the_same_after_a_rehearsal() {
    for case in CASES.iter() {
        case.learning.rehearse();
        for first in 0..8 {
            compare(case, &[first * 1_000_003, 7, 77, 777, 3, 1, 123_456, 9, 31, 5]);
        }
    }
}

proptest! {
    #[test]
    fn masks_are_those_of_words_tried_one_by_one(
        case in 0..CASES.len(),
        choices in prop::collection::vec(any::<u32>(), 1..30),
    ) {
        compare(&CASES[case], &choices);
    }
}
