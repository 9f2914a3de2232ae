//! Keys and values of 8 bits, with the real model: answers are as repeatable as others, and they are saved as others are.

mod common;

use std::sync::{Arc, LazyLock};

use causerie_inference::scheduler::{Event, Request, Scheduler, SchedulerOptions};
use causerie_inference::tokenizer::Special;
use causerie_inference::{KvType, LoadOptions, Model, SamplingOptions, SamplingOverrides};

fn load(kv: KvType) -> Arc<Model> {
    Arc::new(Model::load(&common::model_file(), &LoadOptions { kv, ..LoadOptions::default() }).unwrap())
}

static MODEL: LazyLock<Arc<Model>> = LazyLock::new(|| load(KvType::Q8));

fn scheduler(options: SchedulerOptions) -> Scheduler {
    Scheduler::new(Arc::clone(&MODEL), &SchedulerOptions { context: Some(1024), ..options }).unwrap()
}

fn question(text: &str) -> Request {
    let text = format!("<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n");
    let mut prompt = Vec::new();
    MODEL.tokenizer().encode(&text, Special::Parse, true, &mut prompt);
    let greedy = SamplingOverrides { temperature: Some(0.0), repetition_penalty: Some(1.0), ..Default::default() };
    let sampling = SamplingOptions::default().with(&greedy).unwrap();
    Request { prompt, sampling, max_tokens: 40, session: Some(7), ..Request::default() }
}

/// What the requests are answered together, and how many tokens of their prompts were known.
fn answers(scheduler: &mut Scheduler, requests: Vec<Request>) -> Vec<(String, usize)> {
    let ids: Vec<_> = requests.into_iter().map(|request| scheduler.submit(request).unwrap()).collect();
    let mut answers = vec![(String::new(), 0); ids.len()];
    let mut tell = |from, event: Event<'_>| {
        let (text, known) = &mut answers[ids.iter().position(|&id| id == from).unwrap()];
        match event {
            Event::Text(more) => text.push_str(more),
            Event::Finished { usage, .. } => *known = usage.cached_tokens,
            other => panic!("{other:?}"),
        }
    };
    while scheduler.step(&mut tell) {}
    answers
}

#[test]
fn an_answer_depends_neither_on_its_company_nor_on_how_its_prompt_was_cut() {
    let long = "Tell me of the sea, the ships and the sailors. ".repeat(20);
    let questions = ["What is gravity?", "Name three colours.", &long, "Who was Ada Lovelace?"];
    let requests = || questions.iter().map(|text| Request { session: None, ..question(text) });
    let together = answers(&mut scheduler(SchedulerOptions::default()), requests().collect());
    for (request, together) in requests().zip(together) {
        for batch_tokens in [8, 200] {
            let mut alone = scheduler(SchedulerOptions { batch_tokens: Some(batch_tokens), ..Default::default() });
            assert_eq!(answers(&mut alone, vec![request.clone()]), [(together.0.clone(), 0)]);
        }
    }
}

#[test]
fn what_is_saved_is_found_again_by_those_of_the_same_type_alone() {
    let saved = std::env::temp_dir().join(format!("causerie-kv-{}.kv", std::process::id()));
    let _ = std::fs::remove_file(&saved);
    let options = || SchedulerOptions { saved: Some(saved.clone()), ..Default::default() };
    let asked = question(&"What is gravity? ".repeat(20));
    let mut first = scheduler(options());
    let told = answers(&mut first, vec![asked.clone()]);
    let again = answers(&mut first, vec![asked.clone()]);
    assert_eq!((&again[0].0, again[0].1), (&told[0].0, asked.prompt.len() - 1));
    assert!(first.save().unwrap() > 0);
    let mut restarted = scheduler(options());
    assert!(restarted.restored().unwrap() > 0);
    assert_eq!(answers(&mut restarted, vec![asked.clone()]), again);

    let mut other = Scheduler::new(load(KvType::Bf16), &SchedulerOptions { context: Some(1024), ..options() }).unwrap();
    let refused = other.restored().unwrap_err().to_string();
    assert!(refused.contains("another type of keys and values"), "{refused}");
    assert_eq!(answers(&mut other, vec![asked])[0].1, 0);
    std::fs::remove_file(&saved).unwrap();
}

#[test]
fn a_context_takes_half_of_the_memory() {
    let bytes = [KvType::Bf16, KvType::Q8].map(|kv| load(kv).config().page_shape().page_bytes());
    assert_eq!(bytes[0], 64 * 30 * 3 * 2 * 64 * 2);
    assert_eq!(bytes[1], bytes[0] / 2 + 64 * 30 * 3 * 2 * 4);
}
