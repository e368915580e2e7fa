//! Renewal of a domain's certificates (TS 29.222 clause 5.11.2.4), and whom its functions believe.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex},
};

use capif_client::{Error, ErrorKind, Keystore, Provider, Renewed};
use capif_transport::Anchors;
use serde_json::{Value, json};
use time::macros::datetime;

use super::{try_register, two_aefs, world};
use crate::authority::Authority;
use crate::world::{Reply, Seen, World, answer, problem};

const REGISTRATION: &str = "/api-provider-management/v1/registrations/domain-1";
const STATUS: &str = "/capif-renewal/v1/";

/// Gives every function of a renewal the certificate for its new key.
fn renewed(world: &World, seen: &Seen) -> Value {
    let mut details = seen.json();
    details["apiProvDomId"] = json!("domain-1");
    details["regSec"] = json!("");
    for function in details["apiProvFuncs"].as_array_mut().unwrap() {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (id, role) = (
            text(&function["apiProvFuncId"]),
            text(&function["apiProvFuncRole"]),
        );
        let request = text(&function["regInfo"]["apiProvPubKey"]);
        let certificate = world.authority.sign(&request, &id, &role);
        function["regInfo"]["apiProvCert"] = json!(certificate);
    }
    details
}

fn status(world: &World) -> Value {
    json!({
        "certificateExpires": "2028-01-01T00:00:00Z",
        "renewAfter": "2027-05-02T16:00:00Z",
        "trust": { "anchors": [world.authority.pem()], "distrusted": [] },
    })
}

/// A world with a registered domain that renews, after `change` had its turn; `Value` is the usual answer.
async fn renewing(
    mut change: impl FnMut(&Seen, &Value) -> Option<Reply> + Send + 'static,
) -> (Arc<World>, Provider) {
    let owner: Arc<Mutex<Option<std::sync::Weak<World>>>> = Arc::default();
    let known = Arc::clone(&owner);
    let world = world(move |seen, _| {
        let world = known.lock().unwrap().as_ref()?.upgrade()?;
        let usual = match (seen.method.as_str(), seen.path.as_str()) {
            ("PATCH", REGISTRATION) => renewed(&world, seen),
            ("GET", path) if path.starts_with(STATUS) => status(&world),
            _ => return change(seen, &Value::Null),
        };
        change(seen, &usual).or_else(|| Some(answer(200, &usual)))
    })
    .await;
    *owner.lock().unwrap() = Some(Arc::downgrade(&world));
    let provider = try_register(&world, two_aefs()).await.unwrap();
    world.ccf.forget();
    (world, provider)
}

fn keys(folder: &Path) -> BTreeSet<String> {
    let names = std::fs::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".key")).collect()
}

/// By function the certificates that were seen, in order.
fn shown(world: &World) -> BTreeMap<String, Vec<String>> {
    let mut shown = BTreeMap::<String, Vec<String>>::new();
    for seen in world.ccf.seen() {
        let all = shown.entry(seen.peer.unwrap()).or_default();
        all.push(seen.certificate.unwrap());
        all.dedup();
    }
    shown
}

#[tokio::test]
async fn all_functions_get_new_keys_in_one_request_and_show_them() {
    let (world, provider) = renewing(|_, _| None).await;
    let before = provider.aef_identity().fingerprint();
    assert_eq!(provider.renew().await.unwrap(), Renewed::Here);
    assert_ne!(provider.aef_identity().fingerprint(), before);

    let seen = world.ccf.seen();
    let patch = &seen[0];
    assert!(patch.is("PATCH", REGISTRATION), "{}", patch.path);
    assert_eq!(patch.peer.as_deref(), Some("amf-1"));
    assert_eq!(
        patch.header("content-type"),
        Some("application/merge-patch+json")
    );
    let functions = patch.json()["apiProvFuncs"].clone();
    let of = |member: &str| {
        let functions = functions.as_array().unwrap().iter();
        let values = functions.map(|function| function[member].clone());
        values.collect::<Vec<_>>()
    };
    assert_eq!(of("apiProvFuncId"), ["amf-1", "apf-1", "aef-1", "aef-2"]);
    assert_eq!(of("apiProvFuncRole"), ["AMF", "APF", "AEF", "AEF"]);
    assert_eq!(of("apiProvFuncInfo"), ["amf", "apf", "north", "south"]);
    let hosts = json!({ "hosts": ["gw.example", "127.0.0.1"] });
    let members = [&Value::Null, &Value::Null, &hosts, &hosts];
    assert_eq!(
        of("vendorSpecific-capif").iter().collect::<Vec<_>>(),
        members
    );

    // The management function asked under the old certificate; then each showed its new one.
    let shown = shown(&world);
    let times: Vec<usize> = shown.values().map(Vec::len).collect();
    assert_eq!(times, [1, 1, 2, 1], "{shown:?}");
    assert_eq!(
        shown["aef-1"],
        [provider.aef_identity().fingerprint().to_string()]
    );
    let new = ["aef-0-1", "aef-1-1", "amf-1", "apf-1"].map(|key| format!("capif-{key}.key"));
    assert_eq!(keys(&world.folder()), BTreeSet::from(new));

    // Once more, and after a restart.
    provider.renew().await.unwrap();
    let opened = Provider::open(world.keystore(), world.clock())
        .await
        .unwrap();
    assert_eq!(
        opened.aef_identity().fingerprint(),
        provider.aef_identity().fingerprint()
    );
    opened.renew().await.unwrap();
    assert_eq!(keys(&world.folder()).len(), 4);
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_word_for_word_also_after_a_restart() {
    let mut lost = 0;
    let (world, provider) = renewing(move |seen, _| {
        lost += usize::from(seen.is("PATCH", REGISTRATION));
        (seen.is("PATCH", REGISTRATION) && lost <= 2).then_some(Reply::Hang)
    })
    .await;
    let before = provider.aef_identity().fingerprint();
    let error = provider.renew().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{error}");
    // All goes on as before.
    assert_eq!(provider.aef_identity().fingerprint(), before);
    let opened = Provider::open(world.keystore(), world.clock())
        .await
        .unwrap();
    assert_eq!(opened.aef_identity().fingerprint(), before);
    opened.renew().await.unwrap_err();
    opened.renew().await.unwrap();
    let patches = world.ccf.seen();
    let patches = patches.iter().filter(|seen| seen.is("PATCH", REGISTRATION));
    let patches: Vec<Value> = patches.map(Seen::json).collect();
    assert_eq!(patches.len(), 3);
    assert!(patches.iter().all(|patch| *patch == patches[0]));
    // The first one notices.
    assert!(provider.reload().unwrap());
    assert_eq!(
        provider.aef_identity().fingerprint(),
        opened.aef_identity().fingerprint()
    );
    assert!(!provider.reload().unwrap());
}

#[tokio::test]
async fn wherever_it_is_cut_off_the_folder_holds_what_belongs_together() {
    let copies: Arc<Mutex<Vec<tempfile::TempDir>>> = Arc::default();
    let folder: Arc<Mutex<Option<std::path::PathBuf>>> = Arc::default();
    let (made, of) = (Arc::clone(&copies), Arc::clone(&folder));
    let (world, provider) = renewing(move |_, _| {
        let folder = of.lock().unwrap().clone()?;
        let copy = tempfile::tempdir().unwrap();
        let keystore = Keystore::open(copy.path().join("keystore")).unwrap();
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), keystore.folder().join(entry.file_name())).unwrap();
        }
        made.lock().unwrap().push(copy);
        None
    })
    .await;
    *folder.lock().unwrap() = Some(world.folder());
    provider.renew().await.unwrap();
    *folder.lock().unwrap() = None;
    // The request, and one of each function.
    let copies = std::mem::take(&mut *copies.lock().unwrap());
    assert_eq!(copies.len(), 5);
    for copy in copies {
        let keystore = Keystore::open(copy.path().join("keystore")).unwrap();
        let folder = keystore.folder().to_owned();
        let opened = Provider::open(keystore, world.clock()).await.unwrap();
        opened.renew().await.unwrap();
        assert_eq!(keys(&folder).len(), 4);
    }
}

#[tokio::test]
async fn keys_stay_until_the_new_certificates_are_seen() {
    let mut down = 1;
    let (world, provider) = renewing(move |seen, _| {
        let hang = seen.path == format!("{STATUS}apf-1") && down > 0;
        down -= i32::from(hang);
        hang.then_some(Reply::Hang)
    })
    .await;
    // It is renewed all the same.
    provider.renew().await.unwrap();
    assert_eq!(keys(&world.folder()).len(), 8);
    let opened = Provider::open(world.keystore(), world.clock())
        .await
        .unwrap();
    assert!(opened.activate().await && opened.activate().await);
    assert_eq!(keys(&world.folder()).len(), 4);
    // It was done by another one.
    assert!(!provider.reload().unwrap());
    assert!(provider.activate().await);
}

#[tokio::test]
async fn an_answer_is_checked_before_anything_is_replaced() {
    type Damage = fn(&mut Value);
    let stranger: Damage = |functions| {
        let other = functions[2]["regInfo"]["apiProvCert"].clone();
        functions[3]["regInfo"]["apiProvCert"] = other;
    };
    let renamed: Damage = |functions| functions[0]["apiProvFuncId"] = json!("amf-2");
    let absent: Damage = |functions| drop(functions.as_array_mut().unwrap().remove(1));
    let bare: Damage = |functions| {
        let information = functions[2]["regInfo"].as_object_mut().unwrap();
        information.remove("apiProvCert");
    };
    for damage in [stranger, renamed, absent, bare] {
        let damaged = Arc::new(Mutex::new(true));
        let flag = Arc::clone(&damaged);
        let (world, provider) = renewing(move |seen, usual| {
            let damaged = *flag.lock().unwrap() && seen.is("PATCH", REGISTRATION);
            damaged.then(|| {
                let mut usual = usual.clone();
                damage(&mut usual["apiProvFuncs"]);
                answer(200, &usual)
            })
        })
        .await;
        let before = provider.aef_identity().fingerprint();
        let error = provider.renew().await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::WrongCertificate { .. } | Error::BadAnswer { .. }
            ),
            "{error}"
        );
        assert_eq!(provider.aef_identity().fingerprint(), before);
        let opened = Provider::open(world.keystore(), world.clock())
            .await
            .unwrap();
        assert_eq!(opened.aef_identity().fingerprint(), before);
        *damaged.lock().unwrap() = false;
        provider.renew().await.unwrap();
    }
}

#[tokio::test]
async fn processes_that_share_a_folder_renew_once() {
    let (world, first) = renewing(|_, _| None).await;
    let second = Provider::open(world.keystore(), world.clock())
        .await
        .unwrap();
    let (one, two) = tokio::join!(first.renew(), second.renew());
    let both = [one.unwrap(), two.unwrap()];
    assert!(both.contains(&Renewed::Here) && both.contains(&Renewed::Elsewhere));
    assert_eq!(world.ccf.count("PATCH", REGISTRATION), 1);
    assert_eq!(
        first.aef_identity().fingerprint(),
        second.aef_identity().fingerprint()
    );
}

#[tokio::test]
async fn after_a_refusal_the_next_renewal_begins_anew() {
    for (code, anew) in [(400, true), (409, true), (403, false), (503, false)] {
        let mut refused = false;
        let (world, provider) = renewing(move |seen, _| {
            let refuse = seen.is("PATCH", REGISTRATION) && !std::mem::replace(&mut refused, true);
            refuse.then(|| problem(code, "not now"))
        })
        .await;
        let error = provider.renew().await.unwrap_err();
        assert!(error.to_string().contains("not now"), "{error}");
        let left = keys(&world.folder());
        assert_eq!(left.len(), if anew { 4 } else { 8 });
        if anew {
            // It may have been cut off before it had erased all.
            let cut = world.folder().join("capif-amf-1.key");
            std::fs::copy(world.folder().join(left.first().unwrap()), &cut).unwrap();
        }
        provider.renew().await.unwrap();
        assert_eq!(keys(&world.folder()).len(), 4);
        let seen = world.ccf.seen();
        let patches: Vec<_> = seen
            .iter()
            .filter(|seen| seen.is("PATCH", REGISTRATION))
            .collect();
        assert_eq!(patches[0].json() != patches[1].json(), anew, "{code}");
    }
}

#[tokio::test]
async fn the_core_function_says_when_to_renew_or_the_certificates_do() {
    let demanded = Arc::new(Mutex::new(None));
    let said = Arc::clone(&demanded);
    let (_world, provider) = renewing(move |seen, usual| {
        let demand: Option<(&str, u16, Value)> = said.lock().unwrap().clone();
        let (path, status, change) = demand?;
        let mut usual = usual.clone();
        if seen.path == format!("{STATUS}{path}") {
            let members = usual.as_object_mut().unwrap();
            members.extend(change.as_object().unwrap().clone());
        }
        Some(answer(status, &usual))
    })
    .await;
    let usual = provider.standing().await.unwrap();
    assert_eq!(usual.renew_after, datetime!(2027-05-02 16:00 UTC));
    assert_eq!(usual.expires, datetime!(2028-01-01 0:00 UTC));
    assert!(usual.demand.is_none() && usual.ocsp_response.is_none());
    // Any function's demand is the domain's.
    for id in ["amf-1", "apf-1", "aef-1", "aef-2"] {
        let demand = json!({
            "renewAfter": "2026-10-01T12:00:00Z",
            "demand": { "reason": "OPERATOR", "deadline": "2026-10-08T12:00:00Z" },
        });
        *demanded.lock().unwrap() = Some((id, 200, demand));
        let standing = provider.standing().await.unwrap();
        assert_eq!(standing.renew_after, datetime!(2026-10-01 12:00 UTC));
        let (reason, deadline) = standing.demand.unwrap();
        assert_eq!(reason.as_str(), "OPERATOR");
        assert_eq!(deadline, datetime!(2026-10-08 12:00 UTC));
    }
    // What is said of a certificate is the first exposing function's.
    for (id, shown) in [
        ("aef-1", Some(b"ocsp".to_vec())),
        ("aef-2", None),
        ("amf-1", None),
    ] {
        *demanded.lock().unwrap() = Some((id, 200, json!({ "ocspResponse": "b2NzcA==" })));
        assert_eq!(provider.standing().await.unwrap().ocsp_response, shown);
    }
    // Another vendor's core function says nothing: two thirds of the life of two years.
    for status in [400, 404, 405, 501] {
        *demanded.lock().unwrap() = Some(("amf-1", status, json!({})));
        let standing = provider.standing().await.unwrap();
        assert_eq!(standing.renew_after, datetime!(2027-05-02 16:00 UTC));
        assert!(standing.anchors.is_none());
    }
    assert_eq!(
        provider.own_standing().unwrap().renew_after,
        datetime!(2027-05-02 16:00 UTC)
    );
    for damage in [
        json!({ "trust": { "anchors": ["nonsense"], "distrusted": [] } }),
        json!({ "trust": { "anchors": [], "distrusted": [] } }),
        json!({ "ocspResponse": "*" }),
        json!({ "renewAfter": "soon" }),
    ] {
        *demanded.lock().unwrap() = Some(("aef-1", 200, damage));
        let error = provider.standing().await.unwrap_err();
        assert!(matches!(error, Error::BadAnswer { .. }), "{error}");
    }
}

#[tokio::test]
async fn the_roots_that_are_named_count_alone_and_outlast_a_restart() {
    let (world, provider) = renewing(|_, _| None).await;
    let named = provider.standing().await.unwrap().anchors.unwrap();
    assert!(!provider.believe(&named).await.unwrap());
    let other = Authority::new("the next root");
    let both = Anchors::from_pems([other.pem(), world.authority.pem()]).unwrap();
    assert!(provider.believe(&both).await.unwrap());
    assert!(!provider.believe(&both).await.unwrap());
    provider.standing().await.unwrap();
    let opened = Provider::open(world.keystore(), world.clock())
        .await
        .unwrap();
    assert_eq!(opened.anchors().fingerprints(), both.fingerprints());
    opened.standing().await.unwrap();
    // Another process hears of it.
    let distrusting = both.distrusting([[7; 32].into()]);
    assert!(opened.believe(&distrusting).await.unwrap());
    assert!(!provider.reload().unwrap());
    assert_eq!(provider.anchors().distrusted_keys(), [[7; 32].into()]);
    provider.standing().await.unwrap();
    // The one that is left out is believed no more, by any function.
    assert!(provider.believe(&other.anchors()).await.unwrap());
    for error in [
        provider.standing().await.unwrap_err(),
        provider.apis().await.unwrap_err(),
        provider.renew().await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Untrusted { .. }), "{error}");
    }
    let opened = Provider::open(world.keystore(), world.clock())
        .await
        .unwrap();
    let error = opened.standing().await.unwrap_err();
    assert!(matches!(error, Error::Untrusted { .. }), "{error}");
}
