//! The forward pass against float32 truth.
//!
//! `golden/*.json` were made by a numpy implementation that dequantizes every weight to float32 and computes nothing but
//! the model: for each position the logarithm of the sum of exponentials over the vocabulary and the 16 largest logits.

mod common;

use causerie_inference::cache::{Cache, PageTable};
use causerie_inference::forward::{Row, Work, forward};
use causerie_inference::scratch::Scratch;
use causerie_inference::{Isa, KvType, LoadOptions, Model, Team};
use serde::Deserialize;
use std::path::Path;

#[derive(Deserialize)]
struct Golden {
    tokens: Vec<u32>,
    positions: Vec<Position>,
}

#[derive(Deserialize)]
struct Position {
    logsumexp: f64,
    top: Vec<(u32, f64)>,
}

fn golden(names: &[&str]) -> Vec<Golden> {
    names
        .iter()
        .map(|name| {
            let path = format!("{}/tests/golden/logits-{name}.json", env!("CARGO_MANIFEST_DIR"));
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
        })
        .collect()
}

/// How far logits are from the truth.
#[derive(Default)]
struct Distance {
    divergence: f64,
    positions: usize,
    clear: usize,
    clear_agreed: usize,
}

impl Distance {
    /// Adds the Kullback-Leibler divergence over the 16 likeliest tokens and a rest.
    fn add(&mut self, truth: &Position, logits: &[f32]) {
        let peak = logits.iter().copied().fold(f32::MIN, f32::max);
        let sum: f64 = logits.iter().map(|&logit| f64::from(logit - peak).exp()).sum();
        let logsumexp = f64::from(peak) + sum.ln();
        let (mut p_rest, mut q_rest) = (1.0, 1.0);
        for &(token, logit) in &truth.top {
            let p = (logit - truth.logsumexp).exp();
            let q = (f64::from(logits[token as usize]) - logsumexp).exp();
            self.divergence += p * (p / q).ln();
            (p_rest, q_rest) = (p_rest - p, q_rest - q);
        }
        if p_rest > 1e-9 {
            self.divergence += p_rest * (p_rest / q_rest.max(1e-9)).ln();
        }
        self.positions += 1;
        if truth.top[0].1 - truth.top[1].1 > 0.1 {
            self.clear += 1;
            self.clear_agreed += usize::from(logits[truth.top[0].0 as usize] == peak);
        }
    }

    #[track_caller]
    fn assert_small(&self, what: &str) {
        let mean = self.divergence / self.positions as f64;
        let agreed = self.clear_agreed as f64 / self.clear as f64;
        println!("{what}: mean KL {mean:.5}, top-1 {agreed:.4} of {} clear positions", self.clear);
        assert!(mean <= 0.01, "{what}: mean KL {mean}");
        assert!(agreed >= 0.97, "{what}: the same top-1 in {agreed} of {}", self.clear);
    }
}

/// Computes a text in steps of `step` tokens.
fn run(model: &Model, team: &Team, golden: &Golden, step: usize, distance: &mut Distance) {
    let mut cache = Cache::new(model.config().page_shape(), 64 << 20);
    let mut scratch = Scratch::new(model, step, step);
    let work = if step > 1 { Work::Prompt } else { Work::Generation };
    let mut table = PageTable::default();
    cache.reserve(&mut table, golden.tokens.len()).unwrap();
    let rows: Vec<Row> = (0u32..)
        .zip(&golden.tokens)
        .map(|(position, &token)| Row { token, position, table: 0, logits: true })
        .collect();
    for (rows, truth) in rows.chunks(step).zip(golden.positions.chunks(step)) {
        let logits =
            team.enter(|crew| forward(model, crew, &mut cache, &[&table], work, rows, &mut scratch).logits().to_vec());
        for (logits, truth) in logits.chunks_exact(model.info().vocabulary_size).zip(truth) {
            distance.add(truth, logits);
        }
    }
}

/// `brief` is the text that the reference kernels compute, which take a minute for all; and only with the default keys
/// and values.
fn check(file: &Path, texts: &[Golden], brief: usize) {
    let team = Team::new(None).unwrap();
    let kernels = Isa::available().flat_map(|isa| KvType::ALL.map(|kv| (isa, kv)));
    for (isa, kv) in kernels.filter(|&kernels| kernels != (Isa::Scalar, KvType::Q8)) {
        let model = Model::load(file, &LoadOptions { isa: Some(isa), kv, ..LoadOptions::default() }).unwrap();
        for (way, step) in [("in steps of 64", 64), ("one by one", 1)] {
            let mut distance = Distance::default();
            for golden in if isa == Isa::Scalar { &texts[brief..=brief] } else { texts } {
                run(&model, &team, golden, step, &mut distance);
            }
            distance.assert_small(&format!("{isa}, {}, {way}", kv.name()));
        }
    }
}

#[test]
fn logits_are_near_the_truth_with_every_instruction_set() {
    check(&common::model_file(), &golden(&["smollm2-license", "smollm2-code", "smollm2-chat-gravity"]), 1);
}

#[test]
fn gemmas_logits_are_near_the_truth_with_every_instruction_set() {
    check(&common::gemma_file(), &golden(&["gemma3-license", "gemma3-capital"]), 1);
}
