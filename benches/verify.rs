//! What a verification costs: this crate beside the floor and other libraries, in one process, in
//! turns. Prints a Markdown table, or fails if a library gives a wrong verdict.

use std::collections::HashSet;
use std::env;
use std::fs;
use std::hint::black_box;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use hmac_012::Mac as _;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use jwt::VerifyWithKey;
use jwt_compact::alg::{Hs256, Hs256Key};
use jwt_compact::{AlgorithmExt, TimeOptions, UntrustedToken};
use jwt_simple::algorithms::{HS256Key, MACLike};
use jwt_simple::common::VerificationOptions;
use jwt_simple::prelude::NoCustomClaims;
use resource_server::jwt::{Key, Policy, UnverifiedToken, Verifier};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::Sha256;
use subtle::ConstantTimeEq;

const SECRET: &[u8] = b"a secret of the bench, 32 bytes or longer";
const ISSUER: &str = "https://id.example.com/";
const AUDIENCE: &str = "https://api.example.com";

/// The least duration of a batch: some hundred times the cost of reading the clock.
const BATCH: Duration = Duration::from_micros(20);

/// The fastest of so many batches counts, because nothing else on the machine disturbed it.
const BATCHES: u32 = 3000;

/// A token and the verdict that is right for it.
struct Case {
    name: &'static str,
    token: String,
    is_valid: bool,
    /// Whether issuer and audience are configured.
    has_policy: bool,
    /// The token whose MAC is the floor of this case.
    floor: String,
}

/// The cost of one case for one contestant.
struct Cost {
    nanoseconds: f64,
    allocations: u64,
}

type Contestant = (&'static str, Box<dyn Fn(&str) -> bool>);

fn main() {
    without_backtraces();
    assert_is_what_ships();
    let cases = cases();
    let mut rows: Vec<(&str, Vec<Cost>)> = Vec::new();
    for case in &cases {
        let contestants = contestants(case);
        rows.resize_with(contestants.len(), || ("", Vec::new()));
        for ((name, costs), (contestant, cost)) in rows
            .iter_mut()
            .zip(contestants.iter().zip(measure(case, &contestants)))
        {
            *name = contestant.0;
            costs.push(cost);
        }
    }

    println!(
        "{}. Multiple of the floor (nanoseconds, heap allocations):\n",
        processor()
    );
    let names: Vec<&str> = cases.iter().map(|case| case.name).collect();
    println!("| | {} |", names.join(" | "));
    println!("|---|{}", "---|".repeat(names.len()));
    let floor = &rows[0].1;
    for (name, costs) in &rows {
        let cells: Vec<String> = costs
            .iter()
            .zip(floor)
            .map(|(cost, floor)| {
                let ratio = cost.nanoseconds / floor.nanoseconds;
                let (nanoseconds, allocations) = (cost.nanoseconds, cost.allocations);
                format!("{ratio:.2} ({nanoseconds:.0} ns, {allocations})")
            })
            .collect();
        println!("| {name} | {} |", cells.join(" | "));
    }
}

/// Restarts without the variables that would charge peers for the backtraces of their errors.
fn without_backtraces() {
    const VARIABLES: [&str; 2] = ["RUST_BACKTRACE", "RUST_LIB_BACKTRACE"];
    if VARIABLES.iter().any(|name| env::var_os(name).is_some()) {
        let mut command = Command::new(env::current_exe().unwrap());
        for name in VARIABLES {
            command.env_remove(name);
        }
        panic!(
            "cannot restart: {}",
            command.args(env::args_os().skip(1)).exec()
        );
    }
}

/// Fails if the profile, or a version that the verifier's cost depends on, is not the program's: the
/// figures would be those of another verifier.
fn assert_is_what_ships() {
    const MANIFESTS: [&str; 2] = [include_str!("Cargo.toml"), include_str!("../Cargo.toml")];
    const LOCKS: [&str; 2] = [include_str!("Cargo.lock"), include_str!("../Cargo.lock")];
    let [ours, shipped] = MANIFESTS.map(release_profile);
    assert_eq!(ours, shipped, "the profiles of benches/ and of the program");
    for name in ["base64", "hmac", "serde_json", "sha2", "subtle"] {
        let [ours, shipped] = LOCKS.map(|lock| versions(lock, name));
        assert!(
            shipped.is_subset(&ours),
            "{name}: {shipped:?} in the program, {ours:?} here: cargo update"
        );
    }
}

/// The settings, without comments.
fn release_profile(manifest: &str) -> HashSet<&str> {
    let (_, profile) = manifest.split_once("[profile.release]\n").unwrap();
    profile
        .lines()
        .take_while(|line| !line.starts_with('['))
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
        .collect()
}

fn versions<'a>(lock: &'a str, name: &str) -> HashSet<&'a str> {
    let package = format!("name = \"{name}\"\nversion = ");
    lock.split(&package)
        .skip(1)
        .filter_map(|rest| rest.lines().next())
        .collect()
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(": "));
    model.map_or(env::consts::ARCH, |(_, model)| model).into()
}

fn cases() -> Vec<Case> {
    let key = Key::new(SECRET).unwrap();
    let sample =
        key.sign(r#"{"sub":"1234567890","name":"John Doe","admin":true,"iat":1516239022}"#);
    let oauth = key.sign(&format!(
        r#"{{"iss":"{ISSUER}","sub":"auth0|5f7c8ec7c33c6c004bbafe82","aud":"{AUDIENCE}",{}}}"#,
        concat!(
            r#""iat":1516239022,"exp":4102444800,"azp":"my_client_id_0123456789abcdefghijk","#,
            r#""scope":"openid profile email read:items write:items""#
        )
    ));
    assert_eq!(oauth.len(), 395);
    let groups: Vec<String> = (0..170)
        .map(|n| format!(r#""department-{n:03}""#))
        .collect();
    let large = key.sign(&format!(
        r#"{{"iss":"{ISSUER}","sub":"alice@a.example.org","aud":"{AUDIENCE}","exp":4102444800,"groups":[{}]}}"#,
        groups.join(",")
    ));
    assert_eq!(large.len(), 4096);

    let case = |name, token: &str, is_valid, has_policy, floor: &str| Case {
        name,
        token: token.into(),
        is_valid,
        has_policy,
        floor: floor.into(),
    };
    let (bad_sample, bad_oauth) = (with_bad_signature(&sample), with_bad_signature(&oauth));
    let no_token = "x".repeat(sample.len());
    // The last character before the signature is not base64url; all before it is valid.
    let (signing_input, signature) = sample.rsplit_once('.').unwrap();
    let nearly_token = format!("{}*.{signature}", &signing_input[..signing_input.len() - 1]);
    vec![
        case("jwt.io sample", &sample, true, false, &sample),
        case("OAuth-like, 395 bytes", &oauth, true, true, &oauth),
        case("4 KiB", &large, true, true, &large),
        case(
            "sample, bad signature",
            &bad_sample,
            false,
            false,
            &bad_sample,
        ),
        case(
            "OAuth-like, bad signature",
            &bad_oauth,
            false,
            true,
            &bad_oauth,
        ),
        case("garbage without dots", &no_token, false, false, &sample),
        case("garbage with dots", &nearly_token, false, false, &sample),
    ]
}

/// Returns the token with another first character in its signature.
fn with_bad_signature(token: &str) -> String {
    let (signing_input, signature) = token.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{signing_input}.{other}{}", &signature[1..])
}

/// The floor first, then this crate, then the others, all with the policy of the case.
fn contestants(case: &Case) -> Vec<Contestant> {
    let (issuer, audience) = (ISSUER.to_owned(), AUDIENCE.to_owned());
    let has_policy = case.has_policy;

    let state = Hmac::<Sha256>::new_from_slice(SECRET).unwrap();
    let floor = UnverifiedToken::parse(&case.floor).unwrap();
    let (signing_input, signature) = (floor.signing_input().to_owned(), *floor.signature());

    let policy = Policy {
        issuer: has_policy.then_some(issuer.clone()),
        audience: has_policy.then_some(audience.clone()),
        ..Policy::default()
    };
    let verifier = Verifier::new(Key::new(SECRET).unwrap(), policy);
    let verifier_of_requests = verifier.clone();
    let now = SystemTime::now().into();

    let mut validation = Validation::new(Algorithm::HS256);
    validation.required_spec_claims = HashSet::new();
    validation.validate_nbf = true;
    validation.validate_aud = has_policy;
    validation.leeway = 0;
    if has_policy {
        validation.set_issuer(&[&issuer]);
        validation.set_audience(&[&audience]);
        validation.set_required_spec_claims(&["iss", "aud"]);
    }
    let validation_of_map = validation.clone();
    let jsonwebtoken_key = DecodingKey::from_secret(SECRET);
    let jsonwebtoken_key_of_map = jsonwebtoken_key.clone();

    let options = VerificationOptions {
        allowed_issuers: has_policy.then(|| HashSet::from([issuer])),
        allowed_audiences: has_policy.then(|| HashSet::from([audience])),
        ..VerificationOptions::default()
    };
    let jwt_simple_key = HS256Key::from_bytes(SECRET);

    let jwt_compact_key = Hs256Key::new(SECRET);
    let time_options = TimeOptions::from_leeway(chrono::Duration::zero());

    let jwt_key = hmac_012::Hmac::<sha2_010::Sha256>::new_from_slice(SECRET).unwrap();

    vec![
        (
            "the floor: HMAC-SHA256 and a constant-time comparison",
            Box::new(move |_| {
                let mac = state
                    .clone()
                    .chain_update(black_box(&signing_input))
                    .finalize();
                mac.into_bytes()[..].ct_eq(black_box(&signature)).into()
            }),
        ),
        (
            "**resource-server**",
            Box::new(move |token| verifier.verify(token, black_box(now)).is_ok()),
        ),
        (
            "**resource-server**, clock and `sub` read too",
            Box::new(move |token| {
                let now = SystemTime::now().into();
                let claims = verifier_of_requests.verify(token, now);
                claims.is_ok_and(|claims| claims.subject().is_some())
            }),
        ),
        (
            "jsonwebtoken, into a struct",
            Box::new(move |token| {
                jsonwebtoken::decode::<Claims>(token, &jsonwebtoken_key, &validation)
                    .is_ok_and(|token| token.claims.sub.is_some())
            }),
        ),
        (
            "jsonwebtoken, into a map",
            Box::new(move |token| {
                jsonwebtoken::decode::<Map<String, Value>>(
                    token,
                    &jsonwebtoken_key_of_map,
                    &validation_of_map,
                )
                .is_ok_and(|token| token.claims.contains_key("sub"))
            }),
        ),
        (
            "jwt-simple",
            Box::new(move |token| {
                jwt_simple_key
                    .verify_token::<NoCustomClaims>(token, Some(options.clone()))
                    .is_ok_and(|claims| claims.subject.is_some())
            }),
        ),
        (
            "jwt-compact, into a struct",
            Box::new(move |token| {
                let Ok(token) = UntrustedToken::new(token) else {
                    return false;
                };
                let validator = Hs256.validator::<Claims>(&jwt_compact_key);
                let Ok(token) = validator.validate(&token) else {
                    return false;
                };
                let claims = token.claims();
                (claims.expiration.is_none() || claims.validate_expiration(&time_options).is_ok())
                    && (claims.not_before.is_none()
                        || claims.validate_maturity(&time_options).is_ok())
                    && claims.custom.satisfy(has_policy)
            }),
        ),
        (
            "jwt, into a struct",
            Box::new(move |token| {
                VerifyWithKey::<Claims>::verify_with_key(token, &jwt_key)
                    .is_ok_and(|claims| claims.satisfy(has_policy) && !claims.have_expired())
            }),
        ),
    ]
}

/// The claims for libraries that leave the choice to their users: enough for the checks, and `sub`.
#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    iss: Option<String>,
    aud: Option<String>,
    exp: Option<u64>,
}

impl Claims {
    /// The checks that `jwt-compact` and `jwt` leave to their users.
    fn satisfy(&self, has_policy: bool) -> bool {
        !has_policy || self.iss.as_deref() == Some(ISSUER) && self.aud.as_deref() == Some(AUDIENCE)
    }

    fn have_expired(&self) -> bool {
        self.exp
            .is_some_and(|exp| jsonwebtoken::get_current_timestamp() >= exp)
    }
}

/// All contestants in turns, so that a change of the processor's pace meets all alike.
fn measure(case: &Case, contestants: &[Contestant]) -> Vec<Cost> {
    for (name, verify) in contestants.iter().skip(1) {
        assert_eq!(
            verify(&case.token),
            case.is_valid,
            "{name}: wrong verdict on {}",
            case.name
        );
    }
    let is_signed = !case.name.contains("bad signature");
    assert_eq!(
        contestants[0].1(""),
        is_signed,
        "the floor: wrong verdict on {}",
        case.name
    );

    let calls: Vec<u32> = contestants
        .iter()
        .map(|(_, verify)| calls_of_a_batch(verify, &case.token))
        .collect();
    let mut best = vec![f64::INFINITY; contestants.len()];
    for _ in 0..BATCHES {
        for ((best, &calls), (_, verify)) in best.iter_mut().zip(&calls).zip(contestants) {
            let nanoseconds = time(verify, &case.token, calls).as_nanos() as f64;
            *best = best.min(nanoseconds / f64::from(calls));
        }
    }
    let cost = |(nanoseconds, (_, verify)): (f64, &Contestant)| Cost {
        nanoseconds,
        allocations: allocation_counter::measure(|| {
            black_box(verify(&case.token));
        })
        .count_total,
    };
    best.into_iter().zip(contestants).map(cost).collect()
}

fn calls_of_a_batch(verify: &dyn Fn(&str) -> bool, token: &str) -> u32 {
    let mut calls = 1;
    while time(verify, token, calls) < BATCH {
        calls *= 2;
    }
    calls
}

fn time(verify: &dyn Fn(&str) -> bool, token: &str, calls: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..calls {
        black_box(verify(black_box(token)));
    }
    start.elapsed()
}
