//! actix-web with jsonwebtoken behind an extractor, one worker.

use std::env;
use std::error::Error;
use std::fmt;
use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::{StatusCode, header};
use actix_web::{
    App, FromRequest, HttpRequest, HttpResponse, HttpServer, Responder, ResponseError, get, web,
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
struct Message {
    message: &'static str,
}

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

#[derive(Debug)]
enum AuthError {
    Missing,
    Invalid,
}

impl AuthError {
    fn message(&self) -> &'static str {
        match self {
            AuthError::Missing => "No authorization token was found",
            AuthError::Invalid => "Invalid token",
        }
    }
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl ResponseError for AuthError {
    fn status_code(&self) -> StatusCode {
        StatusCode::UNAUTHORIZED
    }

    fn error_response(&self) -> HttpResponse {
        let challenge = match self {
            AuthError::Missing => "Bearer",
            AuthError::Invalid => r#"Bearer error="invalid_token""#,
        };
        HttpResponse::build(self.status_code())
            .insert_header((header::WWW_AUTHENTICATE, challenge))
            .json(Message {
                message: self.message(),
            })
    }
}

impl FromRequest for Claims {
    type Error = AuthError;
    type Future = Ready<Result<Self, AuthError>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        ready(authenticate(request))
    }
}

fn authenticate(request: &HttpRequest) -> Result<Claims, AuthError> {
    let auth = request
        .app_data::<web::Data<Auth>>()
        .expect("Auth is registered as app data");
    let token = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .ok_or(AuthError::Missing)?;
    decode::<Claims>(token, &auth.key, &auth.validation)
        .map(|data| data.claims)
        .map_err(|_| AuthError::Invalid)
}

#[get("/resource")]
async fn resource() -> impl Responder {
    web::Json(Message {
        message: "Public resource. You can see this.",
    })
}

#[get("/resource/secret")]
async fn secret(_claims: Claims) -> impl Responder {
    web::Json(Message {
        message: "Secret resource. You should be logged in to see this.",
    })
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = env::var("API_PORT")?.parse()?;
    let mut validation = Validation::new(Algorithm::HS256);
    validation.leeway = 0;
    let auth = web::Data::new(Auth {
        key: DecodingKey::from_secret(env::var("JWT_SECRET")?.as_bytes()),
        validation,
    });

    HttpServer::new(move || {
        App::new()
            .app_data(auth.clone())
            .service(resource)
            .service(secret)
    })
    .workers(1)
    .bind(("127.0.0.1", port))?
    .run()
    .await?;
    Ok(())
}
