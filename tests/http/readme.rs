//! What the README and the crate's front page say, held to the program: ranges, defaults, figures, and that
//! what they name exists.
//!
//! Each figure stands in the source as one constant. A test reads it there, as most of them are private, and
//! looks for it in the README's sentence.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use resource_server::auth::Challenge;
use resource_server::config::{Config, VARIABLES};
use resource_server::jwt::Error;

use crate::configuration::NUMBERS;
use crate::harness::SECRET;

const README: &str = include_str!("../../README.md");

/// A file of the package.
fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files of a folder of tests, without this one.
fn tests_in(folder: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(root).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    names
        .map(|name| name.into_string().expect("UTF-8"))
        .filter(|name| name.ends_with(".rs") && name != "readme.rs")
        .map(|name| file(&format!("{folder}/{name}")))
        .collect()
}

/// A text with every run of white space as one space, as a line may end anywhere in a sentence.
fn joined(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The cells of the rows of the README's table of variables.
fn variable_rows() -> Vec<Vec<&'static str>> {
    let rows = README
        .lines()
        .filter(|line| line.starts_with("| `API_") || line.starts_with("| `JWT_"));
    let rows = rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect());
    rows.filter(|cells: &Vec<_>| cells.len() == 4).collect()
}

/// [`NUMBERS`] holds the program to both ends of each range.
#[test]
fn ranges_are_those_that_the_program_takes() {
    let of_readme: BTreeSet<(String, String)> = variable_rows()
        .into_iter()
        .filter(|cells| cells[2].contains(" to "))
        .map(|cells| (cells[0].replace('`', ""), cells[2].to_owned()))
        .collect();
    let of_program = NUMBERS
        .iter()
        .map(|(name, least, most)| ((*name).to_owned(), format!("{least} to {most}")))
        .collect();
    assert_eq!(of_readme, of_program);
    for (name, range) in of_readme {
        let help = VARIABLES.iter().find(|(known, _, _)| *known == name);
        let (_, _, meaning) = help.expect("a line of help");
        assert!(meaning.contains(&range), "{name}: {meaning}");
    }
}

/// `commands::help_and_readme_agree_on_the_defaults` holds the README to the same table.
#[test]
fn defaults_of_help_are_those_of_the_program() {
    let child = Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", "readme::child_with_every_default", "--ignored"])
        .env_clear()
        .env("JWT_SECRET", SECRET)
        .output()
        .expect("this program");
    assert!(child.status.success(), "{child:?}");
}

#[test]
#[ignore = "run by defaults_of_help_are_those_of_the_program"]
fn child_with_every_default() {
    let config = Config::load(&[]).expect("a configuration");
    let limits = config.limits;
    let policy = config.tokens.expect("a secret").policy;
    let seconds = |duration: std::time::Duration| duration.as_secs().to_string();
    for (name, value) in [
        ("API_PORT", config.address.port().to_string()),
        ("API_HOST", config.address.ip().to_string()),
        ("API_MAX_CONNECTIONS", limits.max_connections.to_string()),
        ("API_HEADER_TIMEOUT", seconds(limits.step_timeout)),
        ("API_IDLE_TIMEOUT", seconds(limits.idle_timeout)),
        ("API_ANSWER_TIMEOUT", seconds(limits.answer_timeout)),
        ("API_DRAIN_TIMEOUT", seconds(limits.drain_timeout)),
        ("JWT_LEEWAY", policy.leeway.to_string()),
        ("JWT_REQUIRE_EXP", policy.require_exp.to_string()),
        ("JWT_USER_CLAIM", policy.user_claim),
        ("JWT_SCOPE_CLAIM", policy.scope_claim),
    ] {
        let (_, default, _) = VARIABLES
            .iter()
            .find(|(known, _, _)| *known == name)
            .expect("a line of help");
        assert_eq!(value, *default, "{name}");
    }
    assert!(config.has_default_workers && !config.logs_access);
}

/// The value of a constant: a product of whole numbers, a duration of them, or, in tests, what is after
/// `else` for a release build. A duration is in milliseconds.
fn constant(path: &str, name: &str) -> f64 {
    let source = file(path);
    let declared = source
        .lines()
        .find(|line| line.contains(&format!("const {name}:")));
    let declared = declared.unwrap_or_else(|| panic!("{path} has no constant {name}"));
    let (_, value) = declared.split_once(" = ").expect("a value");
    let value = value.split("else {").last().expect("a value");
    let unit = if value.contains("from_secs(") {
        1000.0
    } else {
        1.0
    };
    let digits = value
        .trim_start_matches("Duration::from_secs(")
        .trim_start_matches("Duration::from_millis(")
        .trim_end_matches([';', ')', '}', ' '])
        .replace('_', "");
    let factors = digits.split('*').map(|factor| {
        let factor = factor.trim().parse::<f64>();
        factor.unwrap_or_else(|error| panic!("{path}: {name}: {digits}: {error}"))
    });
    unit * factors.product::<f64>()
}

/// A number with commas between thousands.
fn count(number: f64) -> String {
    let digits = number.to_string();
    match digits.len().checked_sub(3) {
        Some(at) if at > 0 => format!("{},{}", &digits[..at], &digits[at..]),
        _ => digits,
    }
}

fn bytes(number: f64) -> String {
    let kib = number / 1024.0;
    if kib < 1024.0 {
        format!("{kib} KiB")
    } else {
        format!("{} MiB", kib / 1024.0)
    }
}

fn time(milliseconds: f64) -> String {
    if milliseconds < 100.0 {
        format!("{milliseconds} ms")
    } else {
        format!("{} s", milliseconds / 1000.0)
    }
}

#[test]
fn figures_are_those_of_the_constants() {
    let readme = joined(README);
    let kib = |number: f64| bytes(number * 1024.0);
    let plain = |number: f64| number.to_string();
    for (path, name, shown, sentence) in [
        (
            "src/jwt/token.rs",
            "MAX_TOKEN_LEN",
            &count as &dyn Fn(f64) -> String,
            "at most # bytes and three parts",
        ),
        (
            "src/jwt/token.rs",
            "MAC_LEN",
            &count,
            "its signature has # bytes",
        ),
        (
            "src/jwt/claims.rs",
            "MAX_EXPIRATION",
            &plain,
            "An `exp` above # (the year 9999)",
        ),
        (
            "src/jwt/key.rs",
            "RECOMMENDED_LEN",
            &count,
            "A secret under # bytes is accepted on a loopback",
        ),
        (
            "src/jwt/key.rs",
            "RECOMMENDED_LEN",
            &count,
            "the old ones if a new one is unusable or under # bytes",
        ),
        (
            "src/app/gate.rs",
            "MAX_USER_LEN",
            &count,
            "or 1 to # visible ASCII characters",
        ),
        (
            "src/app/gate.rs",
            "MAX_SCOPES",
            &count,
            "An empty scope, or over #, is always this 403.",
        ),
        (
            "src/server/exchange.rs",
            "MAX_HEAD_LEN",
            &bytes,
            "a head of #, ",
        ),
        (
            "tests/http/garbage.rs",
            "MAX_FIELDS",
            &count,
            " KiB, # fields |",
        ),
        (
            "src/server/worker.rs",
            "SWEEP_INTERVAL",
            &time,
            "closed, up to # later",
        ),
        (
            "src/server/connection.rs",
            "MAX_LINGER_LEN",
            &bytes,
            "| # after the response |",
        ),
        (
            "src/log.rs",
            "MAX_WAITING",
            &bytes,
            "| waiting log lines | # |",
        ),
        (
            "src/server/idle.rs",
            "MIN_NEW_TIME",
            &time,
            "is closed for a new one, at the earliest after #.",
        ),
        (
            "src/server/idle.rs",
            "MIN_IDLE_TIME",
            &time,
            "makes room (idle for #, nothing unread)",
        ),
        (
            "src/server/idle.rs",
            "MIN_HEAD_TIME",
            &time,
            "that has been arriving for over # is cut",
        ),
        (
            "src/server.rs",
            "GRACE",
            &time,
            "the server accepts for another #.",
        ),
        (
            "tests/http/memory.rs",
            "BASE_LIMIT",
            &kib,
            "stays under **# + `API_WORKERS` × ",
        ),
        (
            "tests/http/memory.rs",
            "WORKER_LIMIT",
            &kib,
            " + `API_WORKERS` × # + ",
        ),
        (
            "tests/http/memory.rs",
            "HOSTILE_LIMIT",
            &kib,
            " + `API_MAX_CONNECTIONS` × #**",
        ),
    ] {
        let figure = shown(constant(path, name));
        let sentence = sentence.replace('#', &figure);
        assert!(
            readme.contains(&sentence),
            "{path}: {name}: no {sentence:?} in the README"
        );
    }
}

#[test]
fn every_variable_has_a_test() {
    let tests = tests_in("tests/http");
    for (name, _, _) in VARIABLES {
        let name = format!("\"{name}\"");
        assert!(tests.iter().any(|text| text.contains(&name)), "{name}");
    }
}

/// A rejection of a token is tested where tokens are, in `tests/jwt`.
#[test]
fn every_challenge_has_a_test_and_its_code_in_the_readme() {
    let tests = tests_in("tests/http");
    for challenge in Challenge::all() {
        let code = format!("`{}`", challenge.code());
        assert!(README.contains(&code), "{code} is not in the README");
        let is_of_a_token = Error::ALL.map(Challenge::InvalidToken).contains(&challenge);
        let name = format!("Challenge::{challenge:?}");
        let names = [name, format!("\"{}\"", challenge.id())];
        let is_tested = |text: &String| names.iter().any(|name| text.contains(name));
        assert!(is_of_a_token || tests.iter().any(is_tested), "{names:?}");
    }
}

/// The codes that the engine and the application bring themselves.
#[test]
fn every_code_is_in_the_readme() {
    let mut codes = BTreeSet::new();
    for path in ["src/server/in_flight.rs", "src/app/response.rs"] {
        let source = file(path);
        for text in source.split('"').skip(1) {
            if [
                "bad_request",
                "not_found",
                "method_not_allowed",
                "content_too_large",
            ]
            .into_iter()
            .chain(["request_timeout", "unavailable", "internal_error"])
            .any(|code| code == text)
            {
                codes.insert(text.to_owned());
            }
        }
    }
    assert_eq!(codes.len(), 7, "{codes:?}");
    for code in codes {
        assert!(README.contains(&format!("`{code}`")), "{code}");
    }
}

#[test]
fn every_route_has_a_row_and_a_test() {
    let site = file("src/app/site.rs");
    let tests = file("tests/http/routes.rs");
    let paths: Vec<_> = site
        .lines()
        .filter_map(|line| line.trim().strip_prefix('"')?.split_once("\" =>"))
        .map(|(path, _)| path)
        .collect();
    assert!(paths.len() >= 4, "{paths:?}");
    let rows: Vec<_> = README
        .lines()
        .filter(|line| line.starts_with("| "))
        .collect();
    for path in paths {
        let span = format!("`{path}`");
        assert!(
            rows.iter().any(|row| row.contains(&span)),
            "{span} has no row"
        );
        assert!(tests.contains(path), "{path} has no test");
    }
}

/// What the crate's front page names in backticks: tests as `file::test`, and files.
#[test]
fn front_page_names_only_tests_and_files_that_exist() {
    let source = file("src/lib.rs");
    let page: String = source
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .collect();
    let spans: Vec<_> = page.split('`').skip(1).step_by(2).collect();
    let mut tests = tests_in("tests/http");
    tests.extend(tests_in("tests/jwt"));
    tests.push(file("tests/http/readme.rs"));
    let is_lower = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let mut count = 0;
    for span in spans {
        if let Some((module, test)) = span.split_once("::")
            && is_lower(module)
            && test.len() > 20
            && is_lower(test)
        {
            let declared = format!("fn {test}()");
            assert!(tests.iter().any(|text| text.contains(&declared)), "{span}");
            count += 1;
        } else if span.starts_with("src/") || span.starts_with("tests/") {
            file(span);
            count += 1;
        }
    }
    assert!(count >= 12, "{count}");
}
