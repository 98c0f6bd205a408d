//! A minimal HTTP/1.1 resource server on raw hyper, without a framework. It serves one public and
//! one protected resource, and no request reaches the second without a valid HS256 JSON Web Token,
//! which the server parses and verifies itself. The same engine serves other applications.
//!
//! Promised are [`run`], [`app`], [`auth`], [`jwt`], and of [`server`] what it takes to serve a hyper
//! service; everything else serves the binary and its tests, and may change.
//!
//! # What it trusts
//!
//! Its environment, the clock and the holders of the secret. Every byte from a socket is hostile
//! until its MAC is right, and its size, pace and form are bounded before and after that. TLS,
//! revocation, other algorithms and the permissions of users are not its business.
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
//! | [`jwt`] | tokens, without HTTP; all there is without the feature `server` |
//! | [`shared`] | a value that is replaced while every thread reads it |
//! | [`log`] | output that never blocks a request |

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

/// The examples of the README compile.
#[cfg(all(doctest, feature = "server"))]
#[doc = include_str!("../README.md")]
struct Readme;
