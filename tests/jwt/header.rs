//! The JOSE header: what it must say, what it must not, and what is ignored.

use resource_server::jwt::{Error, Key};

use crate::support::{base64url, from_base64url, signed, verdict, with_header, with_payload};

#[test]
fn header_with_alg_hs256_alone_is_accepted() {
    assert_eq!(verdict(&with_header(r#"{"alg":"HS256"}"#)), Ok(()));
}

#[test]
fn header_with_white_space_and_escapes_is_read_as_json() {
    for header in [
        "{\r\n \"alg\"\t:\t\"HS256\"\r\n}",
        " {\"alg\":\"HS256\"} ",
        r#"{"\u0061lg":"HS256"}"#,
        r#"{"alg":"\u0048S256"}"#,
    ] {
        assert_eq!(verdict(&with_header(header)), Ok(()), "{header}");
    }
}

#[test]
fn header_with_another_alg_is_rejected() {
    for alg in [
        r#""none""#,
        r#""None""#,
        r#""""#,
        r#""hs256""#,
        r#""HS256 ""#,
        r#""HS256\u0000""#,
        r#""HS25""#,
        r#""HS2566""#,
        r#""HS384""#,
        r#""HS512""#,
        r#""RS256""#,
        r#""ES256""#,
        r#""EdDSA""#,
        r#""dir""#,
        "256",
        "null",
        "true",
        r#"["HS256"]"#,
        r#"{"alg":"HS256"}"#,
    ] {
        let token = with_header(format!(r#"{{"alg":{alg}}}"#));
        assert_eq!(verdict(&token), Err(Error::WrongAlgorithm), "{alg}");
    }
}

#[test]
fn header_without_alg_is_rejected() {
    for header in [
        "{}",
        r#"{"ALG":"HS256"}"#,
        r#"{"Alg":"HS256"}"#,
        r#"{"alg ":"HS256"}"#,
        r#"{"typ":"HS256"}"#,
        r#"{"typ":{"alg":"HS256"}}"#,
    ] {
        assert_eq!(
            verdict(&with_header(header)),
            Err(Error::WrongAlgorithm),
            "{header}"
        );
    }
}

#[test]
fn header_with_alg_twice_is_validated_by_the_last() {
    for (header, expected) in [
        (r#"{"alg":"none","alg":"HS256"}"#, Ok(())),
        (r#"{"alg":null,"\u0061lg":"HS256"}"#, Ok(())),
        (
            r#"{"alg":"HS256","alg":"none"}"#,
            Err(Error::WrongAlgorithm),
        ),
        (
            r#"{"alg":"HS256","al\u0067":"HS512"}"#,
            Err(Error::WrongAlgorithm),
        ),
        (r#"{"alg":"HS256","alg":null}"#, Err(Error::WrongAlgorithm)),
    ] {
        assert_eq!(verdict(&with_header(header)), expected, "{header}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "slow, and no other code than in its neighbours")]
fn header_with_crit_or_b64_of_any_kind_is_rejected() {
    for name in ["crit", "b64", r"\u0063rit", r"b\u00364"] {
        for value in [
            "null",
            "true",
            "false",
            "0",
            "[]",
            r#"["exp"]"#,
            r#"["b64"]"#,
            "{}",
            r#""""#,
        ] {
            for header in [
                format!(r#"{{"alg":"HS256","{name}":{value}}}"#),
                format!(r#"{{"{name}":{value},"alg":"HS256"}}"#),
                format!(r#"{{"{name}":{value},"alg":"HS256","{name}":null}}"#),
            ] {
                assert_eq!(
                    verdict(&with_header(&header)),
                    Err(Error::CriticalExtension),
                    "{header}"
                );
            }
        }
    }
}

#[test]
fn header_with_crit_or_b64_elsewhere_than_as_a_name_is_accepted() {
    for header in [
        r#"{"alg":"HS256","kid":"crit"}"#,
        r#"{"alg":"HS256","x":{"crit":["b64"],"b64":false}}"#,
        r#"{"alg":"HS256","x":["crit","b64"]}"#,
        r#"{"alg":"HS256","Crit":["exp"],"B64":false}"#,
    ] {
        assert_eq!(verdict(&with_header(header)), Ok(()), "{header}");
    }
    assert_eq!(
        verdict(&with_payload(r#"{"crit":["b64"],"b64":false}"#)),
        Ok(())
    );
}

/// Explicit typing (RFC 8725 §3.11) is not supported: `typ` and `cty` are ignored.
#[test]
fn header_with_any_typ_or_cty_is_accepted() {
    for member in [
        r#""typ":"JWT""#,
        r#""typ":"at+jwt""#,
        r#""typ":"JWE""#,
        r#""typ":null"#,
        r#""typ":7"#,
        r#""typ":[]"#,
        r#""cty":"JWT""#,
        r#""cty":{}"#,
    ] {
        let header = format!(r#"{{"alg":"HS256",{member}}}"#);
        assert_eq!(verdict(&with_header(&header)), Ok(()), "{header}");
    }
}

/// Attacks: a path, a query or a command in `kid`; the attacker's own key in `jwk`, or a URL to
/// fetch it from in `jku` and `x5u`. Nothing is looked up, so nothing is rejected.
#[test]
fn header_that_names_a_key_changes_nothing() {
    for member in [
        r#""kid":"../../../../dev/null""#,
        r#""kid":"x' UNION SELECT 'secret';--""#,
        r#""kid":"| sleep 10""#,
        r#""kid":null"#,
        r#""kid":{"a":[]}"#,
        r#""jku":"https://attacker.example/jwks.json""#,
        r#""x5u":"https://attacker.example/cert.pem""#,
        r#""x5c":["MIIB"],"x5t":"AA","x5t#S256":"AA""#,
        r#""jwk":{"kty":"oct","k":"AAAA"}"#,
        r#""zip":"DEF","enc":"A256GCM""#,
    ] {
        let header = format!(r#"{{"alg":"HS256",{member}}}"#);
        assert_eq!(verdict(&with_header(&header)), Ok(()), "{header}");
    }
}

/// Signed with the very key that the header names: the attack itself.
#[test]
fn header_with_an_embedded_key_does_not_make_it_the_key() {
    let attackers = Key::new(&[0xA5; 32]).unwrap();
    let k = base64url([0xA5; 32]);
    for header in [
        format!(r#"{{"alg":"HS256","jwk":{{"kty":"oct","k":"{k}"}}}}"#),
        format!(r#"{{"alg":"HS256","kid":"{k}"}}"#),
    ] {
        let token = attackers.sign_parts(&header, "{}");
        assert_eq!(verdict(&token), Err(Error::WrongSignature), "{header}");
    }
    // `kid` names an empty file: an empty secret has the same MAC as a secret of zeros.
    let empty = Key::new(&[0]).unwrap();
    let token = empty.sign_parts(r#"{"alg":"HS256","kid":"/dev/null"}"#, "{}");
    assert_eq!(verdict(&token), Err(Error::WrongSignature));
}

/// What `header::COMMON` accepts without parsing, read from the source because the list is private.
fn common_headers() -> Vec<&'static str> {
    let source = include_str!("../../src/jwt/header.rs");
    let (_, list) = source.split_once("const COMMON: [&str; 3] = [").unwrap();
    let (list, _) = list.split_once("];").unwrap();
    list.lines()
        .filter_map(|line| line.split("//").next()?.split('"').nth(1))
        .collect()
}

/// A space after the object takes a header off the fast path and changes nothing else.
#[test]
fn header_accepted_as_text_is_also_accepted_as_json() {
    let common = common_headers();
    assert_eq!(common.len(), 3);
    for text in common {
        let header = String::from_utf8(from_base64url(text)).unwrap();
        assert_eq!(verdict(&with_header(&header)), Ok(()), "{header}");
        assert_eq!(
            verdict(&with_header(format!("{header} "))),
            Ok(()),
            "{header}"
        );
        let members: serde_json::Value = serde_json::from_str(&header).unwrap();
        let members = members.as_object().unwrap();
        assert_eq!(members["alg"], "HS256");
        assert!(
            members.keys().all(|name| name == "alg" || name == "typ"),
            "{header}"
        );
    }
}

/// The fast path compares the whole header, and skips no check of the payload.
#[test]
fn header_that_begins_or_ends_as_a_common_one_is_read() {
    for text in common_headers() {
        for header in [
            format!("{text}AAAA"),
            format!("AAAA{text}"),
            text[..16].to_owned(),
        ] {
            let token = signed(&format!("{header}.{}", base64url("{}")));
            assert_eq!(verdict(&token), Err(Error::MalformedHeader), "{header}");
        }
        let token = signed(&format!("{text}.{}", base64url("[]")));
        assert_eq!(verdict(&token), Err(Error::MalformedClaims), "{text}");
    }
}
