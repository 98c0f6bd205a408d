//! Scopes and users: what a verified token must grant and name.

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};

use super::response::Response;
use crate::auth::Challenge;
use crate::jwt::VerifiedClaims;

/// The field that names the user to a gateway.
const X_AUTH_REQUEST_USER: HeaderName = HeaderName::from_static("x-auth-request-user");

/// The longest user that a gate hands to a proxy, in bytes: it becomes a field that every upstream
/// must take.
const MAX_USER_LEN: usize = 255;

/// The most scopes that one path may demand.
const MAX_SCOPES: usize = 16;

/// The longest demand that a challenge names, in bytes: it becomes a field that every proxy on the
/// way must take.
const MAX_NAMED_LEN: usize = 255;

/// A gate's response: yes, and the user. A token whose user cannot be the value of a field is
/// rejected, so that a proxy that copies the field never forwards what its client sent in it.
///
/// In `scopes`, as they stand in a path, `+` separates and nothing is decoded. No token grants more
/// than [`MAX_SCOPES`].
///
/// 200 and not 204: Envoy and Oathkeeper take only 200 for a yes.
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
/// every one.
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

/// Returns whether the token grants every scope of a demand. No token grants the empty scope.
fn grants_all(claims: &VerifiedClaims, scopes: &str, separator: char) -> bool {
    scopes.split(separator).all(|word| claims.grants(word))
}

/// 403, with the demand in the challenge (RFC 6750 §3.1) if it is short and of scope-tokens. The
/// field is the one thing that a refusal allocates.
fn insufficient_scope(scopes: &str, separator: u8) -> Response {
    let text = Challenge::InsufficientScope.text();
    let field = naming(&text.field, scopes, separator).unwrap_or(text.field);
    Response::refused(Challenge::InsufficientScope, field, text.content)
}

/// The challenge with the parameter `scope`; `None` if the demand is not to be named.
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
    // The exact capacity: from a `Vec` with room left, a field would be copied.
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

/// RFC 6749 §3.3: what a scope-token is made of; none of it needs an escape in a quoted-string.
const fn is_scope_character(byte: u8) -> bool {
    matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~')
}
