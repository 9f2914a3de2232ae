//! What is wrong with a token, in words for the peer, and with a key, in words for the one who runs the server.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use jsonwebtoken::errors::ErrorKind;

use super::secret::SECRET_BYTES;

/// Why a token is refused. The text tells the peer what to do and nothing about the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenError {
    /// Longer than any that is looked at.
    TooLong {
        /// The longest, in bytes.
        limit: usize,
        /// Its length, in bytes.
        got: usize,
    },
    /// Not three parts of base64url with JSON in the first two.
    Malformed,
    /// Unsigned (`alg: none`), or signed with an algorithm that nobody knows.
    UnknownAlgorithm,
    /// Signed with another algorithm than that of the key.
    Algorithm {
        /// The algorithm of the key.
        expected: Algorithm,
    },
    /// Not signed with the key, or changed afterwards.
    Signature,
    /// It names a key that is not among those of the server.
    UnknownKey,
    /// It names no key, and the server has several.
    NoKeyId,
    /// It has header fields that must be understood and are not (RFC 7515, 4.1.11).
    Critical,
    /// It was valid once.
    Expired,
    /// It will be valid.
    NotYet,
    /// A claim is missing.
    Missing(&'static str),
    /// A claim is not what it should be.
    Claim {
        /// Which.
        name: &'static str,
        /// What it is, as the end of a sentence.
        why: &'static str,
    },
    /// Its `type` is something else than `access`.
    NotAccess,
    /// Issued by somebody else.
    Issuer,
    /// Meant for somebody else.
    Audience,
}

impl TokenError {
    /// From a header that could not be read.
    pub(super) fn from_header(error: &jsonwebtoken::errors::Error) -> TokenError {
        match error.kind() {
            // It is JSON, but its `alg` is missing or none of those that exist.
            ErrorKind::Json(json) if json.is_data() => TokenError::UnknownAlgorithm,
            _ => TokenError::Malformed,
        }
    }

    /// From a signature that could not even be looked at.
    pub(super) fn from_signature(error: &jsonwebtoken::errors::Error) -> TokenError {
        match error.kind() {
            ErrorKind::Base64(_) => TokenError::Malformed,
            _ => TokenError::Signature,
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenError::TooLong { limit, got } => {
                write!(f, "The token has {got} bytes; at most {limit} are read.")
            }
            TokenError::Malformed => f.write_str("The token is not a JSON Web Token; get a new one."),
            TokenError::Algorithm { expected: algorithm } => {
                write!(f, "The token is not signed with {algorithm:?}, as it must be here.")
            }
            TokenError::UnknownAlgorithm => {
                f.write_str("The token is unsigned, or signed with an unknown algorithm; get a new one.")
            }
            TokenError::Signature => f.write_str("The token's signature is not valid here; get a new one."),
            TokenError::UnknownKey => f.write_str("The token is signed with a key that is not known here."),
            TokenError::NoKeyId => f.write_str("The token does not say which key it is signed with (\"kid\")."),
            TokenError::Critical => f.write_str("The token has critical header fields that are not understood here."),
            TokenError::Expired => f.write_str("The token has expired; get a new one."),
            TokenError::NotYet => f.write_str("The token is not valid yet; check the clocks."),
            TokenError::Missing(name) => write!(f, "The token has no \"{name}\"."),
            TokenError::Claim { name, why } => write!(f, "The token's \"{name}\" {why}."),
            TokenError::NotAccess => f.write_str("The token is not an access token: its \"type\" must be \"access\"."),
            TokenError::Issuer => f.write_str("The token is issued by somebody who is not trusted here."),
            TokenError::Audience => f.write_str("The token is meant for another audience."),
        }
    }
}

impl std::error::Error for TokenError {}

/// Why no token could be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum IssueError {
    /// The server trusts somebody else's public keys and has no secret of its own.
    NoSecret,
    /// The name cannot be used.
    Username {
        /// The name, cut if it is long.
        got: String,
        /// What is wrong with it, as the end of a sentence.
        why: &'static str,
    },
    /// The time cannot be used.
    Ttl {
        /// The longest.
        limit: Duration,
        /// What was asked for.
        got: Duration,
    },
    /// The token that is to be renewed did not come with the right to be.
    NotRenewable,
    /// The token that is to be renewed has been renewed for as long as it may be.
    RenewalOver,
    /// The library could not sign.
    Sign(jsonwebtoken::errors::Error),
}

impl fmt::Display for IssueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IssueError::NoSecret => f.write_str(
                "tokens come from your identity provider when --jwt-public-key or --jwt-jwks is given; get one there",
            ),
            IssueError::Username { got, why } => write!(f, "the user name {got:?} {why}; choose another"),
            IssueError::Ttl { limit, got } => write!(
                f,
                "a token can be valid for one second to {} days, not for {} seconds",
                limit.as_secs() / 86_400,
                got.as_secs()
            ),
            IssueError::NotRenewable => f.write_str(
                "only a token that came from a login link can be renewed; this one is valid until its end, and then it \
                 takes a new one from where it came",
            ),
            IssueError::RenewalOver => {
                f.write_str("this login has been renewed for as long as it may be; log in with a new link when it ends")
            }
            IssueError::Sign(error) => write!(f, "cannot sign the token: {error}"),
        }
    }
}

impl std::error::Error for IssueError {}

/// Why the keys could not be loaded.
#[derive(Debug)]
#[non_exhaustive]
pub enum AuthError {
    /// More than one kind of key was named.
    SeveralKinds,
    /// A file could not be read, made or written.
    File {
        /// What was being done, as in "cannot read".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A secret that can be guessed.
    ShortSecret {
        /// The file.
        path: PathBuf,
        /// Its bytes, trimmed.
        got: usize,
    },
    /// A file that is larger than any with keys.
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The largest that is read, in bytes.
        limit: u64,
    },
    /// A file without a key that can be used.
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong, as the end of a sentence.
        why: String,
    },
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AuthError::SeveralKinds => {
                f.write_str("--jwt-secret-file, --jwt-public-key and --jwt-jwks exclude each other; give one of them")
            }
            AuthError::File { doing, path, source } => write!(f, "cannot {doing} {}: {source}", path.display()),
            AuthError::ShortSecret { path, got } => write!(
                f,
                "the secret in {} has {got} bytes; HS256 needs at least {SECRET_BYTES} (RFC 7518, 3.2). Make one with \
                 `openssl rand -hex 32`, or delete the data directory's own jwt.secret to have it made anew",
                path.display()
            ),
            AuthError::TooLarge { path, limit } => {
                write!(f, "{} is larger than {limit} bytes, the most that is read of a file with keys", path.display())
            }
            AuthError::Key { path, why } => write!(f, "{} {why}", path.display()),
        }
    }
}

impl std::error::Error for AuthError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            AuthError::File { source, .. } => Some(source),
            _ => None,
        }
    }
}
