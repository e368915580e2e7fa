//! What a gateway finds out by itself (D-28, D-37): a lost subscription, a lost event, a core function that does not answer.

use capif_client::Provider;
use capif_spec::{
    common::{SubscriptionId, Uri},
    events::CapifEvent,
    publish_service::SecurityMethod,
    security::Cause,
};

use crate::support::{
    World, eventually,
    lines::Lines,
    site::{ALL, Site},
};

/// From then on a comparison is due.
const DUE: time::Duration = time::Duration::seconds(31);

/// Ends the gateway's subscription behind its back.
async fn deafen(site: &Site, provider: &Provider) {
    let rows = site.world.list("events").await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    let text = std::fs::read_to_string(
        site.world
            .folder("acme")
            .join("capif-gateway-subscriptions.json"),
    );
    let kept: std::collections::BTreeMap<Uri, SubscriptionId> =
        serde_json::from_str(&text.unwrap()).unwrap();
    for id in kept.values() {
        provider.unsubscribe(id).await.unwrap();
    }
    assert!(site.world.list("events").await.is_empty());
}

/// A lost subscription is made anew, and whoever lost its right meanwhile loses the connection.
#[tokio::test]
async fn a_lost_event_is_healed() {
    for method in ALL {
        let site = Site::start(&ALL).await;
        let amy = site.world.raw_invoker(&[]).await;
        let bob = site.world.raw_invoker(&[]).await;
        let (amys, bobs) = (
            site.negotiate(&amy, &method).await,
            site.negotiate(&bob, &method).await,
        );
        let (amys, bobs) = (site.line(&amy, &amys), site.line(&bob, &bobs));
        assert_eq!((amys.status().await, bobs.status().await), (200, 200));
        let provider = site.provider().await;
        deafen(&site, &provider).await;
        let apis = vec![site.api_id().await.into()];
        let id = amy.id.as_str().into();
        assert!(
            provider
                .revoke(&id, apis, Cause::OtherReason)
                .await
                .unwrap()
        );
        assert_eq!(site.connections_of(&amy), 1);
        site.world.clock.advance(DUE);
        site.disconnected(&amy).await;
        assert!(amys.call().await.is_none_or(|answer| answer.status == 401));
        assert_eq!(bobs.status().await, 200);
        eventually("there is a subscription again", || async {
            site.world.list("events").await.len() == 1
        })
        .await;
        // It is heard on.
        let path = format!("/invokers/{}", bob.id);
        site.world.operator(http::Method::DELETE, &path, None).await;
        site.settled().await;
        assert!(bobs.call().await.is_none_or(|answer| answer.status == 401));
    }
}

/// A change of the methods that the gateway was not told of is found out.
#[tokio::test]
async fn a_change_that_was_not_heard_of_is_found() {
    let site = Site::start(&ALL).await;
    let provider = site.provider().await;
    deafen(&site, &provider).await;
    let pki = [SecurityMethod::Pki];
    site.publish(&pki).await;
    assert_eq!(site.gateway.methods(), ALL);
    site.world.clock.advance(DUE);
    eventually("the methods are taken", || async {
        site.gateway.methods() == pki
    })
    .await;
}

/// P-06: a gateway that has lost the core function alarms within ten seconds, once, refuses once its data are older than the
/// bound, also on connections that are open, and says when it is over.
#[tokio::test]
async fn a_lost_core_function_is_an_alarm_and_then_a_refusal() {
    let lines = Lines::keep();
    let alarms = || lines.with("alarm", "ccf-unreachable");
    let world = World::start().await;
    let mut site = Site::of(world, &ALL, |config| config.stale_seconds = 20).await;
    let amy = site.world.raw_invoker(&[]).await;
    let credential = site.negotiate(&amy, &SecurityMethod::Pki).await;
    let open = site.line(&amy, &credential);
    assert_eq!(open.status().await, 200);
    site.world.stop().await;
    site.world.clock.advance(time::Duration::seconds(9));
    eventually("the alarm is raised", || async { alarms().len() == 1 }).await;
    assert_eq!(alarms()[0]["level"], "ERROR");
    assert_eq!(alarms()[0]["target"], "capif::alarm");
    assert_eq!(open.status().await, 200);
    site.world.clock.advance(time::Duration::seconds(11));
    site.disconnected(&amy).await;
    let answer = site.line(&amy, &credential).call().await.unwrap();
    assert_eq!(answer.status, 503);
    assert_eq!(alarms().len(), 1);
    site.world.resume().await;
    eventually("the alarm ends", || async { alarms().len() == 2 }).await;
    assert_eq!(alarms()[1]["ended"], true);
    assert_eq!(site.line(&amy, &credential).status().await, 200);
}

/// The subscription is to what the gateway acts on.
#[tokio::test]
async fn the_gateway_hears_what_it_acts_on() {
    let site = Site::start(&ALL).await;
    let rows = site.world.list("events").await;
    for event in [
        CapifEvent::ApiInvokerOffboarded,
        CapifEvent::ApiInvokerAuthorizationRevoked,
        CapifEvent::ServiceApiUpdate,
        CapifEvent::AccessControlPolicyUpdate,
        CapifEvent::AccessControlPolicyUnavailable,
    ] {
        assert!(
            rows[0].to_string().contains(event.as_str()),
            "{event}: {rows:?}"
        );
    }
}
