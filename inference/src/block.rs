//! The block layouts in which GGUF files store tensors, and what they mean.
//!
//! All layouts are those of ggml (`ggml-common.h`), little-endian. A row of a tensor is a whole number of blocks; a block
//! holds 32, 64 or 256 values that share scales. In the table, `d` and `m` are f16, `q` is what is stored, and `s` and `n`
//! are a scale and a min for 16 or 32 values, within the block.
//!
//! | type | values | bytes | layout | value |
//! |---|---|---|---|---|
//! | `F32`, `F16`, `BF16` | 1 | 4, 2, 2 | | |
//! | `Q4_0` | 32 | 18 | d, 16 × two nibbles | d (q − 8) |
//! | `Q4_1` | 32 | 20 | d, m, 16 × two nibbles | d q + m |
//! | `Q5_0` | 32 | 22 | d, 32 fifth bits, 16 × two nibbles | d (q − 16) |
//! | `Q5_1` | 32 | 24 | d, m, 32 fifth bits, 16 × two nibbles | d q + m |
//! | `Q8_0` | 32 | 34 | d, 32 × i8 | d q |
//! | `Q2_K` | 256 | 84 | 16 × (s, n) of 4 bits, 64 × four bit pairs, d, m | d s q − m n |
//! | `Q3_K` | 256 | 110 | 256 third bits, 64 × four bit pairs, 16 × s of 6 bits, d | d (s − 32) (q − 4) |
//! | `Q4_K` | 256 | 144 | d, m, 8 × (s, n) of 6 bits, 128 × two nibbles | d s q − m n |
//! | `Q5_K` | 256 | 176 | as `Q4_K`, with 256 fifth bits before the nibbles | d s q − m n |
//! | `Q6_K` | 256 | 210 | 128 × two nibbles, 64 × four bit pairs, 16 × s of 8 bits, d | d s (q − 32) |
//! | `IQ4_NL` | 32 | 18 | d, 16 × two nibbles | d table\[q\] |
//! | `IQ4_XS` | 256 | 136 | d, 8 × s of 6 bits, 128 × two nibbles | d (s − 32) table\[q\] |
//! | `IQ2_XXS`, `IQ2_XS`, `IQ2_S` | 256 | 66, 74, 82 | d, points of 8 values, signs, s of 4 bits | ± d (2 s + 1) / 8 grid |
//! | `IQ3_XXS` | 256 | 98 | d, points of 4 values, signs, s of 4 bits | ± d (2 s + 1) / 4 grid |
//! | `IQ3_S` | 256 | 110 | d, points of 4 values, signs, s of 4 bits | ± d (2 s + 1) grid |
//! | `IQ1_S`, `IQ1_M` | 256 | 50, 56 | d, points of 8 values, signs of shifts, s of 3 bits | d (2 s + 1) (grid ± 1/8) |
//! | `TQ1_0`, `TQ2_0` | 256 | 54, 66 | 5 or 4 values a byte, d | d (q − 1) |
//! | `MXFP4` | 32 | 17 | s as a power of two, 16 × two nibbles | s e2m1\[q\] |
//! | `NVFP4` | 64 | 36 | 4 × s as a float of 8 bits, 32 × two nibbles | s e2m1\[q\] |
//!
//! Of the two nibbles in byte `j` of a block of 32, the low one is value `j` and the high one is value `j + 16`.
//!
//! Whatever is not a float by itself comes apart as small integers with scales, 32 values at a time; both [`dequantize`]
//! and the packing of weights build on that. `Q8_1` and `Q8_K` are for activations and do not stand in files.

mod fp4;
mod grids;
mod iq;
mod k;
mod legacy;
mod ternary;
pub(crate) mod words;

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
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    IQ2_XXS,
    IQ2_XS,
    IQ3_XXS,
    IQ1_S,
    IQ4_NL,
    IQ3_S,
    IQ2_S,
    IQ4_XS,
    IQ1_M,
    BF16,
    TQ1_0,
    TQ2_0,
    MXFP4,
    NVFP4,
}

/// What the format says about a type.
struct Layout {
    name: &'static str,
    id: u32,
    block_len: usize,
    block_bytes: usize,
}

/// The most values that a block holds.
pub const MAX_BLOCK_LEN: usize = 256;

/// Values that come apart together. Every block is a whole number of them, but for those of the floats.
pub(crate) const SUB_BLOCK: usize = 32;

impl BlockType {
    /// Every type that can be computed with.
    pub const ALL: [BlockType; 26] = [
        BlockType::F32,
        BlockType::F16,
        BlockType::Q4_0,
        BlockType::Q4_1,
        BlockType::Q5_0,
        BlockType::Q5_1,
        BlockType::Q8_0,
        BlockType::Q2_K,
        BlockType::Q3_K,
        BlockType::Q4_K,
        BlockType::Q5_K,
        BlockType::Q6_K,
        BlockType::IQ2_XXS,
        BlockType::IQ2_XS,
        BlockType::IQ3_XXS,
        BlockType::IQ1_S,
        BlockType::IQ4_NL,
        BlockType::IQ3_S,
        BlockType::IQ2_S,
        BlockType::IQ4_XS,
        BlockType::IQ1_M,
        BlockType::BF16,
        BlockType::TQ1_0,
        BlockType::TQ2_0,
        BlockType::MXFP4,
        BlockType::NVFP4,
    ];

    /// The type with this id in a GGUF file, if it is one that can be computed with.
    pub fn from_id(id: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|block_type| block_type.id() == id)
    }

    /// The type's id in a GGUF file.
    pub const fn id(self) -> u32 {
        self.layout().id
    }

    /// The format's name of the type.
    pub const fn name(self) -> &'static str {
        self.layout().name
    }

    /// Values in a block.
    pub const fn block_len(self) -> usize {
        self.layout().block_len
    }

    /// Bytes of a block.
    pub const fn block_bytes(self) -> usize {
        self.layout().block_bytes
    }

    /// Bytes of `len` values; `len` must be a multiple of the block's length.
    pub const fn bytes_of(self, len: usize) -> usize {
        len / self.block_len() * self.block_bytes()
    }

    const fn layout(self) -> Layout {
        let (name, id, block_len, block_bytes) = match self {
            Self::F32 => ("F32", 0, 1, 4),
            Self::F16 => ("F16", 1, 1, 2),
            Self::Q4_0 => ("Q4_0", 2, 32, 18),
            Self::Q4_1 => ("Q4_1", 3, 32, 20),
            Self::Q5_0 => ("Q5_0", 6, 32, 22),
            Self::Q5_1 => ("Q5_1", 7, 32, 24),
            Self::Q8_0 => ("Q8_0", 8, 32, 34),
            Self::Q2_K => ("Q2_K", 10, 256, 84),
            Self::Q3_K => ("Q3_K", 11, 256, 110),
            Self::Q4_K => ("Q4_K", 12, 256, 144),
            Self::Q5_K => ("Q5_K", 13, 256, 176),
            Self::Q6_K => ("Q6_K", 14, 256, 210),
            Self::IQ2_XXS => ("IQ2_XXS", 16, 256, 66),
            Self::IQ2_XS => ("IQ2_XS", 17, 256, 74),
            Self::IQ3_XXS => ("IQ3_XXS", 18, 256, 98),
            Self::IQ1_S => ("IQ1_S", 19, 256, 50),
            Self::IQ4_NL => ("IQ4_NL", 20, 32, 18),
            Self::IQ3_S => ("IQ3_S", 21, 256, 110),
            Self::IQ2_S => ("IQ2_S", 22, 256, 82),
            Self::IQ4_XS => ("IQ4_XS", 23, 256, 136),
            Self::IQ1_M => ("IQ1_M", 29, 256, 56),
            Self::BF16 => ("BF16", 30, 1, 2),
            Self::TQ1_0 => ("TQ1_0", 34, 256, 54),
            Self::TQ2_0 => ("TQ2_0", 35, 256, 66),
            Self::MXFP4 => ("MXFP4", 39, 32, 17),
            Self::NVFP4 => ("NVFP4", 40, 64, 36),
        };
        Layout { name, id, block_len, block_bytes }
    }

    /// A name for any type id, known or not, for messages.
    pub(crate) fn describe(id: u32) -> String {
        let other = match id {
            4 | 5 | 31..=33 | 36..=38 => "a type that ggml has given up",
            9 => "Q8_1",
            15 => "Q8_K",
            24 => "I8",
            25 => "I16",
            26 => "I32",
            27 => "I64",
            28 => "F64",
            41 => "Q1_0",
            _ => "an unknown type",
        };
        format!("{} (type id {id})", Self::from_id(id).map_or(other, Self::name))
    }

    /// The names of all types that can be computed with.
    pub(crate) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

/// 32 stored values as small integers with scales: `value = scale × q + min`, in f32 and in this order.
pub(crate) struct Codes {
    /// The integers.
    pub(crate) q: [i8; SUB_BLOCK],
    /// One for each 16 values.
    pub(crate) scales: [f32; 2],
    /// What is added to each 16 values, in the types that have such.
    pub(crate) mins: Option<[f32; 2]>,
}

impl Codes {
    fn new(q: [i8; SUB_BLOCK], scales: [f32; 2]) -> Self {
        Self { q, scales, mins: None }
    }

    fn with_mins(self, mins: [f32; 2]) -> Self {
        Self { mins: Some(mins), ..self }
    }

    /// The `part`-th 32 values of a stored block.
    ///
    /// # Panics
    /// For the types that are floats, and if `block` is no block of the type or has no such part.
    #[inline]
    pub(crate) fn of(block_type: BlockType, block: &[u8], part: usize) -> Self {
        assert_eq!(block.len(), block_type.block_bytes(), "one block");
        assert!(part * SUB_BLOCK < block_type.block_len(), "part {part} of a block");
        match block_type {
            BlockType::Q4_0 => legacy::q4_0(block),
            BlockType::Q4_1 => legacy::q4_1(block),
            BlockType::Q5_0 => legacy::q5_0(block),
            BlockType::Q5_1 => legacy::q5_1(block),
            BlockType::Q8_0 => legacy::q8_0(block),
            BlockType::Q2_K => k::q2_k(block, part),
            BlockType::Q3_K => k::q3_k(block, part),
            BlockType::Q4_K => k::q4_k(block, part),
            BlockType::Q5_K => k::q5_k(block, part),
            BlockType::Q6_K => k::q6_k(block, part),
            BlockType::IQ2_XXS => iq::iq2_xxs(block, part),
            BlockType::IQ2_XS => iq::iq2_xs(block, part),
            BlockType::IQ2_S => iq::iq2_s(block, part),
            BlockType::IQ3_XXS => iq::iq3_xxs(block, part),
            BlockType::IQ3_S => iq::iq3_s(block, part),
            BlockType::IQ1_S => iq::iq1_s(block, part),
            BlockType::IQ1_M => iq::iq1_m(block, part),
            BlockType::IQ4_NL => iq::iq4_nl(block),
            BlockType::IQ4_XS => iq::iq4_xs(block, part),
            BlockType::TQ1_0 => ternary::tq1_0(block, part),
            BlockType::TQ2_0 => ternary::tq2_0(block, part),
            BlockType::MXFP4 => fp4::mxfp4(block),
            BlockType::NVFP4 => fp4::nvfp4(block, part),
            BlockType::F32 | BlockType::F16 | BlockType::BF16 => unreachable!("floats have no codes"),
        }
    }

    fn expand(&self, out: &mut [f32]) {
        for (j, (out, &q)) in out.iter_mut().zip(&self.q).enumerate() {
            let half = j / (SUB_BLOCK / 2);
            *out = self.scales[half] * f32::from(q);
            if let Some(mins) = self.mins {
                *out += mins[half];
            }
        }
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
        _ => blocks.for_each(|(b, out)| {
            for (part, out) in out.chunks_exact_mut(SUB_BLOCK).enumerate() {
                Codes::of(block_type, b, part).expand(out);
            }
        }),
    }
}

/// The 32 nibbles of 16 bytes.
fn nibbles(bytes: &[u8]) -> [u8; SUB_BLOCK] {
    let bytes = bytes.first_chunk::<16>().expect("16 bytes");
    std::array::from_fn(|j| (bytes[j % 16] >> (j / 16 * 4)) & 15)
}

/// The `part`-th 32 of 256 bit pairs in 64 bytes: four of them share 32 bytes.
fn pairs(bytes: &[u8], part: usize) -> [u8; SUB_BLOCK] {
    let bytes = &bytes[part / 4 * SUB_BLOCK..][..SUB_BLOCK];
    std::array::from_fn(|j| (bytes[j] >> (part % 4 * 2)) & 3)
}

#[inline]
fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_bits(short_at(bytes, at)).to_f32()
}

#[inline]
fn short_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

#[inline]
fn word_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
#[path = "block/tests.rs"]
pub(crate) mod tests;
