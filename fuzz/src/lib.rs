//! What the fuzz targets check, apart from the fuzzer, so that stable Rust replays all that is committed.
//!
//! Each module is a target: `check` takes any bytes, and panics when an invariant does not hold. `fuzz_targets/` wraps
//! them for libFuzzer, `tests/replay.rs` runs them over `corpus/`. A seed that is named is written by hand, to be read
//! as well: those of [`hub`] are scripts. One whose name is a hash was found by the fuzzer.

pub mod frames;
#[cfg(feature = "engine")]
pub mod gguf;
pub mod hub;
#[cfg(feature = "tokens")]
pub mod jwt;
pub mod resume;
#[cfg(feature = "engine")]
pub mod tokenizer;

#[path = "../../core/tests/driver/mod.rs"]
mod driver;

use std::path::Path;
use std::{env, fs};

/// A target's name and check.
pub type Target = (&'static str, fn(&[u8]));

/// Every target that this build has.
pub const TARGETS: &[Target] = &[
    ("frames", frames::check),
    ("hub", hub::check),
    ("resume", resume::check),
    #[cfg(feature = "tokens")]
    ("jwt", jwt::check),
    #[cfg(feature = "engine")]
    ("gguf", gguf::check),
    #[cfg(feature = "engine")]
    ("tokenizer", tokenizer::check),
];

/// Checks each file of a folder, in the order of their names, and says how many there were.
///
/// # Panics
/// When a check does, after its file's name was printed; and when something cannot be read.
pub fn replay(folder: &Path, check: fn(&[u8])) -> usize {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("the folder is there").path()).collect();
    files.sort();
    for file in &files {
        replay_file(file, check);
    }
    files.len()
}

fn replay_file(file: &Path, check: fn(&[u8])) {
    /// Says which file it was that a check panicked at.
    struct Named<'a>(&'a Path);
    impl Drop for Named<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("this was {}", self.0.display());
            }
        }
    }
    let data = fs::read(file).unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()));
    let _named = Named(file);
    check(&data);
}

/// Checks the files and folders that are the program's arguments.
///
/// # Panics
/// As [`replay`].
pub fn replay_arguments(check: fn(&[u8])) {
    for argument in env::args_os().skip(1) {
        let path = Path::new(&argument);
        if path.is_dir() {
            replay(path, check);
        } else {
            replay_file(path, check);
        }
    }
}
