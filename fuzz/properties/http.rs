//! Any bytes to the connection code, in any pieces: the responses are HTTP/1.1, each as the README
//! of its status says, and no protected one goes out without a valid token in the input.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::File;
use std::future::poll_fn;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Bytes;

use resource_server::app::{Worker, site};
use resource_server::jwt::{Key, Policy, Verifier};
use resource_server::server::exchange::{Event, Exchange, MAX_HEAD_LEN, Transport};
use resource_server::server::{Engine, Limits, runtime};
use resource_server::shared::{Cached, Shared};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::responses::{self, Response, Version};

/// What stands in an input for a token that the verifier accepts. No input can contain one, as the
/// key is new in every process.
const TOKEN: &str = "$TOKEN";

/// What only a client with a token may see.
const PROTECTED: [&str; 2] = ["Secret resource.", "x-auth-request-user:"];

/// More often than this nothing is polled that gets on.
const MOST_POLLS: usize = 100;

/// The first line is a word each: the sizes of the pieces in which the rest arrives, over and over,
/// `room=SIZE` for a client that takes its responses so many bytes at a time, `park` for a connection
/// that is taken apart whenever it is quiet, `draining`. Returns the status codes of the responses.
pub fn check(bytes: &[u8]) -> Vec<u16> {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (words, rest) = bytes.split_at(end.map_or(0, |end| end + 1));
    let client = Client::read(words, rest);
    let responses = client.exchange();

    // How the bytes are cut decides at most when the connection ends: content that is not here when
    // its request is responded to ends it.
    let whole = Client {
        pieces: vec![],
        room: usize::MAX,
        parks: false,
        ..client
    };
    // Of a head that is malformed and too long either is told: once a part of it was seen, hyper looks
    // again only at its end.
    let status = |response: &Response| match response.status {
        431 => 400,
        status => status,
    };
    for (cut, whole) in responses.iter().zip(&whole.exchange()) {
        assert_eq!((status(cut), &cut.content), (status(whole), &whole.content));
    }
    responses
        .into_iter()
        .map(|response| response.status)
        .collect()
}

struct Client {
    pieces: Vec<usize>,
    room: usize,
    parks: bool,
    draining: bool,
    tokens: usize,
    sends: Vec<u8>,
}

impl Client {
    fn read(words: &[u8], bytes: &[u8]) -> Self {
        let mut client = Self {
            pieces: Vec::new(),
            room: usize::MAX,
            parks: false,
            draining: false,
            tokens: 0,
            sends: Vec::new(),
        };
        for word in String::from_utf8_lossy(words).split_ascii_whitespace() {
            match (word, word.strip_prefix("room=").map(str::parse)) {
                (_, Some(Ok(room @ 1..))) => client.room = room,
                ("park", _) => client.parks = true,
                ("draining", _) => client.draining = true,
                _ => client
                    .pieces
                    .extend(word.parse::<usize>().ok().filter(|size| *size > 0)),
            }
        }
        let mut rest = bytes;
        while let Some((first, after)) = rest.split_first() {
            if let Some(after) = rest.strip_prefix(TOKEN.as_bytes()) {
                client.sends.extend_from_slice(SECRETS.token.as_bytes());
                client.tokens += 1;
                rest = after;
            } else {
                client.sends.push(*first);
                rest = after;
            }
        }
        client
    }

    /// Sends everything, takes every response, and looks at them.
    fn exchange(&self) -> Vec<Response> {
        thread_local! {
            // Kept until the process ends: a runtime cannot be dropped with its thread.
            static RUNTIME: &'static tokio::runtime::LocalRuntime =
                Box::leak(Box::new(runtime().expect("an event loop")));
        }
        let taken = Rc::new(RefCell::new(Vec::new()));
        let serve = self.serve(&taken);
        RUNTIME.with(|runtime| {
            runtime
                .block_on(async { tokio::time::timeout(Duration::from_secs(5), serve).await })
                .expect("it ends, as the client does");
        });

        let text = String::from_utf8(taken.take()).expect("ASCII");
        for protected in PROTECTED {
            assert!(
                text.matches(protected).count() <= self.tokens,
                "{protected}"
            );
        }
        let responses = responses::parse(&text);
        // No request of HTTP/1.1 is responded to without `Host`, and no head that is too long.
        let first = &self.sends[..self.sends.len().min(MAX_HEAD_LEN)];
        let has_end = first
            .windows(2)
            .any(|pair| pair == b"\n\n" || pair == b"\n\r");
        let is_host = |word: &[u8]| word.eq_ignore_ascii_case(b"host:");
        let has_host = self.sends.windows(5).any(is_host);
        for response in &responses {
            let is_possible = has_end && (has_host || response.version == Version::Http10);
            assert!(
                is_possible || matches!(response.status, 400 | 431),
                "{response:?}"
            );
        }
        // Without a route that is open, with any method, only a token makes a yes.
        let has = |text: &str| {
            self.sends
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        };
        if !["/resource", "/healthz", "*", "://"].into_iter().any(has) {
            let is_yes = |response: &&Response| (200..300).contains(&response.status);
            assert!(responses.iter().filter(is_yes).count() <= self.tokens);
        }
        for (at, response) in responses.iter().enumerate() {
            let is_last = at + 1 == responses.len();
            self.is_as_its_status_says(response, is_last);
        }
        responses
    }

    /// As the server treats a connection, without its timeouts.
    async fn serve(&self, taken: &Rc<RefCell<Vec<u8>>>) {
        let pieces = self.pieces();
        let count = pieces.len();
        let pipe = Pipe {
            sends: Rc::new(RefCell::new(pieces)),
            room: self.room,
            waits: Rc::default(),
            taken: Rc::clone(taken),
        };
        let most_polls = MOST_POLLS
            + 4 * (count + self.sends.len() / 8)
            + if self.room == usize::MAX {
                0
            } else {
                1000 * self.sends.len() / self.room
            };
        let mut polls = 0;
        let mut exchange = self.begin(pipe, Bytes::new());
        loop {
            let event = poll_fn(|cx| {
                polls += 1;
                assert!(
                    polls <= most_polls,
                    "{polls} polls for {} bytes",
                    self.sends.len()
                );
                match exchange.poll(cx) {
                    Poll::Ready(Event::Idle) => {
                        responses::parse(&String::from_utf8_lossy(&taken.borrow()));
                        if self.parks {
                            Poll::Ready(Event::Idle)
                        } else {
                            Poll::Pending
                        }
                    }
                    event => event,
                }
            })
            .await;
            match event {
                Event::Ended | Event::Http2 => return drop(exchange),
                Event::Overdue => panic!("no client has waited"),
                Event::Idle | Event::Restart => {
                    let (pipe, unread) = exchange.into_parts();
                    exchange = self.begin(pipe, unread);
                }
            }
        }
    }

    fn begin(&self, pipe: Pipe, unread: Bytes) -> Exchange<Worker<()>, Pipe> {
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let verifier = Cached::new(Arc::clone(&SECRETS.verifier));
        let worker = site().worker(verifier, false);
        let engine = Engine::new(worker.expect("no state"), Limits::default());
        if self.draining {
            engine.drain();
        }
        Exchange::new(pipe, peer, Rc::new(engine), unread, None)
    }

    fn pieces(&self) -> VecDeque<Vec<u8>> {
        let mut sizes = self.pieces.iter().copied().cycle();
        let mut rest = &self.sends[..];
        let mut pieces = VecDeque::new();
        while !rest.is_empty() {
            let size = sizes.next().unwrap_or(rest.len()).min(rest.len());
            let (piece, after) = rest.split_at(size);
            pieces.push_back(piece.to_vec());
            rest = after;
        }
        pieces
    }

    fn is_as_its_status_says(&self, response: &Response, is_last: bool) {
        let closes = response.closes();
        assert!(is_last || !closes, "a response after the last");
        assert!(closes || !self.draining, "{response:?}");
        assert!(response.field("date").is_some(), "{response:?}");
        let is_no_store = response.field("cache-control") == Some("no-store");
        let challenge = response.field("www-authenticate").map(responses::challenge);
        let code = response.member("code");
        if !response.content.is_empty() {
            assert_eq!(response.field("content-type"), Some("application/json"));
            assert!(response.member("message").is_some(), "{response:?}");
        }
        match (response.status, code.as_deref()) {
            (200, None) => {
                let is_empty = response.field("content-length") == Some("0");
                assert_eq!(response.field("x-auth-request-user").is_some(), is_empty);
                assert_eq!(response.field("allow"), None);
            }
            (204, None) => {
                assert!(response.content.is_empty());
                assert_eq!(response.field("content-length"), None);
                assert_eq!(response.field("x-auth-request-user"), None);
                assert_eq!(response.field("allow"), Some("GET, HEAD, OPTIONS"));
            }
            (400, Some("bad_request") | None) | (431, None) => assert!(closes, "{response:?}"),
            (401, Some("credentials_required" | "invalid_request" | "invalid_token") | None)
            | (403, None) => {
                let (scheme, parameters) = challenge.expect("a challenge");
                assert_eq!(scheme, "Bearer");
                let names = parameters.iter().map(|(name, _)| *name);
                let all = ["realm", "error", "error_description", "scope"];
                let most = if response.status == 403 { 4 } else { 3 };
                assert!(all[..most].starts_with(&names.collect::<Vec<_>>()));
                assert!(is_no_store);
            }
            (404, Some("not_found") | None) => {}
            (405, Some("method_not_allowed") | None) => {
                assert_eq!(response.field("allow"), Some("GET, HEAD, OPTIONS"));
            }
            _ => panic!("{response:?}"),
        }
    }
}

/// What no input can guess.
static SECRETS: LazyLock<Secrets> = LazyLock::new(|| {
    let mut secret = [0; 32];
    let mut random = File::open("/dev/urandom").expect("a source of randomness");
    random.read_exact(&mut secret).expect("32 bytes");
    let key = Key::new(&secret).expect("32 bytes are not none");
    Secrets {
        token: key.sign(r#"{"sub":"alice","scope":"read write"}"#),
        verifier: Arc::new(Shared::new(Verifier::new(key, Policy::default()))),
    }
});

struct Secrets {
    token: String,
    verifier: Arc<Shared<Verifier>>,
}

/// The server's end of a connection: pieces arrive one by one, each after a moment without any, and
/// a slow reader takes few bytes at a time.
#[derive(Clone)]
struct Pipe {
    sends: Rc<RefCell<VecDeque<Vec<u8>>>>,
    room: usize,
    waits: Rc<Cell<bool>>,
    taken: Rc<RefCell<Vec<u8>>>,
}

impl Transport for Pipe {
    fn broken(&self) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(std::future::pending())
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.waits.replace(!self.waits.get()) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut sends = self.sends.borrow_mut();
        if let Some(mut piece) = sends.pop_front() {
            let rest = piece.split_off(piece.len().min(buffer.remaining()));
            buffer.put_slice(&piece);
            if !rest.is_empty() {
                sends.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let waits = !self.waits.replace(!self.waits.get());
        if waits && self.room < usize::MAX {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let len = bytes.len().min(self.room);
        self.taken.borrow_mut().extend_from_slice(&bytes[..len]);
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
