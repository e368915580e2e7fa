//! A core function that does not renew: everything is as it was before there was such a thing.

use super::*;

#[tokio::test]
async fn nothing_is_asked_of_a_core_function_that_does_not_renew() {
    for status in [404, 405, 501] {
        let world = World::new().await;
        world.unusual(move |seen| {
            (seen.path == STATUS).then(|| problem(status, "no such resource"))
        });
        let invoker = world.onboarded().await;
        call(&invoker).await;
        world.clock.advance(Duration::hours(2));
        call(&invoker).await;
        eventually("it is asked once", || world.ccf.count("GET", STATUS) == 1).await;
        invoker.upkeep().await.unwrap();
        for _ in 0..10 {
            world.clock.advance(Duration::hours(1));
            call(&invoker).await;
        }
        invoker.upkeep().await.unwrap();
        assert_eq!(world.ccf.count("GET", STATUS), 1, "{status}");
        assert_eq!(world.ccf.count("PATCH", RESOURCE), 0);
    }
}

#[tokio::test]
async fn a_certificate_near_its_end_gives_a_warning() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    let now = || capif_transport::Clock::now(world.clock.as_ref());
    assert_eq!(invoker.renewal_status().warning(now()), None);
    world.clock.advance(Duration::days(400));
    call(&invoker).await;
    let warning = invoker.renewal_status().warning(now()).unwrap();
    assert!(
        warning.contains("2028-01-01") && warning.contains("new enrolment code"),
        "{warning}"
    );
    let error = invoker.renew(RenewalOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::NotRenewable { .. }), "{error:?}");
    assert!(error.to_string().contains("2028-01-01"), "{error}");
    assert_eq!(world.ccf.count("PATCH", RESOURCE), 0);
    assert_eq!(world.key_files(), ["capif-invoker.key"]);
}

#[tokio::test]
async fn an_enrolment_of_former_times_learns_that_it_can_renew() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    drop(invoker);
    // As an earlier version of this program has left it.
    let path = world.folder().join("capif-invoker.json");
    let mut state: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let onboarded = state["onboarded"].as_object_mut().unwrap();
    for member in [
        "distrusted",
        "key",
        "keysUnder",
        "revision",
        "renewals",
        "renewal",
    ] {
        assert!(onboarded.remove(member).is_some(), "{member}");
    }
    onboarded["details"]
        .as_object_mut()
        .unwrap()
        .remove("supportedFeatures");
    std::fs::write(&path, state.to_string()).unwrap();
    let anchors = vec![world.authority.pem().to_owned()];
    world.facts.lock().unwrap().renewing = Some(Renewing::believing(anchors));
    let invoker = world.reopened().await;
    assert!(!invoker.renewal_status().agreed);
    assert_eq!(invoker.upkeep().await.unwrap(), None);
    assert!(invoker.renewal_status().agreed);
    invoker.renew(RenewalOptions::default()).await.unwrap();
    call(&invoker).await;
    // It had not agreed to changes of single members, so it says its profile whole; from then on it has.
    let seen = world.ccf.seen();
    let put = seen
        .iter()
        .find(|seen| seen.method == "PUT" && seen.path == RESOURCE);
    let put = put.unwrap().json();
    assert_eq!(put["apiInvokerId"], "invoker-1");
    assert_eq!(put["supportedFeatures"], "C");
    invoker.renew(RenewalOptions::default()).await.unwrap();
    assert_eq!(world.ccf.count("PATCH", RESOURCE), 1);
}
