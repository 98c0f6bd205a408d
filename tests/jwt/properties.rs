//! Properties of every input, tested with random ones.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use resource_server::jwt::{Error, UnverifiedToken};
use serde_core::de::IgnoredAny;

use crate::support::{base64url, key, rank, verdict, with_wrong_mac};

/// Texts that look like tokens, to get further than noise does.
fn token_shaped() -> impl Strategy<Value = String> {
    prop_oneof![
        r"[A-Za-z0-9_-]{0,24}(\.[A-Za-z0-9_-]{0,24}){0,5}",
        r"[A-Za-z0-9_-]{1,9}\.[A-Za-z0-9_-]{1,9}\.[A-Za-z0-9_-]{43}",
        r"[A-Za-z0-9_.=+/ -]{1,60}\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]",
        r"\PC{0,60}\.\PC{0,43}",
    ]
}

/// A valid header or claims set with some of its bytes replaced.
fn nearly(good: &'static str) -> impl Strategy<Value = Vec<u8>> {
    (any::<Index>(), 0..6_usize, vec(any::<u8>(), 0..6)).prop_map(move |(place, len, bytes)| {
        let mut nearly = good.as_bytes().to_vec();
        let start = place.index(nearly.len());
        let end = (start + len).min(nearly.len());
        nearly.splice(start..end, bytes);
        nearly
    })
}

fn is_one_json_object(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"{")
        && serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: if cfg!(miri) { 15 } else { 500 },
        // A failure prints the token: it belongs in a table of these tests, not in a file.
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    #[cfg_attr(miri, ignore = "takes minutes to make texts from regular expressions")]
    fn any_text_without_the_secret_is_rejected_before_it_is_read(text in any::<String>()) {
        let error = verdict(&text).expect_err("it is not signed");
        prop_assert!(rank(error) <= rank(Error::WrongSignature), "{error:?}");
    }

    #[test]
    #[cfg_attr(miri, ignore = "takes minutes to make texts from regular expressions")]
    fn any_token_shaped_text_without_the_secret_is_rejected_before_it_is_read(
        text in token_shaped()
    ) {
        let error = verdict(&text).expect_err("it is not signed");
        prop_assert!(rank(error) <= rank(Error::WrongSignature), "{error:?}");
    }

    /// The expected result comes from another base64 engine.
    #[test]
    #[cfg_attr(miri, ignore = "takes minutes to make texts from regular expressions")]
    fn any_text_parses_only_as_three_canonical_parts(text in token_shaped()) {
        let parts: Vec<&str> = text.split('.').collect();
        let decoded: Vec<_> = parts.iter().map(|part| URL_SAFE_NO_PAD.decode(part)).collect();
        let is_token = match &decoded[..] {
            [Ok(header), Ok(payload), Ok(signature)] => {
                !header.is_empty() && !payload.is_empty() && signature.len() == 32
            }
            _ => false,
        };
        match UnverifiedToken::parse(&text) {
            Ok(token) => {
                prop_assert!(is_token);
                prop_assert_eq!(
                    format!("{}.{}", token.signing_input(), base64url(token.signature())),
                    &text[..]
                );
                prop_assert_eq!(
                    format!("{}.{}", token.header(), token.payload()),
                    token.signing_input()
                );
            }
            Err(error) => {
                prop_assert!(!is_token, "{error:?}");
                prop_assert!(rank(error) < rank(Error::WrongSignature));
            }
        }
    }

    /// The expected error comes from an independent reading of the text.
    #[test]
    #[cfg_attr(miri, ignore = "takes minutes to make texts from regular expressions")]
    fn any_text_that_does_not_parse_is_rejected_for_a_rule_that_it_breaks(text in token_shaped()) {
        let parts: Vec<&str> = text.split('.').collect();
        let is_base64url = |part: &str| URL_SAFE_NO_PAD.decode(part).is_ok();
        let is_true = match UnverifiedToken::parse(&text).map(drop) {
            Ok(()) => true,
            Err(Error::NotAJwt) => parts.len() == 1,
            Err(Error::Encrypted) => parts.len() == 5,
            Err(Error::NotThreeParts) => !matches!(parts.len(), 1 | 3 | 5),
            Err(_) if parts.len() != 3 => false,
            Err(Error::EmptyPart) => parts[0].is_empty() || parts[1].is_empty(),
            Err(Error::Padding) => text.contains('='),
            Err(Error::NotHs256Signature) => {
                let is_in_alphabet = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
                parts[2].len() != 43 && parts[2].chars().all(is_in_alphabet)
            }
            Err(Error::NotBase64url) => !parts.iter().all(|part| is_base64url(part)),
            Err(_) => false,
        };
        prop_assert!(is_true, "{:?}", UnverifiedToken::parse(&text).err());
    }

    #[test]
    fn any_signed_bytes_are_accepted_only_as_two_json_objects(
        header in prop_oneof![vec(any::<u8>(), 1..60), nearly(r#"{"alg":"HS256","kid":"a"}"#)],
        payload in prop_oneof![
            vec(any::<u8>(), 1..60),
            nearly(r#"{"sub":"\u00e4","exp":1800000000.5,"nbf":-1e3,"a":[{"b":null}]}"#),
        ],
    ) {
        let token = key().sign_parts(&header, &payload);
        match verdict(&token) {
            Ok(()) => prop_assert!(is_one_json_object(&header) && is_one_json_object(&payload)),
            Err(error) => prop_assert!(rank(error) > rank(Error::WrongSignature), "{error:?}"),
        }
        prop_assert_eq!(verdict(&with_wrong_mac(&token)), Err(Error::WrongSignature));
    }
}
