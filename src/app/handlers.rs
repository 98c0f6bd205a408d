//! The built-in handlers. A protected one takes [`VerifiedClaims`], which only a verified token yields.

use super::request::Request;
use super::response::Response;
use crate::jwt::VerifiedClaims;

/// `GET /resource`
pub(super) fn public(_: Request<()>) -> Response {
    Response::json(r#"{"message":"Public resource. You can see this."}"#)
}

/// `GET /resource/secret`
pub(super) fn secret(_: VerifiedClaims, _: Request<()>) -> Response {
    Response::json(r#"{"message":"Secret resource. You should be logged in to see this."}"#)
}

/// Responds 200 to the command `health`, which requests `/healthz`. Every application should register it
/// there.
pub fn health<S>(_: Request<S>) -> Response {
    Response::json(r#"{"message":"ok"}"#)
}
