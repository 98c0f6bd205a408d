//! A router over real sockets: its handlers work, and the engine's limits hold.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum_on_the_engine::OnEngine;
use resource_server::server::{Limits, Server, listen, runtime};
use tokio::sync::oneshot;

const PATIENCE: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(300);

fn router() -> Router {
    Router::new()
        .route(
            "/hello/{name}",
            get(|Path(name): Path<String>| async move { format!("hello, {name}") }),
        )
        .route("/echo", post(|content: String| async move { content }))
        .route(
            "/teapot",
            get(|| async { (StatusCode::IM_A_TEAPOT, [("x-kind", "tea")], "short") }),
        )
        .route(
            "/never",
            get(|| async { std::future::pending::<()>().await }),
        )
        .layer(DefaultBodyLimit::max(1024))
}

/// Serves until the sender is dropped.
fn start() -> (SocketAddr, oneshot::Sender<()>, thread::JoinHandle<()>) {
    let (shutdown, ends) = oneshot::channel();
    let (report, started) = channel();
    let limits = Limits {
        answer_timeout: SHORT,
        step_timeout: SHORT,
        ..Limits::default()
    };
    let thread = thread::spawn(move || {
        runtime().expect("a runtime").block_on(async {
            let listener = listen(([127, 0, 0, 1], 0).into(), &limits).expect("a port");
            let service = || Ok(OnEngine(router()));
            let server = Server::start(limits, service, None, None)
                .await
                .expect("a worker");
            report
                .send(listener.local_addr().expect("an address"))
                .expect("a test");
            server.serve(listener, async { drop(ends.await) }).await;
        });
    });
    (
        started.recv_timeout(PATIENCE).expect("a server"),
        shutdown,
        thread,
    )
}

/// Sends these bytes; all that comes back until the end.
fn exchange(address: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
        .write_all(bytes.as_bytes())
        .expect("a server that reads");
    let mut received = String::new();
    stream
        .read_to_string(&mut received)
        .expect("UTF-8 and an end");
    received
}

fn status(response: &str) -> &str {
    response.get(9..12).expect("a status line")
}

#[test]
fn router_is_served_within_the_limits_of_the_engine() {
    let (address, shutdown, thread) = start();
    let end = "Host: a\r\nConnection: close\r\n\r\n";
    let response = exchange(address, &format!("GET /hello/you HTTP/1.1\r\n{end}"));
    assert_eq!(status(&response), "200");
    assert!(response.ends_with("\r\n\r\nhello, you"), "{response}");
    let response = exchange(address, &format!("GET /teapot HTTP/1.1\r\n{end}"));
    assert_eq!(status(&response), "418");
    assert!(response.contains("x-kind: tea\r\n"), "{response}");
    let post = format!("POST /echo HTTP/1.1\r\nContent-Length: 5\r\n{end}");
    let response = exchange(address, &format!("{post}hello"));
    assert!(response.ends_with("\r\n\r\nhello"), "{response}");

    // Content too large is the router's, and closes the connection, as more of it may come; late content, a
    // late handler and a slow head are the engine's.
    let content = "x".repeat(2000);
    let response = exchange(
        address,
        &format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n{content}"),
    );
    assert_eq!(status(&response), "413");
    assert!(response.contains("connection: close\r\n"), "{response}");
    for (request, expected) in [
        (post.as_str(), "408"),
        (
            "GET /never HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "503",
        ),
    ] {
        let since = Instant::now();
        let response = exchange(address, request);
        assert_eq!(status(&response), expected, "{response}");
        assert!(since.elapsed() >= SHORT);
    }
    let since = Instant::now();
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
        .write_all(b"GET /hello")
        .expect("a server that reads");
    let mut rest = Vec::new();
    // A reset ends it as well.
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty() && since.elapsed() < PATIENCE);

    // The drain waits for what is in flight.
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
        .write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel")
        .expect("a server that reads");
    thread::sleep(Duration::from_millis(50));
    drop(shutdown);
    thread::sleep(Duration::from_millis(50));
    stream.write_all(b"lo").expect("a server that reads");
    stream
        .shutdown(Shutdown::Write)
        .expect("an open connection");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("UTF-8");
    assert!(
        response.ends_with("hello") && response.contains("connection: close"),
        "{response}"
    );
    thread.join().expect("no panic");
}
