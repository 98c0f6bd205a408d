//! `resource_server::jwt` alone: what it accepts, what it refuses and why, and what that costs.
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

mod allocations;
mod claims;
mod form;
mod header;
mod keys;
mod layering;
mod properties;
mod refusals;
mod review;
mod secrecy;
mod support;
mod vectors;
mod wycheproof;
