//! Applications: routes, handlers, requests and responses. The built-in one uses the same interface as
//! those of other crates.
//!
//! An application supplies its state, and a function from a path to its routes:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use resource_server::app::{App, Request, Response, Route, authenticated, health, needs, open, segments};
//! use resource_server::jwt::VerifiedClaims;
//!
//! struct State { motd: String }
//!
//! fn routes<'r>(path: &str, route: Route<'r, State>) -> Route<'r, State> {
//!     match *segments(path) {
//!         ["motd"] => route.get(open(motd)).put(needs("motd:write", write)),
//!         ["users", id] => {
//!             let id = id.to_owned();
//!             route.get(authenticated(|claims, request| user(claims, request, id)))
//!         }
//!         ["healthz"] => route.get(open(health)),
//!         _ => route,
//!     }
//! }
//!
//! fn motd(request: Request<State>) -> Response {
//!     Response::text(request.state().motd.clone())
//! }
//!
//! async fn write(_: VerifiedClaims, mut request: Request<State>) -> Result<Response, Response> {
//!     let content = request.content(1024).await?;
//!     Ok(Response::text(content))
//! }
//!
//! async fn user(
//!     claims: VerifiedClaims,
//!     _: Request<State>,
//!     id: String,
//! ) -> Result<Response, Response> {
//!     Ok(Response::text(format!("{id}, seen by {}", claims.user()?)))
//! }
//!
//! fn main() -> ExitCode {
//!     resource_server::run(App::new("motd", routes, || Ok(State { motd: "hello".into() })))
//! }
//! ```
//!
//! [`Request::json`] and [`Response::json_from`] read and write JSON, [`Response::error`] makes an error, and
//! `claims.user()?` is the user or a 403. A handler must not block its worker: run blocking work with
//! `tokio::task::spawn_blocking`.
//!
//! # Logging
//!
//! `API_LOG=access` logs every response, with the `code` of an error ([`Response::error`]). A handler
//! that logs more keeps [`Lines`](crate::log::Lines) in the state. They never wait for their reader. A
//! blocked `eprintln!` would stop every connection of the worker.
//!
//! ```no_run
//! use std::io;
//! use std::process::ExitCode;
//! use std::sync::Arc;
//! use resource_server::app::{App, Request, Response, Route, open};
//! use resource_server::log::{Lines, output};
//!
//! struct State { log: Arc<Lines> }
//!
//! fn routes<'r>(path: &str, route: Route<'r, State>) -> Route<'r, State> {
//!     match path {
//!         "/tide" => route.get(open(tide)),
//!         _ => route,
//!     }
//! }
//!
//! fn tide(request: Request<State>) -> Response {
//!     request.state().log.push("no gauge: the tide is a guess");
//!     Response::text("low")
//! }
//!
//! fn main() -> ExitCode {
//!     let log = Lines::new(output(io::stderr()));
//!     resource_server::run(App::new("tides", routes, move || Ok(State { log: Arc::clone(&log) })))
//! }
//! ```
//!
//! # Map
//!
//! | module | |
//! |---|---|
//! | this one | the application as a service of the engine |
//! | `site` | the built-in application, on one screen |
//! | `handlers` | the built-in handlers |
//! | `route` | the methods of a path, and how a request finds its handler |
//! | `request` | what a handler gets |
//! | `response` | what it returns, and how that becomes HTTP |
//! | `gate` | scopes and users |
//! | `target` | request target and `Host` |
//! | `access` | one line of JSON per request |

use std::cell::Cell;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::http::uri::PathAndQuery;
use hyper::service::Service;

pub use hyper::body::{Body, Bytes, Frame, SizeHint};
pub use hyper::header;
pub use hyper::{Method, StatusCode};

pub use crate::server::{BoxError, Content};

use crate::jwt::Verifier;
use crate::shared::Cached;

mod access;
pub(crate) mod gate;
mod handlers;
mod request;
mod response;
mod route;
mod site;
mod target;

pub use access::access_line;
pub use handlers::health;
pub use request::Request;
pub use response::{IntoResponse, Response, ResponseBody};
pub use route::{
    Endpoint, Open, Protected, Ready, Reply, Route, Waits, authenticated, needs, open,
};
pub use site::site;

use access::Note;
use hyper::header::HeaderMap;
use response::Methods;
use route::{Dispatch, Progress, Replied};
use target::Target;

/// Registers the methods of a path.
pub type Routes<S> = for<'p, 'r> fn(&'p str, Route<'r, S>) -> Route<'r, S>;

/// An application: its routes and its state.
pub struct App<S> {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) about: &'static str,
    pub(crate) trial_path: Option<&'static str>,
    pub(crate) variables: &'static [&'static str],
    routes: Routes<S>,
    state: Arc<dyn Fn() -> io::Result<S> + Send + Sync>,
}

impl<S: 'static> App<S> {
    /// Creates an application with this name. Each worker calls `state` once, before it serves, and keeps
    /// the result for itself; share data between workers with an `Arc`. An error from `state` ends the
    /// program.
    #[must_use]
    pub fn new(
        name: &'static str,
        routes: Routes<S>,
        state: impl Fn() -> io::Result<S> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            version: "",
            about: "An API with HS256 bearer tokens.",
            trial_path: None,
            variables: &[],
            routes,
            state: Arc::new(state),
        }
    }

    /// Sets the version, which `--version` prints after the name.
    #[must_use]
    pub fn version(self, version: &'static str) -> Self {
        Self { version, ..self }
    }

    /// Sets the first line of `--help`.
    #[must_use]
    pub fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    /// Sets the path of the `curl` command that a run without a secret prints.
    #[must_use]
    pub fn trial_path(self, path: &'static str) -> Self {
        Self {
            trial_path: Some(path),
            ..self
        }
    }

    /// Names the environment variables that the application itself reads. `--help` lists them, and they
    /// cause no warning about a misspelled variable.
    #[must_use]
    pub fn variables(self, variables: &'static [&'static str]) -> Self {
        Self { variables, ..self }
    }

    /// Creates the application of one worker, with a state of its own.
    ///
    /// # Errors
    ///
    /// The error of the function that creates the state.
    pub fn worker(&self, verifier: Cached<Verifier>, logs_access: bool) -> io::Result<Worker<S>> {
        Ok(Worker {
            routes: self.routes,
            shared: Rc::new(Shared {
                state: (self.state)()?,
                verifier,
                logs_access,
                spare: Cell::default(),
            }),
        })
    }
}

impl<S> Clone for App<S> {
    fn clone(&self) -> Self {
        Self {
            state: Arc::clone(&self.state),
            ..*self
        }
    }
}

impl<S> fmt::Debug for App<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What the requests of one worker share.
struct Shared<S> {
    state: S,
    /// Verifies the tokens of protected resources.
    verifier: Cached<Verifier>,
    /// Whether responses carry a [`Note`] for the access log.
    logs_access: bool,
    /// The emptied field table of an earlier request, for the next response.
    spare: Cell<Option<HeaderMap>>,
}

/// One worker's application: a service of the engine.
pub struct Worker<S> {
    routes: Routes<S>,
    shared: Rc<Shared<S>>,
}

impl<S> fmt::Debug for Worker<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Worker(..)")
    }
}

impl<S> Worker<S> {
    fn dispatch(&self, request: hyper::Request<Content>) -> Answering<S> {
        // The handler will own the request, but the routes still need its path.
        let path = request.uri().path_and_query().cloned();
        let path = path.as_ref().map_or("", PathAndQuery::path);
        // Filled in place: moving it costs more than filling it.
        let mut dispatch = Dispatch {
            request: None,
            progress: Progress {
                replied: Replied::Nothing,
                user: None,
                is_protected: false,
                is_gate: false,
            },
            methods: Methods::new(0),
            target: Target::Resource,
        };
        match target::target(&request) {
            Ok(target) => dispatch.target = target,
            Err(fault) => dispatch.progress.replied = Replied::Ready(Response::bad_request(fault)),
        }
        dispatch.request = Some(Request::new(request, Rc::clone(&self.shared)));
        let _registered = (self.routes)(path, dispatch.route());
        dispatch.reply_by_default();
        let Progress {
            replied,
            user,
            is_protected,
            is_gate,
        } = &mut dispatch.progress;
        let finish = Finish {
            user: user.take(),
            is_protected: *is_protected,
            is_gate: *is_gate,
        };
        if let Replied::Ready(response) = replied {
            return Answering(State::Ready(Some(self.shared.finish(response, finish))));
        }
        Answering(match std::mem::replace(replied, Replied::Nothing) {
            Replied::Waiting(handler) => State::Waiting {
                handler,
                shared: Rc::clone(&self.shared),
                finish,
            },
            _ => State::Ready(None),
        })
    }
}

/// What is added to a handler's response.
struct Finish {
    /// For the access log.
    user: Option<String>,
    is_protected: bool,
    is_gate: bool,
}

impl<S> Shared<S> {
    fn finish(&self, response: &mut Response, finish: Finish) -> Result {
        if finish.is_gate {
            response.remove_content();
        }
        let mut http = response.take_http()?;
        if let Some(fields) = self.spare.take() {
            *http.headers_mut() = fields;
        }
        response.take_fields(http.headers_mut(), finish.is_protected);
        if self.logs_access {
            http.extensions_mut().insert(Note {
                code: response.code,
                rule: response.rule,
                user: finish.user,
            });
        }
        Ok(http)
    }
}

impl<S: 'static> Service<hyper::Request<Content>> for Worker<S> {
    type Response = hyper::Response<ResponseBody>;
    type Error = BoxError;
    type Future = Answering<S>;

    fn call(&self, request: hyper::Request<Content>) -> Answering<S> {
        self.dispatch(request)
    }
}

type Result = std::result::Result<hyper::Response<ResponseBody>, BoxError>;

/// The future of one response.
pub struct Answering<S>(State<S>);

enum State<S> {
    /// `None` once the result is taken.
    Ready(Option<Result>),
    Waiting {
        handler: Pin<Box<dyn Future<Output = Response>>>,
        shared: Rc<Shared<S>>,
        finish: Finish,
    },
}

impl<S> fmt::Debug for Answering<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answering(..)")
    }
}

impl<S> Future for Answering<S> {
    type Output = Result;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result> {
        let result = match &mut self.0 {
            State::Ready(result) => result.take(),
            State::Waiting {
                handler,
                shared,
                finish,
            } => {
                let mut response = ready!(handler.as_mut().poll(cx));
                let finish = Finish {
                    user: finish.user.take(),
                    ..*finish
                };
                Some(shared.finish(&mut response, finish))
            }
        };
        // A completed future is not polled again.
        result.map_or(Poll::Pending, Poll::Ready)
    }
}

/// Splits a path at its slashes. Nothing is decoded, and a trailing slash yields an empty last part. A path
/// of more than [`MAX_SEGMENTS`] parts yields none.
///
/// ```
/// use resource_server::app::segments;
///
/// assert_eq!(*segments("/notes/7"), ["notes", "7"]);
/// assert_eq!(*segments("/notes/"), ["notes", ""]);
/// assert_eq!(*segments("/"), [""]);
/// assert_eq!(*segments("*"), [""; 0]);
/// ```
#[must_use]
pub fn segments(path: &str) -> Segments<'_> {
    let mut segments = Segments {
        parts: [""; MAX_SEGMENTS],
        len: 0,
    };
    let Some(path) = path.strip_prefix('/') else {
        return segments;
    };
    for part in path.split('/') {
        let Some(place) = segments.parts.get_mut(segments.len) else {
            segments.len = 0;
            break;
        };
        *place = part;
        segments.len += 1;
    }
    segments
}

/// The largest number of parts that [`segments`] yields. It is fixed, so that nothing is allocated.
pub const MAX_SEGMENTS: usize = 16;

/// The parts of a path. Dereferences to a slice.
#[derive(Clone, Debug)]
pub struct Segments<'p> {
    parts: [&'p str; MAX_SEGMENTS],
    len: usize,
}

impl<'p> Deref for Segments<'p> {
    type Target = [&'p str];

    fn deref(&self) -> &[&'p str] {
        self.parts.get(..self.len).unwrap_or_default()
    }
}
