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
    let best = sampler.scan.pass(logits).unwrap();
    sampler.filter(logits, best);
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
        sampler.adjust(&mut ours);

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

proptest! {
    /// Against sorting, with many equals and with none, and in the order of ids.
    #[test]
    fn the_likeliest_that_are_enough_are_selected_as_by_sorting(
        bits in prop::collection::vec(any::<u32>(), 1..600),
        steps in prop::sample::select(vec![1u32, 3, 40, 1 << 20]),
        scale in prop::sample::select(vec![1e-3f32, 1.0, 20.0, 200.0]),
        part in 0.0f64..1.1,
    ) {
        let logit = |bits: u32| ((bits % steps) as f32 / steps as f32 - 0.5) * scale;
        let all: Vec<Candidate> = bits.iter().zip(0..).filter_map(|(&bits, id)| Candidate::new(id, logit(bits))).collect();
        let mut sorted = all.clone();
        sorted.sort_by(Candidate::order);
        let best = sorted[0].logit;
        let enough = part * sorted.iter().map(|c| weight(c.logit, best)).sum::<f64>();
        let mut reached = 0.0;
        let reaches = |c: &Candidate| { reached += weight(c.logit, best); reached >= enough };
        let expected = sorted.iter().position(reaches).map_or(all.len(), |place| place + 1);
        let mut kept = all.clone();
        let whole = Weights::default().keep_probability(&mut kept, best, enough);
        prop_assert!(whole || part > 0.999_999);
        prop_assert!(kept.is_sorted_by_key(|c| c.id));
        kept.sort_by(Candidate::order);
        // Sums of other groupings differ in their last bits, which may take one more or less; equals of no weight many.
        let weightless = weight(kept[kept.len() - 1].logit, best) < 1e-12;
        prop_assert!(kept.len().abs_diff(expected) <= 1 || weightless, "{} and {expected}", kept.len());
        prop_assert_eq!(&kept[..], &sorted[..kept.len()]);
    }
}

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

/// The options of a sampler that may work from candidates or with a mask, and tokens that were accepted.
fn any_options() -> impl Strategy<Value = (SamplingOptions, Vec<u32>)> {
    let temperature = prop::sample::select(vec![0.0f32, 0.7, 2.0]);
    let filters = (prop::sample::select(vec![0u32, 1, 5, 40]), prop::sample::select(vec![1.0f32, 0.7]), 0u32..4);
    let penalties = (0.9f32..1.3, -0.2f32..0.8);
    let bias = prop::collection::vec((0u32..400, -3f32..0.5), 0..3);
    let accepted = prop::collection::vec(0u32..400, 0..20);
    (temperature, filters, penalties, bias, accepted).prop_map(
        |(temperature, (k, p, m), (r, presence), bias, accepted)| {
            let asked = SamplingOverrides {
                temperature: Some(temperature),
                top_k: Some(k),
                top_p: Some(p),
                min_p: Some(m as f32 * 0.04),
                repetition_penalty: Some(r),
                presence_penalty: Some(presence),
                logit_bias: Some(bias),
                ..nothing()
            };
            (options(&asked), accepted)
        },
    )
}

proptest! {
    #[test]
    fn candidates_that_are_enough_give_what_all_logits_give(
        logits in logits(),
        (o, accepted) in any_options(),
        extra in 0usize..40,
    ) {
        let mut whole = Sampler::new(&o, 7);
        accepted.iter().for_each(|&token| whole.accept(token));
        let mut among = whole.clone();
        let needs = whole.needs();
        let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
        ids.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
        let greatest = logits[ids[0] as usize];
        let (given, surely) = match needs {
            Needs::All => (ids.len(), false),
            Needs::Top { likely, sure } => ((likely + extra).min(ids.len()), likely + extra >= sure),
            Needs::Near(within) => {
                let near = |&&id: &&u32| greatest - logits[id as usize] <= within + 1e-3;
                (ids.iter().filter(near).count(), false)
            }
        };
        let bound = ids.get(given).map_or(f32::NEG_INFINITY, |&id| logits[id as usize]);
        let last = logits[ids[given - 1] as usize];
        ids.truncate(given);
        ids.reverse();
        let given_logits: Vec<f32> = ids.iter().map(|&id| logits[id as usize]).collect();
        let candidates = Candidates { ids: &ids, logits: &given_logits, bound };
        for _ in 0..3 {
            let answer = among.sample_among(&candidates);
            prop_assert!(answer.is_some() || needs == Needs::All || !surely || last == bound);
            match answer {
                Some(token) => prop_assert_eq!(token, whole.sample(&mut logits.clone())),
                None => prop_assert!(needs != Needs::All || answer.is_none()),
            }
        }
    }

    #[test]
    fn a_mask_is_as_if_the_others_were_impossible(
        logits in logits(),
        (o, accepted) in any_options(),
        keep in prop::sample::select(vec![1u32, 2, 30, 99]),
    ) {
        let mut words = vec![0u32; logits.len().div_ceil(32)];
        let mut struck: Vec<f32> = logits.clone();
        for (id, logit) in struck.iter_mut().enumerate() {
            if (id as u32).wrapping_mul(2_654_435_761) >> 16 <= keep * 650 {
                words[id / 32] |= 1 << (id % 32);
            } else {
                *logit = f32::NEG_INFINITY;
            }
        }
        prop_assume!(words.iter().any(|&word| word != 0));
        let mut masked = Sampler::new(&o, 7);
        accepted.iter().for_each(|&token| masked.accept(token));
        let mut plain = masked.clone();
        for _ in 0..3 {
            let token = masked.sample_allowed(&mut logits.clone(), &words);
            prop_assert!(words[token as usize / 32] >> (token % 32) & 1 == 1, "{token} is not allowed");
            prop_assert_eq!(token, plain.sample(&mut struck.clone()));
        }
    }

    #[test]
    fn log_probabilities_are_the_models_own(
        logits in logits(),
        (o, accepted) in any_options(),
        top in 0u32..=MAX_LOGPROBS,
    ) {
        let o = o.with(&SamplingOverrides { logprobs: Some(top), ..nothing() }).unwrap();
        let mut sampler = Sampler::new(&o, 7);
        prop_assert_eq!(sampler.needs(), Needs::All);
        accepted.iter().for_each(|&token| sampler.accept(token));
        let token = sampler.sample(&mut logits.clone());
        let sum: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
        let exact = |token: u32| f64::from(logits[token as usize]) - sum.ln();
        let (chosen, told) = sampler.logprobs().unwrap();
        prop_assert_eq!(chosen.token, token);
        prop_assert!((f64::from(chosen.logprob) - exact(token)).abs() < 1e-4);
        let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
        ids.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
        ids.truncate(top as usize);
        prop_assert_eq!(told.iter().map(|told| told.token).collect::<Vec<_>>(), ids);
        prop_assert!(told.iter().all(|told| (f64::from(told.logprob) - exact(told.token)).abs() < 1e-4));
    }
}

#[test]
fn what_a_sampler_needs_follows_from_its_options() {
    let needs = |asked: SamplingOverrides, accepted: &[u32]| {
        let mut sampler = Sampler::new(&options(&asked), 1);
        accepted.iter().for_each(|&token| sampler.accept(token));
        sampler.needs()
    };
    let greedy = SamplingOverrides { temperature: Some(0.0), ..nothing() };
    assert_eq!(needs(greedy.clone(), &[1, 2]), Needs::Top { likely: 1, sure: 1 });
    let penalized = SamplingOverrides { repetition_penalty: Some(1.1), ..greedy.clone() };
    assert_eq!(needs(penalized, &[1, 2, 1]), Needs::Top { likely: 1, sure: 3 });
    let top_k = SamplingOverrides { top_k: Some(40), top_p: Some(0.9), ..nothing() };
    assert_eq!(needs(top_k.clone(), &[]), Needs::Top { likely: 40, sure: 40 });
    assert_eq!(needs(SamplingOverrides { min_p: Some(1.0), ..nothing() }, &[]), Needs::Near(0.0));
    assert_eq!(needs(SamplingOverrides { top_p: Some(0.9), ..nothing() }, &[]), Needs::All);
    assert_eq!(needs(nothing(), &[]), Needs::All);
    // What can lift a token up from below.
    assert_eq!(needs(SamplingOverrides { logit_bias: Some(vec![(3, 1.0)]), ..greedy.clone() }, &[]), Needs::All);
    assert_eq!(needs(SamplingOverrides { presence_penalty: Some(-0.5), ..top_k.clone() }, &[1]), Needs::All);
    assert_eq!(needs(SamplingOverrides { logprobs: Some(0), ..top_k }, &[]), Needs::All);
    // And candidates among which the bound leaves a doubt are not enough.
    let mut sampler = Sampler::new(&options(&greedy), 1);
    let equal = Candidates { ids: &[5, 3], logits: &[1.0, 2.0], bound: 2.0 };
    assert_eq!(sampler.sample_among(&equal), None);
    assert_eq!(sampler.sample_among(&Candidates { bound: 1.5, ..equal }), Some(3));
    assert_eq!(sampler.sample_among(&Candidates { ids: &[], logits: &[], bound: 0.0 }), None);
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
