//! Notes of users, kept in SQLite: an API on the engine of `resource-server`.

mod database;

use std::process::ExitCode;

use database::Database;
use resource_server::app::{App, Response, Route, StatusCode as Status};
use resource_server::app::{authenticated, health, needs, open, segments};
use resource_server::jwt::VerifiedClaims;
use rusqlite::ErrorCode;
use serde_json::{Map, Value, json};

type Request = resource_server::app::Request<Database>;
type Result = std::result::Result<Response, Response>;

fn main() -> ExitCode {
    let app = App::new("notes", routes, Database::open).version(env!("CARGO_PKG_VERSION"));
    resource_server::run(app.variables(&["NOTES_FILE"]))
}

/// The whole site: `HEAD`, `OPTIONS`, `Allow`, 401, 403, 404, 405 and `no-store` follow from it.
fn routes<'r>(path: &str, route: Route<'r, Database>) -> Route<'r, Database> {
    match *segments(path) {
        ["notes"] => route
            .get(needs("notes:read", list))
            .post(needs("notes:write", create)),
        ["notes", id] => {
            let id = id.parse().unwrap_or(0); // no note has it
            let note = move |claims, request| note(claims, request, id);
            route.get(needs("notes:read", note))
        }
        ["me"] => route.get(authenticated(me)),
        ["healthz"] => route.get(open(health)),
        _ => route,
    }
}

async fn list(claims: VerifiedClaims, request: Request) -> Result {
    let user = claims.user()?.into_owned();
    let notes = request.state().list(user).await.map_err(failed)?;
    let note = |(id, beginning)| json!({ "id": id, "text": beginning });
    let notes: Value = notes.into_iter().map(note).collect();
    Ok(Response::json_from(&notes))
}

async fn create(claims: VerifiedClaims, mut request: Request) -> Result {
    let user = claims.user()?.into_owned();
    let content = request.content(16 * 1024).await?;
    let mut note: Map<String, Value> = serde_json::from_slice(&content).unwrap_or_default();
    let Some(Value::String(text)) = note.remove("text") else {
        let message = r#"expected JSON such as {"text":"buy milk"}"#;
        return Err(Response::error(Status::BAD_REQUEST, "bad_request", message));
    };
    let note = request.state().create(user, text).await;
    let location = format!("/notes/{}", note.map_err(failed)?);
    Ok(Response::empty(Status::CREATED).with("location", location))
}

async fn note(claims: VerifiedClaims, request: Request, id: i64) -> Result {
    let user = claims.user()?.into_owned();
    let note = request.state().note(user, id).await;
    let missing = || Response::error(Status::NOT_FOUND, "not_found", "no such note");
    let text = note.map_err(failed)?.ok_or_else(missing)?;
    Ok(Response::json_from(&json!({ "id": id, "text": text })))
}

async fn me(claims: VerifiedClaims, _: Request) -> Result {
    Ok(Response::json_from(&json!({ "user": claims.user()? })))
}

/// The client learns that the fault is not its own; the cause is on standard error.
fn failed(error: rusqlite::Error) -> Response {
    if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) {
        let message = "the database is busy: try again later";
        return Response::error(Status::SERVICE_UNAVAILABLE, "unavailable", message);
    }
    let message = "the database failed";
    Response::error(Status::INTERNAL_SERVER_ERROR, "internal_error", message)
}
