//! What the fuzz targets hold the code to: a module and its `check` for each target, and below
//! them the slow, obvious references that they compare with.
//!
//! `check` panics on a finding. It returns what became of the input, so that the replay of the
//! seeds can tell that they reach every outcome.

pub mod bearer;
pub mod differential;
pub mod exchange;
pub mod http;
pub mod parse_token;
pub mod verify_claims;

mod base64url;
mod case;
mod json;
mod responses;
mod rfc;
