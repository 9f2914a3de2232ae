//! Steps in which sequences generate take no memory.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use causerie_inference::cache::PAGE;
use causerie_inference::scheduler::{Event, Request, Scheduler, SchedulerOptions, Speculation};
use causerie_inference::tokenizer::Special;
use causerie_inference::{LoadOptions, Model, SamplingOptions, SamplingOverrides, Team};

/// Counts what is asked of the system.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The same for each thread: the test harness, too, asks for memory when a test takes long.
    static HERE: Cell<usize> = const { Cell::new(0) };
}

/// Tests that count take turns.
static COUNTING: Mutex<()> = Mutex::new(());

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        HERE.set(HERE.get() + 1);
        // SAFETY: the caller keeps to the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc` or `realloc` above, so from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        HERE.set(HERE.get() + 1);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many allocations `work` makes.
fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    work();
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

/// How many allocations `work` makes on this thread.
fn allocations_here(work: impl FnOnce()) -> usize {
    let before = HERE.get();
    work();
    HERE.get() - before
}

/// Tokens of each sequence until buffers have grown, and tokens that are looked at.
const WARM_UP: usize = 40;
const STEADY: usize = 150;

/// Tokens that a sequence computes ahead, at most.
const GUESSES: usize = 15;

/// Requests of all kinds, that do not end by themselves.
fn requests(model: &Model) -> Vec<Request> {
    let vocabulary = model.info().vocabulary_size as u32;
    let ends = (0..vocabulary).filter(|&token| model.tokenizer().is_end(token));
    let endless = Some(ends.map(|token| (token, -100.0)).collect());
    // Probabilities tell each token.
    let plain = SamplingOverrides { logit_bias: endless, logprobs: Some(0), ..SamplingOverrides::default() };
    let sampled = [
        SamplingOverrides { temperature: Some(0.0), repetition_penalty: Some(1.0), ..plain.clone() },
        SamplingOverrides { temperature: Some(1.0), seed: Some(1), logprobs: Some(5), ..plain.clone() },
        SamplingOverrides { temperature: Some(0.7), frequency_penalty: Some(0.5), seed: Some(2), ..plain.clone() },
        SamplingOverrides { top_k: Some(0), top_p: Some(1.0), min_p: Some(0.05), seed: Some(3), ..plain },
    ];
    let texts = ["Repeat: one, two, three, one, two, three.", "Tell me a story.", "What is gravity?", "Count to ten."];
    let requests = sampled.iter().zip(texts).map(|(asked, text)| {
        let mut prompt = Vec::new();
        let text = format!("<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n");
        model.tokenizer().encode(&text, Special::Parse, true, &mut prompt);
        let sampling = SamplingOptions::default().with(asked).unwrap();
        let stop = vec!["a text that does not come".to_owned()];
        Request { prompt, sampling, stop, max_tokens: WARM_UP + STEADY + 40, ..Request::default() }
    });
    requests.collect()
}

/// Allocations of each steady step in which no sequence came to a new page.
fn steps(model: &Arc<Model>, threads: usize, speculation: Speculation) -> Vec<usize> {
    let options = SchedulerOptions {
        threads: Some(threads),
        max_sequences: Some(4),
        context: Some(512),
        speculation,
        ..SchedulerOptions::default()
    };
    let mut scheduler = Scheduler::new(Arc::clone(model), &options).unwrap();
    let requests = requests(model);
    let ids: Vec<_> = requests.iter().map(|request| scheduler.submit(request.clone()).unwrap()).collect();
    let mut tokens: Vec<usize> = vec![0; ids.len()];
    let mut counts = Vec::with_capacity(STEADY);
    let mut finished = 0;
    while finished == 0 {
        let mut told = [0; 4];
        let step = || {
            scheduler.step(&mut |id, event| match event {
                Event::Token { .. } => told[ids.iter().position(|&known| known == id).unwrap()] += 1,
                Event::Text(_) => {}
                _ => finished += 1,
            });
        };
        let count = if threads == 1 { allocations_here(step) } else { allocations(step) };
        let steady = tokens.iter().all(|&tokens| tokens >= WARM_UP);
        // A step in which a sequence comes to another page takes memory for it, and one that fills a page for the tree.
        let place = |at: usize| (requests[at].prompt.len() + tokens[at]) % PAGE;
        let within = (0..4).all(|at| (2..PAGE - GUESSES).contains(&place(at)));
        tokens.iter_mut().zip(told).for_each(|(tokens, told)| *tokens += told);
        if steady && within && finished == 0 {
            counts.push(count);
        }
    }
    assert!(counts.len() > 20, "{} steady steps", counts.len());
    counts
}

/// Steps of sequences that search a large output matrix for their likeliest tokens, until buffers have grown, and that
/// are looked at.
const SEARCHES: [usize; 2] = [4, 12];

/// Allocations of each steady step in which so many sequences take the likeliest token, or draw from the 40 likeliest.
fn searching_steps(model: &Arc<Model>, sequences: usize) -> Vec<usize> {
    let options = SchedulerOptions {
        threads: Some(1),
        max_sequences: Some(sequences),
        context: Some(64),
        speculation: Speculation::Off,
        ..SchedulerOptions::default()
    };
    let mut scheduler = Scheduler::new(Arc::clone(model), &options).unwrap();
    for number in 0..sequences {
        let mut prompt = Vec::new();
        let text = format!("{number} pages of the history of the city begin in the");
        model.tokenizer().encode(&text, Special::Parse, true, &mut prompt);
        let temperature = Some(if number % 2 == 0 { 0.0 } else { 0.8 });
        let asked = SamplingOverrides { temperature, top_k: Some(40), seed: Some(1), ..SamplingOverrides::default() };
        let sampling = SamplingOptions::default().with(&asked).unwrap();
        scheduler.submit(Request { prompt, sampling, max_tokens: 40, ..Request::default() }).unwrap();
    }
    let steps = SEARCHES[0] + SEARCHES[1];
    (0..steps).map(|_| allocations_here(|| _ = scheduler.step(&mut |_, _| ()))).skip(SEARCHES[0]).collect()
}

#[test]
fn searching_takes_no_memory() {
    let _alone = COUNTING.lock().unwrap_or_else(PoisonError::into_inner);
    let model = Arc::new(Model::load(&common::gemma_file(), &LoadOptions::default()).unwrap());
    for sequences in [1, 3, 9] {
        let counts = searching_steps(&model, sequences);
        assert!(counts.iter().all(|&count| count == 0), "{sequences} sequences: {counts:?}");
    }
}

#[test]
fn steps_take_no_memory() {
    let _alone = COUNTING.lock().unwrap_or_else(PoisonError::into_inner);
    let model = Arc::new(Model::load(&common::model_file(), &LoadOptions::default()).unwrap());
    for speculation in [Speculation::Off, Speculation::Auto, Speculation::On] {
        let counts = steps(&model, 1, speculation);
        assert!(counts.iter().all(|&count| count == 0), "{speculation:?}: {counts:?}");
    }
    // Calling a team together takes what rayon wants for it, whatever the step; now and then its queues take some more.
    let team = Team::new(Some(2)).unwrap();
    let called = (0..200).map(|_| allocations(|| team.enter(|_| ()))).skip(1).max().unwrap();
    let counts = steps(&model, 2, Speculation::Auto);
    let more = counts.iter().filter(|&&count| count > called).count();
    assert!(10 * more <= counts.len(), "{called} for calling a team: {counts:?}");
}
