//! What the time of a refusal reveals: nothing about where a signature is wrong.
//!
//! The method is dudect's (Reparaz, Balasch, Verbauwhede, "Dude, is my code constant time?", 2017):
//! two classes of input, measured in random turns, and Welch's t-test on the times.
//!
//! It needs a quiet machine and an optimized build:
//! `cargo test --release --test timing -- --ignored`
#![allow(
    missing_docs,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions
)]

mod comparison;

use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{Ordering, fence};
use std::time::{Instant, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use resource_server::jwt::{Error, Key, NumericDate, Policy, UnverifiedToken, Verifier};
use sha2::Sha256;

const SECRET: &[u8] = b"a secret of the tests, 32 bytes or longer";

/// Of one run, half of them in each class.
const SAMPLES: usize = 100_000;

/// The share of samples that counts: the slowest are due to the system.
const CROP: f64 = 0.9;

/// Above this |t| dudect calls the times different. One run in some 150,000 gets there by chance.
const THRESHOLD: f64 = 4.5;

const RUNS: usize = 3;

/// Times are measured by one test at a time.
static TURN: Mutex<()> = Mutex::new(());

#[test]
#[ignore = "measures time: run it alone, with --release"]
fn verify_with_a_signature_wrong_at_either_end_takes_the_same_time() {
    let verifier = Verifier::new(Key::new(SECRET).unwrap(), Policy::default());
    let now = NumericDate::from(SystemTime::now());
    let reject = |token: &str| {
        assert_eq!(
            verifier.verify(token, now).unwrap_err(),
            Error::WrongSignature
        );
    };

    let t = t_of_runs(reject);
    assert!(runs_over_threshold(&t) < 2, "times differ: t = {t:.1?}");
}

/// The positive control: were there something to find, this harness would find it.
#[test]
#[ignore = "measures time: run it alone, with --release"]
fn early_exit_comparison_of_signatures_is_caught() {
    let state = Hmac::<Sha256>::new_from_slice(SECRET).unwrap();
    let reject = |token: &str| {
        let token = UnverifiedToken::parse(token).unwrap();
        let mac = state
            .clone()
            .chain_update(token.signing_input())
            .finalize()
            .into_bytes();
        // The black box keeps the compiler from comparing 32 bytes at once.
        let is_equal = mac
            .iter()
            .zip(token.signature())
            .all(|(a, b)| black_box(a) == b);
        assert!(!is_equal);
    };

    let t = t_of_runs(reject);
    assert!(
        runs_over_threshold(&t) >= 2,
        "an early exit passes unseen: t = {t:.1?}"
    );
}

fn runs_over_threshold(t: &[f64; RUNS]) -> usize {
    t.iter().filter(|t| t.abs() > THRESHOLD).count()
}

/// Welch's t of each run, for tokens whose signature is wrong in its first byte or in its last.
fn t_of_runs(reject: impl Fn(&str)) -> [f64; RUNS] {
    let _turn = TURN.lock();
    let token = Key::new(SECRET)
        .unwrap()
        .sign(r#"{"sub":"alice","exp":4102444800}"#);
    let classes = [with_wrong_byte(&token, 0), with_wrong_byte(&token, 31)];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    // The first run only warms up: code, tables, the processor's pace.
    t(&classes, &reject, &mut random);
    [(); RUNS].map(|()| t(&classes, &reject, &mut random))
}

/// The token with one bit of one byte of its signature flipped.
fn with_wrong_byte(token: &str, index: usize) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let (signing_input, signature) = token.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    signature[index] ^= 1;
    format!("{signing_input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn t(classes: &[String; 2], reject: impl Fn(&str), random: &mut Random) -> f64 {
    let mut samples: [Vec<f64>; 2] = [const { Vec::new() }; 2];
    // Both classes are read from the same place, so that no difference is the cache's.
    let mut token = String::with_capacity(classes[0].len());
    for _ in 0..SAMPLES / 2 {
        let first = random.bit();
        for class in [first, 1 - first] {
            token.clear();
            token.push_str(&classes[class]);
            // The copy ends before the time starts: the cache may have lost one of the originals.
            fence(Ordering::SeqCst);
            let start = Instant::now();
            reject(black_box(&token));
            samples[class].push(start.elapsed().as_nanos() as f64);
        }
    }

    let mut all = samples.concat();
    all.sort_by(f64::total_cmp);
    let limit = all[(all.len() as f64 * CROP) as usize];
    let [a, b] = samples.map(|mut samples| {
        samples.retain(|&sample| sample <= limit);
        Moments::of(&samples)
    });
    (a.mean - b.mean) / (a.variance / a.count + b.variance / b.count).sqrt()
}

struct Moments {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Moments {
    fn of(samples: &[f64]) -> Self {
        let count = samples.len() as f64;
        let mean = samples.iter().sum::<f64>() / count;
        let squares: f64 = samples.iter().map(|sample| (sample - mean).powi(2)).sum();
        Self {
            count,
            mean,
            variance: squares / (count - 1.0),
        }
    }
}

/// xorshift64: the turns need only be such that the processor cannot learn them.
struct Random(u64);

impl Random {
    fn bit(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::from(self.0 >> 63 == 1)
    }
}
