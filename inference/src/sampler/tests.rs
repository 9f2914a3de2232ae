//! Each filter against its definition, and the draw against the exact distribution.

use super::*;
use proptest::prelude::*;

fn options(overrides: &SamplingOverrides) -> SamplingOptions {
    let plain = SamplingOverrides {
        temperature: Some(1.0),
        top_k: Some(0),
        top_p: Some(1.0),
        min_p: Some(0.0),
        repetition_penalty: Some(1.0),
        ..SamplingOverrides::default()
    };
    SamplingOptions::default().with(&plain).unwrap().with(overrides).unwrap()
}

fn nothing() -> SamplingOverrides {
    SamplingOverrides::default()
}

/// The tokens that pass, likeliest first, by sorting everything and following the definitions word by word.
fn naive_filter(logits: &[f32], o: &SamplingOptions) -> Vec<u32> {
    let mut sorted: Vec<(f64, u32)> = logits.iter().zip(0..).map(|(&l, id)| (f64::from(l), id)).collect();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    if o.top_k() > 0 {
        sorted.truncate(o.top_k() as usize);
    }
    let best = sorted[0].0;
    let total: f64 = sorted.iter().map(|c| (c.0 - best).exp()).sum();
    if o.top_p() < 1.0 {
        let mut sum = 0.0;
        let reaches = |c: &(f64, u32)| {
            sum += (c.0 - best).exp() / total;
            sum >= f64::from(o.top_p())
        };
        let enough = sorted.iter().position(reaches).map_or(sorted.len(), |place| place + 1);
        sorted.truncate(enough);
    }
    sorted.retain(|c| (c.0 - best).exp() >= f64::from(o.min_p()));
    sorted.into_iter().map(|c| c.1).collect()
}

fn filtered(logits: &[f32], o: &SamplingOptions) -> Vec<u32> {
    let mut sampler = Sampler::new(o, 1);
    sampler.filter(logits, greatest(logits));
    sampler.candidates.sort_by(Candidate::order);
    sampler.candidates.iter().map(|c| c.id).collect()
}

/// Logits on a grid of quarters: many ties, and sums that do not hang on the last bit of an exponential.
fn logits() -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec((-40i32..40).prop_map(|n| n as f32 / 4.0), 1..400)
}

proptest! {
    #[test]
    fn top_k_keeps_the_k_likeliest(logits in logits(), k in 1u32..450) {
        let o = options(&SamplingOverrides { top_k: Some(k), ..nothing() });
        prop_assert_eq!(filtered(&logits, &o), naive_filter(&logits, &o));
    }

    #[test]
    fn min_p_keeps_those_near_the_likeliest(logits in logits(), p in 1u32..100) {
        // Thresholds between the grid's steps: e^(-n/4 - 1/8).
        let min_p = (-f64::from(p) / 4.0 - 0.125).exp() as f32;
        let o = options(&SamplingOverrides { min_p: Some(min_p), ..nothing() });
        prop_assert_eq!(filtered(&logits, &o), naive_filter(&logits, &o));
    }

    #[test]
    fn top_p_keeps_the_shortest_list_that_is_enough(logits in logits(), k in 0u32..450, p in 0.01f32..0.99) {
        let o = options(&SamplingOverrides { top_k: Some(k), top_p: Some(p), ..nothing() });
        let (ours, naive) = (filtered(&logits, &o), naive_filter(&logits, &o));
        // A sum that lands within single precision of p may fall on either side: one token more or less.
        prop_assert!(ours.len().abs_diff(naive.len()) <= 1, "{} and {}", ours.len(), naive.len());
        let common = ours.len().min(naive.len());
        prop_assert_eq!(&ours[..common], &naive[..common]);
    }

    #[test]
    fn all_filters_together(logits in logits(), k in 0u32..100, p in 0.3f32..1.0, step in 1u32..40) {
        let min_p = (-f64::from(step) / 4.0 - 0.125).exp() as f32;
        let o = options(&SamplingOverrides { top_k: Some(k), top_p: Some(p), min_p: Some(min_p), ..nothing() });
        let (ours, naive) = (filtered(&logits, &o), naive_filter(&logits, &o));
        prop_assert!(ours.len().abs_diff(naive.len()) <= 1, "{} and {}", ours.len(), naive.len());
        let common = ours.len().min(naive.len());
        prop_assert_eq!(&ours[..common], &naive[..common]);
    }

    #[test]
    fn penalties_follow_their_definition(
        logits in logits(),
        accepted in prop::collection::vec(0u32..500, 0..80),
        window in 0u32..40,
        (repetition, presence, frequency) in (0.5f32..2.0, -1.0f32..1.0, -1.0f32..1.0),
    ) {
        let o = options(&SamplingOverrides {
            repetition_penalty: Some(repetition),
            repetition_window: Some(window),
            presence_penalty: Some(presence),
            frequency_penalty: Some(frequency),
            ..nothing()
        });
        let mut sampler = Sampler::new(&o, 1);
        accepted.iter().for_each(|&token| sampler.accept(token));
        let mut ours = logits.clone();
        sampler.penalize(&mut ours);

        let last = &accepted[accepted.len().saturating_sub(window as usize)..];
        for (id, (&before, &after)) in logits.iter().zip(&ours).enumerate() {
            let count = last.iter().filter(|&&token| token as usize == id).count() as f32;
            let scaled = if before > 0.0 { before / repetition } else { before * repetition };
            let expected = if count > 0.0 { scaled - (presence + frequency * count) } else { before };
            prop_assert_eq!(after, expected);
        }
    }

    #[test]
    fn anything_for_logits_gives_a_token_of_the_vocabulary(
        bits in prop::collection::vec(any::<u32>(), 1..200),
        temperature in prop::sample::select(vec![0.0, 1e-40, 0.01, 1.0, 5.0]),
        (k, p, min_p) in (0u32..50, 0.0f32..=1.0, 0.0f32..=1.0),
    ) {
        let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, -0.0];
        let of_bits = |b: u32| special.get(b as usize % 12).copied().unwrap_or(f32::from_bits(b));
        let logits: Vec<f32> = bits.into_iter().map(of_bits).collect();
        let asked = SamplingOverrides {
            temperature: Some(temperature), top_k: Some(k), top_p: Some(p), min_p: Some(min_p),
            repetition_penalty: Some(1.3), ..nothing()
        };
        let mut sampler = Sampler::new(&options(&asked), 1);
        for _ in 0..4 {
            let token = sampler.sample(&mut logits.clone());
            prop_assert!((token as usize) < logits.len());
            let possible = logits.iter().any(|&l| l > f32::NEG_INFINITY);
            prop_assert!(!possible || logits[token as usize] > f32::NEG_INFINITY, "an impossible token was drawn");
            sampler.accept(token);
        }
    }

    #[test]
    fn temperature_zero_is_the_first_greatest(logits in logits()) {
        let o = options(&SamplingOverrides { temperature: Some(0.0), top_k: Some(3), ..nothing() });
        let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let first = logits.iter().position(|&l| l == greatest).unwrap();
        prop_assert_eq!(Sampler::new(&o, 1).sample(&mut logits.clone()) as usize, first);
    }
}

/// Pearson's chi-square of many draws against the exact distribution, with the filters and the temperature on.
#[test]
fn draws_follow_the_exact_distribution() {
    let logits: Vec<f32> = (0..50).map(|i| ((i * 37) % 50) as f32 / 10.0).collect();
    for asked in [
        SamplingOverrides { temperature: Some(1.0), ..nothing() },
        SamplingOverrides { temperature: Some(0.7), top_k: Some(20), ..nothing() },
        SamplingOverrides { temperature: Some(1.8), top_p: Some(0.8), ..nothing() },
        SamplingOverrides {
            temperature: Some(1.3),
            top_k: Some(30),
            top_p: Some(0.95),
            min_p: Some(0.05),
            ..nothing()
        },
    ] {
        let o = options(&asked);
        let passing = naive_filter(&logits, &o);
        let weight = |id: &u32| (f64::from(logits[*id as usize]) / f64::from(o.temperature())).exp();
        let total: f64 = passing.iter().map(weight).sum();

        let draws = 200_000;
        let mut counts = vec![0u32; logits.len()];
        let mut sampler = Sampler::new(&o, 42);
        for _ in 0..draws {
            counts[sampler.sample(&mut logits.clone()) as usize] += 1;
        }
        let drawn: u32 = passing.iter().map(|&id| counts[id as usize]).sum();
        assert_eq!(drawn, draws, "{asked:?}: only tokens that pass the filters are drawn");
        let chi_square: f64 = passing
            .iter()
            .map(|id| {
                let expected = weight(id) / total * f64::from(draws);
                (f64::from(counts[*id as usize]) - expected).powi(2) / expected
            })
            .sum();
        // Mean k-1 and variance 2(k-1): five standard deviations, and the seed is fixed.
        let freedom = passing.len() as f64 - 1.0;
        assert!(chi_square < freedom + 5.0 * (2.0 * freedom).sqrt(), "{asked:?}: {chi_square} for {freedom}");
        assert!(freedom > 5.0);
    }
}

#[test]
fn a_seed_gives_the_same_tokens_everywhere() {
    let logits: Vec<f32> = (0..1000).map(|i| ((i * 7919) % 1000) as f32 / 100.0).collect();
    let draw = |o: &SamplingOptions, seed| {
        let mut sampler = Sampler::new(o, seed);
        std::array::from_fn::<u32, 8, _>(|_| sampler.sample(&mut logits.clone()))
    };
    let o = options(&nothing());
    assert_eq!(draw(&o, 5), draw(&o, 5));
    assert_ne!(draw(&o, 5), draw(&o, 6));
    let seeded = options(&SamplingOverrides { seed: Some(5), ..nothing() });
    assert_eq!(draw(&seeded, 99), draw(&o, 5), "the options' seed goes before the caller's");
    assert_eq!(draw(&o, 5), [289, 606, 100, 62, 531, 704, 459, 75], "recorded once: every machine draws these");
}

#[test]
fn the_most_extreme_options_allocate_once() {
    let o = options(&SamplingOverrides { top_k: Some(u32::MAX), top_p: Some(0.5), ..nothing() });
    let logits: Vec<f32> = (0..5000).map(|i| (i % 97) as f32).collect();
    let mut sampler = Sampler::new(&o, 3);
    sampler.sample(&mut logits.clone());
    let capacity = sampler.candidates.capacity();
    for token in 0..100 {
        sampler.accept(token);
        sampler.sample(&mut logits.clone());
    }
    assert_eq!(sampler.candidates.capacity(), capacity);
}

#[test]
fn no_logits_at_all_give_token_zero() {
    assert_eq!(Sampler::new(&SamplingOptions::default(), 1).sample(&mut []), 0);
    assert_eq!(Sampler::new(&SamplingOptions::default(), 1).sample(&mut [f32::NAN, f32::NEG_INFINITY]), 0);
}
