use serde_json::{Value, json};

use super::*;
use crate::{
    changes::{Change, Key, Kind, Record},
    fixtures::*,
    state::{
        CredentialUse, Demand, Handover, InvocationLogEntry, Limits, PendingWish,
        RegisteredCredential, Retiring, Revocation, Role, Scope, SealedKey, ServiceApiName,
        Successor, Tidings,
    },
};

/// Whether records of a kind lie under an invoker's id.
#[derive(PartialEq)]
enum Owner {
    /// They do, and go with it.
    Invoker,
    /// They are others' records, and stay.
    Other,
}

/// One decision for each kind. A new kind does not compile until it is made here.
fn owner(kind: Kind) -> Owner {
    match kind {
        Kind::Invoker | Kind::SecurityContext | Kind::Subscription | Kind::Notification => {
            Owner::Invoker
        }
        // What it was told, may use and has used. Of these a policy is filed under its API.
        Kind::Callback | Kind::Usage | Kind::AccessControlPolicy => Owner::Invoker,
        // What it asked for and the operator has not decided on.
        Kind::PendingEnrolment => Owner::Invoker,
        // What the operator says of it alone.
        Kind::DiscoveryPolicy => Owner::Invoker,
        // What an AEF has yet to acknowledge.
        Kind::Revocation => Owner::Other,
        // Kept until the credential expires, so that it does not onboard a second time (D-26).
        Kind::CredentialUse => Owner::Other,
        // Gone since the onboarding; one that is there admits somebody else.
        Kind::RegisteredCredential => Owner::Other,
        Kind::ProviderDomain | Kind::ProviderFunction | Kind::ServiceApi | Kind::ServiceApiName => {
            Owner::Other
        }
        // The provider's record of what was done at its AEFs (TS 23.222 clause 8.19).
        Kind::InvocationLog => Owner::Other,
        // What counts no more, that somebody was here, and what was done: written then, with nothing secret.
        Kind::RevokedCertificate | Kind::Departure | Kind::Audit => Owner::Other,
        Kind::OperatorCredential | Kind::LogRetention => Owner::Other,
        Kind::TopologyHiding => Owner::Other,
        // How far it was told what it subscribed to.
        Kind::Reporting => Owner::Invoker,
        Kind::Account => Owner::Other,
        Kind::Authority | Kind::TokenKey => Owner::Other,
    }
}

/// The removal, as the records are.
fn removed(held: &Versioned<Invoker>, subscriptions: &[Subscription]) -> Changes {
    let policies = [
        own_policy(None),
        own_policy(Some("INV1")),
        own_policy(Some("INV10")),
    ];
    let around = Around {
        context: None,
        apis: [].iter(),
        policies: policies.iter(),
        subscriptions: subscriptions.iter(),
        calls: Some(7),
    };
    offboard(held, around, leave(DepartureReason::Invoker), &now())
}

/// Without account of it.
fn leave(reason: DepartureReason) -> Leave {
    Leave {
        reason,
        is_kept: false,
    }
}

fn own_policy(invoker: Option<&str>) -> AccessControlPolicy {
    AccessControlPolicy {
        api_id: "API".into(),
        invoker_id: invoker.map(Into::into),
        limits: Limits {
            total: Some(9),
            ..Limits::default()
        },
    }
}

fn shown_to(audience: Audience) -> DiscoveryPolicy {
    DiscoveryPolicy {
        audience,
        scope: Scope::All,
        shows: false,
    }
}

fn revocation(invoker: &str) -> Value {
    json!({ "apiInvokerId": invoker, "apiIds": ["API"], "cause": "OTHER_REASON" })
}

/// A world with a record of every kind, those of invokers for each of some ids.
fn world(ids: &[&str]) -> World {
    let expires = "2026-02-01T00:00:00Z".parse::<DateTime>().unwrap();
    let mut world = World::default()
        .with(&CredentialUse {
            id: digest(0xc0),
            expires: expires.clone(),
        })
        .with(&RegisteredCredential {
            token: digest(0x70),
            expires,
            reach: names(&["weather"]),
            approval: false,
        })
        .with(&domain(&[]))
        .with(&function("AEF", Role::Aef, 2))
        .with(&api("API", "weather", &[profile("AEF", &[Oauth])]))
        .with(&ServiceApiName {
            domain_id: "DOM".into(),
            api_name: "weather".to_owned(),
            api_id: "API".into(),
        });
    world = world
        .with(&own_policy(None))
        .with(&shown_to(Audience::Everyone))
        .with_named(Kind::RevokedCertificate, "1/ff")
        .with_named(Kind::Departure, "INV0")
        .with_named(Kind::Audit, "00000000000000000001")
        .with_named(Kind::Authority, "1")
        .with_named(Kind::TokenKey, "key")
        .with_named(Kind::TopologyHiding, "api/API")
        .with_named(Kind::OperatorCredential, "alice")
        .with_named(Kind::LogRetention, "API")
        .with_named(Kind::Account, "bob");
    for id in ids {
        let own = subscription(id, Role::ApiInvoker, &["SERVICE_API_AVAILABLE"]);
        world = world
            .with(&invoker(id))
            .with(&context(id, vec![entry_at("AEF", Some(Oauth))]))
            .with(&own)
            .with_named(Kind::Reporting, &format!("{id}/SUB"))
            .with(&waiting(&own))
            .with(&waiting(&own))
            .with(&own_policy(Some(id)))
            .with(&PendingEnrolment {
                id: (*id).into(),
                wish: PendingWish::Modification(Default::default()),
                asked: now(),
                expires: now(),
                rejected: None,
            })
            .with(&shown_to(Audience::Invoker((*id).into())))
            .with(&Usage {
                invoker_id: (*id).into(),
                api_id: "API".into(),
                calls: 7,
            })
            .with(&Callback {
                invoker_id: (*id).into(),
                destination: DESTINATION.into(),
                notification: Tidings::Revocation(wire(revocation(id))),
                raised: now(),
            })
            .with(&Revocation {
                aef_id: "AEF".into(),
                authority: "aef.example:443".to_owned(),
                request: wire(json!({ "revokeInfo": revocation(id), "supportedFeatures": "0" })),
                raised: now(),
            })
            .with(&InvocationLogEntry {
                aef_id: "AEF".into(),
                api_invoker_id: (*id).into(),
                log: wire(json!({
                    "apiId": "API",
                    "apiName": "weather",
                    "apiVersion": "v1",
                    "resourceName": "today",
                    "protocol": "HTTP_1_1",
                    "result": "200",
                })),
                received: now(),
            });
    }
    world
}

/// TS 33.122 clause 6.8 step 3: the CCF deletes the profile and everything that authentication and authorization made.
#[test]
fn everything_under_the_id_goes_and_nothing_else() {
    // The ids of the others begin like the one that goes, or end like it.
    let before = world(&["INV1", "INV10", "INV", "XINV1"]);
    let kinds: Vec<Kind> = before.keys().iter().map(|key| key.kind).collect();
    for kind in Kind::ALL {
        assert!(
            kinds.contains(&kind),
            "no record of kind {kind:?} to look at"
        );
    }

    let mut after = before.clone();
    let held = before.held::<Invoker>("INV1").unwrap();
    after.commit(removed(&held, &[])).unwrap();
    let is_own = |key: &Key| {
        let under = key.id == "INV1" || key.id.starts_with("INV1/") || key.id == "API/INV1";
        owner(key.kind) == Owner::Invoker && under
    };
    let expected: Vec<Key> = before
        .keys()
        .into_iter()
        .filter(|key| !is_own(key))
        .collect();
    assert_eq!(after.keys(), expected);
    assert_eq!(before.keys().len() - expected.len(), 11);
}

/// TS 33.122 clause 6.8 step 3: deletion is complete also for what arrives while it is decided, and nothing can be made for
/// the invoker afterwards.
#[test]
fn what_arrives_meanwhile_goes_too() {
    let mut world = world(&["INV1"]);
    let held = world.held::<Invoker>("INV1").unwrap();
    let changes = removed(&held, &[]);

    let profile = [api("API", "weather", &[profile("AEF", &[Oauth])])];
    let wanted = wire(json!({
        "securityInfo": [{ "aefId": "AEF", "prefSecurityMethods": ["OAUTH"] }],
        "notificationDestination": DESTINATION,
    }));
    let subscribe = |id: &str| {
        let subscription = wire(json!({
            "events": ["SERVICE_API_AVAILABLE"],
            "notificationDestination": DESTINATION,
        }));
        let subscriber = events::Subscriber::Invoker(&held.record);
        events::subscribe(subscriber, subscription, id.into(), 0, &now())
            .unwrap()
            .0
    };
    world.commit(subscribe("SUB2")).unwrap();
    world.commit(changes).unwrap();
    assert_eq!(world.ids(Kind::Subscription), [] as [&str; 0]);

    let late = crate::security_method::negotiate(
        wanted,
        &held.record,
        None,
        profile.iter(),
        &policy(&[Oauth]),
        None,
        &now(),
    );
    let refused = Key::new(Kind::Invoker, "INV1");
    assert_eq!(world.commit(late.unwrap().0), Err(refused.clone()));
    assert_eq!(world.commit(subscribe("SUB3")), Err(refused));
}

/// TS 33.122 clause 6.8 step 3: the profile that is deleted is the one that was verified.
#[test]
fn an_invoker_is_offboarded_once() {
    let mut world = world(&["INV1"]);
    let held = world.held::<Invoker>("INV1").unwrap();
    let changes = removed(&held, &[]);
    assert_eq!(
        changes.steps.first(),
        Some(&deletion(Kind::Invoker, "INV1", Expect::At(REVISION)))
    );
    assert_eq!(world.commit(changes.clone()), Ok(()));
    assert_eq!(world.commit(changes), Err(Key::new(Kind::Invoker, "INV1")));
}

/// TS 33.122 clause 6.8 step 7: the AEFs hear that the invoker is no longer valid; with Enhanced_event_report they are told
/// which one (TS 29.222 clause 8.3.4.2.5). The invoker itself and other invokers do not.
#[test]
fn others_hear_of_it() {
    let event = "API_INVOKER_OFFBOARDED";
    let mut for_another = subscription("AEF3", Role::Aef, &[event]);
    for_another.subscription.event_filters = Some(vec![wire(json!({ "apiInvokerIds": ["INV9"] }))]);
    let subscriptions = [
        subscription("AEF1", Role::Aef, &["SERVICE_API_UPDATE", event]),
        plain(subscription("AEF2", Role::Aef, &[event])),
        for_another,
        subscription("AEF4", Role::Aef, &["API_INVOKER_ONBOARDED"]),
        subscription("INV1", Role::ApiInvoker, &[event]),
        subscription("INV2", Role::ApiInvoker, &[event]),
        subscription("AMF", Role::Amf, &[event]),
    ];
    let changes = removed(&versioned(invoker("INV1")), &subscriptions);
    let told = |who: &str, detail: Value| (who.to_owned(), event.to_owned(), detail);
    let detail = json!({ "apiInvokerIds": ["INV1"] });
    assert_eq!(
        notified(&changes),
        [
            told("AEF1", detail.clone()),
            told("AEF2", Value::Null),
            told("AMF", detail),
        ]
    );
}

/// TS 33.122 clause 6.8 step 7: what waits for the AEFs' acknowledgement outlives the invoker.
#[test]
fn the_event_waits_after_the_invoker_is_gone() {
    let aef = subscription("AEF", Role::Aef, &["API_INVOKER_OFFBOARDED"]);
    let own = subscription("INV1", Role::ApiInvoker, &["API_INVOKER_UPDATED"]);
    let mut world = World::default()
        .with(&invoker("INV1"))
        .with(&aef)
        .with(&own)
        .with(&waiting(&own));
    let held = world.held::<Invoker>("INV1").unwrap();
    let changes = removed(&held, &[aef.clone(), own]);
    world.commit(changes).unwrap();
    let left = world.ids(Kind::Notification);
    assert_eq!(left.len(), 1);
    assert!(left[0].starts_with(&Notification::prefix("AEF", &aef.id)));
    assert_eq!(world.ids(Kind::Subscription), [aef.record_id()]);
}

/// D-18: an AEF that knows the invoker but would not hear of the event is told by `revoke-authorization`; one that subscribed, or
/// knows nothing of the invoker, is not.
#[test]
fn an_aef_that_did_not_subscribe_is_told_in_another_way() {
    let event = "API_INVOKER_OFFBOARDED";
    let at = |aef: &str| profile_with(aef, &[Oauth], &[(&format!("{aef}.example"), &[])]);
    let apis = [
        api(
            "A1",
            "weather",
            &[at("aef1"), at("aef2"), at("aef3"), at("aef4")],
        ),
        api("A2", "traffic", &[at("aef1"), at("aef5")]),
    ];
    let mut for_another = subscription("aef3", Role::Aef, &[event]);
    for_another.subscription.event_filters = Some(vec![wire(json!({ "apiInvokerIds": ["INV9"] }))]);
    // Accepted of deployed clients, and never sent to.
    let mut over_http = subscription("aef1", Role::Aef, &[event]);
    over_http.subscription.notification_destination = "http://aef1.example/events".into();
    let subscriptions = [
        subscription("aef1", Role::Aef, &["SERVICE_API_UPDATE"]),
        over_http,
        plain(subscription("aef2", Role::Aef, &[event])),
        for_another,
        subscription("AMF", Role::Amf, &[event]),
    ];
    let mut revoked = entry_at("aef5", Some(Oauth));
    revoked.revoked.insert("A2".into());
    let held = context(
        "INV1",
        vec![
            entry_at("aef1", Some(Oauth)),
            entry_for("aef2", "A1", Oauth),
            entry_for("aef3", "A1", Oauth),
            revoked,
        ],
    );
    let around = Around {
        context: Some(&held),
        apis: apis.iter(),
        policies: [].iter(),
        subscriptions: subscriptions.iter(),
        calls: None,
    };
    let left = leave(DepartureReason::Invoker);
    let changes = offboard(&versioned(invoker("INV1")), around, left, &now());
    let told: Vec<Value> = appended::<Revocation>(&changes)
        .into_iter()
        .map(|held| json!([held.aef_id, held.authority, held.request.revoke_info]))
        .collect();
    let info = |aef: &str, apis: Value| json!({ "apiInvokerId": "INV1", "aefId": aef, "apiIds": apis, "cause": "OTHER_REASON" });
    assert_eq!(
        told,
        [
            json!([
                "aef1",
                "aef1.example:443",
                info("aef1", json!(["A1", "A2"]))
            ]),
            json!(["aef3", "aef3.example:443", info("aef3", json!(["A1"]))]),
        ]
    );
}

/// A policy that is set for the invoker while its removal is decided makes it be decided anew, and goes along.
#[test]
fn a_policy_that_arrives_meanwhile_moves_the_profile() {
    let mut world = world(&["INV1"]);
    let held = world.held::<Invoker>("INV1").unwrap();
    let changes = removed(&held, &[]);
    let api = world.held::<crate::state::ServiceApi>("API").unwrap();
    let around = crate::access_control::Around {
        api: &api,
        policies: Vec::new(),
        members: std::iter::empty(),
        subscriptions: [].iter(),
    };
    let limits = Limits {
        total: Some(1),
        ..Limits::default()
    };
    let set = crate::access_control::set(limits, Some(&held), [].iter(), around, &now());
    world.commit(set.unwrap()).unwrap();
    let refused = Key::new(Kind::Invoker, "INV1");
    assert_eq!(world.commit(changes), Err(refused));
    let again = world.held::<Invoker>("INV1").unwrap();
    world.commit(removed(&again, &[])).unwrap();
    assert_eq!(world.ids(Kind::AccessControlPolicy), ["API/*"]);
}

/// An invoker with a certificate in use, one that was handed over, two on their way out of which one has ended, and one of before
/// serial numbers were kept.
fn renewing(id: &str) -> Invoker {
    let numbered = |serial: &str, key| Certificate {
        serial: serial.to_owned(),
        ..certificate(key)
    };
    let retiring = |certificate| Retiring {
        certificate,
        onboard_secret: Some(digest(0x5d)),
        secret_expires: None,
        until: "2026-01-31T13:00:00Z".parse().unwrap(),
    };
    let mut ended = numbered("04", 4);
    ended.not_after = now();
    let mut invoker = invoker(id);
    invoker.certificate = numbered("01", 1);
    invoker.renewal = Renewal {
        agreed: true,
        successor: Some(Box::new(Successor {
            public_key_text: "next".into(),
            certificate: numbered("02", 2),
            onboard_secret: Some(digest(0x5f)),
            secret_expires: None,
        })),
        retiring: vec![
            retiring(numbered("03", 3)),
            retiring(ended),
            retiring(certificate(5)),
        ],
        handover: Some(Box::new(Handover {
            request: "r1".to_owned(),
            credential: None,
            public_key_text: digest(9),
            secret: Some(SealedKey::new("sealed")),
            until: None,
        })),
        ..Renewal::default()
    };
    invoker
}

/// Every certificate that ends before its time is written down as revoked: what is in use, what was handed over, what was on its
/// way out; not what has ended anyway.
#[test]
fn every_certificate_is_revoked() {
    for (demanded, reason) in [
        (None, RevocationReason::CessationOfOperation),
        (
            Some(DemandReason::Operator),
            RevocationReason::CessationOfOperation,
        ),
        (
            Some(DemandReason::Compromise),
            RevocationReason::KeyCompromise,
        ),
    ] {
        let mut leaving = renewing("INV1");
        leaving.renewal.demand = demanded.map(|reason| {
            Box::new(Demand {
                reason,
                since: now(),
                deadline: now(),
            })
        });
        let changes = removed(&versioned(leaving), &[]);
        let revoked: Vec<_> = written::<RevokedCertificate>(&changes)
            .into_iter()
            .map(|(_, held)| (held.record_id(), held.revoked, held.reason, held.not_after))
            .collect();
        let expected: Vec<_> = ["1/01", "1/02", "1/03"]
            .map(|id| (id.to_owned(), now(), reason, certificate(1).not_after))
            .into();
        assert_eq!(revoked, expected, "{demanded:?}");
    }
}

/// TS 33.122 clause 6.8 step 3: what the operator's policy keeps is that an invoker was here, and nothing secret. Whoever began it,
/// and whether or not account is kept, the rest of the commit is the same.
#[test]
fn account_is_kept_where_the_operator_says_so() {
    let apis = [
        api("API1", "weather", &[profile("AEF", &[Oauth])]),
        api("API2", "sea", &[profile("AEF", &[Oauth])]),
    ];
    let mut leaving = renewing("INV1");
    leaving.reach = names(&["weather"]);
    leaving.onboarded = "2026-01-01T00:00:00Z".parse().unwrap();
    let held = versioned(leaving);
    let agreed = context("INV1", vec![entry_at("AEF", Some(Oauth))]);
    let gone = |reason, is_kept| {
        let around = Around {
            context: Some(&agreed),
            apis: apis.iter(),
            policies: [].iter(),
            subscriptions: [].iter(),
            calls: Some(7),
        };
        offboard(&held, around, Leave { reason, is_kept }, &now())
    };
    let without = gone(DepartureReason::Invoker, false);
    assert_eq!(written::<Departure>(&without), []);
    for (reason, word) in [
        (DepartureReason::Invoker, "invoker"),
        (DepartureReason::Operator, "operator"),
        (DepartureReason::Expired, "expired"),
        (DepartureReason::Overdue, "overdue"),
    ] {
        assert_eq!(gone(reason, false), without);
        let mut kept = gone(reason, true);
        let [(_, departure)] = written::<Departure>(&kept).try_into().unwrap();
        assert_eq!(
            serde_json::to_value(&departure).unwrap(),
            json!({
                "id": "INV1",
                "onboarded": "2026-01-01T00:00:00Z",
                "offboarded": "2026-01-31T12:00:00Z",
                "reason": word,
                "contexts": 1,
                "apis": 1,
                "invocations": 7,
            })
        );
        assert_eq!(reason.as_str(), word);
        let is_account =
            |step: &Change| matches!(step, Change::Put { key, .. } if key.kind == Kind::Departure);
        kept.steps.retain(|step| !is_account(step));
        assert_eq!(kept, without);
    }
}

/// Of what was secret nothing is in the commit, in whatever form.
#[test]
fn nothing_secret_is_written() {
    let held = versioned(renewing("INV1"));
    let around = Around {
        context: None,
        apis: [].iter(),
        policies: [].iter(),
        subscriptions: [].iter(),
        calls: None,
    };
    let leave = Leave {
        reason: DepartureReason::Operator,
        is_kept: true,
    };
    for step in offboard(&held, around, leave, &now()).steps {
        if let Change::Put { value, .. } | Change::Append { value, .. } = step {
            let text = String::from_utf8(value).unwrap();
            let secrets = [digest(0x5d), digest(0x5e), digest(0x5f)].map(|held| held.to_string());
            for secret in secrets.iter().map(String::as_str).chain(["sealed"]) {
                assert!(!text.contains(secret), "{text}");
            }
        }
    }
}
