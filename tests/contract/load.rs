//! What is answered to who asks too fast (429), and to everybody when there is more to do than can be done (503).

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use capif_ccf::{
    api::operations::{CallerKind, OPERATIONS, Operation},
    config::IssuerSection,
};
use capif_transport::{
    Acceptor, Body, ClientCertificates, Connection, Handler, Limits, Server, ServerTls, empty,
};
use http::{Method, Request, Response, StatusCode};
use rcgen::{ExtendedKeyUsagePurpose, SanType};
use serde_json::json;
use tokio::sync::Semaphore;

use super::{record::Record, walk::Walk};
use crate::{
    support::{
        World,
        certificates::{forged, issuing},
        eventually,
        people::{INVOKERS, enrolment},
        raw::Raw,
        wire::Answer,
    },
    ts29222::scene::Scene,
};

/// More requests of one caller than the rest of a test can bring about by itself.
const MANY: usize = 200;

fn described(record: &Record) -> impl Iterator<Item = &'static Operation> {
    let described = |operation: &&Operation| record.descriptions.operation(operation.id).is_some();
    OPERATIONS.iter().filter(described)
}

/// Every operation at the end of its caller's patience, and others beside it.
pub(super) async fn every_rate(record: &Record) {
    let mut world = World::start().await;
    let scene = Scene::new(&world, ["acme", "umbrella"]).await;
    world.stop().await;
    let limits = &mut world.config.limits;
    limits.invoker_requests_per_second = 1;
    limits.function_requests_per_second = 1;
    limits.anonymous_requests_per_second = 1;
    world.resume().await;
    let walk = Walk {
        record,
        world: &world,
        scene: &scene,
    };
    for operation in described(record) {
        let ready = walk.ready(operation).await;
        let mut limited = None;
        for _ in 0..MANY {
            // Refused for its query, so that nothing comes of it.
            let mut request = ready.request(&scene);
            let path = request.uri().path().to_owned();
            *request.uri_mut() = format!("{path}?x=1&x=2").parse().unwrap();
            let answer = ready.who.send(&world, operation, request).await;
            if answer.status == StatusCode::TOO_MANY_REQUESTS {
                limited = Some(answer);
                break;
            }
        }
        let answer = limited.unwrap_or_else(|| panic!("{} without end", operation.id));
        record.answered(operation.id, "too fast", &answer);
        let key = match operation.callers[0] {
            CallerKind::Invoker => "invoker_requests_per_second",
            CallerKind::Aef | CallerKind::Apf | CallerKind::Amf => "function_requests_per_second",
            _ => "anonymous_requests_per_second",
        };
        let said = answer.json()["detail"].to_string();
        assert!(said.contains(key), "{}: {said}", operation.id);
        assert_eq!(answer.cause(), "NF_CONGESTION_RISK");
        assert!(
            answer.headers.contains_key("retry-after"),
            "{}",
            operation.id
        );
    }
    // Also where there is nothing, and nobody pays for another.
    let invoker = &scene.invokers[0];
    let mut last = StatusCode::OK;
    for _ in 0..MANY {
        last = invoker
            .caller
            .json(Method::GET, "/nothing", None)
            .await
            .status;
        if last == StatusCode::TOO_MANY_REQUESTS {
            break;
        }
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    let answer = scene.invokers[1].get("/nothing").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.json());
}

/// An issuer of credentials that does not say by which keys, until it is let go.
struct Silent {
    asked: AtomicBool,
    gate: Semaphore,
}

impl Handler for Silent {
    async fn handle(
        &self,
        _request: Request<Body>,
        _connection: Arc<Connection>,
    ) -> Response<Body> {
        self.asked.store(true, Ordering::SeqCst);
        let _let_go = self.gate.acquire().await;
        let mut response = Response::new(empty());
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
    }
}

/// Every operation while as many are worked on as may be, of which one waits for the issuer of its credential.
pub(super) async fn every_place(record: &Record) {
    let mut world = World::start().await;
    let scene = Scene::new(&world, ["acme", "umbrella"]).await;
    let silent = Arc::new(Silent {
        asked: AtomicBool::new(false),
        gate: Semaphore::new(0),
    });
    let _server = world_at_its_bound(&mut world, &silent).await;

    // Who is slow to send a body takes no place.
    let address = world.ccf().local_addr();
    let mut slow = Raw::connect(address, &world.root_pem(), None).await;
    slow.send(format!(
        "POST {INVOKERS} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer x\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    ))
    .await;
    let get = Request::get("/open-api-disc/v1/service-apis").body(Vec::new());
    let open = |world: &World| {
        let (caller, request) = (world.anonymous(), get.as_ref().unwrap().clone());
        async move { caller.send(request).await }
    };
    assert_eq!(open(&world).await.status, StatusCode::OK);

    let enrolling = tokio::spawn(waiting(&world, &scene));
    eventually("an issuer is asked for its keys", || async {
        silent.asked.load(Ordering::SeqCst)
    })
    .await;
    let walk = Walk {
        record,
        world: &world,
        scene: &scene,
    };
    for operation in described(record) {
        let ready = walk.ready(operation).await;
        let request = ready.request(&scene);
        let answer = ready.who.send(&world, operation, request).await;
        record.answered(operation.id, "at the bound", &answer);
        let id = operation.id;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{id}");
        assert_eq!(answer.headers["retry-after"], "1", "{id}");
        assert_eq!(answer.cause(), "NF_CONGESTION", "{id}");
    }
    // It is over with what it waited for.
    silent.gate.add_permits(1);
    let answer = enrolling.await.unwrap();
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", answer.json());
    assert_eq!(open(&world).await.status, StatusCode::OK);
}

/// Starts a world anew with one place and one issuer, which is silent.
async fn world_at_its_bound(world: &mut World, silent: &Arc<Silent>) -> Server {
    let pems = forged(
        world,
        Some(&issuing(world)),
        ("issuer", "ISSUER"),
        |params| {
            let address = SanType::IpAddress(Ipv4Addr::LOCALHOST.into());
            params.subject_alt_names.push(address);
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        },
    );
    let acceptor = Acceptor::new(ServerTls {
        identity: pems.identity(),
        client_certificates: ClientCertificates::None,
        clock: world.clock(),
        psk: None,
        session: None,
    });
    let server = Server::bind(
        (Ipv4Addr::LOCALHOST, 0).into(),
        Arc::new(acceptor.unwrap()),
        Limits::default(),
        Arc::clone(silent),
    )
    .unwrap();
    world.stop().await;
    world.config.limits.requests_at_once = 1;
    world.config.onboarding.issuers.push(IssuerSection {
        issuer: "https://silent.example".to_owned(),
        audience: "ccf".to_owned(),
        jwks_file: None,
        jwks_url: Some(format!("https://{}/jwks.json", server.local_addr())),
        ca_file: Some(world.dir.path().join("ca/root.pem")),
        apis: None,
    });
    world.resume().await;
    server
}

/// An enrolment with a credential of which nobody knows yet whether it is one.
fn waiting(world: &World, scene: &Scene) -> impl Future<Output = Answer> + use<> {
    let part = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let credential = format!(
        "{}.{}.{}",
        part(json!({ "alg": "ES256", "kid": "some key" })),
        part(json!({
            "iss": "https://silent.example",
            "aud": "ccf",
            "jti": "1",
            "iat": world.now(),
            "exp": world.now() + 600,
        })),
        BASE64_URL_SAFE_NO_PAD.encode([1; 64]),
    );
    let key = &scene.invokers[0].details["onboardingInformation"]["apiInvokerPublicKey"];
    let body = enrolment(key.as_str().unwrap());
    let caller = world.anonymous();
    async move {
        let asked = caller.bearer(Method::POST, INVOKERS, &credential, Some(&body));
        asked.await
    }
}
