//! Registering again with a reusable bundle, once certificates have ended.

use std::sync::{Arc, Mutex, Weak};

use capif_client::{Error, Keystore, Provider, Renewed};
use capif_transport::Clock;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime, macros::datetime};

use super::{REGISTRATIONS, bundle, try_register, two_aefs, world};
use crate::world::{World, answer, problem};

const BEGIN: OffsetDateTime = datetime!(2026-10-01 0:00 UTC);
/// How long certificates last, and somewhat more.
const LIFE: Duration = Duration::days(2);

/// A world whose certificates last for two days; beside it the statuses with which registrations are refused, in turn.
async fn short_lived() -> (Arc<World>, Arc<Mutex<Vec<u16>>>) {
    let owner: Arc<Mutex<Option<Weak<World>>>> = Arc::default();
    let refusals: Arc<Mutex<Vec<u16>>> = Arc::default();
    let (known, refusing) = (Arc::clone(&owner), Arc::clone(&refusals));
    let world = world(move |seen, mut details| {
        let world = known.lock().unwrap().as_ref()?.upgrade()?;
        if seen.path != REGISTRATIONS {
            return Some(problem(404, "nothing else is here"));
        }
        if let Some(status) = refusing.lock().unwrap().pop() {
            return Some(problem(status, "not now"));
        }
        let now = world.clock.now();
        for function in details["apiProvFuncs"].as_array_mut().unwrap() {
            let id = function["apiProvFuncId"].as_str().unwrap().to_owned();
            let request = function["regInfo"]["apiProvPubKey"].as_str().unwrap();
            let certificate = world.authority.sign_for(request, &id, BEGIN, now + LIFE);
            function["regInfo"]["apiProvCert"] = json!(certificate);
        }
        Some(answer(201, &details))
    })
    .await;
    *owner.lock().unwrap() = Some(Arc::downgrade(&world));
    (world, refusals)
}

fn ids(provider: &Provider) -> Vec<String> {
    let aefs = provider.aefs().map(|(id, _)| id.to_string());
    let first = [
        provider.domain_id().to_string(),
        provider.amf_id().to_string(),
        provider.apf_id().to_string(),
    ];
    first.into_iter().chain(aefs).collect()
}

/// The functions of each registration that was sent, by what a member of them says.
fn sent(world: &World, member: &str) -> Vec<Vec<Value>> {
    let seen = world.ccf.seen();
    let registrations = seen.iter().filter(|seen| seen.path == REGISTRATIONS);
    let of = |registration: Value| {
        let functions = registration["apiProvFuncs"].as_array().unwrap().iter();
        let members = functions.map(|function| function.pointer(member).cloned());
        members.map(Option::unwrap_or_default).collect()
    };
    registrations.map(|seen| of(seen.json())).collect()
}

/// The same functions by their ids get new keys, in the same folder; after an answer that was lost the very same request is sent.
#[tokio::test]
async fn ended_certificates_are_replaced_in_their_folder() {
    let (world, refusals) = short_lived().await;
    let provider = try_register(&world, two_aefs()).await.unwrap();
    let (before, shown) = (ids(&provider), provider.aef_identity().fingerprint());
    let keys = sent(&world, "/regInfo/apiProvPubKey");
    assert!(!provider.has_ended());
    world.clock.advance(LIFE);
    assert!(provider.has_ended());
    world.ccf.forget();
    // Nothing is sent with it any more, and what is said helps.
    for error in [
        provider.renew().await.unwrap_err(),
        provider.apis().await.unwrap_err(),
        provider.standing().await.unwrap_err(),
    ] {
        assert!(
            matches!(error, Error::RegistrationEnded { .. }),
            "{error:?}"
        );
        assert!(
            error
                .to_string()
                .contains("`capif provider bundle domain-1`"),
            "{error}"
        );
    }
    assert_eq!(world.ccf.seen().len(), 0);

    refusals.lock().unwrap().push(503);
    let refused = provider.register_again(&bundle(&world)).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { .. }), "{refused:?}");
    let again = try_register(&world, two_aefs()).await.unwrap();
    assert_eq!(ids(&again), before);
    assert!(!again.has_ended());
    assert_ne!(again.aef_identity().fingerprint(), shown);
    assert_eq!(
        sent(&world, "/apiProvFuncId"),
        vec![vec!["amf-1", "apf-1", "aef-1", "aef-2"]; 2]
    );
    let requests = sent(&world, "/regInfo/apiProvPubKey");
    assert_eq!(requests[0], requests[1]);
    assert!(!keys.contains(&requests[0]), "the keys are new");

    // Another process of the folder finds it done.
    let done = provider.register_again(&bundle(&world)).await.unwrap();
    assert_eq!(done, Renewed::Elsewhere);
    assert_eq!(
        provider.aef_identity().fingerprint(),
        again.aef_identity().fingerprint()
    );
    assert_eq!(sent(&world, "/apiProvFuncId").len(), 2);
    let opened = Provider::open(world.keystore(), world.clock())
        .await
        .unwrap();
    assert_eq!(ids(&opened), before);
    // As long as they last the bundle is not used.
    try_register(&world, two_aefs()).await.unwrap();
    assert_eq!(sent(&world, "/apiProvFuncId").len(), 2);
}

/// A bundle that does not help leaves the folder as it is, so that the next one can; one of elsewhere is not tried.
#[tokio::test]
async fn a_bundle_that_does_not_help_changes_nothing() {
    let (world, refusals) = short_lived().await;
    let before = ids(&try_register(&world, two_aefs()).await.unwrap());
    world.clock.advance(LIFE);
    for status in [401, 403, 404, 400] {
        refusals.lock().unwrap().push(status);
        let error = try_register(&world, two_aefs()).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::RegistrationEnded { .. }), "{text}");
        assert!(
            text.contains("not now") && text.contains("bundle domain-1"),
            "{text}"
        );
    }
    let elsewhere = capif_client::Bundle {
        address: "ccf.example:8443".to_owned(),
        ..bundle(&world)
    };
    let asked = sent(&world, "/apiProvFuncId").len();
    let keystore: Keystore = world.keystore();
    let provider = Provider::open(keystore, world.clock()).await.unwrap();
    let error = provider.register_again(&elsewhere).await.unwrap_err();
    assert!(
        matches!(error, Error::EnrolledElsewhere { .. }),
        "{error:?}"
    );
    assert_eq!(sent(&world, "/apiProvFuncId").len(), asked);
    assert_eq!(
        ids(&try_register(&world, two_aefs()).await.unwrap()),
        before
    );
}
