//! Who somebody is: JSON Web Tokens (RFC 7519), checked and made.
//!
//! The server trusts one kind of key at a time: a secret of its own (HS256, made at the first start), or public keys of
//! somebody else's identity provider (a PEM file, or a JWKS file per RFC 7517). Each key is pinned to one algorithm when
//! it is loaded; the `alg` of a token is never what decides how it is checked, so `none` and an HMAC made with a public
//! key are refused like any other wrong algorithm (RFC 8725, 3.1).

mod claims;
mod error;
mod handshake;
mod keys;
mod secret;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use causerie_core::Role;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde_json::{Map, Value};

pub use claims::{Claims, NAME_BYTES, user_id};
pub use error::{AuthError, IssueError, TokenError};
pub use handshake::{Handshake, PROTOCOL};
pub use secret::SECRET_BYTES;

use keys::{Key, Keys};

/// A longer token is refused unread: no honest one comes near, and the limit keeps hostile ones cheap.
pub const TOKEN_BYTES: usize = 8192;

/// How long after its `exp`, and how long before its `nbf`, a token is still taken, in seconds. None: who makes tokens
/// for minutes or hours has no need of it, and what is said to be expired is expired.
pub const LEEWAY_SECONDS: u64 = 0;

/// The longest life of a token that [`Auth::issue`] makes.
pub const LONGEST_TTL: Duration = Duration::from_secs(3653 * 24 * 3600);

/// Where the keys are.
#[derive(Clone, Debug, Default)]
pub struct AuthOptions {
    /// Where `jwt.secret` is or will be, when no other key is named.
    pub data_dir: PathBuf,
    /// A file whose text, trimmed, is the HS256 key.
    pub secret_file: Option<PathBuf>,
    /// A PEM file with a public key, RSA, P-256, P-384 or Ed25519.
    pub public_key: Option<PathBuf>,
    /// A JSON file with a set of public keys (RFC 7517, 5).
    pub jwks: Option<PathBuf>,
    /// The `iss` that tokens must have.
    pub issuer: Option<String>,
    /// The `aud` that tokens must have. Without it tokens that have one are refused (RFC 7519, 4.1.3).
    pub audience: Option<String>,
}

/// The keys, loaded, and what is asked of a token.
#[derive(Debug)]
pub struct Auth {
    options: AuthOptions,
    loaded: RwLock<Arc<Loaded>>,
}

/// What is in the files.
#[derive(Debug)]
struct Loaded {
    keys: Keys,
    /// The secret, where it is ours to sign with.
    signing: Option<EncodingKey>,
}

impl Auth {
    /// Loads the keys; makes `jwt.secret` in the data directory, readable by its owner alone, if that is what is to be
    /// used and it is not there yet. Safe when several processes do so at once.
    ///
    /// # Errors
    /// [`AuthError`] when more than one kind of key is named, or a file cannot be read or holds no key that is good
    /// enough: a secret of fewer than [`SECRET_BYTES`] bytes, an RSA key of fewer than 2048 bits, a private key.
    pub fn open(options: &AuthOptions) -> Result<Auth, AuthError> {
        let loaded = RwLock::new(Arc::new(load(options)?));
        Ok(Auth { options: options.clone(), loaded })
    }

    /// Reads the keys again; tokens are checked with the new ones from now on.
    ///
    /// # Errors
    /// As [`Auth::open`]; then all stays as it was.
    pub fn reload(&self) -> Result<(), AuthError> {
        let loaded = Arc::new(load(&self.options)?);
        // Nobody panics while holding it, and what is in it is whole at any time.
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(())
    }

    /// The file that was named for the keys; `None` where they are the data directory's own secret.
    pub fn file(&self) -> Option<&Path> {
        let AuthOptions { secret_file, public_key, jwks, .. } = &self.options;
        secret_file.as_deref().or(public_key.as_deref()).or(jwks.as_deref())
    }

    fn loaded(&self) -> Arc<Loaded> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether [`Auth::issue`] can make tokens: the key is a secret and not somebody else's public key.
    pub fn can_issue(&self) -> bool {
        self.loaded().signing.is_some()
    }

    /// Checks a token against the clock of this machine.
    ///
    /// # Errors
    /// [`TokenError`], whose text is for the peer: it says what is wrong and what to do, and tells nothing of the keys.
    pub fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        self.verify_at(token, now())
    }

    /// Checks a token as if it were `now`, in seconds since 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    /// As [`Auth::verify`].
    pub fn verify_at(&self, token: &str, now: u64) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES {
            return Err(TokenError::TooLong { limit: TOKEN_BYTES, got: token.len() });
        }
        if token.split('.').count() != 3 {
            return Err(TokenError::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| TokenError::from_header(&error))?;
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        let loaded = self.loaded();
        let Key { key, algorithm, .. } = loaded.keys.choose(header.kid.as_deref())?;
        if header.alg != *algorithm {
            return Err(TokenError::Algorithm { expected: *algorithm });
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        match jsonwebtoken::crypto::verify(signature, message.as_bytes(), key, *algorithm) {
            Ok(true) => {}
            Ok(false) => return Err(TokenError::Signature),
            Err(error) => return Err(TokenError::from_signature(&error)),
        }
        // "Insecure" because it does not look at the signature, which is known to be good by now. The claims are ours to
        // check: the library's own check gives up on some odd ones without naming them.
        let claims: Map<String, Value> =
            jsonwebtoken::dangerous::insecure_decode(token).map_err(|_| TokenError::Malformed)?.claims;
        claims::check(&claims, self.options.issuer.as_deref(), self.options.audience.as_deref(), now)
    }

    /// Makes a token of ours for a user, valid from now for `ttl`, rounded up to whole seconds. Their `sub` follows from
    /// the name ([`user_id`]), so the same name is the same user, whoever makes the token.
    ///
    /// # Errors
    /// [`IssueError`] when there is no secret to sign with, the name is empty, too long or holds control characters, or
    /// the time is zero or longer than [`LONGEST_TTL`].
    pub fn issue(&self, username: &str, role: Role, ttl: Duration) -> Result<String, IssueError> {
        self.issue_for(username, role, ttl, None)
    }

    /// As [`Auth::issue`], with the right to be renewed ([`Auth::renew`]) until `renewable` from now.
    ///
    /// # Errors
    /// As [`Auth::issue`].
    pub fn issue_renewable(
        &self,
        username: &str,
        role: Role,
        ttl: Duration,
        renewable: Duration,
    ) -> Result<String, IssueError> {
        self.issue_for(username, role, ttl, Some(renewable))
    }

    /// Makes a token of the same person for a valid one that may be renewed: all that `old` says stays, but it is valid
    /// for `ttl` from now, or until [`Claims::renew_until`] if that is sooner. Also how long it is valid.
    ///
    /// # Errors
    /// [`IssueError::NotRenewable`] when `old` is of another kind, [`IssueError::RenewalOver`] when a new one would not
    /// be valid for longer than `old` is, [`IssueError::NoSecret`] when there is no secret to sign with.
    pub fn renew(&self, old: &Claims, ttl: Duration) -> Result<(String, Duration), IssueError> {
        let loaded = self.loaded();
        let key = loaded.signing.as_ref().ok_or(IssueError::NoSecret)?;
        let until = old.renew_until.ok_or(IssueError::NotRenewable)?;
        let issued = now();
        let exp = issued.saturating_add(ttl.as_secs()).min(until);
        if exp <= issued || exp <= old.exp && exp == until {
            return Err(IssueError::RenewalOver);
        }
        let claims = Claims { iat: Some(issued), exp, ..old.clone() };
        Ok((self.sign(&claims, key)?, Duration::from_secs(exp - issued)))
    }

    fn issue_for(
        &self,
        username: &str,
        role: Role,
        ttl: Duration,
        renewable: Option<Duration>,
    ) -> Result<String, IssueError> {
        let loaded = self.loaded();
        let key = loaded.signing.as_ref().ok_or(IssueError::NoSecret)?;
        let username = username.trim();
        if let Some(why) = claims::name_fault(username) {
            return Err(IssueError::Username { got: username.chars().take(NAME_BYTES).collect(), why });
        }
        if ttl.is_zero() || ttl > LONGEST_TTL {
            return Err(IssueError::Ttl { limit: LONGEST_TTL, got: ttl });
        }
        let issued = now();
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        self.sign(
            &Claims {
                sub: user_id(username),
                username: username.to_owned(),
                role,
                iat: Some(issued),
                exp: issued + seconds,
                renew_until: renewable.map(|renewable| issued.saturating_add(renewable.as_secs())),
            },
            key,
        )
    }

    fn sign(&self, claims: &Claims, key: &EncodingKey) -> Result<String, IssueError> {
        let claims = claims::ours(claims, self.options.issuer.as_deref(), self.options.audience.as_deref());
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, key).map_err(IssueError::Sign)
    }
}

fn load(options: &AuthOptions) -> Result<Loaded, AuthError> {
    let (keys, signing) = match (&options.secret_file, &options.public_key, &options.jwks) {
        (None, None, None) => own_secret(&secret::open_or_create(&options.data_dir)?),
        (Some(path), None, None) => own_secret(&secret::read(path)?),
        (None, Some(path), None) => (keys::from_pem(path)?, None),
        (None, None, Some(path)) => (keys::from_jwks(path)?, None),
        _ => return Err(AuthError::SeveralKinds),
    };
    Ok(Loaded { keys, signing })
}

fn own_secret(secret: &[u8]) -> (Keys, Option<EncodingKey>) {
    let key = Key { id: None, algorithm: Algorithm::HS256, key: DecodingKey::from_secret(secret) };
    (Keys::one(key), Some(EncodingKey::from_secret(secret)))
}

/// Seconds since 1970-01-01T00:00:00Z; 0 on a machine whose clock is before that.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Where the secret of a data directory is.
pub fn secret_path(data_dir: &Path) -> PathBuf {
    data_dir.join("jwt.secret")
}
