mod families;
mod tiny;
mod truth;

use proptest::prelude::*;

use super::*;
use crate::cache::{Cache, PageTable};
use crate::forward::{Row, Work, forward};
use crate::kernel::tests::Noise;
use crate::scratch::Scratch;

pub(crate) use tiny::Tiny;
use tiny::{HIDDEN, VOCABULARY, WIDTH};
pub(crate) use truth::hidden as true_hidden;
use truth::truth;

fn load(file: Vec<u8>, isa: Isa) -> Result<Model, LoadError> {
    Model::from_gguf(
        &Gguf::from_bytes(file)?,
        "tiny",
        &LoadOptions { isa: Some(isa), threads: Some(1), ..LoadOptions::default() },
    )
}

/// The logits of every token of a text, computed in steps of `step`.
fn logits(model: &Model, tokens: &[u32], step: usize) -> Vec<f32> {
    wanted_logits(model, tokens, step, |_| true)
}

/// The logits of those tokens of a text at whose positions they are wanted.
fn wanted_logits(model: &Model, tokens: &[u32], step: usize, wanted: impl Fn(u32) -> bool) -> Vec<f32> {
    let mut cache = Cache::new(model.config().page_shape(), 1 << 24);
    let mut table = PageTable::default();
    cache.reserve(&mut table, tokens.len()).unwrap();
    let mut scratch = Scratch::new(model, step, step);
    let row = |(position, &token)| Row { token, position, table: 0, logits: wanted(position) };
    let rows: Vec<Row> = (0..).zip(tokens).map(row).collect();
    let team = Team::new(Some(2)).unwrap();
    let work = if step > 1 { Work::Prompt } else { Work::Generation };
    rows.chunks(step)
        .flat_map(|rows| {
            team.enter(|crew| forward(model, crew, &mut cache, &[&table], work, rows, &mut scratch).logits().to_vec())
        })
        .collect()
}

fn text() -> Vec<u32> {
    (0..70).map(|i| i * 17 % VOCABULARY as u32).collect()
}

/// Compares a model's logits with the truth; `tolerance` is the root mean square of the difference, of that of the logits.
#[track_caller]
fn check(what: &str, tiny: &Tiny, tolerance: f64) {
    let truth = truth(tiny, &text());
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    for isa in Isa::available() {
        let model = tiny.load(isa).unwrap();
        for step in [70, 13, 1] {
            let ours = logits(&model, &text(), step);
            assert_eq!(ours.len(), truth.len());
            let distance = square(&mut ours.iter().zip(&truth).map(|(ours, truth)| f64::from(*ours) - truth));
            let size = square(&mut truth.iter().copied());
            assert!(distance / size < tolerance, "{what}, {isa}, steps of {step}: {}", distance / size);
        }
    }
}

#[test]
fn a_model_of_any_type_computes_what_the_formulas_say() {
    for block_type in BlockType::ALL {
        // Keys and values are bf16, in prompts weights and activations too; quantized weights meet activations of 8 bits.
        let tolerance = if block_type.block_len() == 1 { 3e-3 } else { 3e-2 };
        check(block_type.name(), &Tiny::new(block_type, 2), tolerance);
    }
}

/// Of rows whose logits nobody wants, the last layer computes only what others need.
#[test]
fn logits_are_the_same_whoever_else_wants_them() {
    for isa in Isa::available() {
        let model = Tiny::new(BlockType::Q4_1, 2).load(isa).unwrap();
        for step in [70, 33, 1] {
            let all = logits(&model, &text(), step);
            let sets: [fn(u32) -> bool; 4] = [|at| at == 69, |at| at % 3 == 1, |at| at > 5, |_| false];
            for wanted in sets {
                let some = wanted_logits(&model, &text(), step, wanted);
                let rows = (0..).zip(all.chunks_exact(VOCABULARY)).filter(|(at, _)| wanted(*at));
                let expected: Vec<f32> = rows.flat_map(|(_, logits)| logits).copied().collect();
                assert!(some == expected, "{isa}, steps of {step}, {} of {}", some.len(), expected.len());
            }
        }
    }
}

#[test]
fn variants_of_the_family() {
    let base = || (Tiny::new(BlockType::F32, 4), Noise(12));
    let (one_head, _) = (Tiny::new(BlockType::F32, 1), ());
    check("one key-value head", &one_head, 3e-3);

    let (mut untied, mut noise) = base();
    untied.add(&mut noise, "output.weight", BlockType::Q8_0, &[WIDTH, VOCABULARY]);
    check("an output matrix of its own", &untied, 1e-2);

    let (mut biased, mut noise) = base();
    for (part, len) in
        [("attn_q", WIDTH), ("attn_k", WIDTH), ("attn_v", WIDTH), ("attn_output", WIDTH), ("ffn_up", HIDDEN)]
    {
        biased.add(&mut noise, &format!("blk.1.{part}.bias"), BlockType::F32, &[len]);
    }
    check("biases", &biased, 3e-3);

    let (mut rope, mut noise) = base();
    rope.number("llama.rope.dimension_count", 32);
    rope.float("llama.rope.freq_base", 500.0);
    rope.float("llama.rope.scaling.factor", 2.5);
    rope.text("llama.rope.scaling.type", "linear");
    rope.add(&mut noise, "rope_freqs.weight", BlockType::F32, &[16]);
    check("rotary positions", &rope, 3e-3);
}

#[test]
fn what_there_is_to_say() {
    let info = Tiny::new(BlockType::Q4_K, 2).load(Isa::Scalar).unwrap().info().clone();
    let parameters = 2 * (2 * 256 * 256 + 2 * 256 * 128 + 3 * 256 * 512 + 2 * 256) + 40 * 256 + 256;
    assert_eq!(info.name, "tiny");
    assert_eq!((info.architecture, info.quantization, info.parameters), ("llama", "Q4_K", parameters));
    assert_eq!((info.context_length, info.vocabulary_size, info.isa), (256, 40, Isa::Scalar));
}

#[track_caller]
fn refused(change: impl FnOnce(&mut Tiny), message: &str) {
    let mut tiny = Tiny::new(BlockType::Q8_0, 2);
    change(&mut tiny);
    match tiny.load(Isa::Scalar) {
        Ok(_) => panic!("the file was accepted; expected: {message}"),
        Err(error) => assert_eq!(error.to_string(), message),
    }
}

#[test]
fn impossible_metadata_are_refused() {
    refused(
        |tiny| tiny.text("general.architecture", "foo"),
        "architecture `foo` is not supported; supported: llama, qwen2, qwen3, gemma2, gemma3, phi3, smollm3",
    );
    refused(
        |tiny| _ = tiny.texts.remove("general.architecture"),
        "metadata key `general.architecture` is missing or of another type; the file is incomplete, convert the model again",
    );
    for (key, seen, limit) in [
        ("block_count", 0, LAYERS),
        ("block_count", LAYERS + 1, LAYERS),
        ("embedding_length", WIDTH_LIMIT + 1, WIDTH_LIMIT),
        ("feed_forward_length", 0, WIDTH_LIMIT),
        ("attention.head_count", 0, super::HEADS),
        ("attention.head_count", super::HEADS + 1, super::HEADS),
        ("attention.head_count_kv", 0, super::HEADS),
        ("context_length", CONTEXT + 1, CONTEXT),
        ("context_length", u32::MAX, CONTEXT),
    ] {
        let key = format!("llama.{key}");
        refused(
            |tiny| tiny.number(&key, seen),
            &format!("metadata key `{key}`: {seen} is not from 1 to {limit}; the file is damaged"),
        );
    }
    refused(
        |tiny| tiny.number("llama.attention.head_count_kv", 3),
        "metadata key `llama.attention.head_count_kv`: 3 does not divide the 4 query heads",
    );
    refused(
        |tiny| tiny.number("llama.embedding_length", 255),
        "metadata key `llama.attention.head_count`: 4 does not divide the width 255",
    );
    refused(
        |tiny| tiny.number("llama.rope.dimension_count", 66),
        "metadata key `llama.rope.dimension_count`: 66 is odd or more than the 64 numbers of a head",
    );
    refused(
        |tiny| tiny.float("llama.attention.layer_norm_rms_epsilon", 0.0),
        "metadata key `llama.attention.layer_norm_rms_epsilon`: 0 is not a positive number; the file is damaged",
    );
    refused(
        |tiny| tiny.float("llama.rope.freq_base", f32::INFINITY),
        "metadata key `llama.rope.freq_base`: NaN is not a positive number; the file is damaged",
    );
    refused(
        |tiny| tiny.text("llama.rope.scaling.type", "foo"),
        "metadata key `llama.rope.scaling.type`: `foo` is not supported; supported: none, linear, yarn, longrope",
    );
    refused(
        |tiny| tiny.number("llama.attention.sliding_window", CONTEXT + 1),
        &format!(
            "metadata key `llama.attention.sliding_window`: {} is not from 0 to {CONTEXT}; the file is damaged",
            CONTEXT + 1
        ),
    );
    refused(
        |tiny| tiny.text("llama.attention.sliding_window_pattern", "every other"),
        "metadata key `llama.attention.sliding_window_pattern`: neither a number nor a list of the 2 layers; the file is damaged",
    );
    refused(
        |tiny| tiny.float("llama.attn_logit_softcapping", -1.0),
        "metadata key `llama.attn_logit_softcapping`: -1 is not a positive number; the file is damaged",
    );
    refused(
        |tiny| tiny.number("llama.expert_count", 8),
        "metadata key `llama.expert_count`: mixtures of experts (8 here) are not supported; take a dense model",
    );
}

const WIDTH_LIMIT: u32 = super::WIDTH;

#[test]
fn impossible_tensors_are_refused() {
    refused(
        |tiny| _ = tiny.tensors.remove("blk.1.ffn_up.weight"),
        "tensor `blk.1.ffn_up.weight` is missing; the file is incomplete or only one part of a split model",
    );
    refused(
        |tiny| tiny.number("llama.block_count", 1),
        "tensor `blk.1.attn_k.weight` belongs to no layer, as the metadata announce 1; the file is damaged, convert the model again",
    );
    refused(
        |tiny| tiny.add(&mut Noise(1), "blk.1.attn_q.scale", BlockType::F32, &[1]),
        "tensor `blk.1.attn_q.scale` is none that a model of the family llama has; this variant of it is not supported",
    );
    refused(
        |tiny| _ = tiny.tensors.remove("token_embd.weight"),
        "tensor `token_embd.weight` is missing; the file is incomplete or only one part of a split model",
    );
    refused(
        |tiny| tiny.number("llama.attention.head_count_kv", 4),
        "tensor `blk.0.attn_k.weight` has the shape [256, 128] where the metadata call for [256, 256]; convert the model again",
    );
    refused(
        |tiny| tiny.tensors.get_mut("token_embd.weight").unwrap().1 = vec![256, 4, 10],
        "tensor `token_embd.weight` has the shape [256, 4, 10] where the metadata call for [256, 4]; convert the model again",
    );
    refused(
        |tiny| tiny.add(&mut Noise(1), "token_embd.weight", BlockType::F32, &[WIDTH, 39]),
        "the tokenizer has 40 tokens and the weights 39; the file is inconsistent, convert the model again",
    );
}

#[test]
fn kernels_that_the_processor_lacks_are_refused() {
    let file = Tiny::new(BlockType::Q4_0, 2).file();
    for isa in Isa::ALL {
        match load(file.clone(), isa) {
            Ok(model) => assert!(Isa::available().any(|here| here == isa) && model.isa() == isa),
            Err(error) => assert!(matches!(&error, LoadError::Isa { seen, .. } if seen == isa.name()), "{error}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is done to a file, it is refused, or the model computes something for every token.
    #[test]
    fn damaged_models_are_refused_or_usable(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        in_header in any::<bool>(),
    ) {
        let mut file = Tiny::new(BlockType::Q4_0, 2).file();
        let len = if in_header { 3000 } else { file.len() };
        for (at, byte) in flips {
            let at = at.index(len);
            file[at] = byte;
        }
        if let Ok(model) = load(file, Isa::choose(None).unwrap()) {
            let tokens: Vec<u32> = (0..3).map(|i| i % model.info().vocabulary_size as u32).collect();
            prop_assert_eq!(logits(&model, &tokens, 3).len(), 3 * model.info().vocabulary_size);
        }
    }
}
