//! What every connection of the process shares: how requests are judged, how long clients may take,
//! and the access log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hyper::http::request::Parts;

use crate::dispatch::dispatch;
use crate::jwt::Verifier;
use crate::log::{self, Lines};
use crate::response::Answer;

/// The verifier and the limits of a running server.
#[derive(Debug)]
pub struct Site {
    /// Who may see the protected resources.
    pub verifier: Verifier,
    /// How long a client may take to send one head, and to take one answer.
    pub header_timeout: Duration,
    /// How long a connection may be idle.
    pub idle_timeout: Duration,
    /// Where each request is logged, if anywhere.
    pub access_log: Option<Arc<Lines>>,
    /// Whether the server is about to end, and every answer closes its connection.
    pub draining: AtomicBool,
}

impl Site {
    /// Answers one request and logs it.
    pub(crate) fn answer(&self, head: &Parts, peer: SocketAddr) -> Answer {
        let started = self.access_log.as_ref().map(|log| (log, Instant::now()));
        let mut answer = dispatch(head, &self.verifier);
        answer.close |= self.draining.load(Ordering::Relaxed);
        if let Some((log, started)) = started {
            log.push(&log::access_line(head, peer, &answer, started.elapsed()));
        }
        answer
    }
}
