use super::*;

/// Random blocks and their values as the Python package `gguf` expands them; `tests/data/blocks.py` makes the file.
const VECTORS: &[u8] = include_bytes!("../../tests/data/blocks.bin");

#[test]
fn expands_every_type_bit_for_bit_as_the_reference() {
    let mut rest = VECTORS;
    let mut seen = Vec::new();
    while !rest.is_empty() {
        let word = |at: usize| word_at(rest, at) as usize;
        let (id, bytes, values) = (word(0), word(4), word(8));
        let block_type = BlockType::from_id(id as u32).expect("the file holds supported types only");
        let (data, expected) = rest[12..12 + bytes + 4 * values].split_at(bytes);
        let mut out = vec![0.0; values];
        dequantize(block_type, data, &mut out);
        for (j, (out, expected)) in out.iter().zip(expected.chunks_exact(4)).enumerate() {
            assert_eq!(out.to_bits(), word_at(expected, 0), "{} value {j}", block_type.name());
        }
        seen.push(block_type);
        rest = &rest[12 + bytes + 4 * values..];
    }
    assert_eq!(seen, BlockType::ALL);
}

#[test]
fn ids_are_the_formats() {
    for block_type in BlockType::ALL {
        assert_eq!(BlockType::from_id(block_type.id()), Some(block_type));
    }
    assert_eq!(BlockType::from_id(40), None);
    assert_eq!(BlockType::describe(20), "IQ4_NL (type id 20)");
    assert_eq!(BlockType::describe(40), "an unknown type (type id 40)");
}
