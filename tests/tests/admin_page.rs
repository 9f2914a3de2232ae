//! The administrators' page in headless Chromium, against the real server and the real model.
//!
//! Without Chromium and chromedriver these tests say so and pass, unless `CAUSERIE_REQUIRE_BROWSER=1` is set. axe-core comes by
//! npm at the version in `tests/clients/axe`; without it accessibility is not looked at, unless the same is set.

use causerie_tests::{Browser, Client, Server, WITHIN, axe};
use serde_json::json;

fn is_required() -> bool {
    std::env::var_os("CAUSERIE_REQUIRE_BROWSER").is_some_and(|value| value == "1")
}

/// A browser, or `None` with the reason on stderr.
fn browser() -> Option<Browser> {
    match Browser::start(1280, 900) {
        Ok(browser) => {
            browser.emulate(1280, 900, "light");
            Some(browser)
        }
        Err(missing) => {
            assert!(!is_required(), "{missing}");
            eprintln!("skipped: {missing}");
            None
        }
    }
}

/// Asserts that axe-core, where it is, finds nothing wrong with what is seen now.
fn assert_accessible(browser: &Browser, axe: Option<&str>, what: &str) {
    if let Some(axe) = axe {
        axe::assert_accessible(browser, axe, what);
    }
}

fn text(browser: &Browser, selector: &str) -> String {
    let text = browser.run("return document.querySelector(arguments[0])?.innerText ?? ''", json!([selector]));
    text.as_str().unwrap_or_default().to_owned()
}

fn wait_for_text(browser: &Browser, selector: &str, part: &str) {
    let script = format!("return document.querySelector({selector:?})?.innerText.includes({part:?})");
    let _ = browser.wait(&format!("{part:?} in {selector}"), &script);
}

#[test]
fn an_administrator_sees_what_goes_on_and_acts() {
    let Some(browser) = browser() else { return };
    let axe = axe::script().map_or_else(
        |missing| {
            assert!(!is_required(), "{missing}");
            eprintln!("accessibility is not looked at: {missing}");
            None
        },
        Some,
    );
    let server = Server::start();
    let mut ada = server.connect("ada <b>bold</b>");
    ada.create_session("Physics");
    ada.send(&json!({"type": "chat_message", "message": "Hi", "sampling": {"max_tokens": 20}}));
    ada.expect_where("an answer", WITHIN, |f| f["type"] == "message" && f["role"] == "assistant");

    // Nobody, and somebody who is no administrator, see nothing.
    browser.open(&server.url("/admin"));
    let _ = browser.wait("the sign-in", "return !document.querySelector('#sign-in').hidden");
    assert_accessible(&browser, axe.as_deref(), "signing in");
    browser.type_into("#token", &format!("{}\n", server.token("mallory")));
    wait_for_text(&browser, "#message", "administrators");
    assert_eq!(text(&browser, "#users"), "");

    browser.type_into("#token", &format!("{}\n", server.token_with("root", &["--role", "admin"])));
    wait_for_text(&browser, "#users", "ada <b>bold</b>");
    wait_for_text(&browser, "#figures", "First token, median");
    wait_for_text(&browser, "#model", "is ready");
    assert!(text(&browser, "#audit").contains("first sign in"), "{}", text(&browser, "#audit"));
    let injected = browser.run("return document.querySelectorAll('main b:not(figcaption b)').length", json!([]));
    assert_eq!(injected, json!(0), "what people wrote is only text");

    // A second look at the figures, so that the plots have a line.
    let _ = browser.wait("a plot", "return document.querySelector('.curve').getAttribute('d').includes('L')");
    for scheme in ["light", "dark"] {
        browser.emulate(1280, 900, scheme);
        assert_accessible(&browser, axe.as_deref(), scheme);
        browser.screenshot(&format!("admin-{scheme}"));
    }
    browser.emulate(400, 800, "light");
    assert_accessible(&browser, axe.as_deref(), "narrow");
    let wide = browser.run("return document.documentElement.scrollWidth", json!([]));
    assert!(wide.as_u64() <= Some(400), "the page is {wide} wide on a phone");
    browser.screenshot("admin-narrow");
    browser.emulate(1280, 900, "light");

    // An invitation lets somebody in.
    browser.type_into("#invite-name", "grace\n");
    let link = browser.wait("a link", "return document.querySelector('#invite-link').value");
    let token = link.as_str().unwrap().split_once("#token=").expect("a link with a token").1.to_owned();
    let mut grace = Client::connect(server.address(), &token);
    assert_eq!(grace.expect("connection_established")["message"], "Connected as grace");

    // A user who is disabled is out, and can be let in again with the same button, by the keyboard alone.
    let press = "const row = [...document.querySelectorAll('#users tr')].find((row) => row.innerText.includes('ada'));
        row.querySelector('button').focus(); document.activeElement.click(); return true";
    let _ = browser.run(press, json!([]));
    assert_eq!(ada.expect_close().code, 1008);
    wait_for_text(&browser, "#users", "disabled");
    let focused = browser.run("return document.activeElement.textContent", json!([]));
    assert_eq!(focused, json!("Enable"), "the focus stays on the button");
    let _ = browser.run(press, json!([]));
    let enabled = "return !document.querySelector('#users').innerText.includes('disabled')";
    let _ = browser.wait("ada enabled again", enabled);
    let _ada = server.connect("ada <b>bold</b>");
    wait_for_text(&browser, "#audit", "user changed");
    let complaints: Vec<String> =
        browser.console().into_iter().filter(|line| !line.contains("/favicon") && !line.contains("403")).collect();
    assert_eq!(complaints, Vec::<String>::new());
}
