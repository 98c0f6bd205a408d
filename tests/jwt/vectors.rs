//! Tokens from elsewhere: the examples of the RFCs, tokens of other implementations, attacks on
//! libraries.

use resource_server::jwt::{Error, Key, Policy, Verifier};
use serde_json::Value;

use crate::support::{at, base64url, from_base64url};

const RFC: &str = include_str!("../vectors/rfc/rfc.json");
const INTEROP: &str = include_str!("../vectors/interop/tokens.json");
const ATTACKS: &str = include_str!("../vectors/attacks.json");

/// The rules of `tests/vectors/README.md` that a variant may mean.
fn rules(error: Error) -> &'static [u64] {
    match error {
        Error::TooLong
        | Error::NotAJwt
        | Error::NotThreeParts
        | Error::Encrypted
        | Error::EmptyPart => &[1],
        Error::Padding | Error::NotHs256Signature | Error::NotBase64url => &[2],
        Error::WrongSignature => &[3],
        Error::MalformedHeader | Error::WrongAlgorithm | Error::CriticalExtension => &[4],
        Error::MalformedClaims => &[5],
        Error::MalformedExpiration
        | Error::MalformedNotBefore
        | Error::MalformedIssuedAt
        | Error::MissingExpiration
        | Error::ExpirationTooLate
        | Error::Expired
        | Error::NotYetValid => &[6],
        Error::MissingIssuer
        | Error::WrongIssuer
        | Error::MissingAudience
        | Error::MalformedAudience
        | Error::EmptyAudience
        | Error::WrongAudience
        | Error::UnexpectedAudience => &[7],
    }
}

fn rows(json: &str) -> Vec<Value> {
    serde_json::from_str(json).unwrap()
}

/// The verdict on a vector, under the key, the clock and the policy that it names.
fn verdict(vector: &Value, secret: &str) -> Result<(), Error> {
    let policy = Policy {
        issuer: vector["issuer"].as_str().map(str::to_owned),
        audience: vector["audience"].as_str().map(str::to_owned),
        leeway: vector["leeway"].as_u64().unwrap_or(0).try_into().unwrap(),
        require_exp: vector["require_exp"].as_bool().unwrap_or(false),
        ..Policy::default()
    };
    let now = at(vector["now"].as_i64().unwrap(), 0);
    let token = vector["token"].as_str().unwrap();
    let key = Key::new(&from_base64url(secret)).unwrap();
    Verifier::new(key, policy).verify(token, now).map(drop)
}

/// Compares the verdict with the one that the vector expects. Returns the difference.
fn check(vector: &Value, secret: &str) -> Result<(), String> {
    let verdict = verdict(vector, secret);
    let is_right = match (vector["verdict"].as_str().unwrap(), verdict) {
        ("either", _) | ("accept", Ok(())) => true,
        ("refuse", Err(error)) => vector["rules"]
            .as_array()
            .expect("a rejected vector names rules")
            .iter()
            .any(|rule| rules(error).contains(&rule.as_u64().unwrap())),
        _ => false,
    };
    let name = &vector["name"];
    is_right.then_some(()).ok_or_else(|| {
        format!(
            "{name}: {} by {}, was {verdict:?}",
            vector["verdict"], vector["rules"]
        )
    })
}

fn assert_all(outcomes: impl Iterator<Item = Result<(), String>>) {
    let wrong: Vec<String> = outcomes.filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rfc_examples_get_their_verdicts() {
    let vectors = rows(RFC);
    assert_eq!(vectors.len(), 12);
    assert_all(
        vectors
            .iter()
            .map(|vector| check(vector, vector["secret"].as_str().unwrap())),
    );
}

fn rfc_example(name: &str) -> Result<(), Error> {
    let vectors = rows(RFC);
    let vector = vectors.iter().find(|vector| vector["name"] == name);
    let vector = vector.expect("an example of this name");
    verdict(vector, vector["secret"].as_str().unwrap())
}

#[test]
fn rfc7515_example_a1_is_accepted_until_its_expiration_second() {
    assert_eq!(rfc_example("hs256-before-expiry"), Ok(()));
    assert_eq!(rfc_example("hs256-at-expiry"), Err(Error::Expired));
}

#[test]
fn rfc7519_example_3_1_is_accepted_from_its_issuer_alone() {
    assert_eq!(rfc_example("hs256-before-expiry-with-issuer"), Ok(()));
    assert_eq!(rfc_example("hs256-other-issuer"), Err(Error::WrongIssuer));
}

#[test]
fn rfc7519_example_6_1_unsecured_is_rejected() {
    assert_eq!(rfc_example("unsecured-jwt"), Err(Error::NotHs256Signature));
}

#[test]
fn rfc7797_examples_with_an_unencoded_payload_are_rejected() {
    for (name, error) in [
        ("payload-encoded", Error::MalformedClaims),
        ("payload-not-encoded-detached", Error::EmptyPart),
        (
            "payload-not-encoded-json-serialization",
            Error::NotThreeParts,
        ),
        ("payload-not-encoded-inline", Error::NotThreeParts),
    ] {
        assert_eq!(rfc_example(name), Err(error), "{name}");
    }
}

/// A rejection alone would not show that the MAC is correct.
#[test]
fn rfc_signatures_verify_whatever_the_payload_is() {
    for name in ["payload-encoded", "hmac-sha2-text-payload"] {
        assert_eq!(rfc_example(name), Err(Error::MalformedClaims), "{name}");
    }
}

#[test]
fn rfc_example_keys_sign_what_the_rfcs_print() {
    let vectors = rows(RFC);
    let mut compared = 0;
    for vector in vectors
        .iter()
        .filter(|vector| vector["mac_input"].is_string())
    {
        let input = vector["mac_input"].as_str().unwrap();
        let token = vector["token"].as_str().unwrap();
        let Some((header, payload)) = input.split_once('.') else {
            continue;
        };
        // Detached and unencoded payloads are not what `sign_parts` writes.
        if token.starts_with(input) && !payload.contains('.') {
            let key = Key::new(&from_base64url(vector["secret"].as_str().unwrap())).unwrap();
            let ours = key.sign_parts(from_base64url(header), from_base64url(payload));
            assert_eq!(ours, token, "{}", vector["name"]);
            compared += 1;
        }
    }
    assert_eq!(compared, 6);
}

#[test]
fn interop_tokens_of_other_implementations_are_accepted() {
    let vectors = rows(INTEROP);
    assert_eq!(vectors.len(), 206);
    assert_all(vectors.iter().map(|vector| {
        verdict(vector, vector["secret"].as_str().unwrap())
            .map_err(|error| format!("{} {}: {error:?}", vector["library"], vector["case"]))
    }));
}

/// Otherwise a verifier that accepts everything would pass the test above.
#[test]
fn interop_tokens_under_another_secret_are_rejected() {
    let other = base64url("another secret that none of them has");
    for vector in rows(INTEROP) {
        assert_eq!(verdict(&vector, &other), Err(Error::WrongSignature));
    }
}

#[test]
fn attack_tokens_get_their_verdicts_and_rules() {
    let document: Value = serde_json::from_str(ATTACKS).unwrap();
    let secret = document["secret"].as_str().unwrap();
    let vectors = document["tokens"].as_array().unwrap();
    assert_eq!(vectors.len(), 1029);
    assert_all(vectors.iter().map(|vector| check(vector, secret)));
}

/// The vectors allow either verdict on these. The verifier uses the last of two equal names, and
/// ignores members that no rule reads.
#[test]
fn attack_tokens_with_a_name_given_twice_are_validated_by_the_last() {
    let document: Value = serde_json::from_str(ATTACKS).unwrap();
    let secret = document["secret"].as_str().unwrap();
    let twice = document["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|vector| {
            vector["verdict"] == "either" && vector["name"].as_str().unwrap().contains("twice")
        });
    let outcomes: Vec<_> = twice
        .map(|vector| (&vector["name"], verdict(vector, secret)))
        .collect();
    assert_eq!(outcomes.len(), 20);
    for (name, outcome) in outcomes {
        assert_eq!(outcome, Ok(()), "{name}");
    }
}
