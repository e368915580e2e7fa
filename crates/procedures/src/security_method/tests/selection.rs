//! Who has a say in the selection: the operator, by API too, and the time at which the invoker wants access.

use super::*;

fn by_policy(
    request: ServiceSecurity,
    apis: &[ServiceApi],
    policy: &Policy,
    session: Option<&Session>,
) -> Result<ServiceSecurity, Refusal> {
    let session = session.map(|session| session as &dyn PskSession);
    let invoker = invoker("INV");
    negotiate(
        request,
        &invoker,
        None,
        apis.iter(),
        policy,
        session,
        &now(),
    )
    .map(|(_, answer)| answer)
}

/// TS 33.122 clause 6.3: local policy can differ by API; what it says of an API counts in the place of the general list, and an
/// entry about several APIs needs a method that each of theirs allows.
#[test]
fn policy_differs_by_api() {
    let everything = [Psk, Pki, Oauth];
    let apis = [
        api("A1", "weather", &[profile("AEF", &everything)]),
        api("A2", "traffic", &[profile("AEF", &everything)]),
    ];
    let of = |api: &str| {
        let mut entry = at("AEF", &everything);
        entry["apiId"] = json!(api);
        entry
    };
    type Lists<'a> = &'a [(&'a str, &'a [SecurityMethod])];
    type Case<'a> = (Lists<'a>, [Option<SecurityMethod>; 3]);
    // The answer about weather, about traffic, and about both.
    let cases: [Case<'_>; 9] = [
        (&[], [Some(Pki), Some(Pki), Some(Pki)]),
        (&[("weather", &[Psk])], [Some(Psk), Some(Pki), Some(Psk)]),
        (
            &[("weather", &[Oauth, Pki])],
            [Some(Oauth), Some(Pki), Some(Pki)],
        ),
        (
            &[("weather", &[Oauth, Pki]), ("traffic", &[Oauth, Pki])],
            [Some(Oauth), Some(Oauth), Some(Oauth)],
        ),
        (&[("weather", &[])], [None, Some(Pki), None]),
        (
            &[("weather", &[Psk]), ("traffic", &[Oauth])],
            [Some(Psk), Some(Oauth), None],
        ),
        (&[("Weather", &[])], [Some(Pki), Some(Pki), Some(Pki)]),
        (
            &[("traffic", &[Psk, Oauth])],
            [Some(Pki), Some(Psk), Some(Oauth)],
        ),
        (&[("weather", &[]), ("traffic", &[])], [None, None, None]),
    ];
    for (lists, expected) in cases {
        let policy = Policy {
            by_api: lists
                .iter()
                .map(|(name, methods)| ((*name).to_owned(), methods.to_vec()))
                .collect(),
            ..policy(&ORDER)
        };
        let entries = [of("A1"), of("A2"), at("AEF", &everything)];
        let answer = by_policy(per_api(&entries), &apis, &policy, Some(&session(1))).unwrap();
        assert_eq!(selected(&answer), expected, "{lists:?}");
    }
}

/// A list for one API can allow what the general one does not.
#[test]
fn an_api_can_be_allowed_more() {
    let apis = [
        api("A1", "weather", &[profile("AEF", &[Psk, Oauth])]),
        api("A2", "traffic", &[profile("AEF", &[Psk, Oauth])]),
    ];
    let wider = |one: &[SecurityMethod], other: &[SecurityMethod]| Policy {
        by_api: [("weather", one), ("traffic", other)]
            .map(|(name, methods)| (name.to_owned(), methods.to_vec()))
            .into(),
        ..policy(&[Pki])
    };
    let cases = [
        (wider(&[Oauth, Psk], &[Oauth, Psk]), Some(Oauth)),
        (wider(&[Psk, Oauth], &[Psk, Oauth]), Some(Psk)),
        // Their orders differ and the general one knows neither: the words decide, not the order of the APIs.
        (wider(&[Oauth, Psk], &[Psk, Oauth]), Some(Oauth)),
        (wider(&[Psk, Oauth], &[Oauth, Psk]), Some(Oauth)),
    ];
    for (policy, expected) in cases {
        let wanted = request(&[at("AEF", &[Psk, Oauth])]);
        let answer = by_policy(wanted, &apis, &policy, Some(&session(1))).unwrap();
        assert_eq!(selected(&answer), [expected], "{policy:?}");
    }
}

/// TS 33.122 clause 6.3, D-35: who wants access with the call itself gets Method 3 or none, since the others need a handshake that
/// knows the invoker beforehand.
#[test]
fn access_at_invocation_is_by_token() {
    for offer in sets() {
        let apis = [api("A", "weather", &[profile("AEF", &offer)])];
        for preferences in sets().into_iter().filter(|set| !set.is_empty()) {
            for order in rows() {
                for (scenario, allowed) in [
                    (None, &[Psk, Pki, Oauth][..]),
                    (Some("before-invocation"), &[Psk, Pki, Oauth]),
                    (Some("at-invocation"), &[Oauth]),
                ] {
                    let mut wanted = at("AEF", &preferences);
                    if let Some(scenario) = scenario {
                        wanted[vendor::MEMBER] = json!({ "accessScenario": scenario });
                    }
                    let (policy, session) = (policy(&order), session(1));
                    let answer =
                        by_policy(request(&[wanted]), &apis, &policy, Some(&session)).unwrap();
                    assert_eq!(
                        selected(&answer),
                        [expected(&order, &preferences, &[&offer, allowed])],
                        "{scenario:?} {preferences:?} at {offer:?} by {order:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn terms_that_are_none_are_refused() {
    let apis = [api("A", "weather", &[profile("AEF", &[Oauth])])];
    for (terms, culprit) in [
        (json!({ "accessScenario": "later" }), "/accessScenario"),
        (json!({ "accessScenario": null }), "/accessScenario"),
        (json!({ "pskProfile": "A1" }), "/pskProfile"),
        (json!("at-invocation"), ""),
    ] {
        let mut wanted = at("AEF", &[Oauth]);
        wanted[vendor::MEMBER] = terms;
        let entries = [at("AEF", &[Oauth]), wanted];
        let refusal = negotiated(request(&entries), None, &apis).unwrap_err();
        let expected = format!("/securityInfo/1/{}{culprit}", vendor::MEMBER);
        assert!(
            matches!(&refusal, Refusal::Malformed { pointer, .. } if *pointer == expected),
            "{expected}: {refusal:?}"
        );
    }
}

/// The invoker is told that a token counts with its certificate alone, where that is so (TS 33.122 clause 6.5.2.3).
#[test]
fn the_invoker_is_told_of_mutual_tls() {
    let told = |mutual: &[bool], by_policy_too: bool, method: &SecurityMethod| {
        let hosts: Vec<String> = (0..mutual.len()).map(|i| format!("h{i}.example")).collect();
        let interfaces: Vec<(&str, &[SecurityMethod])> =
            hosts.iter().map(|host| (host.as_str(), &[][..])).collect();
        let mut profile = profile_with("AEF", &[Pki, Oauth], &interfaces);
        let listed = profile.interface_descriptions.iter_mut().flatten();
        for (interface, mutual) in listed.zip(mutual) {
            interface.extra = crate::fixtures::vendor(json!({ "oauthMutualTls": mutual }));
        }
        let apis = [api("A", "weather", &[profile])];
        let policy = Policy {
            certificate_bound_tokens: by_policy_too,
            ..policy(&ORDER)
        };
        let wanted = request(&[at("AEF", std::slice::from_ref(method))]);
        let answer = by_policy(wanted, &apis, &policy, None).unwrap();
        let text = answer.security_info[0].authentication_info.clone();
        serde_json::from_str::<Value>(&text.unwrap()).unwrap()
    };
    let plain = json!({ "method": "OAUTH" });
    let mutual = json!({ "method": "OAUTH", "mutualTls": true });
    assert_eq!(told(&[false], false, &Oauth), plain);
    assert_eq!(told(&[true], false, &Oauth), mutual);
    assert_eq!(told(&[false, true], false, &Oauth), mutual);
    assert_eq!(told(&[false], true, &Oauth), mutual);
    for by_policy in [false, true] {
        assert_eq!(told(&[true], by_policy, &Pki), json!({ "method": "PKI" }));
    }
}

/// Numbers that look drawn, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % bound).unwrap()
    }

    fn pick<T: Clone>(&mut self, among: &[T]) -> T {
        among[self.below(among.len() as u64)].clone()
    }

    fn flip(&mut self) -> bool {
        self.below(2) == 1
    }
}

/// R-6.3-07: over drawn worlds, what is selected is in every party's set, and is what comes first for the operator; nothing is
/// selected only if they have nothing in common.
#[test]
fn the_selection_is_in_the_intersection() {
    let mut numbers = Numbers(1);
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for round in 0..6_000 {
        let hosts = ["a.example", "b.example", "c.example"];
        let names = ["weather", "traffic", "maps"];
        let apis: Vec<ServiceApi> = (0..1 + numbers.below(3))
            .map(|index| {
                let mut interfaces = Vec::new();
                for host in hosts {
                    if numbers.flip() {
                        interfaces.push((host, numbers.pick(&sets())));
                    }
                }
                let listed: Vec<(&str, &[SecurityMethod])> = interfaces
                    .iter()
                    .map(|(host, methods)| (*host, methods.as_slice()))
                    .collect();
                let own = numbers.pick(&sets());
                let profile = if listed.is_empty() {
                    profile("AEF", &own)
                } else {
                    profile_with("AEF", &own, &listed)
                };
                api(&format!("A{index}"), names[index], &[profile])
            })
            .collect();
        let mut policy = policy(&numbers.pick(&rows()));
        for name in names {
            if numbers.below(3) == 0 {
                policy.by_api.insert(name.to_owned(), numbers.pick(&rows()));
            }
        }
        let session = numbers.flip().then(|| session(1));
        let preferences = numbers.pick(&rows()[1..]);
        let at_invocation = numbers.below(4) == 0;
        let host = numbers.flip().then(|| numbers.pick(&hosts));
        let mut wanted = match host {
            Some(host) => on(host, &preferences),
            None => at("AEF", &preferences),
        };
        if at_invocation {
            wanted[vendor::MEMBER] = json!({ "accessScenario": "at-invocation" });
        }
        let of_one = numbers.flip().then(|| numbers.pick(&apis).id);
        if let Some(id) = &of_one {
            wanted["apiId"] = json!(id);
        }

        // Everybody's set, as the clause lists them.
        let mut parties = vec![preferences.clone()];
        if at_invocation {
            parties.push(vec![Oauth]);
        }
        if session.is_none() {
            parties.push(vec![Pki, Oauth]);
        }
        let mut lists: Vec<Vec<SecurityMethod>> = Vec::new();
        for api in &apis {
            if of_one.as_ref().is_some_and(|id| *id != api.id) {
                continue;
            }
            for profile in api.description.aef_profiles.iter().flatten() {
                let own = profile.security_methods.clone().unwrap_or_default();
                let listed = profile.interface_descriptions.clone().unwrap_or_default();
                let mut offers: Vec<Vec<SecurityMethod>> = listed
                    .iter()
                    .filter(|interface| host.is_none() || interface.fqdn.as_deref() == host)
                    .map(|interface| interface.security_methods.clone().unwrap_or(own.clone()))
                    .collect();
                if listed.is_empty() && host.is_none() {
                    offers.push(own);
                }
                if !offers.is_empty() {
                    let name = &api.description.api_name;
                    lists.push(policy.by_api.get(name).unwrap_or(&policy.methods).clone());
                }
                parties.extend(offers);
            }
        }
        let outcome = by_policy(per_api(&[wanted]), &apis, &policy, session.as_ref());
        if lists.is_empty() {
            assert!(matches!(outcome, Err(Refusal::AefOutOfReach { .. })));
            continue;
        }
        parties.extend(lists.clone());
        let mut common = vec![Psk, Pki, Oauth];
        common.retain(|method| parties.iter().all(|party| party.contains(method)));
        let answers = selected(&outcome.unwrap());
        let selected = answers[0].clone();
        assert!(answers.iter().all(|answer| *answer == selected));
        assert!(answers.len() == 1 || selected == Some(Psk));
        match &selected {
            None => assert_eq!(common, [], "round {round}"),
            Some(method) => assert!(common.contains(method), "round {round}"),
        }
        if lists.iter().all(|list| *list == lists[0]) {
            let first = lists[0].iter().find(|method| common.contains(method));
            assert_eq!(selected.as_ref(), first, "round {round}");
        }
        *seen.entry(format!("{selected:?}")).or_default() += 1;
    }
    // Each outcome came up often enough to mean something.
    assert_eq!(seen.len(), 4, "{seen:?}");
    assert!(seen.values().all(|times| *times > 100), "{seen:?}");
}

/// An interface that two AEFs publish is of neither in particular: whoever means one of them says which.
#[test]
fn an_interface_of_two_aefs_is_named_by_its_aef() {
    let published = |id: &str, aef: &str| {
        let profile = profile_with(aef, &[Pki], &[("a.example", &[])]);
        elsewhere(api(id, id, &[profile]), aef, aef)
    };
    let apis = [published("A1", "AEF1"), published("A2", "AEF2")];
    let refusal = negotiated(request(&[on("a.example", &[Pki])]), None, &apis).unwrap_err();
    assert!(
        matches!(&refusal, Refusal::Malformed { pointer, .. } if pointer == "/securityInfo/0/interfaceDetails"),
        "{refusal:?}"
    );
    let (context, _) = negotiated(request(&[at("AEF1", &[Pki])]), None, &apis).unwrap();
    assert_eq!(context.entries[0].aef_id.as_str(), "AEF1");
    let mut one = on("a.example", &[Pki]);
    one["apiId"] = json!("A1");
    let (context, _) = negotiated(per_api(&[one]), None, &apis).unwrap();
    assert_eq!(context.entries[0].aef_id.as_str(), "AEF1");
}

/// One entry of a request can become many of a context, so its text is bounded; what the CCF says in its place does not count.
#[test]
fn entries_are_bounded() {
    let apis = [api("A", "weather", &[profile("AEF", &[Pki])])];
    let padded = |member: &str, length: usize| {
        let mut entry = at("AEF", &[Pki]);
        entry[member] = json!("x".repeat(length));
        negotiated(request(&[entry]), None, &apis)
    };
    assert!(padded("vendorSpecific-x", ENTRY_BYTES_MAX / 2).is_ok());
    assert!(padded("authenticationInfo", ENTRY_BYTES_MAX).is_ok());
    let refusal = padded("vendorSpecific-x", ENTRY_BYTES_MAX).unwrap_err();
    assert!(
        matches!(&refusal, Refusal::Malformed { pointer, .. } if pointer == "/securityInfo/0"),
        "{refusal:?}"
    );
}

/// TS 33.122 clause 6.5.3: where tokens are had by way of a resource owner alone, none for the invoker alone is to be had; an
/// interface may say otherwise than its profile.
#[test]
fn a_resource_owner_is_not_passed_by() {
    let of = |own: Option<Value>, of_interface: Option<Value>, other: &[SecurityMethod]| {
        let methods: Vec<SecurityMethod> = [&[Oauth], other].concat();
        let mut profile = profile_with("AEF", &methods, &[("a", &[])]);
        profile.grant_types = own.map(wire);
        let interface = &mut profile.interface_descriptions.as_mut().unwrap()[0];
        interface.grant_types = of_interface.map(wire);
        [api("A1", "weather", &[profile])]
    };
    let owner = || Some(json!(["AUTHORIZATION_CODE"]));
    let both = || Some(json!(["AUTHORIZATION_CODE", "CLIENT_CREDENTIALS"]));
    for (apis, expected) in [
        (of(None, None, &[]), Some(Oauth)),
        (of(both(), None, &[]), Some(Oauth)),
        (of(owner(), None, &[]), None),
        (of(owner(), None, &[Pki]), Some(Pki)),
        (of(owner(), both(), &[]), Some(Oauth)),
        (of(both(), owner(), &[]), None),
    ] {
        let wanted = request(&[at("AEF", &[Oauth, Pki])]);
        let policy = Policy {
            methods: vec![Oauth, Pki],
            ..Policy::default()
        };
        let answer = by_policy(wanted, &apis, &policy, None).unwrap();
        assert_eq!(selected(&answer), [expected]);
    }
    // What was granted before it was published so is granted no more.
    let entry = entry_at("AEF", Some(Oauth));
    let policy = Policy {
        methods: vec![Oauth],
        ..Policy::default()
    };
    for (apis, count) in [(of(None, None, &[]), 1), (of(owner(), None, &[]), 0)] {
        let invoker = invoker("INV");
        assert_eq!(
            granted_by(&entry, &invoker, apis.iter(), &policy).count(),
            count
        );
    }
}
