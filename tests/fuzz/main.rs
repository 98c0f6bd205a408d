//! The seeds and regressions of `fuzz/`, checked for the same properties as the fuzzer's inputs, on a
//! stable compiler and without the fuzzer.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions
)]

#[path = "../../fuzz/properties/lib.rs"]
mod properties;
mod provider;

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use resource_server::auth::Challenge;
use resource_server::jwt::Error;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// The outcome of each seed and regression of a target. All are tried before any failure is reported.
fn replay<T>(target: &str, check: fn(&[u8]) -> T) -> Vec<T> {
    let inputs: Vec<PathBuf> = ["seeds", "regressions"]
        .iter()
        .flat_map(|folder| files(&fuzz().join(folder).join(target)))
        .filter(|path| !path.ends_with(".gitkeep"))
        .collect();
    let mut outcomes = Vec::new();
    let mut failures = Vec::new();
    for path in &inputs {
        let bytes = fs::read(path).unwrap();
        match catch_unwind(|| check(&bytes)) {
            Ok(outcome) => outcomes.push(outcome),
            Err(_) => failures.push(path.strip_prefix(fuzz()).unwrap()),
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    outcomes
}

/// The errors among these outcomes, in the order of the checks.
fn errors(outcomes: &[Result<(), Error>]) -> Vec<Error> {
    assert!(outcomes.contains(&Ok(())));
    let reached = |error: &Error| outcomes.contains(&Err(*error));
    Error::ALL.into_iter().filter(reached).collect()
}

#[test]
fn every_fuzz_target_has_seeds_a_dictionary_and_a_replay() {
    let targets: Vec<String> = files(&fuzz().join("fuzz_targets"))
        .iter()
        .map(|path| path.file_stem().unwrap().to_str().unwrap().into())
        .collect();
    let replayed = [
        "bearer",
        "differential",
        "exchange",
        "http",
        "parse_token",
        "verify_claims",
    ];
    assert_eq!(targets, replayed);
    for target in targets {
        let dictionary = fuzz().join(format!("dictionaries/{target}"));
        assert!(
            files(&fuzz().join("seeds").join(&target)).len() > 20,
            "{target}"
        );
        assert!(dictionary.exists(), "{target}");
    }
}

#[test]
fn parse_token_seeds_keep_its_property_and_reach_every_outcome() {
    let outcomes = replay("parse_token", properties::parse_token::check);
    let form = [
        Error::TooLong,
        Error::NotAJwt,
        Error::NotThreeParts,
        Error::Encrypted,
        Error::EmptyPart,
        Error::Padding,
        Error::NotHs256Signature,
        Error::NotBase64url,
    ];
    assert_eq!(errors(&outcomes), form);
}

#[test]
fn verify_claims_seeds_keep_its_property_and_reach_every_outcome() {
    let outcomes = replay("verify_claims", properties::verify_claims::check);
    // The target encodes and signs: the form is always right, but for empty parts and the length.
    let unreachable = [
        Error::NotAJwt,
        Error::NotThreeParts,
        Error::Encrypted,
        Error::Padding,
        Error::NotHs256Signature,
        Error::NotBase64url,
    ];
    let reachable: Vec<Error> = Error::ALL
        .into_iter()
        .filter(|error| !unreachable.contains(error))
        .collect();
    assert_eq!(errors(&outcomes), reachable);
}

#[test]
fn differential_seeds_keep_its_property_and_reach_every_pair_of_verdicts() {
    provider::install();
    let outcomes = replay("differential", properties::differential::check);
    for ours in [true, false] {
        for theirs in [true, false] {
            assert!(
                outcomes
                    .iter()
                    .any(|verdicts| (verdicts.0.is_ok(), verdicts.1.is_ok()) == (ours, theirs)),
                "accepted by us: {ours}, by them: {theirs}"
            );
        }
    }
}

#[test]
fn bearer_seeds_keep_its_property_and_reach_every_outcome() {
    let outcomes = replay("bearer", properties::bearer::check);
    assert!(outcomes.contains(&Ok(())));
    let policy = [
        // The policy of the target requires nothing.
        Challenge::InvalidToken(Error::MissingExpiration),
        Challenge::InvalidToken(Error::MissingIssuer),
        Challenge::InvalidToken(Error::WrongIssuer),
        Challenge::InvalidToken(Error::MissingAudience),
        Challenge::InvalidToken(Error::WrongAudience),
        // Statuses of a handler.
        Challenge::InsufficientScope,
        Challenge::MissingSubject,
        Challenge::UnusableSubject,
    ];
    for challenge in Challenge::all().filter(|challenge| !policy.contains(challenge)) {
        assert!(outcomes.contains(&Err(challenge)), "{challenge:?}");
    }
}

#[test]
fn exchange_seeds_keep_its_property_and_reach_every_outcome() {
    use properties::exchange::{Outcome, check};
    let outcomes = replay("exchange", check);
    let reached: BTreeSet<Outcome> = outcomes.into_iter().flatten().collect();
    assert_eq!(reached.into_iter().collect::<Vec<_>>(), Outcome::ALL);
}

#[test]
fn exchange_random_schedules_keep_its_property() {
    use properties::exchange::{Outcome, check, schedule};
    // As many as a debug build tries in five seconds, and not fewer than reach every outcome.
    let least = 200;
    let end = Instant::now() + Duration::from_secs(5);
    let mut reached = BTreeSet::new();
    for seed in (0..4000).take_while(|seed| *seed < least || Instant::now() < end) {
        let schedule = schedule(seed);
        match catch_unwind(|| check(schedule.as_bytes())) {
            Ok(outcomes) => reached.extend(outcomes),
            Err(_) => panic!("seed {seed}:\n{schedule}"),
        }
    }
    assert_eq!(reached.into_iter().collect::<Vec<_>>(), Outcome::ALL);
}

#[test]
fn http_seeds_keep_its_property_and_reach_every_status() {
    let outcomes = replay("http", properties::http::check);
    let statuses: BTreeSet<u16> = outcomes.into_iter().flatten().collect();
    assert_eq!(
        statuses.into_iter().collect::<Vec<_>>(),
        [200, 204, 400, 401, 403, 404, 405, 431]
    );
}
