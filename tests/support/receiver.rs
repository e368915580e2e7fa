//! A receiver of notifications: https with a certificate that leads to the CAPIF root, for callers with one of their own. Beside it
//! one without TLS.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex},
};

use capif_transport::{
    Acceptor, Anchors, Body, ClientCertificates, Clock, Connection, Handler, Identity, Limits,
    Peer, Server, ServerTls, collect, empty,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
};
use serde_json::Value;

use super::{SOON, World, eventually, keys};

/// One notification as it came.
#[derive(Clone, Debug)]
pub struct Notice {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub peer: Peer,
    pub body: Value,
    /// What was answered.
    pub status: StatusCode,
}

pub struct Receiver {
    server: Server,
    scheme: &'static str,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// The next answers; 204 when there are no more.
    answers: Mutex<VecDeque<StatusCode>>,
    always: Mutex<Option<StatusCode>>,
    /// Where a redirect leads.
    location: Mutex<Option<String>>,
    seen: Mutex<Vec<Notice>>,
}

impl Handler for State {
    async fn handle(&self, request: Request<Body>, connection: Arc<Connection>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = collect(body, 1 << 20, SOON).await.unwrap_or_default();
        let next = self.answers.lock().unwrap().pop_front();
        let status = next
            .or(*self.always.lock().unwrap())
            .unwrap_or(StatusCode::NO_CONTENT);
        self.seen.lock().unwrap().push(Notice {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            headers: parts.headers,
            peer: connection.peer.clone(),
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
            status,
        });
        let mut response = Response::new(empty());
        *response.status_mut() = status;
        if status.is_redirection() {
            let elsewhere = parts.uri.path().replace("redirected", "elsewhere");
            let location = self.location.lock().unwrap().clone().unwrap_or(elsewhere);
            response
                .headers_mut()
                .insert("location", location.parse().unwrap());
        }
        response
    }
}

impl Receiver {
    /// A receiver that the CAPIF authority vouches for as an AEF.
    pub fn start(world: &World) -> Self {
        Self::with_authority(world, &world.dir.path().join("ca/issuing"), "AEF")
    }

    /// A receiver that some authority vouches for in some role; the authority's `.pem` and `.key` stand beside each other.
    pub fn with_authority(world: &World, authority: &Path, role: &str) -> Self {
        let acceptor = Acceptor::new(ServerTls {
            identity: certified(world, authority, role),
            client_certificates: ClientCertificates::Required(
                Anchors::from_pem(&world.root_pem()).unwrap(),
            ),
            clock: world.clock(),
            psk: None,
            session: None,
        });
        let state = Arc::new(State::default());
        let address = "127.0.0.1:0".parse().unwrap();
        let server = Server::bind(
            address,
            Arc::new(acceptor.unwrap()),
            Limits::default(),
            Arc::clone(&state),
        )
        .unwrap();
        Self {
            server,
            scheme: "https",
            state,
        }
    }

    /// A receiver that knows nothing of TLS.
    pub fn without_tls() -> Self {
        let state = Arc::new(State::default());
        let address = "127.0.0.1:0".parse().unwrap();
        let server = Server::bind_plain(address, Limits::default(), Arc::clone(&state)).unwrap();
        Self {
            server,
            scheme: "http",
            state,
        }
    }

    /// What an AEF at this machine's address shows.
    pub fn identity(world: &World) -> Identity {
        certified(world, &world.dir.path().join("ca/issuing"), "AEF")
    }

    pub fn port(&self) -> u16 {
        self.server.local_addr().port()
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.server.local_addr())
    }

    /// Answers the next notifications so, and then as before.
    pub fn answer(&self, statuses: &[u16]) {
        let statuses = statuses
            .iter()
            .map(|status| StatusCode::from_u16(*status).unwrap());
        self.state.answers.lock().unwrap().extend(statuses);
    }

    /// Leads whoever is redirected there.
    pub fn redirect_to(&self, location: &str) {
        *self.state.location.lock().unwrap() = Some(location.to_owned());
    }

    /// Answers every notification so; with 204 again if there is nothing given.
    pub fn always(&self, status: Option<u16>) {
        *self.state.always.lock().unwrap() =
            status.map(|status| StatusCode::from_u16(status).unwrap());
    }

    /// Every notification so far.
    pub fn seen(&self) -> Vec<Notice> {
        self.state.seen.lock().unwrap().clone()
    }

    /// The notifications that were acknowledged, in order, once there are this many.
    pub async fn acknowledged(&self, count: usize) -> Vec<Value> {
        let taken = || -> Vec<Value> {
            self.seen()
                .into_iter()
                .filter(|notice| notice.status.is_success())
                .map(|notice| notice.body)
                .collect()
        };
        eventually(
            &format!("{count} notifications are acknowledged"),
            || async { taken().len() >= count },
        )
        .await;
        taken()
    }
}

impl World {
    /// Lets callbacks go to these receivers and nowhere else, and starts the core function anew.
    pub async fn allow(&mut self, receivers: &[&Receiver]) {
        self.stop().await;
        let allow = receivers.iter().map(|receiver| {
            let target = format!("127.0.0.1:{}", receiver.port());
            target.parse().unwrap()
        });
        self.config.callbacks.allow = allow.collect();
        self.resume().await;
    }
}

/// A certificate of an authority for this machine's address in some role.
fn certified(world: &World, authority: &Path, role: &str) -> Identity {
    let read = |kind: &str| std::fs::read_to_string(authority.with_extension(kind)).unwrap();
    let authority_pem = read("pem");
    let issuer =
        Issuer::from_ca_cert_pem(&authority_pem, KeyPair::from_pem(&read("key")).unwrap()).unwrap();
    let key = keys::p256();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.not_before = world.clock.now() - time::Duration::minutes(1);
    params.not_after = world.clock.now() + time::Duration::days(30);
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationalUnitName, role);
    params
        .distinguished_name
        .push(DnType::CommonName, "a receiver");
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    ];
    let chain = format!(
        "{}{authority_pem}",
        params.signed_by(&key, &issuer).unwrap().pem()
    );
    Identity::from_pem(chain, key.serialize_pem()).unwrap()
}
