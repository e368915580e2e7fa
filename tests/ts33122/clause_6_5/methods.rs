//! The selected method is the one that counts (TS 33.122 clauses 6.3, 6.5 and 6.7, D-20).

use capif_spec::publish_service::SecurityMethod;
use capif_transport::empty;
use http::{Request, StatusCode};

use super::{INVALID_TOKEN, PATH, Site, assert_refused, supported_methods};
use crate::support::eventually;

/// From then on the gateway has asked anew, whatever it had heard before.
const ASKED_AGAIN: time::Duration = time::Duration::seconds(31);

/// R-6.7-02: who comes by certificate though tokens count is told so, with an indicator and the methods.
#[tokio::test]
async fn a_certificate_where_tokens_count_is_answered_with_the_indicator() {
    let site = Site::start().await;
    let _amy = site.invoker("amy", SecurityMethod::Oauth).await;
    let answer = site.by_certificate("amy").await;
    assert_refused(&answer, StatusCode::UNAUTHORIZED, Some("Bearer"));
    assert_eq!(answer.cause(), "SECURITY_METHOD_MISMATCH");
    assert_eq!(supported_methods(&answer), ["PKI", "OAUTH"]);
    assert!(site.backend.seen().is_empty());
}

/// R-6.7-02: who comes by token though the certificate counts is told so as well, with or without the certificate.
#[tokio::test]
async fn a_token_where_certificates_count_is_answered_with_the_indicator() {
    let site = Site::start().await;
    let amy = site.invoker("amy", SecurityMethod::Oauth).await;
    let token = site.token(&amy).await;
    assert_eq!(site.by_token(&token).await.status, 200);
    site.select(&amy, SecurityMethod::Pki).await;
    site.world.clock.advance(ASKED_AGAIN);
    for identity in [None, Some(site.pems("amy").identity())] {
        let answer = site
            .caller(identity)
            .bearer(http::Method::GET, PATH, &token, None)
            .await;
        assert_eq!(answer.cause(), "SECURITY_METHOD_MISMATCH");
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(supported_methods(&answer), ["PKI", "OAUTH"]);
    }
    assert_eq!(site.by_certificate("amy").await.status, 200);
    assert_eq!(site.backend.seen().len(), 2);
}

/// R-6.7-02: where only certificates count, the challenge names no token.
#[tokio::test]
async fn the_challenge_is_one_that_the_api_takes() {
    let site = Site::start().await;
    let amy = site.invoker("amy", SecurityMethod::Oauth).await;
    let token = site.token(&amy).await;
    let backend = crate::support::backend::Backend::start();
    let pki = [SecurityMethod::Pki];
    let other = site
        .world
        .gateway("zeta", "tides", &backend.url(), &pki)
        .await;
    let wish = capif_client::Wish {
        aef_id: other.aef_id().clone(),
        api_id: None,
        preferred: pki.to_vec(),
        profile: None,
    };
    amy.negotiate(&[wish]).await.unwrap();
    let caller = crate::support::wire::Caller::new(&site.world, other.address(), None);
    let answer = caller
        .bearer(http::Method::GET, "/tides/v1/now", &token, None)
        .await;
    assert_eq!(answer.cause(), "SECURITY_METHOD_MISMATCH");
    assert_eq!(answer.headers["www-authenticate"], "CAPIF");
    assert_eq!(supported_methods(&answer), ["PKI"]);
    assert!(backend.seen().is_empty());
}

/// R-6.5.2.1-06 by analogy and section 3.4 number 7: what a renegotiation took away opens nothing, once the gateway knows.
#[tokio::test]
async fn tokens_of_an_earlier_generation_are_dead() {
    let site = Site::start().await;
    let amy = site.invoker("amy", SecurityMethod::Oauth).await;
    let old = site.token(&amy).await;
    assert_eq!(site.by_token(&old).await.status, 200);
    site.select(&amy, SecurityMethod::Pki).await;
    site.select(&amy, SecurityMethod::Oauth).await;
    let new = site.token(&amy).await;
    // What the gateway was told last holds for less than a minute (D-37).
    site.world.clock.advance(ASKED_AGAIN);
    assert_refused(
        &site.by_token(&old).await,
        StatusCode::UNAUTHORIZED,
        INVALID_TOKEN,
    );
    assert_eq!(site.by_token(&new).await.status, 200);
}

/// Section 3.4 number 7: a token of a newer generation makes the gateway ask, so that older ones die at once.
#[tokio::test]
async fn a_newer_token_ends_the_older_ones() {
    let site = Site::start().await;
    let amy = site.invoker("amy", SecurityMethod::Oauth).await;
    let old = site.token(&amy).await;
    assert_eq!(site.by_token(&old).await.status, 200);
    site.select(&amy, SecurityMethod::Pki).await;
    site.select(&amy, SecurityMethod::Oauth).await;
    let new = site.token(&amy).await;
    assert_eq!(site.by_token(&new).await.status, 200);
    assert_refused(
        &site.by_token(&old).await,
        StatusCode::UNAUTHORIZED,
        INVALID_TOKEN,
    );
}

/// R-6.3-13: the gateway hears of it. Its clock stands still, so nothing that it remembers grows old.
#[tokio::test]
async fn what_was_negotiated_away_ends_at_once() {
    let site = Site::start().await;
    let amy = site.invoker("amy", SecurityMethod::Oauth).await;
    let token = site.token(&amy).await;
    assert_eq!(site.by_token(&token).await.status, 200);
    site.select(&amy, SecurityMethod::Pki).await;
    eventually("the refusal of the old method", || async {
        site.by_token(&token).await.status == StatusCode::UNAUTHORIZED
    })
    .await;
    assert_eq!(
        site.by_token(&token).await.cause(),
        "SECURITY_METHOD_MISMATCH"
    );
}

/// R-6.7-04: an invoker that renegotiates calls on by the new method at once, in both directions.
#[tokio::test]
async fn a_renegotiated_method_is_usable_at_once() {
    let site = Site::start().await;
    let amy = site.invoker("amy", SecurityMethod::Pki).await;
    for method in [
        SecurityMethod::Pki,
        SecurityMethod::Oauth,
        SecurityMethod::Pki,
    ] {
        site.select(&amy, method.clone()).await;
        let request = Request::get(PATH).body(empty()).unwrap();
        let response = amy.call("weather", request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{method}");
    }
}
