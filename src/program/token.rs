//! The command `token`, and the token of a trial run.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_core::de::IgnoredAny;

use super::{Failure, complain, print};
use crate::app::gate::user;
use crate::config::{TokenConfig, address, integer};

/// Default token lifetime in seconds; also that of a trial run's token.
const DEFAULT_TTL: u64 = 3600;

/// The largest `--ttl`, in seconds: ten years.
const MAX_TTL: u64 = 10 * 366 * 24 * 3600;

/// The user of a token if `--sub` is not given; also that of a trial run's token.
const DEFAULT_USER: &str = "demo";

/// The token of a trial run.
pub(super) fn trial_token(tokens: &TokenConfig) -> String {
    Claims::new(tokens, DEFAULT_USER, DEFAULT_TTL).sign(tokens)
}

/// `token [--sub NAME] [--ttl SECONDS] [--claim NAME=VALUE]...`
pub(super) fn token(options: &[&str]) -> Result<(), Failure> {
    let (mut user, mut ttl, mut claims) = (None, DEFAULT_TTL, Vec::new());
    for option in options.chunks(2) {
        match option {
            ["--sub", name] => user = Some(*name),
            ["--ttl", seconds] => {
                let seconds = integer(seconds).filter(|seconds| (1..=MAX_TTL).contains(seconds));
                ttl = seconds.ok_or_else(|| {
                    Failure::usage(format!("--ttl: expected an integer from 1 to {MAX_TTL}"))
                })?;
            }
            ["--claim", claim] => {
                let claim = claim.split_once('=').filter(|(name, _)| !name.is_empty());
                claims.push(claim.ok_or_else(|| Failure::usage("--claim: expected NAME=VALUE"))?);
            }
            _ => {
                return Err(Failure::usage(format!(
                    "token: unknown arguments {option:?}: try --help"
                )));
            }
        }
    }

    let tokens = TokenConfig::load()?;
    let mut all = Claims::new(&tokens, DEFAULT_USER, ttl);
    if let Some(user) = user {
        all.set(&tokens.policy.user_claim, json(user));
    }
    for (name, value) in claims {
        // Checked but not parsed: a number keeps its digits, also one that no `f64` holds. The grammar of JSON
        // allows half a surrogate pair and any depth, so they count as JSON too.
        let is_json = serde_json::from_str::<IgnoredAny>(value).is_ok();
        all.set(name, if is_json { value.into() } else { json(value) });
    }
    let token = all.sign(&tokens);
    warn_of_rejection(&tokens, &token);
    print(&token)
}

/// Warns if a server with this configuration would reject the token, or would not start. A rejection is not
/// an error here: the token may exist to test it.
fn warn_of_rejection(tokens: &TokenConfig, token: &str) {
    match tokens.verifier().verify(token, SystemTime::now().into()) {
        Err(error) => complain(&format!(
            "warning: this configuration rejects the token: {error}"
        )),
        Ok(claims) => {
            if let Err(challenge) = user(&claims) {
                let message = challenge.message();
                complain(&format!("warning: /auth rejects the token: {message}"));
            }
        }
    }
    // A server in another environment may accept the token, so an unusable address is not an error here.
    if let Ok(address) = address()
        && let Err(error) = tokens.check_secret_lengths(address)
    {
        complain(&format!(
            "warning: no server starts with this secret: {error}"
        ));
    }
}

/// The claims of a token to be signed: each name once, with its value as JSON.
struct Claims(Vec<(String, String)>);

impl Claims {
    /// The claims of this user, valid for `ttl` seconds from now, with the configured issuer and audience.
    fn new(tokens: &TokenConfig, user: &str, ttl: u64) -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let policy = &tokens.policy;
        let mut claims = Self(Vec::new());
        claims.set(&policy.user_claim, json(user));
        claims.set("iat", now.to_string());
        claims.set("exp", (now + ttl).to_string());
        for (name, value) in [("iss", &policy.issuer), ("aud", &policy.audience)] {
            if let Some(value) = value {
                claims.set(name, json(value));
            }
        }
        claims
    }

    /// Adds a claim or replaces it.
    fn set(&mut self, name: &str, value: String) {
        match self.0.iter_mut().find(|(present, _)| present == name) {
            Some((_, present)) => *present = value,
            None => self.0.push((name.into(), value)),
        }
    }

    fn sign(&self, tokens: &TokenConfig) -> String {
        let members: Vec<_> = self
            .0
            .iter()
            .map(|(name, value)| format!("{}:{value}", json(name)))
            .collect();
        tokens.current.sign(&format!("{{{}}}", members.join(",")))
    }
}

/// Serializes a text as JSON.
fn json(text: &str) -> String {
    // Serializing a string cannot fail.
    serde_json::to_string(text).unwrap_or_default()
}
