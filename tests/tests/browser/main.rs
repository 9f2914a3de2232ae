//! The page in headless Chromium, against the real server and the real model.
//!
//! Rooms: a conversation, the list of chats, the drawer, several people and lost connections, signing in, and whether everybody can use
//! it.
//!
//! Without Chromium and chromedriver these tests say so and pass, unless `CAUSERIE_REQUIRE_BROWSER=1` is set.

mod accessibility;
mod chats;
mod conversation;
mod drawer;
mod signing_in;
mod together;

use causerie_tests::{Browser, Server};
use serde_json::{Value, json};

/// A question whose answer is long enough to be watched and stopped.
const QUESTION: &str = "Write a long story about a lighthouse keeper and a whale.";

/// A browser, or `None` with the reason on stderr.
fn browser() -> Option<Browser> {
    match Browser::start(1200, 800) {
        Ok(browser) => {
            browser.emulate(1200, 800, "light");
            Some(browser)
        }
        Err(missing) => {
            let required = std::env::var_os("CAUSERIE_REQUIRE_BROWSER").is_some_and(|value| value == "1");
            assert!(!required, "{missing}");
            eprintln!("skipped: {missing}");
            None
        }
    }
}

/// Opens the page as somebody invited with `causerie token`.
fn sign_in(browser: &Browser, server: &Server, user: &str) {
    browser.open(&server.url(&format!("/#token={}", server.token(user))));
    wait_for_chat(browser);
}

fn wait_for_chat(browser: &Browser) {
    let script = "return !document.querySelector('#app').hidden && document.querySelector('#app').dataset.connection === 'open' \
                  && document.querySelector('#model').textContent !== ''";
    let _ = browser.wait("the chat, connected, with the model's name", script);
}

/// From now on, notes every length that the newest answer is seen with.
fn watch_answer(browser: &Browser) {
    let script = "window.seen = [];
        new MutationObserver(() => {
            const text = [...document.querySelectorAll('.message.assistant .text')].at(-1)?.textContent ?? '';
            if (text.length && text.length !== window.seen.at(-1)) window.seen.push(text.length);
        }).observe(document.querySelector('#log'), {childList: true, subtree: true, characterData: true});";
    let _ = browser.run(script, json!([]));
}

fn wait_for_answer(browser: &Browser) -> String {
    let script =
        "const all = [...document.querySelectorAll('.message.assistant:not(.streaming):not(.thinking) .text')];
        return document.querySelector('#stop').hidden && all.at(-1)?.textContent";
    browser.wait("a whole answer", script).as_str().unwrap_or_default().to_owned()
}

fn messages(browser: &Browser) -> Value {
    let script = "return [...document.querySelectorAll('.message .text')].map((text) => text.textContent)";
    browser.run(script, json!([]))
}

fn wait_for_messages(browser: &Browser, count: usize) {
    let script = format!("return document.querySelectorAll('.message:not(.streaming) .text').length === {count}");
    let _ = browser.wait(&format!("{count} messages"), &script);
}

fn wait_for_stream(browser: &Browser) {
    let script = "return document.querySelector('.message.streaming .text')?.textContent.length > 20";
    let _ = browser.wait("some of the answer", script);
}

/// Sends a message and stops its answer after some of it has come, so that a test does not wait for all of it.
fn ask_and_stop(browser: &Browser) {
    // Within the page: between two commands from outside a whole answer may come.
    let script = "const timer = setInterval(() => {
        const text = document.querySelector('.message.streaming .text')?.textContent ?? '';
        if (text.length <= 20) return;
        clearInterval(timer);
        document.querySelector('#stop').click();
    }, 5)";
    let _ = browser.run(script, json!([]));
    browser.type_into("#message", &format!("{QUESTION}\n"));
    let _ = wait_for_answer(browser);
}

/// Stops an answer after some of it has come, if it does not end by itself before, and waits until so many messages are whole.
fn cut_short(browser: &Browser, count: usize) {
    let script = format!(
        "const text = document.querySelector('.message.streaming .text')?.textContent ?? '';
        const stop = document.querySelector('#stop');
        if (text.length > 20 && !stop.hidden) stop.click();
        const whole = document.querySelectorAll('.message:not(.streaming):not(.thinking) .text').length;
        return stop.hidden && whole === {count}"
    );
    let _ = browser.wait("the answer's end", &script);
}

fn assert_stopped(browser: &Browser) {
    let script = "return document.querySelector('.message.assistant .state')?.textContent";
    let state = browser.wait("how the answer ended", script);
    assert!(state.as_str().is_some_and(|text| text.starts_with("Stopped")), "{state}");
}

/// Nothing was refused by the page's security policy, nothing failed, nothing threw.
fn assert_quiet(browser: &Browser) {
    let loud: Vec<String> = browser.console().into_iter().filter(|line| !line.starts_with("INFO")).collect();
    assert!(loud.is_empty(), "the console says: {loud:#?}");
}

/// Waits until the versions of a question or of an answer are shown as such a text.
fn wait_for_version(browser: &Browser, of: &str, version: &str) {
    let script = format!("return document.querySelector('.message.{of} .versions')?.textContent === '{version}'");
    let _ = browser.wait(&format!("version {version}"), &script);
}

/// Which button or field has the keyboard's focus.
fn wait_for_focus(browser: &Browser, selector: &str) {
    let script = format!("return document.activeElement.matches('{selector}')");
    let _ = browser.wait(&format!("the focus at {selector}"), &script);
}
