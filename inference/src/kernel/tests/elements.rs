//! What is done number by number: codes, powers, gates.

use super::*;

#[test]
fn codes_of_activations() {
    let mut noise = Noise(6);
    let mut values = noise.numbers(96);
    values[32..64].fill(0.0);
    values[70] = 3.0;
    for isa in Isa::available() {
        let x = activations(isa, &values, 96);
        let View { codes, scales, sums, scaled_sums, .. } = x.view();
        for (b, block) in values.chunks_exact(BLOCK).enumerate() {
            let largest = block.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
            assert_eq!(scales[b], largest / 127.0);
            let codes = &codes[b * BLOCK..][..BLOCK];
            for (x, &code) in block.iter().zip(codes) {
                assert!((x - scales[b] * f32::from(code)).abs() <= scales[b] * 0.501, "{isa} {x} {code}");
            }
            let sum = |codes: &[i8]| codes.iter().map(|&code| i32::from(code)).sum::<i32>();
            assert_eq!([sums[2 * b], sums[2 * b + 1]], [sum(&codes[..16]), sum(&codes[16..])]);
            assert_eq!(scaled_sums[b], scales[b] * sum(codes) as f32);
        }
    }
}

#[test]
fn codes_of_what_is_no_number_are_codes() {
    let mut values = Noise(9).numbers(128);
    (values[3], values[40], values[70], values[71]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::NAN);
    values[96..].iter_mut().for_each(|x| *x *= 1e-44);
    for isa in Isa::available() {
        let x = activations(isa, &values, 128);
        let View { codes, sums, .. } = x.view();
        for (codes, &sum) in codes.chunks_exact(BLOCK / 2).zip(sums) {
            assert!(codes.iter().all(|&code| code > i8::MIN), "{isa}");
            assert_eq!(codes.iter().map(|&code| i32::from(code)).sum::<i32>(), sum, "{isa}");
        }
    }
}

#[test]
fn exp_is_near_the_true_one() {
    for i in -8700..8830 {
        let x = i as f32 / 100.0;
        let (ours, theirs) = (f64::from(element::exp(x)), f64::from(x).exp());
        assert!((ours / theirs - 1.0).abs() < 3e-7, "{x}: {ours} {theirs}");
    }
    assert!(element::exp(f32::NEG_INFINITY) < 2e-38);
    assert!(element::exp(1000.0).is_finite());
}

#[test]
fn elements() {
    let mut noise = Noise(7);
    let (x, y) = (noise.numbers(77), noise.numbers(77));
    for isa in Isa::available() {
        let mut out = vec![0.0; 77];
        isa.rms_norm(&x, &y, 1e-5, &mut out);
        let mean = x.iter().map(|x| x * x).sum::<f32>() / 77.0;
        let expected: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x / (mean + 1e-5).sqrt() * y).collect();
        assert_near("norm", &out, &expected, 1e-6);
        isa.swiglu(&x, &y, &mut out);
        let expected: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x / (1.0 + (-x).exp()) * y).collect();
        assert_near("swiglu", &out, &expected, 1e-6);
        isa.geglu(&x, &y, &mut out);
        let gelu = |x: f64| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh());
        let expected: Vec<f32> = x.iter().zip(&y).map(|(&x, y)| gelu(f64::from(x)) as f32 * y).collect();
        assert_near("geglu", &out, &expected, 1e-6);
        isa.cap(&mut out, 0.25);
        let expected: Vec<f32> = expected.iter().map(|x| 0.25 * (x / 0.25).tanh()).collect();
        assert_near("cap", &out, &expected, 1e-6);
        let mut normed = x.clone();
        isa.rms_norm_in_place(&mut normed, &y, 1e-5);
        isa.rms_norm(&x, &y, 1e-5, &mut out);
        assert_eq!(normed, out);
        isa.add_rms_norm(&x, &y, 1e-5, &mut normed);
        assert_near("norm, added", &normed, &out.iter().map(|x| x + x).collect::<Vec<_>>(), 1e-6);
        let mut sum = x.clone();
        isa.add(&mut sum, &y);
        assert_eq!(sum, x.iter().zip(&y).map(|(x, y)| x + y).collect::<Vec<_>>());
        let mut head = vec![1.0, 0.0, 0.0, 1.0, 5.0, 6.0];
        isa.rope(&mut head, &[[0.6, 0.8], [0.0, 1.0]]);
        assert_eq!(head, [0.6, 0.8, -1.0, 0.0, 5.0, 6.0]);
        let mut head = vec![1.0, 0.0, 0.0, 1.0, 5.0, 6.0];
        isa.rope_halves(&mut head, &[[0.6, 0.8], [0.0, 1.0]]);
        assert_eq!(head, [0.6, -1.0, 0.8, 0.0, 5.0, 6.0]);
    }
}

/// The fused feed-forward half beside its parts, in every form.
#[test]
fn gates() {
    let mut noise = Noise(23);
    for (m, rows, columns) in [(1, 32, 64), (3, 96, 64), (40, 64, 256), (9, 48, 32)] {
        let weights =
            [(); 2].map(|()| Packed::new(BlockType::F32, rows, columns, &noise.blocks(BlockType::F32, rows * columns)));
        let (numbers, bias) = (noise.numbers(m * columns), noise.numbers(rows));
        for isa in Isa::available() {
            for activation in [Activation::Silu, Activation::GeluTanh] {
                for form in [Form::Codes, Form::FineCodes, Form::Tiles] {
                    if form == Form::Tiles && !isa.has_tiles() {
                        continue;
                    }
                    let of_input = if form == Form::Tiles { form } else { Form::Codes };
                    let x = in_form(of_input, isa, &numbers, columns);
                    let [mut gates, ups] = weights.each_ref().map(|weights| product(isa, weights, &x, 2));
                    gates.chunks_exact_mut(rows).for_each(|gates| isa.add(gates, &bias));
                    let mut expected = vec![0.0; m * rows];
                    isa.gate(activation, &gates, &ups, &mut expected);
                    let (weights, biases) = (weights.each_ref(), [Some(&bias[..]), None]);
                    let part = Gated { activation, weights, biases, form };
                    let mut out = Activations::new(isa, m, rows);
                    Team::new(Some(2)).unwrap().enter(|crew| gated(crew, isa, &x, part, &mut out));
                    let what = format!("{isa} {activation:?} {form:?} {m} {rows}");
                    if form != Form::Tiles {
                        assert_near(&what, &out.view().values[..m * rows], &expected, 1e-6);
                        let codes = in_form(form, isa, &expected, rows);
                        assert_eq!(out.view().planes, codes.view().planes);
                        // Those of the first plane; of the second they come from small differences.
                        let (planes, blocks) = (codes.view().planes, rows / BLOCK);
                        for row in 0..m {
                            let scales = |x: &Activations| x.view().scales[row * planes * blocks..][..blocks].to_vec();
                            assert_near(&what, &scales(&out), &scales(&codes), 1e-5);
                        }
                        assert_eq!(out.view().codes.len(), codes.view().codes.len());
                    } else {
                        for (seen, expected) in numbers_of(&out).iter().zip(&expected) {
                            assert!(
                                (seen - expected).abs() <= 4e-3 * expected.abs() + 1e-6,
                                "{what} {seen} {expected}"
                            );
                        }
                    }
                }
            }
        }
    }
}
