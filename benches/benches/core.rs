//! What the protocol core costs, each goal beside its measure, alone and among many sessions.
//!
//! ```sh
//! cargo bench -p causerie-benches --bench core
//! ```

use std::hint::black_box;
use std::time::{Duration, Instant};

use causerie_benches::{Commands, Session};
use causerie_core::bench::{Deltas, decodes};
use causerie_core::{MessageId, SessionId, Uuid, limits::Limits};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Sessions that idle beside the one that is measured.
const OTHERS: [usize; 3] = [1, 1_000, 100_000];

/// Messages that are measured between two readings of the clock; no more than glibc's allocator keeps at hand of a size.
const WRITERS: usize = 4;

/// Tokens of one measured answer: answers are bounded, so each sample begins a new one.
const TOKENS: u64 = 1_000;

fn idle(c: &mut Criterion) {
    let mut group = c.benchmark_group("idle poll and deadline (goal: 10 ns, flat), sessions");
    for others in OTHERS {
        let mut session = Session::among(others, 1, WRITERS);
        group.bench_function(BenchmarkId::from_parameter(others), |b| b.iter(|| session.idle()));
    }
    group.finish();
}

fn command(c: &mut Criterion) {
    let commands = Commands::default();
    let message_bytes = Limits::default().message_bytes;
    let mut group = c.benchmark_group("decoding alone");
    for (name, text) in commands.named() {
        group.bench_function(name, |b| b.iter(|| decodes(black_box(text), message_bytes)));
    }
    group.finish();
    for others in OTHERS {
        let mut session = Session::among(others, 1, WRITERS);
        let mut group = c.benchmark_group("command to actions (goal: 1 µs, 250 ns without decoding), sessions");
        group.bench_function(BenchmarkId::new("ping of 145 bytes", others), |b| {
            b.iter(|| session.frame(black_box(&commands.ping)));
        });
        group.bench_function(BenchmarkId::new("typing of 148 bytes", others), |b| {
            b.iter(|| session.frame(black_box(&commands.typing)));
        });
        group.bench_function(BenchmarkId::new("message of 150 bytes to its write", others), |b| {
            b.iter_custom(|times| messages(&mut session, &commands.message, times));
        });
        group.finish();
    }
}

/// Sends so many, and answers them while the clock does not run.
fn messages(session: &mut Session, text: &str, times: u64) -> Duration {
    let (mut taken, mut left) = (Duration::ZERO, times);
    let mut written = Vec::with_capacity(WRITERS);
    while left > 0 {
        session.second();
        let now = left.min(WRITERS as u64);
        let begun = Instant::now();
        for writer in 0..now as usize {
            written.push(session.message(writer, black_box(text)));
        }
        taken += begun.elapsed();
        for message in written.drain(..) {
            session.answer(message, "Tea.");
        }
        left -= now;
    }
    taken
}

fn encode(c: &mut Criterion) {
    let deltas = Deltas::new(SessionId(Uuid([0x5e; 16])), MessageId(Uuid([0xae; 16])));
    let mut out = String::new();
    c.bench_function("encoding a delta alone (goal: 60 ns)", |b| {
        b.iter(|| {
            deltas.encode(&mut out, black_box(12_345), black_box(" word"));
            out.len()
        });
    });
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

criterion_group!(benches, idle, command, encode, token);
criterion_main!(benches);
