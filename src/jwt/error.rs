//! Why a token was refused: one variant a rule.

use std::fmt;

/// The rule that a token broke. The first failure decides, in the order of the variants.
///
/// An error carries no text from the token, so that it can be logged and sent to the caller as it
/// is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Longer than [`MAX_TOKEN_LEN`](super::MAX_TOKEN_LEN).
    TooLong,
    /// Not three parts separated by two dots (RFC 7515 §7.1), the last of them the 43 characters of
    /// 32 bytes. An unsecured token's last part is empty, an encrypted token has five (RFC 7516).
    NotThreeParts,
    /// Header or payload is empty.
    EmptyPart,
    /// A part is not canonical base64url without padding (RFC 7515 §2).
    NotBase64url,
    /// The MAC is not the one of any accepted key (RFC 7515 §5.2).
    WrongSignature,
    /// The JOSE header is not one JSON object.
    MalformedHeader,
    /// `alg` is absent or not exactly `HS256` (RFC 8725 §3.1).
    WrongAlgorithm,
    /// `crit` or `b64` is present: an extension that this verifier does not implement (RFC 7515
    /// §4.1.11, RFC 7797).
    CriticalExtension,
    /// The payload is not one JSON object, the claims set (RFC 7519 §7.2).
    MalformedClaims,
    /// `exp`, `nbf` or `iat` is not a finite JSON number (RFC 7519 §2, `NumericDate`).
    MalformedTime,
    /// `exp` is absent and the policy requires it.
    MissingExpiration,
    /// The time is at or after `exp` (RFC 7519 §4.1.4).
    Expired,
    /// The time is before `nbf` (RFC 7519 §4.1.5).
    NotYetValid,
    /// `iss` is absent, not a string, or not the configured issuer (RFC 7519 §4.1.1).
    WrongIssuer,
    /// `aud` is absent, neither a string nor an array of strings, or does not name the configured
    /// audience (RFC 7519 §4.1.3).
    WrongAudience,
    /// `aud` is present and no audience is configured: the token is meant for somebody, and nobody
    /// said it is us.
    UnexpectedAudience,
}

impl Error {
    /// Every variant, in the order of the checks.
    pub const ALL: [Self; 16] = [
        Self::TooLong,
        Self::NotThreeParts,
        Self::EmptyPart,
        Self::NotBase64url,
        Self::WrongSignature,
        Self::MalformedHeader,
        Self::WrongAlgorithm,
        Self::CriticalExtension,
        Self::MalformedClaims,
        Self::MalformedTime,
        Self::MissingExpiration,
        Self::Expired,
        Self::NotYetValid,
        Self::WrongIssuer,
        Self::WrongAudience,
        Self::UnexpectedAudience,
    ];

    /// What is wrong, in words that a caller can act on: printable ASCII without `"` and `\`, as
    /// RFC 6750 §3 asks of an `error_description`.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::TooLong => "malformed token: longer than 8192 bytes",
            Self::NotThreeParts => {
                "malformed token: not three parts separated by dots, the last a signature of 32 bytes"
            }
            Self::EmptyPart => "malformed token: header or payload is empty",
            Self::NotBase64url => "malformed token: not canonical base64url without padding",
            Self::WrongSignature => "wrong signature",
            Self::MalformedHeader => "malformed token: the header is not a valid JSON object",
            Self::WrongAlgorithm => "the algorithm is not HS256",
            Self::CriticalExtension => {
                "the header asks for an extension (crit, b64) that is not supported"
            }
            Self::MalformedClaims => "malformed token: the payload is not a valid JSON object",
            Self::MalformedTime => "malformed token: exp, nbf or iat is not a number",
            Self::MissingExpiration => "the token has no expiration time (exp)",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token is not yet valid",
            Self::WrongIssuer => "wrong issuer",
            Self::WrongAudience => "wrong audience",
            Self::UnexpectedAudience => {
                "the token names an audience, and none is configured here: set JWT_AUDIENCE"
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())
    }
}

impl std::error::Error for Error {}
