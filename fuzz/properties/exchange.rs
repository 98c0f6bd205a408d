//! Schedules for the connection engine: when which bytes arrive, what the handlers do with them and
//! when, how fast the client takes the responses, and how it ends. Time is virtual, so that each
//! time limit is reached at once.
//!
//! The reference knows each request's bytes and what its handler was told to do. Every content is
//! made of request heads, so that content taken for a head is seen at once.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::service::Service;
use hyper::{Request, Response, StatusCode, Version};
use resource_server::server::exchange::{Event, Exchange, MAX_HEAD_LEN, Transport};
use resource_server::server::{BoxError, Content, Engine, Limits};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::time::{Instant, Sleep, sleep, timeout};

const MOST_REQUESTS: usize = 24;
const MOST_CONTENT: usize = 200_000;
const MOST_MILLISECONDS: u64 = 100_000;

/// What content is made of: nothing of it may ever be dispatched.
const DECOY: &[u8] = b"GET /decoy HTTP/1.1\r\nHost: decoy\r\n\r\n";

/// What hyper may hold of content that the handler has not asked for: its buffer, one piece on the
/// way to the handler, and one that was read behind it.
const MOST_AHEAD: usize = MAX_HEAD_LEN + 3 * 8 * 1024;

/// What became of a request, as far as the client can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The handler's own response, whole.
    Responded,
    /// The handler's own response, a part.
    Partly,
    /// 408
    ContentLate,
    /// 503
    HandlerLate,
    /// 500
    Failed,
    /// No response: the client has reset the connection, or was cut.
    None,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Responded,
        Self::Partly,
        Self::ContentLate,
        Self::HandlerLate,
        Self::Failed,
        Self::None,
    ];
}

/// A schedule: the first line is about the client, each further line is a request and its handler.
/// Words that mean nothing are ignored. Returns what became of each request that was dispatched.
pub fn check(bytes: &[u8]) -> Vec<Outcome> {
    let schedule = Schedule::read(&String::from_utf8_lossy(bytes));
    thread_local! {
        // Kept until the process ends: a runtime cannot be dropped with its thread.
        static RUNTIME: &'static LocalRuntime = Box::leak(Box::new(
            Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build_local(LocalOptions::default())
                .expect("a runtime"),
        ));
    }
    RUNTIME.with(|runtime| runtime.block_on(schedule.run()))
}

#[derive(Debug, Default)]
struct Schedule {
    /// Sizes of the pieces in which the bytes arrive, over and over.
    pieces: Vec<usize>,
    /// Milliseconds between two pieces.
    pause: u64,
    /// Bytes of responses that the client takes at a time; 0 for all.
    room: usize,
    /// Milliseconds between two times.
    every: u64,
    /// Whether the connection is taken apart whenever it is idle.
    parks: bool,
    /// Whether the client closes its sending side behind its last byte.
    half_closes: bool,
    /// When it resets the connection.
    resets: Option<u64>,
    plans: Vec<Plan>,
}

/// One request and what its handler does.
#[derive(Clone, Debug, Default)]
struct Plan {
    method: &'static str,
    is_old: bool,
    keep_alive: bool,
    close: bool,
    expects: bool,
    upgrades: bool,
    /// Empty lines before the request.
    lines: usize,
    /// How long its head is at least.
    head: usize,
    content: Option<usize>,
    /// Size of the chunks.
    chunked: Option<usize>,
    trailers: bool,
    /// Bytes of the content's end that never arrive.
    missing: usize,

    /// It drops the content before it is polled.
    drops: bool,
    /// It waits so long before it reads.
    wait: u64,
    /// It reads so much at least; all if it is not said.
    read: Option<usize>,
    /// It waits so long before it reads on.
    slowly: u64,
    /// It waits no longer than this for content, and goes on without.
    patience: Option<u64>,
    /// What becomes of content that it has not read.
    keep: Keep,
    /// It waits so long before it responds.
    after: u64,
    never: bool,
    fails: bool,
    status: u16,
    version: Version,
    parts: usize,
    len: usize,
    /// Whether the length of the response is unknown.
    streams: bool,
    rest: u64,
    breaks: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Keep {
    #[default]
    Drop,
    /// The body of the response holds it.
    Body,
    /// A task of its own holds it.
    Forever,
}

impl Schedule {
    fn read(text: &str) -> Self {
        let mut lines = text.lines();
        let mut schedule = Self::default();
        for word in lines.next().unwrap_or_default().split_ascii_whitespace() {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let time = value.parse().unwrap_or(0_u64).min(MOST_MILLISECONDS);
            let size = value.parse().unwrap_or(0_usize);
            match name {
                "pause" => schedule.pause = time,
                "room" => schedule.room = size,
                "every" => schedule.every = time,
                "park" => schedule.parks = true,
                "half-close" => schedule.half_closes = true,
                "reset" => schedule.resets = Some(time),
                _ => schedule
                    .pieces
                    .extend(name.parse().ok().filter(|size: &usize| *size > 0)),
            }
        }
        for line in lines.take(MOST_REQUESTS) {
            schedule.plans.push(Plan::read(line));
            if schedule.plans.last().is_some_and(|plan| plan.missing > 0) {
                break;
            }
        }
        let total = schedule.bytes().len();
        if !schedule.pieces.is_empty() {
            // Few enough pieces.
            let sum: usize = schedule
                .pieces
                .iter()
                .copied()
                .fold(0, usize::saturating_add);
            let average = (sum / schedule.pieces.len()).max(1);
            let least = total / 3000 / average;
            for piece in &mut schedule.pieces {
                *piece = piece.saturating_mul(least + 1);
            }
        }
        schedule
    }

    fn bytes(&self) -> Vec<u8> {
        let plans = self.plans.iter().enumerate();
        plans.flat_map(|(id, plan)| plan.request(id)).collect()
    }

    /// Where each request begins, where its head ends, where its content ends.
    fn offsets(&self) -> Vec<(usize, usize, usize)> {
        let mut begin = 0;
        let plans = self.plans.iter().enumerate();
        plans
            .map(|(id, plan)| {
                let head = begin + plan.head(id).len();
                let end = begin + plan.request(id).len() + plan.missing_bytes();
                let offsets = (begin, head, end);
                begin = end;
                offsets
            })
            .collect()
    }

    /// Whether the content of a response may end before its end.
    fn may_break(&self, id: usize) -> bool {
        let plan = &self.plans[id];
        let time = u128::from(plan.rest) * (plan.parts as u128 + 1);
        let is_long = self.room > 0 || time >= Limits::default().answer_timeout.as_millis();
        plan.breaks || plan.streams && is_long
    }

    async fn run(&self) -> Vec<Outcome> {
        let wire = Rc::new(Wire::new(if self.room == 0 { usize::MAX } else { 0 }));
        let log = Rc::new(Log::default());
        let clients = [
            tokio::task::spawn_local(send(
                Rc::clone(&wire),
                self.pieces(),
                self.pause,
                self.half_closes,
            )),
            tokio::task::spawn_local(take(Rc::clone(&wire), self.room, self.every)),
            tokio::task::spawn_local(reset(Rc::clone(&wire), self.resets)),
        ];
        let begin = Instant::now();
        let serving = timeout(Duration::from_secs(100_000), self.serve(&wire, &log));
        let end = serving
            .await
            .unwrap_or_else(|_| panic!("it hangs: {self:#?}"));
        for client in clients {
            client.abort();
        }
        log.forever.borrow_mut().clear();
        self.judge(&wire, &log, end, begin)
    }

    fn pieces(&self) -> Vec<Vec<u8>> {
        let bytes = self.bytes();
        let mut rest = &bytes[..];
        let mut sizes = self.pieces.iter().copied().cycle();
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(sizes.next().unwrap_or(rest.len()).min(rest.len()));
            pieces.push(piece.to_vec());
            rest = after;
        }
        pieces
    }

    /// As the server treats a connection.
    async fn serve(&self, wire: &Rc<Wire>, log: &Rc<Log>) -> End {
        let offsets = self.offsets();
        let limits = Limits::default();
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let service = Scripted {
            plans: self.plans.clone(),
            log: Rc::clone(log),
        };
        let engine = Rc::new(Engine::new(service, limits));
        let begin = |pipe: Pipe, unread: Bytes, deadline| {
            Exchange::new(pipe, peer, Rc::clone(&engine), unread, deadline)
        };
        let mut exchange = begin(Pipe(Rc::clone(wire)), Bytes::new(), None);
        let mut polls = 0_usize;
        loop {
            let mut idle: Option<Pin<Box<Sleep>>> = None;
            let event = poll_fn(|cx| {
                polls += 1;
                // Each poll is for something that has happened.
                let steps = wire.steps.get() + log.steps.get();
                assert!(polls <= 100 + 8 * steps, "{polls} polls, {steps} steps");
                let event = exchange.poll(cx);
                self.check_buffer(&offsets, wire, log);
                match event {
                    Poll::Ready(Event::Idle) if !self.parks => {
                        let idle = idle.get_or_insert_with(|| Box::pin(sleep(limits.idle_timeout)));
                        idle.as_mut().poll(cx).map(|()| Event::Idle)
                    }
                    event => {
                        idle = None;
                        event
                    }
                }
            })
            .await;
            match event {
                Event::Ended => {
                    drop(exchange);
                    return End::Ended;
                }
                Event::Overdue => {
                    self.check_overdue(&offsets, wire, log);
                    drop(exchange);
                    return End::Overdue;
                }
                Event::Http2 => panic!("no HTTP/2 was sent"),
                Event::Idle | Event::Restart => {
                    let (pipe, unread) = exchange.into_parts();
                    if unread.is_empty() {
                        let readable = poll_fn(|cx| pipe.0.poll_readable(cx));
                        if timeout(limits.idle_timeout, readable).await.is_err() {
                            return End::Idle;
                        }
                    }
                    let deadline =
                        (!unread.is_empty()).then(|| Instant::now() + limits.step_timeout);
                    exchange = begin(pipe, unread, deadline);
                }
            }
        }
    }

    /// hyper never holds more than the longest head, nor much of content that is not asked for.
    fn check_buffer(&self, offsets: &[(usize, usize, usize)], wire: &Wire, log: &Log) {
        let handed = wire.handed.get();
        let calls = log.calls.borrow();
        let Some((id, call)) = calls.iter().enumerate().next_back() else {
            assert!(handed <= MAX_HEAD_LEN, "{handed} bytes before a request");
            return;
        };
        let (_, head, end) = offsets[id];
        assert!(
            handed <= end + MAX_HEAD_LEN,
            "{handed} bytes are handed over, and request {id} ends at {end}"
        );
        if self.plans[id].chunked.is_none() && !call.is_dropped.get() {
            let taken = call.content.borrow().len();
            assert!(
                handed <= head + taken + MOST_AHEAD,
                "{handed} bytes are handed over, of which {taken} behind {head} are taken"
            );
        }
    }

    /// Only a client is cut that has kept the server waiting.
    fn check_overdue(&self, offsets: &[(usize, usize, usize)], wire: &Wire, log: &Log) {
        let now = Instant::now();
        let step = Limits::default().step_timeout;
        let calls = log.calls.borrow();
        if wire.is_blocked.get() {
            let since = calls.last().expect("a response").at;
            assert!(
                now - since >= step,
                "cut as a slow reader after {:?}",
                now - since
            );
            return;
        }
        if let Some(call) = calls.last() {
            assert!(call.is_over.get(), "cut while its handler is at work");
        }
        let (begin, head, _) = *offsets.get(calls.len()).expect("one more request");
        let sent = wire.sent.borrow();
        let since = sent
            .iter()
            .find(|(end, _)| *end > begin)
            .expect("its beginning is here")
            .1;
        assert!(
            sent.last().expect("bytes").0 < head,
            "cut behind a whole head"
        );
        assert!(
            now - since >= step,
            "cut as a slow sender after {:?}",
            now - since
        );
    }

    fn judge(&self, wire: &Wire, log: &Log, end: End, begin: Instant) -> Vec<Outcome> {
        let offsets = self.offsets();
        let calls = log.calls.borrow();
        let out = wire.out.borrow();
        let methods: Vec<_> = self.plans.iter().map(|plan| plan.method).collect();
        let is_reset = wire.is_reset.get().is_some();
        let is_cut = is_reset || end == End::Overdue;
        // Content that fails may take even its head with it.
        let may_break = calls
            .len()
            .checked_sub(1)
            .is_some_and(|last| self.may_break(last));
        let responses = responses(&out, &methods, is_cut || may_break);
        let sent = wire.sent.borrow().last().map_or(0, |(end, _)| *end);

        assert!(
            responses.len() <= calls.len(),
            "a response without a request: {self:#?}"
        );
        for (id, response) in responses.iter().enumerate() {
            self.check_response(id, response, &calls[id], wire, (is_cut, begin));
            let is_last = id + 1 == responses.len();
            assert!(
                is_last || !response.closes,
                "a response after the last: {self:#?}"
            );
            assert!(is_last || response.is_whole);
        }
        if end == End::Overdue && !wire.is_blocked.get() {
            let is_over = responses
                .last()
                .is_some_and(|last| last.closes && last.is_whole);
            assert!(!is_over, "cut behind the last response: {self:#?}");
        }
        if let Some(at) = wire.is_reset.get() {
            // What is at work is dropped at once.
            let over = log
                .ended
                .get()
                .max(calls.iter().filter_map(|call| call.dropped_at.get()).max());
            assert!(
                over.is_none_or(|over| over <= at),
                "a handler outlives its client: {self:#?}"
            );
        }
        for call in calls.iter() {
            assert!(call.is_over.get(), "a handler outlives its connection");
        }
        if !is_cut {
            let last = responses.last();
            let is_last = last.is_some_and(|last| last.closes || !last.is_whole);
            // What fails before anything is written is not written.
            let lacks = calls.len() - responses.len();
            assert!(
                lacks == 0 || lacks == 1 && may_break,
                "a request without a response: {self:#?}"
            );
            if !is_last && lacks == 0 {
                let next = offsets.get(calls.len());
                assert!(
                    next.is_none_or(|(_, head, _)| sent < *head),
                    "a request is not seen: {self:#?}"
                );
                assert!(
                    end != End::Ended || wire.is_eof.get() && wire.has_seen_eof.get(),
                    "the connection ends without a word: {self:#?}"
                );
                assert!(
                    end != End::Idle
                        || next.is_none_or(
                            |(begin, ..)| sent <= *begin + 2 * self.plans[calls.len()].lines
                        ),
                    "idle in the middle of a head: {self:#?}"
                );
            }
        }
        let mut outcomes: Vec<Outcome> = responses
            .iter()
            .map(|response| match (response.status, response.id.is_some()) {
                (408, false) => Outcome::ContentLate,
                (503, false) => Outcome::HandlerLate,
                (500, false) => Outcome::Failed,
                _ if response.is_whole => Outcome::Responded,
                _ => Outcome::Partly,
            })
            .collect();
        outcomes.resize(calls.len(), Outcome::None);
        outcomes
    }

    fn check_response(
        &self,
        id: usize,
        response: &Seen,
        call: &Call,
        wire: &Wire,
        (is_cut, begin): (bool, Instant),
    ) {
        let plan = &self.plans[id];
        let limits = Limits::default();
        let took = wire.written_at(response.at) - call.at;
        let said = || {
            format!(
                "request {id}, {response:?}, {took:?} after the call, {:?} in all: {self:#?}",
                Instant::now() - begin
            )
        };
        // A client that has closed its side knows that nothing can follow.
        let is_complete = plan.content.is_none()
            || wire.has_seen_eof.get()
            || plan.missing_bytes() == 0 && wire.handed.get() >= self.offsets()[id].2;
        match response.id {
            Some(own) => {
                assert_eq!(own, id, "{}", said());
                assert!(call.finished_at.get().is_some());
                assert_eq!(response.status, plan.status(), "{}", said());
                let whole = plan.response(id);
                assert!(whole.starts_with(&response.content), "{}", said());
                if response.is_whole && (response.has_length || !is_cut && !self.may_break(id)) {
                    assert!(!plan.breaks || !plan.has_content(), "{}", said());
                    assert_eq!(
                        response.content.len(),
                        if plan.method == "HEAD" {
                            0
                        } else {
                            whole.len()
                        },
                        "{}",
                        said()
                    );
                } else if !response.is_whole {
                    assert!(is_cut || self.may_break(id), "{}", said());
                }
            }
            None => {
                assert_eq!(response.version, if plan.is_old { 0 } else { 1 });
                match response.status {
                    408 => {
                        assert!(took >= limits.step_timeout, "{}", said());
                        assert!(
                            call.finished_at.get().is_none() && !call.is_finished.get(),
                            "{}",
                            said()
                        );
                        assert!(
                            call.has_asked.get() && !call.has_given_up.get(),
                            "{}",
                            said()
                        );
                    }
                    503 => {
                        assert!(took >= limits.answer_timeout, "{}", said());
                        assert!(call.finished_at.get().is_none(), "{}", said());
                    }
                    500 => assert!(
                        plan.fails || plan.status == 100 || plan.status == 204 && plan.has_parts(),
                        "{}",
                        said()
                    ),
                    _ => panic!("{}", said()),
                }
            }
        }
        if let Some(finished) = call.finished_at.get() {
            assert!(
                finished - call.at <= limits.step_timeout + limits.answer_timeout,
                "{}",
                said()
            );
        }
        // What the client asked for, and what nothing may follow.
        let must_close =
            plan.close || plan.is_old && !plan.keep_alive || plan.chunked.is_some() || !is_complete;
        assert!(!must_close || response.closes, "{}", said());
        assert_eq!(
            response.continues,
            usize::from(response.continues > 0),
            "{}",
            said()
        );
        if response.continues > 0 {
            assert!(
                plan.expects && call.has_asked.get(),
                "100 without being asked: {}",
                said()
            );
        }
        // What the handler has seen of the content.
        let content = call.content.borrow();
        assert!(plan.content().starts_with(&content), "{}", said());
        if call.is_finished.get() {
            assert_eq!(content.len(), plan.content().len(), "{}", said());
            assert_eq!(plan.missing_bytes(), 0, "{}", said());
        }
    }
}

impl Plan {
    fn read(line: &str) -> Self {
        let mut plan = Self {
            method: "GET",
            status: 200,
            version: Version::HTTP_11,
            ..Self::default()
        };
        for word in line.split_ascii_whitespace() {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let time = value.parse().unwrap_or(0_u64).min(MOST_MILLISECONDS);
            let size = value.parse().unwrap_or(0_usize).min(MOST_CONTENT);
            match name {
                "post" => plan.method = "POST",
                "head" => plan.method = "HEAD",
                "old" => plan.is_old = true,
                "keep-alive" => plan.keep_alive = true,
                "close" => plan.close = true,
                "expect" => plan.expects = true,
                "upgrade" => plan.upgrades = true,
                "lines" => plan.lines = size.min(100),
                "fill" => plan.head = size.min(MAX_HEAD_LEN),
                "content" => plan.content = Some(size),
                "chunked" => plan.chunked = Some(size.max(1)),
                "trailers" => plan.trailers = true,
                "missing" => plan.missing = size,
                "drop" => plan.drops = true,
                "wait" => plan.wait = time,
                "read" => plan.read = Some(size),
                "slowly" => plan.slowly = time,
                "patience" => plan.patience = Some(time),
                "keep" => plan.keep = Keep::Body,
                "keep-forever" => plan.keep = Keep::Forever,
                "after" => plan.after = time,
                "never" => plan.never = true,
                "fail" => plan.fails = true,
                "status" => plan.status = [200, 201, 204, 404, 100][size % 5],
                "version" => {
                    plan.version = [
                        Version::HTTP_11,
                        Version::HTTP_10,
                        Version::HTTP_2,
                        Version::HTTP_3,
                        Version::HTTP_09,
                    ][size % 5]
                }
                "parts" => plan.parts = size.min(40),
                "len" => plan.len = size,
                "stream" => plan.streams = true,
                "rest" => plan.rest = time,
                "break" => plan.breaks = true,
                _ => {}
            }
        }
        if plan.breaks {
            plan.parts = plan.parts.max(2);
            plan.len = plan.len.max(1);
        }
        if plan.is_old {
            // hyper rejects it.
            plan.chunked = None;
        }
        if let (Some(size), Some(len)) = (&mut plan.chunked, plan.content) {
            *size = (*size).max(len / 500);
        } else {
            plan.chunked = None;
        }
        plan
    }

    fn head(&self, id: usize) -> Vec<u8> {
        let version = if self.is_old { 0 } else { 1 };
        let mut fields = String::new();
        if self.keep_alive {
            fields += "Connection: keep-alive\r\n";
        }
        if self.close {
            fields += "Connection: close\r\n";
        }
        if self.upgrades {
            fields += "Connection: upgrade\r\nUpgrade: x\r\n";
        }
        if self.expects {
            fields += "Expect: 100-continue\r\n";
        }
        match (self.chunked, self.content) {
            (Some(_), _) => fields += "Transfer-Encoding: chunked\r\n",
            (None, Some(len)) => fields += &format!("Content-Length: {len}\r\n"),
            (None, None) => {}
        }
        let mut head = "\r\n".repeat(self.lines);
        head += &format!(
            "{} /{id} HTTP/1.{version}\r\nHost: a\r\n{fields}",
            self.method
        );
        if let Some(left) = self
            .head
            .checked_sub(head.len() + 7)
            .filter(|left| *left > 0)
        {
            head += &format!("X: {}\r\n", "x".repeat(left));
        }
        head += "\r\n";
        head.into()
    }

    fn content(&self) -> Vec<u8> {
        let decoys = DECOY.iter().copied().cycle();
        // It ends as a head does.
        let len = self.content.unwrap_or(0);
        let skip = (DECOY.len() - len % DECOY.len()) % DECOY.len();
        decoys.skip(skip).take(len).collect()
    }

    fn framed(&self) -> Vec<u8> {
        let content = self.content();
        let Some(size) = self.chunked else {
            return content;
        };
        let mut framed = Vec::new();
        for chunk in content.chunks(size) {
            framed.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
            framed.extend(chunk);
            framed.extend(b"\r\n");
        }
        framed.extend(b"0\r\n");
        if self.trailers {
            framed.extend(b"X: y\r\n");
        }
        framed.extend(b"\r\n");
        framed
    }

    fn missing_bytes(&self) -> usize {
        self.missing.min(self.framed().len())
    }

    fn request(&self, id: usize) -> Vec<u8> {
        let mut request = self.head(id);
        request.extend(self.framed());
        request.truncate(request.len() - self.missing_bytes());
        request
    }

    fn status(&self) -> u16 {
        self.status
    }

    fn has_parts(&self) -> bool {
        self.streams || self.breaks || self.parts * self.len > 0
    }

    fn has_content(&self) -> bool {
        self.method != "HEAD" && self.status != 204
    }

    fn part(&self, id: usize, part: usize) -> Vec<u8> {
        (0..self.len)
            .map(|at| (id * 31 + part * 7 + at) as u8)
            .collect()
    }

    fn response(&self, id: usize) -> Vec<u8> {
        (0..self.parts)
            .flat_map(|part| self.part(id, part))
            .collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Ended,
    Overdue,
    Idle,
}

// The client.

async fn send(wire: Rc<Wire>, pieces: Vec<Vec<u8>>, pause: u64, half_closes: bool) {
    for piece in pieces {
        wire.send(&piece);
        nap(pause).await;
    }
    if half_closes {
        wire.is_eof.set(true);
        wire.wake();
    }
}

async fn take(wire: Rc<Wire>, room: usize, every: u64) {
    if room == 0 {
        return;
    }
    loop {
        nap(every).await;
        // A client that has nothing to take does not wake the server over and over.
        poll_fn(|cx| {
            wire.taker.replace(Some(cx.waker().clone()));
            if wire.room.get() < room {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        wire.room.set(wire.room.get() + room);
        wire.wake();
    }
}

async fn reset(wire: Rc<Wire>, at: Option<u64>) {
    let Some(at) = at else { return };
    nap(at).await;
    wire.is_reset.set(Some(Instant::now()));
    wire.wake();
}

async fn nap(milliseconds: u64) {
    if milliseconds == 0 {
        tokio::task::yield_now().await;
    } else {
        sleep(Duration::from_millis(milliseconds)).await;
    }
}

// The pipe.

struct Wire {
    coming: RefCell<VecDeque<u8>>,
    /// How many bytes were sent, and when.
    sent: RefCell<Vec<(usize, Instant)>>,
    is_eof: Cell<bool>,
    has_seen_eof: Cell<bool>,
    is_reset: Cell<Option<Instant>>,
    handed: Cell<usize>,
    out: RefCell<Vec<u8>>,
    /// How many bytes were written, and when.
    written: RefCell<Vec<(usize, Instant)>>,
    room: Cell<usize>,
    is_blocked: Cell<bool>,
    wakers: RefCell<Vec<Waker>>,
    taker: RefCell<Option<Waker>>,
    /// What has happened.
    steps: Cell<usize>,
}

impl Wire {
    fn new(room: usize) -> Self {
        Self {
            coming: RefCell::default(),
            sent: RefCell::default(),
            is_eof: Cell::default(),
            has_seen_eof: Cell::default(),
            is_reset: Cell::default(),
            handed: Cell::default(),
            out: RefCell::default(),
            written: RefCell::default(),
            room: Cell::new(room),
            is_blocked: Cell::default(),
            wakers: RefCell::default(),
            taker: RefCell::default(),
            steps: Cell::default(),
        }
    }

    fn step(&self) {
        self.steps.set(self.steps.get() + 1);
    }

    fn wake(&self) {
        self.step();
        self.wakers.borrow_mut().drain(..).for_each(Waker::wake);
    }

    fn wait<T>(&self, cx: &Context<'_>) -> Poll<T> {
        let mut wakers = self.wakers.borrow_mut();
        if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn send(&self, bytes: &[u8]) {
        self.coming.borrow_mut().extend(bytes);
        let mut sent = self.sent.borrow_mut();
        let before = sent.last().map_or(0, |(end, _)| *end);
        sent.push((before + bytes.len(), Instant::now()));
        self.wake();
    }

    fn poll_readable(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_reset.get().is_some() || self.is_eof.get() || !self.coming.borrow().is_empty() {
            Poll::Ready(())
        } else {
            self.wait(cx)
        }
    }

    fn written_at(&self, offset: usize) -> Instant {
        let written = self.written.borrow();
        written
            .iter()
            .find(|(end, _)| *end > offset)
            .expect("it is written")
            .1
    }
}

#[derive(Clone)]
struct Pipe(Rc<Wire>);

impl Transport for Pipe {
    fn broken(&self) -> Pin<Box<dyn Future<Output = ()>>> {
        let wire = Rc::clone(&self.0);
        Box::pin(poll_fn(move |cx| match wire.is_reset.get() {
            Some(_) => Poll::Ready(()),
            None => wire.wait(cx),
        }))
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = &*self.0;
        if wire.is_reset.get().is_some() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let mut coming = wire.coming.borrow_mut();
        if coming.is_empty() {
            if wire.is_eof.get() {
                wire.has_seen_eof.set(true);
                return Poll::Ready(Ok(()));
            }
            return wire.wait(cx);
        }
        let len = coming.len().min(buffer.remaining());
        let bytes: Vec<u8> = coming.drain(..len).collect();
        buffer.put_slice(&bytes);
        wire.handed.set(wire.handed.get() + len);
        wire.step();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wire = &*self.0;
        if wire.is_reset.get().is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let len = bytes.len().min(wire.room.get());
        wire.is_blocked.set(len == 0);
        if len == 0 {
            return wire.wait(cx);
        }
        if wire.room.get() != usize::MAX {
            wire.room.set(wire.room.get() - len);
        }
        if let Some(taker) = wire.taker.take() {
            taker.wake();
        }
        let mut out = wire.out.borrow_mut();
        out.extend_from_slice(&bytes[..len]);
        wire.written.borrow_mut().push((out.len(), Instant::now()));
        wire.step();
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

// The application.

#[derive(Default)]
struct Log {
    calls: RefCell<Vec<Rc<Call>>>,
    /// Content that outlives its response.
    forever: RefCell<Vec<Content>>,
    /// When the last body of a response was dropped.
    ended: Cell<Option<Instant>>,
    steps: Cell<usize>,
}

struct Call {
    at: Instant,
    has_asked: Cell<bool>,
    content: RefCell<Vec<u8>>,
    /// It has seen the end of the content.
    is_finished: Cell<bool>,
    /// It waits for content no more.
    has_given_up: Cell<bool>,
    /// Its content is dropped.
    is_dropped: Cell<bool>,
    finished_at: Cell<Option<Instant>>,
    is_over: Cell<bool>,
    dropped_at: Cell<Option<Instant>>,
}

/// Tells when a handler ends, in whatever way.
struct Guard(Rc<Call>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.is_over.set(true);
        self.0.is_dropped.set(true);
        self.0.dropped_at.set(Some(Instant::now()));
    }
}

struct Scripted {
    plans: Vec<Plan>,
    log: Rc<Log>,
}

impl Service<Request<Content>> for Scripted {
    type Response = Response<Parts>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Parts>, BoxError>>>>;

    fn call(&self, request: Request<Content>) -> Self::Future {
        let mut calls = self.log.calls.borrow_mut();
        let id = calls.len();
        let plan = self
            .plans
            .get(id)
            .unwrap_or_else(|| panic!("{} is no request", request.uri()))
            .clone();
        assert_eq!(
            request.uri(),
            &*format!("/{id}"),
            "a request out of its order"
        );
        assert_eq!(request.method(), plan.method);
        let call = Rc::new(Call {
            at: Instant::now(),
            has_asked: Cell::default(),
            content: RefCell::default(),
            is_finished: Cell::default(),
            has_given_up: Cell::default(),
            is_dropped: Cell::default(),
            finished_at: Cell::default(),
            is_over: Cell::default(),
            dropped_at: Cell::default(),
        });
        calls.push(Rc::clone(&call));
        self.log.steps.set(self.log.steps.get() + 8);
        let mut content = Some(request.into_body());
        if plan.drops {
            call.is_dropped.set(true);
            content = None;
        }
        let guard = Guard(Rc::clone(&call));
        let log = Rc::clone(&self.log);
        Box::pin(async move {
            let _guard = guard;
            if plan.wait > 0 {
                nap(plan.wait).await;
            }
            if let Some(content) = &mut content {
                read(&plan, &call, content, &log).await;
            }
            if plan.after > 0 {
                nap(plan.after).await;
            }
            if plan.never {
                pending::<Infallible>().await;
            }
            call.finished_at.set(Some(Instant::now()));
            if plan.fails {
                return Err("as planned".into());
            }
            let content = match plan.keep {
                Keep::Drop => None,
                Keep::Body => content,
                Keep::Forever => {
                    log.forever.borrow_mut().extend(content);
                    None
                }
            };
            let mut response = Response::new(Parts {
                left: (0..plan.parts)
                    .map(|part| plan.part(id, part).into())
                    .collect(),
                rest: plan.rest,
                resting: None,
                streams: plan.streams,
                breaks: plan.breaks,
                log,
                _content: content,
            });
            *response.status_mut() = StatusCode::from_u16(plan.status).expect("a status");
            *response.version_mut() = plan.version;
            response.headers_mut().insert("x-id", id.into());
            response.headers_mut().insert("content-length", 7.into());
            Ok(response)
        })
    }
}

async fn read(plan: &Plan, call: &Call, content: &mut Content, log: &Log) {
    while plan
        .read
        .is_none_or(|least| call.content.borrow().len() < least)
    {
        call.has_asked.set(true);
        let frame = poll_fn(|cx| Pin::new(&mut *content).poll_frame(cx));
        let frame = match plan.patience {
            None => frame.await,
            Some(patience) => {
                let Ok(frame) = timeout(Duration::from_millis(patience), frame).await else {
                    call.has_given_up.set(true);
                    return;
                };
                frame
            }
        };
        log.steps.set(log.steps.get() + 1);
        match frame {
            None => {
                call.is_finished.set(true);
                return;
            }
            Some(Err(_)) => return,
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    call.content.borrow_mut().extend_from_slice(&data);
                }
            }
        }
        if plan.slowly > 0 {
            nap(plan.slowly).await;
        }
    }
}

/// The content of a response.
struct Parts {
    left: VecDeque<Bytes>,
    rest: u64,
    resting: Option<Pin<Box<Sleep>>>,
    streams: bool,
    breaks: bool,
    log: Rc<Log>,
    _content: Option<Content>,
}

impl Body for Parts {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if this.rest > 0 {
            let rest = Duration::from_millis(this.rest);
            let resting = this.resting.get_or_insert_with(|| Box::pin(sleep(rest)));
            if resting.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            this.resting = None;
        }
        this.log.steps.set(this.log.steps.get() + 1);
        if this.breaks && this.left.len() <= 1 {
            return Poll::Ready(Some(Err("as planned".into())));
        }
        Poll::Ready(this.left.pop_front().map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        !self.streams && !self.breaks && self.left.iter().all(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        if self.streams {
            SizeHint::default()
        } else {
            SizeHint::with_exact(self.left.iter().map(|part| part.len() as u64).sum())
        }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.log.ended.set(Some(Instant::now()));
    }
}

// What the client makes of the bytes.

#[derive(Debug)]
struct Seen {
    at: usize,
    version: u8,
    status: u16,
    /// Interim responses before it.
    continues: usize,
    /// The request that its handler was called for.
    id: Option<usize>,
    content: Vec<u8>,
    closes: bool,
    is_whole: bool,
    /// Whether the client can tell a part from the whole.
    has_length: bool,
}

/// Every response in these bytes. Only the last may be a part, and of a head only where the
/// connection was cut.
fn responses(out: &[u8], methods: &[&str], is_cut: bool) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut at = 0;
    let mut continues = 0;
    while at < out.len() {
        let rest = &out[at..];
        let Some(len) = rest.windows(4).position(|end| end == b"\r\n\r\n") else {
            assert!(is_cut, "half a head: {:?}", String::from_utf8_lossy(rest));
            break;
        };
        let head = std::str::from_utf8(&rest[..len]).expect("a head is ASCII");
        let mut body = &rest[len + 4..];
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap_or_default();
        let version = match &line[..9] {
            "HTTP/1.0 " => 0,
            "HTTP/1.1 " => 1,
            _ => panic!("no version: {line:?}"),
        };
        let status: u16 = line[9..12].parse().expect("three digits");
        if status == 100 {
            continues += 1;
            at += len + 4;
            continue;
        }
        let fields: Vec<(String, &str)> = lines
            .map(|field| field.split_once(": ").expect("a colon"))
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect();
        let field = |name: &str| {
            let mut named = fields
                .iter()
                .filter(|field| field.0 == name)
                .map(|field| field.1);
            let value = named.next();
            assert!(named.next().is_none(), "{name} is there twice");
            value
        };
        let options = field("connection").unwrap_or_default();
        let has = |option: &str| options.split(", ").any(|other| other == option);
        let mut response = Seen {
            at,
            version,
            status,
            continues,
            id: field("x-id").map(|id| id.parse().expect("a number")),
            content: Vec::new(),
            closes: has("close") || version == 0 && !has("keep-alive"),
            is_whole: true,
            has_length: true,
        };
        continues = 0;
        let method = methods
            .get(seen.len())
            .copied()
            .expect("a request for each response");
        if method == "HEAD" || matches!(status, 204 | 304) {
        } else if field("transfer-encoding").is_some() {
            assert_eq!((field("content-length"), version), (None, 1));
            response.is_whole = false;
            while let Some(end) = body.windows(2).position(|end| end == b"\r\n") {
                let size = std::str::from_utf8(&body[..end]).expect("a size");
                let size = usize::from_str_radix(size, 16).expect("a size");
                let Some((chunk, after)) = body[end + 2..].split_at_checked(size) else {
                    response.content.extend(&body[end + 2..]);
                    body = &[];
                    break;
                };
                response.content.extend(chunk);
                let Some(after) = after.strip_prefix(b"\r\n") else {
                    assert!(b"\r\n".starts_with(after));
                    body = &[];
                    break;
                };
                body = after;
                if size == 0 {
                    response.is_whole = true;
                    break;
                }
            }
            if !response.is_whole {
                body = &[];
            }
        } else if let Some(len) = field("content-length") {
            let len = len.parse().expect("a length");
            let (content, after) = body.split_at_checked(len).unwrap_or((body, &[]));
            response.is_whole = content.len() == len;
            response.content.extend(content);
            body = after;
        } else {
            // To a client of HTTP/1.0 the end of the connection is the end, whatever else is said.
            assert_eq!(version, 0, "content without an end");
            response.closes = true;
            response.has_length = false;
            response.content.extend(body);
            body = &[];
        }
        at = out.len() - body.len();
        seen.push(response);
    }
    seen
}

/// The next schedule of a generator: most of them are of a kind that a client might have.
pub fn schedule(seed: u64) -> String {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut text = String::new();
    if random.one_in(2) {
        for _ in 0..=random.below(4) {
            text += &format!("{} ", random.size());
        }
    }
    if random.one_in(3) {
        text += &format!("pause={} ", random.time());
    }
    if random.one_in(3) {
        text += &format!("room={} ", random.size());
        if random.one_in(2) {
            text += &format!("every={} ", random.time());
        }
    }
    for (word, one_in) in [("park", 4), ("half-close", 3)] {
        if random.one_in(one_in) {
            text.push_str(word);
            text.push(' ');
        }
    }
    if random.one_in(4) {
        text += &format!("reset={}", random.time());
    }
    for _ in 0..=random.below(5) {
        text.push('\n');
        for (word, one_in) in [
            ("post", 2),
            ("head", 12),
            ("old", 12),
            ("keep-alive", 12),
            ("close", 16),
            ("expect", 5),
            ("upgrade", 20),
            ("trailers", 8),
            ("drop", 6),
            ("keep", 8),
            ("keep-forever", 12),
            ("never", 24),
            ("fail", 24),
            ("stream", 4),
            ("break", 16),
        ] {
            if random.one_in(one_in) {
                text.push_str(word);
                text.push(' ');
            }
        }
        for (word, one_in) in [
            ("lines", 16),
            ("fill", 10),
            ("content", 2),
            ("chunked", 5),
            ("missing", 12),
            ("read", 4),
            ("parts", 2),
            ("len", 2),
            ("status", 12),
            ("version", 20),
        ] {
            if random.one_in(one_in) {
                let size = random.size();
                text += &format!("{word}={size} ");
            }
        }
        for (word, one_in) in [
            ("wait", 3),
            ("slowly", 8),
            ("patience", 8),
            ("after", 4),
            ("rest", 6),
        ] {
            if random.one_in(one_in) {
                let time = random.time();
                text += &format!("{word}={time} ");
            }
        }
    }
    text
}

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// Small, or about as large as a buffer.
    fn size(&mut self) -> u64 {
        match self.below(8) {
            0 => self.below(4),
            1..=3 => self.below(100),
            4 => self.below(2000),
            5 => 8191 - 3 + self.below(7),
            6 => self.below(20_000),
            _ => self.below(40_000),
        }
    }

    /// Milliseconds: at once, before and after the limits.
    fn time(&mut self) -> u64 {
        match self.below(8) {
            0 | 1 => 0,
            2..=4 => 1 + self.below(20),
            5 => self.below(3000),
            6 => [9_999, 10_000, 10_001, 29_999, 30_001][self.below(5) as usize],
            _ => self.below(60_000),
        }
    }
}
