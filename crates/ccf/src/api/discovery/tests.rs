use capif_procedures::refusal::RequestFault;
use serde_json::json;

use super::*;

fn read(pairs: &[(&str, &str)]) -> Result<Criteria, Refusal> {
    let pairs: Vec<(String, String)> = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    criteria(&Query(&pairs))
}

/// TS 29.222 table 8.1.2.2.3.1-1: every parameter, in the form that it has in a query.
#[test]
fn every_parameter() {
    let read = read(&[
        ("api-invoker-id", "INV"),
        ("api-name", "weather"),
        ("api-version", "v1"),
        ("comm-type", "REQUEST_RESPONSE"),
        ("protocol", "HTTP_2"),
        ("aef-id", "AEF1"),
        ("data-format", "JSON"),
        ("api-cat", "nature"),
        ("preferred-aef-loc", r#"{"dcId":"east"}"#),
        ("req-api-prov-name", "the office"),
        ("api-supported-features", "1F"),
        ("ue-ip-addr", r#"{"ipv6Addr":"2001:db8::1"}"#),
        ("service-kpis", r#"{"maxReqRate":5,"avalMem":"1.5 GB"}"#),
        ("net-slice-info", r#"[{"nsiId":"one"}]"#),
        ("grant-types", r#"["CLIENT_CREDENTIALS"]"#),
        ("api-ids", "A1,A2"),
        ("res-ops", r#"{"resource":"/r"},{"operations":["GET"]}"#),
        (
            "vend-spec-x",
            r#"{"target":"/vendorSpecific-y","value":[1]}"#,
        ),
        ("supported-features", "f"),
        ("unknown", "[}"),
    ])
    .unwrap();
    let texts = |list: &[&str]| -> Vec<String> { list.iter().map(|it| (*it).to_owned()).collect() };
    let wire = |value: Value| serde_json::from_value(value).unwrap();
    let expected = Criteria {
        api_names: texts(&["weather"]),
        api_version: Some("v1".to_owned()),
        comm_type: Some("REQUEST_RESPONSE".into()),
        protocols: vec!["HTTP_2".into()],
        aef_id: Some("AEF1".to_owned()),
        data_format: Some("JSON".into()),
        api_cats: texts(&["nature"]),
        preferred_aef_loc: serde_json::from_value(json!({ "dcId": "east" })).unwrap(),
        api_prov_names: texts(&["the office"]),
        api_supported_features: Some("1f".into()),
        ue_ip_addr: Some("2001:db8::1".parse().unwrap()),
        service_kpis: serde_json::from_value(json!({ "maxReqRate": 5, "avalMem": "1.5 GB" }))
            .unwrap(),
        net_slices: wire(json!([{ "nsiId": "one" }])),
        grant_types: vec!["CLIENT_CREDENTIALS".into()],
        api_ids: texts(&["A1", "A2"]),
        res_ops: serde_json::from_value(json!([{ "resource": "/r" }, { "operations": ["GET"] }]))
            .unwrap(),
        vendor: vec![
            VendorCriterion::new("vend-spec-x", "x", "/vendorSpecific-y", json!([1])).unwrap(),
        ],
        supported_features: Some("f".into()),
        ..Criteria::default()
    };
    assert_eq!(read, expected);
}

/// Each kind of mistake is refused under the name of its parameter.
#[test]
fn mistakes() {
    let long = vec!["A"; 257].join(",");
    let deep = format!("{}1{}", "[".repeat(70), "]".repeat(70));
    let deep = format!(r#"{{"target":"/x","value":{deep}}}"#);
    for (name, value) in [
        ("api-supported-features", "g"),
        ("supported-features", "0x1"),
        ("preferred-aef-loc", ""),
        ("preferred-aef-loc", "east"),
        ("preferred-aef-loc", "{}"),
        ("preferred-aef-loc", r#"{"dcId":1}"#),
        ("preferred-aef-loc", r#"{"dcId":"a","dcId":"b"}"#),
        ("ue-ip-addr", "{}"),
        ("ue-ip-addr", r#"{"ipv4Addr":"10.0.0.1","ipv6Addr":"::1"}"#),
        ("ue-ip-addr", r#"{"ipv4Addr":"::1"}"#),
        ("ue-ip-addr", r#"{"ipv6Addr":"10.0.0.1"}"#),
        ("ue-ip-addr", r#"{"ipv4Addr":"10.0.0.256"}"#),
        ("service-kpis", "[]"),
        ("service-kpis", r#"{"maxReqRate":-1}"#),
        ("service-kpis", r#"{"avalMem":"1GB"}"#),
        ("net-slice-info", "[]"),
        ("net-slice-info", r#"{"nsiId":"one"}"#),
        ("net-slice-info", "[{}]"),
        ("net-slice-info", r#"[{"nsiId":"one","ensi":"two"}]"#),
        ("net-slice-info", r#"[{"snssai":{"sst":256}}]"#),
        ("grant-types", "[]"),
        ("grant-types", "CLIENT_CREDENTIALS"),
        ("grant-types", "[1]"),
        ("api-ids", ""),
        ("api-ids", "A1,,A2"),
        ("api-ids", &long),
        ("res-ops", ""),
        ("res-ops", "[]"),
        ("res-ops", r#"[{"operations":[]}]"#),
        ("res-ops", "/r"),
        ("vend-spec-x", ""),
        ("vend-spec-x", r#"{"target":"/x"}"#),
        ("vend-spec-x", r#"{"target":"x","value":1}"#),
        ("vend-spec-", r#"{"target":"/x","value":1}"#),
        ("vend-spec-x", &deep),
    ] {
        let refusal = read(&[(name, value)]).unwrap_err();
        let Refusal::Malformed {
            pointer,
            reason,
            fault,
        } = refusal
        else {
            panic!("{name}={value}: {refusal}");
        };
        assert_eq!(
            (pointer.as_str(), fault),
            (name, RequestFault::QueryIncorrect),
            "{value}"
        );
        // No value of the query comes back.
        assert!(reason.len() < 300 && !reason.contains("A1"), "{reason}");
    }
    let many: Vec<String> = (0..=VENDOR_CRITERIA_MAX)
        .map(|number| format!("{VENDOR}{number}"))
        .collect();
    let many: Vec<(&str, &str)> = many
        .iter()
        .map(|name| (name.as_str(), r#"{"target":"","value":1}"#))
        .collect();
    assert!(read(&many).is_err());
    assert!(read(&many[1..]).is_ok());
}
