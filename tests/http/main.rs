//! The program from outside: bytes to its real listener, and its responses.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions
)]

mod access_log;
mod allocations;
mod auth;
mod bearer;
mod capacity;
mod commands;
mod configuration;
mod drain;
mod garbage;
mod harness;
mod limits;
mod memory;
mod outputs;
mod own;
mod readme;
mod reload;
mod routes;
mod slow;
mod smuggling;
mod times;
mod tokens;
mod walk;
