//! What happens on a terminal: a pseudo-terminal, which `script` of util-linux makes.

use super::*;

use std::process::{Child, ChildStdin};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// Far more than anything takes.
const WITHIN: Duration = Duration::from_secs(60);

/// A program on a terminal of its own, and somebody who types.
pub(super) struct Terminal {
    child: Child,
    pub(super) keys: ChildStdin,
    output: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    pub(super) fn start(command: &Command) -> Terminal {
        let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_str().unwrap().replace('\'', "'\\''"));
        let words: Vec<String> = [command.get_program()].into_iter().chain(command.get_args()).map(quoted).collect();
        let mut script = Command::new("script");
        // Without `exec` some shells stay in between, and die of the Ctrl-C that the program lives through.
        let line = format!("exec {}", words.join(" "));
        script.args(["-q", "-e", "-f", "-c", &line, "/dev/null"]);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        let started = script.env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.expect("`script` of util-linux is needed");
        let mut stdout = child.stdout.take().unwrap();
        let (found, output) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut bytes) {
                if found.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Terminal { keys: child.stdin.take().unwrap(), child, output, seen: String::new() }
    }

    /// Waits for words on the screen; gives what came up to them.
    #[track_caller]
    pub(super) fn see(&mut self, words: &str) -> String {
        let deadline = Instant::now() + WITHIN;
        let mut bytes = Vec::new();
        loop {
            if let Some(at) = self.seen.find(words) {
                let rest = self.seen.split_off(at + words.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(more) => bytes.extend(more),
                Err(_) => panic!("no {words:?} in {:?}", self.seen),
            }
            let whole = std::str::from_utf8(&bytes).map_or_else(|error| error.valid_up_to(), str::len);
            self.seen.push_str(text(&bytes[..whole]));
            bytes.drain(..whole);
        }
    }

    /// Waits for the prompt, then types.
    #[track_caller]
    pub(super) fn answer(&mut self, prompt: &str, keys: &str) {
        self.see(prompt);
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    #[track_caller]
    pub(super) fn end(mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + WITHIN;
        // A program that does not end is ended by the drop of this, and its test has failed by then.
        while let Ok(more) = self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.seen.push_str(&String::from_utf8_lossy(&more));
        }
        let ended = Instant::now() < deadline;
        assert!(ended, "it did not end: {:?}", self.seen);
        (self.child.wait().unwrap().code(), self.seen.clone())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The end of a drawn prompt, without colours: the cursor goes behind it.
pub(super) const PROMPT: &str = "> \r\x1b[2C";

fn chat(scratch: &Scratch, args: &[&str]) -> Command {
    let mut command = with_model(&["chat"]);
    command.args(args).env("CAUSERIE_DATA_DIR", scratch.join("data")).env("NO_COLOR", "1");
    command
}

#[test]
fn lines_are_edited_and_remembered_and_ctrl_c_stops_an_answer_and_then_leaves() {
    let scratch = Scratch::new();
    let mut terminal = Terminal::start(&chat(&scratch, &["--max-tokens", "3000", "--seed", "1"]));
    terminal.see("/help tells what you can do; Ctrl-C stops an answer, or leaves.");
    // Tab completes, Ctrl-A goes to the beginning, Ctrl-K deletes to the end.
    terminal.answer(PROMPT, "/statu\t\r");
    terminal.see("Messages      0");
    // A line is given up by Ctrl-C, and nobody leaves.
    terminal.answer(PROMPT, "Never said\x03");
    // What is pasted is one message, with its backslash.
    terminal.answer(PROMPT, "\x1b[200~Tell me a very long story \\\nof the sea.\x1b[201~");
    terminal.answer("of the sea.", "\r");
    terminal.see("\x1b[?2004l"); // the editor is at its end
    terminal.see(" "); // it is being told
    terminal.keys.write_all(b"\x03").unwrap();
    terminal.see("(stopped)");
    terminal.answer(PROMPT, "/set max_tokens 4 \\\r");
    terminal.answer("\n", "\x03");
    terminal.answer(PROMPT, "/history\r");
    terminal.see("you: Tell me a very long story \\\r\nof the sea.");
    terminal.answer(PROMPT, "\x03");
    let (code, rest) = terminal.end();
    assert_eq!(code, Some(0), "{rest}");
    assert!(rest.contains("causerie chat --resume"), "{rest}");

    // The next time it is offered, and what was typed is there.
    let mut terminal = Terminal::start(&chat(&scratch, &[]));
    terminal.see("/resume goes on with your last conversation: Tell me a very long story");
    terminal.answer(PROMPT, "\x1b[A");
    terminal.see("/history");
    terminal.keys.write_all(b"\x15/exit\r").unwrap();
    assert_eq!(terminal.end().0, Some(0));
    let remembered = fs::read_to_string(scratch.join("data").join("chats").join(".typed")).unwrap();
    assert!(remembered.contains("Tell me a very long story \\\\\\nof the sea."), "{remembered}");
    assert!(!remembered.contains("Never said"), "{remembered}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let file = scratch.join("data").join("chats").join(".typed");
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn there_are_colours_on_a_terminal_unless_no_color_says_no() {
    let scratch = Scratch::new();
    let seen = |no_color: Option<&str>| {
        let mut command = chat(&scratch, &["--temperature", "0", "--max-tokens", "2"]);
        match no_color {
            Some(value) => command.env("NO_COLOR", value),
            None => command.env_remove("NO_COLOR"),
        };
        let mut terminal = Terminal::start(&command);
        let mut seen = terminal.see("leaves.");
        seen += &terminal.see("> ");
        terminal.keys.write_all(b"Hi\r").unwrap();
        seen += &terminal.see("more)");
        seen += &terminal.see("> ");
        terminal.keys.write_all(b"\x04").unwrap();
        let (code, rest) = terminal.end();
        assert_eq!(code, Some(0), "{rest}");
        seen + &rest
    };
    let colours = |seen: &str| seen.contains("\x1b[2m") || seen.contains("\x1b[1");
    assert!(colours(&seen(None)));
    assert!(colours(&seen(Some(""))));
    let without = seen(Some("1"));
    assert!(!colours(&without), "{without:?}");
}

#[test]
fn who_is_ended_while_a_line_is_edited_leaves_the_terminal_as_it_was() {
    let scratch = Scratch::new();
    for (signal, code) in [("TERM", 143), ("HUP", 129)] {
        let chat = chat(&scratch, &[]);
        // The shell stays, and shows the terminal's modes before and after.
        let script = "echo modes $(stty -g) before; sh -c 'echo pid $$ is it; exec \"$0\" \"$@\"' \"$@\"; \
             echo code $? came; echo modes $(stty -g) after; exit 7";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(chat.get_program()).args(chat.get_args());
        for (name, value) in chat.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut terminal = Terminal::start(&command);
        let between = |seen: &str, word: &str| seen.rsplit(word).next().unwrap().trim().to_owned();
        let before = between(terminal.see(" before").trim_end_matches(" before"), "modes ");
        let pid = between(terminal.see(" is it").trim_end_matches(" is it"), "pid ");
        terminal.answer(PROMPT, "half a li");
        terminal.see("half a li");
        let killed = Command::new("kill").args([format!("-{signal}"), pid]).status().unwrap();
        assert!(killed.success());
        let seen = terminal.see(" came");
        assert!(seen.ends_with(&format!("code {code} came")), "SIG{signal}: {seen:?}");
        assert!(seen.contains("\x1b[?2004l"), "SIG{signal}: pastes are still marked: {seen:?}");
        let after = between(terminal.see(" after").trim_end_matches(" after"), "modes ");
        assert_eq!(after, before, "SIG{signal}");
        assert_eq!(terminal.end().0, Some(7));
    }
}

#[test]
fn a_terminal_obeys_nothing_that_a_conversation_holds() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.join("data").join("chats")).unwrap();
    let evil = serde_json::json!({"causerie": 1, "messages": [
        {"role": "user", "content": "hi\u{1b}]0;owned\u{7}"}, {"role": "assistant", "content": "\u{1b}[2Jgone"},
    ]});
    fs::write(scratch.join("data").join("chats").join("evil.json"), evil.to_string()).unwrap();
    let mut terminal = Terminal::start(&chat(&scratch, &[]));
    terminal.answer(PROMPT, "/load evil\r");
    let seen = terminal.see("gone");
    assert!(seen.contains("\\u{1b}]0;owned\\u{7}") && seen.contains("\\u{1b}[2Jgone"), "{seen:?}");
    assert!(!seen.contains("\x1b]0") && !seen.contains("\x1b[2J"), "{seen:?}");
    terminal.answer(PROMPT, "\x04");
    assert_eq!(terminal.end().0, Some(0));
}
