//! Where the program and the model are. `cargo test` tells the path of a binary to tests of its own package only, so
//! it is looked for beside the test's executable, and built when it is missing or older than its sources.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// The default model's file name.
pub const MODEL_FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// The `causerie` program, as fresh as its sources. `CAUSERIE_TEST_BINARY` names another one.
///
/// # Panics
/// When there is none and it cannot be built.
#[must_use]
pub fn causerie() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("CAUSERIE_TEST_BINARY") {
            return path.into();
        }
        // TARGET/PROFILE/deps/test-HASH
        let test = std::env::current_exe().expect("a running program has a path");
        let profile = test.ancestors().nth(2).expect("cargo puts tests into TARGET/PROFILE/deps");
        let binary = profile.join(format!("causerie{}", std::env::consts::EXE_SUFFIX));
        if !is_fresh(&binary) {
            build(profile);
        }
        assert!(binary.exists(), "`cargo build -p causerie` did not make {}", binary.display());
        binary
    })
}

/// Whether everything that went into the binary, as its dep-info file (Makefile syntax) lists it, is older than it.
fn is_fresh(binary: &Path) -> bool {
    let Some(built) = modified(binary) else { return false };
    let Ok(info) = std::fs::read_to_string(binary.with_extension("d")) else { return false };
    let Some((_, sources)) = info.split_once(": ") else { return false };
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace");
    let manifests = ["Cargo.toml", "Cargo.lock"].map(|name| workspace.join(name));
    // Blanks inside a name are escaped, and such a name is then not found: one build too many, none too few.
    let mut inputs = sources.split_whitespace().map(PathBuf::from).chain(manifests);
    inputs.all(|source| modified(&source).is_some_and(|time| time <= built))
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|data| data.modified()).ok()
}

fn build(profile: &Path) {
    let name = profile.file_name().and_then(|name| name.to_str()).expect("a profile's directory has a name");
    // The development profile is the one whose directory is not called as it is.
    let name = if name == "debug" { "dev" } else { name };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--package", "causerie", "--bin", "causerie", "--profile", name, "--target-dir"])
        .arg(profile.parent().expect("a profile's directory is in the target directory"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap_or_else(|error| panic!("cargo cannot be started: {error}"));
    assert!(status.success(), "`cargo build -p causerie` failed");
}

/// The default model's file: `$CAUSERIE_TEST_MODEL`, or where `causerie pull` puts it.
///
/// # Panics
/// When it is in neither place, with what to do about it.
#[must_use]
pub fn model() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = variable("CAUSERIE_CACHE_DIR")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("causerie")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/causerie")));
    let path = variable("CAUSERIE_TEST_MODEL").or_else(|| cache.map(|cache| cache.join("models").join(MODEL_FILE)));
    match path {
        Some(path) if path.is_file() => path,
        other => panic!(
            "this test needs the default model and finds no file at {}: run `cargo run --release -- pull`, \
             or set CAUSERIE_TEST_MODEL to a copy of {MODEL_FILE}",
            other.map_or_else(|| "any place, since HOME is not set".to_owned(), |path| path.display().to_string())
        ),
    }
}
