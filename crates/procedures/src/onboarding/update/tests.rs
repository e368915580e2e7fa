use capif_spec::vendor::MEMBER;
use serde_json::{Value, json};
use time::Duration;

use super::*;
use crate::{
    changes::Kind,
    fixtures::*,
    state::{ApiReach, Demand, DemandReason, Retiring, RevokedCertificate, SealedKey, ServiceApi},
};

mod approval;
mod renewal;

/// An invoker that may send PATCH; its key is that of number 1.
fn held() -> Invoker {
    let mut inv = invoker("INV");
    inv.features = "4".into();
    inv
}

/// The same, with the feature `renewal`.
fn renewable() -> Invoker {
    let mut inv = held();
    inv.renewal.agreed = true;
    inv
}

fn details(members: Value) -> Wish {
    let mut document = json!({
        "onboardingInformation": { "apiInvokerPublicKey": "key of the invoker" },
        "notificationDestination": DESTINATION,
    });
    for (name, value) in members.as_object().unwrap() {
        document[name] = value.clone();
    }
    wire::<ApiInvokerEnrolmentDetails>(document).into()
}

fn patch(members: Value) -> Wish {
    wire::<ApiInvokerEnrolmentDetailsPatch>(members).into()
}

/// A key in the text that a test gives it: `bare N` is a key alone, `request N` one that is proved, anything else key 1, proved.
fn judge(text: &str) -> Result<JudgedKey, Refusal> {
    let (kind, number) = text.split_once(' ').unwrap_or(("request", "1"));
    if kind == "broken" {
        return Err(Refusal::PublicKey("broken".to_owned()));
    }
    Ok(JudgedKey {
        key: key(number.parse().unwrap_or(1)),
        is_proved: kind != "bare",
    })
}

fn new_secret(octet: u8) -> NewSecret {
    NewSecret {
        text: Redacted::from(format!("secret {octet}")),
        digest: digest(octet),
        sealed: SealedKey::new(octet.to_string()),
    }
}

fn open(handover: &Handover) -> Option<Redacted> {
    let sealed = handover.secret.as_ref()?.as_str();
    (sealed != "of another key").then(|| Redacted::from(format!("secret {sealed}")))
}

/// What became of an update.
struct Outcome {
    changes: Changes,
    answer: Value,
}

impl Outcome {
    /// The record that is written, if any.
    fn invoker(&self) -> Option<Invoker> {
        let mut written = written::<Invoker>(&self.changes);
        written.pop().map(|(expect, invoker)| {
            assert_eq!(expect, Expect::At(REVISION));
            invoker
        })
    }
}

/// Where an update comes in.
struct Scene<'a> {
    apis: &'a [ServiceApi],
    terms: Terms,
    standing: Standing,
    approval: Approval,
    pending: Option<Versioned<PendingEnrolment>>,
    now: DateTime,
}

impl Default for Scene<'_> {
    fn default() -> Self {
        Self {
            apis: &[],
            terms: rotation_terms(),
            standing: Standing::Active,
            approval: Approval::AsOnboarded,
            pending: None,
            now: now(),
        }
    }
}

impl Scene<'_> {
    fn plan(&self, inv: &Invoker, wish: &Wish) -> Result<Plan, Denial> {
        let held = versioned(inv.clone());
        let means = Means {
            judge: &judge,
            open: &open,
            terms: &self.terms,
            standing: &self.standing,
            approval: self.approval,
            pending: self.pending.as_ref(),
            now: &self.now,
        };
        plan(wish, &held, self.apis.iter(), means)
    }

    fn update(&self, inv: &Invoker, wish: &Wish) -> Result<Outcome, Refusal> {
        let plan = self.plan(inv, wish).map_err(|denial| denial.refusal)?;
        assert!(!plan.waits());
        let issued = plan.order().map(|order| {
            assert_eq!(order.id(), "INV");
            assert_eq!(order.not_after(), plan.updated.expires.as_ref());
            Issued {
                certificate: certified(order),
                secret: plan
                    .secret_purpose()
                    .map(|_| new_secret(order.public_key().spki[0])),
            }
        });
        let subscriptions = [
            subscription("AEF", Role::Aef, &["API_INVOKER_UPDATED"]),
            subscription("INV", Role::ApiInvoker, &["API_INVOKER_UPDATED"]),
        ];
        let own = versioned(subscriptions[1].clone());
        let around = Around {
            context: None,
            circle: everyone(),
            subscriptions: subscriptions.iter(),
        };
        let (changes, _, answer) = plan.complete(
            issued,
            self.apis.iter(),
            std::iter::once(&own),
            around,
            &Tally::default(),
            &self.now,
        )?;
        Ok(Outcome {
            changes,
            answer: serde_json::to_value(answer).unwrap(),
        })
    }
}

fn updated(inv: &Invoker, wish: &Wish) -> Result<Outcome, Refusal> {
    Scene::default().update(inv, wish)
}

/// TS 29.222 clause 5.5.2.5.2: PUT says the whole of the profile, the id stays, and the update is published (R-U-08).
#[test]
fn put_replaces_the_profile() {
    let mut inv = held();
    inv.information = Some("before".to_owned());
    let wish = details(json!({
        "apiInvokerId": "INV",
        "notificationDestination": "https://other.example/notify",
        "vendorSpecific-000001": { "kept": true },
    }));
    let outcome = updated(&inv, &wish).unwrap();
    let written = outcome.invoker().unwrap();
    assert_eq!(
        written,
        Invoker {
            notification_destination: "https://other.example/notify".into(),
            information: None,
            ..inv.clone()
        }
    );
    assert_eq!(
        outcome.answer,
        json!({
            "apiInvokerId": "INV",
            "onboardingInformation": {
                "apiInvokerPublicKey": "key of the invoker",
                "apiInvokerCertificate": "certificate of key 1",
            },
            "notificationDestination": "https://other.example/notify",
            "vendorSpecific-000001": { "kept": true },
        })
    );
    let told: Vec<_> = notified(&outcome.changes).into_iter().collect();
    let detail = json!({ "apiInvokerIds": ["INV"] });
    let event = |who: &str| {
        (
            who.to_owned(),
            "API_INVOKER_UPDATED".to_owned(),
            detail.clone(),
        )
    };
    assert_eq!(told, [event("AEF"), event("INV")]);

    // What is sent back as it was answered changes nothing, and nobody hears of it.
    let same = details(json!({ "apiInvokerInformation": "before" }));
    assert_eq!(updated(&inv, &same).unwrap().changes, Changes::new());

    let another = details(json!({ "apiInvokerId": "INV2" }));
    let refusal = updated(&inv, &another).err().unwrap();
    assert!(
        matches!(refusal, Refusal::ModificationNotAllowed { .. }),
        "{refusal:?}"
    );
}

/// RFC 7396: PATCH leaves alone what it does not name.
#[test]
fn patch_merges() {
    let mut inv = held();
    inv.information = Some("before".to_owned());
    let untouched = updated(&inv, &patch(json!({}))).unwrap();
    assert_eq!(untouched.changes, Changes::new());
    assert_eq!(untouched.answer["apiInvokerInformation"], "before");
    assert_eq!(untouched.answer["supportedFeatures"], "4");

    let outcome = updated(&inv, &patch(json!({ "apiInvokerInformation": "after" }))).unwrap();
    let written = outcome.invoker().unwrap();
    assert_eq!(written.information.as_deref(), Some("after"));
    assert_eq!(
        written.notification_destination,
        inv.notification_destination
    );
}

/// TS 29.222 clause 7.8, table 8.4.6-1: PATCH is for those who agreed to PatchUpdate, which a PUT can do later.
#[test]
fn patch_needs_its_feature() {
    let plain = invoker("INV");
    let wish = patch(json!({ "apiInvokerInformation": "after" }));
    let refusal = updated(&plain, &wish).err().unwrap();
    assert_eq!(
        refusal,
        Refusal::FeatureNotAgreed {
            feature: "PatchUpdate",
            member: "/supportedFeatures",
        }
    );
    let agrees = details(json!({ "supportedFeatures": "F" }));
    let outcome = updated(&plain, &agrees).unwrap();
    assert_eq!(outcome.answer["supportedFeatures"], "f");
    let agreed = outcome.invoker().unwrap();
    assert_eq!(agreed.features, "F".into());
    assert!(updated(&agreed, &wish).is_ok());
    // Renewal is by PATCH.
    let renews = patch(json!({ "vendorSpecific-capif": { "features": ["renewal"] } }));
    assert!(updated(&plain, &renews).is_ok());
    // Who says nothing of features keeps them; who takes them back has them no more.
    assert_eq!(
        updated(&agreed, &details(json!({}))).unwrap().changes,
        Changes::new()
    );
    let outcome = updated(&agreed, &details(json!({ "supportedFeatures": "0" }))).unwrap();
    assert_eq!(outcome.invoker().unwrap().features, "0".into());
}

/// TS 29.222 clause 5.5.2.5.2, D-21: without the feature of this product's own, key, certificate and secret stay what they are.
#[test]
fn onboarding_information_is_fixed_without_the_feature() {
    let mut inv = held();
    inv.onboard_secret = Some(Digest::of(b"the secret"));
    let information = |members: Value| {
        let mut whole = json!({ "apiInvokerPublicKey": "key of the invoker" });
        for (name, value) in members.as_object().unwrap() {
            whole[name] = value.clone();
        }
        json!({ "onboardingInformation": whole })
    };
    let unchanged = [
        json!({}),
        json!({ "apiInvokerCertificate": "certificate of key 1\n" }),
        json!({ "onboardingSecret": "the secret" }),
        json!({ MEMBER: { "renewal": "ignored" } }),
    ];
    for members in unchanged {
        for wish in [
            details(information(members.clone())),
            patch(information(members.clone())),
        ] {
            let outcome = updated(&inv, &wish).unwrap();
            assert_eq!(outcome.changes, Changes::new(), "{members}");
            assert_eq!(outcome.answer["onboardingInformation"][MEMBER], Value::Null);
        }
    }
    let changed = [
        json!({ "apiInvokerPublicKey": "request 2" }),
        json!({ "apiInvokerPublicKey": "key of the invoker\n" }),
        json!({ "apiInvokerPublicKey": "broken" }),
        json!({ "apiInvokerCertificate": "certificate of key 2" }),
        json!({ "onboardingSecret": "another secret" }),
    ];
    for members in changed {
        for wish in [
            details(information(members.clone())),
            patch(information(members.clone())),
        ] {
            let refusal = updated(&inv, &wish).err().unwrap();
            assert_eq!(refusal, Refusal::OnboardingInformationFixed, "{members}");
        }
    }
}

/// TS 29.222 clause 5.5.2.5.2: a new list is a new choice among what the credential allows.
#[test]
fn the_list_is_chosen_anew_within_the_credential() {
    let apis = [
        api("A1", "weather", &[profile("AEF", &[Pki])]),
        api("A2", "traffic", &[profile("AEF", &[Pki])]),
    ];
    let scene = Scene {
        apis: &apis,
        ..Scene::default()
    };
    let list = |wanted: &[&str]| {
        let wanted: Vec<Value> = wanted
            .iter()
            .map(|name| json!({ "apiName": name }))
            .collect();
        json!({ "apiList": { "serviceAPIDescriptions": wanted } })
    };
    let mut inv = held();
    inv.reach = names(&["weather"]);
    inv.allowance = Some(names(&["weather", "traffic", "later"]));
    let cases: [(&[&str], Option<ApiReach>); 5] = [
        (&["traffic"], Some(names(&["traffic"]))),
        (
            &["weather", "traffic"],
            Some(names(&["weather", "traffic"])),
        ),
        (&["traffic", "maps"], Some(names(&["traffic"]))),
        (&["weather"], Some(names(&["weather"]))),
        (&["maps"], None),
    ];
    for (wanted, expected) in cases {
        for wish in [details(list(wanted)), patch(list(wanted))] {
            let outcome = scene.update(&inv, &wish);
            let Some(expected) = &expected else {
                let refusal = outcome.err().unwrap();
                assert!(matches!(refusal, Refusal::NoApiGranted { .. }));
                continue;
            };
            let written = outcome.unwrap().invoker();
            let reach = written.map_or(inv.reach.clone(), |written| written.reach);
            assert_eq!(reach, *expected, "{wanted:?}");
        }
    }
    // Left out of a PUT, it is a wish for everything again; left out of a PATCH, nothing is wished.
    let all = scene.update(&inv, &details(json!({}))).unwrap();
    assert_eq!(all.invoker().unwrap().reach, inv.allowance.clone().unwrap());
    assert_eq!(
        scene.update(&inv, &patch(json!({}))).unwrap().invoker(),
        None
    );

    // An invoker that reaches all there will be keeps that when it sends back the list that it was answered.
    let everything = held();
    let answered = details(list(&["weather", "traffic"]));
    assert_eq!(
        scene.update(&everything, &answered).unwrap().invoker(),
        None
    );
    // Without a record of what the credential allowed, the reach itself is the bound.
    let mut old = held();
    old.reach = names(&["weather"]);
    let refused = scene.update(&old, &details(list(&["traffic"])));
    let refusal = refused.err().unwrap();
    assert!(matches!(refusal, Refusal::NoApiGranted { .. }));
}

/// What an invoker's own subscriptions hear of follows what it reaches.
#[test]
fn subscriptions_follow_the_reach() {
    let mut inv = held();
    inv.allowance = Some(ApiReach::default());
    let list = json!({ "apiList": { "serviceAPIDescriptions": [{ "apiName": "weather" }] } });
    let outcome = updated(&inv, &patch(list)).unwrap();
    let (expect, own) = written::<Subscription>(&outcome.changes).remove(0);
    assert_eq!(expect, Expect::At(REVISION));
    assert_eq!(
        (own.subscriber.as_str(), own.reach),
        ("INV", names(&["weather"]))
    );
    let keeps = updated(&inv, &patch(json!({ "apiInvokerInformation": "x" }))).unwrap();
    assert_eq!(written::<Subscription>(&keeps.changes), []);
}

/// TS 23.222 clause 8.1, table 8.4.6-1: an end is granted within what the operator allows, to who agreed to ExpirationTime.
#[test]
fn an_end_is_granted_within_policy() {
    let mut inv = held();
    inv.features = "C".into();
    let year = Duration::days(365);
    let bounded = Scene {
        terms: Terms {
            enrolment_life: Some(year),
            ..rotation_terms()
        },
        ..Scene::default()
    };
    let at = |days: i64| DateTime(now().0 + Duration::days(days));
    let ends = |scene: &Scene<'_>, wish: &Wish| {
        let outcome = scene.update(&inv, wish).unwrap();
        let ends = outcome.invoker().and_then(|written| written.expires);
        assert_eq!(
            outcome.answer.get("expTime").cloned(),
            ends.as_ref().map(|ends| json!(ends))
        );
        ends
    };
    let free = Scene::default();
    let wish = |days: i64| json!({ "expTime": at(days) });
    assert_eq!(ends(&free, &patch(wish(500))), Some(at(500)));
    assert_eq!(ends(&bounded, &patch(wish(500))), Some(at(365)));
    assert_eq!(ends(&bounded, &patch(wish(30))), Some(at(30)));
    assert_eq!(ends(&free, &patch(json!({ "expTime": null }))), None);
    assert_eq!(
        ends(&bounded, &patch(json!({ "expTime": null }))),
        None,
        "as it was"
    );
    assert_eq!(ends(&bounded, &details(wish(30))), Some(at(30)));

    inv.expires = Some(at(10));
    let written = |scene: &Scene<'_>, wish: &Wish| {
        let outcome = scene.update(&inv, wish).unwrap();
        outcome.invoker().map(|written| written.expires)
    };
    assert_eq!(written(&free, &patch(json!({}))), None);
    assert_eq!(
        written(&free, &patch(json!({ "expTime": null }))),
        Some(None)
    );
    assert_eq!(
        written(&bounded, &patch(json!({ "expTime": null }))),
        Some(Some(at(365)))
    );
    assert_eq!(written(&free, &details(json!({}))), Some(None));
    assert_eq!(written(&bounded, &patch(wish(10))), None);
    for past in [json!({ "expTime": now() }), wish(-1)] {
        let refusal = free.update(&inv, &patch(past)).err().unwrap();
        assert!(matches!(&refusal, Refusal::Malformed { pointer, .. } if pointer == "/expTime"));
    }
    let soon = json!({ "expTime": DateTime(now().0 + Duration::nanoseconds(1)) });
    assert!(free.update(&inv, &patch(soon)).is_ok());

    // Not agreed on: neither taken nor answered.
    inv.features = "4".into();
    let outcome = free.update(&inv, &patch(wish(500))).unwrap();
    assert_eq!(outcome.invoker(), None);
    assert_eq!(outcome.answer.get("expTime"), None);
}

/// Whoever was offboarded while the request was on its way is nobody.
#[test]
fn a_certificate_that_does_not_count_changes_nothing() {
    let scene = Scene {
        standing: Standing::No,
        ..Scene::default()
    };
    let refusal = scene.update(&held(), &details(json!({}))).err().unwrap();
    assert_eq!(refusal, Refusal::CertificateUnknown);
}
