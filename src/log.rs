//! Output that never blocks a request: lines on standard output and standard error, each written by
//! a thread of its own. Commands write directly, and wait.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::mem;
use std::os::fd::AsFd;
use std::panic::{self, PanicHookInfo};
use std::process;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of lines that may wait for a slow reader, about 1,000 requests. Further lines are dropped
/// and counted; a line is always taken when none is waiting.
pub const MAX_WAITING: usize = 128 * 1024;

/// The time between two attempts to start the thread that writes.
const THREAD_INTERVAL: Duration = Duration::from_secs(1);

/// The first and the longest pause before a full non-blocking output is tried again: the standard
/// library cannot wait for one.
const RETRY_INTERVALS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// How long a panic waits for its line to be written.
const PANIC_TIMEOUT: Duration = Duration::from_millis(500);

/// How many characters of a panic's message are shown.
const MAX_PANIC_MESSAGE: usize = 500;

/// Where lines and the output of commands go. Not [`io::Stdout`], which buffers, and which reports
/// success for a descriptor that cannot be written to.
pub type Output = Box<dyn Write + Send>;

/// Standard output or standard error, without a buffer. If no descriptor is left for a copy, it is the
/// standard library's own handle.
///
/// A stream that was closed when the program started is `/dev/null`: the standard library opens that in
/// its place, so output to it is lost without an error.
pub fn output(stream: impl AsFd + Write + Send + 'static) -> Output {
    let descriptor = stream.as_fd().try_clone_to_owned();
    match descriptor {
        Ok(descriptor) => Box::new(File::from(descriptor)),
        Err(_) => Box::new(stream),
    }
}

/// Writes the whole text. Waits for its reader as long as it takes, even if the output is
/// non-blocking.
///
/// # Errors
///
/// The OS error if the text could not be written whole.
pub fn write_whole(output: &mut dyn Write, text: &[u8]) -> io::Result<()> {
    write_from_start(output, text).map_err(|(_, error)| error)?;
    output.flush()
}

/// As [`write_whole`]; an error comes with the number of bytes written before it.
fn write_from_start(output: &mut dyn Write, text: &[u8]) -> Result<(), (usize, io::Error)> {
    let (first, longest) = RETRY_INTERVALS;
    let mut pause = first;
    let mut written = 0;
    while let Some(rest) = text.get(written..).filter(|rest| !rest.is_empty()) {
        match output.write(rest) {
            Ok(0) => return Err((written, ErrorKind::WriteZero.into())),
            Ok(len) => {
                written += len;
                pause = first;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(pause);
                pause = longest.min(pause * 2);
            }
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

/// A stream of lines to one output.
pub struct Lines {
    queue: Mutex<Queue>,
    changed: Condvar,
}

struct Queue {
    /// `None` once the thread that writes has it.
    writer: Option<Writer>,
    thread: Thread,
    waiting: String,
    dropped: u64,
    is_writing: bool,
    /// Whether the count of dropped lines is reported without waiting for another line.
    is_ending: bool,
}

impl Queue {
    fn has_work(&self) -> bool {
        !self.waiting.is_empty() || (self.is_ending && self.dropped > 0)
    }
}

/// The thread that writes.
#[derive(Clone, Copy)]
enum Thread {
    /// No line has needed it yet.
    Unneeded,
    Started,
    /// The system could not create one at this time.
    Unavailable(Instant),
}

impl Lines {
    /// Lines for `output`, written by a thread that starts with the first line and ends with the
    /// process. While the system cannot create it, lines wait; beyond the limit they are dropped and
    /// counted.
    #[must_use]
    pub fn new(output: Output) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::new(Queue {
                writer: Some(Writer {
                    output,
                    unfinished: Vec::new(),
                }),
                thread: Thread::Unneeded,
                waiting: String::new(),
                dropped: 0,
                is_writing: false,
                is_ending: false,
            }),
            changed: Condvar::new(),
        })
    }

    /// Queues a line, given without its line end. Never waits for the output.
    pub fn push(self: &Arc<Self>, line: &str) {
        let mut queue = self.queue();
        if !queue.waiting.is_empty() && queue.waiting.len() + line.len() >= MAX_WAITING {
            queue.dropped += 1;
        } else {
            if queue.waiting.is_empty() {
                self.changed.notify_all();
            }
            queue.waiting.push_str(line);
            queue.waiting.push('\n');
        }
        let is_due = match queue.thread {
            Thread::Started => false,
            Thread::Unneeded => true,
            Thread::Unavailable(at) => at.elapsed() >= THREAD_INTERVAL,
        };
        if is_due {
            self.start_thread(&mut queue);
        }
    }

    fn start_thread(self: &Arc<Self>, queue: &mut Queue) {
        let lines = Arc::clone(self);
        let thread = thread::Builder::new()
            .name("log".into())
            .spawn(move || lines.write_all());
        queue.thread = match thread {
            Ok(_) => Thread::Started,
            Err(_) => Thread::Unavailable(Instant::now()),
        };
    }

    /// Waits until every line and the count of dropped ones are written, at most until `deadline`. If the
    /// thread could not be created before, tries again until then: the workers' threads are ending.
    pub fn flush(self: &Arc<Self>, deadline: Instant) {
        let left = || deadline.saturating_duration_since(Instant::now());
        let mut queue = self.queue();
        queue.is_ending = true;
        while queue.has_work() && !matches!(queue.thread, Thread::Started) && !left().is_zero() {
            self.start_thread(&mut queue);
            let (_, pause) = RETRY_INTERVALS;
            // Without the lock, which the new thread needs.
            let waited = self.changed.wait_timeout(queue, pause.min(left()));
            (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        if matches!(queue.thread, Thread::Started) {
            self.changed.notify_all();
            let is_busy = |queue: &mut Queue| queue.is_writing || queue.has_work();
            drop(self.changed.wait_timeout_while(queue, left(), is_busy));
        }
    }

    /// If the thread could not be created, writes the waiting lines on the caller's thread, and waits for
    /// the output. For lines before the server serves, at a reload, and after a failure.
    pub fn write_without_thread(&self) {
        let mut queue = self.queue();
        // A thread that has started may not have taken the writer yet.
        if matches!(queue.thread, Thread::Unavailable(_))
            && let Some(mut writer) = queue.writer.take()
        {
            let lines = mem::take(&mut queue.waiting);
            queue.dropped = writer.write(&lines, queue.dropped);
            queue.writer = Some(writer);
        }
    }

    /// Writes lines as they arrive, all waiting lines at a time.
    fn write_all(&self) {
        let Some(mut writer) = self.queue().writer.take() else {
            return;
        };
        let mut text = String::new();
        let mut dropped = 0;
        loop {
            let mut queue = self.queue();
            queue.dropped += dropped;
            queue.is_writing = false;
            self.changed.notify_all();
            let waiting = self.changed.wait_while(queue, |queue| !queue.has_work());
            queue = waiting.unwrap_or_else(PoisonError::into_inner);
            queue.is_writing = true;
            queue.is_ending = false;
            mem::swap(&mut queue.waiting, &mut text);
            dropped = mem::take(&mut queue.dropped);
            drop(queue);

            dropped = writer.write(&text, dropped);
            text.clear();
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows no line.
impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lines(..)")
    }
}

/// An output that receives whole lines; after an error the last one may be unfinished.
struct Writer {
    output: Output,
    /// The rest of a line whose beginning has been written.
    unfinished: Vec<u8>,
}

impl Writer {
    /// Writes whole lines, and after them the count of lines dropped before. Returns the count of
    /// dropped lines that is still to be reported. Waits for the output as long as it takes.
    fn write(&mut self, lines: &str, dropped: u64) -> u64 {
        let lost = self.write_lines(lines.as_bytes());
        if lost > 0 || dropped == 0 {
            return dropped + lost;
        }
        let report = format!("{{\"dropped_lines\":{dropped}}}\n");
        match self.write_lines(report.as_bytes()) {
            0 => 0,
            _ => dropped,
        }
    }

    /// Returns how many lines are lost. An error may be temporary: a full disk can get room again.
    fn write_lines(&mut self, lines: &[u8]) -> u64 {
        let unfinished = mem::take(&mut self.unfinished);
        if let Err((written, _)) = write_from_start(&mut *self.output, &unfinished) {
            self.unfinished = rest(&unfinished, written).to_vec();
            return count_lines(lines);
        }
        let Err((written, _)) = write_from_start(&mut *self.output, lines) else {
            return 0;
        };
        let begun = lines.get(..written).unwrap_or_default();
        let mut lost = rest(lines, written);
        if !begun.is_empty() && !begun.ends_with(b"\n") {
            let end = lost.iter().position(|&byte| byte == b'\n');
            let end = end.map_or(lost.len(), |end| end + 1);
            self.unfinished = lost.get(..end).unwrap_or_default().to_vec();
            lost = rest(lost, end);
        }
        count_lines(lost)
    }
}

fn rest(text: &[u8], written: usize) -> &[u8] {
    text.get(written..).unwrap_or_default()
}

fn count_lines(text: &[u8]) -> u64 {
    text.split_inclusive(|&byte| byte == b'\n')
        .fold(0, |count, _| count + 1)
}

/// Makes a panic on any thread abort the process, with one line on standard error that says where it was.
/// Otherwise a dead worker, which has the fewest connections, would attract every new one.
///
/// The process waits for the reader of that line for at most half a second.
pub fn abort_on_panic() {
    panic::set_hook(Box::new(|panic| {
        let line = panic_line(panic);
        let write_and_abort = move || {
            // There is nothing left to do about an error.
            let _ = write_whole(&mut *output(io::stderr()), line.as_bytes());
            process::abort();
        };
        // A blocked output must not keep the process alive.
        if thread::Builder::new()
            .spawn(write_and_abort.clone())
            .is_ok()
        {
            thread::sleep(PANIC_TIMEOUT);
            process::abort();
        }
        write_and_abort();
    }));
}

fn panic_line(panic: &PanicHookInfo<'_>) -> String {
    let payload = panic.payload();
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is not text");
    let message: String = message.chars().take(MAX_PANIC_MESSAGE).collect();
    let mut line = String::from("panicked");
    // Writing to a string cannot fail.
    if let Some(place) = panic.location() {
        let _ = write!(line, " at {place}");
    }
    let _ = writeln!(line, ": {}", message.escape_debug());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes as many bytes as planned, or fails as planned; after the plan it takes everything.
    struct Planned {
        plan: std::vec::IntoIter<Result<usize, ErrorKind>>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Planned {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let len = self.plan.next().unwrap_or(Ok(bytes.len()))?;
            let len = len.min(bytes.len());
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            taken.extend(bytes.iter().take(len));
            Ok(len)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Writes each batch by this plan. Returns what was written, and how many lines are dropped at the end.
    fn written(plan: Vec<Result<usize, ErrorKind>>, batches: &[&str]) -> (String, u64) {
        let taken = Arc::<Mutex<Vec<u8>>>::default();
        let mut writer = Writer {
            output: Box::new(Planned {
                plan: plan.into_iter(),
                taken: Arc::clone(&taken),
            }),
            unfinished: Vec::new(),
        };
        let dropped = batches
            .iter()
            .fold(0, |dropped, batch| writer.write(batch, dropped));
        let taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        (String::from_utf8_lossy(&taken).into_owned(), dropped)
    }

    #[test]
    fn every_line_is_written_whole_or_counted() {
        use ErrorKind::{Interrupted, StorageFull, WouldBlock};
        let report = |dropped: u64| format!("{{\"dropped_lines\":{dropped}}}\n");
        for (plan, batches, expected) in [
            (vec![], vec!["a\nb\n"], ("a\nb\n".into(), 0)),
            // A non-blocking output and a signal lose nothing.
            (
                vec![
                    Err(WouldBlock),
                    Ok(1),
                    Err(Interrupted),
                    Err(WouldBlock),
                    Ok(2),
                ],
                vec!["abc\n", "d\n"],
                ("abc\nd\n".into(), 0),
            ),
            // Lost lines are counted when there is room again.
            (
                vec![Err(StorageFull)],
                vec!["a\nb\n", "c\n"],
                (format!("c\n{}", report(2)), 0),
            ),
            // A line that has begun is finished first.
            (
                vec![Ok(3), Err(StorageFull)],
                vec!["a\nbcd\ne\nf\n", "g\n"],
                (format!("a\nbcd\ng\n{}", report(2)), 0),
            ),
            (
                vec![
                    Ok(1),
                    Err(StorageFull),
                    Err(StorageFull),
                    Ok(1),
                    Err(StorageFull),
                ],
                vec!["abc\n", "d\ne\n", "f\n", "g\n"],
                (format!("abc\ng\n{}", report(3)), 0),
            ),
            // Whole lines before the error are not counted.
            (
                vec![Ok(2), Err(StorageFull)],
                vec!["a\nb\n", "c\n"],
                (format!("a\nc\n{}", report(1)), 0),
            ),
            // The report itself may fail.
            (
                vec![Err(StorageFull), Ok(2), Err(StorageFull)],
                vec!["a\n", "b\n", "c\n"],
                (format!("b\nc\n{}", report(1)), 0),
            ),
            (
                vec![Err(StorageFull), Ok(0), Err(StorageFull)],
                vec!["a\n", "b\nc\n", "d\n"],
                (String::new(), 4),
            ),
        ] {
            assert_eq!(
                written(plan.clone(), &batches),
                expected,
                "{plan:?} {batches:?}"
            );
        }
    }

    #[test]
    fn losses_are_reported_at_the_end_if_no_line_comes_after_them() {
        let taken = Arc::<Mutex<Vec<u8>>>::default();
        let lines = Lines::new(Box::new(Planned {
            plan: vec![Err(ErrorKind::StorageFull)].into_iter(),
            taken: Arc::clone(&taken),
        }));
        let deadline = Instant::now() + Duration::from_secs(10);
        lines.push("lost");
        // Once for the line, unless it is lost already.
        lines.flush(deadline);
        lines.flush(deadline);
        assert!(Instant::now() < deadline);
        assert!(
            taken
                .lock()
                .is_ok_and(|taken| *taken == b"{\"dropped_lines\":1}\n")
        );
    }

    /// The output never takes anything: no flush waits beyond its deadline.
    #[test]
    fn flush_ends_at_its_deadline_or_when_there_is_no_more_to_do() {
        struct Blocked;
        impl Write for Blocked {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::WouldBlock.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::new(Box::new(Blocked));
        let started = Instant::now();
        lines.flush(started + Duration::from_secs(10));
        lines.push("line");
        lines.flush(started + Duration::from_millis(100));
        let took = started.elapsed();
        assert!(
            (Duration::from_millis(100)..Duration::from_secs(5)).contains(&took),
            "{took:?}"
        );
    }

    #[test]
    fn command_output_is_written_whole_or_fails() {
        let taken = Arc::<Mutex<Vec<u8>>>::default();
        let mut output = Planned {
            plan: vec![
                Err(ErrorKind::WouldBlock),
                Ok(2),
                Err(ErrorKind::WouldBlock),
                Err(ErrorKind::Interrupted),
            ]
            .into_iter(),
            taken: Arc::clone(&taken),
        };
        assert!(write_whole(&mut output, b"abcdef").is_ok());
        assert!(taken.lock().is_ok_and(|taken| *taken == b"abcdef"));
        output.plan = vec![Ok(1), Err(ErrorKind::BrokenPipe)].into_iter();
        let result = write_whole(&mut output, b"abc");
        assert!(result.is_err_and(|error| error.kind() == ErrorKind::BrokenPipe));
    }
}
