//! The input of the targets that sign: three paragraphs, `\n\n` between them.
//!
//! ```text
//! now=1700000000 leeway=60 require_exp iss=issuer aud=api user=sub scope=scope key=previous
//!
//! {"alg":"HS256"}
//!
//! {"exp":1700000000}
//! ```
//!
//! The first is the clock, the policy and the key, a word each, all of them optional; the others
//! are header and payload, which may be anything.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use resource_server::jwt::{Key, Policy, Verifier};

/// Seconds since 1970 where an input names none.
const NOW: Duration = Duration::from_secs(1_700_000_000);

pub const CURRENT: &[u8] = b"the current secret of the targets";
const PREVIOUS: &[u8] = b"the previous secret of the targets";
const UNKNOWN: &[u8] = b"a secret that is not configured";

pub struct Case<'a> {
    pub now: SystemTime,
    pub policy: Policy,
    pub signer: Signer,
    pub header: &'a [u8],
    pub payload: &'a [u8],
}

/// Whose token it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    Current,
    Previous,
    Unknown,
}

impl<'a> Case<'a> {
    /// Reads any bytes; words that mean nothing are passed over.
    pub fn read(bytes: &'a [u8]) -> Self {
        let (words, rest) = paragraph(bytes);
        let (header, payload) = paragraph(rest);
        let mut case = Self {
            now: UNIX_EPOCH + NOW,
            policy: Policy::default(),
            signer: Signer::Current,
            header,
            payload,
        };
        for word in String::from_utf8_lossy(words).split_ascii_whitespace() {
            match word.split_once('=').unwrap_or((word, "")) {
                ("now", seconds) => case.now = time(seconds).unwrap_or(case.now),
                ("leeway", seconds) => case.policy.leeway = seconds.parse().unwrap_or(0),
                ("require_exp", _) => case.policy.require_exp = true,
                ("iss", issuer) => case.policy.issuer = Some(issuer.into()),
                ("aud", audience) => case.policy.audience = Some(audience.into()),
                ("user", name) => case.policy.user_claim = name.into(),
                ("scope", name) => case.policy.scope_claim = name.into(),
                ("key", "previous") => case.signer = Signer::Previous,
                ("key", "unknown") => case.signer = Signer::Unknown,
                _ => {}
            }
        }
        case
    }

    pub fn token(&self) -> String {
        let secret = match self.signer {
            Signer::Current => CURRENT,
            Signer::Previous => PREVIOUS,
            Signer::Unknown => UNKNOWN,
        };
        key(secret).sign_parts(self.header, self.payload)
    }

    pub fn verifier(&self) -> Verifier {
        Verifier::new(key(CURRENT), self.policy.clone()).with_previous(key(PREVIOUS))
    }

    /// The clock in seconds, as a `NumericDate` has it.
    pub fn seconds(&self) -> f64 {
        match self.now.duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_secs_f64(),
            Err(before) => -before.duration().as_secs_f64(),
        }
    }
}

pub fn key(secret: &[u8]) -> Key {
    Key::new(secret).expect("the secret is not empty")
}

fn paragraph(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n");
    end.map_or((bytes, b""), |end| (&bytes[..end], &bytes[end + 2..]))
}

fn time(seconds: &str) -> Option<SystemTime> {
    let seconds: f64 = seconds.parse().ok()?;
    let distance = Duration::try_from_secs_f64(seconds.abs()).ok()?;
    if seconds < 0.0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    }
}
