//! Each filter against its definition, and the draw against the exact distribution.

mod among;
mod draws;
mod filters;

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

/// Logits on a grid of quarters: many ties, and sums that do not hang on the last bit of an exponential.
fn logits() -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec((-40i32..40).prop_map(|n| n as f32 / 4.0), 1..400)
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
