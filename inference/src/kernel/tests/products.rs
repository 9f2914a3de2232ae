//! Matrix products of codes and numbers, by every instruction set.

use super::*;

/// All rows of `x` times all of `w`, in plain floats.
fn true_product(x: &[f32], w: &[f32], columns: usize) -> Vec<f32> {
    let dot = |x: &[f32], w: &[f32]| x.iter().zip(w).map(|(x, w)| x * w).sum();
    x.chunks_exact(columns).flat_map(|x| w.chunks_exact(columns).map(move |w| dot(x, w))).collect()
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
