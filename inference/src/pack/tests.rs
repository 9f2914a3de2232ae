use super::*;
use crate::block::{Codes, dequantize};
use crate::kernel::tests::Noise;

/// What a stored row may lose: scales and mins that are products are rounded to halves, those of a block itself are not.
fn losses(block_type: BlockType, row: &[u8]) -> Vec<f32> {
    const ROUNDING: f32 = 1.0 / 2048.0;
    const SMALLEST: f32 = 1.0 / 16_777_216.0; // between two halves that are almost zero
    let exact = block_type.block_len() < 256 || matches!(block_type, BlockType::TQ1_0 | BlockType::TQ2_0);
    if exact {
        return vec![0.0; row.len() / block_type.block_bytes() * block_type.block_len()];
    }
    let parts = row.chunks_exact(block_type.block_bytes());
    let parts = parts.flat_map(|block| (0..256 / BLOCK).map(move |part| Codes::of(block_type, block, part)));
    let of_part = |Codes { q, scales, mins }: Codes| {
        let mins = mins.unwrap_or_default().map(f32::abs);
        std::array::from_fn::<_, BLOCK, _>(|j| {
            let (q, scale, min) = (f32::from(q[j]).abs(), scales[j / 16].abs(), mins[j / 16]);
            (q * scale + min) * ROUNDING + (q + 1.0) * SMALLEST
        })
    };
    parts.flat_map(of_part).collect()
}

#[test]
fn rows_come_out_as_they_were_stored() {
    let mut noise = Noise(21);
    for block_type in BlockType::ALL {
        for rows in [1, 16, 37] {
            let columns = 512;
            let bytes = noise.blocks(block_type, rows * columns);
            let mut values = vec![0.0; rows * columns];
            dequantize(block_type, &bytes, &mut values);
            let packed = Packed::new(block_type, rows, columns, &bytes);
            let mut row = vec![f32::NAN; columns];
            let stored = values.chunks_exact(columns).zip(bytes.chunks_exact(block_type.bytes_of(columns)));
            for (r, (expected, stored)) in stored.enumerate() {
                packed.row(r, &mut row);
                for ((ours, theirs), loss) in row.iter().zip(expected).zip(losses(block_type, stored)) {
                    let what = block_type.name();
                    assert!((ours - theirs).abs() <= loss, "{what} row {r} of {rows}: {ours} {theirs}");
                }
            }
        }
    }
}

#[test]
fn the_default_models_types_take_no_more_bytes_than_the_file() {
    let types = [BlockType::Q4_0, BlockType::Q4_1, BlockType::Q5_0, BlockType::Q5_1, BlockType::Q8_0, BlockType::F16];
    for block_type in types {
        let bytes = vec![0; 64 * block_type.bytes_of(256)];
        assert_eq!(Packed::new(block_type, 64, 256, &bytes).bytes(), bytes.len(), "{}", block_type.name());
    }
}

#[test]
fn what_a_matrix_will_take_is_known() {
    for block_type in BlockType::ALL {
        for (rows, columns) in [(1, 256), (16, 512), (37, 768)] {
            let bytes = vec![0; rows * block_type.bytes_of(columns)];
            let taken = Packed::new(block_type, rows, columns, &bytes).bytes();
            let known = Packed::bytes_of(block_type, rows, columns);
            assert!((taken..taken + 64).contains(&known), "{}: {known} for {taken}", block_type.name());
        }
    }
}

#[test]
fn no_type_takes_more_than_ten_bits_a_weight_that_was_stored_in_fewer() {
    for block_type in BlockType::ALL.into_iter().filter(|block_type| block_type.block_len() > 1) {
        let bytes = vec![0; 64 * block_type.bytes_of(256)];
        let bits = Packed::new(block_type, 64, 256, &bytes).bytes() as f64 * 8.0 / (64.0 * 256.0);
        assert!(bits <= 10.0, "{}: {bits}", block_type.name());
    }
}

#[test]
#[should_panic(expected = "row 3 of 3 × 32")]
fn a_row_that_is_not_there() {
    Packed::new(BlockType::F32, 3, 32, &[0; 3 * 32 * 4]).row(3, &mut [0.0; 32]);
}

#[test]
fn what_is_split_comes_out_as_it_was_stored_and_its_norms_hold() {
    let mut noise = Noise(22);
    for block_type in BlockType::ALL.into_iter().filter(|&block_type| Packed::splits(block_type)) {
        for (rows, columns) in [(1, 256), (37, 512)] {
            let bytes = noise.blocks(block_type, rows * columns);
            let whole = Packed::new(block_type, rows, columns, &bytes);
            let split = Packed::split_in(&Arena::new(0), block_type, rows, columns, &bytes);
            let taken = split.bytes();
            assert!(
                taken - whole.bytes() <= Packed::split_bytes(rows, columns) && split.is_split() && !whole.is_split()
            );
            let (mut ours, mut theirs) = (vec![f32::NAN; columns], vec![f32::NAN; columns]);
            let Storage::Quantized(q) = &split.storage else { unreachable!() };
            for r in 0..rows {
                split.row(r, &mut ours);
                whole.row(r, &mut theirs);
                assert_eq!(ours, theirs, "{} row {r} of {rows}", block_type.name());
                for block in 0..columns / BLOCK {
                    let at = r / GROUP * columns / BLOCK + block;
                    let low = q.codes_of(at, r % GROUP).map(|code| f64::from(code & 15) - 7.5);
                    let norm = low.iter().map(|low| low * low).sum::<f64>().sqrt();
                    let bound = f64::from(q.low.as_ref().unwrap().norms[at].0[r % GROUP]) / f64::from(Norms::PER_UNIT);
                    assert!((norm..norm + 0.17).contains(&bound), "{norm} {bound}");
                }
            }
        }
    }
}
