use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::{Request, SchedulerOptions};
use super::*;
use crate::block::BlockType;
use crate::kernel::Isa;
use crate::model::tests::{Tiny, true_hidden};
use crate::sampler::{SamplingOptions, SamplingOverrides};

fn scheduler(model: &Arc<Model>, batch_tokens: usize) -> Scheduler {
    let options = SchedulerOptions {
        threads: Some(2),
        batch_tokens: Some(batch_tokens),
        max_sequences: Some(4),
        ..SchedulerOptions::default()
    };
    Scheduler::new(Arc::clone(model), &options).unwrap()
}

fn text(seed: u32, len: u32) -> Vec<u32> {
    (0..len).map(|i| (i * i + i * seed + seed) % 40).collect()
}

/// What was told of each request.
#[derive(Debug, Default)]
struct Told {
    vectors: BTreeMap<usize, Vec<f32>>,
    text: String,
    end: Option<Result<(FinishReason, Usage), SequenceFault>>,
}

#[derive(Default)]
struct All(BTreeMap<SequenceId, Told>);

impl All {
    fn step(&mut self, scheduler: &mut Scheduler) -> bool {
        scheduler.step(&mut |id, event| {
            let told = self.0.entry(id).or_default();
            assert_eq!(told.end, None, "nothing comes after the end");
            match event {
                Event::Embedded { text, vector } => {
                    assert!(told.vectors.insert(text, vector.to_vec()).is_none(), "each once");
                }
                Event::Text(text) => told.text.push_str(text),
                Event::Finished { reason, usage, .. } => told.end = Some(Ok((reason, usage))),
                Event::Failed { fault } => told.end = Some(Err(fault)),
                Event::Token { .. } | Event::Refused { .. } => panic!("{event:?}"),
            }
        })
    }

    fn run(mut self, scheduler: &mut Scheduler) -> Self {
        while self.step(scheduler) {}
        self
    }
}

fn vectors(model: &Arc<Model>, batch_tokens: usize, texts: &[Vec<u32>]) -> Vec<Vec<f32>> {
    let mut scheduler = scheduler(model, batch_tokens);
    let id = scheduler.embed(texts.to_vec()).unwrap();
    let Told { vectors, end, .. } = All::default().run(&mut scheduler).0.remove(&id).unwrap();
    let usage = Usage { prompt_tokens: texts.iter().map(Vec::len).sum(), ..Usage::default() };
    assert_eq!(end, Some(Ok((FinishReason::Stop, usage))));
    assert_eq!((scheduler.cache.used_pages(), scheduler.load()), (0, (0, 0)), "everything is given back");
    vectors.into_values().collect()
}

#[test]
fn embeddings_are_what_the_formulas_say() {
    let texts: Vec<Vec<u32>> = [1, 2, 65, 80].map(|len| text(len, len)).to_vec();
    for (number, pooling) in [(1, Pooling::Mean), (3, Pooling::Last)] {
        let mut tiny = Tiny::new(BlockType::F32, 2);
        tiny.number("llama.pooling_type", number);
        for isa in Isa::available() {
            let model = Arc::new(tiny.load(isa).unwrap());
            let ours = vectors(&model, 64, &texts);
            assert_eq!(ours.len(), texts.len());
            for (text, ours) in texts.iter().zip(&ours) {
                let hidden = true_hidden(&tiny, text);
                let truth: Vec<f64> = match pooling {
                    Pooling::Mean => (0..ours.len()).map(|i| hidden.iter().map(|x| x[i]).sum()).collect(),
                    Pooling::Last => hidden.last().unwrap().clone(),
                };
                let length = truth.iter().map(|x| x * x).sum::<f64>().sqrt();
                let off = ours.iter().zip(&truth).map(|(&ours, truth)| (f64::from(ours) - truth / length).powi(2));
                let off = off.sum::<f64>().sqrt();
                assert!(off < 5e-3, "{isa}, {pooling:?}, {} tokens: {off}", text.len());
                let ours = ours.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
                assert!((ours - 1.0).abs() < 1e-5, "{ours}");
            }
        }
    }
}

#[test]
fn an_embedding_does_not_depend_on_its_company_or_on_how_it_was_cut() {
    let texts: Vec<Vec<u32>> = (0..OPEN as u32 + 2).map(|n| text(n, 1 + n * 37 % 30 + n / 33 * 60)).collect();
    for isa in Isa::available() {
        let model = Arc::new(Tiny::new(BlockType::Q4_0, 2).load(isa).unwrap());
        let together = vectors(&model, 64, &texts);
        assert!(together == vectors(&model, 7, &texts), "{isa}");
        for at in [0, 3, OPEN + 1] {
            assert!(together[at] == vectors(&model, 64, &texts[at..=at])[0], "{isa}, {at}");
        }
    }
}

#[test]
fn answers_go_on_beside_many_texts_and_say_the_same() {
    let model = Arc::new(Tiny::new(BlockType::Q4_0, 2).load(Isa::choose(None).unwrap()).unwrap());
    let asked = SamplingOverrides { temperature: Some(0.0), ..SamplingOverrides::default() };
    let sampling = SamplingOptions::default().with(&asked).unwrap();
    let request = Request { prompt: text(7, 90), sampling, max_tokens: 30, ..Request::default() };
    let mut alone = scheduler(&model, 64);
    let id = alone.submit(request.clone()).unwrap();
    let alone = All::default().run(&mut alone).0.remove(&id).unwrap();

    let mut both = scheduler(&model, 64);
    let many = both.embed((0..MAX_EMBEDDED as u32).map(|n| text(n, 20)).collect()).unwrap();
    let mut told = All::default();
    (0..3).for_each(|_| assert!(told.step(&mut both)));
    let id = both.submit(request).unwrap();
    let one = both.embed(vec![text(1, 100)]).unwrap();
    let mut steps = 0;
    while told.0.get(&id).is_none_or(|told| told.end.is_none()) {
        told.step(&mut both);
        steps += 1;
    }
    // Half of the rows go to its prompt, and then a step is a token.
    assert!(steps <= 3 + 30, "{steps}");
    assert_eq!((&told.0[&id].text, &told.0[&id].end), (&alone.text, &alone.end));
    assert!(told.0.get(&many).is_none_or(|told| told.end.is_none()), "two thousand texts take longer");
    while told.0.get(&one).is_none_or(|told| told.end.is_none()) {
        told.step(&mut both);
    }
    assert!(told.0[&many].end.is_none(), "who has one text does not wait for who has many");
    assert!(both.cancel(many));
    both.step(&mut |id, event| {
        assert_eq!(id, many);
        assert!(matches!(event, Event::Finished { reason: FinishReason::Stopped, .. }));
    });
    assert!(!both.cancel(many));
    let held = both.cache.used_pages();
    assert!(held <= (90usize + 30).div_ceil(PAGE), "{held}: what is embedded is not kept");
}

#[test]
fn what_cannot_be_embedded_is_refused_and_what_breaks_is_told() {
    const BROKEN: u32 = 39;
    let tiny = Tiny::new(BlockType::F32, 2).with_broken_token(BROKEN as usize);
    let model = Arc::new(tiny.load(Isa::Scalar).unwrap());
    let mut scheduler = scheduler(&model, 64);
    let refused = |scheduler: &mut Scheduler, texts: Vec<Vec<u32>>| scheduler.embed(texts).unwrap_err();
    assert_eq!(refused(&mut scheduler, vec![]), SubmitError::EmptyPrompt);
    assert_eq!(refused(&mut scheduler, vec![vec![1], vec![]]), SubmitError::EmptyPrompt);
    let texts = MAX_EMBEDDED + 1;
    let too_many = SubmitError::TooManyTexts { texts, limit: MAX_EMBEDDED };
    assert_eq!(refused(&mut scheduler, vec![vec![1]; texts]), too_many);
    let context = scheduler.context();
    let too_long = SubmitError::PromptTooLong { tokens: context + 1, context };
    assert_eq!(refused(&mut scheduler, vec![vec![1; context + 1]]), too_long);
    let unknown = SubmitError::UnknownToken { at: 1, token: 40, vocabulary: 40 };
    assert_eq!(refused(&mut scheduler, vec![vec![1, 40]]), unknown);
    let whole = scheduler.embed(vec![vec![1; context]]).unwrap();
    let broken = scheduler.embed(vec![vec![1, 2], vec![BROKEN], vec![3; 200]]).unwrap();
    let told = All::default().run(&mut scheduler).0;
    assert_eq!(told[&broken].end, Some(Err(SequenceFault::NotFinite)));
    assert_eq!(told[&whole].vectors.len(), 1);
    assert_eq!(scheduler.cache.used_pages(), 0);
    for _ in 0..scheduler.sizes.queue {
        scheduler.embed(vec![vec![1]]).unwrap();
    }
    assert_eq!(scheduler.embed(vec![vec![1]]), Err(SubmitError::Full { limit: scheduler.sizes.queue }));
}
