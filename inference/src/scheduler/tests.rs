//! Speculation changes nothing but the time.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use proptest::prelude::*;

use super::*;
use crate::block::BlockType;
use crate::grammar::Grammar;
use crate::kernel::Isa;
use crate::model::tests::Tiny;
use crate::sampler::{SamplingOptions, SamplingOverrides, TokenLogprob};

/// Tokens of a tiny model, each of which is one character from `A` on.
const VOCABULARY: u32 = 40;

/// A model for each set of kernels and of two types of weights.
fn models() -> &'static [Arc<Model>] {
    static MODELS: OnceLock<Vec<Arc<Model>>> = OnceLock::new();
    MODELS.get_or_init(|| {
        let types = [BlockType::Q4_0, BlockType::F32];
        let tinies = types.map(|block_type| Tiny::new(block_type, 2));
        Isa::available().flat_map(|isa| tinies.each_ref().map(|tiny| Arc::new(tiny.load(isa).unwrap()))).collect()
    })
}

/// All that a sequence told, but the time.
#[derive(Clone, Debug, Default, PartialEq)]
struct Told {
    tokens: Vec<(TokenLogprob, Vec<TokenLogprob>)>,
    texts: Vec<String>,
    end: Option<Result<(FinishReason, Usage), SequenceFault>>,
}

impl Told {
    fn text(&self) -> String {
        self.texts.concat()
    }
}

/// A request, and in which step it comes.
type Coming = (usize, Request);

struct Setting {
    threads: usize,
    batch_tokens: usize,
    speculation: Speculation,
}

/// Runs the requests, and then for each session a second turn on top of what its first one answered.
fn run(model: &Arc<Model>, setting: &Setting, coming: &[Coming]) -> Vec<Told> {
    let options = SchedulerOptions {
        threads: Some(setting.threads),
        batch_tokens: Some(setting.batch_tokens),
        max_sequences: Some(4),
        speculation: setting.speculation,
        ..SchedulerOptions::default()
    };
    let mut scheduler = Scheduler::new(Arc::clone(model), &options).unwrap();
    let first = turn(&mut scheduler, coming).0;
    let second: Vec<Coming> = coming
        .iter()
        .zip(&first)
        .map(|((at, request), told)| {
            let answer = told.text().chars().map(|c| c as u32 - u32::from(b'A')).collect();
            let prompt = [request.prompt.clone(), answer, vec![1, 2]].concat();
            (*at, Request { prompt, ..request.clone() })
        })
        .filter(|(_, request)| request.prompt.len() < 250)
        .collect();
    first.into_iter().chain(turn(&mut scheduler, &second).0).collect()
}

/// Runs requests to their end; gives what they told and how many steps it took.
fn turn(scheduler: &mut Scheduler, coming: &[Coming]) -> (Vec<Told>, usize) {
    let mut told: BTreeMap<SequenceId, Told> = BTreeMap::new();
    let mut ids = Vec::new();
    let mut step = 0;
    loop {
        for (_, request) in coming.iter().filter(|(at, _)| *at == step) {
            ids.push(scheduler.submit(request.clone()).unwrap());
        }
        let more = scheduler.step(&mut |id, event| record(told.entry(id).or_default(), event));
        step += 1;
        if !more && coming.iter().all(|(at, _)| *at < step) {
            return (ids.iter().map(|id| told.remove(id).unwrap()).collect(), step);
        }
    }
}

fn record(told: &mut Told, event: Event<'_>) {
    assert_eq!(told.end, None, "nothing comes after the end");
    match event {
        Event::Token { chosen, top } => told.tokens.push((chosen, top.to_vec())),
        Event::Text(text) => told.texts.push(text.to_owned()),
        Event::Finished { reason, usage, .. } => told.end = Some(Ok((reason, usage))),
        Event::Embedded { .. } => panic!("nothing is embedded"),
        Event::Refused { error } => panic!("{error}"),
        Event::Failed { fault } => told.end = Some(Err(fault)),
    }
}

/// How tokens are chosen: greedily and at random, with whatever looks back on the answer.
fn sampling() -> impl Strategy<Value = SamplingOptions> {
    let temperature = prop::sample::select(vec![0.0f32, 0.0, 0.3, 1.0]);
    let filters = (prop::sample::select(vec![0u32, 3, 40]), prop::sample::select(vec![1.0f32, 0.8]));
    let penalties = (prop::sample::select(vec![1.0f32, 1.0, 1.3]), prop::sample::select(vec![0.0f32, 0.5]));
    let bias = prop::collection::vec((0..VOCABULARY, -3f32..3.0), 0..3);
    let logprobs = prop::sample::select(vec![None, Some(0u32), Some(3)]);
    (temperature, filters, penalties, bias, logprobs).prop_map(
        |(temperature, (k, p), (repetition, frequency), bias, logprobs)| {
            let asked = SamplingOverrides {
                temperature: Some(temperature),
                top_k: Some(k),
                top_p: Some(p),
                repetition_penalty: Some(repetition),
                frequency_penalty: Some(frequency),
                logit_bias: Some(bias),
                logprobs,
                ..SamplingOverrides::default()
            };
            SamplingOptions::default().with(&asked).unwrap()
        },
    )
}

/// Prompts that repeat themselves, of up to three pages, and limits of all kinds.
fn request() -> impl Strategy<Value = Coming> {
    let phrase = prop::collection::vec(0..VOCABULARY, 1..30);
    let repeated = (phrase, 1usize..6).prop_map(|(phrase, times)| phrase.repeat(times));
    let stop = prop::sample::select(vec![vec![], vec!["AB".to_owned()], vec!["Q".to_owned(), "cdc".to_owned()]]);
    let grammar = prop::sample::select(vec![
        None,
        None,
        None,
        Some(Grammar::Regex("[A-H]{10,40}".to_owned())),
        Some(Grammar::Regex("(abc|abd|ACE)*X".to_owned())),
    ]);
    (0usize..6, repeated, sampling(), stop, grammar, 1usize..70).prop_map(
        |(at, prompt, sampling, stop, grammar, max_tokens)| {
            (at, Request { prompt, sampling, grammar, max_tokens, stop, session: None })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 100, ..ProptestConfig::with_cases(40) })]

    /// Tokens, probabilities, texts, ends, and what a second turn finds in the cache.
    #[test]
    fn speculation_changes_nothing_that_is_told(
        model in any::<prop::sample::Index>(),
        mut coming in prop::collection::vec(request(), 1..6),
        threads in 1usize..3,
        batch_tokens in prop::sample::select(vec![4usize, 7, 64]),
    ) {
        // Conversations of their own, but for one: what a session left when a turn of it begins is a matter of time.
        (1..).zip(&mut coming).skip(1).for_each(|(session, (_, request))| request.session = Some(session));
        let model = &models()[model.index(models().len())];
        let run = |speculation| run(model, &Setting { threads, batch_tokens, speculation }, &coming);
        let without = run(Speculation::Off);
        prop_assert_eq!(&run(Speculation::On), &without, "{}", model.isa());
        prop_assert_eq!(&run(Speculation::Auto), &without, "{}", model.isa());
    }
}

fn greedy(prompt: Vec<u32>, max_tokens: usize) -> Request {
    let asked = SamplingOverrides { temperature: Some(0.0), repetition_penalty: Some(1.0), ..Default::default() };
    let sampling = SamplingOptions::default().with(&asked).unwrap();
    Request { prompt, sampling, max_tokens, ..Request::default() }
}

fn scheduler(model: &Arc<Model>, speculation: Speculation) -> Scheduler {
    let options = SchedulerOptions { threads: Some(1), speculation, ..SchedulerOptions::default() };
    Scheduler::new(Arc::clone(model), &options).unwrap()
}

#[test]
fn a_text_that_repeats_itself_takes_fewer_steps() {
    for model in models() {
        // A tiny model that takes the likeliest token goes round before long.
        let coming = [(0, greedy(vec![3, 1, 4, 1, 5], 200))];
        let (without, steps) = turn(&mut scheduler(model, Speculation::Off), &coming);
        assert_eq!(steps, 200);
        let (with, fewer) = turn(&mut scheduler(model, Speculation::On), &coming);
        assert_eq!(with, without);
        assert!(fewer < 100, "{fewer} steps with {}", model.isa());
    }
}

#[test]
fn guesses_fill_no_more_rows_than_there_are() {
    let model = &models()[0];
    let coming: Vec<Coming> = (0..8).map(|i| (0, greedy([i, 1, 4, 1, 5].repeat(4), 100))).collect();
    let (without, _) = turn(&mut scheduler(model, Speculation::Off), &coming);
    let mut on = scheduler(model, Speculation::On);
    for (_, request) in &coming {
        on.submit(request.clone()).unwrap();
    }
    let (mut told, mut most) = (BTreeMap::<SequenceId, Told>::new(), 0);
    while on.step(&mut |id, event| record(told.entry(id).or_default(), event)) {
        most = most.max(on.plan.generated.len());
        let drafts = on.plan.generated.len().saturating_sub(coming.len());
        assert!(drafts <= DRAFT_ROWS, "{drafts}");
    }
    assert!(most > 8, "there were guesses");
    assert_eq!(told.into_values().collect::<Vec<_>>(), without);
}

#[test]
fn what_a_cancelled_sequence_told_is_the_beginning_of_its_answer() {
    let model = &models()[0];
    let request = greedy([3, 1, 4, 1, 5].repeat(3), 150);
    let whole = turn(&mut scheduler(model, Speculation::Off), &[(0, request.clone())]).0.remove(0).text();
    for steps in [1, 2, 5, 8] {
        let mut on = scheduler(model, Speculation::On);
        let id = on.submit(request.clone()).unwrap();
        let mut told = Told::default();
        (0..steps).for_each(|_| assert!(on.step(&mut |_, event| record(&mut told, event))));
        assert!(on.cancel(id));
        assert!(!on.step(&mut |_, event| record(&mut told, event)));
        let Some(Ok((FinishReason::Stopped, usage))) = told.end else { panic!("{told:?}") };
        assert!(whole.starts_with(&told.text()) && usage.completion_tokens == told.text().len(), "{told:?}");
        // What it left is used again, and is right.
        let again = turn(&mut on, &[(0, request.clone())]).0.remove(0);
        assert_eq!(again.text(), whole);
    }
}
