//! One run of hyper over a connection: requests in, responses out. At every moment it is known what the
//! connection waits for.
//!
//! The exchange wraps the service and the content, so that it counts requests and responses instead of
//! guessing from reads and writes. It waits for exactly one of these:
//!
//! | waits for | while | limited by |
//! |---|---|---|
//! | nothing: it is idle | every response is written, and no byte of a head has arrived | the caller |
//! | the client, for the rest of a head | a part of a head has arrived | [`Limits::step_timeout`] |
//! | the client, for content | a handler asks for content that has not arrived | [`Limits::step_timeout`]: 408 |
//! | the handler | a request is in flight, and its handler asks for no content | [`Limits::answer_timeout`]: 503 |
//! | the client, to take a response, or one part of a stream | the kernel has no room for more | [`Limits::step_timeout`] |
//! | a stream's next part | a response of unknown length has nothing to send | [`StreamLimit`] |
//!
//! hyper never holds more than [`MAX_HEAD_LEN`] of a head, because the exchange hands over no more than
//! that before a request. After a request, hyper may hold the beginning of another head. While that is
//! so, the exchange hands over nothing more, and the beginning goes to a fresh run of hyper. What hyper
//! writes is held, up to 4 KiB, until hyper reads again or its turn ends. So the responses to pipelined
//! requests are written together.
//!
//! [`Limits::step_timeout`]: super::Limits::step_timeout
//! [`Limits::answer_timeout`]: super::Limits::answer_timeout
//! [`StreamLimit`]: super::StreamLimit

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::in_flight::Counted;
use super::{Application, Engine, Observed, after};

/// The longest request head, in bytes: request line, fields and the empty line. A longer one gets 431.
pub const MAX_HEAD_LEN: usize = 16 * 1024;

/// The most bytes of content per read: one less than the initial size of hyper's buffer. A read that
/// fills the buffer makes hyper double it, and only heads may do that. For them it pays: a client that
/// has sent one head of over 8 KiB probably sends another, and hyper parses a head twice if it arrives
/// in two reads.
const MAX_CONTENT_READ_LEN: usize = 8 * 1024 - 1;

/// The most bytes that wait to be written together. About sixteen responses fit, and hyper serves
/// sixteen pipelined requests per turn.
const MAX_HELD_LEN: usize = 4 * 1024;

/// What an exchange runs over: a handle to a stream. hyper has one, and the exchange keeps a clone.
pub trait Transport: AsyncRead + AsyncWrite + Clone + Unpin {
    /// Completes when the connection breaks. While a handler waits, nothing else notices: hyper does
    /// not read then, and a client may close its sending side before it has its response.
    fn broken(&self) -> Pin<Box<dyn Future<Output = ()>>>;
}

/// One connection while hyper has it.
///
/// Takes up to twice [`MAX_HEAD_LEN`] for hyper's read buffer, and up to 12 KiB for responses that the client
/// does not take. A connection that waits for a request should hold only the stream.
pub struct Exchange<S: Application, IO: Transport> {
    hyper: http1::Connection<TokioIo<Metered<IO>>, Counted<S>>,
    /// How hyper has ended, if it has. The client may still have to take what was written before.
    end: Option<Event>,
    io: IO,
    progress: Rc<Progress>,
    engine: Rc<Engine<S>>,
    peer: SocketAddr,
    deadline: Option<Deadline>,
}

/// When a step of the client is overdue. Most steps are over before they need a timer.
struct Deadline {
    wait: Wait,
    end: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    fn new(wait: Wait, end: Instant) -> Self {
        Self {
            wait,
            end,
            timer: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(self.end)));
        timer.as_mut().poll(cx)
    }
}

/// What [`Exchange::poll`] returns when it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Every response is written, and no byte of a head has arrived. The exchange may be polled again, or
    /// taken apart.
    Idle,
    /// hyper may hold the beginning of a head, or has been handed as much as its buffer may hold. The
    /// caller takes the exchange apart, and passes what is left to a fresh one.
    Restart,
    /// The client has exceeded the time limit for sending a head or taking a response.
    Overdue,
    /// The client has sent an HTTP/2 preface, to which hyper does not respond.
    Http2,
    /// One side has ended the connection.
    Ended,
}

/// What the client must do, and how many requests or responses came before it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    Head { requests: u64 },
    Response { responses: u64, parts: u64 },
}

impl<S: Application, IO: Transport> Exchange<S, IO> {
    /// Starts hyper on `io`. `unread` is what was read from it before. `deadline` is when the first
    /// head is overdue; with `None`, its time starts with its first byte.
    pub fn new(
        io: IO,
        peer: SocketAddr,
        engine: Rc<Engine<S>>,
        unread: Bytes,
        deadline: Option<Instant>,
    ) -> Self {
        let progress = Rc::new(Progress::default());
        let metered = Metered {
            io: io.clone(),
            unread,
            progress: Rc::clone(&progress),
            broken: None,
        };
        let service = Counted::new(Rc::clone(&engine), Rc::clone(&progress), peer);
        let deadline = deadline.map(|end| Deadline::new(Wait::Head { requests: 0 }, end));
        Self {
            hyper: http().serve_connection(TokioIo::new(metered), service),
            end: None,
            io,
            progress,
            engine,
            peer,
            deadline,
        }
    }

    /// Reads, serves and writes what it can.
    ///
    /// [`Poll::Pending`] means that a request is in flight, or that the client is in the middle of a step.
    /// If that is a head, [`head_since`](Self::head_since) returns when it began.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if self.end.is_none() {
            self.end = match Pin::new(&mut self.hyper).poll(cx) {
                Poll::Ready(Err(error)) => Some(self.failed(&error)),
                // After a request to upgrade, hyper ends without waiting for its last write.
                Poll::Ready(Ok(())) if !self.progress.is_write_blocked.get() => Some(Event::Ended),
                _ => None,
            };
        }
        let written = self.progress.poll_write_held(&mut self.io, cx);
        match (self.end, written) {
            (_, Poll::Ready(Err(_))) => return Poll::Ready(Event::Ended),
            (Some(end), Poll::Ready(Ok(()))) => return Poll::Ready(end),
            _ => {}
        }
        let wait = if self.progress.is_write_blocked.get() {
            Wait::Response {
                responses: self.progress.responses.get(),
                parts: self.progress.parts.get(),
            }
        } else if self.progress.is_over() {
            // hyper does not end while something holds the content of the request. The rest of that
            // content must not go to a fresh run, which would take it for a head.
            return Poll::Ready(Event::Ended);
        } else if self.progress.is_serving() || !self.progress.is_read_blocked.get() {
            // It waits for a handler, or hyper has yielded to other tasks. Both wake this task.
            self.deadline = None;
            return Poll::Pending;
        } else if self.progress.is_full.get() {
            return Poll::Ready(Event::Restart);
        } else if self.progress.burst.get() > 0 {
            Wait::Head {
                requests: self.progress.requests.get(),
            }
        } else {
            self.deadline = None;
            return Poll::Ready(Event::Idle);
        };
        let deadline = match &mut self.deadline {
            Some(deadline) if deadline.wait == wait => deadline,
            deadline => {
                let end = after(Instant::now(), self.engine.limits.step_timeout);
                deadline.insert(Deadline::new(wait, end))
            }
        };
        deadline.poll(cx).map(|()| Event::Overdue)
    }

    /// Returns how many requests have been dispatched.
    pub fn requests(&self) -> u64 {
        self.progress.requests.get()
    }

    /// Returns when the head that the exchange waits for began to arrive. `None` if it waits for
    /// something else.
    pub fn head_since(&self) -> Option<Instant> {
        match &self.deadline {
            Some(deadline) if matches!(deadline.wait, Wait::Head { .. }) => {
                deadline.end.checked_sub(self.engine.limits.step_timeout)
            }
            _ => None,
        }
    }

    /// Takes apart an exchange that is idle or to be restarted. Returns the stream, and the bytes that were
    /// read but not consumed: the beginning of a head.
    pub fn into_parts(self) -> (IO, Bytes) {
        (self.io, self.hyper.into_parts().read_buf)
    }

    /// Returns how the exchange ends after an error from hyper. A request that hyper cannot parse never
    /// reaches the service, so only this function reports it.
    fn failed(&self, error: &hyper::Error) -> Event {
        let status = if error.is_parse_too_large() {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        } else if error.is_parse() {
            StatusCode::BAD_REQUEST
        } else {
            return Event::Ended;
        };
        self.engine.observe(&Observed {
            peer: self.peer,
            request: None,
            status,
            took: std::time::Duration::ZERO,
            extensions: &hyper::http::Extensions::new(),
        });
        if error.is_parse_version_h2() {
            Event::Http2
        } else {
            Event::Ended
        }
    }
}

/// Configures hyper, in this place only. The rest is hyper's default: at most 100 fields per head, and
/// `Date` in every response.
fn http() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // A client may close its sending side before it has its response.
        .half_close(true)
        // A timer for each request is expensive. `Exchange` sets one only when a client makes it wait.
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD_LEN)
        .max_header_size(MAX_HEAD_LEN)
        // The head and the content of a response go out in one buffer.
        .writev(false);
    builder
}

/// What has passed between the client, hyper and the service.
#[derive(Default)]
pub(super) struct Progress {
    /// How many requests were dispatched.
    pub(super) requests: Cell<u64>,
    /// How many responses were handed to hyper.
    pub(super) responses: Cell<u64>,
    /// A request was dispatched, and its response is not yet handed to hyper.
    pub(super) is_in_flight: Cell<bool>,
    /// The handler of the request in flight waits.
    pub(super) is_handler_waiting: Cell<bool>,
    /// The most recent response is a stream. The time limit of a step applies to each part of it.
    pub(super) is_stream: Cell<bool>,
    /// How many parts of streams were written.
    parts: Cell<u64>,
    /// hyper still takes content from the most recent response.
    pub(super) is_sending: Cell<bool>,
    /// hyper has not written all that it was handed.
    pub(super) is_unflushed: Cell<bool>,
    /// The most recent response is the last one on the connection.
    pub(super) is_last: Cell<bool>,
    /// The most recent request has content, which hyper may be reading.
    pub(super) has_content: Cell<bool>,
    /// A request has been dispatched since hyper's buffer was last known to be empty.
    pub(super) has_dispatched: Cell<bool>,
    /// How many bytes hyper has been handed since then.
    burst: Cell<usize>,
    /// Those bytes end in an empty line, and do not fill hyper's buffer. After a request, this means that
    /// the buffer is empty, and as large as before.
    is_whole: Cell<bool>,
    /// A read was denied: hyper's buffer holds enough, or may hold the beginning of another head.
    is_full: Cell<bool>,
    /// The last read found nothing, or was denied.
    is_read_blocked: Cell<bool>,
    /// The last write found no room.
    pub(super) is_write_blocked: Cell<bool>,
    /// What hyper has written, and the transport has not. It is written before more is read, and at the
    /// end of each turn.
    held: RefCell<Vec<u8>>,
}

impl Progress {
    /// Returns whether a request is in flight or a response has more to come.
    fn is_serving(&self) -> bool {
        self.is_in_flight.get() || self.is_sending.get()
    }

    /// Returns whether the last response on the connection is written.
    fn is_over(&self) -> bool {
        self.is_last.get() && !self.is_serving() && !self.is_unflushed.get()
    }

    /// Returns how many bytes hyper may be handed now.
    fn allowance(&self) -> usize {
        if self.has_content.get() && (self.is_serving() || self.is_unflushed.get()) {
            return MAX_CONTENT_READ_LEN;
        }
        if self.has_dispatched.get() && self.is_whole.get() {
            // hyper reads again only when it can parse nothing more from its buffer.
            self.has_dispatched.set(false);
            self.has_content.set(false);
            self.burst.set(0);
        }
        if self.has_dispatched.get() {
            return 0;
        }
        MAX_HEAD_LEN.saturating_sub(self.burst.get())
    }

    /// Writes bytes, and notes whether there was room.
    fn poll_write<IO: AsyncWrite + Unpin>(
        &self,
        io: &mut IO,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(io).poll_write(cx, bytes);
        let was_blocked = self.is_write_blocked.replace(written.is_pending());
        if was_blocked && written.is_ready() {
            // Reading and dispatching resume in a new turn.
            self.is_read_blocked.set(false);
            cx.waker().wake_by_ref();
        }
        written
    }

    /// Writes what is held.
    fn poll_write_held<IO: AsyncWrite + Unpin>(
        &self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut held = self.held.borrow_mut();
        while !held.is_empty() {
            match ready!(self.poll_write(io, cx, &held))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                len if len == held.len() => held.clear(),
                len => drop(held.drain(..len)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Holds bytes of responses, if there is room for them.
    fn hold(&self, bytes: &[u8]) -> bool {
        let mut held = self.held.borrow_mut();
        if held.len().saturating_add(bytes.len()) > MAX_HELD_LEN {
            return false;
        }
        if held.capacity() - held.len() < bytes.len() && !held.is_empty() {
            // Left to itself, the vector would grow its capacity beyond the limit.
            let left = MAX_HELD_LEN - held.len();
            held.reserve_exact(left);
        }
        held.extend_from_slice(bytes);
        true
    }

    /// Notes what hyper was handed, and whether that fills its buffer. If it does, hyper reserves twice
    /// as much space after it. Requests that end exactly at the end of the buffer do not count as whole,
    /// so the exchange is restarted with a small buffer before hyper reads on.
    fn has_read(&self, bytes: &[u8], fills_buffer: bool) {
        self.burst.set(self.burst.get().saturating_add(bytes.len()));
        self.is_whole
            .set(!fills_buffer && (bytes.ends_with(b"\n\r\n") || bytes.ends_with(b"\n\n")));
    }
}

/// The stream that hyper sees. It records in [`Progress`] what passes, and hands hyper no more than
/// hyper may hold.
struct Metered<IO> {
    io: IO,
    unread: Bytes,
    progress: Rc<Progress>,
    /// Present only while hyper waits for a handler, or for the content of its response.
    broken: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl<IO: Transport> AsyncRead for Metered<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let progress = &*this.progress;
        progress.is_read_blocked.set(true);
        if let Poll::Ready(Err(error)) = progress.poll_write_held(&mut this.io, cx) {
            return Poll::Ready(Err(error));
        }
        if progress.is_write_blocked.get() && !progress.is_in_flight.get() {
            // Backpressure: while responses are not taken, further requests are not read. They stay in the
            // kernel.
            return Poll::Pending;
        }
        let allowance = progress.allowance().min(buffer.remaining());
        if allowance == 0 {
            progress.is_full.set(true);
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        if this.unread.is_empty() {
            let limit = u64::try_from(allowance).unwrap_or(u64::MAX);
            let mut limited = (&mut this.io).take(limit);
            ready!(Pin::new(&mut limited).poll_read(cx, buffer))?;
        } else {
            buffer.put_slice(&this.unread.split_to(this.unread.len().min(allowance)));
        }
        progress.is_read_blocked.set(false);
        let bytes = buffer.filled().get(before..).unwrap_or_default();
        progress.has_read(bytes, buffer.remaining() == 0);
        Poll::Ready(Ok(()))
    }
}

impl<IO: Transport> AsyncWrite for Metered<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let progress = &*this.progress;
        if !progress.is_stream.get() && progress.hold(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(progress.poll_write_held(&mut this.io, cx))?;
        let written = ready!(progress.poll_write(&mut this.io, cx, bytes));
        if progress.is_stream.get() {
            progress.parts.set(progress.parts.get().wrapping_add(1));
        }
        Poll::Ready(written)
    }

    /// hyper calls this when it has written everything, and after every turn.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.progress.is_write_blocked.get() {
            // Backpressure: hyper dispatches no further request while this is pending.
            ready!(this.progress.poll_write_held(&mut this.io, cx))?;
        }
        this.progress.is_unflushed.set(false);
        if this.progress.is_handler_waiting.get() || this.progress.is_sending.get() {
            let broken = this.broken.get_or_insert_with(|| this.io.broken());
            if broken.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
        } else if this.broken.is_some() {
            this.broken = None;
        }
        Pin::new(&mut this.io).poll_flush(cx)
    }

    /// hyper is done. The stream outlives the exchange, and its owner closes it.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.progress.poll_write_held(&mut this.io, cx)
    }
}
