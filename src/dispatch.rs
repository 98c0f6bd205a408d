//! The whole site on one screen: which path is which resource, and what it takes to see it.

use std::net::Ipv6Addr;
use std::time::SystemTime;

use hyper::body::Bytes;
use hyper::header::{HOST, HeaderMap};
use hyper::http::request::Parts;
use hyper::http::uri::{Authority, Scheme};
use hyper::{Method, Version};

use crate::auth;
use crate::handlers;
use crate::jwt::{VerifiedClaims, Verifier};
use crate::response::{Answer, BadRequest, Methods, methods};

/// What every resource but the gate supports.
const METHODS: Methods = methods!("GET", "HEAD"; "OPTIONS");

/// A resource and what it takes to see it. The types ensure that no protected handler runs without
/// claims:
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
pub enum Resource<'p> {
    /// Open to every client.
    Public(fn() -> Answer),
    /// Needs a valid bearer token. No response may be stored.
    Protected(fn(&VerifiedClaims) -> Answer),
    /// As `Protected`, but asked by a proxy. Every method is the same question, as some proxies keep
    /// their client's. The path may demand scopes. No response has content, a 400 included: nginx
    /// drops the connection together with the content.
    Gate(fn(&VerifiedClaims, Option<&str>) -> Answer, Option<&'p str>),
}

/// The resource at a path. Paths match byte for byte: no decoding, no case folding, no trailing
/// slash.
fn resource(path: &str) -> Option<Resource<'_>> {
    Some(match path {
        "/resource" => Resource::Public(handlers::public),
        "/resource/secret" => Resource::Protected(handlers::secret),
        "/healthz" => Resource::Public(handlers::health),
        "/auth" => Resource::Gate(handlers::gate, None),
        // The gateway chooses what follows: a client can only append a query or a fragment to it.
        _ => Resource::Gate(handlers::gate, Some(path.strip_prefix("/auth/")?)),
    })
}

/// Dispatches a request to its handler. Reads the head alone; content is never asked for. Returns
/// the claims too, if the request was authenticated.
#[must_use]
pub fn dispatch(request: &Parts, verifier: &Verifier) -> (Answer, Option<VerifiedClaims>) {
    let resource = resource(request.uri.path());
    let (mut answer, claims) = match target(request) {
        Err(fault) => (Answer::bad_request(fault), None),
        Ok(Target::Server) => (Answer::options(&METHODS), None),
        Ok(Target::Resource) => respond(resource, request, verifier),
    };
    match resource {
        None | Some(Resource::Public(_)) => {}
        Some(Resource::Protected(_)) => answer.no_store = true,
        Some(Resource::Gate(..)) => {
            answer.no_store = true;
            answer.content = Bytes::new();
        }
    }
    (answer, claims)
}

/// What a resource responds. hyper leaves out the content if the method is `HEAD`.
fn respond(
    resource: Option<Resource<'_>>,
    request: &Parts,
    verifier: &Verifier,
) -> (Answer, Option<VerifiedClaims>) {
    let answer = match (resource, &request.method) {
        (None, _) => Answer::not_found(),
        (Some(Resource::Gate(handler, scopes)), _) => {
            return authenticated(&request.headers, verifier, |claims| handler(claims, scopes));
        }
        (Some(Resource::Protected(handler)), &Method::GET | &Method::HEAD) => {
            return authenticated(&request.headers, verifier, handler);
        }
        (Some(Resource::Public(handler)), &Method::GET | &Method::HEAD) => handler(),
        (Some(_), &Method::OPTIONS) => Answer::options(&METHODS),
        (Some(_), _) => Answer::method_not_allowed(&METHODS),
    };
    (answer, None)
}

fn authenticated(
    fields: &HeaderMap,
    verifier: &Verifier,
    handler: impl FnOnce(&VerifiedClaims) -> Answer,
) -> (Answer, Option<VerifiedClaims>) {
    match auth::authenticate(fields, verifier, SystemTime::now().into()) {
        Ok(claims) => (handler(&claims), Some(claims)),
        Err(challenge) => (Answer::challenge(challenge), None),
    }
}

/// What a request is about.
enum Target {
    /// The resource at the target's path.
    Resource,
    /// The server as a whole: `OPTIONS` with `*`, or with a URL without a path, which is what a
    /// client sends to a proxy instead (RFC 9112 §3.2.4).
    Server,
}

/// Validates the request target and `Host` (RFC 9112 §3.2). `CONNECT` comes first: hyper would take
/// a 2xx for the beginning of a tunnel.
fn target(request: &Parts) -> Result<Target, BadRequest> {
    let uri = &request.uri;
    let is_options = request.method == Method::OPTIONS;
    if request.method == Method::CONNECT {
        return Err(BadRequest::Connect);
    }
    let target = match (uri.authority(), uri.path()) {
        (None, "*") if is_options => Target::Server,
        (None, "*") => return Err(BadRequest::Asterisk),
        (None, _) => Target::Resource,
        (Some(authority), path) => {
            validate_url(uri.scheme(), authority)?;
            // hyper reads no path as `/`, which is not a resource.
            if is_options && path == "/" {
                Target::Server
            } else {
                Target::Resource
            }
        }
    };
    if has_valid_host(request) {
        Ok(target)
    } else {
        Err(BadRequest::Host)
    }
}

/// Validates scheme and authority of a target that is not a path (RFC 9110 §4.2). Without a scheme
/// it is the authority-form, which only `CONNECT` has.
#[cold]
fn validate_url(scheme: Option<&Scheme>, authority: &Authority) -> Result<(), BadRequest> {
    let authority = authority.as_str();
    let is_http = scheme.is_some_and(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme));
    if scheme.is_some() && authority.contains('@') {
        Err(BadRequest::UserInformation)
    } else if is_http && is_host_and_port(authority.as_bytes()) {
        Ok(())
    } else {
        Err(BadRequest::Target)
    }
}

/// RFC 9112 §3.2: HTTP/1.1 has one `Host`, no version has two, and its value is a host and an
/// optional port. It is empty where the target has no authority.
fn has_valid_host(request: &Parts) -> bool {
    let mut values = request.headers.get_all(HOST).iter();
    match (values.next(), values.next()) {
        (None, _) => request.version < Version::HTTP_11,
        (Some(host), None) => host.is_empty() || is_host_and_port(host.as_bytes()),
        (Some(_), Some(_)) => false,
    }
}

/// RFC 3986 §3.2.2 and §3.2.3: a name or an IPv4 address, which have the same characters, or an
/// address in brackets; then perhaps a colon and digits. An http URL has a host (RFC 9110 §4.2.1).
fn is_host_and_port(text: &[u8]) -> bool {
    let rest = match text {
        [b'[', rest @ ..] => after_address(rest),
        _ => after_name(text),
    };
    match rest {
        Some([]) => true,
        Some([b':', port @ ..]) => port.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// What follows a `reg-name` that is not empty, in which two hexadecimal digits follow each `%`.
fn after_name(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text;
    loop {
        let len = rest.iter().position(|&byte| !is_name_character(byte));
        rest = rest.get(len.unwrap_or(rest.len())..)?;
        let [b'%', digits @ ..] = rest else { break };
        let (digits, after) = digits.split_first_chunk::<2>()?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        rest = after;
    }
    (rest.len() < text.len()).then_some(rest)
}

/// What follows `IPv6address`, or `IPvFuture`, which is a `v`, a version and anything, and the
/// bracket after it.
fn after_address(text: &[u8]) -> Option<&[u8]> {
    let (address, rest) = split_before(text, b']');
    let is_address = match address {
        [b'v' | b'V', future @ ..] => {
            let (version, address) = split_before(future, b'.');
            let is_in = |&byte: &u8| is_name_character(byte) || byte == b':';
            !version.is_empty()
                && version.iter().all(u8::is_ascii_hexdigit)
                && address.len() > 1
                && address.iter().all(is_in)
        }
        _ => str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok()),
    };
    rest.strip_prefix(b"]").filter(|_| is_address)
}

/// Splits before the first `end`, or at the end of the text.
fn split_before(text: &[u8], end: u8) -> (&[u8], &[u8]) {
    let len = text.iter().position(|&byte| byte == end);
    text.split_at(len.unwrap_or(text.len()))
}

/// `unreserved` and `sub-delims` of RFC 3986 §2.
const fn is_name_character(byte: u8) -> bool {
    matches!(
        byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~'
            | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
    )
}
