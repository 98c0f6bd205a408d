//! One request, from its dispatch until hyper has its response: what it waits for, how long it may
//! wait, and how its response is finished.

use std::convert::Infallible;
use std::mem::replace;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use hyper::service::Service;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use tokio::task::coop::poll_proceed;
use tokio::time::{Instant, Sleep, sleep};

use super::closing::Closing;
use super::exchange::Progress;
use super::{Application, BoxError, Engine, Limits, Observed};

/// A response extension: how long a response of unknown length may take in all, instead of
/// [`Limits::answer_timeout`](super::Limits::answer_timeout).
#[derive(Clone, Copy, Debug)]
pub struct StreamLimit(pub Duration);

/// The content of a request. Before a handler asks for it, no more of it is read than arrives with the
/// head, and no `100 Continue` is sent.
///
/// A handler may wait for content for [`Limits::step_timeout`](super::Limits::step_timeout) in all. If
/// it would wait longer, it is dropped and the client gets 408.
#[derive(Debug)]
pub struct Content {
    incoming: Incoming,
    peer: SocketAddr,
    /// `None` if there is no content.
    state: Option<Arc<ContentState>>,
}

/// What a handler has done with the content of its request.
#[derive(Debug, Default)]
struct ContentState(AtomicU8);

impl ContentState {
    /// The handler has not asked for more, or has what it asked for.
    const NOT_AWAITED: u8 = 0;
    /// The handler waits for the client to send more.
    const AWAITED: u8 = 1;
    /// The handler has all of it.
    const COMPLETE: u8 = 2;
    /// The handler does not want the rest. hyper skips what has arrived, and closes the connection if
    /// more is to come.
    const DROPPED: u8 = 3;

    fn is(&self, state: u8) -> bool {
        self.0.load(Ordering::Relaxed) == state
    }

    fn set(&self, state: u8) {
        self.0.store(state, Ordering::Relaxed);
    }
}

impl Content {
    /// The address of the client.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn mark(&self, new: u8) {
        if let Some(state) = &self.state {
            state.set(new);
        }
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        let is_complete = |state: &ContentState| state.is(ContentState::COMPLETE);
        if !self.state.as_deref().is_some_and(is_complete) {
            self.mark(ContentState::DROPPED);
        }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.incoming).poll_frame(cx);
        self.mark(match &frame {
            Poll::Pending => ContentState::AWAITED,
            Poll::Ready(None) => ContentState::COMPLETE,
            Poll::Ready(Some(_)) if self.incoming.is_end_stream() => ContentState::COMPLETE,
            Poll::Ready(Some(_)) => ContentState::NOT_AWAITED,
        });
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// The service that hyper sees. It calls the application, and counts.
pub(super) struct Counted<S> {
    engine: Rc<Engine<S>>,
    progress: Rc<Progress>,
    peer: SocketAddr,
}

impl<S> Counted<S> {
    pub(super) fn new(engine: Rc<Engine<S>>, progress: Rc<Progress>, peer: SocketAddr) -> Self {
        Self {
            engine,
            progress,
            peer,
        }
    }
}

impl<S: Application> Service<Request<Incoming>> for Counted<S> {
    type Response = Response<Outgoing<S::Body>>;
    type Error = Infallible;
    type Future = InFlight<S>;

    // Inlined into hyper, it costs two more copies of the request: 1.3 % of its instructions.
    #[inline(never)]
    fn call(&self, request: Request<Incoming>) -> InFlight<S> {
        let has_content = !request.body().is_end_stream();
        let progress = &self.progress;
        progress
            .requests
            .set(progress.requests.get().wrapping_add(1));
        progress.is_in_flight.set(true);
        progress.has_dispatched.set(true);
        progress.has_content.set(has_content);
        let state = has_content.then(Arc::default);
        let seen = self.engine.observer.as_ref().map(|_| {
            Box::new(Seen {
                peer: self.peer,
                method: request.method().clone(),
                target: request.uri().clone(),
                since: Instant::now(),
            })
        });
        let has_transfer_coding = has_content && request.headers().contains_key(TRANSFER_ENCODING);
        let request = request.map(|incoming| Content {
            incoming,
            peer: self.peer,
            state: state.clone(),
        });
        let work = self.engine.service.call(request);
        let is_dropped = |state: &ContentState| state.is(ContentState::DROPPED);
        let skips_content = state.as_deref().is_some_and(is_dropped);
        InFlight {
            stage: Stage::Working(work),
            skips_content,
            engine: Rc::clone(&self.engine),
            progress: Rc::clone(progress),
            has_transfer_coding,
            content: state,
            seen,
            timer: None,
        }
    }
}

/// What the observer needs of a request. It is kept because the handler consumes the request.
struct Seen {
    peer: SocketAddr,
    method: Method,
    target: Uri,
    since: Instant,
}

/// What a request in flight waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Party {
    Client,
    Handler,
}

/// A request in flight. hyper moves it, so it is small: what only some requests need is boxed.
pub(super) struct InFlight<S: Application> {
    stage: Stage<S>,
    /// The handler had dropped the content before hyper's last read.
    skips_content: bool,
    engine: Rc<Engine<S>>,
    progress: Rc<Progress>,
    has_transfer_coding: bool,
    content: Option<Arc<ContentState>>,
    seen: Option<Box<Seen>>,
    /// Present only while the handler waits.
    timer: Option<Box<Timer>>,
}

enum Stage<S: Application> {
    /// The application has the request.
    Working(S::Future),
    /// The response waits until the client has taken the previous one, or until hyper has looked for the
    /// rest of the content.
    Held(Response<Outgoing<S::Body>>),
    /// hyper has the response.
    Over,
}

/// How long a handler that waits may still take. Each party has its own time limit, which is paused while
/// the request waits for the other one.
struct Timer {
    /// The party whose time runs, and since when.
    party: Party,
    since: Instant,
    /// Completes when that party is late.
    late: Pin<Box<Sleep>>,
    /// For the client to send content.
    content_left: Duration,
    /// For the handler to do everything else.
    answer_left: Duration,
}

impl Timer {
    fn new(party: Party, limits: &Limits) -> Self {
        let (content_left, answer_left) = (limits.step_timeout, limits.answer_timeout);
        let left = match party {
            Party::Client => content_left,
            Party::Handler => answer_left,
        };
        Self {
            party,
            since: Instant::now(),
            late: Box::pin(sleep(left)),
            content_left,
            answer_left,
        }
    }

    /// Lets the time of `party` run. Completes when it is late.
    fn poll(&mut self, party: Party, cx: &mut Context<'_>) -> Poll<()> {
        if party != self.party {
            let spent = self.since.elapsed();
            let left = self.left();
            *left = left.saturating_sub(spent);
            self.party = party;
            self.since = Instant::now();
            self.late = Box::pin(sleep(*self.left()));
        }
        self.late.as_mut().poll(cx)
    }

    fn left(&mut self) -> &mut Duration {
        match self.party {
            Party::Client => &mut self.content_left,
            Party::Handler => &mut self.answer_left,
        }
    }
}

impl<S: Application> Future for InFlight<S> {
    type Output = Result<Response<Outgoing<S::Body>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let response = match this.response(cx) {
            Poll::Ready(response) => response,
            Poll::Pending => {
                this.skips_content = this.has_content_in(ContentState::DROPPED);
                return Poll::Pending;
            }
        };
        let is_dropped = this.has_content_in(ContentState::DROPPED);
        if is_dropped && !this.skips_content {
            // Only hyper can find out whether the rest has arrived, and does so when it reads again.
            // Before that, hyper would send the response without `Connection: close`.
            this.skips_content = true;
            this.stage = Stage::Held(response);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let progress = &this.progress;
        if progress.is_write_blocked.get() {
            // Backpressure: one response waits here, however many requests are pipelined.
            this.stage = Stage::Held(response);
            return Poll::Pending;
        }
        progress.is_in_flight.set(false);
        progress.is_sending.set(!response.body().is_end_stream());
        progress.is_stream.set(response.body().is_stream());
        progress.is_unflushed.set(true);
        progress
            .responses
            .set(progress.responses.get().wrapping_add(1));
        Poll::Ready(Ok(response))
    }
}

impl<S: Application> InFlight<S> {
    fn has_content_in(&self, state: u8) -> bool {
        self.content
            .as_ref()
            .is_some_and(|content| content.is(state))
    }

    fn response(&mut self, cx: &mut Context<'_>) -> Poll<Response<Outgoing<S::Body>>> {
        let Stage::Working(work) = &mut self.stage else {
            return match replace(&mut self.stage, Stage::Over) {
                Stage::Held(response) => Poll::Ready(response),
                _ => Poll::Pending,
            };
        };
        // A handler that still waits for content asks for it again when it is polled.
        if let Some(content) = &self.content
            && content.is(ContentState::AWAITED)
        {
            content.set(ContentState::NOT_AWAITED);
        }
        let mut response = match Pin::new(work).poll(cx) {
            Poll::Ready(Ok(response)) => self.checked(response),
            Poll::Ready(Err(error)) => self.failed(&error.into()),
            Poll::Pending => {
                self.progress.is_handler_waiting.set(true);
                let late = ready!(self.late(cx));
                self.own(match late {
                    Party::Client => &REQUEST_TIMEOUT,
                    Party::Handler => &UNAVAILABLE,
                })
            }
        };
        self.progress.is_handler_waiting.set(false);
        self.stage = Stage::Over;
        self.timer = None;
        self.finish(&mut response);
        Poll::Ready(response)
    }

    /// Completes with the party that is late.
    fn late(&mut self, cx: &mut Context<'_>) -> Poll<Party> {
        let party = if self.has_content_in(ContentState::AWAITED) {
            Party::Client
        } else {
            Party::Handler
        };
        let limits = &self.engine.limits;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::new(Timer::new(party, limits)));
        timer.poll(party, cx).map(|()| party)
    }

    /// Checks a response, and removes its framing fields: only the engine and hyper set them. hyper
    /// trusts a `Content-Length` that it is given, and a wrong one would desynchronize the connection.
    fn checked(&self, mut response: Response<S::Body>) -> Response<Outgoing<S::Body>> {
        let status = response.status();
        let has_content = !response.body().is_end_stream();
        let bears_none = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if status.is_informational() {
            return self.failed(&format!("a response cannot have the status {status}").into());
        }
        if bears_none && has_content {
            return self.failed(&format!("a response with {status} cannot have content").into());
        }
        // hyper panics on a version that it does not know, and sends an old one unchanged.
        *response.version_mut() = Version::HTTP_11;
        let fields = response.headers_mut();
        if fields.keys().any(is_framing) {
            for name in FRAMING {
                fields.remove(name);
            }
        }
        if !has_content && !bears_none {
            // hyper adds this field itself, but not to a response to HEAD.
            fields.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let limit = response.extensions().get().map(|StreamLimit(limit)| *limit);
        response.map(|body| Outgoing {
            kind: if body.size_hint().exact().is_some() {
                Kind::Whole(body)
            } else {
                let limit = limit.unwrap_or(self.engine.limits.answer_timeout);
                let drain = Closing::drained(&self.engine.closing);
                Kind::Stream(body, Box::pin(sleep(limit)), Box::pin(drain))
            },
            progress: Rc::clone(&self.progress),
        })
    }

    /// Finishes a response: decides whether it is the last on its connection, and reports it to the observer.
    fn finish(&self, response: &mut Response<Outgoing<S::Body>>) {
        let may_follow = [ContentState::NOT_AWAITED, ContentState::AWAITED];
        let reason = self.engine.closing.reason(
            self.has_transfer_coding,
            may_follow.iter().any(|state| self.has_content_in(*state)),
            response.extensions(),
        );
        if reason.is_some() {
            self.progress.is_last.set(true);
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        if let Some(seen) = &self.seen {
            self.engine.observe(&Observed {
                peer: seen.peer,
                request: Some((&seen.method, &seen.target)),
                status: response.status(),
                took: seen.since.elapsed(),
                extensions: response.extensions(),
            });
        }
    }

    fn failed(&self, error: &BoxError) -> Response<Outgoing<S::Body>> {
        self.engine.log(&format!("internal error: {error}"));
        self.own(&INTERNAL_ERROR)
    }

    /// Makes one of the engine's own responses.
    fn own(&self, own: &'static Own) -> Response<Outgoing<S::Body>> {
        let mut response = Response::new(Outgoing {
            kind: Kind::Own(Full::new(Bytes::from_static(own.content.as_bytes()))),
            progress: Rc::clone(&self.progress),
        });
        *response.status_mut() = own.status;
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // The application may forbid storing its responses, and it does not see this one.
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.extensions_mut().insert(Code(own.code));
        response
    }
}

/// A response extension: the stable `code` of an error, for the observer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub &'static str);

/// One of the engine's own responses.
struct Own {
    status: StatusCode,
    code: &'static str,
    content: &'static str,
}

/// The client has not sent the content in time.
const REQUEST_TIMEOUT: Own = Own {
    status: StatusCode::REQUEST_TIMEOUT,
    code: "request_timeout",
    content: r#"{"code":"request_timeout","message":"the content did not arrive in time"}"#,
};

/// The handler has not responded in time.
const UNAVAILABLE: Own = Own {
    status: StatusCode::SERVICE_UNAVAILABLE,
    code: "unavailable",
    content: r#"{"code":"unavailable","message":"the server did not respond in time: try again later"}"#,
};

/// The handler has failed, or its response cannot be sent.
const INTERNAL_ERROR: Own = Own {
    status: StatusCode::INTERNAL_SERVER_ERROR,
    code: "internal_error",
    content: r#"{"code":"internal_error","message":"the server failed: the request is not at fault"}"#,
};

/// The fields that only the engine and hyper set.
const FRAMING: [HeaderName; 5] = [
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    CONNECTION,
    UPGRADE,
    TRAILER,
];

fn is_framing(name: &HeaderName) -> bool {
    FRAMING.contains(name)
}

/// The content of a response on its way to hyper.
pub(super) struct Outgoing<B> {
    kind: Kind<B>,
    progress: Rc<Progress>,
}

enum Kind<B> {
    Own(Full<Bytes>),
    Whole(B),
    /// Content of unknown length: it lasts until its own end, its limit or the drain.
    Stream(B, Pin<Box<Sleep>>, Pin<Box<dyn Future<Output = ()>>>),
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin> Body for Outgoing<B> {
    type Data = Bytes;
    type Error = BoxError;

    /// A stream that is cut by its limit or by the drain ends with an error. Its last chunk is never sent,
    /// so that the client does not take a part for the whole.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // hyper takes part after part while they are ready. A stream that always is would keep its worker.
        ready!(poll_proceed(cx)).made_progress();
        match &mut self.kind {
            Kind::Own(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Kind::Whole(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Kind::Stream(body, limit, drain) => {
                if drain.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Some(Err("the server is draining".into())));
                }
                if limit.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Some(Err("the stream has reached its limit".into())));
                }
                Pin::new(body).poll_frame(cx).map_err(Into::into)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Own(body) => body.is_end_stream(),
            Kind::Whole(body) | Kind::Stream(body, ..) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Own(body) => body.size_hint(),
            Kind::Whole(body) | Kind::Stream(body, ..) => body.size_hint(),
        }
    }
}

impl<B> Outgoing<B> {
    fn is_stream(&self) -> bool {
        matches!(self.kind, Kind::Stream(..))
    }
}

impl<B> Drop for Outgoing<B> {
    fn drop(&mut self) {
        self.progress.is_sending.set(false);
    }
}
