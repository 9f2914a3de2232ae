//! What the measuring commands give.

mod common;

use causerie_inference::measure::{self, BenchOptions};
use causerie_inference::{KvType, LoadOptions, Model};

fn model() -> Model {
    Model::load(&common::model_file(), &LoadOptions::default()).unwrap()
}

#[test]
fn logits_have_the_shape_and_the_values_of_the_reference() {
    let path = format!("{}/tests/golden/logits-smollm2-code.json", env!("CARGO_MANIFEST_DIR"));
    let golden: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let tokens: Vec<u32> = golden["tokens"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
    let report = measure::logits(&model(), &tokens, 16, 6, Some(2)).unwrap();
    let report = serde_json::to_value(report).unwrap();
    assert_eq!(report["arch"], "llama");
    assert_eq!(report["tokens"], golden["tokens"]);
    let (ours, truth) = (report["positions"].as_array().unwrap(), golden["positions"].as_array().unwrap());
    assert_eq!(ours.len(), truth.len());
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    let (mut sums, mut largest) = (0.0, 0.0);
    for (ours, truth) in ours.iter().zip(truth) {
        assert_eq!(ours["top"].as_array().unwrap().len(), 16);
        sums += (number(&ours["logsumexp"]) - number(&truth["logsumexp"])).abs();
        largest += (number(&ours["top"][0][1]) - number(&truth["top"][0][1])).abs();
    }
    // Logits are some 30; activations of 8 bits move all of a position's together by some tenths.
    let count = truth.len() as f64;
    assert!(sums / count < 0.4 && largest / count < 0.4, "{} {}", sums / count, largest / count);
    assert_eq!(report["greedy"].as_array().unwrap()[..6], golden["greedy"].as_array().unwrap()[..6]);
}

#[test]
fn logits_refuse_what_cannot_be() {
    let model = model();
    let refused =
        |tokens: &[u32], top, greedy| measure::logits(&model, tokens, top, greedy, None).unwrap_err().to_string();
    assert_eq!(refused(&[], 1, 0), "the number of tokens: 0 is out of range; it can be 1 to 8192");
    assert_eq!(refused(&[1; 8193], 1, 0), "the number of tokens: 8193 is out of range; it can be 1 to 8192");
    assert_eq!(refused(&[1], 1, 8192), "the number of tokens to go on with: 8192 is out of range; it can be 0 to 8191");
    assert_eq!(refused(&[1], 49_153, 0), "how many logits are wanted: 49153 is out of range; it can be 0 to 49152");
    assert_eq!(refused(&[0, 49_152], 1, 0), "token 49152 at place 1 is unknown: ids of this model are below 49152");
    assert_eq!(measure::logits(&model, &[1], 49_152, 0, None).unwrap().positions[0].top.len(), 49_152);
}

#[test]
fn bench_measures_what_is_asked_for() {
    let options = BenchOptions {
        prompt: 20,
        generate: 3,
        streams: vec![2, 3],
        threads: Some(2),
        repeat: 2,
        depth: 5,
        kv: KvType::Q8,
    };
    let report = measure::bench(&common::model_file(), &options).unwrap();
    assert!(report.load_s > 0.0 && report.prefill_tps > 0.0 && report.decode_tps > 0.0);
    assert_eq!((report.threads, report.streams.len()), (2, 2));
    let json = serde_json::to_value(&report).unwrap();
    let mut keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["decode_tps", "load_s", "prefill_tps", "streams", "threads"]);
    assert!(json["streams"]["3"].as_f64().unwrap() > 0.0);
}

#[test]
fn bench_refuses_what_cannot_be() {
    let refused = |options| measure::bench(&common::model_file(), &options).unwrap_err().to_string();
    let options = || BenchOptions { repeat: 1, ..BenchOptions::default() };
    assert!(refused(BenchOptions { repeat: 0, ..options() }).contains("repetitions: 0"));
    assert!(refused(BenchOptions { repeat: 1001, ..options() }).contains("it can be 1 to 1000"));
    assert!(refused(BenchOptions { streams: vec![257], ..options() }).contains("it can be 1 to 256"));
    assert!(refused(BenchOptions { streams: vec![1; 33], ..options() }).contains("it can be 0 to 32"));
    assert!(refused(BenchOptions { prompt: 8193, ..options() }).contains("it can be 1 to 8192"));
    assert!(refused(BenchOptions { generate: 0, ..options() }).contains("the tokens to decode: 0"));
    assert!(
        refused(BenchOptions { depth: 7681, ..options() })
            .contains("the depth: 7681 is out of range; it can be 0 to 7680")
    );
}
