//! What a rejection says, and what no output ever shows.

use std::collections::BTreeSet;
use std::error::Error as _;

use resource_server::jwt::{Error, Policy, UnverifiedToken, Verifier};

use crate::support::{NOW, SECRET, at, base64url, key, with_payload};

const CLAIM: &str = "a-claim-that-must-stay-secret";

fn token() -> String {
    with_payload(format!(r#"{{"sub":"{CLAIM}"}}"#))
}

/// Every way in which eight or more bytes of `hidden` could stand in `shown`: as text, in
/// hexadecimal, in base64url at the offset 0, and as a list of numbers.
fn shows(shown: &str, hidden: &[u8]) -> bool {
    let shown = shown.to_ascii_lowercase();
    hidden.windows(8).any(|bytes| {
        let decimal: Vec<String> = bytes.iter().map(u8::to_string).collect();
        let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let plain = String::from_utf8_lossy(bytes).to_ascii_lowercase();
        let encoded = base64url(bytes)[..10].to_ascii_lowercase();
        [plain, hexadecimal, decimal.join(", "), encoded]
            .iter()
            .any(|form| shown.contains(form.as_str()))
    })
}

#[test]
#[cfg_attr(miri, ignore = "slow, and no other code than in its neighbours")]
fn debug_output_with_a_secret_would_be_noticed() {
    let bytes = *b"eight of them";
    for shown in [
        format!("{:?}", String::from_utf8_lossy(&bytes)),
        format!("{bytes:?}"),
        format!("{bytes:02X?}").replace(", ", ""),
        base64url(bytes),
    ] {
        assert!(shows(&shown, &bytes), "{shown}");
        assert!(!shows(&shown, b"something else"), "{shown}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes")]
fn debug_output_shows_no_secret_token_signature_or_claim() {
    let text = token();
    let parsed = UnverifiedToken::parse(&text).unwrap();
    let verifier = Verifier::new(key(), Policy::default()).with_previous(key());
    let claims = verifier.verify(&text, at(NOW, 0)).unwrap();
    let outputs = [
        format!("{:?} {:#?}", key(), key()),
        format!("{verifier:?} {verifier:#?}"),
        format!("{parsed:?} {parsed:#?}"),
        format!("{claims:?} {claims:#?}"),
    ];
    for output in outputs {
        for hidden in [
            SECRET,
            text.as_bytes(),
            &parsed.signature()[..],
            CLAIM.as_bytes(),
        ] {
            assert!(!shows(&output, hidden), "{output}");
        }
    }
}

/// An empty output would be secret enough, and useless in a log.
#[test]
fn debug_output_of_key_token_and_claims_is_the_name_of_the_type() {
    let text = token();
    let parsed = UnverifiedToken::parse(&text).unwrap();
    let claims = Verifier::new(key(), Policy::default())
        .verify(&text, at(NOW, 0))
        .unwrap();
    assert_eq!(format!("{:?}", key()), "Key(..)");
    assert_eq!(format!("{parsed:?}"), "UnverifiedToken(..)");
    assert_eq!(format!("{claims:?}"), "VerifiedClaims(..)");
}

/// Nothing derived from the secret is shown either: two keys print alike.
#[test]
fn debug_output_of_two_keys_is_the_same() {
    let other = resource_server::jwt::Key::new(b"another secret").unwrap();
    assert_eq!(format!("{:?}", key()), format!("{other:?}"));
    let [one, two] = [key(), other].map(|key| Verifier::new(key, Policy::default()));
    assert_eq!(format!("{one:?}"), format!("{two:?}"));
    let texts = ["{}", r#"{"sub":"alice"}"#].map(with_payload);
    let [one, two] = [&texts[0], &texts[1]].map(|text| UnverifiedToken::parse(text).unwrap());
    assert_eq!(format!("{one:?}"), format!("{two:?}"));
}

/// RFC 6750 §3: `error_description` has the characters %x20-21 / %x23-5B / %x5D-7E, so no `"` and
/// no `\`.
#[test]
fn error_description_has_only_characters_that_rfc6750_allows() {
    for error in Error::ALL {
        let description = error.description();
        assert!(
            description
                .bytes()
                .all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E)),
            "{description}"
        );
        assert_eq!(description.trim(), description);
        assert!(!description.is_empty());
    }
}

#[test]
fn error_descriptions_are_distinct() {
    let descriptions: BTreeSet<_> = Error::ALL.map(Error::description).into();
    assert_eq!(descriptions.len(), Error::ALL.len());
}

/// An alert that matches an id must not match another, whatever it is embedded in.
#[test]
fn error_ids_are_distinct_words_of_lower_case_letters_digits_and_underscores() {
    let ids: BTreeSet<_> = Error::ALL.map(Error::id).into();
    assert_eq!(ids.len(), Error::ALL.len());
    for id in ids {
        assert!(
            id.starts_with(|first: char| first.is_ascii_lowercase()),
            "{id}"
        );
        assert!(
            id.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'),
            "{id}"
        );
        assert!(id.len() <= 32, "{id}");
    }
}

/// Dashboards depend on the ids: a new wording of a description does not change them.
#[test]
fn error_ids_stay_as_they_are() {
    let ids = Error::ALL.map(Error::id);
    assert_eq!(
        ids,
        [
            "too_long",
            "not_a_jwt",
            "not_three_parts",
            "encrypted",
            "empty_part",
            "padding",
            "not_hs256_signature",
            "not_base64url",
            "wrong_signature",
            "malformed_header",
            "wrong_algorithm",
            "critical_extension",
            "malformed_claims",
            "malformed_exp",
            "malformed_nbf",
            "malformed_iat",
            "missing_exp",
            "exp_too_late",
            "expired",
            "not_yet_valid",
            "missing_issuer",
            "wrong_issuer",
            "missing_audience",
            "malformed_audience",
            "empty_audience",
            "wrong_audience",
            "unexpected_audience",
        ]
    );
}

/// The message says what the caller can do, if anything.
#[test]
fn error_description_names_the_claim_and_the_remedy() {
    for (error, words) in [
        (Error::NotAJwt, &["not a JWT"][..]),
        (Error::Encrypted, &["encrypted", "not supported"]),
        (Error::Padding, &["padding", "="]),
        (
            Error::NotHs256Signature,
            &["not an HS256 signature, so probably another algorithm"],
        ),
        (
            Error::WrongSignature,
            &["wrong signature", "another secret", "changed"],
        ),
        (Error::MalformedExpiration, &["exp", "number"]),
        (Error::MalformedNotBefore, &["nbf", "number"]),
        (Error::MalformedIssuedAt, &["iat", "number"]),
        (Error::MissingExpiration, &["exp"]),
        (Error::ExpirationTooLate, &["exp", "9999", "milliseconds"]),
        (Error::NotYetValid, &["nbf", "clocks", "JWT_LEEWAY"]),
        (Error::MissingIssuer, &["no issuer", "iss", "JWT_ISSUER"]),
        (Error::WrongIssuer, &["wrong issuer", "JWT_ISSUER"]),
        (
            Error::MissingAudience,
            &["no audience", "aud", "JWT_AUDIENCE"],
        ),
        (Error::MalformedAudience, &["aud", "string"]),
        (Error::EmptyAudience, &["aud", "empty"]),
        (Error::WrongAudience, &["wrong audience", "JWT_AUDIENCE"]),
        (Error::UnexpectedAudience, &["aud", "set JWT_AUDIENCE"]),
    ] {
        for word in words {
            assert!(error.description().contains(word), "{error:?} lacks {word}");
        }
    }
}

#[test]
fn error_displays_its_description_and_has_no_source() {
    for error in Error::ALL {
        assert_eq!(error.to_string(), error.description());
        assert!(error.source().is_none());
    }
}

#[test]
fn error_that_names_the_size_limit_names_the_real_one() {
    let limit = resource_server::jwt::MAX_TOKEN_LEN.to_string();
    assert!(Error::TooLong.description().contains(&limit));
}
