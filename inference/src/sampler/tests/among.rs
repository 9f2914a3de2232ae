//! Some candidates give what all logits give.

use super::*;

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
