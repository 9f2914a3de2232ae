//! Attention, by every instruction set and kind of cache.

use super::*;

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
