//! Where messages come from: a line editor on a terminal, lines elsewhere; on a thread of its own, so that frames of a
//! server are shown while somebody types.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor, ExternalPrinter};
use smol::channel::Sender;

use super::Event;
use super::command::Where;
use super::compose::{self, Ending};
use super::screen::Screen;
use super::typing::Typist;
use crate::cli::failure::Failure;
use crate::cli::private;

/// The longest message, in bytes: as long as one to a server may be.
const MESSAGE_BYTES: usize = 32 * 1024;

/// Messages that are remembered, in the file of the data directory.
const REMEMBERED: usize = 1000;

/// A longer one is not remembered, in bytes: with all of them the file stays below 4 MB.
const REMEMBERED_BYTES: usize = 4 * 1024;

/// What stands before what is typed.
const PROMPT: &str = "> ";

/// And before a line that goes on, where there is no editor.
const PROMPT_ON: &str = ". ";

/// What came from the keyboard.
#[derive(Debug)]
pub(super) enum Entry {
    /// Something to say or to do.
    Message(compose::Message),
    /// Nothing, or a line that was given up with Ctrl-C.
    Nothing,
    /// It has so many bytes, which are too many.
    TooLong(usize),
    /// Ctrl-C at an empty prompt.
    Interrupted,
    /// There is no more: Ctrl-D, or the end of a pipe.
    End,
    /// Or none that can be read.
    Unreadable(String),
}

/// Whoever is asked for the next message.
pub(super) struct Keyboard {
    asks: mpsc::SyncSender<()>,
    /// How the terminal was, where lines are edited.
    #[cfg(unix)]
    before: Option<rustix::termios::Termios>,
}

#[cfg(unix)]
impl Drop for Keyboard {
    /// When the program ends while a line is edited, as after the end of a connection, the terminal is what it was.
    fn drop(&mut self) {
        restore(self.before.as_ref());
    }
}

/// Makes the terminal what it was.
#[cfg(unix)]
fn restore(before: Option<&rustix::termios::Termios>) {
    use rustix::termios::{OptionalActions, tcsetattr};
    if let Some(before) = before {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        // And pastes come as they are. Not by way of `Stdout`, whose lock may be held by whoever waits to write.
        let _ = rustix::io::write(io::stdout(), b"\x1b[?2004l");
    }
}

/// Where to read.
enum Source {
    Editor(Box<Editor<Typist, FileHistory>>, Option<PathBuf>),
    Lines { prompt: bool },
}

impl Keyboard {
    /// A line editor where stdin and stdout are terminals, and what `screen` shows meanwhile goes above the line.
    /// `history` is the file of what was typed.
    pub(super) fn start(
        screen: &mut Screen,
        place: Where,
        history: Option<&Path>,
        events: Sender<Event>,
    ) -> Result<Keyboard, Failure> {
        #[cfg(unix)]
        let before = match io::stdin().is_terminal() && io::stdout().is_terminal() {
            true => rustix::termios::tcgetattr(io::stdin()).ok(),
            false => None,
        };
        let mut source = if io::stdin().is_terminal() && io::stdout().is_terminal() {
            editor(screen, place, history, events.clone())?
        } else {
            Source::Lines { prompt: io::stdin().is_terminal() }
        };
        let (asks, asked) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("keyboard".to_owned())
            .spawn(move || {
                while asked.recv().is_ok() {
                    if events.send_blocking(Event::Entered(source.read())).is_err() {
                        break;
                    }
                }
            })
            .map_err(|error| Failure::Failed(format!("cannot start a thread for the keyboard: {error}")))?;
        Ok(Keyboard {
            asks,
            #[cfg(unix)]
            before,
        })
    }

    /// What makes the terminal be as it was, for a program that ends at once.
    pub(super) fn restorer(&self) -> impl Fn() + Send + 'static {
        #[cfg(unix)]
        let before = self.before.clone();
        move || {
            #[cfg(unix)]
            restore(before.as_ref());
        }
    }

    /// Wants the next message, which comes as an event.
    pub(super) fn ask(&self) {
        // One is asked for at a time, so there is room; and a thread that is gone says nothing more.
        let _ = self.asks.try_send(());
    }
}

fn editor(screen: &mut Screen, place: Where, history: Option<&Path>, events: Sender<Event>) -> Result<Source, Failure> {
    let failed = |error: ReadlineError| Failure::Failed(format!("cannot edit lines on this terminal: {error}"));
    let config = Config::builder().max_history_size(REMEMBERED).and_then(|config| config.history_ignore_dups(true));
    let config = config.map_err(failed)?.history_ignore_space(true).build();
    let mut editor = Editor::with_config(config).map_err(failed)?;
    editor.set_helper(Some(Typist::new(place, screen.colours(), events)));
    if let Some(path) = history {
        let _ = editor.load_history(path); // the first time there is none
    }
    // Where there is no printer, as on a dumb terminal, texts go to where the cursor is.
    if let Ok(mut printer) = editor.create_external_printer() {
        screen.write_above_with(move |text| drop(printer.print(text)));
    }
    Ok(Source::Editor(Box::new(editor), history.map(Path::to_owned)))
}

impl Source {
    fn read(&mut self) -> Entry {
        match self {
            Source::Editor(editor, history) => edit(editor, history.as_deref()),
            Source::Lines { prompt } => lines(&mut io::stdin().lock(), *prompt),
        }
    }
}

fn edit(editor: &mut Editor<Typist, FileHistory>, history: Option<&Path>) -> Entry {
    if let Some(typist) = editor.helper_mut() {
        typist.begin();
    }
    let text = match editor.readline(PROMPT) {
        Ok(text) => text,
        Err(ReadlineError::Interrupted) => {
            let empty = editor.helper().is_none_or(Typist::at_nothing);
            return if empty { Entry::Interrupted } else { Entry::Nothing };
        }
        Err(ReadlineError::Eof) => return Entry::End,
        Err(error) => return Entry::Unreadable(error.to_string()),
    };
    let joints = editor.helper().map(Typist::joints).unwrap_or_default();
    if !text.trim().is_empty() && text.len() <= REMEMBERED_BYTES && editor.add_history_entry(&text).is_ok() {
        remember(editor, history);
    }
    entry(&text, &joints)
}

/// What cannot be remembered is no reason to stop talking.
fn remember(editor: &mut Editor<Typist, FileHistory>, history: Option<&Path>) {
    let Some(path) = history else { return };
    let directory = path.parent().map_or(Ok(()), private::directory);
    let written = directory.map_err(ReadlineError::from).and_then(|()| editor.append_history(path));
    if let Err(error) = written {
        tracing::info!(%error, path = %path.display(), "what was typed is not remembered");
    }
}

fn entry(text: &str, joints: &[usize]) -> Entry {
    let message = compose::meant(text, joints);
    match message.text.len() {
        0 => Entry::Nothing,
        1..=MESSAGE_BYTES if message.text.trim().is_empty() => Entry::Nothing,
        1..=MESSAGE_BYTES => Entry::Message(message),
        bytes => Entry::TooLong(bytes),
    }
}

/// Lines up to one that does not go on. What is too long is read to its end and not kept.
fn lines(input: &mut impl BufRead, prompt: bool) -> Entry {
    let mut text = String::new();
    let mut joints = Vec::new();
    loop {
        if prompt {
            let mut stderr = io::stderr().lock();
            let _ = stderr.write_all(if text.is_empty() { PROMPT } else { PROMPT_ON }.as_bytes());
            let _ = stderr.flush();
        }
        let line = match line(input) {
            Ok(Some(line)) => line,
            Ok(None) if text.is_empty() => return Entry::End,
            Ok(None) => return entry(&text, &joints), // what was begun is as whole as it gets
            Err(failed) => return failed,
        };
        text.push_str(&line);
        if text.len() > MESSAGE_BYTES {
            return Entry::TooLong(text.len());
        }
        match compose::ending(&text) {
            Ending::Whole => return entry(&text, &joints),
            Ending::Backslash => joints.push(text.len()),
            Ending::Open => {}
        }
        text.push('\n');
    }
}

/// A line without its end; `None` at the end of the input.
fn line(input: &mut impl BufRead) -> Result<Option<String>, Entry> {
    let unreadable = |error: io::Error| Entry::Unreadable(error.to_string());
    let mut line = Vec::new();
    input.take(MESSAGE_BYTES as u64 + 2).read_until(b'\n', &mut line).map_err(unreadable)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() > MESSAGE_BYTES {
        let rest = skip_line(input).map_err(unreadable)?;
        return Err(Entry::TooLong(line.len() + rest));
    } else if line.is_empty() {
        return Ok(None);
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}

/// Passes over the rest of a line; gives how many bytes that were.
fn skip_line(input: &mut impl BufRead) -> io::Result<usize> {
    let mut skipped = 0;
    loop {
        let seen = input.fill_buf()?;
        let (bytes, end) = match seen.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (seen.len(), seen.is_empty()),
        };
        input.consume(bytes);
        skipped += bytes - usize::from(end && bytes > 0);
        if end {
            return Ok(skipped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All entries of a pipe: messages as they are, `!N` for one that is too long by its bytes.
    fn entries(mut input: &[u8]) -> Vec<String> {
        let mut entries = Vec::new();
        loop {
            match lines(&mut input, false) {
                Entry::Message(message) => entries.push(message.text),
                Entry::Nothing => entries.push(String::new()),
                Entry::TooLong(bytes) => entries.push(format!("!{bytes}")),
                Entry::End => return entries,
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn lines_of_a_pipe_are_messages() {
        assert_eq!(entries(b"one\r\n\n two \nlast"), ["one", "", "two", "last"]);
        assert_eq!(entries(b"one\\\ntwo\nthree"), ["one\ntwo", "three"]);
        assert_eq!(entries(b"\"\"\"\na\n\nb\n\"\"\"\nc\n"), ["a\n\nb", "c"]);
        assert_eq!(entries(b"\"\"\"never closed\n"), ["never closed"]);
        assert_eq!(entries(b"ends in the middle \\"), ["ends in the middle"]);
        assert_eq!(entries(b"\xff\n"), ["\u{fffd}"]);
    }

    #[test]
    fn a_message_of_the_limit_is_read_and_one_byte_more_is_not() {
        let exact = "x".repeat(MESSAGE_BYTES);
        assert_eq!(entries(format!("{exact}\nnext\n").as_bytes()), [exact.as_str(), "next"]);
        let over = MESSAGE_BYTES + 1;
        for end in ["\n", "\r\n"] {
            let text = format!("{exact}x{end}next\n");
            let entries = entries(text.as_bytes());
            assert!(entries[0].starts_with('!'), "{:?}", &entries[0][..9]);
            assert_eq!(entries[1..], ["next"]);
        }
        assert_eq!(entries(format!("{exact}x\nnext\n").as_bytes())[0], format!("!{over}"));
        assert_eq!(entries(format!("{exact}xx\nnext\n").as_bytes()), [format!("!{}", over + 1), "next".to_owned()]);
    }
}
