//! `start TIMES SERVER_CPU LOAD_CPU PROGRAM ARGUMENT...`: starts a server again and again, and sends it the
//! request on standard input. Prints as one line of JSON the milliseconds from each spawn to the end of
//! the first response, which must be 200, and the KiB that are resident 0.3 s later.
//!
//! The server listens on 127.0.0.1 at `API_PORT`. This program does little between the spawn and the
//! response, so that it adds little to the figure.

use std::env;
use std::error::Error;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use rustix::thread::{CpuSet, sched_setaffinity};

const PATIENCE: Duration = Duration::from_secs(20);
const SETTLE_TIME: Duration = Duration::from_millis(300);
const RETRY_INTERVAL: Duration = Duration::from_micros(50);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let mut number = || -> Result<usize, Box<dyn Error>> {
        let argument = arguments.next().ok_or("an argument is missing")?;
        Ok(argument.to_str().ok_or("not a number")?.parse()?)
    };
    let (times, server_cpu, load_cpu) = (number()?, number()?, number()?);
    let program = arguments.next().ok_or("the program is missing")?;
    let port: u16 = env::var("API_PORT")?.parse()?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));

    let mut request = Vec::new();
    io::stdin().read_to_end(&mut request)?;

    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    let (mut starts, mut idle) = (Vec::new(), Vec::new());
    for _ in 0..times {
        // The child inherits it.
        run_on(server_cpu)?;
        let began = Instant::now();
        let mut child = command.spawn()?;
        run_on(load_cpu)?;
        let connection = first_response(address, &request, began);
        starts.push(format!("{:.3}", began.elapsed().as_secs_f64() * 1e3));
        thread::sleep(SETTLE_TIME);
        let group = i32::try_from(child.id())?;
        idle.push(resident_kib(group)?.to_string());
        // The client closes first: no server finds its port in use when it starts again.
        let response = connection.map(drop);
        let ended = child.try_wait()?;
        // A group whose last process has ended does not exist.
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        child.wait()?;
        // Its workers, which also listen, may take longer to end.
        while TcpStream::connect(address).is_ok() {
            thread::sleep(RETRY_INTERVAL);
        }
        if let Some(status) = ended {
            return Err(format!("the server ended by itself: {status}").into());
        }
        response?;
    }
    println!(
        r#"{{"start_ms": [{}], "idle_kib": [{}]}}"#,
        starts.join(", "),
        idle.join(", ")
    );
    Ok(())
}

fn run_on(cpu: usize) -> rustix::io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set)
}

/// Connects as soon as the server listens, and reads its whole response. Returns the connection, which
/// stays open.
fn first_response(
    address: SocketAddr,
    request: &[u8],
    began: Instant,
) -> Result<TcpStream, Box<dyn Error>> {
    let mut stream = loop {
        match TcpStream::connect(address) {
            Ok(stream) => break stream,
            Err(error)
                if error.kind() == ErrorKind::ConnectionRefused && began.elapsed() < PATIENCE =>
            {
                thread::sleep(RETRY_INTERVAL);
            }
            Err(error) => return Err(error.into()),
        }
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    let mut response = Vec::new();
    let mut buffer = [0; 4096];
    while !is_whole(&response) {
        match stream.read(&mut buffer)? {
            0 => return Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
            read => response.extend_from_slice(&buffer[..read]),
        }
    }
    if !response.starts_with(b"HTTP/1.1 200 ") {
        return Err("the first response is not 200".into());
    }
    Ok(stream)
}

fn is_whole(response: &[u8]) -> bool {
    let text = String::from_utf8_lossy(response).to_ascii_lowercase();
    let Some((head, content)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    length
        .and_then(|length| length.parse().ok())
        .is_some_and(|length: usize| content.len() >= length)
}

/// Of all processes of the group. Each counts the pages that it shares with others.
fn resident_kib(group: i32) -> Result<u64, Box<dyn Error>> {
    let mut sum = 0;
    for entry in fs::read_dir("/proc")? {
        let folder = entry?.path();
        // A process may have ended since it was listed.
        let Ok(stat) = fs::read_to_string(folder.join("stat")) else {
            continue;
        };
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        if fields.split_whitespace().nth(2) != Some(group.to_string().as_str()) {
            continue;
        }
        let status = fs::read_to_string(folder.join("status")).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        sum += resident
            .and_then(|line| line.split_whitespace().next())
            .map_or(Ok(0), str::parse)?;
    }
    Ok(sum)
}
