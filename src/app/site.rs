//! The built-in application: the whole site on one screen.

use super::{App, Route, authenticated, handlers, open};

/// The built-in application.
#[must_use]
pub fn site() -> App<()> {
    App::new("resource-server", routes, || Ok(()))
        .version(env!("CARGO_PKG_VERSION"))
        .trial_path("/resource/secret")
        .about(
            "A minimal resource server: one public and one protected resource, HS256 bearer tokens.",
        )
}

/// The resource at a path. Paths match byte for byte: no decoding, no case folding, no trailing
/// slash.
fn routes<'r>(path: &str, route: Route<'r, ()>) -> Route<'r, ()> {
    match path {
        "/resource" => route.get(open(handlers::public)),
        "/resource/secret" => route.get(authenticated(handlers::secret)),
        "/healthz" => route.get(open(handlers::health)),
        "/auth" => route.gate(None),
        _ => match path.strip_prefix("/auth/") {
            // The gateway chooses what follows: a client can only append a query or a fragment to it.
            Some(scopes) => route.gate(Some(scopes)),
            None => route,
        },
    }
}
