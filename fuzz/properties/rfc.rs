//! What RFC 7515, 7519 and 8725 say of a token and its claims, in their order and their words, as
//! far as words decide; and where this verifier may differ from them.

use resource_server::jwt::{Error, MAX_TOKEN_LEN};

use super::case::{Case, Signer};
use super::json::{self, Members, Value};

/// The members of header and claims set that some rule reads.
const PARAMETERS: [&str; 3] = ["alg", "crit", "b64"];
const CLAIMS: [&str; 5] = ["exp", "nbf", "iat", "iss", "aud"];

/// Whether `verdict` is right.
pub fn allows(case: &Case<'_>, token: &str, verdict: Result<(), Error>) -> bool {
    // A fraction or an exponent may be read a little off, each by itself.
    let offsets = [0.0, -1.0, 1.0];
    let pairs = offsets.map(|exp| offsets.map(|nbf| [exp, nbf]));
    if pairs
        .iter()
        .flatten()
        .any(|offsets| expected(case, token, *offsets) == verdict)
    {
        return true;
    }
    // What Rust's types cannot hold is refused as malformed where it must be read: that is stricter
    // than the RFCs, which call such a text unpredictable (RFC 8259 §6, §8.2, §9), and never
    // laxer.
    match verdict {
        Err(Error::MalformedHeader) => is_beyond_types(case.header, &PARAMETERS),
        Err(Error::MalformedClaims) => is_beyond_types(case.payload, &CLAIMS),
        _ => false,
    }
}

fn expected(case: &Case<'_>, token: &str, offsets: [f64; 2]) -> Result<(), Error> {
    if token.len() > MAX_TOKEN_LEN {
        return Err(Error::TooLong);
    }
    if case.header.is_empty() || case.payload.is_empty() {
        return Err(Error::EmptyPart);
    }
    if case.signer == Signer::Unknown {
        return Err(Error::WrongSignature);
    }

    let header = object(case.header).ok_or(Error::MalformedHeader)?;
    if last(&header, "alg").is_none_or(|alg| !is_string(alg, "HS256")) {
        return Err(Error::WrongAlgorithm);
    }
    if last(&header, "crit").is_some() || last(&header, "b64").is_some() {
        return Err(Error::CriticalExtension);
    }

    let claims = object(case.payload).ok_or(Error::MalformedClaims)?;
    let exp = numeric_date(last(&claims, "exp"), offsets[0])?;
    let nbf = numeric_date(last(&claims, "nbf"), offsets[1])?;
    numeric_date(last(&claims, "iat"), 0.0)?;
    let (now, leeway) = (case.seconds(), f64::from(case.policy.leeway));
    if exp.is_none() && case.policy.require_exp {
        return Err(Error::MissingExpiration);
    }
    // RFC 7519 §4.1.4: "on or after which the JWT MUST NOT be accepted".
    if exp.is_some_and(|exp| now >= exp + leeway) {
        return Err(Error::Expired);
    }
    // §4.1.5: "before which the JWT MUST NOT be accepted".
    if nbf.is_some_and(|nbf| now < nbf - leeway) {
        return Err(Error::NotYetValid);
    }
    if let Some(issuer) = &case.policy.issuer
        && last(&claims, "iss").is_none_or(|iss| !is_string(iss, issuer))
    {
        return Err(Error::WrongIssuer);
    }
    match (&case.policy.audience, last(&claims, "aud")) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(Error::UnexpectedAudience),
        (Some(audience), Some(aud)) if is_or_contains(aud, audience) => Ok(()),
        (Some(_), _) => Err(Error::WrongAudience),
    }
}

/// The text of a subject that this verifier understands: a string, or an integer of 64 bits.
/// `None` where there is another or none, or half a surrogate pair.
pub fn subject(payload: &[u8]) -> Option<String> {
    let claims = object(payload)?;
    let sub = last(&claims, "sub")?;
    let is_integer =
        sub.text != "-0" && (sub.text.parse::<i64>().is_ok() || sub.text.parse::<u64>().is_ok());
    match json::string(sub.text) {
        Some(units) => String::from_utf16(&units).ok(),
        None => is_integer.then(|| sub.text.into()),
    }
}

pub fn object(bytes: &[u8]) -> Option<Members<'_>> {
    json::object(str::from_utf8(bytes).ok()?)
}

/// RFC 7519 §4: of duplicate names, the lexically last.
pub fn last<'m, 'a>(members: &'m Members<'a>, name: &str) -> Option<&'m Value<'a>> {
    let mut named = members.iter().filter(|(other, _)| is_text(other, name));
    named.next_back().map(|(_, value)| value)
}

pub fn is_text(units: &[u16], text: &str) -> bool {
    text.encode_utf16().eq(units.iter().copied())
}

fn is_string(value: &Value<'_>, text: &str) -> bool {
    json::string(value.text).is_some_and(|units| is_text(&units, text))
}

/// §4.1.3: a string, or an array of strings.
fn is_or_contains(value: &Value<'_>, text: &str) -> bool {
    let elements = json::array(value.text).unwrap_or_default();
    is_string(value, text)
        || elements.iter().any(|element| is_string(element, text))
            && elements
                .iter()
                .all(|element| json::string(element.text).is_some())
}

/// §2. `offset` is -1 to 1 times the error of a number that is not a plain integer: `serde_json`
/// multiplies its digits by a power of ten, which rounds up to three times.
fn numeric_date(value: Option<&Value<'_>>, offset: f64) -> Result<Option<f64>, Error> {
    let Some(value) = value else { return Ok(None) };
    let seconds = json::number(value.text).filter(|seconds| seconds.is_finite());
    let seconds = seconds.ok_or(Error::MalformedTime)?;
    let digits = value.text.trim_start_matches('-');
    let is_exact = digits.len() <= 15 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let error = seconds.abs() * (f64::EPSILON * 4.0) + f64::MIN_POSITIVE;
    Ok(Some(if is_exact {
        seconds
    } else {
        seconds + offset * error
    }))
}

/// Whether an object has a name, or in one of the members that are read a string, that is no
/// Unicode; or in such a member a number that `f64` cannot hold, or more levels than serde_json
/// follows.
pub fn is_beyond_types(object_text: &[u8], read: &[&str]) -> bool {
    let Some(members) = object(object_text) else {
        return false;
    };
    let is_half = |units: Vec<u16>| String::from_utf16(&units).is_err();
    members.into_iter().any(|(name, value)| {
        let is_read = read.iter().any(|other| is_text(&name, other));
        is_half(name)
            || is_read
                && (value.depth > 120
                    || value.leaves.iter().any(|leaf| {
                        json::string(leaf).is_some_and(is_half)
                            || json::number(leaf).is_some_and(|number| number.abs() > 1e308)
                    }))
    })
}
