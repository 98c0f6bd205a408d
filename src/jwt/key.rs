//! The HS256 key: HMAC with SHA-256, RFC 7518 §3.2.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::base64url;
use super::token::{MAC_LEN, UnverifiedToken};

/// A shared secret, prepared for signing and verifying.
///
/// The two hash states of a secret are computed once. Each token works on a clone of them.
#[derive(Clone)]
pub struct Key {
    state: Hmac<Sha256>,
}

/// The secret is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmptySecret;

impl fmt::Display for EmptySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the secret is empty")
    }
}

impl std::error::Error for EmptySecret {}

impl Key {
    /// The shortest secret that RFC 7518 §3.2 allows, in bytes. [`Key::new`] accepts shorter ones: its
    /// caller decides whether to use one.
    pub const RECOMMENDED_LEN: usize = 32;

    /// Prepares the key for a secret: one or more arbitrary bytes.
    ///
    /// # Errors
    ///
    /// [`EmptySecret`] if the secret is empty.
    pub fn new(secret: &[u8]) -> Result<Self, EmptySecret> {
        match Hmac::new_from_slice(secret) {
            Ok(state) if !secret.is_empty() => Ok(Self { state }),
            _ => Err(EmptySecret),
        }
    }

    /// Signs a claims set. Returns the compact serialization, with the header
    /// `{"alg":"HS256","typ":"JWT"}`.
    ///
    /// `claims` is the JSON text of one object; it is not checked.
    #[must_use]
    pub fn sign(&self, claims: &str) -> String {
        self.sign_parts(r#"{"alg":"HS256","typ":"JWT"}"#, claims)
    }

    /// Signs any bytes as header and payload, valid or not. Tests and fuzz targets need this to get
    /// past the MAC.
    #[must_use]
    pub fn sign_parts(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        let mut token = String::new();
        base64url::encode(header.as_ref(), &mut token);
        token.push('.');
        base64url::encode(payload.as_ref(), &mut token);
        let mac = self
            .state
            .clone()
            .chain_update(token.as_bytes())
            .finalize()
            .into_bytes();
        token.push('.');
        base64url::encode(&mac, &mut token);
        token
    }

    /// Returns whether the token's signature is this key's MAC over its signing input.
    ///
    /// The comparison takes the same time wherever the signatures differ, so that a MAC cannot be found
    /// byte by byte. The time reveals only the length of the signing input, which its sender knows.
    pub(super) fn verify(&self, token: &UnverifiedToken<'_>) -> bool {
        let mac = self
            .state
            .clone()
            .chain_update(token.signing_input())
            .finalize()
            .into_bytes();
        words(&mac.into()).ct_eq(&words(token.signature())).into()
    }
}

/// Splits a MAC into the eight words of SHA-256. `subtle` guards each step of a comparison against the
/// optimizer, and eight steps are cheaper than 32.
fn words(mac: &[u8; MAC_LEN]) -> [u32; MAC_LEN / 4] {
    let mut words = [0; MAC_LEN / 4];
    for (word, bytes) in words.iter_mut().zip(mac.as_chunks().0) {
        *word = u32::from_ne_bytes(*bytes);
    }
    words
}

/// Prints neither the secret nor anything derived from it.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}
