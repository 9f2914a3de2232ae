//! The drawer of instructions and sampling, the gauges, code in colours, and the keys.

use causerie_tests::Server;
use serde_json::json;

use crate::*;

fn open_drawer(browser: &Browser) {
    browser.click("#settings");
    let _ = browser.wait("the drawer", "return !document.querySelector('#drawer').hidden");
}

#[test]
fn what_is_set_in_the_drawer_is_what_the_model_gets() {
    let Some(browser) = browser() else { return };
    let server = Server::start();
    sign_in(&browser, &server, "ada");
    open_drawer(&browser);
    browser.type_into("#system", "You are a parrot. You only say the word squawk.");
    browser.type_into("#set-max_tokens", "0");
    let wrong = "return document.querySelector('#set-max_tokens-error').textContent";
    assert_eq!(browser.wait("what is wrong", wrong), "It goes from 1 to 32768.");
    browser.type_into("#set-max_tokens", "\u{e003}5"); // Backspace
    browser.screenshot("drawer");
    browser.click("#settings-close");
    browser.type_into("#message", &format!("{QUESTION}\n"));
    let _ = wait_for_answer(&browser);
    let state = "return document.querySelector('.message.assistant .state')?.textContent";
    let state = browser.wait("how it ended", state);
    assert!(state.as_str().is_some_and(|text| text.contains("5 tokens")), "{state}");

    // The gauges tell the same, and how much of the context is used.
    let gauges = browser.wait("the gauges", "return document.querySelector('#gauges:not([hidden])')?.textContent");
    let gauges = gauges.as_str().unwrap_or_default();
    for part in ["Context", "5 tokens", "First token"] {
        assert!(gauges.contains(part), "{part} is not in {gauges}");
    }

    // Another chat has none of it; this one has it still, also after a reload.
    let chat = browser.address();
    browser.click("#new");
    open_drawer(&browser);
    let values = "return [document.querySelector('#system').value, document.querySelector('#set-max_tokens').value]";
    assert_eq!(browser.run(values, json!([])), json!(["", ""]));
    browser.open(&chat);
    browser.reload();
    wait_for_messages(&browser, 2);
    let told = browser.wait("the gauges", "return document.querySelector('#gauges:not([hidden])')?.textContent");
    assert_eq!(told, gauges, "the gauges of the same answer after a reload");
    open_drawer(&browser);
    assert_eq!(browser.run(values, json!([])), json!(["You are a parrot. You only say the word squawk.", "5"]));
    assert_eq!(browser.run("return document.querySelector('#system').readOnly", json!([])), true);
    browser.click("#settings-reset");
    assert_eq!(browser.run(values, json!([]))[1], "");

    // Whoever signs out leaves nothing of it behind.
    browser.click("#sign-out");
    assert_eq!(browser.run("return localStorage.length + sessionStorage.length", json!([])), 0);
    assert_quiet(&browser);
}

#[test]
fn on_a_tablet_the_drawer_lies_over_the_chat_and_gives_it_back() {
    let Some(browser) = browser() else { return };
    let server = Server::start();
    browser.emulate(820, 1180, "light");
    sign_in(&browser, &server, "ada");
    let stands = "const chat = document.querySelector('#chat');
        return [chat.clientWidth > 500, chat.inert, document.querySelector('#sidebar').inert]";
    assert_eq!(browser.run(stands, json!([])), json!([true, false, false]));
    open_drawer(&browser);
    assert_eq!(browser.run(stands, json!([])), json!([true, true, true]));
    browser.press_escape();
    let _ = browser.wait("the drawer's end", "return document.querySelector('#drawer').hidden");
    assert_eq!(browser.run(stands, json!([])), json!([true, false, false]));
    wait_for_focus(&browser, "#settings");
}

#[test]
fn hebrew_stands_on_the_right_and_english_on_the_left_of_one_page() {
    let Some(browser) = browser() else { return };
    let server = Server::start();
    sign_in(&browser, &server, "ada");
    browser.type_into("#message", "שלום, מה שלומך?");
    let direction = "return getComputedStyle(document.querySelector('#message')).direction";
    assert_eq!(browser.run(direction, json!([])), "rtl");
    // What a model would say is drawn as it draws it: where each paragraph's letters are.
    let draw = "return import('/render.js').then(({ render }) => {
        const text = document.createElement('div');
        text.className = 'text';
        text.append(render('שלום\\n\\nHello'));
        document.querySelector('#scroll').append(text);
        const places = [...text.querySelectorAll('p')].map((paragraph) => {
            const range = document.createRange();
            range.selectNodeContents(paragraph);
            const [letters, room] = [range.getBoundingClientRect(), paragraph.getBoundingClientRect()];
            return Math.round(letters.left - room.left) < Math.round(room.right - letters.right) ? 'left' : 'right';
        });
        text.remove();
        return places;
    })";
    assert_eq!(browser.run(draw, json!([])), json!(["right", "left"]));
}

#[test]
fn code_has_colours_and_can_be_copied_and_stays_text() {
    const CODE: &str = "def shout(text):  # </code><img src=x onerror='window.hacked=1'>\n    return text.upper() + '<script>window.hacked=1</script>'";
    let Some(browser) = browser() else { return };
    let server = Server::start();
    sign_in(&browser, &server, "ada");
    let before =
        "return performance.getEntriesByType('resource').filter((one) => one.name.includes('highlight')).length";
    assert_eq!(browser.run(before, json!([])), 0, "the colours were loaded before there was code");
    // Only a model's messages are Markdown; what it would say is drawn as it draws it.
    let draw = "const [code] = arguments;
        return import('/render.js').then(({render}) => {
            const item = document.createElement('li');
            item.className = 'message assistant';
            const text = document.createElement('div');
            text.className = 'text';
            text.append(render('```py\\n' + code + '\\n```\\n\\n| a | b |\\n|---|---|\\n| <i>1</i> | 2 |'));
            item.append(text);
            document.querySelector('#log').append(item);
            window.clipped = null;
            Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (text) => { window.clipped = text; }}});
            return true;
        })";
    assert_eq!(browser.run(draw, json!([CODE])), true);
    let colours = "return document.querySelectorAll('#log .hljs-keyword').length >= 2 && document.querySelector('#log .hljs-comment').textContent";
    assert!(browser.wait("colours", colours).as_str().is_some_and(|text| text.contains("<img")));
    assert_eq!(browser.run("return document.querySelector('#log pre').textContent", json!([])), CODE);
    browser.click("#log .copy");
    let copied = "return document.querySelector('#log .copy').textContent === 'Copied' && window.clipped";
    assert_eq!(browser.wait("that it is copied", copied), CODE);
    assert_eq!(browser.run("return document.querySelectorAll('#log img, #log script, #log i').length", json!([])), 0);
    assert_eq!(browser.run("return document.querySelector('#log td').textContent", json!([])), "<i>1</i>");
    assert_eq!(browser.run("return window.hacked === undefined", json!([])), true);
    // And nothing can make elements of text, whatever is wrong with the page.
    let refused = "try { document.querySelector('#log').innerHTML = '<b>x</b>'; return false; } catch { return true; }";
    assert_eq!(browser.run(refused, json!([])), true);
}

#[test]
fn the_keys_open_what_they_say() {
    let Some(browser) = browser() else { return };
    let server = Server::start();
    sign_in(&browser, &server, "ada");
    browser.type_into("#message", "\u{e009}/\u{e000}"); // Ctrl+/
    let listed = "return document.querySelector('#dialog[open] .shortcuts')?.textContent";
    assert!(browser.wait("the list of keys", listed).as_str().is_some_and(|text| text.contains("Stop the answer")));
    browser.screenshot("keys");
    browser.press_escape();
    let _ = browser.wait("its end", "return !document.querySelector('#dialog').open");
    browser.type_into("#message", "?");
    assert_eq!(browser.run("return document.querySelector('#dialog').open", json!([])), false, "? is text here");
    browser.type_into("#message", "\u{e009}.\u{e000}"); // Ctrl+.
    let _ = browser.wait("the drawer", "return !document.querySelector('#drawer').hidden");
    wait_for_focus(&browser, "#settings-close");
    browser.press_escape();
    let _ = browser.wait("its end", "return document.querySelector('#drawer').hidden");
    assert_quiet(&browser);
}
