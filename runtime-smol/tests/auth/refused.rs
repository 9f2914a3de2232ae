//! Tokens that are forged, changed or none at all.

use super::*;

/// A token with any header, signed properly with a key for an algorithm.
fn signed(header: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
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
