//! Answers that must follow a grammar, with the real model.

mod common;

use std::sync::{Arc, LazyLock};

use causerie_inference::grammar::MAX_GRAMMAR_BYTES;
use causerie_inference::scheduler::{
    Event, FinishReason, Request, Scheduler, SchedulerOptions, SequenceId, SubmitError, Usage,
};
use causerie_inference::tokenizer::Special;
use causerie_inference::{Grammar, GrammarError, LoadOptions, Model, SamplingOptions, SamplingOverrides, TokenLogprob};
use serde::Deserialize;

static MODEL: LazyLock<Arc<Model>> =
    LazyLock::new(|| Arc::new(Model::load(&common::model_file(), &LoadOptions::default()).unwrap()));

fn scheduler() -> Scheduler {
    let options = SchedulerOptions { context: Some(1024), ..SchedulerOptions::default() };
    Scheduler::new(Arc::clone(&MODEL), &options).unwrap()
}

fn question(text: &str) -> Vec<u32> {
    let mut tokens = Vec::new();
    let text = format!("<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n");
    MODEL.tokenizer().encode(&text, Special::Parse, true, &mut tokens);
    tokens
}

fn request(text: &str, temperature: f32, seed: u64, grammar: Option<Grammar>) -> Request {
    let asked = SamplingOverrides { temperature: Some(temperature), seed: Some(seed), ..Default::default() };
    let sampling = SamplingOptions::default().with(&asked).unwrap();
    Request { prompt: question(text), sampling, max_tokens: 300, grammar, ..Request::default() }
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Answer {
    text: String,
    tokens: Vec<(TokenLogprob, Vec<TokenLogprob>)>,
    end: Option<(FinishReason, Usage)>,
}

/// All answers to requests that run together, in their order.
fn answers(scheduler: &mut Scheduler, requests: Vec<Request>) -> Vec<Answer> {
    let ids: Vec<SequenceId> = requests.into_iter().map(|request| scheduler.submit(request).unwrap()).collect();
    let mut answers = vec![Answer::default(); ids.len()];
    let mut tell = |id, event: Event<'_>| {
        let answer = &mut answers[ids.iter().position(|known| *known == id).unwrap()];
        match event {
            Event::Token { chosen, top } => answer.tokens.push((chosen, top.to_vec())),
            Event::Text(text) => answer.text.push_str(text),
            Event::Finished { reason, usage, .. } => answer.end = Some((reason, usage)),
            Event::Embedded { .. } => panic!("nothing is embedded"),
            Event::Refused { error } => panic!("{error}"),
            Event::Failed { fault } => panic!("{fault}"),
        }
    };
    while scheduler.step(&mut tell) {}
    answers
}

const PERSON: &str = r#"{
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 30},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "mood": {"enum": ["happy", "sad", "calm"]},
        "hobbies": {"type": "array", "items": {"type": "string", "maxLength": 20}, "minItems": 1, "maxItems": 3},
        "address": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}, "zip": {"type": "string", "pattern": "^[0-9]{5}$"}},
            "required": ["city", "zip"],
            "additionalProperties": false
        }
    },
    "required": ["name", "age", "mood", "hobbies", "address"],
    "additionalProperties": false
}"#;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    name: String,
    age: u64,
    mood: Mood,
    hobbies: Vec<String>,
    address: Address,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Mood {
    Happy,
    Sad,
    Calm,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Address {
    city: String,
    zip: String,
}

#[track_caller]
fn check_person(text: &str) {
    let person: Person = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let Person { name, age, mood, hobbies, address } = &person;
    assert!([Mood::Happy, Mood::Sad, Mood::Calm].contains(mood), "{person:?}");
    assert!((1..=30).contains(&name.chars().count()) && *age <= 150, "{person:?}");
    assert!((1..=3).contains(&hobbies.len()) && hobbies.iter().all(|hobby| hobby.chars().count() <= 20), "{person:?}");
    assert!(address.city.chars().count() <= 20, "{person:?}");
    assert!(address.zip.len() == 5 && address.zip.bytes().all(|byte| byte.is_ascii_digit()), "{person:?}");
}

#[test]
fn answers_under_a_schema_are_valid_whatever_is_drawn() {
    let schema = Some(Grammar::JsonSchema(PERSON.to_owned()));
    let hot = |seed| request("Describe a person.", if seed == 0 { 0.0 } else { 2.5 }, seed, schema.clone());
    for answer in answers(&mut scheduler(), (0..6).map(hot).collect()) {
        check_person(&answer.text);
        assert_eq!(answer.end.unwrap().0, FinishReason::Stop, "it ends when it is complete: {}", answer.text);
    }
}

#[test]
fn regular_expressions_and_lark_grammars_are_followed_to_their_end() {
    let date = r"(19|20)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])";
    let list = "start: item (\", \" item)~1..3 \".\"\nitem: /[a-z]+/ | \"a \" /[a-z]{3,12}/\n";
    let requests = (0..6).map(|seed| {
        let temperature = seed as f32 / 2.0;
        let grammar = if seed % 2 == 0 { Grammar::Regex(date.into()) } else { Grammar::Lark(list.into()) };
        request("Name a day, or some animals.", temperature, seed, Some(grammar))
    });
    let pattern = regex::Regex::new(&format!("^(?:{date})$")).unwrap();
    let items = regex::Regex::new("^(a )?[a-z]+(, (a )?[a-z]+){1,3}\\.$").unwrap();
    for (seed, answer) in answers(&mut scheduler(), requests.collect()).into_iter().enumerate() {
        let matches = if seed % 2 == 0 { pattern.is_match(&answer.text) } else { items.is_match(&answer.text) };
        let (reason, usage) = answer.end.unwrap();
        // A word without an end may go on to the last token.
        assert!(matches || (reason == FinishReason::Length && usage.completion_tokens == 300), "{}", answer.text);
        assert!(matches || seed % 2 == 1, "{}", answer.text);
    }
}

#[test]
fn a_grammar_that_allows_anything_changes_nothing() {
    let ask = |grammar| request("What is gravity?", 0.8, 5, grammar);
    let free = answers(&mut scheduler(), vec![ask(None)]).remove(0);
    let anything = Grammar::Regex("(?s:.*)".to_owned());
    let schema = Grammar::JsonSchema(PERSON.to_owned());
    let together = answers(&mut scheduler(), vec![ask(Some(anything)), ask(None), ask(Some(schema))]);
    assert_eq!(together[0].text, free.text);
    assert_eq!(together[1], free, "and one beside is none of its business");
    check_person(&together[2].text);
}

#[test]
fn a_seed_gives_the_same_answer_under_a_grammar() {
    let ask = |seed| request("Describe a person.", 1.5, seed, Some(Grammar::JsonSchema(PERSON.to_owned())));
    let mut scheduler = scheduler();
    let first = answers(&mut scheduler, vec![ask(3)]);
    let later = answers(&mut scheduler, vec![ask(4), ask(3)]);
    assert_eq!(later[1].text, first[0].text);
    assert_ne!(later[0].text, first[0].text);
}

#[test]
fn an_answer_that_is_empty_by_its_grammar_is_one() {
    let ask = request("Say nothing.", 0.0, 1, Some(Grammar::Lark("start: \"\"".to_owned())));
    let answer = answers(&mut scheduler(), vec![ask]).remove(0);
    assert_eq!((answer.text.as_str(), answer.end.unwrap().0), ("", FinishReason::Stop));
}

#[test]
fn a_grammar_that_is_not_usable_is_refused_and_disturbs_nobody() {
    let mut scheduler = scheduler();
    let long = Grammar::Regex("a".repeat(MAX_GRAMMAR_BYTES + 1));
    let refused = scheduler.submit(request("Hi", 0.0, 1, Some(long))).unwrap_err();
    assert_eq!(refused, SubmitError::Grammar(GrammarError::TooLong { got: MAX_GRAMMAR_BYTES + 1 }));
    assert_eq!(scheduler.load(), (0, 0), "nothing was taken");

    let unusable = [Grammar::Lark("start: nothing".to_owned()), Grammar::Regex("[a&&b]".to_owned())];
    let mut ids = unusable.map(|grammar| scheduler.submit(request("Hi", 0.0, 1, Some(grammar))).unwrap()).to_vec();
    let usable = Grammar::Regex("(yes|no)".to_owned());
    ids.push(scheduler.submit(request("Is water wet?", 0.0, 1, Some(usable))).unwrap());
    let mut told = vec![String::new(); ids.len()];
    while scheduler.step(&mut |id, event| {
        let told = &mut told[ids.iter().position(|known| *known == id).unwrap()];
        match event {
            Event::Refused { error } => told.push_str(&error.to_string()),
            Event::Text(text) => told.push_str(text),
            Event::Finished { reason, .. } => assert_eq!(reason, FinishReason::Stop),
            Event::Token { .. } | Event::Embedded { .. } | Event::Failed { .. } => panic!("{event:?}"),
        }
    }) {}
    assert!(told[0].starts_with("the grammar is not usable: at 1(8): unknown name: \"nothing\""), "{told:?}");
    assert_eq!(told[1], GrammarError::Impossible.to_string());
    assert!(told[2] == "yes" || told[2] == "no", "{told:?}");
}

#[test]
fn who_waits_for_a_grammar_can_be_stopped_and_keeps_nobody_waiting() {
    let model = Arc::new(Model::load(&common::model_file(), &LoadOptions::default()).unwrap()); // not yet sorted
    let mut scheduler = Scheduler::new(model, &SchedulerOptions::default()).unwrap();
    let schema = Grammar::JsonSchema(PERSON.to_owned());
    let stopped = scheduler.submit(request("Who?", 0.0, 1, Some(schema.clone()))).unwrap();
    let held = scheduler.submit(Request { max_tokens: 4, ..request("Who?", 0.0, 1, Some(schema)) }).unwrap();
    let free = scheduler.submit(Request { max_tokens: 4, ..request("Who?", 0.0, 1, None) }).unwrap();
    assert!(scheduler.cancel(stopped));
    let mut ends = Vec::new();
    while scheduler.step(&mut |id, event| {
        if let Event::Finished { reason, .. } = event {
            ends.push((id, reason));
        }
    }) {}
    ends.sort_unstable_by_key(|&(id, _)| id);
    let (stop, length) = (FinishReason::Stopped, FinishReason::Length);
    assert_eq!(ends, [(stopped, stop), (held, length), (free, length)]);
}

#[test]
fn probabilities_are_told_with_their_tokens_when_asked_for() {
    let logprobs = SamplingOverrides { logprobs: Some(3), ..Default::default() };
    let plain = request("What is gravity?", 0.7, 5, None);
    let told = Request { sampling: plain.sampling.clone().with(&logprobs).unwrap(), ..plain.clone() };
    let together = answers(&mut scheduler(), vec![plain, told]);
    assert_eq!(together[0].text, together[1].text, "asking changes nothing");
    assert!(together[0].tokens.is_empty());
    let ids: Vec<u32> = together[1].tokens.iter().map(|(chosen, _)| chosen.token).collect();
    assert_eq!(MODEL.tokenizer().decode(&ids), together[1].text);
    for (chosen, top) in &together[1].tokens {
        assert!(top.len() == 3 && top.is_sorted_by(|a, b| a.logprob >= b.logprob), "{top:?}");
        assert!(chosen.logprob <= top[0].logprob && top[0].logprob <= 0.0);
        assert!(top.iter().map(|token| token.logprob.exp()).sum::<f32>() <= 1.0001);
    }
}

#[test]
fn a_bias_keeps_a_token_out_and_an_unknown_one_is_refused() {
    let told = SamplingOverrides { logprobs: Some(0), ..Default::default() };
    let plain = request("What is gravity?", 0.0, 1, None);
    let plain = Request { sampling: plain.sampling.with(&told).unwrap(), ..plain };
    let tokens = |request| -> Vec<u32> {
        let answer = answers(&mut scheduler(), vec![request]).remove(0);
        answer.tokens.iter().map(|(chosen, _)| chosen.token).collect()
    };
    let without = |token| {
        let bias = SamplingOverrides { logit_bias: Some(vec![(token, -100.0)]), ..Default::default() };
        Request { sampling: plain.sampling.clone().with(&bias).unwrap(), ..plain.clone() }
    };
    let first = tokens(plain.clone())[0];
    let biased = tokens(without(first));
    assert!(!biased.is_empty() && !biased.contains(&first), "{biased:?} without {first}");
    let vocabulary = MODEL.info().vocabulary_size;
    let error = scheduler().submit(without(vocabulary as u32)).unwrap_err();
    assert_eq!(error, SubmitError::UnknownBias { token: vocabulary as u32, vocabulary });
}
