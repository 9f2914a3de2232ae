//! Templates in the manner of the families that people run, and templates that mean harm.

use super::*;

const LLAMA3: &str = include_str!("../../tests/templates/llama3.jinja");
const QWEN25: &str = include_str!("../../tests/templates/qwen25.jinja");
const QWEN3: &str = include_str!("../../tests/templates/qwen3.jinja");
const GEMMA: &str = include_str!("../../tests/templates/gemma.jinja");
const MISTRAL: &str = include_str!("../../tests/templates/mistral.jinja");

const SYSTEM: Message<'_> = Message { role: "system", content: "Be brief." };
const ASK: Message<'_> = Message { role: "user", content: "Hi <b> & \"you\"" };
const ANSWER: Message<'_> = Message { role: "assistant", content: "Hello." };
const AGAIN: Message<'_> = Message { role: "user", content: "Bye" };

fn template(source: &str) -> ChatTemplate {
    let options = TemplateOptions { begin: "<s>".into(), end: "</s>".into(), today: None };
    ChatTemplate::new(source, options).unwrap()
}

fn check(source: &str, messages: &[Message<'_>], expected: &str) {
    assert_eq!(template(source).render(messages).unwrap(), expected);
}

#[test]
fn without_a_template_it_is_chatml() {
    check(
        CHATML,
        &[SYSTEM, ASK, ANSWER, AGAIN],
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi <b> & \"you\"<|im_end|>\n\
         <|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n",
    );
}

#[test]
fn llama_3_writes_headers_and_its_own_date() {
    let expected = "<s><|start_header_id|>system<|end_header_id|>\n\nToday Date: 26 Jul 2024\n\nBe brief.<|eot_id|>\
        <|start_header_id|>user<|end_header_id|>\n\nHi <b> & \"you\"<|eot_id|>\
        <|start_header_id|>assistant<|end_header_id|>\n\n";
    check(LLAMA3, &[SYSTEM, ASK], expected);

    let today = Date::new(2026, 11, 22);
    let dated = ChatTemplate::new(LLAMA3, TemplateOptions { today, ..TemplateOptions::default() }).unwrap();
    assert!(dated.render(&[ASK]).unwrap().contains("Today Date: 22 Nov 2026\n"));
}

#[test]
fn qwen_2_5_has_a_default_system_prompt() {
    let rest = "<|im_start|>user\nHi <b> & \"you\"<|im_end|>\n<|im_start|>assistant\n";
    check(QWEN25, &[ASK], &format!("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{rest}"));
    check(QWEN25, &[SYSTEM, ASK], &format!("<|im_start|>system\nBe brief.<|im_end|>\n{rest}"));
}

#[test]
fn qwen_3_leaves_out_what_was_thought_in_earlier_turns() {
    let thought = Message { role: "assistant", content: "<think>\nhm\n</think>\n\nHello." };
    check(
        QWEN3,
        &[ASK, thought, AGAIN],
        "<|im_start|>user\nHi <b> & \"you\"<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n\
         <|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n",
    );
}

#[test]
fn gemma_refuses_a_system_message_and_says_where() {
    check(
        GEMMA,
        &[ASK, ANSWER, AGAIN],
        "<s><start_of_turn>user\nHi <b> & \"you\"<end_of_turn>\n<start_of_turn>model\nHello.<end_of_turn>\n\
         <start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n",
    );
    let gemma = template(GEMMA);
    assert!(!gemma.takes_system() && !gemma.takes_assistant_first());
    let error = gemma.render(&[SYSTEM, ASK]).unwrap_err();
    assert_eq!(error.to_string(), "the chat template failed at line 1: System role not supported");
}

#[test]
fn mistral_refuses_turns_that_do_not_alternate_and_says_where() {
    check(
        MISTRAL,
        &[SYSTEM, ASK, ANSWER, AGAIN],
        "<s>[INST] Hi <b> & \"you\"[/INST] Hello.</s>[INST] Be brief.\n\nBye[/INST]",
    );
    let mistral = template(MISTRAL);
    assert!(mistral.takes_system() && !mistral.takes_assistant_first());
    let error = mistral.render(&[ASK, AGAIN]).unwrap_err().to_string();
    assert!(error.starts_with("the chat template failed at line 11: After the optional system message"), "{error}");
    assert!(template(CHATML).takes_assistant_first());
}

#[test]
fn tojson_and_the_methods_of_python_work() {
    let source =
        "{% for m in messages %}{{ m | tojson }} {{ m.content.upper().strip() }} {{ m.items() | length }}{% endfor %}";
    let user = Message { role: "user", content: " <user> é " };
    check(source, &[user], "{\"role\": \"user\", \"content\": \" <user> é \"} <USER> É 2");
}

fn refused(source: &str) -> String {
    ChatTemplate::new(source, TemplateOptions::default()).unwrap_err().to_string()
}

#[test]
fn templates_that_are_not_valid_are_refused_with_the_line() {
    let error = refused("{{ bos_token }}\n{% for m in messages %}\n{% endif %}");
    assert!(error.starts_with("the chat template is not valid at line 3: "), "{error}");
    let error = refused("\n\n{{ messages[0].content | nothing_like_it }}");
    assert!(error.contains("line 3") && error.contains("nothing_like_it"), "{error}");
    assert_eq!(refused("hello"), "the chat template does not write what the user says");
    assert_eq!(refused(&" ".repeat(MAX_TEMPLATE_BYTES + 1)), "the chat template has 262145 bytes, the limit is 262144");
}

#[test]
fn endless_templates_are_stopped() {
    let loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% set c = a * b %}{% endfor %}{% endfor %}";
    assert_eq!(refused(loops), "the chat template was stopped at line 1: it took more than 2097152 steps");
    let writes = "\n{% for a in range(99999) %}{{ 'x' * 100000 }}{% endfor %}";
    assert_eq!(refused(writes), "the chat template was stopped at line 2: it took more than 2097152 steps");
    let grows = "{{ 'x' * 20000000 }}{{ messages[0].content }}";
    assert_eq!(refused(grows), "the chat template wrote 20000004 bytes, the limit is 16777216");
    let recursion = "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}";
    assert!(refused(recursion).contains("line 1"), "{}", refused(recursion));
}

/// A template that cannot be compiled must not take the process down either: the parser recurses.
#[test]
fn deep_nesting_is_refused() {
    assert!(refused(&format!("{{{{ {}1{} }}}}", "(".repeat(50_000), ")".repeat(50_000))).contains("line 1"));
    assert!(refused(&"{% if true %}".repeat(15_000)).contains("not valid"));
}
