//! The API behind the gateway.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use capif_transport::{Body, Connection, Handler, Limits, Server, full};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use serde_json::json;

/// A small HTTP API that knows nothing of CAPIF: it tells the weather, and remembers how it was asked.
pub(super) struct Api {
    server: Server,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// How the API was asked.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
}

impl Api {
    pub(super) fn start() -> anyhow::Result<Self> {
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let weather = Weather {
            asked: asked.clone(),
        };
        let socket = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::bind_plain(socket, Limits::default(), weather)?;
        Ok(Self { server, asked })
    }

    /// Where it listens.
    pub(super) fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// How often it was asked.
    pub(super) fn count(&self) -> usize {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// How it was asked last.
    pub(super) fn last(&self) -> anyhow::Result<Asked> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.last().cloned().context("the API was not asked")
    }
}

struct Weather {
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Handler for Weather {
    async fn handle(&self, request: Request<Body>, _connection: Arc<Connection>) -> Response<Body> {
        let answer = json!({ "path": request.uri().path(), "weather": "sunny" });
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Asked {
                path: request.uri().path().to_owned(),
                headers: request.headers().clone(),
            });
        let mut response = Response::new(full(answer.to_string()));
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        response
    }
}
