//! Scopes and users: what a verified token must grant and name.

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};

use super::response::Response;
use crate::auth::Challenge;
use crate::jwt::VerifiedClaims;

/// The field that names the user to a gateway.
const X_AUTH_REQUEST_USER: HeaderName = HeaderName::from_static("x-auth-request-user");

/// The longest user that a gate hands to a proxy, in bytes: it becomes a field that every upstream must
/// accept.
const MAX_USER_LEN: usize = 255;

/// The most scopes that one path may demand.
const MAX_SCOPES: usize = 16;

/// The longest list of scopes that a challenge names, in bytes: it becomes a field that every proxy on the
/// way must accept.
const MAX_NAMED_LEN: usize = 255;

/// Responds for a gate: 200 with the user. A token whose user cannot be a field value is rejected, so that
/// a proxy that copies the field never forwards the client's own.
///
/// `scopes` are as sent in the path: separated by `+`, not decoded. More than [`MAX_SCOPES`] are always
/// rejected.
///
/// The status is 200, not 204: Envoy and Oathkeeper accept no other.
pub(super) fn gate(claims: &VerifiedClaims, scopes: Option<&str>) -> Response {
    if let Some(scopes) = scopes {
        let is_short = scopes.split('+').count() <= MAX_SCOPES;
        if !is_short || !grants_all(claims, scopes, '+') {
            return insufficient_scope(scopes, b'+');
        }
    }
    match user(claims) {
        Ok(user) => Response::empty(StatusCode::OK).with(X_AUTH_REQUEST_USER, user),
        Err(challenge) => Response::challenge(challenge),
    }
}

/// Checks the scopes that a route needs, separated by spaces. Returns the 403 if the token does not grant
/// all of them.
pub(super) fn refusal(claims: &VerifiedClaims, scopes: &str) -> Option<Response> {
    (!grants_all(claims, scopes, ' ')).then(|| insufficient_scope(scopes, b' '))
}

/// The user as the value of a field: 1 to 255 visible ASCII characters, no space.
pub(crate) fn user(claims: &VerifiedClaims) -> Result<HeaderValue, Challenge> {
    let user = claims.user()?;
    let is_usable = (1..=MAX_USER_LEN).contains(&user.len())
        && user.bytes().all(|byte| byte.is_ascii_graphic());
    match HeaderValue::from_str(&user) {
        Ok(field) if is_usable => Ok(field),
        _ => Err(Challenge::UnusableSubject),
    }
}

/// Returns whether the token grants every one of these scopes. No token grants the empty scope.
fn grants_all(claims: &VerifiedClaims, scopes: &str, separator: char) -> bool {
    scopes.split(separator).all(|word| claims.grants(word))
}

/// A 403 whose challenge names the demanded scopes (RFC 6750 §3.1) if they are short and valid
/// scope-tokens. That field is the only thing that a rejected request allocates.
fn insufficient_scope(scopes: &str, separator: u8) -> Response {
    let text = Challenge::InsufficientScope.text();
    let field = naming(&text.field, scopes, separator).unwrap_or(text.field);
    Response::refused(Challenge::InsufficientScope, field, text.content)
}

/// Returns the challenge with the parameter `scope`, or `None` if the scopes must not be named.
fn naming(challenge: &HeaderValue, scopes: &str, separator: u8) -> Option<HeaderValue> {
    const PARAMETER: &str = ", scope=\"";
    let is_named = scopes.len() <= MAX_NAMED_LEN
        && scopes
            .as_bytes()
            .split(|&byte| byte == separator)
            .all(|word| !word.is_empty() && word.iter().copied().all(is_scope_character));
    if !is_named {
        return None;
    }
    // With the exact capacity: a `Vec` with spare room would be copied into the field.
    let len = challenge.len() + PARAMETER.len() + scopes.len() + 1;
    let mut field = Vec::with_capacity(len);
    field.extend_from_slice(challenge.as_bytes());
    field.extend_from_slice(PARAMETER.as_bytes());
    field.extend(
        scopes
            .bytes()
            .map(|byte| if byte == separator { b' ' } else { byte }),
    );
    field.push(b'"');
    HeaderValue::try_from(field).ok()
}

/// The characters of a scope-token (RFC 6749 §3.3). None needs an escape in a quoted-string.
const fn is_scope_character(byte: u8) -> bool {
    matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~')
}
