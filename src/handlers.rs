//! What the resources respond. A protected handler takes [`VerifiedClaims`], which only a verified
//! token yields.

use hyper::StatusCode;
use hyper::header::HeaderValue;

use crate::auth::Challenge;
use crate::jwt::VerifiedClaims;
use crate::response::Answer;

/// The longest user that `/auth` hands to a proxy, in bytes: it becomes a field that every upstream
/// must take.
const MAX_USER_LEN: usize = 255;

/// The most scopes that one path may demand.
const MAX_SCOPES: usize = 16;

/// The longest demand that a challenge names, in bytes: it becomes a field that every proxy on the
/// way must take.
const MAX_NAMED_LEN: usize = 255;

/// `GET /resource`
pub(crate) fn public() -> Answer {
    Answer::json(r#"{"message":"Public resource. You can see this."}"#)
}

/// `GET /resource/secret`
pub(crate) fn secret(_: &VerifiedClaims) -> Answer {
    Answer::json(r#"{"message":"Secret resource. You should be logged in to see this."}"#)
}

/// `/auth` and `/auth/SCOPES`: yes, and the user. A token whose user cannot be the value of a field
/// is rejected, so that a proxy that copies the field never forwards what its client sent in it.
///
/// 200 and not 204: Envoy and Oathkeeper take only 200 for a yes.
pub(crate) fn gate(claims: &VerifiedClaims, scopes: Option<&str>) -> Answer {
    if let Some(scopes) = scopes
        && !grants_all(claims, scopes)
    {
        return insufficient_scope(scopes);
    }
    match user(claims) {
        Ok(user) => Answer {
            user: Some(user),
            ..Answer::empty(StatusCode::OK)
        },
        Err(challenge) => Answer::challenge(challenge),
    }
}

/// `GET /healthz`
pub(crate) fn health() -> Answer {
    Answer::json(r#"{"message":"ok"}"#)
}

/// The user as the value of a field: 1 to 255 visible ASCII characters, no space.
fn user(claims: &VerifiedClaims) -> Result<HeaderValue, Challenge> {
    let user = claims.user()?;
    let is_usable = (1..=MAX_USER_LEN).contains(&user.len())
        && user.bytes().all(|byte| byte.is_ascii_graphic());
    match HeaderValue::from_str(&user) {
        Ok(field) if is_usable => Ok(field),
        _ => Err(Challenge::UnusableSubject),
    }
}

/// Returns whether the token grants every scope of a demand, as it stands in the path: `+`
/// separates, nothing is decoded. No token grants the empty scope, or more than [`MAX_SCOPES`].
fn grants_all(claims: &VerifiedClaims, scopes: &str) -> bool {
    let mut words = scopes.split('+');
    words.clone().count() <= MAX_SCOPES && words.all(|word| claims.grants(word))
}

/// 403, with the demand in the challenge (RFC 6750 §3.1) if it is short and of scope-tokens. The
/// field is the one thing that a refusal allocates.
fn insufficient_scope(scopes: &str) -> Answer {
    let mut answer = Answer::challenge(Challenge::InsufficientScope);
    if let Some(field) = answer
        .challenge
        .as_ref()
        .and_then(|field| naming(field, scopes))
    {
        answer.challenge = Some(field);
    }
    answer
}

/// The challenge with the parameter `scope`; `None` if the demand is not to be named.
fn naming(challenge: &HeaderValue, scopes: &str) -> Option<HeaderValue> {
    const PARAMETER: &str = ", scope=\"";
    let is_named = scopes.len() <= MAX_NAMED_LEN
        && scopes
            .split('+')
            .all(|word| !word.is_empty() && word.bytes().all(is_scope_character));
    if !is_named {
        return None;
    }
    // The exact capacity: from a `Vec` with room left, a field would be copied.
    let len = challenge.len() + PARAMETER.len() + scopes.len() + 1;
    let mut field = Vec::with_capacity(len);
    field.extend_from_slice(challenge.as_bytes());
    field.extend_from_slice(PARAMETER.as_bytes());
    field.extend(
        scopes
            .bytes()
            .map(|byte| if byte == b'+' { b' ' } else { byte }),
    );
    field.push(b'"');
    HeaderValue::try_from(field).ok()
}

/// RFC 6749 §3.3: what a scope-token is made of; none of it needs an escape in a quoted-string.
const fn is_scope_character(byte: u8) -> bool {
    matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~')
}
