//! The memory that a connection costs, and that none is left behind.
//!
//! The limits are those of a release build (`cargo test --release --test http memory`); a debug
//! build, with its larger futures and buffers on the way, is given more.

use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Client, GET, Random, SECRET, Server, eventually, good_token, now, seed, token, with_descriptors,
};

/// KiB for an idle connection.
const IDLE_LIMIT: f64 = if cfg!(debug_assertions) { 3.0 } else { 1.5 };

/// KiB for a hostile connection.
const HOSTILE_LIMIT: f64 = if cfg!(debug_assertions) { 56.0 } else { 48.0 };

/// KiB for the process with its first worker, and for each worker.
const BASE_LIMIT: u64 = if cfg!(debug_assertions) { 6144 } else { 3072 };
const WORKER_LIMIT: u64 = if cfg!(debug_assertions) { 80 } else { 40 };

/// Descriptors that the other tests of this process may have.
const DESCRIPTORS_OF_OTHERS: usize = 2000;

/// A server with as many descriptors as the system allows.
fn server(variables: &[(&str, &str)]) -> Server {
    let mut all = vec![("API_PORT", "0"), ("JWT_SECRET", SECRET)];
    all.extend(variables);
    Server::spawn(&mut with_descriptors("$(ulimit -Hn)", &all))
}

/// As many connections as this process may have, 5,000 at the most.
fn connections() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("procfs");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .expect("a limit");
    let limit = line.split_whitespace().nth(3).expect("a figure");
    let limit: usize = limit.parse().unwrap_or(usize::MAX);
    limit.saturating_sub(DESCRIPTORS_OF_OTHERS).clamp(400, 5000)
}

/// Opens connections that have had a response each.
fn kept(server: &Server, count: usize) -> Vec<Client> {
    (0..count)
        .map(|_| {
            let mut client = server.connect();
            client.get();
            client
        })
        .collect()
}

#[test]
fn idle_connection_costs_almost_nothing() {
    let server = server(&[("API_WORKERS", "1"), ("API_MAX_CONNECTIONS", "20000")]);
    let before = server.descriptors();
    drop(kept(&server, 100));
    eventually("all have left", || server.descriptors() <= before);
    let base = server.resident();
    let count = connections();
    let clients = kept(&server, count);
    let each = server.resident().saturating_sub(base) as f64 / count as f64;
    println!("{count} connections, {base} KiB before, {each:.2} KiB each");
    assert!(each < IDLE_LIMIT, "{each:.2} KiB each");
    drop(clients);
}

#[test]
fn process_and_workers_stay_within_the_promised_memory() {
    for workers in [1, 64] {
        let server = server(&[("API_WORKERS", &workers.to_string())]);
        let fresh = server.resident();
        // One for each worker at least, at the same time.
        let clients = kept(&server, 64);
        let served = server.resident();
        println!("{workers} workers: {fresh} KiB, {served} KiB after a response each");
        assert!(fresh < BASE_LIMIT + workers * WORKER_LIMIT, "{fresh} KiB");
        let connections = clients.len() as f64 * HOSTILE_LIMIT;
        let limit = (BASE_LIMIT + workers * WORKER_LIMIT) as f64 + connections;
        assert!((served as f64) < limit, "{served} KiB");
    }
}

/// The memory that `attack` makes each connection cost, in KiB.
fn growth(name: &str, attack: impl Fn(usize, &mut Client)) -> f64 {
    // More than two workers keep warm.
    const CONNECTIONS: usize = 150;
    let server = server(&[
        ("API_WORKERS", "2"),
        ("API_MAX_CONNECTIONS", &CONNECTIONS.to_string()),
        ("API_HEADER_TIMEOUT", "60"),
    ]);
    let before = server.descriptors();
    drop(kept(&server, 10));
    eventually("all have left", || server.descriptors() <= before);
    let base = server.resident();
    let mut clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| Client::with_receive_buffer(server.address, 4096))
        .collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client
            .stream
            .set_write_timeout(Some(Duration::from_millis(5)))
            .expect("a timeout");
        attack(number, client);
    }
    // Until the server has read all that was sent.
    let (mut most, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_millis(300) {
        let resident = server.resident();
        if resident > most {
            (most, since) = (resident, Instant::now());
        }
        thread::sleep(Duration::from_millis(20));
    }
    let each = most.saturating_sub(base) as f64 / CONNECTIONS as f64;
    println!("{name}: {base} KiB before, {each:.1} KiB each");
    each
}

/// One byte less than the longest head, in many fields.
fn half_a_head(client: &mut Client, piece: usize) {
    let mut head = b"GET /resource HTTP/1.1\r\nHost: test\r\n".to_vec();
    for number in 0..97 {
        head.extend(format!("Field-{number:02}: {}\r\n", "x".repeat(152)).bytes());
    }
    head.extend([b'x'; 16 * 1024]);
    head.truncate(16 * 1024 - 1);
    for piece in head.chunks(piece) {
        client.send(piece);
    }
}

fn unread_pipeline(client: &mut Client) {
    let requests = GET.repeat(1000);
    // The write timeout says that the server takes no more.
    for _ in 0..100 {
        if client.stream.write_all(&requests).is_err() {
            return;
        }
    }
}

#[test]
fn hostile_connections_at_the_limit_stay_within_the_promised_memory() {
    let mix = growth("mix", |number, client| match number % 3 {
        0 => half_a_head(client, 3000),
        1 => unread_pipeline(client),
        _ => client.send(GET),
    });
    let heads = growth("half heads in pieces", |_, client| {
        half_a_head(client, 3000)
    });
    let after = growth("half heads after requests", |number, client| {
        client.send(GET.repeat(100 + number % 150));
        half_a_head(client, 16 * 1024);
    });
    // Refusals are longer than their requests; hyper's buffer grows behind the requests that are served.
    let token = token(r#"{"aud":"another service"}"#);
    let rejected = format!(
        "GET /resource/secret HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let burst = growth("half heads right after a burst", |_, client| {
        client.send(rejected.repeat(66));
        half_a_head(client, 8000);
    });
    // hyper doubles a grown buffer that holds the beginning of a head behind a request.
    let grown = growth(
        "half heads after a long head and a burst",
        |number, client| {
            client.send(head_of(16_000, "/resource"));
            client.response();
            let mut bytes = rejected.repeat(1 + number % 3).into_bytes();
            bytes.extend(GET.repeat(number % 20));
            bytes.extend(head_of(16_384, "/resource"));
            bytes.truncate(16_384);
            client.send(bytes);
        },
    );
    let unread = growth("unread responses", |_, client| unread_pipeline(client));
    let unread_grown = growth("unread responses after a long head", |_, client| {
        client.send(head_of(16_000, "/resource"));
        client.response();
        unread_pipeline(client);
    });
    for each in [mix, heads, after, burst, grown, unread, unread_grown] {
        assert!(each < HOSTILE_LIMIT, "{each:.1} KiB each");
    }
}

#[test]
fn full_speed_leaves_no_memory_behind_and_every_response_is_right() {
    const MOST_GROWTH: u64 = 1024;
    let server = server(&[("API_WORKERS", "2")]);
    let address = server.address;
    let cases = &[
        ("/resource", String::new(), 200),
        ("/resource/secret", good_token(), 200),
        ("/auth", good_token(), 200),
        (
            "/resource/secret",
            token(&format!(r#"{{"exp":{}}}"#, now() - 60)),
            401,
        ),
        ("/resource/secret", format!("{}A", good_token()), 401),
        ("/auth", "a.b.c".into(), 401),
        ("/nothing", good_token(), 404),
    ];
    let run = |time: Duration| {
        let end = Instant::now() + time;
        thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    let mut client = Client::to(address);
                    for (number, (path, token, status)) in cases.iter().cycle().enumerate() {
                        if Instant::now() >= end {
                            break;
                        }
                        if number % 1000 == 999 {
                            client = Client::to(address);
                        }
                        let field = format!("Authorization: Bearer {token}");
                        client.request("GET", path, &[&field]);
                        let response = client.response();
                        assert_eq!(
                            response.status, *status,
                            "{thread}: {path} {}",
                            response.head
                        );
                    }
                });
            }
        });
        server.resident()
    };
    let warm = run(Duration::from_secs(1));
    let after = run(full_speed());
    assert!(after <= warm + MOST_GROWTH, "{warm} KiB, then {after} KiB");
}

/// An attack on memory: heads of these lengths again and again, content between them, half a head at
/// the end, sent in pieces, with responses taken now and then.
#[derive(Debug)]
struct Mix {
    heads: Vec<(usize, &'static str)>,
    repetitions: usize,
    has_content: bool,
    tail: usize,
    piece: usize,
    reads: bool,
}

impl Mix {
    fn new(random: &mut Random) -> Self {
        const LENGTHS: [usize; 15] = [
            60, 100, 300, 1000, 4000, 8000, 8191, 8192, 8300, 12_000, 16_000, 16_300, 16_383,
            16_384, 0,
        ];
        let paths = ["/resource", "/resource/secret", "/auth", "/x", "/auth/a+b"];
        let head = |random: &mut Random| {
            let len = match random.pick(&LENGTHS) {
                0 => 60 + random.below(16_325),
                len => len,
            };
            (len, random.pick(&paths))
        };
        Self {
            heads: (0..=random.below(6)).map(|_| head(random)).collect(),
            repetitions: random.pick(&[1, 1, 3, 30, 200, 600]),
            has_content: random.one_in(3),
            tail: random.pick(&[0, 10, 1000, 8000, 16_000, 16_383]),
            piece: random.pick(&[500, 1448, 3000, 5000, 8191, usize::MAX]),
            reads: random.one_in(3),
        }
    }

    /// All that one client sends.
    fn bytes(&self) -> Vec<u8> {
        const MOST: usize = 400_000;
        let mut bytes = Vec::new();
        for _ in 0..self.repetitions {
            for &(len, path) in &self.heads {
                bytes.extend(head_of(len, path));
                if self.has_content {
                    bytes.extend(
                        b"POST /resource HTTP/1.1\r\nHost: t\r\nContent-Length: 3000\r\n\r\n",
                    );
                    bytes.extend([b'c'; 3000]);
                }
            }
            if bytes.len() > MOST {
                break;
            }
        }
        bytes.extend(&head_of(16_384, "/resource")[..self.tail]);
        bytes
    }
}

/// A head of this length, in few fields or many.
fn head_of(len: usize, path: &str) -> Vec<u8> {
    const FIELD_LEN: usize = 200;
    let mut head = format!("GET {path} HTTP/1.1\r\nHost: t\r\n").into_bytes();
    while head.len() + 2 * FIELD_LEN < len {
        head.extend(format!("F: {}\r\n", "x".repeat(FIELD_LEN - 5)).bytes());
    }
    let left = len.saturating_sub(head.len() + 2);
    if left > 5 {
        head.extend(format!("F: {}\r\n", "x".repeat(left - 5)).bytes());
    }
    head.extend(b"\r\n");
    head
}

/// Fills every seat with the mix, and as many connections that linger and that are silent beside them.
/// Returns the most that was resident, in KiB.
fn most_resident(workers: usize, count: usize, mix: &Mix, random: &mut Random) -> u64 {
    let server = server(&[
        ("API_WORKERS", &workers.to_string()),
        ("API_MAX_CONNECTIONS", &count.to_string()),
        ("API_HEADER_TIMEOUT", "60"),
    ]);
    let lingering: Vec<_> = (0..count)
        .map(|_| {
            let mut client = server.connect();
            client.request("GET", "/resource", &["Connection: close"]);
            assert_eq!(client.response().status, 200);
            client
        })
        .collect();
    let bytes = mix.bytes();
    let mut most = 0;
    let mut seated: Vec<_> = (0..count)
        .map(|number| {
            let mut stream = Client::with_receive_buffer(server.address, 2048).stream;
            stream.set_nonblocking(true).expect("a mode");
            let (mut sent, since) = (0, Instant::now());
            while sent < bytes.len() && since.elapsed() < Duration::from_millis(20) {
                let end = sent.saturating_add(mix.piece).min(bytes.len());
                match stream.write(&bytes[sent..end]) {
                    Ok(len) => sent += len,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        if mix.reads && random.one_in(3) {
                            let _ = stream.read(&mut [0; 2000]);
                        }
                        thread::sleep(Duration::from_millis(1));
                    }
                    Err(_) => break,
                }
            }
            if number % 20 == 0 {
                most = server.resident().max(most);
            }
            stream
        })
        .collect();
    let silent: Vec<_> = (0..count).map(|_| server.connect()).collect();
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(20));
        most = server.resident().max(most);
        if mix.reads {
            for stream in &mut seated {
                let _ = stream.read(&mut [0; 2000]);
            }
        }
    }
    drop((lingering, seated, silent));
    most
}

/// Looks for the mix that costs most. `MEMORY_SEARCH_SECONDS` looks longer, `MEMORY_SEARCH_SEED` again.
#[test]
fn random_mixes_stay_within_the_promised_memory() {
    const CONNECTIONS: usize = 150;
    let seconds = std::env::var("MEMORY_SEARCH_SECONDS").ok();
    let seconds = seconds.map_or(2, |seconds| seconds.parse().expect("seconds"));
    let end = Instant::now() + Duration::from_secs(seconds);
    let seed = seed("MEMORY_SEARCH_SEED");
    let mut worst = [0; 2];
    for round in 0.. {
        let mut random = Random::new(seed, round);
        let mix = Mix::new(&mut random);
        let workers = 1 + round % 2;
        let most = most_resident(workers as usize, CONNECTIONS, &mix, &mut random);
        let base = BASE_LIMIT + workers * WORKER_LIMIT;
        let worst = &mut worst[workers as usize - 1];
        if most > *worst {
            *worst = most;
            let each = most.saturating_sub(base) as f64 / CONNECTIONS as f64;
            println!("{workers} workers: {most} KiB, {each:.1} KiB beyond the base each: {mix:?}");
        }
        assert!(
            (most as f64) < base as f64 + CONNECTIONS as f64 * HOSTILE_LIMIT,
            "{most} KiB with MEMORY_SEARCH_SEED={seed}, round {round}: {mix:?}"
        );
        if Instant::now() >= end {
            println!("{} mixes", round + 1);
            return;
        }
    }
}

/// Two seconds, or as many as `FULL_SPEED_SECONDS` says.
fn full_speed() -> Duration {
    let seconds = std::env::var("FULL_SPEED_SECONDS").ok();
    Duration::from_secs(seconds.map_or(2, |seconds| seconds.parse().expect("seconds")))
}
