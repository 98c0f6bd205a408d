//! The methods of a path: a builder that dispatches the request while the methods are registered.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::SystemTime;

use hyper::Method;

use super::gate;
use super::request::Request;
use super::response::{IntoResponse, Methods, Response};
use super::target::Target;
use crate::auth;
use crate::jwt::VerifiedClaims;

/// The response of a handler, or the handler while it waits. Both stay where they are first written
/// until they are HTTP: moving them costs more than making them.
pub(super) enum Replied {
    /// No endpoint has matched.
    Nothing,
    Ready(Response),
    Waiting(Pin<Box<dyn Future<Output = Response>>>),
}

/// What a handler returns: a [`Response`], a `Result` of a response and an error that converts into one
/// ([`IntoResponse`]), or a future of either, such as an `async fn` returns.
///
/// `K` is [`Ready`] or [`Waits`], and is inferred. A future is boxed; it need not be `Send`.
pub trait Reply<K>: sealed::Reply<K> {}

impl<K, R: sealed::Reply<K>> Reply<K> for R {}

/// The handler returns its response.
#[derive(Debug)]
pub struct Ready;

/// The handler returns a future of its response.
#[derive(Debug)]
pub struct Waits;

/// What a method of a path responds with: [`open`], [`authenticated`] or [`needs`].
pub trait Endpoint<S>: sealed::Endpoint<S> {}

impl<S, E: sealed::Endpoint<S>> Endpoint<S> for E {}

mod sealed {
    use super::{IntoResponse, Progress, Ready, Replied, Request, Waits};

    #[diagnostic::on_unimplemented(
        message = "`{Self}` is not what a handler returns",
        label = "expected a `Response`, a `Result<Response, impl Into<Response>>`, or a future of either"
    )]
    pub trait Reply<K> {
        #[expect(private_interfaces, reason = "sealed")]
        fn reply(self, replied: &mut Replied);
    }

    impl<R: IntoResponse> Reply<Ready> for R {
        #[expect(private_interfaces, reason = "sealed")]
        fn reply(self, replied: &mut Replied) {
            *replied = Replied::Ready(self.into_response());
        }
    }

    impl<F> Reply<Waits> for F
    where
        F: Future<Output: IntoResponse> + 'static,
    {
        #[expect(private_interfaces, reason = "sealed")]
        fn reply(self, replied: &mut Replied) {
            *replied = Replied::Waiting(Box::pin(async { self.await.into_response() }));
        }
    }

    #[diagnostic::on_unimplemented(
        message = "a handler cannot be a route by itself",
        label = "say `open(…)`, `authenticated(…)` or `needs(scopes, …)`"
    )]
    pub trait Endpoint<S> {
        /// Whether every response of the path is `no-store`.
        const IS_PROTECTED: bool;

        #[expect(private_interfaces, reason = "sealed")]
        fn respond(self, request: Request<S>, progress: &mut Progress);
    }
}

/// Open to every client. The handler takes the request:
///
/// ```
/// use resource_server::app::{Request, Response, Route, open};
///
/// fn greet(_: Request<()>) -> Response {
///     Response::text("hello")
/// }
///
/// fn routes<'r>(path: &str, route: Route<'r, ()>) -> Route<'r, ()> {
///     match path {
///         "/greeting" => route.get(open(greet)),
///         _ => route,
///     }
/// }
/// ```
///
/// A handler that takes claims cannot be open:
///
/// ```compile_fail,E0593
/// # use resource_server::app::{Request, Response, Route, open};
/// use resource_server::jwt::VerifiedClaims;
///
/// fn greet(_: VerifiedClaims, _: Request<()>) -> Response {
///     Response::text("hello")
/// }
///
/// fn routes<'r>(path: &str, route: Route<'r, ()>) -> Route<'r, ()> {
///     match path {
///         "/greeting" => route.get(open(greet)),
///         _ => route,
///     }
/// }
/// ```
pub fn open<S, H, R, K>(handler: H) -> Open<H, K>
where
    H: FnOnce(Request<S>) -> R,
    R: Reply<K>,
{
    Open(handler, PhantomData)
}

/// Requires a valid bearer token. The handler takes the token's claims and the request. Every response of
/// the path, whatever its method, is `no-store`.
///
/// ```
/// use resource_server::app::{Request, Response, Route, authenticated};
/// use resource_server::jwt::VerifiedClaims;
///
/// async fn me(claims: VerifiedClaims, _: Request<()>) -> Response {
///     Response::text(claims.subject().unwrap_or_default())
/// }
///
/// fn routes<'r>(path: &str, route: Route<'r, ()>) -> Route<'r, ()> {
///     match path {
///         "/me" => route.get(authenticated(me)),
///         _ => route,
///     }
/// }
/// ```
///
/// A handler that does not take the claims does not compile:
///
/// ```compile_fail,E0593
/// # use resource_server::app::{Request, Response, Route, authenticated};
/// async fn me(_: Request<()>) -> Response {
///     Response::text("hello")
/// }
///
/// fn routes<'r>(path: &str, route: Route<'r, ()>) -> Route<'r, ()> {
///     match path {
///         "/me" => route.get(authenticated(me)),
///         _ => route,
///     }
/// }
/// ```
///
/// Nor does a bare handler:
///
/// ```compile_fail,E0277
/// # use resource_server::app::{Request, Response, Route};
/// # use resource_server::jwt::VerifiedClaims;
/// # async fn me(claims: VerifiedClaims, _: Request<()>) -> Response {
/// #     Response::text(claims.subject().unwrap_or_default())
/// # }
/// #
/// fn routes<'r>(path: &str, route: Route<'r, ()>) -> Route<'r, ()> {
///     match path {
///         "/me" => route.get(me),
///         _ => route,
///     }
/// }
/// ```
pub fn authenticated<S, H, R, K>(handler: H) -> Protected<'static, H, K>
where
    H: FnOnce(VerifiedClaims, Request<S>) -> R,
    R: Reply<K>,
{
    Protected {
        scopes: None,
        handler,
        kind: PhantomData,
    }
}

/// As [`authenticated`], and the token must grant these scopes, separated by single spaces; otherwise
/// 403 `insufficient_scope`. No token grants an empty scope.
///
/// ```
/// use resource_server::app::{Request, Response, Route, needs};
/// use resource_server::jwt::VerifiedClaims;
///
/// async fn list(_: VerifiedClaims, _: Request<()>) -> Response {
///     Response::json("[]")
/// }
///
/// fn routes<'r>(path: &str, route: Route<'r, ()>) -> Route<'r, ()> {
///     match path {
///         "/notes" => route.get(needs("notes:read", list)),
///         _ => route,
///     }
/// }
/// ```
///
/// ```compile_fail,E0593
/// # use resource_server::app::{Request, Response, Route, needs};
/// async fn list(_: Request<()>) -> Response {
///     Response::json("[]")
/// }
///
/// fn routes<'r>(path: &str, route: Route<'r, ()>) -> Route<'r, ()> {
///     match path {
///         "/notes" => route.get(needs("notes:read", list)),
///         _ => route,
///     }
/// }
/// ```
pub fn needs<S, H, R, K>(scopes: &str, handler: H) -> Protected<'_, H, K>
where
    H: FnOnce(VerifiedClaims, Request<S>) -> R,
    R: Reply<K>,
{
    Protected {
        scopes: Some(scopes),
        handler,
        kind: PhantomData,
    }
}

/// An endpoint that is [`open`].
#[derive(Debug)]
#[must_use]
pub struct Open<H, K>(H, PhantomData<K>);

/// An endpoint that is [`authenticated`], or that [`needs`] scopes as well.
#[derive(Debug)]
#[must_use]
pub struct Protected<'s, H, K> {
    scopes: Option<&'s str>,
    handler: H,
    kind: PhantomData<K>,
}

impl<S, H, R, K> sealed::Endpoint<S> for Open<H, K>
where
    H: FnOnce(Request<S>) -> R,
    R: Reply<K>,
{
    const IS_PROTECTED: bool = false;

    #[expect(private_interfaces, reason = "sealed")]
    fn respond(self, request: Request<S>, progress: &mut Progress) {
        (self.0)(request).reply(&mut progress.replied);
    }
}

impl<S, H, R, K> sealed::Endpoint<S> for Protected<'_, H, K>
where
    H: FnOnce(VerifiedClaims, Request<S>) -> R,
    R: Reply<K>,
{
    const IS_PROTECTED: bool = true;

    #[expect(private_interfaces, reason = "sealed")]
    fn respond(self, request: Request<S>, progress: &mut Progress) {
        let Some(claims) = authenticate(&request, progress) else {
            return;
        };
        match self
            .scopes
            .and_then(|scopes| gate::refusal(&claims, scopes))
        {
            None => (self.handler)(claims, request).reply(&mut progress.replied),
            Some(refusal) => progress.replied = Replied::Ready(refusal),
        }
    }
}

/// The only way from a request to its claims. If there are none, the challenge becomes the reply.
fn authenticate<S>(request: &Request<S>, progress: &mut Progress) -> Option<VerifiedClaims> {
    let shared = request.shared();
    let claims = shared
        .verifier
        .with(|verifier| auth::authenticate(request.headers(), verifier, SystemTime::now().into()));
    match claims {
        Ok(claims) => {
            if shared.logs_access {
                progress.user = claims.user().ok().map(Cow::into_owned);
            }
            Some(claims)
        }
        Err(challenge) => {
            progress.replied = Replied::Ready(Response::challenge(challenge));
            None
        }
    }
}

/// The progress of one request's dispatch.
pub(super) struct Progress {
    /// The reply of the first endpoint that matched.
    pub(super) replied: Replied,
    /// For the access log.
    pub(super) user: Option<String>,
    /// Whether every response is `no-store`.
    pub(super) is_protected: bool,
    /// Whether responses have no content.
    pub(super) is_gate: bool,
}

/// A path, while its methods are registered.
///
/// It holds the request, and immediately calls the first endpoint that is registered for the request's
/// method. `Allow`, 405 and the responses to `HEAD` and `OPTIONS` follow from what is registered. If
/// nothing is registered, the response is 404.
#[must_use]
pub struct Route<'r, S>(&'r mut Dispatch<S>);

impl<S> std::fmt::Debug for Route<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Route(..)")
    }
}

impl<S> Route<'_, S> {
    /// Responds to `GET`, and to `HEAD` without content.
    pub fn get(self, endpoint: impl Endpoint<S>) -> Self {
        self.register(&Method::GET, Methods::GET, endpoint)
    }

    /// Responds to `POST`.
    pub fn post(self, endpoint: impl Endpoint<S>) -> Self {
        self.register(&Method::POST, Methods::POST, endpoint)
    }

    /// Responds to `PUT`.
    pub fn put(self, endpoint: impl Endpoint<S>) -> Self {
        self.register(&Method::PUT, Methods::PUT, endpoint)
    }

    /// Responds to `PATCH`.
    pub fn patch(self, endpoint: impl Endpoint<S>) -> Self {
        self.register(&Method::PATCH, Methods::PATCH, endpoint)
    }

    /// Responds to `DELETE`.
    pub fn delete(self, endpoint: impl Endpoint<S>) -> Self {
        self.register(&Method::DELETE, Methods::DELETE, endpoint)
    }

    /// Responds to `method`, such as `OPTIONS` for CORS. `CONNECT` is always rejected with 400.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a constant, in almost every call"
    )]
    pub fn on(self, method: Method, endpoint: impl Endpoint<S>) -> Self {
        let bit = self.0.methods.add(&method);
        self.register(&method, bit, endpoint)
    }

    fn register(self, method: &Method, bit: u8, endpoint: impl Endpoint<S>) -> Self {
        let Dispatch {
            request,
            progress,
            methods,
            ..
        } = &mut *self.0;
        methods.known |= bit;
        progress.is_protected |= is_protected(&endpoint);
        if matches!(progress.replied, Replied::Nothing)
            && let Some(asked) = request
            && (asked.method() == method || (bit == Methods::GET && asked.method() == Method::HEAD))
            && let Some(request) = request.take()
        {
            endpoint.respond(request, progress);
        }
        self
    }

    /// Makes the path a gate: a proxy sends a request to it before it forwards one. Every method gets the
    /// same response: 200 with `X-Auth-Request-User` if the bearer token is valid and grants `scopes`,
    /// which `+` separates; otherwise 401 or 403. No response has content, because nginx drops the
    /// connection together with the content.
    pub fn gate(self, scopes: Option<&str>) -> Self {
        let Dispatch {
            request, progress, ..
        } = &mut *self.0;
        progress.is_protected = true;
        progress.is_gate = true;
        if matches!(progress.replied, Replied::Nothing)
            && let Some(request) = request.take()
            && let Some(claims) = authenticate(&request, progress)
        {
            progress.replied = Replied::Ready(gate::gate(&claims, scopes));
        }
        self
    }
}

fn is_protected<S, E: Endpoint<S>>(_: &E) -> bool {
    E::IS_PROTECTED
}

/// One request while it is dispatched.
pub(super) struct Dispatch<S> {
    /// `None` once an endpoint has taken it.
    pub(super) request: Option<Request<S>>,
    pub(super) progress: Progress,
    pub(super) methods: Methods,
    pub(super) target: Target,
}

impl<S> Dispatch<S> {
    pub(super) fn route(&mut self) -> Route<'_, S> {
        Route(self)
    }

    /// Replies if no endpoint has: the response follows from what is registered.
    pub(super) fn reply_by_default(&mut self) {
        let Some(request) = self.request.take() else {
            return;
        };
        if !matches!(self.progress.replied, Replied::Nothing) {
            return;
        }
        let is_options = *request.method() == Method::OPTIONS;
        self.progress.replied = Replied::Ready(match (self.methods.is_empty(), &self.target) {
            (true, Target::Server) => Response::options(&Methods::new(Methods::GET)),
            (true, Target::Resource) => Response::not_found(),
            (false, _) if is_options => Response::options(&self.methods),
            (false, _) => Response::method_not_allowed(&self.methods),
        });
    }
}
