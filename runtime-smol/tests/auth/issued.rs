//! The secret of this server, and tokens and logins made with it.

use super::*;

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
