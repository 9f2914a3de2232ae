//! What the scheduler adds: steps with many sequences that are sampled, a request that comes and goes, and cancelling; and the
//! second turn of a conversation.
//!
//! ```sh
//! cargo bench -p causerie-benches --bench scheduler
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use causerie_benches::model_file;
use causerie_inference::cache::PAGE;
use causerie_inference::scheduler::Speculation;
use causerie_inference::{
    Event, LoadOptions, Model, Request, SamplingOptions, SamplingOverrides, Scheduler, SchedulerOptions, SequenceId,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Tokens of a prompt.
const PROMPT: u32 = 64;
/// Tokens that a sequence may have.
const CONTEXT: usize = 1_024;
/// Tokens of a first turn, of its answer, and of what is said then.
const TURN: [usize; 3] = [1_000, 24, 24];

fn model() -> Arc<Model> {
    let path = model_file().unwrap_or_else(|error| panic!("{error}"));
    Arc::new(Model::load(&path, &LoadOptions::default()).expect("the default model can be loaded"))
}

/// Room for so many sequences to use all of their context.
fn scheduler(model: &Arc<Model>, sequences: usize) -> Scheduler {
    let options = scheduler_options(model, sequences, CONTEXT);
    Scheduler::new(Arc::clone(model), &options).expect("the options are in their ranges")
}

fn scheduler_options(model: &Model, sequences: usize, context: usize) -> SchedulerOptions {
    let pages = sequences * context.div_ceil(PAGE);
    SchedulerOptions {
        max_sequences: Some(sequences),
        context: Some(context),
        cache_bytes: Some(pages * model.config().page_shape().page_bytes()),
        speculation: Speculation::Off, // a token a step
        ..SchedulerOptions::default()
    }
}

fn request(number: u32) -> Request {
    let prompt = (0..PROMPT).map(|i| 1_000 + (number * 131 + i * 7_919) % 40_000).collect();
    Request { prompt, max_tokens: usize::MAX, ..Request::default() }
}

/// Keeps so many sequences generating: answers end when the model or the context says so, and others take their places.
struct Full {
    scheduler: Scheduler,
    sequences: usize,
    requests: u32,
}

impl Full {
    fn new(model: &Arc<Model>, sequences: usize) -> Self {
        Self { scheduler: scheduler(model, sequences), sequences, requests: 0 }
    }

    /// Fills the places that are free, and steps until each of these sequences has given a token.
    fn fill(&mut self) {
        let (running, waiting) = self.scheduler.load();
        let mut silent: Vec<SequenceId> = (running + waiting..self.sequences)
            .map(|_| {
                self.requests += 1;
                self.scheduler.submit(request(self.requests)).expect("the queue has room for every place")
            })
            .collect();
        while !silent.is_empty() {
            self.scheduler.step(&mut |id, _| silent.retain(|&silent| silent != id));
        }
    }

    /// One step, and whether all are still generating.
    fn step(&mut self) -> bool {
        let mut whole = true;
        self.scheduler.step(&mut |_, event| whole &= !matches!(event, Event::Finished { .. } | Event::Failed { .. }));
        whole
    }
}

fn steps(c: &mut Criterion) {
    let model = model();
    let mut group = c.benchmark_group("step of sequences");
    for sequences in [1, 8, 32] {
        let mut full = Full::new(&model, sequences);
        group.throughput(Throughput::Elements(sequences as u64));
        group.bench_function(BenchmarkId::from_parameter(sequences), |b| {
            b.iter_custom(|steps| {
                let mut spent = Duration::ZERO;
                let mut whole = false;
                for _ in 0..steps {
                    while !whole {
                        full.fill();
                        whole = full.scheduler.load() == (sequences, 0); // unless an answer was short
                    }
                    let began = Instant::now();
                    whole = full.step();
                    spent += began.elapsed();
                }
                spent
            });
        });
    }
    group.finish();
}

fn coming_and_going(c: &mut Criterion) {
    let model = model();
    let mut waiting = scheduler(&model, 1);
    c.bench_function("submit a request and cancel it in the queue", |b| {
        b.iter(|| {
            let id = waiting.submit(request(0)).expect("the queue is empty");
            assert!(waiting.cancel(id));
            waiting.step(&mut |_, _| ())
        });
    });

    let mut running = scheduler(&model, 1);
    c.bench_function("cancel a running sequence", |b| {
        b.iter_custom(|times| {
            let mut spent = Duration::ZERO;
            for _ in 0..times {
                let id = running.submit(request(0)).expect("the queue is empty");
                running.step(&mut |_, _| ());
                let began = Instant::now();
                assert!(running.cancel(id));
                assert!(!running.step(&mut |_, _| ()));
                spent += began.elapsed();
            }
            spent
        });
    });

    let mut admitted = scheduler(&model, 1);
    c.bench_function("admission to first token, the prompt known", |b| {
        b.iter_custom(|times| {
            let mut spent = Duration::ZERO;
            for _ in 0..times {
                let began = Instant::now();
                let id = admitted.submit(request(0)).expect("the queue is empty");
                admitted.step(&mut |_, _| ());
                spent += began.elapsed();
                admitted.cancel(id);
                admitted.step(&mut |_, _| ());
            }
            spent
        });
    });
}

/// How long somebody waits for the first token of a second answer: history, answer and new message are the prompt, and only the
/// message has not been computed.
fn second_turn(c: &mut Criterion) {
    let model = model();
    let [history, answer, message] = TURN;
    let mut options = scheduler_options(&model, 4, history + 2 * (answer + message));
    options.max_sequences = Some(1);
    let mut scheduler = Scheduler::new(Arc::clone(&model), &options).expect("the options are in their ranges");
    let with_tokens = SamplingOverrides { temperature: Some(0.0), logprobs: Some(0), ..SamplingOverrides::default() };
    let sampling = SamplingOptions::default().with(&with_tokens).expect("both are in their ranges");
    let mut conversation = 0;
    c.bench_function("second turn to first token, 24 tokens after a history of 1,000", |b| {
        b.iter_custom(|turns| {
            let mut spent = Duration::ZERO;
            for _ in 0..turns {
                conversation += 1;
                let turn = |prompt: &[u32], max_tokens: usize| Request {
                    prompt: prompt.to_vec(),
                    max_tokens,
                    sampling: sampling.clone(),
                    session: Some(u128::from(conversation)),
                    ..Request::default()
                };
                let tokens =
                    |count: usize, from: u32| (0..count as u32).map(move |i| 1_000 + (from + i * 7_919) % 40_000);
                let mut prompt: Vec<u32> = tokens(history, conversation * 131).collect();
                scheduler.submit(turn(&prompt, answer)).expect("the queue is empty");
                while scheduler.step(&mut |_, event| {
                    if let Event::Token { chosen, .. } = event {
                        prompt.push(chosen.token);
                    }
                }) {}
                prompt.extend(tokens(message, 17));
                let began = Instant::now();
                let id = scheduler.submit(turn(&prompt, answer)).expect("the queue is empty");
                let mut first = false;
                while !first {
                    scheduler
                        .step(&mut |_, event| first |= matches!(event, Event::Token { .. } | Event::Finished { .. }));
                }
                spent += began.elapsed();
                scheduler.cancel(id);
                scheduler.step(&mut |_, _| ());
            }
            spent
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3));
    targets = steps, coming_and_going, second_turn
}
criterion_main!(benches);
