//! Which module may know what.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each file under `src`, by its path there, without comments and without tests.
fn sources() -> Vec<(String, String)> {
    fn visit(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                visit(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    visit(&root, &mut files);
    let sources: Vec<_> = files
        .into_iter()
        .map(|file| {
            let text = fs::read_to_string(&file).expect("UTF-8");
            let code = text
                .split("#[cfg(test)]")
                .next()
                .expect("a first part")
                .lines()
                .map(|line| line.split("//").next().expect("a first part"))
                .collect::<Vec<_>>()
                .join("\n");
            let name = file.strip_prefix(&root).expect("under src");
            (name.to_str().expect("UTF-8").to_owned(), code)
        })
        .collect();
    assert!(sources.len() > 10, "{sources:?}");
    sources
}

/// Whether `code` has `word`, not as a part of a longer one.
fn names(code: &str, word: &str) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(word).any(|(at, _)| {
        !code[..at].chars().next_back().is_some_and(is_word)
            && !code[at + word.len()..].chars().next().is_some_and(is_word)
    })
}

/// The files that name a word.
fn files_naming(word: &str) -> BTreeSet<String> {
    sources()
        .into_iter()
        .filter(|(_, code)| names(code, word))
        .map(|(file, _)| file)
        .collect()
}

fn is_jwt(file: &str) -> bool {
    file == "jwt.rs" || file.starts_with("jwt/")
}

fn assert_only(word: &str, allowed: &[&str]) {
    let files = files_naming(word);
    assert!(
        !files.is_empty(),
        "{word} is nowhere: the rule is out of date"
    );
    let allowed: BTreeSet<_> = allowed.iter().map(|&file| file.to_owned()).collect();
    assert!(files.is_subset(&allowed), "{word} is named in {files:?}");
}

/// Whether `code` goes through a module or a crate: `word::` anywhere, or `use word`.
fn goes_through(code: &str, word: &str) -> bool {
    names(&code.replace("::", " :: "), &format!("{word} ::")) || names(code, &format!("use {word}"))
}

/// What each module may go through, of the crate's own.
const MODULES: [(&str, &[&str]); 8] = [
    (
        "program",
        &["app", "config", "jwt", "log", "server", "shared"],
    ),
    ("config", &["jwt", "server"]),
    // It knows neither routes nor tokens.
    ("server", &["log"]),
    // Of `jwt` it has the claims that `auth` makes, and what `auth` makes them with.
    ("app", &["auth", "jwt", "server", "shared"]),
    ("auth", &["jwt"]),
    ("jwt", &[]),
    ("log", &[]),
    ("shared", &[]),
];

/// The module at the root of the crate that a file is of.
fn module(file: &str) -> &str {
    file.split(['/', '.']).next().expect("a first part")
}

#[test]
fn calls_run_one_way() {
    let mut seen = BTreeSet::new();
    for (file, code) in sources() {
        if ["lib.rs", "main.rs"].contains(&&*file) {
            continue;
        }
        let (name, allowed) = MODULES
            .into_iter()
            .find(|(name, _)| *name == module(&file))
            .unwrap_or_else(|| panic!("{file} is in no layer"));
        for (other, _) in MODULES {
            if names(&code, &format!("crate::{other}")) {
                seen.insert((name, other));
                let is_allowed = other == name || allowed.contains(&other);
                assert!(is_allowed, "{file} goes through {other}");
            }
        }
        assert!(
            !code.contains("crate::{"),
            "{file}: one path for each import"
        );
    }
    for (name, allowed) in MODULES {
        for other in allowed {
            assert!(
                seen.contains(&(name, *other)),
                "{name} has no need of {other}"
            );
        }
    }
    // The program is the library: there is no back door.
    let main = sources().into_iter().find(|(file, _)| file == "main.rs");
    let (_, main) = main.expect("a program");
    assert_eq!(main.matches("resource_server").count(), 2, "{main}");
    assert!(main.contains("resource_server::run(resource_server::app::site())"));
}

#[test]
fn each_crate_is_for_some_modules() {
    for (word, allowed) in [
        ("tokio", &["server", "program"][..]),
        ("hyper_util", &["server"]),
        ("http_body_util", &["app", "server"]),
        ("hyper", &["app", "auth", "server"]),
    ] {
        for (file, code) in sources() {
            assert!(
                !goes_through(&code, word) || allowed.contains(&module(&file)),
                "{file} goes through {word}"
            );
        }
    }
}

/// Only the bridge goes through both.
#[test]
fn modules_that_are_not_the_bridge_know_http_or_the_rules_of_tokens() {
    for (file, code) in sources() {
        let knows_http = goes_through(&code, "hyper") || goes_through(&code, "tokio");
        let knows_errors = names(&code, "Error::ALL") || names(&code, "NumericDate");
        assert!(
            !(knows_http && knows_errors) || file == "auth.rs",
            "{file} knows HTTP and the rules of tokens"
        );
    }
}

#[test]
fn environment_is_read_in_one_place() {
    for word in ["env::var_os", "env::vars_os"] {
        assert_only(word, &["config.rs"]);
    }
    for word in ["env::var", "env::vars"] {
        assert_eq!(files_naming(word), BTreeSet::new(), "{word}");
    }
}

/// Only the bridge turns fields into claims: who else read the field could let somebody pass.
#[test]
fn authorization_field_is_read_in_one_place() {
    assert_only("AUTHORIZATION", &["auth.rs"]);
    assert_only("auth::authenticate", &["app/route.rs"]);
    for (file, code) in sources() {
        assert!(
            !code.to_lowercase().contains("\"authorization\""),
            "{file} names the field by its text"
        );
        // `Verifier::verify` and `Key::verify` are for the bridge and for `jwt`.
        assert!(
            // The command `token` asks whether what it prints would be accepted.
            !code.contains(".verify(")
                || is_jwt(&file)
                || ["auth.rs", "program/token.rs"].contains(&&*file),
            "{file} verifies"
        );
    }
}

#[test]
fn challenge_field_is_written_in_one_place() {
    assert_only("WWW_AUTHENTICATE", &["app/response.rs"]);
    assert_only("realm", &["auth.rs"]);
}

#[test]
fn hyper_is_set_up_in_one_place() {
    assert_only("http1", &["server/exchange.rs"]);
    assert_only("serve_connection", &["server/exchange.rs"]);
    assert_only("TcpListener", &["server.rs"]);
}

#[test]
fn listener_shares_its_port_with_nobody() {
    for word in ["set_reuseport", "SO_REUSEPORT", "reuse_port"] {
        assert_eq!(files_naming(word), BTreeSet::new(), "{word}");
    }
}

/// `println!` panics where standard output is closed, and waits where nothing reads it.
#[test]
fn nothing_is_printed_but_through_the_log() {
    for (file, code) in sources() {
        for word in ["print!", "println!", "eprint!", "eprintln!", "dbg!"] {
            assert!(!code.contains(word), "{file} has {word}");
        }
    }
    assert_only("stdout", &["program.rs"]);
    // A panic has its line there.
    assert_only("stderr", &["log.rs", "program.rs", "program/health.rs"]);
}

/// A whole content in memory is what a client decides the size of: a handler names a limit.
#[test]
fn content_of_a_request_is_never_collected_without_a_limit() {
    for word in ["collect", "to_bytes", "Collected"] {
        for (file, code) in sources() {
            let is_collected =
                names(&code, &format!("BodyExt::{word}")) || names(&code, "Collected");
            assert!(!is_collected, "{file}: {word}");
        }
    }
    // As a function alone, so that no method of it is at hand.
    assert_only("BodyExt", &["app/response.rs"]);
    assert_only("BodyExt::map_err", &["app/response.rs"]);
}

#[test]
fn comment_or_longer_name_is_not_taken_for_the_word() {
    assert!(names("use http1::Builder;", "http1"));
    assert!(!names("use http11;", "http1"));
    assert!(!names("xhttp1", "http1"));
    assert!(goes_through("hyper::Method::GET", "hyper"));
    assert!(goes_through("use tokio;", "tokio"));
    assert!(!goes_through("hyper_util::rt", "hyper"));
    assert!(!goes_through("let log = json::read(text);", "log"));
    // The rules find what is there.
    let of = |name: &str| sources().into_iter().find(|(file, _)| file == name);
    let (_, target) = of("app/target.rs").expect("a file");
    assert!(goes_through(&target, "hyper") && goes_through(&target, "super"));
    assert!(!target.contains("RFC 9112"), "a comment");
}
