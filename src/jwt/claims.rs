//! The claims set, RFC 7519 §4: what is read of it, and what it is held against.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_core::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::Policy;
use super::error::Error;
use super::json::{self, Claim, Expecting, OneOf};

/// A time as RFC 7519 §2 counts it: seconds since 1970-01-01T00:00:00Z, leap seconds ignored,
/// fractions allowed.
///
/// Invariant: finite. Made from a [`SystemTime`], before or after 1970; a quarter of a microsecond
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
        json::read(&json, RegisteredClaims(policy))
            .ok_or(Error::MalformedClaims)?
            .validate(policy, now)?;
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
        json::read(&self.json, Member(name))?
    }

    /// The subject (`sub`, RFC 7519 §4.1.2): a string as it is, an integer of 64 bits in decimal.
    /// `None` if it is absent or anything else, which no check refuses.
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        match self.claim("sub")? {
            Value::String(text) => Some(text),
            Value::Number(number) if !number.is_f64() => Some(number.to_string()),
            _ => None,
        }
    }
}

/// Prints nothing of the claims: they are their subject's, not the log's.
impl fmt::Debug for VerifiedClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifiedClaims(..)")
    }
}

/// The claims that decide something.
struct ClaimsSet {
    exp: Claim,
    nbf: Claim,
    iat: Claim,
    iss: Claim,
    aud: Claim,
}

impl ClaimsSet {
    fn validate(self, policy: &Policy, NumericDate(now): NumericDate) -> Result<(), Error> {
        let expiration = seconds(self.exp)?;
        let not_before = seconds(self.nbf)?;
        seconds(self.iat)?;

        let leeway = f64::from(policy.leeway);
        match expiration {
            None if policy.require_exp => return Err(Error::MissingExpiration),
            Some(expiration) if now >= expiration + leeway => return Err(Error::Expired),
            _ => {}
        }
        if not_before.is_some_and(|not_before| now < not_before - leeway) {
            return Err(Error::NotYetValid);
        }
        if policy.issuer.is_some() && self.iss != (Claim::Text { expected: true }) {
            return Err(Error::WrongIssuer);
        }
        match (&policy.audience, self.aud) {
            (None, Claim::Absent)
            | (Some(_), Claim::Text { expected: true } | Claim::Texts { expected: true }) => Ok(()),
            (None, _) => Err(Error::UnexpectedAudience),
            (Some(_), _) => Err(Error::WrongAudience),
        }
    }
}

fn seconds(claim: Claim) -> Result<Option<f64>, Error> {
    match claim {
        Claim::Absent => Ok(None),
        Claim::Number(seconds) => Ok(Some(seconds)),
        _ => Err(Error::MalformedTime),
    }
}

/// Reads the object's [`ClaimsSet`]; of a name given twice the last counts (RFC 7519 §4).
struct RegisteredClaims<'p>(&'p Policy);

impl<'de> DeserializeSeed<'de> for RegisteredClaims<'_> {
    type Value = ClaimsSet;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<ClaimsSet, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RegisteredClaims<'_> {
    type Value = ClaimsSet;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ClaimsSet, A::Error> {
        let Self(policy) = self;
        let mut claims = ClaimsSet {
            exp: Claim::Absent,
            nbf: Claim::Absent,
            iat: Claim::Absent,
            iss: Claim::Absent,
            aud: Claim::Absent,
        };
        while let Some(name) = map.next_key_seed(OneOf(["exp", "nbf", "iat", "iss", "aud"]))? {
            match name {
                Some("exp") => claims.exp = map.next_value_seed(Expecting(None))?,
                Some("nbf") => claims.nbf = map.next_value_seed(Expecting(None))?,
                Some("iat") => claims.iat = map.next_value_seed(Expecting(None))?,
                Some("iss") if policy.issuer.is_some() => {
                    claims.iss = map.next_value_seed(Expecting(policy.issuer.as_deref()))?;
                }
                Some("aud") => {
                    claims.aud = map.next_value_seed(Expecting(policy.audience.as_deref()))?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(claims)
    }
}

/// Reads one member of the object, whatever it is; the last of that name.
struct Member<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Value>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<Value>, A::Error> {
        let mut value = None;
        while let Some(name) = map.next_key_seed(OneOf([self.0]))? {
            if name.is_some() {
                value = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(value)
    }
}
