//! Any `Authorization` fields: one verdict, the one that RFC 6750 and RFC 9110 §11 lead to, and
//! for a refusal a status, a legal `WWW-Authenticate` and a content that say the same.

use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use resource_server::auth::{Challenge, authenticate};
use resource_server::jwt::{Policy, Verifier};
use sha2::Sha256;

use super::answers;
use super::base64url;
use super::case::{CURRENT, key};

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

    let mut verdict = None;
    let cost =
        allocation_counter::measure(|| verdict = Some(authenticate(&fields, &VERIFIER, now)));
    let verdict = verdict.expect("it has run").map(drop);
    let expected = word(&fields).and_then(|word| {
        let verdict = VERIFIER.verify(word, now).map(drop);
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

/// The b64token of the credentials (RFC 6750 §2.1, RFC 9110 §11.4).
fn word(fields: &HeaderMap) -> Result<&str, Challenge> {
    let values: Vec<_> = fields.get_all(AUTHORIZATION).iter().collect();
    let value = match values[..] {
        [] => return Err(Challenge::CredentialsRequired),
        [value] => value.as_bytes(),
        [..] => return Err(Challenge::TwoFields),
    };
    let is_readable = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    let text = str::from_utf8(value)
        .unwrap_or_default()
        .trim_matches([' ', '\t']);
    let scheme = text.split([' ', '\t']).next().unwrap_or_default();
    if !is_readable || !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Challenge::CredentialsRequired);
    }
    let word = text[scheme.len()..].trim_start_matches(' ');
    let characters = word.trim_end_matches('=');
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    let is_b64token = !characters.is_empty() && characters.bytes().all(is_allowed);
    if is_b64token {
        Ok(word)
    } else {
        Err(Challenge::NotOneToken)
    }
}

fn says_the_same_everywhere(challenge: Challenge) {
    let text = challenge.text();
    let field = text.field.to_str().expect("visible ASCII");
    let (scheme, parameters) = answers::challenge(field);
    assert_eq!((scheme, parameters[0].0), ("Bearer", "realm"));

    let error = match challenge {
        Challenge::CredentialsRequired => None,
        Challenge::TwoFields | Challenge::NotOneToken => Some("invalid_request"),
        Challenge::InvalidToken(_) => Some("invalid_token"),
        Challenge::UnusableSubject => Some("unusable_subject"),
    };
    let status = if error == Some("unusable_subject") {
        403
    } else {
        401
    };
    assert_eq!(challenge.status().as_u16(), status);
    assert_eq!(challenge.code(), error.unwrap_or("credentials_required"));

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

/// Whether the MAC over all but the last part is right, whatever the parts are: only somebody with
/// the secret can make the verifier allocate.
fn is_signed(word: &str) -> bool {
    word.rsplit_once('.')
        .is_some_and(|(signing_input, signature)| {
            let mac = Hmac::<Sha256>::new_from_slice(CURRENT).expect("any length will do");
            let mac = mac.chain_update(signing_input).finalize().into_bytes();
            base64url::encode(&mac) == signature
        })
}
