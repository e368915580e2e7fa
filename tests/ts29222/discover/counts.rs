//! SERVICE_API_DISCOVERY_BY_API_INVOKERS_COUNT (TS 29.222 clause 8.3.4.3.3).

use serde_json::json;

use super::discover;
use crate::{
    support::{World, receiver::Receiver},
    ts29222::events::{subscribe, subscription},
};

/// The provider is told how often its APIs were asked for and shown, and nothing of those of others.
#[tokio::test]
async fn discoveries_are_counted_and_told() {
    let world = World::with(|config| config.discovery.count_seconds = 1).await;
    let acme = world.domain("acme").await;
    let other = world.domain("other").await;
    let weather = acme.publish("weather", &["PKI"]).await;
    let traffic = acme.publish("traffic", &["PKI"]).await;
    other.publish("sea", &["PKI"]).await;
    let amy = world.raw_invoker(&[]).await;
    let receiver = Receiver::start(&world);
    let wanted = subscription(
        &["SERVICE_API_DISCOVERY_BY_API_INVOKERS_COUNT"],
        &receiver.url("/counts"),
    );
    subscribe(&acme.amf, &wanted).await;
    for query in ["", "&api-name=weather", "&api-name=weather&api-version=v9"] {
        discover(&amy, query).await;
    }
    let mut asked = [0, 0];
    let mut shown = [0, 0];
    let mut taken = 0;
    while shown != [2, 1] || asked != [2, 0] {
        taken += 1;
        for notice in &receiver.acknowledged(taken).await[taken - 1..] {
            assert_eq!(
                notice["events"],
                "SERVICE_API_DISCOVERY_BY_API_INVOKERS_COUNT"
            );
            for count in notice["eventDetail"]["discoveryCount"].as_array().unwrap() {
                let place = usize::from(count["apiId"] != json!(weather));
                assert!(place == 0 || count["apiId"] == json!(traffic), "{count}");
                asked[place] += count["discoveryReqCount"].as_u64().unwrap();
                shown[place] += count["discoveryRspCount"].as_u64().unwrap();
            }
        }
    }
}
