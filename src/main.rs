//! The process: arguments, environment, signals, exit status.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use resource_server::config::{Config, ConfigError, Tokens, address, integer};
use resource_server::log::Lines;
use resource_server::server::{Server, listen, runtime};
use resource_server::site::{Closing, Site};
use tokio::signal::unix::{SignalKind, signal};

const HELP: &str = "\
A minimal resource server: one public and one protected resource, HS256 bearer tokens.

    resource-server                                     serve
    resource-server token [--sub NAME] [--ttl SECONDS]  print a token signed with JWT_SECRET
    resource-server health                              ask a running server whether it is well
    resource-server --help | --version

It is configured by environment variables, which the README explains:

    API_HOST API_PORT API_WORKERS API_MAX_CONNECTIONS
    API_HEADER_TIMEOUT API_IDLE_TIMEOUT API_DRAIN_TIMEOUT API_LOG
    JWT_SECRET JWT_SECRET_FILE JWT_SECRET_PREVIOUS JWT_SECRET_PREVIOUS_FILE
    JWT_ISSUER JWT_AUDIENCE JWT_LEEWAY JWT_REQUIRE_EXP";

/// Seconds that a token lives for which nobody said how long, and the one of a trial run.
const DEFAULT_TTL: u64 = 3600;

/// Seconds that a token may be asked to live: ten years.
const MAX_TTL: u64 = 10 * 366 * 24 * 3600;

/// How long the health check may take in all.
const HEALTH_TIMEOUT: Duration = Duration::from_millis(1800);

/// How long the process waits at its end for the readers of its last lines.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// Why the process ends, in one line, and with which status.
struct Failure {
    status: u8,
    line: String,
}

impl Failure {
    /// The system does not let us: status 1.
    fn system(what: impl fmt::Display, error: &io::Error) -> Self {
        Self {
            status: 1,
            line: format!("{what}: {error}"),
        }
    }

    /// Arguments that mean nothing: status 2.
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
    let out = Lines::to(|text| io::stdout().write_all(text.as_bytes()));
    let err = Lines::to(|text| io::stderr().write_all(text.as_bytes()));
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let arguments: Option<Vec<&str>> = arguments.iter().map(|argument| argument.to_str()).collect();

    let outcome = match arguments.as_deref() {
        Some([]) => run(&out, &err),
        Some(["token", options @ ..]) => token(options).map(|token| out.push(&token)),
        Some(["health"]) => health(),
        Some(["--help"]) => {
            out.push(HELP);
            Ok(())
        }
        Some(["--version"]) => {
            out.push(concat!("resource-server ", env!("CARGO_PKG_VERSION")));
            Ok(())
        }
        Some(unknown) => Err(Failure::usage(format!(
            "unknown arguments {unknown:?}: try --help"
        ))),
        None => Err(Failure::usage("an argument is not UTF-8")),
    };
    let status = outcome.map_or_else(
        |failure| {
            err.push(&failure.line);
            ExitCode::from(failure.status)
        },
        |()| ExitCode::SUCCESS,
    );
    out.flush(FLUSH_TIMEOUT);
    err.flush(FLUSH_TIMEOUT);
    status
}

/// Serves until a signal ends it.
fn run(out: &Arc<Lines>, err: &Arc<Lines>) -> Result<(), Failure> {
    let config = Config::load()?;
    for warning in config.warnings {
        err.push(&warning);
    }
    let (tokens, trial_token) = if let Some(tokens) = config.tokens {
        (tokens, None)
    } else {
        let tokens = Tokens::made_up().map_err(|error| {
            Failure::system("cannot make up a secret from /dev/urandom", &error)
        })?;
        let token = sign(&tokens, "demo", DEFAULT_TTL);
        (tokens, Some(token))
    };
    let site = Arc::new(Site {
        verifier: tokens.into_verifier(),
        header_timeout: config.header_timeout,
        idle_timeout: config.idle_timeout,
        access_log: config.logs_access.then(|| Arc::clone(out)),
        closing: Closing::default(),
    });

    let runtime =
        runtime().map_err(|error| Failure::system("cannot start the event loop", &error))?;
    runtime.block_on(async {
        let shutdown = shutdown_signal()
            .map_err(|error| Failure::system("cannot listen to signals", &error))?;
        let listener = listen(config.address).map_err(|error| {
            Failure::system(format!("cannot listen on {}", config.address), &error)
        })?;
        let url = format!("http://{}", listener.local_addr().unwrap_or(config.address));
        let server = Server::start(config.limits, site, Arc::clone(err))
            .await
            .map_err(|error| Failure::system("cannot start the workers", &error))?;
        out.push(&format!("listening on {url}"));
        if let Some(token) = trial_token {
            out.push(&format!(
                "no JWT_SECRET is set: this run has a secret of its own, and accepts for an hour

{token}

curl -i -H 'Authorization: Bearer {token}' {url}/resource/secret
"
            ));
        }
        server.serve(listener, shutdown).await;
        Ok(())
    })
}

/// Completes at the first SIGTERM or SIGINT; a second one ends the process at once. The handlers
/// are in place when this returns, also in process 1 of a container, which is deaf to signals
/// otherwise.
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

/// `token [--sub NAME] [--ttl SECONDS]`
fn token(options: &[&str]) -> Result<String, Failure> {
    let (mut subject, mut ttl) = ("demo", DEFAULT_TTL);
    for option in options.chunks(2) {
        match option {
            ["--sub", name] => subject = name,
            ["--ttl", seconds] => {
                let seconds = integer(seconds).filter(|seconds| (1..=MAX_TTL).contains(seconds));
                ttl = seconds.ok_or_else(|| {
                    Failure::usage(format!("--ttl: expected an integer from 1 to {MAX_TTL}"))
                })?;
            }
            _ => {
                return Err(Failure::usage(format!(
                    "token: unknown arguments {option:?}: try --help"
                )));
            }
        }
    }
    Ok(sign(&Tokens::load()?, subject, ttl))
}

fn sign(tokens: &Tokens, subject: &str, ttl: u64) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    // No string fails to be JSON.
    let json = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let member = |name, value: &Option<String>| {
        let member = |value| format!(r#","{name}":{}"#, json(value));
        value.as_deref().map(member).unwrap_or_default()
    };
    let claims = format!(
        r#"{{"sub":{},"iat":{now},"exp":{}{}{}}}"#,
        json(subject),
        now + ttl,
        member("iss", &tokens.policy.issuer),
        member("aud", &tokens.policy.audience),
    );
    tokens.current.sign(&claims)
}

/// Status 0 if the server of this environment answers its health check in time, 1 in every other
/// case.
fn health() -> Result<(), Failure> {
    let unhealthy = |line| Failure { status: 1, line };
    let mut address = address().map_err(|error| unhealthy(error.to_string()))?;
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    match ask_health(address) {
        Ok(true) => Ok(()),
        Ok(false) => Err(unhealthy(format!(
            "{address} does not answer /healthz with 200"
        ))),
        Err(error) => Err(unhealthy(format!("{address} does not answer: {error}"))),
    }
}

fn ask_health(address: SocketAddr) -> io::Result<bool> {
    const EXPECTED: &[u8] = b"HTTP/1.1 200 ";
    let deadline = Instant::now() + HEALTH_TIMEOUT;
    let mut stream = TcpStream::connect_timeout(&address, HEALTH_TIMEOUT)?;
    stream.set_write_timeout(Some(HEALTH_TIMEOUT))?;
    stream.write_all(
        format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = [0; EXPECTED.len()];
    let mut len = 0;
    while let Some(rest) = answer.get_mut(len..).filter(|rest| !rest.is_empty()) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(rest)? {
            0 => break,
            read => len += read,
        }
    }
    Ok(answer == EXPECTED)
}
