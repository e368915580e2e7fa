//! The core function wants a renewal (R-U-02).

use super::*;
use crate::renewing::LIFE;

#[tokio::test]
async fn a_demand_is_heard_and_followed() {
    let world = world().await;
    let invoker = world.onboarded().await;
    world.renewing(|renewing| renewing.demand = Some("OPERATOR"));
    call(&invoker).await;
    assert_eq!(world.ccf.count("GET", STATUS), 0, "asked at once");
    world.clock.advance(Duration::hours(2));
    call(&invoker).await;
    eventually("the renewal", || world.issued().len() == 2).await;
    eventually("the demand is over", || {
        invoker.renewal_status().demand.is_none()
    })
    .await;
    // Then it is quiet for ten minutes or so.
    invoker.upkeep().await.unwrap();
    world.ccf.forget();
    world.clock.advance(Duration::minutes(8));
    call(&invoker).await;
    assert_eq!(world.ccf.count("GET", STATUS), 0);
    world.clock.advance(Duration::minutes(5));
    call(&invoker).await;
    eventually("it asks again", || world.ccf.count("GET", STATUS) == 1).await;
}

#[tokio::test]
async fn what_nothing_else_counts_before_is_done_first() {
    let world = world().await;
    let invoker = world.onboarded().await;
    call(&invoker).await;
    for (number, operation) in ["discover", "negotiate", "token", "call"]
        .into_iter()
        .enumerate()
    {
        world.renewing(|renewing| {
            renewing.demand = Some("COMPROMISE");
            renewing.insists = true;
        });
        match operation {
            "discover" => assert_eq!(
                invoker.discover(&Default::default()).await.unwrap().len(),
                1
            ),
            "negotiate" => {
                let wish = capif_client::Wish::at(AEF.into());
                invoker.negotiate(&[wish]).await.unwrap();
            }
            "token" => drop(invoker.token(&scope()).await.unwrap()),
            _ => {
                // A process that has nothing at hand.
                call(&world.reopened().await).await;
                call(&invoker).await;
            }
        }
        if operation != "token" {
            assert!(world.issued().len() >= number.min(2), "{operation}");
        }
        world.renewing(|renewing| renewing.demand = None);
    }
}

#[tokio::test]
async fn who_insists_for_nothing_is_followed_once() {
    let world = world().await;
    let invoker = world.onboarded().await;
    world.unusual(|seen| {
        let refusal = serde_json::json!({ "status": 403, "cause": "RENEWAL_REQUIRED" });
        seen.path
            .starts_with("/service-apis")
            .then(|| crate::world::answer(403, &refusal))
    });
    let error = invoker.discover(&Default::default()).await.unwrap_err();
    assert_eq!(
        error.problem().unwrap().cause.as_deref(),
        Some("RENEWAL_REQUIRED")
    );
    assert_eq!(world.ccf.count("PATCH", RESOURCE), 1);
}

#[tokio::test]
async fn who_always_demands_is_not_followed_without_end() {
    let world = world().await;
    let invoker = world.onboarded().await;
    world.unusual(|seen| {
        (seen.path == STATUS).then(|| {
            crate::world::answer(
                200,
                &serde_json::json!({
                    "certificateExpires": "2026-10-02T00:00:00Z",
                    "renewAfter": "1970-01-01T00:00:00Z",
                    "trust": { "anchors": [], "distrusted": [] },
                }),
            )
        })
    });
    world.clock.advance(LIFE * 5 / 6);
    for _ in 0..20 {
        call(&invoker).await;
        tokio::time::sleep(Patience::from_millis(20)).await;
    }
    assert!(world.ccf.count("PATCH", RESOURCE) <= 2);
}

#[tokio::test]
async fn who_only_looks_changes_nothing() {
    let world = world().await;
    world.onboarded().await;
    world.renewing(|renewing| {
        renewing.demand = Some("COMPROMISE");
        renewing.insists = true;
    });
    world.clock.advance(LIFE * 5 / 6);
    let looker = world.reopened().await.without_upkeep();
    let status = looker.ask_renewal_status().await.unwrap();
    assert!(status.demand.is_some());
    let error = looker.discover(&Default::default()).await.unwrap_err();
    assert_eq!(
        error.problem().unwrap().cause.as_deref(),
        Some("RENEWAL_REQUIRED")
    );
    assert_eq!(world.ccf.count("PATCH", RESOURCE), 0);
    looker.renew(RenewalOptions::default()).await.unwrap();
    assert_eq!(looker.discover(&Default::default()).await.unwrap().len(), 1);
}
