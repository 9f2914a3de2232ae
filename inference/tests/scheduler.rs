//! The scheduler with the real model.

mod common;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use causerie_inference::scheduler::{
    Event, FinishReason, Request, Scheduler, SchedulerOptions, SequenceId, Speculation, SubmitError, Usage,
};
use causerie_inference::tokenizer::Special;
use causerie_inference::{Isa, LoadOptions, Model, SamplingOptions, SamplingOverrides};

fn model() -> Arc<Model> {
    static MODEL: OnceLock<Arc<Model>> = OnceLock::new();
    let load = || Arc::new(Model::load(&common::model_file(), &LoadOptions::default()).unwrap());
    Arc::clone(MODEL.get_or_init(load))
}

fn scheduler(mut options: SchedulerOptions) -> Scheduler {
    options.context.get_or_insert(1024);
    Scheduler::new(model(), &options).unwrap()
}

fn greedy() -> SamplingOptions {
    let overrides = SamplingOverrides { temperature: Some(0.0), repetition_penalty: Some(1.0), ..Default::default() };
    SamplingOptions::default().with(&overrides).unwrap()
}

fn tokens(text: &str) -> Vec<u32> {
    let mut tokens = Vec::new();
    model().tokenizer().encode(text, Special::Parse, true, &mut tokens);
    tokens
}

fn question(text: &str) -> Vec<u32> {
    tokens(&format!("<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"))
}

fn request(prompt: Vec<u32>, max_tokens: usize) -> Request {
    Request { prompt, sampling: greedy(), max_tokens, ..Request::default() }
}

/// What a sequence told.
#[derive(Clone, Debug, Default, PartialEq)]
struct Answer {
    text: String,
    end: Option<(FinishReason, Usage)>,
}

#[derive(Default)]
struct Answers(HashMap<SequenceId, Answer>);

impl Answers {
    fn step(&mut self, scheduler: &mut Scheduler) -> bool {
        scheduler.step(&mut |id, event| {
            let answer = self.0.entry(id).or_default();
            assert_eq!(answer.end, None, "nothing comes after the end");
            match event {
                Event::Token { .. } => {}
                Event::Text(text) => answer.text.push_str(text),
                Event::Finished { reason, usage, .. } => answer.end = Some((reason, usage)),
                Event::Embedded { .. } => panic!("nothing is embedded"),
                Event::Refused { error } => panic!("{error}"),
                Event::Failed { fault } => panic!("{fault}"),
            }
        })
    }

    fn all(mut self, scheduler: &mut Scheduler) -> HashMap<SequenceId, Answer> {
        while self.step(scheduler) {}
        self.0
    }
}

fn answer(scheduler: &mut Scheduler, request: Request) -> Answer {
    let id = scheduler.submit(request).unwrap();
    Answers::default().all(scheduler).remove(&id).unwrap()
}

#[test]
fn continues_as_the_reference_does() {
    // `greedy` of golden/logits-smollm2-chat-gravity.json, as far as no two candidates are near each other.
    let golden = std::fs::read_to_string(format!(
        "{}/tests/golden/logits-smollm2-chat-gravity.json",
        env!("CARGO_MANIFEST_DIR")
    ));
    let golden: serde_json::Value = serde_json::from_str(&golden.unwrap()).unwrap();
    let list =
        |key: &str| golden[key].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect::<Vec<_>>();
    let told = answer(&mut scheduler(SchedulerOptions::default()), request(list("tokens"), 12));
    assert_eq!(told.text, model().tokenizer().decode(&list("greedy")[..12]));
}

#[test]
fn a_character_that_the_limit_cuts_is_left_out() {
    // The same part of a character again and again: each time but the last it is a mistake of the model's.
    let face = tokens("\u{1F642}");
    assert!(
        std::str::from_utf8(model().tokenizer().token_bytes(face[0])).is_err(),
        "{face:?} are parts of a character"
    );
    let sampling = SamplingOverrides { logit_bias: Some(vec![(face[0], 100.0)]), ..SamplingOverrides::default() };
    let sampling = greedy().with(&sampling).unwrap();
    for max_tokens in 1..4 {
        let request = Request { sampling: sampling.clone(), ..request(question("Smile!"), max_tokens) };
        let told = answer(&mut scheduler(SchedulerOptions::default()), request);
        assert_eq!(told.text, "\u{FFFD}".repeat(max_tokens - 1));
        let (reason, usage) = told.end.expect("an end");
        assert_eq!((reason, usage.completion_tokens), (FinishReason::Length, max_tokens));
    }
}

#[test]
fn an_answer_does_not_depend_on_what_runs_beside_it() {
    let prompts = [
        question("What is gravity?"),
        question("Write a poem about the sea."),
        tokens("def fibonacci(n):\n"),
        question(&"Tell me a story. ".repeat(30)),
        tokens("A"),
    ];
    let alone: Vec<Answer> = prompts
        .iter()
        .map(|prompt| answer(&mut scheduler(SchedulerOptions::default()), request(prompt.clone(), 40)))
        .collect();
    // One thread more, prompts in small pieces, some late: nothing of it may be seen.
    let mut crowded = scheduler(SchedulerOptions {
        threads: Some(3),
        batch_tokens: Some(23),
        max_sequences: Some(4),
        ..Default::default()
    });
    let mut answers = Answers::default();
    let ids: Vec<SequenceId> = prompts
        .iter()
        .map(|prompt| {
            let id = crowded.submit(request(prompt.clone(), 40)).unwrap();
            (0..3).for_each(|_| {
                answers.step(&mut crowded);
            });
            id
        })
        .collect();
    let crowded = answers.all(&mut crowded);
    for (id, alone) in ids.iter().zip(&alone) {
        assert_eq!(&crowded[id], alone);
    }
}

#[test]
fn a_second_turn_computes_only_new_tokens_whoever_else_is_there() {
    // Steps are counted: guesses would make them fewer, or not, as time goes.
    let small_steps = || {
        let speculation = Speculation::Off;
        scheduler(SchedulerOptions { batch_tokens: Some(16), speculation, ..Default::default() })
    };
    let mut first = small_steps();
    let prompt = question(&"What is gravity? ".repeat(20));
    let told = answer(&mut first, Request { session: Some(7), ..request(prompt.clone(), 30) });
    let (_, usage) = told.end.unwrap();
    assert_eq!(usage, Usage { prompt_tokens: prompt.len(), cached_tokens: 0, completion_tokens: 30 });

    let mut second_prompt = prompt.clone();
    second_prompt.extend(tokens(&told.text));
    second_prompt.extend(tokens("<|im_end|>\n<|im_start|>user\nAnd what is light?<|im_end|>\n<|im_start|>assistant\n"));
    let second = |scheduler: &mut Scheduler, session| {
        let id = scheduler.submit(Request { session, ..request(second_prompt.clone(), 30) }).unwrap();
        let (mut answers, mut steps) = (Answers::default(), 1);
        while answers.step(scheduler) {
            steps += 1;
        }
        (answers.0.remove(&id).unwrap(), steps)
    };
    // Another conversation with the same beginning computes the rest alone, and is told nothing of it.
    let (shared, steps_of_shared) = second(&mut first, Some(8));
    let (fresh, steps_of_fresh) = second(&mut small_steps(), None);
    assert_eq!(shared, fresh);
    assert!(steps_of_shared + prompt.len() / 16 <= steps_of_fresh, "{steps_of_shared} {steps_of_fresh}");

    let (resumed, steps) = second(&mut first, Some(7));
    let mut alone = small_steps();
    assert_eq!(answer(&mut alone, Request { session: Some(7), ..request(prompt.clone(), 30) }), told);
    assert_eq!(second(&mut alone, Some(7)), (resumed.clone(), steps));
    let cached = resumed.end.unwrap().1.cached_tokens;
    assert!(cached >= prompt.len() + 25, "{cached} of {} tokens were cached", second_prompt.len());
    assert!(steps < steps_of_shared, "{steps} {steps_of_shared}");
}

#[test]
fn a_prompt_is_shared_while_its_answer_is_being_generated() {
    let mut scheduler = scheduler(SchedulerOptions { batch_tokens: Some(16), ..Default::default() });
    let prompt = question(&"What is gravity? ".repeat(20));
    let first = scheduler.submit(request(prompt.clone(), 200)).unwrap();
    let mut answers = Answers::default();
    while answers.0.get(&first).is_none_or(|answer| answer.text.is_empty()) {
        answers.step(&mut scheduler);
    }
    let second = scheduler.submit(request(prompt.clone(), 1)).unwrap();
    let mut steps = 0;
    while answers.0.get(&second).is_none_or(|answer| answer.end.is_none()) {
        answers.step(&mut scheduler);
        steps += 1;
    }
    assert!(steps <= (prompt.len() % 64).div_ceil(15), "{steps} steps for {} tokens", prompt.len());
    assert_eq!(answers.0[&second].end.unwrap().1.cached_tokens, 0);
    scheduler.cancel(first);
}

#[test]
fn a_second_turn_after_a_restart_computes_only_new_tokens() {
    let saved = std::env::temp_dir().join(format!("causerie-scheduler-{}.kv", std::process::id()));
    let _ = std::fs::remove_file(&saved);
    let start = || scheduler(SchedulerOptions { saved: Some(saved.clone()), ..Default::default() });
    let mut first = start();
    assert_eq!(first.restored().unwrap(), 0);
    let prompt = question(&"What is gravity? ".repeat(20));
    let told = answer(&mut first, Request { session: Some(7), ..request(prompt.clone(), 30) });
    assert!(first.save().unwrap() > 0);
    let mut second_prompt = prompt.clone();
    second_prompt.extend(tokens(&told.text));
    second_prompt.extend(tokens("<|im_end|>\n<|im_start|>user\nAnd what is light?<|im_end|>\n<|im_start|>assistant\n"));
    let second = Request { session: Some(7), ..request(second_prompt, 30) };
    let without = answer(&mut first, second.clone());

    let mut restarted = start();
    assert!(restarted.restored().unwrap() > 0);
    assert_eq!(answer(&mut restarted, second), without, "text and cached tokens");
    assert!(without.end.unwrap().1.cached_tokens >= prompt.len() + 25);

    // A file that is no good is told of, and does no harm.
    std::fs::write(&saved, b"something else").unwrap();
    let mut empty = start();
    assert!(empty.restored().is_err());
    assert_eq!(answer(&mut empty, Request { session: Some(7), ..request(prompt, 30) }), told);
    std::fs::remove_file(&saved).unwrap();
}

#[test]
fn cancelled_sequences_end_as_stopped_in_the_next_step() {
    let speculation = Speculation::Off; // a token a step
    let mut scheduler = scheduler(SchedulerOptions { max_sequences: Some(1), speculation, ..Default::default() });
    let running = scheduler.submit(request(question("Count to a thousand."), 500)).unwrap();
    let queued = scheduler.submit(request(question("And back."), 500)).unwrap();
    let mut answers = Answers::default();
    (0..5).for_each(|_| assert!(answers.step(&mut scheduler)));
    assert!(scheduler.cancel(running) && scheduler.cancel(queued));
    assert!(!answers.step(&mut scheduler));
    assert!(!scheduler.cancel(running), "it is gone");
    let (reason, usage) = answers.0[&running].end.unwrap();
    assert_eq!((reason, usage.completion_tokens), (FinishReason::Stopped, 5));
    assert!(!answers.0[&running].text.is_empty());
    assert_eq!(answers.0[&queued].end.unwrap().0, FinishReason::Stopped);
}

#[test]
fn a_long_prompt_lets_others_go_on() {
    // With as many rows in each step it would be 20 steps, or 29 with the matrix unit; each takes longer than the one before.
    let (words, least) = if model().isa() == Isa::Amx { (7_500, 33) } else { (2_500, 45) };
    let mut scheduler = scheduler(SchedulerOptions { context: Some(8_192), ..Default::default() });
    let talking = scheduler.submit(request(question("Write a long story."), 1_000)).unwrap();
    let mut answers = Answers::default();
    while answers.0.get(&talking).is_none_or(|answer| answer.text.is_empty()) {
        answers.step(&mut scheduler);
    }
    let reading = scheduler.submit(request(tokens(&"word ".repeat(words)), 1)).unwrap();
    let mut steps = 0;
    while answers.0.get(&reading).is_none_or(|answer| answer.end.is_none()) {
        answers.step(&mut scheduler);
        steps += 1;
    }
    assert!(answers.0[&talking].end.is_none() && steps >= least, "{steps} steps");
    scheduler.cancel(talking);
}

#[test]
fn the_context_is_a_limit() {
    let mut scheduler = scheduler(SchedulerOptions { context: Some(64), ..Default::default() });
    let prompt = tokens(&"word ".repeat(80));
    let told = answer(&mut scheduler, request(prompt[..50].to_vec(), 1000));
    assert_eq!(told.end.unwrap().0, FinishReason::Length);
    assert_eq!(told.end.unwrap().1.completion_tokens, 14);
    let too_long = scheduler.submit(request(prompt[..64].to_vec(), 1));
    assert_eq!(too_long, Err(SubmitError::PromptTooLong { tokens: 64, context: 64 }));
    assert_eq!(answer(&mut scheduler, request(prompt[..63].to_vec(), 9)).end.unwrap().1.completion_tokens, 1);
}

#[test]
fn speculation_changes_the_steps_and_not_the_answer() {
    let poem = "The sun rose over the quiet hills, and the farmer walked slowly to his field with a wooden spade.";
    let prompt = question(&format!("Repeat this text exactly: {poem}"));
    let told = |speculation| {
        let mut scheduler = scheduler(SchedulerOptions { speculation, ..Default::default() });
        let id = scheduler.submit(request(prompt.clone(), 60)).unwrap();
        let (mut answers, mut steps) = (Answers::default(), 1);
        while answers.step(&mut scheduler) {
            steps += 1;
        }
        (answers.0.remove(&id).unwrap(), steps)
    };
    let (without, steps) = told(Speculation::Off);
    let (with, fewer) = told(Speculation::On);
    assert_eq!(with, without);
    assert!(2 * fewer < steps, "{fewer} steps of {steps} for: {}", without.text);
    assert_eq!(told(Speculation::Auto).0, without);
}

#[test]
fn stop_strings_end_an_answer_and_are_not_part_of_it() {
    let mut scheduler = scheduler(SchedulerOptions::default());
    let whole = answer(&mut scheduler, request(question("What is gravity?"), 40)).text;
    let word = whole.split(' ').nth(5).unwrap();
    let told =
        answer(&mut scheduler, Request { stop: vec![word.to_owned()], ..request(question("What is gravity?"), 40) });
    assert_eq!(told.text, whole[..whole.find(word).unwrap()]);
    assert_eq!(told.end.unwrap().0, FinishReason::Stop);
}

#[test]
fn the_model_ends_its_turn() {
    let told = answer(&mut scheduler(SchedulerOptions::default()), request(question("Say only: yes."), 300));
    assert_eq!(told.end.unwrap().0, FinishReason::Stop);
    assert!(!told.text.contains("<|im_end|>"));
}

#[test]
fn a_full_queue_refuses_and_what_was_taken_is_answered() {
    let mut scheduler = scheduler(SchedulerOptions { max_sequences: Some(2), queue: Some(3), ..Default::default() });
    let ids: Vec<_> = (0..3).map(|_| scheduler.submit(request(tokens("One two"), 3)).unwrap()).collect();
    assert_eq!(scheduler.submit(request(tokens("three"), 3)), Err(SubmitError::Full { limit: 3 }));
    let answers = Answers::default().all(&mut scheduler);
    assert!(ids.iter().all(|id| answers[id].end.is_some()));
}

#[test]
fn sequences_wait_for_room_in_the_cache() {
    // Room for one context of four pages: the second waits until the first has ended.
    let page = model().config().page_shape().page_bytes();
    let mut scheduler =
        scheduler(SchedulerOptions { context: Some(256), cache_bytes: Some(4 * page), ..Default::default() });
    let first = scheduler.submit(request(tokens("Once upon a time"), 250)).unwrap();
    let second = scheduler.submit(request(tokens("Two"), 20)).unwrap();
    let mut answers = Answers::default();
    answers.step(&mut scheduler);
    assert_eq!(scheduler.load(), (1, 1));
    let answers = answers.all(&mut scheduler);
    assert!(answers[&first].end.is_some() && answers[&second].end.is_some());
}

#[test]
fn refusals_say_why() {
    let mut scheduler = scheduler(SchedulerOptions::default());
    let mut refused = |request| scheduler.submit(request).unwrap_err().to_string();
    assert_eq!(refused(request(vec![], 1)), "the prompt is empty; give at least one token");
    assert_eq!(refused(request(vec![1], 0)), "no tokens are wanted; ask for at least one");
    assert_eq!(
        refused(request(vec![1, 49_152], 1)),
        "token 49152 at place 1 of the prompt is unknown: ids of this model are below 49152"
    );
    assert!(refused(Request { stop: vec![String::new()], ..request(vec![1], 1) }).contains("stop"));
}

#[test]
fn the_default_context_is_what_the_model_was_trained_for() {
    assert_eq!(Scheduler::new(model(), &SchedulerOptions::default()).unwrap().context(), 8192);
}

#[test]
fn options_out_of_range_are_refused() {
    let refused = |options| Scheduler::new(model(), &options).err().unwrap().to_string();
    let options = SchedulerOptions::default;
    assert_eq!(
        refused(SchedulerOptions { max_sequences: Some(0), ..options() }),
        "0 sequences at once are too few: at least 1 are needed (and at most 256 can be)"
    );
    assert!(
        refused(SchedulerOptions { max_sequences: Some(257), ..options() })
            .starts_with("257 sequences at once are too many")
    );
    assert!(
        refused(SchedulerOptions { context: Some(8193), ..options() })
            .starts_with("8193 tokens of context are too many")
    );
    assert!(refused(SchedulerOptions { context: Some(1), ..options() }).contains("at least 2"));
    assert!(refused(SchedulerOptions { batch_tokens: Some(7), ..options() }).contains("at least 8"));
    assert!(refused(SchedulerOptions { batch_tokens: Some(4097), ..options() }).contains("at most 4096"));
    assert!(
        refused(SchedulerOptions { cache_bytes: Some(1 << 20), ..options() })
            .contains("bytes of the cache are too few")
    );
    assert!(refused(SchedulerOptions { queue: Some(4097), ..options() }).contains("at most 4096"));
    assert!(refused(SchedulerOptions { threads: Some(0), ..options() }).contains("threads"));
}
