//! Tokens: those of every kind of key are taken, and each way of forging, stretching or reusing one is refused with a
//! reason that helps its honest owner.

mod scratch;

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use causerie::auth::{
    Auth, AuthOptions, Claims, IssueError, LONGEST_TTL, NAME_BYTES, SECRET_BYTES, TOKEN_BYTES, TokenError, secret_path,
    user_id,
};
use causerie_core::Role;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use scratch::Scratch;
use serde_json::{Value, json};

const NOW: u64 = 2_000_000_000;
const SECRET: &[u8] = b"a secret of thirty-two bytes, or more";

fn key_file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(name)
}

fn private(name: &str) -> EncodingKey {
    let pem = fs::read(key_file(&format!("{name}.private.pem"))).unwrap();
    match name {
        "rsa" => EncodingKey::from_rsa_pem(&pem),
        "ed25519" => EncodingKey::from_ed_pem(&pem),
        _ => EncodingKey::from_ec_pem(&pem),
    }
    .unwrap()
}

/// With a secret of our own choice.
fn with_secret(scratch: &Scratch) -> Auth {
    fs::write(scratch.join("secret"), SECRET).unwrap();
    Auth::open(&AuthOptions { secret_file: Some(scratch.join("secret")), ..AuthOptions::default() }).unwrap()
}

fn with_public_key(name: &str) -> Auth {
    let file = key_file(&format!("{name}.public.pem"));
    Auth::open(&AuthOptions { public_key: Some(file), ..AuthOptions::default() }).unwrap()
}

fn good() -> Value {
    json!({"sub": "u1", "username": "ada", "role": "admin", "iat": NOW - 5, "exp": NOW + 60, "type": "access"})
}

fn hs256(claims: &Value) -> String {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.as_ref().chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * i)) as usize & 63]));
        }
    }
    text
}

/// A token with any header, signed properly with a key for an algorithm.
fn signed(header: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

#[test]
fn a_good_token_says_who_it_is() {
    let scratch = Scratch::new();
    let auth = with_secret(&scratch);
    let claims = auth.verify_at(&hs256(&good()), NOW).unwrap();
    let expected = Claims {
        sub: "u1".into(),
        username: "ada".into(),
        role: Role::Admin,
        iat: Some(NOW - 5),
        exp: NOW + 60,
        renew_until: None,
    };
    assert_eq!(claims, expected);
}

#[test]
fn tokens_of_other_issuers_are_read_as_they_come() {
    let scratch = Scratch::new();
    let auth = with_secret(&scratch);
    let read = |changes: Value| {
        let mut claims = good();
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        auth.verify_at(&hs256(&claims), NOW).unwrap()
    };
    assert_eq!(read(json!({"sub": 42})).sub, "42");
    assert_eq!(read(json!({"sub": -1})).sub, "-1");
    assert_eq!(read(json!({"sub": 42, "username": null})).username, "42");
    assert_eq!(read(json!({"exp": NOW as f64 + 1.5})).exp, NOW + 1);
    assert_eq!(read(json!({"exp": 1e30})).exp, u64::MAX);
    assert_eq!(read(json!({"iat": null})).iat, None);
    for role in [json!("user"), json!("Admin"), json!("root"), json!(null), json!(1), json!(["admin"])] {
        assert_eq!(read(json!({"role": role})).role, Role::User, "{role}");
    }
}

#[test]
fn a_token_is_valid_until_its_expiry_and_not_a_second_longer() {
    let scratch = Scratch::new();
    let auth = with_secret(&scratch);
    let token = hs256(&good());
    assert!(auth.verify_at(&token, NOW + 59).is_ok());
    for later in [NOW + 60, NOW + 61, u64::MAX] {
        assert_eq!(auth.verify_at(&token, later), Err(TokenError::Expired));
    }
    assert_eq!(TokenError::Expired.to_string(), "The token has expired; get a new one.");
}

#[test]
fn claims_that_are_missing_or_odd_are_named() {
    let scratch = Scratch::new();
    let auth = with_secret(&scratch);
    let long = "x".repeat(NAME_BYTES + 1);
    for (name, value, reason) in [
        ("exp", None, "The token has no \"exp\"."),
        ("exp", Some(json!("2033")), "The token's \"exp\" is not a number of seconds since 1970."),
        ("exp", Some(json!(-5)), "The token has expired; get a new one."),
        ("exp", Some(json!(true)), "The token's \"exp\" is not a number of seconds since 1970."),
        ("sub", None, "The token has no \"sub\"."),
        ("sub", Some(json!("")), "The token's \"sub\" is empty."),
        ("sub", Some(json!(1.5)), "The token's \"sub\" is not a string."),
        ("sub", Some(json!({"id": 1})), "The token's \"sub\" is not a string."),
        ("sub", Some(json!(long)), "The token's \"sub\" is longer than 128 bytes."),
        ("username", Some(json!(7)), "The token's \"username\" is not a string."),
        ("username", Some(json!("a\nb")), "The token's \"username\" has control characters."),
        ("username", Some(json!(" ")), "The token's \"username\" is empty."),
        ("type", None, "The token has no \"type\"."),
        ("type", Some(json!("refresh")), "The token is not an access token: its \"type\" must be \"access\"."),
        ("type", Some(json!(["access"])), "The token is not an access token: its \"type\" must be \"access\"."),
        ("nbf", Some(json!(NOW + 1)), "The token is not valid yet; check the clocks."),
        ("nbf", Some(json!("x")), "The token's \"nbf\" is not a number of seconds since 1970."),
        ("iat", Some(json!("x")), "The token's \"iat\" is not a number of seconds since 1970."),
        ("aud", Some(json!("others")), "The token is meant for another audience."),
    ] {
        let mut claims = good();
        match value {
            Some(value) => claims[name] = value,
            None => drop(claims.as_object_mut().unwrap().remove(name)),
        }
        let error = auth.verify_at(&hs256(&claims), NOW).expect_err("it is odd").to_string();
        assert_eq!(error, reason, "{claims}");
    }
    let exactly = json!({"sub": "x".repeat(NAME_BYTES), "exp": NOW + 1, "type": "access"});
    assert!(auth.verify_at(&hs256(&exactly), NOW).is_ok());
    for no_object in [json!([]), json!("x"), json!(null), json!(1)] {
        assert_eq!(auth.verify_at(&hs256(&no_object), NOW), Err(TokenError::Malformed), "{no_object}");
    }
}

#[test]
fn an_unsigned_token_is_refused_however_it_is_spelled() {
    let scratch = Scratch::new();
    let auths = [with_secret(&scratch), with_public_key("rsa")];
    for alg in [json!("none"), json!("None"), json!("NONE"), json!(""), json!(null), json!(0), json!(["none"])] {
        for signature in ["", "AAAA", "e30"] {
            let header = base64url(json!({"alg": alg, "typ": "JWT"}).to_string());
            let token = format!("{header}.{}.{signature}", base64url(good().to_string()));
            for auth in &auths {
                let error = auth.verify_at(&token, NOW).expect_err("it is unsigned");
                let named = alg.is_string() && error == TokenError::UnknownAlgorithm;
                assert!(named || !alg.is_string(), "{alg} {signature}: {error:?}");
            }
        }
    }
}

#[test]
fn a_token_signed_with_another_key_or_changed_afterwards_is_refused() {
    let scratch = Scratch::new();
    let auth = with_secret(&scratch);
    let other = encode(&Header::new(Algorithm::HS256), &good(), &EncodingKey::from_secret(b"another secret")).unwrap();
    assert_eq!(auth.verify_at(&other, NOW), Err(TokenError::Signature));
    let empty = encode(&Header::new(Algorithm::HS256), &good(), &EncodingKey::from_secret(b"")).unwrap();
    assert_eq!(auth.verify_at(&empty, NOW), Err(TokenError::Signature));

    let token = hs256(&good());
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let mut richer = good();
    richer["exp"] = json!(NOW + 1_000_000);
    let richer = base64url(richer.to_string());
    for forged in [
        format!("{header}.{richer}.{signature}"),
        format!("{header}.{claims}."),
        format!("{header}.{claims}.{}", &signature[1..]),
        format!("{header}.{claims}.{}", base64url([0u8; 32])),
    ] {
        let error = auth.verify_at(&forged, NOW).expect_err("it is forged");
        assert!(matches!(error, TokenError::Signature | TokenError::Malformed), "{forged}: {error:?}");
    }
}

#[test]
fn the_algorithm_is_that_of_the_key_whatever_the_token_says() {
    let scratch = Scratch::new();
    let auth = with_secret(&scratch);
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let token = encode(&Header::new(algorithm), &good(), &EncodingKey::from_secret(SECRET)).unwrap();
        assert_eq!(auth.verify_at(&token, NOW), Err(TokenError::Algorithm { expected: Algorithm::HS256 }));
    }
    let rsa = encode(&Header::new(Algorithm::RS256), &good(), &private("rsa")).unwrap();
    let error = auth.verify_at(&rsa, NOW).unwrap_err().to_string();
    assert_eq!(error, "The token is not signed with HS256, as it must be here.");
    // Says HS256 and is signed so, with the text of the public key as the secret: the classic confusion.
    for (name, algorithm) in [
        ("rsa", Algorithm::RS256),
        ("p256", Algorithm::ES256),
        ("p384", Algorithm::ES384),
        ("ed25519", Algorithm::EdDSA),
    ] {
        let auth = with_public_key(name);
        let pem = fs::read(key_file(&format!("{name}.public.pem"))).unwrap();
        for secret in [pem.as_slice(), pem.trim_ascii()] {
            let token = encode(&Header::new(Algorithm::HS256), &good(), &EncodingKey::from_secret(secret)).unwrap();
            assert_eq!(auth.verify_at(&token, NOW), Err(TokenError::Algorithm { expected: algorithm }));
        }
    }
    // Another algorithm of the same key.
    let pss = encode(&Header::new(Algorithm::PS256), &good(), &private("rsa")).unwrap();
    assert!(with_public_key("rsa").verify_at(&pss, NOW).is_err());
}

#[test]
fn a_public_key_verifies_what_its_private_key_signed_and_issues_nothing() {
    for (name, algorithm) in [
        ("rsa", Algorithm::RS256),
        ("p256", Algorithm::ES256),
        ("p384", Algorithm::ES384),
        ("ed25519", Algorithm::EdDSA),
    ] {
        let auth = with_public_key(name);
        let token = encode(&Header::new(algorithm), &good(), &private(name)).unwrap();
        assert_eq!(auth.verify_at(&token, NOW).unwrap().username, "ada", "{name}");
        let flipped = format!("{}{}", &token[..token.len() - 5], if token.ends_with('A') { "BBBBB" } else { "AAAAA" });
        assert!(auth.verify_at(&flipped, NOW).is_err(), "{name}");
        assert!(!auth.can_issue());
        let error = auth.issue("ada", Role::User, Duration::from_secs(60)).unwrap_err().to_string();
        assert!(error.contains("identity provider"), "{error}");
    }
}

#[test]
fn files_that_hold_no_good_public_key_are_refused_with_advice() {
    let scratch = Scratch::new();
    fs::write(scratch.join("certificate"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    fs::write(scratch.join("text"), "no key at all").unwrap();
    fs::write(scratch.join("large"), vec![b'x'; 256 * 1024 + 1]).unwrap();
    for (file, advice) in [
        (key_file("rsa.private.pem"), "openssl pkey"),
        (key_file("ed25519.private.pem"), "holds a private key"),
        (scratch.join("certificate"), "openssl x509"),
        (key_file("rsa1024.public.pem"), "fewer than 2048 bits"),
        (key_file("secp256k1.public.pem"), "cannot be used"),
        (scratch.join("text"), "no public key in PEM"),
        (scratch.join("large"), "larger than 262144 bytes"),
        (scratch.join("missing"), "cannot read"),
    ] {
        let options = AuthOptions { public_key: Some(file.clone()), ..AuthOptions::default() };
        let error = Auth::open(&options).expect_err("no good key").to_string();
        assert!(error.contains(advice) && error.contains(file.to_str().unwrap()), "{error}");
    }
}

/// A JWKS with the public keys of `names`, their names as `kid`.
fn jwks(scratch: &Scratch, names: &[(&str, Algorithm)], change: impl Fn(&mut Vec<Value>)) -> AuthOptions {
    let mut keys: Vec<Value> = names
        .iter()
        .map(|(name, algorithm)| {
            let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&private(name), *algorithm).unwrap()).unwrap();
            jwk["kid"] = json!(name);
            jwk
        })
        .collect();
    change(&mut keys);
    fs::write(scratch.join("jwks.json"), json!({"keys": keys}).to_string()).unwrap();
    AuthOptions { jwks: Some(scratch.join("jwks.json")), ..AuthOptions::default() }
}

const ALL: [(&str, Algorithm); 4] =
    [("rsa", Algorithm::RS256), ("p256", Algorithm::ES256), ("p384", Algorithm::ES384), ("ed25519", Algorithm::EdDSA)];

#[test]
fn the_token_names_its_key_in_a_set() {
    let scratch = Scratch::new();
    let auth = Auth::open(&jwks(&scratch, &ALL, |_| ())).unwrap();
    for (name, algorithm) in ALL {
        let header = Header { kid: Some(name.into()), ..Header::new(algorithm) };
        let token = encode(&header, &good(), &private(name)).unwrap();
        assert!(auth.verify_at(&token, NOW).is_ok(), "{name}");
        // Good, but of another key of the set.
        let other = if name == "rsa" { "p256" } else { "rsa" };
        let header = Header { kid: Some(other.into()), ..Header::new(algorithm) };
        let token = encode(&header, &good(), &private(name)).unwrap();
        assert!(auth.verify_at(&token, NOW).is_err(), "{name}");
        let unknown = Header { kid: Some("old".into()), ..Header::new(algorithm) };
        let token = encode(&unknown, &good(), &private(name)).unwrap();
        assert_eq!(auth.verify_at(&token, NOW), Err(TokenError::UnknownKey));
        let token = encode(&Header::new(algorithm), &good(), &private(name)).unwrap();
        assert_eq!(auth.verify_at(&token, NOW), Err(TokenError::NoKeyId));
    }
}

#[test]
fn the_only_key_of_a_set_needs_no_name() {
    let scratch = Scratch::new();
    let auth = Auth::open(&jwks(&scratch, &ALL[1..2], |_| ())).unwrap();
    let token = encode(&Header::new(Algorithm::ES256), &good(), &private("p256")).unwrap();
    assert!(auth.verify_at(&token, NOW).is_ok());
    let named = Header { kid: Some("other".into()), ..Header::new(Algorithm::ES256) };
    let token = encode(&named, &good(), &private("p256")).unwrap();
    assert_eq!(auth.verify_at(&token, NOW), Err(TokenError::UnknownKey));
}

#[test]
fn odd_keys_of_a_set_are_passed_over_and_the_good_ones_serve() {
    let scratch = Scratch::new();
    let options = jwks(&scratch, &ALL[..1], |keys| {
        let rsa = keys[0].clone();
        let with = |name: &str, value: Value| {
            let mut key = rsa.clone();
            key["kid"] = json!(format!("odd-{name}"));
            key[name] = value;
            key
        };
        keys.extend([
            json!({"kty": "oct", "k": base64url(SECRET), "kid": "secret", "alg": "HS256"}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": "short"}),
            json!({"kty": "OKP", "crv": "X25519", "x": base64url([1; 32]), "kid": "x25519"}),
            json!({"kty": "EC", "crv": "P-256", "x": base64url([1; 32]), "y": base64url([1; 32]), "kid": "off-curve"}),
            json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "k1"}),
            json!({"kty": "RSA", "n": base64url([255; 128]), "e": "AQAB", "kid": "small"}),
            json!({"kty": "RSA", "n": "!", "e": "!", "kid": "nonsense"}),
            json!({"kty": "future"}),
            json!(7),
            json!(null),
            with("use", json!("enc")),
            with("alg", json!("HS256")),
            with("alg", json!("ES256")),
            with("alg", json!("RSA-OAEP")),
        ]);
    });
    let auth = Auth::open(&options).unwrap();
    let header = Header { kid: Some("rsa".into()), ..Header::new(Algorithm::RS256) };
    assert!(auth.verify_at(&encode(&header, &good(), &private("rsa")).unwrap(), NOW).is_ok());
    // The symmetric key in particular, which anybody who can read a public set knows.
    let header = Header { kid: Some("secret".into()), ..Header::new(Algorithm::HS256) };
    let token = encode(&header, &good(), &EncodingKey::from_secret(SECRET)).unwrap();
    assert!(auth.verify_at(&token, NOW).is_err());
}

#[test]
fn sets_without_a_good_key_are_refused() {
    let scratch = Scratch::new();
    let file = scratch.join("jwks.json");
    for (text, why) in [
        ("", "is not JSON"),
        ("[]", "no array \"keys\""),
        ("{\"keys\": {}}", "no array \"keys\""),
        ("{\"keys\": []}", "holds no key for signatures"),
        ("{\"keys\": [{\"kty\": \"oct\", \"k\": \"AAAA\"}]}", "holds no key for signatures"),
    ] {
        fs::write(&file, text).unwrap();
        let options = AuthOptions { jwks: Some(file.clone()), ..AuthOptions::default() };
        let error = Auth::open(&options).expect_err("no good key").to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
    let twice = jwks(&scratch, &ALL, |keys| keys.push(keys[0].clone()));
    assert!(Auth::open(&twice).expect_err("twice").to_string().contains("two keys with the \"kid\" \"rsa\""));
}

#[test]
fn issuer_and_audience_are_checked_where_they_are_asked_for() {
    let scratch = Scratch::new();
    fs::write(scratch.join("secret"), SECRET).unwrap();
    let options = AuthOptions {
        secret_file: Some(scratch.join("secret")),
        issuer: Some("https://id.example".into()),
        audience: Some("causerie".into()),
        ..AuthOptions::default()
    };
    let auth = Auth::open(&options).unwrap();
    let check = |iss: Value, aud: Value| {
        let mut claims = good();
        (claims["iss"], claims["aud"]) = (iss, aud);
        auth.verify_at(&hs256(&claims), NOW).map(|_| ())
    };
    assert_eq!(check(json!("https://id.example"), json!("causerie")), Ok(()));
    assert_eq!(check(json!("https://id.example"), json!(["x", "causerie"])), Ok(()));
    assert_eq!(check(json!("https://id.example/"), json!("causerie")), Err(TokenError::Issuer));
    assert_eq!(check(json!(null), json!("causerie")), Err(TokenError::Issuer));
    for wrong in [json!(null), json!("x"), json!(["x"]), json!([]), json!(1)] {
        assert_eq!(check(json!("https://id.example"), wrong), Err(TokenError::Audience));
    }
    // What we make ourselves has both.
    let own = auth.issue("ada", Role::User, Duration::from_secs(60)).unwrap();
    assert!(auth.verify(&own).is_ok());
}

#[test]
fn a_critical_header_is_not_overlooked() {
    let scratch = Scratch::new();
    let auth = with_secret(&scratch);
    let key = EncodingKey::from_secret(SECRET);
    let header = json!({"alg": "HS256", "crit": ["exp2"], "exp2": 1});
    assert_eq!(auth.verify_at(&signed(&header, &good(), &key, Algorithm::HS256), NOW), Err(TokenError::Critical));
    let header = json!({"alg": "HS256", "typ": "at+jwt", "unknown": {"deep": [1, 2]}});
    assert!(auth.verify_at(&signed(&header, &good(), &key, Algorithm::HS256), NOW).is_ok());
}

#[test]
fn what_is_no_token_is_refused_and_nothing_panics() {
    let scratch = Scratch::new();
    let auth = with_secret(&scratch);
    let good = hs256(&good());
    for text in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "a.b",
        "é.ü.ß",
        "e30.e30.e30",
        "e30..",
        "\0",
        "{}",
        &good[1..],
        &format!("{good}.x"),
    ] {
        assert!(auth.verify_at(text, NOW).is_err(), "{text:?}");
    }
    let long = "x".repeat(TOKEN_BYTES + 1);
    assert_eq!(auth.verify_at(&long, NOW), Err(TokenError::TooLong { limit: TOKEN_BYTES, got: TOKEN_BYTES + 1 }));
    assert_eq!(auth.verify_at(&long[1..], NOW), Err(TokenError::Malformed));
}

#[test]
fn errors_for_the_peer_tell_nothing_of_the_key() {
    let scratch = Scratch::new();
    let auth = with_secret(&scratch);
    let other = encode(&Header::new(Algorithm::HS256), &good(), &EncodingKey::from_secret(b"x")).unwrap();
    let text = format!("{0} {0:?}", auth.verify_at(&other, NOW).unwrap_err());
    assert!(!text.contains("secret of thirty-two"), "{text}");
    assert!(!format!("{auth:?}").contains("secret of thirty-two"));
}

#[test]
fn the_first_start_makes_a_secret_that_only_its_owner_can_read() {
    let scratch = Scratch::new();
    let options = AuthOptions { data_dir: scratch.join("new/data"), ..AuthOptions::default() };
    let first = Auth::open(&options).unwrap();
    let path = secret_path(&options.data_dir);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.trim().len(), 2 * SECRET_BYTES);
    assert!(text.trim().bytes().all(|byte| byte.is_ascii_hexdigit()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(fs::read_dir(&options.data_dir).unwrap().count(), 1, "nothing else is left there");

    // The next start uses the same, so tokens live on; the text, trimmed, is the key.
    let token = first.issue("ada", Role::Admin, Duration::from_secs(60)).unwrap();
    let claims = Auth::open(&options).unwrap().verify(&token).unwrap();
    assert_eq!((claims.username.as_str(), claims.role, claims.sub), ("ada", Role::Admin, user_id("ada")));
    assert_eq!(claims.exp - claims.iat.unwrap(), 60);
    let by_hand = jsonwebtoken::decode::<Value>(
        &token,
        &jsonwebtoken::DecodingKey::from_secret(text.trim().as_bytes()),
        &jsonwebtoken::Validation::new(Algorithm::HS256),
    );
    assert_eq!(by_hand.unwrap().claims["type"], "access");
}

#[test]
fn two_first_starts_at_once_agree_on_the_secret() {
    let scratch = Scratch::new();
    let options = AuthOptions { data_dir: scratch.join("data"), ..AuthOptions::default() };
    let auths: Vec<Auth> = thread::scope(|scope| {
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| Auth::open(&options).unwrap())).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    for auth in &auths {
        let token = auth.issue("ada", Role::User, Duration::from_secs(60)).unwrap();
        assert!(auths.iter().all(|other| other.verify(&token).is_ok()));
    }
    assert_eq!(fs::read_dir(&options.data_dir).unwrap().count(), 1);
}

#[test]
fn a_secret_that_is_too_short_is_refused() {
    let scratch = Scratch::new();
    let options = AuthOptions { secret_file: Some(scratch.join("secret")), ..AuthOptions::default() };
    for (text, good) in [
        (String::new(), false),
        ("\n".repeat(100), false),
        (format!(" {} \n", "x".repeat(SECRET_BYTES - 1)), false),
        (format!("\t{}\n", "x".repeat(SECRET_BYTES)), true),
    ] {
        fs::write(scratch.join("secret"), &text).unwrap();
        match Auth::open(&options) {
            Ok(_) => assert!(good, "{text:?}"),
            Err(error) => assert!(!good && error.to_string().contains("at least 32"), "{text:?}: {error}"),
        }
    }
    let missing = AuthOptions { secret_file: Some(scratch.join("missing")), ..AuthOptions::default() };
    assert!(Auth::open(&missing).expect_err("missing").to_string().contains("cannot read"));
    assert!(!scratch.join("missing").exists(), "a file that is named is never made");
    let several = AuthOptions { jwks: Some(scratch.join("j")), ..options };
    assert!(Auth::open(&several).expect_err("two kinds").to_string().contains("exclude each other"));
}

#[test]
fn tokens_are_made_for_sensible_names_and_times_only() {
    let scratch = Scratch::new();
    let auth = with_secret(&scratch);
    let minute = Duration::from_secs(60);
    for name in ["", "  ", "a\0b", "a\u{85}b", &"x".repeat(NAME_BYTES + 1)] {
        assert!(auth.issue(name, Role::User, minute).is_err(), "{name:?}");
    }
    for ttl in [Duration::ZERO, LONGEST_TTL + Duration::from_nanos(1), Duration::MAX] {
        let error = auth.issue("ada", Role::User, ttl).unwrap_err().to_string();
        assert!(error.contains("days"), "{error}");
    }
    assert!(auth.issue("ada", Role::User, LONGEST_TTL).is_ok());
    // A part of a second counts as one: no token is dead on arrival.
    let brief = auth.issue(" ada ", Role::User, Duration::from_millis(1)).unwrap();
    let claims = auth.verify_at(&brief, 0).unwrap();
    assert_eq!((claims.exp - claims.iat.unwrap(), claims.username.as_str()), (1, "ada"));
    assert_eq!(user_id("ada"), user_id("ada"));
    assert_ne!(user_id("ada"), user_id("Ada"));
}

#[test]
fn a_login_is_renewed_as_the_same_person_and_not_beyond_its_end() {
    let scratch = Scratch::new();
    let auth = with_secret(&scratch);
    let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
    let first = auth.verify(&auth.issue_renewable("ada", Role::Admin, minute, hour).unwrap()).unwrap();
    let (token, ttl) = auth.renew(&first, 2 * minute).unwrap();
    let second = auth.verify(&token).unwrap();
    assert_eq!(ttl, 2 * minute);
    assert!(second.exp > first.exp, "{second:?}");
    assert_eq!(Claims { iat: first.iat, exp: first.exp, ..second.clone() }, first);
    // The last one ends with the right to renew it, and is not renewed.
    let (token, ttl) = auth.renew(&second, 2 * hour).unwrap();
    let last = auth.verify(&token).unwrap();
    assert!(ttl <= hour && Some(last.exp) == first.renew_until, "{last:?}");
    assert!(matches!(auth.renew(&last, 2 * hour), Err(IssueError::RenewalOver)));
}

#[test]
fn what_is_no_login_is_not_renewed() {
    let scratch = Scratch::new();
    let auth = with_secret(&scratch);
    let hour = Duration::from_secs(3600);
    let invited = auth.verify(&auth.issue("ada", Role::User, hour).unwrap()).unwrap();
    assert!(matches!(auth.renew(&invited, hour), Err(IssueError::NotRenewable)));
    // Somebody else's token with the same secret: whatever it says, nobody becomes somebody else with it.
    let other = auth.verify(&hs256(&json!({
        "sub": "theirs", "username": "ada", "exp": u32::MAX, "renew_until": u64::from(u32::MAX) + 1, "type": "access"
    })));
    let (token, _) = auth.renew(&other.unwrap(), hour).unwrap();
    let renewed = auth.verify(&token).unwrap();
    assert_eq!((renewed.sub.as_str(), renewed.username.as_str(), renewed.role), ("theirs", "ada", Role::User));
    // A right to renew that has ended, and one that no clock reaches.
    for (until, renewable) in [(0, false), (u64::MAX, true)] {
        let claims = Claims { renew_until: Some(until), ..invited.clone() };
        assert_eq!(auth.renew(&claims, hour).is_ok(), renewable, "{until}");
    }
}

mod forgeries {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever one character of a token becomes, or wherever it is cut: it is refused, and nothing panics.
        #[test]
        fn no_changed_token_is_taken(at in any::<prop::sample::Index>(), to in any::<char>(), cut in any::<bool>()) {
            let scratch = Scratch::new();
            for (auth, token) in [
                (with_secret(&scratch), hs256(&good())),
                (with_public_key("ed25519"), encode(&Header::new(Algorithm::EdDSA), &good(), &private("ed25519")).unwrap()),
            ] {
                let at = at.index(token.len());
                let changed = match cut {
                    true => token[..at].to_owned(),
                    false => format!("{}{to}{}", &token[..at], &token[at + 1..]),
                };
                prop_assert_eq!(auth.verify_at(&changed, NOW).is_ok(), changed == token, "{}", changed);
            }
        }

        #[test]
        fn no_text_is_taken_or_panics(text in ".{0,200}", claims in ".{0,80}") {
            let scratch = Scratch::new();
            let auth = with_secret(&scratch);
            prop_assert!(auth.verify_at(&text, NOW).is_err());
            // Signed by us, so only the claims can be what is wrong with it.
            let header = base64url(json!({"alg": "HS256"}).to_string());
            let message = format!("{header}.{}", base64url(&claims));
            let key = EncodingKey::from_secret(SECRET);
            let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
            let token = format!("{message}.{signature}");
            prop_assert!(auth.verify_at(&token, NOW).is_err());
        }
    }
}
