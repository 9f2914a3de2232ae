//! What the protocol core costs: a token to many readers, a command, and doing nothing.
//!
//! ```sh
//! cargo bench -p causerie-benches --bench core
//! ```

use std::hint::black_box;

use causerie_benches::Session;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Tokens of one measured answer: answers are bounded, so each sample begins a new one.
const TOKENS: u64 = 1_000;

fn token(c: &mut Criterion) {
    let mut group = c.benchmark_group("token to readers");
    group.throughput(Throughput::Elements(TOKENS));
    for readers in [1, 10, 100, 1_000] {
        group.bench_function(BenchmarkId::from_parameter(readers), |b| {
            let answer = |session: &mut Session| (0..TOKENS).map(|_| session.token(" word")).sum::<usize>();
            b.iter_batched_ref(|| Session::with_readers(readers), answer, BatchSize::LargeInput);
        });
    }
    group.finish();
}

fn command(c: &mut Criterion) {
    let mut session = Session::with_readers(1);
    let ping = format!(r#"{{"type":"ping","id":"{}"}}"#, "x".repeat(120));
    let typing = format!(r#"{{"type":"typing","is_typing":true,"id":"{}"}}"#, "x".repeat(100));
    c.bench_function("ping of 143 bytes and its pong", |b| b.iter(|| session.frame(black_box(&ping))));
    c.bench_function("typing, 142 bytes", |b| b.iter(|| session.frame(black_box(&typing))));
}

fn idle(c: &mut Criterion) {
    let mut group = c.benchmark_group("idle poll and deadline, connections");
    for connections in [1, 1_000, 20_000] {
        let mut session = Session::with_readers(connections);
        group.bench_function(BenchmarkId::from_parameter(connections), |b| {
            b.iter(|| (session.hub.poll(&mut |_| ()), session.hub.next_deadline()));
        });
    }
    group.finish();
}

criterion_group!(benches, token, command, idle);
criterion_main!(benches);
