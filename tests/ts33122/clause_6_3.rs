//! CAPIF-1e (TS 33.122 clause 6.3): mutual authentication, and below the negotiation of the method for CAPIF-2/2e and what an AEF
//! may learn of it.

mod information;
mod negotiation;

use capif_transport::Clock;
use http::{Method, StatusCode};
use rcgen::{BasicConstraints, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa};
use serde_json::Value;
use time::Duration;

use crate::support::{
    World,
    certificates::{forged, issuing},
    people::{INVOKERS, RawInvoker},
    raw::Pems,
    wire::Caller,
};

fn discovery(invoker: &RawInvoker) -> String {
    format!(
        "/service-apis/v1/allServiceAPIs?api-invoker-id={}",
        invoker.id
    )
}

/// The answer to a caller who must not be served: none, or 401.
async fn not_served(what: &str, caller: &Caller, path: &str) {
    let request = crate::support::wire::request(Method::GET, path, None, None);
    if let Some(answer) = caller.try_send(request).await {
        assert_eq!(
            answer.status,
            StatusCode::UNAUTHORIZED,
            "{what}: {}",
            answer.json()
        );
        answer.cause();
        assert_eq!(answer.headers["www-authenticate"], "CAPIF", "{what}");
    }
}

/// R-6.3-01, R-6.3-04, P-25: a certificate counts only if an anchor vouches for it, it is meant for clients, its time has come and
/// not passed, and it is the very one that the profile of its id holds.
#[tokio::test]
async fn only_the_current_certificate_of_an_onboarded_invoker_counts() {
    let world = World::start().await;
    let other = World::start().await;
    let invoker = world.raw_invoker(&[]).await;
    let foreign = other.raw_invoker(&[]).await;
    let path = discovery(&invoker);
    assert_eq!(invoker.get(&path).await.status, StatusCode::OK);

    not_served("no certificate", &world.anonymous(), &path).await;
    not_served(
        "another authority",
        &world.with_certificate(&foreign.pems),
        &path,
    )
    .await;
    let own = (invoker.id.as_str(), "API_INVOKER");
    let real = issuing(&world);
    let theirs = issuing(&other);
    let cases: Vec<(&str, Pems)> = vec![
        ("self-signed", forged(&world, None, own, |_| {})),
        (
            "own name by another authority",
            forged(&world, Some(&theirs), own, |_| {}),
        ),
        (
            "own name, other key, by the real authority",
            forged(&world, Some(&real), own, |_| {}),
        ),
        (
            "unknown name",
            forged(&world, Some(&real), ("INV0", "API_INVOKER"), |_| {}),
        ),
        (
            "own name in another role",
            forged(&world, Some(&real), (&invoker.id, "AEF"), |_| {}),
        ),
        (
            "the core function's role",
            forged(&world, Some(&real), (&invoker.id, "CCF"), |_| {}),
        ),
        (
            "expired",
            forged(&world, Some(&real), own, |params| {
                params.not_before = world.clock.now() - Duration::days(2);
                params.not_after = world.clock.now() - Duration::seconds(1);
            }),
        ),
        (
            "not yet valid",
            forged(&world, Some(&real), own, |params| {
                params.not_before = world.clock.now() + Duration::minutes(1);
            }),
        ),
        (
            "for servers",
            forged(&world, Some(&real), own, |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            }),
        ),
        (
            "for nothing in particular",
            forged(&world, Some(&real), own, |params| {
                params.extended_key_usages.clear();
            }),
        ),
        (
            "a CA",
            forged(&world, Some(&real), own, |params| {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            }),
        ),
        (
            "no name",
            forged(&world, Some(&real), own, |params| {
                params.distinguished_name = DistinguishedName::new();
            }),
        ),
        (
            "no role",
            forged(&world, Some(&real), own, |params| {
                params.distinguished_name = DistinguishedName::new();
                params
                    .distinguished_name
                    .push(DnType::CommonName, invoker.id.as_str());
            }),
        ),
        (
            "the name in another case",
            forged(
                &world,
                Some(&real),
                (&invoker.id.to_lowercase(), "API_INVOKER"),
                |_| {},
            ),
        ),
        (
            "the name with a blank",
            forged(
                &world,
                Some(&real),
                (&format!("{} ", invoker.id), "API_INVOKER"),
                |_| {},
            ),
        ),
    ];
    for (what, pems) in &cases {
        not_served(what, &world.with_certificate(pems), &path).await;
    }
    // The leaf alone, without the authority between it and the root, leads nowhere.
    let end = "-----END CERTIFICATE-----\n";
    let leaf = invoker
        .pems
        .chain
        .replace("\r\n", "\n")
        .split_inclusive(end)
        .next()
        .unwrap()
        .to_owned();
    let alone = Pems {
        chain: leaf,
        key: invoker.pems.key.clone(),
    };
    not_served("no chain", &world.with_certificate(&alone), &path).await;
    assert!(world.list("contexts").await.is_empty());
    assert_eq!(invoker.get(&path).await.status, StatusCode::OK);
}

/// R-4-06, P-25: a certificate that ends while a connection stands open counts no longer, there or on a new one.
#[tokio::test]
async fn a_certificate_counts_until_it_ends_and_not_before_it_begins() {
    let world = World::start().await;
    world.clock.advance(Duration::hours(2));
    let invoker = world.raw_invoker(&[]).await;
    let path = discovery(&invoker);
    assert_eq!(invoker.get(&path).await.status, StatusCode::OK);

    world.clock.advance(Duration::hours(-1));
    not_served(
        "not yet valid",
        &world.with_certificate(&invoker.pems),
        &path,
    )
    .await;
    world.clock.advance(Duration::hours(1));
    assert_eq!(
        world
            .with_certificate(&invoker.pems)
            .json(Method::GET, &path, None)
            .await
            .status,
        200
    );

    world.clock.advance(Duration::days(90));
    let answer = invoker.get(&path).await;
    assert_eq!(
        answer.status,
        StatusCode::UNAUTHORIZED,
        "on the open connection"
    );
    answer.cause();
    not_served("expired", &world.with_certificate(&invoker.pems), &path).await;
}

/// R-6.3-01, D-14, P-20: ids in path, query and body must be that of the certificate. Another invoker's id and one that nobody has
/// are refused in the same words.
#[tokio::test]
async fn ids_must_agree_and_nobody_learns_which_exist() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    domain.publish("weather", &["PKI", "OAUTH"]).await;
    let invoker = world.raw_invoker(&[]).await;
    let other = world.raw_invoker(&[]).await;
    assert_eq!(
        other.negotiate(&domain.aef.id, &["OAUTH"]).await.status,
        StatusCode::CREATED
    );
    let body = crate::support::people::wishes(&[(&domain.aef.id, &["PKI"])]);
    let subscription = serde_json::json!({
        "events": ["SERVICE_API_AVAILABLE"], "notificationDestination": "https://127.0.0.1:1/events"
    });
    let answer = other
        .post(
            &format!("/capif-events/v1/{}/subscriptions", other.id),
            &subscription,
        )
        .await;
    let subscribed = answer.headers["location"]
        .to_str()
        .unwrap()
        .rsplit('/')
        .next()
        .unwrap()
        .to_owned();
    let of_another = other.id.as_str();
    let unknown = format!("INV{}", "0".repeat(32));
    let odd = [
        invoker.id.to_lowercase(),
        format!("{}.", invoker.id),
        format!("{}~", invoker.id),
        "-".to_owned(),
    ];
    let requests = |id: &str| -> Vec<(Method, String, Option<Value>)> {
        let context = format!("/capif-security/v1/trustedInvokers/{id}");
        let events = format!("/capif-events/v1/{id}/subscriptions");
        vec![
            (
                Method::GET,
                format!("/service-apis/v1/allServiceAPIs?api-invoker-id={id}"),
                None,
            ),
            (Method::PUT, context.clone(), Some(body.clone())),
            (
                Method::POST,
                format!("{context}/update"),
                Some(body.clone()),
            ),
            (Method::POST, events.clone(), Some(subscription.clone())),
            (
                Method::PUT,
                format!("{events}/{subscribed}"),
                Some(subscription.clone()),
            ),
            (Method::DELETE, format!("{events}/{subscribed}"), None),
            (Method::DELETE, format!("{INVOKERS}/{id}"), None),
            (Method::PUT, format!("{INVOKERS}/{id}"), Some(body.clone())),
            (
                Method::PATCH,
                format!("{INVOKERS}/{id}"),
                Some(body.clone()),
            ),
        ]
    };
    let expected: Vec<Value> = {
        let mut expected = Vec::new();
        for (method, path, body) in requests(&unknown) {
            let answer = invoker.caller.json(method, &path, body.as_ref()).await;
            assert_eq!(
                answer.status,
                StatusCode::FORBIDDEN,
                "{path}: {}",
                answer.json()
            );
            answer.cause();
            expected.push(without_request_id(&answer.json()));
        }
        expected
    };
    for id in odd
        .iter()
        .map(String::as_str)
        .chain([of_another, &domain.aef.id, &domain.id])
    {
        for ((method, path, body), expected) in requests(id).into_iter().zip(&expected) {
            let answer = invoker
                .caller
                .json(method.clone(), &path, body.as_ref())
                .await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
            assert_eq!(
                without_request_id(&answer.json()),
                *expected,
                "{method} {path}"
            );
        }
    }
    // Nothing of the other's was touched.
    assert_eq!(world.list("invokers").await.len(), 2);
    let contexts = world.list("contexts").await;
    assert_eq!(contexts.len(), 1);
    assert_eq!(contexts[0]["selSecurityMethod"], "OAUTH");
    assert_eq!(world.list("events").await.len(), 1);
}

/// A problem without what differs each time.
pub(super) fn without_request_id(problem: &Value) -> Value {
    let mut problem = problem.clone();
    problem.as_object_mut().unwrap().remove("requestId");
    problem
}

/// R-6.3-09: without a good certificate no security context comes into being, and nothing is handed over.
#[tokio::test]
async fn nothing_is_handed_over_without_mutual_authentication() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    domain.publish("weather", &["PKI", "OAUTH"]).await;
    let invoker = world.raw_invoker(&[]).await;
    let body = crate::support::people::wishes(&[(&domain.aef.id, &["OAUTH"])]);
    let stolen_name = forged(
        &world,
        Some(&issuing(&world)),
        (&invoker.id, "API_INVOKER"),
        |_| {},
    );
    for caller in [world.anonymous(), world.with_certificate(&stolen_name)] {
        for (method, path) in [
            (Method::PUT, invoker.context()),
            (Method::POST, format!("{}/update", invoker.context())),
            (
                Method::GET,
                format!("{}?authenticationInfo=true", invoker.context()),
            ),
        ] {
            let body = (method != Method::GET).then_some(&body);
            let answer = caller.json(method, &path, body).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
            answer.cause();
        }
    }
    assert!(world.list("contexts").await.is_empty());
}
