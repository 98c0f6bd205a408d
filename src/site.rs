//! What every connection of the process shares: how requests are judged, how long clients may take,
//! and the access log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hyper::http::request::Parts;

use crate::access;
use crate::dispatch::dispatch;
use crate::jwt::Verifier;
use crate::log::Lines;
use crate::response::Answer;
use crate::shared::{Cached, Shared};

/// The verifier and the limits of a running server.
#[derive(Debug)]
pub struct Site {
    /// Which tokens open the protected resources.
    pub verifier: Arc<Shared<Verifier>>,
    /// How long a client may take to send one head, and to take one answer.
    pub header_timeout: Duration,
    /// How long a connection may be idle.
    pub idle_timeout: Duration,
    /// Where each request is logged, if anywhere.
    pub access_log: Option<Arc<Lines>>,
    /// Which answers close their connections.
    pub closing: Closing,
}

/// Which answers say `Connection: close`, and are the last on their connections: what the client
/// sends after them is not answered, and it knows.
#[derive(Debug, Default)]
pub struct Closing {
    every: AtomicBool,
    next: AtomicBool,
}

impl Closing {
    /// Every answer does from now on: the server is about to end.
    pub fn close_all(&self) {
        self.every.store(true, Ordering::Relaxed);
    }

    /// The next answer to anybody does, if `is_wanted`: another connection waits for room.
    pub(crate) fn close_next(&self, is_wanted: bool) {
        self.next.store(is_wanted, Ordering::Relaxed);
    }

    fn closes_this(&self) -> bool {
        let is_next =
            || self.next.load(Ordering::Relaxed) && self.next.swap(false, Ordering::Relaxed);
        self.every.load(Ordering::Relaxed) || is_next()
    }
}

impl Site {
    /// Answers one request and logs it.
    pub(crate) fn answer(
        &self,
        head: &Parts,
        peer: SocketAddr,
        verifier: &Cached<Verifier>,
    ) -> Answer {
        let started = self.access_log.as_ref().map(|log| (log, Instant::now()));
        let (mut answer, claims) = verifier.with(|verifier| dispatch(head, verifier));
        answer.close |= self.closing.closes_this();
        if let Some((log, started)) = started {
            let took = started.elapsed();
            log.push(&access::access_line(
                head,
                peer,
                &answer,
                claims.as_ref(),
                took,
            ));
        }
        answer
    }
}
