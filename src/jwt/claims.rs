//! The claims set, RFC 7519 §4: what is read of it, and what it is held against.

use std::fmt;
use std::marker::PhantomData;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::Policy;
use super::error::Error;
use super::json::{self, Claim};

/// A time as RFC 7519 §2 counts it: seconds since 1970-01-01T00:00:00Z, leap seconds ignored,
/// fractions allowed.
///
/// Invariant: finite. Made from a [`SystemTime`], before or after 1970; half a microsecond
/// is the finest step it holds in this century.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct NumericDate(f64);

impl From<SystemTime> for NumericDate {
    fn from(time: SystemTime) -> Self {
        Self(match time.duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_secs_f64(),
            Err(before) => -before.duration().as_secs_f64(),
        })
    }
}

/// The claims set of a token that passed every check.
///
/// Only [`Verifier::verify`](super::Verifier::verify) makes one: to hold it is to know that the
/// token was checked.
pub struct VerifiedClaims {
    json: String,
}

impl VerifiedClaims {
    /// Validates a decoded payload whose MAC is right, at the time `now`.
    pub(super) fn validate(json: String, policy: &Policy, now: NumericDate) -> Result<Self, Error> {
        validate(&json, policy, now)?;
        Ok(Self { json })
    }

    /// The claims set, as its issuer wrote it: the text of one JSON object. Names may occur twice
    /// in it; of these the last was judged.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// One claim by its name, read anew from the text; of a name given twice the last. `None` if it
    /// is absent, or is one that no `Value` holds: a number beyond `f64`, half a surrogate pair,
    /// more than 127 levels.
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<Value> {
        json::member(&self.json, name, PhantomData::<Value>)
    }

    /// The subject (`sub`, RFC 7519 §4.1.2): a string as it is, an integer of 64 bits in decimal.
    /// `None` if it is absent or anything else, which no check refuses.
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        json::member(&self.json, "sub", json::StringOrInteger)?
    }
}

/// Prints nothing of the claims: they are their subject's, not the log's.
impl fmt::Debug for VerifiedClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifiedClaims(..)")
    }
}

fn validate(json: &str, policy: &Policy, NumericDate(now): NumericDate) -> Result<(), Error> {
    let (issuer, audience) = (policy.issuer.as_deref(), policy.audience.as_deref());
    let wanted = [
        ("exp", None),
        ("nbf", None),
        ("iat", None),
        ("iss", issuer),
        ("aud", audience),
    ];
    let [exp, nbf, iat, iss, aud] = json::members(json, wanted).ok_or(Error::MalformedClaims)?;

    let expiration = seconds(exp)?;
    let not_before = seconds(nbf)?;
    seconds(iat)?;
    let leeway = f64::from(policy.leeway);
    match expiration {
        None if policy.require_exp => return Err(Error::MissingExpiration),
        Some(expiration) if now >= expiration + leeway => return Err(Error::Expired),
        _ => {}
    }
    if not_before.is_some_and(|not_before| now < not_before - leeway) {
        return Err(Error::NotYetValid);
    }
    if issuer.is_some() && iss != (Claim::Text { expected: true }) {
        return Err(Error::WrongIssuer);
    }
    match (audience, aud) {
        (None, Claim::Absent)
        | (Some(_), Claim::Text { expected: true } | Claim::Texts { expected: true }) => Ok(()),
        (None, _) => Err(Error::UnexpectedAudience),
        (Some(_), _) => Err(Error::WrongAudience),
    }
}

fn seconds(claim: Claim) -> Result<Option<f64>, Error> {
    match claim {
        Claim::Absent => Ok(None),
        Claim::Number(seconds) => Ok(Some(seconds)),
        _ => Err(Error::MalformedTime),
    }
}
