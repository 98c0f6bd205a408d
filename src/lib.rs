//! A minimal HTTP/1.1 resource server on raw hyper, without a framework: one public and one
//! protected resource, and nobody reaches the second without a valid HS256 JSON Web Token, which
//! it parses and verifies itself.
//!
//! # What it trusts
//!
//! Its environment, the clock and whoever holds the secret. Every byte from a socket is hostile
//! until its MAC is right, and its size, its pace and its form are bounded before and after that.
//! TLS, revocation, other algorithms and who may do what are not its business.
//!
//! # Map
//!
//! Calls run one way: `main` → [`server`] → `connection` → [`exchange`](server::exchange) → [`site`] → [`dispatch`]
//! → [`auth`] → [`jwt`].
//!
//! | module | |
//! |---|---|
//! | [`config`] | environment variables to a [`config::Config`] |
//! | [`reload`] | new secrets at SIGHUP |
//! | [`server`] | the connection engine: accept loop, connection limit, workers, graceful shutdown |
//! | [`site`] | the built-in site as a service of the engine |
//! | [`dispatch`] | path and method to handler: the whole site on one screen |
//! | `handlers` | what the resources answer |
//! | [`access`] | one line of JSON per request |
//! | [`auth`] | the `Authorization` field to claims or a challenge: the only bridge |
//! | [`response`] | the few answers that exist |
//! | [`shared`] | a value that is replaced while every thread reads it |
//! | [`log`] | output that never blocks a request |
//! | [`jwt`] | tokens, without HTTP |

pub mod access;
pub mod auth;
pub mod config;
pub mod dispatch;
mod handlers;
pub mod jwt;
pub mod log;
pub mod reload;
pub mod response;
pub mod server;
pub mod shared;
pub mod site;

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
