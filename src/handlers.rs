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

/// `GET /resource`
pub(crate) fn public() -> Answer {
    Answer::json(r#"{"message":"Public resource. You can see this."}"#)
}

/// `GET /resource/secret`
pub(crate) fn secret(_: &VerifiedClaims) -> Answer {
    Answer::json(r#"{"message":"Secret resource. You should be logged in to see this."}"#)
}

/// `/auth`: yes, and the user. A token whose user cannot be the value of a field is rejected, so
/// that a proxy that copies the field never forwards what its client sent in it.
///
/// 200 and not 204: Envoy and Oathkeeper take only 200 for a yes.
pub(crate) fn gate(claims: &VerifiedClaims) -> Answer {
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
