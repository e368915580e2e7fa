use serde_json::{Value, json};

use super::*;
use crate::json;

fn description() -> Value {
    json!({
        "apiName": "weather",
        "aefProfiles": [{
            "aefId": "AEF1",
            "versions": [{
                "apiVersion": "v1",
                "resources": [{
                    "resourceName": "today", "commType": "REQUEST_RESPONSE", "uri": "/today",
                    "operations": ["GET"],
                }],
                "custOperations": [{ "commType": "REQUEST_RESPONSE", "custOpName": "reset" }],
            }],
            "securityMethods": ["PKI", "OAUTH"],
            "interfaceDescriptions": [
                { "ipv4Addr": "192.0.2.1", "port": 443, "apiPrefix": "/a" },
                { "fqdn": "gw.example", "securityMethods": ["PSK"] },
            ],
        }],
    })
}

/// The description with the value at a pointer replaced, or removed if `null`.
fn changed(pointer: &str, value: Value) -> ServiceApiDescription {
    let mut document = description();
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap();
    if value.is_null() {
        parent.as_object_mut().unwrap().remove(member);
    } else {
        parent[member] = value;
    }
    json::from_slice(document.to_string().as_bytes()).unwrap()
}

#[test]
fn a_description_survives_with_members_that_nobody_knows() {
    let mut document = description();
    document["vendorSpecific-012345"] = json!({ "a": [1, null, { "b": 2.5 }] });
    document["aefProfiles"][0]["vendorSpecific-012345"] = json!(true);
    document["aefProfiles"][0]["versions"][0]["later"] = json!("x");
    document["aefProfiles"][0]["securityMethods"][0] = json!("QUANTUM");
    let description: ServiceApiDescription =
        json::from_slice(document.to_string().as_bytes()).unwrap();
    assert_eq!(serde_json::to_value(&description).unwrap(), document);
    assert_eq!(description.check(), Ok(()));
}

#[test]
fn what_the_schema_allows_passes() {
    for (pointer, value) in [
        ("/apiName", json!("/nef/api/v1/3gpp monitoring: event/")),
        ("/aefProfiles", Value::Null),
        ("/apiStatus", json!({ "aefIds": [] })),
        (
            "/aefProfiles/0/versions/0/expiry",
            json!("2021-11-30T10:32:02.004Z"),
        ),
        (
            "/aefProfiles/0/interfaceDescriptions/0/ipv4Addr",
            json!("host.example"),
        ),
        (
            "/aefProfiles/0/serviceKpis",
            json!({ "avalComp": "1.5 GFLOPS", "avalMem": "16 GB" }),
        ),
        (
            "/aefProfiles/0/aefLocation",
            json!({ "geoArea": { "shape": "POINT", "point": { "lon": 8, "lat": 50.5 } } }),
        ),
        ("/ccfId", json!("string")),
        ("/pubApiPath", json!({ "ccfIds": ["string"] })),
    ] {
        assert_eq!(changed(pointer, value).check(), Ok(()), "{pointer}");
    }
}

#[test]
fn what_the_schema_forbids_is_named() {
    let interface = "/aefProfiles/0/interfaceDescriptions/1";
    for (pointer, value, culprit) in [
        ("/apiName", json!(""), "/apiName"),
        ("/apiName", json!("a,b"), "/apiName"),
        ("/apiName", json!("a;b"), "/apiName"),
        ("/apiName", json!("a\nb"), "/apiName"),
        ("/apiName", json!("a".repeat(70_000)), "/apiName"),
        ("/aefProfiles", json!([]), "/aefProfiles"),
        ("/netSliceInfo", json!([{}]), "/netSliceInfo/0"),
        (
            "/shareableInfo",
            json!({ "isShareable": true, "capifProvDoms": [] }),
            "/shareableInfo/capifProvDoms",
        ),
        ("/pubApiPath", json!({ "ccfIds": [] }), "/pubApiPath/ccfIds"),
        (
            "/aefProfiles/0/versions",
            json!([]),
            "/aefProfiles/0/versions",
        ),
        (
            "/aefProfiles/0/versions/0/resources",
            json!([]),
            "/aefProfiles/0/versions/0/resources",
        ),
        (
            "/aefProfiles/0/versions/0/resources/0/operations",
            json!([]),
            "/aefProfiles/0/versions/0/resources/0/operations",
        ),
        (
            "/aefProfiles/0/versions/0/custOperations/0/operations",
            json!([]),
            "/aefProfiles/0/versions/0/custOperations/0/operations",
        ),
        (
            "/aefProfiles/0/securityMethods",
            json!([]),
            "/aefProfiles/0/securityMethods",
        ),
        (
            "/aefProfiles/0/interfaceDescriptions",
            json!([]),
            "/aefProfiles/0/interfaceDescriptions",
        ),
        (
            "/aefProfiles/0/interfaceDescriptions",
            Value::Null,
            "/aefProfiles/0",
        ),
        (
            "/aefProfiles/0/domainName",
            json!("a.example"),
            "/aefProfiles/0",
        ),
        (
            "/aefProfiles/0/interfaceDescriptions/1/ipv6Addr",
            json!("::1"),
            interface,
        ),
        (
            "/aefProfiles/0/interfaceDescriptions/1/fqdn",
            Value::Null,
            interface,
        ),
        (
            "/aefProfiles/0/interfaceDescriptions/0/apiPrefix",
            json!("a"),
            "/aefProfiles/0/interfaceDescriptions/0/apiPrefix",
        ),
        (
            "/aefProfiles/0/aefLocation",
            json!({}),
            "/aefProfiles/0/aefLocation",
        ),
        (
            "/aefProfiles/0/ueIpRange",
            json!({}),
            "/aefProfiles/0/ueIpRange",
        ),
    ] {
        let violation = changed(pointer, value).check().unwrap_err();
        assert_eq!(violation.pointer, culprit);
    }
}

#[test]
fn quantities_are_a_number_and_a_unit() {
    for (text, good) in [
        ("1 kFLOPS", true),
        ("12.50 ZFLOPS", true),
        ("1 KFLOPS", false),
        ("1kFLOPS", false),
        ("1  kFLOPS", false),
        ("1. kFLOPS", false),
        (".5 kFLOPS", false),
        ("-1 kFLOPS", false),
        ("1.2.3 kFLOPS", false),
        ("1 GB", false),
        (" kFLOPS", false),
        ("", false),
    ] {
        let kpis = ServiceKpis {
            aval_gra_comp: Some(text.to_owned()),
            ..ServiceKpis::default()
        };
        assert_eq!(kpis.check().is_ok(), good, "{text}");
    }
}
