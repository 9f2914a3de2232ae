//! What the machine could do: how fast memory can be read, and how fast a loop runs that does nothing but multiply.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use causerie_inference::bench::Peak;

/// Bytes that one sample reads, at least: some 20 ms.
const SAMPLE_BYTES: usize = 1 << 30;
/// Calls of a multiplying loop in a sample: some 20 ms.
const SAMPLE_CALLS: u32 = 2_000;
/// Samples, of which the best counts: what disturbs a machine never makes it faster. The first warms up.
const SAMPLES: usize = 6;

/// The limits of this machine, measured when they are asked for, each once.
#[derive(Debug, Default)]
pub struct Roofline {
    reading: BTreeMap<(usize, usize), f64>,
    multiplying: BTreeMap<(&'static str, usize), f64>,
}

impl Roofline {
    /// Bytes a second when `threads` read `bytes` again and again, each its own part of them.
    pub fn reading(&mut self, bytes: usize, threads: usize) -> f64 {
        *self.reading.entry((bytes, threads)).or_insert_with(|| {
            let part = vec![1u64; bytes / threads / size_of::<u64>()];
            let parts: Vec<Vec<u64>> = vec![part; threads];
            let (passes, bytes) = (SAMPLE_BYTES.div_ceil(bytes), size_of_val(&parts[0][..]) * threads);
            let pass = |thread: usize| {
                for _ in 0..passes {
                    black_box(sum(black_box(&parts[thread])));
                }
            };
            (bytes * passes) as f64 / best(threads, pass)
        })
    }

    /// Operations a second when `threads` run a loop.
    pub fn multiplying(&mut self, peak: &Peak, threads: usize) -> f64 {
        *self.multiplying.entry((peak.what, threads)).or_insert_with(|| {
            let operations = peak.operations * u64::from(SAMPLE_CALLS) * threads as u64;
            operations as f64 / best(threads, |_| (0..SAMPLE_CALLS).for_each(|_| peak.run()))
        })
    }
}

/// One addition for 8 bytes: simple enough for the compiler to make vectors of it, which wait for memory.
fn sum(words: &[u64]) -> u64 {
    words.iter().fold(0, |sum, &word| sum.wrapping_add(word))
}

/// Seconds from when the first thread begins its work to when the last has done it: the best of some samples.
fn best(threads: usize, work: impl Fn(usize) + Sync) -> f64 {
    let together = Barrier::new(threads);
    // Each thread looks at the clock itself: one that waits for them may get no core before they are done.
    let samples = |thread: usize| {
        let sample = |_| {
            together.wait();
            let began = Instant::now();
            work(thread);
            (began, Instant::now())
        };
        (0..SAMPLES).map(sample).collect::<Vec<_>>()
    };
    let times: Vec<Vec<(Instant, Instant)>> = std::thread::scope(|scope| {
        let samples = &samples;
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || samples(thread))).collect();
        running.into_iter().map(|thread| thread.join().expect("a loop does not panic")).collect()
    });
    let spent = |sample: usize| {
        let began = times.iter().map(|times| times[sample].0).min()?;
        let ended = times.iter().map(|times| times[sample].1).max()?;
        Some((ended - began).as_secs_f64())
    };
    (0..SAMPLES).filter_map(spent).fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use causerie_inference::Isa;
    use causerie_inference::bench::peaks;

    use super::*;

    #[test]
    fn time_is_from_the_first_to_the_last() {
        let short = std::time::Duration::from_millis(5);
        // The second thread works longer than the first.
        let seconds = best(2, |thread| std::thread::sleep(short * (1 + thread as u32)));
        assert!(seconds >= 0.01, "{seconds}");
    }

    #[test]
    fn every_loop_of_this_processor_runs() {
        let mut roofline = Roofline::default();
        for peak in Isa::available().flat_map(peaks) {
            let rate = roofline.multiplying(&peak, 1);
            assert!(rate.is_finite() && rate > 1e6, "{}: {rate}", peak.what);
        }
    }

    #[test]
    fn rates_are_of_all_that_was_read() {
        let mut roofline = Roofline::default();
        let rate = roofline.reading(1 << 16, 2);
        assert!(rate.is_finite() && rate > 0.0);
        assert_eq!(roofline.reading(1 << 16, 2), rate, "measured once");
    }
}
