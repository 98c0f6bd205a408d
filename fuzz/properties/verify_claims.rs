//! Whatever is rightly signed: never accepted past `exp`, before `nbf`, with another `alg` or with
//! `crit`; and the verdict is the one that the RFCs' words give, save where [`rfc`](super::rfc)
//! says that it may be stricter.

use resource_server::jwt::{Error, VerifiedClaims};
use serde_json::Value;

use super::case::{Case, Signer};
use super::{json, rfc};

pub fn check(bytes: &[u8]) -> Result<(), Error> {
    let case = Case::read(bytes);
    let (token, verifier, now) = (case.token(), case.verifier(), case.now.into());
    let mut verdict = None;
    let cost = allocation_counter::measure(|| verdict = Some(verifier.verify(&token, now)));
    let verdict = verdict.expect("it has run");
    assert!(
        cost.bytes_max <= MOST_BYTES_FOR_ONE * token.len() as u64 + MOST_BYTES,
        "{cost:?} for {} bytes",
        token.len()
    );

    if let Ok(claims) = &verdict {
        keeps_the_rules_that_matter(&case, claims);
        assert_eq!(claims.json().as_bytes(), case.payload);
        assert_eq!(claims.subject(), rfc::user(case.payload, "sub").ok());
        tells_user_and_scopes(&case, claims);
    }
    let verdict = verdict.map(drop);
    assert!(rfc::allows(&case, &token, verdict), "{verdict:?}");
    verdict
}

/// The user, and of each text in the claims set, and each word of it, whether it is a granted scope.
fn tells_user_and_scopes(case: &Case<'_>, claims: &VerifiedClaims) {
    let user = rfc::user(case.payload, &case.policy.user_claim);
    assert_eq!(claims.user().map(String::from), user);
    let granted = rfc::scopes(case.payload, &case.policy.scope_claim);
    let members = rfc::object(case.payload).unwrap_or_default();
    let texts = members.iter().flat_map(|(_, value)| &value.leaves);
    let texts = texts.filter_map(|leaf| String::from_utf16(&json::string(leaf)?).ok());
    let texts: Vec<String> = texts.chain(["".into(), "null".into()]).take(50).collect();
    for text in &texts {
        for scope in text.split(' ').take(50).chain([text.as_str()]) {
            assert_eq!(claims.grants(scope), granted.contains(scope), "{scope:?}");
        }
    }
    assert!(granted.iter().all(|scope| claims.grants(scope)));
}

/// Heap bytes held at once: the decoded part, what `serde_json` unescapes, and what it boxes.
const MOST_BYTES_FOR_ONE: u64 = 4;
const MOST_BYTES: u64 = 256;

/// Once more as anybody would read the two objects.
fn keeps_the_rules_that_matter(case: &Case<'_>, claims: &VerifiedClaims) {
    assert!(case.signer != Signer::Unknown);
    if let Ok(header) = serde_json::from_slice::<Value>(case.header) {
        assert_eq!(header["alg"], "HS256");
        assert!(header.get("crit").is_none() && header.get("b64").is_none());
    }
    let (now, leeway) = (case.seconds(), f64::from(case.policy.leeway));
    if let Some(exp) = claims.claim("exp") {
        assert!(now < exp.as_f64().expect("a number") + leeway, "past exp");
    } else {
        assert!(!case.policy.require_exp);
    }
    if let Some(nbf) = claims.claim("nbf") {
        assert!(
            now >= nbf.as_f64().expect("a number") - leeway,
            "before nbf"
        );
    }
}
