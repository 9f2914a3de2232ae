//! Files that are damaged, or made to do damage: each is refused with a message that says what is wrong with it, and
//! loading it takes memory of the order of the file, as counted by an allocator. The files are the seeds of the fuzz target
//! `gguf`; `reference/hostile.py` writes them.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use causerie_inference::gguf::limits;
use causerie_inference::measure::logits;
use causerie_inference::{Gguf, Isa, LoadError, LoadOptions, Model};

struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// Tests run side by side, and would count each other's memory.
fn alone() -> MutexGuard<'static, ()> {
    static COUNTED: Mutex<()> = Mutex::new(());
    COUNTED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(more: usize) {
    PEAK.fetch_max(IN_USE.fetch_add(more, Relaxed) + more, Relaxed);
}

// SAFETY: every call goes on to the system's allocator unchanged; counting touches no memory of the caller's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size); // both are there while one is copied to the other
        IN_USE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `body` gives, and the most bytes that it had in use at once.
fn counted<R>(body: impl FnOnce() -> R) -> (R, usize) {
    let before = IN_USE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let result = body();
    (result, PEAK.load(Relaxed).saturating_sub(before))
}

fn seed(name: &str) -> Vec<u8> {
    let file = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/gguf")).join(name);
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn load(file: Vec<u8>) -> Result<Model, LoadError> {
    let options = LoadOptions { isa: Some(Isa::Scalar), threads: Some(1), ..LoadOptions::default() };
    Model::from_gguf(&Gguf::from_bytes(file)?, "seed", &options)
}

/// Name of a seed, and what the message must say.
const REFUSED: &[(&str, &str)] = &[
    ("not-gguf", "not a GGUF file: it begins with \"PK\\u{3}\\u{4}\""),
    ("version-1", "GGUF version 1 is not supported"),
    ("big-endian", "this GGUF file is big-endian"),
    ("cut-in-preamble", "the file is cut off: the count of metadata keys at byte 16 takes 8 bytes and 1 are left"),
    ("cut-in-keys", "the file is cut off: a metadata key"),
    ("cut-in-directory", "the file is cut off: a tensor's "),
    ("cut-in-data", "tensor `b` lies outside the file: 32 bytes from byte"),
    ("tensors-beyond-limit", "the count of tensors is 18446744073709551615 at byte 8, over the limit of 65536"),
    ("keys-beyond-limit", "the count of metadata keys is 18446744073709551615 at byte 16, over the limit of 16384"),
    ("tensors-beyond-file", "tensor `` has the impossible shape []"),
    ("keys-beyond-file", "a metadata key"),
    ("key-too-long", "a metadata key is 1099511627776 at byte"),
    ("key-not-text", "a metadata key at byte 69 is not UTF-8"),
    ("key-twice", "metadata key `general.architecture` stands in the file twice"),
    ("text-too-long", "a text's length in bytes is 18446744073709551615"),
    ("value-type-unknown", "metadata key `\\u{1b}[31modd` has the unknown value type 13"),
    ("array-beyond-limit", "the count of array elements is 18446744073709551615"),
    ("array-beyond-file", "a text's length in bytes is 34359738369"),
    ("array-size-overflows", "the count of array elements is 2305843009213693952"),
    ("array-of-arrays", "metadata key `array` has the unknown value type 9"),
    ("alignment-zero", "metadata key `general.alignment`: 0 is not a power of two"),
    ("alignment-odd", "metadata key `general.alignment`: 33 is not a power of two"),
    ("alignment-of-64-bits", "metadata key `general.alignment` has the unknown value type 10"),
    (
        "tensor-type-unknown",
        "tensor `odd` is stored as an unknown type (type id 42), which is not supported; supported: F32,",
    ),
    ("tensor-type-of-activations", "tensor `odd` is stored as Q8_K (type id 15), which is not supported"),
    ("tensor-twice", "tensor `a` stands in the file twice"),
    ("tensor-name-too-long", "a tensor's name is 300 at byte"),
    ("no-dimensions", "tensor `odd` has the impossible shape []: it has no dimensions"),
    ("five-dimensions", "a tensor's count of dimensions is 5"),
    ("dimension-zero", "tensor `odd` has the impossible shape [8, 0]: a dimension is zero"),
    ("size-overflows", "tensor `odd` has the impossible shape [1099511627776, 1099511627776]: its size overflows"),
    ("half-a-block", "tensor `odd` has the impossible shape [128]: its rows are no whole number of blocks"),
    ("offset-misaligned", "tensor `odd` begins at data offset 68, which is no multiple of the alignment 32"),
    ("offset-outside", "tensor `odd` lies outside the file: 4 bytes from byte"),
    ("offset-overflows", "tensor `odd` lies outside the file"),
    ("tensors-overlap", "tensors `a` and `odd` overlap"),
    ("architecture-unknown", "architecture `\\u{1b}[31mgpt5` is not supported; supported: "),
    ("architecture-missing", "metadata key `general.architecture` is missing"),
    ("every-type", "metadata key `llama.block_count` is missing"),
    ("layers-beyond-block-count", "tensor `blk.1.attn_k.weight` belongs to no layer, as the metadata announce 1"),
    ("layers-missing", "tensor `blk.2.attn_q.weight` is missing"),
    ("block-count-beyond-limit", "metadata key `llama.block_count`: 4294967295 is not from 1 to 1024"),
    ("context-beyond-limit", "metadata key `llama.context_length`: 4294967295 is not from 1 to 16777216"),
    ("heads-zero", "metadata key `llama.attention.head_count`: 0 is not from 1 to 1024"),
    ("width-of-another", "tensor `token_embd.weight` has the shape [4, 6] where the metadata call for [8, 6]"),
    ("epsilon-not-a-number", "metadata key `llama.attention.layer_norm_rms_epsilon`: NaN is not a positive number"),
    ("fused-too-short", "tensor `blk.0.ffn_up.weight` has the shape [4, 8] where the metadata call for [4, 4]"),
    ("window-of-no-kind", "metadata key `gemma3.attention.sliding_window` is missing or of another type"),
    ("scores-too-few", "the model's vocabulary cannot be used: "),
    ("tensor-unused", "tensor `blk.0.attn_q.scale` is none that a model of the family llama has"),
    ("tokens-missing", "the model's vocabulary cannot be used: "),
    ("tokens-more-than-rows", "the tokenizer has 7 tokens and the weights 6"),
    ("merge-of-unknown", "the model's vocabulary cannot be used: "),
    ("end-token-outside", "the model's vocabulary cannot be used: "),
    ("template-broken", "the model's vocabulary cannot be used: "),
];

#[test]
fn every_fault_is_refused_and_named() {
    let _alone = alone();
    for (name, expected) in REFUSED {
        match load(seed(name)) {
            Ok(_) => panic!("{name} was accepted; expected: {expected}"),
            Err(error) => assert!(error.to_string().starts_with(expected), "{name}: {error}"),
        }
    }
}

#[test]
fn sound_files_are_accepted_and_compute() {
    let _alone = alone();
    for name in ["sound", "sound-qwen3", "sound-gemma3", "sound-phi3", "sound-q4_0", "sound-infinite"] {
        let model = load(seed(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((model.info().vocabulary_size, model.config().layers.len()), (6, 2), "{name}");
        let report = logits(&model, &[0, 1, 2], 6, 0, Some(1)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let all = report.positions.iter().flat_map(|position| &position.top);
        let finite = all.clone().filter(|(_, logit)| logit.is_finite()).count();
        assert_eq!((all.count(), finite), (18, if name == "sound-infinite" { 0 } else { 18 }), "{name}");
    }
}

/// Also what a fuzzer has added.
#[test]
fn no_seed_takes_much_memory() {
    /// What a container of these sizes may take, and what tokenizer, template and threads take whatever their size.
    const HEADER_BYTES: usize = 1 << 16;
    const MODEL_BYTES: usize = 1 << 24;
    let _alone = alone();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/gguf");
    let mut seeds = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is in the repository") {
        let name = entry.expect("a file").file_name().into_string().expect("a name");
        let file = seed(&name);
        let (_, header) = counted(|| Gguf::from_bytes(file.clone()).is_ok());
        assert!(header < 16 * file.len() + HEADER_BYTES, "{name}: {header} bytes for the header of {}", file.len());
        let (_, model) = counted(|| load(file.clone()).is_ok());
        assert!(model < MODEL_BYTES, "{name}: {model} bytes for a model of {}", file.len());
        seeds += 1;
    }
    assert!(seeds > REFUSED.len(), "{seeds}");
}

/// A file of one array: its element type, the elements, and how many are announced.
fn of_array(key: &str, element_type: u32, elements: &[u8], count: u64) -> Vec<u8> {
    let mut file = Vec::with_capacity(elements.len() + 128);
    file.extend(b"GGUF\x03\0\0\0");
    file.extend([0u64, 1, key.len() as u64].iter().flat_map(|number| number.to_le_bytes()));
    file.extend(key.as_bytes());
    file.extend([9, element_type].iter().flat_map(|number| number.to_le_bytes()));
    file.extend(count.to_le_bytes());
    file.extend(elements);
    file.resize(file.len().next_multiple_of(32), 0);
    file
}

#[test]
fn arrays_of_millions_take_memory_of_the_order_of_the_file() {
    let _alone = alone();
    let most = limits::ARRAY_ELEMENTS;
    for (key, element_type, element) in [
        ("tokenizer.tokens", 8, &[0u8; 8][..]),
        ("tokenizer.tokens", 8, &[3, 0, 0, 0, 0, 0, 0, 0, b'a', b'b', b'c']),
        ("tokenizer.scores", 6, &[0; 4]),
        ("tokenizer.types", 0, &[0]),
        ("llama.unused", 8, &[0; 8]),
        ("llama.unused", 12, &[0; 8]),
    ] {
        let sound = of_array(key, element_type, &element.repeat(most as usize), most);
        let bytes = sound.len();
        let (result, peak) = counted(|| Gguf::from_bytes(sound).is_ok());
        assert!(result && peak <= 5 * bytes, "{key} of {element_type}: {peak} bytes for {bytes}");

        // Announced, and not there: nothing is reserved for it.
        let cut = of_array(key, element_type, &element.repeat(100), most);
        let (result, peak) = counted(|| Gguf::from_bytes(cut).is_err());
        assert!(result && peak < 1 << 16, "{key} of {element_type}, cut: {peak} bytes");
    }
}
