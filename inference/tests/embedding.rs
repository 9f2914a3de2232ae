//! Embeddings with the default model: texts that say the same are nearer to each other than those that do not.

mod common;

use std::sync::Arc;

use causerie_inference::scheduler::{Event, Scheduler, SchedulerOptions};
use causerie_inference::{LoadOptions, Model};

fn embeddings(texts: &[&str]) -> Vec<Vec<f32>> {
    let model = Arc::new(Model::load(&common::model_file(), &LoadOptions::default()).unwrap());
    let mut scheduler = Scheduler::new(Arc::clone(&model), &SchedulerOptions::default()).unwrap();
    scheduler.embed(texts.iter().map(|text| model.embedding_tokens(text)).collect()).unwrap();
    let mut vectors = vec![Vec::new(); texts.len()];
    let mut tell = |_, event: Event<'_>| match event {
        Event::Embedded { text, vector } => vectors[text] = vector.to_vec(),
        Event::Finished { .. } => {}
        _ => panic!("{event:?}"),
    };
    while scheduler.step(&mut tell) {}
    vectors
}

#[test]
fn texts_that_say_the_same_are_nearer_than_others() {
    let pairs = [
        ("The cat sat on the mat.", "A kitten was sitting on the rug."),
        ("Interest rates were raised by the central bank.", "The bank increased the rate of interest."),
        ("How do I sort a list in Python?", "What is the way to order a Python list?"),
    ];
    let texts: Vec<&str> = pairs.iter().flat_map(|(a, b)| [*a, *b]).collect();
    let vectors = embeddings(&texts);
    let likeness = |a: usize, b: usize| vectors[a].iter().zip(&vectors[b]).map(|(a, b)| a * b).sum::<f32>();
    for (at, text) in texts.iter().enumerate() {
        let nearest = (0..texts.len()).filter(|&other| other != at);
        let nearest = nearest.max_by(|&a, &b| likeness(at, a).total_cmp(&likeness(at, b))).unwrap();
        assert_eq!(nearest, at ^ 1, "{text:?} is nearest to {:?}", texts[nearest]);
    }
}

/// Of a text in which control tokens are written none is one.
#[test]
fn what_is_embedded_is_text() {
    let model = Model::load(&common::model_file(), &LoadOptions::default()).unwrap();
    let tokens = model.embedding_tokens("<|im_start|>system<|im_end|>");
    assert!(tokens.len() > 5 && tokens.iter().all(|&token| !model.tokenizer().is_control(token)), "{tokens:?}");
}
