//! Keys, each pinned to one algorithm.

use std::path::Path;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde_json::Value;

use super::error::{AuthError, TokenError};
use super::secret::read_bounded;

/// The shortest RSA modulus, in bytes: 2048 bits (RFC 7518, 3.3).
const RSA_BYTES: usize = 256;

/// The length of an Ed25519 public key (RFC 8032, 5.1.5).
const ED25519_BYTES: usize = 32;

/// A key and the one algorithm that it is used with.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// At least one key.
#[derive(Debug)]
pub(super) struct Keys(Vec<Key>);

impl Keys {
    pub(super) fn one(key: Key) -> Keys {
        Keys(vec![key])
    }

    /// The key that a token names. One that names none means the only one; so does one that names any, where the only
    /// key has no name of its own.
    pub(super) fn choose(&self, id: Option<&str>) -> Result<&Key, TokenError> {
        match (self.0.as_slice(), id) {
            ([only], None) => Ok(only),
            ([only], Some(_)) if only.id.is_none() => Ok(only),
            (keys, Some(id)) => keys.iter().find(|key| key.id.as_deref() == Some(id)).ok_or(TokenError::UnknownKey),
            (_, None) => Err(TokenError::NoKeyId),
        }
    }
}

/// The public key in a PEM file; the kind of the key gives its algorithm.
pub(super) fn from_pem(path: &Path) -> Result<Keys, AuthError> {
    let bytes = read_bounded(path)?;
    let fault = |why: &str| AuthError::Key { path: path.to_owned(), why: why.to_owned() };
    let text = String::from_utf8_lossy(&bytes);
    if text.contains("PRIVATE KEY") {
        return Err(fault("holds a private key; the server needs the public one: openssl pkey -in KEY -pubout"));
    }
    if text.contains("BEGIN CERTIFICATE") {
        return Err(fault("holds a certificate; take its public key out: openssl x509 -in FILE -noout -pubkey"));
    }
    let (key, algorithm) = if let Ok(key) = DecodingKey::from_rsa_pem(&bytes) {
        (key, Algorithm::RS256)
    } else if let Ok(key) = DecodingKey::from_ec_pem(&bytes) {
        let algorithm =
            ec_algorithm(&key).ok_or_else(|| fault("holds an EC key of another curve than P-256 or P-384"))?;
        (key, algorithm)
    } else if let Ok(key) = DecodingKey::from_ed_pem(&bytes) {
        (key, Algorithm::EdDSA)
    } else {
        return Err(fault("holds no public key in PEM (RSA, P-256, P-384 or Ed25519)"));
    };
    // DER with exponent and tags is longer than the modulus alone, by less than the 64 bytes to the next usual size.
    if algorithm == Algorithm::RS256 && key.try_get_as_bytes().is_ok_and(|der| der.len() < RSA_BYTES) {
        return Err(fault("holds an RSA key of fewer than 2048 bits"));
    }
    check_usable(&key, algorithm).map_err(|error| fault(&format!("holds a key that cannot be used: {error}")))?;
    Ok(Keys::one(Key { id: None, algorithm, key }))
}

/// The uncompressed point of P-256 takes 65 bytes, that of P-384 97 (SEC 1, 2.3.3).
fn ec_algorithm(key: &DecodingKey) -> Option<Algorithm> {
    match key.try_get_as_bytes().ok()?.len() {
        65 => Some(Algorithm::ES256),
        97 => Some(Algorithm::ES384),
        _ => None,
    }
}

/// The signature keys of a JWKS file. Keys of other kinds and uses are passed over, as RFC 7517, 5 asks.
pub(super) fn from_jwks(path: &Path) -> Result<Keys, AuthError> {
    let bytes = read_bounded(path)?;
    let fault = |why: String| AuthError::Key { path: path.to_owned(), why };
    let set: Value = serde_json::from_slice(&bytes).map_err(|error| fault(format!("is not JSON: {error}")))?;
    let entries = set
        .get("keys")
        .and_then(Value::as_array)
        .ok_or_else(|| fault("is not a JSON Web Key Set: it has no array \"keys\"".to_owned()))?;
    let mut keys: Vec<Key> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        match from_jwk(entry) {
            Ok(key) if key.id.is_some() && keys.iter().any(|other| other.id == key.id) => {
                return Err(fault(format!("has two keys with the \"kid\" {:?}", key.id.unwrap_or_default())));
            }
            Ok(key) => keys.push(key),
            Err(why) => tracing::warn!("key {index} of {} is not used: {why}", path.display()),
        }
    }
    if keys.is_empty() {
        return Err(fault("holds no key for signatures with RSA, P-256, P-384 or Ed25519".to_owned()));
    }
    Ok(Keys(keys))
}

fn from_jwk(entry: &Value) -> Result<Key, String> {
    let jwk: Jwk = serde_json::from_value(entry.clone()).map_err(|error| error.to_string())?;
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return Err("it is not for signatures".to_owned());
    }
    let natural = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) if rsa.n.len() * 6 / 8 < RSA_BYTES => {
            return Err("an RSA key of fewer than 2048 bits".to_owned());
        }
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P384 => Algorithm::ES384,
        AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        AlgorithmParameters::OctetKey(_) => return Err("a symmetric key; use --jwt-secret-file".to_owned()),
        _ => return Err("a key of an unknown kind".to_owned()),
    };
    let algorithm = match jwk.common.key_algorithm {
        None => natural,
        Some(named) => match Algorithm::try_from(named) {
            // RSA keys serve RS256 to PS512; the curves leave no choice.
            Ok(algorithm) if algorithm == natural => algorithm,
            Ok(algorithm) if natural.family() == AlgorithmFamily::Rsa && algorithm.family() == natural.family() => {
                algorithm
            }
            _ => return Err(format!("its \"alg\" {named} does not go with its kind")),
        },
    };
    let key = DecodingKey::from_jwk(&jwk).map_err(|error| error.to_string())?;
    check_usable(&key, algorithm)?;
    Ok(Key { id: jwk.common.key_id, algorithm, key })
}

/// Tries the key on a signature, which does not have to be good: a key with a point off its curve, say, is noticed now
/// and not when the first user comes.
fn check_usable(key: &DecodingKey, algorithm: Algorithm) -> Result<(), String> {
    // The library takes the first 32 bytes without a look at the length.
    if algorithm == Algorithm::EdDSA && key.try_get_as_bytes().map_or(0, <[u8]>::len) != ED25519_BYTES {
        return Err(format!("an Ed25519 key has {ED25519_BYTES} bytes"));
    }
    jsonwebtoken::crypto::verify("AAAA", b"", key, algorithm).map(|_| ()).map_err(|error| error.to_string())
}
