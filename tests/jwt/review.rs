//! The pages for reviewers name tests and files: they exist, and each item names a test that runs.

use std::collections::BTreeMap;
use std::path::Path;

use resource_server::jwt::Error;

use crate::layering::files;

const PAGE: &str = include_str!("../../src/jwt/review.md");
const ENGINE_PAGE: &str = include_str!("../../src/server/review.md");

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

/// The text in backticks.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn is_test_name(span: &str) -> bool {
    span.contains("::")
        && span
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_:".contains(&byte))
}

/// A heading of the second level, and the items under it, each on one line.
struct Section<'p> {
    heading: &'p str,
    items: Vec<String>,
}

fn sections(page: &str) -> Vec<Section<'_>> {
    let mut sections = Vec::new();
    let mut is_inside = false;
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            let items = Vec::new();
            sections.push(Section { heading, items });
        }
        let Some(Section { items, .. }) = sections.last_mut() else {
            continue;
        };
        if let Some(item) = line.strip_prefix("- ") {
            items.push(item.to_owned());
            is_inside = true;
        } else if let Some(rest) = line.strip_prefix("  ").filter(|_| is_inside) {
            let item = items.last_mut().expect("an item");
            item.push(' ');
            item.push_str(rest);
        } else {
            is_inside = false;
        }
    }
    sections
}

/// The only section whose items need no test.
const NOT_COVERED: &str = "What is not covered, by design";

/// Where the page links to the sources in the documentation.
const SOURCES: &str = "../../src/resource_server/";

/// What is wrong with the page.
fn faults(page: &str, tests: &BTreeMap<String, bool>) -> Vec<String> {
    let unknown = spans(page)
        .filter(|span| is_test_name(span) && !tests.contains_key(*span))
        .map(|name| format!("no such test: {name}"));
    let untested = sections(page)
        .into_iter()
        .filter(|section| section.heading != NOT_COVERED)
        .flat_map(|section| section.items)
        .filter_map(|item| {
            let named = item.split_once("Tests: ").map_or("", |(_, named)| named);
            let names_one_that_runs = spans(named).any(|name| tests.get(name) == Some(&false));
            (!names_one_that_runs).then(|| format!("names no test that runs: {item}"))
        });
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let linked = page
        .lines()
        .filter_map(|line| line.strip_prefix('[')?.split_once("]: "))
        .map(|(_, link)| {
            let path = link.strip_prefix(SOURCES).unwrap_or(link);
            format!("src/{}", path.strip_suffix(".html").unwrap_or(path))
        });
    let missing = spans(page)
        .filter(|span| span.starts_with("src/") || span.starts_with("tests/"))
        .map(str::to_owned)
        .chain(linked)
        .filter(|path| !root.join(path).exists())
        .map(|path| format!("no such file: {path}"));
    unknown.chain(untested).chain(missing).collect()
}

#[test]
fn review_pages_name_only_tests_and_files_that_exist() {
    let tests = tests();
    for page in [PAGE, ENGINE_PAGE] {
        let faults = faults(page, &tests);
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
    let engine = sections(ENGINE_PAGE);
    assert!(engine.iter().all(|section| section.items.len() >= 3));
    assert_eq!(engine.len(), 4);
}

#[test]
fn review_page_with_a_made_up_name_would_be_noticed() {
    let tests = [("a::runs".into(), false), ("a::ignored".into(), true)].into();
    let page = |tests: &str| format!("## Rules\n\n- One.\\\n  Tests: {tests}\n\n[made-up]: x\n");
    // The link is one fault.
    assert_eq!(faults(&page("`a::runs`"), &tests).len(), 1);
    let page = |tests: &str| page(tests).replace("x\n", &format!("{SOURCES}jwt.rs.html\n"));
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
fn review_page_has_an_item_for_each_rule_and_each_recommendation() {
    let sections = sections(PAGE);
    let [rules, recommendations, attacks, not_covered] = &sections[..] else {
        panic!("four sections, not {}", sections.len());
    };
    let numbers: Vec<&str> = PAGE
        .lines()
        .filter_map(|line| line.strip_prefix("### ")?.split('.').next())
        .collect();
    assert_eq!(numbers, ["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    assert!(rules.items.len() >= 30, "{}", rules.items.len());
    let named: Vec<&str> = recommendations
        .items
        .iter()
        .map(|item| item.trim_matches('*').split(' ').next().unwrap())
        .collect();
    let expected: Vec<String> = (1..=12).map(|section| format!("3.{section}")).collect();
    assert_eq!(named, expected);
    assert!(attacks.items.len() >= 16, "{}", attacks.items.len());
    assert_eq!(not_covered.heading, NOT_COVERED);
}

#[test]
fn review_page_names_every_error() {
    for error in Error::ALL {
        let link = format!("[`Error::{error:?}`]");
        assert!(PAGE.contains(&link), "{link}");
    }
}
