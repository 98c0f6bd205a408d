//! The process: arguments, environment, signals, exit status.

mod health;
mod reload;
mod token;

use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::app::{App, Worker, access_line};
use crate::config::{Config, ConfigError, TokenConfig, VARIABLES};
use crate::log::{Lines, abort_on_panic, output, write_whole};
use crate::server::{Observer, Server, listen, runtime};
use crate::shared::{Cached, Shared};
use reload::reload_at_hangup;
use tokio::signal::unix::{SignalKind, signal};

/// The commands, as help explains them.
const COMMANDS: [(&str, &str); 5] = [
    ("", "serve"),
    (
        " token [--sub NAME] [--ttl SECONDS] [--claim NAME=VALUE]...",
        "print a token signed with the secret",
    ),
    (" health", "check that a running server is healthy"),
    (" --help | -h", ""),
    (" --version | -V", ""),
];

/// The column of a command's meaning, not counting the indentation.
const COMMAND_WIDTH: usize = 51;

/// The part of the help between the commands and the variables.
const HELP: &str = "

A token names the user \"demo\" and is valid for an hour (3600) unless --sub and --ttl say otherwise.
--claim adds a claim or replaces one; VALUE is JSON if it parses as JSON, else a string.

Configuration is by environment variables, shown with their defaults; see the README:
";

/// The descriptors that the event loop and its signals need.
const SPARE_DESCRIPTORS: usize = 6;

/// How long to wait at exit for the last lines to be written, on both outputs together.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(300);

/// The same after a failure, whose line would otherwise be lost on a busy machine: the thread that writes
/// it has only just been created.
const FAILURE_FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the process ends, in one line, and its exit status.
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

/// Runs an application as a program, with its arguments, environment, signals and logs. Returns the exit
/// status.
///
/// Without arguments it serves until a signal ends it. A panic anywhere ends the process with a line that
/// says where.
#[must_use]
pub fn run<S: 'static>(app: App<S>) -> ExitCode {
    abort_on_panic();
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let arguments: Option<Vec<&str>> = arguments.iter().map(|argument| argument.to_str()).collect();

    let outcome = match arguments.as_deref() {
        Some([]) => return serve(app),
        Some(["health"]) => return health::health(),
        Some(["token", options @ ..]) => token::token(options),
        Some(["--help" | "-h"]) => print(&help(&app)),
        Some(["--version" | "-V"]) => print(format!("{} {}", app.name, app.version).trim_end()),
        Some(unknown) => Err(Failure::usage(format!(
            "unknown arguments {unknown:?}: try --help"
        ))),
        None => Err(Failure::usage("an argument is not UTF-8: try --help")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure.line);
            ExitCode::from(failure.status)
        }
    }
}

/// Prints the output of a command, and waits until its reader has taken all of it.
fn print(text: &str) -> Result<(), Failure> {
    write_whole(&mut *output(io::stdout()), format!("{text}\n").as_bytes())
        .map_err(|error| Failure::system("cannot write to standard output", &error))
}

/// Prints a line on standard error. If that fails, there is nowhere left to report it.
fn complain(line: &str) {
    let _ = write_whole(&mut *output(io::stderr()), format!("{line}\n").as_bytes());
}

fn help<S>(app: &App<S>) -> String {
    let mut help = format!("{}\n", app.about);
    for (arguments, meaning) in COMMANDS {
        let command = format!("{}{arguments}", app.name);
        // Writing to a string cannot fail.
        let _ = match meaning {
            "" => write!(help, "\n    {command}"),
            _ if command.len() > COMMAND_WIDTH => {
                write!(help, "\n    {command}\n    {:COMMAND_WIDTH$} {meaning}", "")
            }
            _ => write!(help, "\n    {command:<COMMAND_WIDTH$} {meaning}"),
        };
    }
    help.push_str(HELP);
    for (name, default, meaning) in VARIABLES {
        let _ = write!(help, "\n    {name:<25} {meaning}");
        if !default.is_empty() {
            let _ = write!(help, " [{default}]");
        }
    }
    for name in app.variables {
        let _ = write!(help, "\n    {name}");
    }
    help
}

/// Serves until a signal ends it.
fn serve<S: 'static>(app: App<S>) -> ExitCode {
    let out = Lines::new(output(io::stdout()));
    let err = Lines::new(output(io::stderr()));
    let outcome = try_serve(app, &out, &err);
    if let Err(failure) = &outcome {
        err.push(&failure.line);
        err.write_without_thread();
    }
    let timeout = if outcome.is_err() {
        FAILURE_FLUSH_TIMEOUT
    } else {
        FLUSH_TIMEOUT
    };
    let deadline = Instant::now() + timeout;
    out.flush(deadline);
    err.flush(deadline);
    outcome.map_or_else(
        |failure| ExitCode::from(failure.status),
        |()| ExitCode::SUCCESS,
    )
}

fn try_serve<S: 'static>(app: App<S>, out: &Arc<Lines>, err: &Arc<Lines>) -> Result<(), Failure> {
    let mut config = Config::load(app.variables)?;
    for warning in &config.warnings {
        err.push(warning);
    }
    let (tokens, trial_token) = tokens(config.tokens.take())?;
    let verifier = Arc::new(Shared::new(tokens.verifier()));
    drop(tokens);
    check_descriptors()?;
    let runtime =
        runtime().map_err(|error| Failure::system("cannot start the event loop", &error))?;
    let outcome = runtime.block_on(async {
        let signals = |error| Failure::system("cannot listen for signals", &error);
        let shutdown = shutdown_signal().map_err(signals)?;
        reload_at_hangup(Arc::clone(&verifier), Arc::clone(err)).map_err(signals)?;
        let listener = listen(config.address, &config.limits).map_err(|error| {
            Failure::system(
                format!("API_HOST, API_PORT: cannot listen on {}", config.address),
                &error,
            )
        })?;
        let url = format!("http://{}", listener.local_addr().unwrap_or(config.address));
        let trial = trial_token.map(|token| trial_text(&token, &url, app.trial_path));
        let logs_access = config.logs_access;
        let worker = move || app.worker(Cached::new(Arc::clone(&verifier)), logs_access);
        let server = start(worker, &config, out, err).await?;
        out.push(&format!("listening on {url}"));
        if let Some(trial) = trial {
            out.push(&trial);
        }
        err.write_without_thread();
        out.write_without_thread();
        server.serve(listener, shutdown).await;
        Ok(())
    });
    // Does not wait for a handler's blocking threads.
    runtime.shutdown_background();
    outcome
}

/// The configured keys and policy, or those of a trial run and its token.
fn tokens(configured: Option<TokenConfig>) -> Result<(TokenConfig, Option<String>), Failure> {
    if let Some(tokens) = configured {
        return Ok((tokens, None));
    }
    let tokens = TokenConfig::random()
        .map_err(|error| Failure::system("cannot generate a secret from /dev/urandom", &error))?;
    let token = token::trial_token(&tokens);
    Ok((tokens, Some(token)))
}

/// What a trial run prints: its token, and a command to paste.
fn trial_text(token: &str, url: &str, path: Option<&str>) -> String {
    let mut text = format!(
        "JWT_SECRET is not set: using a random secret for this run. \
        This token is valid for one hour:\n\n{token}\n"
    );
    if let Some(path) = path {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "\ncurl -i -H 'Authorization: Bearer {token}' {url}{path}"
        );
    }
    text
}

/// Checks that this process may open the descriptors that the event loop and its signals need: tokio panics
/// otherwise. It copies standard error, because a copy costs a tenth of a socket, and an empty container has
/// no file to open.
fn check_descriptors() -> Result<(), Failure> {
    let spare: io::Result<Vec<_>> = (0..SPARE_DESCRIPTORS)
        .map(|_| io::stderr().as_fd().try_clone_to_owned())
        .collect();
    spare
        .map(drop)
        .map_err(|error| Failure::system("cannot open the descriptors that a server needs", &error))
}

/// Starts the workers. If the system cannot start the default number, starts one.
async fn start<S: 'static>(
    worker: impl Fn() -> io::Result<Worker<S>> + Clone + Send + Sync + 'static,
    config: &Config,
    out: &Arc<Lines>,
    err: &Arc<Lines>,
) -> Result<Server<Worker<S>>, Failure> {
    let observer = config.logs_access.then(|| {
        let out = Arc::clone(out);
        let observer: Observer = Arc::new(move |observed| out.push(&access_line(observed)));
        observer
    });
    // Why the application could not create a worker's state. Empty if a thread or a descriptor is
    // missing.
    let no_state = Arc::new(OnceLock::new());
    let reason = Arc::clone(&no_state);
    let service = move || {
        worker().inspect_err(|error| {
            let _first = reason.set(error.to_string());
        })
    };
    let start = |limits| {
        let errors = Some(Arc::clone(err));
        Server::start(limits, service.clone(), errors, observer.clone())
    };
    let mut limits = config.limits;
    let mut started = start(limits).await;
    if let Err(error) = &started
        && config.has_default_workers
        && no_state.get().is_none()
    {
        err.push(&format!(
            "warning: cannot start {} workers: {error}: one serves, as with API_WORKERS=1",
            limits.workers
        ));
        limits.workers = 1;
        started = start(limits).await;
    }
    started.map_err(|error| match no_state.get() {
        Some(line) => Failure {
            status: 1,
            line: format!("cannot start: {line}"),
        },
        None => Failure::system(
            format!("API_WORKERS: cannot start {} workers", limits.workers),
            &error,
        ),
    })
}

/// Completes at the first SIGTERM or SIGINT; a second one ends the process at once. The handlers are in
/// place when this returns: process 1 of a container would otherwise ignore both signals.
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
