//! `/livez` and `/readyz` on the management listener.

use std::sync::Arc;

use capif_procedures::changes::Changes;
use capif_transport::{Body, Connection, Handler, full};
use http::{Method, Request, Response, StatusCode};

use crate::core::Core;

/// The handler of the management listener.
pub struct Health {
    core: Arc<Core>,
}

impl Health {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// What is worth knowing of one that is ready.
    fn standing(&self) -> String {
        let config = &self.core.config;
        let compat = if config.is_lenient() {
            "opencapif"
        } else {
            "none"
        };
        let insecure: Vec<String> = config
            .callbacks
            .insecure_http
            .iter()
            .map(ToString::to_string)
            .collect();
        let insecure = match insecure.as_slice() {
            [] => "none".to_owned(),
            places => places.join(" "),
        };
        format!("compat: {compat}\ninsecure_http: {insecure}\n")
    }

    /// Ready means: the store takes commits; this one writes nothing.
    async fn ready(&self) -> bool {
        self.core.store.commit(Changes::new()).await.is_ok()
    }
}

impl Handler for Health {
    async fn handle(&self, request: Request<Body>, _connection: Arc<Connection>) -> Response<Body> {
        let is_verbose = request.uri().query() == Some("verbose");
        let (status, body) = match (request.method(), request.uri().path()) {
            (&Method::GET, "/livez") => (StatusCode::OK, full("ok\n")),
            (&Method::GET, "/readyz") if self.ready().await => {
                let standing = if is_verbose {
                    self.standing()
                } else {
                    String::new()
                };
                (StatusCode::OK, full(format!("ok\n{standing}")))
            }
            (&Method::GET, "/readyz") => (
                StatusCode::SERVICE_UNAVAILABLE,
                full("the store does not accept changes\n"),
            ),
            (_, "/livez" | "/readyz") => (StatusCode::METHOD_NOT_ALLOWED, full("GET only\n")),
            _ => (
                StatusCode::NOT_FOUND,
                full("there are /livez and /readyz\n"),
            ),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        response
    }
}
