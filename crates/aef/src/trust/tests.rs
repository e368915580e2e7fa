use std::net::SocketAddr;

use capif_transport::{
    Body, Client, ClientCertificates, ClientLimits, ClientTls, Connection, Handler, Identity,
    Limits, ManualClock, Server, ServerTls, SharedClock, empty,
};
use http::{Request, Response};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use time::macros::datetime;

use super::*;

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

fn named(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.not_before = datetime!(2026-01-01 0:00 UTC);
    parameters.not_after = datetime!(2028-01-01 0:00 UTC);
    parameters
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = named(name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(parameters, key),
            pem,
        }
    }

    fn identity(&self) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut parameters = named("somebody");
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        parameters.subject_alt_names = vec![rcgen::SanType::IpAddress([127, 0, 0, 1].into())];
        parameters.use_authority_key_identifier_extension = true;
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        Identity::from_pem(certificate.pem(), key.serialize_pem()).unwrap()
    }
}

struct Nothing;

impl Handler for Nothing {
    async fn handle(&self, _request: Request<Body>, _of: Arc<Connection>) -> Response<Body> {
        Response::new(empty())
    }
}

/// A listener of one authority, and whether it takes a certificate of another.
struct Scene {
    own: Authority,
    trust: Trust,
    clock: SharedClock,
    address: SocketAddr,
    _server: Server,
}

impl Scene {
    fn new() -> Self {
        let own = Authority::new("own");
        let clock: SharedClock = Arc::new(ManualClock::new(datetime!(2026-06-01 0:00 UTC)));
        let anchors = Anchors::from_pem(&own.pem).unwrap();
        let acceptor = Acceptor::new(ServerTls {
            identity: own.identity(),
            client_certificates: ClientCertificates::Required(anchors.clone()),
            clock: clock.clone(),
            psk: None,
            session: None,
        });
        let acceptor = Arc::new(acceptor.unwrap());
        let trust = Trust::new(anchors);
        trust.lead(Arc::clone(&acceptor));
        let listen = "127.0.0.1:0".parse().unwrap();
        let server = Server::bind(listen, acceptor, Limits::default(), Nothing).unwrap();
        Self {
            address: server.local_addr(),
            own,
            trust,
            clock,
            _server: server,
        }
    }

    async fn takes(&self, other: &Authority) -> bool {
        let tls = ClientTls {
            anchors: Some(Anchors::from_pem(&self.own.pem).unwrap()),
            identity: Some(other.identity()),
            clock: self.clock.clone(),
            session: None,
            tls12_only: false,
        };
        let client = Client::new(tls, ClientLimits::default()).unwrap();
        let uri = format!("https://{}/", self.address);
        let request = Request::get(uri).body(empty()).unwrap();
        client.request(request).await.is_ok()
    }

    fn believe(&self, anchors: &[&str], asked: Instant) {
        let anchors = anchors.iter().map(|pem| (*pem).to_owned());
        self.trust.believe(anchors.collect(), asked);
    }
}

#[tokio::test]
async fn a_new_root_counts_and_an_old_one_goes_without_a_restart() {
    let scene = Scene::new();
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let now = Instant::now();
    let after = |seconds| now + std::time::Duration::from_secs(seconds);
    let both = async || (scene.takes(&first).await, scene.takes(&second).await);
    assert_eq!(both().await, (false, false));
    scene.believe(&[&first.pem], after(1));
    assert_eq!(both().await, (true, false));
    // While both are handed out, both count.
    scene.believe(&[&second.pem, &first.pem], after(2));
    assert_eq!(both().await, (true, true));
    scene.believe(&[&second.pem], after(4));
    assert_eq!(both().await, (false, true));
    // An answer that was asked for earlier comes late.
    scene.believe(&[&first.pem], after(3));
    assert_eq!(both().await, (false, true));
    // Whoever the core function itself is known by stays.
    assert!(scene.takes(&scene.own).await);
}

#[tokio::test]
async fn roots_that_cannot_be_used_change_nothing() {
    let scene = Scene::new();
    let first = Authority::new("first");
    let now = Instant::now();
    scene.believe(&[&first.pem], now);
    let many: Vec<Authority> = (0..=ANCHORS_MAX).map(|_| Authority::new("many")).collect();
    let many: Vec<&str> = many
        .iter()
        .map(|authority| authority.pem.as_str())
        .collect();
    for anchors in [&["nonsense"][..], &["", &first.pem[..100]], &many] {
        scene.believe(anchors, now + std::time::Duration::from_secs(1));
        assert!(scene.takes(&first).await);
    }
}
