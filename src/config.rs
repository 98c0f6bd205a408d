//! Turns environment variables into a [`Config`]. Each value is parsed once, here. Each error names its
//! variable.

mod names;
mod secret;

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::jwt::{EmptySecret, Key, Policy, Verifier};
use crate::server::Limits;

use secret::{Secret, Secrets};

/// Every variable: its name, its default, and what it means.
pub const VARIABLES: &[(&str, &str, &str)] = &[
    (
        "API_PORT",
        "5000",
        "TCP port, 0 to 65535; 0 lets the system choose",
    ),
    ("API_HOST", "127.0.0.1", "IP address to listen on"),
    (
        "API_WORKERS",
        "available CPUs",
        "threads that serve, 1 to 256",
    ),
    (
        "API_MAX_CONNECTIONS",
        "1024",
        "connections served at once, 1 to 1000000",
    ),
    (
        "API_HEADER_TIMEOUT",
        "10",
        "seconds to send a head or content, or take a response, 1 to 3600",
    ),
    (
        "API_IDLE_TIMEOUT",
        "60",
        "seconds a connection may be idle, 1 to 3600",
    ),
    (
        "API_ANSWER_TIMEOUT",
        "30",
        "seconds for a handler to respond, 1 to 3600",
    ),
    (
        "API_DRAIN_TIMEOUT",
        "8",
        "seconds for requests in flight at shutdown, 0 to 3600",
    ),
    (
        "API_LOG",
        "errors",
        "\"errors\", or \"access\" for a line per request as well",
    ),
    ("JWT_SECRET", "", "the HS256 secret, 32 bytes or more"),
    (
        "JWT_SECRET_FILE",
        "",
        "the path of a file with it; re-read at SIGHUP",
    ),
    (
        "JWT_SECRET_PREVIOUS",
        "",
        "a second accepted secret, for rotation",
    ),
    (
        "JWT_SECRET_PREVIOUS_FILE",
        "",
        "the path of a file with it, which may be empty",
    ),
    ("JWT_ISSUER", "", "the iss that a token must have"),
    ("JWT_AUDIENCE", "", "the aud that a token must name"),
    (
        "JWT_LEEWAY",
        "0",
        "seconds by which clocks may differ, 0 to 300",
    ),
    (
        "JWT_REQUIRE_EXP",
        "false",
        "\"true\" rejects tokens without exp",
    ),
    ("JWT_USER_CLAIM", "sub", "the claim that names the user"),
    (
        "JWT_SCOPE_CLAIM",
        "scope",
        "the claim that lists the scopes",
    ),
];

/// The port if `API_PORT` is not set.
const DEFAULT_PORT: u16 = 5000;

/// The address if `API_HOST` is not set: nothing outside this machine can reach it.
const DEFAULT_HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The largest `API_WORKERS`.
const MAX_WORKERS: usize = 256;

/// Connections served at once if `API_MAX_CONNECTIONS` is not set: about 51 MiB at most with one worker,
/// without the kernel's buffers.
const DEFAULT_MAX_CONNECTIONS: u32 = 1024;

/// The largest `API_MAX_CONNECTIONS`.
const MAX_CONNECTIONS: u32 = 1_000_000;

/// Seconds for one head or one response if `API_HEADER_TIMEOUT` is not set: a good client needs less
/// than one, a phone in a tunnel a few.
const DEFAULT_HEADER_TIMEOUT: u64 = 10;

/// Seconds between requests if `API_IDLE_TIMEOUT` is not set: about as long as proxies keep idle
/// connections.
const DEFAULT_IDLE_TIMEOUT: u64 = 60;

/// Seconds for a handler to respond if `API_ANSWER_TIMEOUT` is not set: as long as many proxies wait.
const DEFAULT_ANSWER_TIMEOUT: u64 = 30;

/// Seconds for requests in flight at shutdown if `API_DRAIN_TIMEOUT` is not set: less than the 10 seconds
/// after which container engines kill a process.
const DEFAULT_DRAIN_TIMEOUT: u64 = 8;

/// The largest timeout, in seconds.
const MAX_TIMEOUT: u64 = 3600;

/// The largest `JWT_LEEWAY`, in seconds: a clock that is off by more than minutes is broken.
const MAX_LEEWAY: u16 = 300;

/// How many characters of an unusable value are shown.
const MAX_SHOWN: usize = 100;

/// Returns whether this is a trial run: neither `API_HOST` nor any `JWT_` variable is set.
fn is_trial() -> bool {
    variable("API_HOST").is_none()
        && !env::vars_os().any(|(name, _)| name.as_bytes().starts_with(b"JWT_"))
}

fn variable(name: &str) -> Option<OsString> {
    env::var_os(name)
}

/// An unusable value: one line that names the variable, what was expected and, unless it is a secret,
/// what was found.
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

    fn empty(variable: &'static str) -> Self {
        Self::new(variable, "a secret of at least one byte, found none")
    }

    fn found(self, value: &OsStr) -> Self {
        let shown: String = value.to_string_lossy().chars().take(MAX_SHOWN).collect();
        Self {
            found: Some(format!("{shown:?}")),
            ..self
        }
    }

    /// What was found, without its value.
    fn found_unshown(self, description: String) -> Self {
        Self {
            found: Some(description),
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

/// The configuration of a server.
#[derive(Debug)]
pub struct Config {
    /// Where to listen.
    pub address: SocketAddr,
    /// Concurrency limits and the drain timeout.
    pub limits: Limits,
    /// Whether the number of workers is the default: then one is enough if the system cannot create
    /// the threads.
    pub has_default_workers: bool,
    /// Whether each request is logged.
    pub logs_access: bool,
    /// The keys and the policy that sign and verify tokens; `None` for a trial run, which gets a
    /// random secret.
    pub tokens: Option<TokenConfig>,
    /// What the operator should know, one line each.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads every variable. `application` names the additional variables that an application on this
    /// crate reads, so that they are not taken for misspelled ones.
    ///
    /// # Errors
    ///
    /// The first variable with an unusable value.
    pub fn load(application: &[&str]) -> Result<Self, ConfigError> {
        let address = address()?;
        let seconds = |variable, default, range| {
            let seconds = number(variable, range)?.unwrap_or(default);
            Ok(Duration::from_secs(seconds))
        };
        let timeout = |variable, default| seconds(variable, default, 1..=MAX_TIMEOUT);
        let tokens = if is_trial() {
            None
        } else {
            Some(TokenConfig::load()?)
        };
        let workers = number("API_WORKERS", 1..=MAX_WORKERS)?;
        let mut config = Self {
            address,
            has_default_workers: workers.is_none(),
            limits: Limits {
                workers: workers.unwrap_or_else(cpus),
                max_connections: number("API_MAX_CONNECTIONS", 1..=MAX_CONNECTIONS)?
                    .unwrap_or(DEFAULT_MAX_CONNECTIONS),
                step_timeout: timeout("API_HEADER_TIMEOUT", DEFAULT_HEADER_TIMEOUT)?,
                idle_timeout: timeout("API_IDLE_TIMEOUT", DEFAULT_IDLE_TIMEOUT)?,
                answer_timeout: timeout("API_ANSWER_TIMEOUT", DEFAULT_ANSWER_TIMEOUT)?,
                drain_timeout: seconds(
                    "API_DRAIN_TIMEOUT",
                    DEFAULT_DRAIN_TIMEOUT,
                    0..=MAX_TIMEOUT,
                )?,
            },
            logs_access: choice("API_LOG", [("errors", false), ("access", true)])?,
            tokens,
            warnings: Vec::new(),
        };
        if let Some(tokens) = &mut config.tokens {
            config.warnings = tokens.check_secret_lengths(address)?;
            config.warnings.append(&mut tokens.warnings);
        }
        let known: Vec<_> = VARIABLES
            .iter()
            .map(|(name, _, _)| *name)
            .chain(application.iter().copied())
            .collect();
        let names = env::vars_os().map(|(name, _)| name);
        config.warnings.extend(names::warnings(names, &known));
        Ok(config)
    }
}

/// A secret under [`Key::RECOMMENDED_LEN`].
#[derive(Debug)]
struct ShortSecret {
    variable: &'static str,
    /// Its length and the name of the line end that was removed from its file, if there was one.
    removed: Option<(usize, &'static str)>,
}

impl ShortSecret {
    fn of(secret: &Secret) -> Option<Self> {
        let len = secret.bytes.len();
        (len < Key::RECOMMENDED_LEN).then(|| Self {
            variable: secret.variable,
            removed: secret.line_end.map(|name| (len, name)),
        })
    }

    fn error(&self, place: &str) -> ConfigError {
        let len = Key::RECOMMENDED_LEN;
        let expected = format!("at least {len} bytes (RFC 7518 §3.2){place}");
        let error = ConfigError::new(self.variable, expected);
        match self.removed {
            Some((len, name)) => error.found_unshown(format!(
                "{len} after the final line end ({name}) of the file, which is not part of the secret"
            )),
            None => error,
        }
    }
}

/// The keys and the policy that sign and verify tokens.
#[derive(Debug)]
pub struct TokenConfig {
    /// The secret that signs.
    pub current: Key,
    /// The previous secret, during a rotation.
    pub previous: Option<Key>,
    /// What claims are checked against.
    pub policy: Policy,
    /// What the operator should know about the values, one line each, short secrets aside.
    pub warnings: Vec<String>,
    short_secrets: Vec<ShortSecret>,
}

impl TokenConfig {
    /// Reads the variables that begin with `JWT_`.
    ///
    /// # Errors
    ///
    /// The first variable with an unusable value; a missing secret.
    pub fn load() -> Result<Self, ConfigError> {
        let mut config = Self::with(&Secrets::read()?)?;
        let audience = config.policy.audience.as_deref();
        if audience.is_some_and(|audience| audience.contains(',')) {
            config.warnings.push(
                "warning: JWT_AUDIENCE: a comma does not separate, this is one audience".into(),
            );
        }
        Ok(config)
    }

    /// Reads the files again. Blocks the thread until they stop changing, for at most 0.1 s plus the time
    /// to read them. The result has warnings about the secrets only.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load); a secret under [`Key::RECOMMENDED_LEN`] on any address; files that
    /// keep changing.
    pub fn reload() -> Result<Self, ConfigError> {
        let config = Self::with(&Secrets::read_settled()?)?;
        match config.short_secrets.first() {
            Some(short) => Err(short.error("")),
            None => Ok(config),
        }
    }

    /// Returns whether a secret comes from a file, so that [`reload`](Self::reload) may find a new one.
    #[must_use]
    pub fn has_files() -> bool {
        let files = ["JWT_SECRET_FILE", "JWT_SECRET_PREVIOUS_FILE"];
        files.into_iter().any(|file| variable(file).is_some())
    }

    fn with(secrets: &Secrets) -> Result<Self, ConfigError> {
        let key = |secret: &Secret| {
            Key::new(&secret.bytes).map_err(|EmptySecret| ConfigError::empty(secret.variable))
        };
        let secrets_read = || [Some(&secrets.current), secrets.previous.as_ref()].into_iter();
        let warnings = secrets_read()
            .flatten()
            .flat_map(Secret::warnings)
            .collect();
        let policy = Policy {
            issuer: text("JWT_ISSUER")?,
            audience: text("JWT_AUDIENCE")?,
            leeway: number("JWT_LEEWAY", 0..=MAX_LEEWAY)?.unwrap_or_default(),
            require_exp: choice("JWT_REQUIRE_EXP", [("false", false), ("true", true)])?,
            user_claim: text("JWT_USER_CLAIM")?.unwrap_or_else(|| "sub".into()),
            scope_claim: text("JWT_SCOPE_CLAIM")?.unwrap_or_else(|| "scope".into()),
        };
        Ok(Self {
            current: key(&secrets.current)?,
            previous: secrets.previous.as_ref().map(key).transpose()?,
            policy,
            warnings,
            short_secrets: secrets_read()
                .flatten()
                .filter_map(ShortSecret::of)
                .collect(),
        })
    }

    /// A random secret for one run.
    ///
    /// # Errors
    ///
    /// The OS error if `/dev/urandom` cannot be read.
    pub fn random() -> io::Result<Self> {
        let mut secret = [0; Key::RECOMMENDED_LEN];
        File::open("/dev/urandom")?.read_exact(&mut secret)?;
        let current = Key::new(&secret).map_err(io::Error::other)?;
        Ok(Self {
            current,
            previous: None,
            policy: Policy::default(),
            warnings: Vec::new(),
            short_secrets: Vec::new(),
        })
    }

    /// Checks that no secret is too short for a server at this address, and returns a warning for each
    /// that is short and accepted.
    ///
    /// A secret under [`Key::RECOMMENDED_LEN`] can be guessed offline from one token (RFC 7518 §3.2).
    /// On a loopback address, where tutorials use short secrets, it is only a warning.
    ///
    /// # Errors
    ///
    /// The first short secret, if the address is not loopback.
    pub fn check_secret_lengths(&self, address: SocketAddr) -> Result<Vec<String>, ConfigError> {
        let is_loopback = address.ip().to_canonical().is_loopback();
        let check = |short: &ShortSecret| {
            if is_loopback {
                Ok(format!(
                    "warning: {}, accepted on loopback",
                    short.error("")
                ))
            } else {
                Err(short.error(" on an address that is not loopback"))
            }
        };
        self.short_secrets.iter().map(check).collect()
    }

    /// The verifier with these keys and this policy.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        let verifier = Verifier::new(self.current.clone(), self.policy.clone());
        match &self.previous {
            Some(previous) => verifier.with_previous(previous.clone()),
            None => verifier,
        }
    }
}

/// `API_HOST` and `API_PORT`.
///
/// # Errors
///
/// The variable with an unusable value.
pub fn address() -> Result<SocketAddr, ConfigError> {
    let host = match variable("API_HOST") {
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

/// The number of processors that this process may use, a container's quota included; at most
/// [`MAX_WORKERS`].
fn cpus() -> usize {
    available_parallelism()
        .map_or(1, NonZeroUsize::get)
        .min(MAX_WORKERS)
}

fn number<T: FromStr + PartialOrd + fmt::Display>(
    variable: &'static str,
    range: RangeInclusive<T>,
) -> Result<Option<T>, ConfigError> {
    let Some(value) = self::variable(variable) else {
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
    let Some(value) = self::variable(variable) else {
        return Ok(default);
    };
    let chosen = choices.into_iter().find(|(name, _)| *name == value);
    chosen
        .map(|(_, choice)| choice)
        .ok_or_else(|| ConfigError::new(variable, format!("{first:?} or {second:?}")).found(&value))
}

fn text(variable: &'static str) -> Result<Option<String>, ConfigError> {
    let Some(value) = self::variable(variable) else {
        return Ok(None);
    };
    match value.to_str() {
        Some(text) if !text.is_empty() => Ok(Some(text.to_owned())),
        _ => Err(ConfigError::new(variable, "UTF-8 text of at least one character").found(&value)),
    }
}
