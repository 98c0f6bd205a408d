//! The routes of `examples/notes` on axum with axum-extra's typed `Authorization` field and
//! jsonwebtoken behind an extractor. The database is the same, in the same source file.

#[path = "../../../../../examples/notes/src/database.rs"]
mod database;

use std::env;
use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, State};
use axum::http::header::{LOCATION, WWW_AUTHENTICATE};
use axum::http::{StatusCode, request::Parts};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, RequestPartsExt, Router};
use axum_extra::TypedHeader;
use axum_extra::headers::authorization::{Authorization, Bearer};
use database::Database;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use rusqlite::ErrorCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

struct App {
    database: Database,
    key: DecodingKey,
    validation: Validation,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[expect(
        dead_code,
        reason = "decoded as an application would, and not read here"
    )]
    exp: u64,
    #[serde(default)]
    scope: String,
}

impl Claims {
    fn needs(&self, scope: &str) -> Result<(), Failure> {
        let is_granted = self.scope.split(' ').any(|granted| granted == scope);
        is_granted.then_some(()).ok_or(Failure::Scope)
    }
}

#[derive(Deserialize)]
struct Draft {
    text: String,
}

enum Failure {
    Credentials,
    Token,
    Scope,
    Content(JsonRejection),
    Missing,
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let challenge = |status: StatusCode, challenge, message| {
            let content = Json(json!({ "message": message }));
            (status, [(WWW_AUTHENTICATE, challenge)], content).into_response()
        };
        let plain = |status: StatusCode, message: &str| {
            (status, Json(json!({ "message": message }))).into_response()
        };
        match self {
            Self::Credentials => {
                let message = "No authorization token was found";
                challenge(StatusCode::UNAUTHORIZED, "Bearer", message)
            }
            Self::Token => {
                let field = r#"Bearer error="invalid_token""#;
                challenge(StatusCode::UNAUTHORIZED, field, "Invalid token")
            }
            Self::Scope => {
                let field = r#"Bearer error="insufficient_scope""#;
                challenge(StatusCode::FORBIDDEN, field, "Insufficient scope")
            }
            Self::Content(rejection) => plain(rejection.status(), &rejection.body_text()),
            Self::Missing => plain(StatusCode::NOT_FOUND, "no such note"),
            Self::Database(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DatabaseBusy) => {
                    plain(StatusCode::SERVICE_UNAVAILABLE, "the database is busy")
                }
                _ => plain(StatusCode::INTERNAL_SERVER_ERROR, "the database failed"),
            },
        }
    }
}

impl FromRequestParts<Arc<App>> for Claims {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let TypedHeader(Authorization(bearer)) = parts
            .extract::<TypedHeader<Authorization<Bearer>>>()
            .await
            .map_err(|_| Failure::Credentials)?;
        decode::<Claims>(bearer.token(), &app.key, &app.validation)
            .map(|data| data.claims)
            .map_err(|_| Failure::Token)
    }
}

async fn list(claims: Claims, State(app): State<Arc<App>>) -> Result<Json<Value>, Failure> {
    claims.needs("notes:read")?;
    let notes = app.database.list(claims.sub).await?;
    let note = |(id, beginning)| json!({ "id": id, "text": beginning });
    Ok(Json(notes.into_iter().map(note).collect()))
}

async fn create(
    claims: Claims,
    State(app): State<Arc<App>>,
    draft: Result<Json<Draft>, JsonRejection>,
) -> Result<impl IntoResponse, Failure> {
    claims.needs("notes:write")?;
    let Json(draft) = draft.map_err(Failure::Content)?;
    let id = app.database.create(claims.sub, draft.text).await?;
    Ok((StatusCode::CREATED, [(LOCATION, format!("/notes/{id}"))]))
}

async fn note(
    claims: Claims,
    State(app): State<Arc<App>>,
    Path(id): Path<i64>,
) -> Result<Json<Value>, Failure> {
    claims.needs("notes:read")?;
    let text = app
        .database
        .note(claims.sub, id)
        .await?
        .ok_or(Failure::Missing)?;
    Ok(Json(json!({ "id": id, "text": text })))
}

async fn me(claims: Claims) -> Json<Value> {
    Json(json!({ "user": claims.sub }))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = env::var("API_PORT")?.parse()?;
    let mut validation = Validation::new(Algorithm::HS256);
    validation.leeway = 0;
    let app = Arc::new(App {
        database: Database::open()?,
        key: DecodingKey::from_secret(env::var("JWT_SECRET")?.as_bytes()),
        validation,
    });

    let app = Router::new()
        .route("/notes", get(list).post(create))
        .route("/notes/{id}", get(note))
        .route("/me", get(me))
        .layer(DefaultBodyLimit::max(16 * 1024))
        .with_state(app);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    axum::serve(listener, app).await?;
    Ok(())
}
