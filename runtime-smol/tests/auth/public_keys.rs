//! Public keys, by themselves and in sets.

use super::*;

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
