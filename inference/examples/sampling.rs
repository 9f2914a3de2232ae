//! What choosing a token costs: filters on random logits of two vocabularies' sizes, and grammars with a model's tokens.
//!
//! `cargo run --release -p causerie-inference --example sampling -- MODEL.gguf`

use std::error::Error;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use causerie_inference::grammar::Next;
use causerie_inference::scheduler::{Event, Request, Scheduler, SchedulerOptions};
use causerie_inference::tokenizer::Special;
use causerie_inference::{Grammar, LoadOptions, Model, Sampler, SamplingOptions, SamplingOverrides};

const PERSON: &str = r#"{"type":"object","properties":{
    "name":{"type":"string","maxLength":30},"age":{"type":"integer","minimum":0,"maximum":150},
    "email":{"type":"string","format":"email"},"mood":{"enum":["happy","sad","calm"]},
    "hobbies":{"type":"array","items":{"type":"string","maxLength":20},"minItems":1,"maxItems":5},
    "address":{"type":"object","properties":{"street":{"type":"string"},"city":{"type":"string"}},
        "required":["street","city"],"additionalProperties":false}},
    "required":["name","age","mood","hobbies","address"],"additionalProperties":false}"#;

/// Answers whose tokens are timed, after one that is not.
const ANSWERS: u64 = 8;

fn main() -> Result<(), Box<dyn Error>> {
    for vocabulary in [49_152, 262_144] {
        filters(vocabulary)?;
    }
    let path = PathBuf::from(std::env::args_os().nth(1).ok_or("which model? give its file")?);
    let model = std::sync::Arc::new(Model::load(&path, &LoadOptions::default())?);
    let began = Instant::now();
    model.grammars().prepare()?;
    println!("{} tokens: prepared for grammars in {:?}", model.info().vocabulary_size, began.elapsed());
    let date = r"(19|20)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])";
    let list = "start: item (\", \" item)~2..5 \".\"\nitem: /[A-Z][a-z]{2,12}/";
    for (name, grammar) in [
        ("schema", Grammar::JsonSchema(PERSON.to_owned())),
        ("regex", Grammar::Regex(date.to_owned())),
        ("lark", Grammar::Lark(list.to_owned())),
        ("anything", Grammar::Regex("(?s:.{0,400})".to_owned())),
    ] {
        follow(&model, name, &grammar)?;
    }
    Ok(())
}

fn filters(vocabulary: usize) -> Result<(), Box<dyn Error>> {
    let none = SamplingOverrides::default;
    let whole = || SamplingOverrides { top_k: Some(0), top_p: Some(1.0), ..none() };
    let flat = SamplingOverrides { top_p: Some(0.9), ..whole() };
    for (name, asked, scale) in [
        ("greedy", SamplingOverrides { temperature: Some(0.0), ..none() }, 1.5),
        ("the defaults", none(), 1.5),
        ("min-p 0.05", SamplingOverrides { min_p: Some(0.05), ..whole() }, 1.5),
        ("top-p 0.9", SamplingOverrides { top_p: Some(0.9), ..whole() }, 1.5),
        ("temperature 1 alone", SamplingOverrides { temperature: Some(1.0), ..whole() }, 1.5),
        ("the defaults with logprobs", SamplingOverrides { logprobs: Some(5), ..none() }, 1.5),
        ("top-p 0.9 of flat logits", flat.clone(), 0.01),
        ("top-p 0.9 of equal logits", flat, 0.0),
    ] {
        let mut sampler = Sampler::new(&SamplingOptions::default().with(&asked)?, 1);
        let mut state = 1u64;
        let mut logits = vec![0.0f32; vocabulary];
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..200 {
            // About as peaked as a model's: exponentially few are near the greatest.
            for logit in &mut logits {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *logit = -scale * ((state >> 40) as f32 / (1 << 24) as f32 + 1e-7).ln();
            }
            let began = Instant::now();
            let token = black_box(sampler.sample(&mut logits));
            times.push(began.elapsed());
            sampler.accept(token);
        }
        println!("{vocabulary} logits, {name}: {}", spread(&mut times));
    }
    Ok(())
}

/// Times mask and accept along texts that the model itself wrote under the grammar.
fn follow(model: &std::sync::Arc<Model>, name: &str, grammar: &Grammar) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    let compiled = model.grammars().compile(grammar)?;
    let compiling = began.elapsed();
    let (mut tokens, mut starts) = (Vec::new(), Vec::new());
    for seed in 0..=ANSWERS {
        let answer = write(model, grammar, seed)?;
        let began = Instant::now();
        let mut matcher = compiled.matcher();
        let start = began.elapsed();
        for &token in &answer {
            let began = Instant::now();
            let Next::Tokens(allowed) = black_box(matcher.allowed()?) else { break };
            assert_eq!(allowed[token as usize / 32] >> (token % 32) & 1, 1, "the model wrote what was allowed");
            matcher.accept(token)?;
            if seed > 0 {
                tokens.push(began.elapsed());
            }
        }
        starts.push(start);
    }
    println!(
        "{name}: compiled in {compiling:?}; a sequence starts in {}; mask and accept of {} tokens: {}",
        spread(&mut starts),
        tokens.len(),
        spread(&mut tokens)
    );
    Ok(())
}

/// The tokens of an answer.
fn write(model: &std::sync::Arc<Model>, grammar: &Grammar, seed: u64) -> Result<Vec<u32>, Box<dyn Error>> {
    let options = SchedulerOptions { max_sequences: Some(1), context: Some(512), ..SchedulerOptions::default() };
    let mut scheduler = Scheduler::new(model.clone(), &options)?;
    let mut prompt = Vec::new();
    let text = "<|im_start|>user\nDescribe somebody.<|im_end|>\n<|im_start|>assistant\n";
    model.tokenizer().encode(text, Special::Parse, true, &mut prompt);
    let asked = SamplingOverrides { temperature: Some(1.0), logprobs: Some(0), seed: Some(seed), ..Default::default() };
    let sampling = SamplingOptions::default().with(&asked)?;
    let grammar = Some(grammar.clone());
    scheduler.submit(Request { prompt, sampling, grammar, max_tokens: 200, ..Request::default() })?;
    let mut tokens = Vec::new();
    let mut tell = |_, event: Event<'_>| {
        if let Event::Token { chosen, .. } = event {
            tokens.push(chosen.token);
        }
    };
    while scheduler.step(&mut tell) {}
    Ok(tokens)
}

fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e6;
    let mean = times.iter().sum::<Duration>().as_secs_f64() * 1e6 / times.len() as f64;
    format!("median {:.1} µs, mean {mean:.1} µs, p99 {:.1} µs", at(0.5), at(0.99))
}
