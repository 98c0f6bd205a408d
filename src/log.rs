//! Lines on standard output and standard error, written by a thread each: a reader that is slow,
//! blocked or gone stops nothing.

use std::fmt::Write as _;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::http::request::Parts;

use crate::response::Answer;

/// Lines that may wait for a slow reader, at most about 300 bytes each; further ones are dropped
/// and counted.
const MAX_WAITING: usize = 1024;

/// Characters of a path and of a method that are logged: the site's own are shorter, and tokens end
/// up in others.
const MAX_LOGGED: usize = 64;

/// A stream of lines to one output.
#[derive(Debug)]
pub struct Lines {
    queue: SyncSender<Entry>,
    dropped: AtomicU64,
}

enum Entry {
    Line(String),
    /// All before this is to be written; then the sender is dropped, which the other end sees.
    Flush(SyncSender<()>),
}

impl Lines {
    /// Starts the thread that writes to `output`. If there can be none, every line is dropped.
    pub fn to(output: impl Write + Send + 'static) -> Arc<Self> {
        let (queue, entries) = sync_channel(MAX_WAITING);
        let lines = Arc::new(Self {
            queue,
            dropped: AtomicU64::new(0),
        });
        let counter = Arc::downgrade(&lines);
        let dropped = move || {
            counter
                .upgrade()
                .map_or(0, |lines| lines.dropped.swap(0, Ordering::Relaxed))
        };
        let write = move || write_all(&entries, output, dropped);
        // An error drops the receiver, and with it every line.
        drop(thread::Builder::new().name("log".into()).spawn(write));
        lines
    }

    /// Hands over a line, without its end, and never waits.
    pub fn push(&self, line: String) {
        if self.queue.try_send(Entry::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything pushed so far is written, but not longer than `timeout`.
    pub fn flush(&self, timeout: Duration) {
        let (written, done) = sync_channel(0);
        if self.queue.try_send(Entry::Flush(written)).is_ok() {
            // Either outcome is an answer: the end of the channel says that all is written.
            let _ = done.recv_timeout(timeout);
        }
    }
}

/// Writes what comes, all that waits at a time. Errors are nobody's to hear: a closed output loses
/// its lines.
fn write_all(entries: &Receiver<Entry>, mut output: impl Write, dropped: impl Fn() -> u64) {
    while let Ok(first) = entries.recv() {
        let mut text = String::new();
        let mut flushed = Vec::new();
        for entry in std::iter::once(first).chain(entries.try_iter().take(MAX_WAITING)) {
            match entry {
                Entry::Line(line) => {
                    text.push_str(&line);
                    text.push('\n');
                }
                Entry::Flush(written) => flushed.push(written),
            }
        }
        let dropped = dropped();
        if dropped > 0 {
            // Writing to a string cannot fail.
            let _ = writeln!(text, r#"{{"dropped_lines":{dropped}}}"#);
        }
        let _ = output
            .write_all(text.as_bytes())
            .and_then(|()| output.flush());
    }
}

/// One request as a line of JSON: who asked what, what was answered, how long that took, and for a
/// refusal the rule. No query and no field of the request is in it, so no token; whatever the
/// client chose is short and escaped.
pub(crate) fn access_line(
    head: &Parts,
    peer: SocketAddr,
    answer: &Answer,
    took: Duration,
) -> String {
    let time = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut line = format!(
        r#"{{"time":{}.{:03},"peer":"{peer}","method":{},"path":{},"status":{},"duration_us":{}"#,
        time.as_secs(),
        time.subsec_millis(),
        quoted(head.method.as_str()),
        quoted(head.uri.path()),
        answer.status.as_u16(),
        took.as_micros(),
    );
    if let Some(rule) = answer.rule {
        let _ = write!(line, r#","rule":{}"#, quoted(rule));
    }
    line.push('}');
    line
}

/// The beginning of a text as a JSON string in ASCII, so that nothing in it is a line break to
/// anybody.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars().take(MAX_LOGGED) {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            ' '..='~' => quoted.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(quoted, "\\u{unit:04x}");
                }
            }
        }
    }
    quoted.push('"');
    quoted
}
