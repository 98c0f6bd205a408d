//! The real program on a port of its own, and clients that control each byte they send.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use resource_server::jwt::Key;
use socket2::{Domain, SockRef, Socket, Type};

/// The secret of every test that does not test secrets.
pub const SECRET: &str = "a secret of the tests, 32 bytes or longer";

/// A request to which every server responds with 200.
pub const GET: &[u8] = b"GET /resource HTTP/1.1\r\nHost: test\r\n\r\n";

/// The values of `API_WORKERS` for tests that run with one worker and with several.
pub const WORKERS: [&str; 2] = ["1", "2"];

/// The longest wait for something that happens at once on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The path of the program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_resource-server");

/// Starts the program with these variables and no others.
pub fn command(variables: &[(&str, &str)]) -> Command {
    with_variables(Command::new(PROGRAM), variables)
}

/// As [`command`], from a shell that runs `script`. In the script `$0` is the program's path.
pub fn shell(script: &str, variables: &[(&str, &str)]) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script, PROGRAM]);
    with_variables(shell, variables)
}

/// As [`command`], with at most `count` descriptors.
pub fn with_descriptors(count: &str, variables: &[(&str, &str)]) -> Command {
    shell(&format!("ulimit -n {count}; exec \"$0\""), variables)
}

fn with_variables(mut command: Command, variables: &[(&str, &str)]) -> Command {
    command
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A process; killed when dropped.
#[derive(Debug)]
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Server {
    process: Running,
    pub address: SocketAddr,
    /// What it prints after its `listening on` line.
    pub output: Receiver<String>,
    /// What it prints on standard error.
    pub errors: Receiver<String>,
}

impl Server {
    /// A server with [`SECRET`], on a loopback port that the OS chooses.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// As [`start`](Self::start), with these additional variables.
    pub fn with(variables: &[(&str, &str)]) -> Self {
        let mut all = vec![("API_PORT", "0"), ("JWT_SECRET", SECRET)];
        all.extend(variables);
        Self::spawn(&mut command(&all))
    }

    /// Runs a command that becomes a server, and waits until it listens.
    pub fn spawn(command: &mut Command) -> Self {
        Self::try_spawn(command).expect("a line on standard output")
    }

    /// As [`spawn`](Self::spawn), but returns the status and standard error if the process exits
    /// instead.
    pub fn try_spawn(command: &mut Command) -> Result<Self, (ExitStatus, Vec<String>)> {
        let mut process = Running(command.spawn().expect("the program starts"));
        let output = lines(process.0.stdout.take().expect("a pipe"));
        let errors = lines(process.0.stderr.take().expect("a pipe"));
        let Ok(line) = output.recv_timeout(PATIENCE) else {
            return Err((wait(&mut process.0, PATIENCE), errors.iter().collect()));
        };
        Ok(Self {
            process,
            address: listening_at(&line),
            output,
            errors,
        })
    }

    /// Runs a command that becomes a server on this port without printing that it listens.
    pub fn spawn_silent(command: &mut Command, port: u16) -> Self {
        let server = Self {
            process: Running(command.spawn().expect("the program starts")),
            address: ([127, 0, 0, 1], port).into(),
            output: channel().1,
            errors: channel().1,
        };
        eventually("the server listens", || {
            TcpStream::connect(server.address).is_ok()
        });
        server
    }

    /// Runs a command that becomes a server. The caller reads its standard output after the first
    /// line.
    pub fn spawn_unread(command: &mut Command) -> (Self, ChildStdout) {
        let mut process = Running(command.spawn().expect("the program starts"));
        let mut pipe = process.0.stdout.take().expect("a pipe");
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let mut byte = [0];
            pipe.read_exact(&mut byte).expect("a first line");
            line.extend(byte);
        }
        let server = Self {
            process,
            address: listening_at(&String::from_utf8(line).expect("UTF-8")),
            output: channel().1,
            errors: channel().1,
        };
        (server, pipe)
    }

    pub fn connect(&self) -> Client {
        Client::to(self.address)
    }

    /// One request on a connection of its own: `GET path` with these fields (`Host` is added).
    pub fn get(&self, path: &str, fields: &[&str]) -> Response {
        self.request("GET", path, fields)
    }

    pub fn request(&self, method: &str, path: &str, fields: &[&str]) -> Response {
        let mut client = self.connect();
        client.request(method, path, fields);
        client.response_to(method)
    }

    /// `GET path` with this token.
    pub fn get_with_token(&self, path: &str, token: &str) -> Response {
        self.get(path, &[&format!("Authorization: Bearer {token}")])
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let kill = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.id())])
            .status();
        assert!(kill.expect("a shell").success());
    }

    /// Waits for the process to exit, at most `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        wait(&mut self.process.0, limit)
    }

    /// Ends the server with SIGTERM. Returns how long that took.
    pub fn end(&mut self) -> Duration {
        let stopwatch = Stopwatch::new();
        self.signal("TERM");
        assert_eq!(self.wait(PATIENCE).code(), Some(0));
        stopwatch.took()
    }

    pub fn id(&self) -> u32 {
        self.process.0.id()
    }

    pub fn is_running(&mut self) -> bool {
        self.process.0.try_wait().expect("a child").is_none()
    }

    /// Open file descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.id()))
            .expect("procfs")
            .count()
    }

    /// Processor time used so far, in hundredths of a second.
    pub fn processor_time(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("procfs");
        // The program's name, in parentheses, may hold spaces; 14 and 15 are utime and stime.
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let fields = fields.split_whitespace().skip(11).take(2);
        fields
            .map(|ticks| ticks.parse::<u64>().expect("a number"))
            .sum()
    }

    /// Resident memory in KiB.
    pub fn resident(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("procfs");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .expect("VmRSS");
        line.split_whitespace()
            .nth(1)
            .expect("a figure")
            .parse()
            .expect("a number")
    }
}

/// The address in the line that a server prints first.
fn listening_at(line: &str) -> SocketAddr {
    let address = line.trim_end().strip_prefix("listening on http://");
    let address = address.expect("the first line says where");
    address.parse().expect("an address and a port")
}

/// The outcome of a program that has exited.
#[derive(Debug)]
pub struct Finished {
    /// `None` if a signal ended it.
    pub status: Option<i32>,
    pub output: String,
    pub errors: String,
    pub took: Duration,
}

/// Runs a command that ends by itself, within [`PATIENCE`] or it is killed. Its output must fit
/// into a pipe.
pub fn finish(command: &mut Command) -> Finished {
    let started = Instant::now();
    let mut running = Running(command.spawn().expect("the program starts"));
    let child = &mut running.0;
    let status = wait(child, PATIENCE).code();
    let took = started.elapsed();
    let (mut output, mut errors) = (String::new(), String::new());
    if let Some(pipe) = &mut child.stdout {
        pipe.read_to_string(&mut output).expect("UTF-8");
    }
    if let Some(pipe) = &mut child.stderr {
        pipe.read_to_string(&mut errors).expect("UTF-8");
    }
    Finished {
        status,
        output,
        errors,
        took,
    }
}

/// A loopback port on which nothing listens, and which no other caller gets. It is below the
/// ephemeral ports, so that no connection takes it in the meantime.
pub fn unused_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(97);
    loop {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + offset).expect("below 65536");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Returns whether this machine has IPv6. Not every container does.
pub fn has_ipv6() -> bool {
    TcpListener::bind("[::1]:0").is_ok()
}

/// Waits until a condition holds, at most [`PATIENCE`].
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Runs the cases of a test at the same time, because they mostly wait.
pub fn at_once<T: Send>(cases: impl IntoIterator<Item = T>, run: impl Fn(T) + Sync) {
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| run(case));
        }
    });
}

/// Waits for a process to exit, at most `limit`.
pub fn wait(child: &mut Child, limit: Duration) -> ExitStatus {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status;
        }
        assert!(
            Instant::now() < end,
            "the process has not ended within {limit:?}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

/// The lines from a pipe, read by a separate thread.
pub fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// One connection.
pub struct Client {
    pub stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    pub fn to(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect_timeout(&address, PATIENCE).expect("a connection"))
    }

    /// Connects with a small receive buffer, so that the kernel keeps little of what the client has
    /// not read.
    pub fn with_receive_buffer(address: SocketAddr, len: usize) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(len).expect("a buffer");
        socket.connect(&address.into()).expect("a connection");
        Self::over(socket.into())
    }

    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Self {
            stream,
            received: Vec::new(),
        }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .write_all(bytes.as_ref())
            .expect("the server takes what is sent");
    }

    pub fn request(&mut self, method: &str, path: &str, fields: &[&str]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n");
        for field in fields {
            head.push_str(field);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        self.send(head);
    }

    /// Sends [`GET`] and reads its response.
    pub fn get(&mut self) -> Response {
        self.send(GET);
        let response = self.response();
        assert_eq!(response.status, 200);
        response
    }

    /// Resets the connection.
    pub fn reset(self) {
        let socket = SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("an option");
    }

    pub fn finish_sending(&mut self) {
        self.stream
            .shutdown(Shutdown::Write)
            .expect("an open connection");
    }

    /// Reads one response to a request that was not HEAD.
    pub fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    pub fn response_to(&mut self, method: &str) -> Response {
        self.try_response_to(method)
            .expect("a response before the end of the connection")
    }

    /// `None` if the connection ends before the first byte of a response.
    pub fn try_response_to(&mut self, method: &str) -> Option<Response> {
        let head_len = loop {
            if let Some(at) = self
                .received
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                break at + 4;
            }
            if self.receive() == 0 {
                assert!(
                    self.received.is_empty(),
                    "half a response: {:?}",
                    String::from_utf8_lossy(&self.received)
                );
                return None;
            }
        };
        let head: Vec<u8> = self.received.drain(..head_len).collect();
        let head = String::from_utf8(head).expect("a response's head is ASCII");
        let mut lines = head.trim_end().split("\r\n");
        let status_line = lines.next().expect("a status line");
        let status = status_line
            .split(' ')
            .nth(1)
            .expect("a status")
            .parse()
            .expect("a number");
        let fields: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").expect("a field"))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut response = Response {
            status,
            head,
            fields,
            content: String::new(),
        };
        let has_content = method != "HEAD" && status != 204 && status >= 200;
        let len = if has_content {
            response
                .field("content-length")
                .map_or(0, |len| len.parse().expect("a length"))
        } else {
            0
        };
        while self.received.len() < len {
            assert!(self.receive() > 0, "the connection ends within the content");
        }
        response.content = String::from_utf8(self.received.drain(..len).collect()).expect("UTF-8");
        Some(response)
    }

    /// Everything until the server closes; a reset ends it too.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.receive() > 0 {}
        std::mem::take(&mut self.received)
    }

    /// Returns whether the server closes within `limit` without another byte.
    pub fn is_closed_within(&mut self, limit: Duration) -> bool {
        self.stream
            .set_read_timeout(Some(limit))
            .expect("a timeout");
        let mut byte = [0];
        let closed = match self.stream.read(&mut byte) {
            Ok(0) => true,
            Ok(_) => panic!("another byte instead of the end"),
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        };
        self.stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout");
        closed
    }

    fn receive(&mut self) -> usize {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(len) => {
                self.received.extend_from_slice(&buffer[..len]);
                len
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            // Linux ends a read with a timeout when the process is stopped and continued.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => self.receive(),
            Err(error) => panic!("no response: {error}"),
        }
    }
}

/// One response.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// Status line and fields, as received.
    pub head: String,
    fields: Vec<(String, String)>,
    pub content: String,
}

impl Response {
    /// A field that occurs at most once, by its name in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self
            .fields
            .iter()
            .filter(|(field, _)| field == name)
            .map(|(_, value)| value.as_str());
        let value = values.next();
        assert!(values.next().is_none(), "two fields {name}");
        value
    }

    /// Every field but `Date`, sorted by name.
    pub fn fields(&self) -> Vec<(&str, &str)> {
        assert!(self.field("date").is_some(), "no Date: {}", self.head);
        let mut fields: Vec<_> = self
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|&(name, _)| name != "date")
            .collect();
        fields.sort_unstable();
        fields
    }

    /// The content's member `code`.
    pub fn code(&self) -> Option<String> {
        self.member("code")
    }

    /// The content's member `message`.
    pub fn message(&self) -> Option<String> {
        self.member("message")
    }

    fn member(&self, name: &str) -> Option<String> {
        let content: serde_json::Value = serde_json::from_str(&self.content).ok()?;
        Some(content.get(name)?.as_str()?.to_owned())
    }
}

/// Marsaglia's xorshift, seeded by one step of `SplitMix64`.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64, stream: u64) -> Self {
        let mixed = (seed ^ stream.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_add(1);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        Self((mixed ^ (mixed >> 27)).max(1))
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() >> 16) as usize % end
    }

    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    pub fn millis(&mut self, most: usize) -> Duration {
        Duration::from_micros(self.below(1000 * most + 1) as u64)
    }
}

/// Measures how late the system wakes a thread, until this is dropped.
pub struct Lateness {
    most: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Lateness {
    const NAP: Duration = Duration::from_millis(5);

    pub fn new() -> Self {
        let lateness = Self {
            most: Arc::default(),
            is_over: Arc::default(),
        };
        let (most, is_over) = (Arc::clone(&lateness.most), Arc::clone(&lateness.is_over));
        thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                let since = Instant::now();
                thread::sleep(Self::NAP);
                let late = since.elapsed().saturating_sub(Self::NAP).as_micros();
                most.fetch_max(late as u64, Ordering::Relaxed);
            }
        });
        lateness
    }

    /// Also measures how late the caller's event loop is, until the future is dropped.
    pub async fn of_event_loop(&self) {
        loop {
            let since = Instant::now();
            tokio::time::sleep(Self::NAP).await;
            let late = since.elapsed().saturating_sub(Self::NAP).as_micros();
            self.most.fetch_max(late as u64, Ordering::Relaxed);
        }
    }

    /// Twice the measured lateness: the server may be that late, and so may the client.
    pub fn allowance(&self) -> Duration {
        2 * Duration::from_micros(self.most.load(Ordering::Relaxed))
    }
}

impl Drop for Lateness {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Measures how long something takes, less the lateness of the machine in that time.
pub struct Stopwatch {
    since: Instant,
    lateness: Lateness,
}

impl Stopwatch {
    pub fn new() -> Self {
        Self {
            since: Instant::now(),
            lateness: Lateness::new(),
        }
    }

    pub fn took(&self) -> Duration {
        let elapsed = self.since.elapsed();
        elapsed.saturating_sub(self.lateness.allowance())
    }
}

/// The seed of a random test: from this variable if it is set, otherwise a new one each time.
pub fn seed(variable: &str) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => RandomState::new().hash_one(variable),
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}

/// These claims, signed with [`SECRET`].
pub fn token(claims: &str) -> String {
    Key::new(SECRET.as_bytes()).expect("a secret").sign(claims)
}

/// A token for the subject `alice` that is valid for an hour.
pub fn good_token() -> String {
    token(&format!(r#"{{"sub":"alice","exp":{}}}"#, now() + 3600))
}
