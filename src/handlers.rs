//! What the resources answer. A protected handler asks for [`VerifiedClaims`], which only a checked
//! token yields.

use hyper::StatusCode;
use hyper::header::HeaderValue;

use crate::auth::Challenge;
use crate::jwt::VerifiedClaims;
use crate::response::Answer;

/// The longest subject that `/auth` hands to a proxy, in bytes: it becomes a field that every
/// upstream must take.
const MAX_USER_LEN: usize = 255;

/// `GET /resource`
pub(crate) fn public() -> Answer {
    Answer::json(r#"{"message":"Public resource. You can see this."}"#)
}

/// `GET /resource/secret`
pub(crate) fn secret(_: &VerifiedClaims) -> Answer {
    Answer::json(r#"{"message":"Secret resource. You should be logged in to see this."}"#)
}

/// `GET /auth`: yes, and who. A token without a subject that can stand in a field is refused, so
/// that a proxy which copies the field never hands on what the client sent in its place.
pub(crate) fn auth(claims: &VerifiedClaims) -> Answer {
    match claims.subject().as_deref().and_then(user) {
        Some(user) => Answer {
            user: Some(user),
            ..Answer::empty(StatusCode::NO_CONTENT)
        },
        None => Answer::challenge(Challenge::UnusableSubject),
    }
}

/// `GET /healthz`
pub(crate) fn health() -> Answer {
    Answer::json(r#"{"message":"ok"}"#)
}

/// The subject as a field value: 1 to 255 visible ASCII characters, no space.
fn user(subject: &str) -> Option<HeaderValue> {
    let usable = (1..=MAX_USER_LEN).contains(&subject.len())
        && subject.bytes().all(|byte| byte.is_ascii_graphic());
    usable.then(|| HeaderValue::from_str(subject).ok())?
}
