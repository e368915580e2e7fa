use capif_spec::publish_service::AefProfile;
use serde_json::json;

use super::*;
use crate::{
    changes::{Change, Key, Kind},
    fixtures::*,
    state::Role,
};

fn apf() -> ProviderFunction {
    function("APF", Role::Apf, 1)
}

/// The AEFs of the domain of these tests.
fn is_aef(id: &str) -> bool {
    ["AEF", "AEF2"].contains(&id)
}

/// The rules of a world in which nothing is hidden.
static NONE: std::sync::LazyLock<Rules> = std::sync::LazyLock::new(Rules::default);

fn terms() -> Terms<'static> {
    Terms {
        is_aef: &is_aef,
        rules: &NONE,
        ccf_id: "CCF1",
    }
}

fn published(description: ServiceApiDescription) -> Result<(Changes, ServiceApi), Refusal> {
    publish(
        description,
        &apf(),
        "API".into(),
        terms(),
        [].iter(),
        &now(),
    )
}

fn replaced(
    held: &ServiceApi,
    description: ServiceApiDescription,
) -> Result<(Changes, ServiceApi), Refusal> {
    replace(
        &versioned(held.clone()),
        description,
        &versioned(domain(&[apf()])),
        terms(),
        [].iter(),
        &now(),
    )
}

/// TS 29.222 clauses 5.3.2.2 and 8.2.4.2: what an APF publishes has profiles, each at an AEF of its own domain and with a
/// security method on every interface (D-34). The same holds for a new description of a published API.
#[test]
fn descriptions_that_are_refused() {
    let silent_interface = profile_with("AEF", &[], &[("a.example", &[Pki]), ("b.example", &[])]);
    let mut empty_lists = profile_with("AEF", &[], &[("a.example", &[])]);
    empty_lists.security_methods = Some(Vec::new());
    let mut no_interfaces = profile_with("AEF", &[], &[]);
    no_interfaces.interface_descriptions = Some(Vec::new());
    let mut none = description("weather", &[]);
    none.aef_profiles = None;
    let foreign = |aef: &str| Refusal::AefNotInDomain {
        aef_id: aef.to_owned(),
    };
    let methodless = || Refusal::NoSecurityMethod {
        aef_id: "AEF".to_owned(),
    };
    let good = || profile("AEF", &[Pki]);
    let with = |profiles: &[AefProfile]| description("weather", profiles);
    let cases = [
        ("no profiles", none, Refusal::missing("/aefProfiles")),
        ("an empty list", with(&[]), Refusal::missing("/aefProfiles")),
        (
            "a foreign AEF",
            with(&[profile("AEF9", &[Pki])]),
            foreign("AEF9"),
        ),
        (
            "a foreign AEF besides",
            with(&[good(), profile("AEF9", &[Pki])]),
            foreign("AEF9"),
        ),
        ("no AEF at all", with(&[profile("", &[Pki])]), foreign("")),
        (
            "other letters",
            with(&[profile("aef", &[Pki])]),
            foreign("aef"),
        ),
        ("no method", with(&[profile("AEF", &[])]), methodless()),
        (
            "one interface without",
            with(&[good(), silent_interface]),
            methodless(),
        ),
        ("empty lists", with(&[empty_lists]), methodless()),
        ("no interface either", with(&[no_interfaces]), methodless()),
    ];
    let held = api("API", "weather", &[good()]);
    for (case, description, refusal) in cases {
        assert_eq!(
            published(description.clone()).unwrap_err(),
            refusal,
            "{case}"
        );
        assert_eq!(replaced(&held, description).unwrap_err(), refusal, "{case}");
    }
}

/// TS 29.222 clause 8.2.4.2.4: security methods stand at the profile, or at its interfaces instead.
#[test]
fn methods_at_profile_or_interfaces_are_enough() {
    let cases = [
        ("profile only", profile("AEF", &[Psk])),
        (
            "profile for its interfaces",
            profile_with("AEF", &[Pki], &[("a.example", &[]), ("b.example", &[])]),
        ),
        (
            "interfaces only",
            profile_with(
                "AEF",
                &[],
                &[("a.example", &[Pki]), ("b.example", &[Oauth])],
            ),
        ),
        (
            "profile for the one without",
            profile_with(
                "AEF",
                &[Pki],
                &[("a.example", &[]), ("b.example", &[Oauth])],
            ),
        ),
    ];
    for (case, profile) in cases {
        let profiles = [profile];
        let (_, api) = published(description("weather", &profiles)).unwrap();
        // It is kept as it was published; only who looks for it sees methods filled in.
        assert_eq!(api.description.aef_profiles.unwrap(), profiles, "{case}");
    }
}

/// TS 29.222 clause 8.2.4.2.2: `apiId` is absent when an APF publishes, since the CCF gives it.
#[test]
fn an_id_in_the_publication_is_refused() {
    let mut description = description("weather", &[profile("AEF", &[Pki])]);
    description.api_id = Some("API".into());
    assert!(matches!(
        published(description).unwrap_err(),
        Refusal::Malformed { pointer, .. } if pointer == "/apiId"
    ));
}

/// TS 23.222 clause 8.3: the CCF stores the API under an id of its own and tells those who wait for it. One commit makes API
/// and name, while the APF is registered and the name is free.
#[test]
fn publication_claims_the_name_in_one_commit() {
    let subscriptions = [
        subscription("AEF", Role::Aef, &["SERVICE_API_AVAILABLE"]),
        subscription("AMF", Role::Amf, &["SERVICE_API_UPDATE"]),
    ];
    let publish_as = |id: &str| {
        let mut description = description("weather", &[profile("AEF", &[Pki])]);
        description.supported_features = Some("FFFF".into());
        let subscriptions = subscriptions.iter();
        publish(
            description,
            &apf(),
            id.into(),
            terms(),
            subscriptions,
            &now(),
        )
        .unwrap()
    };
    let (changes, api) = publish_as("API");
    assert_eq!(api.id.as_str(), "API");
    assert_eq!(api.description.api_id, Some("API".into()));
    assert_eq!(api.description.supported_features, Some(FEATURES.into()));
    assert_eq!(
        (api.apf_id.as_str(), api.domain_id.as_str()),
        ("APF", "DOM")
    );
    let name = ServiceApiName {
        domain_id: "DOM".into(),
        api_name: "weather".to_owned(),
        api_id: "API".into(),
    };
    assert_eq!(written::<ServiceApi>(&changes), [(Expect::Absent, api)]);
    assert_eq!(
        written::<ServiceApiName>(&changes),
        [(Expect::Absent, name)]
    );
    assert_eq!(
        notified(&changes),
        [(
            "AEF".to_owned(),
            "SERVICE_API_AVAILABLE".to_owned(),
            json!({ "apiIds": ["API"] })
        )]
    );

    let unregistered = Key::new(Kind::ProviderFunction, "APF");
    assert_eq!(World::default().commit(changes.clone()), Err(unregistered));
    let mut world = World::default().with(&apf());
    assert_eq!(world.commit(changes), Ok(()));
    // The edge answers this conflict with `ApiNameTaken`.
    let taken = Key::new(Kind::ServiceApiName, "DOM/weather");
    assert_eq!(world.commit(publish_as("API2").0), Err(taken));
    assert_eq!(world.ids(Kind::ServiceApi), ["API"]);
}

/// TS 29.222 clause 5.3.2.4: an update replaces the description; id, publisher and domain stay, and the name without any
/// change of it stays claimed.
#[test]
fn an_update_replaces_the_description() {
    let held = api("API", "weather", &[profile("AEF", &[Pki])]);
    for id in [None, Some("API".into())] {
        let mut description = description("weather", &[profile("AEF2", &[Oauth])]);
        description.api_id = id;
        let listeners = [
            subscription("AEF", Role::Aef, &["SERVICE_API_UPDATE"]),
            subscription("AMF", Role::Amf, &["SERVICE_API_AVAILABLE"]),
        ];
        let (changes, after) = replace(
            &versioned(held.clone()),
            description,
            &versioned(domain(&[apf()])),
            terms(),
            listeners.iter(),
            &now(),
        )
        .unwrap();
        assert_eq!(after, api("API", "weather", &[profile("AEF2", &[Oauth])]));
        assert_eq!(
            written::<ServiceApi>(&changes),
            [(Expect::At(REVISION), after.clone())]
        );
        assert_eq!(written::<ServiceApiName>(&changes), []);
        assert_eq!(
            notified(&changes),
            [(
                "AEF".to_owned(),
                "SERVICE_API_UPDATE".to_owned(),
                json!({ "serviceAPIDescriptions": [after.description] })
            )]
        );
    }
    let mut description = description("weather", &[profile("AEF", &[Pki])]);
    description.api_id = Some("API2".into());
    assert_eq!(
        replaced(&held, description).unwrap_err(),
        Refusal::ModificationNotAllowed {
            member: "apiId".to_owned()
        }
    );
}

/// TS 29.222 clause 5.3.2.4: with a new name the claim moves along: the old name is free, and the new one must have been.
#[test]
fn a_new_name_moves_the_claim() {
    let claim = |name: &str, id: &str| ServiceApiName {
        domain_id: "DOM".into(),
        api_name: name.to_owned(),
        api_id: id.into(),
    };
    let before = api("API", "weather", &[profile("AEF", &[Pki])]);
    let world = World::default()
        .with(&apf())
        .with(&domain(&[apf()]))
        .with(&before)
        .with(&claim("weather", "API"));
    let renamed = description("climate", &[profile("AEF", &[Pki])]);
    let (changes, _) = replaced(&before, renamed).unwrap();

    let mut free = world.clone();
    free.commit(changes.clone()).unwrap();
    assert_eq!(free.ids(Kind::ServiceApiName), ["DOM/climate"]);
    let held = free.held::<ServiceApiName>("DOM/climate").unwrap();
    assert_eq!(held.record, claim("climate", "API"));
    let (again, _) = published(description("weather", &[profile("AEF", &[Pki])])).unwrap();
    assert_eq!(
        free.commit(again),
        Err(Key::new(Kind::ServiceApi, "API")),
        "the old name is free; only the id is not"
    );

    let mut taken = world.with(&claim("climate", "API2"));
    assert_eq!(
        taken.commit(changes),
        Err(Key::new(Kind::ServiceApiName, "DOM/climate"))
    );
    assert_eq!(
        taken.ids(Kind::ServiceApiName),
        ["DOM/climate", "DOM/weather"]
    );
}

/// TS 29.222 clause 8.2.4.2.11: a PATCH carries these members and vendors' (TS 29.222 clause 7.11), and no other.
#[test]
fn members_that_can_be_patched() {
    let mut held = api("API", "weather", &[profile("AEF", &[Pki])]);
    held.description.supported_features = Some("2".into());
    let allowed = [
        ("apiStatus", json!({ "aefIds": [] })),
        ("aefProfiles", json!([profile("AEF2", &[Oauth])])),
        ("description", json!("a text")),
        ("shareableInfo", json!({ "isShareable": true })),
        ("serviceAPICategory", json!("a category")),
        ("apiSuppFeats", json!("1F")),
        ("pubApiPath", json!({ "ccfIds": ["CCF"] })),
        ("ccfId", json!("CCF")),
        ("vendorSpecific-000001", json!({ "any": ["thing"] })),
    ];
    for (member, value) in allowed {
        let patch = wire(json!({ member: value.clone() }));
        let after = serde_json::to_value(patched(&held, &patch).unwrap()).unwrap();
        let mut expected = serde_json::to_value(&held.description).unwrap();
        expected[member] = value;
        assert_eq!(after, expected, "{member}");
    }
    let refused = [
        "apiName",
        "apiId",
        "apiProvName",
        "netSliceInfo",
        "supportedFeatures",
        "apistatus",
        "somethingElse",
        "vendorSpecific",
        "",
    ];
    for member in refused {
        for value in [json!("x"), json!(null)] {
            let patch = wire(json!({ "description": "a text", member: value }));
            assert_eq!(
                patched(&held, &patch).unwrap_err(),
                Refusal::ModificationNotAllowed {
                    member: member.to_owned()
                }
            );
        }
    }
}

/// TS 29.222 clause 7.8, table 8.2.6-1: PATCH is for descriptions with which PatchUpdate was agreed on.
#[test]
fn what_was_not_agreed_on_is_not_patched() {
    let mut held = api("API", "weather", &[profile("AEF", &[Pki])]);
    let patch = wire(json!({ "description": "a text" }));
    for (agreed, taken) in [(None, false), (Some("3fd"), false), (Some("2"), true)] {
        held.description.supported_features = agreed.map(Into::into);
        let refusal = patched(&held, &patch).err();
        let expected = (!taken).then_some(Refusal::FeatureNotAgreed {
            feature: "PatchUpdate",
            member: "/supportedFeatures",
        });
        assert_eq!(refusal, expected, "{agreed:?}");
    }
}

/// RFC 7396 section 2: a member is replaced, merged if it is an object, and taken away by null; what comes out must still be a
/// description.
#[test]
fn what_a_patch_makes() {
    let mut held = api("API", "weather", &[profile("AEF", &[Pki])]);
    held.description.supported_features = Some("2".into());
    held.description.description = Some("before".to_owned());
    held.description.shareable_info =
        Some(wire(json!({ "isShareable": true, "capifProvDoms": ["a"] })));
    let result = |patch: Value| {
        patched(&held, &wire(patch)).map(|description| serde_json::to_value(description).unwrap())
    };
    assert_eq!(
        result(json!({})).unwrap(),
        serde_json::to_value(&held.description).unwrap()
    );
    let after = result(json!({
        "description": null,
        "ccfId": null,
        "shareableInfo": { "isShareable": false, "capifProvDoms": ["b", "c"] },
    }))
    .unwrap();
    assert_eq!(after.get("description"), None);
    assert_eq!(
        after["shareableInfo"],
        json!({ "isShareable": false, "capifProvDoms": ["b", "c"] })
    );
    let after = result(json!({ "shareableInfo": { "capifProvDoms": null } })).unwrap();
    assert_eq!(after["shareableInfo"], json!({ "isShareable": true }));

    // Without profiles it is a description still, but not one that can be published.
    let without = patched(&held, &wire(json!({ "aefProfiles": null }))).unwrap();
    assert_eq!(
        replaced(&held, without).unwrap_err(),
        Refusal::missing("/aefProfiles")
    );
    for patch in [
        json!({ "aefProfiles": "none" }),
        json!({ "aefProfiles": [{}] }),
        json!({ "description": 7 }),
        json!({ "shareableInfo": { "isShareable": null } }),
        json!({ "apiSuppFeats": "no digits" }),
    ] {
        assert!(
            matches!(result(patch.clone()), Err(Refusal::Malformed { .. })),
            "{patch}"
        );
    }
}

/// TS 29.222 clause 5.3.2.3: a withdrawn API goes with its name, and those who wait for that are told.
#[test]
fn withdrawal_frees_the_name() {
    let held = api("API", "weather", &[profile("AEF", &[Pki])]);
    let listeners = [
        subscription("AEF", Role::Aef, &["SERVICE_API_UNAVAILABLE"]),
        plain(subscription("AMF", Role::Amf, &["SERVICE_API_UNAVAILABLE"])),
        subscription("APF", Role::Apf, &["SERVICE_API_AVAILABLE"]),
    ];
    let changes = unpublish(&versioned(held), &NONE, listeners.iter(), &now());
    let told = |who: &str, detail| {
        let event = "SERVICE_API_UNAVAILABLE".to_owned();
        (who.to_owned(), event, detail)
    };
    assert_eq!(
        notified(&changes),
        [
            told("AEF", json!({ "apiIds": ["API"] })),
            told("AMF", Value::Null),
        ]
    );
    let gone = deletion(Kind::ServiceApi, "API", Expect::At(REVISION));
    assert!(changes.steps.contains(&gone));
    let freed = deletion(Kind::ServiceApiName, "DOM/weather", Expect::Any);
    assert!(changes.steps.contains(&freed));
    // What invokers may use of it is no policy any more.
    let policies = Change::DeletePrefix {
        kind: Kind::AccessControlPolicy,
        prefix: "API/".to_owned(),
    };
    assert!(changes.steps.contains(&policies));
}

/// What one domain may publish is bounded.
#[test]
fn one_api_too_many_is_refused() {
    let refused = Err(Refusal::TooMany {
        what: "published APIs",
        limit: APIS_MAX,
    });
    assert_eq!(room(0), Ok(()));
    assert_eq!(room(APIS_MAX - 1), Ok(()));
    assert_eq!(room(APIS_MAX), refused);
}

/// Everything that belongs to a feature, in one description.
fn everything() -> ServiceApiDescription {
    let mut description = description("weather", &[profile("AEF", &[Oauth])]);
    description.api_supp_feats = Some("1f".into());
    description.api_status = Some(wire(json!({ "aefIds": ["AEF"] })));
    description.net_slice_info = Some(wire(json!([{ "nsiId": "one" }])));
    let profile = description
        .aef_profiles
        .iter_mut()
        .flatten()
        .next()
        .unwrap();
    profile.service_kpis = Some(wire(json!({ "maxReqRate": 7 })));
    profile.ue_ip_range = Some(wire(
        json!({ "ueIpv4AddrRanges": [{ "start": "192.0.2.1", "end": "192.0.2.9" }] }),
    ));
    profile.grant_types = Some(wire(json!(["CLIENT_CREDENTIALS"])));
    profile.versions = wire(json!([{
        "apiVersion": "v1",
        "resources": [{
            "resourceName": "today", "commType": "REQUEST_RESPONSE", "uri": "/today",
            "custOperations": [{ "commType": "REQUEST_RESPONSE", "custOpName": "ask" }],
        }],
    }]));
    description
}

/// TS 29.222 clause 7.8: what belongs to a feature that was not agreed on is neither kept nor obeyed, one by one.
#[test]
fn members_of_features_that_are_not_agreed_on_are_left_out() {
    let members = [
        (1, "/apiSuppFeats"),
        (4, "/aefProfiles/0/versions/0/resources/0/custOperations"),
        (6, "/apiStatus"),
        (7, "/aefProfiles/0/serviceKpis"),
        (7, "/aefProfiles/0/ueIpRange"),
        (8, "/aefProfiles/0/grantTypes"),
        (10, "/netSliceInfo"),
    ];
    let kept = |features: Option<&str>| {
        let mut description = everything();
        description.supported_features = features.map(Into::into);
        let (_, api) = published(description).unwrap();
        serde_json::to_value(api.as_published()).unwrap()
    };
    for features in [None, Some("0"), Some("fc00")] {
        let kept = kept(features);
        for (_, pointer) in members {
            assert_eq!(kept.pointer(pointer), None, "{features:?} {pointer}");
        }
    }
    for number in 1..=10 {
        let features = format!("{:x}", 1 << (number - 1));
        let kept = kept(Some(&features));
        assert_eq!(kept["supportedFeatures"], features.as_str());
        for (of, pointer) in members {
            let is_kept = kept.pointer(pointer).is_some();
            assert_eq!(is_kept, of == number, "feature {number}: {pointer}");
        }
    }
    assert_eq!(kept(Some("3FF"))["supportedFeatures"], FEATURES);
}

/// TS 29.222 clause 7.8: features hold for the resource until others are agreed on.
#[test]
fn what_was_agreed_on_holds_for_later_descriptions() {
    let mut held = published({
        let mut description = everything();
        description.supported_features = Some("1".into());
        description
    })
    .unwrap()
    .1;
    let (_, again) = replaced(&held, everything()).unwrap();
    assert_eq!(again.description.supported_features, Some("1".into()));
    assert!(again.description.api_supp_feats.is_some());
    assert_eq!(again.description.api_status, None);
    let mut wider = everything();
    wider.supported_features = Some("20".into());
    held = replaced(&held, wider).unwrap().1;
    assert_eq!(held.description.api_supp_feats, None);
    assert!(held.description.api_status.is_some());
}

/// TS 29.222 clause 8.2.4.2.12: an AEF that is not active is not shown, and with none an API is there for nobody; the publisher sees
/// what it published.
#[test]
fn what_is_not_active_is_not_shown() {
    let status = |aefs: &[&str]| {
        let profiles = [profile("AEF", &[Pki]), profile("AEF2", &[Pki])];
        let mut description = description("weather", &profiles);
        description.supported_features = Some("3ff".into());
        description.api_status = Some(wire(json!({ "aefIds": aefs })));
        description
    };
    let shown = |api: &ServiceApi| -> Vec<String> {
        let profiles = api.description.aef_profiles.iter().flatten();
        profiles.map(|profile| profile.aef_id.to_string()).collect()
    };
    for (aefs, expected) in [
        (&["AEF", "AEF2"][..], &["AEF", "AEF2"][..]),
        (&["AEF2"], &["AEF2"]),
        (&[], &[]),
        (&["AEF3"], &[]),
    ] {
        let (changes, api) = published(status(aefs)).unwrap();
        assert_eq!(shown(&api), expected);
        assert_eq!(api.as_published().aef_profiles.as_ref().unwrap().len(), 2);
        assert_eq!(api.is_active(), !expected.is_empty());
        assert_eq!(written::<ServiceApi>(&changes), [(Expect::Absent, api)]);
    }
    let (_, inactive) = published(status(&[])).unwrap();
    let patch = wire(json!({ "apiStatus": null }));
    let (_, active) = replaced(&inactive, patched(&inactive, &patch).unwrap()).unwrap();
    assert_eq!(shown(&active), ["AEF", "AEF2"]);
    assert_eq!(active.published, None);
}

/// TS 29.222 clause 5.3.2.2: a publication that came by this core function is refused; its id is added to the path of every other.
#[test]
fn publications_do_not_go_in_circles() {
    let by = |ids: &[&str]| {
        let mut description = description("weather", &[profile("AEF", &[Pki])]);
        description.pub_api_path = Some(wire(json!({ "ccfIds": ids })));
        description
    };
    let path = |api: &ServiceApi| {
        api.description
            .pub_api_path
            .clone()
            .unwrap()
            .ccf_ids
            .unwrap()
    };
    let (_, api) = published(by(&["CCF8", "CCF9"])).unwrap();
    assert_eq!(path(&api), ["CCF8", "CCF9", "CCF1"]);
    for ids in [&["CCF1"][..], &["CCF9", "CCF1"], &["CCF1", "CCF9"]] {
        let refusal = published(by(ids)).unwrap_err();
        assert!(
            matches!(&refusal, Refusal::Malformed { pointer, .. } if pointer == "/pubApiPath/ccfIds"),
            "{refusal}"
        );
        assert!(replaced(&api, by(ids)).is_err());
    }
    // What was answered may come again.
    let (_, again) = replaced(&api, api.description.clone()).unwrap();
    assert_eq!(path(&again), path(&api));
    assert_eq!(
        path(&replaced(&api, by(&["CCF7"])).unwrap().1),
        ["CCF7", "CCF1"]
    );
}
