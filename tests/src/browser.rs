//! Chromium, driven over WebDriver (W3C Recommendation) through chromedriver.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::agent;
use crate::{Process, TempDir, WITHIN};

/// What key names mean to WebDriver (section 17.4.2).
const ESCAPE: char = '\u{e00c}';

/// A browser with a profile of its own: another browser is another user.
#[derive(Debug)]
pub struct Browser {
    agent: ureq::Agent,
    session: String,
    _driver: Process,
    _profile: TempDir,
}

/// An element of the page, as WebDriver names it.
#[derive(Clone, Debug)]
pub struct Element(String);

/// There is no browser to drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing(String);

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`{}` is not installed: on Debian and Ubuntu run `apt-get install chromium chromium-driver`, \
             on Fedora `dnf install chromium chromedriver`",
            self.0
        )
    }
}

/// Where WebDriver puts an element's reference (section 12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

impl Browser {
    /// Starts one without a window, `width` × `height` CSS pixels large.
    ///
    /// # Errors
    /// [`Missing`] when Chromium or its driver is not in `PATH`.
    ///
    /// # Panics
    /// When it is and does not work.
    pub fn start(width: u32, height: u32) -> Result<Browser, Missing> {
        let chromium = in_path(&["chromium", "chromium-browser", "google-chrome"])?;
        let driver = in_path(&["chromedriver"])?;
        let profile = TempDir::new();
        let driver = Process::start(Command::new(driver).arg("--port=0"));
        let port: u16 = driver
            .output()
            .wait_for(WITHIN, |line| line.split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok())
            .unwrap_or_else(|| panic!("chromedriver printed no port within {WITHIN:?}"));
        let profile_arg = format!("--user-data-dir={}", profile.path().display());
        let size = format!("--window-size={width},{height}");
        let args = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            &profile_arg,
            &size,
        ];
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"binary": chromium, "args": args},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let agent = agent();
        let root = format!("http://127.0.0.1:{port}/session");
        let answer = call(&agent, "POST", &root, &capabilities).unwrap_or_else(|error| panic!("new session: {error}"));
        let id = answer["sessionId"].as_str().expect("a new session has an id");
        Ok(Browser { session: format!("{root}/{id}"), agent, _driver: driver, _profile: profile })
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.session);
        call(&self.agent, method, &url, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Goes to an address.
    pub fn open(&self, url: &str) {
        self.command("POST", "/url", &json!({"url": url}));
    }

    /// Loads the page anew.
    pub fn reload(&self) {
        self.command("POST", "/refresh", &json!({}));
    }

    /// The address it is at.
    #[must_use]
    pub fn address(&self) -> String {
        self.command("GET", "/url", &Value::Null).as_str().unwrap_or_default().to_owned()
    }

    /// Opens a new tab, goes to it, and gives its handle.
    ///
    /// # Panics
    /// When the driver gives none.
    #[must_use]
    pub fn new_tab(&self) -> String {
        let tab = self.command("POST", "/window/new", &json!({"type": "tab"}));
        let handle = tab["handle"].as_str().expect("a new tab has a handle").to_owned();
        self.switch_to(&handle);
        handle
    }

    /// The handle of the tab that commands go to.
    #[must_use]
    pub fn tab(&self) -> String {
        self.command("GET", "/window", &Value::Null).as_str().unwrap_or_default().to_owned()
    }

    /// Makes commands go to another tab, which becomes the visible one.
    pub fn switch_to(&self, handle: &str) {
        self.command("POST", "/window", &json!({"handle": handle}));
    }

    /// Runs a function body in the page; `arguments` holds the arguments, and what it returns comes back.
    #[must_use]
    pub fn run(&self, script: &str, arguments: Value) -> Value {
        let arguments = if arguments.is_array() { arguments } else { json!([arguments]) };
        self.command("POST", "/execute/sync", &json!({"script": script, "args": arguments}))
    }

    /// Waits until a function body returns something other than false, null, 0 or an empty string, and gives that.
    ///
    /// # Panics
    /// When it does not within [`WITHIN`]; then a screenshot is saved beside the others.
    #[must_use]
    pub fn wait(&self, what: &str, script: &str) -> Value {
        let deadline = Instant::now() + WITHIN;
        loop {
            let value = self.run(script, json!([]));
            let empty = value.is_null() || value == json!(false) || value == json!(0) || value == json!("");
            if !empty {
                return value;
            }
            if Instant::now() >= deadline {
                let picture = self.screenshot("failed");
                let text = self.run("return document.body.innerText", json!([]));
                panic!("{what}: not within {WITHIN:?}; see {}\nThe page: {text}", picture.display());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The first element that a CSS selector finds.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn find(&self, selector: &str) -> Element {
        let found = self.command("POST", "/element", &json!({"using": "css selector", "value": selector}));
        Element(found[ELEMENT].as_str().expect("an element has a reference").to_owned())
    }

    /// Clicks an element as a person would: it must be visible and not covered.
    pub fn click(&self, selector: &str) {
        let Element(id) = self.find(selector);
        self.command("POST", &format!("/element/{id}/click"), &json!({}));
    }

    /// Types into an element, key by key. `\n` is the Enter key.
    pub fn type_into(&self, selector: &str, text: &str) {
        let Element(id) = self.find(selector);
        // WebDriver's code for Enter; a plain line feed is another key to some pages.
        let text = text.replace('\n', "\u{e007}");
        self.command("POST", &format!("/element/{id}/value"), &json!({"text": text}));
    }

    /// Presses Escape in the page.
    pub fn press_escape(&self) {
        let key = json!({"actions": [{"type": "key", "id": "keyboard", "actions": [
            {"type": "keyDown", "value": ESCAPE}, {"type": "keyUp", "value": ESCAPE},
        ]}]});
        self.command("POST", "/actions", &key);
    }

    /// A command of the Chrome DevTools Protocol, such as `Emulation.setEmulatedMedia`.
    #[must_use]
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.command("POST", "/goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    /// Shows the page as a device of another size or colour scheme (`light` or `dark`) does.
    pub fn emulate(&self, width: u32, height: u32, scheme: &str) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        let _ = self.devtools("Emulation.setDeviceMetricsOverride", &size);
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        let _ = self.devtools("Emulation.setEmulatedMedia", &media);
    }

    /// What the console has said since the last call: errors, refused content and uncaught exceptions among it.
    #[must_use]
    pub fn console(&self) -> Vec<String> {
        let entries = self.command("POST", "/se/log", &json!({"type": "browser"}));
        let entries = entries.as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| format!("{}: {}", text(&entry["level"]), text(&entry["message"]))).collect()
    }

    /// Saves what is seen as `NAME.png` under the target directory, says where, and gives the path.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn screenshot(&self, name: &str) -> PathBuf {
        let encoded = self.command("GET", "/screenshot", &Value::Null);
        let picture = base64(encoded.as_str().unwrap_or_default());
        let test = std::env::current_exe().expect("a running program has a path");
        let directory = test.ancestors().nth(3).unwrap_or(Path::new(".")).join("screenshots");
        std::fs::create_dir_all(&directory).expect("the target directory can be written to");
        let path = directory.join(format!("{name}.png"));
        std::fs::write(&path, picture).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        println!("screenshot: {}", path.display());
        path
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser; its driver, a child of ours, is killed afterwards.
        let _ = call(&self.agent, "DELETE", &self.session, &Value::Null);
    }
}

/// One WebDriver command (section 6): the `value` of its answer, or the error and its message.
fn call(agent: &ureq::Agent, method: &str, url: &str, body: &Value) -> Result<Value, String> {
    let answer = match method {
        "POST" => agent.post(url).header("Content-Type", "application/json").send(body.to_string()),
        "DELETE" => agent.delete(url).call(),
        _ => agent.get(url).call(),
    };
    let mut answer = answer.map_err(|error| error.to_string())?;
    // Screenshots are larger than what is read without being asked.
    let answer_text = answer.body_mut().with_config().limit(64 << 20).read_to_string();
    let mut value: Value = serde_json::from_str(&answer_text.map_err(|error| error.to_string())?)
        .map_err(|error| format!("the driver's answer is not JSON: {error}"))?;
    let value = value["value"].take();
    match value.get("error") {
        Some(error) if !answer.status().is_success() => Err(format!("{}: {}", text(error), text(&value["message"]))),
        _ => Ok(value),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn in_path(names: &[&str]) -> Result<PathBuf, Missing> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).flat_map(|place| names.iter().map(move |name| place.join(name)));
    places.find(|candidate| candidate.is_file()).ok_or_else(|| Missing(names[0].to_owned()))
}

/// Decodes base64 (RFC 4648, section 4), passing over what does not belong to it.
fn base64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for character in text.bytes() {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8); // the lower eight bits
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn vectors_of_rfc_4648() {
        for (encoded, plain) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")] {
            assert_eq!(base64(encoded), plain.as_bytes());
        }
    }
}
