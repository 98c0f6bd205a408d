//! What a handler gets: the head of a request, the application's state, and, on demand, the content.

use std::fmt;
use std::future::poll_fn;
use std::mem::take;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;

use hyper::body::{Body, Bytes};
use hyper::header::HeaderMap;
use hyper::{Method, StatusCode, Uri, Version};
use serde_core::de::DeserializeOwned;

use super::Shared;
use super::response::{BadRequest, Response};
use crate::server::Content;

/// The largest field table that is kept for a later response. A larger one, such as a hostile request's, is
/// freed.
const MAX_KEPT_FIELDS: usize = 32;

/// One request, as its handler gets it.
pub struct Request<S> {
    http: hyper::Request<Content>,
    shared: Rc<Shared<S>>,
}

impl<S> Request<S> {
    pub(super) fn new(http: hyper::Request<Content>, shared: Rc<Shared<S>>) -> Self {
        Self { http, shared }
    }

    /// The method. A handler of `GET` gets `HEAD` too, and the content of its response is left out.
    #[must_use]
    pub fn method(&self) -> &Method {
        self.http.method()
    }

    /// The request target.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        self.http.uri()
    }

    /// The path of the target, as sent: nothing is decoded.
    #[must_use]
    pub fn path(&self) -> &str {
        self.http.uri().path()
    }

    /// The query of the target, as sent, without its question mark.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.http.uri().query()
    }

    /// The header fields.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.http.headers()
    }

    /// The version of HTTP.
    #[must_use]
    pub fn version(&self) -> Version {
        self.http.version()
    }

    /// The peer's address: the client's, or that of a proxy in front.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.http.body().peer()
    }

    /// The application's state on this worker.
    #[must_use]
    pub fn state(&self) -> &S {
        &self.shared.state
    }

    pub(super) fn shared(&self) -> &Shared<S> {
        &self.shared
    }

    /// Reads the whole content. A client that waits for `100 Continue` gets it now.
    ///
    /// Holds at most `limit` bytes, in a `Vec` that grows with them. If the content does not arrive within
    /// `API_HEADER_TIMEOUT`, the client gets 408 and the handler is dropped.
    ///
    /// # Errors
    ///
    /// The response to return: 413 `content_too_large` if it is longer than `limit` bytes, at once where
    /// `Content-Length` says so; 400 `bad_request` if its transfer coding is malformed.
    pub async fn content(&mut self, limit: usize) -> Result<Bytes, Response> {
        let content = self.http.body_mut();
        let is_too_long = |len: u64| u64::try_from(limit).is_ok_and(|limit| len > limit);
        if is_too_long(content.size_hint().lower()) {
            return Err(Response::content_too_large());
        }
        let mut whole = Vec::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut *content).poll_frame(cx)).await {
            let frame = frame.map_err(|_| Response::bad_request(BadRequest::Content))?;
            // Trailers are not part of it.
            if let Ok(part) = frame.into_data() {
                if part.len() > limit - whole.len() {
                    return Err(Response::content_too_large());
                }
                whole.extend_from_slice(&part);
            }
        }
        Ok(whole.into())
    }

    /// Reads the whole content as one JSON value. Its `Content-Type` is ignored.
    ///
    /// ```
    /// use resource_server::app::{Request, Response};
    /// use serde_json::{Value, json};
    ///
    /// async fn echo(mut request: Request<()>) -> Result<Response, Response> {
    ///     let value: Value = request.json(1024).await?;
    ///     Ok(Response::json_from(&json!({ "sent": value })))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`content`](Self::content); and 400 `bad_request`, which names line and column, if it is not JSON,
    /// or not JSON of this type.
    pub async fn json<T: DeserializeOwned>(&mut self, limit: usize) -> Result<T, Response> {
        let content = self.content(limit).await?;
        serde_json::from_slice(&content).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let message = format!(
                "the content is not the JSON that this resource expects: see line {line}, column {column}"
            );
            Response::error(StatusCode::BAD_REQUEST, "bad_request", &message)
        })
    }

    /// The content as a stream, for a handler that does not want it whole.
    pub fn stream(&mut self) -> &mut Content {
        self.http.body_mut()
    }
}

/// Keeps the emptied field table for a response: hyper reuses the table of a response for the next
/// request, so that a kept connection allocates none.
impl<S> Drop for Request<S> {
    fn drop(&mut self) {
        let mut fields = take(self.http.headers_mut());
        if fields.capacity() <= MAX_KEPT_FIELDS {
            fields.clear();
            self.shared.spare.set(Some(fields));
        }
    }
}

/// Prints no field and no content: they may contain tokens.
impl<S> fmt::Debug for Request<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", self.method())
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}
