//! Several people in one chat, and connections that are lost.

use causerie_tests::{Line, Options, Server};
use serde_json::json;

use crate::*;

#[test]
fn a_second_tab_and_a_second_user_see_the_same() {
    let Some((ada, bob, server, link)) = ada_invites_bob() else { return };
    let chat = ada.address();
    assert_eq!(link, chat);

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

/// Lets somebody into the chat that is shown. Returns the link that the page gives for them.
pub(crate) fn invite(browser: &Browser, name: &str) -> String {
    browser.click("#invite");
    let _ = browser.wait("the dialog", "return document.querySelector('#dialog[open] #dialog-input') !== null");
    browser.type_into("#dialog-input", &format!("{name}\n"));
    let link = browser.wait("a link to copy", "return document.querySelector('#dialog[open] .copy-row input')?.value");
    browser.click("#dialog-confirm");
    let _ = browser.wait("the dialog's end", "return !document.querySelector('#dialog').open");
    link.as_str().unwrap_or_default().to_owned()
}

/// Ada's browser in a chat of hers, Bob's with nothing in it, and the link that is for him; `None` where there is no browser.
fn ada_invites_bob() -> Option<(Browser, Browser, Server, String)> {
    let (ada, bob) = (browser()?, browser()?);
    let server = Server::start();
    sign_in(&ada, &server, "ada");
    ask_and_stop(&ada);
    let link = invite(&ada, "bob");
    Some((ada, bob, server, link))
}

#[test]
fn an_invitation_link_leads_into_the_chat_after_signing_in() {
    let Some((ada, bob, server, link)) = ada_invites_bob() else { return };

    // Bob opens the link, signs in with a token, and is in the chat.
    bob.open(&link);
    let _ = bob.wait("the sign-in panel", "return !document.querySelector('#sign-in').hidden");
    bob.type_into("#credential", &format!("{}\n", server.token("bob")));
    wait_for_chat(&bob);
    wait_for_messages(&bob, 2);
    assert_eq!(bob.address(), link);
    assert_eq!(messages(&bob), messages(&ada));

    // Carol gets both in one link; she was not invited, and is told so.
    bob.click("#sign-out");
    bob.open(&link.replace('#', &format!("#token={}&", server.token("carol"))));
    bob.reload();
    wait_for_chat(&bob);
    assert_eq!(bob.address(), link, "the token stays in the address");
    let told = bob.wait("why not", "return document.querySelector('#banner-text').textContent");
    assert!(told.as_str().is_some_and(|text| text.contains("not open to carol")), "{told}");
    assert_eq!(messages(&bob), json!([]));
    assert_quiet(&bob);
}

#[test]
fn two_browsers_see_each_other_and_the_same_stream() {
    let Some((ada, bob, server, link)) = ada_invites_bob() else { return };
    bob.open(&link.replace('#', &format!("#token={}&", server.token("bob"))));
    wait_for_chat(&bob);
    wait_for_messages(&bob, 2);
    for browser in [&ada, &bob] {
        let here = "return document.querySelectorAll('#people li').length === 2";
        let _ = browser.wait("both faces", here);
    }
    ada.type_into("#message", "Tell me");
    let _ = bob.wait("that ada types", "return document.querySelector('#typing').textContent === 'ada is typing…'");
    watch_answer(&ada);
    watch_answer(&bob);
    ada.type_into("#message", " how a rainbow forms, in a few sentences.\n");
    // A short answer may be whole before this looks: what was seen of it is noted in the pages.
    let grew = "return window.seen.length > 1";
    let _ = ada.wait("that the answer grows", grew);
    let _ = bob.wait("that the answer grows", grew);
    cut_short(&ada, 4);
    wait_for_messages(&bob, 4);
    assert_eq!(messages(&ada), messages(&bob));
    for browser in [&ada, &bob] {
        let pieces = browser.run("return window.seen.length", json!([]));
        assert!(pieces.as_u64() > Some(1), "the answer came in {pieces} pieces");
        assert_quiet(browser);
    }
    bob.click("#sign-out");
    let _ = ada.wait("that bob has gone", "return document.querySelectorAll('#people li').length === 0");
}

#[test]
fn a_cut_line_is_found_again_without_a_reload_and_without_a_gap() {
    let Some(browser) = browser() else { return };
    let server = Server::start();
    let line = Line::to(server.address());
    browser.open(&format!("http://{}/#token={}", line.address(), server.token("ada")));
    wait_for_chat(&browser);
    let _ = browser.run("window.sameage = true", json!([]));
    browser.type_into("#message", &format!("{QUESTION}\n"));
    wait_for_stream(&browser);
    line.cut();
    let lost = "return document.querySelector('#banner').textContent.includes('Connection lost')";
    let _ = browser.wait("a word about it", lost);
    let kept = "return document.querySelector('.message.assistant .text')?.textContent";
    let kept = browser.wait("what had come of the answer", kept);
    line.mend();
    // It tries by itself, too, and may have been faster.
    let _ = browser.run("document.querySelector('#banner-action').click()", json!([]));
    let _ = browser.wait("no word about it any more", "return document.querySelector('#banner').hidden");
    cut_short(&browser, 2);
    let whole = messages(&browser);
    assert!(
        whole[1].as_str().unwrap_or_default().starts_with(kept.as_str().unwrap_or_default().trim_end()),
        "{whole} goes on from {kept}"
    );
    assert_eq!(browser.run("return window.sameage", json!([])), true, "the page was loaded anew");

    // What the server has stored is what the page has put together.
    browser.reload();
    wait_for_messages(&browser, 2);
    assert_eq!(messages(&browser), whole);
}

#[test]
fn an_administrator_makes_a_link_that_signs_somebody_in() {
    let Some(admin) = browser() else { return };
    let Some(bob) = browser() else { return };
    let server = Server::start();
    admin.open(server.login_link());
    wait_for_chat(&admin);
    ask_and_stop(&admin);
    admin.click("#invite");
    let _ = admin.wait("the dialog", "return document.querySelector('#dialog[open] #dialog-input') !== null");
    admin.type_into("#dialog-input", "bob\n");
    let _ = admin.wait("the link", "return document.querySelector('#dialog[open] summary') !== null");
    admin.click("#dialog summary");
    admin.click("#dialog .action button");
    let link = admin.wait("the link that signs in", "return document.querySelector('#dialog .action input')?.value");
    admin.screenshot("invitation");
    bob.open(link.as_str().unwrap_or_default());
    wait_for_chat(&bob);
    wait_for_messages(&bob, 2);
    assert_eq!(bob.run("return document.querySelector('#me-name').textContent", json!([])), "bob");
    assert!(!bob.address().contains("token"), "the token stays in the address: {}", bob.address());
    assert_eq!(messages(&bob), messages(&admin));
    assert_quiet(&admin);
    assert_quiet(&bob);
}
