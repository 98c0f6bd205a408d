//! Lines on standard output and standard error, written by a thread each: a reader that is slow,
//! blocked or gone stops nothing.

use std::fmt::Write as _;
use std::io;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Bytes of lines that may wait for a slow reader, about 1,000 requests; what would be more is dropped
/// and counted, but for a line that nothing waits before.
const MAX_WAITING: usize = 128 * 1024;

/// A stream of lines to one output.
pub struct Lines {
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// Writes text to where lines go.
pub type Output = fn(&str) -> io::Result<()>;

struct Queue {
    /// Until the first line, which starts the thread that has it from then on.
    output: Option<Output>,
    waiting: String,
    dropped: u64,
    is_writing: bool,
}

impl Lines {
    /// Lines for `output`, on a thread that begins with the first of them and ends with the process.
    /// While there can be none, every line is dropped.
    #[must_use]
    pub fn to(output: Output) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::new(Queue {
                output: Some(output),
                waiting: String::new(),
                dropped: 0,
                is_writing: false,
            }),
            changed: Condvar::new(),
        })
    }

    /// Hands over a line, without its end, and never waits for the output.
    pub fn push(self: &Arc<Self>, line: &str) {
        let mut queue = self.queue();
        if queue.waiting.is_empty() {
            self.changed.notify_all();
        } else if queue.waiting.len() + line.len() >= MAX_WAITING {
            queue.dropped += 1;
            return;
        }
        queue.waiting.push_str(line);
        queue.waiting.push('\n');
        if let Some(output) = queue.output {
            let lines = Arc::clone(self);
            let writer = thread::Builder::new()
                .name("log".into())
                .spawn(move || lines.write_all(output));
            match writer {
                Ok(_) => queue.output = None,
                Err(_) => queue.waiting.clear(),
            }
        }
    }

    /// Waits until nothing waits to be written, but not longer than `timeout`.
    pub fn flush(&self, timeout: Duration) {
        let is_busy = |queue: &mut Queue| queue.is_writing || !queue.waiting.is_empty();
        drop(
            self.changed
                .wait_timeout_while(self.queue(), timeout, is_busy),
        );
    }

    /// Writes what comes, all that waits at a time. Errors are nobody's to hear: a closed output
    /// loses its lines.
    fn write_all(&self, output: Output) {
        let mut text = String::new();
        loop {
            let mut queue = self.queue();
            queue.is_writing = false;
            self.changed.notify_all();
            let waiting = self
                .changed
                .wait_while(queue, |queue| queue.waiting.is_empty());
            queue = waiting.unwrap_or_else(PoisonError::into_inner);
            queue.is_writing = true;
            mem::swap(&mut queue.waiting, &mut text);
            let dropped = mem::take(&mut queue.dropped);
            drop(queue);

            if dropped > 0 {
                // Writing to a string cannot fail.
                let _ = writeln!(text, r#"{{"dropped_lines":{dropped}}}"#);
            }
            let _ = output(&text);
            text.clear();
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Prints nothing of what waits.
impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lines(..)")
    }
}
