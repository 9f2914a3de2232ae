//! The numbers that make a model, from the metadata of its file.

use crate::cache::PageShape;
use crate::error::LoadError;
use crate::gguf::Metadata;

/// Layers, at most. The largest dense models have 126.
pub const LAYERS: u32 = 1_024;
/// Query heads, at most. The largest dense models have 128.
pub const HEADS: u32 = 1_024;
/// Positions, at most: those of the longest contexts published.
pub const CONTEXT: u32 = 1 << 24;
/// Numbers in a vector, at most, so that products of two sizes fit 64 bits by far.
pub const WIDTH: u32 = 1 << 20;

/// A family of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Llama and its many likes (Touvron et al., 2023): RMS norms before each part, rotary positions on neighbouring
    /// pairs, grouped queries, SwiGLU.
    Llama,
}

impl Architecture {
    /// The name, as in `general.architecture`.
    pub const fn name(self) -> &'static str {
        match self {
            Architecture::Llama => "llama",
        }
    }
}

/// The numbers that make a model. Vectors are `width` long between layers and `hidden` within the feed-forward part;
/// queries are `heads × head_dim`, keys and values `kv_heads × head_dim`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The family.
    pub architecture: Architecture,
    /// Layers.
    pub layers: usize,
    /// Numbers in a token's vector.
    pub width: usize,
    /// Numbers in the feed-forward part.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Key-value heads; each serves `heads / kv_heads` query heads.
    pub kv_heads: usize,
    /// Numbers in a head.
    pub head_dim: usize,
    /// Numbers of a head that are turned by its position; even.
    pub rope_dims: usize,
    /// The base of the rotary angles.
    pub rope_base: f32,
    /// Positions are divided by this.
    pub rope_scale: f32,
    /// What is added to a mean square before the root is taken.
    pub epsilon: f32,
    /// Positions that the model was trained for.
    pub context: usize,
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// [`LoadError`] for another architecture, and for numbers that are missing or impossible.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self, LoadError> {
        let name = metadata
            .str("general.architecture")
            .ok_or_else(|| LoadError::MissingKey { key: "general.architecture".to_owned() })?;
        if name != Architecture::Llama.name() {
            return Err(LoadError::Architecture { seen: name.chars().take(64).collect() });
        }
        let keys = Keys { metadata, prefix: name };
        keys.refuse_variants()?;
        let layers = keys.count("block_count", LAYERS)?;
        let width = keys.count("embedding_length", WIDTH)?;
        let hidden = keys.count("feed_forward_length", WIDTH)?;
        let heads = keys.count("attention.head_count", HEADS)?;
        let kv_heads = keys.optional("attention.head_count_kv", HEADS)?.unwrap_or(heads);
        if !heads.is_multiple_of(kv_heads) {
            return Err(
                keys.bad("attention.head_count_kv", format!("{kv_heads} does not divide the {heads} query heads"))
            );
        }
        let head_dim = keys.head_dim(width, heads)?;
        let rope_dims = keys.optional("rope.dimension_count", WIDTH)?.unwrap_or(head_dim);
        if rope_dims > head_dim || rope_dims % 2 != 0 {
            let reason = format!("{rope_dims} is odd or more than the {head_dim} numbers of a head");
            return Err(keys.bad("rope.dimension_count", reason));
        }
        Ok(Self {
            architecture: Architecture::Llama,
            layers,
            width,
            hidden,
            heads,
            kv_heads,
            head_dim,
            rope_dims,
            rope_base: keys.positive("rope.freq_base", Some(10_000.0))?,
            rope_scale: keys.rope_scale()?,
            epsilon: keys.positive("attention.layer_norm_rms_epsilon", None)?,
            context: keys.count("context_length", CONTEXT)?,
        })
    }

    /// Numbers in all query heads.
    pub fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Numbers in all key heads, and in all value heads.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// What a page of the cache must hold.
    pub fn page_shape(&self) -> PageShape {
        PageShape { layers: self.layers, kv_heads: self.kv_heads, head_dim: self.head_dim }
    }
}

/// Keys below the architecture's name.
struct Keys<'a> {
    metadata: &'a Metadata,
    prefix: &'a str,
}

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    fn bad(&self, name: &str, reason: String) -> LoadError {
        LoadError::BadKey { key: self.key(name), reason }
    }

    /// A number from 1 to `limit`, if the key is there.
    fn optional(&self, name: &str, limit: u32) -> Result<Option<usize>, LoadError> {
        let key = self.key(name);
        if self.metadata.get(&key).is_none() {
            return Ok(None);
        }
        let seen = self.metadata.u64(&key).ok_or(LoadError::MissingKey { key })?;
        if seen == 0 || seen > u64::from(limit) {
            return Err(self.bad(name, format!("{seen} is not from 1 to {limit}; the file is damaged")));
        }
        Ok(Some(seen as usize))
    }

    fn count(&self, name: &str, limit: u32) -> Result<usize, LoadError> {
        self.optional(name, limit)?.ok_or_else(|| LoadError::MissingKey { key: self.key(name) })
    }

    fn positive(&self, name: &str, default: Option<f32>) -> Result<f32, LoadError> {
        let seen = self.metadata.f32(&self.key(name)).or(default);
        let seen = seen.ok_or_else(|| LoadError::MissingKey { key: self.key(name) })?;
        if seen > 0.0 && seen.is_finite() {
            Ok(seen)
        } else {
            Err(self.bad(name, format!("{seen} is not a positive number; the file is damaged")))
        }
    }

    fn head_dim(&self, width: usize, heads: usize) -> Result<usize, LoadError> {
        let head_dim = match self.optional("attention.key_length", WIDTH)? {
            Some(head_dim) => head_dim,
            None if width.is_multiple_of(heads) => width / heads,
            None => return Err(self.bad("attention.head_count", format!("{heads} does not divide the width {width}"))),
        };
        match self.optional("attention.value_length", WIDTH)? {
            Some(other) if other != head_dim => Err(self
                .bad("attention.value_length", format!("{other} where keys have {head_dim}, which is not supported"))),
            _ => Ok(head_dim),
        }
    }

    fn rope_scale(&self) -> Result<f32, LoadError> {
        match self.metadata.str(&self.key("rope.scaling.type")) {
            None | Some("none") => Ok(1.0),
            Some("linear") => self.positive("rope.scaling.factor", None),
            Some(other) => {
                Err(self.bad("rope.scaling.type", format!("`{other}` is not supported; supported: none, linear")))
            }
        }
    }

    /// Mixtures of experts go by the name `llama` too.
    fn refuse_variants(&self) -> Result<(), LoadError> {
        match self.metadata.u64(&self.key("expert_count")) {
            None | Some(0) => Ok(()),
            Some(experts) => Err(self.bad(
                "expert_count",
                format!("mixtures of experts ({experts} here) are not supported; take a dense model"),
            )),
        }
    }
}
