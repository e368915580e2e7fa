use super::*;

fn taken(catalogue: &Catalogue) -> Vec<(String, u32, u32)> {
    catalogue
        .take_discoveries()
        .map(|(api, counts)| (api.id.to_string(), counts.asked, counts.shown))
        .collect()
}

fn by_name(name: &str) -> Criteria {
    Criteria {
        api_names: texts(&[name]),
        ..Criteria::default()
    }
}

/// TS 29.222 clause 8.3.4.3.3: what is asked for is counted whether or not it is shown, and what was told begins anew.
#[test]
fn what_is_asked_for_and_shown_is_counted() {
    let mut catalogue = catalogue(&apis());
    let ask = |catalogue: &Catalogue, criteria: Criteria, reach: &ApiReach| {
        super::super::discover(criteria, reach, catalogue).unwrap();
    };
    let all = ApiReach::default();
    assert_eq!(taken(&catalogue), []);
    ask(&catalogue, Criteria::default(), &all);
    ask(&catalogue, by_name("weather"), &names(&["traffic"]));
    ask(&catalogue, by_name("weather"), &all);
    ask(&catalogue, by_name("sea"), &all);
    ask(
        &catalogue,
        Criteria {
            api_ids: texts(&["A2", "A9"]),
            ..Criteria::default()
        },
        &all,
    );
    let counts = |rows: &[(&str, u32, u32)]| -> Vec<(String, u32, u32)> {
        rows.iter()
            .map(|(id, asked, shown)| ((*id).to_owned(), *asked, *shown))
            .collect()
    };
    assert_eq!(
        taken(&catalogue),
        counts(&[("A1", 2, 2), ("A2", 1, 2), ("A3", 2, 2)])
    );
    assert_eq!(taken(&catalogue), []);

    // A change of the API keeps the count; its number goes to another API without it.
    ask(&catalogue, by_name("traffic"), &all);
    let mut traffic = apis()[1].clone();
    traffic.description.description = Some("changed".to_owned());
    catalogue.put(Arc::new(versioned(traffic)));
    assert_eq!(taken(&catalogue), counts(&[("A2", 1, 1)]));
    ask(&catalogue, by_name("traffic"), &all);
    catalogue.remove("A2");
    catalogue.put(Arc::new(versioned(api(
        "A7",
        "traffic",
        &[profile("AEF", &[Pki])],
    ))));
    assert_eq!(taken(&catalogue), []);
}

/// What was prepared for an answer is not shown after the API has changed.
#[test]
fn a_change_is_shown_at_once() {
    let mut catalogue = catalogue(&apis());
    let shown = |catalogue: &Catalogue| {
        let answer = discover(by_name("traffic"), &ApiReach::default(), catalogue).unwrap();
        answer.service_api_descriptions.unwrap()[0]
            .description
            .clone()
    };
    assert_eq!(shown(&catalogue), None);
    let mut traffic = apis()[1].clone();
    traffic.description.description = Some("changed".to_owned());
    catalogue.put(Arc::new(versioned(traffic)));
    assert_eq!(shown(&catalogue).as_deref(), Some("changed"));
}

/// The text that is kept is the text that a whole description would have, for every set of features and choice of profiles.
#[test]
fn the_text_is_that_of_the_description() {
    let mut apis = apis();
    let description = &mut apis[0].description;
    description.net_slice_info = Some(wire(json!([{ "nsiId": "one" }])));
    description
        .extra
        .insert("vendorSpecific-x".to_owned(), json!([1]));
    let profiles = description.aef_profiles.as_mut().unwrap();
    profiles[1].grant_types = Some(wire(json!(["CLIENT_CREDENTIALS"])));
    let mut bare = api("A4", "bare", &[]);
    bare.description.aef_profiles = None;
    apis.push(bare);
    let catalogue = catalogue(&apis);
    for features in ["0", "4", "8", "f"] {
        for aef in [None, Some("AEF1"), Some("AEF2")] {
            let criteria = Criteria {
                aef_id: aef.map(str::to_owned),
                supported_features: Some(features.into()),
                ..Criteria::default()
            };
            let answer = discover(criteria, &ApiReach::default(), &catalogue).unwrap();
            let answer = serde_json::to_value(answer).unwrap();
            let features = SupportedFeatures::from(features);
            let expected: Vec<Value> = apis
                .iter()
                .filter_map(|api| {
                    let profiles = api.description.aef_profiles.as_ref().map(|profiles| {
                        profiles
                            .iter()
                            .filter(|it| aef.is_none_or(|aef| it.aef_id.as_str() == aef))
                            .map(|it| matching::shown(it, &features))
                            .collect::<Vec<_>>()
                    });
                    let empty = profiles.as_ref().map_or(aef.is_some(), Vec::is_empty);
                    let whole = matching::description(api, profiles, &features);
                    (!empty).then(|| serde_json::to_value(whole).unwrap())
                })
                .collect();
            assert_eq!(answer["serviceAPIDescriptions"], json!(expected));
        }
    }
}
