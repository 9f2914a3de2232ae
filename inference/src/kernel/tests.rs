use half::{bf16, f16};

use super::activations::View;
use super::*;
use crate::block::tests::{largest_scale, put_scales};
use crate::block::{BlockType, dequantize};
use crate::pack::{BLOCK, GROUP, Packed};

/// Reproducible numbers, evenly spread from -1 to 1.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn numbers(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }

    /// Random blocks with scales such that values come to 0.1 or so.
    pub(crate) fn blocks(&mut self, block_type: BlockType, values: usize) -> Vec<u8> {
        if block_type.block_len() == 1 {
            let stored = |x: f32| match block_type {
                BlockType::F32 => x.to_le_bytes().to_vec(),
                BlockType::F16 => f16::from_f32(x).to_le_bytes().to_vec(),
                _ => half::bf16::from_f32(x).to_le_bytes().to_vec(),
            };
            return (0..values).flat_map(|_| stored(self.next() * 0.1)).collect();
        }
        let mut bytes: Vec<u8> = (0..block_type.bytes_of(values)).map(|_| (self.next() * 128.0) as i8 as u8).collect();
        for block in bytes.chunks_exact_mut(block_type.block_bytes()) {
            let scales = [self.next(), self.next()].map(|x| x * largest_scale(block_type));
            put_scales(block_type, block, scales);
        }
        bytes
    }
}

fn one_thread<R>(body: impl FnOnce(&Crew) -> R) -> R {
    Team::new(Some(1)).unwrap().enter(body)
}

fn activations(isa: Isa, values: &[f32], columns: usize) -> Activations {
    in_form(Form::Codes, isa, values, columns)
}

fn in_form(form: Form, isa: Isa, values: &[f32], columns: usize) -> Activations {
    let rows = values.len() / columns;
    let mut x = Activations::new(isa, rows, columns);
    one_thread(|crew| {
        x.fill(crew, isa, form, rows, |row, out| out.copy_from_slice(&values[row * columns..][..columns]));
    });
    x
}

/// A random matrix, packed and in plain floats.
fn matrix(noise: &mut Noise, block_type: BlockType, rows: usize, columns: usize) -> (Packed, Vec<f32>) {
    let bytes = noise.blocks(block_type, rows * columns);
    let mut dense = vec![0.0; rows * columns];
    dequantize(block_type, &bytes, &mut dense);
    (Packed::new(block_type, rows, columns, &bytes), dense)
}

/// All rows of `x` times all of `w`, in plain floats.
fn true_product(x: &[f32], w: &[f32], columns: usize) -> Vec<f32> {
    let dot = |x: &[f32], w: &[f32]| x.iter().zip(w).map(|(x, w)| x * w).sum();
    x.chunks_exact(columns).flat_map(|x| w.chunks_exact(columns).map(move |w| dot(x, w))).collect()
}

fn product(isa: Isa, weights: &Packed, x: &Activations, threads: usize) -> Vec<f32> {
    let mut out = vec![f32::NAN; x.rows() * weights.rows];
    Team::new(Some(threads)).unwrap().enter(|crew| linear(crew, isa, x, [Product { weights, out: &mut out }]));
    out
}

#[track_caller]
fn assert_near(what: &str, ours: &[f32], theirs: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let scale = theirs.iter().fold(0.0f32, |scale, x| scale.max(x.abs()));
    for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert!((ours - theirs).abs() <= tolerance * scale, "{what}, {at}: {ours} and {theirs}, of {scale}");
    }
}

/// Shapes with groups and tiles that are not full.
const SHAPES: [(usize, usize, usize); 5] = [(1, 16, 256), (3, 17, 512), (8, 40, 256), (13, 33, 768), (20, 1, 256)];

#[test]
fn the_reference_multiplies_what_the_blocks_mean() {
    let mut noise = Noise(1);
    for block_type in BlockType::ALL {
        for (m, rows, columns) in SHAPES {
            let bytes = noise.blocks(block_type, rows * columns);
            let mut weights = vec![0.0; rows * columns];
            dequantize(block_type, &bytes, &mut weights);
            let x = noise.numbers(m * columns);
            let exact: Vec<f32> = x
                .chunks_exact(columns)
                .flat_map(|x| weights.chunks_exact(columns).map(move |w| w.iter().zip(x).map(|(w, x)| w * x).sum()))
                .collect();
            let packed = Packed::new(block_type, rows, columns, &bytes);
            let ours = product(Isa::Scalar, &packed, &activations(Isa::Scalar, &x, columns), 1);
            // 8-bit activations, and f16 scales of K-quants, cost some precision.
            let tolerance = if block_type.block_len() == 1 { 1e-5 } else { 2e-2 };
            assert_near(&format!("{} {m}×{rows}×{columns}", block_type.name()), &ours, &exact, tolerance);
        }
    }
}

#[test]
fn every_instruction_set_multiplies_as_the_reference_does() {
    let mut noise = Noise(2);
    for block_type in BlockType::ALL {
        for (m, rows, columns) in SHAPES {
            let packed = Packed::new(block_type, rows, columns, &noise.blocks(block_type, rows * columns));
            let numbers = noise.numbers(m * columns);
            let reference = product(Isa::Scalar, &packed, &activations(Isa::Scalar, &numbers, columns), 1);
            for isa in Isa::available() {
                let what = format!("{isa}, {} {m}×{rows}×{columns}", block_type.name());
                assert_near(&what, &product(isa, &packed, &activations(isa, &numbers, columns), 1), &reference, 2e-6);
            }
        }
    }
}

#[test]
fn the_largest_codes_do_not_overflow() {
    for block_type in BlockType::ALL.into_iter().filter(|block_type| block_type.block_len() > 1) {
        for (byte, x) in [(0xff, 1.0), (0xff, -1.0), (0x80, 1.0), (0x80, -1.0), (0x7f, 1.0), (0x00, -1.0)] {
            let columns = 256;
            let mut bytes = vec![byte; 16 * block_type.bytes_of(columns)];
            for block in bytes.chunks_exact_mut(block_type.block_bytes()) {
                put_scales(block_type, block, [1.0; 2]);
            }
            let packed = Packed::new(block_type, 16, columns, &bytes);
            for m in [1, 8, 16] {
                let numbers = vec![x; m * columns];
                let reference = product(Isa::Scalar, &packed, &activations(Isa::Scalar, &numbers, columns), 1);
                for isa in Isa::available() {
                    let what = format!("{isa}, {} of {byte:#x}, {m}", block_type.name());
                    assert_near(
                        &what,
                        &product(isa, &packed, &activations(isa, &numbers, columns), 1),
                        &reference,
                        1e-6,
                    );
                }
            }
        }
    }
}

#[test]
fn a_row_gets_the_same_whatever_is_beside_it_and_whoever_computes() {
    let mut noise = Noise(3);
    let (m, rows, columns) = (21, 50, 512);
    for block_type in BlockType::ALL {
        let packed = Packed::new(block_type, rows, columns, &noise.blocks(block_type, rows * columns));
        let numbers = noise.numbers(m * columns);
        for isa in Isa::available() {
            let together = product(isa, &packed, &activations(isa, &numbers, columns), 3);
            for (row, x) in numbers.chunks_exact(columns).enumerate() {
                let alone = product(isa, &packed, &activations(isa, x, columns), 1);
                assert_eq!(alone, together[row * rows..(row + 1) * rows], "{isa} {} row {row}", block_type.name());
            }
        }
    }
}

/// One row, few rows and many go different ways, and so do shapes that fill parts and pipelines or do not.
#[test]
fn a_row_of_codes_gets_the_same_beside_few_and_many() {
    let mut noise = Noise(32);
    let rows = 50;
    for isa in Isa::available() {
        for block_type in BlockType::ALL {
            for (m, columns) in [(37, 256), (7, 768), (16, 512), (9, 1280)] {
                let packed = Packed::new(block_type, rows, columns, &noise.blocks(block_type, rows * columns));
                let numbers = noise.numbers(m * columns);
                for form in [Form::Codes, Form::FineCodes] {
                    let together = product(isa, &packed, &in_form(form, isa, &numbers, columns), 3);
                    for few in [1, 2, 3, 4, 6] {
                        let numbers = numbers.chunks(few * columns);
                        for (x, together) in numbers.zip(together.chunks(few * rows)) {
                            let apart = product(isa, &packed, &in_form(form, isa, x, columns), 1);
                            assert_eq!(apart, together, "{isa} {} {form:?}, {few} of {m}", block_type.name());
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn codes_in_two_planes_give_what_bytes_give() {
    let mut noise = Noise(33);
    let types = BlockType::ALL.into_iter().filter(|&block_type| Packed::splits(block_type));
    for block_type in types {
        for (m, rows, columns) in [(1, 50, 256), (3, 16, 768), (6, 33, 512), (21, 40, 1280)] {
            let bytes = noise.blocks(block_type, rows * columns);
            let whole = Packed::new(block_type, rows, columns, &bytes);
            let split = Packed::split_in(&Arena::new(0), block_type, rows, columns, &bytes);
            let numbers = noise.numbers(m * columns);
            // Nothing is split for NEON, which has the reference's kernel for it.
            for isa in Isa::available().filter(|&isa| cfg!(target_arch = "x86_64") || isa == Isa::Scalar) {
                let forms = [Form::Codes, Form::FineCodes, Form::Tiles];
                for form in forms.into_iter().filter(|&form| form != Form::Tiles || isa.has_tiles()) {
                    let x = in_form(form, isa, &numbers, columns);
                    let what = format!("{isa} {} {form:?} {m}×{rows}×{columns}", block_type.name());
                    assert_eq!(product(isa, &split, &x, 2), product(isa, &whole, &x, 1), "{what}");
                }
            }
        }
    }
}

#[test]
fn dense_matrices_may_have_any_columns() {
    let mut noise = Noise(4);
    for block_type in [BlockType::F32, BlockType::F16, BlockType::BF16] {
        for columns in [1, 7, 33, 100] {
            let packed = Packed::new(block_type, 19, columns, &noise.blocks(block_type, 19 * columns));
            let x = activations(Isa::Scalar, &noise.numbers(3 * columns), columns);
            let reference = product(Isa::Scalar, &packed, &x, 1);
            for isa in Isa::available() {
                assert_near(&format!("{isa} {columns}"), &product(isa, &packed, &x, 2), &reference, 1e-6);
            }
        }
    }
}

#[test]
fn fine_codes_are_as_good_as_sixteen_bits() {
    let mut noise = Noise(25);
    for block_type in [BlockType::Q4_1, BlockType::Q8_0, BlockType::Q6_K, BlockType::F32] {
        for (m, rows, columns) in [(1, 16, 256), (3, 33, 768), (9, 20, 512)] {
            let (packed, dense) = matrix(&mut noise, block_type, rows, columns);
            let numbers = noise.numbers(m * columns);
            let truth = true_product(&numbers, &dense, columns);
            for isa in Isa::available() {
                let x = in_form(Form::FineCodes, isa, &numbers, columns);
                let what = format!("{isa} {} {m} {rows} {columns}", block_type.name());
                // Scales are rounded to 11 bits when they are packed.
                let tolerance = if block_type == BlockType::Q6_K { 2e-3 } else { 1e-4 };
                assert_near(&what, &product(isa, &packed, &x, 2), &truth, tolerance);
            }
        }
    }
}

#[test]
fn several_products_at_once() {
    let mut noise = Noise(5);
    let columns = 64;
    let matrices: Vec<Packed> = [(BlockType::Q4_1, 40), (BlockType::F16, 3), (BlockType::Q8_0, 16)]
        .map(|(block_type, rows)| Packed::new(block_type, rows, columns, &noise.blocks(block_type, rows * columns)))
        .into();
    let x = activations(Isa::Scalar, &noise.numbers(5 * columns), columns);
    let mut outs = matrices.iter().map(|weights| vec![f32::NAN; 5 * weights.rows]).collect::<Vec<_>>();
    let [a, b, c] = &mut outs[..] else { unreachable!() };
    let products = [
        Product { weights: &matrices[0], out: a },
        Product { weights: &matrices[1], out: b },
        Product { weights: &matrices[2], out: c },
    ];
    Team::new(Some(2)).unwrap().enter(|crew| linear(crew, Isa::Scalar, &x, products));
    for (weights, out) in matrices.iter().zip(&outs) {
        assert_eq!(out, &product(Isa::Scalar, weights, &x, 1));
    }
}

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

/// More heads than go over a page together.
const HEADS: usize = 5;

/// Keys and values of one head in pages, and as floats.
struct Stored {
    kv: KvType,
    dimensions: usize,
    pages: Vec<Pairs>,
    /// `[token][dimension]`
    all_keys: Vec<f32>,
    /// `[token][dimension]`
    all_values: Vec<f32>,
}

impl Stored {
    fn new(noise: &mut Noise, kv: KvType, dimensions: usize, tokens: usize) -> Self {
        let pages = vec![Pairs::ZERO; tokens.div_ceil(PAGE) * kv.lines(dimensions)];
        let mut stored = Self { kv, dimensions, pages, all_keys: Vec::new(), all_values: Vec::new() };
        for token in 0..tokens {
            // Of quite different sizes.
            let size = if kv == KvType::Q8 { 1.0 / (1 + token % 3) as f32 } else { 1.0 };
            let mut numbers = || -> Vec<f32> { (0..dimensions).map(|_| size * noise.next()).collect() };
            let (key, value) = (numbers(), numbers());
            let (key, value) = stored.set(token, &key, &value);
            stored.all_keys.extend(key);
            stored.all_values.extend(value);
        }
        // What stands behind the last token must not be seen, not even with the least of weights.
        for token in tokens..tokens.next_multiple_of(PAGE) {
            stored.set(token, &vec![1000.0; dimensions], &vec![bf16::MAX.to_f32(); dimensions]);
        }
        stored
    }

    /// Stores a token; gives what its numbers are then.
    fn set(&mut self, token: usize, key: &[f32], value: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let (kv, dimensions, lines) = (self.kv, self.dimensions, lines_of(self.dimensions));
        let page = &mut self.pages[token / PAGE * kv.lines(dimensions)..][..kv.lines(dimensions)];
        let (keys, rest) = page.split_at_mut(kv.key_lines(dimensions));
        let (values, scales) = rest.split_at_mut(kv.value_lines(dimensions));
        let (token, per) = (token % PAGE, kv.per_lane());
        let of_key = |d: usize| (d / per * (PAGE / GROUP) + token / GROUP, token % GROUP, d % per);
        let of_value = |d: usize| (token / per * lines + d / GROUP, d % GROUP, token % per);
        match kv {
            KvType::Bf16 => {
                let store = |place: &dyn Fn(usize) -> (usize, usize, usize), lines: &mut [Pairs], numbers: &[f32]| {
                    let store = |(d, &x): (usize, &f32)| {
                        let (line, lane, i) = place(d);
                        lines[line].0[lane][i] = bf16::from_f32(x).to_bits();
                        lines[line].number::<BF16>(lane, i)
                    };
                    numbers.iter().enumerate().map(store).collect()
                };
                (store(&of_key, keys, key), store(&of_value, values, value))
            }
            KvType::Q8 => {
                let store = |place: &dyn Fn(usize) -> (usize, usize, usize), lines: &mut [Pairs], numbers: &[f32]| {
                    let mut stored = vec![0.0; numbers.len()];
                    let scale = codes(numbers, |d, code| {
                        let (line, lane, i) = place(d);
                        lines[line].set_code(lane, i, code);
                        stored[d] = lines[line].number::<CODES>(lane, i);
                    });
                    stored.iter_mut().for_each(|code| *code *= scale);
                    (stored, scale)
                };
                let ((key, of_key), (value, of_value)) = (store(&of_key, keys, key), store(&of_value, values, value));
                scales[token / GROUP].set_float(token % GROUP, of_key);
                scales[(PAGE + token) / GROUP].set_float(token % GROUP, of_value);
                (key, value)
            }
        }
    }

    /// Attention as the formula says.
    fn attention(&self, queries: &[f32], seen: std::ops::Range<usize>, cap: Option<f32>) -> Vec<f32> {
        let of_seen = seen.start * self.dimensions..seen.end * self.dimensions;
        let values = &self.all_values[of_seen.clone()];
        let mut out = Vec::new();
        for query in queries.chunks_exact(self.dimensions) {
            let dot = |key: &[f32]| query.iter().zip(key).map(|(q, k)| q * k).sum::<f32>();
            let score = |key: &[f32]| cap.map_or(dot(key), |cap| cap * (dot(key) / cap).tanh());
            let keys = self.all_keys[of_seen.clone()].chunks_exact(self.dimensions);
            let weights: Vec<f32> = keys.map(|key| score(key).exp()).collect();
            let sum: f32 = weights.iter().sum();
            for d in 0..self.dimensions {
                let of_token = weights.iter().enumerate().map(|(t, weight)| weight * values[t * self.dimensions + d]);
                out.push(of_token.sum::<f32>() / sum);
            }
        }
        out
    }
}

/// Attention of rows from `first` on, cut into stretches of `step`, over two key-value heads.
fn attended(
    (isa, form): (Isa, Form),
    stored: &[Stored; 2],
    queries: &[f32],
    first: usize,
    (window, cap): (usize, Option<f32>),
    step: usize,
) -> Activations {
    let dimensions = stored[0].dimensions;
    let columns = 2 * HEADS * dimensions;
    let rows = queries.len() / columns;
    let stretches: Vec<Stretch> = (0..rows)
        .step_by(step)
        .map(|row| Stretch { row, rows: step.min(rows - row), position: first + row, table: 0 })
        .collect();
    let mut out = Activations::new(isa, rows, columns);
    out.start(form, rows);
    let query = |row: usize, head: usize, room: &mut [f32]| {
        room.copy_from_slice(&queries[row * columns + head * dimensions..][..dimensions]);
    };
    let kv = stored[0].kv;
    let of_page = kv.lines(dimensions);
    let page = |_: usize, number: usize, kv_head: usize| {
        PageView::new(kv, dimensions, &stored[kv_head].pages[number * of_page..][..of_page])
    };
    let heads = Heads { dimensions, kv_heads: 2, group: HEADS, kv, cap, window };
    let attention = Attention { isa, heads, stretches: &stretches, query, page };
    Team::new(Some(2)).unwrap().enter(|crew| attention.compute(crew, &mut Shares::default(), &mut out));
    out
}

/// The numbers of activations in any form.
fn numbers_of(x: &Activations) -> Vec<f32> {
    let (rows, columns) = (x.rows(), x.columns());
    if x.form() == Form::Codes {
        return x.view().values[..rows * columns].to_vec();
    }
    let (tiles, blocks) = x.tiles();
    let number = |(row, column): (usize, usize)| {
        bf16::from_bits(tiles[row / 16 * blocks + column / 32].0[row % 16][column % 32]).to_f32()
    };
    (0..rows * columns).map(|at| number((at / columns, at % columns))).collect()
}

/// All instruction sets, with the forms that they have.
fn forms() -> impl Iterator<Item = (Isa, Form)> {
    let forms = |isa: Isa| [(isa, Form::Codes)].into_iter().chain(isa.has_tiles().then_some((isa, Form::Tiles)));
    Isa::available().flat_map(forms)
}

#[test]
fn attention_is_a_softmax_over_all_that_is_seen() {
    let shapes = [
        (64, 0, 1),
        (64, 63, 2),
        (64, 0, 70),
        (64, 190, 33),
        (20, 100, 5),
        (7, 30, 40),
        (256, 60, 17),
        (96, 127, 3),
        (64, 1_100, 2),
    ];
    for kv in KvType::ALL {
        let mut noise = Noise(8);
        for (dimensions, first, rows) in shapes {
            let stored = [(); 2].map(|()| Stored::new(&mut noise, kv, dimensions, first + rows));
            check_attention(&mut noise, &stored, first, rows);
        }
    }
}

fn check_attention(noise: &mut Noise, stored: &[Stored; 2], first: usize, rows: usize) {
    let (kv, dimensions) = (stored[0].kv, stored[0].dimensions);
    let mut queries = noise.numbers(rows * 2 * HEADS * dimensions);
    // As models scale them, so that scores stay where rounding does not decide.
    queries.iter_mut().for_each(|q| *q *= 4.0 / (dimensions as f32).sqrt());
    for window in [usize::MAX, 40, 1] {
        for cap in [None, Some(2.0)] {
            let mut expected = Vec::new();
            for (row, queries) in queries.chunks_exact(2 * HEADS * dimensions).enumerate() {
                let end = first + row + 1;
                for (stored, queries) in stored.iter().zip(queries.chunks_exact(HEADS * dimensions)) {
                    expected.extend(stored.attention(queries, end.saturating_sub(window)..end, cap));
                }
            }
            for how in forms() {
                let what = format!("{kv:?} {how:?} {dimensions} {first}+{rows} {window} {cap:?}");
                let out = attended(how, stored, &queries, first, (window, cap), 32);
                // Queries and weights of tiles are bf16, and so is what they give; those of single rows are twice that, and those
                // that meet codes have 16 bits for all of a chunk. The matrix unit does not cap.
                let tolerance = match how {
                    (_, Form::Tiles) => 1e-2,
                    (isa, _) if isa.has_tiles() && cap.is_none() && kv == KvType::Q8 => 5e-4,
                    (isa, _) if isa.has_tiles() && cap.is_none() => 1e-4,
                    _ => 1e-5,
                };
                assert_near(&what, &numbers_of(&out), &expected, tolerance);
            }
        }
    }
}

#[test]
fn a_row_attends_the_same_whatever_is_beside_it() {
    for kv in KvType::ALL {
        let mut noise = Noise(24);
        let (dimensions, first, rows) = (64, 480, 77);
        let stored = [(); 2].map(|()| Stored::new(&mut noise, kv, dimensions, first + rows));
        let queries = noise.numbers(rows * 2 * HEADS * dimensions);
        for how in forms() {
            for window in [usize::MAX, 50, 400] {
                let together = numbers_of(&attended(how, &stored, &queries, first, (window, None), 32));
                for step in [1, 7, 31] {
                    let apart = numbers_of(&attended(how, &stored, &queries, first, (window, None), step));
                    assert_eq!(together, apart, "{kv:?} {how:?} {window} {step}");
                }
            }
        }
    }
}

#[test]
fn mixed_heads_have_the_same_products() {
    let mut noise = Noise(4);
    for dimensions in [1, 2, 7, 20, 64, 96, 256, 512] {
        let (x, y) = (noise.numbers(dimensions), noise.numbers(dimensions));
        let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>();
        let (mut mixed, mut other) = (x.clone(), y.clone());
        Isa::Scalar.rotate(&mut mixed);
        Isa::Scalar.rotate(&mut other);
        assert!((dot(&mixed, &other) - dot(&x, &y)).abs() < 1e-4 * dimensions as f32, "{dimensions}");
        for isa in Isa::available() {
            let mut same = x.clone();
            isa.rotate(&mut same);
            assert_eq!(same, mixed, "{isa} {dimensions}");
        }
    }
    // One that stands out does not any more.
    let mut x = vec![0.0; 64];
    x[11] = 8.0;
    Isa::Scalar.rotate(&mut x);
    assert!(x.iter().all(|x| x.abs() == 1.0), "{x:?}");
}

#[test]
fn rows_over_the_capacity_are_refused_and_change_nothing() {
    let mut x = activations(Isa::Scalar, &[1.0; 64], 32);
    for rows in [3, usize::MAX, usize::MAX / 32 + 2] {
        let start = std::panic::AssertUnwindSafe(|| x.start(Form::Codes, rows).len());
        assert!(std::panic::catch_unwind(start).is_err(), "{rows}");
        assert_eq!((x.rows(), x.view().values), (2, &[1.0; 64][..]), "{rows}");
    }
    assert_eq!(x.start(Form::Codes, 2).len(), 64);
}

#[test]
fn the_environment_names_an_instruction_set() {
    assert_eq!(Isa::choose(Some(Isa::Scalar)).unwrap(), Isa::Scalar);
    assert_eq!(Isa::available().next(), Some(Isa::Scalar));
    let error = LoadError::Isa { seen: "sse9".to_owned(), available: "scalar, avx2".to_owned() };
    assert_eq!(
        error.to_string(),
        "kernels `sse9` cannot be used here; this processor has: scalar, avx2; set CAUSERIE_ISA to one of these or leave it out"
    );
}

/// What the matrix unit gives beside what plain floats do, for types of every storage form, tails and several parts.
#[test]
fn products_of_tiles_are_near_the_reference() {
    let mut noise = Noise(21);
    for isa in Isa::available().filter(|isa| isa.has_tiles()) {
        for block_type in BlockType::ALL {
            for (m, rows, columns) in [(1, 16, 256), (16, 17, 512), (17, 48, 256), (33, 40, 768), (300, 80, 256)] {
                let (packed, dense) = matrix(&mut noise, block_type, rows, columns);
                let numbers = noise.numbers(m * columns);
                let truth = true_product(&numbers, &dense, columns);
                let x = in_form(Form::Tiles, isa, &numbers, columns);
                let what = format!("{isa} {} {m} {rows} {columns}", block_type.name());
                for threads in [1, 3] {
                    assert_near(&what, &product(isa, &packed, &x, threads), &truth, 1e-2);
                }
                let mut sums = vec![1.0; m * rows];
                one_thread(|crew| linear_add(crew, isa, &x, Product { weights: &packed, out: &mut sums }));
                sums.iter_mut().for_each(|sum| *sum -= 1.0);
                assert_near(&format!("{what}, added"), &sums, &truth, 1e-2);
            }
        }
    }
}

#[test]
fn a_row_of_tiles_gets_the_same_whatever_is_beside_it() {
    let mut noise = Noise(22);
    let (m, rows, columns) = (70, 50, 512);
    let packed = Packed::new(BlockType::Q4_1, rows, columns, &noise.blocks(BlockType::Q4_1, rows * columns));
    let numbers = noise.numbers(m * columns);
    for isa in Isa::available().filter(|isa| isa.has_tiles()) {
        let together = product(isa, &packed, &in_form(Form::Tiles, isa, &numbers, columns), 3);
        for (row, x) in numbers.chunks_exact(columns).enumerate() {
            let alone = product(isa, &packed, &in_form(Form::Tiles, isa, x, columns), 1);
            assert_eq!(alone, together[row * rows..(row + 1) * rows], "{isa} row {row}");
        }
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
                for form in [Form::Codes, Form::Tiles] {
                    if form == Form::Tiles && !isa.has_tiles() {
                        continue;
                    }
                    let x = in_form(form, isa, &numbers, columns);
                    let [mut gates, ups] = weights.each_ref().map(|weights| product(isa, weights, &x, 2));
                    gates.chunks_exact_mut(rows).for_each(|gates| isa.add(gates, &bias));
                    let mut expected = vec![0.0; m * rows];
                    isa.gate(activation, &gates, &ups, &mut expected);
                    let part = Gated { activation, weights: weights.each_ref(), biases: [Some(&bias), None] };
                    let mut out = Activations::new(isa, m, rows);
                    Team::new(Some(2)).unwrap().enter(|crew| gated(crew, isa, &x, part, &mut out));
                    let what = format!("{isa} {activation:?} {form:?} {m} {rows}");
                    if form == Form::Codes {
                        assert_near(&what, &out.view().values[..m * rows], &expected, 1e-6);
                        let codes = in_form(form, isa, &expected, rows);
                        let blocks = rows / BLOCK;
                        assert_near(&what, &out.view().scales[..m * blocks], &codes.view().scales[..m * blocks], 1e-5);
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
