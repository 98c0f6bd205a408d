//! What parses is three parts of canonical base64url that join to the same text; decoding and
//! encoding each again gives it back. What is so, parses. Nothing costs more than reading it.

use resource_server::jwt::{Error, MAX_TOKEN_LEN, UnverifiedToken};

use super::base64url;

/// Any bytes; as a token is text, those that are not UTF-8 count as U+FFFD.
pub fn check(bytes: &[u8]) -> Result<(), Error> {
    let text = &*String::from_utf8_lossy(bytes);
    let mut parsed = Err(Error::TooLong);
    let cost = allocation_counter::measure(|| parsed = UnverifiedToken::parse(text));
    assert_eq!(cost.count_total, 0, "parsing allocates");

    let parts: Vec<&str> = text.split('.').collect();
    match parsed {
        Ok(token) => {
            assert!(text.len() <= MAX_TOKEN_LEN);
            let signature = base64url::encode(token.signature());
            assert_eq!(parts, [token.header(), token.payload(), &signature]);
            assert_eq!(token.signing_input(), parts[..2].join("."));
            assert!(parts.iter().all(|part| base64url::is_canonical(part)));
            assert!(!token.header().is_empty() && !token.payload().is_empty());
        }
        Err(Error::TooLong) => assert!(text.len() > MAX_TOKEN_LEN),
        // Only a last part of 43 characters can be 32 bytes.
        Err(Error::NotThreeParts) => assert!(parts.len() != 3 || parts[2].len() != 43),
        Err(Error::EmptyPart) => assert!(parts[0].is_empty() || parts[1].is_empty()),
        // A dot where the signature should be is no base64url either.
        Err(Error::NotBase64url) => {
            let has_three = parts.len() == 3;
            assert!(!has_three || !parts.iter().all(|part| base64url::is_canonical(part)));
        }
        Err(error) => panic!("parsing says: {error}"),
    }
    parsed.map(drop)
}
