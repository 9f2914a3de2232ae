//! The page's modules that need no browser, tested by Node.js's own test runner; and what holds for its files.

use std::path::{Path, PathBuf};
use std::process::Command;

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace")
}

#[test]
fn the_modules_pass_their_tests() {
    let files = workspace().join("tests/page");
    let files: Vec<PathBuf> = std::fs::read_dir(files).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty());
    let output = match Command::new("node").arg("--test").args(files).output() {
        Ok(output) => output,
        Err(error) => {
            let missing = format!("`node` cannot be started ({error}): install Node.js 20 or later");
            assert!(std::env::var_os("CAUSERIE_REQUIRE_BROWSER").is_none_or(|value| value != "1"), "{missing}");
            eprintln!("skipped the tests of the page's modules: {missing}");
            return;
        }
    };
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_page_is_small_and_names_nobody_else() {
    /// Bytes of all files together, uncompressed: what a slow line loads before the first chat.
    const LIMIT: usize = 150_000;
    let mut bytes = 0;
    for entry in std::fs::read_dir(workspace().join("runtime-smol/src/page")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        bytes += text.len();
        for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
            assert!(!text.contains(sink), "{} makes code or elements of text: {sink}", path.display());
        }
        for reference in ["src=\"http", "href=\"http", "url(http", "import 'http", "@import"] {
            assert!(!text.contains(reference), "{} loads something from elsewhere: {reference}", path.display());
        }
    }
    assert!(bytes <= LIMIT, "the page has {bytes} bytes, more than {LIMIT}");
}
