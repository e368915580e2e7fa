//! Whom to believe follows the core function.

use capif_client::ErrorKind;
use capif_spec::renewal::TrustList;

use super::*;
use crate::world::{Authority, Peer, answer};

/// An AEF under another root, in the place of the one that was.
async fn moved(world: &World, root: &Authority) -> Peer {
    let aef = Peer::new(
        root.server(AEF),
        world.authority.anchors(),
        world.clock(),
        |_| answer(200, &serde_json::json!({})),
    )
    .await;
    world.facts.lock().unwrap().aef_port = aef.port;
    aef
}

#[tokio::test]
async fn new_roots_are_believed_while_running_and_later() {
    let world = world().await;
    let invoker = world.onboarded().await;
    call(&invoker).await;
    let root = Authority::new("CAPIF root");
    let _aef = moved(&world, &root).await;
    let fresh = world.reopened().await;
    let error = try_call(&fresh).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");

    world.renewing(|renewing| renewing.anchors.push(root.pem().to_owned()));
    invoker.ask_renewal_status().await.unwrap();
    let request = Request::get(PATH).body(empty()).unwrap();
    let other = world.reopened().await;
    for invoker in [&invoker, &other] {
        invoker.discover(&Default::default()).await.unwrap();
    }
    let response = other.call("weather", request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);

    // What the list leaves out is not believed any more, except by what the core function itself is reached.
    world.renewing(|renewing| renewing.anchors = vec![world.authority.pem().to_owned()]);
    other.ask_renewal_status().await.unwrap();
    let error = try_call(&world.reopened().await).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");
    world.renewing(|renewing| renewing.anchors = vec![root.pem().to_owned()]);
    other.ask_renewal_status().await.unwrap();
    call(&world.reopened().await).await;
    other.ask_renewal_status().await.unwrap();
}

#[tokio::test]
async fn a_key_that_is_not_to_be_believed_is_given_up() {
    let world = world().await;
    let root = Authority::new("another CAPIF root");
    let _aef = moved(&world, &root).await;
    let invoker = world.onboarded().await;
    world.renewing(|renewing| renewing.anchors.push(root.pem().to_owned()));
    invoker.ask_renewal_status().await.unwrap();
    call(&invoker).await;
    world.renewing(|renewing| renewing.distrusted.push(root.key_sha256()));
    invoker.ask_renewal_status().await.unwrap();
    for invoker in [&invoker, &world.reopened().await] {
        let error = try_call(invoker).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");
        assert_eq!(
            invoker.discover(&Default::default()).await.unwrap().len(),
            1
        );
    }
}

#[tokio::test]
async fn nonsense_leaves_everything_as_it_was() {
    let world = world().await;
    let invoker = world.onboarded().await;
    let own = world.authority.key_sha256();
    let pem = world.authority.pem().to_owned();
    for (anchors, distrusted) in [
        (vec![], vec![]),
        (vec!["nothing".to_owned()], vec![]),
        (vec!["x".repeat(20 << 10)], vec![]),
        (vec![pem.clone(); 65], vec![]),
        (vec![pem.clone()], vec!["xyz".to_owned()]),
        (vec![pem.clone()], vec!["0".repeat(63)]),
        (vec![pem.clone()], vec!["+".repeat(64)]),
        (
            vec![pem.clone()],
            vec!["0".repeat(64); TrustList::DISTRUSTED_MAX + 1],
        ),
        (vec![pem.clone()], vec![own]),
    ] {
        let shown = format!("{} {}", anchors.len(), distrusted.len());
        world.renewing(|renewing| {
            renewing.anchors = anchors;
            renewing.distrusted = distrusted;
        });
        invoker.ask_renewal_status().await.unwrap();
        assert_eq!(
            invoker.discover(&Default::default()).await.unwrap().len(),
            1,
            "{shown}"
        );
        assert_eq!(
            world
                .reopened()
                .await
                .discover(&Default::default())
                .await
                .unwrap()
                .len(),
            1,
            "{shown}"
        );
    }
}
