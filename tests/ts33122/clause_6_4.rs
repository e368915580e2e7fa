//! CAPIF-2, inside the trust domain (TS 33.122 clause 6.4): the rules of CAPIF-2e, and certificates on both sides wherever no key
//! takes their place.

use capif_aef::Interface;
use capif_spec::publish_service::SecurityMethod;
use http::{Method, StatusCode};

use crate::support::{
    World,
    lines::Lines,
    site::{ALL, Credential, PATH, Site},
    wire::{Caller, request},
};

async fn inside() -> Site {
    let world = World::start().await;
    Site::of(world, &ALL, |config| config.interface = Interface::Capif2).await
}

/// R-6.4-01: all three methods, each with both ends proved; without a certificate or a key there is not even a session.
#[tokio::test]
async fn both_ends_prove_themselves() {
    let lines = Lines::keep();
    let site = inside().await;
    for method in ALL {
        let amy = site.world.raw_invoker(&[]).await;
        let credential = site.negotiate(&amy, &method).await;
        let line = match &credential {
            Credential::Token(token) => {
                assert!(site.line(&amy, &credential).call().await.is_none());
                site.mutual_line(&amy, token)
            }
            _ => site.line(&amy, &credential),
        };
        assert_eq!(line.status().await, 200, "{method}");
    }
    let nobody = Caller::new(&site.world, site.gateway.address(), None);
    assert!(
        nobody
            .try_send(request(Method::GET, PATH, None, None))
            .await
            .is_none()
    );
    assert_eq!(site.backend.seen().len(), 3);
    assert!(lines.with("interface", "CAPIF-2").len() >= 3);
    assert!(lines.with("interface", "CAPIF-2e").is_empty());
}

/// R-6.4-02: the rights are those that the core function tells, and another method than the context's is refused.
#[tokio::test]
async fn rights_and_method_are_those_of_the_context() {
    let site = inside().await;
    let amy = site.world.raw_invoker(&[]).await;
    let answer = site
        .line(&amy, &Credential::Certificate)
        .call()
        .await
        .unwrap();
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let Credential::Token(token) = site.negotiate(&amy, &SecurityMethod::Oauth).await else {
        unreachable!("OAUTH was negotiated");
    };
    let answer = site
        .line(&amy, &Credential::Certificate)
        .call()
        .await
        .unwrap();
    assert_eq!(answer.cause(), "SECURITY_METHOD_MISMATCH");
    assert!(site.backend.seen().is_empty());
    assert_eq!(site.mutual_line(&amy, &token).status().await, 200);
    // The core function reaches the gateway here too.
    let path = format!("/invokers/{}", amy.id);
    site.world.operator(Method::DELETE, &path, None).await;
    site.settled().await;
    assert_eq!(site.mutual_line(&amy, &token).status().await, 401);
}
