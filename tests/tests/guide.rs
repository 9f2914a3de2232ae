//! The guide in `guide/`: its commands are run in their order, in one fresh directory and against a free port, and must print
//! what it shows. What stands in comments before a block of `sh`:
//!
//! | comment | |
//! |---|---|
//! | `not run: REASON` | the reason is one of a short list |
//! | `background until: TEXT` | it goes on running once it has printed that |
//! | `needs: PROGRAM` | passed over, aloud, where there is none; may stand several times, and before another comment |
//! | `file: NAME` | before a block of another language: the reader saves it, and so does the test |
//!
//! A block of `text` right behind one of `sh` is what it prints; `...` stands for anything.

use std::path::{Path, PathBuf};
use std::process::Command;

use causerie_tests::foreign::{available, once, place, run};
use causerie_tests::{Process, TempDir, WITHIN, binary};

/// Why a command of the guide may not be run here.
const REASONS: [&str; 5] = [
    "compiles for minutes",
    "a person types",
    "needs a certificate",
    "needs the repository",
    "fetches from the network",
];

/// Lines that a client of the guide may have.
const CLIENT_LINES: usize = 50;

fn guide() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace").join("guide")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The chapters in the order of the table of contents.
fn chapters() -> Vec<String> {
    let summary = read(&guide().join("src/SUMMARY.md"));
    let links = summary.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()));
    links.collect()
}

/// A fenced block.
#[derive(Debug, Default)]
struct Block {
    chapter: String,
    language: String,
    text: String,
    /// What the comment before it says, as `key: value`.
    comment: Option<(String, String)>,
    /// Programs without which it is passed over.
    needs: Vec<String>,
    /// Nothing stands between it and the block before.
    follows: bool,
}

fn blocks(chapter: &str) -> Vec<Block> {
    let text = read(&guide().join("src").join(chapter));
    let mut blocks: Vec<Block> = Vec::new();
    let (mut open, mut comment, mut needs, mut follows) = (None::<Block>, None, Vec::new(), false);
    for line in text.lines() {
        if let Some(block) = &mut open {
            if line == "```" {
                blocks.extend(open.take());
                follows = true;
            } else {
                block.text += line;
                block.text.push('\n');
            }
        } else if let Some(language) = line.strip_prefix("```") {
            let (chapter, language) = (chapter.to_owned(), language.to_owned());
            let (comment, needs) = (comment.take(), std::mem::take(&mut needs));
            open = Some(Block { chapter, language, comment, needs, follows, ..Block::default() });
        } else if let Some(said) = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) {
            let (key, value) =
                said.split_once(": ").unwrap_or_else(|| panic!("{chapter}: `{said}` is no `key: value`"));
            if key == "needs" {
                needs.push(value.to_owned());
            } else {
                let before = comment.replace((key.to_owned(), value.to_owned()));
                assert!(before.is_none(), "{chapter}: {before:?} and `{said}` stand before one block");
            }
            follows = false;
        } else {
            let bare = comment.is_none() && needs.is_empty();
            assert!(bare, "{chapter}: a comment stands right before its block, and not before `{line}`");
            follows = false;
        }
    }
    assert!(open.is_none(), "{chapter}: a block has no end");
    blocks
}

/// Puts files and pieces of files in, as mdBook does.
fn include(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let Some(what) = line.trim().strip_prefix("{{#include ").and_then(|rest| rest.strip_suffix("}}")) else {
            out += line;
            out.push('\n');
            continue;
        };
        let (path, anchor) = what
            .split_once(".rs:")
            .map_or((what.to_owned(), None), |(path, anchor)| (format!("{path}.rs"), Some(anchor)));
        let file = read(&guide().join("src").join(&path));
        let piece = match anchor {
            None => file.as_str(),
            Some(anchor) => {
                let (begin, end) = (format!("// ANCHOR: {anchor}\n"), format!("// ANCHOR_END: {anchor}\n"));
                let piece = file.split_once(&begin).and_then(|(_, rest)| rest.split_once(&end));
                piece.unwrap_or_else(|| panic!("{path} has no piece `{anchor}`")).0
            }
        };
        assert!(!piece.trim().is_empty(), "{what} is empty");
        out += piece;
    }
    out
}

/// Whether a text is what is shown, where `...` stands for anything.
fn is_shown(text: &str, shown: &str) -> bool {
    let (text, shown) = (text.trim(), shown.trim());
    let mut parts = shown.split("...");
    let first = parts.next().unwrap_or_default().trim_end();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.map(str::trim).collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[test]
fn shown_output_is_compared() {
    assert!(is_shown("a b c\n", "a b c"));
    assert!(is_shown("a b c d", "a ... c ..."));
    assert!(is_shown("a b c", "...c"));
    assert!(!is_shown("a b c", "a ... d ..."));
    assert!(!is_shown("a b c", "a b"));
    assert!(!is_shown("a b c", "b ..."));
}

/// A reader at work.
struct Reader {
    desk: TempDir,
    /// What stands for 8080 and for 8443.
    ports: [u16; 2],
    path: std::ffi::OsString,
    python: Option<PathBuf>,
    running: Vec<Process>,
}

impl Reader {
    fn new() -> Reader {
        let desk = TempDir::new();
        let models = desk.path().join("cache/models");
        std::fs::create_dir_all(&models).expect("the directory is ours");
        let model = binary::model();
        let name = model.file_name().expect("a model is a file");
        std::os::unix::fs::symlink(&model, models.join(name)).expect("the directory is ours");
        let program = binary::causerie().parent().expect("a program lies in a directory").to_owned();
        let known = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(program).chain(std::env::split_paths(&known)));
        let listener = || std::net::TcpListener::bind("127.0.0.1:0").expect("the loopback has free ports");
        // Both are held until both are known, so that they differ.
        let ports = [listener(), listener()].map(|it| it.local_addr().expect("a bound socket has an address").port());
        let path = path.expect("what was a PATH before");
        Reader { desk, ports, path, python: None, running: Vec::new() }
    }

    /// A text of the guide, but for the ports.
    fn here(&self, text: &str) -> String {
        let [plain, tls] = self.ports.map(|port| port.to_string());
        // A port may have the digits of the other's stand-in.
        text.split("8080").map(|part| part.replace("8443", &tls)).collect::<Vec<_>>().join(&plain)
    }

    /// A command as the reader types it, but for the ports.
    fn shell(&self, text: &str) -> Command {
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", &self.here(text)]);
        shell.current_dir(self.desk.path()).env_clear().env("PATH", &self.path).env("HOME", self.desk.path());
        shell.env("CAUSERIE_CACHE_DIR", self.desk.path().join("cache")).env("CAUSERIE_OFFLINE", "true");
        // Node 20 has its WebSocket behind a flag.
        shell.env("NODE_OPTIONS", "--experimental-websocket");
        if let Some(place) = &self.python {
            shell.env("PYTHONPATH", place);
        }
        shell
    }

    /// Whether a program that a block needs is here.
    fn has(&mut self, program: &str) -> bool {
        match program {
            "python" => {
                let Some(place) = available(websockets()) else { return false };
                self.python = Some(place);
                true
            }
            "openssl" => available(run(&mut self.shell("openssl version"))).is_some(),
            program => available(run(&mut self.shell(&format!("{program} --version")))).is_some(),
        }
    }

    fn follow(&mut self, block: &Block, shown: Option<&str>) {
        if !block.needs.iter().all(|program| self.has(program)) {
            return;
        }
        let comment = block.comment.as_ref().map(|(key, value)| (key.as_str(), value.as_str()));
        match comment {
            Some(("not run", reason)) => {
                assert!(REASONS.contains(&reason), "{}: `{reason}` is no reason of {REASONS:?}", block.chapter);
                return;
            }
            None => {}
            Some(("background until", until)) => {
                let process = Process::start(&mut self.shell(&format!("exec {}", block.text)));
                let begun = process.output().wait_for(WITHIN, |line| line.contains(until).then_some(()));
                assert!(begun.is_some(), "{}: {}\ndid not say `{until}`", block.chapter, block.text);
                self.running.push(process);
                return;
            }
            Some((other, _)) => panic!("{}: `{other}` means nothing before a command", block.chapter),
        }
        let printed = run(&mut self.shell(&block.text)).unwrap_or_else(|error| panic!("{}: {error}", block.chapter));
        if let Some(shown) = shown {
            let shown = self.here(shown);
            assert!(
                is_shown(&printed, &shown),
                "{}: {}\nprinted\n{printed}\nand not\n{shown}",
                block.chapter,
                block.text
            );
        }
    }
}

/// What the guide's client in Python needs.
fn websockets() -> Result<PathBuf, String> {
    let place = place("guide-python");
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/python/requirements.txt");
    once(&place, std::slice::from_ref(&list), |place| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--upgrade", "--no-deps", "--requirement"]).arg(&list);
        run(pip.arg("--target").arg(place)).map(drop)
    })?;
    Ok(place)
}

#[test]
fn every_command_works_and_prints_what_is_shown() {
    let mut reader = Reader::new();
    for chapter in chapters() {
        let blocks = blocks(&chapter);
        for (number, block) in blocks.iter().enumerate() {
            let text = include(&block.text);
            if let Some(("file", name)) = block.comment.as_ref().map(|(key, value)| (key.as_str(), value.as_str())) {
                std::fs::write(reader.desk.path().join(name), &text).expect("the directory is the reader's");
            } else if block.language == "sh" {
                let next = blocks.get(number + 1).filter(|next| next.language == "text" && next.follows);
                reader.follow(block, next.map(|next| next.text.as_str()));
            } else {
                assert!(
                    block.comment.is_none() && block.needs.is_empty(),
                    "{chapter}: {:?} says nothing about {}",
                    block.comment,
                    block.language
                );
            }
        }
    }
    assert!(!reader.running.is_empty(), "the guide starts a server");
}

#[test]
fn every_chapter_is_in_the_table_of_contents_and_every_link_leads_somewhere() {
    let chapters = chapters();
    for entry in std::fs::read_dir(guide().join("src")).expect("the guide has chapters") {
        let name = entry.expect("the guide can be read").file_name().to_string_lossy().into_owned();
        assert!(name == "SUMMARY.md" || chapters.contains(&name), "{name} is in no table of contents");
    }
    for chapter in &chapters {
        let text = read(&guide().join("src").join(chapter));
        for (_, rest) in text.match_indices("](").map(|(at, _)| text.split_at(at + 2)) {
            let to = rest.split(')').next().unwrap_or_default();
            let outside = to.starts_with("http") || to.starts_with('#');
            assert!(outside || guide().join("src").join(to).exists(), "{chapter}: {to} is not there");
        }
    }
}

#[test]
fn clients_have_fifty_lines() {
    for name in ["chat.py", "chat.mjs"] {
        let lines = read(&guide().join("clients").join(name)).lines().count();
        assert!(lines <= CLIENT_LINES, "{name} has {lines} lines");
    }
}
