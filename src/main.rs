//! The process: arguments, environment, signals, exit status.

use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use resource_server::access::access_line;
use resource_server::config::{Config, ConfigError, TokenConfig, VARIABLES, address, integer};
use resource_server::log::{Lines, abort_on_panic, output, write_whole};
use resource_server::reload::reload_at_hangup;
use resource_server::server::{Observer, Server, listen, runtime};
use resource_server::shared::{Cached, Shared};
use resource_server::site::Site;
use tokio::signal::unix::{SignalKind, signal};

const HELP: &str = "\
A minimal resource server: one public and one protected resource, HS256 bearer tokens.

    resource-server                                     serve
    resource-server token [--sub NAME] [--ttl SECONDS] [--claim NAME=VALUE]...
                                                        print a token signed with the secret
    resource-server health                              check that a running server is healthy
    resource-server --help | -h
    resource-server --version | -V

A token is for the user \"demo\" and valid for an hour (3600) unless --sub and --ttl say otherwise.
--claim adds a claim or replaces one; VALUE is JSON if it parses as JSON, else a string.

Configuration is by environment variables; see the README. Each with its default:
";

/// Default token lifetime in seconds; also that of a trial run's token.
const DEFAULT_TTL: u64 = 3600;

/// The largest `--ttl`, in seconds: ten years.
const MAX_TTL: u64 = 10 * 366 * 24 * 3600;

/// The user of a token if `--sub` is not given; also that of a trial run's token.
const DEFAULT_USER: &str = "demo";

/// How long the health check may take in all, but for its last line.
const HEALTH_TIMEOUT: Duration = Duration::from_millis(1700);

/// How long to wait for the line of a failed health check to be written.
const HEALTH_FLUSH_TIMEOUT: Duration = Duration::from_millis(100);

/// How long to wait at exit for the last lines to be written, both outputs together.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(300);

/// Why the process ends, in one line, and with which status.
struct Failure {
    status: u8,
    line: String,
}

impl Failure {
    /// An operating-system error: exit status 1.
    fn system(what: impl fmt::Display, error: &io::Error) -> Self {
        Self {
            status: 1,
            line: format!("{what}: {error}"),
        }
    }

    /// Invalid arguments: exit status 2.
    fn usage(line: impl Into<String>) -> Self {
        Self {
            status: 2,
            line: line.into(),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self {
            status: 2,
            line: error.to_string(),
        }
    }
}

fn main() -> ExitCode {
    abort_on_panic();
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let arguments: Option<Vec<&str>> = arguments.iter().map(|argument| argument.to_str()).collect();

    let outcome = match arguments.as_deref() {
        Some([]) => return serve(),
        Some(["health"]) => return health(),
        Some(["token", options @ ..]) => token(options),
        Some(["--help" | "-h"]) => print(&help()),
        Some(["--version" | "-V"]) => print(concat!("resource-server ", env!("CARGO_PKG_VERSION"))),
        Some(unknown) => Err(Failure::usage(format!(
            "unknown arguments {unknown:?}: try --help"
        ))),
        None => Err(Failure::usage("an argument is not UTF-8")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure.line);
            ExitCode::from(failure.status)
        }
    }
}

/// Prints what a command was asked for, whole: its reader may be slow.
fn print(text: &str) -> Result<(), Failure> {
    write_whole(&mut *output(io::stdout()), format!("{text}\n").as_bytes())
        .map_err(|error| Failure::system("cannot write to standard output", &error))
}

/// Prints a line on standard error. An error leaves nowhere to say so.
fn complain(line: &str) {
    let _ = write_whole(&mut *output(io::stderr()), format!("{line}\n").as_bytes());
}

fn help() -> String {
    let mut help = String::from(HELP);
    for (name, default, meaning) in VARIABLES {
        // Writing to a string cannot fail.
        let _ = write!(help, "\n    {name:<25} {meaning}");
        if !default.is_empty() {
            let _ = write!(help, " [{default}]");
        }
    }
    help
}

/// Serves until a signal ends it.
fn serve() -> ExitCode {
    let out = Lines::new(output(io::stdout()));
    let err = Lines::new(output(io::stderr()));
    let outcome = run(&out, &err);
    if let Err(failure) = &outcome {
        err.push(&failure.line);
        err.write_without_thread();
    }
    let deadline = Instant::now() + FLUSH_TIMEOUT;
    out.flush(deadline);
    err.flush(deadline);
    outcome.map_or_else(
        |failure| ExitCode::from(failure.status),
        |()| ExitCode::SUCCESS,
    )
}

fn run(out: &Arc<Lines>, err: &Arc<Lines>) -> Result<(), Failure> {
    let config = Config::load(&[])?;
    for warning in config.warnings {
        err.push(&warning);
    }
    let (tokens, trial_token) = if let Some(tokens) = config.tokens {
        (tokens, None)
    } else {
        let tokens = TokenConfig::random().map_err(|error| {
            Failure::system("cannot generate a secret from /dev/urandom", &error)
        })?;
        let token = Claims::new(&tokens, DEFAULT_USER, DEFAULT_TTL).sign(&tokens);
        (tokens, Some(token))
    };
    let verifier = Arc::new(Shared::new(tokens.verifier()));
    drop(tokens);
    let observer = config.logs_access.then(|| {
        let out = Arc::clone(out);
        let observer: Observer = Arc::new(move |observed| out.push(&access_line(observed)));
        observer
    });
    let site = {
        let (verifier, logs_access) = (Arc::clone(&verifier), config.logs_access);
        move || {
            Ok(Site {
                verifier: Cached::new(Arc::clone(&verifier)),
                logs_access,
            })
        }
    };

    let runtime =
        runtime().map_err(|error| Failure::system("cannot start the event loop", &error))?;
    runtime.block_on(async {
        let signals = |error| Failure::system("cannot listen for signals", &error);
        let shutdown = shutdown_signal().map_err(signals)?;
        reload_at_hangup(verifier, Arc::clone(err)).map_err(signals)?;
        let listener = listen(config.address, &config.limits).map_err(|error| {
            Failure::system(format!("cannot listen on {}", config.address), &error)
        })?;
        let url = format!("http://{}", listener.local_addr().unwrap_or(config.address));
        let mut limits = config.limits;
        let start = |limits| {
            let errors = Some(Arc::clone(err));
            Server::start(limits, site.clone(), errors, observer.clone())
        };
        let mut started = start(limits).await;
        if let Err(error) = &started
            && config.has_default_workers
        {
            err.push(&format!(
                "warning: cannot start {} workers: {error}; one serves, as with API_WORKERS=1",
                limits.workers
            ));
            limits.workers = 1;
            started = start(limits).await;
        }
        let server = started.map_err(|error| {
            let workers = limits.workers;
            Failure::system(
                format!("API_WORKERS: cannot start {workers} workers"),
                &error,
            )
        })?;
        out.push(&format!("listening on {url}"));
        if let Some(token) = trial_token {
            out.push(&format!(
                "JWT_SECRET is not set: using a random secret for this run. \
                This token is valid for one hour:

{token}

curl -i -H 'Authorization: Bearer {token}' {url}/resource/secret
"
            ));
        }
        err.write_without_thread();
        out.write_without_thread();
        server.serve(listener, shutdown).await;
        Ok(())
    })
}

/// Completes at the first SIGTERM or SIGINT; a second one ends the process at once. The handlers
/// are in place when this returns, also in process 1 of a container, which otherwise ignores
/// both signals.
fn shutdown_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut received = move |cx: &mut std::task::Context<'_>| {
        if terminate.poll_recv(cx).is_ready() || interrupt.poll_recv(cx).is_ready() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    };
    Ok(async move {
        std::future::poll_fn(&mut received).await;
        tokio::task::spawn_local(async move {
            std::future::poll_fn(received).await;
            std::process::exit(1)
        });
    })
}

/// `token [--sub NAME] [--ttl SECONDS] [--claim NAME=VALUE]...`
fn token(options: &[&str]) -> Result<(), Failure> {
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
        let is_json = serde_json::from_str::<serde_json::Value>(value).is_ok();
        // As it was written: a number keeps its digits.
        all.set(name, if is_json { value.into() } else { json(value) });
    }
    let token = all.sign(&tokens);
    if let Err(error) = tokens.verifier().verify(&token, SystemTime::now().into()) {
        complain(&format!(
            "warning: this configuration rejects the token: {error}"
        ));
    }
    print(&token)
}

/// The claims of a token to be signed: names, each once, and values as JSON.
struct Claims(Vec<(String, String)>);

impl Claims {
    /// For this user, from now on and for `ttl` seconds, as the configuration asks.
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

/// A text as JSON.
fn json(text: &str) -> String {
    // Serializing a string cannot fail.
    serde_json::to_string(text).unwrap_or_default()
}

/// Status 0 if the server of this environment answers its health check in time, 1 in every other
/// case.
fn health() -> ExitCode {
    let Err(line) = check_health() else {
        return ExitCode::SUCCESS;
    };
    // A blocked output must not keep a health check.
    let err = Lines::new(output(io::stderr()));
    err.push(&line);
    err.write_without_thread();
    err.flush(Instant::now() + HEALTH_FLUSH_TIMEOUT);
    ExitCode::FAILURE
}

/// # Errors
///
/// Why the server is not healthy, in one line.
fn check_health() -> Result<(), String> {
    let mut address = address().map_err(|error| error.to_string())?;
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    match ask_health(address) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("{address}: /healthz did not return 200")),
        // The system calls it "would block" when a socket's timeout is over.
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Err(format!("{address}: timed out"))
        }
        Err(error) => Err(format!("{address}: {error}")),
    }
}

fn ask_health(address: SocketAddr) -> io::Result<bool> {
    const EXPECTED: &[u8] = b"HTTP/1.1 200 ";
    let deadline = Instant::now() + HEALTH_TIMEOUT;
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            Err(io::Error::from(ErrorKind::TimedOut))
        } else {
            Ok(left)
        }
    };
    let mut stream = TcpStream::connect_timeout(&address, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    stream.write_all(
        format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = [0; EXPECTED.len()];
    let mut len = 0;
    while let Some(rest) = answer.get_mut(len..).filter(|rest| !rest.is_empty()) {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(rest) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(answer == EXPECTED)
}
