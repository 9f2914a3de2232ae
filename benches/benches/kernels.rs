//! Matrix products of every packed form and number of rows, and attention, beside what the machine can do.
//!
//! ```sh
//! cargo bench -p causerie-benches --bench kernels                       # with the fastest kernels
//! CAUSERIE_ISA=avx2 cargo bench -p causerie-benches --bench kernels     # with others
//! ```
//!
//! Few rows wait for the weights to be read, many for the multipliers: so criterion shows bytes a second for the former and
//! operations a second ("elements") for the latter. Below each stands the part of the limit that was measured in the same
//! run: of reading as many bytes as the matrix has, with as many threads, and of a loop that does nothing but multiply.

use std::time::{Duration, Instant};

use causerie_benches::Roofline;
use causerie_inference::bench::{Attention, MatrixProduct, empty_jobs, peaks};
use causerie_inference::block::BlockType;
use causerie_inference::forward::Work;
use causerie_inference::pack::Packed;
use causerie_inference::{Isa, KvType, Team};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Outputs and inputs of the matrix: together more than most caches of one core hold.
const SIZE: usize = 4_096;
/// Rows of activations: tokens of sequences that are generating, and of prompts.
const ROWS: [(Work, usize); 6] = [
    (Work::Generation, 1),
    (Work::Generation, 4),
    (Work::Generation, 16),
    (Work::Generation, 32),
    (Work::Prompt, 64),
    (Work::Prompt, 512),
];
/// Up to so many rows the weights' bytes are what counts.
const FEW_ROWS: usize = 4;
/// What is read to learn how fast memory is: in a core's cache, as much as the default model has, and more than caches have.
const READ_BYTES: [usize; 3] = [1 << 20, 96 << 20, 1 << 30];

/// A type of each packed form; the places in a block of its floats' highest bytes, and such a byte of a small number. Random
/// bits there would make numbers that are too large, or so small that they slow the processor down.
const FORMS: [(BlockType, &[usize], u8); 9] = [
    (BlockType::Q4_0, &[1], 0x14),
    (BlockType::Q4_1, &[1, 3], 0x14),
    (BlockType::Q8_0, &[1], 0x14),
    (BlockType::Q5_1, &[1, 3], 0x14),
    (BlockType::Q6_K, &[209], 0x14),
    (BlockType::Q2_K, &[81, 83], 0x14),
    (BlockType::F16, &[1], 0x2c),
    (BlockType::BF16, &[1], 0x3d),
    (BlockType::F32, &[3], 0x3d),
];

fn matrix(block_type: BlockType, places: &[usize], high: u8) -> Packed {
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let mut bytes: Vec<u8> = (0..block_type.bytes_of(SIZE * SIZE)).map(|_| random()).collect();
    for block in bytes.chunks_exact_mut(block_type.block_bytes()) {
        places.iter().for_each(|&at| block[at] = high);
    }
    Packed::new(block_type, SIZE, SIZE, &bytes)
}

/// Measures something that can be done many times at once. Gives the seconds of one time, of the best sample; `None` if it is
/// not among what was asked for.
fn timed(group: &mut BenchmarkGroup<'_, WallTime>, id: BenchmarkId, mut work: impl FnMut(u64)) -> Option<f64> {
    let mut best = None;
    group.bench_function(id, |b| {
        b.iter_custom(|times| {
            let began = Instant::now();
            work(times);
            let spent = began.elapsed();
            let one = spent.as_secs_f64() / times as f64;
            best = Some(best.map_or(one, |best: f64| best.min(one)));
            spent
        });
    });
    best
}

fn limits(roofline: &mut Roofline, isa: Isa, threads: usize) {
    println!("kernels: {isa}, {threads} threads; what this machine can do:");
    for bytes in READ_BYTES {
        let rates = [1, threads].map(|threads| roofline.reading(bytes, threads) / 1e9);
        println!(
            "  reading {:>5} MiB: {:>6.1} GB/s with one thread, {:>6.1} with all",
            bytes >> 20,
            rates[0],
            rates[1]
        );
    }
    for peak in peaks(isa) {
        let rates = [1, threads].map(|threads| roofline.multiplying(&peak, threads) / 1e12);
        println!("  {}: {:.2} TOPS with one thread, {:.2} with all", peak.what, rates[0], rates[1]);
    }
}

fn products(c: &mut Criterion) {
    let isa = Isa::choose(None).unwrap_or_else(|error| panic!("{error}"));
    let team = Team::new(None).expect("threads can be started");
    let mut roofline = Roofline::default();
    limits(&mut roofline, isa, team.threads());
    let mut group = c.benchmark_group(format!("{SIZE} × {SIZE}, {isa}"));
    for (block_type, places, high) in FORMS {
        let weights = matrix(block_type, places, high);
        for (work, rows) in ROWS {
            let mut product = MatrixProduct::new(isa, work, &weights, rows, &team);
            let (bytes, operations) = (product.bytes(), product.operations());
            let few = rows <= FEW_ROWS;
            group.throughput(if few {
                Throughput::BytesDecimal(bytes as u64)
            } else {
                Throughput::Elements(operations)
            });
            let id = BenchmarkId::new(block_type.name(), format!("{rows} rows"));
            let Some(seconds) = timed(&mut group, id, |times| product.run(&team, times)) else { continue };
            if few {
                let (rate, limit) = (bytes as f64 / seconds, roofline.reading(bytes, team.threads()));
                println!("  {:.1} GB/s, {:.0} % of reading as many bytes\n", rate / 1e9, 100.0 * rate / limit);
            } else {
                let rate = operations as f64 / seconds;
                for peak in peaks(isa) {
                    let part = 100.0 * rate / roofline.multiplying(&peak, team.threads());
                    println!("  {:.3} TOPS, {part:.0} % of {}", rate / 1e12, peak.what);
                }
                println!();
            }
        }
    }
    group.finish();
}

/// One query position of a key-value head, as the default model and Gemma 3 270M have them.
fn attention(c: &mut Criterion) {
    let isa = Isa::choose(None).unwrap_or_else(|error| panic!("{error}"));
    let mut roofline = Roofline::default();
    let mut group = c.benchmark_group(format!("attention, {isa}, one thread"));
    for (heads, dimensions) in [(3, 64), (4, 256)] {
        for tokens in [256, 4_096] {
            for kv in KvType::ALL {
                let mut attention = Attention::new(isa, kv, dimensions, heads, tokens);
                let bytes = attention.bytes();
                group.throughput(Throughput::BytesDecimal(bytes as u64));
                let what = format!("{heads} heads of {dimensions}, {}", kv.name());
                let run = |times| (0..times).for_each(|_| attention.run());
                let id = BenchmarkId::new(what, format!("{tokens} tokens"));
                let Some(seconds) = timed(&mut group, id, run) else { continue };
                let (rate, limit) = (bytes as f64 / seconds, roofline.reading(bytes, 1));
                println!("  {:.1} GB/s, {:.0} % of reading as many bytes\n", rate / 1e9, 100.0 * rate / limit);
            }
        }
    }
    group.finish();
}

fn team(c: &mut Criterion) {
    let mut group = c.benchmark_group("the team");
    let team = Team::new(None).expect("threads can be started");
    group.bench_function("a job of nothing", |b| {
        b.iter_custom(|times| {
            let began = Instant::now();
            empty_jobs(&team, times);
            began.elapsed()
        });
    });
    group.bench_function("a step of nothing", |b| b.iter(|| team.enter(|_| ())));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = team, products, attention
}
criterion_main!(benches);
