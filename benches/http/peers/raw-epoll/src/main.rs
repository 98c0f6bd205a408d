//! The floor: one thread, edge-triggered epoll, httparse, and the verifier of this repository. No
//! timeouts, no limits, no request content.

use std::env;
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::SystemTime;

use httparse::{Request, Status};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use resource_server::jwt::{Key, Policy, Verifier};

const PUBLIC: &str = r#"{"message":"Public resource. You can see this."}"#;
const SECRET: &str = r#"{"message":"Secret resource. You should be logged in to see this."}"#;
const NO_TOKEN: &str = r#"{"message":"No authorization token was found"}"#;
const BAD_TOKEN: &str = r#"{"message":"Invalid token"}"#;
const NOT_FOUND: &str = r#"{"message":"Not found"}"#;

const LISTENER: Token = Token(usize::MAX);
const MAX_HEAD: usize = 16 * 1024;

struct Connection {
    stream: TcpStream,
    /// The beginning of a head whose end has not been read yet.
    input: Vec<u8>,
    /// Responses that the socket has not taken yet.
    output: Vec<u8>,
    is_last: bool,
}

struct Site {
    verifier: Verifier,
    date: String,
    date_second: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = env::var("API_PORT")?.parse()?;
    let key = Key::new(env::var("JWT_SECRET")?.as_bytes()).map_err(|_| "the secret is empty")?;
    let mut site = Site {
        verifier: Verifier::new(key, Policy::default()),
        date: String::new(),
        date_second: 0,
    };
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let registry = poll.registry().try_clone()?;
    registry.register(&mut listener, LISTENER, Interest::READABLE)?;

    let mut events = Events::with_capacity(1024);
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut free = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if let Err(error) = poll.poll(&mut events, None)
            && error.kind() != ErrorKind::Interrupted
        {
            return Err(error.into());
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    let at = free.pop().unwrap_or(connections.len());
                    stream.set_nodelay(true)?;
                    registry.register(&mut stream, Token(at), Interest::READABLE)?;
                    connections.resize_with(connections.len().max(at + 1), || None);
                    connections[at] = Some(Connection {
                        stream,
                        input: Vec::new(),
                        output: Vec::new(),
                        is_last: false,
                    });
                }
                continue;
            }
            let Token(at) = event.token();
            let Some(connection) = &mut connections[at] else {
                continue;
            };
            let served = connection.serve(event.is_read_closed(), &mut buffer, &mut site);
            let unsent =
                served.and_then(|is_open| connection.flush(at, &registry).map(|()| is_open));
            if !unsent.unwrap_or(false) {
                connections[at] = None;
                free.push(at);
            }
        }
    }
}

impl Connection {
    /// Reads what is there and responds to each whole head in it. Returns whether more may follow.
    fn serve(
        &mut self,
        is_read_closed: bool,
        buffer: &mut [u8],
        site: &mut Site,
    ) -> io::Result<bool> {
        while !self.is_last {
            let read = match self.stream.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            if self.input.is_empty() {
                let used = self.respond_to_all(&buffer[..read], site);
                self.input.extend_from_slice(&buffer[used..read]);
            } else {
                let mut input = std::mem::take(&mut self.input);
                input.extend_from_slice(&buffer[..read]);
                let used = self.respond_to_all(&input, site);
                input.drain(..used);
                self.input = input;
            }
            if self.input.len() > MAX_HEAD {
                return Ok(false);
            }
            // A short read has emptied the socket: the next byte is a new edge.
            if read < buffer.len() && !is_read_closed {
                break;
            }
        }
        Ok(true)
    }

    /// Returns how much of the input was whole heads.
    fn respond_to_all(&mut self, input: &[u8], site: &mut Site) -> usize {
        let mut used = 0;
        while used < input.len() && !self.is_last {
            let mut fields = [const { MaybeUninit::uninit() }; 100];
            let mut request = Request::new(&mut []);
            match request.parse_with_uninit_headers(&input[used..], &mut fields) {
                Ok(Status::Complete(len)) => used += len,
                Ok(Status::Partial) => break,
                Err(_) => {
                    self.is_last = true;
                    self.output
                        .extend_from_slice(b"HTTP/1.1 400 Bad Request\r\n\r\n");
                    break;
                }
            }
            self.respond(&request, site);
        }
        used
    }

    fn respond(&mut self, request: &Request, site: &mut Site) {
        let mut authorization = None;
        for field in &*request.headers {
            if field.name.eq_ignore_ascii_case("authorization") {
                authorization = Some(field.value);
            } else if field.name.eq_ignore_ascii_case("connection") {
                self.is_last |= field.value.eq_ignore_ascii_case(b"close");
            } else if field.name.eq_ignore_ascii_case("content-length")
                || field.name.eq_ignore_ascii_case("transfer-encoding")
            {
                self.is_last = true; // what follows is content, not a head
            }
        }
        let now = SystemTime::now();
        let (status, challenge, content) = match (request.method, request.path) {
            (Some("GET"), Some("/resource")) => ("200 OK", "", PUBLIC),
            (Some("GET"), Some("/resource/secret")) => match authorization.and_then(bearer) {
                None => ("401 Unauthorized", "www-authenticate: Bearer\r\n", NO_TOKEN),
                Some(token) => match site.verifier.verify(token, now.into()) {
                    Ok(_claims) => ("200 OK", "", SECRET),
                    Err(_) => (
                        "401 Unauthorized",
                        "www-authenticate: Bearer error=\"invalid_token\"\r\n",
                        BAD_TOKEN,
                    ),
                },
            },
            _ => ("404 Not Found", "", NOT_FOUND),
        };
        let close = if self.is_last {
            "connection: close\r\n"
        } else {
            ""
        };
        let date = site.date(now);
        // Writing into a vector does not fail.
        let _ = write!(
            self.output,
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{challenge}{close}content-length: {}\r\ndate: {date}\r\n\r\n{content}",
            content.len()
        );
    }

    /// Sends what it can, and asks to hear of room for the rest. An error also stands for the end of a
    /// connection whose last response is sent.
    fn flush(&mut self, at: usize, registry: &Registry) -> io::Result<()> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(sent) => drop(self.output.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let both = Interest::READABLE | Interest::WRITABLE;
                    return registry.reregister(&mut self.stream, Token(at), both);
                }
                Err(error) => return Err(error),
            }
        }
        self.output = Vec::new();
        if self.is_last {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

impl Site {
    fn date(&mut self, now: SystemTime) -> &str {
        let second = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        if second != self.date_second {
            self.date_second = second;
            self.date = httpdate::fmt_http_date(now);
        }
        &self.date
    }
}

fn bearer(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok()?.strip_prefix("Bearer ")
}
