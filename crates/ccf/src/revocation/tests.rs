//! A real folder and a real store, and another library that judges what is signed.

use std::sync::Arc;

use capif_procedures::{
    changes::{Changes, Expect},
    state::{Invoker, RevocationReason, RevokedCertificate, Role},
};
use capif_spec::common::DateTime;
use capif_transport::{Clock, ManualClock, Server};
use openssl::{
    hash::MessageDigest,
    ocsp::{
        OcspCertId, OcspCertStatus, OcspFlag, OcspRequest, OcspResponse, OcspResponseStatus,
        OcspRevokedStatus,
    },
    stack::Stack,
    x509::{
        CrlStatus, X509, X509Crl,
        store::{X509Store, X509StoreBuilder},
        verify::X509VerifyParam,
    },
};
use serde_json::json;
use time::macros::datetime;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::{
    authority::{Lives, Terms, custody::Custody},
    init,
    store::{EmbeddedStore, Store},
    view::View,
};

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

/// A core function's authority with its register.
struct World {
    _dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    store: Arc<dyn Store>,
    authorities: Arc<Authorities>,
    revocation: Arc<Revocation>,
    issuer: X509,
}

/// A register of what is in a store, and follows it.
async fn register(store: &Arc<dyn Store>) -> Arc<Register> {
    let view = View::load(store.as_ref()).await.unwrap();
    Register::load(store.as_ref(), view).await.unwrap()
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(NOW));
        init::init(dir.path(), clock.as_ref()).unwrap();
        let store: Arc<dyn Store> =
            Arc::new(EmbeddedStore::open(&dir.path().join("store")).unwrap());
        let lives = Lives {
            root: Duration::days(3650),
            issuing: Duration::days(1825),
        };
        let terms = Terms {
            invoker_life: Duration::days(90),
            function_life: Duration::days(365),
            revocation: "http://crl.example.com:8481".to_owned(),
            ..Terms::default()
        };
        let custody = Custody::default();
        let now = DateTime(clock.now());
        let authorities =
            Authorities::load(dir.path(), "CCF1", &custody, lives, terms, &store, &now).await;
        let authorities = authorities.unwrap();
        let register = register(&store).await;
        let shared: SharedClock = clock.clone();
        let revocation = Arc::new(Revocation::new(&authorities, register, &shared, "CCF1"));
        let issuer = authorities.at_work(1).unwrap().issuing_pem().to_owned();
        Self {
            _dir: dir,
            clock,
            store,
            authorities,
            revocation,
            issuer: X509::from_pem(issuer.as_bytes()).unwrap(),
        }
    }

    /// A certificate of this authority, which the CCF itself holds.
    async fn certificate(&self) -> Certificate {
        let hosts = ["localhost".to_owned()];
        let own = self.authorities.own(&hosts, self.clock.now()).await;
        own.unwrap().certificate
    }

    /// Somebody holds a certificate.
    async fn hold(&self, id: &str, certificate: &Certificate) {
        self.hold_as(id, certificate, json!({})).await;
    }

    /// The same in this state of renewal.
    async fn hold_as(&self, id: &str, certificate: &Certificate, renewal: serde_json::Value) {
        let invoker: Invoker = serde_json::from_value(json!({
            "id": id,
            "public_key_text": "key",
            "certificate": certificate,
            "renewal": renewal,
            "onboard_secret": null,
            "notification_destination": "https://invoker.example.com/",
            "information": null,
            "reach": {},
            "features": "",
            "onboarded": "2026-01-01T00:00:00Z",
            "issuer": "",
        }))
        .unwrap();
        let mut changes = Changes::new();
        changes.put(&invoker, Expect::Any);
        self.store.commit(changes).await.unwrap();
    }

    /// The holder goes, and its certificate with it.
    async fn revoke(&self, id: &str, certificate: &Certificate, reason: RevocationReason) {
        let mut changes = Changes::new();
        let now = DateTime(self.clock.now());
        RevokedCertificate::put(&mut changes, certificate, reason, &now);
        changes.delete::<Invoker>(id, Expect::Any);
        self.store.commit(changes).await.unwrap();
    }

    async fn list(&self) -> X509Crl {
        let list = self.revocation.list(1).await.unwrap().unwrap();
        X509Crl::from_der(&list).unwrap()
    }

    fn id(&self, certificate: &Certificate, digest: MessageDigest) -> OcspCertId {
        let subject = X509::from_pem(certificate.pem.to_string().as_bytes()).unwrap();
        OcspCertId::from_cert(digest, &subject, &self.issuer).unwrap()
    }

    /// What believes the root, at the moment that the clock shows.
    fn anchors(&self) -> X509Store {
        let mut store = X509StoreBuilder::new().unwrap();
        let root = X509::from_pem(self.authorities.root_pem().as_bytes()).unwrap();
        store.add_cert(root).unwrap();
        let mut param = X509VerifyParam::new().unwrap();
        param.set_time(self.clock.now().unix_timestamp());
        store.set_param(&param).unwrap();
        store.build()
    }

    async fn answer(&self, ids: Vec<OcspCertId>) -> Vec<u8> {
        let mut request = OcspRequest::new().unwrap();
        for id in ids {
            request.add_id(id).unwrap();
        }
        let answer = self.revocation.answer(&request.to_der().unwrap()).await;
        answer.to_vec()
    }

    /// What the answer says of a certificate, once its signature was checked.
    fn told(
        &self,
        answer: &[u8],
        certificate: &Certificate,
    ) -> (OcspCertStatus, OcspRevokedStatus) {
        let response = OcspResponse::from_der(answer).unwrap();
        assert_eq!(response.status(), OcspResponseStatus::SUCCESSFUL);
        let basic = response.basic().unwrap();
        let mut chain = Stack::new().unwrap();
        chain.push(self.issuer.clone()).unwrap();
        basic
            .verify(&chain, &self.anchors(), OcspFlag::empty())
            .unwrap();
        let id = self.id(certificate, MessageDigest::sha1());
        match basic.find_status(&id) {
            Some(found) => (found.status, found.reason),
            None => {
                let id = self.id(certificate, MessageDigest::sha256());
                let found = basic.find_status(&id).unwrap();
                (found.status, found.reason)
            }
        }
    }

    async fn ask(&self, certificate: &Certificate) -> (OcspCertStatus, OcspRevokedStatus) {
        let id = self.id(certificate, MessageDigest::sha1());
        let answer = self.answer(vec![id]).await;
        self.told(&answer, certificate)
    }
}

fn is_listed(list: &X509Crl, certificate: &Certificate) -> bool {
    let certificate = X509::from_pem(certificate.pem.to_string().as_bytes()).unwrap();
    matches!(list.get_by_cert(&certificate), CrlStatus::Revoked(_))
}

#[tokio::test]
async fn a_certificate_is_good_then_revoked_in_list_and_answer_at_once() {
    let world = World::new().await;
    let certificate = world.certificate().await;
    let other = world.certificate().await;
    assert_eq!(world.ask(&certificate).await.0, OcspCertStatus::UNKNOWN);
    world.hold("INV1", &certificate).await;
    world.hold("INV2", &other).await;
    assert_eq!(world.ask(&certificate).await.0, OcspCertStatus::GOOD);
    let list = world.list().await;
    assert!(list.verify(&world.issuer.public_key().unwrap()).unwrap());
    assert!(list.get_revoked().is_none());

    for (reason, told) in [
        (
            RevocationReason::CessationOfOperation,
            OcspRevokedStatus::STATUS_CESSATION_OF_OPERATION,
        ),
        (
            RevocationReason::KeyCompromise,
            OcspRevokedStatus::KEY_COMPROMISE,
        ),
        (
            RevocationReason::Superseded,
            OcspRevokedStatus::STATUS_SUPERSEDED,
        ),
    ] {
        world.revoke("INV1", &certificate, reason).await;
        assert_eq!(
            world.ask(&certificate).await,
            (OcspCertStatus::REVOKED, told)
        );
        assert!(is_listed(&world.list().await, &certificate));
    }
    assert_eq!(world.ask(&other).await.0, OcspCertStatus::GOOD);
    assert!(!is_listed(&world.list().await, &other));
    let list = world.list().await;
    assert!(list.verify(&world.issuer.public_key().unwrap()).unwrap());
}

/// Who has it may be somebody else, though its holder can still renew by it.
#[tokio::test]
async fn a_compromised_certificate_is_revoked_before_it_is_replaced() {
    let world = World::new().await;
    let certificate = world.certificate().await;
    let next = world.certificate().await;
    world.hold("INV1", &certificate).await;
    assert_eq!(world.ask(&certificate).await.0, OcspCertStatus::GOOD);
    let at = DateTime(world.clock.now());
    let compromised = json!({
        "demand": { "reason": "COMPROMISE", "since": at, "deadline": at },
        "successor": { "public_key_text": "key", "certificate": next },
    });
    world.hold_as("INV1", &certificate, compromised).await;
    let register = register(&world.store).await;
    assert_eq!(
        register.standing(1, &certificate.serial),
        world.revocation.register.standing(1, &certificate.serial)
    );
    assert_eq!(
        world.ask(&certificate).await,
        (OcspCertStatus::REVOKED, OcspRevokedStatus::KEY_COMPROMISE)
    );
    assert!(is_listed(&world.list().await, &certificate));
    assert!(
        world
            .revocation
            .staple(&certificate)
            .await
            .unwrap()
            .is_none()
    );
    // What was handed over since is sound.
    assert_eq!(world.ask(&next).await.0, OcspCertStatus::GOOD);
    world.hold("INV1", &next).await;
    assert_eq!(world.ask(&next).await.0, OcspCertStatus::GOOD);
    assert_eq!(world.ask(&certificate).await.0, OcspCertStatus::REVOKED);
}

#[tokio::test]
async fn a_register_that_is_loaded_knows_what_was_before() {
    let world = World::new().await;
    let (held, revoked) = (world.certificate().await, world.certificate().await);
    world.hold("INV1", &held).await;
    world
        .revoke("INV2", &revoked, RevocationReason::Superseded)
        .await;
    let register = register(&world.store).await;
    assert_eq!(register.standing(1, &held.serial), register::Standing::Good);
    assert!(matches!(
        register.standing(1, &revoked.serial),
        register::Standing::Revoked(_)
    ));
    assert_eq!(
        register.standing(2, &held.serial),
        register::Standing::Unknown
    );
    assert_eq!(register.revocations(1).certificates.len(), 1);

    // Of an earlier version: the serial number stands in the certificate alone.
    let bare = Certificate {
        serial: String::new(),
        ..world.certificate().await
    };
    world.hold("INV3", &bare).await;
    assert_eq!(world.ask(&bare).await.0, OcspCertStatus::GOOD);
    // Old ones that are replaced are held no longer.
    world.hold("INV1", &bare).await;
    assert_eq!(world.ask(&held).await.0, OcspCertStatus::UNKNOWN);
    // What is swept out once it has ended is forgotten.
    let mut changes = Changes::new();
    changes.delete::<RevokedCertificate>(RevokedCertificate::id(1, &revoked.serial), Expect::Any);
    world.store.commit(changes).await.unwrap();
    assert!(!is_listed(&world.list().await, &revoked));
    assert_eq!(world.ask(&revoked).await.0, OcspCertStatus::UNKNOWN);
}

#[tokio::test]
async fn a_list_is_signed_anew_when_something_changed_or_half_its_life_is_over() {
    let world = World::new().await;
    let raw = || async { world.revocation.list(1).await.unwrap().unwrap() };
    let first = raw().await;
    world
        .clock
        .advance(std::time::Duration::from_secs(11 * 3600));
    assert_eq!(raw().await, first);
    world.clock.advance(std::time::Duration::from_secs(3600));
    let second = raw().await;
    assert_ne!(second, first);
    let certificate = world.certificate().await;
    let reason = RevocationReason::Superseded;
    world.revoke("INV1", &certificate, reason).await;
    let third = raw().await;
    assert_ne!(third, second);
    let numbers = [first, second, third].map(|list| number(&list));
    assert!(
        numbers[0] < numbers[1] && numbers[1] < numbers[2],
        "{numbers:?}"
    );
    // Another process goes on from there.
    world.clock.advance(std::time::Duration::from_secs(1));
    let register = register(&world.store).await;
    let lists = Lists::new(Arc::clone(&world.authorities), register);
    let fourth = lists.list(1, world.clock.now()).await.unwrap().unwrap();
    assert!(number(&fourth) > numbers[2]);
    assert!(world.revocation.list(2).await.unwrap().is_none());
}

fn number(list: &[u8]) -> Vec<u8> {
    use x509_parser::prelude::{CertificateRevocationList, FromDer};
    let (_, list) = CertificateRevocationList::from_der(list).unwrap();
    assert!(list.next_update().unwrap() > list.last_update());
    list.crl_number().unwrap().to_bytes_be()
}

#[tokio::test]
async fn answers_are_kept_as_long_as_they_are_true_and_young() {
    let world = World::new().await;
    let certificate = world.certificate().await;
    world.hold("INV1", &certificate).await;
    let sha1 = || vec![world.id(&certificate, MessageDigest::sha1())];
    let first = world.answer(sha1()).await;
    assert_eq!(world.answer(sha1()).await, first);
    let sha256 = vec![world.id(&certificate, MessageDigest::sha256())];
    let other = world.answer(sha256).await;
    assert_eq!(world.told(&other, &certificate).0, OcspCertStatus::GOOD);
    world.clock.advance(std::time::Duration::from_secs(1800));
    let second = world.answer(sha1()).await;
    assert_ne!(second, first);
    let reason = RevocationReason::Superseded;
    world.revoke("INV1", &certificate, reason).await;
    let third = world.answer(sha1()).await;
    assert_eq!(world.told(&third, &certificate).0, OcspCertStatus::REVOKED);
}

#[tokio::test]
async fn the_responder_renews_its_own_certificate() {
    let world = World::new().await;
    let certificate = world.certificate().await;
    world.hold("INV1", &certificate).await;
    let mut serials = Vec::new();
    for _ in 0..4 {
        let id = world.id(&certificate, MessageDigest::sha1());
        let answer = world.answer(vec![id]).await;
        assert_eq!(world.told(&answer, &certificate).0, OcspCertStatus::GOOD);
        let shown = x509_ocsp::OcspResponse::from_der(&answer).unwrap();
        let basic = shown.response_bytes.unwrap().response;
        let basic = x509_ocsp::BasicOcspResponse::from_der(basic.as_bytes()).unwrap();
        let own = basic.certs.unwrap().remove(0);
        serials.push(own.tbs_certificate.serial_number);
        world
            .clock
            .advance(std::time::Duration::from_secs(2 * 86_400));
    }
    assert_eq!(serials[0], serials[1]);
    assert_ne!(serials[1], serials[2]);
}

use x509_cert::der::{Decode, Encode, asn1::OctetString};

#[tokio::test]
async fn a_nonce_comes_back_and_what_is_malformed_is_refused() {
    let world = World::new().await;
    let certificate = world.certificate().await;
    world.hold("INV1", &certificate).await;
    let mut request = OcspRequest::new().unwrap();
    request
        .add_id(world.id(&certificate, MessageDigest::sha1()))
        .unwrap();
    let plain = request.to_der().unwrap();
    let with_nonce = |length: usize| {
        let mut request = x509_ocsp::OcspRequest::from_der(&plain).unwrap();
        let nonce = OctetString::new(vec![7; length]).unwrap().to_der().unwrap();
        request.tbs_request.request_extensions = Some(vec![x509_cert::ext::Extension {
            extn_id: "1.3.6.1.5.5.7.48.1.2".parse().unwrap(),
            critical: false,
            extn_value: OctetString::new(nonce).unwrap(),
        }]);
        request.to_der().unwrap()
    };
    let malformed = |answer: Bytes| {
        let response = OcspResponse::from_der(&answer).unwrap();
        response.status() == OcspResponseStatus::MALFORMED_REQUEST
    };
    let first = world.revocation.answer(&with_nonce(32)).await;
    assert_eq!(world.told(&first, &certificate).0, OcspCertStatus::GOOD);
    let basic = x509_ocsp::OcspResponse::from_der(&first).unwrap();
    let basic = basic.response_bytes.unwrap().response;
    let basic = x509_ocsp::BasicOcspResponse::from_der(basic.as_bytes()).unwrap();
    assert_eq!(basic.nonce().unwrap().0.as_bytes(), [7; 32]);
    for length in [0, 129] {
        let answer = world.revocation.answer(&with_nonce(length)).await;
        assert!(malformed(answer), "{length}");
    }
    for request in [
        &b""[..],
        b"\x30\x00",
        b"\x30\x80",
        &plain[..plain.len() - 1],
        &[0x30; 5000],
    ] {
        assert!(malformed(world.revocation.answer(request).await));
    }
    let none = OcspRequest::new().unwrap().to_der().unwrap();
    assert!(malformed(world.revocation.answer(&none).await));
    let many = || world.id(&certificate, MessageDigest::sha1());
    let nine = (0..9).map(|_| many()).collect();
    assert!(malformed(Bytes::from(world.answer(nine).await)));
    let eight = (0..8).map(|_| many()).collect();
    let answer = world.answer(eight).await;
    assert_eq!(world.told(&answer, &certificate).0, OcspCertStatus::GOOD);
}

#[tokio::test]
async fn nobody_answers_for_others() {
    let (world, other) = (World::new().await, World::new().await);
    let foreign = other.certificate().await;
    let id = other.id(&foreign, MessageDigest::sha1());
    let answer = world.answer(vec![id]).await;
    let response = OcspResponse::from_der(&answer).unwrap();
    assert_eq!(response.status(), OcspResponseStatus::UNAUTHORIZED);
    let id = other.id(&foreign, MessageDigest::sha512());
    let answer = other.answer(vec![id]).await;
    let response = OcspResponse::from_der(&answer).unwrap();
    assert_eq!(response.status(), OcspResponseStatus::UNAUTHORIZED);
}

#[tokio::test]
async fn only_what_is_in_good_standing_gets_a_staple() {
    let world = World::new().await;
    let certificate = world.certificate().await;
    assert!(
        world
            .revocation
            .staple(&certificate)
            .await
            .unwrap()
            .is_none()
    );
    assert!(!world.revocation.is_stapled(&certificate));
    let staple = world
        .revocation
        .staple_own(&certificate)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        world.told(&staple.response, &certificate).0,
        OcspCertStatus::GOOD
    );
    assert!(world.revocation.is_stapled(&certificate));
    world.clock.advance(std::time::Duration::from_secs(1800));
    assert!(
        !world.revocation.is_stapled(&certificate),
        "half of its life is over"
    );
    assert_eq!(staple.renew, world.clock.now());

    let held = world.certificate().await;
    world.hold("INV1", &held).await;
    assert!(world.revocation.staple(&held).await.unwrap().is_some());
    world
        .revoke("INV1", &held, RevocationReason::KeyCompromise)
        .await;
    assert!(world.revocation.staple(&held).await.unwrap().is_none());
    let outside = Certificate {
        authority: 0,
        ..certificate
    };
    assert!(world.revocation.staple(&outside).await.unwrap().is_none());
}

#[tokio::test]
async fn certificates_name_where_their_revocation_is_told() {
    let world = World::new().await;
    let certificate = world.certificate().await;
    let certificate = X509::from_pem(certificate.pem.to_string().as_bytes()).unwrap();
    let points = certificate.crl_distribution_points().unwrap();
    let names = points[0].distpoint().unwrap().fullname().unwrap();
    assert_eq!(
        names[0].uri(),
        Some("http://crl.example.com:8481/crl/1.crl")
    );
    let responders = certificate.ocsp_responders().unwrap();
    assert_eq!(&responders[0][..], "http://crl.example.com:8481/ocsp");
    assert_eq!(Role::Ccf.as_str(), "CCF");
}

/// Sends a request as it is and reads all that comes.
async fn raw(server: &Server, request: &[u8]) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    (head.to_ascii_lowercase(), answer[end + 4..].to_vec())
}

async fn get(server: &Server, path: &str) -> (String, Vec<u8>) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    raw(server, request.as_bytes()).await
}

async fn post(server: &Server, media_type: &str, body: &[u8]) -> (String, Vec<u8>) {
    let head = format!(
        "POST /ocsp HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    raw(server, &[head.as_bytes(), body].concat()).await
}

#[tokio::test]
async fn lists_and_answers_are_served_over_plain_http() {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let world = World::new().await;
    let certificate = world.certificate().await;
    world.hold("INV1", &certificate).await;
    let service = Service::new(Arc::clone(&world.revocation));
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::bind_plain(address, Service::limits(), service).unwrap();

    let (head, list) = get(&server, "/crl/1.crl").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(
        head.contains("content-type: application/pkix-crl"),
        "{head}"
    );
    X509Crl::from_der(&list).unwrap();
    for (path, status) in [
        ("/crl/2.crl", 404),
        ("/crl/01.crl", 404),
        ("/crl/x.crl", 404),
        ("/crl/1", 404),
        ("/", 404),
        ("/ocsp", 405),
        ("/ocsp/!", 400),
        ("/ocspx", 405),
    ] {
        let (head, _) = get(&server, path).await;
        assert!(
            head.starts_with(&format!("http/1.1 {status}")),
            "{path}: {head}"
        );
    }

    let mut request = OcspRequest::new().unwrap();
    let id = world.id(&certificate, MessageDigest::sha1());
    request.add_id(id).unwrap();
    let request = request.to_der().unwrap();
    let (head, answer) = post(&server, "application/ocsp-request", &request).await;
    assert!(
        head.contains("content-type: application/ocsp-response"),
        "{head}"
    );
    assert_eq!(world.told(&answer, &certificate).0, OcspCertStatus::GOOD);
    let (head, _) = post(&server, "text/plain", &request).await;
    assert!(head.starts_with("http/1.1 415"), "{head}");
    let (head, _) = post(&server, "application/ocsp-request", &[0; 5000]).await;
    assert!(head.starts_with("http/1.1 413"), "{head}");

    let text = BASE64_STANDARD.encode(&request);
    let encoded = text
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    for path in [text.as_str(), &encoded, text.trim_end_matches('=')] {
        let (_, answer) = get(&server, &format!("/ocsp/{path}")).await;
        assert_eq!(
            world.told(&answer, &certificate).0,
            OcspCertStatus::GOOD,
            "{path}"
        );
    }
    drop(server);
}
