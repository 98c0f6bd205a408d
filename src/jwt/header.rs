//! The JOSE header, RFC 7515 §4: one JSON object whose `alg` is the key's, and which asks for
//! nothing more.

use std::fmt;

use serde_core::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::error::Error;
use super::json::{self, Claim};

/// The headers that most issuers write, as they stand in a token. They save decoding and reading
/// JSON; a test holds that each of them passes [`validate`].
pub(super) const COMMON: [&str; 3] = [
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", // {"alg":"HS256","typ":"JWT"}
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9", // {"typ":"JWT","alg":"HS256"}
    "eyJhbGciOiJIUzI1NiJ9",                 // {"alg":"HS256"}
];

/// Validates a decoded header whose MAC is right.
///
/// `typ`, `cty`, `kid`, `jwk`, `x5u` and all others are ignored: nothing in a token can choose its
/// key. Of a name given twice the last counts, but `crit` and `b64` refuse wherever they stand.
pub(super) fn validate(text: &str) -> Result<(), Error> {
    let header = json::read(text, HeaderSeed).ok_or(Error::MalformedHeader)?;
    if header.alg != (Claim::Text { expected: true }) {
        return Err(Error::WrongAlgorithm);
    }
    if header.has_extension {
        return Err(Error::CriticalExtension);
    }
    Ok(())
}

struct Header {
    alg: Claim,
    has_extension: bool,
}

struct HeaderSeed;

impl<'de> DeserializeSeed<'de> for HeaderSeed {
    type Value = Header;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Header, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeaderSeed {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut header = Header {
            alg: Claim::Absent,
            has_extension: false,
        };
        while let Some(name) = map.next_key_seed(json::OneOf(["alg", "crit", "b64"]))? {
            match name {
                Some("alg") => header.alg = map.next_value_seed(json::Expecting(Some("HS256")))?,
                Some(_) => {
                    header.has_extension = true;
                    map.next_value::<IgnoredAny>()?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(header)
    }
}
