//! The real program on a port and a database of its own, and clients that say exactly which bytes
//! they send.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use resource_server::jwt::Key;
use rusqlite::Connection;
use serde_json::{Value, json};

const SECRET: &str = "a secret of the tests, 32 bytes or longer";

/// How long anything may take that takes no time.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What a busy processor may add to a time limit.
pub const LATE: Duration = Duration::from_secs(1);

/// A database file in a folder of its own, removed when dropped.
pub struct File {
    folder: PathBuf,
}

impl File {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (process, next) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("notes-{process}-{next}"));
        std::fs::create_dir(&folder).expect("a new folder");
        Self { folder }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn path(&self) -> PathBuf {
        self.folder.join("notes.sqlite")
    }

    fn connect(&self) -> Connection {
        Connection::open(self.path()).expect("the database opens")
    }

    /// Every note there is, as its user and its text.
    pub fn notes(&self) -> Vec<(String, String)> {
        let connection = self.connect();
        let mut select = connection
            .prepare("SELECT user, text FROM notes ORDER BY id")
            .expect("the table is there");
        let notes = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        notes.and_then(Iterator::collect).expect("rows")
    }

    pub fn execute(&self, sql: &str) {
        let connection = self.connect();
        connection.busy_timeout(PATIENCE).expect("a timeout");
        connection.execute_batch(sql).expect("SQL");
    }

    /// Locks the database against writers.
    pub fn lock(&self) -> Lock {
        let connection = self.connect();
        connection.busy_timeout(PATIENCE).expect("a timeout");
        connection.execute_batch("BEGIN IMMEDIATE").expect("a lock");
        Lock(connection)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A write of another process that has not ended. Dropped, it is undone.
pub struct Lock(Connection);

impl Lock {
    pub fn release(self) {
        self.0.execute_batch("ROLLBACK").expect("a transaction");
    }
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// What it prints on standard error.
    pub errors: Receiver<String>,
}

impl Server {
    /// With one worker, on a loopback port that the system chooses.
    pub fn start(file: &File, variables: &[(&str, &str)]) -> Self {
        Self::spawn(&mut command(file, variables))
    }

    /// Runs a command that becomes a server, and waits until it listens.
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("the program starts");
        let output = lines(child.stdout.take().expect("a pipe"));
        let errors = lines(child.stderr.take().expect("a pipe"));
        let line = output.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            panic!(
                "the server does not listen: {:?}",
                errors.try_iter().collect::<Vec<_>>()
            )
        });
        let address = line
            .strip_prefix("listening on http://")
            .expect("an address");
        let address = address.parse().expect("an address and a port");
        Self {
            child,
            address,
            errors,
        }
    }

    pub fn connect(&self) -> Client {
        Client::to(self.address)
    }

    /// One request on a connection of its own.
    pub fn get(&self, path: &str, token: &str) -> Response {
        let mut client = self.connect();
        client.send(get(path, token));
        client.response()
    }

    /// One note posted on a connection of its own.
    pub fn post(&self, token: &str, content: impl ToString) -> Response {
        let mut client = self.connect();
        client.send(post(token, content));
        client.response()
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let kill = Command::new("sh").args(["-c", &kill]).status();
        assert!(kill.expect("a shell").success());
    }

    /// Waits for the end of the process, not longer than `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        wait(&mut self.child, limit)
    }

    /// Entries of a folder in procfs: `task` is a thread each, `fd` a descriptor.
    pub fn count(&self, what: &str) -> usize {
        let folder = format!("/proc/{}/{what}", self.child.id());
        std::fs::read_dir(folder).expect("procfs").count()
    }

    pub fn is_listening(&self) -> bool {
        TcpStream::connect_timeout(&self.address, PATIENCE).is_ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program with these variables.
pub fn command(file: &File, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_notes"));
    command
        .env_clear()
        .envs([
            ("API_PORT", "0"),
            ("API_WORKERS", "1"),
            ("JWT_SECRET", SECRET),
        ])
        .env("NOTES_FILE", file.path())
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Waits for the end of a process, not longer than `limit`.
pub fn wait(child: &mut Child, limit: Duration) -> ExitStatus {
    let mut status = None;
    eventually_within(limit, "the process ends", || {
        status = child.try_wait().expect("a child");
        status.is_some()
    });
    status.expect("a status")
}

/// Waits until something is so.
pub fn eventually(what: &str, is_so: impl FnMut() -> bool) {
    eventually_within(PATIENCE, what, is_so);
}

fn eventually_within(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !is_so() {
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// What comes out of a pipe, line by line, read by a thread of its own.
fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
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

/// A token of this user with these scopes, for an hour.
pub fn token(user: &str, scopes: &str) -> String {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    let claims = json!({ "sub": user, "scope": scopes, "exp": since_1970.as_secs() + 3600 });
    let key = Key::new(SECRET.as_bytes()).expect("a secret");
    key.sign(&claims.to_string())
}

/// A token that may do everything.
pub fn full(user: &str) -> String {
    token(user, "notes:read notes:write")
}

/// The content that creates a note.
pub fn note(text: &str) -> Value {
    json!({ "text": text })
}

pub fn get(path: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\n\r\n")
}

pub fn post(token: &str, content: impl ToString) -> String {
    let content = content.to_string();
    let framing = format!("Content-Length: {}", content.len());
    post_head(token, &framing) + &content
}

/// The head of a request to create a note, with this field besides.
pub fn post_head(token: &str, field: &str) -> String {
    format!(
        "POST /notes HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\n\
        Content-Type: application/json\r\n{field}\r\n\r\n"
    )
}

/// One connection.
pub struct Client {
    pub stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    pub fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("a connection");
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

    pub fn finish_sending(&self) {
        self.stream
            .shutdown(Shutdown::Write)
            .expect("an open connection");
    }

    /// Breaks the connection off, with a reset.
    pub fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket
            .set_linger(Some(Duration::ZERO))
            .expect("an open connection");
    }

    /// Reads one response to a request that was not HEAD.
    pub fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    pub fn response_to(&mut self, method: &str) -> Response {
        let head_len = loop {
            let end = self
                .received
                .windows(4)
                .position(|window| window == b"\r\n\r\n");
            if let Some(end) = end {
                break end + 4;
            }
            assert!(self.receive() > 0, "the connection ends before a response");
        };
        let head: Vec<u8> = self.received.drain(..head_len).collect();
        let head = String::from_utf8(head).expect("ASCII");
        let status = head
            .split(' ')
            .nth(1)
            .expect("a status")
            .parse()
            .expect("a number");
        let mut response = Response {
            status,
            head,
            content: String::new(),
        };
        let len = response
            .field("content-length")
            .filter(|_| method != "HEAD");
        let len = len.map_or(0, |len| len.parse().expect("a length"));
        while self.received.len() < len {
            assert!(self.receive() > 0, "the connection ends within the content");
        }
        let content = self.received.drain(..len).collect();
        response.content = String::from_utf8(content).expect("UTF-8");
        response
    }

    /// Everything until the server closes.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.receive() > 0 {}
        std::mem::take(&mut self.received)
    }

    fn receive(&mut self) -> usize {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(len) => {
                    self.received.extend_from_slice(&buffer[..len]);
                    return len;
                }
                // Linux ends a read with a timeout when the process is stopped and continued.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("no response: {error}"),
            }
        }
    }
}

/// One response.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// Status line and fields, as received.
    head: String,
    pub content: String,
}

impl Response {
    /// A field that occurs at most once.
    pub fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.trim_end().split("\r\n").skip(1);
        let mut values = fields
            .filter_map(|line| line.split_once(": "))
            .filter(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value);
        let value = values.next();
        assert!(values.next().is_none(), "two fields {name}");
        value
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.content).unwrap_or_else(|_| panic!("JSON: {self:?}"))
    }

    /// What `Allow` lists, sorted.
    pub fn methods(&self) -> Vec<&str> {
        let mut methods: Vec<_> = self.field("allow").expect("Allow").split(", ").collect();
        methods.sort_unstable();
        methods
    }

    /// The status, and the content's `code`.
    pub fn error(&self) -> (u16, String) {
        let content = self.json();
        assert!(content["message"].is_string(), "a message: {self:?}");
        (
            self.status,
            content["code"].as_str().expect("a code").to_owned(),
        )
    }
}
