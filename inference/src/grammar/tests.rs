//! Grammars over vocabularies written by hand: what is followed, what is refused, and the limits.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::compile::MAX_COMPILED;
use super::schema::MAX_MULTIPLE;
use super::*;
use crate::gguf::Texts;
use crate::sampler::{Sampler, SamplingOptions, SamplingOverrides};
use crate::tokenizer::{Tokenizer, TokenizerConfig};

const END: &str = "<|im_end|>";

static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(make_tokenizer);

fn tokenizer() -> Arc<Tokenizer> {
    Arc::clone(&TOKENIZER)
}

/// Printable ASCII, some longer tokens, a control token, and two that end the turn.
fn make_tokenizer() -> Arc<Tokenizer> {
    let ascii = (b' '..=b'~').map(|byte| if byte == b' ' { "Ġ".to_owned() } else { char::from(byte).to_string() });
    let longer = ["ab", "ba", "abc", "((", "))", "\",Ġ", "true", "Ġ1", "12"].map(str::to_owned);
    let tokens: Texts = ascii.chain(longer).chain(["<|im_start|>", END, "</s>"].map(str::to_owned)).collect();
    let end = tokens.iter().position(|token| token == END).map(|id| id as u32);
    let config =
        TokenizerConfig { model: "gpt2", pre: "gpt-2", tokens: &tokens, eos_token_id: end, ..Default::default() };
    Arc::new(Tokenizer::new(&config).unwrap())
}

fn lark(rules: &str) -> Grammar {
    Grammar::Lark(rules.to_owned())
}

fn regex(pattern: &str) -> Grammar {
    Grammar::Regex(pattern.to_owned())
}

fn schema(text: &str) -> Grammar {
    Grammar::JsonSchema(text.to_owned())
}

fn compile(grammar: &Grammar) -> Result<Compiled, GrammarError> {
    static GRAMMARS: LazyLock<Grammars> = LazyLock::new(|| Grammars::new(tokenizer()));
    GRAMMARS.compile(grammar)
}

#[track_caller]
fn refused(grammar: &Grammar, beginning: &str) {
    let error = compile(grammar).unwrap_err().to_string();
    assert!(error.starts_with(beginning), "{error}");
    assert!(error.len() < 500 && !error.contains("backtrace"), "{error}");
}

/// What can come next, as text; `END` for all that end the turn.
fn next(matcher: &mut Matcher) -> Vec<String> {
    let tokenizer = tokenizer();
    let Next::Tokens(allowed) = matcher.allowed().unwrap() else { return Vec::new() };
    let ids = (0..tokenizer.vocabulary_size() as u32).filter(|id| allowed[*id as usize / 32] >> (id % 32) & 1 == 1);
    let mut texts: Vec<String> =
        ids.map(|id| if tokenizer.is_end(id) { END.to_owned() } else { tokenizer.decode(&[id]) }).collect();
    texts.sort();
    texts.dedup();
    texts
}

fn token(text: &str) -> u32 {
    let tokenizer = tokenizer();
    (0..tokenizer.vocabulary_size() as u32).find(|&id| tokenizer.token_bytes(id) == text.as_bytes()).unwrap()
}

#[test]
fn tokens_of_any_cut_are_allowed_and_ends_only_where_the_text_may_end() {
    let mut matcher = compile(&regex("(ab)+c?")).unwrap().matcher();
    assert_eq!(next(&mut matcher), ["a", "ab", "abc"]);
    matcher.accept(token("a")).unwrap();
    assert_eq!(next(&mut matcher), ["b", "ba"]);
    matcher.accept(token("ba")).unwrap();
    matcher.accept(token("b")).unwrap();
    assert_eq!(next(&mut matcher), [END, "a", "ab", "abc", "c"]);
    assert!(!matcher.is_complete());
    matcher.accept(token("c")).unwrap();
    assert!(matcher.is_complete());
    assert_eq!(matcher.allowed(), Ok(Next::End));
}

#[test]
fn a_grammar_cannot_make_the_model_write_control_tokens() {
    refused(&lark("start: <|im_start|>"), "no text of this model's tokens");
    refused(&lark("start: <|unheard_of|>"), "the grammar is not usable");
    let id = token("<|im_start|>");
    refused(&lark(&format!("start: <[{id}]>")), "no text of this model's tokens");
    // What looks like one is written as text.
    let mut matcher = compile(&regex("<\\|im_start\\|>")).unwrap().matcher();
    assert_eq!(next(&mut matcher), ["<"]);
}

#[test]
fn sequences_of_one_grammar_share_nothing() {
    let compiled = compile(&regex("a[bc]*")).unwrap();
    let (mut one, mut other) = (compiled.matcher(), compiled.matcher());
    one.accept(token("ab")).unwrap();
    assert_eq!(next(&mut one), [END, "b", "c"]);
    assert_eq!(next(&mut other), ["a", "ab", "abc"]);
    assert_eq!(next(&mut compiled.matcher()), ["a", "ab", "abc"]);
}

#[test]
fn schemas_stand_within_a_lark_grammar_by_number() {
    let rules = r#"start: "<" call | "x"+
call: "f" @schema0 | "g" @schema1"#;
    let with = |schemas: &[&str]| Grammar::LarkWithSchemas {
        rules: rules.to_owned(),
        schemas: schemas.iter().map(|&schema| schema.to_owned()).collect(),
    };
    let compiled = compile(&with(&[r#"{"const": 7}"#, r#"{"enum": [true, 12]}"#])).unwrap();
    let after = |text: &str| {
        let mut matcher = compiled.matcher();
        text.chars().for_each(|c| matcher.accept(token(&c.to_string())).unwrap());
        next(&mut matcher)
    };
    assert_eq!(after(""), ["<", "x"]);
    assert_eq!(after("<"), ["f", "g"]);
    assert_eq!(after("<f"), ["7"]);
    assert_eq!(after("<g"), ["1", "12", "t", "true"]);
    refused(&with(&["{}"]), "the grammar is not usable: ");
    refused(&with(&["{}", r#"{"multipleOf": 1000003}"#]), "the grammar is not usable: the numbers of its multipleOf");
    let long = format!(r#"{{"const": "{}"}}"#, "x".repeat(MAX_GRAMMAR_BYTES));
    refused(&with(&["{}", &long]), &format!("the grammar has {} bytes", rules.len() + 2 + long.len()));
}

#[test]
fn json_is_laid_out_on_one_line_unless_the_schema_says_otherwise() {
    let text = |grammar: &Grammar| {
        let mut matcher = compile(grammar).unwrap().matcher();
        let mut text = String::new();
        for _ in 0..100 {
            let next = next(&mut matcher);
            let Some(next) = next.first().filter(|next| *next != END) else { break };
            matcher.accept(token(next)).unwrap();
            text.push_str(next);
        }
        text
    };
    let object = r#""type":"object","properties":{"a":{"const":1},"b":{"const":[2,3]}},"required":["a","b"],"additionalProperties":false"#;
    assert_eq!(text(&schema(&format!("{{{object}}}"))), r#"{"a": 1, "b": [2, 3]}"#);
    let tight = format!(r#"{{"x-guidance":{{"whitespace_flexible":false}},{object}}}"#);
    assert_eq!(text(&schema(&tight)), r#"{"a":1,"b":[2,3]}"#);
}

#[test]
fn what_is_wrong_is_told_before_anything_is_generated() {
    refused(&regex(""), "the grammar is empty");
    refused(&regex("(a"), "the grammar is not usable");
    refused(&regex("a\\"), "the grammar is not usable: the regular expression ends with a backslash");
    refused(&lark("start: nothing"), "the grammar is not usable: at 1(8): unknown name: \"nothing\"");
    refused(&lark("start: %json {}"), "the grammar is not usable: a grammar cannot contain a JSON schema");
    refused(&schema("{"), "the grammar is not usable: the schema is not JSON: EOF");
    refused(&schema(r#"{"type":"strin"}"#), "the grammar is not usable: Invalid type: strin");
    refused(
        &schema(r#"{"minimum":5,"maximum":3,"type":"integer"}"#),
        "the grammar is not usable: Unsatisfiable schema",
    );
    refused(&schema(r#"{"type":"string","not":{}}"#), "the grammar is not usable");
    // Nothing matches, or nothing that has tokens.
    refused(&regex("[a&&b]"), "no text of this model's tokens");
    refused(&lark("start: a\na: a \"x\""), "no text of this model's tokens");
    refused(&regex("é"), "no text of this model's tokens");
    refused(&schema(r##"{"$ref":"#"}"##), "no text of this model's tokens");
}

#[test]
fn hostile_grammars_are_refused_or_followed_but_never_hang_or_overflow() {
    let deep = |open: &str, close: &str, n: usize| format!("{}a{}", open.repeat(n), close.repeat(n));
    refused(&regex(&deep("(", ")", 10_000)), "the grammar is not usable");
    refused(&lark(&format!("start: {}", deep("(", ")", 10_000))), "the grammar is not usable");
    refused(&schema(&"[".repeat(20_000)), "the grammar is not usable: the schema is not JSON: recursion limit");
    let doubling: String = (0..60).map(|i| format!("A{i}: A{0} A{0}\n", i + 1)).collect();
    refused(&lark(&format!("start: A0\n{doubling}A60: \"x\"")), "the grammar is not usable");
    let either = |i| format!(r#"{{"anyOf":[{{"required":["a{i}"]}},{{"required":["b{i}"]}}]}}"#);
    let product: Vec<String> = (0..40).map(either).collect();
    refused(&schema(&format!(r#"{{"type":"object","allOf":[{}]}}"#, product.join(","))), "the grammar is not usable");

    let chain: String = (0..2_000).map(|i| format!("A{i}: A{}\n", i + 1)).collect();
    let chain = lark(&format!("start: A0\n{chain}A2000: \"x\""));
    for endless in [regex("((a{1000}){1000}){1000}"), regex("(.*a.{50}){50}b"), lark("start: a\na: \"x\" a"), chain] {
        let mut matcher = compile(&endless).unwrap().matcher();
        for _ in 0..100 {
            let Some(next) = next(&mut matcher).into_iter().find(|next| next != END) else { break };
            matcher.accept(token(&next)).unwrap();
        }
    }
}

#[test]
fn a_grammar_that_becomes_too_complex_ends_in_a_fault_that_stays() {
    let mut matcher = compile(&lark("start: s\ns: s s s | s s | \"a\" | \"\"")).unwrap().matcher();
    let fault = (0..10_000).find_map(|_| match matcher.allowed() {
        Ok(_) => matcher.accept(token("a")).err(),
        Err(fault) => Some(fault),
    });
    assert_eq!(fault, Some(GrammarFault::TooComplex));
    assert_eq!(matcher.allowed(), Err(GrammarFault::TooComplex));
    assert_eq!(matcher.accept(token("a")), Err(GrammarFault::TooComplex));
    assert!(!matcher.is_complete());
}

#[test]
fn a_text_that_no_token_can_continue_ends_in_a_fault() {
    let mut matcher = compile(&regex("abé")).unwrap().matcher();
    matcher.accept(token("ab")).unwrap();
    assert_eq!(matcher.allowed(), Err(GrammarFault::DeadEnd));
    assert!(!matcher.is_complete());
}

#[test]
fn the_longest_grammar_is_taken_and_one_byte_more_is_not() {
    let longest = regex(&"a".repeat(MAX_GRAMMAR_BYTES));
    assert!(compile(&longest).is_ok());
    let longer = regex(&"a".repeat(MAX_GRAMMAR_BYTES + 1));
    assert_eq!(compile(&longer).unwrap_err(), GrammarError::TooLong { got: MAX_GRAMMAR_BYTES + 1 });
}

#[test]
fn multiples_are_taken_up_to_their_limit() {
    let multiple = |of: &str| compile(&schema(&format!(r#"{{"type":"number","multipleOf":{of}}}"#)));
    for of in ["1", "0.01", "2.5", "1e3", &format!("{}", MAX_MULTIPLE - 1)] {
        assert!(multiple(of).is_ok(), "{of}");
    }
    for of in [&format!("{}", MAX_MULTIPLE + 1), "1234.567", "99999999999999999999999"] {
        let error = multiple(of).unwrap_err().to_string();
        assert!(error.contains("least common multiple beyond 10000"), "{error}");
    }
    let both = r#"{"allOf":[{"type":"integer","multipleOf":997},{"multipleOf":11}]}"#;
    assert!(compile(&schema(both)).is_err(), "997 * 11 is more than the limit");
}

#[test]
fn the_last_grammars_stay_compiled() {
    let grammars = Grammars::new(tokenizer());
    let numbered = |i: usize| regex(&format!("a{{{}}}", i + 1));
    for i in 0..=MAX_COMPILED {
        grammars.compile(&numbered(i)).unwrap();
        grammars.compile(&numbered(1)).unwrap();
    }
    assert_eq!(grammars.kept(), MAX_COMPILED);
    let is_kept = |i| grammars.find(&numbered(i)).unwrap().is_some();
    assert!(!is_kept(0), "the one that was asked for least lately went");
    assert!(is_kept(1) && is_kept(MAX_COMPILED));
}

#[test]
fn a_vocabulary_too_long_for_a_tree_is_said_to_be() {
    let tokens: Texts = (0..16_449).map(|i| format!("{i:0>255}")).collect();
    let config = TokenizerConfig { model: "gpt2", pre: "gpt-2", tokens: &tokens, ..Default::default() };
    let grammars = Grammars::new(Arc::new(Tokenizer::new(&config).unwrap()));
    let error = grammars.compile(&regex("a")).unwrap_err();
    assert_eq!(error, GrammarError::Vocabulary { got: 16_449 * 255, limit: words::MAX_TREE_BYTES });
    assert_eq!(grammars.prepare(), Err(error));
}

#[test]
fn what_follows_a_sequence_can_go_from_thread_to_thread() {
    fn send<T: Send>() {}
    fn share<T: Send + Sync>() {}
    send::<Matcher>();
    share::<Grammars>();
    share::<Compiled>();
}

/// A grammar, and whether a text is the beginning of one of its texts, or one itself.
#[derive(Clone, Copy, Debug)]
enum Language {
    /// `(ab)+c?`
    Pattern,
    /// Brackets around an `x`, each closed.
    Brackets,
    /// One of [`VALUES`].
    Values,
}

const VALUES: [&str; 5] = [r#""ab""#, r#""abc""#, "12", "true", r#"["a", 1]"#];

impl Language {
    fn grammar(self) -> Grammar {
        match self {
            Self::Pattern => regex("(ab)+c?"),
            Self::Brackets => lark(r#"start: "(" start ")" | "x""#),
            Self::Values => schema(&format!(r#"{{"enum":[{}]}}"#, VALUES.join(","))),
        }
    }

    fn begins(self, text: &str) -> bool {
        match self {
            Self::Pattern => {
                let pairs = text.trim_end_matches('c');
                let whole = "ab".repeat(pairs.len().div_ceil(2));
                whole.starts_with(pairs) && (pairs == text || (self.contains(text)))
            }
            Self::Brackets => {
                let (open, rest) = text.split_at(text.len() - text.trim_start_matches('(').len());
                let closed = rest.strip_prefix('x').unwrap_or(rest);
                closed.trim_start_matches(')').is_empty()
                    && closed.len() <= open.len()
                    && (rest.is_empty() || rest.starts_with('x'))
            }
            Self::Values => VALUES.iter().any(|value| value.starts_with(text)),
        }
    }

    fn contains(self, text: &str) -> bool {
        match self {
            Self::Pattern => {
                let pairs = text.strip_suffix('c').unwrap_or(text);
                !pairs.is_empty() && "ab".repeat(pairs.len() / 2) == pairs
            }
            Self::Brackets => {
                let open = text.len() / 2;
                text == format!("{}x{}", "(".repeat(open), ")".repeat(open))
            }
            Self::Values => VALUES.contains(&text),
        }
    }
}

fn logit() -> impl Strategy<Value = f32> {
    prop_oneof![
        8 => -20f32..20.0,
        1 => prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN]),
    ]
}

proptest! {
    #[test]
    fn whatever_the_logits_the_text_begins_one_of_the_language(
        language in prop::sample::select(vec![Language::Pattern, Language::Brackets, Language::Values]),
        rows in prop::collection::vec(prop::collection::vec(logit(), 107..120), 1..12),
        (temperature, top_k, top_p, min_p) in (0f32..3.0, 0u32..20, 0f32..=1.0, 0f32..=1.0),
    ) {
        let tokenizer = tokenizer();
        let asked = SamplingOverrides {
            temperature: Some(temperature), top_k: Some(top_k), top_p: Some(top_p), min_p: Some(min_p),
            ..Default::default()
        };
        let mut sampler = Sampler::new(&SamplingOptions::default().with(&asked).unwrap(), 1);
        let mut matcher = compile(&language.grammar()).unwrap().matcher();
        let mut text = String::new();
        for mut logits in rows {
            let Ok(Next::Tokens(allowed)) = matcher.allowed() else {
                prop_assert!(matcher.is_complete());
                break;
            };
            let token = sampler.sample_allowed(&mut logits, allowed);
            sampler.accept(token);
            if tokenizer.is_end(token) {
                prop_assert!(language.contains(&text), "{text:?} is not of {language:?}");
                break;
            }
            text.push_str(&tokenizer.decode(&[token]));
            prop_assert!(language.begins(&text), "{text:?} begins nothing of {language:?}");
            matcher.accept(token).unwrap();
            prop_assert!(!matcher.is_complete() || language.contains(&text), "{text:?} is not of {language:?}");
        }
    }
}
