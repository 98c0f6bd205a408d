//! From the `Authorization` field to [`VerifiedClaims`] or a [`Challenge`]: the only bridge between
//! HTTP and tokens. RFC 6750 and RFC 9110 §11.

use std::sync::LazyLock;

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use crate::jwt::{Error, NumericDate, VerifiedClaims, Verifier};

/// The protection space (RFC 9110 §11.5) that every challenge names.
const REALM: &str = "resource-server";

/// Why a request may not pass, and what its sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// No `Authorization` field, an empty or unreadable one, or a scheme that is not `Bearer`.
    CredentialsRequired,
    /// More than one `Authorization` field.
    TwoFields,
    /// Not exactly one b64token after `Bearer` (RFC 6750 §2.1).
    NotOneToken,
    /// The token does not verify.
    InvalidToken(Error),
    /// The token verifies, and its `sub` cannot be the value of a field.
    UnusableSubject,
}

impl Challenge {
    /// Every challenge, those of tokens last in the order of [`Error::ALL`].
    pub fn all() -> impl Iterator<Item = Self> {
        [
            Self::CredentialsRequired,
            Self::TwoFields,
            Self::NotOneToken,
            Self::UnusableSubject,
        ]
        .into_iter()
        .chain(Error::ALL.map(Self::InvalidToken))
    }

    /// 403 for the subject, as no other credentials would help; 401 for the rest: a proxy takes any
    /// other status for a failure of its own.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::UnusableSubject => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        }
    }

    /// The stable `code`, which is also the `error` of `WWW-Authenticate` (RFC 6750 §3.1) where
    /// there is one.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::CredentialsRequired => "credentials_required",
            Self::TwoFields | Self::NotOneToken => "invalid_request",
            Self::InvalidToken(_) => "invalid_token",
            Self::UnusableSubject => "unusable_subject",
        }
    }

    /// What is wrong, in words that a caller can act on.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::CredentialsRequired => "No authorization token was found",
            Self::TwoFields => "more than one Authorization field",
            Self::NotOneToken => "not one token after Bearer",
            Self::InvalidToken(error) => error.description(),
            Self::UnusableSubject => {
                "the subject (sub) is not 1 to 255 visible ASCII characters or a 64-bit integer"
            }
        }
    }

    /// The value of `WWW-Authenticate`, and the content that says the same in JSON.
    #[must_use]
    pub fn text(self) -> Text {
        /// Composed once: nobody can make the server format text, or allocate it, by sending bad
        /// tokens.
        static TEXTS: LazyLock<Vec<(Challenge, Text)>> = LazyLock::new(|| {
            Challenge::all()
                .map(|challenge| (challenge, Text::compose(challenge)))
                .collect()
        });
        let ready = TEXTS.iter().find(|(challenge, _)| *challenge == self);
        ready.map_or_else(|| Text::compose(self), |(_, text)| text.clone())
    }

    /// For the log: the rule that failed.
    pub(crate) fn rule(self) -> &'static str {
        match self {
            Self::InvalidToken(error) => error.description(),
            _ => self.code(),
        }
    }
}

/// What a challenge says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The value of `WWW-Authenticate`.
    pub field: HeaderValue,
    /// The JSON content.
    pub content: Bytes,
}

impl Text {
    /// Codes and messages are printable ASCII without `"` and `\`, so that they stand unescaped in
    /// a quoted-string (RFC 9110 §5.6.4), within what RFC 6750 §3 allows, and in JSON. Without
    /// credentials the field names no error (RFC 6750 §3.1).
    fn compose(challenge: Challenge) -> Self {
        let (code, message) = (challenge.code(), challenge.message());
        let field = match challenge {
            Challenge::CredentialsRequired => format!(r#"Bearer realm="{REALM}""#),
            _ => {
                format!(r#"Bearer realm="{REALM}", error="{code}", error_description="{message}""#)
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
/// Costs what [`Verifier::verify`] costs; a refusal allocates nothing of its own.
///
/// # Errors
///
/// The challenge to answer with: first for the number of `Authorization` fields, then for the
/// scheme, then for the form of what follows it, then for the token.
pub fn authenticate(
    fields: &HeaderMap,
    verifier: &Verifier,
    now: NumericDate,
) -> Result<VerifiedClaims, Challenge> {
    let token = bearer_token(fields)?;
    verifier.verify(token, now).map_err(|error| {
        // Nothing that verifies has a character outside b64token, so that only refusals look.
        if is_b64token(token) {
            Challenge::InvalidToken(error)
        } else {
            Challenge::NotOneToken
        }
    })
}

/// The word after `Bearer` in the only `Authorization` field.
fn bearer_token(fields: &HeaderMap) -> Result<&str, Challenge> {
    let mut values = fields.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Challenge::CredentialsRequired)?;
    if values.next().is_some() {
        return Err(Challenge::TwoFields);
    }
    // What `to_str` does, many bytes at a time.
    let value = str::from_utf8(value.as_bytes())
        .ok()
        .filter(|value| value.is_ascii())
        .ok_or(Challenge::CredentialsRequired)?
        .trim_ascii();
    let scheme_len = value.find([' ', '\t']).unwrap_or(value.len());
    let (scheme, rest) = value.split_at(scheme_len);
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(Challenge::CredentialsRequired);
    }
    Ok(rest.trim_start_matches(' '))
}

/// RFC 6750 §2.1: `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`.
fn is_b64token(word: &str) -> bool {
    const CHARACTERS: [bool; 256] =
        set_of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/");
    let text = word.trim_end_matches('=');
    let is_in = |byte| CHARACTERS.get(usize::from(byte)) == Some(&true);
    !text.is_empty() && text.bytes().all(is_in)
}

/// The set of these bytes, as a table: bad tokens are long, and comparing each byte with
/// every range costs twice as much.
#[expect(
    clippy::as_conversions,
    clippy::indexing_slicing,
    reason = "at compile time, where neither can go wrong unseen"
)]
const fn set_of(members: &[u8]) -> [bool; 256] {
    let mut set = [false; 256];
    let mut at = 0;
    while at < members.len() {
        set[members[at] as usize] = true;
        at += 1;
    }
    set
}
