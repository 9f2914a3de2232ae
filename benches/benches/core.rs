//! What the protocol core costs, each goal beside its measure, alone and among many sessions.
//!
//! ```sh
//! cargo bench -p causerie-benches --bench core
//! ```

use std::hint::black_box;
use std::time::{Duration, Instant};

use causerie_benches::Session;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Sessions that idle beside the one that is measured.
const OTHERS: [usize; 3] = [1, 1_000, 100_000];

/// Tokens of one measured answer: answers are bounded, so each sample begins a new one.
const TOKENS: u64 = 1_000;

fn idle(c: &mut Criterion) {
    let mut group = c.benchmark_group("idle poll and deadline (goal: 10 ns, flat), sessions");
    for others in OTHERS {
        let mut session = Session::among(others, 1);
        group.bench_function(BenchmarkId::from_parameter(others), |b| b.iter(|| session.idle()));
    }
    group.finish();
}

fn command(c: &mut Criterion) {
    let ping = format!(r#"{{"type":"ping","id":"{}"}}"#, "x".repeat(122));
    let typing = format!(r#"{{"type":"typing","is_typing":true,"id":"{}"}}"#, "x".repeat(106));
    let text = "Tell me more about the tea of the mountains, ".repeat(2);
    let message = format!(r#"{{"type":"chat_message","message":"{text}","client_id":null,"id":7}}"#);
    for others in OTHERS {
        let mut session = Session::among(others, 1);
        let mut group = c.benchmark_group("command to actions, decode included (goal: 1 µs), sessions");
        group.bench_function(BenchmarkId::new("ping of 145 bytes", others), |b| {
            b.iter(|| session.frame(black_box(&ping)));
        });
        group.bench_function(BenchmarkId::new("typing of 148 bytes", others), |b| {
            b.iter(|| session.frame(black_box(&typing)));
        });
        group.bench_function(BenchmarkId::new("message of 150 bytes to its write", others), |b| {
            b.iter_custom(|times| {
                let mut taken = Duration::ZERO;
                for _ in 0..times {
                    let begun = Instant::now();
                    let written = session.message(black_box(&message));
                    taken += begun.elapsed();
                    session.answer(written, "Tea.");
                }
                taken
            });
        });
        group.finish();
    }
}

fn token(c: &mut Criterion) {
    let mut group = c.benchmark_group("token to readers (goal: 60 ns + 10 ns a reader), a thousand of them");
    group.throughput(Throughput::Elements(TOKENS));
    for readers in [1, 10, 100, 1_000] {
        group.bench_function(BenchmarkId::from_parameter(readers), |b| {
            let answer = |session: &mut Session| (0..TOKENS).map(|_| session.token(" word")).sum::<usize>();
            b.iter_batched_ref(|| Session::with_readers(readers), answer, BatchSize::LargeInput);
        });
    }
    group.finish();
}

criterion_group!(benches, idle, command, token);
criterion_main!(benches);
