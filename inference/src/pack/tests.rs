use super::*;
use crate::block::dequantize;
use crate::kernel::tests::Noise;

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
            for (r, expected) in values.chunks_exact(columns).enumerate() {
                packed.row(r, &mut row);
                for (ours, theirs) in row.iter().zip(expected) {
                    // Scales of K-quants are products, rounded to halves here; the others are kept as they are.
                    let near = (ours - theirs).abs() <= if block_type.block_len() == 256 { 1e-3 } else { 0.0 };
                    assert!(near, "{} row {r} of {rows}: {ours} {theirs}", block_type.name());
                }
            }
        }
    }
}

#[test]
fn the_default_models_types_take_no_more_bytes_than_the_file() {
    for block_type in [BlockType::Q4_0, BlockType::Q4_1, BlockType::Q8_0, BlockType::F16, BlockType::F32] {
        let bytes = vec![0; 64 * block_type.bytes_of(256)];
        assert_eq!(Packed::new(block_type, 64, 256, &bytes).bytes(), bytes.len(), "{}", block_type.name());
    }
}

#[test]
#[should_panic(expected = "row 3 of 3 × 32")]
fn a_row_that_is_not_there() {
    Packed::new(BlockType::F32, 3, 32, &[0; 3 * 32 * 4]).row(3, &mut [0.0; 32]);
}
