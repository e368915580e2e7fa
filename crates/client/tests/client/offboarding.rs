//! Offboarding (TS 33.122 clause 6.8).

use capif_client::{Departure, ErrorKind, Invoker};
use capif_transport::empty;
use http::Request;

use crate::world::{INVOKER, Reply, World, problem};

const RESOURCE: &str = "/api-invoker-management/v1/onboardedInvokers/invoker-1";

async fn used(world: &World) -> Invoker {
    let invoker = world.onboarded().await;
    let request = Request::get("/weather/v1/today").body(empty()).unwrap();
    invoker.call("weather", request).await.unwrap();
    invoker
}

#[tokio::test]
async fn leaves_nothing_behind() {
    let world = World::new().await;
    let invoker = used(&world).await;
    world.ccf.forget();
    assert_eq!(invoker.offboard().await.unwrap(), Departure::Confirmed);
    let seen = world.ccf.seen();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].is("DELETE", RESOURCE));
    assert_eq!(seen[0].peer.as_deref(), Some(INVOKER));
    assert!(!world.folder().exists());
    let error = Invoker::open(world.keystore(), world.clock())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn an_enrolment_that_the_ccf_does_not_know_is_erased_as_well() {
    for status in [401, 404] {
        let world = World::new().await;
        let invoker = used(&world).await;
        world.unusual(move |_| Some(problem(status, "unknown")));
        assert_eq!(invoker.offboard().await.unwrap(), Departure::KnownNoMore);
        assert!(!world.folder().exists(), "{status}");
    }
}

#[tokio::test]
async fn without_an_answer_nothing_is_erased() {
    let world = World::new().await;
    used(&world).await;
    let before = world.files();
    for index in 0..5 {
        world.unusual(move |_| {
            Some(match index {
                0 => Reply::Hang,
                1 => problem(403, "no"),
                2 => problem(500, "no"),
                3 => problem(503, "no"),
                _ => problem(308, "elsewhere").with("location", "https://127.0.0.1:1/"),
            })
        });
        let invoker = Invoker::open(world.keystore(), world.clock())
            .await
            .unwrap();
        invoker.offboard().await.unwrap_err();
        assert_eq!(world.files(), before, "{index}");
    }
    world.as_usual();
    let invoker = Invoker::open(world.keystore(), world.clock())
        .await
        .unwrap();
    assert_eq!(invoker.offboard().await.unwrap(), Departure::Confirmed);
}

#[tokio::test]
async fn a_lost_answer_is_made_up_for() {
    let world = World::new().await;
    used(&world).await;
    // Done there, unknown here.
    world.unusual(|_| Some(Reply::Hang));
    let invoker = Invoker::open(world.keystore(), world.clock())
        .await
        .unwrap();
    invoker.offboard().await.unwrap_err();
    world.unusual(|_| Some(problem(401, "offboarded")));
    let invoker = Invoker::open(world.keystore(), world.clock())
        .await
        .unwrap();
    assert_eq!(invoker.offboard().await.unwrap(), Departure::KnownNoMore);
    assert!(!world.folder().exists());
}

#[tokio::test]
async fn another_process_that_holds_the_enrolment_learns_it() {
    let world = World::new().await;
    let invoker = used(&world).await;
    let other = Invoker::open(world.keystore(), world.clock())
        .await
        .unwrap();
    let third = Invoker::open(world.keystore(), world.clock())
        .await
        .unwrap();
    invoker.offboard().await.unwrap();
    let wish = capif_client::Wish {
        aef_id: "aef-2".into(),
        api_id: None,
        preferred: Vec::new(),
        profile: None,
    };
    let error = other.negotiate(&[wish]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_eq!(third.offboard().await.unwrap(), Departure::KnownNoMore);
}

#[tokio::test]
async fn a_second_enrolment_after_leaving_is_a_new_one() {
    let world = World::new().await;
    used(&world).await.offboard().await.unwrap();
    world.facts.lock().unwrap().context = false;
    world.ccf.forget();
    let invoker = used(&world).await;
    assert_eq!(invoker.id().as_str(), INVOKER);
    assert!(world.folder().exists());
}
