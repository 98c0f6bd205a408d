//! The whole site on one screen: which path is which resource, and who may see it.

use std::time::SystemTime;

use hyper::body::Bytes;
use hyper::header::{HOST, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Method, Version};

use crate::auth;
use crate::handlers;
use crate::jwt::{VerifiedClaims, Verifier};
use crate::response::Answer;

/// Who may see a resource. The types see to it that no protected handler runs without claims:
///
/// ```
/// # use resource_server::{dispatch::Resource, jwt::VerifiedClaims, response::Answer};
/// fn mine(_: &VerifiedClaims) -> Answer { Answer::json("{}") }
/// let resource = Resource::Protected(mine);
/// ```
///
/// ```compile_fail,E0308
/// # use resource_server::{dispatch::Resource, jwt::VerifiedClaims, response::Answer};
/// fn mine(_: &VerifiedClaims) -> Answer { Answer::json("{}") }
/// let resource = Resource::Public(mine);
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Resource {
    /// Everybody.
    Public(fn() -> Answer),
    /// Whoever has a valid bearer token. No answer may be stored.
    Protected(fn(&VerifiedClaims) -> Answer),
    /// As `Protected`, asked by a proxy: a refusal has no content, as the proxy throws it away, and
    /// nginx the connection with it.
    Gate(fn(&VerifiedClaims) -> Answer),
}

/// The resource at a path. Paths match byte for byte: no decoding, no case folding, no trailing
/// slash.
fn resource(path: &str) -> Option<Resource> {
    Some(match path {
        "/resource" => Resource::Public(handlers::public),
        "/resource/secret" => Resource::Protected(handlers::secret),
        "/auth" => Resource::Gate(handlers::auth),
        "/healthz" => Resource::Public(handlers::health),
        _ => return None,
    })
}

/// Dispatches a request to its handler. Reads the head alone; content is never asked for.
#[must_use]
pub fn dispatch(request: &Parts, verifier: &Verifier) -> Answer {
    let resource = resource(request.uri.path());
    let answer = match (resource, &request.method) {
        _ if !has_valid_host(request) => Answer::bad_host(),
        (None, _) => Answer::not_found(),
        (Some(resource), &Method::GET | &Method::HEAD) => {
            read(resource, &request.headers, verifier)
        }
        (Some(_), &Method::OPTIONS) => Answer::options(),
        (Some(_), _) => Answer::method_not_allowed(),
    };
    match resource {
        None | Some(Resource::Public(_)) => answer,
        Some(Resource::Protected(_)) => Answer {
            no_store: true,
            ..answer
        },
        Some(Resource::Gate(_)) => Answer {
            no_store: true,
            content: Bytes::new(),
            ..answer
        },
    }
}

/// `GET`, and `HEAD`, of which hyper sends no content.
fn read(resource: Resource, fields: &HeaderMap, verifier: &Verifier) -> Answer {
    match resource {
        Resource::Public(handler) => handler(),
        Resource::Protected(handler) | Resource::Gate(handler) => {
            match auth::authenticate(fields, verifier, SystemTime::now().into()) {
                Ok(claims) => handler(&claims),
                Err(challenge) => Answer::challenge(challenge),
            }
        }
    }
}

/// RFC 9112 §3.2: HTTP/1.1 has one `Host`, no version has two, and its value is a host and perhaps
/// a port.
fn has_valid_host(request: &Parts) -> bool {
    let mut values = request.headers.get_all(HOST).iter();
    match (values.next(), values.next()) {
        (None, _) => request.version < Version::HTTP_11,
        (Some(host), None) => is_host_and_port(host.as_bytes()),
        (Some(_), Some(_)) => false,
    }
}

/// RFC 3986 §3.2.2 and §3.2.3: a name or an IPv4 address, which have the same characters, or
/// another address in brackets, whose form is not looked at; then perhaps a colon and digits.
fn is_host_and_port(text: &[u8]) -> bool {
    let is_in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(&byte);
    let end = match text {
        [b'[', address @ ..] => address
            .iter()
            .position(|&byte| !is_in_name(byte) && byte != b':')
            .filter(|&end| address.get(end) == Some(&b']'))
            .map(|end| 1 + end + 1),
        name => Some(
            name.iter()
                .position(|&byte| !is_in_name(byte))
                .unwrap_or(name.len()),
        ),
    };
    match end.and_then(|end| text.get(end..)) {
        Some([]) => true,
        Some([b':', port @ ..]) => port.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}
