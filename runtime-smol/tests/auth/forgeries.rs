//! Tokens with one character changed, or cut.

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
