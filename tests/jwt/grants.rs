//! The user and the scopes: which claim has them, and how it is read.

use std::borrow::Cow;

use resource_server::jwt::{NoUser, Policy, VerifiedClaims, Verifier};

use crate::support::{NOW, at, key, with_payload};

fn claims_under(policy: Policy, payload: &str) -> VerifiedClaims {
    Verifier::new(key(), policy)
        .verify(&with_payload(payload), at(NOW, 0))
        .expect("an acceptable token")
}

fn claims(payload: &str) -> VerifiedClaims {
    claims_under(Policy::default(), payload)
}

fn user_claim(name: &str) -> Policy {
    Policy {
        user_claim: name.into(),
        ..Policy::default()
    }
}

fn scope_claim(name: &str) -> Policy {
    Policy {
        scope_claim: name.into(),
        ..Policy::default()
    }
}

#[test]
fn default_policy_reads_the_user_from_sub_and_the_scopes_from_scope() {
    let policy = Policy::default();
    assert_eq!(
        (&*policy.user_claim, &*policy.scope_claim),
        ("sub", "scope")
    );
    let claims = claims(r#"{"sub":"alice","scope":"read","scp":"write","user":"eve"}"#);
    assert_eq!(claims.user().as_deref(), Ok("alice"));
    assert!(claims.grants("read") && !claims.grants("write"));
}

#[test]
fn user_that_is_a_string_is_returned_verbatim() {
    for (value, user) in [
        (r#""alice""#, "alice"),
        (r#""""#, ""),
        (r#"" alice ""#, " alice "),
        (r#""4""#, "4"),
        (r#""4.0""#, "4.0"),
        (r#""null""#, "null"),
        (r#""a\u00e4\n\ud83d\ude00\"\\""#, "aä\n😀\"\\"),
        (r#""Zoë""#, "Zoë"),
    ] {
        let claims = claims(&format!(r#"{{"sub":{value}}}"#));
        assert_eq!(claims.user().as_deref(), Ok(user), "{value}");
        assert_eq!(claims.subject().as_deref(), Some(user), "{value}");
    }
}

#[test]
fn user_that_is_an_integer_is_returned_in_decimal() {
    for (value, user) in [
        ("0", "0"),
        ("-0", "0"),
        ("4", "4"),
        ("-1", "-1"),
        ("9007199254740993", "9007199254740993"),
        ("9223372036854775808", "9223372036854775808"),
        ("18446744073709551615", "18446744073709551615"),
        ("-9223372036854775808", "-9223372036854775808"),
    ] {
        let claims = claims(&format!(r#"{{"sub": {value} }}"#));
        assert_eq!(claims.user().as_deref(), Ok(user), "{value}");
        assert_eq!(claims.subject().as_deref(), Some(user), "{value}");
    }
}

#[test]
fn user_that_is_anything_else_is_unusable_and_not_absent() {
    let digits = "9".repeat(300);
    for value in [
        "null",
        "true",
        "false",
        "1.0",
        "-0.0",
        "1e3",
        "1E0",
        "18446744073709551616",
        "-9223372036854775809",
        "1e400",
        &digits,
        "[]",
        r#"["alice"]"#,
        "{}",
        r#"{"sub":"alice"}"#,
        r#"{"$serde_json::private::Number":"4"}"#,
        r#"{"$serde_json::private::RawValue":"4"}"#,
        r#""\ud800""#,
        r#""alice\udc00""#,
    ] {
        let claims = claims(&format!(r#"{{"sub":{value}}}"#));
        assert_eq!(claims.user(), Err(NoUser::Unusable), "{value}");
        assert_eq!(claims.subject(), None, "{value}");
    }
}

#[test]
fn user_without_its_claim_is_absent() {
    for payload in [
        "{}",
        r#"{"Sub":"alice"}"#,
        r#"{"sub ":"alice"}"#,
        r#"{"x":{"sub":"alice"}}"#,
        r#"{"":"alice"}"#,
    ] {
        assert_eq!(claims(payload).user(), Err(NoUser::Absent), "{payload}");
    }
}

/// A name is a name: no path, no case folding.
#[test]
fn user_claim_is_a_literal_name_at_the_top() {
    for (name, payload, user) in [
        ("user_id", r#"{"sub":"eve","user_id":4}"#, Ok("4")),
        ("a.b", r#"{"a":{"b":"eve"},"a.b":"alice"}"#, Ok("alice")),
        ("a.b", r#"{"a":{"b":"eve"}}"#, Err(NoUser::Absent)),
        (
            "https://example.com/user",
            r#"{"https:\/\/example.com\/user":"alice"}"#,
            Ok("alice"),
        ),
        ("ä", r#"{"\u00e4":"alice"}"#, Ok("alice")),
        ("Role", r#"{"role":"eve"}"#, Err(NoUser::Absent)),
        ("", r#"{"":"alice"}"#, Ok("alice")),
        (r"\u0061", r#"{"a":"eve"}"#, Err(NoUser::Absent)),
    ] {
        let claims = claims_under(user_claim(name), payload);
        assert_eq!(claims.user(), user.map(Cow::Borrowed), "{name} {payload}");
    }
}

/// Any claim will do, even one that a rule reads, or the same one for both.
#[test]
fn user_and_scopes_may_be_any_claims() {
    for (name, user) in [
        ("exp", Ok("1800000000")),
        ("nbf", Ok("-5")),
        ("iat", Err(NoUser::Unusable)),
        ("iss", Ok("us")),
        ("aud", Err(NoUser::Unusable)),
    ] {
        let policy = Policy {
            issuer: Some("us".into()),
            audience: Some("them".into()),
            scope_claim: name.into(),
            ..user_claim(name)
        };
        let claims = claims_under(
            policy,
            r#"{"exp":1800000000,"nbf":-5,"iat":1.5,"iss":"us","aud":["you","them"]}"#,
        );
        assert_eq!(claims.user(), user.map(Cow::Borrowed), "{name}");
        assert_eq!(claims.grants("us"), name == "iss");
        assert_eq!(claims.grants("you"), name == "aud");
    }
    let policy = Policy {
        scope_claim: "role".into(),
        ..user_claim("role")
    };
    let claims = claims_under(policy, r#"{"role":"admin"}"#);
    assert_eq!(claims.user().as_deref(), Ok("admin"));
    assert!(claims.grants("admin"));
}

#[test]
fn user_and_scopes_given_twice_are_the_last() {
    for first in [
        "null",
        "1.5",
        r#""eve""#,
        r#"["eve"]"#,
        r#"{"name":"eve"}"#,
        "1e400",
    ] {
        for name in ["sub", r"s\u0075b"] {
            let claims = claims(&format!(
                r#"{{"sub":{first},"scope":{first},"{name}":"alice","sc\u006fpe":"read"}}"#
            ));
            assert_eq!(claims.user().as_deref(), Ok("alice"), "{first}");
            assert!(claims.grants("read") && !claims.grants("eve"), "{first}");
        }
    }
    let claims = claims(r#"{"sub":"eve","scope":"admin","sub":null,"scope":null}"#);
    assert_eq!(claims.user(), Err(NoUser::Unusable));
    assert!(!claims.grants("admin"));
}

#[test]
fn scopes_in_a_string_are_separated_by_spaces() {
    let claims = claims(r#"{"scope":"openid  read:items read\u0020x a+b write/all ä \u00e9 "}"#);
    for scope in [
        "openid",
        "read:items",
        "read",
        "x",
        "a+b",
        "write/all",
        "ä",
        "é",
    ] {
        assert!(claims.grants(scope), "{scope}");
    }
    for scope in [
        "",
        " ",
        "open",
        "items",
        "read:item",
        "READ",
        "openid  read:items",
        "read x",
        "openid ",
        "a",
        "write",
    ] {
        assert!(!claims.grants(scope), "{scope}");
    }
}

/// RFC 6749 §3.3 has no other separator.
#[test]
fn scopes_in_a_string_are_separated_by_nothing_but_spaces() {
    for separator in [",", r"\t", r"\n", ";", "+", "|", r"\u00a0", r"\u2003"] {
        let claims = claims(&format!(r#"{{"scope":"read{separator}write"}}"#));
        assert!(
            !claims.grants("read") && !claims.grants("write"),
            "{separator}"
        );
    }
}

#[test]
fn scopes_in_an_array_are_granted_whole() {
    let claims = claims(r#"{"scope":["read", "w\u0072ite" ,"two words","",""," "]}"#);
    for scope in ["read", "write", "two words", " "] {
        assert!(claims.grants(scope), "{scope}");
    }
    for scope in ["two", "words", "", "re", "READ", r"w\u0072ite"] {
        assert!(!claims.grants(scope), "{scope}");
    }
}

#[test]
fn scopes_in_an_array_with_anything_but_strings_grant_nothing() {
    for value in [
        r#"["read",1]"#,
        r#"[1,"read"]"#,
        r#"["read",null]"#,
        r#"["read",["read"]]"#,
        r#"[["read"]]"#,
        r#"["read",{}]"#,
        r#"["read",true,"read"]"#,
        r#"["read",1e400]"#,
        "[]",
    ] {
        let claims = claims(&format!(r#"{{"scope":{value}}}"#));
        assert!(!claims.grants("read"), "{value}");
    }
}

#[test]
fn scopes_that_are_neither_a_string_nor_an_array_grant_nothing() {
    for value in [
        "null",
        "true",
        "1",
        "1e400",
        "{}",
        r#"{"read":true}"#,
        r#"{"0":"read"}"#,
        r#""\ud800 read""#,
        r#""""#,
        r#"{"$serde_json::private::RawValue":"\"read\""}"#,
    ] {
        let claims = claims(&format!(r#"{{"scope":{value},"x":"read"}}"#));
        for scope in ["read", "true", "1", "null", "0", ""] {
            assert!(!claims.grants(scope), "{value} {scope}");
        }
    }
    for payload in [
        "{}",
        r#"{"Scope":"read"}"#,
        r#"{"x":{"scope":"read"}}"#,
        r#"{"scp":"read"}"#,
    ] {
        assert!(!claims(payload).grants("read"), "{payload}");
    }
}

#[test]
fn scope_claim_is_a_literal_name_at_the_top() {
    for (name, payload, is_granted) in [
        ("scp", r#"{"scp":["read"]}"#, true),
        (
            "permissions",
            r#"{"scope":"x","permissions":["read"]}"#,
            true,
        ),
        (
            "realm_access.roles",
            r#"{"realm_access":{"roles":["read"]}}"#,
            false,
        ),
        (
            "realm_access.roles",
            r#"{"realm_access.roles":["read"]}"#,
            true,
        ),
        ("scp", r#"{"scope":"read"}"#, false),
    ] {
        let claims = claims_under(scope_claim(name), payload);
        assert_eq!(claims.grants("read"), is_granted, "{name} {payload}");
    }
}
