//! What the scheduler adds: steps with many sequences that are sampled, a request that comes and goes, and cancelling.
//!
//! ```sh
//! cargo bench -p causerie-benches --bench scheduler
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use causerie_benches::model_file;
use causerie_inference::cache::PAGE;
use causerie_inference::scheduler::Speculation;
use causerie_inference::{Event, LoadOptions, Model, Request, Scheduler, SchedulerOptions, SequenceId};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Tokens of a prompt.
const PROMPT: u32 = 64;
/// Tokens that a sequence may have.
const CONTEXT: usize = 1_024;

fn model() -> Arc<Model> {
    let path = model_file().unwrap_or_else(|error| panic!("{error}"));
    Arc::new(Model::load(&path, &LoadOptions::default()).expect("the default model can be loaded"))
}

/// Room for so many sequences to use all of their context.
fn scheduler(model: &Arc<Model>, sequences: usize) -> Scheduler {
    let pages = sequences * CONTEXT.div_ceil(PAGE);
    let options = SchedulerOptions {
        max_sequences: Some(sequences),
        context: Some(CONTEXT),
        cache_bytes: Some(pages * model.config().page_shape().page_bytes()),
        speculation: Speculation::Off, // a token a step
        ..SchedulerOptions::default()
    };
    Scheduler::new(Arc::clone(model), &options).expect("the options are in their ranges")
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

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3));
    targets = steps, coming_and_going
}
criterion_main!(benches);
