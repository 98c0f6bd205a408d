//! axum with axum-extra's typed `Authorization` field and jsonwebtoken behind
//! an extractor.

use std::env;
use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header::WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, RequestPartsExt, Router};
use axum_extra::TypedHeader;
use axum_extra::headers::authorization::{Authorization, Bearer};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

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

enum AuthError {
    Missing,
    Invalid,
}

impl IntoResponse for AuthError {
    fn into_response(self) -> Response {
        let (challenge, message) = match self {
            AuthError::Missing => ("Bearer", "No authorization token was found"),
            AuthError::Invalid => (r#"Bearer error="invalid_token""#, "Invalid token"),
        };
        (
            StatusCode::UNAUTHORIZED,
            [(WWW_AUTHENTICATE, challenge)],
            Json(Message { message }),
        )
            .into_response()
    }
}

impl FromRequestParts<Arc<Auth>> for Claims {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, auth: &Arc<Auth>) -> Result<Self, AuthError> {
        let TypedHeader(Authorization(bearer)) = parts
            .extract::<TypedHeader<Authorization<Bearer>>>()
            .await
            .map_err(|_| AuthError::Missing)?;
        decode::<Claims>(bearer.token(), &auth.key, &auth.validation)
            .map(|data| data.claims)
            .map_err(|_| AuthError::Invalid)
    }
}

async fn resource() -> Json<Message> {
    Json(Message {
        message: "Public resource. You can see this.",
    })
}

async fn secret(_claims: Claims) -> Json<Message> {
    Json(Message {
        message: "Secret resource. You should be logged in to see this.",
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = env::var("API_PORT")?.parse()?;
    let mut validation = Validation::new(Algorithm::HS256);
    validation.leeway = 0;
    let auth = Arc::new(Auth {
        key: DecodingKey::from_secret(env::var("JWT_SECRET")?.as_bytes()),
        validation,
    });

    let app = Router::new()
        .route("/resource", get(resource))
        .route("/resource/secret", get(secret))
        .with_state(auth);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    axum::serve(listener, app).await?;
    Ok(())
}
