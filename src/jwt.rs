//! JSON Web Tokens signed with HS256, parsed and verified: RFC 7515, 7518, 7519 and 8725.
//!
//! This module knows bytes, keys and time, and nothing about HTTP. The order of the checks is the whole
//! design:
//!
//! ```text
//! &str --parse--> UnverifiedToken --MAC--> (private) --header, claims, time--> VerifiedClaims
//! ```
//!
//! No unauthenticated byte reaches the JSON parser. Nothing in a token chooses how it is verified.
//! Claims can be read only from [`VerifiedClaims`], which only [`Verifier::verify`] creates.
//!
//! ```
//! use std::time::SystemTime;
//! use resource_server::jwt::{Error, Key, Policy, Verifier};
//!
//! let key = Key::new(b"thirty-two bytes of secret or more")?;
//! let token = key.sign(r#"{"sub":"alice","exp":4102444800}"#);
//!
//! let verifier = Verifier::new(key, Policy::default());
//! let claims = verifier.verify(&token, SystemTime::now().into())?;
//! assert_eq!(claims.subject().as_deref(), Some("alice"));
//!
//! let forged = format!("{token}A");
//! assert_eq!(verifier.verify(&forged, SystemTime::now().into()).unwrap_err(), Error::NotHs256Signature);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![doc = include_str!("jwt/review.md")]

mod base64url;
mod claims;
mod error;
mod header;
mod json;
mod key;
mod token;

pub use claims::{NoUser, NumericDate, VerifiedClaims};
pub use error::Error;
pub use key::{EmptySecret, Key};
pub use token::{MAX_TOKEN_LEN, UnverifiedToken};
use token::{contains, fault};

/// What a claims set is checked against. The default requires only what RFC 7519 requires.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The `iss` that a token must have, byte for byte; with `None` it is ignored.
    pub issuer: Option<String>,
    /// The `aud` that a token must name, byte for byte; with `None` a token that names any is rejected.
    pub audience: Option<String>,
    /// Seconds by which the issuer's clock may differ from ours: `exp` counts as that much later,
    /// `nbf` as that much earlier.
    pub leeway: u16,
    /// Whether a token without `exp` is rejected.
    pub require_exp: bool,
    /// The name of the claim that identifies the user: `sub` by default. It is taken literally and
    /// looked up at the top level.
    pub user_claim: String,
    /// The name of the claim that lists the granted scopes: `scope` by default. It is taken literally
    /// and looked up at the top level.
    pub scope_claim: String,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            issuer: None,
            audience: None,
            leeway: 0,
            require_exp: false,
            user_claim: "sub".into(),
            scope_claim: "scope".into(),
        }
    }
}

/// Verifies tokens with one or two keys and a policy.
#[derive(Clone, Debug)]
pub struct Verifier {
    current: Key,
    previous: Option<Key>,
    policy: Policy,
}

impl Verifier {
    /// Creates a verifier that accepts what `key` has signed and `policy` allows.
    #[must_use]
    pub fn new(key: Key, policy: Policy) -> Self {
        Self {
            current: key,
            previous: None,
            policy,
        }
    }

    /// Also accepts tokens that a second key has signed, for a key rotation.
    #[must_use]
    pub fn with_previous(self, key: Key) -> Self {
        Self {
            previous: Some(key),
            ..self
        }
    }

    /// Verifies a token and validates its claims at the time `now`.
    ///
    /// Computes at most two MACs, over at most 8,192 bytes each. Allocates nothing until the MAC is
    /// verified. After that it allocates one buffer no longer than the token, and what `serde_json`
    /// needs for escapes, nested values and errors.
    ///
    /// # Errors
    ///
    /// The first rule that the token breaks, in the order of [`Error`]'s variants. There is one
    /// exception: a wrong MAC is reported before a header or payload that is not base64url, unless
    /// there is padding.
    ///
    /// At exactly `exp` plus the leeway, a token has expired. At exactly `nbf` minus the leeway, it is
    /// valid. An `exp` of 253402300800 is allowed, and any above it is rejected.
    pub fn verify(&self, token: &str, now: NumericDate) -> Result<VerifiedClaims, Error> {
        let text = token;
        let token = UnverifiedToken::split(text)?;
        if !self.current.verify(&token)
            && !self.previous.as_ref().is_some_and(|key| key.verify(&token))
        {
            // Padding added after signing is the likely cause, and it is visible.
            return Err(if contains(text, b'=') {
                Error::Padding
            } else {
                Error::WrongSignature
            });
        }

        // Header and payload are decoded into one buffer before either is read. It is large enough,
        // because base64url is longer than what it encodes.
        let mut buffer = Vec::with_capacity(token.signing_input().len());
        if !token.has_common_header() {
            base64url::decode_onto(token.header(), &mut buffer).ok_or_else(|| fault(text))?;
        }
        let header_len = buffer.len();
        base64url::decode_onto(token.payload(), &mut buffer).ok_or_else(|| fault(text))?;

        let header = buffer.drain(..header_len);
        if !token.has_common_header() {
            header::validate(
                str::from_utf8(header.as_slice()).map_err(|_| Error::MalformedHeader)?,
            )?;
        }
        drop(header);
        let payload = String::from_utf8(buffer).map_err(|_| Error::MalformedClaims)?;
        VerifiedClaims::validate(payload, &self.policy, now)
    }
}
