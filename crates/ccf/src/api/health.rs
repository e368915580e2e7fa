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
    fn standing(&self) -> &'static str {
        if self.core.config.is_lenient() {
            "ok\ncompat: opencapif\n"
        } else {
            "ok\ncompat: none\n"
        }
    }

    /// Ready means: the store takes commits; this one writes nothing.
    async fn ready(&self) -> bool {
        self.core.store.commit(Changes::new()).await.is_ok()
    }
}

impl Handler for Health {
    async fn handle(&self, request: Request<Body>, _connection: Arc<Connection>) -> Response<Body> {
        let (status, text) = match (request.method(), request.uri().path()) {
            (&Method::GET, "/livez") => (StatusCode::OK, "ok\n"),
            (&Method::GET, "/readyz") if self.ready().await => {
                let verbose = request.uri().query() == Some("verbose");
                (
                    StatusCode::OK,
                    if verbose { self.standing() } else { "ok\n" },
                )
            }
            (&Method::GET, "/readyz") => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the store does not accept changes\n",
            ),
            (_, "/livez" | "/readyz") => (StatusCode::METHOD_NOT_ALLOWED, "GET only\n"),
            _ => (StatusCode::NOT_FOUND, "there are /livez and /readyz\n"),
        };
        let mut response = Response::new(full(text));
        *response.status_mut() = status;
        response
    }
}
