//! The life of one connection.
//!
//! ```text
//!            first byte        seat            last response        client closes
//!  accept → new ─────→ waiting ───→ busy ⇄ warm ─────→ lingering ─────→ gone
//!                                    ↑       │
//!                                    └ parked ┘
//! ```
//!
//! | state | holds | ended by | evicted |
//! |---|---|---|---|
//! | new | a bare socket, a place | the idle timeout | for a place or a descriptor, after 0.5 s |
//! | waiting | a bare socket, a place | a reset, or a seat | never |
//! | busy | hyper's buffers, a seat | the limits of [`exchange`](super::exchange) | in the middle of a head, after 1 s |
//! | warm | hyper's buffers, a seat | 1 s: parked | after 10 ms |
//! | parked | a bare socket, a seat | the idle timeout | after 10 ms |
//! | lingering | a bare socket; also its seat, while no right to linger without one is free | [`Limits::step_timeout`](super::Limits::step_timeout), 32 MiB | for a lingering connection that holds a seat, or for a descriptor, after 0.2 s |
//!
//! Warm and parked connections are idle. A connection with unread bytes is not idle. A connection that
//! is cut in the middle of a step, or whose client has not taken its last response, is reset instead of
//! closed. A reset leaves nothing behind in the kernel.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::exchange::{Event, Exchange, Transport};
use super::idle::{Slot, State};
use super::room::{Place, Seat};
use super::worker::{Load, Worker};
use super::{Application, after};

/// The most bytes that a lingering close discards: enough for a client that sends 20 MB before it looks
/// for a response.
const MAX_LINGER_LEN: usize = 32 * 1024 * 1024;

/// The length of the first read from a new connection, which has none of hyper's buffers yet. It is
/// enough for most heads.
const FIRST_READ_LEN: usize = 4 * 1024;

/// Bytes discarded per read.
const LINGER_BUFFER_LEN: usize = 8 * 1024;

/// Bytes discarded per turn. After that, other connections have theirs.
const LINGER_TURN_LEN: usize = 64 * 1024;

/// How often to check whether a client that has closed its side has taken the last response.
const TAKEN_INTERVAL: Duration = Duration::from_millis(20);

/// The response to an HTTP/2 preface. hyper itself sends none.
const HTTP_1_ONLY: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// One connection, in any state.
pub(crate) struct Connection<S: Application> {
    stream: Rc<TcpStream>,
    peer: SocketAddr,
    worker: Rc<Worker<S>>,
    slot: Rc<Slot>,
    _load: Load,
}

/// Why [`Connection::busy`] returned.
enum End {
    /// Every request has its response. There may be more requests.
    Idle,
    /// The last response is written, or the client has gone.
    Last,
    /// The connection was cut: the client was late, or another connection needed its seat or its
    /// descriptor.
    Closed,
}

impl<S: Application> Connection<S> {
    pub(crate) fn new(
        stream: TcpStream,
        peer: SocketAddr,
        worker: Rc<Worker<S>>,
        load: Load,
    ) -> Self {
        let slot = worker.idle.slot();
        Self {
            stream: Rc::new(stream),
            peer,
            worker,
            slot,
            _load: load,
        }
    }

    /// Serves until either side ends the connection. A new or parked connection holds its socket and
    /// this future, but no buffer.
    pub(crate) async fn serve(&mut self, place: Place) {
        let Some((seat, exchange)) = self.admit(place).await else {
            return;
        };
        if self.seated(exchange).await {
            self.close_writing();
            self.linger(seat).await;
        }
    }

    /// Waits for the first byte, and exchanges the place for a seat. Returns `None` if the connection is
    /// to close.
    async fn admit(&self, place: Place) -> Option<(Seat, Box<Exchange<S, Socket>>)> {
        let first = self
            .wait_readable(State::New, |cx| self.poll_first(cx))
            .await?;
        // The time limit for the first head starts at its first byte, and includes the wait for a seat.
        // Otherwise half heads could hold a seat for the whole time limit, one after another.
        let deadline = after(Instant::now(), self.worker.limits().step_timeout);
        let (seat, unread) = match first {
            Some(seat_and_bytes) => seat_and_bytes,
            None => (self.seat().await?, Bytes::new()),
        };
        drop(place);
        Some((seat, self.exchange(unread, Some(deadline))))
    }

    /// Waits for the first bytes. If a seat is free, takes it and reads them: a read costs no more than
    /// a peek. Otherwise, or at the end of the stream, returns `None` and leaves the bytes in the
    /// kernel.
    fn poll_first(&self, cx: &mut Context<'_>) -> Poll<Option<(Seat, Bytes)>> {
        let Some(seat) = self.worker.room.free_seat() else {
            let mut space = [0];
            let mut buffer = ReadBuf::new(&mut space);
            return self.stream.poll_peek(cx, &mut buffer).map(|_| None);
        };
        let mut space = [const { MaybeUninit::uninit() }; FIRST_READ_LEN];
        let mut buffer = ReadBuf::uninit(&mut space);
        // An error or the end of the stream shows again at the next read.
        let _ = ready!(poll_read(&self.stream, cx, &mut buffer));
        let has_bytes = !buffer.filled().is_empty();
        Poll::Ready(has_bytes.then(|| (seat, Bytes::copy_from_slice(buffer.filled()))))
    }

    /// Serves requests. Returns whether the connection is to linger; if not, it is already set to
    /// reset.
    async fn seated(&self, mut exchange: Box<Exchange<S, Socket>>) -> bool {
        loop {
            let end = self.busy(exchange).await;
            self.worker.idle.leave_warm(&self.slot);
            match end {
                End::Idle => {}
                End::Last => return true,
                End::Closed => return false,
            }
            let readable = self
                .wait_readable(State::Parked, |cx| self.stream.poll_read_ready(cx))
                .await;
            if readable.is_none() {
                return true;
            }
            exchange = self.exchange(Bytes::new(), None);
        }
    }

    /// Waits as a new or a parked connection until there is something to read. That may be the end of
    /// the stream or an error. Returns the result of `poll_readable`, or `None` if the connection is to
    /// close.
    async fn wait_readable<T>(
        &self,
        state: State,
        mut poll_readable: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Option<T> {
        let idle = &self.worker.idle;
        let mut has_entered = false;
        let mut readable = poll_fn(|cx| {
            if let Poll::Ready(readable) = poll_readable(cx) {
                return Poll::Ready(Some(readable));
            }
            if !has_entered {
                idle.enter(&self.slot, state, self.slot.idle_since(), cx.waker());
                has_entered = true;
            }
            if self.slot.must_close() {
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await;
        if readable.is_none() {
            // Bytes that have already arrived are served. The event loop may not have seen them yet.
            yield_now().await;
            readable = poll_fn(|cx| {
                Poll::Ready(match poll_readable(cx) {
                    Poll::Ready(readable) => Some(readable),
                    Poll::Pending => None,
                })
            })
            .await;
        }
        idle.busy(&self.slot);
        readable
    }

    /// Takes a seat, or waits for one in the order of arrival. Returns `None` if the client resets the
    /// connection meanwhile.
    async fn seat(&self) -> Option<Seat> {
        if let Some(seat) = self.worker.room.free_seat() {
            return Some(seat);
        }
        let mut seat = Box::pin(self.worker.room.seat());
        let mut broken = Box::pin(self.stream.ready(Interest::ERROR));
        poll_fn(|cx| {
            if broken.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            seat.as_mut().poll(cx)
        })
        .await
    }

    /// Runs hyper until the connection is idle and may not stay warm, or until it ends.
    async fn busy(&self, mut exchange: Box<Exchange<S, Socket>>) -> End {
        let idle = &self.worker.idle;
        loop {
            let event = poll_fn(|cx| {
                let requests = exchange.requests();
                let event = exchange.poll(cx);
                if event.is_pending() {
                    match exchange.head_since() {
                        Some(since) => idle.enter(&self.slot, State::Head, since, cx.waker()),
                        None => idle.busy(&self.slot),
                    }
                    if self.slot.must_close() {
                        return Poll::Ready(Event::Overdue);
                    }
                } else if exchange.requests() > requests {
                    idle.busy(&self.slot);
                }
                match event {
                    Poll::Ready(Event::Idle) if idle.keep_warm(&self.slot, cx.waker()) => {
                        Poll::Pending
                    }
                    event => event,
                }
            })
            .await;
            return match event {
                Event::Idle | Event::Restart => {
                    let (_, unread) = exchange.into_parts();
                    if unread.is_empty() {
                        return End::Idle;
                    }
                    // The beginning of a head.
                    let deadline = after(Instant::now(), self.worker.limits().step_timeout);
                    exchange = self.exchange(unread, Some(deadline));
                    continue;
                }
                Event::Ended => End::Last,
                Event::Http2 => {
                    // Written if possible: the client may have gone.
                    let _ = self.stream.try_write(HTTP_1_ONLY);
                    End::Last
                }
                Event::Overdue => {
                    self.reset();
                    End::Closed
                }
            };
        }
    }

    fn exchange(&self, unread: Bytes, deadline: Option<Instant>) -> Box<Exchange<S, Socket>> {
        let socket = Socket(Rc::clone(&self.stream));
        let engine = Rc::clone(&self.worker.engine);
        Box::new(Exchange::new(socket, self.peer, engine, unread, deadline))
    }

    /// Closes our side. An error means that the client has gone. The next read shows that too.
    fn close_writing(&mut self) {
        // No exchange holds the stream any more, and shutting it down never waits.
        if let Some(stream) = Rc::get_mut(&mut self.stream) {
            let _ = Pin::new(stream).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// Makes the close a reset, which leaves nothing behind in the kernel.
    fn reset(&self) {
        // If this fails, it closes like any other connection.
        let _ = self.stream.set_zero_linger();
    }

    /// Lingering close (RFC 9112 §9.6). Closing with unread bytes would reset the connection, and the last
    /// response would be lost with it. So this reads and discards what the client still sends, until the
    /// client has closed its side and has taken everything.
    ///
    /// If the client is late, or another connection needs the seat or the descriptor, the connection is
    /// reset: what the client has not taken does not stay in the kernel.
    async fn linger(&self, seat: Seat) {
        if let Some(right) = self.worker.room.free_right() {
            drop(seat);
            self.read_off().await;
            drop(right);
        } else {
            Box::pin(self.linger_seated(seat)).await;
        }
    }

    /// Lingers with its seat until there is a right to linger without one.
    async fn linger_seated(&self, seat: Seat) {
        let mut seat = Some(seat);
        let mut right = None;
        let mut waiting = pin!(self.worker.room.right());
        let mut reading = pin!(self.read_off());
        poll_fn(|cx| {
            if seat.is_some()
                && let Poll::Ready(got) = waiting.as_mut().poll(cx)
            {
                right = got;
                seat = None;
            }
            reading.as_mut().poll(cx)
        })
        .await;
    }

    async fn read_off(&self) {
        let stream = &*self.stream;
        let since = Instant::now();
        let mut left = MAX_LINGER_LEN;
        let mut has_taken = false;
        let has_closed = poll_fn(|cx| {
            let idle = &self.worker.idle;
            idle.enter(&self.slot, State::Lingering, since, cx.waker());
            let mut turn = LINGER_TURN_LEN;
            loop {
                if left == 0 || self.slot.must_close() {
                    return Poll::Ready(false);
                }
                if turn == 0 {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let _ = ready!(stream.poll_read_ready(cx));
                if turn == LINGER_TURN_LEN && is_taken(stream) {
                    has_taken = true;
                    return Poll::Ready(true);
                }
                match stream.try_read(&mut [0; LINGER_BUFFER_LEN]) {
                    Ok(len @ 1..) => {
                        left = left.saturating_sub(len);
                        turn = turn.saturating_sub(len);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Ok(0) | Err(_) => return Poll::Ready(true),
                }
            }
        })
        .await;
        while has_closed && !has_taken && !self.slot.must_close() {
            // Boxed, because few connections come here, and the future of each has room for it.
            let mut pause = Box::pin(sleep(TAKEN_INTERVAL));
            poll_fn(|cx| {
                if self.slot.must_close() {
                    Poll::Ready(())
                } else {
                    pause.as_mut().poll(cx)
                }
            })
            .await;
            has_taken = is_taken(stream);
        }
        self.worker.idle.busy(&self.slot);
        if !has_taken {
            self.reset();
        }
    }
}

impl<S: Application> Drop for Connection<S> {
    fn drop(&mut self) {
        self.worker.idle.leave_warm(&self.slot);
        self.worker.idle.forget(&self.slot);
    }
}

/// Reads once, as soon as there is something to read.
fn poll_read(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    loop {
        ready!(stream.poll_read_ready(cx))?;
        let room = buffer.remaining();
        match stream.try_read_buf(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            read => {
                if read.as_ref().is_ok_and(|len| (1..room).contains(len)) {
                    // A read that does not fill its buffer has emptied the socket. This artificial
                    // error marks it as not readable, as tokio's own reads do. That saves a system call
                    // that would find nothing.
                    let blocked = || Err::<(), _>(ErrorKind::WouldBlock.into());
                    let _ = stream.try_io(Interest::READABLE, blocked);
                }
                return Poll::Ready(read.map(drop));
            }
        }
    }
}

/// Returns whether the client has closed its side and has taken all that was written before we closed
/// our side. Such a connection is over: its socket no longer has a peer.
fn is_taken(stream: &TcpStream) -> bool {
    stream.peer_addr().is_err()
}

/// The socket as hyper has it. The connection keeps another handle, to watch it meanwhile.
#[derive(Clone)]
struct Socket(Rc<TcpStream>);

impl Transport for Socket {
    fn broken(&self) -> Pin<Box<dyn Future<Output = ()>>> {
        let stream = Rc::clone(&self.0);
        Box::pin(async move {
            // An error means that the event loop is gone.
            let _ = stream.ready(Interest::ERROR).await;
        })
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        poll_read(&self.0, cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
