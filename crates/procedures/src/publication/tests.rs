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

fn published(description: ServiceApiDescription) -> Result<(Changes, ServiceApi), Refusal> {
    publish(description, &apf(), "API".into(), is_aef, [].iter(), &now())
}

fn replaced(
    held: &ServiceApi,
    description: ServiceApiDescription,
) -> Result<(Changes, ServiceApi), Refusal> {
    replace(
        &versioned(held.clone()),
        description,
        is_aef,
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
        description.supported_features = Some("FF".into());
        let subscriptions = subscriptions.iter();
        publish(
            description,
            &apf(),
            id.into(),
            is_aef,
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
            is_aef,
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
    let held = api("API", "weather", &[profile("AEF", &[Pki])]);
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

/// RFC 7396 section 2: a member is replaced, merged if it is an object, and taken away by null; what comes out must still be a
/// description.
#[test]
fn what_a_patch_makes() {
    let mut held = api("API", "weather", &[profile("AEF", &[Pki])]);
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
    let changes = unpublish(&versioned(held), listeners.iter(), &now());
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
