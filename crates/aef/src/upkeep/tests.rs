use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use capif_client::{Bundle, Keystore, ProviderRequest};
use capif_spec::common::Redacted;
use capif_transport::{
    Anchors, Body, Client, ClientCertificates, ClientLimits, ClientTls, Clock, Connection, Handler,
    Identity, Limits, ManualClock, Server, ServerTls, collect, empty, full,
};
use http::{Request, Response, StatusCode};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use serde_json::{Value, json};
use time::macros::datetime;

use super::*;

const BEGIN: OffsetDateTime = datetime!(2026-01-01 0:00 UTC);
const END: OffsetDateTime = datetime!(2026-04-01 0:00 UTC);
/// Two thirds of ninety days.
const DUE: OffsetDateTime = datetime!(2026-03-02 0:00 UTC);

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

fn named(name: &str, unit: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
        .distinguished_name
        .push(DnType::OrganizationalUnitName, unit);
    parameters.not_before = BEGIN;
    parameters.not_after = END;
    parameters
}

fn leaf(name: &str, unit: &str) -> CertificateParams {
    let mut parameters = named(name, unit);
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    ];
    parameters.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
    parameters.use_authority_key_identifier_extension = true;
    parameters
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = named(name, "CCF");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(parameters, key),
            pem,
        }
    }

    fn anchors(&self) -> Anchors {
        Anchors::from_pem(&self.pem).unwrap()
    }

    fn sign(&self, request: &str, id: &str, unit: &str) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(request).unwrap();
        request.params = leaf(id, unit);
        request.signed_by(&self.issuer).unwrap().pem()
    }

    fn identity(&self, name: &str, unit: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = leaf(name, unit).signed_by(&key, &self.issuer).unwrap();
        Identity::from_pem(certificate.pem(), key.serialize_pem()).unwrap()
    }
}

/// A core function that registers, renews, and says how it stands.
struct Ccf {
    /// Who signs from now on.
    signer: Mutex<Arc<Authority>>,
    /// `None`: it has no such resource.
    status: Mutex<Option<Value>>,
    /// What a renewal is answered with, if not as it should be.
    refuses: Mutex<Option<u16>>,
    renewals: AtomicUsize,
}

struct Serving(Arc<Ccf>);

fn answer(status: u16, body: &Value) -> Response<Body> {
    let mut response = Response::new(full(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
        .headers_mut()
        .insert("content-type", "application/json".parse().unwrap());
    response
}

impl Handler for Serving {
    async fn handle(&self, request: Request<Body>, _of: Arc<Connection>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let body = collect(body, 1 << 20, Time::from_secs(10)).await.unwrap();
        if head.method == http::Method::GET {
            return match &*self.0.status.lock().unwrap() {
                Some(status) => answer(200, status),
                None => answer(404, &json!({})),
            };
        }
        if head.method == http::Method::PATCH {
            self.0.renewals.fetch_add(1, Ordering::SeqCst);
            if let Some(status) = *self.0.refuses.lock().unwrap() {
                return answer(status, &json!({}));
            }
        }
        let mut details: Value = serde_json::from_slice(&body).unwrap();
        details["apiProvDomId"] = json!("domain-1");
        details["regSec"] = json!("");
        for function in details["apiProvFuncs"].as_array_mut().unwrap() {
            let role = function["apiProvFuncRole"].as_str().unwrap().to_owned();
            let id = format!("{role}-1");
            let request = function["regInfo"]["apiProvPubKey"].as_str().unwrap();
            let certificate = self.0.signer.lock().unwrap().sign(request, &id, &role);
            function["apiProvFuncId"] = json!(id);
            function["regInfo"]["apiProvCert"] = json!(certificate);
        }
        let created = head.method == http::Method::POST;
        answer(if created { 201 } else { 200 }, &details)
    }
}

struct Nothing;

impl Handler for Nothing {
    async fn handle(&self, _request: Request<Body>, _of: Arc<Connection>) -> Response<Body> {
        Response::new(empty())
    }
}

/// A core function with its clock, and the folder of a provider.
struct Scene {
    ccf: Arc<Ccf>,
    first: Arc<Authority>,
    second: Arc<Authority>,
    clock: Arc<ManualClock>,
    address: String,
    folder: tempfile::TempDir,
    _server: Server,
}

/// One process of a gateway.
struct Process {
    upkeep: Upkeep,
    provider: Arc<Provider>,
    listener: SocketAddr,
    trust: Arc<Trust>,
    _server: Server,
}

impl Scene {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(BEGIN + Duration::hours(1)));
        let (first, second) = (
            Arc::new(Authority::new("first")),
            Arc::new(Authority::new("second")),
        );
        let ccf = Arc::new(Ccf {
            signer: Mutex::new(Arc::clone(&first)),
            status: Mutex::default(),
            refuses: Mutex::default(),
            renewals: AtomicUsize::new(0),
        });
        let both = Anchors::from_pems([&first.pem, &second.pem]).unwrap();
        let acceptor = Acceptor::new(ServerTls {
            identity: first.identity("ccf", "CCF"),
            client_certificates: ClientCertificates::Requested(both),
            clock: clock.clone(),
            psk: None,
            session: None,
        });
        let server = Server::bind(
            "127.0.0.1:0".parse().unwrap(),
            Arc::new(acceptor.unwrap()),
            Limits::default(),
            Serving(Arc::clone(&ccf)),
        )
        .unwrap();
        Self {
            address: server.local_addr().to_string(),
            ccf,
            first,
            second,
            clock,
            folder: tempfile::tempdir().unwrap(),
            _server: server,
        }
    }

    /// Says when to renew, and whom to believe.
    fn say(&self, renew_after: OffsetDateTime, anchors: &[&Authority], other: &Value) {
        let anchors: Vec<&str> = anchors.iter().map(|anchor| anchor.pem.as_str()).collect();
        let mut status = json!({
            "certificateExpires": capif_spec::common::DateTime(END),
            "renewAfter": capif_spec::common::DateTime(renew_after),
            "trust": { "anchors": anchors, "distrusted": [] },
        });
        let members = status.as_object_mut().unwrap();
        members.extend(other.as_object().unwrap().clone());
        *self.ccf.status.lock().unwrap() = Some(status);
    }

    async fn process(&self) -> Process {
        let bundle = Bundle {
            address: self.address.clone(),
            anchors_pem: self.first.pem.clone(),
            domain_name: "acme".to_owned(),
            credential: Redacted::from("credential"),
        };
        let keystore = Keystore::open(self.folder.path().join("keystore")).unwrap();
        let request = ProviderRequest::default();
        let provider = Provider::register(keystore, &bundle, request, self.clock.clone());
        let provider = Arc::new(provider.await.unwrap());
        let acceptor = Acceptor::new(ServerTls {
            identity: provider.aef_identity(),
            client_certificates: ClientCertificates::Requested(provider.anchors()),
            clock: self.clock.clone(),
            psk: None,
            session: None,
        });
        let acceptor = Arc::new(acceptor.unwrap());
        let trust = Arc::new(Trust::new(provider.anchors()));
        trust.lead(Arc::clone(&acceptor));
        let upkeep = Upkeep::new(Arc::clone(&provider), Some(bundle), self.clock.clone());
        upkeep.lead(Arc::clone(&trust), Arc::clone(&acceptor));
        let server = Server::bind(
            "127.0.0.1:0".parse().unwrap(),
            acceptor,
            Limits::default(),
            Nothing,
        )
        .unwrap();
        Process {
            upkeep,
            provider,
            listener: server.local_addr(),
            trust,
            _server: server,
        }
    }

    /// A client of the gateway that believes one authority, and shows a certificate of another.
    fn client(&self, believes: &Authority, shows: Option<&Authority>) -> Client {
        let tls = ClientTls {
            anchors: Some(believes.anchors()),
            identity: shows.map(|authority| authority.identity("amy", "API_INVOKER")),
            clock: self.clock.clone(),
            session: None,
            tls12_only: false,
        };
        Client::new(tls, ClientLimits::default()).unwrap()
    }

    fn renewals(&self) -> usize {
        self.ccf.renewals.load(Ordering::SeqCst)
    }
}

impl Process {
    async fn serves(&self, client: &Client) -> bool {
        let uri = format!("https://{}/", self.listener);
        let request = Request::get(uri).body(empty()).unwrap();
        client.request(request).await.is_ok()
    }
}

#[tokio::test]
async fn certificates_are_renewed_when_it_is_time_and_the_listener_shows_them() {
    let scene = Scene::new();
    scene.say(DUE, &[&scene.first, &scene.second], &json!({}));
    let gateway = scene.process().await;
    gateway.upkeep.catch_up().await;
    let open = scene.client(&scene.first, None);
    assert!(gateway.serves(&open).await);
    scene
        .clock
        .advance(DUE - scene.clock.now() - Duration::SECOND);
    gateway.upkeep.tick().await;
    assert_eq!(scene.renewals(), 0);

    *scene.ccf.signer.lock().unwrap() = Arc::clone(&scene.second);
    scene.clock.advance(Duration::SECOND);
    gateway.upkeep.tick().await;
    assert_eq!(scene.renewals(), 1);
    // From the next handshake on; what is open stays.
    assert!(gateway.serves(&open).await);
    assert!(gateway.serves(&scene.client(&scene.second, None)).await);
    assert!(!gateway.serves(&scene.client(&scene.first, None)).await);
    // What it is told wrongly does not make it renew on and on.
    gateway.upkeep.tick().await;
    assert_eq!(scene.renewals(), 1);
    scene.clock.advance(PAUSE);
    gateway.upkeep.tick().await;
    assert_eq!(scene.renewals(), 2);
}

#[tokio::test]
async fn without_a_word_of_the_core_function_two_thirds_of_a_life_count() {
    let scene = Scene::new();
    let gateway = scene.process().await;
    gateway.upkeep.catch_up().await;
    scene
        .clock
        .advance(DUE - scene.clock.now() - Duration::SECOND);
    gateway.upkeep.tick().await;
    assert_eq!(scene.renewals(), 0);
    scene.clock.advance(Duration::SECOND);
    gateway.upkeep.tick().await;
    assert_eq!(scene.renewals(), 1);
}

#[tokio::test]
async fn what_fails_is_tried_again_after_a_pause_and_is_an_alarm_in_the_end() {
    let scene = Scene::new();
    scene.say(DUE, &[&scene.first], &json!({}));
    let gateway = scene.process().await;
    *scene.ccf.refuses.lock().unwrap() = Some(503);
    scene.clock.advance(DUE - scene.clock.now());
    let alarmed = || gateway.upkeep.state().alarmed;
    for tries in 1..4 {
        gateway.upkeep.tick().await;
        gateway.upkeep.tick().await;
        assert_eq!((scene.renewals(), alarmed()), (tries, false));
        scene.clock.advance(PAUSE);
    }
    scene
        .clock
        .advance(END - scene.clock.now() - Duration::days(6));
    gateway.upkeep.tick().await;
    assert!(alarmed());
    assert!(gateway.serves(&scene.client(&scene.first, None)).await);
    *scene.ccf.refuses.lock().unwrap() = None;
    scene.clock.advance(PAUSE);
    gateway.upkeep.tick().await;
    assert!(!alarmed());
}

#[tokio::test]
async fn a_renewal_without_an_answer_is_asked_for_again_soon() {
    let scene = Scene::new();
    scene.say(DUE, &[&scene.first], &json!({}));
    let gateway = scene.process().await;
    *scene.ccf.refuses.lock().unwrap() = Some(503);
    gateway.provider.renew().await.unwrap_err();
    *scene.ccf.refuses.lock().unwrap() = None;
    gateway.upkeep.tick().await;
    assert_eq!(scene.renewals(), 2);
    scene.clock.advance(PAUSE);
    gateway.upkeep.tick().await;
    assert_eq!(scene.renewals(), 2);
}

#[tokio::test]
async fn a_demand_is_followed_at_once_and_before_anything_else_after_a_start() {
    let scene = Scene::new();
    let now = scene.clock.now();
    let demand = json!({ "demand": {
        "reason": "COMPROMISE",
        "deadline": capif_spec::common::DateTime(now),
    }});
    scene.say(now, &[&scene.first], &demand);
    let gateway = scene.process().await;
    gateway.upkeep.catch_up().await;
    assert_eq!(scene.renewals(), 1);
    // The same one again is not heard at once; another one is.
    gateway.upkeep.tick().await;
    assert_eq!(scene.renewals(), 1);
    let demand = json!({ "demand": {
        "reason": "AUTHORITY",
        "deadline": capif_spec::common::DateTime(now),
    }});
    scene.say(now, &[&scene.first], &demand);
    gateway.upkeep.follow().await.unwrap();
    gateway.upkeep.tick().await;
    assert_eq!(scene.renewals(), 2);
}

#[tokio::test]
async fn what_somebody_else_took_is_not_taken_back() {
    let scene = Scene::new();
    let now = scene.clock.now();
    scene.say(DUE, &[&scene.first], &json!({}));
    let gateway = scene.process().await;
    gateway.upkeep.follow().await.unwrap();
    assert_eq!(gateway.upkeep.superseded(), None);
    let said = json!({
        "superseded": {
            "since": capif_spec::common::DateTime(now),
            "until": capif_spec::common::DateTime(now + Duration::HOUR),
        },
        "demand": {
            "reason": "OPERATOR",
            "deadline": capif_spec::common::DateTime(now),
        },
    });
    scene.say(now, &[&scene.first], &said);
    gateway.upkeep.follow().await.unwrap();
    let noted = gateway.upkeep.superseded().unwrap();
    assert_eq!(noted.until, now + Duration::HOUR);
    for _ in 0..3 {
        gateway.upkeep.tick().await;
        scene.clock.advance(PAUSE);
    }
    assert_eq!(scene.renewals(), 0);

    // It was another process of this folder after all.
    let other = scene.process().await;
    scene.say(DUE, &[&scene.first], &json!({}));
    other.provider.renew().await.unwrap();
    gateway.upkeep.tick().await;
    assert_eq!(gateway.upkeep.superseded(), None);
}

#[tokio::test]
async fn processes_of_one_folder_renew_once_and_all_show_the_new_certificate() {
    let scene = Scene::new();
    scene.say(DUE, &[&scene.first, &scene.second], &json!({}));
    let processes = [
        scene.process().await,
        scene.process().await,
        scene.process().await,
    ];
    *scene.ccf.signer.lock().unwrap() = Arc::clone(&scene.second);
    scene.clock.advance(DUE - scene.clock.now());
    let ticks = processes.iter().map(|process| process.upkeep.tick());
    futures_util::future::join_all(ticks).await;
    for process in &processes {
        process.upkeep.tick().await;
        assert!(process.serves(&scene.client(&scene.second, None)).await);
    }
    assert_eq!(scene.renewals(), 1);
}

#[tokio::test]
async fn the_list_of_roots_counts_alone_at_the_listener_and_towards_the_core_function() {
    let scene = Scene::new();
    let gateway = scene.process().await;
    gateway.upkeep.catch_up().await;
    let third = Authority::new("third");
    let takes = async |authority| {
        let client = scene.client(&scene.first, Some(authority));
        gateway.serves(&client).await
    };
    let told = |authority: &Authority| {
        let anchors = vec![authority.pem.clone()];
        gateway.trust.believe(anchors, tokio::time::Instant::now());
    };
    // Until there is a list, what comes with the contexts counts too.
    told(&third);
    assert!(takes(&third).await && takes(&scene.first).await);
    scene.say(DUE, &[&scene.first, &scene.second], &json!({}));
    gateway.upkeep.follow().await.unwrap();
    assert!(takes(&scene.first).await && takes(&scene.second).await && !takes(&third).await);
    told(&third);
    assert!(!takes(&third).await);
    // A key that is not believed is not, whatever root it is of.
    let key = x509_key(&scene.second);
    let distrusted = json!({ "trust": {
        "anchors": [scene.first.pem, scene.second.pem], "distrusted": [key],
    }});
    scene.say(DUE, &[], &distrusted);
    gateway.upkeep.follow().await.unwrap();
    assert!(takes(&scene.first).await && !takes(&scene.second).await);
    // The provider itself believes the same, and another process hears of it.
    let other = scene.process().await;
    for provider in [&gateway.provider, &other.provider] {
        assert_eq!(provider.anchors().fingerprints().len(), 2);
        assert_eq!(provider.anchors().distrusted_keys().len(), 1);
    }
}

/// The SHA-256 of an authority's public key.
fn x509_key(authority: &Authority) -> String {
    use rcgen::PublicKeyData;
    let key = authority.issuer.key().subject_public_key_info();
    Fingerprint::of(&key).to_string()
}

#[tokio::test]
async fn what_is_said_of_a_certificate_is_shown_with_that_one_alone() {
    let scene = Scene::new();
    scene.say(DUE, &[&scene.first], &json!({ "ocspResponse": "b25l" }));
    let gateway = scene.process().await;
    let staple = || {
        let state = gateway.upkeep.state();
        let (fingerprint, staple) = state.shown.clone().unwrap();
        assert_eq!(fingerprint, gateway.provider.aef_identity().fingerprint());
        staple
    };
    gateway.upkeep.catch_up().await;
    assert_eq!(staple(), Some(b"one".to_vec()));
    scene.say(DUE, &[&scene.first], &json!({ "ocspResponse": "dHdv" }));
    gateway.upkeep.follow().await.unwrap();
    assert_eq!(staple(), Some(b"two".to_vec()));
    // By another process: nothing has been said of the new certificate yet.
    gateway.provider.renew().await.unwrap();
    gateway.upkeep.tick().await;
    assert_eq!(staple(), None);
    gateway.upkeep.follow().await.unwrap();
    assert_eq!(staple(), Some(b"two".to_vec()));
}
