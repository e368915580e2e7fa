use capif_spec::common::AefId;

use super::*;

fn ids<'a>(apis: impl Iterator<Item = &'a ServiceApi>) -> Vec<&'a str> {
    apis.map(|api| api.id.as_str()).collect()
}

/// The catalogue holds what was put last under each id, and lets go of all of what was removed.
#[test]
fn what_is_put_and_removed() {
    let mut catalogue = catalogue(&apis());
    assert_eq!(ids(catalogue.iter()), ["A1", "A2", "A3"]);
    assert_eq!(catalogue.count_in(&"DOM".into()), 2);
    assert_eq!(catalogue.count_in(&"DOM9".into()), 1);
    assert_eq!(catalogue.count_in(&"DOM8".into()), 0);
    assert_eq!(ids(catalogue.of_apf(&"APF9".into()).into_iter()), ["A3"]);
    // The APIs of some AEFs are those that name one of them, each once.
    let aefs: Vec<AefId> = ["AEF1", "AEF2", "AEF1", "AEF99"].map(AefId::new).into();
    let named = |api: &&ServiceApi| {
        let mut profiles = api.description.aef_profiles.iter().flatten();
        profiles.any(|profile| aefs.contains(&profile.aef_id))
    };
    let expected = ids(catalogue.iter().filter(named));
    assert!(!expected.is_empty());
    assert_eq!(ids(catalogue.of_aefs(aefs.iter()).into_iter()), expected);
    assert!(catalogue.of_aefs(std::iter::empty()).is_empty());
    assert!(catalogue.get("A4").is_none());

    // Replaced: found by what it is now, and by nothing that it was.
    let sea = api("A1", "sea", &[profile("AEF7", &[Pki])]);
    catalogue.put(Arc::new(versioned(elsewhere(sea, "APF9", "DOM9"))));
    assert_eq!(
        catalogue.get("A1").unwrap().record.description.api_name,
        "sea"
    );
    let by = |criteria: Criteria| {
        let answer = discover(criteria, &ApiReach::default(), &catalogue).unwrap();
        let found = answer.service_api_descriptions.into_iter().flatten();
        found
            .map(|api| api.api_id.unwrap().to_string())
            .collect::<Vec<_>>()
    };
    let named = |name: &str| Criteria {
        api_names: texts(&[name]),
        ..Criteria::default()
    };
    assert_eq!(by(named("weather")), ["A3"]);
    assert_eq!(by(named("sea")), ["A1"]);
    let exposed = |aef: &str| Criteria {
        aef_id: Some(aef.to_owned()),
        ..Criteria::default()
    };
    assert_eq!(by(exposed("AEF1")), [] as [&str; 0]);
    assert_eq!(by(exposed("AEF7")), ["A1"]);
    assert_eq!(catalogue.count_in(&"DOM".into()), 1);
    assert_eq!(catalogue.count_in(&"DOM9".into()), 2);

    // Removed, once and again; its number is given anew.
    for _ in 0..2 {
        catalogue.remove("A1");
    }
    catalogue.remove("A9");
    assert_eq!(ids(catalogue.iter()), ["A2", "A3"]);
    catalogue.put(Arc::new(versioned(api(
        "A0",
        "sea",
        &[profile("AEF7", &[Pki])],
    ))));
    assert_eq!(ids(catalogue.iter()), ["A0", "A2", "A3"]);
    for id in ["A0", "A2", "A3"] {
        catalogue.remove(id);
    }
    assert_eq!(ids(catalogue.iter()), [] as [&str; 0]);
    assert_eq!(by_all(&catalogue), 0);
}

fn by_all(catalogue: &Catalogue) -> usize {
    let answer = discover(Criteria::default(), &ApiReach::default(), catalogue).unwrap();
    answer
        .service_api_descriptions
        .map_or(0, |found| found.len())
}

/// An answer is whole or refused, and a preferred place can bring it within the bound.
#[test]
fn answers_are_bounded() {
    let mut catalogue = Catalogue::default();
    for number in 0..=FOUND_MAX {
        let mut profile = profile("AEF", &[Pki]);
        profile.aef_location = (number < 3).then(|| wire(json!({ "dcId": "east" })));
        let api = api(&format!("A{number:05}"), "weather", &[profile]);
        catalogue.put(Arc::new(versioned(api)));
    }
    let reach = ApiReach::default();
    let refusal = discover(Criteria::default(), &reach, &catalogue).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::TooBroad {
            what: "APIs",
            limit: FOUND_MAX
        }
    );
    let preferring = |place: &str| Criteria {
        preferred_aef_loc: Some(wire(json!({ "dcId": place }))),
        ..Criteria::default()
    };
    let near = discover(preferring("east"), &reach, &catalogue).unwrap();
    assert_eq!(near.service_api_descriptions.unwrap().len(), 3);
    assert!(discover(preferring("west"), &reach, &catalogue).is_err());
    catalogue.remove("A00007");
    assert_eq!(by_all(&catalogue), FOUND_MAX);
}
