//! Which response the engine makes the last on its connection, and why. Decided here and nowhere else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hyper::http::Extensions;
use tokio::sync::Notify;

/// A response extension that makes a response the last on its connection. Use it when client and server
/// may disagree about where the next request begins.
#[derive(Clone, Copy, Debug)]
pub struct LastResponse;

/// Why a response carries `Connection: close`. hyper itself closes the connection when the client asks
/// for it (`Connection: close`, HTTP/1.0), or when content that the handler dropped is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The request has a transfer coding. Request smuggling: hyper accepts codings and chunks that other
    /// parsers reject, so a proxy in front may see a different end of this request.
    TransferCoding,
    /// The application asks for it, with [`LastResponse`].
    Application,
    /// The response is sent before the content of its request is complete.
    Content,
    /// The server is draining.
    Drain,
    /// Another connection waits for the seat.
    Room,
}

/// The reasons that concern all connections of the server.
#[derive(Debug, Default)]
pub(crate) struct Closing {
    is_draining: AtomicBool,
    drain: Arc<Notify>,
    /// How many of the next responses are to be the last on their connections, to free seats.
    wanted: AtomicUsize,
}

impl Closing {
    /// Begins the drain: from now on every response is the last on its connection, and streams end.
    pub(crate) fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
        self.drain.notify_waiters();
    }

    /// Returns whether the drain has begun.
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Completes once the drain has begun.
    pub(crate) fn drained(this: &Arc<Self>) -> impl Future<Output = ()> + 'static {
        let begins = Arc::clone(&this.drain).notified_owned();
        let this = Arc::clone(this);
        async move {
            if !this.is_draining() {
                begins.await;
            }
        }
    }

    /// Makes the next `count` responses the last on their connections. 0 cancels this.
    pub(crate) fn want(&self, count: usize) {
        self.wanted.store(count, Ordering::Relaxed);
    }

    /// Returns why this response is the last on its connection, or `None` if it is not.
    pub(crate) fn reason(
        &self,
        has_transfer_coding: bool,
        lacks_content: bool,
        extensions: &Extensions,
    ) -> Option<Reason> {
        if has_transfer_coding {
            Some(Reason::TransferCoding)
        } else if extensions.get::<LastResponse>().is_some() {
            Some(Reason::Application)
        } else if lacks_content {
            Some(Reason::Content)
        } else if self.is_draining() {
            Some(Reason::Drain)
        } else {
            self.takes_wanted().then_some(Reason::Room)
        }
    }

    fn takes_wanted(&self) -> bool {
        let one_less = |wanted: usize| wanted.checked_sub(1);
        self.wanted.load(Ordering::Relaxed) > 0
            && self
                .wanted
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
                .is_ok()
    }
}
