//! The numbers that make a model, from the metadata of its file.

use super::family::{Architecture, LocalLayers};
use super::keys::Keys;
use super::rope::Rope;
use crate::cache::PageShape;
use crate::error::LoadError;
use crate::gguf::{Metadata, Value};
use crate::kernel::KvType;

/// Layers, at most. The largest dense models have 126.
pub const LAYERS: u32 = 1_024;
/// Query heads, at most. The largest dense models have 128.
pub const HEADS: u32 = 1_024;
/// Positions, at most: those of the longest contexts published.
pub const CONTEXT: u32 = 1 << 24;
/// Numbers in a vector, at most, so that products of two sizes fit 64 bits by far.
pub const WIDTH: u32 = 1 << 20;

/// The numbers that make a model. Vectors are `width` long between layers and `hidden` within the feed-forward part;
/// queries are `heads × head_dim`, keys and values `kv_heads × head_dim`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The family.
    pub architecture: Architecture,
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
    /// The ways in which positions turn heads: one, or a second one for local layers.
    pub ropes: Vec<Rope>,
    /// How the attention of each layer differs from the others'.
    pub layers: Vec<LayerAttention>,
    /// What embeddings are multiplied with.
    pub embedding_scale: f32,
    /// What products of queries and keys are multiplied with.
    pub attention_scale: f32,
    /// A scaled product `s` of a query and a key becomes `cap × tanh(s / cap)`.
    pub attention_cap: Option<f32>,
    /// A logit `s` becomes `cap × tanh(s / cap)`.
    pub logit_cap: Option<f32>,
    /// What is added to a mean square before the root is taken.
    pub epsilon: f32,
    /// Positions that the model was trained for.
    pub context: usize,
    /// What keys and values are kept as: not the file's, but [`LoadOptions`](super::LoadOptions)'.
    pub kv: KvType,
}

/// How far a layer looks back, and how it tells positions apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerAttention {
    /// A token sees itself and those before it, so many in all; otherwise every one.
    pub window: Option<usize>,
    /// Which of [`Config::ropes`] turns its heads; otherwise they are not turned.
    pub rope: Option<usize>,
}

impl LayerAttention {
    /// The first position that a token at `position` sees.
    pub fn first_seen(&self, position: usize) -> usize {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window))
    }
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// [`LoadError`] for a family that is not known, and for numbers that are missing or impossible.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self, LoadError> {
        let name = metadata
            .str("general.architecture")
            .ok_or_else(|| LoadError::MissingKey { key: "general.architecture".to_owned() })?;
        let architecture = Architecture::from_name(name)
            .ok_or_else(|| LoadError::Architecture { seen: name.chars().take(64).collect() })?;
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
        let context = keys.count("context_length", CONTEXT)?;
        let mut ropes = vec![Rope::from_keys(&keys, context)?];
        let layers = layers_of(architecture, &keys, layers, &mut ropes)?;
        let scaled_dim = if architecture.scales_by_width(layers.len()) { width / heads } else { head_dim };
        let (attention_cap, logit_cap) = architecture.default_caps();
        Ok(Self {
            architecture,
            width,
            hidden,
            heads,
            kv_heads,
            head_dim,
            rope_dims,
            embedding_scale: architecture.embedding_scale(width),
            attention_scale: match keys.positive_unless_zero("attention.scale", None)? {
                Some(scale) => scale,
                None => 1.0 / (scaled_dim as f32).sqrt(),
            },
            attention_cap: keys.positive_unless_zero("attn_logit_softcapping", attention_cap)?,
            logit_cap: keys.positive_unless_zero("final_logit_softcapping", logit_cap)?,
            epsilon: keys.positive("attention.layer_norm_rms_epsilon", None)?,
            ropes,
            layers,
            context,
            kv: KvType::default(),
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
        PageShape { layers: self.layers.len(), kv_heads: self.kv_heads, head_dim: self.head_dim, kv: self.kv }
    }
}

/// What sets each layer apart. Local layers may add a rope of their own.
fn layers_of(
    architecture: Architecture,
    keys: &Keys<'_>,
    layers: usize,
    ropes: &mut Vec<Rope>,
) -> Result<Vec<LayerAttention>, LoadError> {
    let window = keys.unless_zero("attention.sliding_window", CONTEXT)?;
    let window = match keys.get("attention.sliding_window") {
        Some(_) => window,
        None => architecture.default_window(),
    };
    let is_local = local_layers(architecture, keys, layers)?;
    let local_rope = match architecture.local_rope_base() {
        Some(base) => {
            let context = ropes[0].original_context;
            ropes.push(Rope::plain(keys.positive("rope.freq_base_swa", Some(base))?, context));
            1
        }
        None => 0,
    };
    let blind = |index: usize| architecture.blind_each().is_some_and(|each| (index + 1).is_multiple_of(each));
    let layer = |(index, is_local): (usize, bool)| LayerAttention {
        window: window.filter(|_| is_local),
        rope: (!blind(index)).then_some(if is_local && window.is_some() { local_rope } else { 0 }),
    };
    Ok(is_local.into_iter().enumerate().map(layer).collect())
}

/// Which layers look back only as far as the window: a number `n` in the file makes each `n`-th global, a list says it
/// layer by layer.
fn local_layers(architecture: Architecture, keys: &Keys<'_>, layers: usize) -> Result<Vec<bool>, LoadError> {
    const KEY: &str = "attention.sliding_window_pattern";
    let pattern = match keys.get(KEY) {
        None => architecture.local_layers(),
        Some(Value::Integers(list)) if list.len() == layers => {
            return Ok(list.iter().map(|&local| local != 0).collect());
        }
        Some(Value::Unsigned(_)) => LocalLayers::AllButEach(keys.count(KEY, LAYERS)?),
        Some(_) => {
            let reason = format!("neither a number nor a list of the {layers} layers; the file is damaged");
            return Err(keys.bad(KEY, reason));
        }
    };
    let is_local = |layer: usize| match pattern {
        LocalLayers::All => true,
        LocalLayers::AllButEach(each) => !(layer + 1).is_multiple_of(each),
    };
    Ok((0..layers).map(is_local).collect())
}
