//! What RFC 7515, 7519 and 8725 say of a token and its claims, in their order and their words, as
//! far as words decide; and where this verifier may differ from them.

use std::collections::BTreeSet;

use resource_server::jwt::{Error, MAX_TOKEN_LEN, NoUser};

use super::case::{Case, Signer};
use super::json::{self, Members, Value};

/// 10000-01-01T00:00:00Z
const YEAR_10000: f64 = 253_402_300_800.0;

/// Whether `verdict` is right.
pub fn allows(case: &Case<'_>, token: &str, verdict: Result<(), Error>) -> bool {
    if expected(case, token) == verdict {
        return true;
    }
    // A name that is not Unicode is refused as malformed: that is stricter than the RFCs, which call
    // such a text unpredictable (RFC 8259 §8.2), and never laxer.
    match verdict {
        Err(Error::MalformedHeader) => has_half_a_name(case.header),
        Err(Error::MalformedClaims) => has_half_a_name(case.payload),
        _ => false,
    }
}

fn expected(case: &Case<'_>, token: &str) -> Result<(), Error> {
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
    let time = |name, error| match last(&claims, name) {
        None => Ok(None),
        Some(value) => match json::number(value.text) {
            Some(seconds) if seconds.is_finite() => Ok(Some(seconds)),
            _ => Err(error),
        },
    };
    let exp = time("exp", Error::MalformedExpiration)?;
    let nbf = time("nbf", Error::MalformedNotBefore)?;
    time("iat", Error::MalformedIssuedAt)?;
    let (now, leeway) = (case.seconds(), f64::from(case.policy.leeway));
    if exp.is_none() && case.policy.require_exp {
        return Err(Error::MissingExpiration);
    }
    if exp.is_some_and(|exp| exp > YEAR_10000) {
        return Err(Error::ExpirationTooLate);
    }
    // RFC 7519 §4.1.4: "on or after which the JWT MUST NOT be accepted".
    if exp.is_some_and(|exp| now >= exp + leeway) {
        return Err(Error::Expired);
    }
    // §4.1.5: "before which the JWT MUST NOT be accepted".
    if nbf.is_some_and(|nbf| now < nbf - leeway) {
        return Err(Error::NotYetValid);
    }
    if let Some(issuer) = &case.policy.issuer {
        match last(&claims, "iss") {
            None => return Err(Error::MissingIssuer),
            Some(iss) if !is_string(iss, issuer) => return Err(Error::WrongIssuer),
            Some(_) => {}
        }
    }
    // §4.1.3: an array of strings, or one string.
    let audience = case.policy.audience.as_deref();
    let Some(aud) = last(&claims, "aud").filter(|aud| aud.text != "null") else {
        return audience.map_or(Ok(()), |_| Err(Error::MissingAudience));
    };
    let elements = match json::array(aud.text) {
        Some(elements) => elements,
        None => vec![json::one(aud.text)],
    };
    if elements.is_empty() {
        return Err(Error::EmptyAudience);
    }
    if elements
        .iter()
        .any(|element| json::string(element.text).is_none())
    {
        return Err(Error::MalformedAudience);
    }
    match audience {
        None => Err(Error::UnexpectedAudience),
        Some(us) if elements.iter().any(|element| is_string(element, us)) => Ok(()),
        Some(_) => Err(Error::WrongAudience),
    }
}

/// The user that a claim names: a string, or an integer of 64 bits. `Err` where there is another or
/// none, or half a surrogate pair.
pub fn user(payload: &[u8], name: &str) -> Result<String, NoUser> {
    let claims = object(payload).unwrap_or_default();
    let value = last(&claims, name).ok_or(NoUser::Absent)?;
    if let Some(units) = json::string(value.text) {
        return String::from_utf16(&units).map_err(|_| NoUser::Unusable);
    }
    let is_integer = json::number(value.text).is_some() && !value.text.contains(['.', 'e', 'E']);
    let integer = value.text.parse::<i128>().ok().filter(|_| is_integer);
    let range = i128::from(i64::MIN)..=i128::from(u64::MAX);
    let integer = integer.filter(|integer| range.contains(integer));
    integer.map_or(Err(NoUser::Unusable), |integer| Ok(integer.to_string()))
}

/// The scopes that a claim grants.
pub fn scopes(payload: &[u8], name: &str) -> BTreeSet<String> {
    let claims = object(payload).unwrap_or_default();
    let Some(value) = last(&claims, name) else {
        return BTreeSet::new();
    };
    let text = |text: &str| json::string(text).map(|units| String::from_utf16(&units));
    let scopes: Vec<String> = match (text(value.text), json::array(value.text)) {
        (Some(Ok(text)), _) => text.split(' ').map(str::to_owned).collect(),
        (None, Some(elements)) => {
            let texts: Option<Vec<_>> = elements.iter().map(|element| text(element.text)).collect();
            texts.unwrap_or_default().into_iter().flatten().collect()
        }
        _ => Vec::new(),
    };
    scopes
        .into_iter()
        .filter(|scope| !scope.is_empty())
        .collect()
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

/// Whether an object has a name with half a surrogate pair, which is not Unicode.
pub fn has_half_a_name(text: &[u8]) -> bool {
    let members = object(text).unwrap_or_default();
    members
        .iter()
        .any(|(name, _)| String::from_utf16(name).is_err())
}
