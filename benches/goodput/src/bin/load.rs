//! `load PORT CLIENTS SECONDS close DELAY_MS` or `load PORT CLIENTS SECONDS keep`: clients that send
//! requests for SECONDS, each on a new connection or on one that it keeps. Prints the outcome of all
//! requests as one line of JSON.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, timeout_at};

const REQUEST: &[u8] = b"GET /resource HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// How long a request that began in time may still wait for its response: Linux sends a SYN that
/// found no room again after 1 s, and once more 2 s later.
const PATIENCE: Duration = Duration::from_millis(3_500);

/// If a connection took this long, its SYN was dropped.
const SYN_AGAIN: Duration = Duration::from_millis(900);

/// If the last request on a kept connection began longer ago, the connection may have been idle for 10 ms:
/// this server may close it while the next request is on its way.
const REST: Duration = Duration::from_millis(10);

#[derive(Clone, Copy)]
struct Plan {
    address: SocketAddr,
    end: Instant,
    /// Between the connection and the request; `None` keeps connections.
    delay: Option<Duration>,
}

#[derive(Default)]
struct Tally {
    /// Responses that came before the end.
    in_time: u64,
    /// Microseconds from the beginning to the response of each request that got one, connecting included.
    times: Vec<u128>,
    /// Requests without a response, by reason.
    lost: BTreeMap<&'static str, u64>,
    connections: u64,
    /// Connections whose first SYN was dropped.
    syn_again: u64,
    /// Clients that had no response before the end.
    unserved: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("an argument is missing");
    let port: u16 = next()?.parse()?;
    let clients: usize = next()?.parse()?;
    let seconds: f64 = next()?.parse()?;
    let delay = match next()?.as_str() {
        "close" => Some(Duration::from_millis(next()?.parse()?)),
        "keep" => None,
        other => return Err(format!("close or keep, not {other}").into()),
    };

    let plan = Plan {
        address: (Ipv4Addr::LOCALHOST, port).into(),
        end: Instant::now() + Duration::from_secs_f64(seconds),
        delay,
    };
    let tally = Rc::new(RefCell::new(Tally::default()));
    let all = LocalSet::new();
    for _ in 0..clients {
        all.spawn_local(client(plan, Rc::clone(&tally)));
    }
    all.await;
    print(&mut tally.borrow_mut(), seconds);
    Ok(())
}

fn print(tally: &mut Tally, seconds: f64) {
    tally.times.sort_unstable();
    let quantile = |share: f64| {
        let last = tally.times.len().saturating_sub(1);
        let at = (last as f64 * share).round() as usize;
        tally.times.get(at).map_or(0.0, |&us| us as f64 / 1e3)
    };
    println!(
        r#"{{"rate": {}, "responses": {}, "p50": {}, "p99": {}, "max": {}, "connections": {}, "syn_again": {}, "unserved": {}, "lost": {{{}}}}}"#,
        tally.in_time as f64 / seconds,
        tally.times.len(),
        quantile(0.5),
        quantile(0.99),
        quantile(1.0),
        tally.connections,
        tally.syn_again,
        tally.unserved,
        tally
            .lost
            .iter()
            .map(|(reason, count)| format!(r#""{reason}": {count}"#))
            .collect::<Vec<_>>()
            .join(", ")
    );
}

/// Sends one request after another, also after a lost one.
async fn client(plan: Plan, tally: Rc<RefCell<Tally>>) {
    let mut kept = None;
    let mut is_served = false;
    loop {
        let began = Instant::now();
        if began >= plan.end {
            break;
        }
        let asked = timeout_at(plan.end + PATIENCE, ask(&plan, &mut kept, &tally)).await;
        let now = Instant::now();
        let mut tally = tally.borrow_mut();
        match asked.unwrap_or(Err("no response in time")) {
            Ok(()) => {
                tally.times.push((now - began).as_micros());
                if now <= plan.end {
                    tally.in_time += 1;
                    is_served = true;
                }
            }
            Err(reason) => {
                kept = None;
                *tally.lost.entry(reason).or_default() += 1;
            }
        }
    }
    if !is_served {
        tally.borrow_mut().unserved += 1;
    }
}

/// One request and its response, on the kept connection if there is one. `kept` also holds the time of its
/// last request.
async fn ask(
    plan: &Plan,
    kept: &mut Option<(TcpStream, Instant)>,
    tally: &RefCell<Tally>,
) -> Result<(), &'static str> {
    // A kept connection that was closed while nothing was asked of it costs no request.
    let (mut stream, before) = match kept.take().filter(|(stream, _)| is_open(stream)) {
        Some((stream, before)) => (stream, Some(before)),
        None => (connect(plan, tally).await?, None),
    };
    let asked = Instant::now();
    stream
        .write_all(REQUEST)
        .await
        .map_err(|_| "closed before the request")?;
    let is_last = take_response(&mut stream)
        .await
        .map_err(|reason| match before {
            Some(before) if before.elapsed() >= REST => "closed when idle, as the request came",
            _ => reason,
        })?;
    if plan.delay.is_none() && !is_last {
        *kept = Some((stream, asked));
    }
    Ok(())
}

/// A new connection, after the delay.
async fn connect(plan: &Plan, tally: &RefCell<Tally>) -> Result<TcpStream, &'static str> {
    let began = Instant::now();
    let connected = TcpStream::connect(plan.address).await;
    let stream = connected.map_err(|error| match error.kind() {
        ErrorKind::ConnectionRefused => "refused",
        ErrorKind::ConnectionReset => "reset while connecting",
        ErrorKind::AddrNotAvailable => "no port left for the client",
        _ => "cannot connect",
    })?;
    tally.borrow_mut().connections += 1;
    if began.elapsed() >= SYN_AGAIN {
        tally.borrow_mut().syn_again += 1;
    }
    let delay = plan.delay.unwrap_or_default();
    if !delay.is_zero() {
        sleep(delay).await;
    }
    if is_open(&stream) {
        Ok(stream)
    } else {
        Err("closed before the request")
    }
}

/// Returns whether the server has neither closed the connection nor sent anything. Peeks at the socket itself:
/// the event loop may not have seen it yet.
fn is_open(stream: &TcpStream) -> bool {
    let peeked = SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]);
    matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Reads the whole response. Returns whether it is the last on its connection.
async fn take_response(stream: &mut TcpStream) -> Result<bool, &'static str> {
    let mut buffer = [0; 4096];
    let mut len = 0;
    loop {
        let read: io::Result<usize> = stream.read(&mut buffer[len..]).await;
        match read {
            Ok(read @ 1..) => len += read,
            Ok(0) if len == 0 => return Err("closed without a response"),
            Err(_) if len == 0 => return Err("reset without a response"),
            Ok(0) | Err(_) => return Err("cut in the middle of a response"),
        }
        let text = str::from_utf8(&buffer[..len]).map_err(|_| "not the response")?;
        let Some((head, content)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_ascii_lowercase();
        if !head.starts_with("http/1.1 200 ") {
            return Err("another status");
        }
        let (_, length) = head.split_once("\r\ncontent-length: ").ok_or("no length")?;
        let length = length.lines().next().and_then(|text| text.parse().ok());
        if content.len() >= length.unwrap_or(usize::MAX) {
            return Ok(head.contains("\r\nconnection: close"));
        }
    }
}
