//! What an answer's form costs a token: finding which tokens may come next, and taking the one that was chosen.
//!
//! ```sh
//! cargo bench -p causerie-benches --bench grammar
//! ```
//!
//! Each grammar is followed along a text of its language, as the tokenizer cuts it, by [`SEQUENCES`] sequences one after
//! the other, after a rehearsal; each begins with what the earlier ones have learnt. The table has the time of each single
//! token of all of them, in µs.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use causerie_benches::{GEMMA_FILE, model_file, model_named};
use causerie_inference::grammar::{Compiled, Grammars, Next};
use causerie_inference::tokenizer::{Special, Tokenizer};
use causerie_inference::{Gguf, Grammar};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Sequences that follow each grammar for the table.
const SEQUENCES: usize = 8;

struct Case {
    name: &'static str,
    grammar: Grammar,
    text: &'static str,
}

fn cases() -> Vec<Case> {
    let case = |name, grammar, text| Case { name, grammar, text };
    let schema = |name, schema: &str, text| case(name, Grammar::JsonSchema(schema.to_owned()), text);
    let regex = |name, pattern: &str, text| case(name, Grammar::Regex(pattern.to_owned()), text);
    vec![
        schema("any JSON", "{}", ORDER),
        schema(
            "strings",
            STRINGS,
            r#"{"title": "A walk along the river in autumn", "body": "Leaves fell, slowly. \"Look,\" she said: 10 swans, grey as the water."}"#,
        ),
        schema(
            "strings of bounded length",
            BOUNDED,
            r#"{"name": "Dr. Wilhelmina Jones", "city": "San Francisco", "note": "She has lived there since 1998 – and likes it well.", "code": "Qx7 Zé!", "tags": ["tall", "left-handed", "überaus ruhig"]}"#,
        ),
        schema("enums", ENUMS, r#"{"mood": "happy", "color": "turquoise", "level": 3, "state": "Massachusetts"}"#),
        schema(
            "patterns and formats",
            PATTERNS,
            r#"{"zip": "94110", "phone": "+49 170 1234567", "slug": "a-walk-along-the-river", "email": "jane.doe@example.com", "date": "2024-02-29", "id": "123e4567-e89b-12d3-a456-426614174000"}"#,
        ),
        schema("nested arrays and objects", ORDERS, ORDER),
        schema(
            "numbers with ranges",
            NUMBERS,
            r#"{"age": 42, "year": 1998, "share": 0.375, "temperature": -12.5, "count": 65000, "scores": [7, 10, 0, 3]}"#,
        ),
        schema(
            "any properties",
            r#"{"type":"object","additionalProperties":{"type":"string","maxLength":24}}"#,
            r#"{"capital": "Paris", "largest river": "the Loire", "anthem": "La Marseillaise"}"#,
        ),
        regex("date", r"(19|20)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])", "1998-10-27"),
        regex(
            "letters, repeated",
            "[A-Z][a-z]{2,12}( [a-z]{1,12}){0,8}\\.",
            "Swans glided quietly along the shallow river.",
        ),
        regex(
            "anything, bounded",
            "(?s:.{0,160})",
            "The quick brown fox – quicker than most – jumps over \"the lazy dog\",\nand then (of course) over 12 others; nobody minds.",
        ),
        regex(
            "lines of prose",
            r"([A-Z][A-Za-z ,']{10,60}[.!?]\n){1,4}",
            "The swans were grey, as the river was.\nNobody else came by that day!\n",
        ),
        case("a small language", Grammar::Lark(LANGUAGE.to_owned()), PROGRAM),
    ]
}

const STRINGS: &str = r#"{"type":"object","properties":{"title":{"type":"string"},"body":{"type":"string"}},"required":["title","body"],"additionalProperties":false}"#;
const BOUNDED: &str = r#"{"type":"object","properties":{"name":{"type":"string","minLength":1,"maxLength":30},"city":{"type":"string","maxLength":20},"note":{"type":"string","maxLength":200},"code":{"type":"string","minLength":7,"maxLength":7},"tags":{"type":"array","items":{"type":"string","maxLength":16},"minItems":1,"maxItems":5}},"required":["name","city","note","code","tags"],"additionalProperties":false}"#;
const ENUMS: &str = r#"{"type":"object","properties":{"mood":{"enum":["happy","sad","calm"]},"color":{"enum":["red","green","blue","turquoise","teal","black","white","orange"]},"level":{"enum":[1,2,3]},"state":{"enum":["Maine","Maryland","Massachusetts","Michigan","Minnesota","Mississippi","Missouri","Montana"]}},"required":["mood","color","level","state"],"additionalProperties":false}"#;
const PATTERNS: &str = r#"{"type":"object","properties":{"zip":{"type":"string","pattern":"^[0-9]{5}$"},"phone":{"type":"string","pattern":"^\\+[0-9]{1,3} [0-9]{3} [0-9]{5,8}$"},"slug":{"type":"string","pattern":"^[a-z0-9]+(-[a-z0-9]+)*$"},"email":{"type":"string","format":"email"},"date":{"type":"string","format":"date"},"id":{"type":"string","format":"uuid"}},"required":["zip","phone","slug","email","date","id"],"additionalProperties":false}"#;
const ORDERS: &str = r##"{"type":"object","properties":{"order":{"type":"integer"},"customer":{"$ref":"#/$defs/person"},"items":{"type":"array","items":{"type":"object","properties":{"name":{"type":"string"},"quantity":{"type":"integer","minimum":1},"price":{"type":"number"},"options":{"type":"array","items":{"type":"array","items":{"type":"string"}}}},"required":["name","quantity","price"],"additionalProperties":false}},"paid":{"type":"boolean"},"comment":{"type":["string","null"]}},"required":["order","customer","items","paid","comment"],"additionalProperties":false,"$defs":{"person":{"type":"object","properties":{"name":{"type":"string"},"friends":{"type":"array","items":{"$ref":"#/$defs/person"}}},"required":["name"],"additionalProperties":false}}}"##;
const ORDER: &str = r#"{"order": 10452, "customer": {"name": "Jane Doe", "friends": [{"name": "Ada"}, {"name": "Grace", "friends": []}]}, "items": [{"name": "garden chair, folding", "quantity": 4, "price": 39.9, "options": [["color", "dark green"], ["cushion"]]}, {"name": "lamp", "quantity": 1, "price": 12}], "paid": true, "comment": null}"#;
const NUMBERS: &str = r#"{"type":"object","properties":{"age":{"type":"integer","minimum":0,"maximum":150},"year":{"type":"integer","minimum":1900,"maximum":2099},"share":{"type":"number","minimum":0,"maximum":1},"temperature":{"type":"number","minimum":-273.15},"count":{"type":"integer","multipleOf":5,"maximum":100000},"scores":{"type":"array","items":{"type":"integer","minimum":0,"maximum":10},"maxItems":10}},"required":["age","year","share","temperature","count","scores"],"additionalProperties":false}"#;
const LANGUAGE: &str = r#"
start: statement+
statement: NAME " = " expression ";\n" | "while (" expression ") {\n" statement* "}\n" | "print(" expression ");\n"
expression: term ((" + " | " - " | " < " | " == ") term)*
term: factor ((" * " | " / ") factor)*
factor: NUMBER | NAME | STRING | NAME "(" (expression (", " expression)*)? ")" | "(" expression ")"
NAME: /[a-z_][a-z0-9_]*/
NUMBER: /[0-9]+(\.[0-9]+)?/
STRING: /"[^"\\\n]*"/
"#;
const PROGRAM: &str = "count = 10;\ntotal_sum = (count * 2.5) - offset(count, 3);\nwhile (count < 100) {\ncount = count + 1;\nprint(\"still going, at last\");\n}\nprint(total_sum);\n";

fn tokenizer(path: &Path) -> Arc<Tokenizer> {
    let file = Gguf::open(path).expect("the model opens");
    Arc::new(Tokenizer::from_metadata(file.metadata()).expect("the model's vocabulary is sound"))
}

fn vocabularies() -> Vec<(&'static str, Arc<Tokenizer>)> {
    let gemma = model_named(GEMMA_FILE).inspect_err(|error| println!("without Gemma: {error}")).ok();
    let smollm2 = model_file().unwrap_or_else(|error| panic!("{error}"));
    [("SmolLM2", Some(smollm2)), ("Gemma 3", gemma)]
        .into_iter()
        .filter_map(|(name, path)| Some((name, tokenizer(&path?))))
        .collect()
}

fn tokens(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    let mut tokens = Vec::new();
    tokenizer.encode(text, Special::Plain, false, &mut tokens);
    // A blank that the tokenizer itself puts in front is no part of the text.
    let blank = |&token: &u32| !text.starts_with(' ') && tokenizer.bytes_after(None, token) == b" ";
    tokens.drain(..usize::from(tokens.first().is_some_and(blank)));
    tokens
}

/// Follows a grammar along a text; tells how long each token took: its mask, then taking it.
fn follow(compiled: &Compiled, tokens: &[u32], mut tell: impl FnMut(Duration, Duration)) -> Duration {
    let began = Instant::now();
    let mut matcher = compiled.matcher();
    let start = began.elapsed();
    for (at, &token) in tokens.iter().enumerate() {
        let began = Instant::now();
        let next = matcher.allowed().expect("the grammar can be followed");
        let mask = began.elapsed();
        let Next::Tokens(allowed) = next else { panic!("the text goes on behind its end, token {at}") };
        assert_eq!(allowed[token as usize / 32] >> (token % 32) & 1, 1, "token {at}, {token}, is of the language");
        let began = Instant::now();
        matcher.accept(token).expect("it is allowed");
        tell(mask, began.elapsed());
    }
    matcher.leave();
    start
}

fn micros(times: &mut [Duration]) -> [f64; 3] {
    times.sort_unstable();
    [0.5, 0.99, 1.0].map(|part| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e6)
}

fn table(_: &mut Criterion) {
    for (model, tokenizer) in vocabularies() {
        let grammars = Grammars::new(Arc::clone(&tokenizer));
        let began = Instant::now();
        grammars.prepare().expect("the vocabulary is not too large");
        println!("{model}: {} tokens, sorted in {:?}", tokenizer.vocabulary_size(), began.elapsed());
        println!(
            "{:27}{:>9}{:>8}{:>8} |{:>8}{:>8}{:>8} |{:>8}{:>8}{:>8} |{:>8}",
            "", "compiled", "tokens", "start", "first", "p99", "max", "median", "p99", "max", "accept"
        );
        for case in cases() {
            let tokens = tokens(&tokenizer, case.text);
            let began = Instant::now();
            let compiled = grammars.compile(&case.grammar).expect("the grammar is one");
            let compiling = began.elapsed();
            compiled.rehearse(); // as a scheduler does beside the first answer
            let (mut cold, mut warm, mut starts, mut accepts) = (vec![], vec![], vec![], vec![]);
            for sequence in 0..SEQUENCES {
                let start = follow(&compiled, &tokens, |mask, accept| {
                    if sequence == 0 {
                        cold.push(mask);
                    } else {
                        warm.push(mask);
                    }
                    accepts.push(accept);
                });
                starts.push(start);
            }
            let (cold, warm) = (micros(&mut cold), micros(&mut warm));
            println!(
                "{:27}{:6.1} ms{:8}{:8.0} |{:8.1}{:8.1}{:8.1} |{:8.1}{:8.1}{:8.1} |{:8.1}",
                case.name,
                compiling.as_secs_f64() * 1e3,
                tokens.len(),
                micros(&mut starts)[0],
                cold[0],
                cold[1],
                cold[2],
                warm[0],
                warm[1],
                warm[2],
                micros(&mut accepts)[0],
            );
        }
    }
}

fn masks(c: &mut Criterion) {
    for (model, tokenizer) in vocabularies() {
        let grammars = Grammars::new(Arc::clone(&tokenizer));
        let mut group = c.benchmark_group(format!("text under a grammar, {model}"));
        for case in cases() {
            let tokens = tokens(&tokenizer, case.text);
            let compiled = grammars.compile(&case.grammar).expect("the grammar is one");
            compiled.rehearse();
            group.throughput(Throughput::Elements(tokens.len() as u64));
            group.bench_function(BenchmarkId::from_parameter(case.name), |b| {
                b.iter(|| follow(&compiled, &tokens, |_, _| ()));
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(2));
    targets = table, masks
}
criterion_main!(benches);
