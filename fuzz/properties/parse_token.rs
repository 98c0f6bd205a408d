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
        Err(Error::NotAJwt) => assert!(!text.contains('.')),
        Err(Error::Encrypted) => assert_eq!(parts.len(), 5),
        Err(Error::NotThreeParts) => assert!(![1, 3, 5].contains(&parts.len())),
        Err(error) => {
            let [header, payload, signature] = parts[..] else {
                panic!("{} parts: {error}", parts.len());
            };
            let is_empty = header.is_empty() || payload.is_empty();
            let decoded = base64url::decode(signature);
            match error {
                Error::EmptyPart => assert!(is_empty),
                _ if is_empty => panic!("empty part: {error}"),
                Error::Padding => assert!(text.contains('=')),
                _ if text.contains('=') => panic!("padding: {error}"),
                // Of one length alone, 43 characters, there are 32 bytes.
                Error::NotHs256Signature => assert!(decoded.is_some() && signature.len() != 43),
                _ if decoded.is_some_and(|_| signature.len() != 43) => {
                    panic!("no 32 bytes of signature: {error}")
                }
                Error::NotBase64url => {
                    assert!(!parts.iter().all(|part| base64url::is_canonical(part)));
                }
                error => panic!("parsing says: {error}"),
            }
        }
    }
    parsed.map(drop)
}
