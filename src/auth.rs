//! From the `Authorization` field to [`VerifiedClaims`] or a [`Challenge`]: the only bridge between
//! HTTP and tokens. RFC 6750 and RFC 9110 §11.

use std::sync::LazyLock;

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use crate::jwt::{Error, NoUser, NumericDate, VerifiedClaims, Verifier};

/// The protection space (RFC 9110 §11.5) that every challenge names.
const REALM: &str = "resource-server";

/// The scheme, compared without case (RFC 9110 §11.1).
const SCHEME: &[u8] = b"Bearer";

/// Why a request is rejected, and what the response says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// No `Authorization` field, or an empty one.
    CredentialsRequired,
    /// Credentials of another scheme than `Bearer`, or of none.
    NotBearer,
    /// More than one `Authorization` field.
    TwoFields,
    /// A byte outside printable ASCII in the value. This includes a tab, except at either end.
    NotPrintable,
    /// Nothing after `Bearer`.
    NoToken,
    /// More than one word after `Bearer`.
    SeveralWords,
    /// A character that a b64token may not contain (RFC 6750 §2.1). `=` passes anywhere, because the
    /// rules of [`crate::jwt`] report it.
    ForeignCharacter,
    /// The token does not verify, for this reason.
    InvalidToken(Error),
    /// The token is valid, but does not grant every scope that the resource requires.
    InsufficientScope,
    /// The token is valid, but has no claim that names the user.
    MissingSubject,
    /// The token is valid, but the claim that names the user cannot be a field value.
    UnusableSubject,
}

impl Challenge {
    /// Every challenge that is not a token error.
    const OWN: [Self; 10] = [
        Self::CredentialsRequired,
        Self::NotBearer,
        Self::TwoFields,
        Self::NotPrintable,
        Self::NoToken,
        Self::SeveralWords,
        Self::ForeignCharacter,
        Self::InsufficientScope,
        Self::MissingSubject,
        Self::UnusableSubject,
    ];

    /// Every challenge. The token errors come last, in the order of [`Error::ALL`].
    pub fn all() -> impl Iterator<Item = Self> {
        Self::OWN
            .into_iter()
            .chain(Error::ALL.map(Self::InvalidToken))
    }

    /// Its index in [`all`](Self::all).
    fn index(self) -> usize {
        let index = match self {
            Self::InvalidToken(error) => return Self::OWN.len() + error.index(),
            _ => Self::OWN.iter().position(|own| *own == self),
        };
        index.unwrap_or_default()
    }

    /// 403 if the token is valid, because sending it again cannot help; otherwise 401. A proxy takes any
    /// other status for a failure of the gate.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::InsufficientScope | Self::MissingSubject | Self::UnusableSubject => {
                StatusCode::FORBIDDEN
            }
            _ => StatusCode::UNAUTHORIZED,
        }
    }

    /// The stable `code` of the JSON content.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::CredentialsRequired | Self::NotBearer => "credentials_required",
            Self::TwoFields
            | Self::NotPrintable
            | Self::NoToken
            | Self::SeveralWords
            | Self::ForeignCharacter => "invalid_request",
            Self::InvalidToken(_) => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::MissingSubject | Self::UnusableSubject => "unusable_subject",
        }
    }

    /// The `error` of `WWW-Authenticate` (RFC 6750 §3.1). `None` if the request has no bearer
    /// credentials. For a 403 the RFC defines only `insufficient_scope`.
    #[must_use]
    pub fn error(self) -> Option<&'static str> {
        match self {
            Self::CredentialsRequired | Self::NotBearer => None,
            Self::MissingSubject | Self::UnusableSubject => Some("insufficient_scope"),
            _ => Some(self.code()),
        }
    }

    /// Says what is wrong and what the client can do about it.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::CredentialsRequired => "No authorization token was found",
            Self::NotBearer => {
                "No authorization token was found: the Authorization field is present, but its scheme is not Bearer (expected: Bearer, a space, the token)"
            }
            Self::TwoFields => "more than one Authorization field: expected exactly one",
            Self::NotPrintable => {
                "the Authorization field has a byte outside printable ASCII (such as an ellipsis, a no-break space or a tab)"
            }
            Self::NoToken => "nothing follows Bearer in the Authorization field: expected a token",
            Self::SeveralWords => "more than one word follows Bearer: expected a single token",
            Self::ForeignCharacter => {
                "the token has a character that no token may contain: check for quotes, braces, commas and other characters around it"
            }
            Self::InvalidToken(error) => error.description(),
            Self::InsufficientScope => {
                "the token does not grant every scope that this resource requires (it may require at most 16, none of them empty)"
            }
            Self::MissingSubject => {
                "the token has no user: it lacks the claim that JWT_USER_CLAIM names (by default sub)"
            }
            Self::UnusableSubject => {
                "the claim that names the user is neither a 64-bit integer nor 1 to 255 visible ASCII characters (see JWT_USER_CLAIM)"
            }
        }
    }

    /// A short stable name of the rule that failed, for the log: lower case letters, digits and
    /// underscores.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::CredentialsRequired => "no_credentials",
            Self::NotBearer => "not_bearer",
            Self::TwoFields => "two_fields",
            Self::NotPrintable => "not_printable",
            Self::NoToken => "no_token",
            Self::SeveralWords => "several_words",
            Self::ForeignCharacter => "foreign_character",
            Self::InvalidToken(error) => error.id(),
            Self::InsufficientScope => "insufficient_scope",
            Self::MissingSubject => "missing_subject",
            Self::UnusableSubject => "unusable_subject",
        }
    }

    /// The value of `WWW-Authenticate`, and the content that says the same in JSON.
    #[must_use]
    pub fn text(self) -> Refusal {
        /// Composed once, so that a bad token makes the server neither format nor allocate text. Looked
        /// up by index, because a search would cost 2 % of the instructions of a rejected request.
        static REFUSALS: LazyLock<Vec<Refusal>> =
            LazyLock::new(|| Challenge::all().map(Refusal::compose).collect());
        let ready = REFUSALS.get(self.index());
        ready.map_or_else(|| Refusal::compose(self), Refusal::clone)
    }
}

/// The token is valid, but there is no user to report to a proxy.
impl From<NoUser> for Challenge {
    fn from(reason: NoUser) -> Self {
        match reason {
            NoUser::Absent => Self::MissingSubject,
            NoUser::Unusable => Self::UnusableSubject,
        }
    }
}

/// A challenge as a field value and as content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The value of `WWW-Authenticate`.
    pub field: HeaderValue,
    /// The JSON content.
    pub content: Bytes,
}

impl Refusal {
    /// Codes and messages are printable ASCII without `"` and `\`, so that they need no escaping in a
    /// quoted-string (RFC 9110 §5.6.4) or in JSON, and stay within what RFC 6750 §3 allows.
    fn compose(challenge: Challenge) -> Self {
        let (code, message) = (challenge.code(), challenge.message());
        let field = match challenge.error() {
            None => format!(r#"Bearer realm="{REALM}""#),
            Some(error) => {
                format!(r#"Bearer realm="{REALM}", error="{error}", error_description="{message}""#)
            }
        };
        Self {
            field: HeaderValue::try_from(field).unwrap_or(HeaderValue::from_static("Bearer")),
            content: format!(r#"{{"code":"{code}","message":"{message}"}}"#).into(),
        }
    }
}

/// Authenticates a request by its fields at the time `now`.
///
/// Costs what [`Verifier::verify`] costs. A rejection allocates nothing more.
///
/// # Errors
///
/// The challenge for the first of these that applies: no `Authorization` field, or two; a byte outside
/// printable ASCII; an empty value; another scheme than `Bearer`; nothing after `Bearer`; more than one
/// word after it; a character that no token may contain; a token that does not verify.
pub fn authenticate(
    fields: &HeaderMap,
    verifier: &Verifier,
    now: NumericDate,
) -> Result<VerifiedClaims, Challenge> {
    let mut values = fields.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Challenge::CredentialsRequired)?;
    if values.next().is_some() {
        return Err(Challenge::TwoFields);
    }
    // RFC 9110 §5.6.3: white space around a value is not part of it.
    let value = value.as_bytes().trim_ascii();
    let Some(word) = word_after_bearer(value) else {
        return Err(fault(value).unwrap_or(Challenge::CredentialsRequired));
    };
    verifier.verify(word, now).map_err(|error| {
        // A token that verifies has no fault of form. So only a rejected token is searched for one.
        let challenge = Challenge::InvalidToken(error);
        if !word.is_empty() && are_in_token(word.as_bytes()) {
            challenge
        } else {
            fault(value).unwrap_or(challenge)
        }
    })
}

/// Returns the text after the scheme `Bearer` (in any case) and its spaces. It is one token only if
/// `fault` finds nothing wrong.
fn word_after_bearer(value: &[u8]) -> Option<&str> {
    let (scheme, rest) = value.split_at_checked(SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return None;
    }
    let rest = str::from_utf8(rest).ok()?;
    rest.starts_with(' ').then(|| rest.trim_start_matches(' '))
}

/// Returns what is wrong with the form of a trimmed value, if anything.
#[cold]
fn fault(value: &[u8]) -> Option<Challenge> {
    if !value.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return Some(Challenge::NotPrintable);
    }
    let mut words = value
        .split(|&byte| byte == b' ')
        .filter(|word| !word.is_empty());
    let Some(scheme) = words.next() else {
        return Some(Challenge::CredentialsRequired);
    };
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Some(Challenge::NotBearer);
    }
    let Some(token) = words.next() else {
        return Some(Challenge::NoToken);
    };
    if words.next().is_some() {
        return Some(Challenge::SeveralWords);
    }
    (!are_in_token(token)).then_some(Challenge::ForeignCharacter)
}

/// Returns whether every byte may occur in a b64token (RFC 6750 §2.1); `=` may occur anywhere. It has
/// no branch, so that the compiler compares sixteen bytes at a time. Bad tokens may be long: with a
/// branch per byte, their requests cost 7 % more instructions.
#[expect(
    clippy::needless_bitwise_bool,
    reason = "the lazy operators would be branches"
)]
fn are_in_token(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |are, &byte| {
        let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        // `-`, `.`, `/` and the digits are neighbours.
        let is_digit = byte.wrapping_sub(b'-') <= b'9' - b'-';
        let is_other = (byte == b'_') | (byte == b'~') | (byte == b'+') | (byte == b'=');
        are & (is_letter | is_digit | is_other)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_each_challenge_is_its_own() {
        for challenge in Challenge::all() {
            assert_eq!(
                challenge.text(),
                Refusal::compose(challenge),
                "{challenge:?}"
            );
        }
    }

    #[test]
    fn token_has_the_characters_of_the_rfc_wherever_they_stand() {
        const CHARACTERS: &[u8] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=";
        for byte in 0..=u8::MAX {
            // Compared alone, and at the ends of the first block of sixteen and of the text.
            for (len, place) in [(1, 0), (40, 0), (40, 15), (40, 16), (40, 39)] {
                let bytes: Vec<u8> = (0..len)
                    .map(|at| if at == place { byte } else { b'a' })
                    .collect();
                assert_eq!(
                    are_in_token(&bytes),
                    CHARACTERS.contains(&byte),
                    "{byte} at {place} of {len}"
                );
            }
        }
    }
}
