//! An AEF that says whatever it likes (P-28): asked for by it, the core function is hardly bothered, and nothing that it names is
//! followed.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Instant,
};

use capif_client::{Provider, ProviderRequest, Wish};
use capif_spec::publish_service::SecurityMethod;
use capif_transport::{
    Acceptor, Body, ClientCertificates, Connection, Handler, Limits, Server, ServerTls, full,
};
use http::{Request, Response, StatusCode};
use serde_json::json;

use super::{PATH, SHORTLY, call};
use crate::support::World;

/// As often as such an AEF makes an invoker ask before it is believed no more.
const QUESTIONS_MAX: u64 = 5;

/// Says always that another method counts, and where to go for it.
#[derive(Clone, Default)]
struct Liar(Arc<Mutex<Vec<String>>>);

impl Handler for Liar {
    async fn handle(&self, request: Request<Body>, _connection: Arc<Connection>) -> Response<Body> {
        self.0.lock().unwrap().push(request.uri().path().to_owned());
        let problem = json!({
            "status": 401,
            "cause": "SECURITY_METHOD_MISMATCH",
            "supportedMethods": ["PSK", "NONE"],
            "instance": "https://127.0.0.1:1/capif-security/v1",
        });
        Response::builder()
            .status(401)
            .header("content-type", "application/problem+json")
            .header("location", "https://127.0.0.1:1/")
            .header("www-authenticate", "Bearer realm=\"https://127.0.0.1:1/\"")
            .body(full(problem.to_string()))
            .unwrap()
    }
}

/// The AEF of a registered provider, which is its own to do with what it likes.
async fn liar(world: &World) -> (Liar, Server, Provider) {
    let bundle = world.bundle("liar").await;
    let request = ProviderRequest {
        hosts: vec!["127.0.0.1".to_owned()],
        ..ProviderRequest::default()
    };
    let provider = Provider::register(world.keystore("liar"), &bundle, request, world.clock())
        .await
        .unwrap();
    let liar = Liar::default();
    let acceptor = Acceptor::new(ServerTls {
        identity: provider.aef_identity(),
        client_certificates: ClientCertificates::Requested(provider.anchors().clone()),
        clock: world.clock(),
        psk: None,
        session: None,
    })
    .unwrap();
    let address = (Ipv4Addr::LOCALHOST, 0).into();
    let server =
        Server::bind(address, Arc::new(acceptor), Limits::default(), liar.clone()).unwrap();
    let port = server.local_addr().port();
    let api = json!({
        "apiName": "weather",
        "aefProfiles": [{
            "aefId": provider.aef_id(),
            "versions": [{ "apiVersion": "v1" }],
            "securityMethods": ["PSK", "PKI", "OAUTH"],
            "interfaceDescriptions": [{ "ipv4Addr": "127.0.0.1", "port": port }],
        }],
    });
    provider
        .publish(&serde_json::from_value(api).unwrap())
        .await
        .unwrap();
    (liar, server, provider)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aef_that_always_complains_is_hardly_believed() {
    for method in [SecurityMethod::Pki, SecurityMethod::Oauth] {
        let world = World::start().await;
        let (liar, _server, provider) = liar(&world).await;
        let amy = Arc::new(world.invoker("amy", &[]).await);
        let wish = Wish {
            preferred: vec![method.clone()],
            ..Wish::at(provider.aef_id().clone())
        };
        amy.negotiate(&[wish]).await.unwrap();
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let amy = Arc::clone(&amy);
                tokio::spawn(async move { call(&amy).await })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), StatusCode::UNAUTHORIZED);
        }
        let asked = negotiations(&world);
        assert!(asked <= 1 + QUESTIONS_MAX, "{method}: {asked}");

        // From then on neither is anybody asked, nor does a call come back or wait.
        liar.0.lock().unwrap().clear();
        let began = Instant::now();
        for _ in 0..20 {
            assert_eq!(call(&amy).await, StatusCode::UNAUTHORIZED);
        }
        assert!(began.elapsed() < SHORTLY);
        assert_eq!(*liar.0.lock().unwrap(), [PATH; 20]);
        assert_eq!(negotiations(&world), asked);
        // It was never called but by the method that the core function named.
        for agreement in amy.agreements() {
            assert_eq!(agreement.method.as_ref(), Some(&method));
        }
    }
}

/// An AEF that lets no handshake by key succeed is asked about a few times, and called by nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn an_aef_that_refuses_every_key_is_hardly_believed() {
    let world = World::start().await;
    let (liar, _server, provider) = liar(&world).await;
    let amy = world.invoker("amy", &[]).await;
    let wish = Wish {
        preferred: vec![SecurityMethod::Psk],
        ..Wish::at(provider.aef_id().clone())
    };
    amy.negotiate(&[wish]).await.unwrap();
    for _ in 0..3 {
        let request = Request::get(PATH).body(capif_transport::empty()).unwrap();
        let error = amy.call("weather", request).await.unwrap_err();
        assert!(
            matches!(error, capif_client::Error::KeyRefused { .. }),
            "{error}"
        );
    }
    assert!(negotiations(&world) <= 1 + QUESTIONS_MAX);
    let paths = liar.0.lock().unwrap().clone();
    assert!(paths.iter().all(|path| path != PATH), "{paths:?}");
}

fn negotiations(world: &World) -> u64 {
    let file = world.folder("amy").join("capif-invoker.json");
    let state: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    state["onboarded"]["negotiations"].as_u64().unwrap()
}
