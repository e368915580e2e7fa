use super::*;

fn open(criteria: &Criteria, names: &[&str], apis: &[ServiceApi]) -> Result<Value, Refusal> {
    let (names, policies) = (texts(names).into_iter().collect(), Policies::default());
    let sight = policies.open_sight(&names);
    let answer = discover_openly(criteria, &sight, &catalogue(apis))?;
    Ok(serde_json::to_value(answer).unwrap())
}

fn seen(criteria: &Criteria, names: &[&str]) -> Value {
    open(criteria, names, &apis()).unwrap()
}

fn ids(answer: &Value) -> Vec<&str> {
    let found = answer["discApis"].as_array().unwrap().iter();
    found.map(|api| api["apiId"].as_str().unwrap()).collect()
}

/// TS 23.222 annex E: only what is on the list of the operator is shown, and nothing if there is no list; the list of APIs is
/// there in any case (TS 29.222 table 8.11.4.2.2-1).
#[test]
fn only_what_lies_open() {
    let everything = Criteria::default();
    assert_eq!(seen(&everything, &[]), json!({ "discApis": [] }));
    assert_eq!(ids(&seen(&everything, &["traffic"])), ["A2"]);
    assert_eq!(
        ids(&seen(&everything, &["traffic", "weather", "sea"])),
        ["A1", "A2", "A3"]
    );
    let hidden = Criteria {
        api_names: texts(&["weather"]),
        ..Criteria::default()
    };
    assert_eq!(ids(&seen(&hidden, &["traffic"])), [] as [&str; 0]);
    let hidden = Criteria {
        api_ids: texts(&["A1", "A2"]),
        ..Criteria::default()
    };
    assert_eq!(ids(&seen(&hidden, &["traffic"])), ["A2"]);
    let asking = Criteria {
        supported_features: Some("ff".into()),
        ..Criteria::default()
    };
    assert_eq!(
        seen(&asking, &[]),
        json!({ "discApis": [], "suppFeat": "0" })
    );
}

/// TS 29.222 clause 8.11.4.2: the view is reduced: no addresses, no security methods, nothing that vendors added.
#[test]
fn the_reduced_view() {
    let mut api = api("A1", "weather", &[]);
    api.description = wire(json!({
        "apiName": "weather",
        "apiId": "A1",
        "apiStatus": { "aefIds": ["AEF1"] },
        "description": "for people",
        "serviceAPICategory": "nature",
        "apiSuppFeats": "3",
        "apiProvName": "the office",
        "supportedFeatures": "1",
        "shareableInfo": { "isShareable": true },
        "pubApiPath": { "ccfIds": ["CCF1"] },
        "ccfId": "CCF1",
        "netSliceInfo": [{ "nsiId": "one" }],
        "vendorSpecific-x": "https://10.0.0.1",
        "aefProfiles": [{
            "aefId": "AEF1",
            "versions": [{
                "apiVersion": "v1",
                "vendorSpecific-x": 1,
                "resources": [{
                    "resourceName": "r", "commType": "REQUEST_RESPONSE", "uri": "/r", "vendorSpecific-x": 1,
                    "custOperations": [{ "commType": "REQUEST_RESPONSE", "custOpName": "c", "vendorSpecific-x": 1 }],
                }],
                "custOperations": [{ "commType": "REQUEST_RESPONSE", "custOpName": "d", "vendorSpecific-x": 1 }],
            }],
            "protocol": "HTTP_2",
            "dataFormat": "JSON",
            "securityMethods": ["PKI"],
            "grantTypes": ["CLIENT_CREDENTIALS"],
            "interfaceDescriptions": [{ "ipv4Addr": "10.0.0.1" }],
            "aefLocation": { "dcId": "east" },
            "serviceKpis": { "maxReqRate": 1 },
            "ueIpRange": { "ueIpv4AddrRanges": [{ "start": "10.0.0.1", "end": "10.0.0.1" }] },
            "vendorSpecific-x": 1,
        }],
    }));
    assert_eq!(
        open(&Criteria::default(), &["weather"], &[api]).unwrap(),
        json!({ "discApis": [{
            "apiName": "weather",
            "apiId": "A1",
            "apiStatus": { "aefIds": ["AEF1"] },
            "description": "for people",
            "serviceAPICategory": "nature",
            "apiSuppFeats": "3",
            "apiProvName": "the office",
            "aefProfiles": [{
                "aefId": "AEF1",
                "versions": [{
                    "apiVersion": "v1",
                    "resources": [{
                        "resourceName": "r", "commType": "REQUEST_RESPONSE", "uri": "/r",
                        "custOperations": [{ "commType": "REQUEST_RESPONSE", "custOpName": "c" }],
                    }],
                    "custOperations": [{ "commType": "REQUEST_RESPONSE", "custOpName": "d" }],
                }],
                "protocol": "HTTP_2",
                "dataFormat": "JSON",
                "aefLocation": { "dcId": "east" },
                "serviceKpis": { "maxReqRate": 1 },
            }],
        }]})
    );
}

/// TS 29.222 table 8.11.2.2.3.1-1: features are asked of APIs that are named, resources only beside names; versions of single APIs
/// narrow those alone.
#[test]
fn maps_and_what_they_need() {
    let all = ["weather", "traffic"];
    let refused = |criteria: Criteria| {
        let refusal = open(&criteria, &all, &apis()).unwrap_err();
        match refusal {
            Refusal::Malformed {
                pointer,
                fault: RequestFault::Query,
                ..
            } => pointer,
            other => panic!("{other}"),
        }
    };
    let features = |name: &str| [(name.to_owned(), "2".into())].into();
    assert_eq!(
        refused(Criteria {
            features_of: features("weather"),
            ..Criteria::default()
        }),
        "api-supported-features"
    );
    assert_eq!(
        refused(Criteria {
            features_of: features("weather"),
            api_names: texts(&["traffic"]),
            ..Criteria::default()
        }),
        "api-supported-features"
    );
    assert_eq!(
        refused(Criteria {
            res_ops: wire(json!([{}])),
            ..Criteria::default()
        }),
        "res-ops"
    );
    let both = Criteria {
        api_names: texts(&all),
        features_of: features("weather"),
        ..Criteria::default()
    };
    assert_eq!(ids(&seen(&both, &all)), ["A1", "A2"]);
    let versions = Criteria {
        versions_of: [("weather".to_owned(), texts(&["v2", "v9"]))].into(),
        ..Criteria::default()
    };
    assert_eq!(ids(&seen(&versions, &all)), ["A1", "A2"]);
    assert_eq!(
        seen(&versions, &all)["discApis"][0]["aefProfiles"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
