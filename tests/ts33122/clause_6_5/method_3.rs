//! Method 3 over mutual TLS (TS 33.122 clause 6.5.2.3, D-29), and tokens that are bound to a certificate (RFC 8705).

use capif_spec::publish_service::SecurityMethod;
use http::StatusCode;

use super::{INVALID_TOKEN, assert_refused};
use crate::support::{
    World,
    people::RawInvoker,
    site::{Credential, Line, Site},
    wire::Caller,
};

const OAUTH: [SecurityMethod; 1] = [SecurityMethod::Oauth];

async fn token(site: &Site, invoker: &RawInvoker) -> String {
    match site.negotiate(invoker, &SecurityMethod::Oauth).await {
        Credential::Token(token) => token,
        _ => unreachable!("OAUTH was negotiated"),
    }
}

fn alone(site: &Site, token: &str) -> Line {
    Line {
        caller: Caller::new(&site.world, site.gateway.address(), None),
        token: Some(token.to_owned()),
    }
}

/// R-6.5.2.3-03: where the interface says mutual TLS, a token counts only beside the certificate of the same invoker.
#[tokio::test]
async fn an_interface_with_mutual_tls_takes_no_token_alone() {
    let world = World::start().await;
    let site = Site::of(world, &OAUTH, |config| config.oauth_mutual_tls = Some(true)).await;
    let amy = site.world.raw_invoker(&[]).await;
    let bob = site.world.raw_invoker(&[]).await;
    let (amys, bobs) = (token(&site, &amy).await, token(&site, &bob).await);
    for refused in [
        alone(&site, &amys),
        site.mutual_line(&bob, &amys),
        site.mutual_line(&amy, &bobs),
    ] {
        let answer = refused.call().await.unwrap();
        assert_refused(&answer, StatusCode::UNAUTHORIZED, INVALID_TOKEN);
    }
    // The certificate alone is another method.
    let answer = site.line(&amy, &Credential::Certificate).call().await;
    assert_eq!(answer.unwrap().cause(), "SECURITY_METHOD_MISMATCH");
    assert!(site.backend.seen().is_empty());
    assert_eq!(site.mutual_line(&amy, &amys).status().await, 200);
    assert_eq!(site.mutual_line(&bob, &bobs).status().await, 200);
}

/// D-29 and RFC 8705 section 3: a token that is bound to a certificate is worth nothing to whoever has the token alone, also where
/// the interface does not ask for certificates.
#[tokio::test]
async fn a_bound_token_counts_with_its_certificate_alone() {
    let world = World::with(|config| config.security.certificate_bound_tokens = true).await;
    let site = Site::of(world, &OAUTH, |_| {}).await;
    let amy = site.world.raw_invoker(&[]).await;
    let bob = site.world.raw_invoker(&[]).await;
    let (amys, _bobs) = (token(&site, &amy).await, token(&site, &bob).await);
    for refused in [alone(&site, &amys), site.mutual_line(&bob, &amys)] {
        let answer = refused.call().await.unwrap();
        assert_refused(&answer, StatusCode::UNAUTHORIZED, INVALID_TOKEN);
    }
    assert!(site.backend.seen().is_empty());
    assert_eq!(site.mutual_line(&amy, &amys).status().await, 200);
}

/// The terms of the interface are what is published, and follow the publication while the gateway runs.
#[tokio::test]
async fn mutual_tls_can_be_asked_for_at_run_time() {
    let site = Site::start(&OAUTH).await;
    let amy = site.world.raw_invoker(&[]).await;
    let amys = token(&site, &amy).await;
    let (single, mutual) = (alone(&site, &amys), site.mutual_line(&amy, &amys));
    assert_eq!(single.status().await, 200);
    let provider = site.provider().await;
    let mut api = provider.apis().await.unwrap().remove(0);
    let id = api.api_id.clone().unwrap();
    for profile in api.aef_profiles.iter_mut().flatten() {
        for interface in profile.interface_descriptions.iter_mut().flatten() {
            let terms = serde_json::json!({ "pskTls": "1.3", "oauthMutualTls": true });
            interface
                .extra
                .insert("vendorSpecific-capif".to_owned(), terms);
        }
    }
    provider.update_api(&id, &api).await.unwrap();
    site.settled().await;
    assert_eq!(single.status().await, 401);
    // As before the change, or bound to the certificate since.
    let renewed = site.token(&amy).await;
    assert_eq!(mutual.status().await, 200);
    assert_eq!(site.mutual_line(&amy, &renewed).status().await, 200);
    assert_eq!(alone(&site, &renewed).status().await, 401);
}
