//! A CAPIF core function and AEFs that answer as a test says, and remember what they were asked.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use capif_client::{Enrolment, EnrolmentCode, Invoker, Keystore, OnboardingRequest};
use capif_procedures::aefpsk::{self, Profile};
use capif_spec::common::{ApiInvokerId, Redacted};
use capif_transport::{
    Acceptor, Anchors, Body, ClientCertificates, Clock, Connection, Fingerprint, Handler, Identity,
    Limits, ManualClock, Psk, PskKeys, PskTls, PskVersion, Server, ServerTls, Session,
    SessionLabels, SharedClock, collect, full,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use time::macros::datetime;

pub(crate) use crate::authority::Authority;
pub(crate) use crate::renewing::Renewing;
use crate::renewing::renewal;

/// The only credential that the scripted CAPIF core function accepts.
pub(crate) const CREDENTIAL: &str = "credential-canary";
/// The Onboard_Secret that it gives out.
pub(crate) const SECRET: &str = "onboard-secret-canary";
pub(crate) const INVOKER: &str = "invoker-1";
pub(crate) const AEF: &str = "aef-1";
pub(crate) const API_ID: &str = "api-1";

/// What a peer was asked.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    /// With the query.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The common name of the client certificate.
    pub(crate) peer: Option<String>,
    /// Its SHA-256.
    pub(crate) certificate: Option<String>,
    /// The SHA-256 of that certificate.
    pub(crate) shown: Option<Fingerprint>,
    /// The identity of the key of Method 1.
    pub(crate) key: Option<String>,
    session: Option<Facts1e>,
}

/// What both ends of a session know: by profile, what stands for its secret and its id.
#[derive(Clone, Debug)]
struct Facts1e {
    exported: (Vec<u8>, Vec<u8>),
    literal: Option<(Vec<u8>, Vec<u8>)>,
}

impl Facts1e {
    fn of(session: &Session) -> Self {
        Self {
            exported: (
                session.exported_key().to_vec(),
                session.exported_id().to_vec(),
            ),
            literal: session
                .tls12()
                .map(|facts| (facts.master_secret.to_vec(), facts.session_id.to_vec())),
        }
    }
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn form(&self) -> std::collections::BTreeMap<String, String> {
        serde_urlencoded::from_bytes(&self.body).unwrap()
    }

    pub(crate) fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.path == path
    }
}

/// What a peer does with a request.
pub(crate) enum Reply {
    Answer(Response<Body>),
    /// Closes the connection instead of answering.
    Hang,
    /// Says nothing.
    Silence,
}

pub(crate) fn answer(status: u16, body: &Value) -> Reply {
    let mut response = Response::new(if body.is_null() {
        capif_transport::empty()
    } else {
        full(body.to_string())
    });
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    let media_type = match status {
        400.. => "application/problem+json",
        _ => "application/json",
    };
    response
        .headers_mut()
        .insert("content-type", media_type.parse().unwrap());
    Reply::Answer(response)
}

pub(crate) fn problem(status: u16, detail: &str) -> Reply {
    answer(status, &json!({ "status": status, "detail": detail }))
}

impl Reply {
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Answer(response) = &mut self {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        self
    }
}

type Script = Box<dyn FnMut(&Seen) -> Reply + Send>;

struct Scripted {
    script: Mutex<Script>,
    seen: Mutex<Vec<Seen>>,
}

struct Serving(Arc<Scripted>);

impl Handler for Serving {
    async fn handle(&self, request: Request<Body>, connection: Arc<Connection>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let body = collect(body, 1 << 20, std::time::Duration::from_secs(10))
            .await
            .unwrap();
        let seen = Seen {
            method: head.method,
            path: head.uri.path_and_query().unwrap().to_string(),
            headers: head.headers,
            body,
            peer: connection
                .peer
                .certificate()
                .map(|certificate| certificate.common_name.clone()),
            certificate: connection
                .peer
                .certificate()
                .map(|certificate| certificate.fingerprint.to_string()),
            shown: connection
                .peer
                .certificate()
                .map(|certificate| certificate.fingerprint),
            key: connection.peer.psk().map(|psk| psk.identity.clone()),
            session: connection.session().map(Facts1e::of),
        };
        self.0.seen.lock().unwrap().push(seen.clone());
        let reply = (self.0.script.lock().unwrap())(&seen);
        match reply {
            Reply::Answer(response) => response,
            Reply::Silence => std::future::pending().await,
            Reply::Hang => {
                connection.abort();
                std::future::pending().await
            }
        }
    }
}

/// A peer that does as a test says.
pub(crate) struct Peer {
    pub(crate) address: String,
    pub(crate) port: u16,
    scripted: Arc<Scripted>,
    _server: Server,
}

impl Peer {
    pub(crate) async fn new(
        identity: Identity,
        clients: Anchors,
        clock: SharedClock,
        script: impl FnMut(&Seen) -> Reply + Send + 'static,
    ) -> Self {
        Self::with_keys(identity, clients, clock, None, script).await
    }

    /// A peer that accepts keys of Method 1 too.
    pub(crate) async fn with_keys(
        identity: Identity,
        clients: Anchors,
        clock: SharedClock,
        psk: Option<PskTls>,
        script: impl FnMut(&Seen) -> Reply + Send + 'static,
    ) -> Self {
        let acceptor = Acceptor::new(ServerTls {
            identity,
            client_certificates: ClientCertificates::Requested(clients),
            clock,
            psk,
            session: Some(LABELS),
        })
        .unwrap();
        let scripted = Arc::new(Scripted {
            script: Mutex::new(Box::new(script)),
            seen: Mutex::default(),
        });
        let server = Server::bind(
            (Ipv4Addr::LOCALHOST, 0).into(),
            Arc::new(acceptor),
            Limits::default(),
            Serving(Arc::clone(&scripted)),
        )
        .unwrap();
        let port = server.local_addr().port();
        Self {
            address: format!("127.0.0.1:{port}"),
            port,
            scripted,
            _server: server,
        }
    }

    pub(crate) fn script(&self, script: impl FnMut(&Seen) -> Reply + Send + 'static) {
        *self.scripted.script.lock().unwrap() = Box::new(script);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.scripted.seen.lock().unwrap().clone()
    }

    pub(crate) fn forget(&self) {
        self.scripted.seen.lock().unwrap().clear();
    }

    /// How often it was asked this.
    pub(crate) fn count(&self, method: &str, path: &str) -> usize {
        self.seen()
            .iter()
            .filter(|seen| seen.is(method, path))
            .count()
    }
}

const LABELS: SessionLabels = SessionLabels {
    key: aefpsk::SESSION_KEY_LABEL,
    id: aefpsk::SESSION_ID_LABEL,
};

/// The keys of Method 1 that an AEF has heard of.
#[derive(Clone, Default)]
pub(crate) struct Keys(pub(crate) Arc<Mutex<HashMap<String, Psk>>>);

impl Keys {
    pub(crate) fn tls(&self) -> PskTls {
        PskTls {
            version: PskVersion::Tls13,
            keys: Arc::new(self.clone()),
        }
    }

    pub(crate) fn forget(&self) {
        self.0.lock().unwrap().clear();
    }
}

impl PskKeys for Keys {
    fn key<'a>(
        &'a self,
        identity: &'a str,
        _remote: IpAddr,
    ) -> Pin<Box<dyn Future<Output = Option<Psk>> + Send + 'a>> {
        let key = self.0.lock().unwrap().get(identity).cloned();
        Box::pin(std::future::ready(key))
    }
}

/// What the scripted CAPIF core function knows.
pub(crate) struct Facts {
    pub(crate) authority: Arc<Authority>,
    /// The AEF, and its port.
    pub(crate) aef_id: &'static str,
    pub(crate) aef_port: u16,
    /// The method that it selects now.
    pub(crate) method: Option<&'static str>,
    /// Whether there is a security context.
    pub(crate) context: bool,
    /// How many tokens it has issued.
    pub(crate) tokens: usize,
    /// The keys that it has derived, as the AEF hears of them.
    pub(crate) keys: Keys,
    /// How many keys it has derived.
    pub(crate) derived: u64,
    /// How long they are good, in seconds.
    pub(crate) key_seconds: i64,
    /// Whether the AEF has a second interface, and entries are divided by interface.
    pub(crate) divided: bool,
    /// What it does to the announcement of a key.
    pub(crate) altered: fn(&mut Value),
    pub(crate) clock: Arc<ManualClock>,
    /// How it renews, if it does.
    pub(crate) renewing: Option<Renewing>,
}

impl Facts {
    /// Derives a key as the invoker does, tells the AEF, and announces it.
    fn announce(&mut self, entry: &Value, seen: &Seen) -> Value {
        let asked = entry["vendorSpecific-capif"]["pskProfile"].as_str();
        let profile: Profile = asked.unwrap_or("a1-exporter").parse().unwrap();
        let session = seen.session.as_ref().unwrap();
        let (key, session_id) = match profile {
            Profile::A1Exporter => &session.exported,
            Profile::A1Tls12 => session.literal.as_ref().unwrap(),
        };
        let facts = aefpsk::Facts {
            profile,
            key,
            session_id,
        };
        let interface = format!("https://127.0.0.1:{}", self.aef_port);
        let key = aefpsk::derive(&facts, &interface).unwrap();
        self.derived += 1;
        let identity = aefpsk::identity(&ApiInvokerId::from(INVOKER), self.derived);
        let mut keys = self.keys.0.lock().unwrap();
        keys.insert(identity.clone(), Psk::new(*key));
        let mut announcement = json!({
            "method": "PSK",
            "profile": profile.to_string(),
            "pskId": identity,
            "exp": self.clock.now().unix_timestamp() + self.key_seconds,
            "tls": "1.3",
            "interface": interface,
        });
        (self.altered)(&mut announcement);
        announcement
    }
}

pub(crate) type SharedFacts = Arc<Mutex<Facts>>;

/// Answers as a CAPIF core function does when all is well.
pub(crate) fn usual(facts: &SharedFacts, seen: &Seen) -> Reply {
    let mut facts = facts.lock().unwrap();
    let path = seen.path.split('?').next().unwrap();
    if let Some(reply) = renewal(&mut facts, seen) {
        return reply;
    }
    match (seen.method.as_str(), path) {
        ("POST", "/api-invoker-management/v1/onboardedInvokers") => {
            if seen.header("authorization") != Some(&format!("Bearer {CREDENTIAL}")) {
                return problem(401, "the credential is not valid here");
            }
            let mut details = seen.json();
            let request = details["onboardingInformation"]["apiInvokerPublicKey"]
                .as_str()
                .unwrap();
            let certificate = facts.authority.sign(request, INVOKER, "API_INVOKER");
            details["apiInvokerId"] = json!(INVOKER);
            details["onboardingInformation"]["apiInvokerCertificate"] = json!(certificate);
            details["onboardingInformation"]["onboardingSecret"] = json!(SECRET);
            answer(201, &details).with(
                "location",
                &format!("https://elsewhere.example/api-invoker-management/v1/onboardedInvokers/{INVOKER}"),
            )
        }
        ("DELETE", "/api-invoker-management/v1/onboardedInvokers/invoker-1") => {
            answer(204, &Value::Null)
        }
        ("GET", "/service-apis/v1/allServiceAPIs") => answer(200, &discovered(&facts)),
        ("POST", "/capif-security/v1/trustedInvokers/invoker-1/update") if !facts.context => {
            problem(404, "there is no such security context for this caller")
        }
        ("PUT", "/capif-security/v1/trustedInvokers/invoker-1")
        | ("POST", "/capif-security/v1/trustedInvokers/invoker-1/update") => {
            let mut security = seen.json();
            for entry in security["securityInfo"].as_array_mut().unwrap() {
                if let Some(method) = facts.method {
                    entry["selSecurityMethod"] = json!(method);
                }
                if facts.method == Some("PSK") {
                    let announcement = facts.announce(entry, seen);
                    entry["authenticationInfo"] = json!(announcement.to_string());
                }
            }
            if facts.divided {
                divide(&mut security, facts.aef_port);
            }
            let status = if facts.context { 200 } else { 201 };
            facts.context = true;
            answer(status, &security)
        }
        ("POST", "/capif-security/v1/securities/invoker-1/token") => {
            facts.tokens += 1;
            let token = format!("token-{}", facts.tokens);
            answer(
                200,
                &json!({ "access_token": token, "token_type": "Bearer", "expires_in": 600 }),
            )
        }
        _ => problem(404, "there is no such resource"),
    }
}

/// Makes of each entry one for the AEF's interface and one for another interface, with another method (D-06).
fn divide(security: &mut Value, port: u16) {
    let entries = security["securityInfo"].as_array_mut().unwrap();
    for mut entry in std::mem::take(entries) {
        entry.as_object_mut().unwrap().remove("aefId");
        let mut other = entry.clone();
        entry["interfaceDetails"] = json!({ "ipv4Addr": "127.0.0.1", "port": port });
        other["interfaceDetails"] = json!({ "ipv4Addr": "127.0.0.2", "port": port });
        other["selSecurityMethod"] = json!("OAUTH");
        other.as_object_mut().unwrap().remove("authenticationInfo");
        entries.extend([other, entry]);
    }
}

fn discovered(facts: &Facts) -> Value {
    let mut interfaces = vec![json!({ "ipv4Addr": "127.0.0.1", "port": facts.aef_port })];
    if facts.divided {
        interfaces.push(json!({ "ipv4Addr": "127.0.0.2", "port": facts.aef_port }));
    }
    json!({ "serviceAPIDescriptions": [{
        "apiName": "weather",
        "apiId": API_ID,
        "aefProfiles": [{
            "aefId": facts.aef_id,
            "versions": [{ "apiVersion": "v1" }],
            "protocol": "HTTP_1_1",
            "securityMethods": ["PKI", "OAUTH", "PSK"],
            "interfaceDescriptions": interfaces,
        }],
    }]})
}

/// A CAPIF core function, an AEF, and a folder for an invoker.
pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) facts: SharedFacts,
    pub(crate) ccf: Peer,
    pub(crate) aef: Peer,
    /// The keys that the AEF has heard of.
    pub(crate) keys: Keys,
    folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(datetime!(2026-10-01 12:00 UTC)));
        let authority = Arc::new(Authority::new("CAPIF root"));
        let keys = Keys::default();
        let aef = Peer::with_keys(
            authority.server(AEF),
            authority.anchors(),
            clock.clone(),
            Some(keys.tls()),
            |_| answer(200, &json!({ "sky": "blue" })),
        )
        .await;
        let facts = Arc::new(Mutex::new(Facts {
            authority: Arc::clone(&authority),
            aef_id: AEF,
            aef_port: aef.port,
            method: Some("OAUTH"),
            context: false,
            tokens: 0,
            keys: keys.clone(),
            derived: 0,
            key_seconds: 24 * 3600,
            divided: false,
            altered: |_| {},
            clock: Arc::clone(&clock),
            renewing: None,
        }));
        let known = Arc::clone(&facts);
        let ccf = Peer::new(
            authority.server("ccf"),
            authority.anchors(),
            clock.clone(),
            move |seen| usual(&known, seen),
        )
        .await;
        Self {
            clock,
            authority,
            facts,
            ccf,
            aef,
            keys,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn clock(&self) -> SharedClock {
        self.clock.clone()
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().join("keystore")
    }

    pub(crate) fn keystore(&self) -> Keystore {
        Keystore::open(self.folder()).unwrap()
    }

    /// Changes how the CAPIF core function answers what `change` picks; all else stays as usual.
    pub(crate) fn unusual(&self, mut change: impl FnMut(&Seen) -> Option<Reply> + Send + 'static) {
        let facts = Arc::clone(&self.facts);
        self.ccf
            .script(move |seen| change(seen).unwrap_or_else(|| usual(&facts, seen)));
    }

    pub(crate) fn as_usual(&self) {
        self.unusual(|_| None);
    }

    pub(crate) fn code(&self) -> EnrolmentCode {
        EnrolmentCode {
            address: self.ccf.address.clone(),
            ca_sha256: self.authority.sha256(),
            credential: Redacted::from(CREDENTIAL),
        }
    }

    pub(crate) fn enrolment(&self) -> Enrolment {
        let credential = Redacted::from(CREDENTIAL);
        Enrolment::from_parts(&*self.ccf.address, self.authority.pem(), credential).unwrap()
    }

    pub(crate) async fn try_onboard(&self) -> Result<Invoker, capif_client::Error> {
        let request = OnboardingRequest::default();
        Invoker::onboard(self.keystore(), &self.enrolment(), request, self.clock()).await
    }

    pub(crate) async fn onboarded(&self) -> Invoker {
        self.try_onboard().await.unwrap()
    }

    /// Every file in the folder, with its content.
    pub(crate) fn files(&self) -> Vec<(String, String)> {
        let mut files: Vec<_> = std::fs::read_dir(self.folder())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, std::fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        files.sort();
        files
    }
}
