//! The same signed token to this verifier and to the `jsonwebtoken` crate: what this one accepts,
//! that one accepts, and what this one refuses, that one refuses, but for the reasons below.

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use resource_server::jwt::{Error, Verifier};
use serde_core::de::IgnoredAny;

use super::case::{CURRENT, Case, key};
use super::json::{self, Members, Value};
use super::rfc;

/// Both verdicts, this one first.
pub type Verdicts = (Result<(), Error>, Result<(), ErrorKind>);

/// As `verify_claims`, save that the other crate reads the clock itself and knows one key.
pub fn check(bytes: &[u8]) -> Verdicts {
    let mut case = Case::read(bytes);
    case.now = SystemTime::now();
    let token = case.token();
    let ours = Verifier::new(key(CURRENT), case.policy.clone())
        .verify(&token, case.now.into())
        .map(drop);
    let theirs = decode::<IgnoredAny>(
        &token,
        &DecodingKey::from_secret(CURRENT),
        &validation(&case),
    );
    let theirs = theirs.map(drop).map_err(|error| error.into_kind());

    match (&ours, &theirs) {
        (Ok(()), Ok(())) | (Err(_), Err(_)) => {}
        (Ok(()), Err(kind)) => assert!(may_refuse(&case, kind), "only they refuse: {kind:?}"),
        (Err(error), Ok(())) => assert!(may_accept(&case, *error), "only we refuse: {error:?}"),
    }
    (ours, theirs)
}

fn validation(case: &Case<'_>) -> Validation {
    let policy = &case.policy;
    let one = |text: &Option<String>| text.clone().map(|text| HashSet::from([text]));
    let required = [
        (policy.require_exp, "exp"),
        (policy.issuer.is_some(), "iss"),
        (policy.audience.is_some(), "aud"),
    ];
    let required = required.into_iter().filter(|(is_required, _)| *is_required);
    let mut validation = Validation::new(Algorithm::HS256);
    validation.required_spec_claims = required.map(|(_, name)| name.into()).collect();
    validation.leeway = policy.leeway.into();
    validation.validate_nbf = true;
    validation.iss = one(&policy.issuer);
    validation.aud = one(&policy.audience);
    validation
}

/// Why they may refuse what we accept.
fn may_refuse(case: &Case<'_>, kind: &ErrorKind) -> bool {
    let (Some(header), Some(claims)) = (rfc::object(case.header), rfc::object(case.payload)) else {
        return false;
    };
    match kind {
        // They read both objects into structs, which take no name twice, no parameter of another
        // type than they expect, and no `sub` or `iss` that is an array or an object; unknown
        // parameters become a tree, which takes no number beyond `f64` and so on. RFC 7519 §4 lets
        // the last name win, RFC 7515 §4 ignores what is not understood, and a claim that decides
        // nothing may be anything.
        ErrorKind::Json(_) => {
            has_duplicates(&header)
                || has_duplicates(&claims)
                || header.iter().any(|(name, value)| {
                    is_one_of(name, &TEXT_PARAMETERS) && !is_string_or_null(value)
                        || is_one_of(name, &["jwk", "x5c"]) && value.text != "null"
                })
                || claims.iter().any(|(name, value)| {
                    is_one_of(name, &["sub", "iss"]) && !is_string_or_null(value)
                })
                || is_beyond_types(case.header)
                || is_beyond_types(case.payload)
        }
        // They hold times in a `u64`.
        ErrorKind::InvalidClaimFormat(name) => {
            let seconds = rfc::last(&claims, name).and_then(|value| json::number(value.text));
            seconds.is_some_and(|seconds| seconds < 0.0 || seconds >= u64::MAX as f64)
        }
        // Their clock is read after ours, and in whole seconds.
        ErrorKind::ExpiredSignature => is_near(case, &claims, "exp"),
        ErrorKind::ImmatureSignature => is_near(case, &claims, "nbf"),
        _ => false,
    }
}

/// Why they may accept what we refuse.
fn may_accept(case: &Case<'_>, error: Error) -> bool {
    let claims = rfc::object(case.payload);
    let last = |name| claims.as_ref().and_then(|claims| rfc::last(claims, name));
    match error {
        // They bound no length, look for no `crit` and no `b64`, and not at `iat`; they take
        // milliseconds for seconds.
        Error::TooLong | Error::CriticalExtension | Error::ExpirationTooLate => true,
        Error::MalformedIssuedAt => {
            last("iat").is_some_and(|iat| json::number(iat.text).is_none_or(f64::is_infinite))
        }
        // To a struct of theirs an array is as good as an object.
        Error::MalformedClaims => claims.is_none() || rfc::has_half_a_name(case.payload),
        // They take one of several issuers, and where no audience is configured ignore one that is
        // no string or strings.
        Error::WrongIssuer => last("iss").is_some_and(|iss| json::array(iss.text).is_some()),
        Error::UnexpectedAudience | Error::EmptyAudience | Error::MalformedAudience => {
            case.policy.audience.is_none() && last("aud").is_some()
        }
        // They still accept at the very second of `exp`, and round times.
        Error::Expired => is_near(case, &claims.unwrap_or_default(), "exp"),
        Error::NotYetValid => is_near(case, &claims.unwrap_or_default(), "nbf"),
        // They do not know the previous key, and refuse the rest as we do.
        _ => false,
    }
}

/// Parameters that they read into a `String`; `jwk` is a struct, `x5c` an array.
const TEXT_PARAMETERS: [&str; 11] = [
    "typ", "cty", "jku", "kid", "x5u", "x5t", "x5t#S256", "enc", "zip", "url", "nonce",
];

fn is_one_of(name: &[u16], names: &[&str]) -> bool {
    names.iter().any(|other| rfc::is_text(name, other))
}

fn is_string_or_null(value: &Value<'_>) -> bool {
    value.text == "null" || json::string(value.text).is_some()
}

fn has_duplicates(members: &Members<'_>) -> bool {
    let names: HashSet<_> = members.iter().map(|(name, _)| name).collect();
    names.len() < members.len()
}

/// Whether an object has, anywhere, a string that is no Unicode, a number that `f64` cannot hold, or
/// more levels than `serde_json` follows.
fn is_beyond_types(text: &[u8]) -> bool {
    let is_half = |units: &[u16]| String::from_utf16(units).is_err();
    let members = rfc::object(text).unwrap_or_default();
    members.iter().any(|(name, value)| {
        is_half(name)
            || value.depth > 120
            || value.leaves.iter().any(|leaf| {
                json::string(leaf).is_some_and(|units| is_half(&units))
                    || json::number(leaf).is_some_and(|number| number.abs() > 1e308)
            })
    })
}

fn is_near(case: &Case<'_>, claims: &Members<'_>, name: &str) -> bool {
    let seconds = rfc::last(claims, name).and_then(|value| json::number(value.text));
    let now = case
        .now
        .duration_since(UNIX_EPOCH)
        .expect("it is after 1970");
    seconds.is_some_and(|seconds| {
        let distance = (seconds - now.as_secs_f64()).abs();
        (distance - f64::from(case.policy.leeway)).abs() < 3.0
    })
}
