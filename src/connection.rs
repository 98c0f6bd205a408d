//! The life of one connection: parked as a bare socket, woken by its first byte, handed to hyper,
//! parked again.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use hyper::body::Bytes;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::exchange::{Event, Exchange};
use crate::idle::{Idle, Watch};
use crate::jwt::Verifier;
use crate::shared::Cached;
use crate::site::Site;

/// The most bytes that are read and thrown away after the last answer: enough for a client that
/// sends 20 MB before it looks for one, as a proxy does that asks with its client's content.
const MAX_LINGER_LEN: usize = 32 * 1024 * 1024;

/// How long such a client may be silent before the connection closes for good.
const LINGER_TIMEOUT: Duration = Duration::from_millis(500);

/// Bytes thrown away at a time.
const LINGER_BUFFER_LEN: usize = 8 * 1024;

/// One connection, whatever state it is in. `Seat` is what its end gives back.
pub(crate) struct Connection<Seat> {
    peer: SocketAddr,
    site: Arc<Site>,
    verifier: Rc<Cached<Verifier>>,
    idle: Rc<Idle>,
    watch: Rc<Watch>,
    _seat: Seat,
}

/// How a connection comes out of [`Connection::busy`].
enum End {
    /// All is answered; there may be more requests.
    Quiet(TcpStream),
    /// The last answer is written, and the client may still be sending.
    Last(TcpStream),
    /// There is nobody to talk to, or somebody who has used up their time.
    Closed,
}

impl<Seat> Connection<Seat> {
    pub(crate) fn new(
        peer: SocketAddr,
        site: Arc<Site>,
        verifier: Rc<Cached<Verifier>>,
        idle: Rc<Idle>,
        seat: Seat,
    ) -> Self {
        let watch = idle.watch();
        Self {
            peer,
            site,
            verifier,
            idle,
            watch,
            _seat: seat,
        }
    }

    /// Serves until either side has ended it. A parked connection holds its socket, this future
    /// and itself, no buffer.
    pub(crate) async fn serve(self: Box<Self>, stream: std::net::TcpStream) {
        // An error means no room in the event loop: the connection closes, as one too many.
        let Ok(mut stream) = TcpStream::from_std(stream) else {
            return;
        };
        let mut since = Instant::now();
        while let Some(ready) = self.parked(stream, since).await {
            let end = self.busy(ready).await;
            since = self.idle.cool(&self.watch);
            match end {
                End::Quiet(quiet) => stream = quiet,
                End::Last(last) => return Box::pin(self.linger(last)).await,
                End::Closed => return,
            }
        }
    }

    /// Waits for the first byte of a request. `None` if the connection is to close and no byte is
    /// there.
    async fn parked(&self, stream: TcpStream, since: Instant) -> Option<TcpStream> {
        let mut is_registered = false;
        let is_to_close = poll_fn(|cx| {
            if !is_registered {
                self.idle.park(&self.watch, since, cx.waker());
                is_registered = true;
            }
            if self.watch.is_to_close() {
                return Poll::Ready(true);
            }
            // An error is ready too: reading will meet it again.
            stream.poll_read_ready(cx).map(|_| false)
        })
        .await;
        self.idle.unpark(&self.watch);
        if !is_to_close {
            return Some(stream);
        }
        let stream = with_unread_bytes(stream)?;
        // The event loop is yet to see them too: hyper would find nothing to read, and call it
        // quiet.
        poll_fn(|cx| stream.poll_read_ready(cx)).await.ok()?;
        Some(stream)
    }

    /// Lets hyper have the stream until it is quiet, and longer if there is a place among the warm
    /// ones.
    async fn busy(&self, stream: TcpStream) -> End {
        let mut exchange = self.exchange(stream, Bytes::new(), None);
        loop {
            let event = poll_fn(|cx| {
                let answered = exchange.requests();
                let event = exchange.poll(cx);
                if event.is_pending() || exchange.requests() > answered {
                    self.watch.busy();
                }
                match event {
                    Poll::Ready(Event::Quiet) if self.idle.keep_warm(&self.watch, cx.waker()) => {
                        Poll::Pending
                    }
                    event => event,
                }
            })
            .await;
            match event {
                Event::Ended => return exchange.into_open_stream().map_or(End::Closed, End::Last),
                Event::Overdue => return End::Closed,
                Event::Quiet | Event::Bloated => {
                    let (stream, unread, deadline) = exchange.into_parts();
                    if unread.is_empty() {
                        return End::Quiet(stream);
                    }
                    // The beginning of a head, which may have come along with the request before
                    // it: it is late since then.
                    let deadline = deadline.unwrap_or_else(|| {
                        let since = self.watch.quiet_since().unwrap_or_else(Instant::now);
                        since + self.site.header_timeout
                    });
                    self.watch.busy();
                    exchange = self.exchange(stream, unread, Some(deadline));
                }
            }
        }
    }

    fn exchange(
        &self,
        stream: TcpStream,
        unread: Bytes,
        deadline: Option<Instant>,
    ) -> Box<Exchange<TcpStream>> {
        Box::new(Exchange::new(
            stream,
            self.peer,
            Arc::clone(&self.site),
            Rc::clone(&self.verifier),
            unread,
            deadline,
        ))
    }

    /// Reads and throws away what a client sends that has not seen our last answer yet: to close on
    /// unread bytes would reset the connection and take the answer with it (RFC 9112 §9.6). Ends
    /// when the client does, falls silent, has sent [`MAX_LINGER_LEN`] bytes, has taken as long as
    /// an answer may take, or when its place is needed.
    async fn linger(&self, mut stream: TcpStream) {
        // An error means that nobody is left to linger for, which the first read says as well.
        let _ = poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx)).await;
        let end = Instant::now() + self.site.header_timeout;
        let mut silence = pin!(sleep(LINGER_TIMEOUT));
        let mut left = MAX_LINGER_LEN;
        poll_fn(|cx| {
            self.idle.linger(&self.watch, cx.waker());
            while left > 0 && !self.watch.is_to_close() && silence.as_mut().poll(cx).is_pending() {
                let _ = ready!(stream.poll_read_ready(cx));
                match stream.try_read(&mut [0; LINGER_BUFFER_LEN]) {
                    Ok(len @ 1..) => left = left.saturating_sub(len),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                    Ok(0) | Err(_) => break,
                }
                silence
                    .as_mut()
                    .reset(end.min(Instant::now() + LINGER_TIMEOUT));
            }
            Poll::Ready(())
        })
        .await;
        self.idle.unpark(&self.watch);
    }
}

/// The stream again, if there is something to read in it. Readiness is not asked but the socket,
/// which knows of bytes that the event loop has not heard of.
fn with_unread_bytes(stream: TcpStream) -> Option<TcpStream> {
    let stream = stream.into_std().ok()?;
    match stream.peek(&mut [0]) {
        Ok(1..) => TcpStream::from_std(stream).ok(),
        _ => None,
    }
}
