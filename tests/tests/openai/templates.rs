//! A model whose own template takes tools: the default model, with another template in its file.

use causerie_tests::{Options, Server, TempDir, binary};
use serde_json::json;

use super::{Api, question, weather};

/// It tells no more of tools than names and descriptions, so that what the model has seen can be written down here.
const TEMPLATE: &str = "{% if tools %}{{ '<|im_start|>system\\n<tool_call>\\n' }}{% for t in tools %}\
    {{ t.function.name + ': ' + t.function.description }}{% for p in t.function.parameters.properties %}\
    {{ ', ' + p }}{% endfor %}{% endfor %}{{ '<|im_end|>\\n' }}{% endif %}{% for m in messages %}\
    {{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}{{ '<|im_start|>assistant\\n' }}";

/// Where tensors may begin in a GGUF file that does not say otherwise.
const ALIGNMENT: usize = 32;

/// The same file with this template, which must leave the tensors aligned.
fn with_template(file: &[u8]) -> Vec<u8> {
    // The key, the type of a text (8), its length in bytes, and the text.
    let key = b"tokenizer.chat_template\x08\0\0\0";
    let length_at = file.windows(key.len()).position(|window| window == key).expect("it has a template") + key.len();
    let text_at = length_at + 8;
    let length = u64::from_le_bytes(file[length_at..text_at].try_into().expect("eight bytes")) as usize;
    let padding = (length + ALIGNMENT * TEMPLATE.len() - TEMPLATE.len()) % ALIGNMENT;
    let template = format!("{TEMPLATE}{{#{}#}}", " ".repeat((padding + ALIGNMENT - 4) % ALIGNMENT));
    assert_eq!(template.len() % ALIGNMENT, length % ALIGNMENT);
    let head = [&file[..length_at], &(template.len() as u64).to_le_bytes(), template.as_bytes()];
    [head.concat().as_slice(), &file[text_at + length..]].concat()
}

#[test]
fn tools_are_told_in_the_words_of_the_models_own_template() {
    let directory = TempDir::new();
    let path = directory.path().join("tools.gguf");
    std::fs::write(&path, with_template(&std::fs::read(binary::model()).unwrap())).unwrap();
    let api = Api::of(Server::start_with(Options { model: Some(path), ..Options::default() }));
    let asked = "What is the weather in Paris?";
    let fields = json!({ "tools": [weather()], "max_tokens": 12 });
    let told = api.ask("chat/completions", &question(asked, &fields));
    let rendered = format!(
        "<|im_start|>system\n<tool_call>\nget_weather: Tells the weather of a city, city, unit<|im_end|>\n<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n"
    );
    let seen = json!({ "model": "default", "prompt": rendered, "max_tokens": 12, "temperature": 0 });
    let seen = api.ask("completions", &seen);
    assert_eq!(told["usage"]["prompt_tokens"], seen["usage"]["prompt_tokens"], "{told} {seen}");
    // What it says is no call, so it is text.
    assert_eq!(told["choices"][0]["message"]["content"], seen["choices"][0]["text"]);
    assert_eq!(told["choices"][0]["message"].get("tool_calls"), None);
    // A call that has to be is one.
    let fields = json!({ "tools": [weather()], "tool_choice": "required", "max_tokens": 100 });
    let called = api.ask("chat/completions", &question(asked, &fields));
    assert_eq!(called["choices"][0]["message"]["tool_calls"][0]["function"]["name"], "get_weather", "{called}");
    assert_eq!(called["usage"]["prompt_tokens"], seen["usage"]["prompt_tokens"]);
}
