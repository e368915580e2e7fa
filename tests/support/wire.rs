//! Raw requests over TLS, with whatever certificate and credential a test wants.

use std::sync::Arc;

use capif_procedures::aefpsk::{SESSION_ID_LABEL, SESSION_KEY_LABEL};
use capif_transport::{
    Anchors, Client, ClientLimits, ClientTls, Identity, PskCredential, Session, SessionLabels,
    collect, empty, full,
};
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::Value;

use super::{SOON, World};

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// The facts of the session that carried it, for a caller who keeps them.
    pub session: Option<Arc<Session>>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The `cause` of a problem, which must be one.
    pub fn cause(&self) -> String {
        assert_eq!(
            self.headers["content-type"], "application/problem+json",
            "{self:?}"
        );
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty())
        );
        assert!(
            problem["requestId"]
                .as_str()
                .is_some_and(|id| !id.is_empty())
        );
        problem["cause"].as_str().unwrap_or_default().to_owned()
    }
}

/// A caller with or without a certificate.
#[derive(Clone)]
pub struct Caller {
    client: Client,
    base: String,
}

impl Caller {
    /// A caller of an address who believes the world's root certificate.
    pub fn new(world: &World, address: &str, identity: Option<Identity>) -> Self {
        let anchors = Anchors::from_pem(&world.root_pem()).unwrap();
        Self::believing(world, address, anchors, identity)
    }

    /// A caller of an address who believes these anchors.
    pub fn believing(
        world: &World,
        address: &str,
        anchors: Anchors,
        identity: Option<Identity>,
    ) -> Self {
        let tls = ClientTls {
            anchors: Some(anchors),
            identity,
            clock: world.clock(),
            session: None,
            tls12_only: false,
        };
        Self::over(tls, address)
    }

    /// A caller of an address where a key proves both ends.
    pub fn with_key(address: &str, credential: PskCredential) -> Self {
        Self {
            client: Client::psk(credential, ClientLimits::default()).unwrap(),
            base: format!("https://{address}"),
        }
    }

    /// The same, who keeps the facts of each session; by TLS 1.2 alone if wanted.
    pub fn with_facts(
        world: &World,
        address: &str,
        identity: Option<Identity>,
        tls12_only: bool,
    ) -> Self {
        let tls = ClientTls {
            anchors: Some(Anchors::from_pem(&world.root_pem()).unwrap()),
            identity,
            clock: world.clock(),
            session: Some(SessionLabels {
                key: SESSION_KEY_LABEL,
                id: SESSION_ID_LABEL,
            }),
            tls12_only,
        };
        Self::over(tls, address)
    }

    fn over(tls: ClientTls, address: &str) -> Self {
        Self {
            client: Client::new(tls, ClientLimits::default()).unwrap(),
            base: format!("https://{address}"),
        }
    }

    /// Sends a request; `None` when there was no answer, since the handshake failed or the connection broke.
    pub async fn try_send(&self, request: Request<Vec<u8>>) -> Option<Answer> {
        let (mut parts, body) = request.into_parts();
        parts.uri = format!("{}{}", self.base, parts.uri).parse().unwrap();
        let body = if body.is_empty() { empty() } else { full(body) };
        let response = self
            .client
            .request(Request::from_parts(parts, body))
            .await
            .ok()?;
        let (parts, body) = response.into_parts();
        let session = parts.extensions.get::<Arc<Session>>().cloned();
        let body = collect(body, 64 << 20, SOON).await.ok()?.to_vec();
        Some(Answer {
            status: parts.status,
            headers: parts.headers,
            body,
            session,
        })
    }

    pub async fn send(&self, request: Request<Vec<u8>>) -> Answer {
        self.try_send(request).await.expect("no answer")
    }

    /// A request with a JSON body, when there is one.
    pub async fn json(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        self.send(request(method, path, None, body)).await
    }

    /// The same with a bearer credential.
    pub async fn bearer(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<&Value>,
    ) -> Answer {
        self.send(request(method, path, Some(token), body)).await
    }

    /// A form.
    pub async fn form(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let body = serde_urlencoded::to_string(form).unwrap();
        let request = Request::post(path)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.into_bytes())
            .unwrap();
        self.send(request).await
    }
}

/// Puts a request together.
pub fn request(
    method: Method,
    path: &str,
    token: Option<&str>,
    body: Option<&Value>,
) -> Request<Vec<u8>> {
    let patch = method == Method::PATCH;
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let body = match body {
        None => Vec::new(),
        Some(body) => {
            let media = if patch {
                "application/merge-patch+json"
            } else {
                "application/json"
            };
            request = request.header("content-type", media);
            body.to_string().into_bytes()
        }
    };
    request.body(body).unwrap()
}
