use super::super::tests::Noise;
use super::*;
use crate::block::BlockType;
use crate::block::tests::put_scales;
use crate::kernel::{Arena, Product, Team, linear};
use crate::pack::BLOCK;

const WANTED: [Wanted; 5] =
    [Wanted::Greatest(1), Wanted::Greatest(7), Wanted::Greatest(40), Wanted::Near(0.5), Wanted::Near(0.0)];

fn split(rows: usize, columns: usize, bytes: &[u8]) -> Packed {
    Packed::split_in(&Arena::new(0), BlockType::Q8_0, rows, columns, bytes)
}

fn activations(crew: &Crew, isa: Isa, form: Form, numbers: &[f32], columns: usize) -> Activations {
    let mut x = Activations::new(isa, numbers.len() / columns, columns);
    x.start(form, numbers.len() / columns).copy_from_slice(numbers);
    x.finish(crew, isa);
    x
}

/// Rows that are searched together: one, few, and more than a block of rows of the matrix unit.
const TOGETHER: [usize; 3] = [1, 3, 19];

/// What answers and what prompts are searched as.
const FORMS: [Form; 2] = [Form::Codes, Form::FineCodes];

/// Searches with every instruction set and some threads for rows of `numbers`, which are repeated until they are enough, and
/// compares with all products. Gives in how many searches of a row something was found.
fn check(what: &str, weights: &Packed, numbers: &[f32], lowered: Lowered<'_>) -> usize {
    let (columns, most) = (weights.columns, TOGETHER[TOGETHER.len() - 1]);
    let numbers: Vec<f32> = numbers.iter().copied().cycle().take(most * columns).collect();
    let mut found = 0;
    for isa in Isa::available() {
        for threads in 1..=3 {
            Team::new(Some(threads)).unwrap().enter(|crew| {
                let mut room = Search::new(isa, weights, most);
                for (together, form) in TOGETHER.into_iter().flat_map(|rows| FORMS.map(|form| (rows, form))) {
                    let numbers = &numbers[..together * columns];
                    let x = activations(crew, isa, form, numbers, columns);
                    let mut all = vec![f32::NAN; together * weights.rows];
                    linear(crew, isa, &x, [Product { weights, out: &mut all }]);
                    for wanted in WANTED {
                        let wishes: Vec<Wanted> = (0..together).map(|row| WANTED[row % WANTED.len()]).collect();
                        for wanted in [vec![wanted; together], wishes] {
                            search(crew, isa, weights, &x, &wanted, lowered, &mut room);
                            for (row, all) in all.chunks_exact(weights.rows).enumerate() {
                                let wanted = wanted[row];
                                let what = format!(
                                    "{what}, {isa}, {threads} threads, row {row} of {together}, {form:?}, {wanted:?}"
                                );
                                if let Some(among) = room.found(row) {
                                    assert_holds(&what, all, wanted, &|id, product| lowered(row, id, product), among);
                                    found += 1;
                                }
                            }
                        }
                    }
                }
            });
        }
    }
    found
}

#[track_caller]
fn assert_holds(
    what: &str,
    all: &[f32],
    wanted: Wanted,
    lowered: &dyn Fn(u32, f32) -> f32,
    Candidates { ids, logits, bound }: Candidates<'_>,
) {
    assert!(ids.is_sorted_by(|a, b| a < b), "{what}: each once");
    for (&id, logit) in ids.iter().zip(logits) {
        assert_eq!(logit.to_bits(), all[id as usize].to_bits(), "{what}: output {id}");
    }
    let others = (0..).zip(all).filter(|(id, _)| ids.binary_search(id).is_err());
    let most = others.map(|(_, &product)| product).fold(f32::NEG_INFINITY, f32::max);
    assert!(most <= bound, "{what}: {most} is over {bound}");
    let low = |id: u32| lowered(id, all[id as usize]);
    let enough = match wanted {
        Wanted::Greatest(count) => ids.iter().filter(|&&id| low(id) > bound).count() >= count.min(all.len()),
        Wanted::Near(distance) => (0..all.len() as u32).map(low).fold(f32::NEG_INFINITY, f32::max) - distance > bound,
    };
    assert!(enough, "{what}: {} found", ids.len());
}

#[test]
fn what_is_found_is_what_all_products_give() {
    let mut noise = Noise(41);
    for (rows, columns) in [(4_000, 64), (5_003, 640), (100, 256), (17, 32), (1, 32)] {
        let bytes = noise.blocks(BlockType::Q8_0, rows * columns);
        let numbers: Vec<f32> = (0..7 * columns).map(|_| noise.next()).collect();
        let weights = split(rows, columns, &bytes);
        let found = check(&format!("{rows} × {columns}"), &weights, &numbers, &|_, _, product| product);
        assert!(rows == 1 || found > 0);
        check(&format!("{rows} × {columns}, lowered"), &weights, &numbers, &|row, id, product| {
            if (row as u32 + id).is_multiple_of(3) { product - 1.0 - product.abs() } else { product }
        });
    }
}

/// Rows in the direction of `x`, of which a search must read little.
fn aligned(
    rows: usize,
    columns: usize,
    numbers: &[f32],
    strength: impl Fn(usize) -> f32,
    noise: &mut Noise,
) -> Vec<u8> {
    let mut bytes = noise.blocks(BlockType::Q8_0, rows * columns);
    for (row, bytes) in bytes.chunks_exact_mut(BlockType::Q8_0.bytes_of(columns)).enumerate() {
        for (block, numbers) in bytes.chunks_exact_mut(34).zip(numbers.chunks_exact(BLOCK)) {
            put_scales(BlockType::Q8_0, block, [0.01; 2]);
            for (code, x) in block[2..].iter_mut().zip(numbers) {
                *code = (x * strength(row) * 100.0) as i8 as u8;
            }
        }
    }
    bytes
}

#[test]
fn rows_that_stand_out_are_always_found() {
    let mut noise = Noise(42);
    let (rows, columns) = (3_000, 320);
    let numbers: Vec<f32> = (0..columns).map(|_| noise.next()).collect();
    let strength = |row: usize| if row % 71 == 3 { 0.9 + row as f32 / 1e5 } else { 0.1 };
    let bytes = aligned(rows, columns, &numbers, strength, &mut noise);
    let isas = Isa::available().count();
    let found = check("standing out", &split(rows, columns, &bytes), &numbers, &|_, _, product| product);
    assert_eq!(found, isas * 3 * 2 * FORMS.len() * WANTED.len() * TOGETHER.iter().sum::<usize>());
}

#[test]
fn equals_are_found_together() {
    let mut noise = Noise(43);
    let (rows, columns) = (2_000, 96);
    let numbers: Vec<f32> = (0..columns).map(|_| noise.next()).collect();
    let bytes = aligned(rows, columns, &numbers, |row| if row % 100 == 7 { 1.0 } else { 0.1 }, &mut noise);
    let weights = split(rows, columns, &bytes);
    Team::new(Some(2)).unwrap().enter(|crew| {
        for isa in Isa::available() {
            let rows = TOGETHER[2];
            let x = activations(crew, isa, Form::Codes, &numbers.repeat(rows), columns);
            let mut room = Search::new(isa, &weights, rows);
            search(crew, isa, &weights, &x, &vec![Wanted::Greatest(1); rows], &|_, _, x| x, &mut room);
            for row in 0..rows {
                let found = room.found(row).unwrap();
                assert_eq!(found.ids, (7..2_000).step_by(100).collect::<Vec<u32>>(), "{isa}, row {row}");
            }
        }
    });
}

#[test]
fn no_low_plane_deceives() {
    let mut noise = Noise(44);
    let (rows, columns) = (1_600, 256);
    for sign in [1.0f32, -1.0] {
        // All that counts is in the low plane, as much of it as can be: all ones where `x` is positive, none elsewhere.
        let numbers: Vec<f32> = (0..columns).map(|_| noise.next().signum() * sign).collect();
        let mut bytes = noise.blocks(BlockType::Q8_0, rows * columns);
        for (row, bytes) in bytes.chunks_exact_mut(BlockType::Q8_0.bytes_of(columns)).enumerate() {
            for (block, numbers) in bytes.chunks_exact_mut(34).zip(numbers.chunks_exact(BLOCK)) {
                put_scales(BlockType::Q8_0, block, [if row % 5 == 0 { -0.01 } else { 0.01 }; 2]);
                for (code, x) in block[2..].iter_mut().zip(numbers) {
                    let low = if (*x > 0.0) == (row % 50 == 1) { 15 } else { 0 };
                    *code = (*code & 0x70) | low;
                }
            }
        }
        check("low", &split(rows, columns, &bytes), &numbers, &|_, _, product| product);
    }
}

#[test]
fn what_is_no_number_is_not_missed() {
    let mut noise = Noise(45);
    let (rows, columns) = (1_000, 128);
    let numbers: Vec<f32> = (0..columns).map(|_| noise.next()).collect();
    let bytes = aligned(rows, columns, &numbers, |row| if row % 90 == 5 { 1.0 } else { 0.1 }, &mut noise);
    for scale in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 65_504.0] {
        let mut bytes = bytes.clone();
        let row_bytes = BlockType::Q8_0.bytes_of(columns);
        for row in [40, 41, 500] {
            put_scales(BlockType::Q8_0, &mut bytes[row * row_bytes..][..34], [scale; 2]);
        }
        check(&format!("scale {scale}"), &split(rows, columns, &bytes), &numbers, &|_, _, product| product);
    }
    for x in [f32::NAN, f32::INFINITY, 3e38, 1e-40] {
        let mut numbers = numbers.clone();
        numbers[50] = x;
        check(&format!("x {x}"), &split(rows, columns, &bytes), &numbers, &|_, _, product| product);
        numbers.fill(x);
        check(&format!("only {x}"), &split(rows, columns, &bytes), &numbers, &|_, _, product| product);
    }
}

#[test]
fn where_searching_does_not_pay_it_rests_and_tries_again() {
    let mut pays = Pays::default();
    let mut tried = |surviving: f32, times: u32| {
        let mut tried = 0;
        for _ in 0..times {
            if pays.tries() {
                pays.observe(surviving);
                tried += 1;
            }
        }
        tried
    };
    assert_eq!(tried(0.2, 100), 100);
    assert_eq!(tried(1.0, 1), 1, "one alone is no reason to rest");
    assert_eq!(tried(0.2, 100), 100);
    let often = 10 * Pays::REST;
    assert!((5..30).contains(&tried(1.0, often)));
    assert!(tried(0.2, often) > often - Pays::REST - 1);
}
