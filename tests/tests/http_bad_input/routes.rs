//! Every documented route, asked wrongly.

use crate::document::{Route, Who, limit, routes};
use crate::exchange::{Answer, assert_lives, bearer, exchange, request, server};

const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "BREW"];

#[test]
fn other_methods_are_refused_with_those_that_are_possible() {
    let server = server();
    let admin = bearer(&server.token_with("root", &["--role", "admin"]));
    for route in routes() {
        for method in METHODS.into_iter().filter(|method| !route.methods.split(", ").any(|allowed| allowed == *method))
        {
            let answer = request(&server, method, &route.example(), &[&admin], b"");
            let what = format!("{method} {}", route.path);
            assert_eq!(answer.status, 405, "{what}: {answer:?}");
            assert_eq!(answer.header("allow"), Some(route.methods.as_str()), "{what}");
            // The answer to HEAD has no body by its nature.
            assert!(method == "HEAD" || answer.code() == "method_not_allowed", "{what}");
        }
    }
    assert_lives(&server);
}

#[test]
fn whoever_may_not_use_a_route_is_told_so() {
    let server = server();
    let (user, none) = (bearer(&server.token("ada")), "X-No: token".to_owned());
    for route in routes() {
        for method in route.methods.split(", ").filter(|method| *method != "HEAD") {
            let answer = |headers: &str| request(&server, method, &route.example(), &[headers], b"{}");
            let what = format!("{method} {}", route.path);
            match route.who {
                Who::Anybody => {}
                Who::Token => assert_unauthorized(&answer(&none), route, &what),
                Who::Admin => {
                    assert_unauthorized(&answer(&none), route, &what);
                    assert_eq!(answer(&user).status, 403, "{what} as a user");
                    answer(&user).code();
                }
            }
        }
    }
}

/// Who comes with no good token is told so, in the words of the interface.
pub(crate) fn assert_unauthorized(answer: &Answer, route: &Route, what: &str) {
    let code = if route.path.starts_with("/v1/") { "invalid_api_key" } else { "invalid_token" };
    assert_eq!(answer.refusal(), (401, code.to_owned()), "{what}");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{what}");
}

/// Calls with every route that takes a body, its method, and headers that let an admin in.
fn with_bodies(mut check: impl FnMut(&Route, &dyn Fn(&[&str], &[u8]) -> Answer, &str, usize)) {
    let server = server();
    let admin = bearer(&server.token_with("root", &["--role", "admin"]));
    for route in routes() {
        let Some(bytes) = route.body else { continue };
        for method in route.takes_body() {
            let send = |headers: &[&str], body: &[u8]| {
                let headers = [headers, &[admin.as_str()]].concat();
                request(&server, method, &route.example(), &headers, body)
            };
            check(route, &send, &format!("{method} {}", route.path), bytes);
        }
    }
    assert_lives(&server);
}

#[test]
fn a_body_may_be_as_long_as_is_said_and_no_longer() {
    with_bodies(|_, send, what, bytes| {
        let body = |length: usize| format!("{{\"x\":\"{}\"}}", "x".repeat(length - 8)).into_bytes();
        assert_ne!(send(&[], &body(bytes)).status, 413, "{what}, at its limit");
        assert_eq!(send(&[], &body(bytes + 1)).refusal(), (413, "body_too_large".to_owned()), "{what}");
        let chunked =
            [format!("{:x}\r\n", bytes + 1).into_bytes(), body(bytes + 1), b"\r\n0\r\n\r\n".to_vec()].concat();
        let answer = send(&["Transfer-Encoding: chunked"], &chunked);
        assert_eq!(answer.refusal(), (413, "body_too_large".to_owned()), "{what}, in chunks");
    });
}

#[test]
fn a_length_that_is_too_large_is_refused_before_a_byte_of_it_came() {
    let server = server();
    for route in routes().iter().filter(|route| route.body.is_some() && route.who == Who::Anybody) {
        for length in [limit("HTTP_BODY_BYTES") as u64 + 1, 1 << 40, i64::MAX as u64] {
            let head = format!(
                "{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n",
                route.method(),
                route.path,
                server.address()
            );
            assert_eq!(exchange(&server, head.as_bytes()).refusal(), (413, "body_too_large".to_owned()), "{length}");
        }
    }
}

#[test]
fn bodies_of_a_wrong_kind_are_refused() {
    let deep = "[".repeat(2_000);
    let bodies: [(&str, &[u8]); 12] = [
        ("nothing", b""),
        ("not JSON", b"{"),
        ("invalid UTF-8", b"{\"code\":\"\xff\xfe\",\"model\":\"\xc0\x80\"}"),
        ("UTF-16", b"\xff\xfe{\0}\0"),
        ("a NUL", b"{\0}"),
        ("a list", b"[]"),
        ("a number", b"7"),
        ("a huge number", b"{\"max_tokens\":1e999}"),
        ("null", b"null"),
        ("a text", b"\"x\""),
        ("deep nesting", deep.as_bytes()),
        ("two objects", b"{}{}"),
    ];
    with_bodies(|_, send, what, _| {
        for (name, body) in bodies {
            let answer = send(&["Content-Type: application/json"], body);
            assert_eq!(answer.status, 400, "{what} with {name}: {answer:?}");
            answer.code();
        }
    });
}

#[test]
fn bodies_that_say_they_are_something_else_are_refused() {
    with_bodies(|_, send, what, _| {
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json"] {
            let answer = send(&[&format!("Content-Type: {kind}")], b"{}");
            assert_eq!(answer.refusal(), (415, "unsupported_media_type".to_owned()), "{what}, {kind}");
        }
        for coding in ["gzip", "br", "deflate, gzip", "x"] {
            let answer = send(&[&format!("Content-Encoding: {coding}")], b"\x1f\x8b\x08\0\0\0\0\0");
            assert_eq!(answer.refusal(), (415, "unsupported_encoding".to_owned()), "{what}, {coding}");
        }
        let answer = send(&["Transfer-Encoding: gzip, chunked"], b"0\r\n\r\n");
        assert_eq!(answer.refusal(), (501, "unsupported_encoding".to_owned()), "{what}");
    });
}

#[test]
fn nothing_is_beside_the_routes() {
    let server = server();
    let admin = bearer(&server.token_with("root", &["--role", "admin"]));
    let mut paths: Vec<String> = [
        "/../Cargo.toml",
        "/../../../../etc/passwd",
        "/..%2f..%2f..%2fetc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/%252e%252e/etc/passwd",
        "/..;/etc/passwd",
        "/..\\..\\etc\\passwd",
        "/%5c..%5c..%5cetc%5cpasswd",
        "/.%00./etc/passwd",
        "//etc/passwd",
        "/./style.css",
        "/page/../style.css",
        "/style.css%00.html",
        "/style.css/",
        "/STYLE.CSS",
        "/style%2ecss",
        "/%ff%fe",
        "/ä",
        "/causerie.db",
        "/jwt.secret",
        "/.git/config",
        "/index.html",
        "/v1/",
        "/v1/../health",
        "/api/",
        "/api/admin/../../health",
        "/ws/chat/..",
    ]
    .map(str::to_owned)
    .to_vec();
    paths.extend(routes().iter().filter(|route| route.path != "/").map(|route| format!("{}/", route.example())));
    paths.push(format!("/{}", "a".repeat(limit("HTTP_HEADER_BYTES") - 500)));
    for path in paths {
        for headers in [vec![], vec![admin.as_str()]] {
            let answer = request(&server, "GET", &path, &headers, b"");
            let hidden = answer.status == 401 && headers.is_empty(); // who is nobody need not know what there is
            assert!(hidden || answer.status == 404, "{path}: {answer:?}");
            let code = answer.code();
            assert!(hidden || code.ends_with("not_found"), "{path}: {code}");
        }
    }
}

#[test]
fn answers_are_data_that_no_browser_takes_for_something_else() {
    let server = server();
    let script = "/%3Cscript%3Ealert(1)%3C/script%3E";
    for path in routes().iter().map(Route::example).chain([script.to_owned()]) {
        let answer = request(&server, "GET", &path, &[], b"");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}: {answer:?}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert!(answer.header("access-control-allow-origin").is_none(), "{path}: no page of others may read it");
        let html = answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
        assert_eq!(html, path == "/", "{path}: {answer:?}");
    }
}
