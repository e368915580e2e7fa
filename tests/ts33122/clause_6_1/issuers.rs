//! Credentials of outside issuers (R-6.1-07, R-6.1-08, D-25): by the keys of a JWKS file or address, never by keys that a token
//! brings along.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use capif_ccf::{ccf::Ccf, config::IssuerSection, init};
use capif_transport::{
    Acceptor, Body, ClientCertificates, Connection, Handler, Identity, Limits, Server, ServerTls,
    empty, full,
};
use http::{Method, Request, Response, StatusCode};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

use super::{credentials::refused, requests::nothing_left};
use crate::support::{
    World,
    jws::{hs256, with_signature},
    keys::{self, Signer},
    people::{REGISTRATIONS, enrolment, function, registration},
};

const ISSUER: &str = "https://login.example";
const AUDIENCE: &str = "https://ccf.example/onboarding";

fn section() -> IssuerSection {
    IssuerSection {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        jwks_file: None,
        jwks_url: None,
        ca_file: None,
        apis: None,
    }
}

fn claims(world: &World, jti: &str) -> Value {
    json!({ "iss": ISSUER, "aud": AUDIENCE, "exp": world.now() + 300, "jti": jti })
}

async fn onboard(world: &World, token: &str) -> StatusCode {
    world
        .onboard(token, &enrolment(&keys::request(&keys::p256())))
        .await
        .status
}

struct ByFile {
    world: World,
    _folder: tempfile::TempDir,
}

async fn by_file(jwks: &Value, change: impl FnOnce(&mut IssuerSection)) -> ByFile {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("issuer.jwks.json");
    std::fs::write(&file, jwks.to_string()).unwrap();
    let mut issuer = IssuerSection {
        jwks_file: Some(file),
        ..section()
    };
    change(&mut issuer);
    let world = World::with(|config| config.onboarding.issuers.push(issuer)).await;
    ByFile {
        world,
        _folder: folder,
    }
}

/// D-25: tokens of a registered issuer are good, whether it signs with RSA, ECDSA or EdDSA; each serves once.
#[tokio::test]
async fn tokens_of_a_registered_issuer_onboard() {
    let signers = [Signer::rs256("r"), Signer::es256("e"), Signer::eddsa("d")];
    let set = keys::jwks(&signers.each_ref());
    let ByFile { world, _folder } = by_file(&set, |_| {}).await;
    for signer in &signers {
        let token = signer.sign(&claims(&world, &signer.kid));
        assert_eq!(
            onboard(&world, &token).await,
            StatusCode::CREATED,
            "{}",
            signer.kid
        );
        let used = refused(&world, "replay", &token).await;
        assert!(used["detail"].as_str().unwrap().contains("used before"));
    }
    let rows = world.list("invokers").await;
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row["issuer"] == ISSUER));
}

/// R-6.1-08, RFC 8725 section 3.1: the algorithm comes from the registered key; what fits no key of that name is refused in the
/// words of a bad signature.
#[tokio::test]
async fn keys_and_algorithms_cannot_be_confused() {
    let (rsa, ec, ed) = (Signer::rs256("r"), Signer::es256("e"), Signer::eddsa("d"));
    let ByFile { world, _folder } = by_file(&keys::jwks(&[&rsa, &ec, &ed]), |_| {}).await;
    let good = claims(&world, "x");
    let text = good.to_string();
    let header = |alg: &str, kid: &str| json!({ "alg": alg, "kid": kid }).to_string();
    let mut cases = vec![
        ("unknown key", Signer::es256("x").sign(&good)),
        (
            "unknown key under a known name",
            Signer::es256("e").sign(&good),
        ),
        ("another's name", ec.named("r").sign(&good)),
        ("another's name", rsa.named("e").sign(&good)),
        (
            "RS256 said to be PS256",
            rsa.sign_texts(&header("PS256", "r"), &text),
        ),
        (
            "RS256 said to be RS512",
            rsa.sign_texts(&header("RS512", "r"), &text),
        ),
        (
            "ES256 said to be RS256",
            ec.sign_texts(&header("RS256", "e"), &text),
        ),
        (
            "EdDSA said to be ES256",
            ed.sign_texts(&header("ES256", "d"), &text),
        ),
        ("none", with_signature(&header("none", "e"), &text, "")),
        (
            "other audience",
            ec.sign(&json!({ "iss": ISSUER, "aud": ISSUER, "exp": world.now() + 300, "jti": "x" })),
        ),
        (
            "no jti",
            ec.sign(&json!({ "iss": ISSUER, "aud": AUDIENCE, "exp": world.now() + 300 })),
        ),
    ];
    for (signer, kid) in [(&rsa, "r"), (&ec, "e"), (&ed, "d")] {
        let pem = signer.public_pem();
        cases.push((
            "HS256 by the public key",
            hs256(pem.as_bytes(), &header("HS256", kid), &text),
        ));
        let jwk = signer.jwk().to_string();
        cases.push((
            "HS256 by the JWK",
            hs256(jwk.as_bytes(), &header("HS256", kid), &text),
        ));
    }
    let words = refused(
        &world,
        "unknown issuer",
        &Signer::es256("y").sign(&json!({
            "iss": "https://unknown.example", "aud": AUDIENCE, "exp": world.now() + 300, "jti": "x"
        })),
    )
    .await;
    for (what, token) in cases {
        assert_eq!(refused(&world, what, &token).await, words, "{what}");
    }
    nothing_left(&world).await;
    assert_eq!(onboard(&world, &ec.sign(&good)).await, StatusCode::CREATED);
    // Without a name of the key, all keys of the issuer are tried.
    let nameless = json!({ "alg": "EdDSA" }).to_string();
    let token = ed.sign_texts(&nameless, &claims(&world, "y").to_string());
    assert_eq!(onboard(&world, &token).await, StatusCode::CREATED);
}

/// An outside issuer admits invokers, for the APIs that the operator lets it open; it admits no provider.
#[tokio::test]
async fn an_outside_issuer_reaches_no_further_than_allowed() {
    let signer = Signer::es256("e");
    let bound = |issuer: &mut IssuerSection| {
        issuer.apis = Some(vec!["weather".to_owned(), "traffic".to_owned()])
    };
    let ByFile { world, _folder } = by_file(&keys::jwks(&[&signer]), bound).await;
    let domain = world.domain("acme").await;
    for api in ["weather", "traffic", "power"] {
        domain.publish(api, &["PKI"]).await;
    }
    for (claimed, expected) in [
        (Value::Null, &["traffic", "weather"][..]),
        (json!(["weather", "power"]), &["weather"]),
        (json!(["power"]), &[]),
        (json!([]), &[]),
    ] {
        let mut claims = claims(&world, &claimed.to_string());
        if !claimed.is_null() {
            claims["apis"] = claimed;
        }
        let invoker = world.raw_invoker_by(&signer.sign(&claims), &[]).await;
        let path = format!(
            "/service-apis/v1/allServiceAPIs?api-invoker-id={}",
            invoker.id
        );
        let found = invoker.get(&path).await.json();
        let found = found["serviceAPIDescriptions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let mut names: Vec<&str> = found
            .iter()
            .map(|api| api["apiName"].as_str().unwrap())
            .collect();
        names.sort_unstable();
        assert_eq!(names, expected, "{claims}");
    }

    let mut claims = claims(&world, "domain");
    claims["name"] = json!("evil");
    for audience in [
        json!(AUDIENCE),
        json!([AUDIENCE, format!("{ISSUER}#registration")]),
    ] {
        claims["aud"] = audience;
        let token = signer.sign(&claims);
        let body = registration(&token, &[function("AMF", &keys::request(&keys::p256()))]);
        let answer = world
            .anonymous()
            .bearer(Method::POST, REGISTRATIONS, &token, Some(&body))
            .await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(world.list("providers").await.len(), 1);
}

/// A JWKS file that cannot be read, is not JSON, or holds no signature key keeps the core function from starting, by name.
#[tokio::test]
async fn an_unusable_jwks_file_keeps_the_core_function_from_starting() {
    let secret = json!({ "keys": [{ "kty": "oct", "k": "AAAA", "kid": "e" }] });
    let world = World::start().await;
    for content in [
        None,
        Some("{".to_owned()),
        Some("{\"keys\":[]}".to_owned()),
        Some(secret.to_string()),
    ] {
        let folder = tempfile::tempdir().unwrap();
        init::init(&folder.path().join("ccf"), world.clock.as_ref()).unwrap();
        let file = folder.path().join("issuer.jwks.json");
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        let mut config = world.config.clone();
        config.ccf.listen.set_port(0);
        config.management.listen.set_port(0);
        config.revocation.listen.set_port(0);
        config.onboarding.issuers.push(IssuerSection {
            jwks_file: Some(file),
            ..section()
        });
        let error = Ccf::start(&folder.path().join("ccf"), config, world.clock())
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(ISSUER) || text.contains("issuer.jwks.json"),
            "{text}"
        );
    }
}

/// An address where somebody publishes keys.
struct Publisher {
    server: Server,
    answers: Arc<Answers>,
    folder: tempfile::TempDir,
}

struct Answers {
    next: Mutex<(StatusCode, String)>,
    given: Mutex<usize>,
}

impl Handler for Answers {
    async fn handle(
        &self,
        _request: Request<Body>,
        _connection: Arc<Connection>,
    ) -> Response<Body> {
        *self.given.lock().unwrap() += 1;
        let (status, body) = self.next.lock().unwrap().clone();
        let mut response = Response::new(full(body));
        *response.status_mut() = status;
        if status.is_redirection() {
            let location = http::HeaderValue::from_static("https://127.0.0.1:1/jwks.json");
            response.headers_mut().insert("location", location);
            *response.body_mut() = empty();
        }
        response
    }
}

impl Publisher {
    fn start(clock: capif_transport::SharedClock) -> Self {
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let own = own
            .signed_by(&key, &Issuer::from_params(&authority, &authority_key))
            .unwrap();
        let acceptor = Acceptor::new(ServerTls {
            identity: Identity::from_pem(own.pem(), key.serialize_pem()).unwrap(),
            client_certificates: ClientCertificates::None,
            clock,
            psk: None,
            session: None,
        });
        let answers = Arc::new(Answers {
            next: Mutex::new((StatusCode::OK, String::new())),
            given: Mutex::new(0),
        });
        let address = "127.0.0.1:0".parse().unwrap();
        let acceptor = Arc::new(acceptor.unwrap());
        let server =
            Server::bind(address, acceptor, Limits::default(), Arc::clone(&answers)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority_pem).unwrap();
        Self {
            server,
            answers,
            folder,
        }
    }

    fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn publish(&self, status: StatusCode, text: impl Into<String>) {
        *self.answers.next.lock().unwrap() = (status, text.into());
    }

    fn given(&self) -> usize {
        *self.answers.given.lock().unwrap()
    }

    fn section(&self) -> IssuerSection {
        IssuerSection {
            jwks_url: Some(format!("https://{}/jwks.json", self.server.local_addr())),
            ca_file: Some(self.ca_file()),
            ..section()
        }
    }
}

/// D-25: keys are fetched from the issuer's address when they are needed, kept for a while, and fetched anew when a token names
/// one that is not among them, but not more than every thirty seconds.
#[tokio::test]
async fn keys_are_fetched_and_their_rotation_is_followed() {
    let clock: capif_transport::SharedClock = Arc::new(capif_transport::SystemClock);
    let publisher = Publisher::start(clock);
    let world = World::with(|config| config.onboarding.issuers.push(publisher.section())).await;
    let mut serial = 0;
    let mut token = |signer: &Signer, world: &World| {
        serial += 1;
        signer.sign(&claims(world, &serial.to_string()))
    };
    let (old, new) = (Signer::es256("2026-1"), Signer::eddsa("2026-2"));
    publisher.publish(StatusCode::OK, keys::jwks(&[&old]).to_string());
    assert_eq!(publisher.given(), 0, "nobody has asked yet");
    for _ in 0..3 {
        assert_eq!(
            onboard(&world, &token(&old, &world)).await,
            StatusCode::CREATED
        );
    }
    assert_eq!(publisher.given(), 1);

    // Rotation: the new key is found once the pause is over.
    publisher.publish(StatusCode::OK, keys::jwks(&[&new]).to_string());
    assert_eq!(
        onboard(&world, &token(&new, &world)).await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        publisher.given(),
        1,
        "unknown names do not make it fetch without end"
    );
    world.clock.advance(time::Duration::seconds(30));
    assert_eq!(
        onboard(&world, &token(&new, &world)).await,
        StatusCode::CREATED
    );
    assert_eq!(publisher.given(), 2);
    assert_eq!(
        onboard(&world, &token(&old, &world)).await,
        StatusCode::UNAUTHORIZED
    );

    // While the address gives nothing usable, keys at hand serve on and nothing breaks.
    for (status, text) in [
        (StatusCode::OK, "{".to_owned()),
        (StatusCode::OK, "{\"keys\":[]}".to_owned()),
        (StatusCode::OK, " ".repeat(300 * 1024)),
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            keys::jwks(&[&old]).to_string(),
        ),
        (StatusCode::TEMPORARY_REDIRECT, String::new()),
    ] {
        publisher.publish(status, text);
        world.clock.advance(time::Duration::seconds(700));
        let before = publisher.given();
        assert_eq!(
            onboard(&world, &token(&old, &world)).await,
            StatusCode::UNAUTHORIZED,
            "{status}"
        );
        assert_eq!(publisher.given(), before + 1);
        assert_eq!(
            onboard(&world, &token(&new, &world)).await,
            StatusCode::CREATED,
            "{status}"
        );
    }
}

/// R-6.1-03 in the other direction: an address whose certificate does not lead to `ca_file` is not believed.
#[tokio::test]
async fn keys_from_an_address_of_another_authority_are_not_believed() {
    let clock: capif_transport::SharedClock = Arc::new(capif_transport::SystemClock);
    let (publisher, other) = (
        Publisher::start(Arc::clone(&clock)),
        Publisher::start(clock),
    );
    let signer = Signer::es256("e");
    publisher.publish(StatusCode::OK, keys::jwks(&[&signer]).to_string());
    let issuer = IssuerSection {
        ca_file: Some(other.ca_file()),
        ..publisher.section()
    };
    let world = World::with(|config| config.onboarding.issuers.push(issuer)).await;
    assert_eq!(
        onboard(&world, &signer.sign(&claims(&world, "x"))).await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(publisher.given(), 0);
    nothing_left(&world).await;
}
