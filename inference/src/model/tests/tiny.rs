//! Small models with random weights, as files.

use std::collections::BTreeMap;

use super::load;
use crate::block::{BlockType, dequantize};
use crate::error::LoadError;
use crate::gguf::writer::Writer;
use crate::kernel::Isa;
use crate::kernel::tests::Noise;
use crate::model::Model;

pub(super) const VOCABULARY: usize = 40;
pub(super) const WIDTH: usize = 256;
pub(super) const HIDDEN: usize = 512;
pub(super) const HEADS: usize = 4;
pub(super) const HEAD_DIM: usize = 64;

/// A small model under construction: metadata, and tensors as stored.
#[derive(Clone)]
pub(crate) struct Tiny {
    pub(super) numbers: BTreeMap<String, u32>,
    pub(super) floats: BTreeMap<String, f32>,
    pub(super) texts: BTreeMap<String, String>,
    pub(super) tensors: BTreeMap<String, (BlockType, Vec<u64>, Vec<u8>)>,
}

impl Tiny {
    /// A file without tensors, of a family of which nothing else is known.
    pub(super) fn empty(architecture: &str) -> Self {
        let mut tiny = Self {
            numbers: BTreeMap::new(),
            floats: BTreeMap::new(),
            texts: BTreeMap::new(),
            tensors: BTreeMap::new(),
        };
        tiny.text("general.architecture", architecture);
        tiny.text("tokenizer.ggml.model", "gpt2");
        tiny.text("tokenizer.ggml.pre", "smollm");
        tiny
    }

    /// A llama of two layers.
    pub(crate) fn new(block_type: BlockType, kv_heads: usize) -> Self {
        let mut tiny = Self::empty("llama");
        for (key, value) in [
            ("llama.block_count", 2),
            ("llama.context_length", 256),
            ("llama.embedding_length", WIDTH),
            ("llama.feed_forward_length", HIDDEN),
            ("llama.attention.head_count", HEADS),
            ("llama.attention.head_count_kv", kv_heads),
        ] {
            tiny.number(key, value as u32);
        }
        tiny.float("llama.attention.layer_norm_rms_epsilon", 1e-5);
        let mut noise = Noise(11);
        let kv = kv_heads * HEAD_DIM;
        tiny.add(&mut noise, "token_embd.weight", block_type, &[WIDTH, VOCABULARY]);
        tiny.add(&mut noise, "output_norm.weight", BlockType::F32, &[WIDTH]);
        for layer in 0..2 {
            for (name, shape) in [
                ("attn_q", [WIDTH, WIDTH]),
                ("attn_k", [WIDTH, kv]),
                ("attn_v", [WIDTH, kv]),
                ("attn_output", [WIDTH, WIDTH]),
                ("ffn_gate", [WIDTH, HIDDEN]),
                ("ffn_up", [WIDTH, HIDDEN]),
                ("ffn_down", [HIDDEN, WIDTH]),
            ] {
                tiny.add(&mut noise, &format!("blk.{layer}.{name}.weight"), block_type, &shape);
            }
            for name in ["attn_norm", "ffn_norm"] {
                tiny.add(&mut noise, &format!("blk.{layer}.{name}.weight"), BlockType::F32, &[WIDTH]);
            }
        }
        tiny
    }

    pub(crate) fn number(&mut self, key: &str, value: u32) {
        self.numbers.insert(key.to_owned(), value);
    }

    pub(super) fn float(&mut self, key: &str, value: f32) {
        self.floats.insert(key.to_owned(), value);
    }

    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.texts.insert(key.to_owned(), value.to_owned());
    }

    /// Says that it was trained for so many positions.
    pub(crate) fn with_context(mut self, positions: u32) -> Self {
        self.number("llama.context_length", positions);
        self
    }

    /// Makes the embedding of a token, which is of floats, no numbers.
    pub(crate) fn with_broken_token(mut self, token: usize) -> Self {
        let (block_type, _, bytes) = self.tensors.get_mut("token_embd.weight").expect("every model has it");
        assert_eq!(*block_type, BlockType::F32);
        bytes[token * WIDTH * 4..][..WIDTH * 4].copy_from_slice(&f32::NAN.to_le_bytes().repeat(WIDTH));
        self
    }

    pub(super) fn add(&mut self, noise: &mut Noise, name: &str, block_type: BlockType, dimensions: &[usize]) {
        let bytes = noise.blocks(block_type, dimensions.iter().product());
        let dimensions = dimensions.iter().map(|&dimension| dimension as u64).collect();
        self.tensors.insert(name.to_owned(), (block_type, dimensions, bytes));
    }

    pub(super) fn file(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        for (key, &value) in &self.numbers {
            writer = writer.u32(key, value);
        }
        for (key, &value) in &self.floats {
            writer = writer.f32(key, value);
        }
        for (key, value) in &self.texts {
            writer = writer.str(key, value);
        }
        let tokens: Vec<String> =
            (0..VOCABULARY as u32).map(|id| char::from_u32('A' as u32 + id).unwrap().to_string()).collect();
        writer = writer.strs("tokenizer.ggml.tokens", &tokens);
        for (name, (block_type, dimensions, bytes)) in &self.tensors {
            writer = writer.tensor(name, block_type.id(), dimensions, bytes);
        }
        writer.finish()
    }

    pub(crate) fn load(&self, isa: Isa) -> Result<Model, LoadError> {
        load(self.file(), isa)
    }

    pub(super) fn values(&self, name: &str) -> Option<Vec<f64>> {
        let (block_type, dimensions, bytes) = self.tensors.get(name)?;
        let mut values = vec![0.0; dimensions.iter().product::<u64>() as usize];
        dequantize(*block_type, bytes, &mut values);
        Some(values.into_iter().map(f64::from).collect())
    }
}
