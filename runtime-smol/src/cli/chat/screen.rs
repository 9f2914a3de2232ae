//! What is shown: answers and what people say on stdout, all else on stderr.
//!
//! While a line is edited nothing may be written into it: then whole lines go above it.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use crate::cli::output::{Paint, Style, harmless};

/// Texts that wait to be shown above the line that is edited. There are more only while the terminal takes nothing.
const WAITING: usize = 256;

/// How long the end of editing waits for what is still to be shown above the line.
const SETTLE: Duration = Duration::from_millis(100);

/// What is shown, and where.
pub(super) struct Screen {
    out_is_terminal: bool,
    err: Paint,
    out: Paint,
    above: Option<Above>,
    editing: bool,
    /// The last thing on stdout was no line end.
    within_line: bool,
    /// Something was said since a line was edited the last time.
    said: bool,
    /// Of an answer that comes while a line is edited: what has no line end yet.
    unfinished: String,
}

impl Screen {
    /// On what this process was given.
    pub(super) fn new() -> Screen {
        let out_is_terminal = io::stdout().is_terminal();
        Screen {
            out_is_terminal,
            err: Paint::on(io::stderr().is_terminal()),
            out: Paint::on(out_is_terminal),
            above: None,
            editing: false,
            within_line: false,
            said: false,
            unfinished: String::new(),
        }
    }

    /// Whether there are colours on stdout.
    pub(super) fn colours(&self) -> bool {
        self.out.wanted()
    }

    /// From now on there is something that can write above a line that is edited.
    pub(super) fn write_above_with(&mut self, print: impl FnMut(String) + Send + 'static) {
        self.above = Above::start(print);
    }

    /// A line is edited from now on.
    pub(super) fn edit(&mut self) {
        self.end_line();
        if std::mem::take(&mut self.said) && self.out_is_terminal && self.above.is_some() {
            let _ = writeln!(io::stdout().lock()); // sets off what is typed next
        }
        self.editing = true;
    }

    /// And no longer. What was shown meanwhile is on the screen, unless the terminal takes nothing.
    pub(super) fn edited(&mut self) {
        self.editing = false;
        if let Some(above) = &mut self.above {
            above.settle();
        }
        let unfinished = std::mem::take(&mut self.unfinished);
        if !unfinished.is_empty() {
            let _ = self.begin(&unfinished);
        }
    }

    /// The beginning of a line, which is harmless already and may have colours.
    fn begin(&mut self, painted: &str) -> io::Result<()> {
        if self.editing && self.above.is_some() {
            self.unfinished.push_str(painted);
            return Ok(());
        }
        self.within_line = true;
        let mut out = io::stdout().lock();
        out.write_all(painted.as_bytes())?;
        out.flush()
    }

    /// A piece of an answer.
    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        if let (true, Some(above)) = (self.editing, &mut self.above) {
            self.unfinished.push_str(&harmless(text));
            if let Some(end) = self.unfinished.rfind('\n') {
                above.show(self.unfinished.drain(..=end).collect());
            }
            return Ok(());
        }
        let mut out = io::stdout().lock();
        // In a pipe it is nobody's to change.
        let shown = if self.out_is_terminal { harmless(text) } else { text.into() };
        out.write_all(shown.as_bytes())?;
        out.flush()?;
        if let Some(last) = text.chars().next_back() {
            self.within_line = last != '\n';
            self.said = true;
        }
        Ok(())
    }

    /// The end of an answer, or of what somebody said.
    pub(super) fn end_answer(&mut self) -> io::Result<()> {
        if self.editing {
            if !self.unfinished.is_empty() {
                self.say("\n")?;
            }
            return Ok(());
        }
        if std::mem::take(&mut self.within_line) {
            self.say("\n")?;
        }
        Ok(())
    }

    /// The end of an answer that may have been empty.
    pub(super) fn end_line_of_answer(&mut self) -> io::Result<()> {
        let unfinished =
            if self.editing && self.above.is_some() { !self.unfinished.is_empty() } else { self.within_line };
        if unfinished { self.say("\n") } else { Ok(()) }
    }

    /// What a person said, or the name before what the model says.
    pub(super) fn person(&mut self, name: &str, text: &str) -> io::Result<()> {
        self.end_answer()?;
        let name = self.out.paint(Style::Bold, &format!("{}:", harmless(name)));
        self.begin(&format!("{name} "))?;
        self.say(text)
    }

    /// Something beside the conversation.
    pub(super) fn note(&mut self, text: &str) {
        self.aside(text, Some(Style::Dim));
    }

    /// What was asked for by a command.
    pub(super) fn tell(&mut self, text: &str) {
        self.aside(text, None);
    }

    fn aside(&mut self, text: &str, style: Option<Style>) {
        let text = harmless(text);
        let paint = |paint: Paint| style.map_or_else(|| text.to_string(), |style| paint.paint(style, &text));
        if let (true, Some(above)) = (self.editing, &mut self.above) {
            above.show(format!("{}\n", paint(self.out)));
            return;
        }
        self.end_line();
        // Where stderr is closed there is nobody to tell.
        let _ = writeln!(io::stderr().lock(), "{}", paint(self.err));
    }

    fn end_line(&mut self) {
        if self.out_is_terminal && std::mem::take(&mut self.within_line) {
            let _ = writeln!(io::stdout().lock());
        }
    }
}

/// Writes above the line that is edited, on a thread of its own: the editor takes one text at a time, and only while it
/// is at work.
struct Above {
    texts: SyncSender<String>,
    shown: Receiver<()>,
    waiting: usize,
}

impl Above {
    fn start(mut print: impl FnMut(String) + Send + 'static) -> Option<Above> {
        let (texts, incoming) = mpsc::sync_channel::<String>(WAITING);
        let (done, shown) = mpsc::sync_channel(2 * WAITING);
        let started = thread::Builder::new().name("above".to_owned()).spawn(move || {
            while let Ok(text) = incoming.recv() {
                print(text);
                if done.send(()).is_err() {
                    break;
                }
            }
        });
        started.is_ok().then_some(Above { texts, shown, waiting: 0 })
    }

    fn show(&mut self, text: String) {
        while self.shown.try_recv().is_ok() {
            self.waiting = self.waiting.saturating_sub(1);
        }
        // A terminal that takes nothing for so long shows nothing of it later.
        if self.texts.try_send(text).is_ok() {
            self.waiting += 1;
        }
    }

    fn settle(&mut self) {
        while self.waiting > 0 && self.shown.recv_timeout(SETTLE).is_ok() {
            self.waiting -= 1;
        }
    }
}
