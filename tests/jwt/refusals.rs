//! Every reason for rejection, written by hand, and which of several comes first.

use resource_server::jwt::{Error, MAX_TOKEN_LEN, NumericDate, Policy, Verifier};

use crate::support::{
    NOW, at, base64url, from_base64url, key, rank, signed, verdict, verdict_at, with_header,
    with_payload, with_wrong_mac,
};

struct Refusal {
    /// What is wrong with the token.
    wrong: &'static str,
    token: String,
    policy: Policy,
    now: NumericDate,
    error: Error,
}

fn policy() -> Policy {
    Policy::default()
}

fn with_issuer() -> Policy {
    Policy {
        issuer: Some("https://issuer.example".into()),
        ..policy()
    }
}

fn with_audience() -> Policy {
    Policy {
        audience: Some("https://api.example".into()),
        ..policy()
    }
}

/// Correctly signed and valid at [`NOW`], with an expiration time and an issuer.
fn good() -> String {
    with_payload(r#"{"sub":"alice","exp":1700000060,"iss":"https://issuer.example"}"#)
}

fn refusals() -> Vec<Refusal> {
    let good = good();
    let parts: Vec<&str> = good.split('.').collect();
    let [header, payload, signature] = parts[..] else {
        panic!("three parts")
    };
    let refusal = |wrong, token, error| Refusal {
        wrong,
        token,
        policy: policy(),
        now: at(NOW, 0),
        error,
    };
    let under = |policy, wrong, token, error| Refusal {
        policy,
        ..refusal(wrong, token, error)
    };
    let requiring_exp = || Policy {
        require_exp: true,
        ..policy()
    };
    vec![
        refusal(
            "one byte too many, though signed",
            token_of(MAX_TOKEN_LEN + 1),
            Error::TooLong,
        ),
        refusal(
            "one byte too many, and no dot",
            "a".repeat(8193),
            Error::TooLong,
        ),
        refusal("no token at all", String::new(), Error::NotAJwt),
        refusal("a single dot", ".".into(), Error::NotThreeParts),
        refusal("nothing but two dots", "..".into(), Error::EmptyPart),
        refusal("a header alone", header.into(), Error::NotAJwt),
        refusal(
            "an opaque token",
            "2YotnFZFEjr1zCsicMWpAA".into(),
            Error::NotAJwt,
        ),
        refusal(
            "an opaque token with padding",
            "c2VjcmV0IQ==".into(),
            Error::NotAJwt,
        ),
        refusal(
            "no signature part",
            format!("{header}.{payload}"),
            Error::NotThreeParts,
        ),
        refusal(
            "an unsecured token: alg none, empty signature",
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.".into(),
            Error::NotHs256Signature,
        ),
        refusal(
            "a signature of 31 bytes",
            format!("{header}.{payload}.{}", base64url([0; 31])),
            Error::NotHs256Signature,
        ),
        refusal(
            "a signature of 33 bytes",
            format!("{header}.{payload}.{}", base64url([0; 33])),
            Error::NotHs256Signature,
        ),
        refusal(
            "a signature of 48 bytes, as HS384 has",
            format!("{header}.{payload}.{}", base64url([0; 48])),
            Error::NotHs256Signature,
        ),
        refusal(
            "a signature of 64 bytes, as HS512, ES256 and EdDSA have",
            format!("{header}.{payload}.{}", base64url([0; 64])),
            Error::NotHs256Signature,
        ),
        refusal(
            "a signature of 256 bytes, as RS256 has",
            format!("{header}.{payload}.{}", base64url([255; 256])),
            Error::NotHs256Signature,
        ),
        refusal(
            "the last character cut off",
            good[..good.len() - 1].into(),
            Error::NotHs256Signature,
        ),
        refusal(
            "the last two characters cut off, a length that no bytes have",
            good[..good.len() - 2].into(),
            Error::NotHs256Signature,
        ),
        refusal(
            "a character too many",
            format!("{good}A"),
            Error::NotHs256Signature,
        ),
        refusal(
            "two tildes after the signature, as an SD-JWT has",
            format!("{good}~WyJzIl0~"),
            Error::NotBase64url,
        ),
        refusal(
            "two parts, the MAC over the header alone",
            signed(header),
            Error::NotThreeParts,
        ),
        refusal(
            "four parts, the MAC over the first three",
            signed(&format!("{header}.{payload}.{payload}")),
            Error::NotThreeParts,
        ),
        refusal(
            "five parts, as an encrypted token has (RFC 7516)",
            signed(&format!("{header}.{payload}.{payload}.{payload}")),
            Error::Encrypted,
        ),
        refusal(
            "five parts without an encrypted key, as `dir` has",
            "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..AAAA.AAAA.AAAA".into(),
            Error::Encrypted,
        ),
        refusal(
            "six parts",
            format!("{header}.{payload}.{payload}.{payload}.{payload}.{signature}"),
            Error::NotThreeParts,
        ),
        refusal(
            "a dot too many after the payload",
            signed(&format!("{header}.{payload}.")),
            Error::NotThreeParts,
        ),
        refusal(
            "the JSON serialization",
            format!(
                r#"{{"protected":"{header}","payload":"{payload}","signature":"{signature}"}}"#
            ),
            Error::NotAJwt,
        ),
        refusal(
            "an emoji where the dot before the signature belongs",
            format!("{header}.{payload}\u{1f600}{signature}"),
            Error::NotThreeParts,
        ),
        refusal(
            "an empty header, signed",
            signed(&format!(".{payload}")),
            Error::EmptyPart,
        ),
        refusal(
            "an empty payload, signed",
            signed(&format!("{header}.")),
            Error::EmptyPart,
        ),
        refusal("both empty, signed", signed("."), Error::EmptyPart),
        refusal(
            "padding after the header, signed",
            signed(&format!("{}==.{payload}", base64url(r#"{"alg":"HS256"} "#))),
            Error::Padding,
        ),
        refusal(
            "padding after the header, added after signing",
            format!("{header}=.{payload}.{signature}"),
            Error::Padding,
        ),
        refusal(
            "padding after the payload, signed",
            signed(&format!("{header}.{payload}=")),
            Error::Padding,
        ),
        refusal(
            "padding after the payload, added after signing",
            format!("{header}.{payload}==.{signature}"),
            Error::Padding,
        ),
        refusal(
            "padding after the signature",
            format!("{good}="),
            Error::Padding,
        ),
        refusal(
            "padding after all three",
            format!("{header}==.{payload}=.{signature}="),
            Error::Padding,
        ),
        refusal(
            "padding after the signature of another algorithm",
            format!("{header}.{payload}.{}==", base64url([0; 64])),
            Error::Padding,
        ),
        refusal(
            "the standard alphabet in the payload, signed",
            signed(&format!("{header}.{}+/8", base64url("{}x"))),
            Error::NotBase64url,
        ),
        refusal(
            "a space after the payload, signed",
            signed(&format!("{header}.{payload} ")),
            Error::NotBase64url,
        ),
        refusal(
            "unused bits set in the header (AB for the byte 00), signed",
            signed(&format!("AB.{payload}")),
            Error::NotBase64url,
        ),
        refusal(
            "a header of one character, signed",
            signed(&format!("A.{payload}")),
            Error::NotBase64url,
        ),
        refusal(
            "a letter outside ASCII in the payload, signed",
            signed(&format!("{header}.é{payload}")),
            Error::NotBase64url,
        ),
        refusal(
            "a dot inside the signature, of which 43 characters are left",
            format!(
                "{header}.{payload}.{}.{}",
                &signature[..20],
                &signature[21..]
            ),
            Error::NotThreeParts,
        ),
        refusal(
            "unused bits set in the signature",
            with_unused_bits_in_the_signature(&good),
            Error::NotBase64url,
        ),
        refusal(
            "the last bit of the MAC flipped",
            with_wrong_mac(&good),
            Error::WrongSignature,
        ),
        refusal(
            "the first bit of the MAC flipped",
            format!("{header}.{payload}.{}", {
                let mut mac = from_base64url(signature);
                mac[0] ^= 0x80;
                base64url(mac)
            }),
            Error::WrongSignature,
        ),
        refusal(
            "the payload of another token under this signature",
            format!("{header}.{}.{signature}", base64url(r#"{"sub":"admin"}"#)),
            Error::WrongSignature,
        ),
        refusal(
            "a MAC of zeros",
            format!("{header}.{payload}.{}", base64url([0; 32])),
            Error::WrongSignature,
        ),
        refusal(
            "a header that is no JSON",
            with_header("HS256"),
            Error::MalformedHeader,
        ),
        refusal(
            "an array for a header: a derived struct would read it",
            with_header(r#"["HS256"]"#),
            Error::MalformedHeader,
        ),
        refusal(
            "null for a header",
            with_header("null"),
            Error::MalformedHeader,
        ),
        refusal(
            "text after the header's object",
            with_header(r#"{"alg":"HS256"}x"#),
            Error::MalformedHeader,
        ),
        refusal(
            "a second object after the header's",
            with_header(r#"{"alg":"HS256"}{"alg":"HS256"}"#),
            Error::MalformedHeader,
        ),
        refusal(
            "a byte FF in a header parameter: not UTF-8",
            with_header(b"{\"alg\":\"HS256\",\"kid\":\"\xff\"}"),
            Error::MalformedHeader,
        ),
        refusal(
            "a byte order mark before the header",
            with_header("\u{feff}{\"alg\":\"HS256\"}"),
            Error::MalformedHeader,
        ),
        refusal(
            "no alg",
            with_header(r#"{"typ":"JWT"}"#),
            Error::WrongAlgorithm,
        ),
        refusal(
            "alg none",
            with_header(r#"{"alg":"none"}"#),
            Error::WrongAlgorithm,
        ),
        refusal(
            "alg HS512",
            with_header(r#"{"alg":"HS512"}"#),
            Error::WrongAlgorithm,
        ),
        refusal(
            "alg RS256, with this MAC: key confusion",
            with_header(r#"{"alg":"RS256"}"#),
            Error::WrongAlgorithm,
        ),
        refusal(
            "alg in lower case",
            with_header(r#"{"alg":"hs256"}"#),
            Error::WrongAlgorithm,
        ),
        refusal(
            "alg is an array",
            with_header(r#"{"alg":["HS256"]}"#),
            Error::WrongAlgorithm,
        ),
        refusal(
            "crit of a known name",
            with_header(r#"{"alg":"HS256","crit":["exp"],"exp":1}"#),
            Error::CriticalExtension,
        ),
        refusal(
            "an empty crit",
            with_header(r#"{"alg":"HS256","crit":[]}"#),
            Error::CriticalExtension,
        ),
        refusal(
            "b64 true, which is the default",
            with_header(r#"{"alg":"HS256","b64":true}"#),
            Error::CriticalExtension,
        ),
        refusal(
            "a payload that is no JSON",
            with_payload("alice"),
            Error::MalformedClaims,
        ),
        refusal(
            "an array for a payload",
            with_payload("[]"),
            Error::MalformedClaims,
        ),
        refusal(
            "an object cut short",
            with_payload(r#"{"sub":"alice""#),
            Error::MalformedClaims,
        ),
        refusal(
            "text after the payload's object",
            with_payload(r#"{"sub":"alice"},"#),
            Error::MalformedClaims,
        ),
        refusal(
            "a byte FF in a claim: not UTF-8",
            with_payload(b"{\"sub\":\"\xff\"}"),
            Error::MalformedClaims,
        ),
        refusal(
            "a number that JSON does not have",
            with_payload(r#"{"exp":NaN}"#),
            Error::MalformedClaims,
        ),
        refusal(
            "exp is a string",
            with_payload(r#"{"exp":"1700000060"}"#),
            Error::MalformedExpiration,
        ),
        refusal(
            "exp is beyond a double",
            with_payload(r#"{"exp":1e400}"#),
            Error::MalformedExpiration,
        ),
        refusal(
            "nbf is null",
            with_payload(r#"{"nbf":null}"#),
            Error::MalformedNotBefore,
        ),
        refusal(
            "iat is an array",
            with_payload(r#"{"iat":[1]}"#),
            Error::MalformedIssuedAt,
        ),
        refusal(
            "exp in milliseconds",
            with_payload(r#"{"exp":1700000060000}"#),
            Error::ExpirationTooLate,
        ),
        under(
            requiring_exp(),
            "no exp where it is required",
            with_payload(r#"{"sub":"alice"}"#),
            Error::MissingExpiration,
        ),
        refusal(
            "exp is now",
            with_payload(r#"{"exp":1700000000}"#),
            Error::Expired,
        ),
        refusal(
            "nbf is one second ahead",
            with_payload(r#"{"nbf":1700000001}"#),
            Error::NotYetValid,
        ),
        under(
            with_issuer(),
            "no iss",
            with_payload("{}"),
            Error::MissingIssuer,
        ),
        under(
            with_issuer(),
            "another iss",
            with_payload(r#"{"iss":"https://issuer.example/"}"#),
            Error::WrongIssuer,
        ),
        under(
            with_audience(),
            "no aud",
            with_payload("{}"),
            Error::MissingAudience,
        ),
        under(
            with_audience(),
            "aud is null",
            with_payload(r#"{"aud":null}"#),
            Error::MissingAudience,
        ),
        under(
            with_audience(),
            "aud is an object",
            with_payload(r#"{"aud":{"https://api.example":1}}"#),
            Error::MalformedAudience,
        ),
        refusal(
            "aud is a number, and none is configured",
            with_payload(r#"{"aud":7}"#),
            Error::MalformedAudience,
        ),
        under(
            with_audience(),
            "an empty array for aud",
            with_payload(r#"{"aud":[]}"#),
            Error::EmptyAudience,
        ),
        refusal(
            "an empty array for aud, and none is configured",
            with_payload(r#"{"aud":[]}"#),
            Error::EmptyAudience,
        ),
        under(
            with_audience(),
            "another aud",
            with_payload(r#"{"aud":"https://other.example"}"#),
            Error::WrongAudience,
        ),
        refusal(
            "an aud, and none is configured",
            with_payload(r#"{"aud":"https://api.example"}"#),
            Error::UnexpectedAudience,
        ),
    ]
}

/// A correctly signed token of exactly `len` bytes. No payload makes a token of 4n + 2 bytes.
fn token_of(len: usize) -> String {
    let payload_len = len - 20 - 2 - 43;
    let claims = format!(
        r#"{{"p":"{}"}}"#,
        "x".repeat(payload_len / 4 * 3 + payload_len % 4 * 3 / 4 - 8)
    );
    let token = signed(&format!(
        "{}.{}",
        base64url(r#"{"alg":"HS256"}"#),
        base64url(claims)
    ));
    assert_eq!(token.len(), len);
    token
}

fn with_unused_bits_in_the_signature(token: &str) -> String {
    let (rest, last) = token.split_at(token.len() - 1);
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let place = alphabet
        .iter()
        .position(|&letter| letter == last.as_bytes()[0])
        .unwrap();
    format!("{rest}{}", char::from(alphabet[place + 1]))
}

#[test]
fn refusal_names_the_first_broken_rule() {
    for refusal in refusals() {
        let verdict = verdict_at(&refusal.token, &refusal.policy, refusal.now);
        assert_eq!(verdict, Err(refusal.error), "{}", refusal.wrong);
    }
}

#[test]
fn rejected_tokens_break_one_rule_of_an_accepted_token() {
    assert_eq!(verdict_at(&good(), &with_issuer(), at(NOW, 0)), Ok(()));
}

#[test]
#[cfg_attr(miri, ignore = "slow, and no other code than in its neighbours")]
fn every_error_is_the_verdict_on_a_rejected_token() {
    let refusals = refusals();
    for error in Error::ALL {
        assert!(
            refusals.iter().any(|refusal| refusal.error == error),
            "{error:?} is in no row"
        );
    }
}

/// The same variants again. The compiler checks that the match is complete.
#[test]
fn every_error_stands_in_all_once_and_in_the_order_of_the_checks() {
    for (place, error) in Error::ALL.into_iter().enumerate() {
        let expected = match error {
            Error::TooLong => 0,
            Error::NotAJwt => 1,
            Error::NotThreeParts => 2,
            Error::Encrypted => 3,
            Error::EmptyPart => 4,
            Error::Padding => 5,
            Error::NotHs256Signature => 6,
            Error::NotBase64url => 7,
            Error::WrongSignature => 8,
            Error::MalformedHeader => 9,
            Error::WrongAlgorithm => 10,
            Error::CriticalExtension => 11,
            Error::MalformedClaims => 12,
            Error::MalformedExpiration => 13,
            Error::MalformedNotBefore => 14,
            Error::MalformedIssuedAt => 15,
            Error::MissingExpiration => 16,
            Error::ExpirationTooLate => 17,
            Error::Expired => 18,
            Error::NotYetValid => 19,
            Error::MissingIssuer => 20,
            Error::WrongIssuer => 21,
            Error::MissingAudience => 22,
            Error::MalformedAudience => 23,
            Error::EmptyAudience => 24,
            Error::WrongAudience => 25,
            Error::UnexpectedAudience => 26,
        };
        assert_eq!(place, expected, "{error:?}");
    }
}

/// No unauthenticated byte reaches the JSON parser. Without the secret no client learns the verdict
/// on the header or the claims.
#[test]
#[cfg_attr(miri, ignore = "slow, and no other code than in its neighbours")]
fn token_with_a_wrong_mac_reveals_nothing_of_its_content() {
    let mut checked = 0;
    for refusal in refusals() {
        if rank(refusal.error) > rank(Error::WrongSignature) {
            let forged = with_wrong_mac(&refusal.token);
            let verdict = verdict_at(&forged, &refusal.policy, refusal.now);
            assert_eq!(verdict, Err(Error::WrongSignature), "{}", refusal.wrong);
            checked += 1;
        }
    }
    assert!(checked >= 30, "{checked}");
}

#[test]
fn token_with_a_wrong_mac_and_broken_json_is_reported_as_a_wrong_signature() {
    let token = signed(&format!("{}.{}", base64url("{{{"), base64url("]]]")));
    assert_eq!(verdict(&token), Err(Error::MalformedHeader));
    assert_eq!(verdict(&with_wrong_mac(&token)), Err(Error::WrongSignature));
}

/// The base64url or the MAC may be reported first. The number of parts is reported before both.
#[test]
fn token_that_breaks_two_rules_of_form_is_rejected_for_the_first() {
    let zeros = base64url([0; 32]);
    for (token, first) in [
        (format!(".{}", "!".repeat(9000)), Error::TooLong),
        (format!("é.é.é.{zeros}"), Error::NotThreeParts),
        ("é=".into(), Error::NotAJwt),
        ("....=".into(), Error::Encrypted),
        (format!("=..{zeros}"), Error::EmptyPart),
        (format!("=!.AA.{zeros}"), Error::Padding),
        (format!("!.AA.{}", &zeros[1..]), Error::NotHs256Signature),
        (format!(".!.{zeros}"), Error::EmptyPart),
        (format!("!..{zeros}"), Error::EmptyPart),
    ] {
        assert_eq!(verdict(&token), Err(first), "{token:.40}");
    }
}

/// Rule 2 comes before rule 4, even if the MAC is correct.
#[test]
fn payload_that_is_not_base64url_is_reported_before_the_header_is_validated() {
    for header in [
        "no JSON",
        r#"{"alg":"none"}"#,
        r#"{"alg":"HS256","crit":[]}"#,
    ] {
        for (payload, error) in [("A!", Error::NotBase64url), ("AA==", Error::Padding)] {
            let token = signed(&format!("{}.{payload}", base64url(header)));
            assert_eq!(verdict(&token), Err(error), "{header}");
        }
    }
}

#[test]
fn token_with_faults_in_header_and_claims_is_rejected_for_the_header() {
    let token = key().sign_parts("no JSON", "no JSON");
    assert_eq!(verdict(&token), Err(Error::MalformedHeader));
    let token = key().sign_parts(r#"{"alg":"none","crit":["x"]}"#, "no JSON");
    assert_eq!(verdict(&token), Err(Error::WrongAlgorithm));
    let token = key().sign_parts(r#"{"alg":"HS256","crit":["x"]}"#, r#"{"exp":1}"#);
    assert_eq!(verdict(&token), Err(Error::CriticalExtension));
}

/// A time, an issuer and an audience in every combination of right, wrong and absent, under every
/// policy: the verdict is the first broken rule in a list that follows the rules, not the code.
#[test]
#[cfg_attr(miri, ignore = "takes minutes")]
fn claims_that_break_several_rules_are_rejected_for_the_first() {
    const RIGHT: &str = r#""right""#;
    let mut accepted = 0;
    let exps = [
        "",
        "1699999999",
        "1700000000",
        "1700000001",
        "1700000001000",
        "null",
    ];
    for exp in exps {
        for nbf in ["", "1700000000", "1700000001", "1700000002", r#""""#] {
            for iat in ["", "1800000000", "true"] {
                for iss in ["", RIGHT, r#""wrong""#, "7"] {
                    for aud in [
                        "",
                        "null",
                        RIGHT,
                        r#"["x","right"]"#,
                        r#"["x"]"#,
                        r#"["right",7]"#,
                        "[]",
                    ] {
                        let members: Vec<String> = [
                            ("aud", aud),
                            ("iss", iss),
                            ("iat", iat),
                            ("nbf", nbf),
                            ("exp", exp),
                        ]
                        .into_iter()
                        .filter(|(_, value)| !value.is_empty())
                        .map(|(name, value)| format!(r#""{name}":{value}"#))
                        .collect();
                        let token = key().sign(&format!("{{{}}}", members.join(",")));
                        for mask in 0..16_u16 {
                            let configured =
                                |bit: u16| (mask & bit != 0).then(|| String::from("right"));
                            let policy = Policy {
                                issuer: configured(1),
                                audience: configured(2),
                                leeway: (mask & 4) / 4,
                                require_exp: mask & 8 != 0,
                                ..Policy::default()
                            };
                            let leeway = i64::from(policy.leeway);
                            let mut broken = Vec::new();
                            if exp == "null" {
                                broken.push(Error::MalformedExpiration);
                            }
                            if nbf == r#""""# {
                                broken.push(Error::MalformedNotBefore);
                            }
                            if iat == "true" {
                                broken.push(Error::MalformedIssuedAt);
                            }
                            if exp.is_empty() && policy.require_exp {
                                broken.push(Error::MissingExpiration);
                            }
                            if exp == "1700000001000" {
                                broken.push(Error::ExpirationTooLate);
                            }
                            if exp.parse().is_ok_and(|exp: i64| NOW >= exp + leeway) {
                                broken.push(Error::Expired);
                            }
                            if nbf.parse().is_ok_and(|nbf: i64| NOW < nbf - leeway) {
                                broken.push(Error::NotYetValid);
                            }
                            if policy.issuer.is_some() && iss.is_empty() {
                                broken.push(Error::MissingIssuer);
                            }
                            if policy.issuer.is_some() && iss != RIGHT {
                                broken.push(Error::WrongIssuer);
                            }
                            match (aud, policy.audience.is_some()) {
                                ("" | "null", true) => broken.push(Error::MissingAudience),
                                ("" | "null", false) => {}
                                (r#"["right",7]"#, _) => broken.push(Error::MalformedAudience),
                                ("[]", _) => broken.push(Error::EmptyAudience),
                                (_, false) => broken.push(Error::UnexpectedAudience),
                                (r#"["x"]"#, true) => broken.push(Error::WrongAudience),
                                (_, true) => {}
                            }
                            let expected = broken.first().map_or(Ok(()), |&error| Err(error));
                            let verdict = Verifier::new(key(), policy.clone())
                                .verify(&token, at(NOW, 0))
                                .map(drop);
                            assert_eq!(verdict, expected, "{members:?} under {policy:?}");
                            accepted += u32::from(verdict.is_ok());
                        }
                    }
                }
            }
        }
    }
    assert!(accepted > 500, "{accepted}");
}

#[test]
fn token_of_8192_bytes_is_accepted_and_of_8193_rejected() {
    assert_eq!(MAX_TOKEN_LEN, 8192);
    assert_eq!(verdict(&token_of(8191)), Ok(()));
    assert_eq!(verdict(&token_of(8192)), Ok(()));
    assert_eq!(verdict(&token_of(8193)), Err(Error::TooLong));
}
