//! Update of a domain (TS 23.222 clause 8.29).

use super::*;

/// TS 23.222 clause 8.29: an update keeps ids. The same key at the same hosts keeps its certificate, another key or another host
/// gets a new one, and a function that the domain did not have is new.
#[test]
fn an_update_keeps_renews_and_adds() {
    let held = versioned(domain(&functions()));
    let mut hosted = functions();
    hosted[2].hosts = vec!["gw.example".to_owned()];
    type Case<'a> = (
        &'a str,
        Vec<ProviderFunction>,
        Vec<Value>,
        &'a [(&'a str, u8)],
        Vec<(String, String, String)>,
    );
    let all = |aef: Value| {
        vec![
            known(wanted("AMF", 1), "AMF"),
            known(wanted("APF", 2), "APF"),
            aef,
        ]
    };
    let rows = |aef: (&str, u8)| {
        vec![
            row("AMF", "AMF", 1),
            row("APF", "APF", 2),
            row(aef.0, "AEF", aef.1),
        ]
    };
    let cases: [Case<'_>; 9] = [
        (
            "nothing new",
            functions(),
            all(known(wanted("AEF", 3), "AEF")),
            &[],
            rows(("AEF", 3)),
        ),
        (
            "known by the key alone",
            functions(),
            vec![wanted("AMF", 1), wanted("APF", 2), wanted("AEF", 3)],
            &[],
            rows(("AEF", 3)),
        ),
        (
            "a new key",
            functions(),
            all(known(wanted("AEF", 9), "AEF")),
            &[("AEF", 9)],
            rows(("AEF", 9)),
        ),
        (
            "a new host",
            functions(),
            all(serving(
                known(wanted("AEF", 3), "AEF"),
                json!(["gw.example"]),
            )),
            &[("AEF", 3)],
            rows(("AEF", 3)),
        ),
        (
            "the same host",
            hosted.clone(),
            all(serving(
                known(wanted("AEF", 3), "AEF"),
                json!(["gw.example"]),
            )),
            &[],
            rows(("AEF", 3)),
        ),
        (
            "no host any more",
            hosted,
            all(known(wanted("AEF", 3), "AEF")),
            &[("AEF", 3)],
            rows(("AEF", 3)),
        ),
        (
            "a new key without an id is a new function",
            functions(),
            all(wanted("AEF", 9)),
            &[("AEF-1", 9)],
            rows(("AEF-1", 9)),
        ),
        (
            "a known key in another role is a new function",
            functions(),
            all(wanted("AEF", 2)),
            &[("AEF-1", 2)],
            rows(("AEF-1", 2)),
        ),
        (
            "also instead of the one that had it",
            functions(),
            vec![known(wanted("AMF", 1), "AMF"), wanted("AEF", 2)],
            &[("AEF-1", 2)],
            vec![row("AMF", "AMF", 1), row("AEF-1", "AEF", 2)],
        ),
    ];
    for (case, before, wanted, certified, rows) in cases {
        let plan = planned(request(&wanted), Before::Domain(&held, &stored(&before))).unwrap();
        let certified: Vec<_> = certified
            .iter()
            .map(|(id, key)| (*id, digest(*key)))
            .collect();
        assert_eq!(orders(&plan), certified, "{case}");
        let (changes, answer) = completed(plan, &[], &[]);
        assert_eq!(answered(&answer), rows, "{case}");
        let (expect, made) = written::<ProviderDomain>(&changes).remove(0);
        assert_eq!(expect, Expect::At(REVISION), "{case}");
        let ids: Vec<&str> = rows.iter().map(|(id, ..)| id.as_str()).collect();
        let made: Vec<&str> = made.functions.iter().map(|id| id.as_str()).collect();
        assert_eq!(made, ids, "{case}");
        assert_eq!(
            written::<crate::state::CredentialUse>(&changes),
            [],
            "{case}"
        );
    }
}

/// TS 29.222 clause 5.11.2.3: an update follows the order of its own request and takes what the provider says of domain and
/// functions; features stay unless they are negotiated anew.
#[test]
fn an_update_takes_order_and_information() {
    let before = functions();
    let mut held = versioned(domain(&before));
    held.record.information = Some("before".to_owned());
    let mut details = request(&[
        known(wanted("AEF", 3), "AEF"),
        known(wanted("AMF", 1), "AMF"),
        known(wanted("APF", 2), "APF"),
    ]);
    details.api_prov_dom_info = Some("after".to_owned());
    details.api_prov_funcs.as_mut().unwrap()[0].api_prov_func_info = Some("a gateway".to_owned());
    for (wanted, agreed) in [(None, "1"), (Some("0"), "0"), (Some("3"), "1")] {
        details.supp_feat = wanted.map(SupportedFeatures::from);
        details.api_prov_dom_id = wanted.map(|_| "DOM".into());
        let plan = planned(details.clone(), Before::Domain(&held, &stored(&before))).unwrap();
        let (changes, answer) = completed(plan, &[], &[]);
        assert_eq!(answer.supp_feat, wanted.map(|_| agreed.into()));
        assert_eq!(answer.api_prov_dom_id, Some("DOM".into()));
        let (_, made) = written::<ProviderDomain>(&changes).remove(0);
        assert_eq!(made.functions, ["AEF".into(), "AMF".into(), "APF".into()]);
        assert_eq!(made.information.as_deref(), Some("after"));
        assert_eq!(made.features, SupportedFeatures::from(agreed));
        assert_eq!(made.name, "provider");
        let written = written::<ProviderFunction>(&changes);
        assert_eq!(written[0].1.information.as_deref(), Some("a gateway"));
    }
}

/// TS 29.222 clause 5.11.2.3: ids are the CCF's: an update names functions of its own domain only, each once and in its role.
#[test]
fn updates_that_are_refused() {
    let before = functions();
    let held = versioned(domain(&before));
    let amf = || known(wanted("AMF", 1), "AMF");
    let unknown = Refusal::NotFound {
        what: "provider function",
    };
    let cases = [
        (
            "an id of another domain",
            vec![amf(), known(wanted("AEF", 3), "AEF9")],
            unknown.clone(),
        ),
        (
            "one id twice",
            vec![
                amf(),
                known(wanted("AEF", 3), "AEF"),
                known(wanted("AEF", 4), "AEF"),
            ],
            unknown,
        ),
        (
            "another role",
            vec![amf(), known(wanted("APF", 3), "AEF")],
            Refusal::ModificationNotAllowed {
                member: "apiProvFuncs/1/apiProvFuncRole".to_owned(),
            },
        ),
        (
            "bad keys alone",
            vec![
                known(unusable("AMF"), "AMF"),
                known(unusable("AEF"), "AEF"),
                unusable("AEF"),
            ],
            Refusal::incorrect(
                "/apiProvFuncs",
                "function 0 (AMF): the public key is refused: it is too weak; function 1 (AEF): the public key is refused: it is too weak; function 2 (AEF): the public key is refused: it is too weak",
            ),
        ),
        (
            "its last AMF",
            vec![known(wanted("APF", 2), "APF")],
            Refusal::incorrect(
                "/apiProvFuncs",
                "a provider domain needs an AMF: only an AMF may change or remove it later",
            ),
        ),
    ];
    for (case, wanted, refusal) in cases {
        let plan = planned(request(&wanted), Before::Domain(&held, &stored(&before)));
        assert_eq!(plan.unwrap_err(), refusal, "{case}");
    }
    let mut moved = request(&[amf()]);
    moved.api_prov_dom_id = Some("DOM9".into());
    assert_eq!(
        planned(moved, Before::Domain(&held, &stored(&before))).unwrap_err(),
        Refusal::ModificationNotAllowed {
            member: "apiProvDomId".to_owned()
        }
    );
}

/// An update decides on the domain that was read.
#[test]
fn an_update_of_a_domain_that_moved_conflicts() {
    let before = functions();
    let held = Versioned {
        record: domain(&before),
        revision: Revision(3),
    };
    let plan = planned(
        request(&[known(wanted("AMF", 1), "AMF")]),
        Before::Domain(&held, &stored(&before)),
    );
    let (changes, _) = completed(plan.unwrap(), &[], &[]);
    let mut world = World::default().with(&held.record);
    for function in &before {
        world = world.with(function);
    }
    let moved = Key::new(Kind::ProviderDomain, "DOM");
    assert_eq!(world.commit(changes), Err(moved));
}

/// TS 29.222 table 8.9.4.2.2-1: what cannot be done for a known function leaves it as it is, in its place, and is named; the rest of the
/// update is done.
#[test]
fn a_known_function_that_fails_stays() {
    let before = functions();
    let held = versioned(domain(&before));
    let functions = [
        known(unusable("AEF"), "AEF"),
        known(wanted("AMF", 1), "AMF"),
        wanted("AEF", 9),
        known(wanted("APF", 2), "APF"),
    ];
    let plan = planned(request(&functions), Before::Domain(&held, &stored(&before))).unwrap();
    assert!(!plan.renews_alone(&"AEF".into()));
    let (changes, answer) = completed(plan, &[], &[]);
    assert_eq!(
        answered(&answer),
        [
            row("AEF", "AEF", 3),
            row("AMF", "AMF", 1),
            row("AEF-1", "AEF", 9),
            row("APF", "APF", 2)
        ]
    );
    assert_eq!(
        answer.fail_reason.as_deref(),
        Some("function 0 (AEF): the public key is refused: it is too weak")
    );
    let kept = written::<ProviderFunction>(&changes);
    assert_eq!(kept[0], (Expect::At(REVISION), before[2].clone()));
    let ids = &written::<ProviderDomain>(&changes)[0].1.functions;
    assert_eq!(ids[0].as_str(), "AEF");
}

/// TS 29.222 clause 7.8, table 8.9.6-1: PATCH is for domains with which PatchUpdate was agreed on.
#[test]
fn what_was_not_agreed_on_is_not_patched() {
    let before = functions();
    let mut held = domain(&before);
    held.features = "0".into();
    assert_eq!(
        patched(&held, &stored(&before), &wire(json!({}))).unwrap_err(),
        Refusal::FeatureNotAgreed {
            feature: "PatchUpdate",
            member: "/suppFeat",
        }
    );
}

/// RFC 7396 over what is kept: what a PATCH does not name stays, null takes away, and what it may not reach stays as it is.
#[test]
fn what_a_patch_makes_of_a_domain() {
    let mut before = functions();
    before[2].hosts = vec!["gw.example".to_owned()];
    before[2].information = Some("the gateway".to_owned());
    before[0].key_extra = wire(json!({ "vendorSpecific-000001": 1 }));
    let mut held = domain(&before);
    held.information = Some("a provider".to_owned());
    held.provider_name = Some("Acme".to_owned());
    held.extra = wire(json!({ "vendorSpecific-000001": { "a": 1, "b": 2 } }));
    let result = |patch: Value| patched(&held, &stored(&before), &wire(patch));

    let same = result(json!({})).unwrap();
    assert_eq!(same.api_prov_dom_info, held.information);
    assert_eq!(same.api_prov_name, held.provider_name);
    assert_eq!(same.extra, held.extra);
    let functions = serde_json::to_value(&same.api_prov_funcs).unwrap();
    assert_eq!(
        functions[2],
        json!({
            "apiProvFuncId": "AEF",
            "regInfo": { "apiProvPubKey": "key 3" },
            "apiProvFuncRole": "AEF",
            "apiProvFuncInfo": "the gateway",
            HOSTS_MEMBER: { "hosts": ["gw.example"] },
        })
    );
    assert_eq!(functions[0]["regInfo"]["vendorSpecific-000001"], 1);

    let changed = result(json!({
        "apiProvDomInfo": null,
        "vendorSpecific-000001": { "a": null },
        "apiProvName": "Umbrella",
        "apiProvDomId": "DOM9",
        "apiProvFuncs": [wanted("AMF", 1)],
    }))
    .unwrap();
    assert_eq!(changed.api_prov_dom_info, None);
    assert_eq!(changed.api_prov_name, held.provider_name);
    assert_eq!(changed.api_prov_dom_id, None);
    assert_eq!(
        changed.extra,
        wire(json!({ "vendorSpecific-000001": { "b": 2 } }))
    );
    assert_eq!(changed.api_prov_funcs.unwrap().len(), 1);
    for patch in [
        json!({ "apiProvFuncs": 7 }),
        json!({ "apiProvDomInfo": {} }),
    ] {
        assert!(matches!(result(patch), Err(Refusal::Malformed { .. })));
    }
}
