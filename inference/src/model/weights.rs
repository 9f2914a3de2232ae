//! A model's weights, packed, with every shape checked.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::config::Config;
use super::rope::{Frequencies, Rope};
use crate::block::{self, BlockType};
use crate::error::{LoadError, shown};
use crate::gguf::{Gguf, TensorInfo};
use crate::kernel::{Arena, Isa, Settling};
use crate::pack::Packed;

/// A matrix, and what is added to its product.
pub struct Linear {
    /// `[output][input]`.
    pub weights: Packed,
    /// `[output]`.
    pub bias: Option<Vec<f32>>,
}

/// The weights of one layer.
pub struct Layer {
    /// `[width]`.
    pub attention_norm: Vec<f32>,
    /// `[heads × head_dim][width]`.
    pub query: Linear,
    /// `[kv_heads × head_dim][width]`.
    pub key: Linear,
    /// `[kv_heads × head_dim][width]`.
    pub value: Linear,
    /// `[head_dim]`, where the heads of queries are normed.
    pub query_norm: Option<Vec<f32>>,
    /// `[head_dim]`, where the heads of keys are normed.
    pub key_norm: Option<Vec<f32>>,
    /// `[width][heads × head_dim]`.
    pub attention_output: Linear,
    /// `[width]`, where what attention gives is normed.
    pub post_attention_norm: Option<Vec<f32>>,
    /// `[width]`.
    pub feed_forward_norm: Vec<f32>,
    /// `[hidden][width]`.
    pub gate: Linear,
    /// `[hidden][width]`.
    pub up: Linear,
    /// `[width][hidden]`.
    pub down: Linear,
    /// `[width]`, where what the feed-forward part gives is normed.
    pub post_feed_forward_norm: Option<Vec<f32>>,
}

/// All weights.
pub struct Weights {
    /// `[vocabulary][width]`; also the output matrix if there is no other.
    pub embedding: Packed,
    /// In order.
    pub layers: Vec<Layer>,
    /// `[width]`.
    pub output_norm: Vec<f32>,
    /// `[vocabulary][width]`, if the model does not use the embedding for it.
    pub output: Option<Packed>,
    /// The rotary frequencies of each of [`Config::ropes`].
    pub ropes: Vec<Frequencies>,
    /// Makes large pages of the matrices' memory, where that was not to be had in time.
    settling: Option<Settling>,
}

impl Weights {
    /// Packs the weights, with all threads of the current rayon pool, for sequences of at most `context` tokens, as kernels for
    /// `isa` want them.
    ///
    /// # Errors
    /// [`LoadError::MissingTensor`] and [`LoadError::TensorShape`]; [`LoadError::LayerBeyond`] and
    /// [`LoadError::UnknownTensor`] for what would be left unused: a model that lacks a part of itself answers nonsense.
    pub fn load(gguf: &Gguf, config: &Config, context: usize, isa: Isa) -> Result<Self, LoadError> {
        refuse_layers_beyond(gguf, config.layers.len())?;
        let source = Source::new(gguf, isa);
        let embedding_info = source.tensor("token_embd.weight")?;
        let vocabulary = *embedding_info.dimensions.get(1).unwrap_or(&0) as usize;
        let ends = || -> Result<_, LoadError> {
            let embedding = source.matrix("token_embd.weight", vocabulary, config.width)?;
            let has_output = gguf.tensor("output.weight").is_some();
            let output = has_output.then(|| source.matrix("output.weight", vocabulary, config.width)).transpose()?;
            Ok((embedding, output))
        };
        // Side by side: a layer's small matrices alone would leave threads idle. Errors come in the layers' order.
        let layers = || -> Vec<_> {
            (0..config.layers.len()).into_par_iter().map(|index| source.layer(config, index)).collect()
        };
        let (ends, layers) = rayon::join(ends, layers);
        let (embedding, output) = ends?;
        let layers = layers.into_iter().collect::<Result<_, _>>()?;
        let divisors = source.rope_divisors(config, context)?;
        // A rope of local layers is never stretched.
        let of_rope = |(index, rope): (usize, &Rope)| {
            rope.frequencies(config.rope_dims, divisors.as_deref().filter(|_| index == 0))
        };
        let output_norm = source.vector("output_norm.weight", config.width)?;
        source.refuse_unused(config)?;
        let ropes = config.ropes.iter().enumerate().map(of_rope).collect();
        Ok(Self { embedding, layers, output_norm, output, ropes, settling: source.arena.settle() })
    }

    /// Waits until memory is as it will stay.
    pub(crate) fn settle(&self) {
        self.settling.iter().for_each(Settling::wait);
    }

    /// The output matrix.
    pub fn head(&self) -> &Packed {
        self.output.as_ref().unwrap_or(&self.embedding)
    }

    /// Tokens in the vocabulary.
    pub fn vocabulary(&self) -> usize {
        self.embedding.rows
    }
}

/// Refuses a file that has more layers than its metadata announce.
fn refuse_layers_beyond(gguf: &Gguf, layers: usize) -> Result<(), LoadError> {
    let layer_of = |name: &str| name.strip_prefix("blk.")?.split('.').next()?.parse::<usize>().ok();
    let beyond =
        gguf.tensors().map(|(name, _)| name).filter(|name| layer_of(name).is_some_and(|layer| layer >= layers));
    match beyond.min() {
        Some(tensor) => Err(LoadError::LayerBeyond { tensor: shown(tensor), layers }),
        None => Ok(()),
    }
}

/// Bytes of address space that matrices take at a time: many large pages.
const ARENA_BYTES: usize = 32 << 20;

/// Weights of an output matrix from which on it is split. A smaller one comes from the caches so fast that to search it takes as
/// long as to multiply it: one of 28 million weights does (`SmolLM2`'s), one of 168 million does not (Gemma 3's).
const SPLIT_FROM: u64 = 1 << 26;

/// The name of the output matrix.
fn head_name(gguf: &Gguf) -> &'static str {
    if gguf.tensor("output.weight").is_some() { "output.weight" } else { "token_embd.weight" }
}

/// Whether a matrix is packed split: to be searched, if it is the output matrix.
fn is_split(gguf: &Gguf, isa: Isa, name: &str, info: &TensorInfo) -> bool {
    isa.searches() && name == head_name(gguf) && info.block_type == BlockType::Q8_0 && info.elements() >= SPLIT_FROM
}

/// The file, and which of its tensors have been asked for.
struct Source<'a> {
    gguf: &'a Gguf,
    isa: Isa,
    used: Mutex<HashSet<&'a str>>,
    /// For all matrices.
    arena: Arena,
}

impl<'a> Source<'a> {
    fn new(gguf: &'a Gguf, isa: Isa) -> Self {
        let matrices = gguf.tensors().filter_map(|(name, info)| {
            let [columns, rows] = info.dimensions[..] else { return None };
            let (rows, columns) = (rows as usize, columns as usize);
            let more = if is_split(gguf, isa, name, info) { Packed::split_bytes(rows, columns) } else { 0 };
            Some(Packed::bytes_of(info.block_type, rows, columns).saturating_add(more))
        });
        // A file whose few rows make full groups may need more; it gets it when its shapes have been checked.
        let most = usize::try_from(gguf.file_bytes()).unwrap_or(usize::MAX).saturating_mul(2);
        let room = matrices.fold(0, usize::saturating_add).min(most);
        Self { gguf, isa, used: Mutex::default(), arena: Arena::with_room(room, ARENA_BYTES) }
    }

    fn layer(&self, config: &Config, index: usize) -> Result<Layer, LoadError> {
        let (width, family) = (config.width, config.architecture);
        let (queries, kv, hidden) = (config.query_width(), config.kv_width(), config.hidden);
        let name = |part: &str| format!("blk.{index}.{part}");
        let vector = |part: &str, len| self.vector(&name(part), len);
        let vector_if = |there: bool, part: &str, len| there.then(|| vector(part, len)).transpose();
        let [query, key, value] = if family.fuses() {
            self.fused(&name("attn_qkv"), [queries, kv, kv], width)?
        } else {
            self.apart([(name("attn_q"), queries), (name("attn_k"), kv), (name("attn_v"), kv)], width)?
        };
        let [gate, up] = if family.fuses() {
            self.fused(&name("ffn_up"), [hidden, hidden], width)?
        } else {
            self.apart([(name("ffn_gate"), hidden), (name("ffn_up"), hidden)], width)?
        };
        let [attention_output] = self.apart([(name("attn_output"), width)], queries)?;
        let [down] = self.apart([(name("ffn_down"), width)], hidden)?;
        Ok(Layer {
            attention_norm: vector("attn_norm.weight", width)?,
            query,
            key,
            value,
            query_norm: vector_if(family.norms_heads(), "attn_q_norm.weight", config.head_dim)?,
            key_norm: vector_if(family.norms_heads(), "attn_k_norm.weight", config.head_dim)?,
            attention_output,
            post_attention_norm: vector_if(family.norms_after(), "post_attention_norm.weight", width)?,
            feed_forward_norm: vector("ffn_norm.weight", width)?,
            gate,
            up,
            down,
            post_feed_forward_norm: vector_if(family.norms_after(), "post_ffw_norm.weight", width)?,
        })
    }

    /// Matrices that stand in the file each by itself: name and rows.
    fn apart<const N: usize>(&self, parts: [(String, usize); N], columns: usize) -> Result<[Linear; N], LoadError> {
        let mut linears = Vec::with_capacity(N);
        for (name, rows) in parts {
            let [linear] = self.fused(&name, [rows], columns)?;
            linears.push(linear);
        }
        Ok(linears.try_into().unwrap_or_else(|_| unreachable!("there is one for each part")))
    }

    /// Matrices that stand in the file as one, below each other.
    fn fused<const N: usize>(&self, name: &str, rows: [usize; N], columns: usize) -> Result<[Linear; N], LoadError> {
        let all = rows.iter().sum();
        let info = self.shaped(&format!("{name}.weight"), &[columns as u64, all as u64])?;
        let bias = format!("{name}.bias");
        let bias = self.gguf.tensor(&bias).map(|_| self.vector(&bias, all)).transpose()?;
        let (bytes, row_bytes) = (self.gguf.data(info), info.block_type.bytes_of(columns));
        let mut from = 0;
        Ok(rows.map(|rows| {
            let part = from..from + rows;
            from = part.end;
            let of_part = &bytes[part.start * row_bytes..part.end * row_bytes];
            Linear {
                weights: Packed::new_in(&self.arena, info.block_type, rows, columns, of_part),
                bias: bias.as_ref().map(|bias| bias[part].to_vec()),
            }
        }))
    }

    fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<Packed, LoadError> {
        let info = self.shaped(name, &[columns as u64, rows as u64])?;
        let split = is_split(self.gguf, self.isa, name, info);
        let pack = if split { Packed::split_in } else { Packed::new_in };
        Ok(pack(&self.arena, info.block_type, rows, columns, self.gguf.data(info)))
    }

    fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        let info = self.shaped(name, &[len as u64])?;
        let mut values = vec![0.0; len];
        block::dequantize(info.block_type, self.gguf.data(info), &mut values);
        Ok(values)
    }

    /// What each rotary frequency is divided by: `[rope_dims / 2]`, where the file has such. Llama 3's are one list;
    /// of `LongRoPE`'s two (Ding et al., 2024) the long one is for contexts beyond the original.
    fn rope_divisors(&self, config: &Config, context: usize) -> Result<Option<Vec<f32>>, LoadError> {
        let of_length = if context > config.ropes[0].original_context {
            "rope_factors_long.weight"
        } else {
            "rope_factors_short.weight"
        };
        let name = ["rope_freqs.weight", of_length].into_iter().find(|name| self.gguf.tensor(name).is_some());
        name.map(|name| self.vector(name, config.rope_dims / 2)).transpose()
    }

    /// Refuses a file with tensors that nothing asked for. Of the two lists of `LongRoPE` one is always left.
    fn refuse_unused(&self, config: &Config) -> Result<(), LoadError> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let is_unused = |name: &&str| !used.contains(name) && !name.starts_with("rope_factors_");
        match self.gguf.tensors().map(|(name, _)| name).filter(is_unused).min() {
            Some(tensor) => {
                Err(LoadError::UnknownTensor { tensor: shown(tensor), architecture: config.architecture.name() })
            }
            None => Ok(()),
        }
    }

    fn shaped(&self, name: &str, expected: &[u64]) -> Result<&'a TensorInfo, LoadError> {
        let info = self.tensor(name)?;
        if info.dimensions == expected {
            Ok(info)
        } else {
            let (expected, seen) = (expected.to_vec(), info.dimensions.clone());
            Err(LoadError::TensorShape { tensor: name.to_owned(), expected, seen })
        }
    }

    fn tensor(&self, name: &str) -> Result<&'a TensorInfo, LoadError> {
        let (name, info) =
            self.gguf.tensor_entry(name).ok_or_else(|| LoadError::MissingTensor { tensor: name.to_owned() })?;
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
        Ok(info)
    }
}
