//! A child process whose output is kept, and which does not outlive its owner.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The lines a process has written to stdout and stderr so far, as they came.
#[derive(Clone, Debug, Default)]
pub struct Captured(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Captured {
    /// All of it.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        // A reader that panicked left whole lines behind.
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something that `find` makes of a line, past and future ones.
    pub fn wait_for<T>(&self, within: Duration, mut find: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + within;
        let mut lines = self.lines();
        let mut seen = 0;
        loop {
            while let Some(line) = lines.get(seen) {
                if let Some(found) = find(line) {
                    return Some(found);
                }
                seen += 1;
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            lines = self.0.1.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn follow(&self, output: impl Read + Send + 'static) {
        let captured = self.clone();
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            while output.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                captured.lines().push(String::from_utf8_lossy(&line).trim_end().to_owned());
                captured.0.1.notify_all();
                line.clear();
            }
        });
    }
}

/// A running program. Dropping it kills it; if the thread is panicking, what it wrote is shown first.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: Captured,
}

impl Process {
    /// Starts a program without input.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(command: &mut Command) -> Process {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        let output = Captured::default();
        output.follow(child.stdout.take().expect("stdout was asked for"));
        output.follow(child.stderr.take().expect("stderr was asked for"));
        Process { name, child, output }
    }

    /// What it has written.
    #[must_use]
    pub fn output(&self) -> &Captured {
        &self.output
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its status, once it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Ends it at once (SIGKILL): it gets no chance to save anything.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("---- {} wrote:\n{}\n----", self.name, self.output.text());
        }
    }
}
