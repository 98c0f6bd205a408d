//! The few answers that exist, and the one place where they become HTTP.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};

use crate::auth::Challenge;
use crate::server::LastResponse;

/// The field that tells a proxy who is asking.
const X_AUTH_REQUEST_USER: HeaderName = HeaderName::from_static("x-auth-request-user");

/// The most buckets of a request's field table that its answer may keep; a hostile request's table
/// goes back to the allocator.
const MAX_KEPT_FIELDS: usize = 32;

/// An answer, before it is HTTP. Handlers and refusals are plain values that can be compared and
/// tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The content, JSON, or nothing.
    pub content: Bytes,
    /// `X-Auth-Request-User`.
    pub user: Option<HeaderValue>,
    /// `WWW-Authenticate`.
    pub challenge: Option<HeaderValue>,
    /// `Allow`.
    pub allow: Option<&'static str>,
    /// Whether to send `Cache-Control: no-store`.
    pub no_store: bool,
    /// Whether to close the connection afterwards.
    pub close: bool,
    /// The stable `code` of an error, which its content also has, if any.
    pub code: Option<&'static str>,
    /// For the log: the stable id of the rule that the request broke.
    pub rule: Option<&'static str>,
}

/// The content of an error: no client can make the server compose it.
macro_rules! error {
    ($code:literal, $message:literal) => {
        concat!(r#"{"code":""#, $code, r#"","message":""#, $message, r#""}"#)
    };
}

/// What a resource supports.
pub(crate) struct Methods {
    /// As `Allow` lists it.
    pub(crate) allow: &'static str,
    /// The content of a 405.
    pub(crate) refusal: &'static str,
}

/// [`Methods`] of their names, the last after a semicolon.
macro_rules! methods {
    ($first:literal $(, $other:literal)*; $last:literal) => {
        Methods {
            allow: concat!($first, $(", ", $other,)* ", ", $last),
            refusal: concat!(
                r#"{"code":"method_not_allowed","message":"this resource supports only "#,
                $first, $(", ", $other,)* " and ", $last, r#""}"#
            ),
        }
    };
}
pub(crate) use methods;

/// What makes a request a bad one: its method, its target or its `Host`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadRequest {
    /// The method is `CONNECT` (RFC 9110 §9.3.6).
    Connect,
    /// The target is `*`, and the method is not `OPTIONS` (RFC 9112 §3.2.4).
    Asterisk,
    /// The target names a user before its host (RFC 9110 §4.2.4).
    UserInformation,
    /// The target is neither a path nor an http or https URL with a host (RFC 9112 §3.2).
    Target,
    /// `Host` is missing, not the only one, or not a host and an optional port (RFC 9112 §3.2).
    Host,
}

impl BadRequest {
    /// For the log.
    const fn id(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Asterisk => "asterisk_target",
            Self::UserInformation => "userinfo_in_target",
            Self::Target => "invalid_target",
            Self::Host => "invalid_host",
        }
    }

    const fn content(self) -> &'static str {
        match self {
            Self::Connect => error!(
                "bad_request",
                "CONNECT is not supported: this server is not a proxy"
            ),
            Self::Asterisk => error!("bad_request", "the request target * is for OPTIONS only"),
            Self::UserInformation => error!(
                "bad_request",
                "the request target names a user before its host: remove all up to the at sign"
            ),
            Self::Target => error!(
                "bad_request",
                "expected a request target that is a path or an http or https URL"
            ),
            Self::Host => error!(
                "bad_request",
                "expected exactly one Host field: a host and an optional port"
            ),
        }
    }
}

impl Answer {
    /// An answer without content.
    #[must_use]
    pub const fn empty(status: StatusCode) -> Self {
        Self {
            status,
            content: Bytes::new(),
            user: None,
            challenge: None,
            allow: None,
            no_store: false,
            close: false,
            code: None,
            rule: None,
        }
    }

    /// 200 with content: JSON text, by convention an object with a string `message`.
    #[must_use]
    pub fn json(content: impl Into<Bytes>) -> Self {
        Self {
            content: content.into(),
            ..Self::empty(StatusCode::OK)
        }
    }

    /// 204 with `Allow` (RFC 9110 §9.3.7).
    pub(crate) fn options(methods: &Methods) -> Self {
        Self {
            allow: Some(methods.allow),
            ..Self::empty(StatusCode::NO_CONTENT)
        }
    }

    /// 405 with `Allow` (RFC 9110 §15.5.6).
    pub(crate) fn method_not_allowed(methods: &Methods) -> Self {
        Self {
            allow: Some(methods.allow),
            ..Self::error(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "method_not_allowed",
                methods.refusal,
            )
        }
    }

    /// 404.
    pub(crate) fn not_found() -> Self {
        Self::error(
            StatusCode::NOT_FOUND,
            "not_found",
            "not_found",
            error!("not_found", "no such resource"),
        )
    }

    /// A 400. The sender of such a request may see another end of it than this server does, so the
    /// connection closes.
    pub(crate) fn bad_request(fault: BadRequest) -> Self {
        Self {
            close: true,
            ..Self::error(
                StatusCode::BAD_REQUEST,
                "bad_request",
                fault.id(),
                fault.content(),
            )
        }
    }

    /// 401 or 403 with a challenge.
    pub(crate) fn challenge(challenge: Challenge) -> Self {
        let text = challenge.text();
        Self {
            challenge: Some(text.field),
            content: text.content,
            code: Some(challenge.code()),
            rule: Some(challenge.id()),
            ..Self::empty(challenge.status())
        }
    }

    fn error(
        status: StatusCode,
        code: &'static str,
        rule: &'static str,
        content: &'static str,
    ) -> Self {
        Self {
            content: Bytes::from_static(content.as_bytes()),
            code: Some(code),
            rule: Some(rule),
            ..Self::empty(status)
        }
    }

    /// Makes it HTTP. The field table of the request is used again, as hyper uses that of the
    /// answer for the next request: a kept connection allocates none.
    pub(crate) fn into_response(self, mut fields: HeaderMap) -> Response<Full<Bytes>> {
        if fields.capacity() > MAX_KEPT_FIELDS {
            fields = HeaderMap::new();
        }
        fields.clear();
        if !self.content.is_empty() {
            fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(user) = self.user {
            fields.insert(X_AUTH_REQUEST_USER, user);
        }
        if let Some(challenge) = self.challenge {
            fields.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(methods) = self.allow {
            fields.insert(ALLOW, HeaderValue::from_static(methods));
        }
        if self.no_store {
            fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        let mut response = Response::new(Full::new(self.content));
        *response.status_mut() = self.status;
        *response.headers_mut() = fields;
        if self.close {
            response.extensions_mut().insert(LastResponse);
        }
        response
    }
}
