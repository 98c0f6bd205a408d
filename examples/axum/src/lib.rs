//! An axum `Router` on the connection engine, with all its limits and without the module `app`.

use std::convert::Infallible;
use std::pin::Pin;

use axum::Router;
use axum::body::Body;
use hyper::{Request, Response};
use resource_server::server::Content;

/// A router as a service of the engine. Any tower service that is always ready fits in the same way.
#[derive(Clone, Debug)]
pub struct OnEngine(pub Router);

impl hyper::service::Service<Request<Content>> for OnEngine {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Content>) -> Self::Future {
        let mut router = self.0.clone();
        Box::pin(tower_service::Service::call(
            &mut router,
            request.map(Body::new),
        ))
    }
}
