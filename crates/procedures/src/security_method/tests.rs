mod generation;
mod grants;
mod psk;
mod selection;

use capif_spec::publish_service::AefProfile;
use serde_json::{Value, json};

use super::*;
use crate::{
    changes::{Key, Kind},
    fixtures::*,
    state::ApiReach,
};

/// An entry that asks for an AEF.
fn at(aef: &str, preferences: &[SecurityMethod]) -> Value {
    json!({ "aefId": aef, "prefSecurityMethods": preferences })
}

/// An entry that asks for an interface, by its host.
fn on(host: &str, preferences: &[SecurityMethod]) -> Value {
    json!({ "interfaceDetails": { "fqdn": host }, "prefSecurityMethods": preferences })
}

fn request(entries: &[Value]) -> ServiceSecurity {
    wire(json!({ "securityInfo": entries, "notificationDestination": DESTINATION }))
}

/// The same request with the feature SecurityInfoPerAPI.
fn per_api(entries: &[Value]) -> ServiceSecurity {
    let mut request = request(entries);
    request.supported_features = Some("F".into());
    request
}

const ORDER: [SecurityMethod; 3] = [Pki, Oauth, Psk];

/// Negotiates by the usual order, over a session that has facts.
fn as_invoker(
    request: ServiceSecurity,
    invoker: &Invoker,
    held: Option<&Versioned<SecurityContext>>,
    apis: &[ServiceApi],
) -> Result<(Changes, ServiceSecurity), Refusal> {
    let (policy, session) = (policy(&ORDER), session(1));
    negotiate(
        request,
        invoker,
        held,
        apis.iter(),
        &policy,
        Some(&session),
        &now(),
    )
}

fn negotiated(
    request: ServiceSecurity,
    held: Option<&Versioned<SecurityContext>>,
    apis: &[ServiceApi],
) -> Result<(SecurityContext, ServiceSecurity), Refusal> {
    let (changes, answer) = as_invoker(request, &invoker("INV"), held, apis)?;
    let (_, context) = written(&changes).remove(0);
    Ok((context, answer))
}

/// The methods that an answer selects.
fn selected(answer: &ServiceSecurity) -> Vec<Option<SecurityMethod>> {
    let entries = answer.security_info.iter();
    entries
        .map(|entry| entry.sel_security_method.clone())
        .collect()
}

/// Every way to put some of the three methods in a row.
fn rows() -> Vec<Vec<SecurityMethod>> {
    let mut rows = vec![Vec::new()];
    let mut longest = rows.clone();
    for _ in 0..3 {
        longest = longest
            .iter()
            .flat_map(|row: &Vec<SecurityMethod>| {
                [Psk, Pki, Oauth]
                    .into_iter()
                    .filter(|method| !row.contains(method))
                    .map(|method| [row.as_slice(), &[method]].concat())
            })
            .collect();
        rows.extend(longest.clone());
    }
    assert_eq!(rows.len(), 1 + 3 + 6 + 6);
    rows
}

/// Every set of the three methods.
fn sets() -> Vec<Vec<SecurityMethod>> {
    let mut sets = rows();
    sets.retain(|row| row.is_sorted_by_key(SecurityMethod::as_str));
    assert_eq!(sets.len(), 8);
    sets
}

/// The rule as the standard tells it: strike from the operator's order what the invoker or one of the interfaces cannot do; the
/// first that is left.
fn expected(
    order: &[SecurityMethod],
    preferences: &[SecurityMethod],
    offers: &[&[SecurityMethod]],
) -> Option<SecurityMethod> {
    let mut left = order.to_vec();
    left.retain(|method| preferences.contains(method));
    for offer in offers {
        left.retain(|method| offer.contains(method));
    }
    left.first().cloned()
}

/// TS 33.122 clause 6.3: the CCF selects from what the invoker and the AEF can do, by local policy; without a common method the
/// entry is answered without one (TS 29.222 table 8.5.4.2.3-1). Every preference, offer and order there is.
#[test]
fn the_first_of_the_order_that_both_sides_can_do() {
    let invoker = invoker("INV");
    for offer in sets() {
        let apis = [api("A", "weather", &[profile("AEF", &offer)])];
        for preferences in rows().into_iter().filter(|row| !row.is_empty()) {
            let request = request(&[at("AEF", &preferences)]);
            for order in rows() {
                let (changes, answer) = negotiate(
                    request.clone(),
                    &invoker,
                    None,
                    apis.iter(),
                    &policy(&order),
                    Some(&session(1)),
                    &now(),
                )
                .unwrap();
                let expected = expected(&order, &preferences, &[&offer]);
                let (_, context) = written::<SecurityContext>(&changes).remove(0);
                let kept = &context.entries[0].information;
                assert_eq!(kept.sel_security_method, expected);
                assert_eq!(
                    selected(&answer),
                    [expected],
                    "{preferences:?} at {offer:?} by {order:?}"
                );
            }
        }
    }
}

/// TS 29.222 clause 8.2.4.2.3: what an interface names counts instead of the profile's methods (D-34); an entry about the AEF
/// needs a method that is good everywhere there, one about an interface needs it on that one. Every combination of a profile
/// with two interfaces, of which either may name none.
#[test]
fn interfaces_win_over_their_profile() {
    for (own, first) in sets()
        .into_iter()
        .flat_map(|own| sets().into_iter().map(move |first| (own.clone(), first)))
    {
        for second in sets() {
            let interfaces = [("a.example", first.as_slice()), ("b.example", &second)];
            let apis = [api(
                "A",
                "weather",
                &[profile_with("AEF", &own, &interfaces)],
            )];
            let effective = |named: &[SecurityMethod]| match named {
                [] => own.clone(),
                named => named.to_vec(),
            };
            let (first, second) = (effective(&first), effective(&second));
            for preferences in sets().into_iter().filter(|set| !set.is_empty()) {
                let entries = [
                    at("AEF", &preferences),
                    on("a.example", &preferences),
                    on("b.example", &preferences),
                ];
                let (_, answer) = negotiated(request(&entries), None, &apis).unwrap();
                let whole = expected(&ORDER, &preferences, &[&first, &second]);
                // One entry for each of the two, if each has a key (D-06).
                let times = if whole == Some(Psk) { 2 } else { 1 };
                let mut all = vec![whole; times];
                all.push(expected(&ORDER, &preferences, &[&first]));
                all.push(expected(&ORDER, &preferences, &[&second]));
                assert_eq!(
                    selected(&answer),
                    all,
                    "{preferences:?} at {own:?} with {interfaces:?}"
                );
            }
        }
    }
}

/// TS 33.122 clause 6.3: an entry about an AEF is about all the APIs there that the invoker reaches, and no others.
#[test]
fn an_entry_about_an_aef_needs_a_method_for_all_its_apis() {
    let apis = [
        api(
            "A1",
            "weather",
            &[profile("AEF", &[Pki, Oauth]), profile("AEF2", &[Psk])],
        ),
        api("A2", "traffic", &[profile("AEF", &[Oauth])]),
        api("A3", "maps", &[profile("AEF", &[Psk])]),
    ];
    let cases: [(&[&str], Option<SecurityMethod>); 5] = [
        (&["weather"], Some(Pki)),
        (&["traffic"], Some(Oauth)),
        (&["weather", "traffic"], Some(Oauth)),
        (&["weather", "maps"], None),
        (&["weather", "traffic", "maps"], None),
    ];
    for (reach, expected) in cases {
        let invoker = invoker_within("INV", names(reach));
        let wanted = request(&[at("AEF", &[Psk, Pki, Oauth])]);
        let (_, answer) = as_invoker(wanted, &invoker, None, &apis).unwrap();
        assert_eq!(selected(&answer), [expected], "{reach:?}");
    }
}

/// `methods_of` is the union over interfaces, in order, each once.
#[test]
fn methods_of_a_profile() {
    for own in sets() {
        assert_eq!(methods_of(&profile("AEF", &own)), own);
        for first in rows() {
            let interfaces: [(&str, &[SecurityMethod]); 2] = [("a", &first), ("b", &[Oauth])];
            let mut union = if first.is_empty() {
                own.clone()
            } else {
                first.clone()
            };
            if !union.contains(&Oauth) {
                union.push(Oauth);
            }
            assert_eq!(methods_of(&profile_with("AEF", &own, &interfaces)), union);
        }
    }
}

/// TS 29.222 clause 8.5.4.2.3: an entry names exactly one of AEF and interface, and at least one method; a request holds at least
/// one entry, and at most so many.
#[test]
fn entries_that_are_refused() {
    let apis = [api(
        "A",
        "weather",
        &[profile_with("AEF", &[Pki], &[("a.example", &[])])],
    )];
    let good = || at("AEF", &[Pki]);
    let mut both = good();
    both["interfaceDetails"] = json!({ "fqdn": "a.example" });
    let neither = json!({ "prefSecurityMethods": ["PKI"] });
    let cases = [
        (vec![], "/securityInfo"),
        (vec![good(); ENTRIES_MAX + 1], "/securityInfo"),
        (vec![good(), both], "/securityInfo/1"),
        (vec![neither], "/securityInfo/0"),
        (
            vec![good(), at("AEF", &[])],
            "/securityInfo/1/prefSecurityMethods",
        ),
        // Said of the entry before anything is looked up for it.
        (vec![at("AEF9", &[])], "/securityInfo/0/prefSecurityMethods"),
    ];
    for (entries, culprit) in cases {
        let refusal = negotiated(request(&entries), None, &apis).unwrap_err();
        assert!(
            matches!(&refusal, Refusal::Malformed { pointer, .. } if pointer == culprit),
            "{culprit}: {refusal:?}"
        );
    }
    let most = vec![good(); ENTRIES_MAX];
    let (context, _) = negotiated(request(&most), None, &apis).unwrap();
    assert_eq!(context.entries.len(), ENTRIES_MAX);
}

/// TS 33.122 clause 6.3: the refusal does not tell an AEF that is out of reach from one that there is not.
#[test]
fn out_of_reach_reads_like_unknown() {
    let apis = [
        api(
            "A1",
            "weather",
            &[profile_with("AEF", &[Pki], &[("a.example", &[])])],
        ),
        api(
            "A2",
            "traffic",
            &[profile_with("AEF2", &[Pki], &[("b.example", &[])])],
        ),
    ];
    let attempt = |entry: Value| {
        let invoker = invoker_within("INV", names(&["weather"]));
        as_invoker(per_api(&[entry]), &invoker, None, &apis).map(drop)
    };
    let of = |mut entry: Value, api: &str| {
        entry["apiId"] = json!(api);
        entry
    };
    let beyond = |aef: &str| {
        Err(Refusal::AefOutOfReach {
            aef_id: aef.to_owned(),
        })
    };
    let both: &[SecurityMethod] = &[Pki];
    assert_eq!(attempt(at("AEF", both)), Ok(()));
    assert_eq!(attempt(at("AEF2", both)), beyond("AEF2"));
    assert_eq!(attempt(at("AEF9", both)), beyond("AEF9"));
    assert_eq!(attempt(on("a.example", both)), Ok(()));
    assert_eq!(attempt(on("b.example", both)), beyond("(interfaceDetails)"));
    assert_eq!(attempt(on("c.example", both)), beyond("(interfaceDetails)"));
    assert_eq!(attempt(of(at("AEF", both), "A1")), Ok(()));
    assert_eq!(attempt(of(at("AEF", both), "A2")), beyond("AEF"));
    assert_eq!(attempt(of(at("AEF", both), "A9")), beyond("AEF"));
    assert_eq!(attempt(of(at("AEF2", both), "A2")), beyond("AEF2"));
    assert_eq!(attempt(of(on("a.example", both), "A1")), Ok(()));
    assert_eq!(
        attempt(of(on("a.example", both), "A2")),
        beyond("(interfaceDetails)")
    );
}

/// TS 29.222 clause 8.2.4.2.3: an interface is known by its address, port and prefix; what else the invoker says of it is not
/// compared.
#[test]
fn an_interface_is_known_by_its_address() {
    let offered = json!({
        "ipv4Addr": "192.0.2.1", "port": 8443, "apiPrefix": "/p", "securityMethods": ["PKI"],
    });
    let mut profile = profile_with("AEF", &[], &[]);
    profile.interface_descriptions = Some(vec![wire(offered.clone())]);
    let apis = [api("A", "weather", &[profile])];
    let attempt = |changes: Value| {
        let mut interface = offered.clone();
        json_patch::merge(&mut interface, &changes);
        let entry =
            json!({ "interfaceDetails": interface, "prefSecurityMethods": ["PKI", "OAUTH"] });
        negotiated(request(&[entry]), None, &apis)
    };
    for same in [
        json!({}),
        json!({ "securityMethods": null }),
        json!({ "securityMethods": ["OAUTH"] }),
        json!({ "grantTypes": ["CLIENT_CREDENTIALS"] }),
    ] {
        let (context, answer) = attempt(same).unwrap();
        assert_eq!(context.entries[0].aef_id.as_str(), "AEF");
        assert_eq!(selected(&answer), [Some(Pki)]);
        assert_eq!(answer.security_info[0].aef_id, None);
    }
    for another in [
        json!({ "ipv4Addr": "192.0.2.2" }),
        json!({ "ipv4Addr": null, "ipv6Addr": "2001:db8::1" }),
        json!({ "ipv4Addr": null, "fqdn": "192.0.2.1" }),
        json!({ "port": 443 }),
        json!({ "port": null }),
        json!({ "apiPrefix": "/q" }),
        json!({ "apiPrefix": null }),
    ] {
        assert!(attempt(another.clone()).is_err(), "{another}");
    }
}

/// TS 29.222 clause 8.5.4.2.3: `apiId` counts, and is echoed, with the feature SecurityInfoPerAPI only.
#[test]
fn single_apis_need_their_feature() {
    let apis = [
        api("A1", "weather", &[profile("AEF", &[Pki])]),
        api("A2", "traffic", &[profile("AEF", &[Oauth])]),
    ];
    let of = |api: &str| {
        let mut entry = at("AEF", &[Psk, Pki, Oauth]);
        entry["apiId"] = json!(api);
        entry
    };
    let entries = [of("A1"), of("A2")];
    let (context, answer) = negotiated(per_api(&entries), None, &apis).unwrap();
    assert_eq!(answer.supported_features, Some("7".into()));
    assert_eq!(selected(&answer), [Some(Pki), Some(Oauth)]);
    for (index, id) in ["A1", "A2"].into_iter().enumerate() {
        assert_eq!(answer.security_info[index].api_id, Some(id.into()));
        assert_eq!(context.entries[index].api_id, Some(id.into()));
    }
    for features in [None, Some("3"), Some("0")] {
        let mut request = request(&entries);
        request.supported_features = features.map(SupportedFeatures::from);
        let (context, answer) = negotiated(request, None, &apis).unwrap();
        assert_eq!(answer.supported_features, features.map(Into::into));
        assert_eq!(selected(&answer), [None, None], "about both APIs");
        for index in [0, 1] {
            assert_eq!(answer.security_info[index].api_id, None);
            assert_eq!(context.entries[index].api_id, None);
        }
    }
}

/// TS 29.222 clause 5.6.2.2: the answer has an entry for each of the request, in its order, with the method and what the invoker
/// needs to know of it. What only the CCF says is not taken from the request.
#[test]
fn the_answer_is_the_ccfs() {
    let apis = [
        api("A1", "weather", &[profile("AEF1", &[Oauth])]),
        api("A2", "traffic", &[profile("AEF2", &[Psk])]),
    ];
    let mut first = at("AEF2", &[Pki]);
    let mut second = at("AEF1", &[Psk, Oauth]);
    for entry in [&mut first, &mut second] {
        entry["selSecurityMethod"] = json!("PKI");
        entry["authenticationInfo"] = json!("mine");
        entry["authorizationInfo"] = json!("mine");
        entry["grantType"] = json!(["AUTHORIZATION_CODE"]);
        entry["vendorSpecific-000001"] = json!(true);
    }
    let mut request = request(&[first, second]);
    request.request_test_notification = Some(true);
    request.websock_notif_config = Some(Default::default());
    let (context, answer) = negotiated(request, None, &apis).unwrap();
    assert_eq!(
        serde_json::to_value(&answer).unwrap(),
        json!({
            "securityInfo": [
                {
                    "aefId": "AEF2",
                    "prefSecurityMethods": ["PKI"],
                    "vendorSpecific-000001": true,
                },
                {
                    "aefId": "AEF1",
                    "prefSecurityMethods": ["PSK", "OAUTH"],
                    "selSecurityMethod": "OAUTH",
                    "authenticationInfo": "{\"method\":\"OAUTH\"}",
                    "vendorSpecific-000001": true,
                },
            ],
            "notificationDestination": DESTINATION,
        })
    );
    let kept: Vec<&SecurityInformation> = context
        .entries
        .iter()
        .map(|entry| &entry.information)
        .collect();
    assert_eq!(kept, answer.security_info.iter().collect::<Vec<_>>());
    assert_eq!(context.notification_destination.as_str(), DESTINATION);
    assert_eq!(context.features, SupportedFeatures::from("0"));
}

/// A context is made for an invoker that is there, anew or in place of the one that was read.
#[test]
fn a_context_replaces_the_one_that_was_read() {
    let apis = [api("A", "weather", &[profile("AEF", &[Pki])])];
    let inv = invoker("INV");
    let attempt = |held: Option<&Versioned<SecurityContext>>| {
        let wanted = request(&[at("AEF", &[Pki])]);
        as_invoker(wanted, &inv, held, &apis).unwrap().0
    };
    let mut world = World::default().with(&inv);
    let first = attempt(None);
    assert_eq!(
        first.steps[0],
        requirement(Kind::Invoker, "INV", Expect::Present)
    );
    assert_eq!(world.commit(first.clone()), Ok(()));
    let moved = Key::new(Kind::SecurityContext, "INV");
    assert_eq!(world.commit(first.clone()), Err(moved.clone()));
    let held = world.held::<SecurityContext>("INV").unwrap();
    assert_eq!(world.commit(attempt(Some(&held))), Ok(()));
    assert_eq!(world.commit(attempt(Some(&held))), Err(moved));
    let gone = Key::new(Kind::Invoker, "INV");
    assert_eq!(World::default().commit(first), Err(gone));
}
