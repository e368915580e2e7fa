//! Gateways whose certificates have ended, and two that use one bundle without knowing of each other.

use capif_aef::{Gateway, GatewayError};
use capif_ccf::admin::EnrolmentParts;
use capif_client::{Bundle, Error, ErrorKind, Invoker};
use capif_spec::publish_service::SecurityMethod;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use time::Duration;

use crate::support::{World, eventually, upstream::Upstream};

/// A core function whose certificates of functions last for a day.
async fn world() -> World {
    World::with(|config| config.certificates.function_days = 1).await
}

fn upstream() -> Upstream {
    Upstream::start(|_| async { http::Response::new(capif_transport::full("sunny")) })
}

async fn start(
    world: &World,
    folder: &str,
    bundle: Option<&Bundle>,
    upstream: &Upstream,
) -> Result<Gateway, GatewayError> {
    let methods = [SecurityMethod::Oauth];
    let mut config = world.gateway_config(
        folder,
        bundle.cloned(),
        "weather",
        &upstream.url(),
        &methods,
    );
    config.stale_seconds = 5;
    Gateway::start(config).await
}

/// The ids of domain, functions and API; there is one domain, with one API.
async fn ids(world: &World) -> Value {
    let (providers, apis) = (world.list("providers").await, world.list("apis").await);
    assert_eq!((providers.len(), apis.len()), (1, 1));
    let functions = providers[0]["functions"].as_array().unwrap().iter();
    let functions: Vec<_> = functions.map(|row| row["id"].clone()).collect();
    json!([providers[0]["apiProvDomId"], functions, apis[0]["apiId"]])
}

fn domain(ids: &Value) -> &str {
    ids[0].as_str().unwrap()
}

async fn calls(invoker: &Invoker) -> bool {
    let request = Request::get("/weather/v1/today").body(capif_transport::empty());
    let answer = invoker.call("weather", request.unwrap()).await;
    answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
}

/// How often domains registered again.
async fn registered_again(world: &World) -> usize {
    let records = world.list("audit").await;
    let details = records.iter().map(|row| row["record"]["detail"].as_str());
    let again = details
        .flatten()
        .filter(|detail| detail.contains("again with"));
    again.count()
}

/// A bundle that the operator makes for a domain that is there.
async fn next_bundle(world: &World, domain: &str, first: &Bundle) -> Bundle {
    let place = format!("/providers/{domain}/bundle");
    let (status, made) = world.operator(Method::POST, &place, Some(json!({}))).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let parts: EnrolmentParts = serde_json::from_value(made["parts"].clone()).unwrap();
    Bundle {
        credential: parts.credential,
        ..first.clone()
    }
}

/// Switched off until its certificates ended, a gateway with its folder and its reusable bundle is what it was: the same ids, the same
/// publication, and its invokers call on.
#[tokio::test]
async fn certificates_that_ended_while_it_was_off_are_replaced() {
    let mut world = world().await;
    let (api, bundle) = (upstream(), world.reusable_bundle("acme").await);
    let gateway = start(&world, "gw", Some(&bundle), &api).await.unwrap();
    let before = ids(&world).await;
    let invoker = world.invoker("ada", &["weather"]).await;
    assert!(calls(&invoker).await);
    gateway.drain(std::time::Duration::from_secs(1)).await;
    for round in 1..=2 {
        world.stop().await;
        world.clock.advance(Duration::days(2));
        world.resume().await;
        let gateway = start(&world, "gw", Some(&bundle), &api).await.unwrap();
        assert_eq!(ids(&world).await, before);
        assert_eq!(registered_again(&world).await, round);
        assert!(calls(&invoker).await);
        assert_eq!(world.list("events").await.len(), 1, "the gateway's own");
        gateway.drain(std::time::Duration::from_secs(1)).await;
    }
    // While they last, the folder alone does, and the bundle lies unused.
    let gateway = start(&world, "gw", Some(&bundle), &api).await.unwrap();
    assert_eq!(registered_again(&world).await, 2);
    drop(gateway);
}

/// Without a bundle that helps, the gateway does not start, says by which command the operator makes one, and leaves all as it is.
#[tokio::test]
async fn without_a_bundle_it_says_how_there_is_one() {
    let mut world = world().await;
    let (api, bundle) = (upstream(), world.bundle("acme").await);
    let gateway = start(&world, "gw", Some(&bundle), &api).await.unwrap();
    let before = ids(&world).await;
    gateway.drain(std::time::Duration::from_secs(1)).await;
    world.stop().await;
    world.clock.advance(Duration::days(2));
    world.resume().await;
    let others = world.reusable_bundle("others").await;
    for bundle in [None, Some(&bundle), Some(&others)] {
        let error = start(&world, "gw", bundle, &api).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");
        let command = format!("capif provider bundle {}", domain(&before));
        assert!(error.to_string().contains(&command), "{error}");
        let ended = matches!(error, GatewayError::Ccf(Error::RegistrationEnded { .. }));
        assert!(ended, "{error:?}");
    }
    assert_eq!(ids(&world).await, before, "the other bundle made nothing");
    let next = next_bundle(&world, domain(&before), &bundle).await;
    let gateway = start(&world, "gw", Some(&next), &api).await.unwrap();
    assert_eq!(ids(&world).await, before);
    drop(gateway);
}

/// The core function was away until the certificates of a running gateway had ended: it serves again by itself.
#[tokio::test]
async fn certificates_that_end_while_it_runs_are_replaced() {
    let mut world = world().await;
    let (api, bundle) = (upstream(), world.reusable_bundle("acme").await);
    let gateway = start(&world, "gw", Some(&bundle), &api).await.unwrap();
    let before = ids(&world).await;
    let invoker = world.invoker("ada", &["weather"]).await;
    assert!(calls(&invoker).await);
    let first = gateway.certificate();
    world.stop().await;
    world.clock.advance(Duration::days(2));
    world.resume().await;
    eventually("it has other certificates", || async {
        // A pause between attempts is over sooner so.
        world.clock.advance(Duration::seconds(1));
        gateway.certificate() != first
    })
    .await;
    eventually("its invokers call on", || calls(&invoker)).await;
    assert_eq!(ids(&world).await, before);
    assert_eq!(registered_again(&world).await, 1);
}

/// Two gateways with one bundle and a folder each: the second one has the certificates, the first one says so, serves out its time,
/// and never takes them back, not even when it is told to renew, starts again, or runs on for long.
#[tokio::test]
async fn who_was_superseded_does_not_take_the_certificates_back() {
    let world = world().await;
    let (api, bundle) = (upstream(), world.reusable_bundle("acme").await);
    let first = start(&world, "one", Some(&bundle), &api).await.unwrap();
    let before = ids(&world).await;
    assert_eq!(first.superseded(), None);
    let second = start(&world, "two", Some(&bundle), &api).await.unwrap();
    assert_eq!(ids(&world).await, before);
    let told = async || {
        world.clock.advance(Duration::seconds(1));
        first.superseded().is_some()
    };
    eventually("the first one knows", told).await;
    assert_eq!(second.superseded(), None);

    // Started again while its certificates count still, it would take the other one out of the publication.
    let refused = start(&world, "one", Some(&bundle), &api).await.unwrap_err();
    assert!(
        matches!(refused, GatewayError::Superseded { .. }),
        "{refused}"
    );
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert!(refused.to_string().contains("one --dir"), "{refused}");

    let asked = json!({ "ids": [domain(&before)] });
    let asked = world.operator(Method::POST, "/renewals", Some(asked)).await;
    assert_eq!(asked.0, StatusCode::OK, "{}", asked.1);
    let (ones, twos) = (first.certificate(), second.certificate());
    eventually("the second one renews", || async {
        world.clock.advance(Duration::seconds(1));
        second.certificate() != twos
    })
    .await;
    // Past the overlap, past the end of all certificates: the second one goes on, the first one is done.
    for _ in 0..3 {
        world.clock.advance(Duration::hours(17));
        let known = second.certificate();
        eventually("the second one looks after its own", || async {
            world.clock.advance(Duration::seconds(31));
            second.certificate() != known
        })
        .await;
    }
    assert_eq!(first.certificate(), ones);
    assert!(first.superseded().is_some());
    assert_eq!(second.superseded(), None);
    assert_eq!(registered_again(&world).await, 1);
    // Its own certificate came to its end within one of these steps: it looks after that once in a while of real time.
    eventually("the core function has renewed its certificate", || async {
        let keys = Request::get("/.well-known/jwks.json").body(Vec::new());
        world.anonymous().try_send(keys.unwrap()).await.is_some()
    })
    .await;
    let refused = start(&world, "one", Some(&bundle), &api).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Authentication, "{refused}");
    assert!(refused.to_string().contains("another one"), "{refused}");
    assert_eq!(registered_again(&world).await, 1);
    let invoker = world.invoker("ada", &["weather"]).await;
    eventually("the second one serves", || calls(&invoker)).await;
}
