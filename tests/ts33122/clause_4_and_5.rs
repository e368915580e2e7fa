//! Requirements and functional model (TS 33.122 clauses 4 and 5), as far as the core function alone can keep them.

use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{
    World,
    people::{Party, wishes},
    raw,
};

/// R-4-04, R-4-08, R-T-02: no listener of CAPIF-1 to 5 speaks without TLS, and none upgrades to it.
#[tokio::test]
async fn nothing_is_served_in_the_clear() {
    let world = World::start().await;
    for text in [
        "GET /.well-known/jwks.json HTTP/1.1\r\nhost: ccf\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nhost: ccf\r\nupgrade: TLS/1.2\r\nconnection: upgrade\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = tokio::net::TcpStream::connect(world.ccf().local_addr())
            .await
            .unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer).await;
        assert!(!String::from_utf8_lossy(&answer).contains("HTTP"), "{text}");
    }
    // Not inside TLS either.
    let address = world.ccf().local_addr();
    let mut stream = raw::tls(address, &world.root_pem(), None, b"http/1.1")
        .await
        .unwrap();
    let text = "GET /.well-known/jwks.json HTTP/1.1\r\nhost: ccf\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\
                connection: upgrade, http2-settings, close\r\n\r\n";
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 "),
        "served as it is, without the upgrade: {answer}"
    );
}

/// R-4-07, R-5-04, R-5-05: nobody is served before onboarding, wherever the request comes from, with one exception: the public keys
/// of tokens.
#[tokio::test]
async fn nobody_is_served_before_onboarding() {
    let world = World::start().await;
    let anonymous = world.anonymous();
    for (method, path) in [
        (
            Method::GET,
            "/service-apis/v1/allServiceAPIs?api-invoker-id=INV0",
        ),
        (Method::PUT, "/capif-security/v1/trustedInvokers/INV0"),
        (Method::GET, "/published-apis/v1/APF0/service-apis"),
    ] {
        let answer = anonymous.json(method, path, None).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        answer.cause();
    }
    let keys = anonymous
        .json(Method::GET, "/.well-known/jwks.json", None)
        .await;
    assert_eq!(keys.status, StatusCode::OK);
}

/// R-4-06: the outcome of authentication is enforced for the whole communication: who is removed is refused on the connection that
/// stood open.
#[tokio::test]
async fn removal_reaches_open_connections() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    domain.publish("weather", &["PKI", "OAUTH"]).await;
    let invoker = world.raw_invoker(&[]).await;
    let discovery = format!(
        "/service-apis/v1/allServiceAPIs?api-invoker-id={}",
        invoker.id
    );
    assert_eq!(invoker.get(&discovery).await.status, StatusCode::OK);
    assert_eq!(domain.apf.get(&domain.apis()).await.status, StatusCode::OK);
    let open = world.ccf().connections().len();
    assert!(open >= 2);

    world
        .operator(Method::DELETE, &format!("/invokers/{}", invoker.id), None)
        .await;
    gone(&invoker, &discovery).await;
    world
        .operator(Method::DELETE, &format!("/providers/{}", domain.id), None)
        .await;
    gone(&domain.apf, &domain.apis()).await;
}

async fn gone(party: &Party, path: &str) {
    let request = crate::support::wire::request(Method::GET, path, None, None);
    if let Some(answer) = party.caller.try_send(request).await {
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

/// R-4-09, R-4-10, R-6.6-02: logs, APIs and registrations of one provider are none of another's, and each function does its own
/// part alone.
#[tokio::test]
async fn providers_and_their_functions_are_kept_apart() {
    let world = World::start().await;
    let (acme, umbrella) = (world.domain("acme").await, world.domain("umbrella").await);
    let api = acme.publish("weather", &["PKI"]).await;
    let invoker = world.raw_invoker(&[]).await;
    assert_eq!(
        invoker.negotiate(&acme.aef.id, &["PKI"]).await.status,
        StatusCode::CREATED
    );
    let published = format!("{}/{api}", acme.apis());
    let logs = format!("/api-invocation-logs/v1/{}/logs", acme.aef.id);
    let empty = serde_json::json!({});
    for party in [
        &umbrella.apf,
        &umbrella.aef,
        &umbrella.amf,
        &acme.aef,
        &acme.amf,
        &invoker.party,
    ] {
        assert_eq!(party.get(&published).await.status, StatusCode::FORBIDDEN);
        assert_eq!(
            party.put(&published, &empty).await.status,
            StatusCode::FORBIDDEN
        );
        assert_eq!(party.delete(&published).await.status, StatusCode::FORBIDDEN);
    }
    for party in [
        &umbrella.apf,
        &umbrella.aef,
        &umbrella.amf,
        &acme.apf,
        &acme.amf,
        &invoker.party,
    ] {
        assert_eq!(
            party.post(&logs, &empty).await.status,
            StatusCode::FORBIDDEN
        );
    }
    for party in [
        &umbrella.apf,
        &umbrella.aef,
        &umbrella.amf,
        &acme.apf,
        &acme.aef,
        &invoker.party,
    ] {
        assert_eq!(
            party.delete(&acme.path()).await.status,
            StatusCode::FORBIDDEN
        );
    }
    for party in [&acme.apf, &acme.amf, &invoker.party] {
        assert_eq!(
            party.get(&invoker.context()).await.status,
            StatusCode::FORBIDDEN
        );
    }
    for party in [&acme.aef, &acme.apf, &acme.amf] {
        let answer = party
            .put(&invoker.context(), &wishes(&[(&acme.aef.id, &["PKI"])]))
            .await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(acme.apf.get(&published).await.status, StatusCode::OK);
    assert_eq!(world.list("providers").await.len(), 2);
}
