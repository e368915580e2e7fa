//! Offboarding while one side is away (R-6.8-10 and R-6.8-13): the event waits, and is delivered until it is acknowledged.

use capif_aef::{Gateway, GatewayConfig};
use capif_spec::publish_service::SecurityMethod;

use super::{By, Site};
use crate::support::eventually;

/// R-6.8-13: the event survives a restart of the core function while the gateway is away, and reaches a gateway that comes
/// back with the same folder and address.
#[tokio::test]
async fn the_event_waits_for_a_gateway_that_is_away() {
    let mut site = Site::start().await;
    let amy = site.member("amy", SecurityMethod::Oauth).await;
    let bob = site.member("bob", SecurityMethod::Pki).await;
    assert_eq!(site.at_gateway(&amy).send(amy.request()).await.status, 200);
    let listen = site.gateway.local_addr();
    let aef_id = site.gateway.aef_id().clone();
    let methods = [SecurityMethod::Pki, SecurityMethod::Oauth];
    let config = site
        .world
        .gateway_config("acme", None, "weather", &site.upstream.url(), &methods);
    // The gateway goes away first; another one stands in its place in the site.
    let spare = site
        .world
        .gateway("spare", "spare", &site.upstream.url(), &methods)
        .await;
    std::mem::replace(&mut site.gateway, spare)
        .drain(std::time::Duration::ZERO)
        .await;

    site.offboard(&amy, By::Invoker).await;
    let waiting = |rows: Vec<serde_json::Value>| {
        rows.iter()
            .filter(|row| row["subscriber"] == aef_id.as_str())
            .map(|row| row["waiting"].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(waiting(site.world.list("events").await), 1);
    site.world.stop().await;
    site.world.resume().await;
    assert_eq!(waiting(site.world.list("events").await), 1);

    let back = Gateway::start(GatewayConfig { listen, ..config })
        .await
        .unwrap();
    assert_eq!(*back.aef_id(), aef_id);
    eventually("the event is acknowledged", || async {
        waiting(site.world.list("events").await) == 0
    })
    .await;
    let caller = |member| {
        crate::support::wire::Caller::new(&site.world, back.address(), super::Member::shown(member))
    };
    assert_eq!(caller(&amy).send(amy.request()).await.status, 401);
    assert_eq!(caller(&bob).send(bob.request()).await.status, 200);
    // One subscription, as before.
    let rows = site.world.list("events").await;
    assert_eq!(
        rows.iter()
            .filter(|row| row["subscriber"] == aef_id.as_str())
            .count(),
        1
    );
}

/// R-6.8-13 and D-18: what the gateway knew before the core function stopped is gone once the core function is back and the
/// invoker is offboarded, though the gateway's clock stands still.
#[tokio::test]
async fn a_gateway_that_stayed_hears_of_it_after_a_restart_of_the_core_function() {
    let mut site = Site::start().await;
    let amy = site.member("amy", SecurityMethod::Pki).await;
    let caller = site.at_gateway(&amy);
    assert_eq!(caller.send(amy.request()).await.status, 200);
    site.world.stop().await;
    assert_eq!(caller.send(amy.request()).await.status, 200);
    site.world.resume().await;
    site.offboard(&amy, By::Operator).await;
    site.acknowledged().await;
    assert_eq!(site.at_gateway(&amy).send(amy.request()).await.status, 401);
}
