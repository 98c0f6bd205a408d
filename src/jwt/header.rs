//! The JOSE header, RFC 7515 §4: one JSON object with the key's `alg` and without a critical extension.

use super::error::Error;
use super::json;

/// The headers that most issuers write, encoded. A header equal to one of them is neither decoded nor
/// parsed. A test checks that each of them passes [`validate`].
pub(super) const COMMON: [&str; 3] = [
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", // {"alg":"HS256","typ":"JWT"}
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9", // {"typ":"JWT","alg":"HS256"}
    "eyJhbGciOiJIUzI1NiJ9",                 // {"alg":"HS256"}
];

/// Validates a decoded header. The caller has verified its MAC.
///
/// `typ`, `cty`, `kid`, `jwk`, `x5u` and all others are ignored: nothing in a token can choose its key.
/// If a name occurs twice, the last one counts. Any `crit` or `b64` is rejected.
pub(super) fn validate(text: &str) -> Result<(), Error> {
    let wanted = |name: &str| match name {
        "alg" => 1,
        "crit" => 1 << 1,
        "b64" => 1 << 2,
        _ => 0,
    };
    let [alg, crit, b64] = json::members(text, wanted).ok_or(Error::MalformedHeader)?;
    if !alg.is_some_and(|alg| json::is_string(alg, "HS256")) {
        return Err(Error::WrongAlgorithm);
    }
    if crit.or(b64).is_some() {
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
