//! Several processes of one AEF, each with an interface of its own.

use capif_aef::{Gateway, GatewayConfig};
use capif_spec::publish_service::SecurityMethod;
use http::Method;

use crate::support::site::{ALL, Credential, Site};

/// A second process beside the first, in the same folder.
pub(super) async fn join(site: &Site, methods: &[SecurityMethod]) -> Gateway {
    let url = site.backend.url();
    let config = site
        .world
        .gateway_config("acme", None, "weather", &url, methods);
    let config = GatewayConfig {
        join: true,
        ..config
    };
    Gateway::start(config).await.unwrap()
}

async fn interfaces(site: &Site) -> Vec<u16> {
    let api = site.provider().await.apis().await.unwrap().remove(0);
    let profile = api.aef_profiles.unwrap().remove(0);
    let interfaces = profile.interface_descriptions.unwrap();
    interfaces
        .iter()
        .map(|interface| interface.port.unwrap().0)
        .collect()
}

/// Each process publishes itself beside the others, hears the events, and refuses whom they take away.
#[tokio::test]
async fn every_process_hears_of_an_offboarding() {
    for method in [SecurityMethod::Pki, SecurityMethod::Oauth] {
        let site = Site::start(&ALL).await;
        let second = join(&site, &[]).await;
        assert_eq!(second.aef_id(), site.gateway.aef_id());
        let ports = [site.gateway.local_addr().port(), second.local_addr().port()];
        assert_eq!(interfaces(&site).await, ports);
        assert_eq!(site.world.list("events").await.len(), 2);
        let amy = site.world.raw_invoker(&[]).await;
        let credential = site.negotiate(&amy, &method).await;
        let lines = [
            site.line(&amy, &credential),
            site.line_to(second.address(), &amy, &credential),
        ];
        for line in &lines {
            assert_eq!(line.status().await, 200);
        }
        let path = format!("/invokers/{}", amy.id);
        site.world.operator(Method::DELETE, &path, None).await;
        site.settled().await;
        for line in &lines {
            assert!(line.call().await.is_none_or(|answer| answer.status == 401));
        }
        assert_eq!(site.backend.seen().len(), 2);
    }
}

/// P-27 and D-06: one key, one interface, also where both are of one AEF.
#[tokio::test]
async fn a_key_is_for_one_interface() {
    let site = Site::start(&ALL).await;
    let amy = site.world.raw_invoker(&[]).await;
    let credential = site.negotiate(&amy, &SecurityMethod::Psk).await;
    assert_eq!(site.line(&amy, &credential).status().await, 200);
    let second = join(&site, &[]).await;
    assert!(matches!(credential, Credential::Psk(_)));
    let there = site.line_to(second.address(), &amy, &credential);
    assert!(there.call().await.is_none());
    assert_eq!(site.line(&amy, &credential).status().await, 200);
    // Each interface has its own.
    let here = site.negotiate(&amy, &SecurityMethod::Psk).await;
    let there = amy.psk(&site.world, site.aef(), second.address()).await;
    let there = Credential::Psk(there);
    for (address, credential, opens) in [
        (site.gateway.address(), &here, true),
        (second.address(), &there, true),
        (second.address(), &here, false),
        (site.gateway.address(), &there, false),
    ] {
        let answer = site.line_to(address, &amy, credential).call().await;
        assert_eq!(answer.is_some_and(|answer| answer.status == 200), opens);
    }
}

/// Each interface has its own methods if it wants to, and a change for the AEF reaches all of them.
#[tokio::test]
async fn methods_are_those_of_the_interface() {
    let site = Site::start(&ALL).await;
    let second = join(&site, &[SecurityMethod::Oauth]).await;
    site.settled().await;
    assert_eq!(site.gateway.methods(), ALL);
    assert_eq!(second.methods(), [SecurityMethod::Oauth]);
    site.change(&[SecurityMethod::Pki]).await;
    site.settled().await;
    assert_eq!(second.methods(), [SecurityMethod::Pki]);
    // Without joining, a gateway is the only one.
    let url = site.backend.url();
    let config = site
        .world
        .gateway_config("acme", None, "weather", &url, &[]);
    let alone = Gateway::start(config).await.unwrap();
    assert_eq!(interfaces(&site).await, [alone.local_addr().port()]);
    assert_eq!(site.world.list("events").await.len(), 1);
}
