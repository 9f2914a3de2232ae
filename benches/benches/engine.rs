//! What a step of the default model costs: prompts, tokens at several depths, and many sequences together.
//!
//! ```sh
//! cargo bench -p causerie-benches --bench engine
//! ```

use std::time::Duration;

use causerie_benches::model_file;
use causerie_inference::measure::Run;
use causerie_inference::{LoadOptions, Model};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Rows of a step, as [`Run::prefill`] takes them.
const STEP: usize = 512;
/// Tokens that each of several sequences has before it goes on.
const PROMPT: usize = 128;

fn model() -> Model {
    let path = model_file().unwrap_or_else(|error| panic!("{error}"));
    Model::load(&path, &LoadOptions::default()).expect("the default model can be loaded")
}

fn prefill(c: &mut Criterion) {
    let model = model();
    let mut group = c.benchmark_group("prompt of tokens");
    for tokens in [32, 128, 512, 2_048] {
        let mut run = Run::new(&model, None, tokens, STEP, 1).expect("threads can be started");
        group.throughput(Throughput::Elements(tokens as u64));
        group.bench_function(BenchmarkId::from_parameter(tokens), |b| b.iter(|| run.prefill(0, 0, tokens)));
    }
    group.finish();
}

fn decode(c: &mut Criterion) {
    let model = model();
    let mut group = c.benchmark_group("one token after tokens");
    group.throughput(Throughput::Elements(1));
    for depth in [0, 1_024, 4_096] {
        let mut run = Run::new(&model, None, depth + 1, STEP, 1).expect("threads can be started");
        run.prefill(0, 0, depth);
        group.bench_function(BenchmarkId::from_parameter(depth), |b| b.iter(|| run.decode(1, depth)));
    }
    group.finish();
}

fn batch(c: &mut Criterion) {
    let model = model();
    let mut group = c.benchmark_group("one token each of sequences");
    for sequences in [2, 4, 8, 16, 32] {
        let mut run = Run::new(&model, None, PROMPT, STEP, sequences).expect("threads can be started");
        run.restart(sequences, PROMPT + 1);
        (0..sequences).for_each(|sequence| run.prefill(sequence, 0, PROMPT));
        group.throughput(Throughput::Elements(sequences as u64));
        group.bench_function(BenchmarkId::from_parameter(sequences), |b| b.iter(|| run.decode(sequences, PROMPT)));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3));
    targets = prefill, decode, batch
}
criterion_main!(benches);
