//! Whether everybody can use the page: axe-core finds no violation, in light and dark, wide and narrow. And how soon it is seen.
//!
//! axe-core is installed by npm under the target directory, at the version in `tests/clients/axe`. Where that cannot be done the
//! test says so and passes, unless `CAUSERIE_REQUIRE_BROWSER=1` is set.

use causerie_tests::{Server, axe};
use serde_json::json;

use crate::*;

#[test]
fn axe_finds_no_violation() {
    let Some(browser) = browser() else { return };
    let axe = match axe::script() {
        Ok(axe) => axe,
        Err(missing) => {
            let required = std::env::var_os("CAUSERIE_REQUIRE_BROWSER").is_some_and(|value| value == "1");
            assert!(!required, "{missing}");
            eprintln!("skipped: {missing}");
            return;
        }
    };
    let server = Server::start();
    for scheme in ["light", "dark"] {
        browser.emulate(1200, 800, scheme);
        browser.open(&server.url("/"));
        let _ = browser.wait("the sign-in panel", "return !document.querySelector('#sign-in').hidden");
        axe::assert_accessible(&browser, &axe, &format!("signing in, {scheme}"));

        sign_in(&browser, &server, "ada");
        browser.reload();
        wait_for_chat(&browser);
        axe::assert_accessible(&browser, &axe, &format!("an empty chat, {scheme}"));
        ask_and_stop(&browser);
        let code = "return import('/render.js').then(({render}) => { document.querySelector('.message.assistant .text').append(
            render('```js\\nconst answer = \"42\"; // why?\\n```\\n\\n| a | b |\\n|---|---|\\n| 1 | 2 |')); return true; })";
        let _ = browser.run(code, json!([]));
        let _ = browser.wait("colours", "return document.querySelector('.hljs-keyword') !== null");
        browser.type_into("#message", "/help\n");
        let _ = browser
            .wait("the commands", "return document.querySelector('.note .text')?.textContent.includes('/status')");
        axe::assert_accessible(&browser, &axe, &format!("a chat, {scheme}"));

        browser.click("#more");
        axe::assert_accessible(&browser, &axe, &format!("a menu, {scheme}"));
        browser.press_escape();
        browser.click("#settings");
        let _ = browser.wait("the drawer", "return !document.querySelector('#drawer').hidden");
        browser.type_into("#set-top_p", "7");
        axe::assert_accessible(&browser, &axe, &format!("the drawer, {scheme}"));
        browser.click("#settings-close");
        browser.click("#invite");
        let _ = browser.wait("the dialog", "return document.querySelector('#dialog[open] #dialog-input') !== null");
        axe::assert_accessible(&browser, &axe, &format!("a question, {scheme}"));
        browser.type_into("#dialog-input", "bob\n");
        let _ = browser.wait("links", "return document.querySelector('#dialog[open] summary') !== null");
        browser.click("#dialog summary");
        axe::assert_accessible(&browser, &axe, &format!("an invitation, {scheme}"));
        browser.click("#dialog-confirm");

        browser.emulate(390, 844, scheme);
        axe::assert_accessible(&browser, &axe, &format!("a phone, {scheme}"));
        browser.click("#menu");
        let _ = browser.wait("the list", "return document.querySelector('#sidebar').classList.contains('open')");
        axe::assert_accessible(&browser, &axe, &format!("a phone's list, {scheme}"));
        browser.press_escape();
        browser.click("#settings");
        let _ = browser.wait("the drawer", "return !document.querySelector('#drawer').hidden");
        axe::assert_accessible(&browser, &axe, &format!("a phone's drawer, {scheme}"));
        browser.screenshot(&format!("drawer-phone-{scheme}"));
        let _ = browser.run("localStorage.clear()", json!([]));
        browser.open("about:blank");
    }
}

#[test]
fn something_is_seen_before_any_script_has_run() {
    let Some(browser) = browser() else { return };
    let server = Server::start();
    // As after a first look, when a script is still on its way; and with one that was chosen against the system's.
    sign_in(&browser, &server, "ada");
    let _ = browser.run("localStorage.setItem('causerie.theme', 'dark')", json!([]));
    let _ = browser.devtools("Network.enable", &json!({}));
    let _ = browser.devtools("Network.setBlockedURLs", &json!({ "urls": ["*/app.js"] }));
    browser.reload();
    let painted = "return performance.getEntriesByName('first-contentful-paint').length > 0";
    let _ = browser.wait("the first paint", painted);
    let seen = "const splash = document.querySelector('#splash');
        const ground = getComputedStyle(document.body).backgroundColor;
        return [splash.innerText.includes('Causerie'), splash.querySelector('.mark').getBoundingClientRect().width > 0, ground]";
    assert_eq!(browser.run(seen, json!([])), json!([true, true, "rgb(27, 25, 23)"]));
    let waiting = "return getComputedStyle(document.querySelector('#splash .wait')).opacity === '1'";
    let _ = browser.wait("a word that it takes longer", waiting);
    browser.screenshot("splash");
    match axe::script() {
        Ok(axe) => {
            axe::assert_accessible(&browser, &axe, "the splash, dark");
            let _ = browser.run("document.documentElement.dataset.theme = 'light'", json!([]));
            axe::assert_accessible(&browser, &axe, "the splash, light");
        }
        Err(missing) => eprintln!("axe-core is left out: {missing}"),
    }
    let _ = browser.devtools("Network.setBlockedURLs", &json!({ "urls": [] }));
    browser.reload();
    wait_for_chat(&browser);
    assert_eq!(browser.run("return document.querySelector('#splash')", json!([])), Value::Null);
}

#[test]
fn nothing_is_wider_than_a_phone_and_what_is_covered_cannot_be_reached() {
    let Some(browser) = browser() else { return };
    let server = Server::start();
    browser.emulate(320, 640, "light");
    sign_in(&browser, &server, "ada");
    ask_and_stop(&browser);
    let fits = "return document.documentElement.scrollWidth <= innerWidth && document.querySelector('#chat').scrollWidth <= innerWidth";
    assert_eq!(browser.run(fits, json!([])), true);
    browser.click("#menu");
    assert_eq!(browser.run("return document.querySelector('#chat').inert", json!([])), true);
    browser.press_escape();
    assert_eq!(browser.run("return document.querySelector('#chat').inert", json!([])), false);
    wait_for_focus(&browser, "#menu");
}
