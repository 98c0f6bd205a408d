//! A minimal HTTP/1.1 resource server on raw hyper, without a framework. It serves one public and one
//! protected resource. The protected one requires a valid HS256 JSON Web Token, which the server parses
//! and verifies itself. The same engine serves other applications.
//!
//! # What is promised
//!
//! The stable API is [`run`], [`app`], [`auth`], [`jwt`], and the part of [`server`] that serves a hyper
//! service: [`Server`](server::Server), [`Limits`](server::Limits), [`listen`](server::listen),
//! [`runtime`](server::runtime), [`Application`](server::Application) and [`Observer`](server::Observer).
//! Every other public item serves the binary and the tests, and may change.
//!
//! # What it trusts
//!
//! The server trusts its environment, the clock and the holders of the secret. Every byte from a socket
//! is hostile until its MAC is verified. Its size, pace and form are bounded before and after that. TLS,
//! revocation, other algorithms and the permissions of users are out of scope.
//!
//! # Map
//!
//! Calls run one way: `main` → [`run`] → [`server`] → [`app`] → [`auth`] → [`jwt`].
//!
//! | module | |
//! |---|---|
//! | `program` | the process: arguments, signals, exit status, new secrets at SIGHUP |
//! | [`config`] | environment variables to a [`config::Config`] |
//! | [`server`] | the connection engine: accept loop, connection limit, workers, graceful shutdown |
//! | [`app`] | routes, handlers, requests, responses; the built-in site on one screen |
//! | [`auth`] | the `Authorization` field to claims or a challenge: the only bridge |
//! | [`jwt`] | tokens, without HTTP; the only module without the feature `server` |
//! | [`shared`] | a value that is replaced while every thread reads it |
//! | [`log`] | output that never blocks a request |
//!
//! The pages for reviewers, with their tests, are in [`jwt`] and [`server`]. The others are tested:
//!
//! - [`app`] by `tests/http/routes.rs`, `tests/http/auth.rs`, `tests/http/own.rs`
//! - [`auth`] by `tests/http/bearer.rs`
//! - [`config`] by `tests/http/configuration.rs`, `tests/http/commands.rs`, `tests/http/reload.rs`
//! - [`log`] by `tests/http/outputs.rs`, `tests/http/access_log.rs`
//!
//! # House rules
//!
//! - Three wings and a bridge. [`jwt`] knows bytes, keys and time, and imports neither hyper nor tokio.
//!   [`server`] knows sockets and time limits, and names no route and no token. [`app`] knows routes,
//!   handlers and responses, and imports no tokio. Only [`auth`] knows both HTTP and the rules of tokens.
//!   The tests named `layering` enforce this.
//! - One verb, one meaning: *parse* bytes to structure, *verify* the MAC, *validate* claims,
//!   *authenticate* a request, *dispatch* it to a handler, *serve* a listener.
//! - A connection is new, busy, in the middle of a head, warm or parked (these two: idle), or lingering. A
//!   request gets a response or is rejected.
//! - A limit is a named constant with its unit and its reason, and has a test on both sides of it.
//! - The clock and the socket are arguments, so that a test supplies its own.
//! - A test is named `<subject>_<condition>_<outcome>`, uses real sockets where a client can see the
//!   difference, and waits for events, not for time.
//! - The message of an error is lower case without a final stop, names the cause and the remedy, and repeats nothing
//!   from a token or a secret.
//!
//! # What to touch
//!
//! - For a new reason to reject a token: a variant of [`jwt::Error`] with its description and its id, its
//!   place in [`jwt::Error::ALL`], an item in `src/jwt/review.md`, its id in `tests/jwt/secrecy.rs`, and a
//!   token in `tests/jwt/refusals.rs` and in `tests/http/bearer.rs`. The tests of these files fail until
//!   they are there.
//! - For a new reason to reject a request: a variant of [`auth::Challenge`] with its code, message and id,
//!   its place in [`auth::Challenge::all`], its id and a request in `tests/http/bearer.rs`. The tests of that file
//!   and `readme::every_challenge_has_a_test_and_its_code_in_the_readme` fail until they are there.
//! - For a new route: a line in `src/app/site.rs`, a handler in `src/app/handlers.rs`, a row in the
//!   README, and requests in `tests/http/routes.rs`. `readme::every_route_has_a_row_and_a_test` fails
//!   until they are there.
//! - For a new variable: [`config::VARIABLES`], which is `--help`; a field of [`config::Config`] or
//!   [`jwt::Policy`]; a row in the README; and `tests/http/configuration.rs`, with both ends of its range.
//!   `readme::every_variable_has_a_test`, `readme::ranges_are_those_that_the_program_takes` and the tests
//!   of `tests/http/commands.rs` fail until they are there.
//!
//! # Under load, in detail
//!
//! The README lists the limits. These are the reasons for them.
//!
//! - The memory formula covers three times `API_MAX_CONNECTIONS`: connections that are served, that wait,
//!   and that linger after their last response. Any further lingering connection keeps its seat. While
//!   others wait, the longest-lingering one is reset after 0.2 s. The kernel's buffers take up to 170 KiB
//!   per served and per lingering connection, and up to 130 KiB per connection in a waiting place or in
//!   the listen queue: together 600 KiB × `API_MAX_CONNECTIONS`. A connection whose client does not take
//!   its last response within `API_HEADER_TIMEOUT` is reset, so that the kernel keeps nothing of it.
//! - Requests pipelined behind a response with `Connection: close` get no response; the client may send
//!   them again.
//! - The listen queue is no longer than `API_MAX_CONNECTIONS`: each connection in it can fill a receive
//!   buffer. When more connect at once, Linux drops the SYN, and the client's kernel sends it again.
//! - The client must take each part of a streaming response within `API_HEADER_TIMEOUT`.
//! - A line of the access log has at most 64 characters of a method and of a path, and 255 of a user.

#[cfg(not(unix))]
compile_error!(
    "resource-server runs on Unix only: it is stopped and reloaded by signals. Build it for Linux or macOS."
);

#[cfg(feature = "server")]
pub mod app;
#[cfg(feature = "server")]
pub mod auth;
#[cfg(feature = "server")]
pub mod config;
pub mod jwt;
#[cfg(feature = "server")]
pub mod log;
#[cfg(feature = "server")]
mod program;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod shared;

#[cfg(feature = "server")]
pub use program::run;

/// Compiles the examples of the README.
#[cfg(all(doctest, feature = "server"))]
#[doc = include_str!("../README.md")]
struct Readme;
