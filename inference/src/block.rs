//! The block layouts in which GGUF files store tensors, and what they mean.
//!
//! All layouts are those of ggml (`ggml-common.h`), little-endian. A row of a tensor is a whole number of blocks; a block
//! holds 32 or 256 values that share scales. In the table, `d` and `m` are f16 and `q` is what is stored.
//!
//! | type | values | bytes | layout | value |
//! |---|---|---|---|---|
//! | `F32`, `F16`, `BF16` | 1 | 4, 2, 2 | | |
//! | `Q4_0` | 32 | 18 | d, 16 × two nibbles | d (q − 8) |
//! | `Q4_1` | 32 | 20 | d, m, 16 × two nibbles | d q + m |
//! | `Q5_0` | 32 | 22 | d, 32 fifth bits, 16 × two nibbles | d (q − 16) |
//! | `Q5_1` | 32 | 24 | d, m, 32 fifth bits, 16 × two nibbles | d q + m |
//! | `Q8_0` | 32 | 34 | d, 32 × i8 | d q |
//! | `Q4_K` | 256 | 144 | d, m, 8 × (scale, min) of 6 bits, 128 × two nibbles | d scale q − m min |
//! | `Q5_K` | 256 | 176 | as `Q4_K`, with 256 fifth bits before the nibbles | d scale q − m min |
//! | `Q6_K` | 256 | 210 | 128 × two nibbles, 64 × four bit pairs, 16 × i8 scale, d | d scale (q − 32) |
//!
//! Of the two nibbles in byte `j` of a block of 32, the low one is value `j` and the high one is value `j + 16`.

use half::{bf16, f16};

/// How the values of a tensor are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types)] // the format's own names
#[expect(missing_docs, reason = "the table in the module documentation describes each")]
pub enum BlockType {
    F32,
    F16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4_K,
    Q5_K,
    Q6_K,
    BF16,
}

/// The most values that a block holds.
pub const MAX_BLOCK_LEN: usize = 256;

impl BlockType {
    /// Every type that can be computed with.
    pub const ALL: [BlockType; 11] = [
        BlockType::F32,
        BlockType::F16,
        BlockType::Q4_0,
        BlockType::Q4_1,
        BlockType::Q5_0,
        BlockType::Q5_1,
        BlockType::Q8_0,
        BlockType::Q4_K,
        BlockType::Q5_K,
        BlockType::Q6_K,
        BlockType::BF16,
    ];

    /// The type with this id in a GGUF file, if it is one that can be computed with.
    pub fn from_id(id: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|block_type| block_type.id() == id)
    }

    /// The type's id in a GGUF file.
    pub const fn id(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q5_0 => 6,
            Self::Q5_1 => 7,
            Self::Q8_0 => 8,
            Self::Q4_K => 12,
            Self::Q5_K => 13,
            Self::Q6_K => 14,
            Self::BF16 => 30,
        }
    }

    /// The format's name of the type.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q4_K => "Q4_K",
            Self::Q5_K => "Q5_K",
            Self::Q6_K => "Q6_K",
            Self::BF16 => "BF16",
        }
    }

    /// Values in a block.
    pub const fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q4_K | Self::Q5_K | Self::Q6_K => 256,
        }
    }

    /// Bytes of a block.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q4_K => 144,
            Self::Q5_K => 176,
            Self::Q6_K => 210,
        }
    }

    /// Bytes of `len` values; `len` must be a multiple of the block's length.
    pub const fn bytes_of(self, len: usize) -> usize {
        len / self.block_len() * self.block_bytes()
    }

    /// A name for any type id, known or not, for messages.
    pub(crate) fn describe(id: u32) -> String {
        let other = match id {
            9 => "Q8_1",
            10 => "Q2_K",
            11 => "Q3_K",
            15 => "Q8_K",
            16 => "IQ2_XXS",
            17 => "IQ2_XS",
            18 => "IQ3_XXS",
            19 => "IQ1_S",
            20 => "IQ4_NL",
            21 => "IQ3_S",
            22 => "IQ2_S",
            23 => "IQ4_XS",
            29 => "IQ1_M",
            34 => "TQ1_0",
            35 => "TQ2_0",
            39 => "MXFP4",
            _ => "an unknown type",
        };
        format!("{} (type id {id})", Self::from_id(id).map_or(other, Self::name))
    }

    /// The names of all types that can be computed with.
    pub(crate) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

/// Expands stored blocks to f32.
///
/// # Panics
/// If `out.len()` is not a multiple of the block length, or `bytes` is not exactly the blocks that hold `out.len()` values.
pub fn dequantize(block_type: BlockType, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(out.len() % block_type.block_len(), 0, "a whole number of blocks");
    assert_eq!(bytes.len(), block_type.bytes_of(out.len()), "as many bytes as the values take");
    let blocks = bytes.chunks_exact(block_type.block_bytes()).zip(out.chunks_exact_mut(block_type.block_len()));
    match block_type {
        BlockType::F32 => blocks.for_each(|(b, out)| out[0] = f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
        BlockType::F16 => blocks.for_each(|(b, out)| out[0] = half_at(b, 0)),
        BlockType::BF16 => blocks.for_each(|(b, out)| out[0] = bf16::from_le_bytes([b[0], b[1]]).to_f32()),
        BlockType::Q4_0 => blocks.for_each(|(b, out)| {
            let d = half_at(b, 0);
            nibbles(&b[2..18], |j, q| out[j] = (f32::from(q) - 8.0) * d);
        }),
        BlockType::Q4_1 => blocks.for_each(|(b, out)| {
            let (d, m) = (half_at(b, 0), half_at(b, 2));
            nibbles(&b[4..20], |j, q| out[j] = f32::from(q) * d + m);
        }),
        BlockType::Q5_0 => blocks.for_each(|(b, out)| {
            let (d, fifth) = (half_at(b, 0), word_at(b, 2));
            nibbles(&b[6..22], |j, q| out[j] = (f32::from(q | fifth_bit(fifth, j)) - 16.0) * d);
        }),
        BlockType::Q5_1 => blocks.for_each(|(b, out)| {
            let (d, m, fifth) = (half_at(b, 0), half_at(b, 2), word_at(b, 4));
            nibbles(&b[8..24], |j, q| out[j] = f32::from(q | fifth_bit(fifth, j)) * d + m);
        }),
        BlockType::Q8_0 => blocks.for_each(|(b, out)| {
            let d = half_at(b, 0);
            for (out, &q) in out.iter_mut().zip(&b[2..34]) {
                *out = f32::from(q as i8) * d;
            }
        }),
        BlockType::Q4_K => blocks.for_each(|(b, out)| q4_k(b, out)),
        BlockType::Q5_K => blocks.for_each(|(b, out)| q5_k(b, out)),
        BlockType::Q6_K => blocks.for_each(|(b, out)| q6_k(b, out)),
    }
}

fn q4_k(b: &[u8], out: &mut [f32]) {
    let (d, m) = (half_at(b, 0), half_at(b, 2));
    for (pair, (packed, out)) in b[16..144].chunks_exact(32).zip(out.chunks_exact_mut(64)).enumerate() {
        let (low, high) = out.split_at_mut(32);
        for (half, out) in [low, high].into_iter().enumerate() {
            let (scale, min) = scale_and_min(&b[4..16], 2 * pair + half);
            let (scale, min) = (d * f32::from(scale), m * f32::from(min));
            for (out, &byte) in out.iter_mut().zip(packed) {
                *out = scale * f32::from((byte >> (4 * half)) & 15) - min;
            }
        }
    }
}

fn q5_k(b: &[u8], out: &mut [f32]) {
    let (d, m) = (half_at(b, 0), half_at(b, 2));
    let fifth = &b[16..48];
    for (pair, (packed, out)) in b[48..176].chunks_exact(32).zip(out.chunks_exact_mut(64)).enumerate() {
        let (low, high) = out.split_at_mut(32);
        for (half, out) in [low, high].into_iter().enumerate() {
            let sub_block = 2 * pair + half;
            let (scale, min) = scale_and_min(&b[4..16], sub_block);
            let (scale, min) = (d * f32::from(scale), m * f32::from(min));
            for ((out, &byte), &fifth) in out.iter_mut().zip(packed).zip(fifth) {
                let q = ((byte >> (4 * half)) & 15) | (((fifth >> sub_block) & 1) << 4);
                *out = scale * f32::from(q) - min;
            }
        }
    }
}

fn q6_k(b: &[u8], out: &mut [f32]) {
    let (low, high, scales) = (&b[..128], &b[128..192], &b[192..208]);
    let d = half_at(b, 208);
    for (half, out) in out.chunks_exact_mut(128).enumerate() {
        let (low, high, scales) = (&low[64 * half..], &high[32 * half..], &scales[8 * half..]);
        for (j, out) in out.iter_mut().enumerate() {
            let (quarter, lane) = (j / 32, j % 32);
            let nibble = (low[32 * (quarter % 2) + lane] >> (4 * (quarter / 2))) & 15;
            let q = nibble | (((high[lane] >> (2 * quarter)) & 3) << 4);
            *out = d * f32::from(scales[j / 16] as i8) * (f32::from(q) - 32.0);
        }
    }
}

/// The 6-bit scale and min of sub-block `j` (0 to 7) of a `Q4_K` or `Q5_K` block, from its 12 bytes.
pub(crate) fn scale_and_min(packed: &[u8], j: usize) -> (u8, u8) {
    if j < 4 {
        (packed[j] & 63, packed[j + 4] & 63)
    } else {
        let scale = (packed[j + 4] & 15) | ((packed[j - 4] >> 6) << 4);
        let min = (packed[j + 4] >> 4) | ((packed[j] >> 6) << 4);
        (scale, min)
    }
}

/// Calls `put(place, nibble)` for the 32 nibbles of a block.
fn nibbles(bytes: &[u8], mut put: impl FnMut(usize, u8)) {
    for (j, &byte) in bytes.iter().enumerate() {
        put(j, byte & 15);
        put(j + 16, byte >> 4);
    }
}

fn fifth_bit(bits: u32, j: usize) -> u8 {
    (((bits >> j) & 1) << 4) as u8
}

pub(crate) fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

fn word_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
#[path = "block/tests.rs"]
mod tests;
