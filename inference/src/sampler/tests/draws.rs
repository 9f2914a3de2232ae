//! Draws follow their distribution.

use super::*;

/// What chi-square with `freedom` degrees of freedom exceeds with a probability below one in a million: the bound of
/// Laurent and Massart 2000 (Annals of Statistics 28, lemma 1), P(X >= k + 2 sqrt(kx) + 2x) <= e^-x.
fn one_in_a_million(freedom: f64) -> f64 {
    let x = 1e6f64.ln();
    freedom + 2.0 * (freedom * x).sqrt() + 2.0 * x
}

/// Pearson's chi-square of 200,000 draws against the distribution that follows from the definitions, after `accepted`
/// tokens. A sampler that is right fails with a probability below one in a million, were the seed not fixed.
#[track_caller]
fn check_draws(asked: &SamplingOverrides, accepted: &[u32]) {
    let o = options(asked);
    let logits: Vec<f32> = (0..50).map(|i| ((i * 37) % 50) as f32 / 10.0).collect();
    let mut expected = logits.clone();
    let last = &accepted[accepted.len().saturating_sub(o.repetition_window() as usize)..];
    for (id, logit) in expected.iter_mut().enumerate() {
        *logit += o.logit_bias().iter().filter(|bias| bias.0 as usize == id).map(|bias| bias.1).sum::<f32>();
        let count = last.iter().filter(|&&token| token as usize == id).count() as f32;
        if count > 0.0 {
            *logit = if *logit > 0.0 { *logit / o.repetition_penalty() } else { *logit * o.repetition_penalty() };
            *logit -= o.presence_penalty() + o.frequency_penalty() * count;
        }
    }
    let passing = naive_filter(&expected, &o);
    let weight = |id: &u32| (f64::from(expected[*id as usize]) / f64::from(o.temperature())).exp();
    let total: f64 = passing.iter().map(weight).sum();

    let draws = 200_000;
    let mut counts = vec![0u32; logits.len()];
    let mut sampler = Sampler::new(&o, 42);
    accepted.iter().for_each(|&token| sampler.accept(token));
    for _ in 0..draws {
        counts[sampler.sample(&mut logits.clone()) as usize] += 1;
    }
    let drawn: u32 = passing.iter().map(|&id| counts[id as usize]).sum();
    assert_eq!(drawn, draws, "only tokens that pass the filters are drawn");
    let square = |id: &u32| {
        let expected = weight(id) / total * f64::from(draws);
        assert!(expected > 5.0, "{expected} draws are too few for Pearson's approximation");
        (f64::from(counts[*id as usize]) - expected).powi(2) / expected
    };
    let chi_square: f64 = passing.iter().map(square).sum();
    let freedom = passing.len() as f64 - 1.0;
    assert!(freedom > 5.0);
    assert!(chi_square < one_in_a_million(freedom), "{chi_square} for {freedom} degrees of freedom");
}

#[test]
fn draws_follow_the_exact_distribution() {
    let asked = nothing;
    check_draws(&SamplingOverrides { temperature: Some(1.0), ..asked() }, &[]);
    check_draws(&SamplingOverrides { temperature: Some(0.6), ..asked() }, &[]);
    check_draws(&SamplingOverrides { temperature: Some(3.0), ..asked() }, &[]);
    check_draws(&SamplingOverrides { temperature: Some(0.7), top_k: Some(20), ..asked() }, &[]);
    check_draws(&SamplingOverrides { temperature: Some(1.8), top_p: Some(0.8), ..asked() }, &[]);
    check_draws(&SamplingOverrides { temperature: Some(1.2), min_p: Some(0.1), ..asked() }, &[]);
    let all = SamplingOverrides { top_k: Some(30), top_p: Some(0.95), min_p: Some(0.05), ..asked() };
    check_draws(&SamplingOverrides { temperature: Some(1.3), ..all.clone() }, &[]);

    let accepted: Vec<u32> = (0..40).map(|i| i * i % 17).collect();
    let repetition = SamplingOverrides { repetition_penalty: Some(1.3), repetition_window: Some(30), ..asked() };
    check_draws(&repetition, &accepted);
    check_draws(&SamplingOverrides { presence_penalty: Some(0.8), ..repetition.clone() }, &accepted);
    check_draws(&SamplingOverrides { frequency_penalty: Some(-0.4), repetition_window: Some(25), ..all }, &accepted);
    let bias = vec![(3, 2.0), (30, -1.5), (31, 4.0), (3, 0.5)];
    check_draws(&SamplingOverrides { logit_bias: Some(bias), presence_penalty: Some(0.5), ..repetition }, &accepted);
}

/// The bound is one: a temperature that is off by a twentieth is noticed.
#[test]
#[should_panic(expected = "degrees of freedom")]
fn the_chi_square_notices_a_slightly_wrong_temperature() {
    let logits: Vec<f32> = (0..50).map(|i| i as f32 / 10.0).collect();
    let o = options(&SamplingOverrides { temperature: Some(1.05), ..nothing() });
    let mut sampler = Sampler::new(&o, 42);
    let mut counts = [0u32; 50];
    (0..200_000).for_each(|_| counts[sampler.sample(&mut logits.clone()) as usize] += 1);
    let total: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
    let square = |(&count, &logit): (&u32, &f32)| {
        let expected = f64::from(logit).exp() / total * 200_000.0;
        (f64::from(count) - expected).powi(2) / expected
    };
    let chi_square: f64 = counts.iter().zip(&logits).map(square).sum();
    assert!(chi_square < one_in_a_million(49.0), "{chi_square} for 49 degrees of freedom");
}
