//! Removal of functions and of whole domains.

use super::*;
use crate::state::{
    AccessControlPolicy, RegisteredCredential, Revocation, RevocationReason, ServiceApiName,
};

/// A world with a domain of two APFs and AEFs, of which some publish and all wait for something, and a second domain.
fn world(functions: &[ProviderFunction], apis: &[ServiceApi]) -> (World, Vec<Subscription>) {
    let mut world = World::default().with(&domain(functions));
    let mut subscriptions = Vec::new();
    for function in functions {
        world = world.with(function);
        subscriptions.push((function.id.to_string(), function.role));
    }
    subscriptions.push(("AEF9".to_owned(), Role::Aef));
    subscriptions.push(("INV".to_owned(), Role::ApiInvoker));
    let subscriptions: Vec<Subscription> = subscriptions
        .into_iter()
        .map(|(id, role)| subscription(&id, role, &["SERVICE_API_UNAVAILABLE"]))
        .collect();
    for subscription in &subscriptions {
        world = world.with(subscription).with(&waiting(subscription));
    }
    for api in apis {
        world = world.with(api).with(&ServiceApiName {
            domain_id: api.domain_id.clone(),
            api_name: api.description.api_name.clone(),
            api_id: api.id.clone(),
        });
        world = world.with(&AccessControlPolicy {
            api_id: api.id.clone(),
            invoker_id: None,
            limits: Default::default(),
        });
    }
    for aef in ["AEF", "AEF9"] {
        world = world.with(&Revocation {
            aef_id: aef.into(),
            authority: "aef.example:443".to_owned(),
            request: wire(json!({
                "revokeInfo": { "apiInvokerId": "INV", "apiIds": ["API1"], "cause": "OTHER_REASON" },
                "supportedFeatures": "0",
            })),
            raised: now(),
        });
    }
    (world, subscriptions)
}

/// Under which subscriptions notifications wait, each once per notification.
fn waiting_under(world: &World) -> Vec<String> {
    let ids = world.ids(Kind::Notification);
    ids.iter()
        .map(|id| id.split('/').next().unwrap().to_owned())
        .collect()
}

fn apis() -> Vec<ServiceApi> {
    let profiles = [profile("AEF", &[Oauth])];
    let of_apf2 = ServiceApi {
        apf_id: "APF2".into(),
        ..api("API2", "traffic", &profiles)
    };
    vec![
        api("API1", "weather", &profiles),
        of_apf2,
        elsewhere(api("API9", "sea", &profiles), "APF9", "DOM9"),
    ]
}

/// TS 23.222 clause 8.29: a function that is left out of an update goes, with its APIs, its subscriptions and what waits for it;
/// those who wait for the end of an API are told.
#[test]
fn a_function_that_is_left_out_takes_its_own_along() {
    let mut before = functions();
    before.push(function("APF2", Role::Apf, 4));
    let apis = apis();
    let (mut world, subscriptions) = world(&before, &apis);
    let held = world.held::<ProviderDomain>("DOM").unwrap();
    let wanted = [
        known(wanted("AMF", 1), "AMF"),
        known(wanted("AEF", 3), "AEF"),
        known(wanted("APF", 4), "APF2"),
    ];
    let plan = planned(request(&wanted), Before::Domain(&held, &stored(&before))).unwrap();
    let (changes, _) = completed(plan, &apis, &subscriptions);
    world.commit(changes).unwrap();

    assert_eq!(world.ids(Kind::ProviderFunction), ["AEF", "AMF", "APF2"]);
    assert_eq!(world.ids(Kind::ServiceApi), ["API2", "API9"]);
    assert_eq!(world.ids(Kind::ServiceApiName), ["DOM/traffic", "DOM9/sea"]);
    assert_eq!(world.ids(Kind::AccessControlPolicy), ["API2/*", "API9/*"]);
    assert_eq!(world.ids(Kind::Revocation).len(), 2);
    assert_eq!(
        world.ids(Kind::Subscription),
        ["AEF/SUB", "AEF9/SUB", "AMF/SUB", "APF2/SUB", "INV/SUB"]
    );
    assert_eq!(
        waiting_under(&world),
        [
            "AEF", "AEF", "AEF9", "AEF9", "AMF", "AMF", "APF2", "APF2", "INV", "INV"
        ]
    );
}

/// TS 23.222 clause 8.28.3: a domain that is removed leaves nothing, whatever the order of its functions; other domains keep
/// what is theirs and are told.
#[test]
fn a_domain_goes_whole() {
    let mut order = functions();
    order.push(function("APF2", Role::Apf, 4));
    for _ in 0..order.len() {
        order.rotate_left(1);
        let apis = apis();
        let (mut world, subscriptions) = world(&order, &apis);
        let held = world.held::<ProviderDomain>("DOM").unwrap();
        let around = around(&apis, &subscriptions, &[]);
        let changes = deregister(&held, &stored(&order), [].iter(), around, &now());
        world.commit(changes.clone()).unwrap();

        assert_eq!(world.ids(Kind::ProviderDomain), [] as [&str; 0]);
        assert_eq!(world.ids(Kind::ProviderFunction), [] as [&str; 0]);
        assert_eq!(world.ids(Kind::ServiceApi), ["API9"]);
        assert_eq!(world.ids(Kind::ServiceApiName), ["DOM9/sea"]);
        assert_eq!(world.ids(Kind::AccessControlPolicy), ["API9/*"]);
        let [left] = world.ids(Kind::Revocation).try_into().unwrap();
        assert!(left.starts_with("AEF9/"), "{left}");
        assert_eq!(world.ids(Kind::Subscription), ["AEF9/SUB", "INV/SUB"]);
        // One from before, and one for each of the two APIs.
        assert_eq!(
            waiting_under(&world),
            ["AEF9", "AEF9", "AEF9", "INV", "INV", "INV"],
            "{:?}",
            order
                .iter()
                .map(|function| &function.id)
                .collect::<Vec<_>>()
        );
        let moved = Key::new(Kind::ProviderDomain, "DOM");
        assert_eq!(world.commit(changes), Err(moved));
    }
}

/// To whom records of a kind belong when a domain goes.
#[derive(Debug, PartialEq)]
enum Owner {
    /// They are the domain's or its functions', and go with them.
    Domain,
    /// They are others', and stay. What they say of the domain goes.
    Other,
    /// They are kept on purpose: what was done, and what counts no more.
    Kept,
}

/// One decision for each kind. A new kind does not compile until it is made here.
fn owner(kind: Kind) -> Owner {
    match kind {
        Kind::ProviderDomain | Kind::ProviderFunction => Owner::Domain,
        Kind::ServiceApi | Kind::ServiceApiName | Kind::AccessControlPolicy => Owner::Domain,
        Kind::Subscription | Kind::Notification | Kind::Revocation => Owner::Domain,
        // What it handed over and nobody used would open APIs that are not there.
        Kind::RegisteredCredential => Owner::Domain,
        // Invokers, and what they agreed on: entries about AEFs that go are taken out, keys included.
        Kind::Invoker | Kind::SecurityContext | Kind::Callback => Owner::Other,
        // What invokers ask for, of whichever provider: the operator decides on it.
        Kind::PendingEnrolment => Owner::Other,
        // Swept once their API is gone.
        Kind::Usage | Kind::DiscoveryPolicy => Owner::Other,
        // So that a credential does not register a second time (D-26).
        Kind::CredentialUse => Owner::Kept,
        Kind::InvocationLog | Kind::RevokedCertificate | Kind::Departure | Kind::Audit => {
            Owner::Kept
        }
        // A rule for an API goes with it, one for a name with the domain whose names they are.
        Kind::TopologyHiding => Owner::Domain,
        Kind::Reporting => Owner::Domain,
        Kind::Account => Owner::Kept,
        Kind::Authority | Kind::TokenKey => Owner::Kept,
        // The operator's. Entries outlive the API that they are about, and so does how long they are kept.
        Kind::OperatorCredential | Kind::LogRetention => Owner::Kept,
    }
}

/// Deregistration has one list of what goes: nothing under an id of the domain is left in any kind that is its own, and no other
/// record names it that could still have an effect.
#[test]
fn nothing_of_a_domain_is_left() {
    let own = |id: &str, role, number: u8| {
        let mut own = function(id, role, number);
        own.certificate.serial = format!("{number:02x}");
        own.renewal.successor = Some(Box::new(crate::state::Successor {
            public_key_text: "next".into(),
            certificate: Certificate {
                serial: format!("{number:02x}a"),
                ..certificate(number + 10)
            },
            onboard_secret: None,
            secret_expires: None,
        }));
        own.renewal.retiring = vec![crate::state::Retiring {
            certificate: Certificate {
                serial: format!("{number:02x}b"),
                ..certificate(number + 20)
            },
            onboard_secret: None,
            secret_expires: None,
            until: "2026-01-31T13:00:00Z".parse().unwrap(),
        }];
        own
    };
    let functions = [
        own("AMF", Role::Amf, 1),
        own("APF", Role::Apf, 2),
        own("AEF", Role::Aef, 3),
    ];
    let apis = apis();
    let (mut world, subscriptions) = world(&functions, &apis);
    let credential = |octet, reach| RegisteredCredential {
        token: digest(octet),
        expires: "2026-02-01T00:00:00Z".parse().unwrap(),
        reach,
        approval: false,
    };
    let credentials = [
        credential(1, domain_only("DOM")),
        credential(2, domain_only("DOM9")),
        credential(3, names(&["weather"])),
    ];
    for credential in &credentials {
        world = world.with(credential);
    }
    let entries = vec![entry_at("AEF", Some(Psk)), entry_at("AEF9", Some(Psk))];
    let agreed = context("INV", entries);
    let elsewhere = context("INV2", vec![entry_at("AEF9", Some(Oauth))]);
    world = world.with(&agreed).with(&elsewhere);
    let contexts = ["INV", "INV2"].map(|id| world.held::<SecurityContext>(id).unwrap());

    let held = world.held::<ProviderDomain>("DOM").unwrap();
    let around = around(&apis, &subscriptions, &contexts);
    let changes = deregister(
        &held,
        &stored(&functions),
        credentials.iter(),
        around,
        &now(),
    );
    world.commit(changes).unwrap();

    // API2 is of another APF of the same domain, which is not among those that go here.
    let ids = ["DOM", "AMF", "APF", "AEF", "API1"];
    for key in world.keys() {
        let names_it = ids
            .iter()
            .any(|id| key.id.split('/').any(|part| part == *id));
        assert!(
            !names_it || owner(key.kind) == Owner::Kept,
            "{key:?} is left"
        );
    }
    assert_eq!(
        world.ids(Kind::RegisteredCredential),
        [digest(2).to_string(), digest(3).to_string()]
    );
    let left = world.held::<SecurityContext>("INV").unwrap().record;
    let at: Vec<&str> = left
        .entries
        .iter()
        .map(|entry| entry.aef_id.as_str())
        .collect();
    assert_eq!((at, left.generation), (vec!["AEF9"], 1));
    assert_eq!(world.held("INV2"), Some(contexts[1].clone()), "untouched");
    assert_eq!(
        world.ids(Kind::RevokedCertificate),
        [
            "1/01", "1/01a", "1/01b", "1/02", "1/02a", "1/02b", "1/03", "1/03a", "1/03b"
        ]
    );
    let revoked = world.held::<RevokedCertificate>("1/03").unwrap().record;
    assert_eq!(revoked.reason, RevocationReason::CessationOfOperation);
    assert_eq!(
        (revoked.revoked, revoked.not_after),
        (now(), certificate(3).not_after)
    );
}

/// TS 23.222 clause 8.13: what an AEF hid does not come to light by its end. It is shown to nobody until the operator decides anew,
/// and rules for what is gone go along.
#[test]
fn what_was_hidden_stays_hidden() {
    use std::sync::Arc;

    use crate::{
        state::{Entry, Hidden, TopologyHiding},
        topology_hiding::{self, Rules},
    };
    let rule = |hidden, aef: &str| TopologyHiding {
        hidden,
        aef_id: aef.into(),
        entry: Entry {
            domain_name: Some("edge.example".to_owned()),
            ..Entry::default()
        },
        routes: Vec::new(),
        since: now(),
        gone: false,
    };
    let named = |domain: &str| Hidden::Name {
        domain: domain.into(),
        name: "weather".to_owned(),
    };
    let all = [
        rule(named("DOM"), "EDGE"),
        rule(named("DOM9"), "EDGE9"),
        rule(Hidden::Api("API2".into()), "EDGE"),
        rule(Hidden::Api("API9".into()), "EDGE"),
    ];
    let mut rules = Rules::default();
    for rule in &all {
        rules.put(Arc::new(versioned(rule.clone())));
    }
    let mut apis = apis();
    apis[2].description.aef_profiles = Some(vec![profile("AEF9", &[Oauth])]);
    let apis: Vec<ServiceApi> = apis
        .into_iter()
        .map(|api| topology_hiding::shown(api.clone(), api.description, &rules))
        .collect();
    assert!(apis.iter().all(|api| api.hidden_by == Some("EDGE".into())));

    let mut before = functions();
    before.push(function("APF2", Role::Apf, 4));
    before.push(function("EDGE", Role::Aef, 5));
    let start = || {
        let (mut world, _) = world(&before, &apis);
        for rule in &all {
            world = world.with(rule);
        }
        world
    };
    let around = || Around {
        apis: apis.iter(),
        rules: &rules,
        subscriptions: [].iter(),
        contexts: [].iter(),
    };

    // The AEF alone.
    let mut world = start();
    let held = world.held::<ProviderDomain>("DOM").unwrap();
    let wanted = [
        ("AMF", 1, "AMF"),
        ("APF", 2, "APF"),
        ("AEF", 3, "AEF"),
        ("APF", 4, "APF2"),
    ]
    .map(|(role, key, id)| known(wanted(role, key), id));
    let plan = planned(request(&wanted), Before::Domain(&held, &stored(&before))).unwrap();
    let (changes, _) = plan.complete(vec![], around(), OVERLAP, &now()).unwrap();
    world.commit(changes).unwrap();
    for id in ["API1", "API2", "API9"] {
        let api = world.held::<ServiceApi>(id).unwrap().record;
        assert_eq!(api.description.aef_profiles, Some(Vec::new()), "{id}");
        assert_eq!(api.as_published().aef_profiles.as_ref().unwrap().len(), 1);
        assert!(!api.is_active());
        assert_eq!(api.hidden_by, None);
    }
    for (id, is_gone) in [
        ("name/DOM/weather", true),
        ("name/DOM9/weather", false),
        ("api/API2", true),
        ("api/API9", true),
    ] {
        let rule = world.held::<TopologyHiding>(id).unwrap().record;
        assert_eq!(rule.gone, is_gone, "{id}");
    }

    // The whole domain.
    let mut world = start();
    let held = world.held::<ProviderDomain>("DOM").unwrap();
    let changes = deregister(&held, &stored(&before), [].iter(), around(), &now());
    world.commit(changes).unwrap();
    assert_eq!(world.ids(Kind::ServiceApi), ["API9"]);
    assert_eq!(
        world.ids(Kind::TopologyHiding),
        ["api/API9", "name/DOM9/weather"]
    );
    assert!(
        world
            .held::<TopologyHiding>("api/API9")
            .unwrap()
            .record
            .gone
    );
}
