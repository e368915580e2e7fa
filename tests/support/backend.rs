//! An HTTP API to stand behind a gateway: it answers what it was asked, and remembers.

use std::sync::{Arc, Mutex};

use capif_transport::{Body, Connection, Handler, Limits, Server, collect, full};
use http::{HeaderMap, Request, Response};

use super::SOON;

/// What the API saw of one request.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub query: Option<String>,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// A plain HTTP server on loopback.
pub struct Backend {
    server: Server,
    seen: Arc<Mutex<Vec<Seen>>>,
}

struct Echo(Arc<Mutex<Vec<Seen>>>);

impl Handler for Echo {
    async fn handle(&self, request: Request<Body>, _connection: Arc<Connection>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = collect(body, 64 << 20, SOON)
            .await
            .map(|body| body.to_vec())
            .unwrap_or_default();
        let text = format!("{} {}", parts.method, parts.uri.path());
        self.0.lock().unwrap().push(Seen {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            headers: parts.headers,
            body,
        });
        Response::builder()
            .header("x-backend", "echo")
            .header("connection", "x-hop")
            .header("x-hop", "must not pass")
            .body(full(text))
            .unwrap()
    }
}

impl Backend {
    pub fn start() -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let address = "127.0.0.1:0".parse().unwrap();
        let server =
            Server::bind_plain(address, Limits::default(), Echo(Arc::clone(&seen))).unwrap();
        Self { server, seen }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.server.local_addr())
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}
