//! Requests and answers on one connection: hyper, with a limit on how long each step may take.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::TRANSFER_ENCODING;
use hyper::server::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::jwt::Verifier;
use crate::shared::Cached;
use crate::site::Site;

/// The longest request head, in bytes: request line, fields and the empty line. A longer one is
/// answered by 431. The buffer that holds it grows from 8 KiB as bytes arrive.
pub const MAX_HEAD_LEN: usize = 16 * 1024;

/// Bytes read at a time: one less than hyper's buffer begins with, as a read that fills it makes hyper
/// ask for twice as much.
const MAX_READ_LEN: u16 = 8 * 1024 - 1;

/// One connection while hyper has it: from the first byte of a request until it goes quiet or ends.
///
/// Costs about 18 KiB of buffers, and twice as much at the most; who waits for a request should
/// rather hold the bare stream.
pub struct Exchange<IO: AsyncRead + AsyncWrite + Unpin> {
    hyper: http1::Connection<TokioIo<Metered<IO>>, Dispatcher>,
    meter: Rc<Meter>,
    step_timeout: Duration,
    deadline: Option<(Step, Pin<Box<Sleep>>)>,
}

/// What [`Exchange::poll`] comes back with, when it is not [`Poll::Pending`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// All requests are answered and nothing has come since. The exchange may be polled on, or
    /// taken apart.
    Quiet,
    /// As with [`Quiet`](Self::Quiet), or in the middle of a head; but more than one read holds has
    /// come since the exchange was quiet, and hyper's buffer may have grown, behind what is answered,
    /// to three times the longest head. The exchange should be taken apart, to have it back.
    Bloated,
    /// A head is not here, or an answer not taken, after the time that one step may take.
    Overdue,
    /// There is nothing more to say, on one side or on both.
    Ended,
}

/// What the client is doing, while it lets us wait: sending a head or taking an answer, and after
/// how many requests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Head { requests: u64 },
    Answer { requests: u64 },
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Exchange<IO> {
    /// Begins with `io`, of which `unread` has been read before: the beginning of a head, which is
    /// late after `deadline`.
    pub fn new(
        io: IO,
        peer: SocketAddr,
        site: Arc<Site>,
        verifier: Rc<Cached<Verifier>>,
        unread: Bytes,
        deadline: Option<Instant>,
    ) -> Self {
        let meter = Rc::new(Meter::default());
        let step_timeout = site.header_timeout;
        let io = Metered {
            io,
            unread,
            meter: Rc::clone(&meter),
        };
        let dispatcher = Dispatcher {
            site,
            verifier,
            peer,
            meter: Rc::clone(&meter),
        };
        let hyper = http().serve_connection(TokioIo::new(io), dispatcher);
        let deadline =
            deadline.map(|deadline| (Step::Head { requests: 0 }, Box::pin(sleep_until(deadline))));
        Self {
            hyper,
            meter,
            step_timeout,
            deadline,
        }
    }

    /// Reads, answers and writes what it can.
    ///
    /// [`Poll::Pending`] means that the client keeps us waiting in the middle of a head or of an
    /// answer.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if Pin::new(&mut self.hyper).poll(cx).is_ready() {
            return Poll::Ready(Event::Ended);
        }
        if self.meter.has_yielded() {
            // There is more to do: hyper lets others have a turn, and has asked for the next one.
            return Poll::Pending;
        }
        let step = self.meter.step();
        if self.deadline.as_ref().map(|(current, _)| *current) != step {
            let deadline = || Box::pin(sleep_until(Instant::now() + self.step_timeout));
            self.deadline = step.map(|step| (step, deadline()));
        }
        match (step, &mut self.deadline) {
            (Some(Step::Head { requests: 1.. }) | None, _) if self.meter.is_bloated() => {
                Poll::Ready(Event::Bloated)
            }
            (Some(_), Some((_, deadline))) => deadline.as_mut().poll(cx).map(|()| Event::Overdue),
            _ => {
                self.meter.burst.set(0);
                Poll::Ready(Event::Quiet)
            }
        }
    }

    /// The requests that it has answered.
    pub fn requests(&self) -> u64 {
        self.meter.requests.get()
    }

    /// Takes an exchange apart that is quiet or bloated: the stream, what was read from it that is
    /// no whole head, and when that is late, if it is part of a head for sure.
    pub fn into_parts(mut self) -> (IO, Bytes, Option<Instant>) {
        // hyper ends an idle connection at once when it is asked to: what is ready here is that
        // end.
        Pin::new(&mut self.hyper).graceful_shutdown();
        let _ended = self
            .hyper
            .poll_without_shutdown(&mut Context::from_waker(Waker::noop()));
        let parts = self.hyper.into_parts();
        let deadline = self.deadline.map(|(_, deadline)| deadline.deadline());
        (parts.io.into_inner().io, parts.read_buf, deadline)
    }

    /// After the end: the stream, unless the client has closed its side and cannot be sending
    /// anything more.
    pub fn into_open_stream(self) -> Option<IO> {
        let Self { hyper, meter, .. } = self;
        (!meter.eof.get()).then(|| hyper.into_parts().io.into_inner().io)
    }
}

/// The one place that sets up hyper. What is not named here is its default: at most 100 fields,
/// `Date` in every answer.
fn http() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // A client may say that it is done before it has its answer.
        .half_close(true)
        // A timer for every request costs; `Exchange` sets one when a client lets us wait.
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD_LEN)
        // The buffer may be larger after pipelined requests, and hold more of a head.
        .max_header_size(MAX_HEAD_LEN)
        // Head and content of an answer go out in one buffer.
        .writev(false);
    builder
}

/// What has passed through a [`Metered`] stream.
#[derive(Default)]
struct Meter {
    /// Requests that were dispatched.
    requests: Cell<u64>,
    /// Bytes that were read since the exchange began or was quiet.
    burst: Cell<usize>,
    /// Bytes have been read, and none written since.
    has_unanswered: Cell<bool>,
    /// The last read found nothing.
    is_read_blocked: Cell<bool>,
    /// The last write found no room.
    is_write_blocked: Cell<bool>,
    /// The client has closed its side.
    eof: Cell<bool>,
}

impl Meter {
    /// Whether hyper, which cannot be at its end, has stopped without being kept waiting.
    fn has_yielded(&self) -> bool {
        !self.is_read_blocked.get() && !self.is_write_blocked.get()
    }

    fn is_bloated(&self) -> bool {
        self.burst.get() > usize::from(MAX_READ_LEN)
    }

    /// What the client lets us wait for, given that hyper cannot go on.
    fn step(&self) -> Option<Step> {
        let requests = self.requests.get();
        if self.is_write_blocked.get() {
            Some(Step::Answer { requests })
        } else if self.has_unanswered.get() {
            Some(Step::Head { requests })
        } else {
            None
        }
    }
}

/// A stream that tells its [`Meter`] what passes.
struct Metered<IO> {
    io: IO,
    unread: Bytes,
    meter: Rc<Meter>,
}

impl<IO: AsyncRead + Unpin> AsyncRead for Metered<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.meter.is_write_blocked.get() {
            // Who does not take answers is not asked for requests: they wait with the kernel.
            self.meter.is_read_blocked.set(true);
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        if self.unread.is_empty() {
            let mut limited = (&mut self.io).take(MAX_READ_LEN.into());
            let read = Pin::new(&mut limited).poll_read(cx, buffer);
            self.meter.is_read_blocked.set(read.is_pending());
            ready!(read)?;
            let len = buffer.filled().len() - before;
            self.meter.burst.set(self.meter.burst.get() + len);
        } else {
            let len = self.unread.len().min(buffer.remaining());
            buffer.put_slice(&self.unread.split_to(len));
        }
        if buffer.filled().len() > before {
            self.meter.has_unanswered.set(true);
        } else {
            self.meter.eof.set(true);
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Metered<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        if self.meter.is_write_blocked.replace(written.is_pending()) && written.is_ready() {
            // Reading goes on, in a turn of its own.
            self.meter.is_read_blocked.set(false);
            cx.waker().wake_by_ref();
        }
        self.meter.has_unanswered.set(false);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// hyper's view of [`dispatch`](crate::dispatch::dispatch). It answers at once, so nothing of a
/// request outlives the call.
struct Dispatcher {
    site: Arc<Site>,
    verifier: Rc<Cached<Verifier>>,
    peer: SocketAddr,
    meter: Rc<Meter>,
}

impl hyper::service::Service<Request<Incoming>> for Dispatcher {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.meter
            .requests
            .set(self.meter.requests.get().wrapping_add(1));
        // The content goes unread: hyper skips what has arrived of it, and closes after the answer
        // if that was not all.
        let (head, _) = request.into_parts();
        let mut answer = self.site.answer(&head, self.peer, &self.verifier);
        // hyper reads codings and chunks that others refuse: whoever stands before us may see
        // another end of the request, so nothing may follow it.
        answer.close |= head.headers.contains_key(TRANSFER_ENCODING);
        ready(Ok(answer.into_response(head.headers)))
    }
}
