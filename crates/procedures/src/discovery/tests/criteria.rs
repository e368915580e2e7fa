use super::*;

/// TS 29.222 table 8.1.2.2.3.1-1: each criterion narrows the answer, and all that are given must hold; those about profiles
/// leave only the profiles that match.
#[test]
fn criteria_narrow_the_answer() {
    let text = |text: &str| Some(text.to_owned());
    let none = Criteria::default;
    let cases: Vec<(Criteria, &[&str])> = vec![
        (none(), &ALL),
        (
            Criteria {
                api_names: texts(&["weather"]),
                ..none()
            },
            &["A1: AEF1 AEF2", "A3: AEF2"],
        ),
        (
            Criteria {
                api_names: texts(&["Weather"]),
                ..none()
            },
            &[],
        ),
        (
            Criteria {
                api_version: text("v1"),
                ..none()
            },
            &ALL,
        ),
        (
            Criteria {
                api_version: text("v2"),
                ..none()
            },
            &["A1: AEF1"],
        ),
        (
            Criteria {
                api_version: text("v3"),
                ..none()
            },
            &[],
        ),
        (
            Criteria {
                comm_type: Some("REQUEST_RESPONSE".into()),
                ..none()
            },
            &["A1: AEF1"],
        ),
        (
            Criteria {
                comm_type: Some("SUBSCRIBE_NOTIFY".into()),
                ..none()
            },
            &["A1: AEF1"],
        ),
        (
            Criteria {
                comm_type: Some("SHOUT".into()),
                ..none()
            },
            &[],
        ),
        (
            Criteria {
                protocols: vec!["HTTP_2".into()],
                ..none()
            },
            &["A1: AEF1"],
        ),
        (
            Criteria {
                protocols: vec!["HTTP_1_1".into()],
                ..none()
            },
            &["A1: AEF2", "A2: AEF2", "A3: AEF2"],
        ),
        (
            Criteria {
                protocols: vec!["MQTT".into()],
                ..none()
            },
            &[],
        ),
        (
            Criteria {
                aef_id: text("AEF1"),
                ..none()
            },
            &["A1: AEF1"],
        ),
        (
            Criteria {
                aef_id: text("AEF9"),
                ..none()
            },
            &[],
        ),
        (
            Criteria {
                data_format: Some("JSON".into()),
                ..none()
            },
            &["A1: AEF1"],
        ),
        (
            Criteria {
                data_format: Some("PROTOBUF3".into()),
                ..none()
            },
            &[],
        ),
        (
            Criteria {
                api_cats: texts(&["nature"]),
                ..none()
            },
            &["A1: AEF1 AEF2"],
        ),
        (
            Criteria {
                api_cats: texts(&["art"]),
                ..none()
            },
            &[],
        ),
        (
            Criteria {
                api_prov_names: texts(&["the office"]),
                ..none()
            },
            &["A1: AEF1 AEF2"],
        ),
        (
            Criteria {
                api_prov_names: texts(&["office"]),
                ..none()
            },
            &[],
        ),
        (
            Criteria {
                api_ids: vec!["A3".into(), "A2".into(), "A8".into()],
                ..none()
            },
            &["A2: AEF2", "A3: AEF2"],
        ),
        (
            Criteria {
                api_ids: vec!["A8".into()],
                ..none()
            },
            &[],
        ),
        (
            Criteria {
                api_ids: texts(&[""]),
                ..none()
            },
            &[],
        ),
        // Together.
        (
            Criteria {
                api_names: texts(&["weather"]),
                api_version: text("v2"),
                ..none()
            },
            &["A1: AEF1"],
        ),
        (
            Criteria {
                api_names: texts(&["traffic"]),
                api_version: text("v2"),
                ..none()
            },
            &[],
        ),
        (
            Criteria {
                aef_id: text("AEF2"),
                api_cats: texts(&["nature"]),
                ..none()
            },
            &["A1: AEF2"],
        ),
        // Two that hold, but for different profiles.
        (
            Criteria {
                aef_id: text("AEF2"),
                protocols: vec!["HTTP_2".into()],
                ..none()
            },
            &[],
        ),
        (
            Criteria {
                aef_id: text("AEF1"),
                data_format: Some("XML".into()),
                ..none()
            },
            &[],
        ),
    ];
    for (criteria, expected) in cases {
        assert_eq!(
            found(&criteria, &ApiReach::default(), &apis()),
            expected,
            "{criteria:?}"
        );
    }
}

/// TS 29.222 table 8.1.2.2.3.1-1: an API is found by its features when it has all that are asked for.
#[test]
fn features_of_an_api() {
    let cases: [(&str, &[&str]); 7] = [
        ("0", &["A1: AEF1 AEF2", "A3: AEF2"]),
        ("1", &["A3: AEF2"]),
        ("2", &["A1: AEF1 AEF2"]),
        ("10", &["A1: AEF1 AEF2"]),
        ("016", &["A1: AEF1 AEF2"]),
        ("17", &[]),
        ("100", &[]),
    ];
    for (wanted, expected) in cases {
        let criteria = Criteria {
            api_names: texts(&["weather"]),
            api_supported_features: Some(wanted.into()),
            supported_features: Some("1".into()),
            ..Criteria::default()
        };
        let found = found(&criteria, &ApiReach::default(), &apis());
        assert_eq!(found, expected, "{wanted}");
    }
    let of_one_without = Criteria {
        api_names: texts(&["traffic"]),
        api_supported_features: Some("0".into()),
        supported_features: Some("1".into()),
        ..Criteria::default()
    };
    assert_eq!(
        found(&of_one_without, &ApiReach::default(), &apis()),
        [] as [&str; 0]
    );
}

/// TS 33.122 clause 6.3: an invoker discovers what it is enrolled for, whatever it asks for.
#[test]
fn nothing_beyond_reach_is_found() {
    let both = |domain: &str, list: &[&str]| ApiReach {
        domain: Some(domain.into()),
        ..names(list)
    };
    let cases: [(ApiReach, &[&str]); 8] = [
        (ApiReach::default(), &ALL),
        (names(&["weather"]), &["A1: AEF1 AEF2", "A3: AEF2"]),
        (names(&["weather", "traffic"]), &ALL),
        (names(&[]), &[]),
        (domain_only("DOM"), &["A1: AEF1 AEF2", "A2: AEF2"]),
        (domain_only("DOM8"), &[]),
        (both("DOM9", &["weather"]), &["A3: AEF2"]),
        (both("DOM9", &["traffic"]), &[]),
    ];
    for (reach, expected) in cases {
        let everything = Criteria::default();
        assert_eq!(found(&everything, &reach, &apis()), expected, "{reach:?}");
        let by_id = Criteria {
            api_ids: vec!["A1".into(), "A2".into(), "A3".into()],
            ..Criteria::default()
        };
        assert_eq!(found(&by_id, &reach, &apis()), expected, "{reach:?}");
    }
}

/// TS 29.222 table 8.1.2.2.3.1-1: `api-ids` excludes every other criterion, though not the negotiation of features.
#[test]
fn ids_stand_alone() {
    let text = || Some("x".to_owned());
    let none = Criteria::default;
    let others = [
        Criteria {
            api_names: texts(&["x"]),
            ..none()
        },
        Criteria {
            api_version: text(),
            ..none()
        },
        Criteria {
            comm_type: Some("REQUEST_RESPONSE".into()),
            ..none()
        },
        Criteria {
            protocols: vec!["HTTP_2".into()],
            ..none()
        },
        Criteria {
            aef_id: text(),
            ..none()
        },
        Criteria {
            data_format: Some("JSON".into()),
            ..none()
        },
        Criteria {
            api_cats: texts(&["x"]),
            ..none()
        },
        Criteria {
            api_prov_names: texts(&["x"]),
            ..none()
        },
        Criteria {
            api_names: texts(&["x"]),
            api_supported_features: Some("1".into()),
            ..none()
        },
    ];
    let reach = ApiReach::default();
    for other in others {
        let criteria = Criteria {
            api_ids: vec!["A1".to_owned()],
            ..other
        };
        let refusal = discover(criteria.clone(), &reach, &catalogue(&apis())).unwrap_err();
        assert!(
            matches!(&refusal, Refusal::Malformed { pointer, fault: RequestFault::Query, .. }
                if pointer == "api-ids"),
            "{criteria:?}: {refusal:?}"
        );
    }
    let criteria = Criteria {
        api_ids: vec!["A1".to_owned()],
        supported_features: Some("1".into()),
        ..Criteria::default()
    };
    assert_eq!(found(&criteria, &reach, &apis()), ["A1: AEF1 AEF2"]);
}

/// TS 29.222 table 8.1.2.2.3.1-1: features of an API are asked for beside its name.
#[test]
fn features_need_a_name() {
    let criteria = Criteria {
        api_supported_features: Some("1".into()),
        api_cats: texts(&["nature"]),
        ..Criteria::default()
    };
    let refusal = discover(criteria, &ApiReach::default(), &catalogue(&apis())).unwrap_err();
    assert!(matches!(
        refusal,
        Refusal::Malformed { pointer, fault: RequestFault::Query, .. }
            if pointer == "api-supported-features"
    ));
}
