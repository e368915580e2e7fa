use serde_json::json;

use super::*;

fn read(pairs: &[(&str, &str)]) -> Result<Criteria, Refusal> {
    let pairs: Vec<(String, String)> = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    criteria(&Query(&pairs))
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|it| (*it).to_owned()).collect()
}

/// TS 29.222 table 8.11.2.2.3.1-1: objects are read alike in all the forms that libraries give them.
#[test]
fn objects_in_every_form() {
    let expected = Criteria {
        api_names: texts(&["weather", "traffic"]),
        versions_of: [
            ("weather".to_owned(), texts(&["v1", "v2"])),
            ("sea".to_owned(), texts(&["v3"])),
        ]
        .into(),
        features_of: [("traffic".to_owned(), "1f".into())].into(),
        service_kpis: serde_json::from_value(json!({ "maxReqRate": 5, "avalMem": "1 GB" }))
            .unwrap(),
        ..Criteria::default()
    };
    let forms: [&[(&str, &str)]; 4] = [
        &[
            ("weather", "v1,v2"),
            ("sea", "v3"),
            ("traffic", "1F"),
            ("maxReqRate", "5"),
            ("avalMem", "1 GB"),
            ("of nobody", "x"),
        ],
        &[
            ("api-versions", r#"{"weather":["v1","v2"],"sea":"v3"}"#),
            ("api-supported-features", r#"{"traffic":"1F"}"#),
            ("service-kpis", r#"{"maxReqRate":5,"avalMem":"1 GB"}"#),
        ],
        &[
            ("api-versions[weather]", "v1,v2"),
            ("api-versions[sea]", "v3"),
            ("api-supported-features[traffic]", "1F"),
            ("service-kpis[maxReqRate]", "5"),
            ("service-kpis[avalMem]", "1 GB"),
        ],
        &[
            ("api-versions", "weather,v1,sea,v3,weather,v2"),
            ("api-supported-features", "traffic,1F"),
            ("service-kpis", "maxReqRate,5,avalMem,1 GB"),
        ],
    ];
    for form in forms {
        let mut query = vec![("api-names", "weather,traffic")];
        query.extend(form);
        assert_eq!(read(&query).unwrap(), expected, "{form:?}");
    }
}

/// The other parameters, in the form that they have in a query.
#[test]
fn plain_parameters_and_lists() {
    let read = read(&[
        ("comm-type", "SUBSCRIBE_NOTIFY"),
        ("protocols", "HTTP_2,MQTT"),
        ("data-format", "XML"),
        ("api-cats", "a,b"),
        ("preferred-aef-loc", r#"{"dcId":"east"}"#),
        ("api-prov-names", "p"),
        ("api-ids", "A1"),
        ("res-ops", r#"[{"resource":"/r"}]"#),
        ("supported-features", "1"),
    ]);
    let expected = Criteria {
        comm_type: Some("SUBSCRIBE_NOTIFY".into()),
        protocols: vec!["HTTP_2".into(), "MQTT".into()],
        data_format: Some("XML".into()),
        api_cats: texts(&["a", "b"]),
        preferred_aef_loc: serde_json::from_value(json!({ "dcId": "east" })).unwrap(),
        api_prov_names: texts(&["p"]),
        api_ids: texts(&["A1"]),
        res_ops: serde_json::from_value(json!([{ "resource": "/r" }])).unwrap(),
        supported_features: Some("1".into()),
        ..Criteria::default()
    };
    assert_eq!(read.unwrap(), expected);
    assert_eq!(super::tests::read(&[]).unwrap(), Criteria::default());
}

/// Each kind of mistake is refused; what is known to nobody is ignored.
#[test]
fn mistakes() {
    let bad: [&[(&str, &str)]; 17] = [
        &[("api-versions", "{}")],
        &[("api-versions", "weather")],
        &[("api-versions", r#"{"weather":[]}"#)],
        &[("api-versions", r#"{"weather":[{}]}"#)],
        &[("api-versions", r#"{"weather":""}"#)],
        &[("api-versions", r#"{"weather":"v1","weather":"v2"}"#)],
        &[("api-versions[weather]", "v1,")],
        &[("api-supported-features", r#"{"weather":["1","2"]}"#)],
        &[("api-supported-features", "weather,x")],
        &[("api-supported-features", "weather,1,weather,2")],
        &[("api-names", "weather"), ("weather", "x")],
        &[("service-kpis", "{}")],
        &[("service-kpis", r#"{"maxReqRate":"many"}"#)],
        &[("maxReqRate", "1"), ("service-kpis[maxReqRate]", "2")],
        &[("avalMem", "much")],
        &[("protocols", "")],
        &[("res-ops", "[]")],
    ];
    for query in bad {
        let refusal = read(query).unwrap_err();
        assert!(
            matches!(refusal, Refusal::Malformed { .. }),
            "{query:?}: {refusal}"
        );
    }
    for query in [
        ("weather", "x"),
        ("weather", "1f"),
        ("x[y]", "z"),
        ("api-version", "v1"),
    ] {
        let read = read(&[query]).unwrap();
        let ignored = read == Criteria::default();
        // A lone version of an API is one, whatever the API is called.
        assert_eq!(ignored, query.1 != "v1", "{query:?}");
    }
}
