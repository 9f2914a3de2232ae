//! What is answered with no, in OpenAI's form.

use serde_json::{Value, json};

use super::{Answer, Api, question, weather};

const CHAT: &str = "chat/completions";

#[test]
fn who_has_no_good_token_and_what_is_nowhere() {
    let mut api = Api::start();
    let good = std::mem::replace(&mut api.token, "wrong".to_owned());
    for path in ["models", "models/default"] {
        api.get(path).refused(401, "invalid_api_key", Value::Null);
    }
    for path in [CHAT, "completions", "embeddings", "responses"] {
        let answer = api.post(path, &json!({}));
        answer.refused(401, "invalid_api_key", Value::Null);
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
    api.token = good;
    let answer = api.get(CHAT);
    answer.refused(405, "method_not_allowed", Value::Null);
    assert_eq!(answer.headers["allow"], "POST");
    api.get("nothing").refused(404, "not_found", Value::Null);
    api.get("models/nothing").refused(404, "model_not_found", "model");
    let unknown = api.post(CHAT, &question("Hi.", &json!({ "model": "gpt-9" })));
    unknown.refused(404, "model_not_found", "model");
    let message = unknown.body["error"]["message"].as_str().expect("a message");
    assert!(message.contains("SmolLM2-135M-Instruct.Q4_1"), "{message}");
}

#[test]
fn bodies_that_are_no_question() {
    let api = Api::start();
    api.post_text(CHAT, "{").refused(400, "invalid_json", Value::Null);
    api.post_text(CHAT, "[]").refused(400, "invalid_type", Value::Null);
    let largest = " ".repeat(1 << 20);
    api.post_text(CHAT, &largest).refused(400, "invalid_json", Value::Null);
    api.post_text(CHAT, &format!("{largest} ")).refused(413, "body_too_large", Value::Null);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    api.post_text(CHAT, &deep).refused(400, "invalid_json", Value::Null);
}

#[test]
fn fields_of_wrong_types_values_and_what_is_not_supported() {
    let api = Api::start();
    let check = |field: &str, value: Value, code: &str, param: &str| {
        let answer = api.post(CHAT, &question("Hi.", &json!({ field: value })));
        answer.refused(400, code, param);
    };
    check("messages", Value::Null, "missing_required_parameter", "messages");
    check("messages", json!("Hi."), "invalid_type", "messages");
    check("messages", json!([]), "invalid_value", "messages");
    check("messages", json!([7]), "invalid_type", "messages[0]");
    check("messages", json!([{ "content": "Hi." }]), "missing_required_parameter", "messages[0].role");
    check("messages", json!([{ "role": "king", "content": "Hi." }]), "invalid_value", "messages[0].role");
    check("messages", json!([{ "role": "user" }]), "missing_required_parameter", "messages[0].content");
    check("messages", json!([{ "role": "user", "content": 5 }]), "invalid_type", "messages[0].content");
    let image = json!([{ "role": "user", "content": [{ "type": "image_url", "image_url": { "url": "data:" } }] }]);
    check("messages", image, "unsupported_parameter", "messages[0].content[0].type");
    check("model", json!(5), "invalid_type", "model");
    check("temperature", json!("hot"), "invalid_type", "temperature");
    check("temperature", json!(6), "invalid_value", "temperature");
    check("top_p", json!(-0.1), "invalid_value", "top_p");
    check("presence_penalty", json!(2.5), "invalid_value", "presence_penalty");
    check("max_tokens", json!(0), "invalid_value", "max_tokens");
    check("max_tokens", json!(1.5), "invalid_type", "max_tokens");
    check("n", json!(33), "invalid_value", "n");
    check("stop", json!([""]), "invalid_value", "stop");
    check("stop", json!([1]), "invalid_type", "stop");
    check("seed", json!("x"), "invalid_type", "seed");
    check("stream", json!("yes"), "invalid_type", "stream");
    check("logit_bias", json!({ "word": 1 }), "invalid_value", "logit_bias");
    check("logit_bias", json!({ "5": 101 }), "invalid_value", "logit_bias");
    check("top_logprobs", json!(3), "invalid_value", "top_logprobs");
    check("store", json!(true), "unsupported_parameter", "store");
    check("functions", json!([]), "unsupported_parameter", "functions");
    check("tools", json!([{ "type": "retrieval" }]), "unsupported_parameter", "tools[0].type");
    check(
        "tools",
        json!([{ "type": "function", "function": { "name": "a b" } }]),
        "invalid_value",
        "tools[0].function.name",
    );
    check("tools", json!([weather(), weather()]), "invalid_value", "tools[1]");
    check("tools", json!(vec![weather(); 129]), "invalid_value", "tools");
    check("tool_choice", json!("required"), "invalid_value", "tool_choice");
    check("response_format", json!({ "type": "poem" }), "invalid_value", "response_format.type");
    let nameless = json!({ "type": "json_schema", "json_schema": { "schema": {} } });
    check("response_format", nameless, "missing_required_parameter", "response_format.json_schema.name");
    let format = |schema: Value| json!({ "type": "json_schema", "json_schema": { "name": "x", "strict": true, "schema": schema } });
    let answer = api.post(CHAT, &question("Hi.", &json!({ "response_format": format(json!({ "type": "nonsense" })) })));
    answer.refused(400, "invalid_value", Value::Null);
    let unknown = api.post(CHAT, &question("Hi.", &json!({ "logit_bias": { "99999999": 1 } })));
    unknown.refused(400, "invalid_value", Value::Null);
    let long = question(&"word ".repeat(20_000), &json!({}));
    api.post(CHAT, &long).refused(400, "context_length_exceeded", "messages");
}

#[test]
fn pages_of_allowed_origins_may_ask_and_others_may_not() {
    let api = Api::start_with(&["--allow-origin", "https://friend.example"]);
    let preflight = |origin: &str| {
        let request = ureq::http::Request::builder()
            .method("OPTIONS")
            .uri(api.url(CHAT))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization, x-stainless-lang")
            .body(())
            .expect("a request");
        Answer::of(api.agent.run(request))
    };
    let answer = preflight("https://friend.example");
    assert_eq!(answer.status, 204);
    assert_eq!(answer.headers["access-control-allow-origin"], "https://friend.example");
    assert_eq!(answer.headers["access-control-allow-headers"], "authorization, x-stainless-lang");
    assert!(answer.headers["access-control-allow-methods"].to_str().is_ok_and(|methods| methods.contains("POST")));
    let foreign = preflight("https://evil.example");
    foreign.refused(403, "foreign_origin", Value::Null);
    assert!(!foreign.headers.contains_key("access-control-allow-origin"));
    // Errors can be read by the page as well.
    let request = api.agent.get(api.url("models")).header("origin", "https://friend.example");
    let answer = Answer::of(request.call());
    answer.refused(401, "invalid_api_key", Value::Null);
    assert_eq!(answer.headers["access-control-allow-origin"], "https://friend.example");
}
