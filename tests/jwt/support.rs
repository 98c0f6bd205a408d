//! One key, one clock, and tokens that need not be well formed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use resource_server::jwt::{Error, Key, NumericDate, Policy, Verifier};
use sha2::Sha256;

/// The secret of every test that does not test secrets.
pub const SECRET: &[u8] = b"a secret of the tests, 32 bytes or longer";

/// The header that most issuers write.
pub const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// The clock of every test that does not test clocks, in seconds since 1970.
pub const NOW: i64 = 1_700_000_000;

pub fn key() -> Key {
    Key::new(SECRET).unwrap()
}

/// This many seconds and nanoseconds after 1970. The seconds may be negative.
pub fn at(seconds: i64, nanoseconds: u32) -> NumericDate {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let time: SystemTime = if seconds < 0 {
        UNIX_EPOCH - whole
    } else {
        UNIX_EPOCH + whole
    };
    (time + Duration::from_nanos(nanoseconds.into())).into()
}

/// The verdict of `policy` on `token` at the time `now`.
pub fn verdict_at(token: &str, policy: &Policy, now: NumericDate) -> Result<(), Error> {
    Verifier::new(key(), policy.clone())
        .verify(token, now)
        .map(drop)
}

/// The verdict of `policy` on `token` at [`NOW`].
pub fn verdict_under(token: &str, policy: &Policy) -> Result<(), Error> {
    verdict_at(token, policy, at(NOW, 0))
}

/// The verdict of the default policy on `token` at [`NOW`].
pub fn verdict(token: &str) -> Result<(), Error> {
    verdict_under(token, &Policy::default())
}

pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn from_base64url(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).expect("canonical base64url")
}

/// `signing_input`, whatever it is, followed by a dot and its correct MAC.
pub fn signed(signing_input: &str) -> String {
    signed_with(SECRET, signing_input)
}

/// Computed without the code under test.
pub fn signed_with(secret: &[u8], signing_input: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret)
        .unwrap()
        .chain_update(signing_input)
        .finalize()
        .into_bytes();
    format!("{signing_input}.{}", base64url(mac))
}

/// A correctly signed token with this payload and the usual header.
pub fn with_payload(payload: impl AsRef<[u8]>) -> String {
    signed(&format!("{}.{}", base64url(HEADER), base64url(payload)))
}

/// A correctly signed token with this header and an empty claims set.
pub fn with_header(header: impl AsRef<[u8]>) -> String {
    signed(&format!("{}.{}", base64url(header), base64url("{}")))
}

/// The token with a changed last byte of its MAC.
pub fn with_wrong_mac(token: &str) -> String {
    let (signing_input, signature) = token.rsplit_once('.').unwrap();
    let mut mac = from_base64url(signature);
    *mac.last_mut().unwrap() ^= 1;
    format!("{signing_input}.{}", base64url(mac))
}

/// The step through many similar cases: 1, so that all are tested, or `under_miri` under Miri,
/// which takes a thousand times as long.
pub const fn step(under_miri: usize) -> usize {
    if cfg!(miri) { under_miri } else { 1 }
}

/// How far the verifier got: the place of the error in the order of the checks.
pub fn rank(error: Error) -> usize {
    Error::ALL
        .iter()
        .position(|&other| other == error)
        .expect("every variant is in ALL")
}
