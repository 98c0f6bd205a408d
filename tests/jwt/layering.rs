//! Which module of `src` may import and name what. The rules for all modules are here, with the
//! tests of `jwt`, because these run with every set of features.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use resource_server::jwt::{Key, UnverifiedToken, VerifiedClaims};

/// What each module imports from the crate and from its dependencies, no more and no less. Calls
/// run one way, and only `auth` joins HTTP to tokens.
const IMPORTS: &str = "
    main:
    lib:
    program: app config jwt log serde_core serde_json server shared tokio
    config: jwt server
    server: http_body_util hyper hyper_util log tokio
    app: auth http_body_util hyper jwt serde_core serde_json server shared
    auth: hyper jwt
    jwt: base64 hmac serde_core serde_json sha2 subtle
    log:
    shared:";

/// Each table has words, a relation, and files or modules. `in`: only these name the word.
/// `never in`: these do not name it. `once in`: it occurs there once, and nowhere else.
const TOKENS: &str = "
    UnverifiedToken base64url signing_input | in | jwt
    Hmac Sha256 | in | jwt/key.rs";
const AUTHENTICATION: &str = "
    AUTHORIZATION | in | auth.rs
    .verify( | in | auth.rs jwt program/token.rs
    verifier.verify( | once in | auth.rs
    auth::authenticate( | once in | app/route.rs
    .authenticate( | in |";
/// Time is an argument of the check, and so is everything else.
const INPUTS: &str = "
    now() Instant std::env std::fs std::net std::process std::thread | never in | jwt";
const MACS: &str = "
    ct_eq( .signature() | once in | jwt/key.rs
    == != .eq( .ne( .cmp( verify_slice verify_truncated matches! | never in | jwt/key.rs";
const CLAIMS: &str = "
    VerifiedClaims::validate( | once in | jwt.rs
    .claim( .json() .subject() | never in | app/gate.rs app/route.rs";
/// `print!` and the like panic if the output is closed, and block if nothing reads it. `BodyExt` is
/// imported for one function only, so that no method can collect content of any size.
const PLACES: &str = "
    jwt::Error jwt::NumericDate | in | auth.rs
    jwt::Key jwt::Policy | in | config.rs
    jwt::VerifiedClaims | in | app/gate.rs app/handlers.rs app/route.rs auth.rs
    jwt::Verifier | in | app.rs auth.rs config.rs program/reload.rs
    env::var_os env::vars_os | in | config.rs
    env::var env::vars | in |
    WWW_AUTHENTICATE | in | app/response.rs
    http1 serve_connection | in | server/exchange.rs
    TcpListener | in | server.rs
    set_reuseport SO_REUSEPORT reuse_port | in |
    print! println! eprint! eprintln! dbg! | in |
    stdout | in | program.rs
    stderr | in | log.rs program.rs program/health.rs
    BodyExt BodyExt::map_err | in | app/response.rs
    Collected to_bytes | in |
    resource_server::run(resource_server::app::site()) | once in | main.rs
    super::super /* | in |";
/// For string literals: a field that is named by its text would escape the rules above.
const LITERALS: &str = "
    <authorization> <www-authenticate> | in |
    realm | in | auth.rs";

/// Texts by their path from the package's root.
type Files = BTreeMap<String, String>;

/// Each file below `folder` with this extension.
pub fn files(folder: &str, extension: &str) -> Files {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Files::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                found.insert(name.to_owned(), fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

/// The files below `src`: their code, and their string literals in lower case.
#[derive(Default)]
struct Sources {
    code: Files,
    literals: Files,
}

impl Sources {
    fn read() -> Self {
        let mut sources = Self::default();
        for (path, text) in files("src", "rs") {
            sources.add(&path["src/".len()..], &text);
        }
        sources
    }

    /// Adds a text to a file, without its comments and unit tests.
    fn add(&mut self, file: &str, text: &str) {
        let (mut text, tests) = text.split_once("#[cfg(test)]").unwrap_or((text, ""));
        let end = tests.find("\n}\n").map_or(0, |at| at + 3);
        assert_eq!(end, tests.len(), "{file}: code after the unit tests");
        let code = self.code.entry(file.into()).or_default();
        let literals = self.literals.entry(file.into()).or_default();
        while let Some(at) = text.find(['/', '"', '\'']) {
            let (before, found) = text.split_at(at);
            *code += before;
            let unhashed = before.trim_end_matches('#');
            let raw_end = unhashed.ends_with('r').then(|| &before[unhashed.len()..]);
            let len = match (&found[..1], raw_end) {
                ("/", _) if found.starts_with("//") => found.find('\n').unwrap_or(found.len()),
                ("\"", Some(hashes)) => 2 + found[1..].find(&format!("\"{hashes}")).unwrap(),
                ("\"", None) => literal_len(found),
                ("'", _) if found[1..].starts_with('\\') => literal_len(found),
                ("'", _) if found.chars().nth(2) == Some('\'') => literal_len(found),
                (other, _) => {
                    *code += other;
                    1
                }
            };
            if found.starts_with('"') {
                *literals += &format!("<{}>\n", found[1..len - 1].to_lowercase());
            }
            text = &found[len..];
        }
        *code = ungrouped(&format!("{code}{text}\n"));
    }

    fn faults(&self) -> Vec<String> {
        let code = [TOKENS, AUTHENTICATION, INPUTS, MACS, CLAIMS, PLACES].concat();
        let faults = [faults(&self.code, &code), faults(&self.literals, LITERALS)];
        [&faults.concat()[..], &import_faults(&self.code)].concat()
    }
}

/// The length of a literal with its quotation marks. One after a backslash does not end it.
fn literal_len(text: &str) -> usize {
    let mut is_escaped = false;
    let is_last = |letter: char| {
        let is_last = text.starts_with(letter) && !is_escaped;
        is_escaped = letter == '\\' && !is_escaped;
        is_last
    };
    2 + text[1..].find(is_last).expect("an end")
}

/// With `a::{b, c}` written as `a a::b a::c`, the innermost group first.
fn ungrouped(code: &str) -> String {
    let Some((before, after)) = code.rsplit_once("::{") else {
        return code.to_owned();
    };
    let (group, after) = after.split_once('}').expect("the end of a group");
    let path = before.rsplit([' ', '\n', '{']).next().unwrap_or_default();
    let mut code = before.to_owned();
    for item in group.split(',') {
        code += &format!(" {path}::{}", item.trim());
    }
    ungrouped(&(code + after))
}

/// How many times `code` has `word`, not as a part of a longer one.
fn count(code: &str, word: &str) -> usize {
    let is_of_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let places = code.match_indices(word).filter(|&(at, _)| {
        let (before, after) = (&code[..at], &code[at + word.len()..]);
        let begins_earlier = word.starts_with(is_of_word) && before.ends_with(is_of_word);
        let ends_later = word.ends_with(is_of_word) && after.starts_with(is_of_word);
        !begins_earlier && !ends_later
    });
    places.count()
}

/// Returns whether `place` names the file or its module.
fn is_in(file: &str, place: &str) -> bool {
    file == place || file.split(['/', '.']).next() == Some(place)
}

/// What breaks a table.
fn faults(files: &Files, table: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for line in table.lines().filter(|line| !line.is_empty()) {
        let parts: Vec<_> = line.split('|').map(str::trim).collect();
        let (relation, places) = (parts[1], parts[2].split_whitespace());
        for word in parts[0].split_whitespace() {
            let mut unused: BTreeSet<_> = places.clone().collect();
            for (file, text) in files {
                let owner = places.clone().find(|place| is_in(file, place));
                let is_allowed = match (count(text, word), relation) {
                    (0, _) => continue,
                    (_, "never in") => owner.is_none(),
                    (times, _) => owner.is_some() && (times == 1 || relation == "in"),
                };
                if !is_allowed {
                    faults.push(format!("{file} names {word}"));
                }
                owner.map(|place| unused.remove(place));
            }
            let unused = unused.iter().filter(|_| relation != "never in");
            faults.extend(unused.map(|place| format!("{place} needs no {word}")));
        }
    }
    faults
}

/// The direct runtime dependencies, by their names in code.
fn dependencies() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut section = "";
    for line in include_str!("../../Cargo.toml").lines() {
        if line.starts_with('[') {
            section = line;
        }
        // A packaged crate has a section for each.
        let own = line.strip_prefix("[dependencies.");
        let entry = line.split_once(" = ").map(|(name, _)| name);
        let name = own.or(entry.filter(|_| section == "[dependencies]"));
        names.extend(name.map(|name| name.trim_end_matches(']').replace('-', "_")));
    }
    names
}

/// Checks [`IMPORTS`] in both directions: nothing else is imported, and all of it is.
fn import_faults(code: &Files) -> Vec<String> {
    let rules = IMPORTS.lines().skip(1);
    let rules: Vec<_> = rules
        .map(|rule| rule.trim().split_once(':').expect("a rule"))
        .collect();
    let crates = dependencies();
    let mut files: Vec<_> = code.iter().collect();
    let mut faults = Vec::new();
    for (module, allowed) in &rules {
        let allowed: BTreeSet<_> = allowed.split_whitespace().collect();
        let mut imported = BTreeSet::new();
        for (file, code) in files.extract_if(.., |(file, _)| is_in(file, module)) {
            let has = |path: String| count(code, &path) > 0;
            // The parent of a file at the root is the crate.
            let above = if file.contains('/') { "crate" } else { "super" };
            let modules = rules
                .iter()
                .map(|&(name, _)| name)
                .filter(|name| name != module);
            imported.extend(
                modules.filter(|name| {
                    has(format!("crate::{name}")) || has(format!("{above}::{name}"))
                }),
            );
            let crates = crates.iter().map(String::as_str);
            imported.extend(
                crates.filter(|name| has(format!("{name}::")) || has(format!("use {name}"))),
            );
        }
        faults.extend(
            imported
                .difference(&allowed)
                .map(|name| format!("{module} imports {name}")),
        );
        faults.extend(
            allowed
                .difference(&imported)
                .map(|name| format!("{module} needs no {name}")),
        );
    }
    faults.extend(
        files
            .iter()
            .map(|(file, _)| format!("{file} is in no layer")),
    );
    faults
}

fn assert_kept(table: &str) {
    assert_eq!(faults(&Sources::read().code, table), [""; 0]);
}

#[test]
fn modules_import_and_name_only_what_their_layer_may() {
    let sources = Sources::read();
    assert_eq!(sources.faults(), [""; 0]);
    // The program is the library: there is no back door.
    assert_eq!(count(&sources.code["main.rs"], "resource_server"), 2);
}

/// Each file, what is added to it, and what that breaks.
const VIOLATIONS: &str = r##"
    jwt/key.rs | use hyper::Method; | jwt imports hyper
    jwt/key.rs | fn f() { tokio::spawn(f) } | jwt imports tokio
    jwt.rs | use super::log::Lines; | jwt imports log
    jwt/json.rs | use std::{fs, io}; | jwt/json.rs names std::fs
    jwt/json.rs | SystemTime::now() | jwt/json.rs names now()
    jwt/key.rs | mac == other | jwt/key.rs names ==
    jwt/key.rs | a.ct_eq(b) | jwt/key.rs names ct_eq(
    server/room.rs | use crate::app; | server imports app
    server.rs | use crate::{jwt::{Key}, log}; | server imports jwt
    app.rs | tokio::spawn(f) | app imports tokio
    app.rs | use crate::jwt::{Error, Key}; | app.rs names jwt::Error
    app.rs | use hyper::header::AUTHORIZATION; | app.rs names AUTHORIZATION
    app.rs | get("Authorization") | app.rs names <authorization>
    app.rs | r#"a " realm"# | app.rs names realm
    app/route.rs | claims.json() | app/route.rs names .json()
    shared.rs | '"'; '\''; println!() | shared.rs names println!
    log.rs | "\\"; dbg!() | log.rs names dbg!
    cache.rs | | cache.rs is in no layer"##;

/// What breaks nothing.
const SOUND: &str = r##"
    jwt/key.rs | // use hyper::Method; "
    jwt/key.rs | "\" hyper::Method == // tokio::"
    jwt/key.rs | br#"" println!() "#
    jwt/key.rs | ['"', '\''] // tokio::"
    jwt/key.rs | fn unprintln<'a>(log: hyperbole::Log)"##;

#[test]
fn planted_violation_is_reported_and_nothing_else_is() {
    let mut sources = Sources::read();
    sources.add(
        "jwt.rs",
        "#[cfg(test)]\nmod tests {\n    use tokio::time;\n}\n",
    );
    for (file, text) in SOUND
        .lines()
        .filter_map(|line| line.trim().split_once(" | "))
    {
        sources.add(file, text);
    }
    assert_eq!(sources.faults(), [""; 0]);
    let violations = VIOLATIONS
        .lines()
        .skip(1)
        .map(|line| line.split('|').map(str::trim).collect());
    let violations: Vec<Vec<_>> = violations.collect();
    for violation in &violations {
        sources.add(violation[0], violation[1]);
    }
    // An unused rule is reported too.
    sources.code.insert("auth.rs".into(), String::new());
    let faults = sources.faults();
    let expected = violations.iter().map(|violation| violation[2]);
    for fault in expected.chain(["auth needs no hyper", "auth.rs needs no AUTHORIZATION"]) {
        assert!(
            faults.iter().any(|found| found == fault),
            "{fault}: {faults:#?}"
        );
    }
}

#[test]
fn jwt_reads_no_clock_file_socket_or_environment() {
    assert_kept(INPUTS);
}

#[test]
fn tokens_are_taken_apart_in_jwt_alone() {
    assert_kept(TOKENS);
}

#[test]
fn tokens_are_found_and_verified_in_auth_alone() {
    assert_kept(AUTHENTICATION);
}

/// Attack: timing. A plain `==` would end at the first byte that differs.
#[test]
fn macs_are_compared_once_and_in_constant_time() {
    assert_kept(MACS);
    for line in Sources::read().code.values().flat_map(|code| code.lines()) {
        let compares = line.contains("==") || line.contains("!=");
        let is_mac = count(line, "mac") + count(line, "signature") > 0;
        assert!(!compares || !is_mac, "{line}");
    }
}

/// A route that could make its own claims would need no token.
#[test]
fn verified_claims_are_made_in_one_place() {
    assert_kept(CLAIMS);
    let claims = &Sources::read().code["jwt/claims.rs"];
    let fields = claims.split("pub struct VerifiedClaims {\n").nth(1);
    let fields = fields.and_then(|rest| rest.split("\n}").next()).unwrap();
    assert!(fields.contains("json: String,") && !fields.contains("pub"));
    assert!(claims.contains("pub(super) fn validate("));
    for (maker, times) in [
        ("Ok(Self {", 1),
        ("for VerifiedClaims", 1),
        ("Deserialize", 0),
        ("Default", 0),
    ] {
        assert_eq!(claims.matches(maker).count(), times, "{maker}");
    }
    assert!(claims.contains("impl fmt::Debug for VerifiedClaims"));
}

/// Resolves for a type without `PartialEq`. For a type with it the call is ambiguous and does not
/// compile.
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
