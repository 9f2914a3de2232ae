use super::*;

/// Blocks and their values as the Python package `gguf` expands them; `tests/reference/blocks.py` makes the file.
const VECTORS: &[u8] = include_bytes!("../../tests/golden/blocks.bin");

#[test]
fn expands_every_type_bit_for_bit_as_the_reference() {
    let mut rest = VECTORS;
    let mut seen = Vec::new();
    while !rest.is_empty() {
        let word = |at: usize| word_at(rest, at) as usize;
        let (id, bytes, values) = (word(0), word(4), word(8));
        let block_type = BlockType::from_id(id as u32).expect("the file holds supported types only");
        let (data, expected) = rest[12..12 + bytes + 4 * values].split_at(bytes);
        let mut out = vec![0.0f32; values];
        dequantize(block_type, data, &mut out);
        for (j, (out, expected)) in out.iter().zip(expected.chunks_exact(4)).enumerate() {
            let expected = f32::from_bits(word_at(expected, 0));
            // What an infinite scale makes of zero is not a number; of which kind, no two processors agree.
            let same = out.to_bits() == expected.to_bits() || out.is_nan() && expected.is_nan();
            assert!(same, "{} value {j}: {out:?} where {expected:?} is meant", block_type.name());
        }
        assert!(out.iter().filter(|value| value.is_finite()).count() > values / 2, "{}", block_type.name());
        seen.push(block_type);
        rest = &rest[12 + bytes + 4 * values..];
    }
    assert_eq!(seen, BlockType::ALL);
}

/// The readers for packing against [`Codes`], on the same blocks and on some that are nothing but noise.
#[test]
fn words_are_the_codes() {
    fn check<S: words::Scale, const N: usize>(
        block_type: BlockType,
        zero: u8,
        read: impl Fn(&[u8; N], usize) -> words::Words<S>,
    ) {
        let halves = |values: [S; 2]| {
            let mut halves = [0; 16];
            S::round(&std::array::from_fn(|r| values[r % 2]), &mut halves);
            halves.map(|bits| if f16::from_bits(bits).is_nan() { f16::NAN.to_bits() } else { bits })
        };
        let of_floats = |values: [f32; 2]| -> [u16; 16] {
            std::array::from_fn(|r| f16::from_f32(values[r % 2]))
                .map(|x| if x.is_nan() { f16::NAN } else { x }.to_bits())
        };
        let mut noise = crate::kernel::tests::Noise(block_type.id().into());
        let mut blocks = noise.blocks(block_type, 64 * block_type.block_len());
        blocks.extend((0..64 * N).map(|_| (noise.next() * 128.0) as i8 as u8));
        for block in blocks.as_chunks::<N>().0 {
            for part in 0..block_type.block_len() / SUB_BLOCK {
                let (ours, theirs) = (read(block, part), words::Words::of(&Codes::of(block_type, block, part), zero));
                assert_eq!(ours.codes, theirs.codes, "{} part {part} of {block:?}", block_type.name());
                assert_eq!(halves(ours.scales), of_floats(theirs.scales), "{} scales", block_type.name());
                assert_eq!(halves(ours.mins), of_floats(theirs.mins), "{} mins", block_type.name());
            }
        }
    }
    check(BlockType::Q4_0, 8, |block, _| words::q4_0(block));
    check(BlockType::Q4_1, 0, |block, _| words::q4_1(block));
    check(BlockType::Q5_0, 16, |block, _| words::q5_0(block));
    check(BlockType::Q5_1, 0, |block, _| words::q5_1(block));
    check(BlockType::Q8_0, 0, |block, _| words::q8_0(block));
    check(BlockType::Q4_K, 0, words::q4_k);
    check(BlockType::Q5_K, 0, words::q5_k);
    check(BlockType::Q6_K, 0, words::q6_k);
}

#[test]
fn ids_are_the_formats() {
    for block_type in BlockType::ALL {
        assert_eq!(BlockType::from_id(block_type.id()), Some(block_type));
        assert!(block_type.block_len() <= MAX_BLOCK_LEN);
        assert!(block_type.block_len() == 1 || block_type.block_len().is_multiple_of(SUB_BLOCK));
    }
    assert_eq!(BlockType::from_id(9), None);
    assert_eq!(BlockType::describe(20), "IQ4_NL (type id 20)");
    assert_eq!(BlockType::describe(9), "Q8_1 (type id 9)");
    assert_eq!(BlockType::describe(33), "a type that ggml has given up (type id 33)");
    assert_eq!(BlockType::describe(42), "an unknown type (type id 42)");
}

#[test]
#[should_panic(expected = "one block")]
fn a_block_that_is_cut_off() {
    Codes::of(BlockType::Q4_0, &[0; 17], 0);
}

#[test]
#[should_panic(expected = "part 8 of a block")]
fn a_part_that_is_not_there() {
    Codes::of(BlockType::Q6_K, &[0; 210], 8);
}

/// A scale for [`put_scales`] that brings the values of random blocks to some tenths at most.
pub(crate) fn largest_scale(block_type: BlockType) -> f32 {
    match block_type {
        BlockType::TQ1_0 | BlockType::TQ2_0 => 0.1,
        BlockType::IQ1_S | BlockType::IQ1_M | BlockType::MXFP4 | BlockType::NVFP4 => 1e-2,
        _ if block_type.block_len() == 256 => 3e-4,
        _ => 3e-3,
    }
}

/// Sets the scale (or, for `NVFP4`, scales) of a block, and the scale of its mins if it has one.
pub(crate) fn put_scales(block_type: BlockType, block: &mut [u8], scales: [f32; 2]) {
    let halves = scales.map(f16::from_f32);
    match block_type {
        BlockType::IQ1_M => {
            for j in 0..4 {
                let nibble = (halves[0].to_bits() >> (4 * j)) & 15;
                block[49 + 2 * j] = (block[49 + 2 * j] & 15) | (nibble << 4) as u8;
            }
        }
        BlockType::MXFP4 => block[0] = (scales[0].abs().to_bits() >> 23) as u8 + 1,
        BlockType::NVFP4 => {
            for (j, byte) in block[..4].iter_mut().enumerate() {
                // From 8 bits of exponent with bias 127 to 4 with bias 7, of half the scale.
                let bits = (scales[j % 2].abs().to_bits() >> 20) as i32 - ((127 - 8) << 3);
                *byte = bits.clamp(1, 0x7e) as u8;
            }
        }
        _ => {
            let places: &[usize] = match block_type {
                BlockType::Q4_1 | BlockType::Q5_1 | BlockType::Q4_K | BlockType::Q5_K => &[0, 2],
                BlockType::Q2_K => &[80, 82],
                BlockType::Q3_K => &[108],
                BlockType::Q6_K => &[208],
                BlockType::TQ1_0 => &[52],
                BlockType::TQ2_0 => &[64],
                _ => &[0],
            };
            for (&at, half) in places.iter().zip(halves) {
                block[at..at + 2].copy_from_slice(&half.to_le_bytes());
            }
        }
    }
}
