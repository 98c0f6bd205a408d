//! Why a token was rejected: one variant per rule, one sentence per variant.

use std::fmt;

/// The rule that a token broke. The first failure decides, in the order of the variants; if the
/// encoding and the MAC are both wrong, either may be reported.
///
/// An error carries no text from the token, so it can be logged and sent to the client as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Longer than [`MAX_TOKEN_LEN`](super::MAX_TOKEN_LEN).
    TooLong,
    /// No dot: an opaque token, or not a token at all.
    NotAJwt,
    /// Neither three parts separated by two dots (RFC 7515 §7.1) nor five.
    NotThreeParts,
    /// Five parts: the compact serialization of an encrypted token (RFC 7516 §7.1).
    Encrypted,
    /// Header or payload is empty.
    EmptyPart,
    /// A part is padded with `=` (RFC 7515 §2 strips it).
    Padding,
    /// The third part is base64url, but does not have the 43 characters of 32 bytes. It is the signature
    /// of another algorithm, it is missing (`none`), or it was cut short.
    NotHs256Signature,
    /// A part is not canonical base64url (RFC 7515 §2).
    NotBase64url,
    /// The MAC does not match any accepted key (RFC 7515 §5.2).
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
    /// `exp` is not a finite JSON number (RFC 7519 §2, `NumericDate`).
    MalformedExpiration,
    /// `nbf` is not a finite JSON number.
    MalformedNotBefore,
    /// `iat` is not a finite JSON number.
    MalformedIssuedAt,
    /// `exp` is absent and the policy requires it.
    MissingExpiration,
    /// `exp` is above 253402300800, the first second after the year 9999.
    ExpirationTooLate,
    /// The time is at or after `exp` (RFC 7519 §4.1.4).
    Expired,
    /// The time is before `nbf` (RFC 7519 §4.1.5).
    NotYetValid,
    /// `iss` is absent and an issuer is configured (RFC 7519 §4.1.1).
    MissingIssuer,
    /// `iss` is not the configured issuer.
    WrongIssuer,
    /// `aud` is absent or null and an audience is configured (RFC 7519 §4.1.3).
    MissingAudience,
    /// `aud` is neither a string nor an array of strings.
    MalformedAudience,
    /// `aud` is an empty array.
    EmptyAudience,
    /// `aud` does not name the configured audience.
    WrongAudience,
    /// `aud` names an audience and none is configured: the token may be meant for another service.
    UnexpectedAudience,
}

impl Error {
    /// Every variant, in the order of the checks.
    pub const ALL: [Self; 27] = [
        Self::TooLong,
        Self::NotAJwt,
        Self::NotThreeParts,
        Self::Encrypted,
        Self::EmptyPart,
        Self::Padding,
        Self::NotHs256Signature,
        Self::NotBase64url,
        Self::WrongSignature,
        Self::MalformedHeader,
        Self::WrongAlgorithm,
        Self::CriticalExtension,
        Self::MalformedClaims,
        Self::MalformedExpiration,
        Self::MalformedNotBefore,
        Self::MalformedIssuedAt,
        Self::MissingExpiration,
        Self::ExpirationTooLate,
        Self::Expired,
        Self::NotYetValid,
        Self::MissingIssuer,
        Self::WrongIssuer,
        Self::MissingAudience,
        Self::MalformedAudience,
        Self::EmptyAudience,
        Self::WrongAudience,
        Self::UnexpectedAudience,
    ];

    /// Its index in [`ALL`](Self::ALL).
    #[expect(clippy::as_conversions, reason = "the discriminant of a variant")]
    #[cfg_attr(not(feature = "server"), expect(dead_code, reason = "for `auth`"))]
    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// Says what is wrong and, if the client or the operator can fix it, how. The text is printable
    /// ASCII without `"` and `\`, as RFC 6750 §3 requires of an `error_description`.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::TooLong => "malformed token: longer than 8192 bytes",
            Self::NotAJwt => "not a JWT: the token has no dots, so it may be an opaque token",
            Self::NotThreeParts => "malformed token: not three parts separated by dots",
            Self::Encrypted => "the token has five parts: encrypted tokens (JWE) are not supported",
            Self::EmptyPart => "malformed token: the header or the payload is empty",
            Self::Padding => {
                "malformed token: it has padding (=), but the parts of a JWT are base64url without padding"
            }
            Self::NotHs256Signature => {
                "not an HS256 signature, so probably another algorithm (such as RS256, ES256, HS512 or none) or a token cut short"
            }
            Self::NotBase64url => "malformed token: a part is not canonical base64url",
            Self::WrongSignature => {
                "wrong signature: the token was signed with another secret or changed after signing"
            }
            Self::MalformedHeader => "malformed token: the header is not a valid JSON object",
            Self::WrongAlgorithm => "the algorithm (alg) in the header is not HS256",
            Self::CriticalExtension => {
                "the header asks for an extension (crit, b64) that is not supported"
            }
            Self::MalformedClaims => "malformed token: the payload is not a valid JSON object",
            Self::MalformedExpiration => {
                "malformed token: the expiration time (exp) is not a finite number"
            }
            Self::MalformedNotBefore => {
                "malformed token: the not-before time (nbf) is not a finite number"
            }
            Self::MalformedIssuedAt => {
                "malformed token: the issued-at time (iat) is not a finite number"
            }
            Self::MissingExpiration => {
                "the token has no expiration time (exp), and JWT_REQUIRE_EXP requires one"
            }
            Self::ExpirationTooLate => {
                "the expiration time (exp) is beyond the year 9999: it must be in seconds, not milliseconds"
            }
            Self::Expired => "the token has expired",
            Self::NotYetValid => {
                "the token is not yet valid (nbf): check the clocks of issuer and server, or allow for a difference with JWT_LEEWAY"
            }
            Self::MissingIssuer => "the token has no issuer (iss), and JWT_ISSUER requires one",
            Self::WrongIssuer => "wrong issuer: iss is not the one that JWT_ISSUER requires",
            Self::MissingAudience => {
                "the token has no audience (aud), and JWT_AUDIENCE requires one"
            }
            Self::MalformedAudience => {
                "malformed token: the audience (aud) is neither a string nor an array of strings"
            }
            Self::EmptyAudience => {
                "the audience (aud) is an empty array, so the token is meant for no service"
            }
            Self::WrongAudience => {
                "wrong audience: aud does not name the one that JWT_AUDIENCE requires"
            }
            Self::UnexpectedAudience => {
                "the token names an audience (aud), and none is configured here: set JWT_AUDIENCE"
            }
        }
    }

    /// A short stable name for logs and alerts: lower case letters, digits and underscores. It stays
    /// the same when the description is reworded.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::NotAJwt => "not_a_jwt",
            Self::NotThreeParts => "not_three_parts",
            Self::Encrypted => "encrypted",
            Self::EmptyPart => "empty_part",
            Self::Padding => "padding",
            Self::NotHs256Signature => "not_hs256_signature",
            Self::NotBase64url => "not_base64url",
            Self::WrongSignature => "wrong_signature",
            Self::MalformedHeader => "malformed_header",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::CriticalExtension => "critical_extension",
            Self::MalformedClaims => "malformed_claims",
            Self::MalformedExpiration => "malformed_exp",
            Self::MalformedNotBefore => "malformed_nbf",
            Self::MalformedIssuedAt => "malformed_iat",
            Self::MissingExpiration => "missing_exp",
            Self::ExpirationTooLate => "exp_too_late",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::MissingIssuer => "missing_issuer",
            Self::WrongIssuer => "wrong_issuer",
            Self::MissingAudience => "missing_audience",
            Self::MalformedAudience => "malformed_audience",
            Self::EmptyAudience => "empty_audience",
            Self::WrongAudience => "wrong_audience",
            Self::UnexpectedAudience => "unexpected_audience",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())
    }
}

impl std::error::Error for Error {}
