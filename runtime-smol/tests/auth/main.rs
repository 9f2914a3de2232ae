//! Tokens: those of every kind of key are taken, and each way of forging, stretching or reusing one is refused with a
//! reason that helps its honest owner.

mod claims;
mod forgeries;
mod issued;
mod public_keys;
mod refused;
#[path = "../scratch/mod.rs"]
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
