//! The page in headless Chromium, against the real server and the real model.
//!
//! Without Chromium and chromedriver these tests say so and pass, unless `CAUSERIE_REQUIRE_BROWSER=1` is set.

use causerie_tests::{Browser, Options, Server, WITHIN};
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

#[test]
fn the_printed_link_signs_in_and_an_answer_streams() {
    let Some(browser) = browser() else { return };
    let server = Server::start();
    browser.open(server.login_link());
    wait_for_chat(&browser);
    assert!(!browser.address().contains("login"), "the code stays in the address: {}", browser.address());

    watch_answer(&browser);
    browser.type_into("#message", "Explain in a few sentences how a rainbow forms.\n");
    let _ = browser.wait("the stop button", "return !document.querySelector('#stop').hidden");
    wait_for_stream(&browser);
    browser.screenshot("streaming");
    let answer = wait_for_answer(&browser);
    let seen = browser.run("return window.seen", json!([]));
    let pieces = seen.as_array().map_or(0, Vec::len);
    assert!(pieces > 2, "the answer came in {pieces} pieces: {seen}");
    assert!(answer.len() > 20, "{answer}");
    browser.screenshot("answered");
    browser.emulate(1200, 800, "dark");
    browser.screenshot("answered-dark");
    browser.emulate(390, 844, "light");
    browser.screenshot("answered-phone");
    assert_quiet(&browser);
}

#[test]
fn a_reload_finds_the_conversation() {
    let Some(browser) = browser() else { return };
    let server = Server::start();
    sign_in(&browser, &server, "ada");
    ask_and_stop(&browser);
    let before = messages(&browser);
    assert_eq!(before[0], QUESTION);
    browser.reload();
    wait_for_messages(&browser, 2);
    assert_eq!(messages(&browser), before);
    assert_stopped(&browser);
    assert_quiet(&browser);
}

#[test]
fn the_keyboard_stops_an_answer_and_starts_a_chat() {
    let Some(browser) = browser() else { return };
    let server = Server::start();
    sign_in(&browser, &server, "ada");
    browser.type_into("#message", &format!("{QUESTION}\n"));
    wait_for_stream(&browser);
    browser.press_escape();
    let _ = wait_for_answer(&browser);
    assert_stopped(&browser);
    assert_eq!(browser.run("return document.querySelectorAll('#sessions li').length", json!([])), 1);
    browser.type_into("#message", "\u{e009}k\u{e000}"); // Ctrl+K
    let _ = browser.wait("an empty chat", "return !document.querySelector('#welcome').hidden");
    let _ = browser.wait("the focus", "return document.activeElement.id === 'message'");
    assert_quiet(&browser);
}

#[test]
fn a_second_tab_and_a_second_user_see_the_same() {
    let Some(ada) = browser() else { return };
    let Some(bob) = browser() else { return };
    let server = Server::start();
    sign_in(&ada, &server, "ada");
    ask_and_stop(&ada);
    let chat = ada.address();

    ada.click("#invite");
    ada.type_into("#dialog-input", "bob");
    ada.click("#dialog-confirm");
    let _ = ada.wait("that bob was invited", "return document.querySelector('.toast')?.textContent.includes('bob')");

    // Bob signs in, and finds the chat in his list.
    sign_in(&bob, &server, "bob");
    let _ = bob.wait("the chat in his list", "return document.querySelector('#sessions a') !== null");
    bob.click("#sessions a");
    wait_for_messages(&bob, 2);
    assert_eq!(messages(&bob), messages(&ada));
    let _ = ada.wait("bob's presence", "return document.querySelector('#people').textContent.includes('bob')");

    // A second tab of ada's.
    let first = ada.tab();
    let second = ada.new_tab();
    ada.open(&chat);
    wait_for_messages(&ada, 2);

    bob.type_into("#message", "Hello ada, what did the whale say?");
    let _ = ada.wait("that bob types", "return document.querySelector('#typing').textContent === 'bob is typing…'");
    bob.type_into("#message", "\n");
    cut_short(&bob, 4);
    let all = messages(&bob);
    for tab in [&second, &first] {
        ada.switch_to(tab);
        wait_for_messages(&ada, 4);
        assert_eq!(messages(&ada), all);
    }
    ada.screenshot("two-people");
    assert_quiet(&ada);
    assert_quiet(&bob);
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

#[test]
fn answers_are_made_anew_and_questions_edited_and_all_versions_can_be_seen() {
    let Some(browser) = browser() else { return };
    let server = Server::start();
    sign_in(&browser, &server, "ada");
    ask_and_stop(&browser);
    let first = messages(&browser);
    let id = "return document.querySelector('.message.assistant').dataset.id";
    let first_id = browser.run(id, json!([]));

    // Another answer takes the place of the first one, which is one key away.
    browser.click(".message.assistant .again");
    wait_for_version(&browser, "assistant", "2/2");
    cut_short(&browser, 2);
    let second = messages(&browser);
    assert_ne!(browser.run(id, json!([])), first_id);
    browser.click(".versions .before");
    wait_for_version(&browser, "assistant", "1/2");
    assert_eq!(messages(&browser), first);
    assert_eq!(browser.run(id, json!([])), first_id);
    wait_for_focus(&browser, ".versions .after");
    browser.screenshot("versions");
    browser.type_into(".versions .after", "\n");
    wait_for_version(&browser, "assistant", "2/2");
    assert_eq!(messages(&browser), second);

    // Escape leaves a question as it was; Enter asks the new one.
    browser.click(".message.mine .edit");
    wait_for_focus(&browser, ".editor textarea");
    browser.type_into(".editor textarea", " No!");
    browser.screenshot("editing");
    browser.press_escape();
    wait_for_focus(&browser, ".message.mine .edit");
    assert_eq!(messages(&browser), second);
    browser.click(".message.mine .edit");
    wait_for_focus(&browser, ".editor textarea");
    browser.type_into(".editor textarea", " Begin at sea.\n");
    wait_for_version(&browser, "user", "2/2");
    cut_short(&browser, 2);
    let edited = messages(&browser);
    assert_eq!((&edited[0], edited.as_array().map(Vec::len)), (&json!(format!("{QUESTION} Begin at sea.")), Some(2)));

    // What is said goes on from what is shown, and so it is found again.
    browser.click(".message.mine .versions .before");
    wait_for_version(&browser, "user", "1/2");
    assert_eq!(messages(&browser), second);
    browser.type_into("#message", "Thank you for this one.\n");
    cut_short(&browser, 4);
    let whole = messages(&browser);
    assert_eq!((&whole[0], &whole[1], &whole[2]), (&second[0], &second[1], &json!("Thank you for this one.")));
    for (width, height, scheme, name) in
        [(1200, 800, "light", "branches"), (1200, 800, "dark", "branches-dark"), (390, 844, "light", "branches-phone")]
    {
        browser.emulate(width, height, scheme);
        browser.screenshot(name);
    }
    browser.reload();
    wait_for_messages(&browser, 4);
    assert_eq!(messages(&browser), whole);
    assert_quiet(&browser);
}

#[test]
fn script_in_messages_titles_and_names_stays_text() {
    const SCRIPT: &str =
        "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script> [a](javascript:alert(1))";
    let Some(browser) = browser() else { return };
    let server = Server::start();
    sign_in(&browser, &server, "<b onclick=alert(1)>eve");
    browser.type_into("#message", &format!("{SCRIPT}\n"));
    let _ = browser.wait("its chat in the list", "return document.querySelector('#sessions a') !== null");
    let _ = wait_for_answer(&browser);
    assert_eq!(messages(&browser)[0], SCRIPT);
    let elements = "return [...document.querySelectorAll('#log img, #log script, #sessions img, #sessions script, \
                    #title *, #me-name *, a[href^=\"javascript\"]')].map((node) => node.tagName)";
    assert_eq!(browser.run(elements, json!([])), json!([]));
    assert_eq!(browser.run("return window.hacked === undefined", json!([])), true);
    assert_eq!(browser.run("return document.querySelector('#title').textContent.startsWith('<img')", json!([])), true);
    assert_quiet(&browser);
}

#[test]
fn a_lost_server_is_found_again_with_everything() {
    let Some(browser) = browser() else { return };
    let server = Server::start();
    sign_in(&browser, &server, "ada");
    ask_and_stop(&browser);
    let before = messages(&browser);
    let address = server.address();
    let data_dir = server.kill();
    let lost = "return document.querySelector('#banner').textContent.includes('Connection lost')";
    let _ = browser.wait("a word about it", lost);
    // Written while nobody is there to take it.
    browser.type_into("#message", "Are you still there?\n");
    let waits = "return document.querySelector('.message.pending .state')?.textContent === 'Sending…'";
    let _ = browser.wait("that it waits", waits);
    browser.screenshot("lost");

    let server = Server::start_with(Options { data_dir: Some(data_dir), listen: Some(address), ..Options::default() });
    assert_eq!(server.address(), address);
    let stored = "return document.querySelectorAll('.message.user:not(.pending)').length === 2";
    let _ = browser.wait("that it is stored", stored);
    let after = messages(&browser);
    assert_eq!((&after[0], &after[1]), (&before[0], &before[1]));
    assert_eq!(after[2], "Are you still there?");
    let _ = browser.wait("no word about it any more", "return document.querySelector('#banner').hidden");
    // The page may have been faster than the model; then it says so, and asks again when told to.
    let outcome = "return document.querySelectorAll('.message.assistant:not(.thinking)').length === 2 && 'answered' \
                   || document.querySelector('.note.error button') && 'not ready'";
    if browser.wait("an answer, or why there is none", outcome) == "not ready" {
        browser.click(".note.error button");
        let answered = "return document.querySelectorAll('.message.assistant:not(.thinking)').length === 2";
        let _ = browser.wait("an answer", answered);
    }
}

#[test]
fn without_a_sign_in_the_page_says_how_to_get_one() {
    let Some(browser) = browser() else { return };
    let server = Server::start();
    browser.open(&server.url("/"));
    let panel = "return !document.querySelector('#sign-in').hidden && document.querySelector('#sign-in').innerText";
    let text = browser.wait("the sign-in panel", panel);
    assert!(text.as_str().is_some_and(|text| text.contains("causerie token --user")), "{text}");
    browser.screenshot("sign-in");
    assert_quiet(&browser);

    browser.type_into("#credential", "nonsense\n");
    let reason = "return document.querySelector('#sign-in-reason').textContent";
    assert!(browser.wait("why not", reason).as_str().is_some_and(|text| text.contains("neither a link")));

    // A forged token looks like one; the server alone can tell, and says so.
    let forged = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4IiwidXNlcm5hbWUiOiJ4IiwiZXhwIjo0MTAyNDQ0ODAwfQ.";
    browser.type_into("#credential", &format!("{forged}\n"));
    let reason = "const text = document.querySelector('#sign-in-reason').textContent;
                  return !document.querySelector('#sign-in').hidden && !text.includes('neither a link') && text";
    let _ = browser.wait("the server's reason", reason);
    browser.screenshot("sign-in-refused");

    let token = server.token("ada");
    browser.type_into("#credential", &format!("{token}\n"));
    wait_for_chat(&browser);
    assert_eq!(browser.run("return document.querySelector('#me-name').textContent", json!([])), "ada");
}

#[test]
fn the_printed_link_works_once() {
    let Some(browser) = browser() else { return };
    let server = Server::start();
    browser.open(server.login_link());
    wait_for_chat(&browser);
    browser.click("#sign-out");
    let _ = browser.wait("the sign-in panel", "return !document.querySelector('#sign-in').hidden");
    assert_eq!(browser.run("return localStorage.length", json!([])), 0);
    assert_quiet(&browser);

    browser.type_into("#credential", &format!("{}\n", server.login_link()));
    let reason = "return document.querySelector('#sign-in-reason').textContent";
    let reason = browser.wait("why not", reason);
    assert!(reason.as_str().is_some_and(|text| text.contains("used")), "{reason}");
    assert_eq!(browser.run("return document.querySelector('#app').hidden", json!([])), true);
}

/// The token of a login link in its last minute, which it takes half a day to get to: made with the server's secret.
fn near_its_end(browser: &Browser, server: &Server, user: &str) -> String {
    let secret = std::fs::read_to_string(server.data_dir().path().join("jwt.secret")).expect("the server's secret");
    let script = "const [secret, username] = arguments;
        const base64url = (text) => btoa(text).replace(/\\+/g, '-').replace(/\\//g, '_').replace(/=/g, '');
        const now = Math.floor(Date.now() / 1000);
        const claims = {sub: 'an id', username, type: 'access', iat: now, exp: now + 55, renew_until: now + 90000};
        const message = [{alg: 'HS256', typ: 'JWT'}, claims].map((part) => base64url(JSON.stringify(part))).join('.');
        const bytes = (text) => new TextEncoder().encode(text);
        const key = await crypto.subtle.importKey('raw', bytes(secret), {name: 'HMAC', hash: 'SHA-256'}, false, ['sign']);
        const signature = new Uint8Array(await crypto.subtle.sign('HMAC', key, bytes(message)));
        return `${message}.${base64url(String.fromCharCode(...signature))}`";
    // An arrow function sees the arguments of the function around it.
    let script = format!("return (async () => {{ {script} }})()");
    browser.run(&script, json!([secret.trim(), user])).as_str().expect("a token").to_owned()
}

#[test]
fn a_sign_in_is_renewed_before_it_ends() {
    let Some(browser) = browser() else { return };
    let server = Server::start();
    browser.open(&server.url("/"));
    // The server warns when less than a minute is left: at once.
    let token = near_its_end(&browser, &server, "ada");
    browser.open(&server.url(&format!("/#token={token}")));
    wait_for_chat(&browser);
    let script = "const kept = localStorage.getItem('causerie.token');
        return kept !== arguments[0] && JSON.parse(atob(kept.split('.')[1])).exp > Date.now() / 1000 + 60";
    let deadline = std::time::Instant::now() + WITHIN;
    while browser.run(script, json!([token])) != true {
        assert!(std::time::Instant::now() < deadline, "the token was not renewed within {WITHIN:?}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    ask_and_stop(&browser);
    assert_eq!(browser.run("return document.querySelector('.toast, .note')", json!([])), Value::Null);
    assert_quiet(&browser);
}

#[test]
fn an_invitation_ends_at_the_sign_in_panel() {
    let Some(browser) = browser() else { return };
    let server = Server::start();
    let token = server.token_with("ada", &["--ttl", "5s"]);
    browser.open(&server.url(&format!("/#token={token}")));
    let panel = "!document.querySelector('#sign-in').hidden && document.querySelector('#sign-in-reason').textContent";
    let warned = "document.querySelector('.toast')?.textContent.includes('ask for a new link')";
    let _ = browser.wait("a word that it ends, or its end", &format!("return {warned} || {panel}"));
    let _ = browser.wait("the sign-in panel and why", &format!("return {panel}"));
    assert_eq!(browser.run("return document.querySelector('#app').hidden", json!([])), true);
    // The page asked for nothing that it could not get.
    assert_quiet(&browser);
}
