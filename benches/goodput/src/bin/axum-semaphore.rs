//! axum behind a semaphore: a connection is accepted once there is a permit, and keeps the permit
//! until it is closed. No timeout: axum's `serve` has none.

use std::env;
use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::serve::Listener;
use axum::{Json, Router, routing::get};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

struct Limited {
    listener: TcpListener,
    seats: Arc<Semaphore>,
}

impl Listener for Limited {
    type Io = Seated;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Seated, SocketAddr) {
        let seats = Arc::clone(&self.seats);
        let seat = seats.acquire_owned().await.expect("it is never closed");
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        // A client that has gone is noticed by the first read.
        let _ = stream.set_nodelay(true);
        (
            Seated {
                stream,
                _seat: seat,
            },
            peer,
        )
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

struct Seated {
    stream: TcpStream,
    _seat: OwnedSemaphorePermit,
}

impl AsyncRead for Seated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Seated {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

async fn resource() -> Json<Value> {
    Json(json!({"message": "Public resource. You can see this."}))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = env::var("API_PORT")?.parse()?;
    let seats: usize = env::var("API_MAX_CONNECTIONS")?.parse()?;
    let limited = Limited {
        listener: TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?,
        seats: Arc::new(Semaphore::new(seats)),
    };
    let app = Router::new().route("/resource", get(resource));
    axum::serve(limited, app).await?;
    Ok(())
}
