//! The command `health`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::config::address;
use crate::log::{Lines, output};

/// How long the health check may take, not counting its last line.
const HEALTH_TIMEOUT: Duration = Duration::from_millis(1700);

/// How long the health check may take including its last line: less than the two seconds that are
/// promised.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(1900);

/// Exits with 0 if the server of this environment responds to the health check in time, otherwise
/// with 1.
pub(super) fn health() -> ExitCode {
    let started = Instant::now();
    let Err(line) = check_health() else {
        return ExitCode::SUCCESS;
    };
    // A blocked output must not delay a health check.
    let err = Lines::new(output(io::stderr()));
    err.push(&line);
    err.write_without_thread();
    err.flush(started + FLUSH_TIMEOUT);
    ExitCode::FAILURE
}

/// # Errors
///
/// Why the server is not healthy, in one line.
fn check_health() -> Result<(), String> {
    let mut address = address().map_err(|error| error.to_string())?;
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    match ask_health(address) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("{address}: /healthz did not return 200")),
        // The OS reports "would block" when a socket's timeout expires.
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Err(format!("{address}: timed out"))
        }
        Err(error) => Err(format!("{address}: {error}")),
    }
}

fn ask_health(address: SocketAddr) -> io::Result<bool> {
    const EXPECTED: &[u8] = b"HTTP/1.1 200 ";
    let deadline = Instant::now() + HEALTH_TIMEOUT;
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            Err(io::Error::from(ErrorKind::TimedOut))
        } else {
            Ok(left)
        }
    };
    let mut stream = TcpStream::connect_timeout(&address, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    stream.write_all(
        format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut response = [0; EXPECTED.len()];
    let mut len = 0;
    while let Some(rest) = response.get_mut(len..).filter(|rest| !rest.is_empty()) {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(rest) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(response == EXPECTED)
}
