//! The claims set, RFC 7519 §4: how it is validated, and what can be read from it.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::Policy;
use super::error::Error;
use super::json::{self, Strings};

/// The latest `exp`: the first second after the year 9999. A later one is almost always in
/// milliseconds, and would never expire.
const MAX_EXPIRATION: f64 = 253_402_300_800.0;

/// A time as RFC 7519 §2 counts it: seconds since 1970-01-01T00:00:00Z, leap seconds ignored,
/// fractions allowed.
///
/// Invariant: finite. It is made from a [`SystemTime`], before or after 1970. Its resolution is half a
/// microsecond or better in this century.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct NumericDate(f64);

impl From<SystemTime> for NumericDate {
    fn from(time: SystemTime) -> Self {
        Self(match time.duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_secs_f64(),
            Err(before) => -before.duration().as_secs_f64(),
        })
    }
}

/// Why there is no user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoUser {
    /// The claims set has no such claim.
    Absent,
    /// The claim is neither a string nor an integer from -2^63 to 2^64-1, or it is a string with half a
    /// surrogate pair.
    Unusable,
}

/// The claims set of a token that passed every check.
///
/// Only [`Verifier::verify`](super::Verifier::verify) creates one, so having one proves that the token
/// was checked.
pub struct VerifiedClaims {
    json: String,
    /// The range of the user claim's value in `json`.
    user: Option<Range<usize>>,
    /// The range of the scope claim's value in `json`.
    scope: Option<Range<usize>>,
}

impl VerifiedClaims {
    /// Validates a decoded payload at the time `now`. The caller has verified its MAC.
    pub(super) fn validate(json: String, policy: &Policy, now: NumericDate) -> Result<Self, Error> {
        let [user, scope] = validate(&json, policy, now)?;
        Ok(Self { json, user, scope })
    }

    /// Returns the claims set as its issuer wrote it: the text of one JSON object. A name may occur
    /// twice in it; the last one was checked.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Returns one claim by its name, parsed from the text on each call. If the name occurs twice, the
    /// last one counts. `None` if the claim is absent, or if `Value` cannot hold it: a number beyond
    /// `f64` (unless the build has `serde_json`'s `arbitrary_precision`), half a surrogate pair, more
    /// than 127 levels of nesting.
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<Value> {
        serde_json::from_str(self.member(name)?).ok()
    }

    /// Returns the subject (`sub`, RFC 7519 §4.1.2): a string as it is, an integer from -2^63 to 2^64-1
    /// in decimal. `None` if it is absent or anything else; no check rejects such a token.
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        Some(string_or_integer(self.member("sub")?)?.into_owned())
    }

    /// Returns the user, from the claim that [`Policy::user_claim`] names: a string as it is, an
    /// integer from -2^63 to 2^64-1 in decimal. An integer counts only if it is written without a
    /// fraction or an exponent. Allocates only if the string has an escape.
    ///
    /// # Errors
    ///
    /// [`NoUser::Absent`] if there is no such claim, [`NoUser::Unusable`] if it is anything else.
    pub fn user(&self) -> Result<Cow<'_, str>, NoUser> {
        let value = self.value(self.user.as_ref()).ok_or(NoUser::Absent)?;
        string_or_integer(value).ok_or(NoUser::Unusable)
    }

    /// Returns whether the claim that [`Policy::scope_claim`] names grants `scope`. The claim is a
    /// string of scopes separated by spaces (RFC 8693 §4.2), or an array of strings, each of which is
    /// one scope. An array with anything else in it grants nothing, and neither does a claim of another
    /// type. The empty scope is never granted.
    ///
    /// Parses the claim on each call. Allocates only if a string has an escape or the array has nested
    /// values.
    #[must_use]
    pub fn grants(&self, scope: &str) -> bool {
        let Some(value) = self
            .value(self.scope.as_ref())
            .filter(|_| !scope.is_empty())
        else {
            return false;
        };
        json::find_string(value, scope) == Some(Strings::Found(true))
            || json::string(value).is_some_and(|scopes| scopes.split(' ').any(|word| word == scope))
    }

    fn member(&self, name: &str) -> Option<&str> {
        let [value] = json::members(&self.json, |other| u8::from(other == name))?;
        value
    }

    fn value(&self, place: Option<&Range<usize>>) -> Option<&str> {
        self.json.get(place?.clone())
    }
}

/// Prints no claim: personal data does not belong in a log.
impl fmt::Debug for VerifiedClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifiedClaims(..)")
    }
}

/// Checks every rule. Returns the ranges of the user claim's and the scope claim's values in `json`.
fn validate(
    json: &str,
    policy: &Policy,
    NumericDate(now): NumericDate,
) -> Result<[Option<Range<usize>>; 2], Error> {
    let wanted = |name: &str| {
        let registered = match name {
            "exp" => 1,
            "nbf" => 1 << 1,
            "iat" => 1 << 2,
            "iss" => 1 << 3,
            "aud" => 1 << 4,
            _ => 0,
        };
        // The two claims may have registered names, and may be the same claim.
        registered
            | u8::from(name == policy.user_claim) << 5
            | u8::from(name == policy.scope_claim) << 6
    };
    let [exp, nbf, iat, iss, aud, user, scope] =
        json::members(json, wanted).ok_or(Error::MalformedClaims)?;

    let expiration = seconds(exp, Error::MalformedExpiration)?;
    let not_before = seconds(nbf, Error::MalformedNotBefore)?;
    seconds(iat, Error::MalformedIssuedAt)?;
    let leeway = f64::from(policy.leeway);
    match expiration {
        None if policy.require_exp => return Err(Error::MissingExpiration),
        Some(expiration) if expiration > MAX_EXPIRATION => return Err(Error::ExpirationTooLate),
        Some(expiration) if now >= expiration + leeway => return Err(Error::Expired),
        _ => {}
    }
    if not_before.is_some_and(|not_before| now < not_before - leeway) {
        return Err(Error::NotYetValid);
    }
    if let Some(issuer) = &policy.issuer {
        let iss = iss.ok_or(Error::MissingIssuer)?;
        if !json::is_string(iss, issuer) {
            return Err(Error::WrongIssuer);
        }
    }
    validate_audience(aud, policy.audience.as_deref())?;
    Ok([user, scope].map(|value| value.map(|value| place(json, value))))
}

fn seconds(value: Option<&str>, malformed: Error) -> Result<Option<f64>, Error> {
    let Some(value) = value else { return Ok(None) };
    match json::number(value) {
        Some(seconds) if seconds.is_finite() => Ok(Some(seconds)),
        _ => Err(malformed),
    }
}

/// RFC 7519 §4.1.3. `null` counts as absent: some issuers write it for a registered claim that they do
/// not set.
fn validate_audience(aud: Option<&str>, configured: Option<&str>) -> Result<(), Error> {
    let Some(aud) = aud.filter(|aud| *aud != "null") else {
        return match configured {
            None => Ok(()),
            Some(_) => Err(Error::MissingAudience),
        };
    };
    let expected = configured.unwrap_or_default();
    let is_named = match json::find_string(aud, expected) {
        Some(Strings::Empty) => return Err(Error::EmptyAudience),
        Some(Strings::Found(is_found)) => is_found,
        None if aud.starts_with('"') => json::is_string(aud, expected),
        Some(Strings::Mixed) | None => return Err(Error::MalformedAudience),
    };
    match configured {
        None => Err(Error::UnexpectedAudience),
        Some(_) if is_named => Ok(()),
        Some(_) => Err(Error::WrongAudience),
    }
}

/// Returns the range of a value that is a slice of `json`.
fn place(json: &str, value: &str) -> Range<usize> {
    let start = value.as_ptr().addr() - json.as_ptr().addr();
    start..start + value.len()
}

fn string_or_integer(value: &str) -> Option<Cow<'_, str>> {
    // JSON and Rust write integers alike, except that JSON also allows `-0`.
    if value == "-0" {
        return Some(Cow::Borrowed("0"));
    }
    if value.parse::<u64>().is_ok() || value.parse::<i64>().is_ok() {
        return Some(Cow::Borrowed(value));
    }
    json::string(value)
}
