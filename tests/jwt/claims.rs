//! The claims set: the clock, issuer and audience, and what can be read from it afterwards.

use resource_server::jwt::{Error, NumericDate, Policy, VerifiedClaims, Verifier};
use serde_json::{Value, json};

use crate::support::{
    NOW, at, key, step, verdict, verdict_at, verdict_under, with_header, with_payload,
};

fn leeway(leeway: u16) -> Policy {
    Policy {
        leeway,
        ..Policy::default()
    }
}

fn times(token: &str, policy: &Policy, clock: &[(i64, u32)]) -> Vec<Result<(), Error>> {
    clock
        .iter()
        .map(|&(seconds, nanoseconds)| verdict_at(token, policy, at(seconds, nanoseconds)))
        .collect()
}

const EXPIRED: Result<(), Error> = Err(Error::Expired);
const TOO_LATE: Result<(), Error> = Err(Error::ExpirationTooLate);
const EARLY: Result<(), Error> = Err(Error::NotYetValid);

/// The error that names a time claim.
fn malformed(name: &str) -> Error {
    match name {
        "exp" => Error::MalformedExpiration,
        "nbf" => Error::MalformedNotBefore,
        "iat" => Error::MalformedIssuedAt,
        _ => panic!("{name} is not a time"),
    }
}

#[test]
fn token_at_its_expiration_second_is_rejected() {
    let token = with_payload(r#"{"exp":1700000000}"#);
    let clock = [(NOW - 1, 0), (NOW - 1, 999_999_000), (NOW, 0), (NOW + 1, 0)];
    assert_eq!(
        times(&token, &leeway(0), &clock),
        [Ok(()), Ok(()), EXPIRED, EXPIRED]
    );
}

#[test]
fn token_within_leeway_after_its_expiration_is_accepted() {
    let token = with_payload(r#"{"exp":1700000000}"#);
    for seconds in [1, 60, 300, u16::MAX] {
        let end = NOW + i64::from(seconds);
        let clock = [(NOW, 0), (end - 1, 0), (end, 0), (end + 1, 0)];
        assert_eq!(
            times(&token, &leeway(seconds), &clock),
            [Ok(()), Ok(()), EXPIRED, EXPIRED]
        );
    }
}

#[test]
fn token_with_a_fraction_in_exp_is_rejected_from_that_fraction_on() {
    let token = with_payload(r#"{"exp":1700000000.5}"#);
    let clock = [
        (NOW, 0),
        (NOW, 499_999_000),
        (NOW, 500_000_000),
        (NOW + 1, 0),
    ];
    assert_eq!(
        times(&token, &leeway(0), &clock),
        [Ok(()), Ok(()), EXPIRED, EXPIRED]
    );
    let clock = [(NOW + 2, 499_999_000), (NOW + 2, 500_000_000)];
    assert_eq!(times(&token, &leeway(2), &clock), [Ok(()), EXPIRED]);
}

#[test]
fn token_at_its_not_before_second_is_accepted() {
    let token = with_payload(r#"{"nbf":1700000000}"#);
    let clock = [(NOW - 1, 0), (NOW - 1, 999_999_000), (NOW, 0), (NOW + 1, 0)];
    assert_eq!(
        times(&token, &leeway(0), &clock),
        [EARLY, EARLY, Ok(()), Ok(())]
    );
}

#[test]
fn token_within_leeway_before_its_not_before_is_accepted() {
    let token = with_payload(r#"{"nbf":1700000000}"#);
    for seconds in [1, 60, 300, u16::MAX] {
        let start = NOW - i64::from(seconds);
        let clock = [(start - 1, 0), (start, 0), (start + 1, 0), (NOW, 0)];
        assert_eq!(
            times(&token, &leeway(seconds), &clock),
            [EARLY, Ok(()), Ok(()), Ok(())]
        );
    }
}

#[test]
fn token_with_a_fraction_in_nbf_is_accepted_from_that_fraction_on() {
    let token = with_payload(r#"{"nbf":1700000000.25}"#);
    let clock = [
        (NOW, 0),
        (NOW, 249_999_000),
        (NOW, 250_000_000),
        (NOW + 1, 0),
    ];
    assert_eq!(
        times(&token, &leeway(0), &clock),
        [EARLY, EARLY, Ok(()), Ok(())]
    );
    let clock = [(NOW - 2, 249_999_000), (NOW - 2, 250_000_000)];
    assert_eq!(times(&token, &leeway(2), &clock), [EARLY, Ok(())]);
}

/// Until 2038 a double represents seconds in steps of 2^-22, about a quarter of a microsecond.
#[test]
fn clock_a_quarter_of_a_microsecond_before_exp_is_before_it() {
    let token = with_payload(r#"{"exp":1700000000}"#);
    let clock = [(NOW - 1, 999_999_750), (NOW - 1, 999_999_950)];
    assert_eq!(times(&token, &leeway(0), &clock), [Ok(()), EXPIRED]);
}

#[test]
fn clock_before_1970_is_before_it() {
    let policy = leeway(0);
    let clock = [(-2, 0), (-1, 0), (0, 0)];
    let token = with_payload(r#"{"exp":-1}"#);
    assert_eq!(times(&token, &policy, &clock), [Ok(()), EXPIRED, EXPIRED]);
    let token = with_payload(r#"{"nbf":-1.0}"#);
    assert_eq!(times(&token, &policy, &clock), [EARLY, Ok(()), Ok(())]);
    let token = with_payload(r#"{"exp":0}"#);
    assert_eq!(times(&token, &policy, &clock), [Ok(()), Ok(()), EXPIRED]);
    assert!(at(-1, 0) < at(0, 0) && at(0, 0) < at(0, 1));
}

#[test]
fn token_with_times_in_any_json_number_form_is_read() {
    for exp in [
        "1700000001",
        "1700000000.5",
        "1.700000001e9",
        "17000000010E-1",
        "4102444800",
    ] {
        let token = with_payload(format!(r#"{{"exp":{exp},"nbf":0,"iat":-0.0}}"#));
        assert_eq!(verdict(&token), Ok(()), "{exp}");
    }
    for exp in [
        "1700000000",
        "1.7e9",
        "1700000000.0",
        "0",
        "-0",
        "-1",
        "1e-400",
        "-1e308",
    ] {
        let token = with_payload(format!(r#"{{"exp":{exp}}}"#));
        assert_eq!(verdict(&token), EXPIRED, "{exp}");
    }
}

#[test]
fn token_with_times_at_the_ends_of_the_number_range_is_compared_not_wrapped() {
    let farthest = [
        "9223372036854775807",
        "18446744073709551615",
        "1e20",
        "1.7976931348623157e308",
    ];
    for policy in [leeway(0), leeway(u16::MAX)] {
        for far in farthest {
            let exp = with_payload(format!(r#"{{"exp":{far}}}"#));
            assert_eq!(verdict_under(&exp, &policy), TOO_LATE, "{far}");
            let nbf = with_payload(format!(r#"{{"nbf":{far}}}"#));
            assert_eq!(verdict_under(&nbf, &policy), EARLY, "{far}");
        }
        for far in ["-9223372036854775808", "-1e20", "-1.7976931348623157e308"] {
            let exp = with_payload(format!(r#"{{"exp":{far}}}"#));
            assert_eq!(verdict_under(&exp, &policy), EXPIRED, "{far}");
            let nbf = with_payload(format!(r#"{{"nbf":{far}}}"#));
            assert_eq!(verdict_under(&nbf, &policy), Ok(()), "{far}");
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "slow, and no other code than in its neighbours")]
fn token_with_a_time_that_is_not_a_number_is_rejected() {
    for name in ["exp", "nbf", "iat"] {
        for value in [
            "null",
            "true",
            "false",
            r#""1800000000""#,
            r#""""#,
            r#""never""#,
            "[]",
            "[1800000000]",
            "{}",
            r#"{"$date":1800000000}"#,
        ] {
            for (policy, payload) in [
                (leeway(0), format!(r#"{{"{name}":{value}}}"#)),
                (
                    leeway(u16::MAX),
                    format!(r#"{{"{name}":1,"{name}":{value}}}"#),
                ),
            ] {
                assert_eq!(
                    verdict_under(&with_payload(&payload), &policy),
                    Err(malformed(name)),
                    "{payload}"
                );
            }
        }
    }
}

/// A token that expires at infinity would never expire.
#[test]
fn token_with_a_time_beyond_a_double_is_rejected() {
    for name in ["exp", "nbf", "iat"] {
        let digits = "9".repeat(400);
        for value in [
            "1e309",
            "-1e309",
            "1e400",
            "1e99999999999999999999",
            &digits,
        ] {
            let token = with_payload(format!(r#"{{"{name}":{value}}}"#));
            assert_eq!(verdict(&token), Err(malformed(name)), "{name} {value}");
        }
    }
}

/// A time in milliseconds would not expire for 50,000 years.
#[test]
fn token_that_expires_after_the_year_9999_is_rejected() {
    for policy in [leeway(0), leeway(u16::MAX)] {
        for (exp, expected) in [
            ("253402300799", Ok(())),
            ("253402300800", Ok(())),
            ("253402300800.0", Ok(())),
            ("2534023008e2", Ok(())),
            ("253402300800.5", TOO_LATE),
            ("253402300801", TOO_LATE),
            ("1700000000000", TOO_LATE),
            ("1699999400000", TOO_LATE),
        ] {
            let token = with_payload(format!(r#"{{"exp":{exp}}}"#));
            assert_eq!(verdict_under(&token, &policy), expected, "{exp}");
        }
    }
    let token = with_payload(r#"{"exp":253402300800}"#);
    let end = 253_402_300_800;
    let clock = [(end - 1, 0), (end, 0)];
    assert_eq!(times(&token, &leeway(0), &clock), [Ok(()), EXPIRED]);
    // Only `exp` has this bound.
    let token = with_payload(r#"{"nbf":1700000001000,"iat":1700000000000}"#);
    assert_eq!(verdict(&token), EARLY);
    let token = with_payload(r#"{"iat":1700000000000}"#);
    assert_eq!(verdict(&token), Ok(()));
}

/// RFC 7519 §4.1.6 does not reject a token by `iat`: an issuer's clock may be ahead.
#[test]
fn token_issued_in_the_future_is_accepted() {
    let token = with_payload(r#"{"iat":1800000000}"#);
    assert_eq!(verdict(&token), Ok(()));
}

#[test]
fn token_without_exp_is_rejected_only_where_it_is_required() {
    let requiring = Policy {
        require_exp: true,
        ..Policy::default()
    };
    for payload in [
        r#"{"sub":"alice"}"#,
        "{}",
        r#"{"Exp":1800000000}"#,
        r#"{"x":{"exp":1800000000}}"#,
    ] {
        let token = with_payload(payload);
        assert_eq!(verdict(&token), Ok(()), "{payload}");
        assert_eq!(
            verdict_under(&token, &requiring),
            Err(Error::MissingExpiration),
            "{payload}"
        );
    }
    let token = with_header(r#"{"alg":"HS256","exp":1800000000}"#);
    assert_eq!(
        verdict_under(&token, &requiring),
        Err(Error::MissingExpiration)
    );
    let token = with_payload(r#"{"exp":1800000000}"#);
    assert_eq!(verdict_under(&token, &requiring), Ok(()));
}

/// RFC 7519 §4: the last one counts. Names are compared after unescaping.
#[test]
fn token_with_a_claim_twice_is_validated_by_the_last() {
    let policy = Policy {
        issuer: Some("us".into()),
        audience: Some("us".into()),
        ..Policy::default()
    };
    let base = r#""iss":"us","aud":"us""#;
    for (members, expected) in [
        (r#""exp":1,"exp":1800000000"#, Ok(())),
        (r#""exp":"x","\u0065xp":1800000000"#, Ok(())),
        (r#""exp":1800000000,"exp":1"#, EXPIRED),
        (r#""exp":1800000000,"e\u0078p":1"#, EXPIRED),
        (
            r#""exp":1800000000,"exp":null"#,
            Err(Error::MalformedExpiration),
        ),
        (r#""exp":1e400,"exp":1800000000"#, Ok(())),
        (r#""nbf":1,"nbf":1800000000"#, EARLY),
        (r#""iat":1,"iat":"1""#, Err(Error::MalformedIssuedAt)),
        (r#""iss":"them""#, Err(Error::WrongIssuer)),
        (r#""is\u0073":"them""#, Err(Error::WrongIssuer)),
        (r#""iss":null,"iss":"us""#, Ok(())),
        (r#""aud":"them""#, Err(Error::WrongAudience)),
        (r#""aud":["us"],"aud":[]"#, Err(Error::EmptyAudience)),
        (r#""aud":null"#, Err(Error::MissingAudience)),
        (r#""aud":7,"\u0061ud":["us"]"#, Ok(())),
    ] {
        let payload = format!("{{{base},{members}}}");
        assert_eq!(
            verdict_under(&with_payload(&payload), &policy),
            expected,
            "{payload}"
        );
    }
}

fn issued_by(issuer: &str) -> Policy {
    Policy {
        issuer: Some(issuer.into()),
        ..Policy::default()
    }
}

#[test]
fn issuer_that_is_configured_must_be_equal_byte_for_byte() {
    let policy = issued_by("https://issuer.example/ä");
    for iss in [
        r#""https://issuer.example/ä""#,
        r#""https:\/\/issuer.example\/\u00e4""#,
    ] {
        let token = with_payload(format!(r#"{{"iss":{iss}}}"#));
        assert_eq!(verdict_under(&token, &policy), Ok(()), "{iss}");
    }
    for iss in [
        r#""https://issuer.example/""#,
        r#""https://issuer.example/ä/""#,
        r#""HTTPS://issuer.example/ä""#,
        // Decomposed: it looks the same, but has other bytes.
        r#""https://issuer.example/a\u0308""#,
        r#"" https://issuer.example/ä""#,
        r#""https://issuer.example/ä\u0000""#,
        r#""""#,
        "null",
        "true",
        "7",
        r#"["https://issuer.example/ä"]"#,
        r#"{"https://issuer.example/ä":1}"#,
        "1e400",
        r#""\ud800""#,
    ] {
        let token = with_payload(format!(r#"{{"iss":{iss}}}"#));
        assert_eq!(
            verdict_under(&token, &policy),
            Err(Error::WrongIssuer),
            "{iss}"
        );
    }
    assert_eq!(
        verdict_under(&with_payload("{}"), &policy),
        Err(Error::MissingIssuer)
    );
}

#[test]
fn issuer_that_is_not_configured_is_ignored() {
    for payload in [
        "{}",
        r#"{"iss":"another"}"#,
        r#"{"iss":7}"#,
        r#"{"iss":["a"]}"#,
        r#"{"iss":1e400}"#,
        r#"{"iss":"\ud800"}"#,
    ] {
        assert_eq!(verdict(&with_payload(payload)), Ok(()), "{payload}");
    }
}

fn meant_for(audience: &str) -> Policy {
    Policy {
        audience: Some(audience.into()),
        ..Policy::default()
    }
}

#[test]
fn audience_that_names_the_configured_one_is_accepted() {
    for aud in [
        r#""api""#,
        r#""\u0061pi""#,
        r#"["api"]"#,
        r#"["api","other"]"#,
        r#"["other","api"]"#,
        r#"[ "other" , "\u0061pi" , "" ]"#,
        r#"["api","api"]"#,
    ] {
        let token = with_payload(format!(r#"{{"aud":{aud}}}"#));
        assert_eq!(verdict_under(&token, &meant_for("api")), Ok(()), "{aud}");
    }
}

#[test]
fn audience_that_names_others_is_rejected() {
    for aud in [
        r#""other""#,
        r#""API""#,
        r#""api ""#,
        r#""ap""#,
        r#""apis""#,
        r#""api,other""#,
        r#""*""#,
        r#""""#,
        r#""\ud800""#,
        r#"["other"]"#,
        r#"["a","p","i"]"#,
        r#"["\ud800"]"#,
    ] {
        let token = with_payload(format!(r#"{{"aud":{aud}}}"#));
        assert_eq!(
            verdict_under(&token, &meant_for("api")),
            Err(Error::WrongAudience),
            "{aud}"
        );
    }
}

/// Some issuers write `null` for every registered claim that a token does not have.
#[test]
fn audience_that_is_absent_or_null_is_rejected_only_where_one_is_configured() {
    for payload in ["{}", r#"{"aud":null}"#, r#"{"aud":"api","aud": null }"#] {
        let token = with_payload(payload);
        assert_eq!(verdict(&token), Ok(()), "{payload}");
        assert_eq!(
            verdict_under(&token, &meant_for("api")),
            Err(Error::MissingAudience),
            "{payload}"
        );
    }
}

#[test]
fn audience_that_is_an_empty_array_is_rejected_with_a_configured_one_and_without() {
    for aud in ["[]", "[ ]", "[\n]"] {
        let token = with_payload(format!(r#"{{"aud":{aud}}}"#));
        for policy in [Policy::default(), meant_for("api"), meant_for("")] {
            assert_eq!(
                verdict_under(&token, &policy),
                Err(Error::EmptyAudience),
                "{aud}"
            );
        }
    }
}

/// Attack: type confusion. A value that is not a string or an array of strings names no audience,
/// even if the right name is somewhere in it.
#[test]
fn audience_of_another_type_around_the_right_name_is_rejected() {
    for aud in [
        r#"{"api":true}"#,
        r#"{"0":"api"}"#,
        r#"[["api"]]"#,
        r#"["api",["api"]]"#,
        r#"["api",7]"#,
        r#"[7,"api"]"#,
        r#"["api",null]"#,
        r#"["api",true]"#,
        r#"["api",{}]"#,
        r#"[{"api":"api"}]"#,
        r#"["api",1e400]"#,
        "[null]",
        "true",
        "7",
        "1e400",
        "{}",
    ] {
        let token = with_payload(format!(r#"{{"aud":{aud}}}"#));
        for policy in [Policy::default(), meant_for("api")] {
            assert_eq!(
                verdict_under(&token, &policy),
                Err(Error::MalformedAudience),
                "{aud}"
            );
        }
    }
}

#[test]
fn audience_where_none_is_configured_is_rejected() {
    for aud in [r#""api""#, r#""""#, r#"["api"]"#, r#"["a","b"]"#, r#"[""]"#] {
        let token = with_payload(format!(r#"{{"aud":{aud}}}"#));
        assert_eq!(verdict(&token), Err(Error::UnexpectedAudience), "{aud}");
    }
}

/// Cross-service confusion: one secret, two services. Only the audience distinguishes them.
#[test]
fn audience_of_another_service_with_the_same_secret_is_rejected() {
    let token = key().sign(r#"{"sub":"alice","aud":"billing"}"#);
    assert_eq!(verdict_under(&token, &meant_for("billing")), Ok(()));
    assert_eq!(
        verdict_under(&token, &meant_for("mail")),
        Err(Error::WrongAudience)
    );
    assert_eq!(verdict(&token), Err(Error::UnexpectedAudience));
}

#[test]
fn claims_that_decide_nothing_are_not_validated() {
    for payload in [
        r#"{"sub":12345}"#,
        r#"{"sub":null}"#,
        r#"{"sub":["a"]}"#,
        r#"{"sub":""}"#,
        r#"{"sub":"a\nb"}"#,
        r#"{"jti":7}"#,
        r#"{"jti":{"a":[]}}"#,
        r#"{"alg":"none"}"#,
        r#"{"EXP":1,"Nbf":1800000000,"AUD":"other"}"#,
        r#"{"nested":{"exp":1,"nbf":1800000000,"aud":"other"}}"#,
        r#"{"":0}"#,
        r#"{"admin":true,"roles":["a",{"b":[1,2,3]}]}"#,
        r#"{"sub":1e400,"scope":-1e400,"x":1e99999}"#,
        r#"{"sub":"\ud800","scope":["\udfff"]}"#,
        r#"{"iss":{"exp":1}}"#,
    ] {
        assert_eq!(verdict(&with_payload(payload)), Ok(()), "{payload}");
    }
}

#[test]
fn payload_that_is_not_utf8_is_rejected() {
    for bytes in [
        &b"\xff"[..],
        b"\x80",
        b"\xc3",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
    ] {
        let in_a_claim = [br#"{"x":""#, bytes, br#""}"#].concat();
        let after_the_object = [br#"{}"#, bytes].concat();
        for payload in [in_a_claim, after_the_object] {
            assert_eq!(
                verdict(&with_payload(&payload)),
                Err(Error::MalformedClaims),
                "{payload:x?}"
            );
        }
    }
    let utf16: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(verdict(&with_payload(utf16)), Err(Error::MalformedClaims));
}

/// Recursion would end the process here: 6,000 levels fit into a token.
#[test]
#[cfg_attr(miri, ignore = "slow, and no other code than in its neighbours")]
fn payload_nested_thousands_deep_gets_a_verdict() {
    let deep = format!("{}{}", "[".repeat(3000), "]".repeat(3000));
    for (payload, expected) in [
        ("[".repeat(6000), Err(Error::MalformedClaims)),
        (r#"{"a":"#.repeat(1200), Err(Error::MalformedClaims)),
        (
            format!(r#"{{"exp":{deep}}}"#),
            Err(Error::MalformedExpiration),
        ),
        (
            format!(r#"{{"aud":{deep}}}"#),
            Err(Error::MalformedAudience),
        ),
        (format!(r#"{{"sub":{deep}}}"#), Ok(())),
        (format!(r#"{{"scope":{deep}}}"#), Ok(())),
        (format!(r#"{{"private":{deep}}}"#), Ok(())),
    ] {
        assert_eq!(verdict(&with_payload(&payload)), expected, "{payload:.12}");
    }
    let header = format!(r#"{{"alg":"HS256","x":{deep}}}"#);
    assert_eq!(verdict(&with_header(header)), Ok(()));
    let header = format!(r#"{{"alg":{deep}}}"#);
    assert_eq!(verdict(&with_header(header)), Err(Error::WrongAlgorithm));
}

fn claims(payload: &str) -> VerifiedClaims {
    Verifier::new(key(), Policy::default())
        .verify(&with_payload(payload), at(NOW, 0))
        .expect("an acceptable token")
}

#[test]
fn subject_that_is_a_string_or_a_64_bit_integer_is_returned() {
    for (sub, expected) in [
        (r#""alice""#, "alice"),
        (r#""""#, ""),
        (r#""a\u00e4\n\ud83d\ude00""#, "aä\n😀"),
        ("0", "0"),
        ("42", "42"),
        ("-1", "-1"),
        ("18446744073709551615", "18446744073709551615"),
        ("-9223372036854775808", "-9223372036854775808"),
    ] {
        let claims = claims(&format!(r#"{{"sub":{sub}}}"#));
        assert_eq!(claims.subject().as_deref(), Some(expected), "{sub}");
    }
}

#[test]
fn subject_that_is_anything_else_is_not_returned() {
    for payload in [
        "{}",
        r#"{"sub":null}"#,
        r#"{"sub":true}"#,
        r#"{"sub":1.0}"#,
        r#"{"sub":1e3}"#,
        r#"{"sub":18446744073709551616}"#,
        r#"{"sub":-9223372036854775809}"#,
        r#"{"sub":["alice"]}"#,
        r#"{"sub":{"name":"alice"}}"#,
        r#"{"Sub":"alice"}"#,
        r#"{"x":{"sub":"alice"}}"#,
        r#"{"sub":"alice","sub":null}"#,
    ] {
        assert_eq!(claims(payload).subject(), None, "{payload}");
    }
}

#[test]
fn claim_that_is_present_is_returned_by_its_name() {
    let claims = claims(r#"{"a":1,"b":[true,null,"x"],"c":{"d":1.5},"\u0065":"f","":0,"n":null}"#);
    for (name, value) in [
        ("a", json!(1)),
        ("b", json!([true, null, "x"])),
        ("c", json!({"d": 1.5})),
        ("e", json!("f")),
        ("", json!(0)),
        ("n", Value::Null),
    ] {
        assert_eq!(claims.claim(name), Some(value), "{name}");
    }
    for name in ["d", "A", "x", r"\u0065", "alg"] {
        assert_eq!(claims.claim(name), None, "{name}");
    }
}

#[test]
fn claim_that_is_given_twice_is_returned_as_it_was_validated() {
    let claims = claims(r#"{"exp":1,"sub":"eve","ex\u0070":1800000000,"sub":"alice"}"#);
    assert_eq!(claims.claim("exp"), Some(json!(1_800_000_000)));
    assert_eq!(claims.subject().as_deref(), Some("alice"));
}

#[test]
fn subject_that_is_given_twice_is_the_last_whatever_the_first_is() {
    for first in ["null", "true", "1.5", r#"["eve"]"#, r#"{"name":"eve"}"#] {
        let claims = claims(&format!(r#"{{"sub":{first},"sub":"alice"}}"#));
        assert_eq!(claims.subject().as_deref(), Some("alice"), "{first}");
    }
}

#[test]
fn claim_that_no_value_holds_is_not_returned_and_hides_no_other() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    for odd in ["1e400", r#""\ud800""#, &nested(128)] {
        let claims = claims(&format!(r#"{{"odd":{odd},"sub":"alice"}}"#));
        // With `arbitrary_precision` in the build a `Value` holds any number.
        let is_held = odd == "1e400" && serde_json::from_str::<Value>(odd).is_ok();
        assert_eq!(claims.claim("odd").is_some(), is_held, "{odd}");
        assert_eq!(claims.subject().as_deref(), Some("alice"), "{odd}");
    }
    assert!(
        claims(&format!(r#"{{"odd":{}}}"#, nested(127)))
            .claim("odd")
            .is_some()
    );
}

#[test]
fn claims_set_is_returned_verbatim() {
    for payload in [
        "{}",
        " {\r\n\t\"sub\" : \"al\\u0069ce\" , \"n\" : 1.0e1 }\n",
        r#"{"a":1,"a":2,"ä":"😀"}"#,
    ] {
        assert_eq!(claims(payload).json(), payload);
    }
}

/// Both parts are decoded into one buffer, as large as the longer part.
#[test]
fn claims_set_of_any_length_is_decoded_whole_behind_headers_of_any_length() {
    let payload_lens = (9..150).chain([1000, 1021, 1022, 1023, 1024, 1025, 4096, 5900]);
    for payload_len in payload_lens.step_by(step(37)) {
        let payload = format!(r#"{{"p":"{}"}}"#, "x".repeat(payload_len - 8));
        let kid_lens = [0, 1, 2, 3, 4, 5, 31, 32, 33, 100];
        for kid_len in kid_lens.into_iter().step_by(step(4)) {
            let header = format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "k".repeat(kid_len));
            let token = key().sign_parts(header, &payload);
            let claims = Verifier::new(key(), Policy::default())
                .verify(&token, at(NOW, 0))
                .expect("an acceptable token");
            assert_eq!(claims.json(), payload);
        }
    }
}

#[test]
fn numeric_date_compares_as_the_times_do() {
    let dates: Vec<NumericDate> = [
        (-2, 0),
        (-2, 500_000_000),
        (-1, 0),
        (0, 0),
        (0, 1000),
        (NOW, 0),
        (NOW, 1000),
    ]
    .map(|(seconds, nanoseconds)| at(seconds, nanoseconds))
    .to_vec();
    assert!(
        dates.is_sorted_by(|earlier, later| earlier < later),
        "{dates:?}"
    );
}
