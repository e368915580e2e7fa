//! CAPIF_Routing_Info_API (TS 29.222 clauses 5.9 and 8.10).

use http::StatusCode;
use serde_json::json;

use super::topology_hiding::{Site, operator};
use crate::support::World;

/// Clause 5.9.2.2: the AEF that hides an API asks where its calls go, from which addresses; what is said follows what is published.
#[tokio::test]
async fn who_hides_asks_where_calls_go() {
    let world = World::start().await;
    let site = Site::new(&world, "acme").await;
    let id = site.publish("weather").await;
    let mut hiding = site.hiding(json!({ "api": { "id": id } }));
    hiding["routes"] = json!([
        { "from": "192.0.2.0/24", "aefId": site.domain.aef.id },
        { "from": "2001:db8::/126", "aefId": site.domain.aef.id },
    ]);
    operator(&world, "/hidden", hiding).await;
    let path = format!("/capif-routing-info/v1/service-apis/{id}");
    let own = format!("{path}?aef-id={}&supp-feat=0", site.edge.id);
    let answer = site.edge.get(&own).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    let published = site.description("weather");
    assert_eq!(
        answer.json(),
        json!({ "routingRules": [{
            "ipv4AddrRanges": [{ "start": "192.0.2.0", "end": "192.0.2.255" }],
            "ipv6AddrRanges": [{ "start": "2001:db8::", "end": "2001:db8::3" }],
            "aefProfile": published["aefProfiles"][0],
        }]})
    );

    let mut changed = published;
    changed["aefProfiles"][0]["interfaceDescriptions"][0]["port"] = json!(7009);
    let api = format!("{}/{id}", site.domain.apis());
    assert_eq!(
        site.domain.apf.put(&api, &changed).await.status,
        StatusCode::OK
    );
    let answer = site.edge.get(&own).await.json();
    assert_eq!(
        answer["routingRules"][0]["aefProfile"],
        changed["aefProfiles"][0]
    );

    // Inactive behind means that there is nowhere to go.
    let inactive = json!({ "apiStatus": { "aefIds": [] } });
    assert_eq!(
        site.domain.apf.patch(&api, &inactive).await.status,
        StatusCode::OK
    );
    assert_eq!(site.edge.get(&own).await.status, StatusCode::NOT_FOUND);
}

/// P-20: the AEF that hides, and nobody else, whether the API exists, is hidden or not; the parameters are judged first.
#[tokio::test]
async fn nobody_else_is_told() {
    let world = World::start().await;
    let site = Site::new(&world, "acme").await;
    let other = Site::new(&world, "umbrella").await;
    let hidden = site.publish("weather").await;
    let open = site.publish("tides").await;
    operator(
        &world,
        "/hidden",
        site.hiding(json!({ "api": { "id": hidden } })),
    )
    .await;
    let path = |id: &str, query: &str| format!("/capif-routing-info/v1/service-apis/{id}{query}");
    let mut words = None;
    for (aef, id) in [
        (&site.domain.aef, hidden.as_str()),
        (&other.edge, &hidden),
        (&site.edge, &open),
        (&site.edge, "API0"),
    ] {
        let answer = aef.get(&path(id, &format!("?aef-id={}", aef.id))).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{id}");
        let detail = answer.json()["detail"].clone();
        assert_eq!(*words.get_or_insert(detail.clone()), detail);
    }
    for (query, status, cause) in [
        ("", StatusCode::BAD_REQUEST, "MANDATORY_QUERY_PARAM_MISSING"),
        ("?aef-id=another", StatusCode::FORBIDDEN, ""),
    ] {
        let answer = site.edge.get(&path(&hidden, query)).await;
        assert_eq!(answer.status, status);
        assert!(answer.cause().contains(cause), "{}", answer.json());
    }
    let odd = format!("?aef-id={}&supp-feat=xyz", site.edge.id);
    let answer = site.edge.get(&path(&hidden, &odd)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let by_apf = format!("?aef-id={}", site.edge.id);
    let answer = site.domain.apf.get(&path(&hidden, &by_apf)).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}
