//! A model's weights, packed, with every shape checked.

use super::config::Config;
use crate::block;
use crate::error::LoadError;
use crate::gguf::{Gguf, TensorInfo};
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
    /// `[width][heads × head_dim]`.
    pub attention_output: Linear,
    /// `[width]`.
    pub feed_forward_norm: Vec<f32>,
    /// `[hidden][width]`.
    pub gate: Linear,
    /// `[hidden][width]`.
    pub up: Linear,
    /// `[width][hidden]`.
    pub down: Linear,
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
    /// What each rotary frequency is divided by: `[rope_dims / 2]`.
    pub rope_divisors: Option<Vec<f32>>,
}

impl Weights {
    /// Packs the weights, with all threads of the current rayon pool.
    ///
    /// # Errors
    /// [`LoadError::MissingTensor`] and [`LoadError::TensorShape`].
    pub fn load(gguf: &Gguf, config: &Config) -> Result<Self, LoadError> {
        let source = Source { gguf };
        let embedding_info = source.tensor("token_embd.weight")?;
        let vocabulary = *embedding_info.dimensions.get(1).unwrap_or(&0) as usize;
        let embedding = source.matrix("token_embd.weight", vocabulary, config.width)?;
        let output = match gguf.tensor("output.weight") {
            Some(_) => Some(source.matrix("output.weight", vocabulary, config.width)?),
            None => None,
        };
        let rope_divisors = match gguf.tensor("rope_freqs.weight") {
            Some(_) => Some(source.vector("rope_freqs.weight", config.rope_dims / 2)?),
            None => None,
        };
        let layers = (0..config.layers).map(|index| source.layer(config, index)).collect::<Result<_, _>>()?;
        Ok(Self {
            embedding,
            layers,
            output_norm: source.vector("output_norm.weight", config.width)?,
            output,
            rope_divisors,
        })
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

struct Source<'a> {
    gguf: &'a Gguf,
}

impl Source<'_> {
    fn layer(&self, config: &Config, index: usize) -> Result<Layer, LoadError> {
        let Config { width, hidden, .. } = *config;
        let (queries, kv) = (config.query_width(), config.kv_width());
        let name = |part: &str| format!("blk.{index}.{part}");
        let linear = |part: &str, rows, columns| self.linear(&name(part), rows, columns);
        Ok(Layer {
            attention_norm: self.vector(&name("attn_norm.weight"), width)?,
            query: linear("attn_q", queries, width)?,
            key: linear("attn_k", kv, width)?,
            value: linear("attn_v", kv, width)?,
            attention_output: linear("attn_output", width, queries)?,
            feed_forward_norm: self.vector(&name("ffn_norm.weight"), width)?,
            gate: linear("ffn_gate", hidden, width)?,
            up: linear("ffn_up", hidden, width)?,
            down: linear("ffn_down", width, hidden)?,
        })
    }

    fn linear(&self, name: &str, rows: usize, columns: usize) -> Result<Linear, LoadError> {
        let bias = format!("{name}.bias");
        Ok(Linear {
            weights: self.matrix(&format!("{name}.weight"), rows, columns)?,
            bias: if self.gguf.tensor(&bias).is_some() { Some(self.vector(&bias, rows)?) } else { None },
        })
    }

    fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<Packed, LoadError> {
        let info = self.shaped(name, &[columns as u64, rows as u64])?;
        Ok(Packed::new(info.block_type, rows, columns, self.gguf.data(info)))
    }

    fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        let info = self.shaped(name, &[len as u64])?;
        let mut values = vec![0.0; len];
        block::dequantize(info.block_type, self.gguf.data(info), &mut values);
        Ok(values)
    }

    fn shaped(&self, name: &str, expected: &[u64]) -> Result<&TensorInfo, LoadError> {
        let info = self.tensor(name)?;
        if info.dimensions == expected {
            Ok(info)
        } else {
            let (expected, seen) = (expected.to_vec(), info.dimensions.clone());
            Err(LoadError::TensorShape { tensor: name.to_owned(), expected, seen })
        }
    }

    fn tensor(&self, name: &str) -> Result<&TensorInfo, LoadError> {
        self.gguf.tensor(name).ok_or_else(|| LoadError::MissingTensor { tensor: name.to_owned() })
    }
}
