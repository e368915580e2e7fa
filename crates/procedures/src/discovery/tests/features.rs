use capif_spec::{
    common::SupportedFeatures,
    publish_service::{AefLocation, ServiceKpis},
};

use super::*;

/// An API with one profile of these members beyond the mandatory ones.
fn one(members: Value) -> ServiceApi {
    with(json!({}), members)
}

fn with(own: Value, members: Value) -> ServiceApi {
    let mut profile = json!({
        "aefId": "AEF1",
        "versions": [{ "apiVersion": "v1" }],
        "domainName": "one.example",
        "securityMethods": ["OAUTH"],
    });
    profile
        .as_object_mut()
        .unwrap()
        .extend(members.as_object().unwrap().clone());
    let mut document = json!({ "apiName": "weather", "apiId": "A1", "aefProfiles": [profile] });
    document
        .as_object_mut()
        .unwrap()
        .extend(own.as_object().unwrap().clone());
    let mut made = api("A1", "weather", &[]);
    made.description = wire(document);
    made
}

fn is_found(criteria: Criteria, api: &ServiceApi) -> bool {
    let everything = ApiReach::default();
    !found(&criteria, &everything, std::slice::from_ref(api)).is_empty()
}

fn all_features() -> Criteria {
    Criteria {
        supported_features: Some(FEATURES.into()),
        ..Criteria::default()
    }
}

/// `service-kpis`: an offer that is no worse than what is wanted, in each member that is wanted; silence is no offer.
#[test]
fn kpis() {
    let offered = json!({
        "maxReqRate": 100, "maxRestime": 2, "availability": 99, "avalComp": "2 TFLOPS", "avalGraComp": "0.5 GFLOPS",
        "avalMem": "16 GB", "avalStor": "1.5 TB", "conBand": 1000,
    });
    let cases = [
        (json!({}), true),
        (json!({ "maxReqRate": 100 }), true),
        (json!({ "maxReqRate": 101 }), false),
        (json!({ "maxRestime": 2 }), true),
        (json!({ "maxRestime": 3 }), true),
        (json!({ "maxRestime": 1 }), false),
        (json!({ "availability": 100 }), false),
        (json!({ "avalComp": "2000 GFLOPS" }), true),
        (json!({ "avalComp": "2000.1 GFLOPS" }), false),
        (json!({ "avalGraComp": "500 MFLOPS" }), true),
        (json!({ "avalMem": "16000.0 MB" }), true),
        (json!({ "avalMem": "17 GB" }), false),
        (json!({ "avalStor": "1 YB" }), false),
        (json!({ "conBand": 999, "maxReqRate": 1 }), true),
        (json!({ "conBand": 999, "maxReqRate": 1000 }), false),
    ];
    for (wanted, expected) in cases {
        let criteria = || Criteria {
            service_kpis: Some(wire::<ServiceKpis>(wanted.clone())),
            ..Criteria::default()
        };
        let good = one(json!({ "serviceKpis": offered }));
        assert_eq!(is_found(criteria(), &good), expected, "{wanted}");
        let nothing_wanted = wanted == json!({});
        assert_eq!(is_found(criteria(), &one(json!({}))), nothing_wanted);
        let little = one(json!({ "serviceKpis": {} }));
        assert_eq!(is_found(criteria(), &little), nothing_wanted);
    }
}

/// `ue-ip-addr`: the address lies in a range, ends included; without ranges every user is served.
#[test]
fn users() {
    let ranges = json!({ "ueIpRange": {
        "ueIpv4AddrRanges": [
            { "start": "10.0.0.9", "end": "10.0.0.11" },
            { "start": "192.0.2.1", "end": "192.0.2.1" },
            { "start": "10.1.0.9", "end": "10.1.0.1" },
            { "start": "x", "end": "255.255.255.255" },
        ],
        "ueIpv6AddrRanges": [{ "start": "2001:db8::9", "end": "2001:db8::1:0" }],
    }});
    let only_v6 = json!({ "ueIpRange": {
        "ueIpv6AddrRanges": [{ "start": "::", "end": "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" }],
    }});
    for (user, expected) in [
        ("10.0.0.8", false),
        ("10.0.0.9", true),
        ("10.0.0.10", true),
        ("10.0.0.11", true),
        ("10.0.0.12", false),
        ("10.1.0.5", false),
        ("192.0.2.1", true),
        ("2001:db8::8", false),
        ("2001:db8::10", true),
        ("2001:db8:0::1:0", true),
        ("2001:db8::1:1", false),
    ] {
        let criteria = || Criteria {
            ue_ip_addr: Some(user.parse().unwrap()),
            ..Criteria::default()
        };
        assert_eq!(
            is_found(criteria(), &one(ranges.clone())),
            expected,
            "{user}"
        );
        assert_eq!(
            is_found(criteria(), &one(only_v6.clone())),
            user.contains(':')
        );
        assert!(is_found(criteria(), &one(json!({}))));
    }
}

/// `preferred-aef-loc` prefers and does not filter: where nothing found stands there, it has no effect.
#[test]
fn a_preference_is_no_filter() {
    let place = |aef: &str, location: Value| {
        wire(json!({
            "aefId": aef, "versions": [{ "apiVersion": "v1" }], "domainName": "x.example", "aefLocation": location,
        }))
    };
    let apis = [
        api(
            "A1",
            "weather",
            &[
                place(
                    "AEF1",
                    json!({ "dcId": "east", "civicAddr": { "country": "DE", "A3": "Bonn" } }),
                ),
                place("AEF2", json!({ "dcId": "west" })),
            ],
        ),
        api(
            "A2",
            "weather",
            &[place("AEF3", json!({ "civicAddr": { "country": "DE" } }))],
        ),
        api(
            "A3",
            "traffic",
            &[place(
                "AEF4",
                json!({ "geoArea": { "shape": "POINT", "x": 1 } }),
            )],
        ),
        api("A4", "weather", &[profile("AEF5", &[Pki])]),
    ];
    let all = ["A1: AEF1 AEF2", "A2: AEF3", "A3: AEF4", "A4: AEF5"];
    let cases: [(Value, &str, &[&str]); 10] = [
        (json!({ "dcId": "east" }), "", &["A1: AEF1"]),
        (json!({ "dcId": "north" }), "", &all),
        (
            json!({ "civicAddr": { "country": "DE" } }),
            "",
            &["A1: AEF1", "A2: AEF3"],
        ),
        (
            json!({ "civicAddr": { "country": "DE", "A3": "Bonn" } }),
            "",
            &["A1: AEF1"],
        ),
        (
            json!({ "civicAddr": { "country": "DE" }, "dcId": "east" }),
            "",
            &["A1: AEF1"],
        ),
        (
            json!({ "civicAddr": { "country": "DE" }, "dcId": "west" }),
            "",
            &all,
        ),
        (
            json!({ "geoArea": { "shape": "POINT", "x": 1 } }),
            "",
            &["A3: AEF4"],
        ),
        (json!({ "geoArea": { "shape": "POINT" } }), "", &all),
        // Only what meets the other criteria can be preferred.
        (
            json!({ "geoArea": { "shape": "POINT", "x": 1 } }),
            "weather",
            &[all[0], all[1], all[3]],
        ),
        (json!({ "dcId": "west" }), "weather", &["A1: AEF2"]),
    ];
    for (wanted, name, expected) in cases {
        let criteria = Criteria {
            preferred_aef_loc: Some(wire::<AefLocation>(wanted.clone())),
            api_names: texts(&[name])[usize::from(name.is_empty())..].to_vec(),
            ..Criteria::default()
        };
        assert_eq!(
            found(&criteria, &ApiReach::default(), &apis),
            expected,
            "{wanted}"
        );
    }
}

/// `res-ops`: resources with their methods and custom operations, all in one version.
#[test]
fn resources_and_operations() {
    let api = one(json!({ "versions": [
        {
            "apiVersion": "v1",
            "resources": [
                {
                    "resourceName": "today", "commType": "REQUEST_RESPONSE", "uri": "/today", "operations": ["GET", "PUT"],
                    "custOperations": [{ "commType": "REQUEST_RESPONSE", "custOpName": "refresh" }],
                },
                { "resourceName": "old", "commType": "REQUEST_RESPONSE", "uri": "old", "custOpName": "purge" },
            ],
        },
        {
            "apiVersion": "v2",
            "resources": [{
                "resourceName": "today", "commType": "SUBSCRIBE_NOTIFY", "uri": "/today", "operations": ["DELETE"],
            }],
            "custOperations": [{ "commType": "REQUEST_RESPONSE", "custOpName": "watch", "operations": ["POST"] }],
        },
    ]}));
    let cases = [
        (json!([{}]), true),
        (json!([{ "resource": "/today" }]), true),
        (json!([{ "resource": "today" }]), true),
        (json!([{ "resource": "/old" }]), true),
        (json!([{ "resource": "/now" }]), false),
        (
            json!([{ "resource": "/today", "operations": ["GET", "PUT"] }]),
            true,
        ),
        (
            json!([{ "resource": "/today", "operations": ["GET", "DELETE"] }]),
            false,
        ),
        (
            json!([{ "resource": "/old", "operations": ["GET"] }]),
            false,
        ),
        (json!([{ "operations": ["GET"] }]), true),
        (json!([{ "operations": ["POST"] }]), true),
        (json!([{ "operations": ["PATCH"] }]), false),
        (json!([{ "operations": ["POST", "DELETE"] }]), false),
        (json!([{ "customServOpers": ["refresh"] }]), true),
        (json!([{ "customServOpers": ["refresh", "purge"] }]), true),
        (json!([{ "customServOpers": ["refresh", "watch"] }]), false),
        (
            json!([{ "resource": "/today", "customServOpers": ["refresh"] }]),
            true,
        ),
        (
            json!([{ "resource": "/today", "customServOpers": ["purge"] }]),
            false,
        ),
        (
            json!([{ "resource": "/old", "customServOpers": ["purge"] }]),
            true,
        ),
        (
            json!([{ "resource": "/today" }, { "resource": "/old" }]),
            true,
        ),
        (
            json!([{ "resource": "/old" }, { "customServOpers": ["watch"] }]),
            false,
        ),
    ];
    for (wanted, expected) in cases {
        let criteria = Criteria {
            res_ops: wire(wanted.clone()),
            ..Criteria::default()
        };
        assert_eq!(is_found(criteria, &api), expected, "{wanted}");
    }
    // Version, communication type and operations are those of one version.
    for (version, kind, operation, expected) in [
        ("v1", "REQUEST_RESPONSE", "GET", true),
        ("v1", "SUBSCRIBE_NOTIFY", "GET", false),
        ("v2", "SUBSCRIBE_NOTIFY", "DELETE", true),
        ("v2", "SUBSCRIBE_NOTIFY", "GET", false),
        ("v2", "REQUEST_RESPONSE", "DELETE", true),
    ] {
        let criteria = Criteria {
            api_version: Some(version.to_owned()),
            comm_type: Some(kind.into()),
            res_ops: wire(json!([{ "operations": [operation] }])),
            ..Criteria::default()
        };
        assert_eq!(
            is_found(criteria, &api),
            expected,
            "{version} {kind} {operation}"
        );
    }
}

/// `grant-types`: all of them at one interface, whose own list counts before that of the profile.
#[test]
fn ways_to_a_token() {
    let cases: [(Value, &[&str], bool); 10] = [
        (json!({}), &["CLIENT_CREDENTIALS"], true),
        (json!({}), &["AUTHORIZATION_CODE"], false),
        (
            json!({ "securityMethods": ["PKI"] }),
            &["CLIENT_CREDENTIALS"],
            false,
        ),
        (
            json!({ "grantTypes": ["AUTHORIZATION_CODE"] }),
            &["CLIENT_CREDENTIALS"],
            false,
        ),
        (
            json!({ "grantTypes": ["AUTHORIZATION_CODE", "NEW"] }),
            &["NEW", "AUTHORIZATION_CODE"],
            true,
        ),
        (
            json!({ "grantTypes": ["AUTHORIZATION_CODE"] }),
            &["NEW", "AUTHORIZATION_CODE"],
            false,
        ),
        (
            json!({ "grantTypes": ["NEW"], "interfaceDescriptions": [
                { "fqdn": "a", "grantTypes": ["AUTHORIZATION_CODE"] },
            ]}),
            &["NEW"],
            false,
        ),
        (
            json!({ "grantTypes": ["NEW"], "interfaceDescriptions": [
                { "fqdn": "a", "grantTypes": ["AUTHORIZATION_CODE"] }, { "fqdn": "b" },
            ]}),
            &["NEW"],
            true,
        ),
        (
            json!({ "grantTypes": ["NEW"], "interfaceDescriptions": [
                { "fqdn": "b", "securityMethods": ["PKI"] },
            ]}),
            &["NEW"],
            false,
        ),
        (
            json!({ "interfaceDescriptions": [
                { "fqdn": "a", "grantTypes": ["NEW"] }, { "fqdn": "b", "grantTypes": ["AUTHORIZATION_CODE"] },
            ]}),
            &["NEW", "AUTHORIZATION_CODE"],
            false,
        ),
    ];
    for (members, wanted, expected) in cases {
        let criteria = Criteria {
            grant_types: wanted.iter().map(|text| (*text).into()).collect(),
            ..all_features()
        };
        assert_eq!(
            is_found(criteria, &one(members.clone())),
            expected,
            "{members} {wanted:?}"
        );
    }
}

/// `net-slice-info`: in all of these slices; an API that names none is bound to none.
#[test]
fn slices() {
    let held = json!({ "netSliceInfo": [
        { "snssai": { "sst": 1, "sd": "00000a" } }, { "nsiId": "one" }, { "ensi": "e" },
    ]});
    for (wanted, expected) in [
        (json!([{ "nsiId": "one" }]), true),
        (json!([{ "nsiId": "two" }]), false),
        (json!([{ "ensi": "one" }]), false),
        (json!([{ "snssai": { "sst": 1, "sd": "00000A" } }]), true),
        (json!([{ "snssai": { "sst": 1 } }]), false),
        (json!([{ "snssai": { "sst": 2, "sd": "00000a" } }]), false),
        (json!([{ "nsiId": "one" }, { "ensi": "e" }]), true),
        (json!([{ "nsiId": "one" }, { "ensi": "f" }]), false),
    ] {
        let criteria = || Criteria {
            net_slices: wire(wanted.clone()),
            ..all_features()
        };
        assert_eq!(
            is_found(criteria(), &with(held.clone(), json!({}))),
            expected,
            "{wanted}"
        );
        assert!(is_found(criteria(), &one(json!({}))));
    }
}

/// TS 29.222 clause 7.8: a criterion of a feature that was not agreed on is not obeyed; nor are its members in the answer.
#[test]
fn features_that_were_not_agreed_on() {
    let api = with(
        json!({ "netSliceInfo": [{ "nsiId": "one" }], "apiSuppFeats": "1" }),
        json!({
            "grantTypes": ["NEW"],
            "interfaceDescriptions": [{ "fqdn": "a", "grantTypes": ["NEW"] }],
        }),
    );
    let vendor = VendorCriterion::new("vend-spec-x", "x", "", json!(1)).unwrap();
    let gated: [(u32, Criteria); 4] = [
        (
            1,
            Criteria {
                api_names: texts(&["weather"]),
                api_supported_features: Some("2".into()),
                ..Criteria::default()
            },
        ),
        (
            2,
            Criteria {
                vendor: vec![vendor],
                ..Criteria::default()
            },
        ),
        (
            3,
            Criteria {
                grant_types: vec!["OLD".into()],
                ..Criteria::default()
            },
        ),
        (
            4,
            Criteria {
                net_slices: wire(json!([{ "nsiId": "two" }])),
                ..Criteria::default()
            },
        ),
    ];
    for (bit, criteria) in gated {
        for number in 0..16u32 {
            let offered = SupportedFeatures::from(format!("{number:x}"));
            let counts = offered.has(bit);
            let criteria = Criteria {
                supported_features: Some(offered),
                ..criteria.clone()
            };
            assert_eq!(
                is_found(criteria, &api),
                !counts,
                "feature {bit} of {number:x}"
            );
        }
        assert!(is_found(criteria, &api), "nothing offered");
    }
    for (offered, grants, slices) in [
        ("0", false, false),
        ("4", true, false),
        ("8", false, true),
        ("c", true, true),
    ] {
        let criteria = Criteria {
            supported_features: Some(offered.into()),
            ..Criteria::default()
        };
        let answer = discover(
            criteria,
            &ApiReach::default(),
            &catalogue(std::slice::from_ref(&api)),
        );
        let shown =
            serde_json::to_value(answer.unwrap()).unwrap()["serviceAPIDescriptions"][0].clone();
        let profile = &shown["aefProfiles"][0];
        assert_eq!(profile.get("grantTypes").is_some(), grants);
        assert_eq!(
            profile["interfaceDescriptions"][0]
                .get("grantTypes")
                .is_some(),
            grants
        );
        assert_eq!(shown.get("netSliceInfo").is_some(), slices);
    }
    // Among those who know every feature nothing is left out.
    let whole = serde_json::to_value(view(&api)).unwrap();
    assert_eq!(whole, serde_json::to_value(&api.description).unwrap());
}
