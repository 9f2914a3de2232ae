//! What a token says: names, times, issuer and audience.

use super::*;

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
