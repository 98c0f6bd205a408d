//! The life of one connection: parked as a bare socket, woken by its first byte, handed to hyper,
//! parked again.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::exchange::{Event, Exchange};
use crate::idle::{Idle, Watch};
use crate::site::Site;

/// The most bytes that are read and thrown away after the last answer: enough for a client that
/// sends 10 MiB before it looks for one.
const MAX_LINGER_LEN: usize = 16 * 1024 * 1024;

/// How long such a client may be silent before the connection closes for good.
const LINGER_TIMEOUT: Duration = Duration::from_millis(500);

/// Bytes thrown away at a time.
const LINGER_BUFFER_LEN: usize = 8 * 1024;

/// Serves one connection until either side has ended it.
///
/// While it is parked it holds a socket and this future, no buffer.
pub(crate) async fn serve(
    mut stream: TcpStream,
    peer: SocketAddr,
    site: Arc<Site>,
    idle: Rc<Idle>,
) {
    let watch = idle.watch();
    let mut since = Instant::now();
    loop {
        let Some(ready) = parked(stream, since, &watch, &idle).await else {
            return;
        };
        let end = busy(ready, peer, &site, &watch, &idle).await;
        since = idle.cool(&watch);
        match end {
            End::Quiet(quiet) => stream = quiet,
            End::Last(last) => return Box::pin(linger(last, site.header_timeout)).await,
            End::Closed => return,
        }
    }
}

/// How a connection comes out of [`busy`].
enum End {
    /// All is answered; there may be more requests.
    Quiet(TcpStream),
    /// The last answer is written, and the client may still be sending.
    Last(TcpStream),
    /// There is nobody to talk to, or somebody who has used up their time.
    Closed,
}

/// Waits for the first byte of a request. `None` if the connection is to close and no byte is
/// there.
async fn parked(
    stream: TcpStream,
    since: Instant,
    watch: &Rc<Watch>,
    idle: &Idle,
) -> Option<TcpStream> {
    let mut is_registered = false;
    let is_to_close = poll_fn(|cx| {
        if !is_registered {
            idle.park(watch, since, cx.waker());
            is_registered = true;
        }
        if watch.is_to_close() {
            return Poll::Ready(true);
        }
        // An error is ready too: reading will meet it again.
        stream.poll_read_ready(cx).map(|_| false)
    })
    .await;
    idle.unpark(watch);
    if is_to_close {
        with_unread_bytes(stream)
    } else {
        Some(stream)
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

/// Lets hyper have the stream until it is quiet, and longer if there is a place among the warm
/// ones.
async fn busy(
    stream: TcpStream,
    peer: SocketAddr,
    site: &Arc<Site>,
    watch: &Rc<Watch>,
    idle: &Idle,
) -> End {
    let new = |stream, unread, deadline| {
        Box::new(Exchange::new(
            stream,
            peer,
            Arc::clone(site),
            unread,
            deadline,
        ))
    };
    let mut exchange = new(stream, Bytes::new(), None);
    loop {
        let event = poll_fn(|cx| match exchange.poll(cx) {
            Poll::Ready(Event::Quiet) if idle.keep_warm(watch, cx.waker()) => Poll::Pending,
            Poll::Ready(event) => Poll::Ready(event),
            Poll::Pending => {
                watch.busy();
                Poll::Pending
            }
        })
        .await;
        match event {
            Event::Ended => return exchange.into_open_stream().map_or(End::Closed, End::Last),
            Event::Overdue => return End::Closed,
            Event::Quiet => {
                let (stream, unread) = exchange.into_parts();
                if unread.is_empty() {
                    return End::Quiet(stream);
                }
                // The beginning of a head came along with the request before it: it is late since
                // then.
                let since = watch.quiet_since().unwrap_or_else(Instant::now);
                watch.busy();
                exchange = new(stream, unread, Some(since + site.header_timeout));
            }
        }
    }
}

/// Reads and throws away what a client sends that has not seen our last answer yet: to close on
/// unread bytes would reset the connection and take the answer with it (RFC 9112 §9.6). Ends when
/// the client does, falls silent, has sent [`MAX_LINGER_LEN`] bytes or has taken `timeout`.
async fn linger(mut stream: TcpStream, timeout: Duration) {
    // An error means that nobody is left to linger for, which the first read says as well.
    let _ = poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx)).await;
    let end = Instant::now() + timeout;
    let mut left = MAX_LINGER_LEN;
    while left > 0 && Instant::now() < end {
        let silent = end.min(Instant::now() + LINGER_TIMEOUT);
        let Ok(Ok(())) = timeout_at(silent, stream.readable()).await else {
            return;
        };
        match stream.try_read(&mut [0; LINGER_BUFFER_LEN]) {
            Ok(0) => return,
            Ok(len) => left = left.saturating_sub(len),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
