//! The built-in site as a service of the engine.

use std::convert::Infallible;
use std::future::{Ready, ready};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::Service;
use hyper::{Request, Response};

use crate::access::Note;
use crate::dispatch::dispatch;
use crate::jwt::Verifier;
use crate::server::Content;
use crate::shared::Cached;

/// The built-in site, as one worker has it.
#[derive(Debug)]
pub struct Site {
    /// Which tokens open the protected resources.
    pub verifier: Cached<Verifier>,
    /// Whether responses carry what the access log says of them.
    pub logs_access: bool,
}

impl Service<Request<Content>> for Site {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<Content>) -> Self::Future {
        // The content goes unread: hyper skips what has arrived of it, and closes after the response
        // if that was not all.
        let (head, content) = request.into_parts();
        drop(content);
        let (answer, claims) = self.verifier.with(|verifier| dispatch(&head, verifier));
        let note = self.logs_access.then(|| Note {
            code: answer.code,
            rule: answer.rule,
            user: claims.and_then(|claims| Some(claims.user().ok()?.into_owned())),
        });
        let mut response = answer.into_response(head.headers);
        if let Some(note) = note {
            response.extensions_mut().insert(note);
        }
        ready(Ok(response))
    }
}
