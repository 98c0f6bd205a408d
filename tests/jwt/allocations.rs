//! What a token can make the verifier allocate. The allocator counts per thread, so that other
//! tests do not disturb the count.

use allocation_counter::{AllocationInfo, measure};
use resource_server::jwt::{Error, Key, Policy, UnverifiedToken, Verifier};
use serde_json::Value;

use crate::support::{
    NOW, at, base64url, from_base64url, key, signed_with, with_header, with_payload, with_wrong_mac,
};

/// The most that the verification of one token holds at once, in bytes: the buffer, which is no
/// longer than the token, and the scratch buffer of `serde_json` for escapes or nesting, which may
/// be doubling at that moment.
const MAX_BYTES: u64 = 3 * 8192;

/// What one verification allocates and how it ends.
fn cost(verifier: &Verifier, token: &str) -> (AllocationInfo, Result<(), Error>) {
    let now = at(NOW, 0);
    let mut verdict = Ok(());
    let info = measure(|| verdict = verifier.verify(token, now).map(drop));
    (info, verdict)
}

fn verifier() -> Verifier {
    Verifier::new(key(), Policy::default())
}

#[test]
fn counter_counts_each_allocation_and_growth() {
    let info = measure(|| {
        let mut bytes = std::hint::black_box(vec![0_u8; 100]);
        bytes.reserve_exact(1000);
        std::hint::black_box(bytes);
    });
    assert_eq!((info.count_total, info.count_current), (2, 0));
    assert!(info.bytes_total >= 1100);
}

/// Without the secret no client can make the process allocate a byte.
#[test]
fn refusal_up_to_and_including_the_mac_allocates_nothing() {
    let good = with_payload(r#"{"sub":"alice"}"#);
    let (signing_input, signature) = good.rsplit_once('.').unwrap();
    let long = with_payload(format!(r#"{{"p":"{}"}}"#, "x".repeat(6000)));
    let rotating = verifier().with_previous(key());
    let tokens = [
        (String::new(), Error::NotAJwt),
        (".".repeat(8192), Error::NotThreeParts),
        (".".repeat(8193), Error::TooLong),
        ("a".repeat(1 << 20), Error::TooLong),
        ("a".repeat(8192), Error::NotAJwt),
        ("é".repeat(4096), Error::NotAJwt),
        (format!("{signing_input}."), Error::NotHs256Signature),
        (
            format!("{signing_input}.{}", base64url([0; 256])),
            Error::NotHs256Signature,
        ),
        (
            format!("{signing_input}.{signature}.{signature}"),
            Error::NotThreeParts,
        ),
        (
            format!("{signing_input}.{signature}.{signature}.{signature}"),
            Error::Encrypted,
        ),
        (format!("..{signature}"), Error::EmptyPart),
        (format!("AA..{signature}"), Error::EmptyPart),
        (format!("{good}="), Error::Padding),
        (format!("{signing_input}=.{signature}"), Error::Padding),
        (format!("{}!", &good[..good.len() - 1]), Error::NotBase64url),
        (with_wrong_mac(&good), Error::WrongSignature),
        (with_wrong_mac(&long), Error::WrongSignature),
        (with_wrong_mac(&with_header("{{{")), Error::WrongSignature),
        (
            with_wrong_mac(&with_payload("[".repeat(5000))),
            Error::WrongSignature,
        ),
    ];
    for (token, error) in tokens {
        for verifier in [&verifier(), &rotating] {
            let (info, verdict) = cost(verifier, &token);
            assert_eq!(verdict, Err(error), "{token:.80}");
            assert_eq!(info.count_total, 0, "{token:.80}");
        }
    }
}

#[test]
fn parsing_allocates_nothing() {
    let good = with_payload(r#"{"sub":"alice"}"#);
    let info = measure(|| assert!(UnverifiedToken::parse(&good).is_ok()));
    assert_eq!(info.count_total, 0);
}

/// Base64url may be checked before or after the MAC. Either way nothing is allocated for an
/// unsigned token.
#[test]
fn refusal_of_bad_base64url_without_a_right_mac_allocates_nothing() {
    let zeros = base64url([0; 32]);
    for part in ["A", "AB", "A!", "AA==", "é", "[{}]"] {
        for token in [format!("{part}.AA.{zeros}"), format!("AA.{part}.{zeros}")] {
            let (info, verdict) = cost(&verifier(), &token);
            let error = verdict.expect_err(&token);
            assert!(
                matches!(
                    error,
                    Error::NotBase64url | Error::Padding | Error::WrongSignature
                ),
                "{token}: {error:?}"
            );
            assert_eq!(info.count_total, 0, "{token}");
        }
    }
}

#[test]
fn rejected_attack_allocates_nothing_unless_its_mac_is_right() {
    let document: Value = serde_json::from_str(include_str!("../vectors/attacks.json")).unwrap();
    let secret = from_base64url(document["secret"].as_str().unwrap());
    let verifier = Verifier::new(Key::new(&secret).unwrap(), Policy::default());
    let mut free = 0;
    for vector in document["tokens"].as_array().unwrap() {
        let token = vector["token"].as_str().unwrap();
        let (info, verdict) = cost(&verifier, token);
        let is_signed = token
            .rsplit_once('.')
            .is_some_and(|(input, _)| signed_with(&secret, input) == token);
        if verdict.is_err() && !is_signed {
            assert_eq!(info.count_total, 0, "{}", vector["name"]);
            free += 1;
        }
        assert!(info.bytes_max <= MAX_BYTES, "{}: {info:?}", vector["name"]);
        assert_eq!(info.bytes_current, 0, "{}", vector["name"]);
    }
    assert!(free > 150, "{free}");
}

#[test]
fn accepted_token_without_escapes_or_nested_values_allocates_once() {
    let policy = Policy {
        issuer: Some("https://issuer.example".into()),
        audience: Some("https://api.example".into()),
        leeway: 60,
        require_exp: true,
        ..Policy::default()
    };
    let strict = Verifier::new(key(), policy).with_previous(key());
    let claims = r#"{"iss":"https://issuer.example","aud":"https://api.example","sub":"alice",
        "exp":1700000060.5,"nbf":1.6e9,"iat":1700000000,"name":"Zoë 😀","admin":true,"n":null}"#;
    for (verifier, token) in [
        (&strict, with_payload(claims)),
        (
            &strict,
            key().sign_parts(r#"{"kid":"2024-01","alg":"HS256","typ":"at+jwt"}"#, claims),
        ),
        (&verifier(), with_payload("{}")),
        (
            &verifier(),
            with_payload(r#"{"sub":"1234567890","name":"John Doe","iat":1516239022}"#),
        ),
        (
            &verifier(),
            with_payload(format!(r#"{{"p":"{}"}}"#, "x".repeat(6000))),
        ),
        (&verifier(), with_header(r#"{"alg":"HS256"}"#)),
    ] {
        let (info, verdict) = cost(verifier, &token);
        assert_eq!(verdict, Ok(()), "{token:.80}");
        assert_eq!(info.count_total, 1, "{token:.80}");
    }
}

/// Verification has recorded where they are.
#[test]
fn user_and_scopes_without_escapes_are_read_without_allocating() {
    for payload in [
        r#"{"sub":"alice","scope":"read write"}"#,
        r#"{"sub":4,"scope":["read","write"]}"#,
        r#"{"sub":[],"scope":7}"#,
        "{}",
    ] {
        let token = with_payload(payload);
        let verifier = verifier();
        let info = measure(|| {
            let claims = verifier.verify(&token, at(NOW, 0)).expect("a good token");
            let _ = std::hint::black_box(claims.user());
            std::hint::black_box(claims.grants("write"));
        });
        assert_eq!(info.count_total, 1, "{payload}");
    }
}

/// The header and the payload share one buffer.
#[test]
fn accepted_token_allocates_no_more_bytes_than_it_has() {
    for (header, payload) in [
        (
            r#"{"alg":"HS256"}"#.to_owned(),
            format!(r#"{{"p":"{}"}}"#, "x".repeat(5000)),
        ),
        (
            format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "k".repeat(5000)),
            "{}".to_owned(),
        ),
    ] {
        let token = key().sign_parts(&header, &payload);
        let (info, verdict) = cost(&verifier(), &token);
        assert_eq!((verdict, info.count_total), (Ok(()), 1));
        assert!(info.bytes_total <= token.len() as u64, "{info:?}");
    }
}

/// An audience is often an array, and it is not parsed into a tree.
#[test]
fn accepted_token_with_an_array_of_audiences_allocates_once() {
    let policy = Policy {
        audience: Some("api".into()),
        ..Policy::default()
    };
    let token = with_payload(r#"{"aud":["other","api","third"]}"#);
    let (info, verdict) = cost(&Verifier::new(key(), policy), &token);
    assert_eq!(verdict, Ok(()));
    assert_eq!(info.count_total, 1);
}

#[test]
fn accepted_token_with_escapes_or_nested_values_allocates_a_scratch_buffer_more() {
    for (payload, allocations) in [
        // A value that is compared with nothing is skipped, including its escapes.
        (r#"{"name":"\u0061"}"#, 1),
        (r#"{"n\u0061me":"a"}"#, 2),
        (r#"{"a":{"b":[1,{"c":2}]}}"#, 2),
    ] {
        let (info, verdict) = cost(&verifier(), &with_payload(payload));
        assert_eq!(verdict, Ok(()), "{payload}");
        assert_eq!(info.count_total, allocations, "{payload}");
    }
}

#[test]
fn refusal_after_the_mac_allocates_the_buffer_and_serde_jsons_error_alone() {
    for (token, error, most) in [
        (with_header(r#"{"alg":"none"}"#), Error::WrongAlgorithm, 1),
        (
            with_header(r#"{"alg":"HS256","crit":0}"#),
            Error::CriticalExtension,
            1,
        ),
        (with_header(b"\xff"), Error::MalformedHeader, 1),
        (with_payload(b"\xff"), Error::MalformedClaims, 1),
        (
            with_payload(r#"{"exp":"x"}"#),
            Error::MalformedExpiration,
            1,
        ),
        (with_payload(r#"{"nbf":{}}"#), Error::MalformedNotBefore, 1),
        (
            with_payload(r#"{"iat":1e999}"#),
            Error::MalformedIssuedAt,
            1,
        ),
        (with_payload(r#"{"exp":1}"#), Error::Expired, 1),
        (with_payload(r#"{"nbf":1800000000}"#), Error::NotYetValid, 1),
        (with_payload(r#"{"aud":"x"}"#), Error::UnexpectedAudience, 1),
        (with_payload(r#"{"aud":[]}"#), Error::EmptyAudience, 1),
        (with_header("[]"), Error::MalformedHeader, 8),
        (with_payload("{"), Error::MalformedClaims, 8),
        (with_payload("[]"), Error::MalformedClaims, 8),
    ] {
        let (info, verdict) = cost(&verifier(), &token);
        assert_eq!(verdict, Err(error));
        assert!(
            (1..=most).contains(&info.count_total),
            "{error:?}: {info:?}"
        );
    }
}

/// Even a signed token costs little more than its length.
#[test]
fn token_of_the_greatest_length_holds_three_times_that_at_most() {
    let mut most = 0;
    for payload in [
        "[".repeat(6000),
        format!(r#"{{"exp":{}"#, "[".repeat(6000)),
        format!(r#"{{"aud":{}"#, r#"{"a":"#.repeat(1180)),
        format!(r#"{{"a":{}{}}}"#, "[".repeat(3000), "]".repeat(3000)),
        format!(r#"{{"exp":"{}"}}"#, r"\u0061".repeat(980)),
        format!(r#"{{"\u0061{}":1}}"#, "b".repeat(5900)),
        format!(r#"{{"exp":"\n{}"#, "b".repeat(5900)),
        format!(r#"{{"aud":[{}"x"]}}"#, r#""\n","#.repeat(1170)),
        format!("{{{}}}", vec![r#""\n":[]"#; 720].join(",")),
    ] {
        let token = with_payload(&payload);
        assert!(
            (7500..=8192).contains(&token.len()),
            "{payload:.20} {}",
            token.len()
        );
        let (info, _) = cost(&verifier(), &token);
        assert!(info.bytes_max <= MAX_BYTES, "{payload:.20}: {info:?}");
        assert_eq!(info.bytes_current, 0);
        most = most.max(info.bytes_max);
    }
    // Otherwise these tokens are not the worst case, and the bound is loose.
    assert!(most > MAX_BYTES / 2, "{most}");
}
