//! A conversation: streaming, stopping, other answers and other questions, and script that stays text.

use causerie_tests::Server;
use serde_json::json;

use crate::*;

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
    browser.type_into("#message", "\u{e009}\u{e008}o\u{e000}"); // Ctrl+Shift+O
    let _ = browser.wait("an empty chat", "return !document.querySelector('#welcome').hidden");
    let _ = browser.wait("the focus", "return document.activeElement.id === 'message'");
    assert_quiet(&browser);
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
