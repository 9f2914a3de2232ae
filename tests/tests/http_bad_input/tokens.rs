//! Tokens that are missing, expired or somebody else's; pages of somebody else.

use std::time::Duration;

use causerie_tests::raw::{Raw, handshake};
use causerie_tests::{Options, Server};

use crate::document::{Who, routes};
use crate::exchange::{assert_lives, bearer, request, server};
use crate::routes::assert_unauthorized;

/// What is no good in `Authorization`.
fn bad_credentials(server: &Server) -> Vec<(&'static str, String)> {
    let good = server.token("ada");
    let (head, signature) = good.rsplit_once('.').expect("a token has three parts");
    let expired = server.token_with("ada", &["--ttl", "1s"]);
    std::thread::sleep(Duration::from_millis(2_100)); // times in tokens are whole seconds
    let foreign = self::server().token("ada"); // of a server with another secret
    // {"alg":"none","typ":"JWT"}
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", head.split('.').nth(1).expect("claims"));
    vec![
        ("expired", bearer(&expired)),
        ("somebody else's", bearer(&foreign)),
        ("without a signature", bearer(&unsigned)),
        ("with its signature cut off", bearer(&format!("{head}."))),
        ("with another signature", bearer(&format!("{head}.{}", signature.chars().rev().collect::<String>()))),
        ("no token", bearer("x")),
        ("nothing", "Authorization: Bearer ".to_owned()),
        ("of another scheme", format!("Authorization: Basic {good}")),
        ("not ASCII", "Authorization: Bearer äöü".to_owned()),
        ("too long", bearer(&"x".repeat(12_000))),
    ]
}

#[test]
fn no_route_takes_a_bad_token() {
    let server = server();
    let bad = bad_credentials(&server);
    for route in routes().iter().filter(|route| route.who != Who::Anybody) {
        for (what, credentials) in &bad {
            let answer = request(&server, route.method(), &route.example(), &[credentials], b"{}");
            assert_unauthorized(&answer, route, &format!("{} with one {what}", route.path));
        }
    }
    assert_lives(&server);
}

#[test]
fn pages_of_others_get_no_token_and_no_socket_unless_they_are_allowed() {
    let server = server();
    let token = server.token("ada");
    let foreign = "Origin: http://evil.example";
    for path in ["/api/login", "/api/token"] {
        let answer = request(&server, "POST", path, &[foreign, &bearer(&token)], b"{}");
        assert_eq!(answer.refusal(), (403, "foreign_origin".to_owned()), "{path}");
    }
    let upgrade = |server: &Server, origin: &str| {
        let request =
            handshake(server.address(), &server.token("ada")).replacen("\r\n", &format!("\r\n{origin}\r\n"), 1);
        let mut raw = Raw::tcp(server.address());
        raw.send(request.as_bytes());
        raw.response().status
    };
    for origin in [foreign, "Origin: null", "Origin: https://127.0.0.1.evil.example", "Origin: file://"] {
        assert_eq!(upgrade(&server, origin), 403, "{origin}");
    }
    assert_eq!(upgrade(&server, &format!("Origin: http://{}", server.address())), 101);
    let open = Server::start_with(Options {
        model: Some("/nowhere/at-all.gguf".into()),
        args: vec!["--allow-origin".into(), "http://evil.example".into()],
        ..Options::default()
    });
    assert_eq!(upgrade(&open, foreign), 101);
    assert_eq!(upgrade(&open, "Origin: http://worse.example"), 403);
}
