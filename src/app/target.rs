//! Request target and `Host`: validated before any application sees a request.

use std::net::Ipv6Addr;

use hyper::header::HOST;
use hyper::http::uri::{Authority, Scheme};
use hyper::{Method, Request, Version};

use super::response::BadRequest;

/// What a request addresses.
pub(super) enum Target {
    /// The resource at the target's path.
    Resource,
    /// The server as a whole: `OPTIONS` with `*`, or with a URL without a path, which is what a
    /// client sends to a proxy instead (RFC 9112 §3.2.4).
    Server,
}

/// Validates the request target and `Host` (RFC 9112 §3.2). `CONNECT` comes first: hyper would take
/// a 2xx for the beginning of a tunnel.
pub(super) fn target<B>(request: &Request<B>) -> Result<Target, BadRequest> {
    let uri = request.uri();
    let is_options = request.method() == Method::OPTIONS;
    if request.method() == Method::CONNECT {
        return Err(BadRequest::Connect);
    }
    let target = match (uri.authority(), uri.path()) {
        (None, "*") if is_options => Target::Server,
        (None, "*") => return Err(BadRequest::Asterisk),
        (None, _) => Target::Resource,
        (Some(authority), path) => {
            validate_url(uri.scheme(), authority)?;
            // hyper represents a missing path as `/`, which is not a resource.
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

/// Validates scheme and authority of a target that is not a path (RFC 9110 §4.2). A target without a
/// scheme is the authority-form, which only `CONNECT` uses.
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

/// Returns whether `Host` is valid (RFC 9112 §3.2). HTTP/1.1 requires exactly one, older versions allow
/// one. Its value is a host and an optional port, or empty.
fn has_valid_host<B>(request: &Request<B>) -> bool {
    let mut values = request.headers().get_all(HOST).iter();
    match (values.next(), values.next()) {
        (None, _) => request.version() < Version::HTTP_11,
        (Some(host), None) => host.is_empty() || is_host_and_port(host.as_bytes()),
        (Some(_), Some(_)) => false,
    }
}

/// RFC 3986 §3.2.2 and §3.2.3: a name or an IPv4 address, which have the same characters, or an address in
/// brackets; then an optional colon and digits. An http URL has a host (RFC 9110 §4.2.1).
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

/// Returns the text after a `reg-name` that is not empty and in which two hexadecimal digits follow each
/// `%`.
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

/// Returns the text after an `IPv6address` or `IPvFuture` and its closing bracket. The latter is a `v`, a
/// version, a dot and an address.
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

/// `unreserved` and `sub-delims` of RFC 3986 §2, from a table: every request has a `Host`, and comparing
/// each byte with every range costs 1 % of a request's instructions.
#[expect(
    clippy::as_conversions,
    clippy::indexing_slicing,
    reason = "at compile time, where neither can go wrong unseen"
)]
fn is_name_character(byte: u8) -> bool {
    const CHARACTERS: [bool; 256] = {
        let mut set = [false; 256];
        let mut byte: u8 = 0;
        while byte < u8::MAX {
            set[byte as usize] = matches!(
                byte,
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~'
                    | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
            );
            byte += 1;
        }
        set
    };
    CHARACTERS.get(usize::from(byte)) == Some(&true)
}
