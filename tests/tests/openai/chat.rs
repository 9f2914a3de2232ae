//! `/v1/chat/completions`.

use std::time::Instant;

use causerie_tests::WITHIN;
use serde_json::{Value, json};

use super::{Answer, Api, question, weather};

const CHAT: &str = "chat/completions";

/// The text that pieces make together, of one choice.
fn joined(pieces: &[Value], choice: usize) -> String {
    let deltas = pieces.iter().flat_map(|piece| piece["choices"].as_array().expect("choices"));
    let deltas = deltas.filter(|delta| delta["index"] == choice);
    deltas.filter_map(|delta| delta["delta"]["content"].as_str()).collect()
}

#[test]
fn an_answer_in_one_piece_and_in_many_is_the_same() {
    let api = Api::start();
    let fields = json!({ "max_tokens": 24, "seed": 5, "stream_options": { "include_usage": true } });
    let mut body = question("Why is the sky blue?", &fields);
    let whole = api.ask(CHAT, &body);
    assert_eq!(whole["object"], "chat.completion");
    assert!(whole["id"].as_str().is_some_and(|id| id.starts_with("chatcmpl-")));
    assert!(whole["created"].as_u64().is_some_and(|created| created > 1_700_000_000));
    assert_eq!(whole["choices"][0]["message"]["role"], "assistant");
    let text = whole["choices"][0]["message"]["content"].as_str().expect("a text");
    assert!(text.len() > 20, "{text}");
    let usage = &whole["usage"];
    let count = |name: &str| usage[name].as_u64().expect("a count");
    assert_eq!(count("prompt_tokens") + count("completion_tokens"), count("total_tokens"));
    assert!((1..=24).contains(&count("completion_tokens")));

    body["stream"] = json!(true);
    let mut pieces = api.pieces(CHAT, &body);
    assert_eq!(pieces[0]["choices"][0]["delta"]["role"], "assistant");
    let last = pieces.pop().expect("the usage");
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["total_tokens"], usage["total_tokens"]);
    assert!(pieces.len() > 5, "it comes in pieces");
    assert!(pieces.iter().all(|piece| piece["object"] == "chat.completion.chunk" && piece["id"] == last["id"]));
    assert!(pieces.iter().all(|piece| piece["usage"].is_null()));
    assert_eq!(joined(&pieces, 0), text);
    let reasons: Vec<_> = pieces.iter().map(|piece| &piece["choices"][0]["finish_reason"]).collect();
    let (reason, before) = reasons.split_last().expect("pieces");
    assert_eq!(**reason, whole["choices"][0]["finish_reason"]);
    assert!(before.iter().all(|reason| reason.is_null()));
}

#[test]
fn limits_stops_seeds_bias_and_several_choices() {
    let api = Api::start();
    let choice = |body: &Value| api.ask(CHAT, body)["choices"][0].clone();
    let content = |choice: &Value| choice["message"]["content"].as_str().expect("a text").to_owned();
    let count = "Count from one to ten in digits, with commas between them.";
    let short = choice(&question(count, &json!({ "max_completion_tokens": 3 })));
    assert_eq!(short["finish_reason"], "length");
    let whole = content(&choice(&question(count, &json!({ "max_tokens": 60 }))));
    let middle: String = whole.chars().skip(5).take(3).collect();
    for stop in [json!(middle), json!(["no such text", middle])] {
        let stopped = choice(&question(count, &json!({ "max_tokens": 60, "stop": stop })));
        assert_eq!(content(&stopped), whole.split(&middle).next().unwrap());
        assert_eq!(stopped["finish_reason"], "stop");
    }

    let hot = json!({ "temperature": 1.5, "seed": -7, "max_tokens": 12, "n": 2 });
    let two = api.ask(CHAT, &question("Invent a name.", &hot));
    let again = api.ask(CHAT, &question("Invent a name.", &hot));
    assert_eq!(two["choices"], again["choices"], "the seed decides");
    assert_eq!(two["choices"].as_array().map(Vec::len), Some(2));
    assert_ne!(two["choices"][0]["message"], two["choices"][1]["message"]);
    assert!(two["usage"]["completion_tokens"].as_u64() <= Some(24));
    let mut streamed = question("Invent a name.", &hot);
    streamed["stream"] = json!(true);
    let pieces = api.pieces(CHAT, &streamed);
    for index in 0..2 {
        assert_eq!(joined(&pieces, index), content(&two["choices"][index]));
    }

    // A token that is enforced is all that comes; its id is found among the probabilities of completions.
    let biased = choice(&question("Hello", &json!({ "logit_bias": { "28": 100 }, "max_tokens": 5 })));
    let text = content(&biased);
    let first = text.chars().next().expect("a text");
    assert!(text.len() >= 5 && text.chars().all(|character| character == first), "{text}");
}

#[test]
fn probabilities_of_tokens_make_up_the_text() {
    let api = Api::start();
    let fields = json!({ "logprobs": true, "top_logprobs": 3, "max_tokens": 10 });
    let mut body = question("Say something nice, with an emoji.", &fields);
    let choice = api.ask(CHAT, &body)["choices"][0].clone();
    let check = |tokens: &[Value], text: &str| {
        let bytes = tokens.iter().flat_map(|token| token["bytes"].as_array().expect("bytes"));
        let bytes: Vec<u8> = bytes.map(|byte| byte.as_u64().expect("a byte") as u8).collect();
        // An answer may be cut off within a character.
        let text = text.trim_end_matches(char::REPLACEMENT_CHARACTER);
        assert!(bytes.starts_with(text.as_bytes()), "{:?} is not {text:?}", String::from_utf8_lossy(&bytes));
        for token in tokens {
            let top = token["top_logprobs"].as_array().expect("a list");
            assert_eq!(top.len(), 3);
            let values: Vec<f64> = top.iter().map(|token| token["logprob"].as_f64().expect("a number")).collect();
            assert!(values.is_sorted_by(|a, b| a >= b) && values[0] <= 0.0, "{values:?}");
        }
    };
    let tokens = choice["logprobs"]["content"].as_array().expect("probabilities");
    let text = choice["message"]["content"].as_str().expect("a text");
    check(tokens, text);
    body["stream"] = json!(true);
    let pieces = api.pieces(CHAT, &body);
    let streamed = pieces
        .iter()
        .flat_map(|piece| piece["choices"][0]["logprobs"]["content"].as_array().cloned().unwrap_or_default());
    check(&streamed.collect::<Vec<_>>(), text);
}

#[test]
fn answers_have_the_form_of_a_schema() {
    let api = Api::start();
    let schema = json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "maxLength": 20 },
            "age": { "type": "integer", "minimum": 0, "maximum": 120 },
        },
        "required": ["name", "age"],
        "additionalProperties": false,
    });
    let format =
        json!({ "type": "json_schema", "json_schema": { "name": "person", "strict": true, "schema": schema } });
    let mut body = question("Invent a person.", &json!({ "response_format": format }));
    let check = |text: &str| {
        let person: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert!(person["name"].is_string() && person["age"].as_u64().is_some_and(|age| age <= 120), "{person}");
        assert_eq!(person.as_object().map(serde_json::Map::len), Some(2));
    };
    check(api.ask(CHAT, &body)["choices"][0]["message"]["content"].as_str().expect("a text"));
    // With tools, of which the model may use none.
    body["tools"] = json!([weather()]);
    let choice = &api.ask(CHAT, &body)["choices"][0];
    match choice["message"]["content"].as_str() {
        Some(text) => check(text),
        None => assert_eq!(choice["finish_reason"], "tool_calls"),
    }
    let object = question("Say hello in JSON.", &json!({ "response_format": { "type": "json_object" } }));
    let answer = &api.ask(CHAT, &object)["choices"][0];
    if answer["finish_reason"] == "stop" {
        let text = answer["message"]["content"].as_str().expect("a text");
        assert!(serde_json::from_str::<Value>(text).is_ok_and(|value| value.is_object()), "{text}");
    }
}

#[test]
fn a_tool_is_called_and_its_result_answered() {
    let api = Api::start();
    let text = "What is the weather in Paris?";
    for choice in [json!("required"), json!({ "type": "function", "function": { "name": "get_weather" } })] {
        let mut body = question(text, &json!({ "tools": [weather()], "tool_choice": choice, "max_tokens": 100 }));
        let whole = api.ask(CHAT, &body)["choices"][0].clone();
        assert_eq!(whole["finish_reason"], "tool_calls", "{whole}");
        assert_eq!(whole["message"]["content"], Value::Null);
        let call = &whole["message"]["tool_calls"][0];
        assert_eq!((&call["type"], &call["function"]["name"]), (&json!("function"), &json!("get_weather")));
        let arguments = call["function"]["arguments"].as_str().expect("JSON in a string");
        let parsed: Value = serde_json::from_str(arguments).expect("JSON");
        assert!(parsed["city"].is_string() && ["celsius", "kelvin"].contains(&parsed["unit"].as_str().unwrap()));

        body["stream"] = json!(true);
        let pieces = api.pieces(CHAT, &body);
        let calls: Vec<&Value> =
            pieces.iter().filter_map(|piece| piece["choices"][0]["delta"].get("tool_calls")).collect();
        assert!(calls[0][0]["id"].as_str().is_some_and(|id| id.starts_with("call_")));
        assert_eq!(calls[0][0]["function"]["name"], "get_weather");
        let streamed: String = calls.iter().filter_map(|call| call[0]["function"]["arguments"].as_str()).collect();
        assert_eq!(streamed, arguments);
        assert!(calls.len() > 3, "arguments come in pieces");

        // The conversation goes on with what the tool said.
        body["stream"] = json!(false);
        body["tool_choice"] = json!("none");
        let messages = body["messages"].as_array_mut().expect("messages");
        messages.push(whole["message"].clone());
        messages.push(json!({ "role": "tool", "tool_call_id": call["id"], "content": "Sunny, 21 degrees" }));
        let answer = api.ask(CHAT, &body)["choices"][0]["message"].clone();
        assert!(answer["content"].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
        assert!(answer.get("tool_calls").is_none());
    }
}

#[test]
fn contents_in_parts_and_unknown_fields_are_taken() {
    let api = Api::start();
    let body = json!({
        "messages": [
            { "role": "developer", "content": [{ "type": "text", "text": "Be brief." }] },
            { "role": "user", "name": "ada", "content": [{ "type": "text", "text": "Say " }, { "type": "text", "text": "hi." }] },
            { "role": "assistant", "content": "Hi." },
            { "role": "user", "content": "Again." },
        ],
        "max_tokens": 8, "user": "ada", "metadata": { "a": "b" }, "unheard_of": [1, 2], "temperature": null,
    });
    let answer = api.ask("chat/completions", &body);
    assert!(answer["choices"][0]["message"]["content"].is_string(), "{answer}");
    // By the name of a model that is known, too.
    let known = question("Hi.", &json!({ "model": "smollm2-135m", "max_tokens": 1 }));
    assert_eq!(api.ask(CHAT, &known)["model"], answer["model"]);
}

#[test]
fn who_sends_more_than_the_context_is_told_how_many_messages_were_dropped() {
    let api = Api::start_with(&["--context", "512"]);
    let dropped = |answer: &Answer| {
        assert_eq!(answer.status, 200, "{}", answer.body);
        let told = answer.headers.get("x-causerie-dropped-messages")?;
        Some(told.to_str().expect("digits").parse::<usize>().expect("a number"))
    };
    let system = json!({ "role": "system", "content": "Be brief." });
    let said: Vec<Value> = (0..41)
        .map(|number| {
            let role = ["user", "assistant"][number % 2];
            json!({ "role": role, "content": format!("This is number {number} of many messages, which says little.") })
        })
        .collect();
    let body = |said: &[Value], stream: bool| {
        let messages: Vec<_> = [&system].into_iter().chain(said).collect();
        json!({ "messages": messages, "max_tokens": 2, "stream": stream })
    };
    let long = api.post(CHAT, &body(&said, false));
    let count = dropped(&long).expect("not all of it fits");
    assert!((2..40).contains(&count), "{count}");
    assert_eq!(dropped(&api.post(CHAT, &body(&said, true))), Some(count), "streamed");
    let responses =
        api.post("responses", &json!({ "input": said, "instructions": "Be brief.", "max_output_tokens": 2 }));
    assert_eq!(dropped(&responses), Some(count), "by the newer interface");
    // What is left is what the model has seen.
    let rest = api.post(CHAT, &body(&said[count..], false));
    assert_eq!(dropped(&rest), None);
    assert_eq!(rest.body["usage"]["prompt_tokens"], long.body["usage"]["prompt_tokens"]);
    // The last one is never dropped.
    let huge = json!({ "role": "user", "content": "many words ".repeat(600) });
    api.post(CHAT, &body(&[&said[..4], &[huge]].concat(), false)).refused(400, "context_length_exceeded", "messages");
}

/// Far more tokens than anybody waits for: two minutes' work of a fast machine, and less than the context.
const MANY: f64 = 8000.0;

/// Tokens of one page of `causerie_kv_pages`.
const PAGE: f64 = 64.0;

#[test]
fn who_goes_away_stops_the_work() {
    let api = Api::start();
    let long = json!({ "stream": true, "max_tokens": MANY as u32, "logit_bias": { "0": -100, "2": -100 } });
    let mut events = api.stream(CHAT, &question("Tell me a very long story.", &long));
    events.next().expect("its beginning");
    events.next().expect("the first word");
    let deadline = Instant::now() + 5 * WITHIN;
    // The figures are written after the step whose words may be here already.
    while api.figures(["running_answers"]) != [1.0] {
        assert!(Instant::now() < deadline, "it says something and does not run");
    }
    drop(events);
    // However slow the machine is: what counts is how much is computed for nobody, which the pages in use tell.
    loop {
        let [running, pages] = api.figures(["running_answers", "kv_pages"]);
        assert!(pages * PAGE < MANY / 2.0, "{pages} pages were filled for nobody");
        if running == 0.0 {
            break;
        }
        assert!(Instant::now() < deadline, "it still runs, with {pages} pages");
    }
    // What was made of it is counted all the same.
    let [tokens] = api.figures(["completion_tokens_total"]);
    assert!(tokens > 0.0 && tokens < MANY / 2.0, "{tokens} tokens");
    // The usage of who has gone is written, and nothing runs any more: a stop has nothing to wait for.
    drop(api.server.stop());
}

#[test]
fn how_fast_answers_come_is_counted() {
    let api = Api::start();
    let names = ["first_token_seconds_count", "between_tokens_seconds_count", "first_token_seconds_sum"];
    assert_eq!(api.figures(names), [0.0; 3]);
    let mut body = question("Count from one to ten.", &json!({ "max_tokens": 12, "n": 2, "seed": 1 }));
    for stream in [false, true] {
        let before = api.figures(names);
        body["stream"] = json!(stream);
        if stream {
            api.pieces(CHAT, &body);
        } else {
            api.ask(CHAT, &body);
        }
        let after = api.figures(names);
        // Two answers: each has a first token, and some pauses between the others.
        assert_eq!(after[0] - before[0], 2.0);
        assert!((2.0..=22.0).contains(&(after[1] - before[1])), "{before:?} {after:?}");
        assert!(after[2] > before[2]);
    }
}
