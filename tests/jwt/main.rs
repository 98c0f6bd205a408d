//! `resource_server::jwt` alone: what it accepts, what it rejects and why, and what that costs.
//!
//! Another crate in a build may enable any feature of `serde_json`. No verdict depends on these
//! features:
//!
//! ```text
//! F=serde_json/arbitrary_precision,serde_json/float_roundtrip,serde_json/unbounded_depth
//! cargo test --test jwt --test fuzz --features $F
//! ```
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

// Miri takes a thousand times as long as the processor. It skips the modules that count
// allocations, that read the source, and that verify hundreds more tokens in the same way.
#[cfg(not(miri))]
mod allocations;
mod claims;
mod form;
mod grants;
mod header;
mod keys;
#[cfg(not(miri))]
mod layering;
mod properties;
mod refusals;
#[cfg(not(miri))]
mod review;
mod secrecy;
mod support;
#[cfg(not(miri))]
mod vectors;
#[cfg(not(miri))]
mod wycheproof;
