use serde_json::{Value, json};

use super::*;
use crate::fixtures::*;

mod model;

/// An entry with these members of its log in the place of the usual ones.
fn entry(aef: &str, invoker: &str, members: Value) -> InvocationLogEntry {
    let mut log = json!({
        "apiId": "API1",
        "apiName": "weather",
        "apiVersion": "v1",
        "resourceName": "today",
        "protocol": "HTTP_1_1",
        "result": "200",
    });
    let usual = log.as_object_mut().unwrap();
    usual.extend(members.as_object().unwrap().clone());
    InvocationLogEntry {
        aef_id: aef.into(),
        api_invoker_id: invoker.into(),
        log: wire(log),
        received: now(),
    }
}

fn time(text: &str) -> Option<DateTime> {
    Some(text.parse().unwrap())
}

fn answer(criteria: &Criteria, entries: &[InvocationLogEntry]) -> Result<Value, Refusal> {
    let mut findings = Findings::default();
    for entry in entries {
        findings.take(criteria, entry.clone())?;
    }
    let answer = findings.answer(criteria)?;
    Ok(serde_json::to_value(answer).unwrap())
}

/// TS 29.222 table 8.8.2.2.3.1-1: both ends belong to the time range, to the nanosecond and in any offset; an entry without a time
/// of its own counts as of its report.
#[test]
fn time_ranges() {
    let at = |text: &str| entry("AEF", "INV", json!({ "invocationTime": text }));
    let noon = at("2026-01-31T12:00:00Z");
    let cases = [
        (None, None, true),
        (time("2026-01-31T12:00:00Z"), None, true),
        (time("2026-01-31T12:00:00.000000001Z"), None, false),
        (time("2026-01-31T11:59:59.999999999Z"), None, true),
        (None, time("2026-01-31T12:00:00Z"), true),
        (None, time("2026-01-31T11:59:59.999999999Z"), false),
        (
            time("2026-01-31T13:00:00+01:00"),
            time("2026-01-31T06:00:00-06:00"),
            true,
        ),
        (
            time("2026-01-31T12:00:00+01:00"),
            time("2026-01-31T12:30:00+01:00"),
            false,
        ),
    ];
    for (start, end, expected) in cases {
        let criteria = Criteria {
            time_range_start: start,
            time_range_end: end,
            ..Criteria::default()
        };
        assert_eq!(criteria.meets(&noon), expected, "{criteria:?}");
        // The report came in at noon.
        assert_eq!(criteria.meets(&entry("AEF", "INV", json!({}))), expected);
        assert_eq!(criteria.meets(&at("2026-01-31T13:00:00+01:00")), expected);
    }
}

/// TS 29.222 table 8.8.2.2.3.1-1: a time range that ends before it begins is a mistake; one of a single moment is not.
#[test]
fn a_range_ends_after_it_begins() {
    let amf = function("AMF", Role::Amf, 1);
    for (start, end, good) in [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z", true),
        ("2026-01-31T12:00:00Z", "2026-01-31T13:00:00+01:00", true),
        ("2026-01-31T12:00:01Z", "2026-01-31T12:00:00Z", false),
    ] {
        let criteria = Criteria {
            time_range_start: time(start),
            time_range_end: time(end),
            ..Criteria::default()
        };
        let scope = scope(&criteria, &amf, std::iter::empty());
        assert_eq!(scope.is_ok(), good);
        if let Err(refusal) = scope {
            assert!(
                matches!(refusal, Refusal::Malformed { pointer, fault: RequestFault::QueryIncorrect, .. }
                if pointer == "time-range-end")
            );
        }
    }
}

/// TS 23.222 clause 4.3.3: providers are kept apart: an AMF sees what AEFs of its own domain reported.
#[test]
fn a_domain_sees_its_own() {
    let amf = function("AMF", Role::Amf, 1);
    let mut foreign = function("AEF9", Role::Aef, 4);
    foreign.domain_id = "DOM9".into();
    let functions = [
        function("AEF1", Role::Aef, 2),
        amf.clone(),
        foreign,
        function("APF1", Role::Apf, 3),
        function("AEF2", Role::Aef, 3),
    ];
    for (named, expected) in [
        (None, &["AEF1", "AEF2"][..]),
        (Some("AEF2"), &["AEF2"]),
        (Some("AEF9"), &[]),
        (Some("AEF8"), &[]),
        (Some("APF1"), &[]),
        (Some("AEF"), &[]),
    ] {
        let criteria = Criteria {
            aef_id: named.map(AefId::from),
            ..Criteria::default()
        };
        let found = scope(&criteria, &amf, functions.iter()).unwrap();
        let found: Vec<&str> = found.iter().map(AefId::as_str).collect();
        assert_eq!(found, expected, "{named:?}");
    }
}

/// TS 29.222 table 8.8.2.2.3.1-1: interfaces agree in what is asked for; addresses in any spelling.
#[test]
fn interfaces() {
    let held = json!({ "ipv6Addr": "2001:db8::1", "port": 443, "securityMethods": ["PKI"], "vendorSpecific-x": 1 });
    for (wanted, expected) in [
        (json!({ "ipv6Addr": "2001:db8::1" }), true),
        (json!({ "ipv6Addr": "2001:0DB8:0::1", "port": 443 }), true),
        (json!({ "ipv6Addr": "2001:db8::1", "port": 444 }), false),
        (json!({ "ipv6Addr": "2001:db8::2" }), false),
        (json!({ "ipv4Addr": "192.0.2.1" }), false),
        (json!({ "fqdn": "2001:db8::1" }), false),
        (
            json!({ "ipv6Addr": "2001:db8::1", "apiPrefix": "/x" }),
            false,
        ),
        (
            json!({ "ipv6Addr": "2001:db8::1", "securityMethods": ["PKI"] }),
            true,
        ),
        (
            json!({ "ipv6Addr": "2001:db8::1", "securityMethods": ["PSK"] }),
            false,
        ),
        (
            json!({ "ipv6Addr": "2001:db8::1", "vendorSpecific-x": 1 }),
            true,
        ),
        (
            json!({ "ipv6Addr": "2001:db8::1", "vendorSpecific-x": 2 }),
            false,
        ),
    ] {
        let source = Criteria {
            src_interface: Some(wire(wanted.clone())),
            ..Criteria::default()
        };
        let destination = Criteria {
            dest_interface: Some(wire(wanted.clone())),
            ..Criteria::default()
        };
        let from = entry("AEF", "INV", json!({ "srcInterface": held }));
        let to = entry("AEF", "INV", json!({ "destInterface": held }));
        assert_eq!(source.meets(&from), expected, "{wanted}");
        assert_eq!(destination.meets(&to), expected, "{wanted}");
        assert!(!source.meets(&to) && !destination.meets(&from), "{wanted}");
    }
}

/// TS 29.222 clause 8.8.4: entries of one AEF and invoker are one log, whatever the features; entries of several are several
/// logs, in the order in which they were found, and for those alone who know the feature.
#[test]
fn both_shapes() {
    let numbered = |aef: &str, invoker: &str, number: u32| {
        entry(
            aef,
            invoker,
            json!({ "resourceName": format!("r{number}") }),
        )
    };
    let of = |features: Option<&str>| Criteria {
        supported_features: features.map(SupportedFeatures::from),
        ..Criteria::default()
    };
    let one = [numbered("A", "I", 1), numbered("A", "I", 2)];
    for (features, agreed) in [(None, None), (Some("0"), Some("0")), (Some("f"), Some("3"))] {
        let answer = answer(&of(features), &one).unwrap();
        assert_eq!(answer["aefId"], "A");
        assert_eq!(answer["apiInvokerId"], "I");
        let logs = answer["logs"].as_array().unwrap();
        let names: Vec<&Value> = logs.iter().map(|log| &log["resourceName"]).collect();
        assert_eq!(names, ["r1", "r2"]);
        assert_eq!(
            answer.get("supportedFeatures").and_then(Value::as_str),
            agreed
        );
    }
    let several = [
        numbered("A", "J", 1),
        numbered("A", "I", 2),
        numbered("A", "J", 3),
        numbered("B", "J", 4),
    ];
    let found = answer(&of(Some("1")), &several).unwrap();
    let told: Vec<String> = found["multipleInvocationLogs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|log| {
            let names: Vec<&str> = { log["logs"].as_array().unwrap().iter() }
                .map(|log| log["resourceName"].as_str().unwrap())
                .collect();
            assert!(log.get("supportedFeatures").is_none());
            format!(
                "{} {} {}",
                log["aefId"],
                log["apiInvokerId"],
                names.join(" ")
            )
        })
        .collect();
    assert_eq!(told, [r#""A" "J" r1 r3"#, r#""A" "I" r2"#, r#""B" "J" r4"#]);
    assert_eq!(found["supportedFeatures"], "1");
    for features in [None, Some("0"), Some("2"), Some("4")] {
        let refusal = answer(&of(features), &several).unwrap_err();
        assert!(
            matches!(refusal, Refusal::Malformed { pointer, .. } if pointer == "supported-features")
        );
    }
    for features in [None, Some("1")] {
        assert_eq!(
            answer(&of(features), &[]),
            Err(Refusal::NotFound {
                what: "invocation log"
            })
        );
    }
}

/// TS 29.222 clause 7.8: slices are a matter for those who agreed on them, as a criterion and in the answer.
#[test]
fn slices() {
    let held = json!({ "nsiId": "one" });
    let entries = [entry("A", "I", json!({ "netSliceInfo": held }))];
    for (features, wanted, found, shown) in [
        (None, "two", true, false),
        (Some("1"), "two", true, false),
        (Some("2"), "two", false, true),
        (Some("2"), "one", true, true),
        (Some("3"), "one", true, true),
    ] {
        let criteria = Criteria {
            net_slices: wire(json!([{ "ensi": "other" }, { "nsiId": wanted }])),
            supported_features: features.map(SupportedFeatures::from),
            ..Criteria::default()
        };
        let answer = answer(&criteria, &entries);
        assert_eq!(answer.is_ok(), found, "{features:?} {wanted}");
        if let Ok(answer) = answer {
            assert_eq!(answer["logs"][0].get("netSliceInfo").is_some(), shown);
        }
        let without = [entry("A", "I", json!({}))];
        let counts = features.is_some_and(|features| features != "1");
        assert_eq!(super::tests::answer(&criteria, &without).is_err(), counts);
    }
}

/// An answer is whole or refused.
#[test]
fn answers_are_bounded() {
    let criteria = Criteria {
        result: Some("200".to_owned()),
        ..Criteria::default()
    };
    let mut findings = Findings::default();
    for _ in 0..ENTRIES_MAX {
        findings
            .take(&criteria, entry("A", "I", json!({})))
            .unwrap();
    }
    findings
        .take(&criteria, entry("A", "I", json!({ "result": "404" })))
        .unwrap();
    assert_eq!(
        findings.take(&criteria, entry("A", "I", json!({}))),
        Err(Refusal::TooBroad {
            what: "log entries",
            limit: ENTRIES_MAX
        })
    );
}
