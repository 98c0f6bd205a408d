//! The few answers that exist, and the one place where they become HTTP.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};

use crate::auth::Challenge;

/// The methods of every resource, as `Allow` lists them.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

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
    /// Whether to send `Allow`.
    pub allow: bool,
    /// Whether to send `Cache-Control: no-store`.
    pub no_store: bool,
    /// Whether to close the connection afterwards.
    pub close: bool,
    /// For the log: the rule that the request broke.
    pub rule: Option<&'static str>,
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
            allow: false,
            no_store: false,
            close: false,
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
    pub(crate) fn options() -> Self {
        Self {
            allow: true,
            ..Self::empty(StatusCode::NO_CONTENT)
        }
    }

    /// 405 with `Allow` (RFC 9110 §15.5.6).
    pub(crate) fn method_not_allowed() -> Self {
        let content = r#"{"code":"method_not_allowed","message":"This resource answers GET, HEAD and OPTIONS"}"#;
        Self {
            allow: true,
            ..Self::refusal(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                content,
            )
        }
    }

    /// 404.
    pub(crate) fn not_found() -> Self {
        Self::refusal(
            StatusCode::NOT_FOUND,
            "not_found",
            r#"{"code":"not_found","message":"There is no such resource"}"#,
        )
    }

    /// 400: the `Host` field is not as RFC 9112 §3.2 asks. Whoever sends such a request may
    /// disagree with us about where the next one begins, so the connection closes.
    pub(crate) fn bad_host() -> Self {
        let content = r#"{"code":"bad_request","message":"A request has one Host field, with a host and perhaps a port"}"#;
        Self {
            close: true,
            ..Self::refusal(StatusCode::BAD_REQUEST, "bad_request", content)
        }
    }

    /// 401 or 403 with a challenge.
    pub(crate) fn challenge(challenge: Challenge) -> Self {
        let text = challenge.text();
        Self {
            challenge: Some(text.field),
            content: text.content,
            rule: Some(challenge.id()),
            ..Self::empty(challenge.status())
        }
    }

    fn refusal(status: StatusCode, rule: &'static str, content: &'static str) -> Self {
        Self {
            content: Bytes::from_static(content.as_bytes()),
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
        } else if self.status != StatusCode::NO_CONTENT {
            // hyper leaves it out of answers to HEAD.
            fields.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        if let Some(user) = self.user {
            fields.insert(X_AUTH_REQUEST_USER, user);
        }
        if let Some(challenge) = self.challenge {
            fields.insert(WWW_AUTHENTICATE, challenge);
        }
        if self.allow {
            fields.insert(ALLOW, METHODS);
        }
        if self.no_store {
            fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        if self.close {
            fields.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let mut response = Response::new(Full::new(self.content));
        *response.status_mut() = self.status;
        *response.headers_mut() = fields;
        response
    }
}
