//! Top-k, top-p and min-p keep what a naive filter keeps.

use super::*;

fn filtered(logits: &[f32], o: &SamplingOptions) -> Vec<u32> {
    let mut sampler = Sampler::new(o, 1);
    let best = sampler.scan.pass(logits).unwrap();
    sampler.filter(logits, best);
    sampler.candidates.sort_by(Candidate::order);
    sampler.candidates.iter().map(|c| c.id).collect()
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
