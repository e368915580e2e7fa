//! A measurement, not a test: `cargo test -p capif-procedures --lib speed -- --ignored --nocapture`, optimised by
//! `--config 'profile.dev.package.capif-procedures.opt-level=3'`.

use std::time::{Duration, Instant};

use super::*;

/// An API of some number: ten share a name, a hundred an AEF.
fn numbered(number: usize) -> ServiceApi {
    let document = json!({
        "apiName": format!("api-{}", number / 10),
        "apiId": format!("API{number:032x}"),
        "serviceAPICategory": format!("category-{}", number % 20),
        "apiProvName": format!("provider-{}", number / 1000),
        "description": "An API whose description takes as much room as descriptions do.",
        "apiSuppFeats": "f",
        "aefProfiles": [{
            "aefId": format!("AEF{:032x}", number / 100),
            "versions": [{
                "apiVersion": format!("v{}", number % 3 + 1),
                "resources": [{
                    "resourceName": "things", "commType": "REQUEST_RESPONSE", "uri": "/things", "operations": ["GET", "POST"],
                }],
            }],
            "protocol": if number.is_multiple_of(2) { "HTTP_1_1" } else { "HTTP_2" },
            "dataFormat": "JSON",
            "securityMethods": ["PKI", "OAUTH"],
            "interfaceDescriptions": [{ "ipv4Addr": "192.0.2.1", "port": 8443 }],
            "serviceKpis": { "maxReqRate": number % 1000, "avalMem": format!("{} GB", number % 64) },
            "ueIpRange": { "ueIpv4AddrRanges": [{ "start": "10.0.0.0", "end": format!("10.{}.0.0", number % 200) }] },
        }],
    });
    let mut made = api(&format!("API{number:032x}"), "x", &[]);
    made.description = wire(document);
    elsewhere(made, "APF9", &format!("DOM{}", number / 1000))
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    let text = |text: &str| Some(text.to_owned());
    for count in [100_000, 1_000_000] {
        let began = Instant::now();
        let mut catalogue = Catalogue::default();
        for number in 0..count {
            catalogue.put(Arc::new(versioned(numbered(number))));
        }
        println!("{count} APIs, made and indexed in {:?}", began.elapsed());
        let name = format!("api-{}", count / 20);
        let none = Criteria::default;
        let cases = [
            (
                "name",
                Criteria {
                    api_names: texts(&[&name]),
                    ..none()
                },
            ),
            (
                "name and protocol",
                Criteria {
                    api_names: texts(&[&name]),
                    protocols: vec!["HTTP_2".into()],
                    ..none()
                },
            ),
            (
                "AEF and version",
                Criteria {
                    aef_id: text(&format!("AEF{:032x}", 7)),
                    api_version: text("v1"),
                    comm_type: Some("REQUEST_RESPONSE".into()),
                    ..none()
                },
            ),
            (
                "category, protocol, version: none",
                Criteria {
                    api_cats: texts(&["category-1"]),
                    protocols: vec!["HTTP_1_1".into()],
                    api_version: text("v1"),
                    ..none()
                },
            ),
            (
                "KPIs, none good enough",
                Criteria {
                    service_kpis: Some(wire(json!({ "maxReqRate": 2000 }))),
                    ..none()
                },
            ),
            (
                "KPIs, quantities",
                Criteria {
                    service_kpis: Some(wire(json!({ "avalMem": "64 GB" }))),
                    ..none()
                },
            ),
            (
                "user address, none",
                Criteria {
                    ue_ip_addr: Some("10.250.0.1".parse().unwrap()),
                    ..none()
                },
            ),
            (
                "resources, none",
                Criteria {
                    res_ops: wire(json!([{ "resource": "/nothing" }])),
                    ..none()
                },
            ),
        ];
        for (what, criteria) in cases {
            let mut spans: Vec<(Duration, Duration)> = Vec::new();
            let mut hits = 0;
            let once = Instant::now();
            while spans.len() < 5
                || (once.elapsed() < Duration::from_secs(1) && spans.len() < 20_000)
            {
                let began = Instant::now();
                let answer = discover(criteria.clone(), &ApiReach::default(), &catalogue).unwrap();
                let found = began.elapsed();
                let body = serde_json::to_vec(&answer).unwrap();
                spans.push((found, began.elapsed()));
                assert!(!body.is_empty());
                hits = answer
                    .service_api_descriptions
                    .map_or(0, |found| found.len());
            }
            spans.sort_unstable();
            let (found, whole) = spans[spans.len() / 2];
            println!(
                "{what}: {hits} hits, found in {found:?}, with JSON {whole:?} (median of {})",
                spans.len()
            );
        }
    }
}
