//! A model in memory: configuration, packed weights, tokenizer and chat template.

mod config;
mod embedding;
mod family;
mod keys;
mod rope;
mod weights;

pub use config::{CONTEXT, Config, HEADS, LAYERS, LayerAttention, WIDTH};
pub use embedding::{Embedding, Pooling};
pub use family::{Activation, Architecture, RopePairs};
pub use rope::{Frequencies, Rope, RopeScaling};
pub use weights::{Layer, Linear, Weights};

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::block::BlockType;
use crate::error::LoadError;
use crate::gguf::Gguf;
use crate::grammar::Grammars;
use crate::kernel::{Isa, KvType, Team};
use crate::sampler::SamplingOptions;
use crate::scheduler::{DEFAULT_CACHE_BYTES, default_context};
use crate::template::ChatTemplate;
use crate::tokenizer::{Special, Tokenizer};

/// How a model is loaded.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// The kernels to use; otherwise what `CAUSERIE_ISA` names, otherwise the fastest.
    pub isa: Option<Isa>,
    /// Threads for packing; otherwise as many as the machine has cores.
    pub threads: Option<usize>,
    /// Tokens that sequences may have; otherwise as [`SchedulerOptions`](crate::SchedulerOptions) have it by default. Models
    /// of `LongRoPE` (Phi-3) turn heads in one way for short contexts and in another for long ones.
    pub context: Option<usize>,
    /// What keys and values are kept as.
    pub kv: KvType,
}

/// What there is to say about a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// The name that its makers wrote into it, or the file's.
    pub name: String,
    /// The family.
    pub architecture: &'static str,
    /// The type that most of its weights are stored in.
    pub quantization: &'static str,
    /// Weights.
    pub parameters: u64,
    /// Positions that it was trained for.
    pub context_length: usize,
    /// Tokens that it knows.
    pub vocabulary_size: usize,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// The kernels that it runs with.
    pub isa: Isa,
}

/// A model in memory.
pub struct Model {
    info: ModelInfo,
    config: Config,
    weights: Weights,
    tokenizer: Arc<Tokenizer>,
    grammars: Grammars,
    sampling: SamplingOptions,
    embedding: Embedding,
    template: ChatTemplate,
    isa: Isa,
    fingerprint: u128,
}

impl Model {
    /// Loads a model. The file is no longer needed afterwards.
    ///
    /// # Errors
    /// [`LoadError`] when the file is unsound, of another architecture, or lacks something.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Self, LoadError> {
        let gguf = Gguf::open(path)?;
        let file_name = path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Self::from_gguf(&gguf, &file_name, options)
    }

    /// Loads a model from an opened file; `name` is what it is called if it does not say itself.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn from_gguf(gguf: &Gguf, name: &str, options: &LoadOptions) -> Result<Self, LoadError> {
        let isa = Isa::choose(options.isa)?;
        let config = Config { kv: options.kv, ..Config::from_metadata(gguf.metadata())? };
        let context = options.context.unwrap_or_else(|| default_context(&config, DEFAULT_CACHE_BYTES));
        let text = || -> Result<_, LoadError> {
            let tokenizer = Arc::new(Tokenizer::from_metadata(gguf.metadata())?);
            let template = ChatTemplate::from_metadata(gguf.metadata(), &tokenizer)?;
            Ok((tokenizer, template, gguf.fingerprint()))
        };
        let (text, weights) =
            Team::pack(options.threads, || rayon::join(text, || Weights::load(gguf, &config, context, isa)))?;
        let ((tokenizer, template, fingerprint), weights) = (text?, weights?);
        if tokenizer.vocabulary_size() > weights.vocabulary() {
            return Err(LoadError::VocabularySize {
                tokenizer: tokenizer.vocabulary_size(),
                embedding: weights.vocabulary(),
            });
        }
        let info = ModelInfo {
            name: gguf.metadata().str("general.name").unwrap_or(name).to_owned(),
            architecture: config.architecture.name(),
            quantization: main_type(gguf).name(),
            parameters: gguf.tensors().map(|(_, info)| info.elements()).sum(),
            context_length: config.context,
            vocabulary_size: weights.vocabulary(),
            file_bytes: gguf.file_bytes(),
            isa,
        };
        let grammars = Grammars::new(Arc::clone(&tokenizer));
        let sampling = SamplingOptions::from_metadata(gguf.metadata());
        let embedding = Embedding::from_metadata(gguf.metadata(), info.architecture, tokenizer.end());
        Ok(Self { info, config, weights, tokenizer, grammars, sampling, embedding, template, isa, fingerprint })
    }

    /// What there is to say about the model.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Its numbers.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Text to tokens and back.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Grammars for answers in the model's tokens.
    pub fn grammars(&self) -> &Grammars {
        &self.grammars
    }

    /// How its tokens are chosen where a request does not say: as the file recommends, otherwise the defaults.
    pub fn sampling(&self) -> &SamplingOptions {
        &self.sampling
    }

    /// How texts are embedded.
    pub fn embedding(&self) -> Embedding {
        self.embedding
    }

    /// The tokens of a text whose embedding is wanted: what begins and ends a text where the file asks for it, and nothing
    /// of the text itself taken for a control token. Empty for an empty text, if the file asks for neither.
    pub fn embedding_tokens(&self, text: &str) -> Vec<u32> {
        let mut tokens = Vec::new();
        self.tokenizer.encode(text, Special::Plain, self.tokenizer.adds_begin(), &mut tokens);
        tokens.extend(self.embedding.end);
        tokens
    }

    /// Conversations to text.
    pub fn template(&self) -> &ChatTemplate {
        &self.template
    }

    /// The kernels it runs with.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// What keys and values depend on beside the tokens: the file, by its [fingerprint](Gguf::fingerprint), how positions
    /// turn heads (which may depend on [`LoadOptions::context`]), and the kernels of this version, which round differently.
    pub fn cache_key(&self) -> u128 {
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        hash.update(&self.fingerprint.to_le_bytes());
        for frequency in self.weights.ropes.iter().flat_map(|rope| &rope.of_pairs) {
            hash.update(&frequency.to_le_bytes());
        }
        hash.update(self.isa.name().as_bytes());
        hash.update(env!("CARGO_PKG_VERSION").as_bytes());
        hash.digest128()
    }

    /// Waits until the weights lie in memory as they will stay. For a second or so after loading, a thread may be making large
    /// pages of small ones, beside which all else is slower: benchmarks wait for it.
    pub fn settle(&self) {
        self.weights.settle();
    }

    pub(crate) fn weights(&self) -> &Weights {
        &self.weights
    }
}

/// The type that most of the weights in layers are stored in.
fn main_type(gguf: &Gguf) -> BlockType {
    let mut elements = HashMap::new();
    for (name, info) in gguf.tensors() {
        if name.starts_with("blk.") {
            *elements.entry(info.block_type).or_insert(0) += info.elements();
        }
    }
    elements.into_iter().max_by_key(|&(_, elements)| elements).map_or(BlockType::F32, |(block_type, _)| block_type)
}

#[cfg(test)]
pub(crate) mod tests;
