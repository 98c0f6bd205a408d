//! What a refusal says, and what no output ever shows.

use std::collections::BTreeSet;
use std::error::Error as _;

use resource_server::jwt::{Error, Policy, UnverifiedToken, Verifier};

use crate::support::{NOW, SECRET, at, base64url, key, with_payload};

const CLAIM: &str = "a-claim-that-is-nobodys-business";

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
fn debug_output_of_what_is_hidden_would_be_noticed() {
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

/// Nothing would be secret enough, and a log that shows nothing at all helps nobody.
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

/// Nothing derived from the secret either: the states of two keys print alike.
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

/// RFC 6750 §3: `error_description` is of %x20-21 / %x23-5B / %x5D-7E, so without `"` and `\`.
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
fn error_descriptions_are_told_apart() {
    let descriptions: BTreeSet<_> = Error::ALL.map(Error::description).into();
    assert_eq!(descriptions.len(), Error::ALL.len());
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
