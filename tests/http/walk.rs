//! A random walk of clients of every kind, far below the limit of connections and far above it: each
//! complete request that arrives gets a response, or the last response says that the connection
//! closes, and the server loses nothing on the way.
//!
//! A failure names its seed; `WALK_SEED` starts from there, `WALK_SECONDS` walks longer. The plan of
//! every client follows from the seed, what the system makes of it does not.

use std::future::poll_fn;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant as At, sleep, sleep_until};

use crate::harness::{GET, Lateness, Random, Server, eventually, seed};

/// How long a response may take: at a limit of one connection, many clients are ahead.
const RESPONSE_PATIENCE: Duration = Duration::from_secs(40);

/// `API_HEADER_TIMEOUT` and `API_IDLE_TIMEOUT` of these servers.
const STEP: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(3);

/// After how long a full server may close a new connection, an idle one, and one in the middle of a
/// head.
const NEW_REST: Duration = Duration::from_millis(500);
const IDLE_REST: Duration = Duration::from_millis(10);
const HEAD_REST: Duration = Duration::from_secs(1);

/// After how long a full server may reset a connection whose last response is written.
const LINGER_REST: Duration = Duration::from_millis(200);

/// The shortest first piece. Linux loses one of up to three bytes when the listen queue is full: it
/// drops that segment with the handshake, and the SYN cookie of the next one is valid all the same.
const FIRST_LEN: usize = 4;

/// How often the seats are counted on a busy machine.
const ATTEMPTS: usize = 5;

/// What resident memory may grow by in the second of two equal walks, in KiB.
const MOST_GROWTH: u64 = 1024;

#[test]
fn random_walk_at_a_limit_of_one_connection_loses_nothing() {
    walks(1, 4);
}

#[test]
fn random_walk_at_a_limit_of_six_connections_loses_nothing() {
    walks(6, 16);
}

#[test]
fn random_walk_below_the_limit_loses_nothing() {
    walks(200, 60);
}

/// Two equal walks with each of one to three workers, at the same time.
fn walks(seats: usize, clients: usize) {
    let variable = |name| std::env::var(name).ok();
    let seconds = variable("WALK_SECONDS").map_or(3, |text| text.parse().expect("seconds"));
    let seed = seed("WALK_SEED");
    let run = Run {
        seats,
        clients,
        seed,
    };
    let time = Duration::from_secs(seconds) / 2;
    thread::scope(|scope| {
        let runs = [1, 2, 3].map(|workers| (workers, scope.spawn(move || run.all(workers, time))));
        for (workers, run) in runs {
            if let Err(fault) = run.join().expect("no panic") {
                panic!("WALK_SEED={seed}, {seats} connections, {workers} workers: {fault}");
            }
        }
    });
}

#[derive(Clone, Copy)]
struct Run {
    seats: usize,
    clients: usize,
    seed: u64,
}

impl Run {
    fn all(&self, workers: usize, time: Duration) -> Result<(), String> {
        let mut server = Server::with(&[
            ("API_WORKERS", &workers.to_string()),
            ("API_MAX_CONNECTIONS", &self.seats.to_string()),
            ("API_HEADER_TIMEOUT", "2"),
            ("API_IDLE_TIMEOUT", "3"),
        ]);
        let before = server.descriptors();
        let counts = self.walk(server.address, Bound::Until(Instant::now() + time))?;
        eventually("all descriptors are given back", || {
            server.descriptors() <= before
        });
        let resident = server.resident();
        self.walk(server.address, Bound::Counts(&counts))?;
        eventually("all descriptors are given back", || {
            server.descriptors() <= before
        });
        let grown = server.resident().saturating_sub(resident);
        if grown > MOST_GROWTH {
            return Err(format!("{grown} KiB more after {counts:?} connections"));
        }
        println!(
            "{} connections, {workers} workers: twice {} clients, {resident} KiB, then {grown} more",
            self.seats,
            counts.iter().sum::<u64>(),
        );
        // A head that waits for a seat gets one when another head is cut: a busy machine may need
        // several attempts, and a seat that is lost fails each of them.
        let are_free = (0..ATTEMPTS).any(|_| {
            eventually("all descriptors are given back", || {
                server.descriptors() <= before
            });
            self.seats_are_free(&server)
        });
        if !are_free {
            return Err(format!("not {} seats in {ATTEMPTS} attempts", self.seats));
        }
        self.places_are_free(&server)?;
        server.signal("TERM");
        if server.wait(Duration::from_secs(2)).code() != Some(0) {
            return Err("the exit status is not 0".into());
        }
        Ok(())
    }

    /// Whether as many connections as seats, all of them in the middle of a head, are all served before
    /// a head may be cut: the last one is served while the others hold theirs.
    fn seats_are_free(&self, server: &Server) -> bool {
        let _before = server.errors.try_iter().count();
        let since = Instant::now();
        let mut halves: Vec<_> = (0..self.seats)
            .map(|_| {
                let mut client = server.connect();
                client.send(&GET[..20]);
                client
            })
            .collect();
        let are_served = halves.iter_mut().rev().all(|client| {
            let sent = client.stream.write_all(&GET[20..]);
            let response = sent.ok().and_then(|()| client.try_response_to("GET"));
            response.is_some_and(|response| response.status == 200)
        });
        are_served && since.elapsed() < HEAD_REST && server.errors.try_iter().next().is_none()
    }

    /// As many silent connections as places wait beside the seats.
    fn places_are_free(&self, server: &Server) -> Result<(), String> {
        let mut silent: Vec<_> = (0..self.seats).map(|_| server.connect()).collect();
        // A connection without a place takes that of the longest-silent one.
        thread::sleep(NEW_REST + Duration::from_millis(100));
        for (number, client) in silent.iter_mut().enumerate() {
            client.request("GET", "/resource", &["Connection: close"]);
            if client.try_response_to("GET").is_none() {
                return Err(format!("silent connection {number} had no place"));
            }
        }
        Ok(())
    }

    /// Clients at the same time, each with one connection after another. Returns how many each had.
    fn walk(&self, address: SocketAddr, bound: Bound<'_>) -> Result<Vec<u64>, String> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .expect("a runtime");
        let is_full = self.clients > self.seats;
        let lateness = Rc::new(Lateness::new());
        let fault = Rc::new(std::cell::RefCell::new(None));
        LocalSet::new().block_on(&runtime, async {
            // With many clients on it, it may read later than the server waits.
            let event_loop = Rc::clone(&lateness);
            spawn_local(async move { event_loop.of_event_loop().await });
            let tasks: Vec<_> = (0..self.clients)
                .map(|client| {
                    let fault = Rc::clone(&fault);
                    let lateness = Rc::clone(&lateness);
                    let mut plans = Random::new(self.seed, client as u64);
                    let (until, count) = match &bound {
                        Bound::Until(end) => (Some(*end), u64::MAX),
                        Bound::Counts(counts) => (None, counts[client]),
                    };
                    spawn_local(async move {
                        let mut number = 0;
                        while number < count
                            && until.is_none_or(|end| Instant::now() < end)
                            && fault.borrow().is_none()
                        {
                            let plan = Random::new(plans.next(), 0);
                            if let Err(found) = connection(address, plan, is_full, &lateness).await
                            {
                                let at = format!("client {client}, connection {number}: {found}");
                                fault.borrow_mut().get_or_insert(at);
                            }
                            number += 1;
                        }
                        number
                    })
                })
                .collect();
            let mut counts = Vec::new();
            for task in tasks {
                counts.push(task.await.expect("no panic"));
            }
            match fault.borrow_mut().take() {
                Some(fault) => Err(fault),
                None => Ok(counts),
            }
        })
    }
}

enum Bound<'a> {
    Until(Instant),
    Counts(&'a [u64]),
}

/// One request, and when it was sent.
struct Sent {
    method: &'static str,
    status: u16,
    /// A part of the content of its response.
    content: &'static str,
    /// Where its head begins, and its head and its content end, in all that the client sends.
    begin: usize,
    head_end: usize,
    end: usize,
    /// When the client began to send the first byte, and when it had sent it.
    begun: Option<(Instant, Instant)>,
    has_head: Option<Instant>,
    /// When the client began to send the last byte.
    complete: Option<Instant>,
}

struct Taken {
    status: u16,
    is_last: bool,
}

/// A client's view of its connection.
struct Wire {
    stream: TcpStream,
    /// Its receive buffer is smaller than what the server may write at once. Linux sends a segment of
    /// loopback, which may have 64 KiB, only if all of it fits in the window, and a smaller one when
    /// its probe timer ends, after 200 ms at the earliest: the server sees a client that takes nothing.
    has_small_buffer: bool,
    connected: Instant,
    /// All that is to be sent, and how much of it is.
    out: Vec<u8>,
    written: usize,
    requests: Vec<Sent>,
    received: Vec<u8>,
    responses: Vec<Taken>,
    /// Why there is no more to read.
    end: Option<&'static str>,
    ended: Instant,
    /// At most so many bytes at a time, and how often.
    read_len: usize,
    read_pause: Duration,
    reads_at: Instant,
    /// How long it has not read.
    looked_away: Duration,
    fault: Option<String>,
}

/// One connection from beginning to end.
async fn connection(
    address: SocketAddr,
    mut random: Random,
    is_full: bool,
    lateness: &Lateness,
) -> Result<(), String> {
    let connected = Instant::now();
    let mut wire = Wire::connect(address, random.one_in(8)).await?;
    wire.connected = connected;
    match random.below(20) {
        0..=9 => wire.ask(&mut random).await?,
        10..=11 => wire.ask_and_close_its_side(&mut random).await?,
        12 => wire.go_in_the_middle(&mut random).await,
        13 => wire.say_nothing(&mut random).await?,
        14 => wire.send_half_a_head(&mut random).await?,
        15 => wire.never_read(&mut random).await,
        16..=17 => wire.upload(&mut random).await?,
        18 => wire.expect_or_upgrade(&mut random).await?,
        _ => wire.send_what_is_not_http(&mut random).await?,
    }
    wire.check(is_full, lateness.allowance())
}

impl Wire {
    async fn connect(address: SocketAddr, has_small_buffer: bool) -> Result<Self, String> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        if has_small_buffer {
            socket.set_recv_buffer_size(2048).expect("a buffer");
        }
        socket.set_tcp_nodelay(true).expect("no delay");
        socket.set_nonblocking(true).expect("a mode");
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(115) => {
                return Err(format!("no connection: {error}"));
            }
            _ => {}
        }
        let stream = TcpStream::from_std(socket.into()).expect("a runtime");
        let mut end = pin!(sleep(RESPONSE_PATIENCE));
        let is_connected = poll_fn(|cx| {
            if end.as_mut().poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            stream.poll_write_ready(cx).map(|_| true)
        })
        .await;
        if !is_connected {
            return Err(format!("no connection within {RESPONSE_PATIENCE:?}"));
        }
        let now = Instant::now();
        Ok(Self {
            stream,
            has_small_buffer,
            connected: now,
            out: Vec::new(),
            written: 0,
            requests: Vec::new(),
            received: Vec::new(),
            responses: Vec::new(),
            end: None,
            ended: now,
            read_len: 65536,
            read_pause: Duration::ZERO,
            reads_at: now,
            looked_away: Duration::ZERO,
            fault: None,
        })
    }

    /// Reads and writes once, or waits until `until`.
    async fn step(&mut self, limit: usize, until: Instant) {
        let mut timer = pin!(sleep_until(At::from_std(until)));
        let mut pause = pin!(sleep_until(At::from_std(self.reads_at.min(until))));
        poll_fn(|cx| {
            if pause.as_mut().poll(cx).is_ready()
                && Instant::now() >= self.reads_at
                && self.stream.poll_read_ready(cx).is_ready()
            {
                let mut buffer = vec![0; self.read_len];
                match self.stream.try_read(&mut buffer) {
                    Ok(0) => self.ends("closed"),
                    Ok(len) => {
                        self.received.extend_from_slice(&buffer[..len]);
                        self.look_away(self.read_pause);
                        self.parse();
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Err(_) => self.ends("reset"),
                }
                return Poll::Ready(());
            }
            if self.written < limit && self.stream.poll_write_ready(cx).is_ready() {
                let begin = Instant::now();
                match self.stream.try_write(&self.out[self.written..limit]) {
                    Ok(len) => self.has_written(len, begin),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    // There may be something to read.
                    Err(_) => self.out.truncate(self.written),
                }
                return Poll::Ready(());
            }
            timer.as_mut().poll(cx)
        })
        .await;
    }

    fn ends(&mut self, how: &'static str) {
        self.end = Some(how);
        self.ended = Instant::now();
    }

    fn has_written(&mut self, len: usize, begin: Instant) {
        let now = Instant::now();
        let (from, to) = (self.written, self.written + len);
        self.written = to;
        let is_here = |at: usize| (from..to).contains(&at);
        for request in &mut self.requests {
            if is_here(request.begin) {
                request.begun = Some((begin, now));
            }
            if is_here(request.head_end - 1) {
                request.has_head = Some(now);
            }
            if is_here(request.end - 1) {
                request.complete = Some(begin);
            }
        }
    }

    /// Sends all that is to be sent, in pieces; reads meanwhile.
    async fn send(&mut self, random: &mut Random) {
        let is_whole = random.one_in(2);
        // Few pieces of many bytes, or many of few.
        let left = self.out.len() - self.written;
        let most = random.pick(&[3, 50, 700, 9000]).max(left / 30);
        while self.written < self.out.len() && self.end.is_none() {
            let limit = if is_whole {
                self.out.len()
            } else {
                let end = self.written + 1 + random.below(most);
                end.max(FIRST_LEN).min(self.out.len())
            };
            let since = Instant::now();
            while self.written < limit && limit <= self.out.len() && self.end.is_none() {
                self.step(limit, since + RESPONSE_PATIENCE).await;
                if since.elapsed() >= RESPONSE_PATIENCE {
                    self.fault = Some("takes nothing more".into());
                    return;
                }
            }
            if random.one_in(most.min(20)) {
                let pause = random.pick(&[0, 1, 3, 20]);
                self.rest(random.millis(pause)).await;
            }
        }
    }

    fn look_away(&mut self, time: Duration) {
        self.reads_at = Instant::now() + time;
        self.looked_away += time;
    }

    /// Reads what comes for so long.
    async fn rest(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while self.end.is_none() && Instant::now() < until {
            self.step(0, until).await;
        }
    }

    /// Reads until every request has its response, or the connection ends.
    async fn take(&mut self) -> Result<(), String> {
        let until = Instant::now() + RESPONSE_PATIENCE;
        while self.end.is_none() && self.responses.len() < self.requests.len() {
            if self.fault.is_some() {
                break;
            }
            if Instant::now() >= until {
                return Err(format!("no response: {}", self.describe()));
            }
            self.step(0, until).await;
        }
        Ok(())
    }

    /// Reads until the connection ends.
    async fn drain(&mut self) -> Result<(), String> {
        let until = Instant::now() + RESPONSE_PATIENCE;
        while self.end.is_none() {
            if Instant::now() >= until {
                return Err(format!("not closed: {}", self.describe()));
            }
            self.step(0, until).await;
        }
        Ok(())
    }

    fn has_last(&self) -> bool {
        self.responses
            .last()
            .is_some_and(|response| response.is_last)
    }

    /// Several rounds of requests, each with its responses.
    async fn ask(&mut self, random: &mut Random) -> Result<(), String> {
        match random.below(6) {
            0 => (self.read_len, self.read_pause) = (200 + random.below(2000), random.millis(3)),
            1 => self.look_away(random.millis(400)),
            _ => {}
        }
        let rounds = 1 + random.below(5);
        for _ in 0..rounds {
            if random.one_in(3) {
                let pause = random.pick(&[2, 9, 30, 300]);
                self.rest(random.millis(pause)).await;
            }
            let most = random.pick(&[1, 1, 4, 200]);
            for _ in 0..=random.below(most) {
                self.add(random);
            }
            self.send(random).await;
            self.take().await?;
            if self.end.is_some() || self.has_last() {
                break;
            }
        }
        if self.has_last() {
            if random.one_in(2) {
                self.drain().await?;
            } else if random.one_in(2) {
                self.rest(random.millis(100)).await;
            }
        }
        Ok(())
    }

    async fn ask_and_close_its_side(&mut self, random: &mut Random) -> Result<(), String> {
        let most = random.pick(&[1, 3, 100]);
        for _ in 0..=random.below(most) {
            self.add(random);
        }
        if random.one_in(3) {
            self.look_away(random.millis(300));
        }
        self.send(random).await;
        // An error means that the server has gone.
        let _ = SockRef::from(&self.stream).shutdown(std::net::Shutdown::Write);
        self.drain().await
    }

    /// Resets or closes in the middle of a head, of content or of the responses.
    async fn go_in_the_middle(&mut self, random: &mut Random) {
        for _ in 0..=random.below(30) {
            self.add(random);
        }
        let len = random.below(self.out.len());
        self.out.truncate(len + 1);
        self.send(random).await;
        self.rest(random.millis(5)).await;
        self.leave(random);
    }

    fn leave(&mut self, random: &mut Random) {
        if random.one_in(2) {
            let socket = SockRef::from(&self.stream);
            socket.set_linger(Some(Duration::ZERO)).expect("a reset");
        }
        // It misses no response that it does not wait for.
        self.requests.truncate(self.responses.len());
        self.received.clear();
    }

    /// May send a request at the end.
    async fn say_nothing(&mut self, random: &mut Random) -> Result<(), String> {
        let most = random.pick(&[400, 1200]);
        self.rest(random.millis(most)).await;
        if random.one_in(2) {
            self.add(random);
            self.send(random).await;
            self.take().await?;
        }
        Ok(())
    }

    /// May send the rest after a while.
    async fn send_half_a_head(&mut self, random: &mut Random) -> Result<(), String> {
        if random.one_in(2) {
            self.add(random);
        }
        self.add(random);
        let whole = self.out.clone();
        let last = self.requests.last().expect("one");
        let cut = last.begin + 1 + random.below(last.head_end - last.begin - 1);
        let cut = cut.max(FIRST_LEN);
        self.out.truncate(cut);
        self.send(random).await;
        let most = random.pick(&[100, 100, 600, 2500]);
        self.rest(random.millis(most)).await;
        if random.one_in(4) {
            self.leave(random);
            return Ok(());
        }
        if self.out.len() == cut {
            self.out = whole;
        }
        self.send(random).await;
        self.take().await
    }

    /// Sends requests until the server takes no more.
    async fn never_read(&mut self, random: &mut Random) {
        for _ in 0..1000 {
            self.add_plain(random);
        }
        let most = if random.one_in(10) { 2500 } else { 300 };
        let until = Instant::now() + random.millis(most);
        self.look_away(until - Instant::now());
        while self.written < self.out.len() && Instant::now() < until {
            self.step(self.out.len(), until).await;
        }
        self.leave(random);
    }

    async fn upload(&mut self, random: &mut Random) -> Result<(), String> {
        let most = random.pick(&[20, 7000, 300_000]);
        let len = 1 + random.below(most);
        if random.one_in(4) {
            self.add_plain(random);
        }
        if random.one_in(3) {
            // Looks for the response when all is sent.
            self.look_away(random.millis(200));
        }
        self.add_upload(random, len, "");
        let is_whole = !random.one_in(4);
        if !is_whole {
            let head_end = self.requests.last().expect("one").head_end;
            self.out.truncate(head_end + random.below(len));
        }
        self.send(random).await;
        self.take().await?;
        if is_whole && !self.has_last() {
            self.add(random);
            self.send(random).await;
            self.take().await?;
        }
        Ok(())
    }

    async fn expect_or_upgrade(&mut self, random: &mut Random) -> Result<(), String> {
        if random.one_in(2) {
            let len = 1 + random.below(20_000);
            self.add_upload(random, len, "Expect: 100-continue\r\n");
            let whole = self.out.clone();
            let head_end = self.requests.last().expect("one").head_end;
            self.out.truncate(head_end);
            self.send(random).await;
            if random.one_in(2) {
                self.take().await?;
            } else if self.out.len() == head_end {
                self.out = whole;
                self.send(random).await;
            }
            return self.take().await;
        }
        let before = random.pick(&[0, 1, 300]);
        for _ in 0..before {
            self.add_plain(random);
        }
        self.push(
            "GET",
            200,
            "Public",
            b"GET /resource HTTP/1.1\r\nHost: test\r\nConnection: Upgrade, HTTP2-Settings\r\n\
            Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
            0,
        );
        if random.one_in(3) {
            self.look_away(random.millis(200));
        }
        for _ in 0..random.below(3) {
            self.add_plain(random);
        }
        self.send(random).await;
        self.take().await
    }

    /// Gets the responses to the requests before, then 400 or 431, then the end.
    async fn send_what_is_not_http(&mut self, random: &mut Random) -> Result<(), String> {
        for _ in 0..random.below(3) {
            self.add_plain(random);
        }
        match random.below(4) {
            0 => self.push("GET", 400, "", b"Hello, is this HTTP?\r\n\r\n", 0),
            1 => self.push("GET", 400, "", b"GET /resource HTTP/1.1\r\n\r\n", 0),
            2 => self.push(
                "GET",
                400,
                "",
                b"GET /resource HTTP/1.1\r\nHost: a\r\nx y: z\r\n\r\n",
                0,
            ),
            _ => {
                let long = format!(
                    "GET /resource HTTP/1.1\r\nHost: a\r\nField: {}",
                    "x".repeat(17_000 + random.below(3000))
                );
                self.push("GET", 431, "", long.as_bytes(), 0);
            }
        }
        self.send(random).await;
        self.take().await?;
        self.drain().await
    }

    /// Any request, without content.
    fn add(&mut self, random: &mut Random) {
        let path = random.pick(&[
            "/resource",
            "/healthz",
            "/nothing",
            "/resource/secret",
            "/auth",
        ]);
        let (status, content) = match path {
            "/resource" => (200, "Public resource"),
            "/healthz" => (200, "ok"),
            "/nothing" => (404, "not_found"),
            "/auth" => (401, ""),
            _ => (401, "credentials_required"),
        };
        let (method, status, content) = match random.below(8) {
            0 => ("HEAD", status, ""),
            1 if !matches!(path, "/nothing" | "/auth") => ("OPTIONS", 204, ""),
            2 if !matches!(path, "/nothing" | "/auth") => ("DELETE", 405, "method_not_allowed"),
            _ => ("GET", status, content),
        };
        let mut head = format!(
            "{method} {path}?{} HTTP/1.1\r\nHost: test\r\n",
            self.requests.len()
        );
        match random.below(20) {
            0 => head.push_str("Connection: close\r\n"),
            1 => {
                // Up to the longest there may be.
                let len = random.pick(&[500, 8000, 16_384 - head.len() - 11]);
                let len = if random.one_in(3) {
                    len
                } else {
                    random.below(len)
                };
                head.push_str(&format!("Field: {}\r\n", "x".repeat(len)));
            }
            _ => {}
        }
        head.push_str("\r\n");
        self.push(method, status, content, head.as_bytes(), 0);
    }

    fn add_plain(&mut self, random: &mut Random) {
        let (path, content) = random.pick(&[("/resource", "Public"), ("/healthz", "ok")]);
        let head = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
        self.push("GET", 200, content, head.as_bytes(), 0);
    }

    fn add_upload(&mut self, random: &mut Random, len: usize, field: &str) {
        let (method, path, status, content) = random.pick(&[
            ("POST", "/resource", 405, "method_not_allowed"),
            ("PUT", "/auth", 401, ""),
            ("GET", "/resource", 200, "Public"),
            ("POST", "/nothing", 404, "not_found"),
        ]);
        let is_chunked = random.one_in(4);
        let framing = if is_chunked {
            "Transfer-Encoding: chunked".into()
        } else {
            format!("Content-Length: {len}")
        };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n{field}{framing}\r\n\r\n");
        let mut bytes = head.clone().into_bytes();
        if is_chunked {
            bytes.extend(format!("{len:x}\r\n").bytes());
        }
        bytes.extend(std::iter::repeat_n(b'c', len));
        if is_chunked {
            bytes.extend(b"\r\n0\r\n\r\n");
        }
        self.push(method, status, content, &bytes, bytes.len() - head.len());
    }

    fn push(
        &mut self,
        method: &'static str,
        status: u16,
        content: &'static str,
        bytes: &[u8],
        content_len: usize,
    ) {
        let begin = self.out.len();
        self.out.extend_from_slice(bytes);
        self.requests.push(Sent {
            method,
            status,
            content,
            begin,
            head_end: self.out.len() - content_len,
            end: self.out.len(),
            begun: None,
            has_head: None,
            complete: None,
        });
    }

    /// Takes whole responses out of what was received, each for the next request.
    fn parse(&mut self) {
        while let Some(at) = self
            .received
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
        {
            let head = String::from_utf8_lossy(&self.received[..at + 4]).to_ascii_lowercase();
            let Some(request) = self.requests.get(self.responses.len()) else {
                self.fault = Some(format!("one response too many: {head}"));
                return;
            };
            let status = head.get(9..12).and_then(|status| status.parse().ok());
            let Some(status) = status else {
                self.fault = Some(format!("not a response: {head}"));
                return;
            };
            let field = |name: &str| {
                let (_, rest) = head.split_once(&format!("\r\n{name}: "))?;
                rest.split("\r\n").next()
            };
            let len = if request.method == "HEAD" || status == 204 {
                0
            } else {
                field("content-length").map_or(0, |len| len.parse().expect("a length"))
            };
            if self.received.len() < at + 4 + len {
                return;
            }
            let content = String::from_utf8_lossy(&self.received[at + 4..at + 4 + len]);
            if status != request.status || !content.contains(request.content) {
                self.fault = Some(format!(
                    "response {} is not of {} with {}: {head}{content}",
                    self.responses.len(),
                    request.method,
                    request.status
                ));
                return;
            }
            if self.has_last() {
                self.fault = Some(format!("a response after the last: {head}"));
                return;
            }
            let is_last = field("connection") == Some("close") || matches!(status, 400 | 431);
            self.responses.push(Taken { status, is_last });
            self.received.drain(..at + 4 + len);
        }
    }

    fn describe(&self) -> String {
        let next = self.requests.get(self.responses.len());
        format!(
            "small buffer: {}, read {} each {:?}, away {:?}, {:?} since connect, ended {:?} after last request; {} responses ({:?}) to {} requests, {} of {} bytes sent, {:?}, next {:?}, {} bytes left over",
            self.has_small_buffer,
            self.read_len,
            self.read_pause,
            self.looked_away,
            self.connected.elapsed(),
            self.requests
                .iter()
                .rev()
                .find_map(|sent| sent.complete)
                .map(|at| self.ended.saturating_duration_since(at)),
            self.responses.len(),
            self.responses.last().map(|response| response.status),
            self.requests.len(),
            self.written,
            self.out.len(),
            self.end,
            next.map(|next| (
                next.method,
                next.status,
                next.begin,
                next.head_end,
                next.end
            )),
            self.received.len(),
        )
    }

    /// Whether every complete request has its response, or there is a reason why it has none.
    fn check(&self, is_full: bool, late: Duration) -> Result<(), String> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let Some(next) = self.requests.get(self.responses.len()) else {
            return Ok(());
        };
        let (Some(_), None) = (
            self.end,
            self.responses.last().filter(|response| response.is_last),
        ) else {
            // It left by itself, or its last response was marked as such.
            return Ok(());
        };
        // It may have been reset while it had responses to take: the first one at the earliest.
        let limit = if is_full { LINGER_REST } else { STEP };
        let waited = self.requests.iter().find_map(|sent| sent.complete);
        if self.end == Some("reset")
            && waited.is_some_and(|since| self.ended - since >= limit)
            && (self.has_small_buffer || self.looked_away + late >= LINGER_REST / 2)
        {
            return Ok(());
        }
        if !self.received.is_empty() {
            return Err(format!("half a response: {}", self.describe()));
        }
        let (Some((begin, begun)), Some(has_head), Some(_)) =
            (next.begun, next.has_head, next.complete)
        else {
            return Ok(());
        };
        // All times are the client's, and include what the server sees.
        let (quiet, rest) = match self.responses.len().checked_sub(1) {
            Some(last) => (self.requests[last].complete, IDLE_REST),
            None => (Some(self.connected), NEW_REST),
        };
        let quiet = quiet.map_or(Duration::ZERO, |since| begun - since);
        let head = has_head - begin;
        let is_excused = if is_full {
            quiet >= rest || head >= HEAD_REST
        } else {
            quiet >= IDLE || head >= STEP
        };
        if is_excused {
            return Ok(());
        }
        Err(format!(
            "no response {quiet:?} after the request before, {head:?} for the head: {}",
            self.describe()
        ))
    }
}
