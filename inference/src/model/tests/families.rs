//! A small random model of each family, in its variants, against the float32 reference.
//!
//! The models are made here, bit for bit the same every time. `tests/golden/families/NAME.json` holds what
//! `tests/reference/families.py` computes for them; that script says how to make them anew.

use serde::Deserialize;

use super::super::*;
use super::tiny::{Tiny, VOCABULARY};
use super::{logits, text};

/// What a family's files say beside the numbers that all have, and the tensors that they have more or less.
struct Variant {
    name: &'static str,
    family: Architecture,
    layers: usize,
    head_dim: usize,
    /// Below the family's name.
    numbers: &'static [(&'static str, u32)],
    floats: &'static [(&'static str, f32)],
    texts: &'static [(&'static str, &'static str)],
    /// Lists of divisors of the rotary frequencies: name, how many, and the largest.
    divisors: &'static [(&'static str, usize, f32)],
    biases: &'static [&'static str],
    tied: bool,
}

const PLAIN: Variant = Variant {
    name: "llama",
    family: Architecture::Llama,
    layers: 2,
    head_dim: 16,
    numbers: &[],
    floats: &[],
    texts: &[],
    divisors: &[],
    biases: &[],
    tied: false,
};

const VARIANTS: [Variant; 13] = [
    PLAIN,
    Variant {
        name: "llama-divided",
        floats: &[("rope.freq_base", 500_000.0)],
        divisors: &[("rope_freqs", 8, 8.0)],
        ..PLAIN
    },
    Variant {
        name: "mistral-window",
        numbers: &[("attention.sliding_window", 9)],
        floats: &[("rope.scaling.factor", 2.0)],
        texts: &[("rope.scaling.type", "linear")],
        ..PLAIN
    },
    Variant {
        name: "qwen2",
        family: Architecture::Qwen2,
        biases: &["attn_q", "attn_k", "attn_v"],
        tied: true,
        ..PLAIN
    },
    Variant {
        name: "qwen2-yarn",
        family: Architecture::Qwen2,
        biases: &["attn_q", "attn_k", "attn_v"],
        numbers: &[("rope.scaling.original_context_length", 32), ("context_length", 128)],
        floats: &[("rope.scaling.factor", 4.0), ("rope.freq_base", 1000.0)],
        texts: &[("rope.scaling.type", "yarn")],
        ..PLAIN
    },
    Variant { name: "qwen3", family: Architecture::Qwen3, head_dim: 32, tied: true, ..PLAIN },
    Variant {
        name: "gemma2",
        family: Architecture::Gemma2,
        layers: 4,
        head_dim: 32,
        numbers: &[("attention.sliding_window", 8)],
        floats: &[("attn_logit_softcapping", 3.0), ("final_logit_softcapping", 5.0)],
        tied: true,
        ..PLAIN
    },
    Variant {
        name: "gemma3",
        family: Architecture::Gemma3,
        layers: 7,
        head_dim: 32,
        numbers: &[("attention.sliding_window", 8)],
        floats: &[("rope.freq_base", 1_000_000.0), ("rope.scaling.factor", 8.0)],
        texts: &[("rope.scaling.type", "linear")],
        tied: true,
        ..PLAIN
    },
    Variant {
        name: "gemma3-pattern",
        family: Architecture::Gemma3,
        layers: 4,
        head_dim: 16,
        numbers: &[("attention.sliding_window", 16), ("attention.sliding_window_pattern", 2)],
        floats: &[("rope.freq_base_swa", 500.0), ("attention.scale", 0.1)],
        tied: true,
        ..PLAIN
    },
    Variant { name: "phi3", family: Architecture::Phi3, numbers: &[("attention.sliding_window", 0)], ..PLAIN },
    Variant {
        name: "phi3-long",
        family: Architecture::Phi3,
        numbers: &[
            ("attention.sliding_window", 40),
            ("rope.dimension_count", 12),
            ("rope.scaling.original_context_length", 32),
        ],
        floats: &[("rope.scaling.attn_factor", 1.19)],
        divisors: &[("rope_factors_long", 6, 30.0), ("rope_factors_short", 6, 2.0)],
        ..PLAIN
    },
    Variant {
        name: "phi3-short",
        family: Architecture::Phi3,
        numbers: &[("rope.scaling.original_context_length", 256)],
        floats: &[("rope.scaling.attn_factor", 1.19)],
        divisors: &[("rope_factors_long", 8, 30.0), ("rope_factors_short", 8, 2.0)],
        tied: true,
        ..PLAIN
    },
    Variant { name: "smollm3", family: Architecture::SmolLm3, layers: 5, tied: true, ..PLAIN },
];

const WIDTH: usize = 64;
const HIDDEN: usize = 96;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;

impl Variant {
    fn model(&self) -> Tiny {
        let family = self.family.name();
        let mut tiny = Tiny::empty(family);
        for (key, value) in [
            ("block_count", self.layers),
            ("context_length", 256),
            ("embedding_length", WIDTH),
            ("feed_forward_length", HIDDEN),
            ("attention.head_count", HEADS),
            ("attention.head_count_kv", KV_HEADS),
            ("attention.key_length", self.head_dim),
            ("attention.value_length", self.head_dim),
        ] {
            tiny.number(&format!("{family}.{key}"), value as u32);
        }
        tiny.float(&format!("{family}.attention.layer_norm_rms_epsilon"), 1e-6);
        self.numbers.iter().for_each(|(key, value)| tiny.number(&format!("{family}.{key}"), *value));
        self.floats.iter().for_each(|(key, value)| tiny.float(&format!("{family}.{key}"), *value));
        self.texts.iter().for_each(|(key, value)| tiny.text(&format!("{family}.{key}"), value));

        let mut weights = RandomWeights { tiny, state: 1 };
        weights.matrix("token_embd", WIDTH, VOCABULARY);
        if !self.tied {
            weights.matrix("output", WIDTH, VOCABULARY);
        }
        weights.vector("output_norm.weight", WIDTH, 0.5..1.5);
        for (name, count, largest) in self.divisors {
            weights.vector(&format!("{name}.weight"), *count, 1.0..*largest);
        }
        (0..self.layers).for_each(|layer| self.layer(layer, &mut weights));
        weights.tiny
    }

    fn layer(&self, layer: usize, weights: &mut RandomWeights) {
        let (queries, kv) = (HEADS * self.head_dim, KV_HEADS * self.head_dim);
        let fused = [("attn_qkv", WIDTH, queries + 2 * kv), ("ffn_up", WIDTH, 2 * HIDDEN)];
        let apart = [
            ("attn_q", WIDTH, queries),
            ("attn_k", WIDTH, kv),
            ("attn_v", WIDTH, kv),
            ("ffn_gate", WIDTH, HIDDEN),
            ("ffn_up", WIDTH, HIDDEN),
        ];
        let inputs = if self.family == Architecture::Phi3 { &fused[..] } else { &apart[..] };
        for &(name, columns, rows) in
            inputs.iter().chain(&[("attn_output", queries, WIDTH), ("ffn_down", HIDDEN, WIDTH)])
        {
            weights.matrix(&format!("blk.{layer}.{name}"), columns, rows);
            if self.biases.contains(&name) {
                weights.vector(&format!("blk.{layer}.{name}.bias"), rows, -0.5..0.5);
            }
        }
        let mut norms = vec![("attn_norm", WIDTH), ("ffn_norm", WIDTH)];
        if matches!(self.family, Architecture::Qwen3 | Architecture::Gemma3) {
            norms.extend([("attn_q_norm", self.head_dim), ("attn_k_norm", self.head_dim)]);
        }
        if matches!(self.family, Architecture::Gemma2 | Architecture::Gemma3) {
            norms.extend([("post_attention_norm", WIDTH), ("post_ffw_norm", WIDTH)]);
        }
        norms.iter().for_each(|(name, len)| weights.vector(&format!("blk.{layer}.{name}.weight"), *len, 0.5..1.5));
    }
}

/// Weights that keep a signal about as large as it is.
struct RandomWeights {
    tiny: Tiny,
    state: u64,
}

impl RandomWeights {
    fn matrix(&mut self, name: &str, columns: usize, rows: usize) {
        let largest = (3.0 / columns as f32).sqrt();
        self.add(&format!("{name}.weight"), &[columns, rows], -largest..largest);
    }

    fn vector(&mut self, name: &str, len: usize, range: std::ops::Range<f32>) {
        self.add(name, &[len], range);
    }

    fn add(&mut self, name: &str, dimensions: &[usize], range: std::ops::Range<f32>) {
        // Knuth's MMIX generator, of which the upper bits are taken.
        let mut next = || {
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.state >> 40) as f32 / (1 << 24) as f32
        };
        let values = (0..dimensions.iter().product()).map(|_| range.start + (range.end - range.start) * next());
        let bytes = values.flat_map(f32::to_le_bytes).collect();
        let dimensions = dimensions.iter().map(|&dimension| dimension as u64).collect();
        self.tiny.tensors.insert(name.to_owned(), (BlockType::F32, dimensions, bytes));
    }
}

/// What the reference computed.
#[derive(Deserialize)]
struct Golden {
    /// Of the file that it read.
    fnv1a: String,
    tokens: Vec<u32>,
    /// All logits of some positions.
    positions: Vec<(usize, Vec<f32>)>,
}

/// The hash of Fowler, Noll and Vo, of 64 bits.
fn fnv1a(bytes: &[u8]) -> String {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{hash:016x}")
}

#[test]
fn every_family_computes_what_the_reference_does() {
    if let Some(directory) = std::env::var_os("CAUSERIE_WRITE_FAMILIES") {
        for variant in &VARIANTS {
            let path = Path::new(&directory).join(variant.name).with_extension("gguf");
            std::fs::write(path, variant.model().file()).unwrap();
        }
        return;
    }
    for variant in &VARIANTS {
        let path = format!("{}/tests/golden/families/{}.json", env!("CARGO_MANIFEST_DIR"), variant.name);
        let golden: Golden = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let tiny = variant.model();
        assert_eq!(fnv1a(&tiny.file()), golden.fnv1a, "{}: the reference saw another file", variant.name);
        assert_eq!(golden.tokens, text());
        for isa in Isa::available() {
            let model = tiny.load(isa).unwrap();
            for step in [70, 13, 1] {
                let what = format!("{}, {isa}, steps of {step}", variant.name);
                check(&what, &logits(&model, &text(), step), &golden, tolerance(isa, step));
            }
        }
    }
}

#[test]
fn short_contexts_of_long_models_are_turned_by_the_short_factors() {
    let tiny = VARIANTS.iter().find(|variant| variant.name == "phi3-long").unwrap().model();
    let gguf = Gguf::from_bytes(tiny.file()).unwrap();
    let load = |context| {
        let options = LoadOptions { isa: Some(Isa::Scalar), threads: Some(1), context, ..LoadOptions::default() };
        Model::from_gguf(&gguf, "", &options).unwrap()
    };
    let frequencies = |divisors: &str| -> Vec<f64> {
        let plain = (0..6).map(|i| 10_000f64.powf(-2.0 * f64::from(i) / 12.0));
        plain.zip(tiny.values(divisors).unwrap()).map(|(plain, divisor)| plain / divisor).collect()
    };
    for (context, divisors) in [(Some(32), "short"), (Some(33), "long"), (None, "long")] {
        let expected = frequencies(&format!("rope_factors_{divisors}.weight"));
        assert_eq!(load(context).weights().ropes[0].of_pairs, expected, "{context:?}");
    }
    assert_ne!(load(Some(32)).cache_key(), load(Some(33)).cache_key(), "saved keys are turned already");
}

/// Keys and values are bf16. With AMX weights and activations of prompts are too.
fn tolerance(isa: Isa, step: usize) -> f32 {
    if isa == Isa::Amx && step > 1 { 0.025 } else { 0.012 }
}

/// A window off by one, another base or scale, or a wrong pairing make a difference of 0.05 to 1 at some position.
#[track_caller]
fn check(what: &str, ours: &[f32], golden: &Golden, tolerance: f32) {
    for (position, truth) in &golden.positions {
        let ours = &ours[position * VOCABULARY..][..VOCABULARY];
        let square = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>().sqrt();
        let distance = square(&mut ours.iter().zip(truth).map(|(ours, truth)| ours - truth));
        let size = square(&mut truth.iter().copied());
        assert!(distance < tolerance * size, "{what}, position {position}: {distance} of {size}");
    }
}
