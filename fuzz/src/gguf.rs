//! Any bytes as a model file: refused, or all that the header promises is there; and a model that loads computes.

use causerie_inference::measure::logits;
use causerie_inference::{Gguf, Isa, LoadOptions, Model};

/// Tokens to compute, at most.
const TOKENS: usize = 3;

/// Reads a model file and, where that works, loads it and lets it compute.
///
/// # Panics
/// When a sound header names what is not there, or a loaded model cannot take its own tokens.
pub fn check(data: &[u8]) {
    let Ok(gguf) = Gguf::from_bytes(data.to_vec()) else { return };
    let mut stored = 0;
    for (name, info) in gguf.tensors() {
        assert_eq!(gguf.tensor(name), Some(info));
        assert_eq!(gguf.data(info).len(), info.bytes);
        assert_eq!(info.block_type.bytes_of(info.elements() as usize), info.bytes);
        stored += info.bytes;
    }
    assert!(stored <= data.len(), "tensors lie apart");
    let options = LoadOptions { isa: Some(Isa::Scalar), threads: Some(1), ..LoadOptions::default() };
    let Ok(model) = Model::from_gguf(&gguf, "fuzz", &options) else { return };
    let vocabulary = model.info().vocabulary_size;
    let tokens: Vec<u32> = (0..TOKENS.min(model.config().context)).map(|i| (i % vocabulary) as u32).collect();
    logits(&model, &tokens, vocabulary.min(2), 0, Some(1)).expect("the tokens are the model's, and fit it");
}
