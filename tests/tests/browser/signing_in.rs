//! Signing in, staying so, and what becomes of it.

use causerie_tests::{Browser, Server, WITHIN};
use serde_json::{Value, json};

use crate::*;

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

#[test]
fn a_page_whose_scripts_do_not_come_says_so_and_can_be_loaded_again() {
    let Some(browser) = browser() else { return };
    let server = Server::start();
    let link = server.url(&format!("/#token={}", server.token("ada")));
    let late = "return document.querySelector('#splash .late')";
    let seen = format!("{late}?.checkVisibility({{ visibilityProperty: true }})");
    let block = |what: Value| {
        let _ = browser.devtools("Network.enable", &json!({}));
        let _ = browser.devtools("Network.setBlockedURLs", &json!({ "urls": what }));
    };
    // One of the modules is missing.
    block(json!(["*/log.js"]));
    browser.open(&link);
    let _ = browser.wait("that it is said", &seen);
    // It was said because it failed, not since it took long: nothing is waited for any more.
    let waits = "return document.querySelector('#splash .wait').checkVisibility({ visibilityProperty: true })";
    assert_eq!(browser.run(waits, json!([])), false);
    browser.screenshot("overdue");
    assert_eq!(browser.run("return document.querySelector('#app').hidden", json!([])), true);
    block(json!([]));
    // What the link holds is still in the address: the page that is loaded again is signed in.
    browser.click("#reload");
    wait_for_chat(&browser);
    assert_eq!(browser.run(late, json!([])), Value::Null, "the splash is gone");

    // A script that neither comes nor fails is overdue after some seconds, for whoever wants no animation too.
    for motion in ["no-preference", "reduce"] {
        let media = json!({"features": [{"name": "prefers-reduced-motion", "value": motion}]});
        let _ = browser.devtools("Emulation.setEmulatedMedia", &media);
        let script = "const splash = document.createElement('main');
            splash.className = 'splash';
            const hint = document.createElement('p');
            hint.className = 'late';
            splash.append(hint);
            document.body.append(splash);
            const [animation] = hint.getAnimations();
            animation.pause();
            const seen = [0, 7900, 8100].map((at) => {
                animation.currentTime = at;
                return getComputedStyle(hint).visibility;
            });
            splash.remove();
            return seen";
        assert_eq!(browser.run(script, json!([])), json!(["hidden", "hidden", "visible"]), "{motion}");
    }
}
