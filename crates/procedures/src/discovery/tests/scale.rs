//! How many APIs are looked at for an answer.

use super::*;

const COUNT: u32 = 3_000;

fn many(count: u32) -> Catalogue {
    let mut catalogue = Catalogue::default();
    for number in 0..count {
        catalogue.put(Arc::new(versioned(one(number))));
    }
    catalogue
}

/// Names are shared by three, AEFs by twenty, categories by many; one in ten has no slice.
fn one(number: u32) -> ServiceApi {
    let pick = |of: &[&str]| of[number as usize % of.len()].to_owned();
    let mut made = api(&format!("API{number:032x}"), "x", &[]);
    made.description = wire(json!({
        "apiName": format!("name-{}", number / 3),
        "apiId": made.id,
        "description": "An API that is published for the sake of figures",
        "apiProvName": format!("provider-{}", number / 10),
        "serviceAPICategory": format!("category-{}", number % 1000),
        "aefProfiles": [{
            "aefId": format!("AEF{:032x}", number / 20),
            "versions": [{ "apiVersion": pick(&["v1", "v2"]), "resources": [{
                "resourceName": "today", "commType": pick(&["REQUEST_RESPONSE", "SUBSCRIBE_NOTIFY"]),
                "uri": "/today", "operations": ["GET"], "custOpName": format!("operation-{number}"),
            }]}],
            "protocol": pick(&["HTTP_1_1", "HTTP_2", "HTTP_2"]),
            "dataFormat": "JSON",
            "securityMethods": ["PKI", "OAUTH"],
            "interfaceDescriptions": [{ "ipv4Addr": "192.0.2.1", "port": 443, "securityMethods": ["OAUTH"] }],
            "serviceKpis": { "maxReqRate": number },
        }],
    }));
    if !number.is_multiple_of(10) {
        made.description.net_slice_info =
            Some(wire(json!([{ "nsiId": format!("slice-{}", number / 5) }])));
    }
    elsewhere(
        made,
        &format!("APF{}", number / 20),
        &format!("DOM{}", number / 20),
    )
}

/// The kinds of question of a busy core function, for one of the APIs, and how many it may look at.
fn questions(number: u32) -> [(&'static str, Criteria, usize); 7] {
    let version = if number.is_multiple_of(2) { "v1" } else { "v2" };
    let base = Criteria::default;
    [
        (
            "name and protocol",
            Criteria {
                api_names: vec![format!("name-{}", number / 3)],
                protocols: vec![
                    if number.is_multiple_of(3) {
                        "HTTP_1_1"
                    } else {
                        "HTTP_2"
                    }
                    .into(),
                ],
                ..base()
            },
            2,
        ),
        (
            "AEF and version",
            Criteria {
                aef_id: Some(format!("AEF{:032x}", number / 20)),
                api_version: Some(version.to_owned()),
                ..base()
            },
            10,
        ),
        (
            "id",
            Criteria {
                api_ids: vec![format!("API{number:032x}")],
                ..base()
            },
            1,
        ),
        (
            "slice",
            Criteria {
                net_slices: wire(json!([{ "nsiId": format!("slice-{}", number / 5) }])),
                api_cats: vec![format!("category-{}", number % 1000)],
                supported_features: Some("f".into()),
                ..base()
            },
            3,
        ),
        (
            "an operation of a provider",
            Criteria {
                api_prov_names: vec![format!("provider-{}", number / 10)],
                res_ops: wire(json!([{ "customServOpers": [format!("operation-{number}")] }])),
                ..base()
            },
            1,
        ),
        (
            "a rare operation",
            Criteria {
                res_ops: wire(json!([{ "customServOpers": [format!("operation-{number}")] }])),
                ..base()
            },
            1,
        ),
        (
            "rate",
            Criteria {
                service_kpis: Some(wire(json!({ "maxReqRate": u32::MAX / 2 }))),
                ..base()
            },
            0,
        ),
    ]
}

/// A search looks at those that come into question and hardly at any other, however many there are.
#[test]
fn few_are_looked_at() {
    let (catalogue, reach) = (many(COUNT), ApiReach::default());
    let looked_at = |criteria: &Criteria, sight: &Sight<'_>| {
        catalogue.candidates(criteria, sight, false).count()
    };
    for number in [0, 1, 1234, COUNT - 1] {
        for (question, criteria, most) in questions(number) {
            let looked_at = looked_at(&criteria, &(&reach).into());
            assert!(looked_at <= most, "{question}: {looked_at}");
            let found = super::super::discover(criteria, &reach, &catalogue).unwrap();
            assert!(found.len() <= looked_at, "{question}");
            assert!(!found.is_empty() || question == "rate", "{question}");
        }
    }
    // Whoever reaches little, or is shown little, makes no search through everything.
    let everything = Criteria::default();
    let few = names(&["name-7", "name-8", "no such name"]);
    assert_eq!(looked_at(&everything, &(&few).into()), 6);
    let mut policies = Policies::default();
    for (scope, shows) in [
        (Scope::All, false),
        (Scope::Name("name-9".to_owned()), true),
        (Scope::Category("category-5".to_owned()), true),
    ] {
        policies.put(DiscoveryPolicy {
            audience: Audience::Everyone,
            scope,
            shows,
        });
    }
    let sight = policies.sight(&"INV".into(), &reach);
    assert_eq!(looked_at(&everything, &sight), 3 + 3);
    let none = std::collections::BTreeSet::new();
    assert_eq!(looked_at(&everything, &policies.open_sight(&none)), 0);
    // A place that is preferred is searched first.
    let near = Criteria {
        preferred_aef_loc: Some(wire(json!({ "dcId": "nowhere" }))),
        ..Criteria::default()
    };
    assert_eq!(
        catalogue.candidates(&near, &(&reach).into(), true).count(),
        0
    );
}

/// Neither an enrolment for some names nor a negotiation with an AEF looks at more APIs than are concerned.
#[test]
fn enrolments_and_negotiations_look_at_what_they_are_about() {
    let catalogue = &many(COUNT);
    let names = names(&["name-7", "name-900"]);
    assert_eq!(catalogue.within(&names).count(), 6);
    let domain = domain_only("DOM7");
    assert_eq!(catalogue.within(&domain).count(), 20);
    let aef = AefId::from(format!("AEF{:032x}", 7));
    assert_eq!(catalogue.around(&aef).count(), 20);
    let elsewhere = wire(json!({ "ipv4Addr": "192.0.2.2", "port": 443 }));
    assert_eq!(catalogue.at(&elsewhere).count(), 0);
}
