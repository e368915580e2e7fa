//! A change of the method as the gateway answers it, to invokers that know the standard and nothing of this program.

use capif_aef::{Gateway, GatewayConfig};
use capif_spec::publish_service::SecurityMethod;
use http::StatusCode;

use crate::support::site::{ALL, Credential, Site};

fn pairs() -> Vec<(SecurityMethod, SecurityMethod)> {
    let all = ALL
        .iter()
        .flat_map(|old| ALL.iter().map(move |new| (old.clone(), new.clone())));
    all.filter(|(old, new)| old != new).collect()
}

/// R-6.7-01, R-6.7-02 and R-6.7-04: every ordered pair, for an invoker that calls and for one that the gateway never heard of. The
/// session of an old key still comes about, so that the indicator can be said in it.
#[tokio::test]
async fn every_change_of_method_is_told_and_followed() {
    for (old, new) in pairs() {
        let site = Site::start(&ALL).await;
        let amy = site.world.raw_invoker(&[]).await;
        let bob = site.world.raw_invoker(&[]).await;
        site.change(std::slice::from_ref(&old)).await;
        let credential = site.negotiate(&amy, &old).await;
        let open = site.line(&amy, &credential);
        assert_eq!(open.status().await, 200, "{old} to {new}");
        let bobs = site.negotiate(&bob, &old).await;

        site.change(std::slice::from_ref(&new)).await;
        let lines = [open, site.line(&amy, &credential), site.line(&bob, &bobs)];
        for line in lines {
            let answer = line.call().await;
            let answer = answer.unwrap_or_else(|| panic!("no answer: {old} to {new}"));
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
            assert_eq!(answer.cause(), "SECURITY_METHOD_MISMATCH", "{old} to {new}");
            let supported = &answer.json()["supportedMethods"];
            assert_eq!(*supported, serde_json::json!([new.as_str()]));
            let challenge = match new {
                SecurityMethod::Oauth => "Bearer",
                _ => "CAPIF",
            };
            assert_eq!(answer.headers["www-authenticate"], challenge);
        }
        assert_eq!(site.backend.seen().len(), 1, "{old} to {new}");

        let renewed = site.negotiate(&amy, &new).await;
        assert_eq!(
            site.line(&amy, &renewed).status().await,
            200,
            "{old} to {new}"
        );
        // What was given up stays given up.
        let answer = site.line(&amy, &credential).call().await;
        assert!(answer.is_none_or(|answer| answer.cause() == "SECURITY_METHOD_MISMATCH"));
        assert_eq!(site.backend.seen().len(), 2);
    }
}

/// What was negotiated counts again once the API takes it again, and not before.
#[tokio::test]
async fn a_method_that_is_given_back_counts_again() {
    let site = Site::start(&ALL).await;
    let amy = site.world.raw_invoker(&[]).await;
    let credential = site.negotiate(&amy, &SecurityMethod::Psk).await;
    assert!(matches!(credential, Credential::Psk(_)));
    let line = site.line(&amy, &credential);
    assert_eq!(line.status().await, 200);
    site.change(&[SecurityMethod::Pki]).await;
    assert_eq!(line.status().await, 401);
    site.change(&ALL).await;
    site.settled().await;
    assert_eq!(line.status().await, 200);
}

/// A restart keeps what is published, unless it is told otherwise.
#[tokio::test]
async fn a_restart_keeps_the_published_methods() {
    let site = Site::start(&ALL).await;
    let pki = [SecurityMethod::Pki];
    site.change(&pki).await;
    let listen = site.gateway.local_addr();
    let config = |methods: &[SecurityMethod]| {
        let url = site.backend.url();
        let config = site
            .world
            .gateway_config("acme", None, "weather", &url, methods);
        GatewayConfig { listen, ..config }
    };
    let (kept, told) = (config(&[]), config(&[SecurityMethod::Oauth]));
    site.gateway.drain(std::time::Duration::ZERO).await;
    let again = Gateway::start(kept).await.unwrap();
    assert_eq!(again.methods(), pki);
    again.drain(std::time::Duration::ZERO).await;
    let other = Gateway::start(told).await.unwrap();
    assert_eq!(other.methods(), [SecurityMethod::Oauth]);
    let amy = site.world.raw_invoker(&[]).await;
    let answer = amy
        .negotiate(other.aef_id().as_str(), &["PKI", "OAUTH"])
        .await;
    let entry = &answer.json()["securityInfo"][0];
    assert_eq!(entry["selSecurityMethod"], "OAUTH");
}
