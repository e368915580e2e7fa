use serde_json::{Value, json};

use super::*;
use crate::{
    changes::{Change, Key, Kind, Record},
    fixtures::*,
    state::{
        Certificate, Handover, Retiring, Revocation, RevocationReason, Role, SealedKey, Successor,
    },
};

const EVENT: &str = "API_INVOKER_UPDATED";

fn at(text: &str) -> DateTime {
    text.parse().unwrap()
}

fn deadline() -> DateTime {
    at("2026-02-07T12:00:00Z")
}

fn asked_for(reason: DemandReason) -> Demand {
    Demand {
        reason,
        since: now(),
        deadline: deadline(),
    }
}

/// An invoker that agreed to renew.
fn renewable(id: &str) -> Invoker {
    let mut invoker = invoker(id);
    invoker.renewal.agreed = true;
    invoker
}

/// What is published, negotiated and subscribed to: two AEFs, of which the second did not subscribe.
struct Scene {
    apis: [ServiceApi; 1],
    context: Versioned<SecurityContext>,
    subscriptions: Vec<Subscription>,
}

impl Scene {
    fn new() -> Self {
        let at = |aef: &str| profile_with(aef, &[Oauth], &[(&format!("{aef}.example"), &[])]);
        Self {
            apis: [api("API", "weather", &[at("aef1"), at("aef2"), at("aef3")])],
            context: versioned(context(
                "INV1",
                vec![entry_at("aef1", Some(Oauth)), entry_at("aef2", Some(Oauth))],
            )),
            subscriptions: vec![
                subscription("INV1", Role::ApiInvoker, &[EVENT]),
                subscription("aef1", Role::Aef, &["SERVICE_API_UPDATE", EVENT]),
                subscription("aef2", Role::Aef, &["API_INVOKER_OFFBOARDED"]),
                subscription("AMF", Role::Amf, &[EVENT]),
            ],
        }
    }

    fn around(
        &self,
    ) -> Around<'_, std::slice::Iter<'_, ServiceApi>, std::slice::Iter<'_, Subscription>> {
        Around {
            context: Some(&self.context),
            apis: self.apis.iter(),
            subscriptions: self.subscriptions.iter(),
        }
    }

    fn ask(&self, reason: DemandReason, invoker: Invoker) -> Option<Changes> {
        let request = Request {
            reason,
            deadline: deadline(),
            now: &now(),
        };
        ask_invoker(&request, &versioned(invoker), None, self.around())
    }
}

/// The invoker as changes leave it.
fn left(changes: &Changes) -> Invoker {
    let [(expect, invoker)] = written::<Invoker>(changes).try_into().unwrap();
    assert_eq!(expect, Expect::At(REVISION));
    invoker
}

/// Who is told of the event.
fn heard(changes: &Changes) -> Vec<String> {
    let told = notified(changes).into_iter();
    told.map(|(who, event, detail)| {
        assert_eq!(event, EVENT);
        assert_eq!(detail, json!({ "apiInvokerIds": ["INV1"] }), "and no more");
        who
    })
    .collect()
}

/// R-U-02: the invoker is told under its own subscription, and nothing is taken from it.
#[test]
fn the_operator_asks() {
    let scene = Scene::new();
    let changes = scene
        .ask(DemandReason::Operator, renewable("INV1"))
        .unwrap();
    let mut expected = renewable("INV1");
    expected.renewal.demand = Some(Box::new(asked_for(DemandReason::Operator)));
    assert_eq!(left(&changes), expected);
    assert_eq!(heard(&changes), ["INV1"]);
    assert_eq!(changes.steps.len(), 2);
}

/// An invoker that never agreed to renew cannot be asked to (TS 29.222 clause 5.5.2.5.2).
#[test]
fn who_did_not_agree_is_not_asked() {
    for reason in [DemandReason::Operator, DemandReason::Compromise] {
        assert_eq!(Scene::new().ask(reason, invoker("INV1")), None);
    }
}

/// An invoker half way through a renewal.
fn half_way() -> Invoker {
    let numbered = |serial: &str, key| Certificate {
        serial: serial.to_owned(),
        ..certificate(key)
    };
    let mut invoker = renewable("INV1");
    invoker.certificate = numbered("01", 1);
    invoker.renewal.successor = Some(Box::new(Successor {
        public_key_text: "next".into(),
        certificate: numbered("02", 2),
        onboard_secret: Some(digest(0x5f)),
        secret_expires: None,
    }));
    invoker.renewal.retiring = vec![Retiring {
        certificate: numbered("03", 3),
        onboard_secret: Some(digest(0x5d)),
        secret_expires: None,
        until: at("2026-01-31T13:00:00Z"),
    }];
    invoker.renewal.handover = Some(Box::new(Handover {
        request: "r1".to_owned(),
        credential: None,
        public_key_text: digest(9),
        secret: Some(SealedKey::new("sealed")),
        until: None,
    }));
    invoker
}

/// R-U-02, R-U-05: in a compromise the same commit ends the secret, the keys and the tokens, and what was handed over; every AEF
/// that may remember the invoker is told in its own way.
#[test]
fn a_compromise_takes_everything_at_once() {
    let mut scene = Scene::new();
    for entry in &mut scene.context.record.entries {
        entry.psk = Some(keys_of(&entry.aef_id));
    }
    let changes = scene.ask(DemandReason::Compromise, half_way()).unwrap();
    let invoker = left(&changes);
    assert_eq!(
        invoker.renewal.demand,
        Some(Box::new(asked_for(DemandReason::Compromise)))
    );
    assert_eq!(invoker.renewal.suspended, Some(now()));
    assert_eq!(invoker.renewal.successor, None);
    assert_eq!(invoker.renewal.handover, None);
    let secrets = invoker.renewal.retiring.iter();
    assert!(secrets.clone().all(|old| old.onboard_secret.is_none()));
    // They may still renew: who holds them has nothing else to show.
    let serials: Vec<&str> = secrets.map(|old| old.certificate.serial.as_str()).collect();
    assert_eq!(serials, ["02", "03"]);

    let [(expect, context)] = written::<SecurityContext>(&changes).try_into().unwrap();
    assert_eq!(expect, Expect::At(REVISION));
    assert_eq!(context.generation, 2);
    assert!(context.entries.iter().all(|entry| entry.psk.is_none()));
    assert_eq!(context.entries.len(), 2);

    assert_eq!(heard(&changes), ["INV1", "aef1", "AMF"]);
    let told: Vec<Value> = appended::<Revocation>(&changes)
        .into_iter()
        .map(|held| {
            json!([
                held.aef_id,
                held.authority,
                held.request.revoke_info.api_ids
            ])
        })
        .collect();
    assert_eq!(told, [json!(["aef2", "aef2.example:443", ["API"]])]);
}

fn keys_of(aef: &AefId) -> crate::state::AefPsks {
    wire(json!({ "current": {
        "identity": format!("{aef}/1"),
        "sealed": "sealed",
        "expires": "2026-02-01T00:00:00Z",
        "profile": "a1-exporter",
        "tls": "1.3",
        "interface": "https://aef.example",
    } }))
}

/// An invoker without secret and without context loses what there is.
#[test]
fn a_compromise_of_little() {
    let scene = Scene::new();
    let mut invoker = renewable("INV1");
    invoker.onboard_secret = None;
    let request = Request {
        reason: DemandReason::Compromise,
        deadline: deadline(),
        now: &now(),
    };
    let around = Around {
        context: None,
        ..scene.around()
    };
    let changes = ask_invoker(&request, &versioned(invoker), None, around).unwrap();
    assert_eq!(written::<SecurityContext>(&changes), []);
    assert_eq!(appended::<Revocation>(&changes), []);
    assert_eq!(heard(&changes), ["INV1", "aef1", "AMF"]);
}

/// What is asked twice has the new deadline; a compromise stays one until it is met, and one that is asked later counts from then.
#[test]
fn demands_follow_one_another() {
    use DemandReason::{Compromise, Operator};
    let earlier = at("2026-01-30T00:00:00Z");
    for (before, then, reason, since) in [
        (Operator, Operator, Operator, earlier.clone()),
        (Operator, Compromise, Compromise, now()),
        (Compromise, Operator, Compromise, earlier.clone()),
        (Compromise, Compromise, Compromise, earlier.clone()),
    ] {
        let mut invoker = renewable("INV1");
        invoker.renewal.demand = Some(Box::new(Demand {
            reason: before,
            since: earlier.clone(),
            deadline: at("2026-02-01T00:00:00Z"),
        }));
        invoker.renewal.suspended = (before == Compromise).then(|| earlier.clone());
        let asked = left(&Scene::new().ask(then, invoker).unwrap());
        let expected = Box::new(Demand {
            reason,
            since,
            deadline: deadline(),
        });
        assert_eq!(asked.renewal.demand, Some(expected), "{before:?}, {then:?}");
        let shut = asked.renewal.suspended.is_some();
        assert_eq!(shut, reason == Compromise, "{before:?}, {then:?}");
    }
}

/// The notice says what is asked and until when, and nothing else; it goes where the invoker wanted to hear of its onboarding.
#[test]
fn the_notice() {
    let scene = Scene::new();
    let request = Request {
        reason: DemandReason::Compromise,
        deadline: deadline(),
        now: &now(),
    };
    let mut invoker = half_way();
    invoker.notification_destination = "https://invoker.example/onboarding".into();
    let resource = Uri::from("https://ccf.example/onboardedInvokers/INV1");
    let changes = ask_invoker(
        &request,
        &versioned(invoker),
        Some(resource),
        scene.around(),
    )
    .unwrap();
    let [callback] = appended::<Callback>(&changes).try_into().unwrap();
    assert_eq!(
        callback.destination.as_str(),
        "https://invoker.example/onboarding"
    );
    assert_eq!(callback.raised, now());
    assert_eq!(callback.notification.as_str(), "OnboardingNotification");
    assert_eq!(
        serde_json::to_value(&callback.notification).unwrap(),
        json!({
            "result": true,
            "resourceLocation": "https://ccf.example/onboardedInvokers/INV1",
            "vendorSpecific-capif": {
                "renewal": { "reason": "COMPROMISE", "deadline": "2026-02-07T12:00:00Z" },
            },
        })
    );
}

/// Whatever is told, of what was secret nothing is in it.
#[test]
fn nothing_secret_is_told() {
    let changes = Scene::new()
        .ask(DemandReason::Compromise, half_way())
        .unwrap();
    for step in changes.steps {
        if let Change::Append { value, .. } = step {
            let text = String::from_utf8(value).unwrap();
            for secret in [
                "sealed",
                &digest(0x5e).to_string(),
                &digest(0x5f).to_string(),
            ] {
                assert!(!text.contains(secret), "{text}");
            }
        }
    }
}

/// A function of a provider is asked through its record, which its status shows.
#[test]
fn a_function_is_asked() {
    let held = versioned(function("AEF", Role::Aef, 3));
    for reason in [DemandReason::Operator, DemandReason::Compromise] {
        let request = Request {
            reason,
            deadline: deadline(),
            now: &now(),
        };
        let changes = ask_function(&request, &held);
        let [(expect, asked)] = written::<ProviderFunction>(&changes).try_into().unwrap();
        assert_eq!(expect, Expect::At(REVISION));
        assert_eq!(asked.renewal.demand, Some(Box::new(asked_for(reason))));
        let shut = (reason == DemandReason::Compromise).then(now);
        assert_eq!(asked.renewal.suspended, shut);
        assert_eq!(asked.certificate, held.record.certificate);
    }
}

/// R-U-02: who has not followed by the deadline is shut, from the deadline itself on and once; what was handed over stays.
#[test]
fn who_is_late_is_shut() {
    let scene = Scene::new();
    let mut late = half_way();
    late.renewal.demand = Some(Box::new(asked_for(DemandReason::Operator)));
    let before = DateTime(deadline().0 - time::Duration::nanoseconds(1));
    let held = versioned(late.clone());
    assert!(suspend(&held, scene.around(), &before).is_empty());

    let changes = suspend(&held, scene.around(), &deadline());
    late.renewal.suspended = Some(deadline());
    assert_eq!(left(&changes), late, "successor and secret stay");
    let [(_, context)] = written::<SecurityContext>(&changes).try_into().unwrap();
    assert_eq!(context.generation, 2);
    assert_eq!(heard(&changes), ["INV1", "aef1", "AMF"]);
    assert_eq!(appended::<Revocation>(&changes).len(), 1);

    let shut = versioned(left(&changes));
    assert!(suspend(&shut, scene.around(), &deadline()).is_empty());
    assert!(suspend(&versioned(renewable("INV1")), scene.around(), &deadline()).is_empty());

    // The operator gives it time again.
    let request = Request {
        reason: DemandReason::Operator,
        deadline: at("2026-03-01T00:00:00Z"),
        now: &deadline(),
    };
    let changes = ask_invoker(&request, &shut, None, scene.around()).unwrap();
    assert_eq!(left(&changes).renewal.suspended, None);
}

/// A demand is decided on the profile that was read, and on the context: neither is lost when it moves meanwhile.
#[test]
fn a_demand_conflicts_with_what_moves() {
    let scene = Scene::new();
    let changes = scene
        .ask(DemandReason::Compromise, renewable("INV1"))
        .unwrap();
    let mut world = World::default()
        .with(&renewable("INV1"))
        .with(&scene.context.record);
    let mut negotiated = scene.context.record.clone();
    negotiated.psk_count = 1;
    let mut meanwhile = Changes::new();
    meanwhile.put(&negotiated, Expect::Any);
    world.commit(meanwhile).unwrap();
    assert_eq!(
        world.commit(changes),
        Err(Key::new(Kind::SecurityContext, negotiated.record_id()))
    );
}

/// A certificate that is one too many to be kept for the renewal is revoked.
#[test]
fn one_too_many_is_revoked() {
    let mut invoker = half_way();
    let old = invoker.renewal.retiring.remove(0);
    for number in 3..7 {
        let mut old = old.clone();
        old.certificate.serial = format!("0{number}");
        invoker.renewal.retiring.push(old);
    }
    let changes = Scene::new().ask(DemandReason::Compromise, invoker).unwrap();
    let [(_, revoked)] = written::<RevokedCertificate>(&changes).try_into().unwrap();
    assert_eq!(revoked.record_id(), "1/06");
    assert_eq!(revoked.reason, RevocationReason::Superseded);
}
