//! Environment variables to [`Config`]. Each value is parsed once, here, and each error names its
//! variable.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::str::FromStr;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::jwt::{Key, Policy, Verifier};
use crate::server::Limits;

/// The port of a server that is told none.
const DEFAULT_PORT: u16 = 5000;

/// The address of a server that is told none: nobody outside this machine reaches it.
const DEFAULT_HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Threads, at the most.
const MAX_WORKERS: usize = 256;

/// Connections served at once: about 39 MiB at the worst.
const DEFAULT_MAX_CONNECTIONS: u32 = 1024;

/// Connections served at once, at the most.
const MAX_CONNECTIONS: u32 = 1_000_000;

/// Seconds for one head or one answer: a good client needs less than one, a phone in a tunnel a
/// few.
const DEFAULT_HEADER_TIMEOUT: u64 = 10;

/// Seconds between requests: proxies keep theirs for about as long.
const DEFAULT_IDLE_TIMEOUT: u64 = 60;

/// Seconds for requests in flight at the end: less than the 10 after which containers are killed.
const DEFAULT_DRAIN_TIMEOUT: u64 = 8;

/// Seconds, for every timeout.
const MAX_TIMEOUT: u64 = 3600;

/// Seconds by which clocks may differ; more than minutes is a broken clock.
const MAX_LEEWAY: u16 = 300;

/// The longest secret file, in bytes, its line end included: HMAC hashes what is over 64 bytes, so
/// more secret is no more secret.
const MAX_SECRET_FILE_LEN: u32 = 64 * 1024;

/// Characters of a wrong value that are shown.
const MAX_SHOWN: usize = 100;

/// Whether nothing says what to guard with, or from where to be reached: somebody tries the program
/// out.
fn is_trial() -> bool {
    env::var_os("API_HOST").is_none()
        && !env::vars_os().any(|(name, _)| name.as_bytes().starts_with(b"JWT_"))
}

/// A value that cannot be used: one line that names the variable, what was expected, and what was
/// found unless that is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    variable: &'static str,
    expected: String,
    found: Option<String>,
}

impl ConfigError {
    fn new(variable: &'static str, expected: impl Into<String>) -> Self {
        Self {
            variable,
            expected: expected.into(),
            found: None,
        }
    }

    fn found(self, value: &OsStr) -> Self {
        let shown: String = value.to_string_lossy().chars().take(MAX_SHOWN).collect();
        Self {
            found: Some(format!("{shown:?}")),
            ..self
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            variable,
            expected,
            found,
        } = self;
        write!(f, "{variable}: expected {expected}")?;
        found
            .as_ref()
            .map_or(Ok(()), |found| write!(f, ", found {found}"))
    }
}

impl std::error::Error for ConfigError {}

/// All that a server needs to know.
#[derive(Debug)]
pub struct Config {
    /// Where to listen.
    pub address: SocketAddr,
    /// How much may go on at once, and how it ends.
    pub limits: Limits,
    /// How long a client may take to send one head, and to take one answer.
    pub header_timeout: Duration,
    /// How long a connection may be idle.
    pub idle_timeout: Duration,
    /// Whether each request is logged.
    pub logs_access: bool,
    /// With what tokens are checked; `None` for a trial run, which is to make up a secret.
    pub tokens: Option<Tokens>,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads every variable.
    ///
    /// # Errors
    ///
    /// The first variable whose value cannot be used.
    pub fn load() -> Result<Self, ConfigError> {
        let address = address()?;
        let seconds = |variable, default, range| {
            let seconds = number(variable, range)?.unwrap_or(default);
            Ok(Duration::from_secs(seconds))
        };
        let tokens = if is_trial() {
            None
        } else {
            Some(Tokens::load()?)
        };
        let mut config = Self {
            address,
            limits: Limits {
                workers: number("API_WORKERS", 1..=MAX_WORKERS)?.unwrap_or_else(cpus),
                max_connections: number("API_MAX_CONNECTIONS", 1..=MAX_CONNECTIONS)?
                    .unwrap_or(DEFAULT_MAX_CONNECTIONS),
                drain_timeout: seconds(
                    "API_DRAIN_TIMEOUT",
                    DEFAULT_DRAIN_TIMEOUT,
                    0..=MAX_TIMEOUT,
                )?,
            },
            header_timeout: seconds(
                "API_HEADER_TIMEOUT",
                DEFAULT_HEADER_TIMEOUT,
                1..=MAX_TIMEOUT,
            )?,
            idle_timeout: seconds("API_IDLE_TIMEOUT", DEFAULT_IDLE_TIMEOUT, 1..=MAX_TIMEOUT)?,
            logs_access: choice("API_LOG", [("errors", false), ("access", true)])?,
            tokens,
            warnings: Vec::new(),
        };
        config.judge_secret_lengths()?;
        Ok(config)
    }

    /// A secret under 32 bytes can be guessed offline from one token (RFC 7518 §3.2). On a loopback
    /// address that is a tutorial's business.
    fn judge_secret_lengths(&mut self) -> Result<(), ConfigError> {
        let expected = format!("at least {} bytes (RFC 7518 §3.2)", Key::RECOMMENDED_LEN);
        for &variable in self.tokens.iter().flat_map(|tokens| &tokens.short_secrets) {
            if !self.address.ip().to_canonical().is_loopback() {
                return Err(ConfigError::new(
                    variable,
                    format!("{expected} on an address that is not loopback"),
                ));
            }
            self.warnings.push(format!(
                "warning: {variable}: expected {expected}, accepted on loopback"
            ));
        }
        Ok(())
    }
}

/// With what tokens are signed and checked.
#[derive(Debug)]
pub struct Tokens {
    /// The secret that signs.
    pub current: Key,
    /// The one before, during a rotation.
    pub previous: Option<Key>,
    /// What claims are held against.
    pub policy: Policy,
    /// The variables whose secrets are under [`Key::RECOMMENDED_LEN`].
    short_secrets: Vec<&'static str>,
}

impl Tokens {
    /// Reads the variables that begin with `JWT_`.
    ///
    /// # Errors
    ///
    /// The first variable whose value cannot be used; a missing secret.
    pub fn load() -> Result<Self, ConfigError> {
        let mut short_secrets = Vec::new();
        let mut key = |variable, file_variable| {
            let Some((variable, secret)) = secret(variable, file_variable)? else {
                return Ok(None);
            };
            if secret.len() < Key::RECOMMENDED_LEN {
                short_secrets.push(variable);
            }
            Key::new(&secret).map(Some).map_err(|_| {
                ConfigError::new(variable, "a secret of at least one byte, found none")
            })
        };
        let current = key("JWT_SECRET", "JWT_SECRET_FILE")?;
        let previous = key("JWT_SECRET_PREVIOUS", "JWT_SECRET_PREVIOUS_FILE")?;
        let current = current.ok_or_else(|| {
            ConfigError::new(
                "JWT_SECRET",
                "a secret here or in JWT_SECRET_FILE, found neither",
            )
        })?;
        let policy = Policy {
            issuer: text("JWT_ISSUER")?,
            audience: text("JWT_AUDIENCE")?,
            leeway: number("JWT_LEEWAY", 0..=MAX_LEEWAY)?.unwrap_or_default(),
            require_exp: choice("JWT_REQUIRE_EXP", [("false", false), ("true", true)])?,
            ..Policy::default()
        };
        Ok(Self {
            current,
            previous,
            policy,
            short_secrets,
        })
    }

    /// A secret that nobody knows, for one run.
    ///
    /// # Errors
    ///
    /// The system's, if it has no random bytes.
    pub fn made_up() -> std::io::Result<Self> {
        let mut secret = [0; Key::RECOMMENDED_LEN];
        File::open("/dev/urandom")?.read_exact(&mut secret)?;
        let current = Key::new(&secret).map_err(std::io::Error::other)?;
        Ok(Self {
            current,
            previous: None,
            policy: Policy::default(),
            short_secrets: Vec::new(),
        })
    }

    /// The verifier for them.
    #[must_use]
    pub fn into_verifier(self) -> Verifier {
        let verifier = Verifier::new(self.current, self.policy);
        match self.previous {
            Some(previous) => verifier.with_previous(previous),
            None => verifier,
        }
    }
}

/// `API_HOST` and `API_PORT`.
///
/// # Errors
///
/// The one whose value cannot be used.
pub fn address() -> Result<SocketAddr, ConfigError> {
    let host = match env::var_os("API_HOST") {
        None => DEFAULT_HOST,
        Some(value) => value
            .to_str()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| {
                ConfigError::new(
                    "API_HOST",
                    "an IP address, such as 127.0.0.1, 0.0.0.0 or ::",
                )
                .found(&value)
            })?,
    };
    Ok(SocketAddr::new(
        host,
        number("API_PORT", 0..=u16::MAX)?.unwrap_or(DEFAULT_PORT),
    ))
}

/// A plain decimal integer: digits and nothing else.
#[must_use]
pub fn integer<T: FromStr>(text: &str) -> Option<T> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok())?
}

/// The processors that this process may use, a container's quota included. More than the most
/// workers is as many as the most.
fn cpus() -> usize {
    available_parallelism()
        .map_or(1, NonZeroUsize::get)
        .min(MAX_WORKERS)
}

fn number<T: FromStr + PartialOrd + fmt::Display>(
    variable: &'static str,
    range: RangeInclusive<T>,
) -> Result<Option<T>, ConfigError> {
    let Some(value) = env::var_os(variable) else {
        return Ok(None);
    };
    let number = value.to_str().and_then(integer);
    let number = number.filter(|number| range.contains(number));
    number.map(Some).ok_or_else(|| {
        let expected = format!("an integer from {} to {}", range.start(), range.end());
        ConfigError::new(variable, expected).found(&value)
    })
}

fn choice<T: Copy>(variable: &'static str, choices: [(&str, T); 2]) -> Result<T, ConfigError> {
    let [(first, default), (second, _)] = choices;
    let Some(value) = env::var_os(variable) else {
        return Ok(default);
    };
    let chosen = choices.into_iter().find(|(name, _)| *name == value);
    chosen
        .map(|(_, choice)| choice)
        .ok_or_else(|| ConfigError::new(variable, format!("{first:?} or {second:?}")).found(&value))
}

fn text(variable: &'static str) -> Result<Option<String>, ConfigError> {
    let Some(value) = env::var_os(variable) else {
        return Ok(None);
    };
    match value.to_str() {
        Some(text) if !text.is_empty() => Ok(Some(text.to_owned())),
        _ => Err(ConfigError::new(variable, "UTF-8 text of at least one character").found(&value)),
    }
}

/// A secret's bytes, and the variable that it came from.
fn secret(
    variable: &'static str,
    file_variable: &'static str,
) -> Result<Option<(&'static str, Vec<u8>)>, ConfigError> {
    match (env::var_os(variable), env::var_os(file_variable)) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(ConfigError::new(
            variable,
            format!("this or {file_variable}, found both"),
        )),
        (Some(value), None) => Ok(Some((variable, value.into_vec()))),
        (None, Some(path)) => match read_secret(Path::new(&path)) {
            Ok(secret) => Ok(Some((file_variable, secret))),
            Err(error) => {
                let expected =
                    format!("a readable file of at most {MAX_SECRET_FILE_LEN} bytes ({error})");
                Err(ConfigError::new(file_variable, expected).found(&path))
            }
        },
    }
}

/// A file's bytes, less the one line end that editors and `echo` put last.
fn read_secret(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut secret = Vec::new();
    File::open(path)?
        .take(u64::from(MAX_SECRET_FILE_LEN) + 1)
        .read_to_end(&mut secret)?;
    if u32::try_from(secret.len()).is_ok_and(|len| len > MAX_SECRET_FILE_LEN) {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    if secret.ends_with(b"\n") {
        secret.pop();
        if secret.ends_with(b"\r") {
            secret.pop();
        }
    }
    Ok(secret)
}
