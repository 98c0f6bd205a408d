//! The JOSE header, RFC 7515 §4: one JSON object whose `alg` is the key's, and which asks for
//! nothing more.

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
    let wanted = [("alg", Some("HS256")), ("crit", None), ("b64", None)];
    let [alg, crit, b64] = json::members(text, wanted).ok_or(Error::MalformedHeader)?;
    if alg != (Claim::Text { expected: true }) {
        return Err(Error::WrongAlgorithm);
    }
    if (crit, b64) != (Claim::Absent, Claim::Absent) {
        return Err(Error::CriticalExtension);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::base64url;
    use super::*;

    #[test]
    fn common_header_passes_validation() {
        for text in COMMON {
            let mut json = Vec::new();
            assert_eq!(base64url::decode_onto(text, &mut json), Some(()), "{text}");
            assert_eq!(
                validate(str::from_utf8(&json).unwrap_or_default()),
                Ok(()),
                "{text}"
            );
        }
    }
}
