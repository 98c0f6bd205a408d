//! An application of one's own on the engine: what its handlers get, and what becomes of their responses.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use resource_server::app::{
    App, Body, BoxError, Bytes, Frame, Method, Request, Response, Route, StatusCode, access_line,
    authenticated, header, health, needs, open, segments,
};
use resource_server::jwt::{Key, Policy, VerifiedClaims, Verifier};
use resource_server::log::Lines;
use resource_server::server::{Limits, Observer, Server, listen, runtime};
use resource_server::shared::{Cached, Shared};
use socket2::SockRef;
use tokio::sync::{Notify, oneshot};

use crate::harness::{Client, PATIENCE, SECRET, eventually, token};

/// A time limit of most servers here that is to be reached.
const SHORT: Duration = Duration::from_millis(400);

/// What a time limit may be late: the processor may be busy.
const LATE: Duration = Duration::from_millis(1500);

/// How long nothing is expected to happen.
const QUIET: Duration = Duration::from_millis(150);

/// What the test and the handlers of every worker share.
#[derive(Default)]
struct World {
    started: AtomicUsize,
    dropped: AtomicUsize,
    finished: AtomicUsize,
    workers: AtomicUsize,
    release: Notify,
}

/// What one worker has.
struct State {
    world: Arc<World>,
    worker: usize,
    requests: Cell<usize>,
}

/// Counts a handler, and whether it is dropped before its end.
struct Guard {
    world: Arc<World>,
    is_finished: bool,
}

impl Guard {
    fn new(request: &Request<State>) -> Self {
        let world = Arc::clone(&request.state().world);
        world.started.fetch_add(1, Ordering::SeqCst);
        Self {
            world,
            is_finished: false,
        }
    }

    fn finish(mut self) {
        self.is_finished = true;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let count = if self.is_finished {
            &self.world.finished
        } else {
            &self.world.dropped
        };
        count.fetch_add(1, Ordering::SeqCst);
    }
}

fn routes<'r>(path: &str, route: Route<'r, State>) -> Route<'r, State> {
    match *segments(path) {
        ["notes"] => route
            .get(needs("notes:read", list))
            .post(needs("notes:write notes:read", create)),
        ["notes", id] => {
            let id = id.to_owned();
            route
                .get(authenticated(|claims, request| note(claims, request, id)))
                .delete(open(gone))
        }
        ["even", number] => {
            let number = number.to_owned();
            route.get(open(move |_: Request<State>| even(&number)))
        }
        ["sum"] => route.post(open(sum)),
        ["echo"] => route.post(open(echo)).put(open(echo)),
        ["ignore"] => route.post(open(ignore)),
        ["wait"] => route
            .get(open(wait))
            .post(open(wait_then_echo))
            .put(open(wait)),
        ["wait", "secret"] => route.get(authenticated(wait_secret)),
        ["count"] => route.get(open(count)),
        ["framing"] => route.get(open(framing)),
        ["broken", how] => {
            let how = how.to_owned();
            route.get(open(|_: Request<State>| broken(&how)))
        }
        ["events", how] => {
            let how = how.to_owned();
            route.get(open(|_: Request<State>| events(&how)))
        }
        ["methods"] => route
            .get(open(health))
            .patch(open(health))
            .on(Method::OPTIONS, open(cors))
            .on(
                Method::from_bytes(b"PURGE").expect("a method"),
                open(health),
            ),
        ["healthz"] => route.get(open(health)),
        ["gate"] => route.gate(None),
        _ => route,
    }
}

async fn list(claims: VerifiedClaims, request: Request<State>) -> Response {
    let user = claims.user().expect("a user").into_owned();
    let query = request.query().unwrap_or("none").to_owned();
    let kind = request.headers().get(header::ACCEPT);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or("any");
    let content = format!(
        "{user} {} {} {query} {kind} {} {:?}",
        request.method(),
        request.path(),
        request.peer().ip(),
        request.version(),
    );
    tokio::task::yield_now().await;
    Response::text(content)
}

async fn create(_: VerifiedClaims, mut request: Request<State>) -> Result<Response, Response> {
    let content = request.content(16).await?;
    if content.is_empty() {
        return Err(Response::error(
            StatusCode::UNPROCESSABLE_ENTITY,
            "empty_note",
            "a note has at least one \"byte\"",
        ));
    }
    Ok(Response::json(content)
        .with_status(StatusCode::CREATED)
        .with(header::LOCATION, "/notes/7")
        .with(header::SET_COOKIE, "a=1")
        .with(header::SET_COOKIE, "b=2"))
}

async fn note(_: VerifiedClaims, _: Request<State>, id: String) -> Response {
    Response::content("text/markdown", id)
}

fn gone(_: Request<State>) -> Response {
    Response::empty(StatusCode::NO_CONTENT)
}

/// A handler that does not wait, and fails by `?`.
fn even(number: &str) -> Result<Response, Box<Response>> {
    let number: u64 = number.parse().map_err(|_| Response::not_found())?;
    Ok(Response::json_from(&number.is_multiple_of(2)))
}

async fn sum(mut request: Request<State>) -> Result<Response, Response> {
    let numbers: Vec<u64> = request.json(16).await?;
    let sum: u64 = numbers.iter().sum();
    Ok(Response::json_from(&BTreeMap::from([("sum", sum)])))
}

async fn echo(mut request: Request<State>) -> Result<Response, Response> {
    let guard = Guard::new(&request);
    let content = request.content(10_000).await?;
    guard.finish();
    Ok(Response::text(content))
}

async fn ignore(_: Request<State>) -> Response {
    Response::text("unread")
}

async fn wait(request: Request<State>) -> Response {
    let guard = Guard::new(&request);
    let world = Arc::clone(&request.state().world);
    world.release.notified().await;
    guard.finish();
    Response::text("waited")
}

async fn wait_secret(_: VerifiedClaims, request: Request<State>) -> Response {
    wait(request).await
}

async fn wait_then_echo(mut request: Request<State>) -> Result<Response, Response> {
    let guard = Guard::new(&request);
    let world = Arc::clone(&request.state().world);
    world.release.notified().await;
    let content = request.content(10_000).await?;
    guard.finish();
    Ok(Response::text(content))
}

fn count(request: Request<State>) -> Response {
    let state = request.state();
    state.requests.set(state.requests.get() + 1);
    Response::text(format!("{} {}", state.worker, state.requests.get()))
}

fn framing(_: Request<State>) -> Response {
    Response::text("hello")
        .with(header::CONTENT_LENGTH, "3")
        .with(header::TRANSFER_ENCODING, "chunked")
        .with(header::CONNECTION, "close")
        .with(header::UPGRADE, "websocket")
        .with(header::TRAILER, "x-trailer")
        .with("x-other", "kept")
}

fn broken(how: &str) -> Response {
    match how {
        "100" => Response::empty(StatusCode::CONTINUE),
        "101" => Response::empty(StatusCode::SWITCHING_PROTOCOLS),
        "204" => Response::text("content").with_status(StatusCode::NO_CONTENT),
        "304" => Response::text("content").with_status(StatusCode::NOT_MODIFIED),
        "name" => Response::text("a").with("not a name", "value"),
        "value" => Response::text("a").with("name", "not\r\na: value"),
        "type" => Response::content("text\n", "a"),
        // JSON has no name that is not a string.
        "json" => Response::json_from(&BTreeMap::from([((1, 2), 3)])),
        _ => Response::text("fine"),
    }
}

fn cors(_: Request<State>) -> Response {
    Response::empty(StatusCode::NO_CONTENT).with("access-control-allow-origin", "*")
}

/// Events: as many as are left, and then the end or nothing.
struct Events {
    left: usize,
    ends: bool,
    /// How long one takes. The worker is busy meanwhile.
    takes: Duration,
}

impl Body for Events {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.left > 0 {
            self.left -= 1;
            thread::sleep(self.takes);
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"data: x\n\n")))))
        } else if self.ends {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    }
}

fn events(how: &str) -> Response {
    let (left, ends, takes) = match how {
        "three" => (3, true, Duration::ZERO),
        "ready" => (usize::MAX, false, Duration::from_millis(1)),
        _ => (2, false, Duration::ZERO),
    };
    let response = Response::stream("text/event-stream", Events { left, ends, takes });
    match how {
        "long" => response.with_limit(PATIENCE * 10),
        _ => response,
    }
}

/// A line for each write.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("a lock").clone()).expect("UTF-8")
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("a lock").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The application on a thread of this process.
struct Own {
    address: SocketAddr,
    world: Arc<World>,
    errors: Written,
    log: Written,
    shutdown: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Own {
    fn start() -> Self {
        Self::with(Limits::default())
    }

    /// A step and an answer take so long at the most.
    fn limited(step_timeout: Duration, answer_timeout: Duration) -> Self {
        Self::with(Limits {
            step_timeout,
            answer_timeout,
            ..Limits::default()
        })
    }

    fn with(limits: Limits) -> Self {
        let (errors, log) = (Written::default(), Written::default());
        let world = Arc::<World>::default();
        let shared = Arc::clone(&world);
        let app = App::new("own", routes, move || {
            Ok(State {
                worker: shared.workers.fetch_add(1, Ordering::SeqCst),
                world: Arc::clone(&shared),
                requests: Cell::new(0),
            })
        });
        let key = Key::new(SECRET.as_bytes()).expect("a secret");
        let verifier = Arc::new(Shared::new(Verifier::new(key, Policy::default())));
        let (shutdown, ends) = oneshot::channel();
        let (report, started) = channel();
        let lines = Lines::new(Box::new(errors.clone()));
        let observed = Mutex::new(log.clone());
        let observer: Observer = Arc::new(move |response| {
            let mut log = observed.lock().expect("a lock");
            writeln!(log, "{}", access_line(response)).expect("memory");
        });
        let thread = thread::spawn(move || {
            let runtime = runtime().expect("a runtime");
            runtime.block_on(async {
                let listener =
                    listen(SocketAddr::from(([127, 0, 0, 1], 0)), &limits).expect("a port");
                let address = listener.local_addr().expect("an address");
                let service = move || app.worker(Cached::new(Arc::clone(&verifier)), true);
                let server = Server::start(limits, service, Some(lines), Some(observer)).await;
                report.send(address).expect("a test");
                let shutdown = async { drop(ends.await) };
                server.expect("workers").serve(listener, shutdown).await;
            });
        });
        Self {
            address: started.recv_timeout(PATIENCE).expect("an address"),
            world,
            errors,
            log,
            shutdown: Some(shutdown),
            thread: Some(thread),
        }
    }

    fn connect(&self) -> Client {
        Client::to(self.address)
    }

    fn get(&self, path: &str, fields: &[&str]) -> crate::harness::Response {
        self.request("GET", path, fields)
    }

    fn request(&self, method: &str, path: &str, fields: &[&str]) -> crate::harness::Response {
        let mut client = self.connect();
        client.request(method, path, fields);
        client.response_to(method)
    }

    fn begin_shutdown(&mut self) {
        drop(self.shutdown.take());
    }

    /// Waits until so many handlers have begun.
    fn started(&self, count: usize) {
        eventually("a handler begins", || {
            self.world.started.load(Ordering::SeqCst) == count
        });
    }

    fn dropped(&self) -> usize {
        self.world.dropped.load(Ordering::SeqCst)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.begin_shutdown();
        self.world.release.notify_waiters();
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || thread::panicking());
        }
    }
}

fn bearer(claims: &str) -> String {
    format!("Authorization: Bearer {}", token(claims))
}

fn assert_nothing_arrives(client: &mut Client) {
    let stream = &mut client.stream;
    stream.set_read_timeout(Some(QUIET)).expect("a timeout");
    let error = stream.read(&mut [0]).expect_err("no byte");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
}

fn assert_took(since: Instant, limit: Duration) {
    let took = since.elapsed();
    assert!(took + Duration::from_millis(50) >= limit, "{took:?}");
    assert!(took < limit + LATE, "{took:?}");
}

#[test]
fn handler_gets_the_head_the_claims_and_the_peer() {
    let own = Own::start();
    let alice = bearer(r#"{"sub":"alice","scope":"notes:read"}"#);
    let response = own.get("/notes?page=2", &[&alice, "Accept: text/plain"]);
    assert_eq!(
        (response.status, &*response.content),
        (200, "alice GET /notes page=2 text/plain 127.0.0.1 HTTP/1.1")
    );
    assert_eq!(
        response.fields(),
        [
            ("cache-control", "no-store"),
            ("content-length", "53"),
            ("content-type", "text/plain; charset=utf-8")
        ]
    );
    // The parts of the path, nothing decoded.
    for (path, id) in [("/notes/7", "7"), ("/notes/%2F", "%2F"), ("/notes/", "")] {
        let response = own.get(path, &[&alice]);
        assert_eq!((response.status, &*response.content), (200, id));
    }
    for path in ["/notes/7/", "/note", "/notes//7", "/Notes"] {
        assert_eq!(own.get(path, &[&alice]).status, 404, "{path}");
    }
}

#[test]
fn response_has_any_status_field_and_content() {
    let own = Own::start();
    let token = bearer(r#"{"sub":"alice","scope":["notes:read","notes:write"]}"#);
    let mut client = own.connect();
    client.request("POST", "/notes", &[&token, "Content-Length: 5"]);
    client.send("\"hi!\"");
    let response = client.response();
    assert_eq!((response.status, &*response.content), (201, "\"hi!\""));
    assert_eq!(response.field("location"), Some("/notes/7"));
    assert_eq!(response.field("content-type"), Some("application/json"));
    assert!(response.head.contains("a=1\r\n") && response.head.contains("b=2\r\n"));
    // An error ends a handler by `?` or `Err`; the connection is kept.
    client.request("POST", "/notes", &[&token]);
    let response = client.response();
    assert_eq!(response.status, 422);
    assert_eq!(response.code().as_deref(), Some("empty_note"));
    assert_eq!(
        response.message().as_deref(),
        Some("a note has at least one \"byte\"")
    );
    client.request("GET", "/notes/7", &[&token]);
    let response = client.response();
    assert_eq!(response.field("content-type"), Some("text/markdown"));
    client.request("DELETE", "/notes/7", &[&token]);
    let response = client.response();
    assert_eq!(response.status, 204);
    assert_eq!(response.fields(), [("cache-control", "no-store")]);
}

#[test]
fn handler_that_does_not_wait_may_return_a_result() {
    let own = Own::start();
    let response = own.request("GET", "/even/4", &[]);
    assert_eq!((response.status, &*response.content), (200, "true"));
    assert_eq!(response.field("content-type"), Some("application/json"));
    let missing = own.request("GET", "/even/four", &[]);
    let no_route = own.request("GET", "/nowhere", &[]);
    assert_eq!(missing.status, 404);
    assert_eq!(missing.fields(), no_route.fields());
    assert_eq!(missing.content, no_route.content);
}

#[test]
fn json_content_is_read_as_the_type_that_the_handler_names() {
    let own = Own::start();
    let mut client = own.connect();
    let mut post = |content: &str| {
        let len = format!("Content-Length: {}", content.len());
        client.request("POST", "/sum", &[&len]);
        client.send(content);
        client.response()
    };
    let response = post("[1, 2, 3]");
    assert_eq!((response.status, &*response.content), (200, r#"{"sum":6}"#));
    assert_eq!(response.field("content-type"), Some("application/json"));
    for (content, place) in [
        ("", "line 1, column 0"),
        ("[1,\n2", "line 2, column 1"),
        ("[1] 2", "line 1, column 5"),
        ("[-1]", "line 1, column 3"),
    ] {
        let response = post(content);
        assert_eq!(response.status, 400, "{content:?}");
        assert_eq!(response.code().as_deref(), Some("bad_request"));
        let message = response.message().expect("a message");
        assert!(message.ends_with(place), "{content:?}: {message}");
        // The content is complete: there is no doubt about the next request.
        assert_eq!(response.field("connection"), None);
    }
    assert_eq!(post("[10, 20, 30, 40]").status, 200);
    assert_eq!(post("[10, 20, 30, 400]").status, 413);
}

#[test]
fn scopes_of_a_route_are_demanded_together_and_per_method() {
    let own = Own::start();
    for (method, scopes, status) in [
        ("GET", "notes:read", 200),
        ("GET", "other notes:read", 200),
        ("GET", "notes:write", 403),
        ("GET", "", 403),
        ("POST", "notes:read", 403),
        ("POST", "notes:write", 403),
        ("POST", "notes:write notes:read", 422),
    ] {
        let claims = format!(r#"{{"sub":"alice","scope":"{scopes}"}}"#);
        let response = own.request(method, "/notes", &[&bearer(&claims)]);
        assert_eq!(response.status, status, "{method} {scopes}");
        assert_eq!(response.field("cache-control"), Some("no-store"));
        if status == 403 {
            assert_eq!(response.code().as_deref(), Some("insufficient_scope"));
            let challenge = response.field("www-authenticate").expect("a challenge");
            let demand = match method {
                "GET" => r#", scope="notes:read""#,
                _ => r#", scope="notes:write notes:read""#,
            };
            assert!(challenge.contains(r#"error="insufficient_scope""#));
            assert!(challenge.ends_with(demand), "{challenge}");
        }
    }
    let response = own.request("POST", "/notes", &[]);
    assert_eq!(response.code().as_deref(), Some("credentials_required"));
}

#[test]
fn head_options_allow_and_no_store_follow_from_the_routes() {
    let own = Own::start();
    for (path, allow, is_protected) in [
        ("/notes", "GET, HEAD, POST, OPTIONS", true),
        ("/notes/7", "GET, HEAD, DELETE, OPTIONS", true),
        ("/echo", "POST, PUT, OPTIONS", false),
        ("/healthz", "GET, HEAD, OPTIONS", false),
    ] {
        let no_store = is_protected.then_some("no-store");
        let response = own.request("OPTIONS", path, &[]);
        assert_eq!(response.status, 204, "{path}");
        assert_eq!(response.field("allow"), Some(allow), "{path}");
        assert_eq!(response.field("cache-control"), no_store, "{path}");
        for method in ["PATCH", "BREW"] {
            let response = own.request(method, path, &[]);
            assert_eq!(response.status, 405, "{path}");
            assert_eq!(response.field("allow"), Some(allow), "{path}");
            assert_eq!(response.field("cache-control"), no_store, "{path}");
            assert_eq!(response.code().as_deref(), Some("method_not_allowed"));
        }
    }
    // Without GET there is no HEAD.
    assert_eq!(own.request("HEAD", "/echo", &[]).status, 405);
    let head = own.request("HEAD", "/healthz", &[]);
    assert_eq!(head.status, 200);
    assert_eq!(head.fields(), own.get("/healthz", &[]).fields());
    // A route may have other methods, and its own OPTIONS.
    assert_eq!(own.request("PURGE", "/methods", &[]).status, 200);
    let response = own.request("OPTIONS", "/methods", &[]);
    assert_eq!(response.field("access-control-allow-origin"), Some("*"));
    let response = own.request("PUT", "/methods", &[]);
    assert_eq!(
        response.field("allow"),
        Some("GET, HEAD, PATCH, PURGE, OPTIONS")
    );
    assert_eq!(
        response.message().as_deref(),
        Some("this resource supports only GET, HEAD, PATCH, PURGE and OPTIONS")
    );
}

/// The check of target and `Host` comes before any handler of any application.
#[test]
fn bad_target_or_host_reaches_no_handler() {
    let own = Own::start();
    for head in [
        "GET /wait HTTP/1.1\r\n\r\n",
        "GET /wait HTTP/1.1\r\nHost: a b\r\n\r\n",
        "CONNECT /wait HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET ftp://a/wait HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let mut client = own.connect();
        client.send(head);
        let response = client.response();
        assert_eq!(response.status, 400, "{head}");
        assert_eq!(response.field("connection"), Some("close"), "{head}");
    }
    assert_eq!(own.world.started.load(Ordering::SeqCst), 0);
    // A gate of one's own has no content, a 400 included.
    let mut client = own.connect();
    client.send("GET /gate HTTP/1.1\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status, &*response.content), (400, ""));
    assert_eq!(response.field("cache-control"), Some("no-store"));
}

#[test]
fn content_up_to_the_limit_is_read() {
    let own = Own::start();
    let content = "x".repeat(10_000);
    let mut client = own.connect();
    for method in ["POST", "PUT"] {
        client.request(method, "/echo", &["Content-Length: 10000"]);
        // In parts, as it may arrive.
        for part in content.as_bytes().chunks(3000) {
            client.send(part);
        }
        let response = client.response();
        assert_eq!(response.status, 200);
        assert_eq!(response.field("connection"), None);
        assert!(response.content == content);
    }
    client.request("POST", "/echo", &["Transfer-Encoding: chunked"]);
    client.send("5\r\nhello\r\n1;a=b\r\n!\r\n0\r\nx-trailer: y\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status, &*response.content), (200, "hello!"));
    // Nothing follows chunked content, which another parser may have read otherwise.
    assert_eq!(response.field("connection"), Some("close"));
    assert!(client.is_closed_within(PATIENCE));
}

#[test]
fn content_over_the_limit_is_413_at_once_or_when_it_is_exceeded() {
    let own = Own::start();
    // Nothing of it is sent, and no interim response comes.
    for expect in ["Expect: 100-continue", "X-Expect: nothing"] {
        let mut client = own.connect();
        client.request("POST", "/echo", &["Content-Length: 10001", expect]);
        let response = client.response();
        assert_eq!(response.status, 413, "{expect}");
        assert_eq!(response.code().as_deref(), Some("content_too_large"));
        assert_eq!(response.field("connection"), Some("close"));
    }
    // A client that sends it all the same is read off: it gets the response, not a reset.
    let mut client = own.connect();
    client.request("POST", "/echo", &["Content-Length: 1000000"]);
    client.send(vec![b'x'; 1_000_000]);
    assert_eq!(client.response().status, 413);
    assert!(client.is_closed_within(PATIENCE));

    let mut client = own.connect();
    client.request("POST", "/echo", &["Transfer-Encoding: chunked"]);
    client.send("1388\r\n");
    client.send(vec![b'x'; 5000]);
    client.send("\r\n1389\r\n");
    client.send(vec![b'x'; 5001]);
    let response = client.response();
    assert_eq!(response.status, 413);
    assert_eq!(response.code().as_deref(), Some("content_too_large"));
    assert_eq!(response.field("connection"), Some("close"));
    client.send("\r\n0\r\n\r\n");
    client.finish_sending();
    assert!(client.is_closed_within(PATIENCE));
}

#[test]
fn late_content_is_408_and_drops_the_handler() {
    let own = Own::limited(SHORT, PATIENCE);
    for sent in ["", "hell"] {
        let dropped = own.dropped();
        let mut client = own.connect();
        client.request("POST", "/echo", &["Content-Length: 5"]);
        client.send(sent);
        let since = Instant::now();
        let response = client.response();
        assert_took(since, SHORT);
        assert_eq!(response.status, 408);
        assert_eq!(response.code().as_deref(), Some("request_timeout"));
        assert_eq!(response.field("connection"), Some("close"));
        assert_eq!(own.dropped(), dropped + 1);
        // What comes later is no request.
        client.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
        client.finish_sending();
        assert!(client.is_closed_within(PATIENCE));
    }
}

/// A byte now and then does not help: the limit is for the content as a whole.
#[test]
fn trickled_content_is_late_as_well() {
    let own = Own::limited(SHORT, PATIENCE);
    let mut client = own.connect();
    client.request("POST", "/echo", &["Content-Length: 1000"]);
    let since = Instant::now();
    let stream = client.stream.try_clone().expect("a descriptor");
    let sending = thread::spawn(move || {
        while (&stream).write_all(b"x").is_ok() && since.elapsed() < SHORT + LATE {
            thread::sleep(Duration::from_millis(20));
        }
    });
    assert_eq!(client.response().status, 408);
    assert_took(since, SHORT);
    drop(client);
    sending.join().expect("no panic");
}

/// The time for content stands still while the handler does something else, and the other way round.
#[test]
fn waiting_handler_is_not_a_slow_client() {
    let own = Own::limited(SHORT, PATIENCE);
    let mut client = own.connect();
    client.request("POST", "/wait", &["Content-Length: 5"]);
    own.started(1);
    thread::sleep(SHORT + QUIET);
    own.world.release.notify_one();
    client.send("hello");
    let response = client.response();
    assert_eq!((response.status, &*response.content), (200, "hello"));

    let own = Own::limited(PATIENCE, SHORT);
    let mut client = own.connect();
    client.request("POST", "/echo", &["Content-Length: 5"]);
    own.started(1);
    thread::sleep(SHORT + QUIET);
    client.send("hello");
    let response = client.response();
    assert_eq!((response.status, &*response.content), (200, "hello"));
}

#[test]
fn malformed_or_unfinished_content_is_400() {
    let own = Own::start();
    for content in ["5\r\nhelloX\r\n", "x\r\n", "-1\r\n", "5\r\nhello\r\n5"] {
        let mut client = own.connect();
        client.request("POST", "/echo", &["Transfer-Encoding: chunked"]);
        client.send(content);
        if content.ends_with('5') {
            client.finish_sending();
        }
        let response = client.response();
        assert_eq!(response.status, 400, "{content:?}");
        assert_eq!(response.code().as_deref(), Some("bad_request"));
        assert_eq!(response.field("connection"), Some("close"));
    }
    let mut client = own.connect();
    client.request("POST", "/echo", &["Content-Length: 5"]);
    client.send("hell");
    client.finish_sending();
    let response = client.response();
    assert_eq!(response.status, 400);
    assert_eq!(response.field("connection"), Some("close"));
    assert!(client.is_closed_within(PATIENCE));
}

#[test]
fn interim_response_is_sent_when_the_handler_asks_and_not_before() {
    let own = Own::start();
    let mut client = own.connect();
    let expect = ["Content-Length: 5", "Expect: 100-continue"];
    client.request("POST", "/wait", &expect);
    own.started(1);
    assert_nothing_arrives(&mut client);
    own.world.release.notify_one();
    assert_eq!(client.response().status, 100);
    client.send("hello");
    let response = client.response();
    assert_eq!((response.status, &*response.content), (200, "hello"));
    // The connection goes on.
    client.request("GET", "/healthz", &[]);
    assert_eq!(client.response().status, 200);
    // A handler that does not ask: no interim response, and the connection closes.
    client.request("POST", "/ignore", &expect);
    let response = client.response();
    assert_eq!((response.status, &*response.content), (200, "unread"));
    assert_eq!(response.field("connection"), Some("close"));
    assert!(client.is_closed_within(PATIENCE));
}

#[test]
fn response_before_the_content_is_complete_is_the_last() {
    let own = Own::start();
    for (path, is_waiting) in [("/ignore", false), ("/wait", true)] {
        let mut client = own.connect();
        let method = if is_waiting { "PUT" } else { "POST" };
        client.request(method, path, &["Content-Length: 100000"]);
        client.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
        if is_waiting {
            own.started(1);
            own.world.release.notify_one();
        }
        let response = client.response();
        assert_eq!(response.status, 200, "{path}");
        assert_eq!(response.field("connection"), Some("close"), "{path}");
        // A lingering close: what still comes is read off, and no byte of it is a head.
        client.send(vec![b'x'; 90_000]);
        client.finish_sending();
        assert!(client.rest().is_empty(), "{path}");
    }
}

#[test]
fn client_that_closes_its_side_still_gets_its_response() {
    let own = Own::start();
    let mut client = own.connect();
    client.request("GET", "/wait", &[]);
    own.started(1);
    client.finish_sending();
    assert_nothing_arrives(&mut client);
    assert_eq!(own.dropped(), 0);
    own.world.release.notify_one();
    assert_eq!(client.response().content, "waited");
    assert_eq!(own.dropped(), 0);
}

#[test]
fn reset_drops_the_handler() {
    let own = Own::start();
    for (count, method) in [(1, "GET"), (2, "POST")] {
        let mut client = own.connect();
        client.request(method, "/wait", &["Content-Length: 0"]);
        own.started(count);
        assert_eq!(own.dropped(), count - 1);
        SockRef::from(&client.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("an option");
        drop(client);
        eventually("the handler is dropped", || own.dropped() == count);
    }
    // One that waits for content too.
    let mut client = own.connect();
    client.request("POST", "/echo", &["Content-Length: 5"]);
    own.started(3);
    SockRef::from(&client.stream)
        .set_linger(Some(Duration::ZERO))
        .expect("an option");
    drop(client);
    eventually("the handler is dropped", || own.dropped() == 3);
}

#[test]
fn late_handler_is_dropped_with_503_and_the_connection_goes_on() {
    let own = Own::limited(PATIENCE, SHORT);
    let mut client = own.connect();
    let alice = bearer(r#"{"sub":"alice"}"#);
    for (count, path, no_store) in [(1, "/wait", None), (2, "/wait/secret", Some("no-store"))] {
        client.request("GET", path, &[&alice]);
        let since = Instant::now();
        let response = client.response();
        assert_took(since, SHORT);
        assert_eq!(response.status, 503, "{path}");
        assert_eq!(response.code().as_deref(), Some("unavailable"));
        assert_eq!(response.field("connection"), None);
        if no_store.is_some() {
            assert_eq!(response.field("cache-control"), no_store, "{path}");
        }
        assert_eq!(own.dropped(), count);
    }
    client.request("GET", "/healthz", &[]);
    assert_eq!(client.response().status, 200);
    assert!(own.log.text().contains(r#""code":"unavailable""#));
}

#[test]
fn framing_fields_of_a_handler_are_removed() {
    let own = Own::start();
    let mut client = own.connect();
    for method in ["GET", "HEAD", "GET"] {
        client.request(method, "/framing", &[]);
        let response = client.response_to(method);
        assert_eq!(
            response.fields(),
            [
                ("content-length", "5"),
                ("content-type", "text/plain; charset=utf-8"),
                ("x-other", "kept")
            ]
        );
        let content = if method == "HEAD" { "" } else { "hello" };
        assert_eq!(response.content, content);
    }
}

#[test]
fn response_that_cannot_be_one_is_500_and_logged() {
    let own = Own::start();
    let mut client = own.connect();
    for how in ["100", "101", "204", "304", "name", "value", "type", "json"] {
        client.request("GET", &format!("/broken/{how}"), &[]);
        let response = client.response();
        assert_eq!(response.status, 500, "{how}");
        assert_eq!(response.code().as_deref(), Some("internal_error"), "{how}");
    }
    client.request("GET", "/broken/not", &[]);
    assert_eq!(client.response().content, "fine");
    eventually("each is logged", || {
        own.errors.text().matches("internal error: ").count() == 8
    });
    assert_eq!(own.log.text().matches(r#""status":500"#).count(), 8);
}

/// The server reads on while a handler waits, and takes no content for a head.
#[test]
fn requests_behind_a_waiting_handler_are_served_in_order() {
    let own = Own::start();
    let mut client = own.connect();
    let nested = "GET /framing HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(format!(
        "POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{nested}\
         GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n\
         GET /wait HTTP/1.1\r\nHost: a\r\n\r\n\
         GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
        nested.len(),
    ));
    own.started(1);
    assert_nothing_arrives(&mut client);
    own.world.release.notify_one();
    assert_eq!(client.response().content, nested);
    assert_eq!(client.response().content, r#"{"message":"ok"}"#);
    own.started(2);
    assert_nothing_arrives(&mut client);
    own.world.release.notify_one();
    assert_eq!(client.response().content, "waited");
    assert_eq!(client.response().status, 404);
    assert_eq!(own.dropped(), 0);
}

#[test]
fn stream_ends_by_itself_with_its_last_chunk() {
    let own = Own::limited(SHORT, PATIENCE);
    let mut client = own.connect();
    client.request("GET", "/events/three", &["Connection: close"]);
    let response = String::from_utf8(client.rest()).expect("UTF-8");
    assert!(response.contains("\r\ncontent-type: text/event-stream\r\n"));
    assert!(response.contains("\r\ntransfer-encoding: chunked\r\n"));
    assert_eq!(response.matches("data: x").count(), 3);
    assert!(response.ends_with("\r\n0\r\n\r\n"), "{response}");
}

/// A stream with nothing to say is not a client that does not read: only its own limit counts.
#[test]
fn stream_is_ended_by_its_limit() {
    let own = Own::limited(Duration::from_millis(100), SHORT);
    let mut client = own.connect();
    client.request("GET", "/events/pending", &[]);
    let since = Instant::now();
    let response = String::from_utf8(client.rest()).expect("UTF-8");
    assert_took(since, SHORT);
    assert_eq!(response.matches("data: x").count(), 2);
    // Nothing takes a part for the whole.
    assert!(!response.ends_with("\r\n0\r\n\r\n"), "{response}");

    // A route may name another limit.
    let mut client = own.connect();
    client.request("GET", "/events/long", &[]);
    thread::sleep(SHORT + QUIET);
    client.stream.set_nonblocking(true).expect("a mode");
    let error = loop {
        match client.stream.read(&mut [0; 4096]) {
            Ok(0) => panic!("the end"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

/// It never waits for its next part, nor for the client.
#[test]
fn stream_that_is_always_ready_leaves_turns_to_its_limit_and_to_others() {
    let own = Own::limited(PATIENCE, SHORT);
    let mut stream = own.connect();
    stream.request("GET", "/events/ready", &[]);
    let since = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| stream.rest());
        let mut other = own.connect();
        other.request("GET", "/healthz", &[]);
        assert_eq!(other.response().status, 200);
    });
    assert_took(since, SHORT);
}

#[test]
fn drain_ends_streams_and_waits_for_handlers() {
    let mut own = Own::start();
    let mut stream = own.connect();
    stream.request("GET", "/events/long", &[]);
    let mut head = [0; 12];
    stream.stream.read_exact(&mut head).expect("a head");
    let mut waiting = own.connect();
    waiting.request("GET", "/wait", &[]);
    own.started(1);
    let since = Instant::now();
    own.begin_shutdown();
    let response = String::from_utf8(stream.rest()).expect("UTF-8");
    assert!(!response.ends_with("\r\n0\r\n\r\n"), "{response}");
    assert!(since.elapsed() < LATE);
    assert_nothing_arrives(&mut waiting);
    own.world.release.notify_one();
    let response = waiting.response();
    assert_eq!(response.content, "waited");
    assert_eq!(response.field("connection"), Some("close"));
    assert_eq!(own.dropped(), 0);
}

#[test]
fn handler_longer_than_the_drain_timeout_is_dropped() {
    let mut own = Own::with(Limits {
        drain_timeout: SHORT,
        ..Limits::default()
    });
    let mut client = own.connect();
    client.request("GET", "/wait", &[]);
    own.started(1);
    let since = Instant::now();
    own.begin_shutdown();
    own.thread
        .take()
        .expect("a thread")
        .join()
        .expect("no panic");
    assert_took(since, SHORT);
    assert_eq!(own.dropped(), 1);
    assert!(client.rest().is_empty());
}

#[test]
fn each_worker_has_a_state_of_its_own() {
    let own = Own::with(Limits {
        workers: 2,
        ..Limits::default()
    });
    assert_eq!(own.world.workers.load(Ordering::SeqCst), 2);
    let mut clients = [own.connect(), own.connect()];
    let mut seen = Vec::new();
    for _ in 0..2 {
        for client in &mut clients {
            client.request("GET", "/count", &[]);
            seen.push(client.response().content);
        }
    }
    seen.sort();
    assert_eq!(seen, ["0 1", "0 2", "1 1", "1 2"]);
}

#[test]
fn state_that_cannot_be_made_ends_the_start() {
    for fails_at in [0, 1] {
        let count = AtomicUsize::new(0);
        let app = App::new(
            "failing",
            |_, route| route,
            move || match count.fetch_add(1, Ordering::SeqCst) {
                call if call == fails_at => Err(io::Error::other("no database")),
                _ => Ok(()),
            },
        );
        let key = Key::new(SECRET.as_bytes()).expect("a secret");
        let verifier = Arc::new(Shared::new(Verifier::new(key, Policy::default())));
        let service = move || app.worker(Cached::new(Arc::clone(&verifier)), false);
        let limits = Limits {
            workers: 2,
            ..Limits::default()
        };
        let runtime = runtime().expect("a runtime");
        let started = runtime.block_on(Server::start(limits, service, None, None));
        let error = started.expect_err("no state");
        assert_eq!(error.to_string(), "no database");
    }
}

#[test]
fn access_log_has_the_user_and_the_code_of_a_handler_that_waits() {
    let own = Own::start();
    let alice = bearer(r#"{"sub":"alice","scope":"notes:read notes:write"}"#);
    own.get("/notes", &[&alice]);
    own.request("POST", "/notes", &[&alice]);
    let log = own.log.text();
    let lines: Vec<_> = log.lines().collect();
    assert!(lines[0].contains(r#""status":200"#), "{log}");
    assert!(lines[0].ends_with(r#","user":"alice"}"#), "{log}");
    assert!(
        lines[1].ends_with(r#","code":"empty_note","rule":"empty_note","user":"alice"}"#),
        "{log}"
    );
}
