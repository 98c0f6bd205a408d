//! Any `Authorization` fields: one verdict, the one that RFC 6750 and RFC 9110 §11 lead to, and
//! for a refusal a status, a legal `WWW-Authenticate` and a content that say the same.

use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use resource_server::auth::{Challenge, authenticate};
use resource_server::jwt::{Policy, Verifier};
use sha2::Sha256;

use super::base64url;
use super::case::{CURRENT, key};
use super::responses;

/// Each line is the value of a field; lines that no field may have are passed over.
pub fn check(bytes: &[u8]) -> Result<(), Challenge> {
    static VERIFIER: LazyLock<Verifier> =
        LazyLock::new(|| Verifier::new(key(CURRENT), Policy::default()));
    let now = (UNIX_EPOCH + Duration::from_secs(1_700_000_000)).into();
    let mut fields = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            fields.append(AUTHORIZATION, value);
        }
    }

    // Made before the count begins.
    let verifier = &*VERIFIER;
    let mut verdict = None;
    let cost = allocation_counter::measure(|| verdict = Some(authenticate(&fields, verifier, now)));
    let verdict = verdict.expect("it has run").map(drop);
    let expected = word(&fields).and_then(|word| {
        let verdict = verifier.verify(word, now).map(drop);
        verdict.map_err(Challenge::InvalidToken)
    });
    assert_eq!(verdict, expected);

    if let Err(challenge) = verdict {
        says_the_same_everywhere(challenge);
        if !word(&fields).is_ok_and(is_signed) {
            assert_eq!(cost.count_total, 0, "{challenge:?} allocates");
        }
    }
    verdict
}

/// The token of the credentials (RFC 6750 §2.1, RFC 9110 §11.4), with `=` wherever it likes.
fn word(fields: &HeaderMap) -> Result<&str, Challenge> {
    let values: Vec<_> = fields.get_all(AUTHORIZATION).iter().collect();
    let value = match values[..] {
        [] => return Err(Challenge::CredentialsRequired),
        [value] => value.as_bytes(),
        [..] => return Err(Challenge::TwoFields),
    };
    let Some(text) = str::from_utf8(value)
        .ok()
        .map(|text| text.trim_matches([' ', '\t']))
    else {
        return Err(Challenge::NotPrintable);
    };
    if text.contains(|character: char| character != ' ' && !character.is_ascii_graphic()) {
        return Err(Challenge::NotPrintable);
    }
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [scheme, words @ ..] = &words[..] else {
        return Err(Challenge::CredentialsRequired);
    };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Challenge::NotBearer);
    }
    let [word] = words else {
        let is_alone = words.is_empty();
        return Err(if is_alone {
            Challenge::NoToken
        } else {
            Challenge::SeveralWords
        });
    };
    let is_foreign = |other: char| !other.is_ascii_alphanumeric() && !"-._~+/=".contains(other);
    if word.contains(is_foreign) {
        return Err(Challenge::ForeignCharacter);
    }
    Ok(word)
}

fn says_the_same_everywhere(challenge: Challenge) {
    let text = challenge.text();
    let field = text.field.to_str().expect("visible ASCII");
    let (scheme, parameters) = responses::challenge(field);
    assert_eq!((scheme, parameters[0].0), ("Bearer", "realm"));

    // RFC 6750 §3.1 registers three errors; the code of the content may say more.
    let (status, code, error) = match challenge {
        Challenge::CredentialsRequired | Challenge::NotBearer => {
            (401, "credentials_required", None)
        }
        Challenge::TwoFields
        | Challenge::NotPrintable
        | Challenge::NoToken
        | Challenge::SeveralWords
        | Challenge::ForeignCharacter => (401, "invalid_request", Some("invalid_request")),
        Challenge::InvalidToken(_) => (401, "invalid_token", Some("invalid_token")),
        Challenge::InsufficientScope => (403, "insufficient_scope", Some("insufficient_scope")),
        Challenge::MissingSubject | Challenge::UnusableSubject => {
            (403, "unusable_subject", Some("insufficient_scope"))
        }
    };
    assert_eq!(challenge.status().as_u16(), status);
    assert_eq!((challenge.code(), challenge.error()), (code, error));

    // RFC 6750 §3: no `"` and no `\` in either; §3.1: without credentials, no error.
    let said: Vec<_> = parameters[1..]
        .iter()
        .map(|(name, text)| (*name, &**text))
        .collect();
    match error {
        None => assert!(said.is_empty()),
        Some(error) => {
            let message = challenge.message();
            assert_eq!(said, [("error", error), ("error_description", message)]);
            assert!(!message.contains(['"', '\\']));
        }
    }
    let content: serde_json::Value = serde_json::from_slice(&text.content).expect("JSON");
    assert_eq!(
        content,
        serde_json::json!({ "code": challenge.code(), "message": challenge.message() })
    );
}

/// Whether the MAC over all but the last part is right, whatever the parts are: only the holder of
/// the secret can make the verifier allocate.
fn is_signed(word: &str) -> bool {
    word.rsplit_once('.')
        .is_some_and(|(signing_input, signature)| {
            let mac = Hmac::<Sha256>::new_from_slice(CURRENT).expect("any length will do");
            let mac = mac.chain_update(signing_input).finalize().into_bytes();
            base64url::encode(&mac) == signature
        })
}
