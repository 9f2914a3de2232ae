//! `/v1/models`, `/v1/completions`, `/v1/embeddings`.

use serde_json::{Value, json};

use super::Api;

#[test]
fn models_are_listed_and_shown() {
    let api = Api::start();
    let list = api.get("models").body;
    assert_eq!(list["object"], "list");
    let model = &list["data"][0];
    assert_eq!((&model["id"], &model["object"]), (&json!("SmolLM2-135M-Instruct.Q4_1"), &json!("model")));
    for name in ["SmolLM2-135M-Instruct.Q4_1", "smollm2-135m", "default"] {
        assert_eq!(api.get(&format!("models/{name}")).body, *model, "{name}");
    }
}

#[test]
fn texts_go_on() {
    let api = Api::start();
    let fields = json!({ "prompt": "One, two, three,", "max_tokens": 6, "temperature": 0, "echo": true });
    let mut body = fields;
    let whole = api.ask("completions", &body);
    assert_eq!(whole["object"], "text_completion");
    let text = whole["choices"][0]["text"].as_str().expect("a text").to_owned();
    assert!(text.starts_with("One, two, three, ") || text.starts_with("One, two, three,"), "{text}");
    assert!(text.contains("four"), "{text}");
    body["stream"] = json!(true);
    let pieces = api.pieces("completions", &body);
    let streamed: String = pieces.iter().filter_map(|piece| piece["choices"][0]["text"].as_str()).collect();
    assert_eq!(streamed, text);

    // Several prompts with two answers each, and tokens for text.
    let several = json!({ "prompt": ["a", "b"], "n": 2, "max_tokens": 2 });
    let several = api.ask("completions", &several);
    let indexes: Vec<_> =
        several["choices"].as_array().expect("choices").iter().map(|choice| &choice["index"]).collect();
    assert_eq!(indexes, [0, 1, 2, 3]);
    api.ask("completions", &json!({ "prompt": [[28, 29], [30]], "max_tokens": 1 }));

    let probable = json!({ "prompt": "One, two, three,", "max_tokens": 4, "temperature": 0, "logprobs": 2 });
    let choice = &api.ask("completions", &probable)["choices"][0];
    let logprobs = &choice["logprobs"];
    let tokens: String = logprobs["tokens"].as_array().expect("tokens").iter().filter_map(Value::as_str).collect();
    assert_eq!(tokens, choice["text"].as_str().expect("a text"));
    assert_eq!(logprobs["text_offset"][0], 0);
    assert_eq!(logprobs["top_logprobs"][0].as_object().map(serde_json::Map::len), Some(2));

    api.post("completions", &json!({})).refused(400, "missing_required_parameter", "prompt");
    api.post("completions", &json!({ "prompt": { "a": 1 } })).refused(400, "invalid_type", "prompt");
    api.post("completions", &json!({ "prompt": "a", "suffix": "b" })).refused(400, "unsupported_parameter", "suffix");
    api.post("completions", &json!({ "prompt": vec!["a"; 33] })).refused(400, "invalid_value", "prompt");
    api.post("completions", &json!({ "prompt": [99_999_999] })).refused(400, "invalid_value", Value::Null);
}

/// The numbers of an embedding.
fn numbers(embedding: &Value) -> Vec<f32> {
    embedding.as_array().expect("numbers").iter().map(|number| number.as_f64().expect("a number") as f32).collect()
}

fn product(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn texts_have_embeddings() {
    let api = Api::start();
    let texts =
        json!(["The cat sleeps on the sofa.", "A cat is sleeping on a couch.", "Interest rates rose in March."]);
    let answer = api.ask("embeddings", &json!({ "model": "default", "input": texts }));
    assert_eq!(answer["object"], "list");
    let data = answer["data"].as_array().expect("embeddings");
    let vectors: Vec<_> = data.iter().map(|one| numbers(&one["embedding"])).collect();
    assert_eq!(data.iter().map(|one| &one["index"]).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(vectors.iter().all(|vector| (product(vector, vector) - 1.0).abs() < 1e-3));
    assert!(product(&vectors[0], &vectors[1]) > product(&vectors[0], &vectors[2]));
    assert!(answer["usage"]["prompt_tokens"].as_u64() >= Some(15), "{}", answer["usage"]);

    let short = api.ask("embeddings", &json!({ "input": texts[0], "dimensions": 16 }));
    let short = numbers(&short["data"][0]["embedding"]);
    assert_eq!(short.len(), 16);
    assert!((product(&short, &short) - 1.0).abs() < 1e-3);
    let ratio = vectors[0][3] / vectors[0][2];
    assert!((short[3] / short[2] - ratio).abs() < 1e-2 * ratio.abs());
    let packed = api.ask("embeddings", &json!({ "input": texts[0], "encoding_format": "base64" }));
    let packed = packed["data"][0]["embedding"].as_str().expect("base64").len();
    assert_eq!(packed, (vectors[0].len() * 4).div_ceil(3) * 4);

    let check = |field: &str, value: Value, code: &str| {
        api.post("embeddings", &json!({ "input": "a", field: value })).refused(400, code, field);
    };
    check("input", Value::Null, "missing_required_parameter");
    check("input", json!([]), "invalid_value");
    check("input", json!(vec!["a"; 2049]), "invalid_value");
    check("dimensions", json!(100_000), "invalid_value");
    check("encoding_format", json!("int8"), "invalid_value");
}
