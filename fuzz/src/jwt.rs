//! Tokens and handshakes, honest and forged.
//!
//! The input is text, a line for each thing that is known of a token:
//!
//! ```text
//! key rs256                       which key the server has: hs256, rs256, es256, es384, eddsa, jwks
//! strict                          it asks for an issuer and an audience
//! header {"alg":"RS256"}
//! claims {"sub":"u","exp":2000000000,"type":"access"}
//! sign ours                       by the key; other: by another; confused: HS256 with the public key as the secret;
//!                                 as HS512: by the key, with another algorithm; anything else is the signature itself
//! token a.b.c                     instead of all these, a whole token
//! query token=…                   the request of a handshake
//! protocol causerie.v1, bearer.…
//! authorization Bearer …
//! ```
//!
//! Nothing is accepted that was not signed with the server's key and its one algorithm, or whose claims do not hold for
//! another reader; what is signed and plainly good is accepted. A token that stands in a handshake is found as it is.

// The module itself, so that fuzzing it builds neither the server, nor SQLite, nor TLS.
#[allow(dead_code, unreachable_pub, unused_imports, reason = "a part of another crate, of which this uses a part")]
#[path = "../../runtime-smol/src/auth/mod.rs"]
mod auth;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use auth::{Auth, AuthOptions, Claims, Handshake, NAME_BYTES, PROTOCOL};
use causerie_core::Role;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::Value;

/// What the clock says: a time in 2027.
const NOW: u64 = 1_800_000_000;

/// What a strict server asks for.
const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "causerie";

/// A server's keys, and ours to sign with.
struct Side {
    plain: Auth,
    strict: Auth,
    algorithm: Algorithm,
    private: EncodingKey,
    /// The public key's file, which everybody knows.
    public: Vec<u8>,
}

static SIDES: LazyLock<HashMap<&str, Side>> = LazyLock::new(|| {
    let kinds = [
        ("hs256", Algorithm::HS256),
        ("rs256", Algorithm::RS256),
        ("es256", Algorithm::ES256),
        ("es384", Algorithm::ES384),
        ("eddsa", Algorithm::EdDSA),
        ("jwks", Algorithm::EdDSA),
    ];
    kinds.into_iter().map(|(name, algorithm)| (name, side(name, algorithm))).collect()
});

fn side(name: &str, algorithm: Algorithm) -> Side {
    let own = |file: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("keys").join(file);
    let tests = |file: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime-smol/tests/keys").join(file);
    let read = |path: PathBuf| std::fs::read(path).expect("the keys are in the repository");
    let (options, public, private) = match name {
        "hs256" => {
            let secret = read(own("secret")).trim_ascii().to_vec();
            let options = AuthOptions { secret_file: Some(own("secret")), ..AuthOptions::default() };
            (options, Vec::new(), EncodingKey::from_secret(&secret))
        }
        "jwks" => {
            let options = AuthOptions { jwks: Some(own("jwks.json")), ..AuthOptions::default() };
            let private = EncodingKey::from_ed_pem(&read(tests("ed25519.private.pem")));
            (options, read(own("jwks.json")), private.expect("it is sound"))
        }
        _ => {
            let file = match algorithm {
                Algorithm::RS256 => "rsa",
                Algorithm::ES256 => "p256",
                Algorithm::ES384 => "p384",
                _ => "ed25519",
            };
            let (public, private) = (tests(&format!("{file}.public.pem")), read(tests(&format!("{file}.private.pem"))));
            let private = match algorithm {
                Algorithm::RS256 => EncodingKey::from_rsa_pem(&private),
                Algorithm::EdDSA => EncodingKey::from_ed_pem(&private),
                _ => EncodingKey::from_ec_pem(&private),
            };
            let options = AuthOptions { public_key: Some(public.clone()), ..AuthOptions::default() };
            (options, read(public), private.expect("it is sound"))
        }
    };
    let strict = AuthOptions { issuer: Some(ISSUER.into()), audience: Some(AUDIENCE.into()), ..options.clone() };
    let open = |options| Auth::open(options).expect("the keys are good");
    Side { plain: open(&options), strict: open(&strict), algorithm, private, public }
}

/// What is known of a token and of the request that it comes with.
struct Input<'a> {
    side: &'static Side,
    is_strict: bool,
    header: &'a str,
    claims: &'a str,
    sign: &'a str,
    token: Option<&'a str>,
    query: Option<&'a str>,
    protocols: Vec<&'a str>,
    authorization: Option<&'a str>,
}

impl<'a> Input<'a> {
    fn parse(text: &'a str) -> Input<'a> {
        let mut input = Input {
            side: &SIDES["hs256"],
            is_strict: false,
            header: r#"{"alg":"HS256"}"#,
            claims: "{}",
            sign: "",
            token: None,
            query: None,
            protocols: Vec::new(),
            authorization: None,
        };
        for line in text.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "key" => input.side = SIDES.get(rest).unwrap_or(input.side),
                "strict" => input.is_strict = true,
                "header" => input.header = rest,
                "claims" => input.claims = rest,
                "sign" => input.sign = rest,
                "token" => input.token = Some(rest),
                "query" => input.query = Some(rest),
                "protocol" => input.protocols.push(rest),
                "authorization" => input.authorization = Some(rest),
                _ => {}
            }
        }
        input
    }

    fn auth(&self) -> &'static Auth {
        if self.is_strict { &self.side.strict } else { &self.side.plain }
    }

    /// The token, and whether it has the one signature that is good.
    fn token(&self) -> (String, bool) {
        if let Some(token) = self.token {
            return (token.to_string(), false);
        }
        let message = format!("{}.{}", base64(self.header.as_bytes()), base64(self.claims.as_bytes()));
        let by = |key: &EncodingKey, algorithm| jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm);
        let signature = match self.sign {
            "ours" => by(&self.side.private, self.side.algorithm).expect("the key goes with its algorithm"),
            "other" => by(&EncodingKey::from_secret(b"another"), Algorithm::HS256).expect("a secret"),
            "confused" => by(&EncodingKey::from_secret(&self.side.public), Algorithm::HS256).expect("a secret"),
            other => match other.strip_prefix("as ").and_then(|name| name.parse().ok()) {
                Some(algorithm) => by(&self.side.private, algorithm).unwrap_or_default(),
                None => other.to_string(),
            },
        };
        (format!("{message}.{signature}"), self.sign == "ours")
    }
}

/// Verifies a token, reads a handshake, and compares with what must be.
///
/// # Panics
/// When something forged is taken, or something good is not.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let input = Input::parse(&text);
    let (token, is_signed) = input.token();
    let claims = match input.auth().verify_at(&token, NOW) {
        Ok(claims) => {
            assert!(is_signed, "not signed by us: {token}");
            check_accepted(&input, &claims);
            Some(claims)
        }
        Err(error) => {
            assert!(!(is_signed && is_plainly_good(&input)), "{error}: {} {}", input.header, input.claims);
            assert!(!error.to_string().is_empty());
            None
        }
    };
    if let Some(claims) = claims {
        check_renewal(input.auth(), &claims);
    }
    check_handshake(&input, &token);
}

/// What a token that was accepted says to a reader that is not ours.
fn check_accepted(input: &Input<'_>, claims: &Claims) {
    let json = |text: &str| serde_json::from_str::<Value>(text).expect("what was accepted is JSON");
    let (header, said) = (json(input.header), json(input.claims));
    let named = header["alg"].as_str().and_then(|name| name.parse::<Algorithm>().ok());
    assert_eq!(named, Some(input.side.algorithm), "the key's algorithm, whatever the token says");
    assert!(header.get("crit").is_none_or(Value::is_null), "what must be understood is");
    assert_eq!(said["type"], "access");
    assert!(said["exp"].as_f64().is_some_and(|exp| exp > NOW as f64) && claims.exp > NOW);
    assert!(said["nbf"].is_null() || said["nbf"].as_f64().is_some_and(|nbf| nbf < NOW as f64 + 1.0));
    let sub = said["sub"].as_str().map_or_else(|| said["sub"].to_string(), str::to_string);
    assert_eq!(claims.sub, sub);
    assert_eq!(claims.username, said["username"].as_str().unwrap_or(&sub));
    for name in [&claims.sub, &claims.username] {
        assert!(!name.trim().is_empty() && name.len() <= NAME_BYTES && !name.contains(char::is_control));
    }
    assert_eq!(claims.role == Role::Admin, said["role"] == "admin");
    let audience = |value: &Value| value == AUDIENCE;
    if input.is_strict {
        assert_eq!(said["iss"], ISSUER);
        assert!(audience(&said["aud"]) || said["aud"].as_array().is_some_and(|all| all.iter().any(audience)));
    } else {
        assert!(said["aud"].is_null(), "meant for somebody else");
    }
}

/// Whether nothing at all is odd about a token.
fn is_plainly_good(input: &Input<'_>) -> bool {
    let Ok(Value::Object(claims)) = serde_json::from_str(input.claims) else { return false };
    let Ok(Value::Object(header)) = serde_json::from_str(input.header) else { return false };
    let named = header.get("alg").and_then(Value::as_str).and_then(|name| name.parse::<Algorithm>().ok());
    let is_name = |v: Option<&Value>| {
        v.and_then(Value::as_str).is_some_and(|s| !s.is_empty() && s.chars().all(char::is_alphanumeric) && s.len() < 30)
    };
    header.len() == 1
        && named == Some(input.side.algorithm)
        && !input.side.public.starts_with(b"{")
        && !input.is_strict
        && claims.len() == 3
        && input.claims.matches(':').count() == 3
        && claims.get("type").is_some_and(|kind| kind == "access")
        && is_name(claims.get("sub"))
        && claims.get("exp").and_then(Value::as_u64).is_some_and(|exp| exp > NOW)
}

/// A renewed token is the same person's, and lives no longer than it may.
fn check_renewal(auth: &Auth, claims: &Claims) {
    match auth.renew(claims, Duration::from_secs(600)) {
        Ok((token, _)) => {
            let Ok(renewed) = auth.verify(&token) else { return };
            assert!(Some(renewed.exp) <= claims.renew_until, "{renewed:?}");
            assert_eq!(
                (renewed.sub, renewed.username, renewed.role),
                (claims.sub.clone(), claims.username.clone(), claims.role)
            );
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The token of a request is one that stands in it; and one that is put in comes out.
fn check_handshake(input: &Input<'_>, token: &str) {
    let Input { query, protocols, authorization, .. } = input;
    let found = Handshake::read(*query, protocols.iter().copied(), *authorization);
    let offers = protocols.iter().flat_map(|line| line.split(',')).any(|one| one.trim() == PROTOCOL);
    assert_eq!(found.offers_protocol, offers);
    if let Some(found) = &found.token {
        let stands = |text: &str| text.contains(found.as_str());
        let in_query = query.is_some_and(|query| query.contains("token="));
        assert!(
            !found.is_empty() && (authorization.is_some_and(stands) || protocols.iter().any(|p| stands(p)) || in_query)
        );
    }
    let is_plain =
        !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    if is_plain {
        let read = |query: Option<&str>, protocol: Option<&str>, authorization: Option<&str>| {
            Handshake::read(query, protocol, authorization).token
        };
        let escaped: String = token.bytes().map(|byte| format!("%{byte:02X}")).collect();
        assert_eq!(read(Some(&format!("a=b&token={token}&token=c")), None, None).as_deref(), Some(token));
        assert_eq!(read(Some(&format!("token={escaped}")), None, None).as_deref(), Some(token));
        assert_eq!(read(Some("token=q"), Some(&format!("{PROTOCOL}, bearer.{token}")), None).as_deref(), Some(token));
        let header = format!("bEARER {token}");
        assert_eq!(read(Some("token=q"), Some("bearer.p"), Some(&header)).as_deref(), Some(token));
    }
}

/// base64url without padding (RFC 4648, section 5).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let [a, b, c] = [0, 1, 2].map(|i| u32::from(three.get(i).copied().unwrap_or_default()));
        let bits = a << 16 | b << 8 | c;
        let digits = [18, 12, 6, 0].map(|shift| char::from(ALPHABET[(bits >> shift & 63) as usize]));
        out.extend(&digits[..=three.len()]);
    }
    out
}
