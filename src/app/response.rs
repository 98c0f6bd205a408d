//! What a handler returns, and the one place where it becomes HTTP.

use std::fmt;
use std::mem::take;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE,
};
use hyper::{Method, StatusCode};
use serde_core::Serialize;

use crate::auth::Challenge;
use crate::jwt::NoUser;
use crate::server::{BoxError, LastResponse, StreamLimit};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// A response, before it becomes HTTP: a plain value.
///
/// Framing is the engine's: `Content-Length`, `Transfer-Encoding`, `Connection`, `Upgrade` and
/// `Trailer` are removed. A 1xx status, content with 204 or 304, an invalid field, and a value that JSON
/// cannot express make it a 500 `internal_error` with a line in the log.
///
/// ```
/// use resource_server::app::{Response, StatusCode};
///
/// let created = Response::json(r#"{"id":7}"#)
///     .with_status(StatusCode::CREATED)
///     .with("location", "/notes/7");
/// ```
#[must_use]
pub struct Response {
    status: StatusCode,
    content: Payload,
    is_last: bool,
    fault: Option<Fault>,
    content_type: ContentType,
    /// The first field is stored inline, so that the built-in responses allocate none.
    field: Option<(HeaderName, HeaderValue)>,
    more: Option<Box<More>>,
    pub(in crate::app) code: Option<&'static str>,
    pub(in crate::app) rule: Option<&'static str>,
}

/// The content of an error, composed at compile time.
macro_rules! error {
    ($code:literal, $message:literal) => {
        concat!(r#"{"code":""#, $code, r#"","message":""#, $message, r#""}"#)
    };
}

impl Response {
    /// A response without content.
    pub const fn empty(status: StatusCode) -> Self {
        Self {
            status,
            content: Payload::Whole(Bytes::new()),
            is_last: false,
            fault: None,
            content_type: ContentType::None,
            field: None,
            more: None,
            code: None,
            rule: None,
        }
    }

    /// 200 with JSON text.
    pub fn json(content: impl Into<Bytes>) -> Self {
        Self::whole(ContentType::Json, content.into())
    }

    /// 200 with a value as JSON. One that JSON cannot express, such as a map whose keys are not strings, is a
    /// 500.
    ///
    /// ```
    /// use resource_server::app::Response;
    ///
    /// let note = Response::json_from(&serde_json::json!({ "id": 7, "text": "buy milk" }));
    /// ```
    pub fn json_from(value: &(impl Serialize + ?Sized)) -> Self {
        match serde_json::to_vec(value) {
            Ok(content) => Self::json(content),
            Err(_) => Self {
                fault: Some(Fault::Value),
                ..Self::empty(StatusCode::OK)
            },
        }
    }

    /// 200 with plain text in UTF-8.
    pub fn text(content: impl Into<Bytes>) -> Self {
        Self::whole(ContentType::Text, content.into())
    }

    /// 200 with content of any type.
    pub fn content(content_type: impl TryInto<HeaderValue>, content: impl Into<Bytes>) -> Self {
        Self::json(content).with(CONTENT_TYPE, content_type)
    }

    /// 200 with content that is still being produced, such as server-sent events. It holds its
    /// connection's seat until it ends by itself, reaches its limit ([`with_limit`](Self::with_limit); by
    /// default `API_ANSWER_TIMEOUT`), or the drain begins.
    pub fn stream<B>(content_type: impl TryInto<HeaderValue>, content: B) -> Self
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + 'static,
    {
        Self {
            content: Payload::Stream(Box::pin(BodyExt::map_err(content, Into::into))),
            ..Self::json(Bytes::new()).with(CONTENT_TYPE, content_type)
        }
    }

    /// An error: JSON with `code`, which is stable and is in the access log, and `message`, which says
    /// what the client can do about it.
    pub fn error(status: StatusCode, code: &'static str, message: &str) -> Self {
        let content = serde_json::json!({ "code": code, "message": message }).to_string();
        Self {
            code: Some(code),
            rule: Some(code),
            ..Self::json(content).with_status(status)
        }
    }

    /// Replaces the status.
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// Adds a field; one that is not valid makes the response a 500. `Content-Type` is replaced.
    pub fn with(
        mut self,
        name: impl TryInto<HeaderName>,
        value: impl TryInto<HeaderValue>,
    ) -> Self {
        let (Ok(name), Ok(value)) = (name.try_into(), value.try_into()) else {
            self.fault = Some(Fault::Field);
            return self;
        };
        if name == CONTENT_TYPE {
            self.content_type = ContentType::Other;
            self.more().content_type = Some(value);
        } else if self.field.is_none() {
            self.field = Some((name, value));
        } else {
            self.more().fields.push((name, value));
        }
        self
    }

    /// Limits how long a stream may take in all, in place of `API_ANSWER_TIMEOUT`.
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.more().stream_limit = Some(limit);
        self
    }

    /// Closes the connection after this response, for a case where client and server may disagree about
    /// where the next request begins.
    pub fn last(self) -> Self {
        Self {
            is_last: true,
            ..self
        }
    }

    /// Removes the content and the field that describes it.
    pub(in crate::app) fn remove_content(&mut self) {
        self.content = Payload::default();
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    fn whole(content_type: ContentType, content: Bytes) -> Self {
        Self {
            content: Payload::Whole(content),
            content_type,
            ..Self::empty(StatusCode::OK)
        }
    }

    /// 204 with `Allow` (RFC 9110 §9.3.7).
    pub(in crate::app) fn options(methods: &Methods) -> Self {
        Self {
            field: Some((ALLOW, methods.allow())),
            ..Self::empty(StatusCode::NO_CONTENT)
        }
    }

    /// 405 with `Allow` (RFC 9110 §15.5.6).
    pub(in crate::app) fn method_not_allowed(methods: &Methods) -> Self {
        Self {
            field: Some((ALLOW, methods.allow())),
            ..Self::refusal(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "method_not_allowed",
                methods.refusal(),
            )
        }
    }

    /// 404 `not_found`, as for a path without a route.
    pub fn not_found() -> Self {
        Self::fixed(
            StatusCode::NOT_FOUND,
            "not_found",
            "not_found",
            error!("not_found", "no such resource"),
        )
    }

    /// A 400. The client may see a different end of such a request than this server does, so the connection
    /// closes.
    pub(in crate::app) fn bad_request(fault: BadRequest) -> Self {
        Self::fixed(
            StatusCode::BAD_REQUEST,
            "bad_request",
            fault.id(),
            fault.content(),
        )
        .last()
    }

    /// 413: the content is longer than its handler allows.
    pub(in crate::app) fn content_too_large() -> Self {
        Self::fixed(
            StatusCode::PAYLOAD_TOO_LARGE,
            "content_too_large",
            "content_too_large",
            error!(
                "content_too_large",
                "the content is longer than this resource allows"
            ),
        )
    }

    /// 401 or 403 with a challenge.
    pub(in crate::app) fn challenge(challenge: Challenge) -> Self {
        let text = challenge.text();
        Self::refused(challenge, text.field, text.content)
    }

    /// 401 or 403 with this value of `WWW-Authenticate`.
    pub(in crate::app) fn refused(
        challenge: Challenge,
        field: HeaderValue,
        content: Bytes,
    ) -> Self {
        Self {
            field: Some((WWW_AUTHENTICATE, field)),
            ..Self::refusal(
                challenge.status(),
                challenge.code(),
                challenge.id(),
                content,
            )
        }
    }

    fn fixed(
        status: StatusCode,
        code: &'static str,
        rule: &'static str,
        content: &'static str,
    ) -> Self {
        Self::refusal(status, code, rule, Bytes::from_static(content.as_bytes()))
    }

    fn refusal(status: StatusCode, code: &'static str, rule: &'static str, content: Bytes) -> Self {
        Self {
            status,
            code: Some(code),
            rule: Some(rule),
            ..Self::whole(ContentType::Json, content)
        }
    }

    /// Makes an HTTP response without fields, and moves the content into it.
    ///
    /// # Errors
    ///
    /// If the response has an invalid field, or a value that JSON cannot express.
    pub(in crate::app) fn take_http(&mut self) -> Result<hyper::Response<ResponseBody>, BoxError> {
        if let Some(fault) = self.fault {
            return Err(fault.message().into());
        }
        if self.content.is_empty() {
            self.content_type = ContentType::None;
        }
        let mut response = hyper::Response::new(match take(&mut self.content) {
            Payload::Whole(content) => ResponseBody::Whole(Full::new(content)),
            Payload::Stream(content) => ResponseBody::Stream(content),
        });
        *response.status_mut() = self.status;
        if self.is_last {
            response.extensions_mut().insert(LastResponse);
        }
        if let Some(limit) = self.more.as_ref().and_then(|more| more.stream_limit) {
            response.extensions_mut().insert(StreamLimit(limit));
        }
        Ok(response)
    }

    /// Moves its fields into an empty table.
    pub(in crate::app) fn take_fields(&mut self, fields: &mut HeaderMap, is_protected: bool) {
        let content_type = match self.content_type {
            ContentType::None => None,
            ContentType::Json => Some(JSON),
            ContentType::Text => Some(TEXT),
            ContentType::Other => self.more().content_type.take(),
        };
        if let Some(content_type) = content_type {
            fields.insert(CONTENT_TYPE, content_type);
        }
        if let Some((name, value)) = self.field.take() {
            fields.insert(name, value);
        }
        if let Some(more) = self.more.take() {
            for (name, value) in more.fields {
                fields.append(name, value);
            }
        }
        if is_protected {
            fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
    }
}

/// What only a few responses need.
#[derive(Default)]
struct More {
    content_type: Option<HeaderValue>,
    fields: Vec<(HeaderName, HeaderValue)>,
    stream_limit: Option<Duration>,
}

#[derive(Clone, Copy)]
enum ContentType {
    None,
    Json,
    Text,
    /// In [`More`].
    Other,
}

/// Why a response cannot be sent.
#[derive(Clone, Copy)]
enum Fault {
    Field,
    Value,
}

impl Fault {
    const fn message(self) -> &'static str {
        match self {
            Self::Field => "a handler's response has a field that is not valid",
            Self::Value => "a handler's response has a value that JSON cannot express",
        }
    }
}

/// Does not print the content.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("code", &self.code)
            .finish_non_exhaustive()
    }
}

/// The content of a response.
enum Payload {
    Whole(Bytes),
    Stream(Stream),
}

impl Default for Payload {
    fn default() -> Self {
        Self::Whole(Bytes::new())
    }
}

impl Payload {
    fn is_empty(&self) -> bool {
        matches!(self, Self::Whole(content) if content.is_empty())
    }
}

type Stream = Pin<Box<dyn Body<Data = Bytes, Error = BoxError>>>;

/// Why a request is rejected with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::app) enum BadRequest {
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
    /// The content has a malformed transfer coding, or ends before it is complete (RFC 9112 §7.1, §8).
    Content,
}

impl BadRequest {
    /// The stable id for the log.
    const fn id(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Asterisk => "asterisk_target",
            Self::UserInformation => "userinfo_in_target",
            Self::Target => "invalid_target",
            Self::Host => "invalid_host",
            Self::Content => "invalid_content",
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
            Self::Content => error!(
                "bad_request",
                "the content is malformed or ends before it is complete"
            ),
        }
    }
}

/// The content of an HTTP response.
pub enum ResponseBody {
    /// Content that is complete.
    Whole(Full<Bytes>),
    /// Content that is still being produced.
    Stream(Pin<Box<dyn Body<Data = Bytes, Error = BoxError>>>),
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseBody(..)")
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(content) => Pin::new(content)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Self::Stream(content) => content.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(content) => content.is_end_stream(),
            Self::Stream(content) => content.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(content) => content.size_hint(),
            Self::Stream(content) => content.size_hint(),
        }
    }
}

/// 403 with a challenge: the token names no user, or its user is neither a string nor an integer of 64
/// bits. (Only `/auth` also demands that the user fits into a field.)
impl From<NoUser> for Response {
    fn from(reason: NoUser) -> Self {
        Self::challenge(reason.into())
    }
}

/// A value that becomes a response.
pub trait IntoResponse {
    /// The response.
    fn into_response(self) -> Response;
}

impl IntoResponse for Response {
    fn into_response(self) -> Response {
        self
    }
}

/// `Ok` and `Err` are both sent, and `?` ends a handler early. An error is any value that converts into a
/// response: a [`Response`], a [`NoUser`], or a type of your own.
///
/// ```
/// use resource_server::app::{Request, Response, StatusCode};
///
/// enum Failure { NoNumber, Odd }
///
/// impl From<Failure> for Response {
///     fn from(failure: Failure) -> Self {
///         let (code, message) = match failure {
///             Failure::NoNumber => ("no_number", "expected a number as the query"),
///             Failure::Odd => ("odd", "expected an even number"),
///         };
///         Self::error(StatusCode::UNPROCESSABLE_ENTITY, code, message)
///     }
/// }
///
/// fn half(request: Request<()>) -> Result<Response, Failure> {
///     let number = request.query().and_then(|query| query.parse().ok());
///     let number: u64 = number.ok_or(Failure::NoNumber)?;
///     if number % 2 != 0 {
///         return Err(Failure::Odd);
///     }
///     Ok(Response::json_from(&(number / 2)))
/// }
/// ```
impl<E: Into<Response>> IntoResponse for Result<Response, E> {
    fn into_response(self) -> Response {
        self.unwrap_or_else(Into::into)
    }
}

/// For functions that are not async: clippy considers a `Response` too large for the error of a `Result`.
impl From<Box<Response>> for Response {
    fn from(response: Box<Self>) -> Self {
        *response
    }
}

/// The methods that a path supports, and the texts that name them.
pub(in crate::app) struct Methods {
    /// A bit for each of [`NAMES`](Self::NAMES).
    pub(in crate::app) known: u8,
    /// The names of all others.
    others: Vec<String>,
}

/// `Allow`, and the content of a 405.
struct Texts {
    allow: HeaderValue,
    refusal: Bytes,
}

impl Methods {
    pub(in crate::app) const GET: u8 = 1;
    pub(in crate::app) const POST: u8 = 1 << 1;
    pub(in crate::app) const PUT: u8 = 1 << 2;
    pub(in crate::app) const PATCH: u8 = 1 << 3;
    pub(in crate::app) const DELETE: u8 = 1 << 4;
    const NAMES: [&str; 5] = ["GET, HEAD", "POST", "PUT", "PATCH", "DELETE"];
    const SETS: usize = 1 << Self::NAMES.len();

    pub(in crate::app) const fn new(known: u8) -> Self {
        Self {
            known,
            others: Vec::new(),
        }
    }

    pub(in crate::app) fn is_empty(&self) -> bool {
        self.known == 0 && self.others.is_empty()
    }

    /// Returns the bit of a method. A method without one is added to the others.
    pub(in crate::app) fn add(&mut self, method: &Method) -> u8 {
        match *method {
            Method::GET => Self::GET,
            Method::POST => Self::POST,
            Method::PUT => Self::PUT,
            Method::PATCH => Self::PATCH,
            Method::DELETE => Self::DELETE,
            // Every path supports it.
            Method::OPTIONS => 0,
            _ => {
                self.others.push(method.to_string());
                0
            }
        }
    }

    fn allow(&self) -> HeaderValue {
        self.ready()
            .map_or_else(|| self.texts().allow, |texts| texts.allow.clone())
    }

    fn refusal(&self) -> Bytes {
        self.ready()
            .map_or_else(|| self.texts().refusal, |texts| texts.refusal.clone())
    }

    /// Formatted once, so that a request with an unsupported method formats no text. A path with an
    /// uncommon method is the exception.
    fn ready(&self) -> Option<&'static Texts> {
        static READY: [OnceLock<Texts>; Methods::SETS] = [const { OnceLock::new() }; Methods::SETS];
        if !self.others.is_empty() {
            return None;
        }
        let ready = READY.get(usize::from(self.known))?;
        Some(ready.get_or_init(|| self.texts()))
    }

    fn texts(&self) -> Texts {
        let known = Self::NAMES
            .into_iter()
            .enumerate()
            .filter(|(bit, _)| self.known & (1 << bit) != 0)
            .map(|(_, name)| name);
        let has_get = self.known & Self::GET != 0;
        let others = self.others.iter().map(String::as_str);
        let others = others.filter(|name| !(has_get && *name == "HEAD"));
        let names: Vec<&str> = known.chain(others).collect();
        let names = names.join(", ");
        Texts {
            allow: HeaderValue::try_from(format!("{names}, OPTIONS"))
                .unwrap_or(HeaderValue::from_static("OPTIONS")),
            // A method is a token (RFC 9110 §9.1), so it needs no escape in JSON.
            refusal: format!(
                r#"{{"code":"method_not_allowed","message":"this resource supports only {names} and OPTIONS"}}"#
            )
            .into(),
        }
    }
}
