//! Removal of functions and of whole domains.

use super::*;

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
    let plan = planned(request(&wanted), Before::Domain(&held, &before)).unwrap();
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
        let changes = deregister(&held, &order, apis.iter(), subscriptions.iter(), &now());
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
