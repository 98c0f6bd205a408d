//! Who may name what: the source as text, without its comments.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use resource_server::jwt::{Key, UnverifiedToken, VerifiedClaims};

/// Each file below `folder`, by its path from the package's root, with this extension.
pub fn files(folder: &str, extension: &str) -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    let mut folders: Vec<PathBuf> = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let name = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                found.insert(name, fs::read_to_string(path).unwrap());
            }
        }
    }
    found
}

/// The code of each file of `src`: without comments, and without unit tests.
fn code() -> BTreeMap<String, String> {
    let strip = |text: String| -> String {
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        text.lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .map(|line| line.split_once(" // ").map_or(line, |(code, _)| code))
            .flat_map(|line| [line, "\n"])
            .collect()
    };
    files("src", "rs")
        .into_iter()
        .map(|(name, text)| (name, strip(text)))
        .collect()
}

fn is_jwt(name: &str) -> bool {
    name == "src/jwt.rs" || name.starts_with("src/jwt/")
}

/// Whether `word` stands there as a word of its own.
fn names(code: &str, word: &str) -> bool {
    let is_of_a_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    code.match_indices(word).any(|(place, _)| {
        !code[..place].ends_with(is_of_a_word)
            && !code[place + word.len()..].starts_with(is_of_a_word)
    })
}

/// The files whose code names it.
fn files_that_name(word: &str) -> Vec<String> {
    code()
        .into_iter()
        .filter(|(_, code)| names(code, word))
        .map(|(name, _)| name)
        .collect()
}

fn count(pattern: &str) -> BTreeMap<String, usize> {
    code()
        .into_iter()
        .map(|(name, code)| (name, code.matches(pattern).count()))
        .filter(|&(_, count)| count > 0)
        .collect()
}

#[test]
fn word_in_code_is_found_and_in_a_comment_is_not() {
    assert!(names("use hyper::body;", "hyper"));
    assert!(!names("hyper_util hyperbole", "hyper"));
    let code = code();
    assert!(code.len() >= 20, "{}", code.len());
    assert!(names(&code["src/auth.rs"], "hyper"));
    assert!(
        code.values()
            .all(|code| !code.contains("//!") && !code.contains("///"))
    );
    // Named in comments there, and in no code.
    assert!(names(include_str!("../../src/jwt.rs"), "HTTP"));
    assert!(!names(&code["src/jwt.rs"], "HTTP"));
}

#[test]
fn jwt_names_nothing_of_http() {
    let mut seen = 0;
    for (name, code) in code().iter().filter(|(name, _)| is_jwt(name)) {
        seen += 1;
        for word in [
            "hyper",
            "hyper_util",
            "http",
            "http_body",
            "http_body_util",
            "tokio",
        ] {
            assert!(!names(code, word), "{name} names {word}");
        }
    }
    assert!(seen >= 8, "{seen}");
}

/// Calls run one way: `jwt` knows nobody above it.
#[test]
fn jwt_names_no_other_module_of_the_crate() {
    for (name, code) in code().iter().filter(|(name, _)| is_jwt(name)) {
        for path in ["crate::", "super::super", "resource_server::"] {
            assert!(!code.contains(path), "{name} names {path}");
        }
    }
}

/// Time is an argument, and so is everything else.
#[test]
fn jwt_reads_no_clock_file_socket_or_environment() {
    for (name, code) in code().iter().filter(|(name, _)| is_jwt(name)) {
        for word in [
            "now()",
            "Instant",
            "std::env",
            "std::fs",
            "std::net",
            "std::process",
            "println",
        ] {
            assert!(!code.contains(word), "{name} has {word}");
        }
    }
}

#[test]
fn tokens_are_taken_apart_in_jwt_alone() {
    for word in [
        "UnverifiedToken",
        "base64",
        "base64url",
        "hmac",
        "Hmac",
        "sha2",
        "serde_core",
        "subtle",
        "ct_eq",
        "signing_input",
        "alg",
    ] {
        let files = files_that_name(word);
        assert!(!files.is_empty(), "nobody names {word}");
        assert!(files.iter().all(|name| is_jwt(name)), "{word} in {files:?}");
    }
}

#[test]
fn tokens_are_found_and_verified_in_auth_alone() {
    assert_eq!(files_that_name("AUTHORIZATION"), ["src/auth.rs"]);
    assert_eq!(
        count("verifier.verify("),
        [("src/auth.rs".into(), 1)].into()
    );
    assert_eq!(count(".authenticate("), [].into());
    assert_eq!(
        count("auth::authenticate("),
        [("src/app/route.rs".into(), 1)].into()
    );
}

/// Of `jwt` each file names what it needs: whoever wants more has to write it here.
#[test]
fn jwt_items_are_named_outside_by_those_who_need_them() {
    for (item, allowed) in [
        ("Error", vec!["src/auth.rs"]),
        ("NumericDate", vec!["src/auth.rs"]),
        ("Key", vec!["src/config.rs"]),
        ("Policy", vec!["src/config.rs"]),
        (
            "VerifiedClaims",
            vec![
                "src/app/gate.rs",
                "src/app/handlers.rs",
                "src/app/route.rs",
                "src/auth.rs",
            ],
        ),
        (
            "Verifier",
            vec![
                "src/app.rs",
                "src/auth.rs",
                "src/config.rs",
                "src/program/reload.rs",
            ],
        ),
    ] {
        let users: Vec<String> = code()
            .into_iter()
            .filter(|(name, code)| {
                !is_jwt(name)
                    && code
                        .lines()
                        .any(|line| line.contains("jwt::") && names(line, item))
            })
            .map(|(name, _)| name)
            .collect();
        assert_eq!(users, allowed, "{item}");
    }
    // The claims set itself is for handlers that need more than the user and the scopes.
    for file in ["src/app/gate.rs", "src/app/route.rs"] {
        let code = &code()[file];
        assert!(code.contains(".user()"), "{file}");
        for word in ["claim(", "json()", "subject()"] {
            assert!(!code.contains(&format!(".{word}")), "{file}: {word}");
        }
    }
}

/// Attack: timing. A plain `==` would end at the first byte that differs.
#[test]
fn macs_are_compared_once_and_in_constant_time() {
    assert_eq!(count("ct_eq("), [("src/jwt/key.rs".into(), 1)].into());
    assert_eq!(count(".signature()"), [("src/jwt/key.rs".into(), 1)].into());
    let code = code();
    let key = &code["src/jwt/key.rs"];
    assert!(names(key, "ConstantTimeEq"));
    for comparison in [
        "==",
        "!=",
        ".eq(",
        ".ne(",
        ".cmp(",
        "verify_slice",
        "verify_truncated",
        "matches!",
    ] {
        assert!(!key.contains(comparison), "key.rs has {comparison}");
        let on_a_mac = code
            .iter()
            .filter(|(name, _)| is_jwt(name))
            .flat_map(|(_, code)| code.lines())
            .find(|line| {
                line.contains(comparison) && (names(line, "mac") || names(line, "signature"))
            });
        assert_eq!(on_a_mac, None, "{comparison}");
    }
}

/// Chosen when a type has no `PartialEq`; ambiguous, and so no program, when it has.
trait NotComparable<A> {
    fn is_not_comparable() {}
}
impl<T: ?Sized> NotComparable<()> for T {}
impl<T: ?Sized + PartialEq> NotComparable<u8> for T {}

#[test]
fn key_token_and_claims_cannot_be_compared_by_accident() {
    <Key as NotComparable<_>>::is_not_comparable();
    <UnverifiedToken<'_> as NotComparable<_>>::is_not_comparable();
    <VerifiedClaims as NotComparable<_>>::is_not_comparable();
}

/// A route that could make claims of its own would need no token.
#[test]
fn verified_claims_are_made_in_one_place() {
    let code = code();
    assert_eq!(
        count("Ok(Self { json, user, scope })"),
        [("src/jwt/claims.rs".into(), 1)].into()
    );
    assert_eq!(
        count("VerifiedClaims::validate("),
        [("src/jwt.rs".into(), 1)].into()
    );
    let claims = &code["src/jwt/claims.rs"];
    let fields = claims.split("pub struct VerifiedClaims {\n").nth(1);
    let fields = fields.and_then(|rest| rest.split("\n}").next()).unwrap();
    assert!(fields.starts_with("    json: String,") && !fields.contains("pub"));
    assert!(claims.contains("pub(super) fn validate("));
    for maker in ["for VerifiedClaims", "Deserialize for", "Default"] {
        let allowed = usize::from(maker == "for VerifiedClaims");
        assert_eq!(claims.matches(maker).count(), allowed, "{maker}");
    }
    assert!(claims.contains("impl fmt::Debug for VerifiedClaims"));
}
