//! The list of chats: searching it, and renaming, exporting and deleting one.

use causerie_tests::{Server, WITHIN};
use serde_json::json;

use crate::*;

/// Begins a chat of somebody's over the protocol, with a message whose answer is stopped at once.
fn chat(server: &Server, user: &str, title: &str, message: &str) -> String {
    let mut client = server.connect(user);
    client.send(&json!({"type": "create_session", "title": title}));
    let id = client.expect("session_joined")["session_id"].as_str().unwrap_or_default().to_owned();
    client.send(&json!({"type": "chat_message", "message": message, "sampling": {"max_tokens": 8}}));
    let _ = client.expect_where("an answer", WITHIN, |f| f["type"] == "message" && f["role"] == "assistant");
    id
}

fn listed(browser: &Browser) -> Value {
    browser.run("return [...document.querySelectorAll('#sessions a span')].map((a) => a.textContent)", json!([]))
}

fn wait_for_list(browser: &Browser, titles: &[&str]) {
    let script = format!(
        "return JSON.stringify([...document.querySelectorAll('#sessions a span')].map((a) => a.textContent)) === '{}'",
        json!(titles)
    );
    let _ = browser.wait(&format!("{titles:?} in the list"), &script);
}

/// Waits until the first chat found shows words, in whatever case: the question's, or the answer's where it says them too.
fn wait_for_excerpt(browser: &Browser, words: &str) {
    let script = format!(
        "return document.querySelector('#sessions small')?.textContent.toLowerCase().includes('{words}') ?? false"
    );
    let _ = browser.wait("where it was found", &script);
}

/// Opens the menu of a chat in the list, as a mouse does.
fn menu(browser: &Browser, id: &str, item: &str) {
    let script = "document.querySelector(`#sessions [data-id='${arguments[0]}'] .more`).click()";
    let _ = browser.run(script, json!([id]));
    browser.click(&format!("#menu-{item}"));
}

#[test]
fn chats_are_searched_renamed_and_deleted() {
    let Some(browser) = browser() else { return };
    let server = Server::start();
    let tea = chat(&server, "ada", "Tea", "Which tea at night?");
    let _ = chat(&server, "ada", "Whales", "How deep do they dive?");
    sign_in(&browser, &server, "ada");
    wait_for_list(&browser, &["Whales", "Tea"]);

    // From the keyboard alone: to the search, a word of a title, and into the chat.
    browser.type_into("#message", "\u{e009}k\u{e000}"); // Ctrl+K
    wait_for_focus(&browser, "#search");
    browser.type_into("#search", "whal");
    wait_for_list(&browser, &["Whales"]);
    browser.type_into("#search", "\n");
    wait_for_messages(&browser, 2);
    // What was said is searched as well, in chats that were never opened here too.
    let _ = browser.run("document.querySelector('#search').select()", json!([]));
    browser.type_into("#search", "AT night");
    wait_for_excerpt(&browser, "night");
    wait_for_list(&browser, &["Tea"]);
    let _ = browser.run("document.querySelector('#search').select()", json!([]));
    browser.type_into("#search", "DEEP");
    wait_for_excerpt(&browser, "deep");
    browser.screenshot("search");
    browser.type_into("#search", "er still");
    let none =
        "return document.querySelector('#no-sessions').hidden ? '' : document.querySelector('#found').textContent";
    assert_eq!(browser.wait("that nothing was found", none), "0 chats found");
    browser.type_into("#search", "\u{e00c}"); // Escape
    wait_for_list(&browser, &["Whales", "Tea"]);

    // Alt+Down goes to the one below.
    browser.type_into("#message", "\u{e00a}\u{e015}\u{e000}");
    let _ = browser.wait("the chat below", "return document.querySelector('#title').textContent === 'Tea'");

    menu(&browser, &tea, "rename");
    let _ = browser.wait("the dialog", "return document.querySelector('#dialog[open] #dialog-input') !== null");
    browser.type_into("#dialog-input", "Coffee <b>\n");
    wait_for_list(&browser, &["Whales", "Coffee <b>"]);
    let _ = browser.wait("its new title", "return document.querySelector('#title').textContent === 'Coffee <b>'");

    menu(&browser, &tea, "remove");
    let _ = browser.wait("the question", "return document.querySelector('#dialog').open");
    browser.screenshot("delete");
    browser.click("#dialog-cancel");
    let _ = browser.wait("the dialog's end", "return !document.querySelector('#dialog').open");
    assert_eq!(listed(&browser), json!(["Whales", "Coffee <b>"]));
    menu(&browser, &tea, "remove");
    let _ = browser.wait("the question", "return document.querySelector('#dialog').open");
    browser.click("#dialog-confirm");
    wait_for_list(&browser, &["Whales"]);
    let _ = browser.wait("an empty page", "return !document.querySelector('#welcome').hidden");
    assert_quiet(&browser);
}

#[test]
fn who_is_a_guest_may_export_and_nothing_else() {
    let Some(browser) = browser() else { return };
    let server = Server::start();
    let id = chat(&server, "ada", "Tea", "Which tea at night?");
    let mut ada = server.connect("ada");
    ada.send(&json!({"type": "join_session", "session_id": id}));
    ada.expect("session_joined");
    ada.send(&json!({"type": "invite", "username": "bob"}));
    ada.expect("invited");
    browser.open(&server.url(&format!("/#token={}&session={id}", server.token("bob"))));
    wait_for_messages(&browser, 2);
    assert_eq!(browser.run("return document.querySelector('#invite').hidden", json!([])), true);
    browser.click("#more");
    let items = "return [...document.querySelectorAll('#menu-of button:not([hidden])')].map((b) => b.id)";
    assert_eq!(browser.run(items, json!([])), json!(["menu-markdown", "menu-json"]));
    assert_quiet(&browser);
}

#[test]
fn a_whole_chat_is_exported() {
    let Some(browser) = browser() else { return };
    let server = Server::start();
    let id = chat(&server, "ada", "Tea at night", "Message 0");
    // More than one page of history: a hundred messages are one.
    let mut client = server.connect("ada");
    client.send(&json!({"type": "join_session", "session_id": id}));
    client.expect("session_joined");
    for number in 1..=60 {
        let message = format!("Message {number}");
        client.send(&json!({"type": "chat_message", "message": message, "sampling": {"max_tokens": 1}}));
        let _ = client.expect_where("an answer", WITHIN, |f| f["type"] == "message" && f["role"] == "assistant");
    }
    browser.open(&server.url(&format!("/#token={}&session={id}", server.token("ada"))));
    wait_for_chat(&browser);
    // What the browser is handed is kept here, and not on a disk.
    let keep = "window.kept = []; URL.createObjectURL = (blob) => { window.kept.push(blob.text()); return 'blob:x'; };
        HTMLAnchorElement.prototype.click = function () { window.name = this.download; };";
    let _ = browser.run(keep, json!([]));
    for (item, name) in [("json", "Tea-at-night.json"), ("markdown", "Tea-at-night.md")] {
        browser.click("#more");
        browser.click(&format!("#menu-{item}"));
        let done =
            format!("return [...document.querySelectorAll('.toast')].some((t) => t.textContent.endsWith('{name}.'))");
        let _ = browser.wait("a word that it is done", &done);
        assert_eq!(browser.run("return window.name", json!([])), name);
    }
    let texts = browser.run("return Promise.all(window.kept)", json!([]));
    let exported: Value = serde_json::from_str(texts[0].as_str().unwrap_or_default()).expect("JSON");
    let told = exported["messages"].as_array().expect("messages");
    assert_eq!((told.len(), &exported["title"], &exported["session_id"]), (122, &json!("Tea at night"), &json!(id)));
    for (index, message) in told.iter().enumerate() {
        assert_eq!(message["seq"], json!(index + 1));
    }
    assert_eq!(told[120]["content"], "Message 60");
    let markdown = texts[1].as_str().unwrap_or_default();
    assert!(markdown.starts_with("# Tea at night\n"), "{markdown}");
    for number in 0..=60 {
        assert!(markdown.contains(&format!("\n\nMessage {number}\n")), "message {number} is missing");
    }
}
