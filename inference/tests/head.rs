//! Searching the output matrix for the likeliest tokens changes no answer.

mod common;

use std::sync::Arc;

use causerie_inference::measure::Run;
use causerie_inference::scheduler::{Event, Request, Scheduler, SchedulerOptions, Speculation};
use causerie_inference::tokenizer::Special;
use causerie_inference::{LoadOptions, Model, SamplingOptions, SamplingOverrides};

fn model() -> Arc<Model> {
    Arc::new(Model::load(&common::gemma_file(), &LoadOptions::default()).unwrap())
}

/// The greatest of all logits, the first of equals.
fn likeliest(logits: &[f32]) -> u32 {
    (0..logits.len()).rev().max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap() as u32
}

/// What is generated after some words. Who asks for probabilities has all logits computed.
fn generated(
    model: &Arc<Model>,
    overrides: &SamplingOverrides,
    logprobs: Option<u32>,
    speculation: Speculation,
) -> String {
    let options = SchedulerOptions { threads: Some(2), context: Some(256), speculation, ..SchedulerOptions::default() };
    let mut scheduler = Scheduler::new(Arc::clone(model), &options).unwrap();
    let mut prompt = Vec::new();
    model.tokenizer().encode("The history of the city begins in the", Special::Parse, true, &mut prompt);
    let overrides = SamplingOverrides { logprobs, ..overrides.clone() };
    let sampling = SamplingOptions::default().with(&overrides).unwrap();
    scheduler.submit(Request { prompt, sampling, max_tokens: 40, ..Request::default() }).unwrap();
    let mut text = String::new();
    let mut tell = |_, event: Event<'_>| {
        if let Event::Text(part) = event {
            text.push_str(part);
        }
    };
    while scheduler.step(&mut tell) {}
    text
}

#[test]
fn answers_are_those_of_all_logits() {
    let model = model();
    let plain = SamplingOverrides { seed: Some(5), ..SamplingOverrides::default() };
    let greedy = SamplingOverrides { temperature: Some(0.0), ..plain.clone() };
    let penalized = SamplingOverrides { repetition_penalty: Some(1.3), presence_penalty: Some(0.5), ..plain.clone() };
    let asked = [
        SamplingOverrides { repetition_penalty: Some(1.0), ..greedy.clone() },
        SamplingOverrides { repetition_penalty: Some(1.3), ..greedy },
        SamplingOverrides { temperature: Some(1.0), top_k: Some(40), ..plain.clone() },
        SamplingOverrides { temperature: Some(1.0), top_k: Some(0), top_p: Some(1.0), min_p: Some(0.05), ..plain },
        SamplingOverrides { temperature: Some(0.8), top_k: Some(20), ..penalized.clone() },
        SamplingOverrides { top_k: Some(0), top_p: Some(1.0), min_p: Some(0.1), ..penalized },
    ];
    for overrides in asked {
        let all = generated(&model, &overrides, Some(0), Speculation::Off);
        assert!(all.len() > 40, "{all:?}");
        for speculation in [Speculation::Off, Speculation::On] {
            assert_eq!(generated(&model, &overrides, None, speculation), all, "{overrides:?}, {speculation:?}");
        }
    }
}

#[test]
fn decoding_goes_on_with_the_likeliest_token() {
    let model = model();
    let prompt = 20;
    let mut run = Run::new(&model, Some(2), 64, 32, 1).unwrap();
    run.prefill(0, 0, prompt);
    let mut tokens = vec![run.next(0)];
    for step in 0..12 {
        run.decode(1, prompt + step);
        tokens.push(run.next(0));
    }
    run.prefill(0, 0, prompt);
    for (step, pair) in tokens.windows(2).enumerate() {
        assert_eq!(likeliest(run.logits(prompt + step, &pair[..1])), pair[1], "step {step}");
    }
}
