//! The page for reviewers names tests and files: they exist, and each row names a test that runs.

use std::collections::BTreeMap;
use std::path::Path;

use resource_server::jwt::Error;

use crate::layering::files;

const PAGE: &str = include_str!("../../src/jwt/review.md");

/// Each test of the package as `module::name`, where the module is the file's, and whether it is
/// ignored.
fn tests() -> BTreeMap<String, bool> {
    let mut tests = BTreeMap::new();
    for (path, text) in files("tests", "rs").into_iter().chain(files("src", "rs")) {
        let module = Path::new(&path).file_stem().unwrap().to_str().unwrap();
        let found = tests_of(&text);
        assert_eq!(
            found.len(),
            text.lines().filter(|line| line.trim() == "#[test]").count(),
            "{path}"
        );
        for (name, is_ignored) in found {
            tests.insert(format!("{module}::{name}"), is_ignored);
        }
    }
    tests
}

/// The functions after `#[test]`, with any attributes in between.
fn tests_of(text: &str) -> Vec<(String, bool)> {
    let mut tests = Vec::new();
    let mut is_test = false;
    let mut is_ignored = false;
    for line in text.lines().map(str::trim) {
        if line == "#[test]" {
            (is_test, is_ignored) = (true, false);
        } else if is_test && line.starts_with("#[ignore") {
            is_ignored = true;
        } else if let Some(rest) = line.strip_prefix("fn ")
            && is_test
        {
            let name = rest.split('(').next().unwrap_or_default();
            tests.push((name.to_owned(), is_ignored));
            is_test = false;
        }
    }
    tests
}

/// What stands in backticks.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn is_test_name(span: &str) -> bool {
    span.contains("::")
        && span
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_:".contains(&byte))
}

/// The rows of the page's tables, without their heads: of each table the cells of each row.
fn tables(page: &str) -> Vec<Vec<Vec<&str>>> {
    let mut tables = Vec::new();
    let mut is_inside = false;
    for line in page.lines() {
        if !line.starts_with('|') {
            is_inside = false;
        } else if line.starts_with("|---") {
            tables.push(Vec::new());
            is_inside = true;
        } else if is_inside {
            let cells = line.trim_matches('|').split(" | ").map(str::trim).collect();
            tables.last_mut().expect("a table").push(cells);
        }
    }
    tables
}

/// What is wrong with the page.
fn faults(page: &str, tests: &BTreeMap<String, bool>) -> Vec<String> {
    let unknown = spans(page)
        .filter(|span| is_test_name(span) && !tests.contains_key(*span))
        .map(|name| format!("no such test: {name}"));
    let untested = tables(page).into_iter().flatten().filter_map(|row| {
        let names_one_that_runs = row
            .last()
            .is_some_and(|cell| spans(cell).any(|name| tests.get(name) == Some(&false)));
        (!names_one_that_runs).then(|| format!("names no test that runs: {}", row[0]))
    });
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let missing = spans(page)
        .filter(|span| span.starts_with("src/") || span.starts_with("tests/"))
        .filter(|path| !root.join(path).exists())
        .map(|path| format!("no such file: {path}"));
    unknown.chain(untested).chain(missing).collect()
}

#[test]
fn review_page_names_only_tests_and_files_that_exist() {
    let faults = faults(PAGE, &tests());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn review_page_with_a_made_up_name_would_be_noticed() {
    let tests = [("a::runs".into(), false), ("a::ignored".into(), true)].into();
    let page = |cell: &str| format!("| rule | tests |\n|---|---|\n| one | {cell} |\n");
    for (cell, count) in [
        ("`a::runs`", 0),
        ("`a::ignored`, `a::runs`", 0),
        ("`a::runs`, `a::made_up`", 1),
        ("`a::ignored`", 1),
        ("`Verifier::verify`", 1),
        ("a::runs", 1),
        ("", 1),
        ("`b::runs`", 2),
        ("`a::runs` in `src/made_up.rs`", 1),
    ] {
        let faults = faults(&page(cell), &tests);
        assert_eq!(faults.len(), count, "{cell}: {faults:?}");
    }
}

#[test]
fn tests_are_found_in_the_source_with_what_makes_them_ignored() {
    let tests = tests();
    let this = "review::tests_are_found_in_the_source_with_what_makes_them_ignored";
    assert_eq!(tests.get(this), Some(&false));
    let wycheproof =
        "wycheproof::wycheproof_hs256_vectors_get_the_files_result_save_listed_exceptions";
    assert_eq!(tests.get(wycheproof), Some(&true));
    assert_eq!(tests.get("support::verdict"), None);
    assert!(tests.len() > 100, "{}", tests.len());
}

#[test]
fn review_page_has_a_row_for_each_rule_and_each_recommendation() {
    let tables = tables(PAGE);
    let [rules, recommendations, attacks] = &tables[..] else {
        panic!("three tables, not {}", tables.len());
    };
    let numbers: Vec<&str> = rules
        .iter()
        .map(|row| row[0].split('.').next().unwrap())
        .collect();
    assert!(numbers.is_sorted());
    for rule in ["1", "2", "3", "4", "5", "6", "7", "8"] {
        assert!(numbers.contains(&rule), "{rule}");
    }
    let sections: Vec<&str> = recommendations
        .iter()
        .map(|row| row[0].split(' ').next().unwrap())
        .collect();
    let expected: Vec<String> = (1..=12).map(|section| format!("3.{section}")).collect();
    assert_eq!(sections, expected);
    assert!(attacks.len() >= 16, "{}", attacks.len());
}

#[test]
fn review_page_names_every_error() {
    for error in Error::ALL {
        let link = format!("[`Error::{error:?}`]");
        assert!(PAGE.contains(&link), "{link}");
    }
}
