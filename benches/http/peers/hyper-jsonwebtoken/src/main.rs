//! Raw hyper with the jsonwebtoken crate: a service without a framework.

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;
use tokio::net::TcpListener;

const PUBLIC: &str = r#"{"message":"Public resource. You can see this."}"#;
const SECRET: &str = r#"{"message":"Secret resource. You should be logged in to see this."}"#;
const NO_TOKEN: &str = r#"{"message":"No authorization token was found"}"#;
const BAD_TOKEN: &str = r#"{"message":"Invalid token"}"#;
const NOT_FOUND: &str = r#"{"message":"Not found"}"#;

#[derive(Deserialize)]
#[expect(
    dead_code,
    reason = "decoded as an application would, but not read here"
)]
struct Claims {
    sub: String,
    exp: u64,
}

struct Auth {
    key: DecodingKey,
    validation: Validation,
}

impl Auth {
    fn new(secret: &str) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        Auth {
            key: DecodingKey::from_secret(secret.as_bytes()),
            validation,
        }
    }

    fn check(&self, token: &str) -> Result<Claims, jsonwebtoken::errors::Error> {
        decode::<Claims>(token, &self.key, &self.validation).map(|data| data.claims)
    }
}

fn bearer(fields: &HeaderMap) -> Option<&str> {
    fields
        .get(AUTHORIZATION)?
        .to_str()
        .ok()?
        .strip_prefix("Bearer ")
}

fn json(status: StatusCode, content: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(content.as_bytes())));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn unauthorized(challenge: &'static str, content: &'static str) -> Response<Full<Bytes>> {
    let mut response = json(StatusCode::UNAUTHORIZED, content);
    response
        .headers_mut()
        .insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}

fn respond(auth: &Auth, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/resource") => json(StatusCode::OK, PUBLIC),
        (&Method::GET, "/resource/secret") => match bearer(request.headers()) {
            None => unauthorized("Bearer", NO_TOKEN),
            Some(token) => match auth.check(token) {
                Ok(_claims) => json(StatusCode::OK, SECRET),
                Err(_) => unauthorized(r#"Bearer error="invalid_token""#, BAD_TOKEN),
            },
        },
        _ => json(StatusCode::NOT_FOUND, NOT_FOUND),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = env::var("API_PORT")?.parse()?;
    let auth = Arc::new(Auth::new(&env::var("JWT_SECRET")?));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;

    loop {
        let (stream, _) = listener.accept().await?;
        let auth = Arc::clone(&auth);
        let service = service_fn(move |request| {
            let response = respond(&auth, &request);
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move { connection.await.ok() });
    }
}
